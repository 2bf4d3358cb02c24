//! `dead show`: one dead letter with its record, the row it would be, and the database's words.

use std::{io::Write, process::ExitCode};

use serde_json::value::RawValue;
use tidegate_actors::{
    mapping::{Mapped, Mapping, Whence},
    message::{Action, Message},
    ports::DeadLetter,
};

use super::{
    Filter, Letters, Lot,
    list::{Line, instant, route},
    name,
};
use crate::{
    cli::{
        now_ms,
        table::{age_s, of, plain, plain_lines, span},
    },
    redis::dead,
};

pub(super) async fn show(letters: &Letters, id: &str, filter: &Filter, json: bool) -> anyhow::Result<ExitCode> {
    let lots = letters.find_ids(std::slice::from_ref(&id.to_owned()), filter).await?;
    let mut out = std::io::stdout().lock();
    let mut first = true;
    for lot in &lots {
        for letter in letters.read(lot).await? {
            let row = row(letters, lot, &letter).await?;
            if json {
                let mut line = Line::of(letters, lot, &letter, true);
                (line.row, line.row_error) = (row.clone().ok(), row.err());
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
                continue;
            }
            if !std::mem::take(&mut first) {
                writeln!(out)?;
            }
            write_letter(&mut out, letters, lot, &letter)?;
            match row {
                Ok(row) => {
                    writeln!(out, "row")?;
                    write_lines(&mut out, row.get())?;
                }
                Err(why) => writeln!(out, "{:<12} {}", "row", plain(&why))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The row that the record comes to, by the route and the table as the node knew them last; or why there is none.
async fn row(letters: &Letters, lot: &Lot, letter: &DeadLetter) -> anyhow::Result<Result<Box<RawValue>, String>> {
    let Some(plan) = dead::plan(&letters.redis, &lot.application, &letter.dead.route).await? else {
        return Ok(Err("not known: no version of the route and its table is kept any more".into()));
    };
    let mapping = match Mapping::compile(&plan.route, plan.table, plan.children) {
        Ok(mapping) => mapping,
        Err(errors) => {
            let sentences: Vec<_> = errors.iter().map(ToString::to_string).collect();
            return Ok(Err(format!("none: the route does not fit its table: {}", sentences.join("; "))));
        }
    };
    let Some(action) = Action::parse(&letter.action) else {
        return Ok(Err("none: its action is unknown".into()));
    };
    let message = Message {
        id: letter.dead.id,
        topic: letter.topic.as_str().into(),
        action,
        key: letter.key.as_deref().map(Into::into),
        own_id: None,
        traceparent: None,
        data: letter.data.as_str().into(),
    };
    let whence = Whence { application: &lot.application, generation: &letter.dead.generation };
    Ok(match mapping.apply(&message, whence) {
        Ok(Mapped::Row(row)) => Ok(mapping.sent(&row)),
        Ok(Mapped::Skipped) => Err("none: the route's filter leaves this record out".into()),
        Ok(Mapped::Nothing) => Err("none: the route ignores deletes".into()),
        Err(reason) => Err(format!("none: {}", reason.message)),
    })
}

fn write_letter(out: &mut impl Write, letters: &Letters, lot: &Lot, letter: &DeadLetter) -> anyhow::Result<()> {
    let Lot { application, destination, .. } = lot;
    let age = span(age_s(letter.at_ms, now_ms()?));
    let mut field = |name: &str, value: &str| writeln!(out, "{name:<12} {}", plain(value));
    field("id", &name(&letter.dead))?;
    field("record of", &format!("application {application}, topic {}, {}", letter.topic, letter.action))?;
    field("key", letter.key.as_deref().unwrap_or("none"))?;
    let route = route(letters, &letter.dead, &letter.route_name);
    field("route", &format!("{route} into {}, table {}", destination.1, letter.table))?;
    field(
        "given up",
        &format!("{} ({age} ago), after {}", instant(letter.at_ms), of(letter.attempts as usize, "attempt")),
    )?;
    let column = letter.reason.column.as_ref().map_or(String::new(), |column| format!(", column {column}"));
    field("reason", &format!("{}{column}: {}", letter.reason.code, letter.reason.message))?;
    if let Some(first) = &letter.blocked_by {
        field("waits behind", &format!("{}, an earlier record of this key", name(first)))?;
    }
    if let Some(by) = &letter.superseded_by {
        let later = format!("by {}-{by}, a later record of this key that was written", letter.dead.generation);
        field("superseded", &later)?;
    }
    if let Some(why) = &letter.redrive_error {
        field("last redrive", &format!("refused: {why}"))?;
    }
    writeln!(out, "data")?;
    write_lines(out, &letter.data)?;
    if let Some(edited) = &letter.edited {
        writeln!(out, "edited")?;
        write_lines(out, edited)?;
    }
    Ok(())
}

fn write_lines(out: &mut impl Write, json: &str) -> std::io::Result<()> {
    for line in plain_lines(&pretty(json)).lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// One field a line, each value with the digits it came with.
pub(super) fn pretty(data: &str) -> String {
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(data) else { return data.to_owned() };
    let lines: Vec<String> = fields.0.iter().map(|(name, value)| format!("  {name}: {value}")).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

/// The fields of an object in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push((serde_json::to_string(&name).unwrap_or_default(), value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(InOrder).map(Self)
    }
}
