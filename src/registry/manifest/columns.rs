//! `columns` of a route: `"matching"`, or a table of columns, each with a field's name or a rule.

use std::collections::BTreeMap;

use tidegate_actors::route::{ColumnRule, ColumnSource, Columns};
use toml::{Spanned, de::DeValue};

use super::reader::{Fields, Mistakes, Text, choice, described, hint};

/// The columns; `"matching"` must be asked for, so that a forgotten table is not a route for everything.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Columns {
    let Some(value) = fields.get("columns") else {
        fields.mistakes.add(
            fields.place(),
            "a route needs columns: write `columns = \"matching\"`, or a table `[route.columns]` with a field for each column",
        );
        return Columns::default();
    };
    if value.get_ref().as_str() == Some("matching") {
        return Columns::default();
    }
    if value.get_ref().as_table().is_none() {
        let message = "`columns` is \"matching\" or a table with a field for each column";
        fields.mistakes.add(value.span().start, message);
        return Columns::default();
    }
    let mut named = BTreeMap::new();
    if let Some(inner) = Fields::of("`columns`", value, &fields.mistakes) {
        for (column, source) in inner.entries() {
            named.insert(column.value, source_of(source, &fields.mistakes));
        }
    }
    if named.is_empty() {
        fields.mistakes.add(value.span().start, "`columns` names no column; name one, or write \"matching\"");
    }
    Columns::Named(named)
}

/// Every key column must be written, or no row could be told from another.
pub(super) fn check_key(key: &[Text], columns: &Columns, mistakes: &Mistakes<'_>) {
    for (index, column) in key.iter().enumerate() {
        if key[..index].iter().any(|earlier| earlier.value == column.value) {
            mistakes.add(column.place, format!("`{}` is in the key twice", column.value));
        }
        if let Columns::Named(named) = columns
            && !named.contains_key(&column.value)
        {
            let names: Vec<&str> = named.keys().map(String::as_str).collect();
            mistakes.add(
                column.place,
                format!("key column `{}` is not in `columns`; {}", column.value, hint(&column.value, &names)),
            );
        }
    }
}

fn source_of(value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> ColumnSource {
    if let Some(field) = value.get_ref().as_str() {
        return ColumnSource::Field(field.to_owned());
    }
    if value.get_ref().as_table().is_none() {
        let found = described(value.get_ref());
        mistakes.add(
            value.span().start,
            format!("a column takes a field's name or a table such as {{ from = \"field\" }}, not {found}"),
        );
        return ColumnSource::Field(String::new());
    }
    let Some(mut fields) = Fields::of("a column", value, mistakes) else { return ColumnSource::Field(String::new()) };
    let rule = ColumnRule {
        from: fields.optional_text("from").map(|field| field.value),
        clean: fields.texts("clean").iter().filter_map(|step| choice("clean", step, mistakes)).collect(),
        cast: fields.choice("as"),
        default: fields.get("default").and_then(|value| json(value, mistakes)),
        ..ColumnRule::default()
    };
    fields.finish();
    ColumnSource::Detailed(rule)
}

/// A default as the JSON value that a record would have carried.
fn json(value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> Option<serde_json::Value> {
    use serde_json::Value;
    let wrong = |message: &str| {
        mistakes.add(value.span().start, message);
        None
    };
    Some(match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => return wrong("this number has more than 64 bits; write it as a text"),
        },
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            match parsed {
                Some(number) => Value::Number(number),
                None => return wrong("JSON has no such number; write it as a text"),
            }
        }
        DeValue::Array(items) => Value::Array(items.iter().map(|item| json(item, mistakes)).collect::<Option<_>>()?),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), json(value, mistakes)?)))
                .collect::<Option<_>>()?,
        ),
    })
}
