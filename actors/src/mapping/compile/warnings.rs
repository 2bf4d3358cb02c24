//! What is doubtful about a route, though it works: told when it is applied, and never in the way.

use std::collections::BTreeMap;

use super::{
    Compiler,
    table::{Rule, Target},
    words::bare_fields,
};
use crate::{
    mapping::Path,
    route::{ColumnRule, Meta, OnExisting},
    schema::ColumnType,
};

impl Compiler<'_> {
    /// The doubts about one table's columns, and about the route as a whole where it is its own table.
    pub(super) fn doubts(&mut self, target: &Target<'_>, rules: &BTreeMap<usize, Rule>) {
        for (index, Rule { rule, place, .. }) in rules {
            let column = &target.table.columns[*index];
            let mut doubts = Vec::new();
            if let (Some(max), ColumnType::Text { max_chars: Some(fits), .. }) =
                (rule.length.and_then(|length| length.max), &column.kind)
                && max > *fits
            {
                let why = format!(
                    "`length.max` is {max}, and it holds {fits} characters: longer texts are refused all the same"
                );
                doubts.push((place.clone().name("length"), why));
            }
            doubts.extend(idle(rule).map(|(field, why)| (place.clone().name(field), why)));
            if let Some(text) = rule.expr.as_deref()
                && !target.is_child
                && self.has_updates()
                && let Some(why) = lacking(text)
            {
                doubts.push((place.clone().name("expr"), format!("its expression {why}")));
            }
            for (place, why) in doubts {
                let message =
                    format!("column `{}` ({}) of table `{}`: {why}", column.name, column.declared, target.label);
                self.warn(Some(&column.name), place, message);
            }
        }
        if let Some(text) = self.route.filter.as_deref()
            && !target.is_child
            && self.has_updates()
            && let Some(why) = lacking(text)
        {
            self.warn(None, Path::of_name("filter"), format!("the filter {why}"));
        }
        if self.route.on_existing == OnExisting::Reject && self.route.key.is_empty() && !target.is_child {
            let message =
                "`on_existing = \"reject\"` changes nothing without a `key`: the route inserts only".to_owned();
            self.warn(None, Path::of_name("on_existing"), message);
        }
    }

    fn has_updates(&self) -> bool {
        !self.route.key.is_empty()
    }
}

/// Of a rule, what can never have an effect.
fn idle(rule: &ColumnRule) -> Option<(&'static str, String)> {
    let source = match rule {
        ColumnRule { value: Some(_), .. } => Some("a constant"),
        ColumnRule { expr: Some(_), .. } => Some("an expression"),
        ColumnRule { meta: Some(meta), .. } if *meta != Meta::Key => Some("metadata"),
        _ => None,
    };
    match (rule.default.is_some(), source) {
        (true, Some(source)) => {
            Some(("default", format!("{source} is never missing, so its `default` is never taken")))
        }
        (true, None) if rule.required => {
            Some(("default", "it is `required`, so its `default` is never taken: take out one of the two".to_owned()))
        }
        _ => None,
    }
}

/// What an expression makes of updates that carry a part of the record.
fn lacking(text: &str) -> Option<String> {
    let fields = bare_fields(text);
    let names: Vec<_> = fields.iter().take(3).map(|field| format!("`{field}`")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "reads {}: a record without it, such as an update of other fields, becomes a dead letter; ask with \
             `has(data.{})` first, where that may happen",
            names.join(", "),
            fields[0]
        )
    })
}
