//! Records as files and people write them: taken apart without losing a digit or the order of their fields, and as the
//! messages that a node would make of them.

use std::{collections::BTreeMap, fmt};

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use tidegate_actors::message::{Action, Message, StreamId};

/// The fields of a JSON object in their order; `None` where it is none.
#[must_use]
pub fn members(object: &str) -> Option<Vec<(String, &RawValue)>> {
    struct InOrder;

    impl<'m> Visitor<'m> for InOrder {
        type Value = Vec<(String, &'m RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'m>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry::<String, &'m RawValue>()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    serde_json::Deserializer::from_str(object).deserialize_map(InOrder).ok()
}

/// What is to be done with bare records, and what their topic is.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The topic of a record that names none.
    pub topic: String,
    /// What to do with its row; as at the door where it is left out: upsert with a key, insert without.
    pub action: Option<Action>,
    /// When it counts as received, in milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// The message that a node would make of a record: a bare one, or a whole message (`topic`, `action`, `key`, `data`).
///
/// `key` is the record's key where the caller found one in it, `sequence` tells messages of one moment apart.
///
/// # Errors
/// A sentence that says why no node would take it.
pub fn message(record: &str, key: Option<&str>, sequence: u64, manner: &Manner) -> Result<Message, String> {
    let fields = members(record).ok_or("it is not a JSON object")?;
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.get());
    let text = |name: &str| field(name).map(|raw| serde_json::from_str::<String>(raw).map_err(|_| not_a_text(name)));
    let mut message = Message {
        id: StreamId::new(manner.now_ms, sequence),
        topic: manner.topic.as_str().into(),
        action: Action::Insert,
        key: None,
        own_id: None,
        traceparent: None,
        data: record.into(),
    };
    let mut action = manner.action;
    let mut key = key.map(str::to_owned);
    if is_message(&fields) {
        if let Some(topic) = text("topic").transpose()? {
            message.topic = topic.into();
        }
        if let Some(name) = text("action").transpose()? {
            let known = Action::parse(&name);
            action =
                Some(known.ok_or_else(|| format!("`{name}` is no action; there are insert, upsert, update, delete"))?);
        }
        if let Some(own) = text("id").transpose()? {
            message.own_id = Some(own.into());
        }
        key = field("key").filter(|raw| *raw != "null").map(canonical).transpose()?.or(key);
        message.data = field("data").filter(|raw| *raw != "null").unwrap_or("{}").into();
    }
    message.action = action.unwrap_or(if key.is_some() { Action::Upsert } else { Action::Insert });
    message.key = key.map(String::into_boxed_str);
    Ok(message)
}

/// Whether this is a whole message and not a bare record.
#[must_use]
pub fn is_whole(record: &str) -> bool {
    members(record).is_some_and(|fields| is_message(&fields))
}

/// Whether these are the fields of a message around a record and not those of a record.
fn is_message(fields: &[(String, &RawValue)]) -> bool {
    let of_a_message = |name: &str| matches!(name, "topic" | "action" | "key" | "data" | "id" | "traceparent");
    let has = |wanted: &str| fields.iter().any(|(name, _)| name == wanted);
    let data = fields.iter().find(|(name, _)| name == "data").map(|(_, value)| value.get());
    let whole = match data {
        Some(data) => data.starts_with('{') || data == "null",
        None => has("key") && fields.iter().any(|(name, raw)| name == "action" && raw.get() == "\"delete\""),
    };
    whole && fields.iter().all(|(name, _)| of_a_message(name))
}

fn not_a_text(name: &str) -> String {
    format!("the message's `{name}` is not a text")
}

/// A key in its one spelling: names of a composite one sorted.
fn canonical(raw: &str) -> Result<String, String> {
    match raw.as_bytes().first() {
        Some(b'{') => {
            let parts: BTreeMap<String, &RawValue> = members(raw).unwrap_or_default().into_iter().collect();
            serde_json::to_string(&parts).map_err(|error| error.to_string())
        }
        Some(b'"' | b'-' | b'0'..=b'9') => Ok(raw.to_owned()),
        _ => Err("the message's `key` is neither a string, a number nor an object".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn made(record: &str, key: Option<&str>) -> Result<Message, String> {
        message(record, key, 7, &Manner { topic: "cars".into(), action: None, now_ms: 5 })
    }

    #[test]
    fn a_bare_record_is_inserted_and_one_with_a_key_upserted() {
        let bare = made(r#"{"id":1.50,"key":"k"}"#, None).unwrap();
        assert_eq!(
            (&*bare.topic, bare.action, bare.key, &*bare.data),
            ("cars", Action::Insert, None, r#"{"id":1.50,"key":"k"}"#)
        );
        assert_eq!(bare.id, StreamId::new(5, 7));
        let keyed = made(r#"{"id":1}"#, Some("1")).unwrap();
        assert_eq!((keyed.action, keyed.key.as_deref()), (Action::Upsert, Some("1")));
    }

    #[test]
    fn a_whole_message_says_itself_what_it_is() {
        let whole =
            made(r#"{"topic":"parts","action":"update","key":{"no":7,"branch":"JKT"},"data":{"a":1.10}}"#, None);
        let whole = whole.unwrap();
        assert_eq!((&*whole.topic, whole.action, &*whole.data), ("parts", Action::Update, r#"{"a":1.10}"#));
        assert_eq!(whole.key.as_deref(), Some(r#"{"branch":"JKT","no":7}"#));
        let delete = made(r#"{"action":"delete","key":"a"}"#, None).unwrap();
        assert_eq!((delete.action, &*delete.data), (Action::Delete, "{}"));
        // A record of its own with a field of this name.
        let bare = made(r#"{"data":{"a":1},"stock":4}"#, None).unwrap();
        assert_eq!(&*bare.data, r#"{"data":{"a":1},"stock":4}"#);
    }

    #[test]
    fn what_no_node_would_take_is_told() {
        let told = |record| made(record, None).unwrap_err();
        assert!(told(r#"{"action":"drop","data":{}}"#).contains("`drop` is no action"));
        assert!(told(r#"{"key":[1],"data":{}}"#).contains("neither a string"));
        assert!(told("[1]").contains("not a JSON object"));
    }
}
