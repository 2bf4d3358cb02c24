#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checks;
mod properties;
mod time;

use serde_json::json;

use super::*;

fn rule(json: serde_json::Value) -> ColumnRule {
    serde_json::from_value(json).expect("a rule")
}

fn compile(json: &serde_json::Value) -> ValueRule {
    ValueRule::compile(&rule(json.clone())).expect("a rule that compiles")
}

/// Why a rule is refused.
fn refused(json: serde_json::Value) -> String {
    ValueRule::compile(&rule(json)).expect_err("a rule that is refused")
}

/// What a JSON value becomes: its text, `NULL`, or the code of the refusal after `!`.
fn apply(raw: &str, json: &serde_json::Value) -> String {
    match Value::read(raw).and_then(|value| compile(json).apply(value)) {
        Ok(Value::Null) => "NULL".to_owned(),
        Ok(Value::Bool(truth)) => truth.to_string(),
        Ok(Value::Number(text) | Value::Text(text) | Value::Object(text) | Value::Array(text)) => text.into_owned(),
        Err(error) => format!("!{}", error.code),
    }
}

fn table(json: &serde_json::Value, rows: &[(&str, &str)]) {
    for (raw, expected) in rows {
        assert_eq!(apply(raw, json), *expected, "{raw} by {json}");
    }
    assert_eq!(apply("null", json), "NULL", "{json}");
}

fn why(raw: &str, json: &serde_json::Value) -> String {
    Value::read(raw).and_then(|value| compile(json).apply(value)).unwrap_err().why
}

#[test]
fn a_rule_without_anything_is_plain() {
    assert!(compile(&json!({"from": "a", "default": 5, "required": true})).is_plain());
    for rule in [
        json!({"clean": ["trim"]}),
        json!({"as": "int"}),
        json!({"min": 1}),
        json!({"zone": "UTC"}),
        json!({"length": {"max": 1}}),
    ] {
        assert!(!compile(&rule).is_plain(), "{rule}");
    }
    let value = compile(&json!({})).apply(Value::Text("a".into())).unwrap();
    assert!(matches!(value, Value::Text(std::borrow::Cow::Borrowed("a"))));
}

#[test]
fn cleaning_comes_before_the_cast_and_the_checks_after_it() {
    let rule = json!({"clean": ["trim", {"number": "id-ID"}, {"round": 0}], "as": "int", "min": 1, "max": 2000});
    table(
        &rule,
        &[
            (r#"" Rp 1.500,40 ""#, "1500"),
            (r#""0,4""#, "!min"),
            (r#""2.000,5""#, "!max"),
            (r#""x""#, "!type"),
            ("5.5", "6"),
        ],
    );
}
