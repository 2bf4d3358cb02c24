//! Rows beside a lane's main one: which routes each carries, when it may go on, and how it meets main again (delivery rules
//! 8 and 9).
//!
//! A route is carried by exactly one row; a bounded replay comes on top of that. A side row is opened in a transaction of the
//! main row, or by a take-over; it never stands beyond main, each of its transactions locks main's row, and once both stand at
//! one place a last transaction deletes it. Where no side row stands, nothing here costs anything.

use std::{collections::BTreeMap, sync::Arc};

use super::{Delivery, LaneState, Trouble, database, log, now_ms};
use crate::{
    compose::Starts,
    failpoint,
    lane::{Part, ResumePoint, beside, lies_before, resume},
    message::{Position, StreamId},
    ports::{Advance, Batch, Command, LaneView, ReadFrom, SidePosition, WriteError},
    route::RouteSpec,
    status::{CatchUp, CatchUpKind, HeldTable, rfc3339_ago},
    transaction::{Fence, LaneId, SideRow, TakenOver, Transaction},
};

/// What is particular to a side row.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    /// Routes that a held table's row has carried: one that is pointed to another table meanwhile stays until they meet.
    pub(super) known: Vec<Arc<str>>,
    /// Why the database did not take its rows, although the catalogue says nothing; forgotten with the next look.
    pub(super) waits: Option<String>,
    /// A row of this entry refers to one that is not there, and may yet come by another side row.
    pub(super) blocked_at: Option<StreamId>,
    /// Since when it waits, in milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
    /// The command of a replay.
    pub(super) replay: Option<Command>,
}

/// A side row that a transaction opens.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) part: Part,
    pub(super) at: Position,
    /// The end of its generation, where a newer one follows.
    pub(super) until: Option<StreamId>,
    pub(super) replay: Option<Command>,
}

impl Delivery {
    /// Finds where the side rows of a lane go on, and begins those of routes that are to catch up. Answers with rows that
    /// nothing needs any more.
    pub(super) async fn take_sides(
        &mut self,
        main: usize,
        view: &LaneView,
        taken: &TakenOver,
    ) -> Result<Vec<LaneId>, Trouble> {
        let lane = self.lanes[main].lane.clone();
        let text = lane.to_string();
        let prefix = text.strip_suffix(Part::MAIN).unwrap_or(&text);
        let mut parts: Vec<&str> = taken.rows.iter().filter_map(|row| row.lane.strip_prefix(prefix)).collect();
        parts.retain(|part| *part != Part::MAIN);
        parts.sort_unstable();
        parts.dedup();
        let mut commands = Vec::new();
        let mut gaps = Vec::new();
        let mut done: Vec<Arc<str>> = Vec::new();
        for text in parts {
            let Some(part) = Part::parse(text) else {
                let why = format!("the database has a row `{text}` that this version does not know; use a newer one");
                return Err(Trouble::Hold(why));
            };
            if let Part::Done(route) = &part {
                done.push(Arc::clone(route));
                continue;
            }
            if part.is_replay() && commands.is_empty() {
                commands = log(self.limits.log, &self.progress, self.log.commands(&lane)).await?;
            }
            let side = side_of(&lane, &part);
            let seen = beside(view, &taken.rows, &side.to_string());
            match resume(&seen, &taken.rows, &side.to_string()) {
                Ok(point) => self.take_side(main, part, point, view, &commands).await?,
                Err(gap) => gaps.push((side, seen, gap)),
            }
        }
        for route in &view.backfills {
            let known = self.spec.routes.iter().any(|spec| spec.id == **route && *spec.application == *lane.stream);
            let part = Part::Route(route.as_str().into());
            let stands = self.rows_of(main).any(|at| self.lanes[at].part == part)
                || gaps.iter().any(|(side, ..)| *side == side_of(&lane, &part));
            let start = view.starts.iter().find(|(id, _)| id == route).map(|(_, start)| start);
            let Some(start) = start.filter(|_| known && !stands && !done.iter().any(|done| **done == **route)) else {
                continue;
            };
            let (order, place) = (Arc::clone(&self.lanes[main].order), self.lanes[main].position());
            if !lies_before(&order, start, &place) {
                // The database has not come so far: main carries it from its start on, and it must never begin again.
                let marker = side_of(&lane, &Part::Done(route.as_str().into()));
                self.begin_side(main, &marker, &place).await?;
                return Err(self.anew("a route begins where its lane has not come yet"));
            }
            let side = side_of(&lane, &part);
            let seen = LaneView { starts: vec![(route.clone(), start.clone())], ..view.clone() };
            match resume(&seen, &[], &side.to_string()) {
                Ok(point) => self.take_side(main, part, point, view, &[]).await?,
                Err(gap) => gaps.push((side, seen, gap)),
            }
        }
        if !gaps.is_empty() {
            return Err(self.decide_beside(main, taken, gaps).await?);
        }
        self.leave_behind(main, view, &done).await?;
        self.recarry(main);
        // Routes that the registry has forgotten, as far as the log knows, too: an owner that lags knows fewer than there are.
        let all_known = view.starts.iter().all(|(id, _)| self.spec.routes.iter().any(|spec| spec.id == *id));
        let over = |row: &LaneState| match &row.part {
            Part::Replay { instead: None, .. } => row.beside.replay.is_none() || (all_known && row.routes.is_empty()),
            _ => all_known && row.routes.is_empty(),
        };
        let rows = self.rows_of(main).filter(|at| over(&self.lanes[*at]));
        Ok(rows.map(|at| self.lanes[at].lane.clone()).collect())
    }

    /// Main carries a route that has caught up; but an owner that has not heard of the route yet would pass its records by.
    /// For such an owner the route stands beside main again, at the same place, until one that knows it takes over.
    async fn leave_behind(&mut self, main: usize, view: &LaneView, done: &[Arc<str>]) -> Result<(), Trouble> {
        let unheard = |route: &&Arc<str>| {
            let known = self.spec.routes.iter().any(|spec| *spec.id == ***route);
            !known && !self.removed.contains(&***route) && view.starts.iter().any(|(id, _)| **id == ***route)
        };
        let Some(route) = done.iter().find(unheard) else { return Ok(()) };
        let Position { generation, id } = self.lanes[main].position();
        let lane = &self.lanes[main].lane;
        let row = SideRow { lane: side_of(lane, &Part::Route(Arc::clone(route))), generation, last_id: id };
        let marker = side_of(lane, &Part::Done(Arc::clone(route)));
        let transaction = Transaction { open: vec![row], close: vec![marker], ..Transaction::of(self.fence(main, id)) };
        self.hold_lease().await?;
        self.commit_still(&transaction, "the beginning of a side row").await?;
        failpoint::reach(failpoint::AFTER_SIDE_OPEN);
        Err(self.anew("a route that caught up is not known here yet"))
    }

    async fn take_side(
        &mut self,
        main: usize,
        part: Part,
        point: ResumePoint,
        view: &LaneView,
        commands: &[Command],
    ) -> Result<(), Trouble> {
        let ResumePoint { generation, id, insert, until } = point;
        let at = Position { generation, id };
        if insert {
            let side = side_of(&self.lanes[main].lane, &part);
            self.begin_side(main, &side, &at).await?;
        }
        let token = |command: &&Command| match (command, &part) {
            (Command::Replay { token: named, .. }, Part::Replay { token, .. }) => **named == **token,
            _ => false,
        };
        let replay = commands.iter().find(token).cloned();
        let text = part.text();
        let is_table = matches!(part, Part::Table(_));
        let hint = view.sides.iter().find(|side| is_table && side.part == text).map(|side| side.routes.clone());
        self.add_side(main, Opened { part, at, until, replay });
        if let Some(row) = self.lanes.last_mut() {
            row.beside.known = hint.unwrap_or_default();
            row.beside.since_ms = if id.ms > 0 { id.ms } else { now_ms() };
        }
        Ok(())
    }

    async fn begin_side(&mut self, main: usize, side: &LaneId, at: &Position) -> Result<(), Trouble> {
        let row = SideRow { lane: side.clone(), generation: at.generation.clone(), last_id: at.id };
        let fence = self.fence(main, self.lanes[main].last_id);
        let transaction = Transaction { open: vec![row], ..Transaction::of(fence) };
        self.commit_still(&transaction, "the beginning of a side row").await?;
        failpoint::reach(failpoint::AFTER_SIDE_OPEN);
        Ok(())
    }

    /// Notes a side row that is in the database.
    fn add_side(&mut self, main: usize, opened: Opened) {
        let Opened { part, at, until, replay } = opened;
        let of = &self.lanes[main];
        let begins = Starts::new(&of.registered, &of.order, &at.generation);
        let row = LaneState {
            lane: side_of(&of.lane, &part),
            part,
            main,
            newest: of.newest.clone(),
            generation: at.generation,
            last_id: at.id,
            until,
            order: Arc::clone(&of.order),
            registered: Arc::clone(&of.registered),
            starts: begins.clone(),
            begins,
            routes: Vec::new(),
            beside: Beside { replay, since_ms: now_ms(), ..Beside::default() },
            to_hold: BTreeMap::new(),
            dead: Default::default(),
            superseded: Default::default(),
            kept: Vec::new(),
        };
        self.lanes.push(row);
    }

    /// Side rows that a transaction of their main row has opened.
    pub(super) fn opened(&mut self, main: usize, rows: Vec<Opened>) {
        if rows.is_empty() {
            return;
        }
        for opened in rows {
            tracing::warn!(destination = %self.spec.name, part = %opened.part, after = %opened.at.id, "a side row is opened");
            self.add_side(main, opened);
        }
        self.recarry(main);
    }

    /// The side rows of a main row.
    pub(super) fn rows_of(&self, main: usize) -> impl Iterator<Item = usize> + '_ {
        (main + 1..self.lanes.len()).filter(move |at| self.lanes[*at].main == main && !self.lanes[*at].is_main())
    }

    /// Which row carries a route, if `without` did not stand.
    fn carrier(&self, main: usize, route: &RouteSpec, without: Option<usize>) -> usize {
        let rows = || self.rows_of(main).filter(|at| Some(*at) != without);
        let of = |at: &usize| &self.lanes[*at];
        let by_id = |part: &Part| match part {
            Part::Route(id) => **id == *route.id,
            Part::Replay { instead: Some(id), .. } => **id == *route.id,
            _ => false,
        };
        let in_table = |at: &usize| matches!(&of(at).part, Part::Table(name) if **name == *route.table);
        let had = |at: &usize| of(at).beside.known.iter().any(|known| **known == *route.id);
        rows()
            .find(|at| by_id(&of(at).part))
            .or_else(|| rows().find(had))
            .or_else(|| rows().find(in_table))
            .unwrap_or(main)
    }

    /// Works out anew which routes each row of a lane carries.
    pub(super) fn recarry(&mut self, main: usize) {
        let stream = Arc::clone(&self.lanes[main].lane.stream);
        let of_lane: Vec<_> = self.spec.routes.iter().filter(|route| *route.application == *stream).cloned().collect();
        let carriers: Vec<usize> = of_lane.iter().map(|route| self.carrier(main, route, None)).collect();
        let rows: Vec<usize> = std::iter::once(main).chain(self.rows_of(main)).collect();
        for at in rows {
            let row = &mut self.lanes[at];
            row.starts = row.begins.clone();
            row.routes.clear();
            let again = match &row.beside.replay {
                Some(Command::Replay { route, .. }) => Some(route.clone()),
                _ => None,
            };
            for (route, carrier) in of_lane.iter().zip(&carriers) {
                if again.as_ref() == Some(&route.id) {
                    row.starts.take_all(&route.id);
                } else if *carrier != at {
                    row.starts.leave(&route.id);
                    continue;
                }
                row.routes.push(route.id.as_str().into());
            }
            if matches!(row.part, Part::Table(_)) {
                // An owner that lags behind the registry knows fewer of them: none is forgotten.
                let new: Vec<_> = row.routes.iter().filter(|id| !row.beside.known.contains(id)).cloned().collect();
                row.beside.known.extend(new);
            }
        }
    }

    /// Tables that main can't write, or must not yet, and that no row carries so far: the next piece opens one for each.
    pub(super) fn to_open(&self, main: usize) -> Vec<Opened> {
        let state = &self.lanes[main];
        if self.unfit.is_empty() && state.to_hold.is_empty() {
            return Vec::new();
        }
        let mine = |route: &&Arc<RouteSpec>| state.routes.iter().any(|id| **id == *route.id);
        let waits = |route: &&Arc<RouteSpec>| {
            self.unfit.contains_key(&route.id) || state.to_hold.contains_key(route.table.as_str())
        };
        let mut tables: Vec<&str> =
            self.spec.routes.iter().filter(mine).filter(waits).map(|route| route.table.as_str()).collect();
        tables.sort_unstable();
        tables.dedup();
        let row = |table: &str| Opened {
            part: Part::Table(table.into()),
            at: state.position(),
            until: state.until,
            replay: None,
        };
        tables.into_iter().map(row).collect()
    }

    /// The routes that a row of this table takes from main.
    pub(super) fn routes_into(&self, main: usize, part: &Part) -> Vec<Arc<str>> {
        let Part::Table(name) = part else { return Vec::new() };
        let mine = |id: &&Arc<str>| {
            let route = self.spec.routes.iter().find(|route| *route.id == ***id);
            route.is_some_and(|route| *route.table == **name)
        };
        self.lanes[main].routes.iter().filter(mine).cloned().collect()
    }

    /// Why a row of this table is opened.
    pub(super) fn why_it_opens(&self, main: usize, part: &Part) -> Option<String> {
        let unfit = self.routes_into(main, part).iter().find_map(|id| self.unfit.get(&**id).cloned());
        let Part::Table(name) = part else { return unfit };
        unfit.or_else(|| self.lanes[main].to_hold.get(&**name).cloned())
    }

    /// Where main's routes begin once these rows are opened.
    pub(super) fn starts_without(&self, main: usize, opens: &[Opened]) -> Starts {
        let mut starts = self.lanes[main].starts.clone();
        let opened = |route: &Arc<RouteSpec>| {
            opens.iter().any(|opened| matches!(&opened.part, Part::Table(name) if **name == *route.table))
        };
        self.spec.routes.iter().filter(|route| opened(route)).for_each(|route| starts.leave(&route.id));
        starts
    }

    /// Why a side row does not go on, where it does not.
    pub(super) fn why_it_waits(&self, at: usize) -> Option<String> {
        let row = &self.lanes[at];
        let unfit: Vec<&str> = row.routes.iter().filter_map(|id| self.unfit.get(&**id)).map(String::as_str).collect();
        if !unfit.is_empty() {
            return Some(unfit.join("; "));
        }
        let blocked = || {
            row.beside
                .blocked_at
                .and_then(|id| self.still_to_come(at, id))
                .map(|others| format!("a row refers to one that is not there and may yet come: it waits for {others}"))
        };
        row.beside.waits.clone().or_else(blocked)
    }

    /// Which other side rows may still bring what a row of this entry refers to, if any may: those that have not passed it,
    /// but for one that is blocked there itself. A replay brings nothing new.
    pub(super) fn still_to_come(&self, at: usize, entry: StreamId) -> Option<String> {
        let mine = &self.lanes[at];
        let place = Position { generation: mine.generation.clone(), id: entry };
        let may_bring = |other: usize| {
            let row = &self.lanes[other];
            if row.is_main() || row.part.is_replay() || other == at || row.routes.is_empty() {
                return false;
            }
            if row.main != mine.main {
                // Of another stream: there is no order between them.
                return row.beside.blocked_at.is_none();
            }
            let here = row.generation == mine.generation && row.beside.blocked_at.is_some_and(|id| id >= entry);
            lies_before(&row.order, &row.position(), &place) && !here
        };
        let others: Vec<String> = (0..self.lanes.len())
            .filter(|other| may_bring(*other))
            .map(|other| format!("`{}`", self.lanes[other].part))
            .collect();
        (!others.is_empty()).then(|| others.join(", "))
    }

    /// Whether any table has a side row that waits.
    #[must_use]
    pub fn waits_beside(&self) -> bool {
        self.lanes.iter().any(|row| !row.is_main()) && (0..self.lanes.len()).any(|at| self.is_held(at))
    }

    fn is_held(&self, at: usize) -> bool {
        !self.lanes[at].is_main() && !self.lanes[at].routes.is_empty() && self.why_it_waits(at).is_some()
    }

    /// Looks at the catalogue anew, for the sake of side rows that wait.
    ///
    /// # Errors
    /// The database or the log is away.
    pub async fn look_again(&mut self) -> Result<(), Trouble> {
        self.settle().await?;
        self.lanes.iter_mut().for_each(|row| row.beside.waits = None);
        self.read_tables().await
    }

    /// The row that a side row must not pass: main, or for a bounded replay whichever row its route has come by.
    fn leader(&self, at: usize) -> usize {
        let row = &self.lanes[at];
        let again = match (&row.part, &row.beside.replay) {
            (Part::Replay { instead: None, .. }, Some(Command::Replay { route, .. })) => route,
            _ => return row.main,
        };
        let route = self.spec.routes.iter().find(|route| route.id == *again);
        route.map_or(row.main, |route| self.carrier(row.main, route, None))
    }

    /// Up to where a side row may read; nothing, where the row that it follows is in an older generation still.
    pub(super) fn bound(&self, at: usize) -> Option<StreamId> {
        let row = &self.lanes[at];
        let leader = &self.lanes[self.leader(at)];
        let meets = (row.generation == leader.generation).then_some(leader.last_id);
        let waits = meets.is_none() && lies_before(&row.order, &leader.position(), &row.position());
        let ends = match &row.beside.replay {
            Some(Command::Replay { to: Some(to), .. }) if to.generation == row.generation => Some(to.id),
            _ => None,
        };
        [row.until, meets, ends].into_iter().flatten().min().filter(|_| !waits)
    }

    /// Whether a side row has something to read and may.
    pub(super) fn may_go_on(&self, at: usize) -> bool {
        let row = &self.lanes[at];
        !row.is_main()
            && !row.routes.is_empty()
            && self.bound(at).is_some_and(|bound| bound > row.last_id)
            && self.why_it_waits(at).is_none()
    }

    fn going_on(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.lanes.len()).filter(|at| self.may_go_on(*at))
    }

    /// Whether a side row is on its way to main: then nothing waits for new entries.
    #[must_use]
    pub fn catches_up(&self) -> bool {
        self.going_on().next().is_some()
    }

    /// What to read next; `in_hand` is written meanwhile. While side rows go on, they and main take turns and nothing is read
    /// ahead: so a side row that is one batch behind meets a main that stands still.
    pub fn reads(&mut self, in_hand: Option<&Batch>) -> Option<Vec<ReadFrom>> {
        let sides: Vec<usize> = self.going_on().collect();
        if !sides.is_empty() && in_hand.is_some() {
            return None;
        }
        self.sides_next = !sides.is_empty() && !self.sides_next;
        let rows = if self.sides_next {
            sides
        } else {
            (0..self.lanes.len()).filter(|at| self.lanes[*at].is_main()).collect()
        };
        let from = |at: usize| {
            let state = &self.lanes[at];
            ReadFrom {
                lane: state.lane.clone(),
                after: in_hand.filter(|batch| batch.lane == state.lane).map_or(state.last_id, Batch::last),
                newest: state.newest.clone(),
                version: self.version,
                until: if state.is_main() { state.until } else { self.bound(at) },
            }
        };
        Some(rows.into_iter().map(from).collect())
    }

    /// What was asked for has nothing left: an older generation ends, and a side row passes what is not there.
    ///
    /// # Errors
    /// What has to happen first; at a generation's end a take-over.
    pub async fn nothing_more(&mut self, asked: &[ReadFrom]) -> Result<(), Trouble> {
        for from in asked {
            let found = self.lanes.iter().position(|row| row.lane == from.lane && row.last_id == from.after);
            let (Some(at), Some(until)) = (found, from.until) else { continue };
            if self.lanes[at].is_main() {
                return self.finish_generation(at).await;
            }
            self.pass_beside(at, until).await?;
            if let Some(at) = self.ended() {
                return self.finish_generation(at).await;
            }
        }
        Ok(())
    }

    /// A row that has come to the end of an older generation, if there is one.
    #[must_use]
    pub fn ended(&self) -> Option<usize> {
        self.lanes.iter().position(|row| row.until.is_some_and(|until| row.last_id >= until))
    }

    /// A side row that has done what it was opened for, if there is one.
    fn met(&self) -> Option<usize> {
        (0..self.lanes.len()).find(|&at| {
            let row = &self.lanes[at];
            if row.is_main() || row.routes.is_empty() || self.why_it_waits(at).is_some() {
                return false;
            }
            let ends = match (&row.part, &row.beside.replay) {
                (Part::Replay { instead: None, .. }, Some(Command::Replay { to: Some(to), .. })) => Some(to),
                _ => None,
            };
            match ends {
                Some(to) => !lies_before(&row.order, &row.position(), to),
                None => row.position() == self.lanes[row.main].position() && self.may_close(at),
            }
        })
    }

    /// Whether main is the one that takes over what this row carries: another side row stands elsewhere.
    fn may_close(&self, at: usize) -> bool {
        let row = &self.lanes[at];
        let mine = self.spec.routes.iter().filter(|route| row.routes.iter().any(|id| **id == *route.id));
        mine.into_iter().all(|route| self.carrier(row.main, route, Some(at)) == row.main)
    }

    /// Deletes the side rows that have met their main row, which takes their routes again.
    ///
    /// # Errors
    /// What has to happen first.
    pub async fn close_met(&mut self) -> Result<(), Trouble> {
        if let Some(at) = self.met() {
            self.settle().await?;
            // Off the list before its row goes: a crash in between neither loses it nor carries it out twice.
            if let Some(command) = self.lanes[at].beside.replay.clone() {
                let lane = self.lanes[at].lane.main();
                log(self.limits.log, &self.progress, self.log.finish(&lane, &command)).await?;
            }
            self.close_row(at).await?;
            // Main's row stands where it stood. A backup from before this would pass for the present with it, were it not for
            // another token.
            return Err(self.anew("a side row is closed"));
        }
        Ok(())
    }

    /// What side rows there are has changed without a move of main's row: only another token tells a database of before
    /// from this one.
    pub(super) fn anew(&mut self, why: &str) -> Trouble {
        self.taken = false;
        Trouble::TakeOver(why.into())
    }

    /// Deletes side rows that nothing needs any more.
    pub(super) async fn sweep(&mut self, main: usize, rows: &[LaneId]) -> Result<(), Trouble> {
        for lane in rows {
            let found = self.rows_of(main).find(|at| self.lanes[*at].lane == *lane);
            if let Some(at) = found {
                self.close_row(at).await?;
            }
        }
        Ok(())
    }

    async fn close_row(&mut self, at: usize) -> Result<(), Trouble> {
        self.hold_lease().await?;
        failpoint::reach(failpoint::BEFORE_SIDE_CLOSE);
        let row = &self.lanes[at];
        let main = row.main;
        let open = match &row.part {
            Part::Route(id) if !row.routes.is_empty() => vec![SideRow {
                lane: side_of(&row.lane, &Part::Done(Arc::clone(id))),
                generation: self.lanes[main].generation.clone(),
                last_id: self.lanes[main].last_id,
            }],
            _ => Vec::new(),
        };
        let transaction = Transaction {
            lock: Some(self.fence(main, self.lanes[main].last_id)),
            close: vec![row.lane.clone()],
            open,
            ..Transaction::of(self.fence(at, row.last_id))
        };
        self.commit_still(&transaction, "the end of a side row").await?;
        failpoint::reach(failpoint::AFTER_SIDE_CLOSE);
        let row = self.lanes.remove(at);
        tracing::info!(destination = %self.spec.name, part = %row.part, at = %row.last_id, "a side row is closed");
        self.recarry(main);
        let advance = self.advance_of(main);
        self.unsent.push_back(advance);
        self.send_advance().await
    }

    /// A transaction that moves no watermark: whether it took place cannot be told from one, so where the answer is lost
    /// everything is read anew.
    pub(super) async fn commit_still(&mut self, transaction: &Transaction, what: &str) -> Result<(), Trouble> {
        let call = self.database.commit(transaction);
        match database(self.limits.write, &self.progress, what, call).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.taken = false;
                self.counts.fenced += u64::from(error == WriteError::Fenced);
                Err(error.into())
            }
        }
    }

    /// The fence of a row that moves to `new`, or stays.
    pub(super) fn fence(&self, at: usize, new: StreamId) -> Fence {
        let row = &self.lanes[at];
        Fence {
            lane: row.lane.clone(),
            generation: row.generation.clone(),
            owner: Arc::clone(&self.owner),
            previous: row.last_id,
            new,
        }
    }

    /// What the log is told of a lane as it stands.
    pub(super) fn advance_of(&self, main: usize) -> Advance {
        let state = &self.lanes[main];
        let side = |at: usize| {
            let row = &self.lanes[at];
            SidePosition {
                part: Arc::clone(&row.lane.part),
                routes: row.routes.clone(),
                at: row.position(),
                held: self.why_it_waits(at),
            }
        };
        let mine = |route: &&Arc<RouteSpec>| *route.application == *state.lane.stream;
        Advance {
            lane: state.lane.clone(),
            owner: Arc::clone(&self.owner),
            version: self.version,
            newest: state.newest.clone(),
            to: state.position(),
            sides: self.rows_of(main).map(side).collect(),
            history: None,
            part: Arc::clone(&state.lane.part),
            known: self.spec.routes.iter().filter(mine).map(|route| route.id.as_str().into()).collect(),
            void: Vec::new(),
        }
    }

    fn named<'a>(&'a self, row: &'a LaneState) -> impl Iterator<Item = &'a Arc<RouteSpec>> + 'a {
        self.spec.routes.iter().filter(|route| row.routes.iter().any(|id| **id == *route.id))
    }

    /// The tables that wait for somebody to put them right.
    #[must_use]
    pub fn held_tables(&self) -> Vec<HeldTable> {
        let held = (0..self.lanes.len()).filter(|at| self.is_held(*at));
        let table = |at: usize| {
            let row = &self.lanes[at];
            let age = std::time::Duration::from_millis(now_ms().saturating_sub(row.beside.since_ms));
            let first = || self.named(row).next().map(|route| route.table.clone()).unwrap_or_default();
            HeldTable {
                table: if let Part::Table(name) = &row.part { name.to_string() } else { first() },
                why: self.why_it_waits(at).unwrap_or_default(),
                since: rfc3339_ago(age),
                routes: self.named(row).map(|route| route.name.clone()).collect(),
            }
        };
        held.map(table).collect()
    }

    /// The routes that are on their way to where the others stand.
    #[must_use]
    pub fn catching_up(&self) -> Vec<CatchUp> {
        let mut list = Vec::new();
        for (at, row) in self.lanes.iter().enumerate() {
            let kind = match &row.part {
                Part::Route(_) => CatchUpKind::Backfill,
                Part::Replay { .. } => CatchUpKind::Replay,
                Part::Table(_) if self.why_it_waits(at).is_none() => CatchUpKind::Table,
                _ => continue,
            };
            let to = match &row.beside.replay {
                Some(Command::Replay { to: Some(to), .. }) => to.clone(),
                _ => self.lanes[row.main].position(),
            };
            list.extend(self.named(row).map(|route| CatchUp {
                route: route.name.clone(),
                kind,
                after: format!("{}-{}", row.generation, row.last_id),
                to: format!("{}-{}", to.generation, to.id),
            }));
        }
        list
    }
}

/// A lane's side row.
pub(super) fn side_of(lane: &LaneId, part: &Part) -> LaneId {
    LaneId { part: part.text(), ..lane.clone() }
}
