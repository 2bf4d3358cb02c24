//! Tidegate's own three tables: watermarks, dead letters and the bind token; who owns them and where they stand.

use rand::Rng;
use sqlx::{Row, mysql::MySqlRow};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Fault, WriteError},
    transaction::{DeadId, DeadRow, Fence, LaneId, SideRow, Supersede, TakenOver, WatermarkRow},
};

use super::{
    literals,
    session::{Failure, Session, broken},
    sql,
};

/// The tables, one statement each. Keys stay below InnoDB's 3,072 bytes.
pub(super) const DDL: &str = "\
CREATE TABLE IF NOT EXISTS tidegate_watermark (
  lane VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  generation VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  owner VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  last_id VARCHAR(41) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  PRIMARY KEY (lane, generation)
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS tidegate_dead (
  lane VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  generation VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  id VARCHAR(41) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  route VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  table_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  record_key LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  superseded_by VARCHAR(41) CHARACTER SET ascii COLLATE ascii_bin NULL,
  PRIMARY KEY (lane, generation, id, route),
  KEY tidegate_dead_key (lane, table_name(64), record_key(128))
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS tidegate_binding (
  destination VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  token VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  PRIMARY KEY (destination)
) ENGINE=InnoDB;
";

const WATERMARK: &str = "SELECT lane, generation, epoch, owner, last_id FROM tidegate_watermark";

/// Makes the tables that are missing. An account without the right to make tables needs none where they are there.
pub(super) async fn make_tables(session: &mut Session) -> Result<(), Failure> {
    let there = present(session).await?;
    for statement in DDL.split(';') {
        let name = statement.split_whitespace().nth(5).unwrap_or("");
        if !name.is_empty() && !there.iter().any(|table| table == name) {
            session.text(statement).await?;
        }
    }
    Ok(())
}

/// Which of the tables the account can see.
pub(super) async fn present(session: &mut Session) -> Result<Vec<String>, sqlx::Error> {
    let sql = "SELECT CAST(TABLE_NAME AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
               AND TABLE_NAME IN ('tidegate_watermark', 'tidegate_dead', 'tidegate_binding')";
    sqlx::query(sql).fetch_all(&mut session.connection).await?.iter().map(|row| row.try_get(0)).collect()
}

/// Raises the epoch and sets the owner of all the destination's rows, and reads what there is. Within a transaction.
pub(super) async fn take_over(
    session: &mut Session,
    installation: &str,
    destination: &str,
    owner: &str,
    name: &str,
) -> Result<TakenOver, Failure> {
    // The binding's row is what take-overs and new lanes queue for: there may be no watermark row yet.
    let bind_sql = "INSERT INTO tidegate_binding (destination, token) VALUES (?, ?) \
                    ON DUPLICATE KEY UPDATE destination = VALUES(destination)";
    session.execute(sqlx::query(bind_sql).bind(destination).bind(token())).await?;
    let bind = lock_binding(session, destination).await?;
    let lanes = format!("{}%", LaneId::prefix(installation, destination));
    let raise =
        "UPDATE tidegate_watermark SET epoch = epoch + 1, owner = ?, updated_at = UTC_TIMESTAMP(6) WHERE lane LIKE ?";
    session.execute(sqlx::query(raise).bind(owner).bind(&lanes)).await?;
    let mut found = TakenOver { bind, ..TakenOver::default() };
    let watermark = format!("{WATERMARK} WHERE lane LIKE ? ORDER BY lane, generation");
    let query = sqlx::query(sqlx::AssertSqlSafe(watermark)).bind(&lanes);
    for row in query.fetch_all(&mut session.connection).await? {
        found.rows.push(watermark_row(&row, name)?);
    }
    let dead = "SELECT lane, generation, id, route, table_name, record_key, superseded_by FROM tidegate_dead \
                WHERE lane LIKE ? ORDER BY lane, generation, id, route";
    for row in sqlx::query(dead).bind(&lanes).fetch_all(&mut session.connection).await? {
        let superseded_by: Option<String> = row.try_get(6)?;
        let letter = DeadRow {
            dead: DeadId {
                generation: Generation::new(&row.try_get::<String, _>(1)?),
                id: id(&row.try_get::<String, _>(2)?, name)?,
                route: row.try_get::<String, _>(3)?.into(),
            },
            table: row.try_get::<String, _>(4)?.into(),
            key: row.try_get::<Option<String>, _>(5)?.map(Into::into),
            superseded_by: superseded_by.map(|text| id(&text, name)).transpose()?,
        };
        found.dead.push((row.try_get(0)?, letter));
    }
    Ok(found)
}

async fn lock_binding(session: &mut Session, destination: &str) -> Result<String, sqlx::Error> {
    let sql = "SELECT token FROM tidegate_binding WHERE destination = ? FOR UPDATE";
    let row = sqlx::query(sql).bind(destination).fetch_optional(&mut session.connection).await?;
    row.map_or(Ok(String::new()), |row| row.try_get(0))
}

/// Inserts a lane's missing row, if nobody else owns the destination. Within a transaction.
pub(super) async fn begin_lane(
    session: &mut Session,
    lane: &LaneId,
    generation: &Generation,
    owner: &str,
    last_id: StreamId,
) -> Result<(), Failure> {
    lock_binding(session, &lane.destination).await?;
    let lanes = format!("{}%", LaneId::prefix(&lane.installation, &lane.destination));
    let sql = "SELECT owner, lane = ? AND generation = ?, epoch FROM tidegate_watermark WHERE lane LIKE ? FOR UPDATE";
    let query = sqlx::query(sql).bind(lane.to_string()).bind(&*generation.0).bind(&lanes);
    let mut epoch: u64 = 1;
    for row in query.fetch_all(&mut session.connection).await? {
        let (its_owner, is_this): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        if its_owner != owner || is_this != 0 {
            return Err(Failure::Told(WriteError::Fenced));
        }
        epoch = epoch.max(row.try_get(2)?);
    }
    let insert = "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id, updated_at) \
                  VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(6))";
    let query = sqlx::query(insert).bind(lane.to_string()).bind(&*generation.0).bind(epoch);
    match session.execute(query.bind(owner).bind(last_id.to_string())).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Failure::Told(WriteError::Fenced)),
        other => Ok(other.map(drop)?),
    }
}

/// Reads one row. After a lost answer the transaction may still be on its way to its end: the read waits for that.
pub(super) async fn watermark(
    session: &mut Session,
    lane: &LaneId,
    generation: &Generation,
    name: &str,
) -> Result<Option<WatermarkRow>, Failure> {
    let sql = format!("{WATERMARK} WHERE lane = ? AND generation = ? LOCK IN SHARE MODE");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(lane.to_string()).bind(&*generation.0);
    let row = query.fetch_optional(&mut session.connection).await?;
    row.map(|row| watermark_row(&row, name)).transpose()
}

/// Begins a transaction and moves the lane's row, in one trip to the server.
pub(super) async fn begin_fenced(session: &mut Session, fence: &Fence) -> Result<(), Failure> {
    let mut sql = "UPDATE tidegate_watermark SET updated_at = UTC_TIMESTAMP(6), last_id = ".to_owned();
    let (new, lane, previous) = (fence.new.to_string(), fence.lane.to_string(), fence.previous.to_string());
    literals::text(&mut sql, &new);
    for (column, value) in [
        ("WHERE lane", &*lane),
        ("AND generation", &*fence.generation.0),
        ("AND owner", &*fence.owner),
        ("AND last_id", &*previous),
    ] {
        sql.extend([" ", column, " = "]);
        literals::text(&mut sql, value);
    }
    match session.begin(&sql).await? {
        1 => Ok(()),
        _ => Err(Failure::Told(WriteError::Fenced)),
    }
}

/// Moves the lane's row, and so locks it: before anything is written.
pub(super) async fn fence(session: &mut Session, fence: &Fence) -> Result<(), Failure> {
    let sql = "UPDATE tidegate_watermark SET last_id = ?, updated_at = UTC_TIMESTAMP(6) \
               WHERE lane = ? AND generation = ? AND owner = ? AND last_id = ?";
    let query = sqlx::query(sql)
        .bind(fence.new.to_string())
        .bind(fence.lane.to_string())
        .bind(&*fence.generation.0)
        .bind(&*fence.owner)
        .bind(fence.previous.to_string());
    match session.execute(query).await? {
        1 => Ok(()),
        _ => Err(Failure::Told(WriteError::Fenced)),
    }
}

/// Locks a row that a transaction of another part depends on, and moves it nowhere.
pub(super) async fn lock(session: &mut Session, lock: &Fence) -> Result<(), Failure> {
    let sql =
        "SELECT 1 FROM tidegate_watermark WHERE lane = ? AND generation = ? AND owner = ? AND last_id = ? FOR UPDATE";
    let query = sqlx::query(sql)
        .bind(lock.lane.to_string())
        .bind(&*lock.generation.0)
        .bind(&*lock.owner)
        .bind(lock.previous.to_string());
    match query.fetch_optional(&mut session.connection).await? {
        Some(_) => Ok(()),
        None => Err(Failure::Told(WriteError::Fenced)),
    }
}

/// Inserts side rows with the owner and epoch of the fenced row.
pub(super) async fn open(session: &mut Session, fence: &Fence, sides: &[SideRow]) -> Result<(), Failure> {
    let sql = "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id, updated_at) \
               SELECT ?, ?, epoch, owner, ?, UTC_TIMESTAMP(6) FROM tidegate_watermark WHERE lane = ? AND generation = ?";
    for side in sides {
        let query = sqlx::query(sql)
            .bind(side.lane.to_string())
            .bind(&*side.generation.0)
            .bind(side.last_id.to_string())
            .bind(fence.lane.to_string())
            .bind(&*fence.generation.0);
        match session.execute(query).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Err(Failure::Told(WriteError::Fenced));
            }
            other => other.map(drop)?,
        }
    }
    Ok(())
}

/// Deletes the rows of these lanes, in all generations.
pub(super) async fn close(session: &mut Session, lanes: &[LaneId]) -> Result<(), Failure> {
    for lane in lanes {
        let sql = "DELETE FROM tidegate_watermark WHERE lane = ?";
        session.execute(sqlx::query(sql).bind(lane.to_string())).await?;
    }
    Ok(())
}

/// Takes a dead row back; false where there is none.
pub(super) async fn exhume(session: &mut Session, lane: &str, dead: &DeadId) -> Result<bool, Failure> {
    let sql = "DELETE FROM tidegate_dead WHERE lane = ? AND generation = ? AND id = ? AND route = ?";
    let query = sqlx::query(sql).bind(lane).bind(&*dead.generation.0).bind(dead.id.to_string()).bind(&*dead.route);
    Ok(session.execute(query).await? > 0)
}

/// Writes dead rows.
pub(super) async fn bury(session: &mut Session, lane: &str, rows: &[DeadRow]) -> Result<(), Failure> {
    let mut left = rows;
    while !left.is_empty() {
        let (now, later) = left.split_at(sql::chunk(left.len(), 7, false));
        let sql = format!(
            "INSERT INTO tidegate_dead (lane, generation, id, route, table_name, record_key, superseded_by) VALUES {} \
             ON DUPLICATE KEY UPDATE table_name = VALUES(table_name), record_key = VALUES(record_key), \
             superseded_by = VALUES(superseded_by)",
            vec!["(?,?,?,?,?,?,?)"; now.len()].join(",")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for row in now {
            query = query
                .bind(lane)
                .bind(&*row.dead.generation.0)
                .bind(row.dead.id.to_string())
                .bind(&*row.dead.route)
                .bind(&*row.table)
                .bind(row.key.as_deref())
                .bind(row.superseded_by.map(|id| id.to_string()));
        }
        session.execute(query).await?;
        left = later;
    }
    Ok(())
}

/// Marks dead rows of a key as superseded, unless they are already.
pub(super) async fn supersede(session: &mut Session, lane: &str, later: &[Supersede]) -> Result<(), Failure> {
    let sql = "UPDATE tidegate_dead SET superseded_by = ? \
               WHERE lane = ? AND table_name = ? AND record_key = ? AND superseded_by IS NULL";
    for supersede in later {
        let query = sqlx::query(sql).bind(supersede.by.to_string()).bind(lane);
        session.execute(query.bind(&*supersede.table).bind(&*supersede.key)).await?;
    }
    Ok(())
}

fn watermark_row(row: &MySqlRow, name: &str) -> Result<WatermarkRow, Failure> {
    Ok(WatermarkRow {
        lane: row.try_get(0)?,
        generation: Generation::new(&row.try_get::<String, _>(1)?),
        epoch: row.try_get(2)?,
        owner: row.try_get(3)?,
        last_id: id(&row.try_get::<String, _>(4)?, name)?,
    })
}

fn id(text: &str, name: &str) -> Result<StreamId, Failure> {
    text.parse().map_err(|error| broken(name, &format!("a row of Tidegate's own tables was changed by hand: {error}")))
}

/// A random token of 20 lower-case letters and digits.
fn token() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..20).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// A rejection that concerns no row of a statement is trouble with our own tables, which patience may mend.
pub(super) fn not_a_row(verdict: WriteError) -> WriteError {
    match verdict {
        WriteError::Reject(rejection) if rejection.statement.is_none() => {
            WriteError::Retry(Fault::new(format!("Tidegate's own tables: {}", rejection.message)))
        }
        other => other,
    }
}
