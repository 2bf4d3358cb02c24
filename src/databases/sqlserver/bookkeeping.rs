//! Tidegate's own tables in the destination: the watermark and its owner, dead letters, the bind token.
//!
//! The fence of exactly-once delivery lives here and nowhere else. The batches that hold it are functions of their own, so that
//! tests can read them.

use rand::{Rng, distr::Alphanumeric};
use tiberius::Row;
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Fault, WriteError},
    transaction::{DeadId, DeadRow, Fence, LaneId, SideRow, TakenOver, Transaction, WatermarkRow},
};

use super::{
    batch::{Batch, EXACT, FENCED, NOTHING_TO_EXHUME},
    errors::{of_ours, out_of_turn},
    session::{Answer, Session},
    values::{list, some},
};

/// Runs a request whose errors are nobody's row; its result sets.
pub(super) async fn asked(session: &mut Session, name: &str, batch: &Batch) -> Result<Vec<Vec<Row>>, WriteError> {
    let Answer { sets, error } = session.ask(batch).await;
    match error {
        Some(error) => Err(of_ours(name, &error)),
        None => Ok(sets.into_iter().map(|set| set.rows).collect()),
    }
}

/// One of a row's texts; NULL is `None`.
pub(super) fn text(row: &Row, at: usize) -> Option<&str> {
    row.try_get::<&str, _>(at).ok().flatten()
}

/// One of a row's numbers.
pub(super) fn number(row: &Row, at: usize) -> Option<i32> {
    row.try_get::<i32, _>(at).ok().flatten()
}

/// The cheapest question that shows whether writes are taken.
pub(super) async fn probe(session: &mut Session, name: &str) -> Result<(), WriteError> {
    let batch = Batch::named("PROBE")
        .with("SELECT CONVERT(nvarchar(20), DATABASEPROPERTYEX(DB_NAME(), 'Updateability')) AS updateability;");
    let sets = asked(session, name, &batch).await?;
    let row = sets.first().and_then(|set| set.first()).ok_or_else(|| out_of_turn(name))?;
    match text(row, 0) {
        Some("READ_ONLY") => Err(WriteError::Retry(Fault::new(format!(
            "{name}: the server takes no writes: point the destination to the primary, or end the database's read-only mode"
        )))),
        _ => Ok(()),
    }
}

/// Makes all rows of the destination the owner's, and reads them with its dead letters and its bind token. What is read is kept
/// in table variables and told after the commit, so that a slow reader holds no lock.
pub(super) fn take_over_batch(installation: &str, destination: &str, owner: &str) -> Batch {
    let declare = format!(
        "DECLARE @bind nvarchar(64);\n\
         DECLARE @rows TABLE (lane nvarchar(255) COLLATE {EXACT}, generation nvarchar(64) COLLATE {EXACT}, epoch bigint, \
         owner nvarchar(64), last_id nvarchar(41));\n\
         DECLARE @dead TABLE (lane nvarchar(255) COLLATE {EXACT}, generation nvarchar(64) COLLATE {EXACT}, id nvarchar(41), \
         route nvarchar(64), table_name nvarchar(255), record_key nvarchar(max), superseded_by nvarchar(41));"
    );
    let answer = "SELECT @bind AS token;\n\
                  SELECT r.lane, r.generation, r.epoch, r.owner, r.last_id FROM @rows AS r ORDER BY r.lane, r.generation;\n\
                  SELECT d.lane, d.generation, d.id, d.route, d.table_name, d.record_key, d.superseded_by FROM @dead AS d;";
    let token: String =
        rand::rng().sample_iter(Alphanumeric).take(20).map(|byte| byte.to_ascii_lowercase() as char).collect();
    let built = Batch::transaction::<std::convert::Infallible>("TAKE OVER", &declare, answer, |batch| {
        let lanes = batch.bind(format!("{}%", LaneId::prefix(installation, destination)));
        let (destination, token, owner) = (batch.bind(destination), batch.bind(token), batch.bind(owner));
        // First of all, so that take-overs and new lanes of one destination queue up even while it has no rows.
        batch.line(&format!(
            "INSERT INTO tidegate_binding (destination, token) SELECT {destination}, {token} WHERE NOT EXISTS (SELECT 1 FROM \
             tidegate_binding AS b WITH (UPDLOCK, HOLDLOCK) WHERE b.destination = {destination});"
        ));
        batch.line(&format!(
            "SELECT @bind = b.token FROM tidegate_binding AS b WITH (UPDLOCK, HOLDLOCK) WHERE b.destination = {destination};"
        ));
        batch.line(&format!(
            "UPDATE tidegate_watermark SET epoch = epoch + 1, owner = {owner}, updated_at = SYSUTCDATETIME() \
             WHERE lane LIKE {lanes};"
        ));
        batch.line(&format!(
            "INSERT INTO @rows (lane, generation, epoch, owner, last_id) SELECT w.lane, w.generation, w.epoch, w.owner, w.last_id \
             FROM tidegate_watermark AS w WHERE w.lane LIKE {lanes};"
        ));
        batch.line(&format!(
            "INSERT INTO @dead (lane, generation, id, route, table_name, record_key, superseded_by) SELECT d.lane, d.generation, \
             d.id, d.route, d.table_name, d.record_key, d.superseded_by FROM tidegate_dead AS d WHERE d.lane LIKE {lanes};"
        ));
        Ok(())
    });
    match built {
        Ok(batch) => batch,
        Err(never) => match never {},
    }
}

/// Takes the destination over.
pub(super) async fn take_over(
    session: &mut Session,
    name: &str,
    installation: &str,
    destination: &str,
    owner: &str,
) -> Result<TakenOver, WriteError> {
    let sets = asked(session, name, &take_over_batch(installation, destination, owner)).await?;
    let [bind, rows, dead] = sets.as_slice() else { return Err(out_of_turn(name)) };
    let bind = bind.first().and_then(|row| text(row, 0)).ok_or_else(|| out_of_turn(name))?.to_owned();
    let rows = rows.iter().map(|row| watermark_row(row).ok_or_else(|| changed(name))).collect::<Result<_, _>>()?;
    let dead = dead.iter().map(|row| dead_row(row).ok_or_else(|| changed(name))).collect::<Result<_, _>>()?;
    Ok(TakenOver { rows, dead, bind })
}

/// The request that inserts a lane's missing row.
pub(super) fn begin_lane_batch(lane: &LaneId, generation: &Generation, owner: &str, last_id: StreamId) -> Batch {
    let built = Batch::transaction::<std::convert::Infallible>(
        "BEGIN LANE",
        "DECLARE @bind nvarchar(64), @epoch bigint, @others int;",
        "SELECT @epoch AS epoch;",
        |batch| {
            let destination = batch.bind(&*lane.destination);
            let lanes = batch.bind(format!("{}%", LaneId::prefix(&lane.installation, &lane.destination)));
            let (lane, generation) = (batch.bind(lane.to_string()), batch.bind(&*generation.0));
            let (owner, last_id) = (batch.bind(owner), batch.bind(last_id.to_string()));
            batch.line(&format!(
                "SELECT @bind = b.token FROM tidegate_binding AS b WITH (UPDLOCK, HOLDLOCK) WHERE b.destination = {destination};"
            ));
            batch.line(&format!(
                "SELECT @epoch = MAX(w.epoch), @others = COUNT(CASE WHEN w.owner <> {owner} THEN 1 END) \
                 FROM tidegate_watermark AS w WITH (UPDLOCK, HOLDLOCK) WHERE w.lane LIKE {lanes};"
            ));
            batch.throw_if("@others > 0", FENCED, "another owner");
            let there = format!(
                "EXISTS (SELECT 1 FROM tidegate_watermark AS w WITH (UPDLOCK, HOLDLOCK) WHERE w.lane = {lane} AND w.generation = \
                 {generation})"
            );
            batch.throw_if(&there, FENCED, "the lane is there already");
            batch.line(&format!(
                "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id, updated_at) \
                 VALUES ({lane}, {generation}, ISNULL(@epoch, 1), {owner}, {last_id}, SYSUTCDATETIME());"
            ));
            Ok(())
        },
    );
    match built {
        Ok(batch) => batch,
        Err(never) => match never {},
    }
}

/// Inserts a lane's missing row.
pub(super) async fn begin_lane(
    session: &mut Session,
    name: &str,
    lane: &LaneId,
    generation: &Generation,
    owner: &str,
    last_id: StreamId,
) -> Result<(), WriteError> {
    match asked(session, name, &begin_lane_batch(lane, generation, owner, last_id)).await?.as_slice() {
        [_] => Ok(()),
        _ => Err(out_of_turn(name)),
    }
}

/// Reads one row, locked: where an answer was lost, its transaction may still be on its way, and only its end tells where the
/// row stands. (A database with row versioning would show the row as it was.)
pub(super) fn watermark_batch(lane: &LaneId, generation: &Generation) -> Batch {
    let mut batch = Batch::named("WATERMARK");
    let (lane, generation) = (batch.bind(lane.to_string()), batch.bind(&*generation.0));
    batch.with(&format!(
        "SELECT w.lane, w.generation, w.epoch, w.owner, w.last_id FROM tidegate_watermark AS w WITH (UPDLOCK) \
         WHERE w.lane = {lane} AND w.generation = {generation};"
    ))
}

/// Reads one row.
pub(super) async fn watermark(
    session: &mut Session,
    name: &str,
    lane: &LaneId,
    generation: &Generation,
) -> Result<Option<WatermarkRow>, WriteError> {
    let sets = asked(session, name, &watermark_batch(lane, generation)).await?;
    let [rows] = sets.as_slice() else { return Err(out_of_turn(name)) };
    rows.first().map(|row| watermark_row(row).ok_or_else(|| changed(name))).transpose()
}

/// What a transaction begins with: its lock, its fence, the dead row it takes back, side rows that open and close.
pub(super) fn fences(batch: &mut Batch, transaction: &Transaction) {
    if let Some(lock) = &transaction.lock {
        fence(batch, lock);
    }
    let (lane, generation) = fence(batch, &transaction.fence);
    if let Some(DeadId { generation, id, route }) = &transaction.exhume {
        let (generation, id, route) =
            (batch.bind(&*generation.0), batch.bind(id.to_string()), batch.bind(route.to_string()));
        batch.line(&format!(
            "DELETE FROM tidegate_dead WHERE lane = {lane} AND generation = {generation} AND id = {id} AND route = {route};"
        ));
        batch.throw_if("@@ROWCOUNT <> 1", NOTHING_TO_EXHUME, "no such dead letter");
    }
    if !transaction.open.is_empty() {
        let rows = batch.bind(list(transaction.open.iter().map(|SideRow { lane, generation, last_id }| {
            [some(lane.to_string()), some(generation.0.to_string()), some(last_id.to_string())]
        })));
        // One that is there already is not inserted, and so found by counting.
        batch.line(&format!(
            "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id, updated_at) SELECT s.lane, s.generation, \
             w.epoch, w.owner, s.last_id, SYSUTCDATETIME() FROM OPENJSON({rows}) WITH (lane nvarchar(4000) '$[0]', generation \
             nvarchar(4000) '$[1]', last_id nvarchar(4000) '$[2]') AS s INNER JOIN tidegate_watermark AS w ON w.lane = {lane} AND \
             w.generation = {generation} WHERE NOT EXISTS (SELECT 1 FROM tidegate_watermark AS o WITH (UPDLOCK, HOLDLOCK) \
             WHERE o.lane = s.lane COLLATE {EXACT} AND o.generation = s.generation COLLATE {EXACT});"
        ));
        batch.throw_if(&format!("@@ROWCOUNT <> {}", transaction.open.len()), FENCED, "the side row is there already");
    }
    if !transaction.close.is_empty() {
        let lanes = batch.bind(list(transaction.close.iter().map(|lane| [some(lane.to_string())])));
        batch.line(&format!(
            "DELETE w FROM tidegate_watermark AS w INNER JOIN OPENJSON({lanes}) WITH (lane nvarchar(4000) '$[0]') AS s \
             ON w.lane = s.lane COLLATE {EXACT};"
        ));
    }
}

/// Moves a row that is mine and stands where I believe it to, or throws; the names of the lane's and the generation's parameters.
fn fence(batch: &mut Batch, fence: &Fence) -> (String, String) {
    let (lane, generation) = (batch.bind(fence.lane.to_string()), batch.bind(&*fence.generation.0));
    let owner = batch.bind(&*fence.owner);
    let (previous, new) = (batch.bind(fence.previous.to_string()), batch.bind(fence.new.to_string()));
    batch.line(&format!(
        "UPDATE tidegate_watermark SET last_id = {new}, updated_at = SYSUTCDATETIME() \
         WHERE lane = {lane} AND generation = {generation} AND owner = {owner} AND last_id = {previous};"
    ));
    batch.throw_if("@@ROWCOUNT <> 1", FENCED, "another owner or another place");
    (lane, generation)
}

/// What a transaction ends with: dead letters that it makes obsolete, and those that it passes.
pub(super) fn dead_letters(batch: &mut Batch, transaction: &Transaction) {
    if transaction.supersede.is_empty() && transaction.bury.is_empty() {
        return;
    }
    let lane = batch.bind(transaction.fence.lane.to_string());
    if !transaction.supersede.is_empty() {
        let later = batch.bind(list(
            transaction
                .supersede
                .iter()
                .map(|later| [some(&*later.table), some(&*later.key), some(later.by.to_string())]),
        ));
        // Comparing ignores spaces at the end, which a key may have.
        batch.line(&format!(
            "UPDATE d SET superseded_by = s.later FROM tidegate_dead AS d INNER JOIN OPENJSON({later}) WITH (name nvarchar(max) \
             '$[0]', dead nvarchar(max) '$[1]', later nvarchar(4000) '$[2]') AS s ON d.table_name = s.name COLLATE {EXACT} AND \
             d.record_key = s.dead COLLATE {EXACT} AND DATALENGTH(d.record_key) = DATALENGTH(s.dead) \
             WHERE d.lane = {lane} AND d.superseded_by IS NULL;"
        ));
    }
    if !transaction.bury.is_empty() {
        let rows = batch.bind(list(transaction.bury.iter().map(|DeadRow { dead, table, key, superseded_by }| {
            [
                some(&*dead.generation.0),
                some(dead.id.to_string()),
                some(&*dead.route),
                some(&**table),
                key.as_deref().map(Into::into),
                superseded_by.map(|id| id.to_string().into()),
            ]
        })));
        batch.line(&format!(
            "INSERT INTO tidegate_dead (lane, generation, id, route, table_name, record_key, superseded_by) SELECT {lane}, \
             s.generation, s.id, s.route, s.table_name, s.record_key, s.superseded_by FROM OPENJSON({rows}) WITH (generation \
             nvarchar(4000) '$[0]', id nvarchar(4000) '$[1]', route nvarchar(4000) '$[2]', table_name nvarchar(max) '$[3]', \
             record_key nvarchar(max) '$[4]', superseded_by nvarchar(4000) '$[5]') AS s WHERE NOT EXISTS (SELECT 1 FROM \
             tidegate_dead AS d WITH (UPDLOCK, HOLDLOCK) WHERE d.lane = {lane} AND d.generation = s.generation COLLATE {EXACT} AND \
             d.id = s.id COLLATE {EXACT} AND d.route = s.route COLLATE {EXACT});"
        ));
    }
}

fn changed(name: &str) -> WriteError {
    WriteError::Hold(Fault::new(format!("{name}: a row of Tidegate's own tables was changed by hand")))
}

fn watermark_row(row: &Row) -> Option<WatermarkRow> {
    Some(WatermarkRow {
        lane: text(row, 0)?.to_owned(),
        generation: Generation::new(text(row, 1)?),
        epoch: u64::try_from(row.try_get::<i64, _>(2).ok()??).ok()?,
        owner: text(row, 3)?.to_owned(),
        last_id: text(row, 4)?.parse().ok()?,
    })
}

fn dead_row(row: &Row) -> Option<(String, DeadRow)> {
    let superseded_by = match text(row, 6) {
        Some(id) => Some(id.parse().ok()?),
        None => None,
    };
    let dead = DeadId {
        generation: Generation::new(text(row, 1)?),
        id: text(row, 2)?.parse().ok()?,
        route: text(row, 3)?.into(),
    };
    let letter = DeadRow { dead, table: text(row, 4)?.into(), key: text(row, 5).map(Into::into), superseded_by };
    Some((text(row, 0)?.to_owned(), letter))
}
