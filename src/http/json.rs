//! A strict reader of JSON text that keeps every byte: it checks the grammar, names that occur twice, depth, the number
//! of fields and escapes that are no Unicode, and hands back pieces of the text it was given.
//!
//! General parsers round numbers, keep the last of two equal names and count depth from the wrong end; a record has to
//! reach the databases as it came. The place of an error is put together only once there is one, so that a good record
//! costs a single pass without allocations. [`super::envelope`] and [`super::batch`] read with it.

use std::{borrow::Cow, collections::HashSet, fmt::Write as _};

use tidegate_actors::plain::plain;

/// Above this many names an object's names are kept in a hash set instead of being compared one by one.
const COMPARED_NAMES: usize = 16;

/// What a text is not allowed to be, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    /// A stable word; `syntax` for text that is no JSON at all.
    pub(crate) code: &'static str,
    /// The sentence, without the place.
    pub(crate) message: Cow<'static, str>,
    /// Bytes from the start of the text.
    pub(crate) at: usize,
    /// Names and indexes that lead there, innermost first.
    path: Vec<Segment>,
    /// Other faults of the same message.
    pub(crate) more: Vec<Self>,
}

#[derive(Debug)]
enum Segment {
    Name(String),
    Index(usize),
}

impl Fault {
    /// A fault at the place that is being read.
    pub(crate) fn new(code: &'static str, at: usize, message: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self { code, message: message.into(), at, path: Vec::new(), more: Vec::new() })
    }

    /// The same, one object further out.
    pub(crate) fn within(mut self: Box<Self>, name: &str) -> Box<Self> {
        // A name may be as long as a record; the pointer in an answer need not be.
        self.path.push(Segment::Name(name.chars().take(100).collect()));
        self
    }

    pub(crate) fn within_index(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.path.push(Segment::Index(index));
        self
    }

    /// Whether the text is no JSON, as opposed to JSON that is not accepted.
    pub(crate) fn is_syntax(&self) -> bool {
        self.code == "syntax"
    }

    /// The place as a JSON pointer (RFC 6901).
    pub(crate) fn pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in self.path.iter().rev() {
            match segment {
                Segment::Name(name) => {
                    pointer.push('/');
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                }
                Segment::Index(index) => {
                    let _ = write!(pointer, "/{index}");
                }
            }
        }
        pointer
    }
}

/// Line and column of a byte, both counted from 1; columns count characters.
pub(crate) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A string as it stands in the text, its escapes checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// With its quotes.
    pub(crate) quoted: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// What it says.
    pub(crate) fn decode(self) -> Cow<'a, str> {
        let plain = &self.quoted[1..self.quoted.len() - 1];
        if self.escaped {
            // Its escapes were checked, so decoding can't fail.
            serde_json::from_str::<String>(self.quoted).map_or(Cow::Borrowed(plain), Cow::Owned)
        } else {
            Cow::Borrowed(plain)
        }
    }
}

/// One member of an object.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    /// Its name.
    pub(crate) name: Cow<'a, str>,
    /// Its value, as it stands in the text.
    pub(crate) value: &'a str,
}

type Read<T> = Result<T, Box<Fault>>;

/// Reads one text from front to back.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
    max_fields: usize,
    fields: usize,
    members: Vec<Member<'a>>,
}

impl<'a> Scanner<'a> {
    /// A reader of `text` with these limits on what it reads as data.
    pub(crate) fn new(text: &'a str, max_depth: usize, max_fields: usize) -> Self {
        Self { text, at: 0, max_depth, max_fields, fields: 0, members: Vec::with_capacity(COMPARED_NAMES) }
    }

    /// Begins anew with another text; what it has allocated stays.
    pub(crate) fn restart(&mut self, text: &'a str) {
        self.text = text;
        self.at = 0;
        self.begin_message();
    }

    /// Where it stands, in bytes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes to another place, which must be the start of a value or white space before one.
    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// The next byte, after white space; `None` at the end.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes this byte if it comes next, after white space.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// A syntax error here, where `expected` should have been.
    pub(crate) fn syntax(&mut self, expected: &str) -> Box<Fault> {
        let found = match self.peek() {
            None => "the text ends".to_owned(),
            Some(0) => "found a NUL byte".to_owned(),
            Some(byte) if byte.is_ascii_graphic() => format!("found `{}`", byte as char),
            Some(_) => match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
                Some('\u{feff}') => "found a byte order mark".to_owned(),
                Some(found) => format!("found U+{:04X}", u32::from(found)),
                None => "found something else".to_owned(),
            },
        };
        Fault::new("syntax", self.at, format!("expected {expected}, {found}"))
    }

    /// Reads an object and calls `member` at each value, with its name; `member` must read exactly that value.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<()> {
        if !self.take(b'{') {
            return Err(self.syntax("an object"));
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.syntax("a name in double quotes"));
            }
            let name_at = self.at;
            let name = self.string()?.decode();
            self.fields += 1;
            if self.fields > self.max_fields {
                let message = format!("more than {} fields in one record", self.max_fields);
                return Err(Fault::new("too_many_fields", name_at, message).within(&name));
            }
            if !self.take(b':') {
                return Err(self.syntax("`:`").within(&name));
            }
            member(self, name)?;
            if self.take(b',') {
                continue;
            }
            if self.take(b'}') {
                return Ok(());
            }
            return Err(self.syntax("`,` or `}`"));
        }
    }

    /// Reads the record itself, an object, with a count of fields of its own; its members are in [`Self::members`] until
    /// the next record is read.
    pub(crate) fn record(&mut self) -> Read<&'a str> {
        if self.peek() != Some(b'{') {
            return Err(self.unexpected("`data` is a JSON object"));
        }
        let start = self.at;
        self.fields = 0;
        self.members.clear();
        self.nested_object(1)?;
        Ok(self.since(start))
    }

    /// A value of another type than is wanted here: JSON, but not accepted; or no JSON at all.
    pub(crate) fn unexpected(&mut self, wanted: &'static str) -> Box<Fault> {
        match self.peek() {
            Some(b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => Fault::new("type", self.at, wanted),
            _ => self.syntax("a value"),
        }
    }

    /// The members of the record read last.
    pub(crate) fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// Forgets the record read last.
    pub(crate) fn begin_message(&mut self) {
        self.fields = 0;
        self.members.clear();
    }

    /// Reads an object, leaving its members on the stack of members.
    fn nested_object(&mut self, depth: usize) -> Read<()> {
        let first = self.members.len();
        let mut seen: Option<HashSet<Cow<'a, str>>> = None;
        self.object(|scanner, name| {
            let known = &scanner.members[first..];
            let twice = match &mut seen {
                Some(seen) => !seen.insert(name.clone()),
                None if known.len() < COMPARED_NAMES => known.iter().any(|member| member.name == name),
                None => {
                    let mut names: HashSet<_> = known.iter().map(|member| member.name.clone()).collect();
                    let twice = !names.insert(name.clone());
                    seen = Some(names);
                    twice
                }
            };
            if twice {
                let fault = Fault::new("duplicate_name", scanner.at, "this name occurs twice in its object");
                return Err(fault.within(&name));
            }
            scanner.peek();
            let start = scanner.at;
            let below = scanner.members.len();
            if let Err(fault) = scanner.value(depth) {
                return Err(fault.within(&name));
            }
            scanner.members.truncate(below);
            let value = scanner.since(start);
            scanner.members.push(Member { name, value });
            Ok(())
        })
    }

    /// Reads any value at this depth of nesting.
    pub(crate) fn value(&mut self, depth: usize) -> Read<()> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{' | b'[') if depth >= self.max_depth => {
                let message = format!("nested deeper than {} levels", self.max_depth);
                Err(Fault::new("too_deep", self.at, message))
            }
            Some(b'{') => self.nested_object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => Err(self.syntax("a value")),
        }
    }

    fn array(&mut self, depth: usize) -> Read<()> {
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        let mut index = 0;
        let below = self.members.len();
        loop {
            if let Err(fault) = self.value(depth) {
                return Err(fault.within_index(index));
            }
            self.members.truncate(below);
            index += 1;
            if self.take(b',') {
                continue;
            }
            if self.take(b']') {
                return Ok(());
            }
            return Err(self.syntax("`,` or `]`").within_index(index));
        }
    }

    fn word(&mut self, word: &'static str) -> Read<()> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(Fault::new("syntax", self.at, format!("expected a value such as `{word}`")))
    }

    /// Reads a number, whatever its size.
    pub(crate) fn number(&mut self) -> Read<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        if bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
            if bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
                return Err(Fault::new("syntax", self.at, "a number must not begin with 0"));
            }
        } else {
            self.digits()?;
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.since(start))
    }

    fn digits(&mut self) -> Read<()> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        while bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(Fault::new("syntax", start, "expected a digit")) } else { Ok(()) }
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Read<Text<'a>> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a string"));
        }
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            let rest = &bytes[self.at..];
            self.at += plain(rest);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text { quoted: self.since(start), escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0) => return Err(Fault::new("syntax", self.at, "a NUL byte in a string; write \\u0000")),
                Some(byte) => {
                    let message = format!("a control character in a string; write \\u{byte:04x}");
                    return Err(Fault::new("syntax", self.at, message));
                }
                None => return Err(Fault::new("syntax", self.at, "the text ends within a string")),
            }
        }
    }

    fn escape(&mut self) -> Read<()> {
        let start = self.at;
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                return Ok(());
            }
            Some(b'u') => {}
            _ => return Err(Fault::new("syntax", start, "no such escape in a string")),
        }
        let unit = self.code_unit(start)?;
        self.at += 6;
        let lone = || Fault::new("lone_surrogate", start, "half of a surrogate pair is no character");
        match unit {
            0xD800..=0xDBFF => {
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(lone());
                }
                let low = self.code_unit(self.at)?;
                self.at += 6;
                if (0xDC00..=0xDFFF).contains(&low) { Ok(()) } else { Err(lone()) }
            }
            0xDC00..=0xDFFF => Err(lone()),
            _ => Ok(()),
        }
    }

    /// The four hexadecimal digits of the escape that begins at `start`.
    fn code_unit(&self, start: usize) -> Read<u32> {
        let digits = self.text.as_bytes().get(start + 2..start + 6);
        digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| Fault::new("syntax", start, "expected four hexadecimal digits after \\u"))
    }
}

#[cfg(test)]
mod tests;
