//! What a destination received for a message, as JSON: column by column, after mapping.
//!
//! Numbers keep every digit, bytes are base64, JSON columns are JSON.

use serde_json::value::RawValue;

use super::{MappedRow, Mapping};
use crate::{cast, schema::ColumnType, transaction::Cell};

impl Mapping {
    /// The row as a JSON object of column name to value. Untouched columns are left out, and so are
    /// [`MappedRow::insert_only`] defaults, as whether they applied is known to the database alone.
    #[must_use]
    pub fn sent(&self, row: &MappedRow) -> Box<RawValue> {
        let mut out = String::from("{");
        for (place, cell) in row.cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Absent) {
            if out.len() > 1 {
                out.push(',');
            }
            let column = self.column(place);
            push_string(&mut out, &column.name);
            out.push(':');
            push_cell(&mut out, cell, &column.kind);
        }
        out.push('}');
        // Every piece is JSON by construction; the default is `null`.
        RawValue::from_string(out).unwrap_or_default()
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
