//! SQLite: one prepared statement of one row, 2,000 of them in a transaction, over the engine's own interface. The file is
//! kept as Tidegate keeps it: a write-ahead log, and each commit on the disk.

use rusqlite::{Connection, params};

use super::{Clock, Task};
use crate::shape::Row;

pub(super) fn write(task: &Task) {
    let columns = task.shape.columns().len();
    let places: Vec<_> = (1..=columns).map(|place| format!("?{place}")).collect();
    let conflict = if task.upsert {
        format!(" ON CONFLICT (id) DO UPDATE SET {}", task.sets(|column| format!("excluded.{column}")))
    } else {
        String::new()
    };
    let prepared: Vec<Vec<(Row, String)>> = task
        .batches()
        .map(|batch| {
            let rows = batch.map(|id| task.shape.row(id));
            rows.map(|row| (format!("{}.{:02}", row.price / 100, row.price % 100), row)).map(|(p, r)| (r, p)).collect()
        })
        .collect();
    let connection = Connection::open(task.url.trim_start_matches("sqlite://")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let sql = format!("INSERT INTO cars VALUES ({}){conflict}", places.join(", "));
    let mut statement = connection.prepare(&sql).unwrap();
    let sent_at = crate::shape::SENT_AT;
    let clock = Clock::start();
    for batch in &prepared {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for (row, price) in batch {
            match &row.wide {
                None => statement.execute(params![row.id, row.car_name, row.stock, price]),
                Some((source, note)) => {
                    statement.execute(params![row.id, row.car_name, row.stock, price, source, sent_at, note])
                }
            }
            .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    clock.stop();
}
