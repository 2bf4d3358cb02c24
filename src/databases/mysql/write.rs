//! One transaction's rows: in bulk, in order, and by halves where a bulk is refused, until the bad row stands alone.
//!
//! A refused statement leaves no trace in the transaction (InnoDB undoes it), so trying its halves is the same as never
//! having tried the whole.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use sqlx::{AssertSqlSafe, MySql, Row, mysql::MySqlArguments, query::Query};
use tidegate_actors::{
    failpoint,
    ports::WriteError,
    schema::{ColumnSchema, ColumnType},
    transaction::{Cell, Committed, Op, Statement, Transaction},
};

use super::{
    bookkeeping,
    catalogue::Facts,
    errors::{self, reject},
    session::{Failure, Session},
    sql::{Shape, chunk},
};

/// What [`Facts`] are kept under: schema and name.
pub(super) type Tables = HashMap<(String, String), Facts>;

/// Why a bulk did not go through.
enum Bulk {
    /// Two of its rows are one to the database, though their keys are spelled differently: one after the other, then.
    Apart,
    /// This row, by its place in the statement, is bad on its own account.
    Bad(usize, WriteError),
    /// Something else.
    Failed(Failure),
}

impl From<sqlx::Error> for Bulk {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(Failure::Sql(error))
    }
}

/// Writes everything of a transaction that has begun. `exhumed` false: roll back.
pub(super) async fn transaction(
    session: &mut Session,
    tables: &Tables,
    transaction: &Transaction,
    name: &str,
) -> Result<Committed, Failure> {
    let lane = transaction.fence.lane.main().to_string();
    if let Some(lock) = &transaction.lock {
        bookkeeping::lock(session, lock).await?;
    }
    bookkeeping::fence(session, &transaction.fence).await?;
    if let Some(dead) = &transaction.exhume
        && !bookkeeping::exhume(session, &lane, dead).await?
    {
        return Ok(Committed::default());
    }
    bookkeeping::open(session, &transaction.fence, &transaction.open).await?;
    bookkeeping::close(session, &transaction.close).await?;
    let untouched = rows(session, tables, &transaction.statements, name).await?;
    bookkeeping::supersede(session, &lane, &transaction.supersede).await?;
    bookkeeping::bury(session, &lane, &transaction.bury).await?;
    failpoint::reach(failpoint::INSIDE_MYSQL);
    Ok(Committed { untouched, exhumed: true })
}

/// Writes all statements' rows, in order; which of them touched nothing.
pub(super) async fn rows(
    session: &mut Session,
    tables: &Tables,
    statements: &[Statement],
    name: &str,
) -> Result<Vec<(usize, usize)>, Failure> {
    let (mut untouched, nothing) = (Vec::new(), Facts::default());
    for (index, statement) in statements.iter().enumerate() {
        let table = &statement.plan.table;
        let facts = tables.get(&(table.schema.clone(), table.name.clone())).unwrap_or(&nothing);
        let mut writer = Writer { session, statement, shape: Shape::new(statement, facts), untouched: Vec::new() };
        writer.write(index, name).await?;
        untouched.extend(writer.untouched.into_iter().map(|row| (index, row)));
    }
    Ok(untouched)
}

/// One statement on its way.
struct Writer<'a> {
    session: &'a mut Session,
    statement: &'a Statement,
    shape: Shape<'a>,
    untouched: Vec<usize>,
}

impl Writer<'_> {
    async fn write(&mut self, index: usize, name: &str) -> Result<(), Failure> {
        let bad = |row: usize, verdict: WriteError| match verdict {
            WriteError::Reject(mut rejection) => {
                (rejection.statement, rejection.row) = (Some(index), Some(row));
                Failure::Told(WriteError::Reject(rejection))
            }
            other => Failure::Told(other),
        };
        let mut at = 0;
        while at < self.statement.rows.len() {
            let end = self.next_chunk(at).map_err(|verdict| bad(at, verdict))?;
            let mut pending: Vec<Range<usize>> = std::iter::once(at..end).collect();
            while let Some(rows) = pending.pop() {
                let failure = match self.bulk(rows.clone()).await {
                    Ok(()) => continue,
                    Err(Bulk::Bad(row, verdict)) => return Err(bad(row, verdict)),
                    Err(Bulk::Apart) => None,
                    Err(Bulk::Failed(failure)) => match failure.verdict(name) {
                        rejected @ WriteError::Reject(_) => Some(rejected),
                        other => return Err(Failure::Told(other)),
                    },
                };
                let middle = rows.start + rows.len() / 2;
                match failure {
                    Some(rejected) if rows.len() == 1 => return Err(bad(rows.start, rejected)),
                    _ => pending.extend([middle..rows.end, rows.start..middle]),
                }
            }
            at = end;
        }
        Ok(())
    }

    /// Where the statement that begins at this row ends: by number of rows and by bytes.
    fn next_chunk(&self, start: usize) -> Result<usize, WriteError> {
        let rows = &self.statement.rows[start..];
        let derived = match self.statement.op {
            Op::Insert => false,
            Op::Upsert => !self.shape.on_duplicate_key(self.statement.plan.only_unique_key),
            Op::Update | Op::Delete | Op::Replace | Op::Clear => true,
        };
        let mut many = chunk(rows.len(), self.shape.columns.len(), derived);
        let bytes = |rows: &[Vec<Cell>]| rows.iter().flatten().map(size).sum::<usize>();
        if bytes(&rows[..1]) + 65_536 > self.session.max_packet_bytes {
            return Err(WriteError::Reject(reject(
                "too_long",
                None,
                format!(
                    "the row is longer than the server takes at once (max_allowed_packet is {} bytes)",
                    self.session.max_packet_bytes
                ),
            )));
        }
        while many > 1 && bytes(&rows[..many]) > self.session.statement_bytes() {
            many /= 2;
        }
        Ok(start + many)
    }

    /// Writes these rows in as few statements as their kind allows.
    async fn bulk(&mut self, rows: Range<usize>) -> Result<(), Bulk> {
        let all: Vec<usize> = rows.clone().collect();
        match self.statement.op {
            Op::Insert => Ok(self.insert(&all).await?),
            Op::Upsert if self.shape.on_duplicate_key(self.statement.plan.only_unique_key) => {
                Ok(self.run(self.shape.upsert(all.len()), &all, &self.every_place()).await?)
            }
            Op::Upsert => {
                let there = self.lookup(&rows).await?;
                let (old, new): (Vec<_>, Vec<_>) = all.into_iter().partition(|row| there.contains(row));
                self.update(&old).await?;
                Ok(self.insert(&new).await?)
            }
            Op::Update | Op::Delete => {
                let there = self.lookup(&rows).await?;
                let mut missing = rows.filter(|row| !there.contains(row));
                if self.statement.must_touch
                    && let Some(row) = missing.next()
                {
                    let message = "there is no row with this key".to_owned();
                    return Err(Bulk::Bad(row, WriteError::Reject(reject("missing_row", None, message))));
                }
                let missing: Vec<_> = missing.collect();
                if !there.is_empty() {
                    match self.statement.op {
                        Op::Update => self.update(&all).await?,
                        _ => self.delete(&all).await?,
                    }
                }
                self.untouched.extend(missing);
                Ok(())
            }
            Op::Clear => Ok(self.delete(&all).await?),
            Op::Replace => {
                self.delete(&all).await?;
                Ok(self.insert(&all).await?)
            }
        }
    }

    fn every_place(&self) -> Vec<usize> {
        (0..self.shape.columns.len()).collect()
    }

    async fn insert(&mut self, rows: &[usize]) -> Result<(), sqlx::Error> {
        let places = self.every_place();
        let mut left = rows;
        while !left.is_empty() {
            let (now, later) = left.split_at(chunk(left.len(), places.len(), false));
            self.run(self.shape.insert(now.len()), now, &places).await?;
            left = later;
        }
        Ok(())
    }

    async fn update(&mut self, rows: &[usize]) -> Result<(), sqlx::Error> {
        let places = self.every_place();
        let mut left = if self.shape.sets_something() { rows } else { &[] };
        while !left.is_empty() {
            let (now, later) = left.split_at(chunk(left.len(), places.len(), true));
            self.run(self.shape.update(now.len()), now, &places).await?;
            left = later;
        }
        Ok(())
    }

    async fn delete(&mut self, rows: &[usize]) -> Result<(), sqlx::Error> {
        self.run(self.shape.delete(rows.len()), rows, &self.shape.key.clone()).await
    }

    /// Which of these rows are there. Locks them.
    async fn lookup(&mut self, rows: &Range<usize>) -> Result<BTreeSet<usize>, Bulk> {
        let all: Vec<usize> = rows.clone().collect();
        let query = sqlx::query(AssertSqlSafe(self.shape.lookup(all.len())));
        let query = bind_rows(query, &self.shape, self.statement, &all, &self.shape.key);
        let mut there = BTreeSet::new();
        let mut keys: HashMap<String, usize> = HashMap::new();
        for found in query.fetch_all(&mut self.session.connection).await? {
            let row = rows.start + usize::try_from(found.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
            if *keys.entry(found.try_get(1)?).or_insert(row) != row {
                return Err(Bulk::Apart);
            }
            there.insert(row);
        }
        Ok(there)
    }

    async fn run(&mut self, sql: String, rows: &[usize], places: &[usize]) -> Result<(), sqlx::Error> {
        let query = bind_rows(sqlx::query(AssertSqlSafe(sql)), &self.shape, self.statement, rows, places);
        self.session.execute(query).await.map(drop)
    }
}

/// Binds these places of these rows, row by row.
fn bind_rows<'q>(
    mut query: Query<'q, MySql, MySqlArguments>,
    shape: &Shape<'_>,
    statement: &'q Statement,
    rows: &[usize],
    places: &[usize],
) -> Query<'q, MySql, MySqlArguments> {
    for &row in rows {
        for &place in places {
            query = bind(query, shape.columns[place], &statement.rows[row][place]);
        }
    }
    query
}

/// Binds one cell: text for every type, bytes for bytes.
fn bind<'q>(
    query: Query<'q, MySql, MySqlArguments>,
    column: &ColumnSchema,
    cell: &'q Cell,
) -> Query<'q, MySql, MySqlArguments> {
    match cell {
        Cell::Absent | Cell::Null => query.bind(None::<&str>),
        Cell::Bytes(bytes) => query.bind(&**bytes),
        Cell::Text(text) => query.bind(spelled(column, text)),
    }
}

/// The text as MySQL reads it.
fn spelled<'t>(column: &ColumnSchema, text: &'t str) -> Cow<'t, str> {
    match column.kind {
        ColumnType::Bool => match text {
            "true" => "1".into(),
            "false" => "0".into(),
            other => other.into(),
        },
        // MySQL rounds a fraction that the column has no room for, into the next day if need be, and MariaDB cuts it;
        // neither says so. Cut here, it is the same on both.
        ColumnType::Time { .. } | ColumnType::Timestamp { .. } => match text.split_once('.') {
            Some((whole, fraction)) => match fraction_digits(&column.declared) {
                0 => whole.into(),
                digits if fraction.len() > digits => text[..whole.len() + 1 + digits].into(),
                _ => text.into(),
            },
            None => text.into(),
        },
        _ => text.into(),
    }
}

/// The digits after the second that `datetime(3)` keeps.
fn fraction_digits(declared: &str) -> usize {
    let digits = declared.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(digits, _)| digits);
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// What a cell takes in a packet, at most.
fn size(cell: &Cell) -> usize {
    // A null bit, two bytes of type and up to nine of length come with each.
    12 + match cell {
        Cell::Absent | Cell::Null => 0,
        Cell::Text(text) => text.len(),
        Cell::Bytes(bytes) => bytes.len(),
    }
}

/// The verdict on a failed transaction.
pub(super) fn verdict(failure: Failure, name: &str) -> WriteError {
    match failure {
        Failure::Sql(error) => bookkeeping::not_a_row(errors::classify(&error, name)),
        Failure::Told(verdict) => verdict,
    }
}
