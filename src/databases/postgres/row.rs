//! Which row of a statement an error is about, read off its detail: PostgreSQL does not number rows, but names their values.
//!
//! Called for errors of constraints. Values are compared and forgotten; none gets into a message. A value that PostgreSQL writes
//! otherwise than it came (a number's zeros, a time) finds no row, and then the row is searched for.

use tidegate_actors::{
    schema::ColumnType,
    transaction::{Cell, Statement},
};

use super::errors::key_columns;

/// The place of the row that this detail describes, where one fits.
pub(super) fn at_fault(code: &str, detail: &str, statement: &Statement) -> Option<usize> {
    match code {
        "23505" | "23503" | "23P01" => of_key(detail, statement, code == "23505"),
        "23514" | "23502" => of_row(detail, statement),
        _ => None,
    }
}

/// By `Key (branch, no)=(JKT, 7) already exists.` Of several rows with one key the second is the one that is too much.
fn of_key(detail: &str, statement: &Statement, second: bool) -> Option<usize> {
    let names = key_columns(detail)?;
    let written: Vec<_> = statement.written().collect();
    let places: Option<Vec<usize>> =
        names.iter().map(|name| written.iter().position(|column| column.name == *name)).collect();
    let (places, (_, values)) = (places?, detail.split_once(")=(")?);
    let mut rows = statement.rows.iter().enumerate().filter(|(_, row)| {
        let mut rest = Some(values);
        for (nth, place) in places.iter().enumerate() {
            let Cell::Text(text) = &row[*place] else { return false };
            let separator = if nth == 0 { "" } else { ", " };
            rest = rest.and_then(|rest| rest.strip_prefix(separator)?.strip_prefix(&**text));
        }
        rest.is_some_and(|rest| rest.starts_with(')'))
    });
    let first = rows.next()?.0;
    Some(if second { rows.next().map_or(first, |(row, _)| row) } else { first })
}

/// By `Failing row contains (1, ape, null).`, the values of all columns in their order, long ones cut short.
fn of_row(detail: &str, statement: &Statement) -> Option<usize> {
    let (_, values) = detail.split_once('(')?;
    let values = values.rsplit_once(')')?.0;
    statement.rows.iter().position(|row| begins_with(values, row, statement)).or_else(|| of_values(values, statement))
}

/// Whether the values begin with this row's, its whole key among them. Only from the front can it be told where one ends that has
/// a comma in it.
fn begins_with(values: &str, row: &[Cell], statement: &Statement) -> bool {
    let (mut rest, key) = (values, statement.key_cells());
    let mut left = key.len();
    for (nth, column) in statement.plan.table.columns.iter().enumerate() {
        if left == 0 {
            break;
        }
        let place = statement.written().position(|written| written.name == column.name);
        let text = match place.map(|place| &row[place]) {
            Some(Cell::Text(text)) if is_as_it_came(&column.kind) => &**text,
            Some(Cell::Null) => "null",
            _ => return false,
        };
        let separated = if nth == 0 { Some(rest) } else { rest.strip_prefix(", ") };
        let Some(after) = separated.and_then(|rest| rest.strip_prefix(text)) else { return false };
        rest = after;
        left -= usize::from(place.is_some_and(|place| key.contains(&place)));
    }
    !key.is_empty() && left == 0 && (rest.is_empty() || rest.starts_with(", "))
}

/// The same where no value has a comma in it: by the key, or by all that is written as it came.
fn of_values(values: &str, statement: &Statement) -> Option<usize> {
    let values: Vec<&str> = values.split(", ").collect();
    let table = &statement.plan.table;
    if values.len() != table.columns.len() {
        return None;
    }
    let key = statement.key_cells();
    let told: Vec<(usize, &str)> = statement
        .written()
        .enumerate()
        .filter(|(place, column)| if key.is_empty() { is_as_it_came(&column.kind) } else { key.contains(place) })
        .filter_map(|(place, column)| {
            let at = table.columns.iter().position(|other| other.name == column.name)?;
            Some((place, values[at]))
        })
        .collect();
    let fits = |row: &Vec<Cell>| {
        told.iter().all(|(place, value)| match &row[*place] {
            Cell::Text(text) => **text == **value || value.strip_suffix("...").is_some_and(|cut| text.starts_with(cut)),
            Cell::Null => *value == "null",
            _ => false,
        })
    };
    if told.is_empty() { None } else { statement.rows.iter().position(fits) }
}

/// Whether PostgreSQL shows such a value in the letters that it was given.
fn is_as_it_came(kind: &ColumnType) -> bool {
    matches!(kind, ColumnType::Int { .. } | ColumnType::Text { .. } | ColumnType::Uuid)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_actors::{
        schema::{ColumnSchema, TableSchema},
        transaction::{Encoded, Op, TablePlan},
    };

    use super::*;

    fn cars(rows: &[[&str; 2]]) -> Statement {
        let column = |name: &str, kind| ColumnSchema {
            name: name.into(),
            kind,
            declared: String::new(),
            nullable: true,
            has_default: false,
            default: None,
            generated: false,
        };
        let int = ColumnType::Int { min: 0, max: 9 };
        let text = ColumnType::Text { max_chars: None, max_bytes: None, nul: false };
        let table = TableSchema {
            schema: "public".into(),
            name: "cars".into(),
            columns: vec![column("id", int), column("note", text.clone()), column("plate", text)],
            unique_keys: vec![vec!["id".into()]],
        };
        let plan = TablePlan {
            route: "r".into(),
            table: Arc::new(table),
            columns: vec![0, 2],
            key: vec![0],
            only_unique_key: true,
            version: None,
        };
        let cell = |text: &str| Cell::Text(text.into());
        Statement {
            plan: Arc::new(plan),
            op: Op::Insert,
            must_touch: false,
            columns: vec![0, 1],
            insert_only: Vec::new(),
            parents: Vec::new(),
            encoded: Encoded::default(),
            rows: rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect(),
        }
    }

    #[test]
    fn the_row_is_found_by_its_values() {
        let statement = cars(&[["1", "B 1"], ["2", "B (2), x"], ["3", "B 1"]]);
        let found = |code, detail| at_fault(code, detail, &statement);
        assert_eq!(found("23505", "Key (id)=(2) already exists."), Some(1));
        assert_eq!(found("23505", "Key (plate)=(B 1) already exists."), Some(2), "the second of a pair");
        assert_eq!(found("23503", "Key (plate)=(B 1) is not present in table \"plates\"."), Some(0));
        assert_eq!(found("23503", "Key (id, plate)=(2, B (2), x) is not present in table \"plates\"."), Some(1));
        assert_eq!(found("23505", "Key (id)=(20) already exists."), None);
        assert_eq!(found("23505", "Key (lower(plate))=(b 1) already exists."), None);
        assert_eq!(found("23514", "Failing row contains (3, null, B 1)."), Some(2));
        assert_eq!(found("23502", "Failing row contains (2, null, B (2), x)."), Some(1), "a comma behind the key");
        assert_eq!(found("23514", "Failing row contains (20, null, B (2), x)."), None);
        assert_eq!(found("P0001", "no"), None);
    }
}
