//! The records of a file as messages, in pieces that are the same whenever the file is read again. `route try` and `suggest`
//! read the same files.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    rc::Rc,
};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::value::RawValue;

/// Records of one request.
const MOST_RECORDS: usize = 500;
/// Bytes of one request: half of what a node takes, so that a record of 1 MiB always fits on top.
const MOST_BYTES: usize = 5 * 1024 * 1024;
/// Longest line: a record has at most 1 MiB.
const MOST_LINE_BYTES: u64 = 2 * 1024 * 1024;

/// Longest JSON list.
const MOST_LIST_BYTES: u64 = 64 * 1024 * 1024;

/// What stands around each record.
pub(in crate::cli) struct Envelope {
    pub(in crate::cli) topic: String,
    pub(in crate::cli) action: Option<String>,
    pub(in crate::cli) key_fields: Vec<String>,
}

/// Some records, ready to be sent.
pub(super) struct Batch {
    /// Where in the file they begin, in records: equal pieces of one file are different.
    pub(super) offset: u64,
    /// NDJSON.
    pub(super) body: Vec<u8>,
    /// The line of the file that each message begins on.
    pub(super) lines: Vec<u64>,
}

/// Reads a file piece by piece.
pub(in crate::cli) struct Records {
    source: Source,
    name: String,
    envelope: Envelope,
    size_bytes: Option<u64>,
    read_bytes: Rc<Cell<u64>>,
    records: u64,
}

enum Source {
    Lines { input: Box<dyn BufRead>, line: u64 },
    List { items: std::vec::IntoIter<Box<RawValue>>, place: u64 },
    Csv { input: csv::Reader<Box<dyn BufRead>>, header: Vec<String>, empty_as_null: bool },
}

/// Counts what is read, for the progress bar.
struct Counted<R>(R, Rc<Cell<u64>>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

impl Records {
    pub(in crate::cli) fn open(
        path: &Path,
        csv: bool,
        empty_as_null: bool,
        envelope: Envelope,
    ) -> anyhow::Result<Self> {
        let read_bytes = Rc::new(Cell::new(0));
        let (name, size_bytes, input): (String, Option<u64>, Box<dyn BufRead>) = if path == Path::new("-") {
            let input = Counted(std::io::stdin(), Rc::clone(&read_bytes));
            ("standard input".into(), None, Box::new(BufReader::new(input)))
        } else {
            let name = path.display().to_string();
            let file =
                File::open(path).with_context(|| format!("cannot read {name}; check the path and its rights"))?;
            let size = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
            (name, size, Box::new(BufReader::new(Counted(file, Rc::clone(&read_bytes)))))
        };
        let source = if csv {
            let mut input = csv::ReaderBuilder::new().from_reader(input);
            let header = input.headers().map_err(|error| csv_error(&name, &error))?;
            let header: Vec<String> =
                header.iter().map(|field| field.trim_start_matches('\u{feff}').to_owned()).collect();
            if let Some((place, field)) = header.iter().enumerate().find(|(n, field)| header[..*n].contains(field)) {
                bail!("{name}: the header names `{field}` twice (column {}); name each field once", place + 1);
            }
            if let Some(missing) = envelope.key_fields.iter().find(|key| !header.contains(key)) {
                let near = crate::databases::nearest(missing, header.iter().map(String::as_str));
                let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                bail!("{name}: the header has no field `{missing}`{hint}");
            }
            Source::Csv { input, header, empty_as_null }
        } else {
            lines_or_list(input, &name)?
        };
        Ok(Self { source, name, envelope, size_bytes, read_bytes, records: 0 })
    }

    /// What the number that comes with a record counts.
    pub(in crate::cli) fn place(&self) -> &'static str {
        if matches!(self.source, Source::List { .. }) { "record" } else { "line" }
    }

    /// How long the file is; `None` where it is a pipe.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    /// How much of it has been read.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.get()
    }

    /// The next piece; `None` at the end.
    pub(super) fn next_batch(&mut self) -> anyhow::Result<Option<Batch>> {
        let mut batch = Batch { offset: self.records, body: Vec::new(), lines: Vec::new() };
        while batch.lines.len() < MOST_RECORDS && batch.body.len() < MOST_BYTES {
            let Some((line, data)) = self.next_record()? else { break };
            let key = self.key(&data, line)?;
            let message =
                Message { topic: &self.envelope.topic, action: self.envelope.action.as_deref(), key, data: &data };
            serde_json::to_writer(&mut batch.body, &message)?;
            batch.body.push(b'\n');
            batch.lines.push(line);
        }
        self.records += batch.lines.len() as u64;
        Ok((!batch.lines.is_empty()).then_some(batch))
    }

    /// The next record, with the line it begins on (in a JSON list: which one it is).
    pub(in crate::cli) fn next_record(&mut self) -> anyhow::Result<Option<(u64, Box<RawValue>)>> {
        match &mut self.source {
            Source::Lines { input, line } => next_line(input, line, &self.name),
            Source::List { items, place } => next_item(items, place, &self.name),
            Source::Csv { input, header, empty_as_null } => next_row(input, header, *empty_as_null, &self.name),
        }
    }

    /// The message's key from the record's fields, as they are written there.
    pub(in crate::cli) fn key(&self, data: &RawValue, line: u64) -> anyhow::Result<Option<Box<RawValue>>> {
        if self.envelope.key_fields.is_empty() {
            return Ok(None);
        }
        let fields: HashMap<String, &RawValue> = serde_json::from_str(data.get())?;
        let value = |field: &String| {
            let found = fields.get(field).copied().filter(|value| value.get() != "null");
            found.with_context(|| {
                let near = crate::databases::nearest(field, fields.keys().map(String::as_str));
                let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                format!("{}:{line}: the record has no `{field}` for its key{hint}", self.name)
            })
        };
        if let [only] = self.envelope.key_fields.as_slice() {
            return Ok(Some(value(only)?.to_owned()));
        }
        let mut key = std::collections::BTreeMap::new();
        for field in &self.envelope.key_fields {
            key.insert(field, value(field)?);
        }
        Ok(Some(serde_json::value::to_raw_value(&key)?))
    }
}

#[derive(Serialize)]
struct Message<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Box<RawValue>>,
    data: &'a RawValue,
}

/// One JSON list of records, which is read at once, or a record a line.
fn lines_or_list(mut input: Box<dyn BufRead>, name: &str) -> anyhow::Result<Source> {
    let begin = input.fill_buf().with_context(|| format!("{name} could not be read"))?;
    let text = begin.strip_prefix("\u{feff}".as_bytes()).unwrap_or(begin);
    if text.trim_ascii_start().first() != Some(&b'[') {
        return Ok(Source::Lines { input, line: 0 });
    }
    let mut text = String::new();
    let read = input.take(MOST_LIST_BYTES).read_to_string(&mut text);
    let read = read.with_context(|| format!("{name} could not be read to its end as UTF-8"))?;
    if read as u64 == MOST_LIST_BYTES {
        bail!("{name} is a list of more than 64 MiB, which would be read at once; write one record a line (NDJSON)");
    }
    let items: Vec<Box<RawValue>> = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        anyhow::anyhow!("{name}:{}: the list is not JSON (column {})", error.line(), error.column())
    })?;
    Ok(Source::List { items: items.into_iter(), place: 0 })
}

/// The next record of a list, with its place from 1.
fn next_item(
    items: &mut std::vec::IntoIter<Box<RawValue>>,
    place: &mut u64,
    name: &str,
) -> anyhow::Result<Option<(u64, Box<RawValue>)>> {
    let Some(item) = items.next() else { return Ok(None) };
    *place += 1;
    if !item.get().starts_with('{') {
        bail!("{name}: record {place} of the list is not a JSON object, such as {{\"id\": 1}}");
    }
    Ok(Some((*place, item)))
}

/// The next line that is not empty, with its number.
fn next_line(input: &mut dyn BufRead, line: &mut u64, name: &str) -> anyhow::Result<Option<(u64, Box<RawValue>)>> {
    loop {
        let mut text = Vec::new();
        let read = input.take(MOST_LINE_BYTES).read_until(b'\n', &mut text);
        if read.with_context(|| format!("{name} could not be read to its end"))? == 0 {
            return Ok(None);
        }
        *line += 1;
        if text.len() as u64 == MOST_LINE_BYTES {
            bail!("{name}:{line}: the line is longer than a record may be; NDJSON has one record a line");
        }
        let text = std::str::from_utf8(&text).ok().with_context(|| format!("{name}:{line}: the line is not UTF-8"))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        // The category, never the words of the library, which may quote the record.
        let data: Box<RawValue> = serde_json::from_str(text).map_err(|error| {
            anyhow::anyhow!(
                "{name}:{line}: the line is not JSON (column {}); NDJSON has one record a line",
                error.column()
            )
        })?;
        if !data.get().starts_with('{') {
            bail!("{name}:{line}: a record is a JSON object, such as {{\"id\": 1}}");
        }
        return Ok(Some((*line, data)));
    }
}

/// The next row with the line it begins on.
fn next_row(
    input: &mut csv::Reader<Box<dyn BufRead>>,
    header: &[String],
    empty_as_null: bool,
    name: &str,
) -> anyhow::Result<Option<(u64, Box<RawValue>)>> {
    let mut row = csv::StringRecord::new();
    if !input.read_record(&mut row).map_err(|error| csv_error(name, &error))? {
        return Ok(None);
    }
    let line = row.position().map_or(0, csv::Position::line);
    let mut text = String::from("{");
    for (place, (field, value)) in header.iter().zip(&row).enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(field)?);
        text.push(':');
        if empty_as_null && value.is_empty() {
            text.push_str("null");
        } else {
            text.push_str(&serde_json::to_string(value)?);
        }
    }
    text.push('}');
    Ok(Some((line, RawValue::from_string(text)?)))
}

/// What is wrong with a CSV file, in our words: the library's may quote the record.
fn csv_error(name: &str, error: &csv::Error) -> anyhow::Error {
    let place = error.position().map_or(String::new(), |at| format!(":{}", at.line()));
    let what = match error.kind() {
        csv::ErrorKind::Io(error) => format!("could not be read: {error}"),
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8; convert it first".into(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row has {len} values and the header {expected_len} fields")
        }
        _ => "is no CSV".into(),
    };
    anyhow::anyhow!("{name}{place}: {what}")
}
