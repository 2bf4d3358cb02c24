//! Tidegate's own tables in the destination: the watermark and its owner, dead letters, the bind token.
//!
//! The fence of exactly-once delivery lives here and nowhere else. The tables are found through the search path and
//! made in its first schema; a user without the right to create them uses those that a DBA made from [`DDL`].

use rand::{Rng, distr::Alphanumeric};
use sqlx::{PgConnection, Row, postgres::PgRow};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::WriteError,
    transaction::{DeadId, DeadRow, Fence, LaneId, SideRow, Supersede, TakenOver, WatermarkRow},
};

use super::{
    errors::of_ours,
    transaction::{Finish, in_transaction},
};

/// The statements that make the tables, in the order of [`TABLES`]. Names of lanes compare byte by byte, so that a
/// destination's are found by prefix in the index.
pub(super) const DDL: &str = r#"CREATE TABLE IF NOT EXISTS tidegate_watermark (
  lane text COLLATE "C" NOT NULL,
  generation text COLLATE "C" NOT NULL,
  epoch bigint NOT NULL,
  owner text NOT NULL,
  last_id text NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (lane, generation)
);
CREATE TABLE IF NOT EXISTS tidegate_dead (
  lane text COLLATE "C" NOT NULL,
  generation text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  route text COLLATE "C" NOT NULL,
  table_name text NOT NULL,
  record_key text,
  superseded_by text,
  PRIMARY KEY (lane, generation, id, route)
);
CREATE TABLE IF NOT EXISTS tidegate_binding (
  destination text COLLATE "C" PRIMARY KEY,
  token text NOT NULL
);
"#;

/// The tables, in the order of [`DDL`].
const TABLES: [&str; 3] = ["tidegate_watermark", "tidegate_dead", "tidegate_binding"];

/// Makes the tables that are missing; the others are not touched, for the user may not be allowed to.
pub(super) async fn make(pg: &mut PgConnection, name: &str) -> Result<(), WriteError> {
    let missing = missing(pg, name).await?;
    for (table, statement) in TABLES.iter().zip(DDL.split_inclusive(";\n")) {
        if !missing.iter().any(|name| name == table) {
            continue;
        }
        match sqlx::raw_sql(statement).execute(&mut *pg).await {
            Ok(_) => {}
            // Another writer made it at the same moment (IF NOT EXISTS does not wait for it).
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("23505" | "42P07")) => {}
            Err(error) => return Err(of_ours(name, &error)),
        }
    }
    Ok(())
}

async fn missing(pg: &mut PgConnection, name: &str) -> Result<Vec<String>, WriteError> {
    sqlx::query_scalar("SELECT t FROM unnest($1::text[]) AS t WHERE to_regclass(t) IS NULL")
        .bind(&TABLES[..])
        .fetch_all(pg)
        .await
        .map_err(|error| of_ours(name, &error))
}

/// Says whether the user can read and write the tables, or make them; else what to do.
pub(super) async fn rights(pg: &mut PgConnection, name: &str) -> Result<String, String> {
    let failed = |error: sqlx::Error| of_ours(name, &error).to_string();
    let read_only: bool = sqlx::query_scalar("SELECT current_setting('transaction_read_only')::bool")
        .fetch_one(&mut *pg)
        .await
        .map_err(failed)?;
    if read_only {
        return Err(
            "the server takes no writes: point the destination to the primary, or end its read-only mode".into()
        );
    }
    let absent = missing(pg, name).await.map_err(|error| error.to_string())?;
    let denied: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s on %s', upper(p), t) FROM unnest($1::text[]) AS t, \
         unnest('{select,insert,update,delete}'::text[]) AS p \
         WHERE to_regclass(t) IS NOT NULL AND (p <> 'delete' OR t <> 'tidegate_binding') AND NOT has_table_privilege(to_regclass(t), p)",
    )
    .bind(&TABLES[..])
    .fetch_all(&mut *pg)
    .await
    .map_err(failed)?;
    if !denied.is_empty() {
        return Err(format!("the user lacks {}: grant it", denied.join(", ")));
    }
    if absent.is_empty() {
        return Ok("reads and writes Tidegate's tables".into());
    }
    let creates: Option<bool> = sqlx::query_scalar("SELECT has_schema_privilege(current_schema(), 'CREATE')")
        .fetch_one(pg)
        .await
        .map_err(failed)?;
    match creates {
        Some(true) => Ok("can create Tidegate's tables".into()),
        Some(false) => Err(format!(
            "{} missing, and the user may not create tables: grant CREATE on the schema, or run the printed statements as its owner",
            absent.join(", ")
        )),
        None => Err("no schema of the user's search_path exists: create one, or set the search_path".into()),
    }
}

/// Makes all rows of the destination the owner's, and reads them with its dead letters and its bind token.
pub(super) async fn take_over(
    pg: &mut PgConnection,
    name: &str,
    installation: &str,
    destination: &str,
    owner: &str,
) -> Result<TakenOver, WriteError> {
    make(pg, name).await?;
    let lanes = format!("{}%", LaneId::prefix(installation, destination));
    let token: String =
        rand::rng().sample_iter(Alphanumeric).take(20).map(|byte| byte.to_ascii_lowercase() as char).collect();
    let work = async |pg: &mut PgConnection| {
        // First of all, so that take-overs and new lanes of one destination queue up even while it has no rows.
        let bind = sqlx::query_scalar(
            "INSERT INTO tidegate_binding (destination, token) VALUES ($1, $2) \
             ON CONFLICT (destination) DO UPDATE SET token = tidegate_binding.token RETURNING token",
        )
        .bind(destination)
        .bind(token)
        .fetch_one(&mut *pg)
        .await?;
        // One order of locks for everyone.
        sqlx::query("SELECT 1 FROM tidegate_watermark WHERE lane LIKE $1 ORDER BY lane, generation FOR UPDATE")
            .bind(&lanes)
            .execute(&mut *pg)
            .await?;
        let rows = sqlx::query(
            "UPDATE tidegate_watermark SET epoch = epoch + 1, owner = $2, updated_at = now() WHERE lane LIKE $1 \
             RETURNING lane, generation, epoch, owner, last_id",
        )
        .bind(&lanes)
        .bind(owner)
        .fetch_all(&mut *pg)
        .await?;
        let dead = sqlx::query(
            "SELECT lane, generation, id, route, table_name, record_key, superseded_by FROM tidegate_dead WHERE lane LIKE $1",
        )
        .bind(&lanes)
        .fetch_all(&mut *pg)
        .await?;
        let rows = rows.iter().map(watermark_row).collect::<Result<_, _>>()?;
        let dead = dead.iter().map(dead_row).collect::<Result<_, _>>()?;
        Ok(TakenOver { rows, dead, bind })
    };
    in_transaction(pg, name, async |pg| work(pg).await.map(Finish::Commit).map_err(|error| of_ours(name, &error))).await
}

/// Inserts a lane's missing row.
pub(super) async fn begin_lane(
    pg: &mut PgConnection,
    name: &str,
    lane: &LaneId,
    generation: &Generation,
    owner: &str,
    last_id: StreamId,
) -> Result<(), WriteError> {
    let ours = |error: sqlx::Error| of_ours(name, &error);
    in_transaction(pg, name, async |pg| {
        sqlx::query("SELECT 1 FROM tidegate_binding WHERE destination = $1 FOR UPDATE")
            .bind(&*lane.destination)
            .execute(&mut *pg)
            .await
            .map_err(ours)?;
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT owner, epoch FROM tidegate_watermark WHERE lane LIKE $1 ORDER BY lane, generation FOR UPDATE",
        )
        .bind(format!("{}%", LaneId::prefix(&lane.installation, &lane.destination)))
        .fetch_all(&mut *pg)
        .await
        .map_err(ours)?;
        if rows.iter().any(|(other, _)| other != owner) {
            return Err(WriteError::Fenced);
        }
        let inserted = sqlx::query(
            "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (lane, generation) DO NOTHING",
        )
        .bind(lane.to_string())
        .bind(&*generation.0)
        .bind(rows.iter().map(|(_, epoch)| *epoch).max().unwrap_or(1))
        .bind(owner)
        .bind(last_id.to_string())
        .execute(&mut *pg)
        .await
        .map_err(ours)?;
        if inserted.rows_affected() == 0 { Err(WriteError::Fenced) } else { Ok(Finish::Commit(())) }
    })
    .await
}

/// Reads one row, locked: where an answer was lost, its transaction may still be on its way to the disk, and only its
/// end tells where the row stands.
pub(super) async fn watermark(
    pg: &mut PgConnection,
    lane: &LaneId,
    generation: &Generation,
) -> Result<Option<WatermarkRow>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT lane, generation, epoch, owner, last_id FROM tidegate_watermark WHERE lane = $1 AND generation = $2 FOR SHARE",
    )
    .bind(lane.to_string())
    .bind(&*generation.0)
    .fetch_optional(pg)
    .await?;
    row.as_ref().map(watermark_row).transpose()
}

/// The first statement of every transaction; false where the row is not mine or not where I believe it to be.
pub(super) async fn fence(pg: &mut PgConnection, fence: &Fence) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query(
        "UPDATE tidegate_watermark SET last_id = $1, updated_at = now() \
         WHERE lane = $2 AND generation = $3 AND owner = $4 AND last_id = $5",
    )
    .bind(fence.new.to_string())
    .bind(fence.lane.to_string())
    .bind(&*fence.generation.0)
    .bind(&*fence.owner)
    .bind(fence.previous.to_string())
    .execute(pg)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Locks a row that a transaction of another part depends on, and moves it nowhere; false as with [`fence`].
pub(super) async fn lock(pg: &mut PgConnection, lock: &Fence) -> Result<bool, sqlx::Error> {
    let found = sqlx::query(
        "SELECT 1 FROM tidegate_watermark WHERE lane = $1 AND generation = $2 AND owner = $3 AND last_id = $4 FOR UPDATE",
    )
    .bind(lock.lane.to_string())
    .bind(&*lock.generation.0)
    .bind(&*lock.owner)
    .bind(lock.previous.to_string())
    .fetch_optional(pg)
    .await?;
    Ok(found.is_some())
}

/// Inserts side rows with the owner and epoch of the fenced row; false where one is there already.
pub(super) async fn open(pg: &mut PgConnection, fence: &Fence, sides: &[SideRow]) -> Result<bool, sqlx::Error> {
    if sides.is_empty() {
        return Ok(true);
    }
    let inserted = sqlx::query(
        "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id) \
         SELECT u.lane, u.generation, w.epoch, w.owner, u.last_id \
         FROM unnest($3::text[], $4::text[], $5::text[]) AS u(lane, generation, last_id), tidegate_watermark AS w \
         WHERE w.lane = $1 AND w.generation = $2 ON CONFLICT (lane, generation) DO NOTHING",
    )
    .bind(fence.lane.to_string())
    .bind(&*fence.generation.0)
    .bind(sides.iter().map(|side| side.lane.to_string()).collect::<Vec<_>>())
    .bind(sides.iter().map(|side| &*side.generation.0).collect::<Vec<_>>())
    .bind(sides.iter().map(|side| side.last_id.to_string()).collect::<Vec<_>>())
    .execute(pg)
    .await?;
    Ok(usize::try_from(inserted.rows_affected()) == Ok(sides.len()))
}

/// Deletes the rows of these lanes, in all generations.
pub(super) async fn close(pg: &mut PgConnection, lanes: &[LaneId]) -> Result<(), sqlx::Error> {
    if lanes.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM tidegate_watermark WHERE lane = ANY($1)")
        .bind(lanes.iter().map(ToString::to_string).collect::<Vec<_>>())
        .execute(pg)
        .await?;
    Ok(())
}

/// Takes a dead letter back; false where it is not there.
pub(super) async fn exhume(pg: &mut PgConnection, lane: &LaneId, dead: &DeadId) -> Result<bool, sqlx::Error> {
    let deleted =
        sqlx::query("DELETE FROM tidegate_dead WHERE lane = $1 AND generation = $2 AND id = $3 AND route = $4")
            .bind(lane.to_string())
            .bind(&*dead.generation.0)
            .bind(dead.id.to_string())
            .bind(&*dead.route)
            .execute(pg)
            .await?;
    Ok(deleted.rows_affected() == 1)
}

/// Records the dead letters that a transaction passes.
pub(super) async fn bury(pg: &mut PgConnection, lane: &LaneId, rows: &[DeadRow]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO tidegate_dead (lane, generation, id, route, table_name, record_key, superseded_by) \
         SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) \
         ON CONFLICT (lane, generation, id, route) DO UPDATE SET table_name = excluded.table_name, \
         record_key = excluded.record_key, superseded_by = excluded.superseded_by",
    )
    .bind(lane.to_string())
    .bind(rows.iter().map(|row| &*row.dead.generation.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.dead.id.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| &*row.dead.route).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| &*row.table).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.key.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.superseded_by.map(|id| id.to_string())).collect::<Vec<_>>())
    .execute(pg)
    .await?;
    Ok(())
}

/// Marks the lane's dead letters that a transaction's records make obsolete.
pub(super) async fn supersede(pg: &mut PgConnection, lane: &LaneId, by: &[Supersede]) -> Result<(), sqlx::Error> {
    if by.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE tidegate_dead AS d SET superseded_by = u.by FROM unnest($2::text[], $3::text[], $4::text[]) AS u(name, key, by) \
         WHERE d.lane = $1 AND d.table_name = u.name AND d.record_key = u.key AND d.superseded_by IS NULL",
    )
    .bind(lane.to_string())
    .bind(by.iter().map(|later| &*later.table).collect::<Vec<_>>())
    .bind(by.iter().map(|later| &*later.key).collect::<Vec<_>>())
    .bind(by.iter().map(|later| later.by.to_string()).collect::<Vec<_>>())
    .execute(pg)
    .await?;
    Ok(())
}

/// An id as it stands in one of our columns.
fn id(row: &PgRow, column: &str) -> Result<StreamId, sqlx::Error> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|error| sqlx::Error::ColumnDecode { index: column.into(), source: Box::new(error) })
}

fn watermark_row(row: &PgRow) -> Result<WatermarkRow, sqlx::Error> {
    let epoch: i64 = row.try_get("epoch")?;
    Ok(WatermarkRow {
        lane: row.try_get("lane")?,
        generation: Generation::new(row.try_get("generation")?),
        epoch: u64::try_from(epoch)
            .map_err(|error| sqlx::Error::ColumnDecode { index: "epoch".into(), source: Box::new(error) })?,
        owner: row.try_get("owner")?,
        last_id: id(row, "last_id")?,
    })
}

fn dead_row(row: &PgRow) -> Result<(String, DeadRow), sqlx::Error> {
    let key: Option<String> = row.try_get("record_key")?;
    let superseded: Option<&str> = row.try_get("superseded_by")?;
    let dead = DeadId {
        generation: Generation::new(row.try_get("generation")?),
        id: id(row, "id")?,
        route: row.try_get::<&str, _>("route")?.into(),
    };
    let superseded_by = superseded.map(|_| id(row, "superseded_by")).transpose()?;
    let table = row.try_get::<String, _>("table_name")?.into();
    Ok((row.try_get("lane")?, DeadRow { dead, table, key: key.map(Into::into), superseded_by }))
}
