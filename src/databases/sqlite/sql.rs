//! The SQL of one statement's rows, and how many of them a piece of it writes.

use tidegate_actors::{
    schema::ColumnSchema,
    transaction::{Op, Statement},
};

/// Rows in one SQL statement: more gain nothing (measured: 2, 16, 64, 256, 1024).
const MAX_ROWS: usize = 256;

/// SQLite's limit of parameters in a statement (*Implementation Limits For SQLite*, SQLITE_MAX_VARIABLE_NUMBER).
const MAX_PARAMETERS: usize = 32_766;

/// One statement's SQL, for any number of rows.
pub(super) struct Form<'a> {
    pub(super) statement: &'a Statement,
    pub(super) columns: Vec<&'a ColumnSchema>,
    /// Places of the key in a row.
    pub(super) key: Vec<usize>,
    /// Whether an insert of these columns alone can never succeed, so that an upsert must look for the row first:
    /// SQLite checks NOT NULL before it looks for a conflict.
    pub(super) update_first: bool,
}

impl<'a> Form<'a> {
    pub(super) fn of(statement: &'a Statement) -> Self {
        let table = &statement.plan.table;
        let columns: Vec<_> = statement.written().collect();
        let lacks = |column: &ColumnSchema| {
            let needed = !column.nullable && !column.has_default && !column.generated;
            needed && !columns.iter().any(|written| written.name == column.name)
        };
        let update_first = statement.op == Op::Upsert && table.columns.iter().any(lacks);
        Self { statement, key: statement.key_cells(), columns, update_first }
    }

    /// The largest power of two of rows that fits.
    pub(super) fn rows_at_once(&self, left: usize) -> usize {
        if self.columns.is_empty() || self.update_first {
            return 1;
        }
        let most = left.min(MAX_ROWS).min(MAX_PARAMETERS / self.columns.len()).max(1);
        1 << most.ilog2()
    }

    /// The places of all cells that are written.
    pub(super) fn every_place(&self) -> Vec<usize> {
        (0..self.columns.len()).collect()
    }

    pub(super) fn key_is_unique(&self) -> bool {
        let names: Vec<String> = self.key.iter().map(|&place| self.columns[place].name.clone()).collect();
        self.statement.plan.table.is_unique(&names)
    }

    pub(super) fn insert(&self, rows: usize) -> String {
        if self.columns.is_empty() {
            return format!("INSERT INTO {} DEFAULT VALUES", self.table());
        }
        let all = self.every_place();
        format!("INSERT INTO {} ({}) VALUES {}", self.table(), self.names(&all), values(rows, all.len()))
    }

    pub(super) fn upsert(&self, rows: usize) -> String {
        let target = self.names(&self.key);
        let set: Vec<_> = self
            .columns_but_key()
            .map(|place| {
                let name = quoted(&self.columns[place].name);
                format!("{name} = excluded.{name}")
            })
            .collect();
        let action = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
        let guard = self.statement.guard().map(|place| quoted(&self.columns[place].name));
        let guard = guard.map_or(String::new(), |version| {
            format!(" WHERE ({}.{version} > excluded.{version}) IS NOT TRUE", self.table())
        });
        format!("{} ON CONFLICT ({target}) DO {action}{guard}", self.insert(rows))
    }

    pub(super) fn update(&self, rows: usize) -> String {
        let mut changed: Vec<usize> = self.columns_but_key().collect();
        if changed.is_empty() {
            changed.clone_from(&self.key); // nothing to change; the row's triggers see an update all the same
        }
        let set: Vec<_> = changed
            .iter()
            .map(|&place| format!("{} = {GIVEN}.column{}", quoted(&self.columns[place].name), place + 1))
            .collect();
        let key = self.key.iter().map(|&place| (place, place));
        format!(
            "UPDATE {} SET {} FROM (VALUES {}) AS {GIVEN} WHERE {}{}",
            self.table(),
            set.join(", "),
            values(rows, self.columns.len()),
            self.same_key(key, 0),
            self.newer_than(self.statement.guard())
                .map_or(String::new(), |newer| format!(" AND ({newer}) IS NOT TRUE")),
        )
    }

    /// DELETE by key. Where it is guarded, the rows are looked for first, since a DELETE joins nothing.
    pub(super) fn delete(&self, rows: usize) -> String {
        let Some(newer) = self.newer_than(self.statement.guard().map(|_| self.key.len())) else {
            return self.clear(rows);
        };
        let (table, key) = (self.table(), self.key.iter().copied().enumerate().map(|(nth, place)| (place, nth)));
        let own: Vec<_> =
            self.key.iter().map(|&place| format!("{table}.{}", quoted(&self.columns[place].name))).collect();
        format!(
            "DELETE FROM {table} WHERE {} IN (SELECT {} FROM (VALUES {}) AS {GIVEN} CROSS JOIN {table} WHERE {} AND ({newer}) IS NOT TRUE)",
            self.key_tuple(),
            own.join(", "),
            values(rows, self.key.len() + 1),
            self.same_key(key, 0),
        )
    }

    /// DELETE of all rows that have these values, which may be named more than once.
    pub(super) fn clear(&self, rows: usize) -> String {
        let values = values(rows, self.key.len());
        format!("DELETE FROM {} WHERE {} IN (VALUES {values})", self.table(), self.key_tuple())
    }

    /// Which of these rows are there with a greater version: their places.
    pub(super) fn select_newer(&self, rows: usize) -> String {
        let parameters = vec!["?"; self.key.len() + 1].join(", ");
        let given: Vec<_> = (0..rows).map(|place| format!("({place}, {parameters})")).collect();
        format!(
            "SELECT {GIVEN}.column1 FROM (VALUES {}) AS {GIVEN} CROSS JOIN {} WHERE {} AND {}",
            given.join(", "),
            self.table(),
            self.same_key(self.key.iter().copied().enumerate().map(|(nth, place)| (place, nth)), 1),
            self.newer_than(Some(self.key.len() + 1)).unwrap_or_default(),
        )
    }

    /// The table's version is greater than the given one, which is the `nth` of a row's values; the column comes first, as
    /// in [`Self::same_key`].
    fn newer_than(&self, nth: Option<usize>) -> Option<String> {
        let (version, nth) = self.statement.guard().zip(nth)?;
        Some(format!("{}.{} > {GIVEN}.column{}", self.table(), quoted(&self.columns[version].name), nth + 1))
    }

    /// The places whose cells a guarded DELETE and [`Self::select_newer`] bind.
    pub(super) fn found_by(&self) -> Vec<usize> {
        self.key.iter().copied().chain(self.statement.guard()).collect()
    }

    fn key_tuple(&self) -> String {
        let key = self.names(&self.key);
        if self.key.len() == 1 { key } else { format!("({key})") }
    }

    pub(super) fn select_missing(&self, rows: usize) -> String {
        let parameters = vec!["?"; self.key.len()].join(", ");
        let given: Vec<_> = (0..rows).map(|place| format!("({place}, {parameters})")).collect();
        format!(
            "SELECT {GIVEN}.column1 FROM (VALUES {}) AS {GIVEN} WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {})",
            given.join(", "),
            self.table(),
            self.same_key(self.key.iter().copied().enumerate().map(|(nth, place)| (place, nth)), 1),
        )
    }

    /// The key's columns equal to the given ones; the table's name comes first, so that its affinity and collation count.
    fn same_key(&self, key: impl Iterator<Item = (usize, usize)>, before: usize) -> String {
        let equal = key.map(|(place, nth)| {
            let name = quoted(&self.columns[place].name);
            format!("{}.{name} = {GIVEN}.column{}", self.table(), nth + 1 + before)
        });
        equal.collect::<Vec<_>>().join(" AND ")
    }

    fn columns_but_key(&self) -> impl Iterator<Item = usize> {
        let only_on_insert = &self.statement.insert_only;
        (0..self.columns.len()).filter(|place| !self.key.contains(place) && !only_on_insert.contains(place))
    }

    fn table(&self) -> String {
        quoted(&self.statement.plan.table.name)
    }

    fn names(&self, places: &[usize]) -> String {
        places.iter().map(|&place| quoted(&self.columns[place].name)).collect::<Vec<_>>().join(", ")
    }
}

/// The name that the given rows go by in a statement.
const GIVEN: &str = "tidegate_given";

/// `(?, ?), (?, ?)`
fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row.as_str(); rows].join(", ")
}

/// An identifier, whatever characters it is made of.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
