//! One stream entry: a single field, whose name is the version of the format, `2`, and whose value is the whole record. An
//! entry of one field costs Redis half the time of one of seven, when it is written and whenever it is read.
//!
//! The value is a head, then topic, key, own id and `traceparent` without anything between them, then the record as the bytes
//! that came in. The head is the letter of the action (`i` insert, `p` upsert (put), `u` update, `d` delete) and the length of
//! each of the four in bytes, 0 where there is none, and a line feed: `p 4 2 0 0`, `cars42{"id":42}`.
//!
//! Version 1 had a field for each of them (`v`, `t`, `a`, `k`, `i`, `p`, `d`); it is still read.

use std::{io::Write as _, sync::Arc};

use redis::{RedisWrite, ToRedisArgs, Value};
use tidegate_actors::{
    message::{Action, Message, StreamId},
    ports::{Entry, NewRecord},
};

/// The version that is written, and the name of the field. A reader that meets another holds its lane and says so.
pub const FORMAT: &str = "2";

/// The letter of an action.
#[must_use]
pub const fn action_letter(action: Action) -> &'static str {
    match action {
        Action::Insert => "i",
        Action::Upsert => "p",
        Action::Update => "u",
        Action::Delete => "d",
    }
}

fn action_of(letter: &[u8]) -> Option<Action> {
    Action::ALL.into_iter().find(|action| action_letter(*action).as_bytes() == letter)
}

/// A record as the value of an entry; written where it is wanted, without a copy of its own.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a>(pub &'a NewRecord);

impl<'a> Packed<'a> {
    /// What comes after the head.
    fn parts(self) -> [&'a str; 5] {
        let Self(record) = self;
        [
            &record.topic,
            record.key.as_deref().unwrap_or_default(),
            record.own_id.as_deref().unwrap_or_default(),
            record.traceparent.as_deref().unwrap_or_default(),
            &record.data,
        ]
    }

    /// About how many bytes it has, and not fewer.
    #[must_use]
    pub fn most_bytes(self) -> usize {
        48 + self.parts().iter().map(|part| part.len()).sum::<usize>()
    }
}

impl ToRedisArgs for Packed<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut value = out.writer_for_next_arg();
        let [topic, key, own_id, traceparent, data] = self.parts();
        let letter = action_letter(self.0.action);
        // Writing into memory does not fail.
        let _ = writeln!(value, "{letter} {} {} {} {}", topic.len(), key.len(), own_id.len(), traceparent.len());
        for part in [topic, key, own_id, traceparent, data] {
            let _ = value.write_all(part.as_bytes());
        }
    }
}

/// The names and values of a new entry.
#[must_use]
pub fn fields(record: &NewRecord) -> [(&'static str, Packed<'_>); 1] {
    [(FORMAT, Packed(record))]
}

/// The text of a bulk or simple string.
#[must_use]
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// Reads one `[id, [name, value, …]]` of XRANGE or XREAD. `None`: not even an id.
#[must_use]
pub fn parse(value: Value) -> Option<Entry> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let id: StreamId = text(&parts.next()?)?.parse().ok()?;
    Some(match parts.next() {
        Some(Value::Array(flat)) => {
            read(id, flat).map_or_else(|why| Entry::Unknown { id, why }, |message| Entry::Message(Arc::new(message)))
        }
        _ => Entry::Unknown { id, why: "it has no fields".into() },
    })
}

fn read(id: StreamId, flat: Vec<Value>) -> Result<Message, String> {
    match flat.as_slice() {
        [Value::BulkString(name), Value::BulkString(value)] if name == FORMAT.as_bytes() => {
            unpack(id, value).map_err(str::to_owned)
        }
        _ => read_first_version(id, flat),
    }
}

/// Reads the value of an entry.
///
/// # Errors
/// It is none; why.
pub fn unpack(id: StreamId, value: &[u8]) -> Result<Message, &'static str> {
    let value = std::str::from_utf8(value).map_err(|_| "it is not UTF-8")?;
    let odd = "its head can't be understood";
    let (head, mut rest) = value.split_once('\n').ok_or(odd)?;
    let mut words = head.split(' ');
    let action =
        action_of(words.next().unwrap_or_default().as_bytes()).ok_or("its action is unknown: update this node")?;
    let mut part = || {
        let length = words.next()?.parse().ok()?;
        let (part, further) = rest.split_at_checked(length)?;
        rest = further;
        Some(part)
    };
    let (topic, key) = (part().ok_or(odd)?, part().ok_or(odd)?);
    let (own_id, traceparent) = (part().ok_or(odd)?, part().ok_or(odd)?);
    let present = |text: &str| (!text.is_empty()).then(|| text.into());
    Ok(Message {
        id,
        topic: topic.into(),
        action,
        key: present(key),
        own_id: present(own_id),
        traceparent: present(traceparent),
        data: rest.into(),
    })
}

fn read_first_version(id: StreamId, flat: Vec<Value>) -> Result<Message, String> {
    let update = |version: &[u8]| {
        let version: String = String::from_utf8_lossy(version).chars().take(20).collect();
        format!("its format version is {version}, this node knows {FORMAT}: update this node")
    };
    if let [Value::BulkString(name), Value::BulkString(_)] = flat.as_slice()
        && !name.is_empty()
        && name.iter().all(u8::is_ascii_digit)
    {
        return Err(update(name));
    }
    let mut slots: [Option<Vec<u8>>; 7] = Default::default();
    let mut flat = flat.into_iter();
    while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) = (flat.next(), flat.next()) {
        let place = ["v", "t", "a", "k", "i", "p", "d"].iter().position(|field| field.as_bytes() == name);
        if let Some(place) = place {
            slots[place] = Some(value);
        }
    }
    let [version, topic, action, key, own_id, traceparent, data] = slots;
    let version = version.ok_or("it has no format version: it was not written by Tidegate")?;
    if version != b"1" {
        return Err(update(&version));
    }
    let utf8 = |name: &str, bytes: Option<Vec<u8>>| {
        let bytes = bytes.ok_or_else(|| format!("it has no field `{name}`"))?;
        String::from_utf8(bytes).map(String::into_boxed_str).map_err(|_| format!("field `{name}` is not UTF-8"))
    };
    let present = |text: Box<str>| (!text.is_empty()).then_some(text);
    let action = action.ok_or("it has no field `a`")?;
    Ok(Message {
        id,
        topic: utf8("t", topic)?,
        action: action_of(&action).ok_or("its action is unknown: update this node")?,
        key: present(utf8("k", key)?),
        own_id: present(utf8("i", own_id)?),
        traceparent: present(utf8("p", traceparent)?),
        data: utf8("d", data)?,
    })
}

/// About how many bytes an entry takes in memory.
#[must_use]
pub fn size_bytes(entry: &Entry) -> usize {
    match entry {
        Entry::Message(message) => {
            let optional = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
            let extras = optional(&message.key) + optional(&message.own_id) + optional(&message.traceparent);
            message.data.len() + message.topic.len() + extras + size_of::<Message>() + size_of::<Entry>()
        }
        Entry::Unknown { why, .. } => why.len() + size_of::<Entry>(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn raw(id: &str, fields: &[(&str, &[u8])]) -> Value {
        let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        let flat = fields.iter().flat_map(|(name, value)| [bulk(name.as_bytes()), bulk(value)]).collect();
        Value::Array(vec![bulk(id.as_bytes()), Value::Array(flat)])
    }

    fn of(record: &NewRecord) -> Value {
        let [(name, value)] = fields(record);
        raw("5-1", &[(name, &value.to_redis_args()[0])])
    }

    #[test]
    fn every_record_comes_back_as_it_was() {
        for action in Action::ALL {
            for (key, own_id, traceparent) in [
                (None, None, None),
                (Some(r#"{"branch":"JKT","no":7}"#), None, Some("00-1-2-01")),
                (Some("\"ключ\""), Some("4 4 4"), None),
            ] {
                let record = NewRecord {
                    topic: "cars\n1 2".into(),
                    action,
                    key: key.map(Into::into),
                    own_id: own_id.map(Into::into),
                    traceparent: traceparent.map(Into::into),
                    data: "{\n\"price\":1.10000000000000000000001}".into(),
                };
                let Some(Entry::Message(message)) = parse(of(&record)) else { panic!("not a message") };
                let message = Arc::unwrap_or_clone(message);
                assert_eq!(message.id, StreamId::new(5, 1));
                assert_eq!(
                    (message.topic, message.action, message.key, message.own_id, message.traceparent, message.data),
                    (record.topic, record.action, record.key, record.own_id, record.traceparent, record.data)
                );
            }
        }
    }

    #[test]
    fn an_entry_of_the_first_version_is_still_read() {
        let fields: &[(&str, &[u8])] =
            &[("v", b"1"), ("t", b"c"), ("a", b"i"), ("k", b"7"), ("i", b""), ("p", b""), ("d", b"{}")];
        let Some(Entry::Message(message)) = parse(raw("7-0", fields)) else { panic!("not a message") };
        assert_eq!((&*message.topic, message.key.as_deref(), &*message.data), ("c", Some("7"), "{}"));
    }

    #[test]
    fn what_is_not_understood_keeps_its_id() {
        let good: &[(&str, &[u8])] =
            &[("v", b"1"), ("t", b"c"), ("a", b"i"), ("k", b""), ("i", b""), ("p", b""), ("d", b"{}")];
        let first = |place: usize, value| {
            let mut fields = good.to_vec();
            fields[place] = (fields[place].0, value);
            fields
        };
        for (fields, why) in [
            (first(0, &b"3"[..]), "update this node"),
            (first(2, b"z"), "action is unknown"),
            (first(6, b"\xff"), "not UTF-8"),
            (vec![("3", b"anything")], "update this node"),
            (vec![("2", b"z 1 0 0 0\nc{}")], "action is unknown"),
            (vec![("2", b"i 9 0 0 0\nc{}")], "can't be understood"),
            (vec![("2", b"i 1 0 0\nc{}")], "can't be understood"),
            (vec![("2", b"i 1 0 0 0 c{}")], "can't be understood"),
            (vec![("2", b"i 1 0 0 0\nc\xff")], "not UTF-8"),
            (vec![("2", "i 1 0 0 0\né{}".as_bytes())], "can't be understood"),
            (vec![("hello", b"world")], "not written by Tidegate"),
        ] {
            let Some(Entry::Unknown { id, why: said }) = parse(raw("7-0", &fields)) else { panic!("understood") };
            assert_eq!(id, StreamId::new(7, 0));
            assert!(said.contains(why), "{said}");
        }
    }
}
