//! Server-sent events as they come in, as HTML's standard has them. Pure.

/// An event, with the id that was the last when it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// A stream so far.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    id: Option<String>,
    name: String,
    data: Vec<String>,
    /// The id of the last whole event, where one had an id.
    pub(super) cursor: Option<String>,
}

impl Events {
    /// More bytes; the events that are whole with them. What has not ended when the stream does is not told.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut found = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            found.extend(self.ends(line.trim_end_matches('\r')));
        }
        found
    }

    fn ends(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            if let Some(id) = self.id.take() {
                self.cursor = Some(id);
            }
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return (!data.is_empty()).then(|| Event { name, data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push(value.to_owned()),
            // A comment, the time between tries, or what a later version adds.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_the_bytes_come() {
        let text = "retry: 1000\n: still here\nid: g-1-0\n\nid: g-2-0\nevent: message\ndata: {\"title\":\"Café\"}\n\nevent: gap\ndata: {}\r\n\r\n\
                    id: g-3-0\nevent: message\ndata: never whole\n";
        let all = [
            Event { name: "message".into(), data: "{\"title\":\"Café\"}".into() },
            Event { name: "gap".into(), data: "{}".into() },
        ];
        for size in [1, 2, 7, 1_000] {
            let mut events = Events::default();
            let found: Vec<Event> = text.as_bytes().chunks(size).flat_map(|bytes| events.take(bytes)).collect();
            assert_eq!(found, all, "{size} bytes at a time");
            assert_eq!(events.cursor.as_deref(), Some("g-2-0"));
        }
    }
}
