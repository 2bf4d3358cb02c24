//! The messages of one request: one, an array, NDJSON, or CloudEvents; all of them are accepted or none, and every
//! message that is not says why.
//!
//! A message that is JSON but not accepted is skipped, so that one answer names the faults of many; text that is no JSON
//! ends the reading, save in NDJSON, where the next line is a new beginning.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;
use tidegate_actors::ports::NewRecord;

use super::{
    Limits,
    cloudevents::{self, Attributes},
    directory::KnownApplication,
    envelope,
    json::{Fault, Scanner, line_and_column},
    problem::{INVALID, Issue, MAX_ERRORS, NOT_JSON, Problem, TOO_LARGE},
};

/// How a body is to be read.
#[derive(Debug)]
pub(crate) enum Form {
    /// One message or an array.
    Messages,
    /// One message a line.
    Lines,
    /// One structured CloudEvent.
    Event,
    /// An array of structured CloudEvents.
    Events,
    /// The data of a CloudEvent whose attributes are headers.
    Binary(Box<Attributes<'static>>),
}

/// What a request holds.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The records, in order.
    pub(crate) records: Vec<NewRecord>,
    /// Whether the answer is a list.
    pub(crate) many: bool,
}

/// Reads and checks a whole body.
///
/// # Errors
/// 400, 413 or 422 with the places.
pub(crate) fn read(
    body: &[u8],
    form: &Form,
    application: &KnownApplication,
    limits: &Limits,
) -> Result<Accepted, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to(), form))?;
    let mut reading = Reading { application, limits, form, records: Vec::new(), issues: Issues::default() };
    let many = match form {
        Form::Lines => {
            reading.lines(text)?;
            true
        }
        _ => reading.document(text)?,
    };
    reading.finish(many)
}

#[derive(Default)]
struct Issues {
    found: Vec<Issue>,
    messages: usize,
    not_json: bool,
    too_large: bool,
}

struct Reading<'r> {
    application: &'r KnownApplication,
    limits: &'r Limits,
    form: &'r Form,
    records: Vec<NewRecord>,
    issues: Issues,
}

impl Reading<'_> {
    fn scanner<'t>(&self, text: &'t str) -> Scanner<'t> {
        Scanner::new(text, self.limits.depth, self.limits.fields)
    }

    /// One message, or an array of them; tells whether it was an array.
    fn document(&mut self, text: &str) -> Result<bool, Problem> {
        let mut scanner = self.scanner(text);
        match (self.form, scanner.peek()) {
            (Form::Binary(_), _) => {
                self.message(&mut scanner, text, 0).map_err(|fault| not_json(0, &fault, text))?;
                self.end(&mut scanner, text, 0)?;
                Ok(false)
            }
            (_, None) => {
                Err(Problem::new(&NOT_JSON, "The body is empty: send a message, an array of them, or NDJSON."))
            }
            (Form::Messages | Form::Events, Some(b'[')) => self.array(&mut scanner, text).map(|()| true),
            (Form::Messages | Form::Event, Some(b'{')) => {
                self.message(&mut scanner, text, 0).map_err(|fault| not_json(0, &fault, text))?;
                self.end(&mut scanner, text, 0)?;
                Ok(false)
            }
            (form, _) => {
                let wanted = match form {
                    Form::Events => "a batch of CloudEvents is a JSON array",
                    Form::Event => "a CloudEvent is a JSON object; a batch is `application/cloudevents-batch+json`",
                    _ => "the body is a message or an array of messages",
                };
                let fault = scanner.unexpected(wanted);
                self.refused(&mut scanner, text, 0, 0, fault).map_err(|fault| not_json(0, &fault, text))?;
                Ok(false)
            }
        }
    }

    fn array(&mut self, scanner: &mut Scanner<'_>, text: &str) -> Result<(), Problem> {
        scanner.take(b'[');
        let mut index = 0;
        if !scanner.take(b']') {
            loop {
                self.room(index)?;
                self.message(scanner, text, index).map_err(|fault| not_json(index, &fault, text))?;
                if scanner.take(b']') {
                    break;
                }
                if !scanner.take(b',') {
                    return Err(not_json(index, &scanner.syntax("`,` or `]`"), text));
                }
                index += 1;
            }
        }
        self.end(scanner, text, index)
    }

    fn lines(&mut self, text: &str) -> Result<(), Problem> {
        let mut index = 0;
        let mut scanner = self.scanner("");
        for (line, number) in text.split('\n').zip(1..) {
            scanner.restart(line);
            if scanner.peek().is_none() {
                continue;
            }
            self.room(index)?;
            let read = self.message(&mut scanner, line, index).and_then(|()| match scanner.peek() {
                None => Ok(()),
                Some(_) => Err(scanner.syntax("the end of the line")),
            });
            if let Err(fault) = read {
                self.issues.drop(index);
                self.issues.add(Issue::of(index, &fault, line, number));
                self.issues.not_json = true;
            }
            index += 1;
        }
        Ok(())
    }

    /// Reads one message; a fault that comes back is one of syntax.
    fn message(&mut self, scanner: &mut Scanner<'_>, text: &str, index: usize) -> Result<(), Box<Fault>> {
        scanner.peek();
        let start = scanner.at();
        let read = match self.form {
            Form::Messages | Form::Lines => envelope::read(scanner, self.application),
            Form::Event | Form::Events => cloudevents::read(scanner, self.application),
            Form::Binary(attributes) => cloudevents::read_binary(attributes, scanner, self.application),
        };
        let fault = match read {
            Err(fault) => fault,
            Ok(record) if scanner.at() - start <= self.limits.record_bytes => {
                self.records.push(record);
                return Ok(());
            }
            Ok(_) => {
                self.issues.too_large = true;
                let message = format!("a message has at most {} bytes", self.limits.record_bytes);
                Fault::new("too_large", start, message)
            }
        };
        self.refused(scanner, text, start, index, fault)
    }

    /// Notes what is wrong with a message that began at `start`, and goes to its end.
    fn refused(
        &mut self,
        scanner: &mut Scanner<'_>,
        text: &str,
        start: usize,
        index: usize,
        fault: Box<Fault>,
    ) -> Result<(), Box<Fault>> {
        if fault.is_syntax() {
            return Err(fault);
        }
        if !matches!((self.form, scanner.peek()), (Form::Binary(_), None)) {
            scanner.seek(end_of_value(text, start)?);
        }
        self.issues.add(Issue::of(index, &fault, text, 1));
        for other in &fault.more {
            self.issues.also(Issue::of(index, other, text, 1));
        }
        Ok(())
    }

    fn end(&self, scanner: &mut Scanner<'_>, text: &str, index: usize) -> Result<(), Problem> {
        match scanner.peek() {
            None => Ok(()),
            Some(b'{') => {
                let hint = "the end of the body (one message a line is sent as `application/x-ndjson`)";
                Err(not_json(index + 1, &scanner.syntax(hint), text))
            }
            Some(_) => Err(not_json(index, &scanner.syntax("the end of the body"), text)),
        }
    }

    fn room(&self, index: usize) -> Result<(), Problem> {
        if index < self.limits.records {
            return Ok(());
        }
        let detail = format!("A request has at most {} messages; send the rest in another.", self.limits.records);
        Err(Problem::new(&TOO_LARGE, detail))
    }

    fn finish(mut self, many: bool) -> Result<Accepted, Problem> {
        self.repeated_ids();
        let Issues { found, messages, not_json, too_large } = self.issues;
        if messages == 0 && self.records.is_empty() {
            return Err(Problem::new(&INVALID, "There is no message in the request."));
        }
        if messages == 0 {
            return Ok(Accepted { records: self.records, many });
        }
        let kind = match (not_json, too_large) {
            (true, _) => &NOT_JSON,
            (false, true) => &TOO_LARGE,
            (false, false) => &INVALID,
        };
        let detail = if many {
            let left_out = messages.saturating_sub(MAX_ERRORS);
            let shown = if left_out > 0 { format!(" (the first {MAX_ERRORS} are listed)") } else { String::new() };
            let are = if messages == 1 { "1 message was" } else { &format!("{messages} messages were") };
            format!("{are} not accepted{shown}, and so nothing of this request was stored.")
        } else {
            found.first().map_or(String::new(), |issue| match issue.pointer.as_str() {
                "" => sentence(&issue.message),
                pointer => sentence(&format!("{pointer}: {}", issue.message)),
            })
        };
        Err(Problem::new(kind, detail).with_errors(found))
    }

    /// Two messages of one request can't have the same id: the second would be taken for the first sent again.
    fn repeated_ids(&mut self) {
        if self.records.len() < 2 || self.issues.messages > 0 {
            return;
        }
        let mut seen = HashSet::new();
        for (index, record) in self.records.iter().enumerate() {
            if let Some(id) = &record.own_id
                && !seen.insert(id)
            {
                let fault =
                    Fault::new("duplicate_id", 0, "an earlier message of this request has this id").within("id");
                self.issues.add(Issue::of(index, &fault, "", 1));
            }
        }
    }
}

impl Issues {
    fn add(&mut self, issue: Issue) {
        self.messages += 1;
        if self.found.len() < MAX_ERRORS {
            self.found.push(issue);
        }
    }

    /// One more of the message that was noted last.
    fn also(&mut self, issue: Issue) {
        if self.found.len() < MAX_ERRORS {
            self.found.push(issue);
        }
    }

    /// Forgets what was noted last, if it was about this message.
    fn drop(&mut self, index: usize) {
        if self.found.last().is_some_and(|issue| issue.index == index) {
            self.found.pop();
            self.messages -= 1;
        }
    }
}

/// Where the value that begins at `start` ends; it may be as deep and as wide as it likes.
fn end_of_value(text: &str, start: usize) -> Result<usize, Box<Fault>> {
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(_)) => Ok(start + values.byte_offset()),
        Some(Err(error)) => {
            let at = offset(&text[start..], error.line(), error.column());
            Err(Fault::new("syntax", start + at, "from here on the text is no JSON"))
        }
        None => Err(Fault::new("syntax", text.len(), "the text ends")),
    }
}

/// The byte that the library calls line and column; it counts columns in bytes, from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let line_start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (line_start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn not_json(index: usize, fault: &Fault, text: &str) -> Problem {
    let issue = Issue::of(index, fault, text, 1);
    Problem::new(&NOT_JSON, sentence(&issue.message)).with_errors(vec![issue])
}

/// Bytes that are no UTF-8. What stands before them is read as far as it goes, to name the member.
fn not_utf8(body: &[u8], valid: usize, form: &Form) -> Problem {
    let before = std::str::from_utf8(&body[..valid]).unwrap_or_default();
    let (line, column) = line_and_column(before, before.len());
    let (mut index, mut pointer) = (0, String::new());
    let piece = match form {
        Form::Lines => {
            index = before.matches('\n').count();
            before.rsplit('\n').next().unwrap_or_default()
        }
        _ => before,
    };
    let mut scanner = Scanner::new(piece, 64, 100_000);
    let many = !matches!(form, Form::Lines) && scanner.peek() == Some(b'[');
    if let Err(fault) = scanner.value(0)
        && fault.is_syntax()
    {
        pointer = fault.pointer();
    }
    if many {
        let place = Cow::Owned::<str>(pointer.split_off(pointer.len().min(1)));
        let (first, rest) = place.split_once('/').unwrap_or((&place, ""));
        index = first.parse().unwrap_or(0);
        pointer = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    }
    let message = format!("not UTF-8 (line {line}, column {column})");
    let issue = Issue { index, pointer, code: "syntax", message };
    let detail = format!("The body is not UTF-8 at line {line}, column {column}; JSON is exchanged in UTF-8.");
    Problem::new(&NOT_JSON, detail).with_errors(vec![issue])
}

/// With a capital letter and a full stop, where there is no other mark yet.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let stop = if message.ends_with(['.', '?', '!']) { "" } else { "." };
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).chain(stop.chars()).collect())
}
