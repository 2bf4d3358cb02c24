//! MariaDB: multi-row VALUES, as text.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection};

use super::{Clock, Task};
use crate::shape::SENT_AT_UTC;

pub(super) async fn write(task: &Task) {
    let conflict = if task.upsert {
        format!(" ON DUPLICATE KEY UPDATE {}", task.sets(|column| format!("VALUES({column})")))
    } else {
        String::new()
    };
    let mut prepared = Vec::new();
    for batch in task.batches() {
        let mut sql = String::from("INSERT INTO cars VALUES ");
        for id in batch {
            let row = task.shape.row(id);
            let (whole, hundredths) = (row.price / 100, row.price % 100);
            write!(sql, "({},'{}',{},{whole}.{hundredths:02}", row.id, row.car_name, row.stock).unwrap();
            if let Some((source, note)) = row.wide {
                write!(sql, ",'{source}','{SENT_AT_UTC}','{note}'").unwrap();
            }
            sql.push_str("),");
        }
        sql.pop();
        sql.push_str(&conflict);
        prepared.push(sql);
    }
    let mut connection = MySqlConnection::connect(&format!("{}?ssl-mode=DISABLED", task.url)).await.unwrap();
    let clock = Clock::start();
    for sql in prepared {
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    clock.stop();
}
