//! What a destination received for a message, as JSON: column by column, after mapping.
//!
//! Numbers keep every digit, bytes are base64, JSON columns are JSON.

use serde_json::value::RawValue;

use super::{MappedRow, Mapping, rows::Rows};
use crate::{cast, schema::ColumnType, transaction::Cell};

impl Mapping {
    /// The row as a JSON object of column name to value, then the rows of each child table that it has, as an array under
    /// the path they came from. Untouched columns are left out, and so is [`MappedRow::insert_only`], as whether it applied is
    /// known to the database alone.
    #[must_use]
    pub fn sent(&self, row: &MappedRow) -> Box<RawValue> {
        let mut out = String::from("{");
        push_cells(&mut out, &self.rows, &row.cells);
        for (child, rows) in self.kids.iter().zip(&row.children) {
            let Some(rows) = rows else { continue };
            if out.len() > 1 {
                out.push(',');
            }
            push_string(&mut out, &child.shown);
            out.push_str(":[");
            for (place, cells) in rows.iter().enumerate() {
                out.push_str(if place == 0 { "{" } else { ",{" });
                push_cells(&mut out, &child.rows, cells);
                out.push('}');
            }
            out.push(']');
        }
        out.push('}');
        // Every piece is JSON by construction; the default is `null`.
        RawValue::from_string(out).unwrap_or_default()
    }
}

/// The members of an object, without its braces; `out` ends with the opening one.
fn push_cells(out: &mut String, rows: &Rows, cells: &[Cell]) {
    for (place, cell) in cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Absent) {
        if !out.ends_with('{') {
            out.push(',');
        }
        let column = rows.column(place);
        push_string(out, &column.name);
        out.push(':');
        push_cell(out, cell, &column.kind);
    }
}

fn push_cell(out: &mut String, cell: &Cell, kind: &ColumnType) {
    match cell {
        Cell::Absent | Cell::Null => out.push_str("null"),
        Cell::Bytes(bytes) => push_string(out, &cast::encode_base64(bytes)),
        Cell::Text(text) => match kind {
            ColumnType::Int { .. }
            | ColumnType::Decimal { .. }
            | ColumnType::Float { .. }
            | ColumnType::Numeric15
            | ColumnType::Bool
            | ColumnType::Json { .. } => out.push_str(text),
            _ => push_string(out, text),
        },
    }
}

/// A JSON string with its quotes.
pub(super) fn push_string(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}
