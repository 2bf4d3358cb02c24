//! Rows into tables: many rows in each statement, in powers of two, so that a route needs few prepared statements.
//!
//! Where rows are refused together they are tried one by one, so that a rejection names its row. That is cheap here, and
//! the transaction is rolled back in any case.

use sqlx::{Arguments as _, Row as _, sqlite::SqliteArguments};
use tidegate_actors::{
    ports::{Fault, Rejection, WriteError},
    schema::{ColumnSchema, ColumnType},
    transaction::{Cell, LeftOut, Op, Statement},
};

use super::{errors, session::Session};

/// Rows in one SQL statement: more gain nothing (measured: 2, 16, 64, 256, 1024).
const MAX_ROWS: usize = 256;

/// The same where bad rows are expected: what is written with one is written once more without it.
const SIFTED_ROWS: usize = 64;

/// SQLite's limit of parameters in a statement (*Implementation Limits For SQLite*, SQLITE_MAX_VARIABLE_NUMBER).
const MAX_PARAMETERS: usize = 32_766;

/// All statements' rows, in order; which of them touched nothing.
pub(super) async fn rows(session: &mut Session, statements: &[Statement]) -> Result<Vec<(usize, usize)>, WriteError> {
    let mut untouched = Vec::new();
    let mut left_out = LeftOut::new(statements);
    for (index, statement) in statements.iter().enumerate() {
        untouched.extend(rows_of(session, index, statement, &mut left_out).await?);
    }
    Ok(untouched)
}

/// One statement's rows.
pub(super) async fn rows_of(
    session: &mut Session,
    index: usize,
    statement: &Statement,
    left_out: &mut LeftOut,
) -> Result<Vec<(usize, usize)>, WriteError> {
    let rest = left_out.rest(statement);
    let written = async {
        let (form, asked) = (Form::of(&rest.statement), left_out.asks(index));
        let kept = if asked && rest.statement.only_inserts() { form.present(session).await? } else { Vec::new() };
        let rows = write(session, index, &rest.statement).await?;
        let newer = if asked { form.newer(session).await? } else { Vec::new() };
        Ok((rows, [kept, newer].concat()))
    };
    let (rows, kept) = written.await.map_err(|error| rest.located(error))?;
    let rows: Vec<_> = rows.into_iter().map(|row| rest.place(row)).chain(rest.out.iter().copied()).collect();
    left_out.add(index, kept.into_iter().map(|row| rest.place(row)).chain(rows.iter().copied()));
    Ok(rows.into_iter().map(|row| (index, row)).collect())
}

/// Writes the rows; the places of those that touched nothing and need not have.
async fn write(session: &mut Session, index: usize, statement: &Statement) -> Result<Vec<usize>, WriteError> {
    let form = Form::of(statement);
    let mut untouched = Vec::new();
    let mut done = 0;
    while done < statement.rows.len() {
        let size = form.rows_at_once(statement.rows.len() - done);
        let rows = done..done + size;
        let outcome = match form.write(session, rows.clone()).await {
            Err(WriteError::Reject(rejection)) if rejection.row.is_none() => {
                form.single_out(session, rows, rejection).await
            }
            outcome => outcome,
        };
        match outcome {
            Ok(places) => untouched.extend(places),
            Err(WriteError::Reject(rejection)) => {
                let row = rejection.row;
                return Err(WriteError::Reject(Rejection { row, ..form.told(index, 0, rejection) }));
            }
            Err(error) => return Err(error),
        }
        done += size;
    }
    match untouched.first() {
        Some(&row) if statement.must_touch && matches!(statement.op, Op::Update | Op::Delete) => {
            Err(WriteError::Reject(form.missing_row(index, row)))
        }
        _ => Ok(untouched),
    }
}

/// Writes the rows that can be written, and notes those that can not: by halves, until they stand alone.
pub(super) async fn sift(
    session: &mut Session,
    index: usize,
    statement: &Statement,
    found: &mut Vec<Rejection>,
) -> Result<(), WriteError> {
    let form = Form::of(statement);
    let mut done = 0;
    while done < statement.rows.len() {
        let size = form.rows_at_once((statement.rows.len() - done).min(SIFTED_ROWS));
        let mut waiting: Vec<_> = std::iter::once(done..done + size).collect();
        while let Some(rows) = waiting.pop() {
            let rejection = match form.write(session, rows.clone()).await {
                Ok(missing) if statement.must_touch && matches!(statement.op, Op::Update | Op::Delete) => {
                    found.extend(missing.into_iter().map(|row| form.missing_row(index, row)));
                    continue;
                }
                Ok(_) => continue,
                Err(WriteError::Reject(rejection)) => rejection,
                Err(error) => return Err(error),
            };
            let middle = rows.start + rows.len() / 2;
            match rows.len() {
                1 => found.push(form.told(index, rows.start, rejection)),
                _ => waiting.extend([middle..rows.end, rows.start..middle]),
            }
        }
        done += size;
    }
    Ok(())
}

/// One statement's SQL, for any number of rows.
pub(super) struct Form<'a> {
    statement: &'a Statement,
    columns: Vec<&'a ColumnSchema>,
    /// Places of the key in a row.
    key: Vec<usize>,
    /// Whether an insert of these columns alone can never succeed, so that an upsert must look for the row first:
    /// SQLite checks NOT NULL before it looks for a conflict.
    update_first: bool,
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

    /// A rejection of this row, with all that is known.
    fn told(&self, index: usize, row: usize, rejection: Rejection) -> Rejection {
        let columns = self.statement.plan.table.columns.iter().map(|column| column.name.as_str());
        let column = rejection.column.or_else(|| errors::checked_column(&rejection.message, columns));
        Rejection { statement: Some(index), row: Some(row), column, ..rejection }
    }

    fn missing_row(&self, index: usize, row: usize) -> Rejection {
        Rejection {
            statement: Some(index),
            row: Some(row),
            code: "missing_row".to_owned(),
            column: None,
            message: format!("{} has no row of this key", self.statement.plan.table.name),
        }
    }

    /// The largest power of two of rows that fits.
    fn rows_at_once(&self, left: usize) -> usize {
        if self.columns.is_empty() || self.update_first {
            return 1;
        }
        let most = left.min(MAX_ROWS).min(MAX_PARAMETERS / self.columns.len()).max(1);
        1 << most.ilog2()
    }

    /// Writes some rows; the places of those that touched nothing.
    async fn write(&self, session: &mut Session, rows: std::ops::Range<usize>) -> Result<Vec<usize>, WriteError> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let count = rows.len();
        match self.statement.op {
            Op::Insert => {
                session.run(&self.insert(count), self.bind(&rows, &all)?).await?;
            }
            Op::Upsert if self.update_first => {
                if !self.missing(session, &rows).await?.is_empty() {
                    session.run(&self.insert(count), self.bind(&rows, &all)?).await?;
                } else {
                    session.run(&self.update(count), self.bind(&rows, &all)?).await?;
                }
            }
            Op::Upsert => {
                session.run(&self.upsert(count), self.bind(&rows, &all)?).await?;
            }
            Op::Clear => {
                session.run(&self.clear(count), self.bind(&rows, &self.key)?).await?;
            }
            Op::Replace => {
                session.run(&self.clear(count), self.bind(&rows, &self.key)?).await?;
                session.run(&self.insert(count), self.bind(&rows, &all)?).await?;
            }
            Op::Update => {
                let unique = self.key_is_unique();
                let missing = if unique { Vec::new() } else { self.missing(session, &rows).await? };
                let touched = session.run(&self.update(count), self.bind(&rows, &all)?).await?;
                return match usize::try_from(touched) {
                    Ok(touched) if unique && touched < count => self.missing(session, &rows).await,
                    _ => Ok(missing),
                };
            }
            Op::Delete => {
                let missing = self.missing(session, &rows).await?;
                if missing.len() < count {
                    session.run(&self.delete(count), self.bind(&rows, &self.found_by())?).await?;
                }
                return Ok(missing);
            }
        }
        Ok(Vec::new())
    }

    /// Tries rows that were refused together one by one; the first that is refused alone is the bad one.
    async fn single_out(
        &self,
        session: &mut Session,
        rows: std::ops::Range<usize>,
        refused: Rejection,
    ) -> Result<Vec<usize>, WriteError> {
        if rows.len() == 1 {
            return Err(WriteError::Reject(Rejection { row: Some(rows.start), ..refused }));
        }
        // A trigger may have rolled the whole transaction back: then this opens one, and the end takes that back too.
        session.run("SAVEPOINT tidegate_single_out", SqliteArguments::default()).await?;
        for row in rows {
            match self.write(session, row..row + 1).await {
                Ok(_) => {}
                Err(WriteError::Reject(rejection)) => {
                    return Err(WriteError::Reject(Rejection { row: Some(row), ..rejection }));
                }
                Err(error) => return Err(error),
            }
        }
        Err(WriteError::Reject(refused))
    }

    /// The places of rows whose key the table does not have.
    async fn missing(&self, session: &mut Session, rows: &std::ops::Range<usize>) -> Result<Vec<usize>, WriteError> {
        let found = session.rows(&self.select_missing(rows.len()), self.bind(rows, &self.key)?).await?;
        let mut places = Vec::with_capacity(found.len());
        for row in &found {
            let place: i64 = row.try_get(0).map_err(|error| session.unreadable(error))?;
            places.push(rows.start + usize::try_from(place).unwrap_or(0));
        }
        places.sort_unstable();
        Ok(places)
    }

    /// The rows that are there.
    async fn present(&self, session: &mut Session) -> Result<Vec<usize>, WriteError> {
        let (mut missing, mut done) = (Vec::new(), 0);
        while done < self.statement.rows.len() {
            let rows = done..done + self.rows_at_once(self.statement.rows.len() - done);
            missing.extend(self.missing(session, &rows).await?);
            done = rows.end;
        }
        Ok((0..self.statement.rows.len()).filter(|row| missing.binary_search(row).is_err()).collect())
    }

    /// The rows that the guard left alone, asked after the statement itself: the others have the version that was written.
    async fn newer(&self, session: &mut Session) -> Result<Vec<usize>, WriteError> {
        let (mut newer, mut done) = (Vec::new(), 0);
        while self.statement.guard().is_some() && done < self.statement.rows.len() {
            let rows = done..done + self.rows_at_once(self.statement.rows.len() - done);
            let found = session.rows(&self.select_newer(rows.len()), self.bind(&rows, &self.found_by())?).await?;
            for row in &found {
                let place: i64 = row.try_get(0).map_err(|error| session.unreadable(error))?;
                newer.push(rows.start + usize::try_from(place).unwrap_or(0));
            }
            done = rows.end;
        }
        Ok(newer)
    }

    fn key_is_unique(&self) -> bool {
        let names: Vec<String> = self.key.iter().map(|&place| self.columns[place].name.clone()).collect();
        self.statement.plan.table.is_unique(&names)
    }

    pub(super) fn insert(&self, rows: usize) -> String {
        if self.columns.is_empty() {
            return format!("INSERT INTO {} DEFAULT VALUES", self.table());
        }
        let all: Vec<usize> = (0..self.columns.len()).collect();
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
    fn found_by(&self) -> Vec<usize> {
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

    fn bind(&self, rows: &std::ops::Range<usize>, places: &[usize]) -> Result<SqliteArguments, WriteError> {
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

/// The name that the given rows go by in a statement.
const GIVEN: &str = "tidegate_given";

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
                other => arguments.add(other),
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
            _ => arguments.add(&**text),
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

/// `(?, ?), (?, ?)`
fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row.as_str(); rows].join(", ")
}

/// An identifier, whatever characters it is made of.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
