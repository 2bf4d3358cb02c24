//! What SQL Server's messages name: columns, constraints, the duplicate value. Only names leave this file; a session's language
//! is English, so the words around them are known.

use tidegate_actors::{
    schema::TableSchema,
    transaction::{Cell, Statement},
};

/// Longest piece of the server's own words that is passed on, in characters.
const WORDS_CHARS: usize = 300;

/// At most so many characters of words that hold no values.
pub(super) fn shortened(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS_CHARS).collect()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}

/// The stable word for error 547, which is three in one.
pub(super) fn constraint_kind(words: &str) -> (&'static str, &'static str) {
    if words.contains(" CHECK constraint ") {
        ("check", "the row fails a check constraint")
    } else if words.contains(" REFERENCE constraint ") {
        ("foreign_key", "other rows refer to this one")
    } else {
        ("foreign_key", "the row refers to one that is not there")
    }
}

/// The constraint or index that a message names.
pub(super) fn constraint(number: u32, words: &str) -> Option<&str> {
    let name = match number {
        2627 => between(words, " constraint '", "'. Cannot insert")?,
        2601 => between(words, "with unique index '", "'.")?,
        547 => between(words, " constraint \"", "\".")?,
        _ => return None,
    };
    (!name.is_empty() && name.chars().count() <= 128).then_some(name)
}

/// The column that a message names, where it is one of the table that was written to.
pub(super) fn column(number: u32, words: &str, statement: &Statement) -> Option<String> {
    let name = match number {
        515 => between(words, "into column '", "', table '")?,
        2628 => between(words, "', column '", "'. Truncated")?,
        // The column of a foreign key is the other table's.
        547 if words.contains(" CHECK constraint ") => words.rsplit_once(", column '")?.1.strip_suffix("'.")?,
        _ => return None,
    };
    let table = &statement.plan.table;
    if let Some(found) = table.columns.iter().find(|column| column.name == name) {
        return Some(found.name.clone());
    }
    // Rows pass through a table of ours, whose columns are c0, c1 …
    let place = name.strip_prefix('c')?.parse::<usize>().ok()?;
    statement.written().nth(place).map(|column| column.name.clone())
}

/// The value in `The duplicate key value is (JKT, 7).`
fn duplicate(words: &str) -> Option<&str> {
    let (_, rest) = words.rsplit_once("The duplicate key value is (")?;
    rest.trim_end().strip_suffix(").")
}

/// The row that has the duplicate value in the columns of a unique key, where there is exactly one, or two that collide.
pub(super) fn duplicate_row(words: &str, statement: &Statement) -> Option<usize> {
    let value = duplicate(words)?;
    let keys = keys_written(statement);
    let spelled = |row: &[Cell], key: &[usize]| {
        let texts: Option<Vec<&str>> = key
            .iter()
            .map(|&place| match &row[place] {
                Cell::Text(text) => Some(&**text),
                Cell::Null => Some("<NULL>"),
                Cell::Absent | Cell::Bytes(_) => None,
            })
            .collect();
        texts.is_some_and(|texts| texts.join(", ") == value)
    };
    let mut found = (0..statement.rows.len()).filter(|&row| keys.iter().any(|key| spelled(&statement.rows[row], key)));
    match (found.next(), found.next(), found.next()) {
        (Some(only), None, _) => Some(only),
        (Some(_), Some(second), None) => Some(second),
        _ => None,
    }
}

/// The unique keys whose columns a statement writes, as places in its rows.
fn keys_written(statement: &Statement) -> Vec<Vec<usize>> {
    let table: &TableSchema = &statement.plan.table;
    let names: Vec<&str> = statement.written().map(|column| column.name.as_str()).collect();
    let place = |name: &String| names.iter().position(|written| written == name);
    table.unique_keys.iter().filter_map(|key| key.iter().map(place).collect()).collect()
}
