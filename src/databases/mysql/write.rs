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
    ports::{Rejection, WriteError},
    schema::{ColumnSchema, ColumnType},
    transaction::{Cell, LeftOut, Op, Statement, Transaction, Trial, Tried, settled},
};

use super::{
    bookkeeping,
    catalogue::Facts,
    errors::{self, reject},
    literals,
    session::{Failure, Session},
    sql::{Shape, chunk, literal_chunk},
};

/// Most rows of a statement where bad ones are expected: what is written with one is written once more without it.
const SIFTED_ROWS: usize = 64;

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

/// Writes everything of a transaction that has begun, behind its fence where no other row is to be locked first. `exhumed` false:
/// roll back.
pub(super) async fn transaction(
    session: &mut Session,
    tables: &Tables,
    transaction: &Transaction,
    trials: &[Trial],
    name: &str,
) -> Result<Tried, Failure> {
    let lane = transaction.fence.lane.main().to_string();
    if let Some(lock) = &transaction.lock {
        bookkeeping::lock(session, lock).await?;
        bookkeeping::fence(session, &transaction.fence).await?;
    }
    if let Some(dead) = &transaction.exhume
        && !bookkeeping::exhume(session, &lane, dead).await?
    {
        return Ok(Tried::default());
    }
    bookkeeping::open(session, &transaction.fence, &transaction.open).await?;
    bookkeeping::close(session, &transaction.close).await?;
    let mut tried = tried_rows(session, tables, &transaction.statements, trials, name).await?;
    tried.committed.exhumed = true;
    let (supersede, bury) = settled(transaction, trials, &tried.refused);
    bookkeeping::supersede(session, &lane, &supersede).await?;
    bookkeeping::bury(session, &lane, &bury).await?;
    failpoint::reach(failpoint::INSIDE_MYSQL);
    Ok(tried)
}

/// Writes all statements' rows, in order, those on trial only where nothing speaks against them.
async fn tried_rows(
    session: &mut Session,
    tables: &Tables,
    statements: &[Statement],
    trials: &[Trial],
    name: &str,
) -> Result<Tried, Failure> {
    let mut tried = Tried::default();
    let mut left_out = LeftOut::new(statements);
    let mut start = 0;
    while start < statements.len() {
        let on_trial = trials.iter().position(|trial| trial.statements.start == start);
        let next_trial = trials.iter().map(|trial| trial.statements.start).find(|at| *at > start);
        let end = match on_trial {
            Some(place) => trials[place].statements.end.max(start + 1),
            None => next_trial.unwrap_or(statements.len()),
        };
        if on_trial.is_some() {
            session.text("SAVEPOINT tidegate_trial").await?;
        }
        match part(session, tables, statements, start..end, &mut left_out, name).await {
            Ok(untouched) => tried.committed.untouched.extend(untouched),
            Err(failure) => match (failure.verdict(name), on_trial) {
                (WriteError::Reject(reason), Some(place)) => {
                    session.text("ROLLBACK TO SAVEPOINT tidegate_trial").await?;
                    tried.refused.push((place, reason));
                }
                (other, _) => return Err(Failure::Told(other)),
            },
        }
        start = end;
    }
    Ok(tried)
}

/// Writes what can be written of a transaction that has begun behind its fence, and is to be rolled back; which rows can not.
pub(super) async fn sift(
    session: &mut Session,
    tables: &Tables,
    transaction: &Transaction,
    name: &str,
) -> Result<Vec<Rejection>, Failure> {
    let (mut found, nothing) = (Vec::new(), Facts::default());
    for (index, statement) in transaction.statements.iter().enumerate() {
        let table = &statement.plan.table;
        let facts = tables.get(&(table.schema.clone(), table.name.clone())).unwrap_or(&nothing);
        let mut writer = Writer::new(session, statement, facts, false);
        writer.write(index, name, Some(&mut found)).await?;
    }
    Ok(found)
}

/// Writes all statements' rows, in order; which of them touched nothing.
pub(super) async fn rows(
    session: &mut Session,
    tables: &Tables,
    statements: &[Statement],
    name: &str,
) -> Result<Vec<(usize, usize)>, Failure> {
    part(session, tables, statements, 0..statements.len(), &mut LeftOut::new(statements), name).await
}

/// Writes the rows of some of the statements.
async fn part(
    session: &mut Session,
    tables: &Tables,
    statements: &[Statement],
    which: Range<usize>,
    left_out: &mut LeftOut,
    name: &str,
) -> Result<Vec<(usize, usize)>, Failure> {
    let (mut untouched, nothing) = (Vec::new(), Facts::default());
    for index in which {
        let statement = &statements[index];
        let table = &statement.plan.table;
        let facts = tables.get(&(table.schema.clone(), table.name.clone())).unwrap_or(&nothing);
        let rest = left_out.rest(statement);
        let mut writer = Writer::new(session, &rest.statement, facts, left_out.asks(index));
        writer.write(index, name, None).await.map_err(|failure| match failure {
            Failure::Told(verdict) => Failure::Told(rest.located(verdict)),
            other => other,
        })?;
        let Writer { untouched: rows, kept, .. } = writer;
        let rows: Vec<_> = rows.into_iter().map(|row| rest.place(row)).chain(rest.out.iter().copied()).collect();
        left_out.add(index, kept.into_iter().map(|row| rest.place(row)).chain(rows.iter().copied()));
        untouched.extend(rows.into_iter().map(|row| (index, row)));
    }
    Ok(untouched)
}

/// One statement on its way.
struct Writer<'a> {
    session: &'a mut Session,
    statement: &'a Statement,
    shape: Shape<'a>,
    /// Whether it matters which rows are left as they are.
    asked: bool,
    untouched: Vec<usize>,
    /// The rows that were left as they were.
    kept: Vec<usize>,
    /// Where bad rows are sifted out, and so parts are written again: all rows that were there before.
    there: Option<BTreeSet<usize>>,
}

impl<'a> Writer<'a> {
    fn new(session: &'a mut Session, statement: &'a Statement, facts: &'a Facts, asked: bool) -> Self {
        let shape = Shape::new(statement, facts);
        Self { session, statement, shape, asked, untouched: Vec::new(), kept: Vec::new(), there: None }
    }
}

impl<'a> Writer<'a> {
    /// Writes all rows. The first bad one ends it; where bad ones are sifted out, they are noted, and the others written.
    async fn write(
        &mut self,
        index: usize,
        name: &str,
        mut sifted: Option<&mut Vec<Rejection>>,
    ) -> Result<(), Failure> {
        let sifting = sifted.is_some();
        let mut bad = |row: usize, verdict: WriteError| match (verdict, &mut sifted) {
            (WriteError::Reject(rejection), sifted) => {
                let rejection = Rejection { statement: Some(index), row: Some(row), ..rejection };
                match sifted {
                    Some(found) => {
                        found.push(rejection);
                        Ok(())
                    }
                    None => Err(Failure::Told(WriteError::Reject(rejection))),
                }
            }
            (other, _) => Err(Failure::Told(other)),
        };
        if sifting && self.statement.op == Op::Upsert && !self.on_duplicate_key() {
            self.look_ahead(name).await?;
        }
        let mut at = 0;
        while at < self.statement.rows.len() {
            let end = match self.next_chunk(at, sifting) {
                Ok(end) => end,
                Err(verdict) => {
                    bad(at, verdict)?;
                    at += 1;
                    continue;
                }
            };
            let mut pending: Vec<Range<usize>> = std::iter::once(at..end).collect();
            while let Some(rows) = pending.pop() {
                let written = match self.bulk(rows.clone()).await {
                    Ok(()) => self.see_newer(rows.clone()).await,
                    refused => refused,
                };
                let failure = match written {
                    Ok(()) => continue,
                    Err(Bulk::Bad(row, verdict)) => {
                        bad(row, verdict)?;
                        pending
                            .extend([row + 1..rows.end, rows.start..row].into_iter().filter(|part| !part.is_empty()));
                        continue;
                    }
                    Err(Bulk::Apart) => None,
                    Err(Bulk::Failed(failure)) => match failure.verdict(name) {
                        rejected @ WriteError::Reject(_) => Some(rejected),
                        other => return Err(Failure::Told(other)),
                    },
                };
                let middle = rows.start + rows.len() / 2;
                match failure {
                    Some(rejected) if rows.len() == 1 => bad(rows.start, rejected)?,
                    _ => pending.extend([middle..rows.end, rows.start..middle]),
                }
            }
            at = end;
        }
        Ok(())
    }

    /// Where the statement that begins at this row ends: by number of rows and by bytes.
    /// Where bad rows are expected it is shorter, since it is then halved until they stand alone.
    fn next_chunk(&self, start: usize, sifting: bool) -> Result<usize, WriteError> {
        let rows = &self.statement.rows[start..];
        let derived = match self.statement.op {
            Op::Insert => false,
            Op::Upsert => !self.on_duplicate_key(),
            Op::Update | Op::Delete | Op::Replace => true,
            Op::Clear => !self.shape.clears_by_list(),
        };
        let few = if sifting { rows.len().min(SIFTED_ROWS) } else { rows.len() };
        let mut many = match derived || sifting || self.statement.op == Op::Clear {
            true => chunk(few, self.shape.columns.len(), derived),
            false => literal_chunk(few),
        };
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
            Op::Upsert if self.on_duplicate_key() => Ok(self.values(&all, Shape::upsert).await?),
            Op::Upsert => {
                let there = match &self.there {
                    Some(there) => there.range(rows).copied().collect(),
                    None => self.lookup(&rows).await?,
                };
                let (old, new): (Vec<_>, Vec<_>) = all.into_iter().partition(|row| there.contains(row));
                if self.asked && self.statement.only_inserts() {
                    self.kept.extend(&old);
                }
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
            Op::Clear => Ok(self.run(self.shape.clear(all.len()), &all, &self.shape.key.clone()).await?),
            Op::Replace => {
                self.delete(&all).await?;
                Ok(self.insert(&all).await?)
            }
        }
    }

    /// Whether an upsert needs no look at what is there.
    fn on_duplicate_key(&self) -> bool {
        let looks = self.asked && self.statement.only_inserts();
        !looks && self.shape.on_duplicate_key(self.statement.plan.only_unique_key)
    }

    fn every_place(&self) -> Vec<usize> {
        (0..self.shape.columns.len()).collect()
    }

    async fn insert(&mut self, rows: &[usize]) -> Result<(), sqlx::Error> {
        if rows.is_empty() { Ok(()) } else { self.values(rows, Shape::insert).await }
    }

    /// Runs a statement with a list of VALUES: literals, or parameters where these would be too long for the server.
    async fn values(&mut self, rows: &[usize], sql: impl Fn(&Shape<'a>, &str) -> String) -> Result<(), sqlx::Error> {
        let room = self.session.most_bytes().saturating_sub(sql(&self.shape, "").len());
        let ahead = literals::encoded(self.statement, rows, room).map(Cow::Borrowed);
        let now = || literals::rows(self.statement, &self.shape.columns, rows, room).map(Cow::Owned);
        if let Some(values) = ahead.or_else(now) {
            return self.session.literal(sql(&self.shape, &values)).await;
        }
        let places = self.every_place();
        let mut left = rows;
        while !left.is_empty() {
            let (now, later) = left.split_at(chunk(left.len(), places.len(), false));
            self.run(sql(&self.shape, &self.shape.parameters(now.len())), now, &places).await?;
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
        self.run(self.shape.delete(rows.len()), rows, &self.shape.found_by()).await
    }

    /// Finds the rows that the guard left alone, where that matters.
    async fn see_newer(&mut self, rows: Range<usize>) -> Result<(), Bulk> {
        if !self.asked {
            return Ok(());
        }
        let (mut from, places) = (rows.start, self.shape.found_by());
        while from < rows.end {
            let now: Vec<usize> = (from..from + chunk(rows.end - from, places.len(), true)).collect();
            let Some(sql) = self.shape.newer(now.len()) else { return Ok(()) };
            let query = bind_rows(sqlx::query(AssertSqlSafe(sql)), &self.shape, self.statement, &now, &places);
            for found in query.fetch_all(&mut self.session.connection).await? {
                self.kept.push(from + usize::try_from(found.try_get::<i64, _>(0)?).unwrap_or(usize::MAX));
            }
            from += now.len();
        }
        Ok(())
    }

    /// Looks once which of all rows are there, unless two of them turn out to be one.
    async fn look_ahead(&mut self, name: &str) -> Result<(), Failure> {
        let (mut there, mut at) = (BTreeSet::new(), 0);
        while at < self.statement.rows.len() {
            let left = self.statement.rows.len() - at;
            let rows = at..at + chunk(left, self.shape.columns.len(), true);
            at = rows.end;
            match self.lookup(&rows).await {
                Ok(found) => there.extend(found),
                Err(Bulk::Failed(failure)) => return Err(Failure::Told(failure.verdict(name))),
                Err(Bulk::Apart | Bulk::Bad(..)) => return Ok(()),
            }
        }
        self.there = Some(there);
        Ok(())
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
pub(super) fn spelled<'t>(column: &ColumnSchema, text: &'t str) -> Cow<'t, str> {
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
