//! JSON into values of an expression, and back.
//!
//! A whole number is an `int`, or a `uint` beyond that; other numbers are a `double` where a double has all their digits. A
//! number that none of them holds exactly is a string of its digits, so that it passes through an expression unchanged and
//! arithmetic on it is an error instead of a wrong result.

use std::{borrow::Cow, collections::HashMap, fmt};

use cel::{
    Value as Outcome,
    common::{
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt},
        value::Val,
    },
    objects::{Key, OptionalValue},
};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::cast::{self, CastError, Number, Value};

/// How deep objects and arrays may stand in one another: what the door lets in by default. The interpreter calls itself for each.
const MAX_DEPTH: usize = 64;

/// The value of one valid JSON text; it borrows the texts that have no escapes.
pub(super) fn to_val<'m>(raw: &'m str) -> Result<Box<dyn Val + 'm>, CastError> {
    let mut walk = Walk { rest: raw };
    walk.value(0)
}

/// Walks over JSON that is known to be valid; what is not gives an error and never a panic.
struct Walk<'m> {
    rest: &'m str,
}

#[cold]
fn invalid() -> CastError {
    CastError::kind("is not JSON that can be read")
}

impl<'m> Walk<'m> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes what the next value is made of, up to this byte.
    fn take(&mut self, length: usize) -> Result<&'m str, CastError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(invalid)?;
        self.rest = rest;
        Ok(taken)
    }

    fn value(&mut self, depth: usize) -> Result<Box<dyn Val + 'm>, CastError> {
        if depth > MAX_DEPTH {
            return Err(CastError::kind(format!("has more than {MAX_DEPTH} objects and arrays inside one another")));
        }
        self.skip_space();
        match self.rest.as_bytes().first() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Box::new(CelString::from(self.string()?))),
            _ => {
                let end = self.rest.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(self.rest.len());
                scalar(self.take(end)?)
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'m, str>, CastError> {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return Err(invalid()),
            }
        }
        match Value::read(self.take(at + 1)?)? {
            Value::Text(text) => Ok(text),
            _ => Err(invalid()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Box<dyn Val + 'm>, CastError> {
        self.take(1)?;
        let mut members: HashMap<CelMapKey<'m>, Box<dyn Val + 'm>> = HashMap::new();
        if !self.eat('}') {
            loop {
                self.skip_space();
                if !self.rest.starts_with('"') {
                    return Err(invalid());
                }
                let name = match self.string()? {
                    Cow::Borrowed(name) => CelMapKey::from(name),
                    Cow::Owned(name) => CelMapKey::from(name),
                };
                if !self.eat(':') {
                    return Err(invalid());
                }
                if members.insert(name, self.value(depth + 1)?).is_some() {
                    return Err(CastError::kind("has a field that stands there twice"));
                }
                if self.eat('}') {
                    break;
                }
                if !self.eat(',') {
                    return Err(invalid());
                }
            }
        }
        Ok(Box::new(CelMap::from(members)))
    }

    fn array(&mut self, depth: usize) -> Result<Box<dyn Val + 'm>, CastError> {
        self.take(1)?;
        let mut elements = Vec::new();
        if !self.eat(']') {
            loop {
                elements.push(self.value(depth + 1)?);
                if self.eat(']') {
                    break;
                }
                if !self.eat(',') {
                    return Err(invalid());
                }
            }
        }
        Ok(Box::new(CelList::from(elements)))
    }
}

fn scalar(text: &str) -> Result<Box<dyn Val + '_>, CastError> {
    Ok(match text {
        "null" => Box::new(CelNull),
        "true" => Box::new(CelBool::from(true)),
        "false" => Box::new(CelBool::from(false)),
        text => {
            if let Ok(number) = text.parse::<i64>() {
                return Ok(Box::new(CelInt::from(number)));
            }
            if let Ok(number) = text.parse::<u64>() {
                return Ok(Box::new(CelUInt::from(number)));
            }
            match exact_double(text) {
                Some(number) => Box::new(CelDouble::from(number)),
                None => Box::new(CelString::from(text)),
            }
        }
    })
}

/// The number as a double, if its shortest text is the same number.
fn exact_double(text: &str) -> Option<f64> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    // A double has at least 15 digits, wherever it does not come near its ends.
    let few_digits = text.len() <= 16 && !text.contains(['e', 'E']);
    let same = || {
        let shown = format!("{number:?}");
        let (shown, text) = (Number::parse(&shown).ok()?, Number::parse(text).ok()?);
        Some(shown.compare(&text) == std::cmp::Ordering::Equal)
    };
    (few_digits || same()?).then_some(number)
}

/// The members of an object in their order, values as raw JSON.
pub(super) fn members(object: &str) -> Result<Vec<(Cow<'_, str>, &str)>, serde_json::Error> {
    struct Members;

    impl<'m> Visitor<'m> for Members {
        type Value = Vec<(Cow<'m, str>, &'m str)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'m>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(name) = map.next_key_seed(Name)? {
                members.push((name, map.next_value::<&'m RawValue>()?.get()));
            }
            Ok(members)
        }
    }

    /// A member's name, borrowed where it has no escapes.
    struct Name;

    impl<'m> DeserializeSeed<'m> for Name {
        type Value = Cow<'m, str>;

        fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_str(self)
        }
    }

    impl<'m> Visitor<'m> for Name {
        type Value = Cow<'m, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a name")
        }

        fn visit_borrowed_str<E>(self, name: &'m str) -> Result<Self::Value, E> {
            Ok(name.into())
        }

        fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
            Ok(name.to_owned().into())
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    let members = json.deserialize_map(Members)?;
    json.end()?;
    Ok(members)
}

/// What an expression has come to, as a value of a column.
pub(super) fn from_val(result: &(dyn Val + '_)) -> Result<Value<'static>, CastError> {
    match Outcome::try_from(result) {
        Ok(result) => from_result(&result),
        Err(_) => Err(CastError { code: "expression", why: "comes to something that no column can hold".into() }),
    }
}

fn from_result(result: &Outcome) -> Result<Value<'static>, CastError> {
    Ok(match result {
        Outcome::Null => Value::Null,
        Outcome::Bool(truth) => Value::Bool(*truth),
        Outcome::Int(number) => Value::Number(number.to_string().into()),
        Outcome::UInt(number) => Value::Number(number.to_string().into()),
        Outcome::Float(number) => Value::Number(shortest(*number)?.into()),
        Outcome::String(text) => Value::Text(text.to_string().into()),
        Outcome::Bytes(bytes) => Value::Text(cast::encode_base64(bytes).into()),
        Outcome::Timestamp(at) => Value::Text(at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into()),
        Outcome::Duration(span) => Value::Text(seconds(*span).into()),
        Outcome::List(_) => Value::Array(json(result)?.into()),
        Outcome::Map(_) => Value::Object(json(result)?.into()),
        Outcome::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>().map(OptionalValue::value) {
            Some(Some(value)) => from_result(value)?,
            Some(None) => Value::Null,
            None => return Err(no_value()),
        },
        _ => return Err(no_value()),
    })
}

#[cold]
fn no_value() -> CastError {
    CastError { code: "expression", why: "comes to something that no column can hold".into() }
}

/// The shortest text that is this double, in JSON's notation.
fn shortest(number: f64) -> Result<String, CastError> {
    if !number.is_finite() {
        let why = "comes to a number that is infinite or none at all".into();
        return Err(CastError { code: "expression", why });
    }
    let shown = format!("{number:?}");
    Ok(match shown.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => shown,
    })
}

/// A span of time as the language itself writes it: `5400s`, `0.25s`.
fn seconds(span: chrono::TimeDelta) -> String {
    let sign = if span < chrono::TimeDelta::zero() { "-" } else { "" };
    let span = span.abs();
    let fraction = format!("{:09}", span.subsec_nanos());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}s", span.num_seconds())
}

/// Lists and maps as JSON; members in the order of their names, so that the same record always gives the same text.
fn json(result: &Outcome) -> Result<String, CastError> {
    Ok(match result {
        Outcome::List(elements) => {
            let elements: Result<Vec<_>, _> = elements.iter().map(json).collect();
            format!("[{}]", elements?.join(","))
        }
        Outcome::Map(map) => {
            let mut members: Vec<(String, &Outcome)> =
                map.map.iter().map(|(name, value)| (text(name), value)).collect();
            members.sort_by(|left, right| left.0.cmp(&right.0));
            let members: Result<Vec<_>, CastError> = members
                .into_iter()
                .map(|(name, value)| Ok(format!("{}:{}", serde_json::Value::from(name), json(value)?)))
                .collect();
            format!("{{{}}}", members?.join(","))
        }
        other => match from_result(other)? {
            Value::Null => "null".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(text) | Value::Object(text) | Value::Array(text) => text.into_owned(),
            Value::Text(text) => serde_json::Value::from(&*text).to_string(),
        },
    })
}

fn text(key: &Key) -> String {
    match key {
        Key::Int(number) => number.to_string(),
        Key::Uint(number) => number.to_string(),
        Key::Bool(truth) => truth.to_string(),
        Key::String(text) => text.to_string(),
    }
}
