//! The document as the TOML that `tidegate apply` reads: applying it again changes nothing.
//!
//! Passwords are written as `{ kept = true }`. API keys are not part of it: they are no operator's to write.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use tidegate_actors::route::{ColumnRule, ColumnSource, Columns, RouteSpec};

use crate::resources::{Application, Delivery, Destination, Document};

/// The manifest of this document.
#[must_use]
pub fn export(document: &Document) -> String {
    let blocks: Vec<String> = document
        .applications
        .iter()
        .map(application)
        .chain(document.destinations.iter().map(destination))
        .chain(document.routes.iter().map(route))
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

fn route(route: &RouteSpec) -> String {
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
    if route.every_change {
        block.line("every_change", "true");
    }
    match &route.columns {
        Columns::Matching(_) => block.line("columns", quoted("matching")),
        Columns::Named(named) => {
            block.0.push_str("[route.columns]\n");
            for (column, source) in named {
                block.line(&key(column), column_source(source));
            }
        }
    }
    block.0
}

fn column_source(source: &ColumnSource) -> String {
    let rule = match source {
        ColumnSource::Field(field) => return quoted(field),
        ColumnSource::Detailed(rule) => rule,
    };
    let ColumnRule { from, clean, cast, default, .. } = rule;
    let mut parts = Vec::new();
    if let Some(from) = from {
        parts.push(format!("from = {}", quoted(from)));
    }
    if !clean.is_empty() {
        parts.push(format!("clean = {}", list(&clean.iter().map(word).collect::<Vec<_>>())));
    }
    if let Some(cast) = cast {
        parts.push(format!("as = {}", quoted(&word(cast))));
    }
    if let Some(default) = default {
        parts.push(format!("default = {}", literal(default)));
    }
    if parts.is_empty() { "{}".into() } else { format!("{{ {} }}", parts.join(", ")) }
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
