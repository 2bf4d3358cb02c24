//! What is different between two documents, field by field, for the list of changes. It is worked out from the documents
//! themselves, so no act can forget to say something; secrets, and what stands for one, are masked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resources::Document;

/// Most differences of one entry: an apply of a thousand routes is told by its lines.
const MOST: usize = 100;
/// Longest value that is told whole, in characters.
const MOST_CHARS: usize = 200;
/// Longest text of all differences of one entry.
const MOST_BYTES: usize = 4 * 1024;
/// What stands for a secret.
const MASK: &str = "(secret)";
/// Fields whose values are never told, wherever they stand; what is below them isn't either.
const SECRET: &[&str] = &["password", "digest", "epoch", "recovery", "secret", "token", "nonce", "text"];
/// Fields that only count what is told anyway.
const COUNTERS: &[&str] = &["revision", "version", "password_at_ms"];

/// One field that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Of what: ``destination `rooms` ``.
    pub of: String,
    /// Which field, with dots between the parts of its path.
    pub field: String,
    /// What it was; `None` where it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is; `None` where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// All that is different, the first [`MOST`] of it.
pub(super) fn between(old: &Document, new: &Document) -> Vec<Difference> {
    let (old, new) = (value(old), value(new));
    let mut found = Vec::new();
    for (list, word, id) in [
        ("applications", "application", "name"),
        ("destinations", "destination", "id"),
        ("routes", "route", "id"),
        ("users", "user", "name"),
        ("shops", "shop", "name"),
        ("categories", "category", "name"),
    ] {
        let (old, new) = (by_id(&old[list], id), by_id(&new[list], id));
        let ids: std::collections::BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        for id in ids {
            let (old, new) = (old.get(id).copied(), new.get(id).copied());
            if old == new {
                continue;
            }
            let name = new.or(old).and_then(|one| one["name"].as_str()).unwrap_or(id);
            compare(&format!("{word} `{name}`"), old, new, &mut found);
        }
    }
    for (field, of) in [("revoked_terminals", "revoked terminals"), ("moved_terminals", "moved terminals")] {
        if old[field] != new[field] {
            compare(of, old.get(field), new.get(field), &mut found);
        }
    }
    if old["settings"] != new["settings"] {
        compare("settings", old.get("settings"), new.get("settings"), &mut found);
    }
    if found.len() > MOST {
        let more = found.len() - MOST;
        found.truncate(MOST);
        found.push(Difference { of: String::new(), field: format!("and {more} more"), before: None, after: None });
    }
    found
}

/// As the stream of changes keeps it.
pub(super) fn encode(differences: &[Difference]) -> String {
    let mut many = differences.len();
    loop {
        let text = serde_json::to_string(&differences[..many]).unwrap_or_default();
        if text.len() <= MOST_BYTES || many == 0 {
            return text;
        }
        many /= 2;
    }
}

fn value(document: &Document) -> Value {
    serde_json::to_value(document).unwrap_or(Value::Null)
}

fn by_id<'a>(list: &'a Value, id: &str) -> BTreeMap<&'a str, &'a Value> {
    let all = list.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(|one| Some((one[id].as_str()?, one))).collect()
}

fn compare(of: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten(String::new(), old.unwrap_or(&Value::Null), false, &mut before);
    flatten(String::new(), new.unwrap_or(&Value::Null), false, &mut after);
    let fields: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for field in fields {
        let (old, new) = (before.get(field), after.get(field));
        if old.map(|leaf| &leaf.whole) == new.map(|leaf| &leaf.whole) {
            continue;
        }
        let shown = |leaf: Option<&Leaf>| leaf.map(|leaf| leaf.shown.clone());
        found.push(Difference { of: of.to_owned(), field: field.clone(), before: shown(old), after: shown(new) });
    }
}

/// A value at the end of a path.
struct Leaf {
    whole: String,
    shown: String,
}

fn flatten(path: String, value: &Value, secret: bool, leaves: &mut BTreeMap<String, Leaf>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Null => {}
        // Nothing is there, as where there is no list.
        Value::Array(items) if items.is_empty() => {}
        Value::Object(fields) if !secret => {
            for (name, value) in fields {
                if !COUNTERS.contains(&name.as_str()) && name != "id" {
                    // Where a webhook is, is often all that it takes to call it.
                    let secret = SECRET.contains(&name.as_str()) || (path.ends_with(".way") && name == "url");
                    flatten(below(name), value, secret, leaves);
                }
            }
        }
        // Lists of things that have an id or a name are told by it, so that one more is one difference.
        Value::Array(items) if !secret && items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                let name = item["id"].as_str().or(item["name"].as_str()).map_or(index.to_string(), str::to_owned);
                flatten(below(&name), item, false, leaves);
            }
        }
        value => {
            let whole = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let shown = if secret { MASK.to_owned() } else { shortened(&whole) };
            leaves.insert(path, Leaf { whole, shown });
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;

    use super::*;

    fn document(destination: Value, keys: Value) -> Document {
        serde_json::from_value(json!({
            "version": 1, "installation": "i",
            "applications": [{"name": "car-app", "created_at_ms": 1, "keys": keys}],
            "destinations": [destination],
        }))
        .unwrap()
    }

    #[test]
    fn fields_are_told_before_and_after_and_secrets_never() {
        let sealed = |text: &str| json!({"key": "k1", "nonce": "canary-nonce", "text": text});
        let old = document(
            json!({"id": "d1", "name": "rooms", "kind": "postgres", "url": "postgres://a/b", "password": sealed("canary-1"), "revision": 1}),
            json!([]),
        );
        let new = document(
            json!({"id": "d1", "name": "halls", "kind": "postgres", "url": "postgres://a/c", "password": sealed("canary-2"), "revision": 2}),
            json!([{"id": "AbC12345", "digest": "canary-digest", "created_at_ms": 5}]),
        );
        let found = between(&old, &new);
        let told: Vec<String> = found
            .iter()
            .map(|one| format!("{} {}: {:?} {:?}", one.of, one.field, one.before.as_deref(), one.after.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                r#"application `car-app` keys.AbC12345.created_at_ms: None Some("5")"#,
                r#"application `car-app` keys.AbC12345.digest: None Some("(secret)")"#,
                r#"destination `halls` name: Some("rooms") Some("halls")"#,
                r#"destination `halls` password: Some("(secret)") Some("(secret)")"#,
                r#"destination `halls` url: Some("postgres://a/b") Some("postgres://a/c")"#,
            ]
        );
        assert!(!encode(&found).contains("canary"));
        assert_eq!(between(&old, &old), []);
        assert_eq!(between(&old, &Document::default()).iter().filter(|one| one.after.is_some()).count(), 0);
    }

    #[test]
    fn what_is_too_much_is_cut() {
        let topics: Vec<String> = (0..MOST * 2).map(|number| format!("topic-{number}")).collect();
        let many = |names: &[String]| {
            let all: Vec<Value> = names.iter().map(|name| json!({"name": name, "created_at_ms": 1})).collect();
            serde_json::from_value::<Document>(json!({"version": 1, "installation": "i", "applications": all})).unwrap()
        };
        let found = between(&many(&[]), &many(&topics));
        assert_eq!(found.len(), MOST + 1);
        assert!(found[MOST].field.starts_with("and "), "{:?}", found[MOST]);
        assert!(encode(&found).len() <= MOST_BYTES);
        assert_eq!(shortened(&"é".repeat(MOST_CHARS + 1)).chars().count(), MOST_CHARS + 2);
    }
}
