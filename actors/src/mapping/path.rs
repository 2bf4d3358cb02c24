//! Paths into a record: `customer.address.city`, `items[0].sku`, `customer["first.name"]`, and `.` for the value itself.
//!
//! A route's `from` is one; compile errors use them too, to say which field of a route is meant. Mapping reads all of a
//! route's paths in one pass ([`super::fields`]); [`Path::find`] is for whoever looks for a single one.

use std::{fmt, str::FromStr};

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most steps of a path; the door takes records of 64 levels at most.
const MAX_STEPS: usize = 32;

/// Greatest place in an array; a path is no way to read long arrays.
const MAX_INDEX: usize = 9_999;

/// A way into a JSON value, step by step. It has no steps where it is the value itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path {
    steps: Vec<Step>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the member of this name.
    Name(Box<str>),
    /// To the element at this place, from 0.
    Index(usize),
}

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {at}")]
pub struct PathError {
    /// Where, in characters from 1.
    pub at: usize,
    /// What is wrong there, and how it is written.
    pub message: String,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// What can't be read, and where.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text == "." {
            return Ok(Self::default());
        }
        let mut reader = Reader { text, at: 0 };
        let mut steps = Vec::new();
        loop {
            steps.push(if reader.take('[') { reader.bracket()? } else { Step::Name(reader.name()?) });
            if steps.len() > MAX_STEPS {
                return Err(reader.wrong(format!("the path has more than {MAX_STEPS} steps")));
            }
            match reader.rest().chars().next() {
                None => return Ok(Self { steps }),
                Some('[') => {}
                Some('.') => {
                    reader.at += 1;
                    if reader.rest().starts_with('[') {
                        return Err(reader.wrong("no `.` stands before `[`"));
                    }
                }
                Some(_) => return Err(reader.wrong("`.` or `[` is expected after `]`")),
            }
        }
    }

    /// The path of one name, whatever characters it has.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self { steps: vec![Step::Name(name.into())] }
    }

    /// The steps, outermost first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// This path and one more step to a name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.steps.push(Step::Name(name.into()));
        self
    }

    /// This path and one more step to a place.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.steps.push(Step::Index(index));
        self
    }

    /// This path, and from there another one.
    #[must_use]
    pub fn join(mut self, further: &Self) -> Self {
        self.steps.extend_from_slice(&further.steps);
        self
    }

    /// The value there, as the text it has in `json`; `None` where it is absent, where `null` or another kind of value is on
    /// the way, or where `json` can't be read.
    #[must_use]
    pub fn find<'m>(&self, json: &'m str) -> Option<&'m str> {
        Self::find_from(&self.steps, json)
    }

    /// The same for a path's last steps.
    #[must_use]
    pub fn find_from<'m>(steps: &[Step], json: &'m str) -> Option<&'m str> {
        let mut found = json.trim();
        for step in steps {
            let mut reader = serde_json::Deserializer::from_str(found);
            found = match (step, found.as_bytes().first()?) {
                (Step::Name(_), b'{') => reader.deserialize_map(One(step)).ok()??,
                (Step::Index(_), b'[') => reader.deserialize_seq(One(step)).ok()??,
                _ => return None,
            };
        }
        Some(found)
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

/// As it is parsed: names in brackets only where they need them.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return f.write_str(".");
        }
        for (place, step) in self.steps.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Name(name) if !is_bare(name) => write!(f, "[{}]", serde_json::Value::from(&**name))?,
                Step::Name(name) if place == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

/// Whether a name can stand without brackets and quotes.
fn is_bare(name: &str) -> bool {
    !name.is_empty()
        && name.trim() == name
        && !name.chars().any(|character| matches!(character, '.' | '[' | ']' | '"' | '\'') || character.is_control())
}

struct Reader<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, character: char) -> bool {
        let there = self.rest().starts_with(character);
        self.at += if there { character.len_utf8() } else { 0 };
        there
    }

    #[cold]
    fn wrong(&self, message: impl Into<String>) -> PathError {
        PathError { at: self.text[..self.at].chars().count() + 1, message: message.into() }
    }

    fn name(&mut self) -> Result<Box<str>, PathError> {
        let rest = self.rest();
        let name = &rest[..rest.find(['.', '[']).unwrap_or(rest.len())];
        if name.is_empty() {
            return Err(self.wrong("a name is missing"));
        }
        if is_bare(name) {
            self.at += name.len();
            return Ok(name.into());
        }
        if name.trim() == name {
            let odd = |character: char| !is_bare(character.encode_utf8(&mut [0; 4])) && character != ' ';
            self.at += name.find(odd).unwrap_or(0);
        }
        Err(self.wrong("a name with this character, or with space around it, is written in brackets and quotes, as in `customer[\"first.name\"]`:"))
    }

    /// What follows `[`.
    fn bracket(&mut self) -> Result<Step, PathError> {
        let rest = self.rest();
        let step = match rest.chars().next() {
            Some('"') => {
                let mut names = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let Some(Ok(name)) = names.next() else {
                    return Err(self.wrong("the quoted name can't be read"));
                };
                self.at += names.byte_offset();
                Step::Name(name.into())
            }
            // For TOML, where a text in double quotes would need backslashes.
            Some('\'') => {
                let Some(end) = rest[1..].find('\'') else { return Err(self.wrong("the quoted name has no end")) };
                self.at += end + 2;
                Step::Name(rest[1..=end].into())
            }
            Some('0'..='9') => {
                let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
                let index = rest[..end].parse().ok().filter(|index| *index <= MAX_INDEX);
                let Some(index) = index else {
                    return Err(self.wrong(format!("the place in an array is greater than {MAX_INDEX}")));
                };
                self.at += end;
                Step::Index(index)
            }
            Some('*') => {
                return Err(self.wrong("`[*]` is no place; an array goes into a table of its own with `children`"));
            }
            _ => return Err(self.wrong("a place from 0 or a quoted name is expected")),
        };
        if self.take(']') { Ok(step) } else { Err(self.wrong("`]` is missing")) }
    }
}

/// Finds one member or element, as raw JSON.
struct One<'p>(&'p Step);

impl<'m> Visitor<'m> for One<'_> {
    type Value = Option<&'m str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'m>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'m, str>>()? {
            if matches!(self.0, Step::Name(wanted) if **wanted == *name) {
                found = Some(map.next_value::<&'m RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'m>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut place) = (None, 0);
        while let Some(raw) = items.next_element::<&'m RawValue>()? {
            if *self.0 == Step::Index(place) {
                found = Some(raw.get());
            }
            place += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_written_as_it_is_read() {
        let table = [
            ("city", "city"),
            ("customer.address.city", "customer.address.city"),
            ("items[0].sku", "items[0].sku"),
            ("[2][3]", "[2][3]"),
            (r#"customer["first.name"].x"#, r#"customer["first.name"].x"#),
            ("customer['first.name'].x", r#"customer["first.name"].x"#),
            (r#"["a"]["b c"][""]"#, r#"a.b c[""]"#),
            (r#"["say \"hi\""]"#, r#"["say \"hi\""]"#),
            ("first name", "first name"),
            ("größe-in_cm", "größe-in_cm"),
            (".", "."),
        ];
        for (text, written) in table {
            assert_eq!(Path::parse(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_path_says_where() {
        let table = [
            ("", "a name is missing at character 1"),
            ("a..b", "a name is missing at character 3"),
            ("a.", "a name is missing at character 3"),
            (".a", "a name is missing at character 1"),
            ("größe..b", "a name is missing at character 7"),
            ("a.[0]", "no `.` stands before `[` at character 3"),
            ("a[0]b", "`.` or `[` is expected after `]` at character 5"),
            ("a[", "a place from 0 or a quoted name is expected at character 3"),
            ("a[-1]", "a place from 0 or a quoted name is expected at character 3"),
            ("a[*].b", "`[*]` is no place; an array goes into a table of its own with `children` at character 3"),
            ("a[0", "`]` is missing at character 4"),
            ("a[10000]", "the place in an array is greater than 9999 at character 3"),
            ("a[99999999999999999999]", "the place in an array is greater than 9999 at character 3"),
            ("a[\"b]", "the quoted name can't be read at character 3"),
            ("a['b]", "the quoted name has no end at character 3"),
        ];
        for (text, expected) in table {
            assert_eq!(Path::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        for (text, at) in [("a]", 2), ("ab\"c", 3), (" a", 1), ("a .b", 1)] {
            let error = Path::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}");
            assert!(error.message.contains("in brackets and quotes"), "{error}");
        }
        assert!(Path::parse(&vec!["a"; 33].join(".")).is_err());
        assert!(Path::parse(&vec!["a"; 32].join(".")).is_ok());
    }

    #[test]
    fn one_value_is_found_by_its_path() {
        let json = r#" {"a": {"b.c": [1, {"d": "x"}]}, "n": null, "t": 5} "#;
        let table = [
            (r#"a["b.c"][0]"#, Some("1")),
            (r#"a["b.c"][1].d"#, Some("\"x\"")),
            (r#"a["b.c"][2]"#, None),
            ("a.x", None),
            ("n", Some("null")),
            ("n.x", None),
            ("t.x", None),
            ("t[0]", None),
            (".", Some(json.trim())),
        ];
        for (path, expected) in table {
            assert_eq!(Path::parse(path).unwrap().find(json), expected, "{path}");
        }
        assert_eq!(Path::of_name("a").find("{\"a\""), None);
    }

    proptest! {
        #[test]
        fn every_path_is_read_back_and_no_text_panics(
            steps in proptest::collection::vec(proptest::option::of("\\PC{0,6}|[a-z.\\[\\]\"']{0,4}"), 1..6),
            text in "[a-c.\\[\\]\"' 0-9é]{0,16}",
        ) {
            let mut path = Path::default();
            for (place, step) in steps.into_iter().enumerate() {
                path = match step {
                    Some(name) => path.name(&name),
                    None => path.index(place),
                };
            }
            prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
            }
        }
    }
}
