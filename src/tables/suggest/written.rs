//! A suggestion as the TOML that `tidegate apply` reads, with a comment for each guess.

use std::fmt::{self, Display, Formatter};

use tidegate_actors::route::ColumnSource;

use super::{Guess, Suggestion};

/// Where comments begin, so that they can be read as a column.
const COMMENT_AT: usize = 44;

impl Display for Suggestion {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plural = if self.records == 1 { "" } else { "s" };
        writeln!(
            f,
            "# Suggested from {} record{plural} of topic `{}` and table `{}` of `{}`, by the likeness of names (1 is the same)\n\
             # and by values. Read it, then try it: tidegate route try FILE.toml --records FILE",
            self.records,
            comment(&self.topic),
            comment(&self.table),
            comment(&self.destination)
        )?;
        writeln!(f, "[[route]]")?;
        for (name, value) in [
            ("name", &self.name),
            ("application", &self.application),
            ("topic", &self.topic),
            ("destination", &self.destination),
            ("table", &self.table),
        ] {
            writeln!(f, "{name} = {}", text(value))?;
        }
        if self.key.is_empty() {
            writeln!(f, "# key = []  # {}: without a key the route inserts only", comment(&self.key_why))?;
        } else {
            let names: Vec<_> = self.key.iter().map(|name| text(name)).collect();
            line(f, &format!("key = [{}]", names.join(", ")), &self.key_why)?;
        }
        writeln!(f, "\n[route.columns]")?;
        for guess in &self.columns {
            line(f, &format!("{} = {}", key(&guess.column), source(&guess.source)), &why(guess))?;
        }
        self.write_open(f)?;
        self.write_unmapped(f)
    }
}

impl Suggestion {
    fn write_open(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for open in self.open.iter().filter(|open| open.is_told()) {
            let field = open.near_field.as_deref().unwrap_or_default();
            let value = open.instead.clone().unwrap_or_else(|| text(field));
            let needed = if open.required { "NOT NULL without a default: " } else { "" };
            let what = match (&open.instead, open.required) {
                (Some(_), true) => "perhaps this; else name a field or give { value = … }",
                (Some(_), false) => "perhaps this",
                (None, _) => "no field is like it; name one, or give { value = … }",
            };
            let what = open.near.as_deref().unwrap_or(what);
            let column = format!("# {} = {value}", key(&open.column));
            line(f, &column, &format!("{}, {needed}{what}", open.declared))?;
        }
        let others = self.open.iter().filter(|open| !open.is_told());
        listed(f, "Columns that no field is like", others.map(|open| open.column.clone()))
    }

    fn write_unmapped(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = self.unmapped.iter().filter(|path| !path.list_of_objects);
        listed(f, "Fields that no column takes", plain.map(|path| path.field.clone()))?;
        for path in self.unmapped.iter().filter(|path| path.list_of_objects) {
            writeln!(
                f,
                "# `{0}` is a list of objects: [[route.children]] with from = {1} writes it into a table of its own",
                comment(&path.field),
                comment(&text(&path.field))
            )?;
        }
        Ok(())
    }
}

fn listed(f: &mut Formatter<'_>, what: &str, names: impl Iterator<Item = String>) -> fmt::Result {
    let names: Vec<String> = names.map(|name| comment(&name)).collect();
    if names.is_empty() { Ok(()) } else { writeln!(f, "# {what}: {}", names.join(", ")) }
}

fn why(guess: &Guess) -> String {
    let mut why = format!("{}; {:.2}: {}", guess.declared, guess.likeness, guess.why);
    for remark in &guess.remarks {
        why += &format!("; {remark}");
    }
    why
}

fn line(f: &mut Formatter<'_>, code: &str, remark: &str) -> fmt::Result {
    let gap = COMMENT_AT.saturating_sub(code.chars().count()).max(2);
    writeln!(f, "{code}{:gap$}# {}", "", comment(remark))
}

fn source(source: &ColumnSource) -> String {
    match source {
        ColumnSource::Field(field) => text(field),
        ColumnSource::Detailed(rule) => {
            let value = toml::Value::try_from(rule);
            value.map_or_else(|_| "{}".into(), |value| inline(&value))
        }
    }
}

/// A value on one line.
fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| ["from", "clean", "as"].iter().position(|first| first == name).unwrap_or(9));
            let fields: Vec<_> =
                fields.into_iter().map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        toml::Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if bare { name.into() } else { text(name) }
}

/// A basic string (TOML, *String*): every JSON string without surrogates is one; DEL must be escaped besides.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// Text from outside within a comment: it can't end it.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
