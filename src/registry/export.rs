//! The document as the TOML that `tidegate apply` reads: applying it again changes nothing.
//!
//! Passwords are written as `{ kept = true }`. API keys are not part of it: they are no operator's to write.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use tidegate_actors::route::{
    CleanStep, ColumnRule, ColumnSource, Columns, DeletePolicy, Length, RouteSpec, SoftDelete,
};

use crate::resources::{Application, Category, Delivery, Destination, Document, Shop};

/// The manifest of this document.
#[must_use]
pub fn export(document: &Document) -> String {
    let blocks: Vec<String> = document
        .applications
        .iter()
        .map(application)
        .chain(document.destinations.iter().map(destination))
        .chain(document.routes.iter().map(route))
        .chain(document.shops.iter().map(shop))
        .chain(document.categories.iter().map(category))
        .collect();
    blocks.join("\n")
}

/// Lines of one block.
struct Block(String);

impl Block {
    fn new(header: &str) -> Self {
        Self(format!("[[{header}]]\n"))
    }

    fn line(&mut self, name: &str, value: impl AsRef<str>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name} = {}", value.as_ref());
    }
}

fn application(application: &Application) -> String {
    let mut block = Block::new("application");
    block.line("name", quoted(&application.name));
    if !application.topics.is_empty() {
        block.line("topics", list(&application.topics));
    }
    if !application.schemas.is_empty() {
        let schemas: Vec<_> =
            application.schemas.iter().map(|(topic, schema)| format!("{} = {}", key(topic), quoted(schema))).collect();
        block.line("schemas", format!("{{ {} }}", schemas.join(", ")));
    }
    if let Some(limit) = application.records_per_s {
        block.line("records_per_s", limit.to_string());
    }
    if application.broadcasts {
        block.line("broadcasts", "true");
    }
    block.0
}

fn shop(shop: &Shop) -> String {
    let mut block = Block::new("shop");
    block.line("name", quoted(&shop.name));
    block.line("title", quoted(&shop.title));
    if !shop.region.is_empty() {
        block.line("region", quoted(&shop.region));
    }
    block.0
}

fn category(category: &Category) -> String {
    let mut block = Block::new("category");
    block.line("name", quoted(&category.name));
    block.line("title", quoted(&category.title));
    if let Some(title) = &category.title_id {
        block.line("title_id", quoted(title));
    }
    block.line("colour", quoted(category.colour.as_str()));
    block.line("icon", quoted(category.icon.as_str()));
    block.line("sound", quoted(category.sound.as_str()));
    block.0
}

fn destination(destination: &Destination) -> String {
    let mut block = Block::new("destination");
    block.line("name", quoted(&destination.name));
    block.line("kind", quoted(&destination.kind));
    block.line("url", quoted(&destination.url));
    if destination.password.is_some() {
        block.line("password", "{ kept = true }");
    }
    if destination.delivery != Delivery::default() {
        block.line("delivery", quoted(&word(&destination.delivery)));
    }
    if let Some(tls) = &destination.tls {
        let ca = tls.ca.as_ref().map_or(String::new(), |ca| format!(", ca = {}", quoted(ca)));
        block.line("tls", format!("{{ mode = {}{ca} }}", quoted(&word(&tls.mode))));
    }
    if let Some(node) = &destination.node {
        block.line("node", quoted(node));
    }
    block.0
}

/// The `[[route]]` of this route alone.
#[must_use]
pub fn route(route: &RouteSpec) -> String {
    let mut block = Block::new("route");
    block.line("name", quoted(&route.name));
    block.line("application", quoted(&route.application));
    block.line("topic", quoted(&route.topic));
    block.line("destination", quoted(&route.destination));
    block.line("table", quoted(&route.table));
    if !route.key.is_empty() {
        block.line("key", list(&route.key));
    }
    block.line("start", quoted(&String::from(route.start.clone())));
    if route.on_missing != Default::default() {
        block.line("on_missing", quoted(&word(&route.on_missing)));
    }
    if let Some(filter) = &route.filter {
        block.line("filter", quoted(filter));
    }
    if route.on_existing != Default::default() {
        block.line("on_existing", quoted(&word(&route.on_existing)));
    }
    match &route.delete {
        DeletePolicy::Row => {}
        DeletePolicy::Ignore => block.line("delete", quoted("ignore")),
        DeletePolicy::Soft(SoftDelete { column, value, restore }) => {
            let part = |name: &str, value: &Option<Value>| {
                value.as_ref().map_or(String::new(), |value| format!(", {name} = {}", literal(value)))
            };
            let (value, restore) = (part("value", value), part("restore", restore));
            block.line("delete", format!("{{ column = {}{value}{restore} }}", quoted(column)));
        }
    }
    if let Some(column) = &route.version_column {
        block.line("version_column", quoted(column));
    }
    if route.unknown_fields != Default::default() {
        block.line("unknown_fields", quoted(&word(&route.unknown_fields)));
    }
    if route.on_dead != Default::default() {
        block.line("on_dead", quoted(&word(&route.on_dead)));
    }
    if route.every_change {
        block.line("every_change", "true");
    }
    columns(&mut block, "[route.columns]\n", &route.columns);
    for child in &route.children {
        block.0.push_str("[[route.children]]\n");
        block.line("from", quoted(&child.from));
        block.line("table", quoted(&child.table));
        let parent: Vec<_> =
            child.parent.iter().map(|(column, of)| format!("{} = {}", key(column), quoted(of))).collect();
        block.line("parent", format!("{{ {} }}", parent.join(", ")));
        columns(&mut block, "[route.children.columns]\n", &child.columns);
    }
    block.0
}

/// Columns as a table of their own, or one word.
fn columns(block: &mut Block, header: &str, columns: &Columns) {
    match columns {
        Columns::Matching(_) => block.line("columns", quoted("matching")),
        Columns::Named(named) => {
            block.0.push_str(header);
            for (column, source) in named {
                block.line(&key(column), column_source(source));
            }
        }
    }
}

fn column_source(source: &ColumnSource) -> String {
    let rule = match source {
        ColumnSource::Field(field) => return quoted(field),
        ColumnSource::Detailed(rule) => rule,
    };
    let mut parts = Vec::new();
    let mut part = |name: &str, value: Option<String>| parts.extend(value.map(|value| format!("{name} = {value}")));
    // Every field by name, so that a new one can't be forgotten here.
    let ColumnRule {
        from,
        value,
        meta,
        expr,
        clean,
        cast,
        format,
        zone,
        required,
        default,
        min,
        max,
        length,
        pattern,
        one_of,
    } = rule;
    let text = |text: &Option<String>| text.as_ref().map(|text| quoted(text));
    part("from", text(from));
    part("value", value.as_ref().map(literal));
    part("meta", meta.as_ref().map(|meta| quoted(&word(meta))));
    part("expr", text(expr));
    part("clean", (!clean.is_empty()).then(|| joined(clean.iter().map(step))));
    part("as", cast.as_ref().map(|cast| quoted(&word(cast))));
    part("format", text(format));
    part("zone", text(zone));
    part("required", required.then(|| "true".into()));
    part("default", default.as_ref().map(literal));
    part("min", min.as_ref().map(literal));
    part("max", max.as_ref().map(literal));
    part("length", length.as_ref().map(self::length));
    part("pattern", text(pattern));
    part("one_of", (!one_of.is_empty()).then(|| joined(one_of.iter().map(literal))));
    if parts.is_empty() { "{}".into() } else { format!("{{ {} }}", parts.join(", ")) }
}

/// One word, or a table of one name: as serde writes it.
fn step(step: &CleanStep) -> String {
    match serde_json::to_value(step) {
        Ok(Value::Object(fields)) => {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name} = {}", literal(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Ok(other) => literal(&other),
        Err(_) => String::new(),
    }
}

fn length(length: &Length) -> String {
    match (length.min, length.max) {
        (Some(min), Some(max)) if min == max => min.to_string(),
        (Some(min), Some(max)) => format!("[{min}, {max}]"),
        (Some(min), None) => format!("{{ min = {min} }}"),
        (None, Some(max)) => format!("{{ max = {max} }}"),
        (None, None) => "{}".into(),
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A value as TOML. It has no null; nothing that apply accepts holds one.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => quoted(""),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{} = {}", key(name), literal(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// The word that stands for an enum's value.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if bare { name.into() } else { quoted(name) }
}

/// A basic string (TOML, *String*).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
