//! Taking a destination over: lease, fence, resume points, claims (delivery rules 2, 3 and 5).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{Delivery, LaneState, Limits, Trouble, database, log, random_token};
use crate::{
    compose::{DeadKeys, Plan, Plans, Starts},
    failpoint, fnv,
    lane::{ResumePoint, resume},
    mapping::Mapping,
    message::{Generation, Position, StreamId},
    ports::{Advance, BatchRecord, Destination, EventLog, LaneView, LogError, PlanRecord, WriteError},
    progress::Progress,
    route::DestinationSpec,
    transaction::{DeadId, LaneId, TakenOver},
};

impl Delivery {
    /// Becomes the owner of all lanes of the destination, or says what stands in the way.
    ///
    /// # Errors
    /// Another node holds the lease, the log or the database is away, or something is for an operator to decide.
    pub async fn take_over(&mut self) -> Result<(), Trouble> {
        let (setup, short, progress) = (self.limits.setup, self.limits.log, self.progress.clone());
        let wanted = self.wanted_lanes();
        self.taken = false;
        self.lease.lost();
        // An acquisition of its own has a token of its own, so that whatever is still under way under the old one is fenced.
        log(short, &progress, self.log.release(&wanted, &self.owner)).await?;
        self.owner = random_token(20).into();
        let asked = self.lease.now();
        if !log(short, &progress, self.log.lease(&wanted, &self.owner, self.limits.lease)).await? {
            return Err(Trouble::StandBy);
        }
        self.lease.taken(Arc::clone(&self.owner), wanted.clone(), asked, self.limits.lease);
        failpoint::reach(failpoint::AFTER_LEASE);
        let mut views = Vec::with_capacity(wanted.len());
        for lane in &wanted {
            views.push(log(short, &progress, self.log.view(lane)).await?);
        }
        let call = self.database.take_over(&self.installation, &self.spec.id, &self.owner);
        let taken = database(setup, &progress, "a take-over", call).await?;
        failpoint::reach(failpoint::AFTER_FENCE);
        self.counts.epoch = taken.rows.iter().map(|row| row.epoch).max().unwrap_or(1);
        self.lanes.clear();
        for (lane, view) in wanted.into_iter().zip(views) {
            let state = self.take_lane(lane, view, &taken).await?;
            self.lanes.push(state);
        }
        // What was in hand under the old token has been written or not by now; the watermark says which.
        self.in_doubt = None;
        self.unsent = None;
        self.taken = true;
        Ok(())
    }

    async fn take_lane(&mut self, lane: LaneId, view: LaneView, taken: &TakenOver) -> Result<LaneState, Trouble> {
        let (setup, short, progress) = (self.limits.setup, self.limits.log, self.progress.clone());
        let lane_text = lane.to_string();
        if view.bind.is_none() {
            log(short, &progress, self.log.bind(&lane, &taken.bind)).await?;
        }
        let foreign = view.bind.as_ref().is_some_and(|bound| *bound != taken.bind);
        let resumed = resume(&view, &taken.rows, &lane_text);
        if let (Err(gap), false) = (&resumed, foreign) {
            self.count_gap(&lane, gap);
        }
        let point = match resumed {
            Ok(point) if !foreign => point,
            resumed => return Err(self.decide(&lane, &view, taken, foreign, resumed.err()).await?),
        };
        let ResumePoint { generation, id, insert, until } = point;
        if insert {
            let call = self.database.begin_lane(&lane, &generation, &self.owner, id);
            database(setup, &progress, "the beginning of a lane", call).await?;
            failpoint::reach(failpoint::AFTER_BEGIN_LANE);
        }
        let newest = view.generations.last().map_or_else(|| generation.clone(), |newest| newest.generation.clone());
        // A payload without a row is void: its message was written after all, before the last owner went.
        let rows: HashSet<&DeadId> =
            taken.dead.iter().filter(|(of, _)| *of == lane_text).map(|(_, row)| &row.dead).collect();
        let kept = log(short, &progress, self.log.dead_ids(&lane)).await?;
        self.mourn(&lane, taken, &kept).await?;
        let void: Vec<_> = kept.into_iter().filter(|dead| !rows.contains(dead)).collect();
        let claim = Advance {
            lane: lane.clone(),
            owner: Arc::clone(&self.owner),
            version: self.version,
            newest: newest.clone(),
            to: Position { generation: generation.clone(), id },
            sides: Vec::new(),
            known: self.known(&lane),
            part: "main".into(),
            history: self.unrecorded(&lane, &generation, id),
            void,
        };
        failpoint::reach(failpoint::BEFORE_CLAIM);
        match log(short, &progress, self.log.advance(&claim)).await {
            // The database stands at an entry that was taken out of the stream by hand; what follows it is still there.
            Ok(()) | Err(LogError::NoSuchEntry(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let order: Vec<_> = view.generations.iter().map(|known| known.generation.clone()).collect();
        let starts = Starts::new(&view.starts, &order, &generation);
        let mut state = LaneState {
            lane,
            generation,
            newest,
            last_id: id,
            until,
            starts,
            dead: DeadKeys::new(),
            superseded: HashMap::new(),
            kept: Vec::new(),
        };
        let mine = taken.dead.iter().filter(|(of, _)| *of == lane_text);
        mine.for_each(|(_, row)| state.stands(row.clone()));
        Ok(state)
    }

    /// The record of the last transaction, where it turns out to be in the database and the log may not have it.
    fn unrecorded(&self, lane: &LaneId, generation: &Generation, id: StreamId) -> Option<BatchRecord> {
        let last = self.unsent.as_ref().or(self.in_doubt.as_ref().map(|doubt| &doubt.advance))?;
        let stands = last.lane == *lane && last.to.generation == *generation && last.to.id == id;
        last.history.clone().filter(|_| stands)
    }

    /// Compiles the routes against the tables as they stand now.
    pub(super) async fn read_tables(&mut self) -> Result<(), Trouble> {
        let lanes: Vec<_> = self.lanes.iter().map(|state| &state.lane).collect();
        let (log, database) = (&mut *self.log, &mut *self.database);
        self.plans = Some(compile(&self.spec, &lanes, log, database, self.limits, &self.progress).await?);
        Ok(())
    }
}

/// Compiles a destination's routes against the tables as they stand now, and keeps what is needed to tell later what was
/// sent.
pub(super) async fn compile(
    spec: &DestinationSpec,
    lanes: &[&LaneId],
    log: &mut dyn EventLog,
    database: &mut dyn Destination,
    limits: Limits,
    progress: &Progress,
) -> Result<Plans, Trouble> {
    let mut list: Vec<Plan> = Vec::with_capacity(spec.routes.len());
    for route in spec.routes.clone() {
        let read_at = Instant::now();
        let found = super::database(limits.setup, progress, "the catalogue", database.table(&route.table)).await;
        let table = match found {
            Err(WriteError::Hold(fault)) => {
                return Err(Trouble::Hold(format!("route `{}`: {}", route.name, fault.message)));
            }
            other => other?,
        };
        let record = PlanRecord { route: (*route).clone(), table, children: Vec::new() };
        let digest = digest(&record);
        for lane in lanes.iter().filter(|lane| *lane.stream == *route.application) {
            super::log(limits.log, progress, log.keep_plan(lane, &digest, &record)).await?;
        }
        let number = list
            .iter()
            .find(|plan| {
                plan.mapping.plan.table.name == record.table.name
                    && plan.mapping.plan.table.schema == record.table.schema
            })
            .map_or(list.len(), |plan| plan.table);
        let mapping = Mapping::compile(&route, record.table, record.children).map_err(|errors| {
            let sentences: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Trouble::Hold(sentences.join("; "))
        })?;
        list.push(Plan { route, mapping, digest, table: number, read_at });
    }
    Ok(Plans::new(list))
}

/// A short digest that is the same for the same route and table on every node (FNV-1a, 64 bits: it only has to tell a
/// handful of versions of one route apart).
fn digest(record: &PlanRecord) -> String {
    let text = serde_json::to_vec(record).unwrap_or_default();
    format!("{:016x}", fnv::hash(&text))
}
