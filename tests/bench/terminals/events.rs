//! A terminal's stream taken apart as it comes in: the head of the answer, chunks, events. It keeps nothing but the line that has
//! not ended yet and the cursor.

use serde::Deserialize;

/// What a stream says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is open, and a message is to be answered within so many milliseconds.
    Hello(u64),
    /// A broadcast: its number, which its title is, and its id.
    Message(u32, String),
    /// Something that the load does not look for, by its name.
    Other(String),
}

/// The stream so far.
#[derive(Default)]
pub(super) struct Events {
    /// The id of the last whole event: what the terminal comes back with.
    pub(super) cursor: String,
    /// The answer's status, once its head is there.
    pub(super) status: Option<u16>,
    rest: Vec<u8>,
    id: Option<String>,
    name: Option<String>,
    data: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Hello {
    answer_within_ms: u64,
}

#[derive(Deserialize)]
struct Message<'a> {
    id: &'a str,
    title: &'a str,
}

impl Events {
    /// A new connection: what had not ended never will.
    pub(super) fn begin(&mut self) {
        (self.status, self.rest, self.id, self.name, self.data) = (None, Vec::new(), None, None, None);
    }

    /// More bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8], said: &mut impl FnMut(Said)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, more) = bytes.split_at(end);
            bytes = &more[1..];
            if self.rest.is_empty() {
                self.line(line, said);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole, said);
            }
        }
        self.rest.extend_from_slice(bytes);
    }

    fn line(&mut self, line: &[u8], said: &mut impl FnMut(Said)) {
        // The answer's head and what stands around its chunks ends in CR LF; events end in LF, and hold no CR.
        if line.last() == Some(&b'\r') {
            if let Some(status) = line.strip_prefix(b"HTTP/1.1 ") {
                self.status = std::str::from_utf8(&status[..3]).ok().and_then(|status| status.parse().ok());
            }
            return;
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        if let Some(id) = line.strip_prefix(b"id: ") {
            self.id = Some(text(id));
        } else if let Some(name) = line.strip_prefix(b"event: ") {
            self.name = Some(text(name));
        } else if let Some(data) = line.strip_prefix(b"data: ") {
            self.data = Some(data.to_vec());
        } else if line.is_empty() {
            let (name, data) = (self.name.take(), self.data.take());
            if let (Some(name), Some(data)) = (name, data) {
                said(Self::event(name, &data));
            }
            if let Some(id) = self.id.take() {
                self.cursor = id;
            }
        }
    }

    fn event(name: String, data: &[u8]) -> Said {
        match name.as_str() {
            "hello" => {
                let hello: Hello = serde_json::from_slice(data).unwrap();
                Said::Hello(hello.answer_within_ms)
            }
            "message" => {
                let message: Message<'_> = serde_json::from_slice(data).unwrap();
                Said::Message(message.title.parse().unwrap(), message.id.to_owned())
            }
            _ => Said::Other(name),
        }
    }
}
