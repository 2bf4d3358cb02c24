//! A topic's JSON Schema: what its records must look like before they are taken.
//!
//! Compiled when it is applied, so that a schema that can't work never reaches a node, and once more by each HTTP worker,
//! which asks it about every record of the topic. Patterns run in linear time, and nothing is fetched from anywhere.

use jsonschema::{PatternOptions, Validator, error::ValidationErrorKind, paths::LocationSegment};
use serde_json::Value;
use tidegate_actors::{mapping::Step, message::Action};

/// Longest schema, in bytes: it is kept in the registry, which every node reads.
const MAX_BYTES: usize = 256 * 1024;

/// Most violations of one record that are told.
const MAX_VIOLATIONS: usize = 20;

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct TopicSchema(Validator);

/// One thing in a record that the schema does not allow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Where in the record: names and indexes from outside in.
    pub(crate) path: Vec<Step>,
    /// What is wrong; never the value.
    pub(crate) message: String,
}

impl TopicSchema {
    /// Compiles a schema (drafts 4 to 2020-12, by its `$schema`; 2020-12 without one).
    ///
    /// # Errors
    /// A sentence with what can't be read, and where in the schema.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it has {} bytes, and at most {MAX_BYTES} are kept", text.len()));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        if !schema.is_object() && !schema.is_boolean() {
            return Err("a schema is a JSON object".into());
        }
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        options.build(&schema).map(Self).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "its top".into() } else { format!("`{place}`") };
            format!("at {place}: {error}")
        })
    }

    /// What a record does not keep to. An update names the fields it changes and no others, so nothing is missing in it.
    pub(crate) fn violations(&self, record: &str, action: Action) -> Vec<Violation> {
        // The door has read the record; what this parser calls unreadable (a nesting of over 128) has no schema to keep to.
        let Ok(record) = serde_json::from_str::<Value>(record) else {
            let message = "is nested too deeply to be held against the topic's schema".into();
            return vec![Violation { path: Vec::new(), message }];
        };
        if self.0.is_valid(&record) {
            return Vec::new();
        }
        let counts = |kind: &ValidationErrorKind, top: bool| {
            !(top && action == Action::Update && matches!(kind, ValidationErrorKind::Required { .. }))
        };
        let errors = self.0.iter_errors(&record);
        let errors = errors.filter(|error| counts(error.kind(), error.instance_path().iter().next().is_none()));
        errors
            .take(MAX_VIOLATIONS)
            .map(|error| {
                let step = |segment| match segment {
                    LocationSegment::Property(name) => Step::Name(name.into()),
                    LocationSegment::Index(index) => Step::Index(index),
                };
                let path = error.instance_path().iter().map(step).collect();
                Violation { path, message: error.masked().to_string() }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CAR: &str = r#"{
        "type": "object",
        "required": ["id", "price"],
        "properties": {
            "id": {"type": "integer"},
            "price": {"type": "number", "minimum": 0},
            "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}}
        }
    }"#;

    fn told(record: &str, action: Action) -> Vec<String> {
        let shown = |step: &Step| match step {
            Step::Name(name) => format!("/{name}"),
            Step::Index(index) => format!("/{index}"),
        };
        let violations = TopicSchema::compile(CAR).unwrap().violations(record, action);
        violations
            .iter()
            .map(|it| format!("{}: {}", it.path.iter().map(shown).collect::<String>(), it.message))
            .collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place_and_without_the_value() {
        let found = told(r#"{"id": "seven", "price": -1, "tags": ["ok", "NOT OK"]}"#, Action::Insert);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|it| it.starts_with("/id: ")) && found.iter().any(|it| it.starts_with("/tags/1: ")));
        assert!(!found.join(" ").contains("seven") && !found.join(" ").contains("NOT OK"), "{found:?}");
        assert!(told(r#"{"id": 7, "price": 1}"#, Action::Insert).is_empty());
    }

    #[test]
    fn an_update_may_lack_what_a_record_must_have() {
        assert_eq!(told(r#"{"id": 7}"#, Action::Insert).len(), 1);
        assert!(told(r#"{"id": 7}"#, Action::Update).is_empty());
        assert_eq!(told(r#"{"price": "dear"}"#, Action::Update).len(), 1);
    }

    #[test]
    fn a_schema_that_cannot_work_says_where() {
        assert!(TopicSchema::compile("{").unwrap_err().contains("not JSON"));
        let wrong = TopicSchema::compile(r#"{"properties": {"id": {"type": "integr"}}}"#).unwrap_err();
        assert!(wrong.contains("/properties/id/type"), "{wrong}");
        let remote = TopicSchema::compile(r#"{"$ref": "https://example.com/car.json"}"#);
        assert!(remote.is_err(), "nothing is fetched");
    }
}
