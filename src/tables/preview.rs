//! What single columns would receive from one record, each by itself: an editor shows it beside a rule that is being written,
//! while the rest of the route may not be right yet.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tidegate_actors::{
    mapping::{Mapping, Whence},
    message::{Action, Message},
    route::{ColumnSource, Columns, RouteSpec},
    schema::{ColumnSchema, TableSchema},
};

use super::{
    dry_run::{DryRun, Outcome, Refusal},
    record::members,
};

/// What this column would receive: its value as it is sent, nothing where the record does not speak of it, or why it can't.
///
/// # Errors
/// The rule can't work, or the column does not take the value.
pub fn preview(
    column: &ColumnSchema,
    source: &ColumnSource,
    message: &Message,
    whence: Whence<'_>,
) -> Result<Option<Box<RawValue>>, Refusal> {
    // What a whole row needs is not asked of one column.
    let column = ColumnSchema { nullable: true, has_default: true, ..column.clone() };
    let name = column.name.clone();
    let route = RouteSpec {
        topic: message.topic.to_string(),
        columns: Columns::Named(BTreeMap::from([(name.clone(), source.clone())])),
        ..RouteSpec::default()
    };
    let table =
        TableSchema { schema: String::new(), name: String::new(), columns: vec![column], unique_keys: Vec::new() };
    let mapping = Mapping::compile(&route, table, Vec::new()).map_err(|errors| {
        let message = errors.into_iter().next().map_or_else(String::new, |error| error.message);
        Refusal { code: "rule".into(), column: Some(name.clone()), message }
    })?;
    let message = Message { action: Action::Insert, ..message.clone() };
    match DryRun::new(&route, mapping).run(&message, whence) {
        Outcome::Row(row) => Ok(row.cells.into_iter().next().map(|cell| cell.value)),
        Outcome::Refused(refusal) => Err(refusal),
        Outcome::OtherTopic { .. } | Outcome::Skipped | Outcome::Nothing => Ok(None),
    }
}

/// What the message's own key says of a key column, where no field feeds that.
#[must_use]
pub fn of_key(key: &[String], column: &str, message: &Message) -> Option<Box<RawValue>> {
    let text = message.key.as_deref()?;
    let raw = match members(text) {
        Some(parts) => parts.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(column))?.1.get().to_owned(),
        None if key.len() == 1 && key[0].eq_ignore_ascii_case(column) => text.to_owned(),
        None => return None,
    };
    RawValue::from_string(raw).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use tidegate_actors::{
        message::{Generation, StreamId},
        schema::ColumnType,
    };

    use super::*;

    fn message(key: Option<&str>, data: &str) -> Message {
        Message {
            id: StreamId::new(1, 0),
            topic: "cars".into(),
            action: Action::Update,
            key: key.map(Into::into),
            own_id: None,
            traceparent: None,
            data: data.into(),
        }
    }

    #[test]
    fn a_column_shows_what_it_would_receive_or_why_not() {
        let column = ColumnSchema {
            name: "price".into(),
            declared: "decimal(14,2)".into(),
            kind: ColumnType::Decimal { precision: Some(14), scale: Some(2) },
            nullable: false,
            has_default: false,
            default: None,
            generated: false,
        };
        let record = message(None, r#"{"price":"Rp 1.500.000,50","name":"x"}"#);
        let generation = Generation::new("g");
        let whence = Whence { application: "shop", generation: &generation };
        let shown = |source: serde_json::Value| {
            let source: ColumnSource = serde_json::from_value(source).unwrap();
            match preview(&column, &source, &record, whence) {
                Ok(value) => value.map_or("nothing".to_owned(), |value| value.get().to_owned()),
                Err(refusal) => format!("refused: {}", refusal.code),
            }
        };
        assert_eq!(shown(json!({ "from": "price", "clean": [{ "number": "id-ID" }] })), "1500000.50");
        assert_eq!(shown(json!({ "value": 7 })), "7");
        assert_eq!(shown(json!("colour")), "nothing");
        assert!(shown(json!("price")).starts_with("refused: "), "{}", shown(json!("price")));
        assert_eq!(shown(json!({ "expr": "data." })), "refused: rule");
    }

    #[test]
    fn a_key_column_is_fed_by_the_messages_key() {
        let shown = |key: &[&str], column: &str, of: &str| {
            let key: Vec<String> = key.iter().map(|&name| name.to_owned()).collect();
            of_key(&key, column, &message(Some(of), "{}")).map(|raw| raw.get().to_owned())
        };
        assert_eq!(shown(&["id"], "id", "12").as_deref(), Some("12"));
        assert_eq!(shown(&["id"], "name", "12"), None);
        assert_eq!(shown(&["branch", "no"], "no", r#"{"branch":"JKT","no":7}"#).as_deref(), Some("7"));
    }
}
