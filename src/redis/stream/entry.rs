//! One stream entry: seven short fields, always all of them and in the same order, so that Redis keeps their names once for
//! each node of the stream (Redis, *Streams*: entries with the same fields as the node's first are compressed).
//!
//! | field | |
//! |---|---|
//! | `v` | format version, `1` |
//! | `t` | topic |
//! | `a` | action: `i` insert, `p` upsert (put), `u` update, `d` delete |
//! | `k` | key as compact JSON, or empty |
//! | `i` | the producer's own id, or empty |
//! | `p` | W3C `traceparent`, or empty |
//! | `d` | the record, as the bytes that came in |

use std::sync::Arc;

use redis::Value;
use tidegate_actors::{
    message::{Action, Message, StreamId},
    ports::{Entry, NewRecord},
};

/// The version that is written. A reader that meets another holds its lane and says so.
pub const FORMAT: &str = "1";

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

pub(super) fn action_of(letter: &[u8]) -> Option<Action> {
    Action::ALL.into_iter().find(|action| action_letter(*action).as_bytes() == letter)
}

/// The names and values of a new entry, in order.
#[must_use]
pub fn fields(record: &NewRecord) -> [(&'static str, &str); 7] {
    [
        ("v", FORMAT),
        ("t", &record.topic),
        ("a", action_letter(record.action)),
        ("k", record.key.as_deref().unwrap_or_default()),
        ("i", record.own_id.as_deref().unwrap_or_default()),
        ("p", record.traceparent.as_deref().unwrap_or_default()),
        ("d", &record.data),
    ]
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
    if version != FORMAT.as_bytes() {
        let version: String = String::from_utf8_lossy(&version).chars().take(20).collect();
        return Err(format!("its format version is {version}, this node knows {FORMAT}: update this node"));
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

    #[test]
    fn every_record_comes_back_as_it_was() {
        for action in Action::ALL {
            let record = NewRecord {
                topic: "cars".into(),
                action,
                key: Some(r#"{"branch":"JKT","no":7}"#.into()),
                own_id: None,
                traceparent: Some("00-1-2-01".into()),
                data: r#"{"price":1.10000000000000000000001}"#.into(),
            };
            let flat: Vec<_> = fields(&record).iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            let Some(Entry::Message(message)) = parse(raw("5-1", &flat)) else { panic!("not a message") };
            let message = Arc::unwrap_or_clone(message);
            assert_eq!(message.id, StreamId::new(5, 1));
            assert_eq!(
                (message.topic, message.action, message.key, message.own_id, message.traceparent, message.data),
                (record.topic, record.action, record.key, record.own_id, record.traceparent, record.data)
            );
        }
    }

    #[test]
    fn what_is_not_understood_keeps_its_id() {
        let good: &[(&str, &[u8])] =
            &[("v", b"1"), ("t", b"c"), ("a", b"i"), ("k", b""), ("i", b""), ("p", b""), ("d", b"{}")];
        for (place, value, why) in
            [(0, &b"2"[..], "update this node"), (2, b"z", "action is unknown"), (6, b"\xff", "not UTF-8")]
        {
            let mut fields = good.to_vec();
            fields[place].1 = value;
            let Some(Entry::Unknown { id, why: said }) = parse(raw("7-0", &fields)) else { panic!("understood") };
            assert_eq!(id, StreamId::new(7, 0));
            assert!(said.contains(why), "{said}");
        }
        let by_hand = parse(raw("8-0", &[("hello", b"world")]));
        assert!(matches!(by_hand, Some(Entry::Unknown { why, .. }) if why.contains("not written by Tidegate")));
    }
}
