//! Taking a destination over: lease, fence, resume points, claims (delivery rules 2, 3 and 5).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{Delivery, LaneState, Limits, Trouble, database, log, random_token, sides::Beside};
use crate::{
    compose::{DeadKeys, Plan, Plans, Starts},
    failpoint, fnv,
    lane::{Part, ResumePoint, mainly, resume},
    mapping::Mapping,
    message::{Generation, StreamId},
    ports::{Advance, BatchRecord, Destination, EventLog, LaneView, LogError, PlanRecord, WriteError},
    progress::Progress,
    route::DestinationSpec,
    transaction::{DeadId, DeadRow, Fence, LaneId, SideRow, TakenOver, Transaction, WatermarkRow},
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
        self.kept_plans.clear();
        let mut void = Vec::with_capacity(wanted.len());
        for (lane, view) in wanted.into_iter().zip(&views) {
            void.push(self.take_lane(lane, view, &taken).await?);
        }
        let mut left_over = Vec::new();
        for (main, view) in views.iter().enumerate() {
            left_over.push(self.take_sides(main, view, &taken).await?);
        }
        if self.lanes.len() > views.len() && self.plans.is_none() {
            // What waits, and why, is told with the claim.
            self.read_tables().await?;
        }
        for (main, void) in void.into_iter().enumerate() {
            self.claim(main, void).await?;
        }
        // What was in hand under the old token has been written or not by now; the watermark says which.
        self.in_doubt = None;
        self.unsent.clear();
        for (main, parts) in left_over.into_iter().enumerate() {
            self.sweep(main, &parts).await?;
        }
        self.taken = true;
        Ok(())
    }

    /// Finds where a lane's main row goes on; payloads of dead letters that are void.
    async fn take_lane(&mut self, lane: LaneId, view: &LaneView, taken: &TakenOver) -> Result<Vec<DeadId>, Trouble> {
        let (short, progress) = (self.limits.log, self.progress.clone());
        let lane_text = lane.to_string();
        if view.bind.is_none() {
            log(short, &progress, self.log.bind(&lane, &taken.bind)).await?;
        }
        let foreign = view.bind.as_ref().is_some_and(|bound| *bound != taken.bind);
        let resumed = resume(&mainly(view), &taken.rows, &lane_text);
        let point = match resumed {
            Ok(point) if !foreign => point,
            resumed => return Err(self.decide(&lane, view, taken, foreign, resumed.err()).await?),
        };
        let ResumePoint { generation, id, insert, until } = point;
        if insert {
            self.begin_main(&lane, &generation, id, view, taken).await?;
            failpoint::reach(failpoint::AFTER_BEGIN_LANE);
        }
        // A payload without a row is void: its message was written after all, before the last owner went.
        let rows: HashSet<&DeadId> =
            taken.dead.iter().filter(|(of, _)| *of == lane_text).map(|(_, row)| &row.dead).collect();
        let kept = log(short, &progress, self.log.dead_ids(&lane)).await?;
        self.mourn(&lane, taken, &kept).await?;
        let void: Vec<_> = kept.into_iter().filter(|dead| !rows.contains(dead)).collect();
        let order: Arc<[Generation]> = view.generations.iter().map(|known| known.generation.clone()).collect();
        let newest = order.last().cloned().unwrap_or_else(|| generation.clone());
        let begins = Starts::new(&view.starts, &order, &generation);
        let mut state = LaneState {
            lane,
            part: Part::Main,
            main: self.lanes.len(),
            generation,
            newest,
            last_id: id,
            until,
            order,
            registered: view.starts.clone().into(),
            starts: begins.clone(),
            begins,
            routes: Vec::new(),
            beside: Beside::default(),
            to_hold: BTreeMap::new(),
            dead: DeadKeys::new(),
            superseded: HashMap::new(),
            kept: Vec::new(),
        };
        let mut mine: Vec<_> = taken.dead.iter().filter(|(of, _)| *of == lane_text).map(|(_, row)| row).collect();
        let ranks = Arc::clone(&state.order);
        // In the order of the log: the first one of a key is the one that others may wait behind.
        let rank = |row: &DeadRow| ranks.iter().position(|known| *known == row.dead.generation);
        mine.sort_by_cached_key(|row| (rank(row), row.dead.id));
        mine.into_iter().for_each(|row| state.stands(row.clone()));
        self.lanes.push(state);
        Ok(void)
    }

    /// Makes a main row that is missing. Where the lane has an older one, that must still stand where the take-over saw it: a
    /// database that went back meanwhile, be it to before its first row, must not get one beyond what it has.
    async fn begin_main(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        id: StreamId,
        view: &LaneView,
        taken: &TakenOver,
    ) -> Result<(), Trouble> {
        let text = lane.to_string();
        let rank = |row: &&WatermarkRow| view.generations.iter().position(|known| known.generation == row.generation);
        let Some(older) = taken.rows.iter().filter(|row| row.lane == text).max_by_key(rank) else {
            let call = self.database.begin_lane(lane, generation, &self.owner, id);
            return Ok(database(self.limits.setup, &self.progress, "the beginning of a lane", call).await?);
        };
        let fence = Fence {
            lane: lane.clone(),
            generation: older.generation.clone(),
            owner: Arc::clone(&self.owner),
            previous: older.last_id,
            new: older.last_id,
        };
        let row = SideRow { lane: lane.clone(), generation: generation.clone(), last_id: id };
        let transaction = Transaction { open: vec![row], ..Transaction::of(fence) };
        self.commit_still(&transaction, "the beginning of a generation").await
    }

    /// Claims a lane's position in the log, with all of its side rows.
    async fn claim(&mut self, main: usize, void: Vec<DeadId>) -> Result<(), Trouble> {
        let claim = Advance { void, ..self.advance_of(main) };
        let with = |(part, record)| Advance { part, history: Some(record), ..claim.clone() };
        let mut claims: Vec<_> = self.unrecorded(main).into_iter().map(with).collect();
        if claims.is_empty() {
            claims.push(claim);
        }
        failpoint::reach(failpoint::BEFORE_CLAIM);
        for claim in claims {
            match log(self.limits.log, &self.progress, self.log.advance(&claim)).await {
                // The database stands at an entry that was taken out of the stream by hand; what follows it is still there.
                Ok(()) | Err(LogError::NoSuchEntry(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The records of the last transactions, as far as they turn out to be in the database and the log may not have them, in
    /// order. Those that were committed are there unless the database has gone back; one in doubt, where it stands at its end.
    fn unrecorded(&self, main: usize) -> Vec<(Arc<str>, BatchRecord)> {
        let record = |last: &Advance, in_doubt: bool| {
            let record = last.history.clone()?;
            let row = self.lanes.iter().find(|row| row.main == main && row.lane.part == last.part)?;
            let stood = match row.part {
                Part::Main => &last.to,
                _ => &last.sides.iter().find(|side| side.part == last.part)?.at,
            };
            let passed = row.generation == stood.generation && row.last_id >= stood.id;
            let there = if in_doubt { row.position() == *stood } else { passed };
            (self.lanes[main].lane == last.lane && there).then(|| (Arc::clone(&last.part), record))
        };
        let in_doubt = self.in_doubt.iter().filter_map(|doubt| record(&doubt.advance, true));
        self.unsent.iter().filter_map(|unsent| record(unsent, false)).chain(in_doubt).collect()
    }

    /// Compiles the routes against the tables as they stand now.
    pub(super) async fn read_tables(&mut self) -> Result<(), Trouble> {
        let lanes: Vec<_> = self.lanes.iter().filter(|row| row.is_main()).map(|state| &state.lane).collect();
        let (log, database) = (&mut *self.log, &mut *self.database);
        let kept = &mut self.kept_plans;
        let (plans, unfit) = compile(&self.spec, &lanes, log, database, self.limits, &self.progress, kept).await?;
        let routes: Vec<String> = plans.all().iter().map(|plan| plan.route.id.clone()).collect();
        if self.fitting != routes {
            // Places in the list of plans are others now.
            (self.fitting, self.shape) = (routes, self.shape + 1);
        }
        self.unfit = unfit.into_iter().map(|unfit| (unfit.route, unfit.why)).collect();
        self.plans = Some(Arc::new(plans));
        Ok(())
    }
}

/// A route whose table does not fit it.
pub(super) struct Unfit {
    /// Its id.
    pub(super) route: String,
    /// What is missing, and the remedy.
    pub(super) why: String,
}

/// Compiles a destination's routes against the tables as they stand now, and keeps what is needed to tell later what was
/// sent. Beside the plans: the routes that do not fit.
pub(super) async fn compile(
    spec: &DestinationSpec,
    lanes: &[&LaneId],
    log: &mut dyn EventLog,
    database: &mut dyn Destination,
    limits: Limits,
    progress: &Progress,
    kept: &mut HashSet<String>,
) -> Result<(Plans, Vec<Unfit>), Trouble> {
    let mut list: Vec<Plan> = Vec::with_capacity(spec.routes.len());
    let mut unfit = Vec::new();
    for route in spec.routes.clone() {
        let read_at = Instant::now();
        let mut tables = Vec::with_capacity(1 + route.children.len());
        let mut missing = None;
        for name in std::iter::once(&route.table).chain(route.children.iter().map(|child| &child.table)) {
            match super::database(limits.setup, progress, "the catalogue", database.table(name)).await {
                Err(WriteError::Hold(fault)) => missing = missing.or(Some(fault.message)),
                other => tables.push(other?),
            }
        }
        if let Some(why) = missing {
            unfit.push(Unfit { route: route.id.clone(), why: format!("route `{}`: {why}", route.name) });
            continue;
        }
        let table = tables.remove(0);
        let record = PlanRecord { route: (*route).clone(), table, children: tables };
        let digest = digest(&record);
        for lane in lanes.iter().filter(|lane| *lane.stream == *route.application) {
            if !kept.contains(&digest) {
                super::log(limits.log, progress, log.keep_plan(lane, &digest, &record)).await?;
            }
        }
        kept.insert(digest.clone());
        let number = list
            .iter()
            .find(|plan| {
                plan.mapping.plan.table.name == record.table.name
                    && plan.mapping.plan.table.schema == record.table.schema
            })
            .map_or(list.len(), |plan| plan.table);
        let mapping = match Mapping::compile(&route, record.table, record.children) {
            Ok(mapping) => mapping,
            Err(errors) => {
                let sentences: Vec<_> = errors.iter().map(ToString::to_string).collect();
                unfit.push(Unfit { route: route.id.clone(), why: sentences.join("; ") });
                continue;
            }
        };
        list.push(Plan { route, mapping, digest, table: number, read_at });
    }
    Ok((Plans::new(list), unfit))
}

/// A short digest that is the same for the same route and table on every node (FNV-1a, 64 bits: it only has to tell a
/// handful of versions of one route apart).
fn digest(record: &PlanRecord) -> String {
    let text = serde_json::to_vec(record).unwrap_or_default();
    format!("{:016x}", fnv::hash(&text))
}
