//! Dead letters taken back between batches: redrive and discard (delivery rule 10).

use std::{sync::Arc, time::Instant};

use super::{Delivery, LaneState, Trouble, database, decisions::LOST, log};
use crate::{
    compose::{Piece, Plans, Starts, block, compose},
    mapping::Mapping,
    message::{Action, Message, StreamId},
    ports::{Advance, Command, DeadLetter, LogError, Rejection, WriteError},
    route::OnDead,
    transaction::{DeadId, Statement, TablePlan, Transaction},
};

impl Delivery {
    /// Carries out what operators have asked for since the last time, for as long as half the time until it is looked for
    /// again: a long list is not to keep the log waiting. [`Delivery::commands_wait`] says whether some are left.
    ///
    /// # Errors
    /// What has to happen first; the command in hand stays on the list.
    pub async fn carry_out_commands(&mut self) -> Result<(), Trouble> {
        self.settle().await?;
        let began = Instant::now();
        // The tables may have been mended since records were refused: one look at them for all that is asked now.
        let mut tables_read = false;
        self.commands_wait = false;
        let mains = self.lanes.iter().take_while(|row| row.is_main()).count();
        for lane in 0..mains {
            let name = self.lanes[lane].lane.clone();
            loop {
                let waiting = log(self.limits.log, &self.progress, self.log.commands(&name)).await?;
                if self.is_stopped(lane, &waiting) {
                    return Err(self.anew("a replay is stopped"));
                }
                // A replay stays on the list until it has ended.
                let mut finished = false;
                for command in waiting {
                    if began.elapsed() > self.limits.commands / 2 {
                        self.commands_wait = true;
                        return Ok(());
                    }
                    let over = match &command {
                        Command::Redrive { dead, force, data } => {
                            if !std::mem::replace(&mut tables_read, true) {
                                self.read_tables().await?;
                            }
                            self.redrive(lane, dead, *force, data.as_deref()).await.map(|()| true)?
                        }
                        Command::Discard { dead, reason } => {
                            self.discard(lane, dead, reason.as_deref()).await.map(|()| true)?
                        }
                        Command::Replay { .. } => self.replay(lane, &command).await?,
                        Command::Abandon { .. } => self.abandon(lane, &command).await?,
                        // Applied already (the last step's answer was lost), or nothing waits for it.
                        Command::Resume { .. } => true,
                    };
                    if over {
                        log(self.limits.log, &self.progress, self.log.finish(&name, &command)).await?;
                        finished = true;
                    }
                }
                if !finished {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether commands were left for the next time.
    #[must_use]
    pub fn commands_wait(&self) -> bool {
        self.commands_wait
    }

    /// Gives a dead letter up for good. Those that wait behind it stay, and the next of them is the first of its key now:
    /// whether it may be written without the one that is given up is for an operator to say.
    async fn discard(&mut self, lane: usize, dead: &DeadId, reason: Option<&str>) -> Result<(), Trouble> {
        self.exhume(lane, dead, Vec::new()).await?;
        tracing::warn!(
            destination = %self.spec.name, route = %dead.route, id = %dead.id, generation = %dead.generation,
            reason = reason.unwrap_or("none given"), "dead letter discarded"
        );
        Ok(())
    }

    /// Writes a dead letter, and then, where its route is `on_dead = "block"`, those of its key that wait behind it, in their
    /// order, up to the first that fails.
    async fn redrive(&mut self, lane: usize, dead: &DeadId, force: bool, data: Option<&str>) -> Result<(), Trouble> {
        let blocks = self.spec.routes.iter().any(|route| *route.id == *dead.route && route.on_dead == OnDead::Block);
        let (first, behind) = if blocks { self.lanes[lane].around(dead) } else { (None, Vec::new()) };
        if !self.redrive_one(lane, dead, force, data, first).await? {
            return Ok(());
        }
        for next in behind {
            if !self.redrive_one(lane, &next, false, None, None).await? {
                break;
            }
        }
        Ok(())
    }

    /// Writes one dead letter; false where that was refused. `first`: the one of its key that it waits behind.
    async fn redrive_one(
        &mut self,
        lane: usize,
        dead: &DeadId,
        force: bool,
        data: Option<&str>,
        first: Option<DeadId>,
    ) -> Result<bool, Trouble> {
        let name = self.lanes[lane].lane.clone();
        let found = log(self.limits.log, &self.progress, self.log.dead(&name, dead)).await?;
        let Some(mut letter) = found else { return Ok(false) };
        // The row is the truth: the payload may not have heard of it.
        let by = letter.superseded_by.or_else(|| self.lanes[lane].superseded.get(dead).copied());
        if let (Some(by), false) = (by, force) {
            let letter = DeadLetter { superseded_by: Some(by), ..letter };
            let why = format!("a later record of this key ({by}) was written; use --force to write this one over it");
            return self.redrive_failed(lane, letter, None, why).await;
        }
        if let (Some(first), false) = (first, force) {
            let reason = block::reason(&first);
            let why = reason.message.clone();
            let waits = letter.blocked_by.is_some();
            letter.blocked_by = waits.then_some(first);
            return self.redrive_failed(lane, letter, waits.then_some(reason), why).await;
        }
        if letter.reason.code == LOST && data.is_none() {
            let why = letter.reason.message.clone();
            return self.redrive_failed(lane, letter, None, why).await;
        }
        if let Some(why) = self.unfit.get(&*dead.route).cloned() {
            return self.redrive_failed(lane, letter, None, why).await;
        }
        let original = data.map(|edited| std::mem::replace(&mut letter.data, edited.to_owned()));
        let composed = compose_one(&self.lanes[lane].lane.stream, self.plans.as_deref(), &letter);
        let outcome = match composed {
            Ok(statements) => self.exhume(lane, dead, statements).await?,
            Err(reason) => Some(reason),
        };
        let Some(reason) = outcome else { return Ok(true) };
        let mut why = reason.message.clone();
        letter.blocked_by = None;
        if let Some(original) = original {
            // The letter stays what was sent; what became of the edit is beside it.
            letter.edited = Some(std::mem::replace(&mut letter.data, original));
            why = format!("as edited: {why}");
        }
        self.redrive_failed(lane, letter, data.is_none().then_some(reason), why).await
    }

    /// Takes a dead row back and writes these statements, all or nothing. `Some`: the database refused them.
    async fn exhume(
        &mut self,
        lane: usize,
        dead: &DeadId,
        statements: Vec<Statement>,
    ) -> Result<Option<Rejection>, Trouble> {
        if !self.lease.holds() {
            return Err(Trouble::StandBy);
        }
        let written = !statements.is_empty();
        let fence = self.fence(lane, self.lanes[lane].last_id);
        let transaction = Transaction { statements, exhume: Some(dead.clone()), ..Transaction::of(fence) };
        let call = self.database.commit(&transaction);
        // A lost answer needs no watermark here: the command stays on the list, and a dead row that is gone by then means
        // that it was done.
        match database(self.limits.write, &self.progress, "a redrive", call).await {
            Ok(_) => {}
            Err(WriteError::Reject(reason)) => return Ok(Some(reason)),
            Err(error) => return Err(error.into()),
        }
        let older = self.lanes[lane].exhumed(dead, written);
        self.mark_superseded(lane, older).await?;
        let advance = Advance { void: vec![dead.clone()], ..self.advance_of(lane) };
        match log(self.limits.log, &self.progress, self.log.advance(&advance)).await {
            Ok(()) | Err(LogError::NoSuchEntry(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn redrive_failed(
        &mut self,
        lane: usize,
        mut letter: DeadLetter,
        reason: Option<Rejection>,
        why: String,
    ) -> Result<bool, Trouble> {
        letter.attempts += 1;
        letter.redrive_error = Some(why);
        if let Some(reason) = reason {
            letter.reason = reason;
        }
        let name = self.lanes[lane].lane.clone();
        log(self.limits.log, &self.progress, self.log.keep_dead(&name, &[letter])).await?;
        Ok(false)
    }
}

impl LaneState {
    /// Of the dead letters of this one's key that stand: the first, where it comes before this one, and all that come after it.
    fn around(&self, dead: &DeadId) -> (Option<DeadId>, Vec<DeadId>) {
        let mut of_key = self.dead.values().filter_map(|standing| {
            let place = standing.iter().position(|other| other == dead)?;
            Some((standing[..place].first().cloned(), standing[place + 1..].to_vec()))
        });
        of_key.next().unwrap_or_default()
    }

    /// A dead letter was taken back. Where it was written, those of its key that are older than it are obsolete now: they are
    /// the answer.
    fn exhumed(&mut self, dead: &DeadId, written: bool) -> Vec<(DeadId, StreamId)> {
        self.superseded.remove(dead);
        let mut obsolete = Vec::new();
        for standing in self.dead.values_mut().filter(|standing| standing.contains(dead)) {
            standing.retain(|other| {
                let older = written && other.generation == dead.generation && other.id < dead.id;
                obsolete.extend(older.then(|| (other.clone(), dead.id)));
                other != dead && !older
            });
        }
        self.dead.retain(|_, standing| !standing.is_empty());
        self.superseded.extend(obsolete.iter().cloned());
        obsolete
    }
}

/// Of these statements those that one route writes, its children's among them.
fn of_route(statements: Vec<Statement>, mapping: &Mapping) -> Vec<Statement> {
    let own = |plan: &Arc<TablePlan>| {
        std::iter::once(&mapping.plan).chain(&mapping.children).any(|own| Arc::ptr_eq(own, plan))
    };
    let kept: Vec<usize> = (0..statements.len()).filter(|&at| own(&statements[at].plan)).collect();
    let mut statements: Vec<_> = statements.into_iter().filter(|statement| own(&statement.plan)).collect();
    for statement in &mut statements {
        for (parent, _) in &mut statement.parents {
            *parent = kept.iter().position(|at| at == parent).unwrap_or(*parent);
        }
    }
    statements
}

/// What a redrive of this dead letter writes, by the route as it is now.
pub(super) fn compose_one(
    application: &str,
    plans: Option<&Plans>,
    letter: &DeadLetter,
) -> Result<Vec<Statement>, Rejection> {
    let gone = |message: &str| Rejection {
        statement: None,
        row: None,
        code: "other".into(),
        column: None,
        message: message.into(),
    };
    let plans = plans.ok_or_else(|| gone("the destination's tables are not known yet"))?;
    let plan = plans
        .of_route(&letter.dead.route)
        .ok_or_else(|| gone("the route of this dead letter no longer exists; discard it"))?;
    let message = Message {
        id: letter.dead.id,
        topic: letter.topic.as_str().into(),
        action: Action::parse(&letter.action).ok_or_else(|| gone("its action is unknown"))?,
        key: letter.key.as_deref().map(Into::into),
        own_id: None,
        traceparent: None,
        data: letter.data.as_str().into(),
    };
    let piece = Piece {
        application,
        generation: &letter.dead.generation,
        messages: &[&message],
        starts: &Starts::default(),
        refused: &std::collections::BTreeMap::new(),
        dead: &crate::compose::DeadKeys::new(),
        fold: false,
    };
    let composed = compose(&piece, plans);
    if !composed.plans.contains(&plan) {
        let why = format!(
            "the route does not take topic `{}` of this application any more; let it take the topic again, or discard this",
            letter.topic
        );
        return Err(gone(&why));
    }
    if let Some(refused) = composed.refused.into_iter().find(|refused| refused.plan == plan) {
        return Err(refused.reason);
    }
    Ok(of_route(composed.statements, &plans.get(plan).mapping))
}
