//! Tidegate's own tables in the file: who owns the destination, how far each lane is, what was given up.

use rand::Rng as _;
use sqlx::{Arguments as _, Row as _, sqlite::SqliteArguments, sqlite::SqliteRow};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Fault, WriteError},
    transaction::{DeadId, DeadRow, Fence, LaneId, SideRow, Supersede, TakenOver, WatermarkRow},
};

use super::session::{End, Session};

/// Makes the tables where they are missing.
pub(super) const DDL: &str = "\
CREATE TABLE IF NOT EXISTS tidegate_watermark (
  lane TEXT NOT NULL,
  generation TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  owner TEXT NOT NULL,
  last_id TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (lane, generation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tidegate_dead (
  lane TEXT NOT NULL,
  generation TEXT NOT NULL,
  id TEXT NOT NULL,
  route TEXT NOT NULL,
  table_name TEXT NOT NULL,
  record_key TEXT,
  superseded_by TEXT,
  PRIMARY KEY (lane, generation, id, route)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tidegate_binding (
  destination TEXT NOT NULL PRIMARY KEY,
  token TEXT NOT NULL
) WITHOUT ROWID;
";

const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

/// The tokens of a bind are of the length of other tokens in Redis: 100 bits and a little.
const BIND_CHARACTERS: usize = 20;

/// Makes the tables, raises the epoch on the destination's rows, and reads them.
pub(super) async fn take_over(
    session: &mut Session,
    installation: &str,
    destination: &str,
    owner: &str,
) -> Result<End<TakenOver>, WriteError> {
    session.script(DDL).await?;
    let prefix = LaneId::prefix(installation, destination);
    let sql = format!("UPDATE tidegate_watermark SET epoch = epoch + 1, owner = ?3, updated_at = {NOW} WHERE {LANES}");
    session.run(&sql, with(lanes(&prefix)?, &[Some(owner)])?).await?;

    let sql = "INSERT INTO tidegate_binding (destination, token) VALUES (?, ?) ON CONFLICT (destination) DO NOTHING";
    session.run(sql, texts(&[Some(destination), Some(&token())])?).await?;
    let sql = "SELECT token FROM tidegate_binding WHERE destination = ?";
    let bound = session.rows(sql, texts(&[Some(destination)])?).await?;
    let bind = bound.first().map_or(Ok(String::new()), |row| cell(session, row, 0))?;

    let rows = watermark_rows(session, &prefix).await?;
    let sql = format!(
        "SELECT lane, generation, id, route, table_name, record_key, superseded_by FROM tidegate_dead WHERE {LANES}"
    );
    let mut dead = Vec::new();
    for row in session.rows(&sql, lanes(&prefix)?).await? {
        let superseded_by: Option<String> = cell(session, &row, 6)?;
        let found = DeadRow {
            dead: DeadId {
                generation: Generation::new(&cell::<String>(session, &row, 1)?),
                id: stream_id(session, &cell::<String>(session, &row, 2)?)?,
                route: cell::<String>(session, &row, 3)?.into(),
            },
            table: cell::<String>(session, &row, 4)?.into(),
            key: cell::<Option<String>>(session, &row, 5)?.map(Into::into),
            superseded_by: superseded_by.map(|id| stream_id(session, &id)).transpose()?,
        };
        dead.push((cell(session, &row, 0)?, found));
    }
    dead.sort_by(|(lane, one), (other, two)| (lane, &one.dead).cmp(&(other, &two.dead)));
    Ok(End::Commit(TakenOver { rows, dead, bind }))
}

/// Inserts a lane's missing row, where no row of the destination has another owner.
pub(super) async fn begin_lane(
    session: &mut Session,
    lane: &LaneId,
    generation: &Generation,
    owner: &str,
    last_id: StreamId,
) -> Result<End<()>, WriteError> {
    if !has_watermarks(session).await? {
        return Err(WriteError::Fenced);
    }
    let rows = watermark_rows(session, &LaneId::prefix(&lane.installation, &lane.destination)).await?;
    let name = lane.to_string();
    if rows.iter().any(|row| row.owner != owner || (row.lane == name && row.generation == *generation)) {
        return Err(WriteError::Fenced);
    }
    let epoch = rows.iter().map(|row| row.epoch).max().unwrap_or(1).to_string();
    let sql = format!(
        "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id, updated_at) \
         VALUES (?, ?, CAST(? AS INTEGER), ?, ?, {NOW})"
    );
    let id = last_id.to_string();
    session.run(&sql, texts(&[Some(&name), Some(&generation.0), Some(&epoch), Some(owner), Some(&id)])?).await?;
    Ok(End::Commit(()))
}

/// Reads one row.
pub(super) async fn watermark(
    session: &mut Session,
    lane: &LaneId,
    generation: &Generation,
) -> Result<End<Option<WatermarkRow>>, WriteError> {
    if !has_watermarks(session).await? {
        return Ok(End::Undo(None));
    }
    let sql =
        "SELECT lane, generation, epoch, owner, last_id FROM tidegate_watermark WHERE lane = ? AND generation = ?";
    let rows = session.rows(sql, texts(&[Some(&lane.to_string()), Some(&generation.0)])?).await?;
    rows.first().map(|row| watermark_row(session, row)).transpose().map(End::Undo)
}

/// The first statement of every write: moves the lane's row if it is mine and where I believe it to be.
pub(super) async fn fence(session: &mut Session, fence: &Fence) -> Result<(), WriteError> {
    let sql = format!(
        "UPDATE tidegate_watermark SET last_id = ?, updated_at = {NOW} \
         WHERE lane = ? AND generation = ? AND owner = ? AND last_id = ?"
    );
    let (lane, new, previous) = (fence.lane.to_string(), fence.new.to_string(), fence.previous.to_string());
    let arguments = texts(&[Some(&new), Some(&lane), Some(&fence.generation.0), Some(&fence.owner), Some(&previous)])?;
    match session.run(&sql, arguments).await {
        Ok(1) => Ok(()),
        Ok(_) => Err(WriteError::Fenced),
        // An emptied or exchanged file has no row of mine: the next take-over makes the tables.
        Err(WriteError::Hold(fault)) if has_watermarks(session).await? => Err(WriteError::Hold(fault)),
        Err(WriteError::Hold(_)) => Err(WriteError::Fenced),
        Err(error) => Err(error),
    }
}

/// Looks at a row that a transaction of another part depends on. The write lock of the file is held already.
pub(super) async fn lock(session: &mut Session, lock: &Fence) -> Result<(), WriteError> {
    if !has_watermarks(session).await? {
        return Err(WriteError::Fenced);
    }
    let sql = "SELECT 1 FROM tidegate_watermark WHERE lane = ? AND generation = ? AND owner = ? AND last_id = ?";
    let (lane, previous) = (lock.lane.to_string(), lock.previous.to_string());
    let arguments = texts(&[Some(&lane), Some(&lock.generation.0), Some(&lock.owner), Some(&previous)])?;
    if session.rows(sql, arguments).await?.is_empty() { Err(WriteError::Fenced) } else { Ok(()) }
}

/// Inserts side rows with the owner and epoch of the fenced row.
pub(super) async fn open(session: &mut Session, fence: &Fence, sides: &[SideRow]) -> Result<(), WriteError> {
    let sql = format!(
        "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id, updated_at) \
         SELECT ?, ?, epoch, owner, ?, {NOW} FROM tidegate_watermark WHERE lane = ? AND generation = ? \
         ON CONFLICT (lane, generation) DO NOTHING"
    );
    let mine = fence.lane.to_string();
    for side in sides {
        let (lane, id) = (side.lane.to_string(), side.last_id.to_string());
        let arguments = [Some(&*lane), Some(&*side.generation.0), Some(&*id), Some(&*mine), Some(&*fence.generation.0)];
        if session.run(&sql, texts(&arguments)?).await? == 0 {
            return Err(WriteError::Fenced);
        }
    }
    Ok(())
}

/// Deletes the rows of these lanes, in all generations.
pub(super) async fn close(session: &mut Session, lanes: &[LaneId]) -> Result<(), WriteError> {
    for lane in lanes {
        let sql = "DELETE FROM tidegate_watermark WHERE lane = ?";
        session.run(sql, texts(&[Some(&lane.to_string())])?).await?;
    }
    Ok(())
}

/// Deletes a dead row; whether it was there.
pub(super) async fn exhume(session: &mut Session, lane: &LaneId, dead: &DeadId) -> Result<bool, WriteError> {
    let sql = "DELETE FROM tidegate_dead WHERE lane = ? AND generation = ? AND id = ? AND route = ?";
    let (lane, id) = (lane.to_string(), dead.id.to_string());
    let arguments = texts(&[Some(&lane), Some(&dead.generation.0), Some(&id), Some(&dead.route)])?;
    Ok(session.run(sql, arguments).await? > 0)
}

/// Notes messages that are passed without being written.
pub(super) async fn bury(session: &mut Session, lane: &LaneId, rows: &[DeadRow]) -> Result<(), WriteError> {
    let sql = "INSERT INTO tidegate_dead (lane, generation, id, route, table_name, record_key, superseded_by) \
               VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (lane, generation, id, route) DO UPDATE SET \
               table_name = excluded.table_name, record_key = excluded.record_key, \
               superseded_by = excluded.superseded_by";
    let lane = lane.to_string();
    for row in rows {
        let (id, by) = (row.dead.id.to_string(), row.superseded_by.map(|id| id.to_string()));
        let arguments = texts(&[
            Some(&lane),
            Some(&row.dead.generation.0),
            Some(&id),
            Some(&row.dead.route),
            Some(&row.table),
            row.key.as_deref(),
            by.as_deref(),
        ])?;
        session.run(sql, arguments).await?;
    }
    Ok(())
}

/// Marks dead letters that later records of their keys have made obsolete.
pub(super) async fn supersede(session: &mut Session, lane: &LaneId, later: &[Supersede]) -> Result<(), WriteError> {
    let sql = "UPDATE tidegate_dead SET superseded_by = ? \
               WHERE lane = ? AND table_name = ? AND record_key = ? AND superseded_by IS NULL";
    let lane = lane.to_string();
    for record in later {
        let by = record.by.to_string();
        let arguments = texts(&[Some(&by), Some(&lane), Some(&record.table), Some(&record.key)])?;
        session.run(sql, arguments).await?;
    }
    Ok(())
}

/// The lanes of a destination are a range of the primary key: `?1` is the prefix, `?2` its end.
const LANES: &str = "lane >= ?1 AND lane < ?2";

fn lanes(prefix: &str) -> Result<SqliteArguments, WriteError> {
    let end = format!("{}0", prefix.strip_suffix('/').unwrap_or(prefix)); // '0' comes right after '/'
    texts(&[Some(prefix), Some(&end)])
}

async fn watermark_rows(session: &mut Session, prefix: &str) -> Result<Vec<WatermarkRow>, WriteError> {
    let sql = format!("SELECT lane, generation, epoch, owner, last_id FROM tidegate_watermark WHERE {LANES}");
    let rows = session.rows(&sql, lanes(prefix)?).await?;
    rows.iter().map(|row| watermark_row(session, row)).collect()
}

fn watermark_row(session: &Session, row: &SqliteRow) -> Result<WatermarkRow, WriteError> {
    Ok(WatermarkRow {
        lane: cell(session, row, 0)?,
        generation: Generation::new(&cell::<String>(session, row, 1)?),
        epoch: cell::<i64>(session, row, 2)?.unsigned_abs(),
        owner: cell(session, row, 3)?,
        last_id: stream_id(session, &cell::<String>(session, row, 4)?)?,
    })
}

async fn has_watermarks(session: &mut Session) -> Result<bool, WriteError> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'tidegate_watermark'";
    Ok(!session.rows(sql, SqliteArguments::default()).await?.is_empty())
}

fn stream_id(session: &Session, text: &str) -> Result<StreamId, WriteError> {
    text.parse().map_err(|error| {
        let message = format!("{}: a table of Tidegate's own was changed by hand: {error}", session.path().display());
        WriteError::Hold(Fault::new(message))
    })
}

fn cell<'r, T>(session: &Session, row: &'r SqliteRow, index: usize) -> Result<T, WriteError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(index).map_err(|error| session.unreadable(error))
}

fn texts(values: &[Option<&str>]) -> Result<SqliteArguments, WriteError> {
    with(SqliteArguments::default(), values)
}

fn with(mut arguments: SqliteArguments, values: &[Option<&str>]) -> Result<SqliteArguments, WriteError> {
    for value in values {
        arguments.add(*value).map_err(|error| WriteError::Hold(Fault::new(error.to_string())))?;
    }
    Ok(arguments)
}

fn token() -> String {
    let mut random = rand::rng();
    let letters: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..BIND_CHARACTERS).map(|_| char::from(letters[random.random_range(0..letters.len())])).collect()
}
