//! The T-SQL of each way to write rows. A statement's rows go from JSON into a table variable `@s0`, `@s1` …, whose columns
//! have the real ones' types, and from there into the table.
//!
//! MERGE is never used: its list of known faults is long. A trigger's table takes no OUTPUT without INTO, so what a statement
//! touches is found by looking, with locks that keep it so until the commit.

use tidegate_actors::transaction::{Cell, Op, Statement};

use super::{
    batch::{Batch, EXACT, MISSING, TWINS, UNSPEAKABLE, quote},
    slots::{Facts, Family, Slot},
};

/// Keeps what was found, or found missing, as it is until the transaction ends.
const LOCKED: &str = "WITH (UPDLOCK, HOLDLOCK)";

/// Where a statement's rows are among the parameters.
pub(super) struct Source {
    /// The parameter.
    pub(super) parameter: String,
    /// The place in its array.
    pub(super) place: usize,
}

/// One statement on its way into a batch.
pub(super) struct Writer<'a> {
    /// Its place in the transaction.
    pub(super) index: usize,
    /// The statement.
    pub(super) statement: &'a Statement,
    /// Its columns.
    pub(super) slots: Vec<Slot<'a>>,
    /// The column that counts by itself.
    identity: Option<String>,
    /// The table, in brackets.
    table: String,
    /// Columns of a code page, where a row has more than ASCII for them.
    doubtful: Vec<usize>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(index: usize, statement: &'a Statement, facts: &Facts) -> Self {
        let slots = Slot::of(statement, facts);
        let doubtful = (0..slots.len())
            .filter(|&at| slots[at].family == Family::Narrow && statement.rows.iter().any(|row| !is_ascii(&row[at])))
            .collect();
        let table = &statement.plan.table;
        let table = format!("{}.{}", quote(&table.schema), quote(&table.name));
        Self { index, statement, slots, identity: facts.identity.clone(), table, doubtful }
    }

    /// Adds the statement to the batch.
    pub(super) fn write(&self, batch: &mut Batch, source: &Source) {
        let rows = self.statement.rows.len();
        if rows == 0 {
            return;
        }
        batch.line(&format!("SET @step = {}; SET @item = NULL;", self.index));
        if self.slots.is_empty() {
            return self.insert_defaults(batch, rows);
        }
        self.stage(batch, source);
        match self.statement.op {
            Op::Insert => self.insert(batch, ""),
            Op::Upsert => {
                self.refuse_twins(batch);
                self.update(batch);
                let missing = format!(" WHERE {}", self.missing());
                if !self.makes_whole_rows() {
                    // A column that is required and not given must not be missed where nothing is inserted.
                    batch.line(&format!("IF EXISTS (SELECT 1 FROM {} AS s{missing})", self.staged()));
                }
                self.insert(batch, &missing);
            }
            Op::Update => {
                self.refuse_twins(batch);
                self.tell_missing(batch);
                self.update(batch);
            }
            Op::Delete => {
                self.tell_missing(batch);
                self.delete(batch);
            }
            Op::Clear => self.delete(batch),
            Op::Replace => {
                self.delete(batch);
                self.insert(batch, "");
            }
        }
    }

    /// The table variable with this statement's rows.
    fn staged(&self) -> String {
        format!("@s{}", self.index)
    }

    /// From JSON into the table variable, each text converted to its column's type.
    fn stage(&self, batch: &mut Batch, source: &Source) {
        let staged = self.staged();
        let list = |of: &dyn Fn(usize, &Slot<'_>) -> String| -> String {
            self.slots.iter().enumerate().map(|(at, slot)| of(at, slot)).collect()
        };
        let raw = |of: &dyn Fn(usize) -> String| -> String { self.doubtful.iter().map(|&at| of(at)).collect() };
        batch.line(&format!(
            "DECLARE {staged} TABLE (o int NOT NULL PRIMARY KEY{}{});",
            list(&|at, slot| format!(", c{at} {} NULL", slot.held_as)),
            raw(&|at| format!(", r{at} nvarchar(max) COLLATE {EXACT} NULL")),
        ));
        batch.line(&format!(
            "INSERT INTO {staged} (o{}{}) SELECT j.o{}{} FROM OPENJSON({}, '$[{}]') WITH (o int '$[0]'{}) AS j;",
            list(&|at, _| format!(", c{at}")),
            raw(&|at| format!(", r{at}")),
            list(&|at, slot| format!(", {}", slot.converted(&format!("j.c{at}")))),
            raw(&|at| format!(", j.c{at}")),
            source.parameter,
            source.place,
            list(&|at, _| format!(", c{at} nvarchar(max) '$[{}]'", at + 1)),
        ));
        for at in &self.doubtful {
            // The assignment turned what the code page lacks into something else, without a word.
            batch.line(&format!("SET @item = {at};"));
            batch.line(&format!(
                "SELECT @place = MIN(s.o) FROM {staged} AS s WHERE CONVERT(nvarchar(max), s.c{at}) COLLATE {EXACT} <> s.r{at};"
            ));
            batch.throw_if("@place IS NOT NULL", UNSPEAKABLE, "not in the code page");
        }
        if !self.doubtful.is_empty() {
            batch.line("SET @item = NULL;");
        }
    }

    /// Refuses rows with the same key, of which UPDATE would take any: folding leaves none that are spelled alike, but only the
    /// database knows which keys it holds for the same.
    fn refuse_twins(&self, batch: &mut Batch) {
        if self.statement.rows.len() == 1 {
            return;
        }
        let key: Vec<String> = self.key().map(|(at, _)| format!("s.c{at}")).collect();
        batch.line(&format!(
            "SELECT @place = MIN(d.o) FROM (SELECT s.o, ROW_NUMBER() OVER (PARTITION BY {} ORDER BY s.o) AS n FROM {} AS s) AS d \
             WHERE d.n > 1;",
            key.join(", "),
            self.staged()
        ));
        batch.throw_if("@place IS NOT NULL", TWINS, "two rows are one");
    }

    /// Throws at the first row that is not there, or remembers all of them.
    fn tell_missing(&self, batch: &mut Batch) {
        let (staged, missing) = (self.staged(), self.missing());
        if self.statement.must_touch {
            batch.line(&format!("SELECT @place = MIN(s.o) FROM {staged} AS s WHERE {missing};"));
            batch.throw_if("@place IS NOT NULL", MISSING, "missing row");
        } else {
            batch.line(&format!(
                "INSERT INTO @untouched (step, place) SELECT {}, s.o FROM {staged} AS s WHERE {missing};",
                self.index
            ));
        }
    }

    fn key(&self) -> impl Iterator<Item = (usize, &Slot<'a>)> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.key)
    }

    /// `t.[id] = s.c0 AND …`
    fn matches(&self) -> String {
        let terms: Vec<_> = self.key().map(|(at, slot)| format!("t.{} = s.c{at}", slot.name)).collect();
        terms.join(" AND ")
    }

    /// That no row of the table has the key of `s`.
    fn missing(&self) -> String {
        format!("NOT EXISTS (SELECT 1 FROM {} AS t {LOCKED} WHERE {})", self.table, self.matches())
    }

    /// The join of the table with this statement's rows, without those that a greater version guards.
    fn joined(&self) -> String {
        let guard = self.statement.guard().map_or(String::new(), |at| {
            let stored = format!("t.{}", self.slots[at].name);
            format!(" WHERE {stored} <= s.c{at} OR {stored} IS NULL OR s.c{at} IS NULL")
        });
        format!("FROM {} AS t {LOCKED} INNER JOIN {} AS s ON {}{guard}", self.table, self.staged(), self.matches())
    }

    /// UPDATE by key of what is neither the key nor for new rows only.
    fn update(&self, batch: &mut Batch) {
        let set: Vec<_> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(at, slot)| !slot.key && !self.statement.insert_only.contains(at))
            .map(|(at, slot)| format!("{} = s.c{at}", slot.name))
            .collect();
        if !set.is_empty() {
            batch.line(&format!("UPDATE t SET {} {};", set.join(", "), self.joined()));
        }
    }

    fn delete(&self, batch: &mut Batch) {
        batch.line(&format!("DELETE t {};", self.joined()));
    }

    /// INSERT of the rows that `filter` leaves, in their order.
    fn insert(&self, batch: &mut Batch, filter: &str) {
        let names: Vec<_> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
        let values: Vec<_> = (0..self.slots.len()).map(|at| format!("s.c{at}")).collect();
        let insert = format!(
            "INSERT INTO {} ({}) SELECT {} FROM {} AS s{filter} ORDER BY s.o;",
            self.table,
            names.join(", "),
            values.join(", "),
            self.staged()
        );
        let counts = self.slots.iter().any(|slot| Some(&slot.column.name) == self.identity.as_ref());
        if counts {
            batch.sets_identity_insert = true;
            batch.line("BEGIN");
            batch.line(&format!("SET IDENTITY_INSERT {} ON;", self.table));
            batch.line(&insert);
            batch.line(&format!("SET IDENTITY_INSERT {} OFF;", self.table));
            batch.line("END;");
        } else {
            batch.line(&insert);
        }
    }

    /// Rows without a column.
    fn insert_defaults(&self, batch: &mut Batch, rows: usize) {
        batch.line(&format!("SET @item = {rows};"));
        batch.line(&format!(
            "WHILE @item > 0 BEGIN INSERT INTO {} DEFAULT VALUES; SET @item = @item - 1; END;",
            self.table
        ));
    }

    /// Whether every column that an INSERT can't do without is present.
    fn makes_whole_rows(&self) -> bool {
        let given = |name: &str| self.slots.iter().any(|slot| slot.column.name == name);
        let columns = &self.statement.plan.table.columns;
        columns.iter().all(|column| column.nullable || column.has_default || given(&column.name))
    }
}

fn is_ascii(cell: &Cell) -> bool {
    match cell {
        Cell::Text(text) => text.is_ascii(),
        Cell::Absent | Cell::Null | Cell::Bytes(_) => true,
    }
}

#[cfg(test)]
mod tests;
