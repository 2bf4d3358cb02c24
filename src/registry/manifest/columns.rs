//! `columns` of a route or of a child: `"matching"`, or a table of columns, each with a field's path or a rule.

use std::collections::BTreeMap;

use tidegate_actors::route::{CleanStep, ColumnRule, ColumnSource, Columns, Length};
use toml::{Spanned, de::DeValue};

use super::reader::{Fields, Mistakes, Text, choice, described, hint, text_of};

/// The sources of a column, of which there may be one.
const SOURCES: [&str; 4] = ["from", "value", "meta", "expr"];

/// Cleaning steps that take a value, with an example of each.
const STEPS: [(&str, &str); 6] = [
    ("null_if", "{ null_if = [\"-\", \"n/a\"] }"),
    ("replace", "{ replace = [\"old\", \"new\"] }"),
    ("truncate", "{ truncate = 40 }"),
    ("round", "{ round = 2 }"),
    ("map", "{ map = { N = \"new\", \"*\" = \"other\" } }"),
    ("number", "{ number = \"id-ID\" }"),
];

/// The columns; `"matching"` must be asked for, so that a forgotten table is not a route for everything.
pub(super) fn read(fields: &mut Fields<'_, '_>, what: &'static str) -> Columns {
    let Some(value) = fields.get("columns") else {
        let table = if what == "a child" { "[route.children.columns]" } else { "[route.columns]" };
        fields.mistakes.add(
            fields.place(),
            format!(
                "{what} needs columns: write `columns = \"matching\"`, or a table `{table}` with a field for each column"
            ),
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
    let given: Vec<_> = fields.entries().filter(|(name, _)| SOURCES.contains(&name.value.as_str())).collect();
    if let [first, second, ..] = given.as_slice() {
        mistakes.add(
            second.0.place,
            format!(
                "a column takes its value from one place, and this one has both `{}` and `{}`",
                first.0.value, second.0.value
            ),
        );
    }
    let rule = rule(&mut fields);
    fields.finish();
    ColumnSource::Detailed(rule)
}

fn rule(fields: &mut Fields<'_, '_>) -> ColumnRule {
    let mistakes = fields.mistakes.clone();
    let text = |found: Option<Text>| found.map(|text| text.value);
    let rule = ColumnRule {
        from: text(fields.optional_text("from")),
        value: fields.get("value").and_then(|value| json(value, &mistakes)),
        meta: fields.choice("meta"),
        expr: text(fields.optional_text("expr")),
        clean: clean(fields),
        cast: fields.choice("as"),
        format: text(fields.optional_text("format")),
        zone: text(fields.optional_text("zone")),
        required: fields.flag("required"),
        default: fields.get("default").and_then(|value| json(value, &mistakes)),
        min: fields.get("min").and_then(|value| bound("min", value, &mistakes)),
        max: fields.get("max").and_then(|value| bound("max", value, &mistakes)),
        length: fields.get("length").and_then(|value| length(value, &mistakes)),
        pattern: text(fields.optional_text("pattern")),
        one_of: fields.get("one_of").map(|value| list(value, &mistakes)).unwrap_or_default(),
    };
    if rule.required && rule.default.is_some() {
        let message = "a column that is `required` never takes its `default`: leave one of them out";
        mistakes.add(fields.place(), message);
    }
    rule
}

fn clean(fields: &mut Fields<'_, '_>) -> Vec<CleanStep> {
    let Some(value) = fields.get("clean") else { return Vec::new() };
    let Some(steps) = value.get_ref().as_array() else {
        let found = described(value.get_ref());
        let message = format!("`clean` is a list of steps, such as [\"trim\", {{ truncate = 40 }}], not {found}");
        fields.mistakes.add(value.span().start, message);
        return Vec::new();
    };
    steps.iter().filter_map(|step| step_of(step, &fields.mistakes)).collect()
}

fn step_of(value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> Option<CleanStep> {
    let place = value.span().start;
    if let Some(word) = value.get_ref().as_str() {
        if let Some((_, example)) = STEPS.iter().find(|(name, _)| *name == word) {
            mistakes.add(place, format!("the step `{word}` takes a value: write {example}"));
            return None;
        }
        return choice("clean", &Text { value: word.to_owned(), place }, mistakes);
    }
    let mut fields = Fields::of("a step of `clean`", value, mistakes)?;
    let names: Vec<_> = fields.entries().map(|(name, _)| name).collect();
    let [name] = names.as_slice() else {
        let message = "a step of `clean` is one word, or a table with one name such as { truncate = 40 }";
        mistakes.add(place, message);
        return None;
    };
    let Some((known, example)) = STEPS.iter().find(|(known, _)| *known == name.value) else {
        let known: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        mistakes.add(
            name.place,
            format!("`{}` is not a step that takes a value; {}", name.value, hint(&name.value, &known)),
        );
        return None;
    };
    let argument = fields.get(known)?;
    let step = match *known {
        "null_if" => texts(argument).map(CleanStep::NullIf),
        "replace" => texts(argument).and_then(|texts| texts.try_into().ok()).map(CleanStep::Replace),
        "truncate" => count(argument).map(CleanStep::Truncate),
        "round" => count(argument).map(CleanStep::Round),
        "number" => argument.get_ref().as_str().map(|locale| CleanStep::Number(locale.to_owned())),
        _ => table(argument, mistakes).map(CleanStep::Map),
    };
    if step.is_none() {
        mistakes.add(argument.span().start, format!("the step `{known}` is written {example}"));
    }
    step
}

fn texts(value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    value.get_ref().as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}

fn count(value: &Spanned<DeValue<'_>>) -> Option<u32> {
    match value.get_ref() {
        DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

fn table(value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> Option<BTreeMap<String, serde_json::Value>> {
    let entries = value.get_ref().as_table()?;
    entries.iter().map(|(key, value)| Some((key.get_ref().to_string(), json(value, mistakes)?))).collect()
}

/// A smallest or greatest value: a number, or a date or time.
fn bound(name: &str, value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> Option<serde_json::Value> {
    let found = json(value, mistakes)?;
    if found.is_number() || found.is_string() {
        return Some(found);
    }
    mistakes.add(
        value.span().start,
        format!("`{name}` is a number, or a date or time as a text, not {}", described(value.get_ref())),
    );
    None
}

/// `length = 3`, `length = [1, 20]`, or `length = { min = 1, max = 20 }`.
fn length(value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> Option<Length> {
    let number = |value| count(value).map(u64::from);
    let found = match value.get_ref() {
        DeValue::Integer(_) => number(value).map(|exactly| Length { min: Some(exactly), max: Some(exactly) }),
        DeValue::Array(bounds) => match bounds.iter().collect::<Vec<_>>().as_slice() {
            [min, max] => number(min).zip(number(max)).map(|(min, max)| Length { min: Some(min), max: Some(max) }),
            _ => None,
        },
        DeValue::Table(table) => {
            let side = |name: &str| table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| number(value));
            let known = table.iter().all(|(key, _)| matches!(key.get_ref().as_ref(), "min" | "max"));
            match (known && !table.is_empty(), side("min"), side("max")) {
                (false, ..) | (_, Some(None), _) | (_, _, Some(None)) => None,
                (true, min, max) => Some(Length { min: min.flatten(), max: max.flatten() }),
            }
        }
        _ => None,
    };
    match found {
        Some(Length { min: Some(min), max: Some(max) }) if min > max => {
            mistakes.add(value.span().start, format!("no text is at least {min} and at most {max} characters long"));
            None
        }
        Some(length) => Some(length),
        None => {
            mistakes.add(value.span().start, "`length` is a number of characters, [1, 20], or { min = 1, max = 20 }");
            None
        }
    }
}

fn list(value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> Vec<serde_json::Value> {
    match value.get_ref().as_array() {
        Some(items) if !items.is_empty() => items.iter().filter_map(|item| json(item, mistakes)).collect(),
        _ => {
            mistakes.add(
                value.span().start,
                "`one_of` is a list of the values that are taken, such as [\"new\", \"used\"]",
            );
            Vec::new()
        }
    }
}

/// A value as the JSON that a record would have carried.
pub(super) fn json(value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> Option<serde_json::Value> {
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

/// What ties a child to its parent: the child's column → the parent's key column.
pub(super) fn parent(fields: &mut Fields<'_, '_>, key: &[Text]) -> BTreeMap<String, String> {
    let Some(value) = fields.get("parent") else {
        let column = key.first().map_or("id", |column| column.value.as_str());
        fields.mistakes.add(
            fields.place(),
            format!("a child needs `parent`: its own column and the route's key column, such as {{ parent_id = \"{column}\" }}"),
        );
        return BTreeMap::new();
    };
    let Some(inner) = Fields::of("`parent`", value, &fields.mistakes) else { return BTreeMap::new() };
    let mut parent = BTreeMap::new();
    for (column, of) in inner.entries() {
        let Some(of) = text_of("parent", of, &fields.mistakes) else { continue };
        if !key.iter().any(|column| column.value == of.value) {
            let names: Vec<&str> = key.iter().map(|column| column.value.as_str()).collect();
            let why = if names.is_empty() {
                "the route has no `key`, and a child finds its parent by it".into()
            } else {
                format!("`{}` is no key column of the route; {}", of.value, hint(&of.value, &names))
            };
            fields.mistakes.add(of.place, why);
        }
        parent.insert(column.value, of.value);
    }
    let lacking = key.iter().find(|column| !parent.values().any(|of| *of == column.value));
    if let (Some(column), false) = (lacking, parent.is_empty()) {
        let message = format!("`parent` lacks key column `{}`: without it a child has several parents", column.value);
        fields.mistakes.add(value.span().start, message);
    }
    parent
}
