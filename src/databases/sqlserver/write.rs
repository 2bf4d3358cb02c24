//! One transaction, one request: the fence first, the rows after, all or nothing.

use tidegate_actors::{
    ports::{Fault, Rejection, WriteError},
    transaction::{Committed, Statement, Transaction},
};

use super::{
    batch::{Batch, NOTHING_TO_EXHUME},
    bookkeeping,
    errors::{self, Place},
    session::{Answer, Session},
    slots::{Facts, Tables},
    sql::{Source, Writer},
    values,
};

/// Most parameters that carry rows; a request takes 2,100 in all. A transaction of more statements puts several into one.
const MAX_ROW_PARAMETERS: usize = 2_000;

const UNTOUCHED: &str = "DECLARE @untouched TABLE (step int NOT NULL, place int NOT NULL);";
const ANSWER: &str = "SELECT u.step, u.place FROM @untouched AS u ORDER BY u.step, u.place;";

/// The batch of a transaction, or the row that can't be written.
pub(super) fn transaction(transaction: &Transaction, tables: &Tables) -> Result<Batch, WriteError> {
    Batch::transaction("WRITE", UNTOUCHED, ANSWER, |batch| {
        bookkeeping::fences(batch, transaction);
        rows(batch, &transaction.statements, tables)?;
        batch.line("SET @step = -1; SET @item = NULL;");
        bookkeeping::dead_letters(batch, transaction);
        Ok(())
    })
}

/// The batch of rows alone, without a fence or any table of ours.
pub(super) fn rows_alone(statements: &[Statement], tables: &Tables) -> Result<Batch, WriteError> {
    Batch::transaction("WRITE ROWS", UNTOUCHED, ANSWER, |batch| rows(batch, statements, tables))
}

fn rows(batch: &mut Batch, statements: &[Statement], tables: &Tables) -> Result<(), WriteError> {
    // Which parents a guard leaves alone is not asked of this kind: their children are not written by guesswork.
    if let Some(statement) = statements.iter().find(|statement| !statement.parents.is_empty()) {
        let table = &statement.plan.table;
        return Err(WriteError::Hold(Fault::new(format!(
            "{}.{}: on SQL Server a route with children cannot have `version_column`, `on_missing = \"ignore\"` or \
             `on_existing = \"ignore\"`; take that out of the route",
            table.schema, table.name
        ))));
    }
    let nothing = Facts::default();
    let together = statements.len().div_ceil(MAX_ROW_PARAMETERS).max(1);
    for (group, members) in statements.chunks(together).enumerate() {
        let writers: Vec<Writer<'_>> = members
            .iter()
            .enumerate()
            .map(|(place, statement)| {
                let table = &statement.plan.table;
                let facts = tables.get(&(table.schema.clone(), table.name.clone())).unwrap_or(&nothing);
                Writer::new(group * together + place, statement, facts)
            })
            .collect();
        let json: Result<Vec<String>, WriteError> = writers
            .iter()
            .map(|writer| values::rows(writer.statement, &writer.slots).map_err(|bad| refused(writer, bad)))
            .collect();
        let parameter = batch.bind(format!("[{}]", json?.join(",")));
        for (place, writer) in writers.iter().enumerate() {
            writer.write(batch, &Source { parameter: parameter.clone(), place });
        }
    }
    Ok(())
}

/// A row that is bad before anything is sent.
fn refused(writer: &Writer<'_>, bad: values::Bad) -> WriteError {
    let table = &writer.statement.plan.table;
    let column = writer.slots.get(bad.cell).map(|slot| slot.column.name.clone());
    let named = column.as_deref().map_or(String::new(), |column| format!("column `{column}`: "));
    WriteError::Reject(Rejection {
        statement: Some(writer.index),
        row: Some(bad.row),
        code: bad.code.to_owned(),
        column,
        message: format!("{}.{}: {named}{}", table.schema, table.name, bad.sentence),
    })
}

/// Sends a batch and reads what came of it.
pub(super) async fn run(
    session: &mut Session,
    name: &str,
    batch: &Batch,
    statements: &[Statement],
) -> Result<Committed, WriteError> {
    verdict(name, &session.ask(batch).await, statements)
}

fn verdict(name: &str, answer: &Answer, statements: &[Statement]) -> Result<Committed, WriteError> {
    if let Some(error) = &answer.error {
        if error.code() == Some(NOTHING_TO_EXHUME) {
            return Ok(Committed { untouched: Vec::new(), exhumed: false });
        }
        return Err(failed(name, error, place(answer), statements));
    }
    // Without the answer that stands after the COMMIT, nothing tells that it was reached.
    let rows = answer.told(&["step", "place"]).ok_or_else(|| errors::out_of_turn(name))?;
    let number =
        |row: &tiberius::Row, at| row.try_get::<i32, _>(at).ok().flatten().and_then(|n| usize::try_from(n).ok());
    let untouched: Option<Vec<_>> = rows.iter().map(|row| Some((number(row, 0)?, number(row, 1)?))).collect();
    match untouched {
        Some(untouched) => Ok(Committed { untouched, exhumed: true }),
        None => Err(errors::out_of_turn(name)),
    }
}

/// The place that the batch told before it threw, where it could: some errors end a batch without its CATCH.
fn place(answer: &Answer) -> Place {
    let Some([row]) = answer.told(&["step", "place", "item"]) else { return Place::default() };
    let number = |at| row.try_get::<i32, _>(at).ok().flatten();
    let index = |at| number(at).and_then(|number| usize::try_from(number).ok());
    Place { step: number(0), row: index(1), column: index(2) }
}

fn failed(name: &str, error: &tiberius::error::Error, mut place: Place, statements: &[Statement]) -> WriteError {
    if place.step.is_none() && statements.len() == 1 {
        place.step = Some(0);
    }
    match place.step {
        Some(..0) => errors::of_ours(name, error),
        step => {
            let statement = step.and_then(|step| statements.get(usize::try_from(step).ok()?));
            errors::of_rows(name, error, place, statement)
        }
    }
}
