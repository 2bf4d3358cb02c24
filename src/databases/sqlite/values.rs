//! Cells as the values that SQLite is given for them.

use std::{ops::Range, sync::Arc};

use sqlx::{Arguments as _, sqlite::SqliteArguments};
use tidegate_actors::{
    ports::{Fault, Rejection, WriteError},
    schema::{ColumnSchema, ColumnType},
    transaction::Cell,
};

use super::sql::Form;

impl Form<'_> {
    /// The cells at these places of these rows, row by row.
    pub(super) fn bind(&self, rows: &Range<usize>, places: &[usize]) -> Result<SqliteArguments, WriteError> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(rows.len() * places.len(), 0);
        for row in rows.clone() {
            for &place in places {
                let column = self.columns[place];
                let refused = match bind(&mut arguments, &self.statement.rows[row][place], column) {
                    Ok(()) => continue,
                    Err(Unbindable::Driver(why)) => return Err(WriteError::Hold(Fault::new(why))),
                    Err(Unbindable::Range) => ("range", "a number of so many digits"),
                    Err(Unbindable::Type) => ("type", "what is not a number"),
                };
                return Err(WriteError::Reject(Rejection {
                    statement: None,
                    row: Some(row),
                    code: refused.0.to_owned(),
                    column: Some(column.name.clone()),
                    message: format!("column `{}` ({}) can't hold {}", column.name, column.declared, refused.1),
                }));
            }
        }
        Ok(arguments)
    }
}

enum Unbindable {
    /// The column would round it.
    Range,
    /// Not a number, for a column of numbers.
    Type,
    /// The driver does not take it.
    Driver(String),
}

/// Binds a value such that the column's affinity stores it without a change.
fn bind(arguments: &mut SqliteArguments, cell: &Cell, column: &ColumnSchema) -> Result<(), Unbindable> {
    let added = match cell {
        Cell::Absent | Cell::Null => arguments.add(None::<&str>),
        Cell::Bytes(bytes) => arguments.add(&**bytes),
        Cell::Text(text) => match column.kind {
            ColumnType::Int { .. } => match text.parse::<i64>() {
                Ok(number) => arguments.add(number),
                Err(_) if text.parse::<f64>().is_ok() => return Err(Unbindable::Range),
                Err(_) => return Err(Unbindable::Type),
            },
            ColumnType::Bool => match &**text {
                "true" => arguments.add(1_i64),
                "false" => arguments.add(0_i64),
                other => arguments.add(Arc::<str>::from(other)),
            },
            ColumnType::Float { .. } => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => arguments.add(number),
                Ok(_) => return Err(Unbindable::Range),
                Err(_) => return Err(Unbindable::Type),
            },
            // A JSON value that is a mere number falls under the affinity of its column too.
            ColumnType::Numeric15 | ColumnType::Json { .. } if is_rounded(text) => return Err(Unbindable::Range),
            // A declared type that nobody knows has NUMERIC affinity; none, and ANY of a strict table, keep the text.
            ColumnType::Other if !column.declared.is_empty() && column.declared != "ANY" && is_rounded(text) => {
                return Err(Unbindable::Range);
            }
            _ => arguments.add(Arc::<str>::from(&**text)),
        },
    };
    added.map_err(|error| Unbindable::Driver(error.to_string()))
}

/// Whether NUMERIC affinity would change a number: it keeps whole numbers of 64 bits and the first 15 significant
/// digits of others (SQLite, *Datatypes In SQLite*, 3).
pub(super) fn is_rounded(text: &str) -> bool {
    if text.parse::<i64>().is_ok() {
        return false;
    }
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, ""));
    let unsigned = digits.trim_start_matches(['-', '+']);
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if unsigned.is_empty() || !is_number(unsigned) || !is_number(exponent.trim_start_matches(['-', '+'])) {
        return false; // not a number at all: stored as the text it is
    }
    let significant: String = unsigned.chars().filter(char::is_ascii_digit).collect();
    significant.trim_matches('0').len() > 15
}
