//! Dead letters taken back between batches: redrive and discard (delivery rule 10).

use std::sync::Arc;

use super::{Delivery, LaneState, Trouble, database, decisions::LOST, log};
use crate::{
    compose::{Piece, Plans, Starts, compose},
    message::{Action, Message, StreamId},
    ports::{Advance, Command, DeadLetter, LogError, Rejection, WriteError},
    transaction::{DeadId, Transaction},
};

impl Delivery {
    /// Carries out what operators have asked for since the last time.
    ///
    /// # Errors
    /// What has to happen first; the command in hand stays on the list.
    pub async fn carry_out_commands(&mut self) -> Result<(), Trouble> {
        self.settle().await?;
        let mains = self.lanes.iter().take_while(|row| row.is_main()).count();
        for lane in 0..mains {
            let name = self.lanes[lane].lane.clone();
            let waiting = log(self.limits.log, &self.progress, self.log.commands(&name)).await?;
            for command in waiting {
                match &command {
                    Command::Redrive { dead, force, .. } => self.redrive(lane, dead, *force).await?,
                    Command::Discard { dead, .. } => self.exhume(lane, dead, Vec::new()).await.map(|_| ())?,
                    Command::Replay { .. } => {
                        if !self.replay(lane, &command).await? {
                            continue;
                        }
                    }
                    // Applied already (the last step's answer was lost), or nothing waits for it.
                    Command::Resume { .. } => {}
                }
                log(self.limits.log, &self.progress, self.log.finish(&name, &command)).await?;
            }
        }
        Ok(())
    }

    async fn redrive(&mut self, lane: usize, dead: &DeadId, force: bool) -> Result<(), Trouble> {
        let name = self.lanes[lane].lane.clone();
        let found = log(self.limits.log, &self.progress, self.log.dead(&name, dead)).await?;
        let Some(letter) = found else { return Ok(()) };
        // The row is the truth: the payload may not have heard of it.
        let by = letter.superseded_by.or_else(|| self.lanes[lane].superseded.get(dead).copied());
        if let (Some(by), false) = (by, force) {
            let letter = DeadLetter { superseded_by: Some(by), ..letter };
            let why = format!("a later record of this key ({by}) was written; use --force to write this one over it");
            return self.redrive_failed(lane, letter, None, why).await;
        }
        if letter.reason.code == LOST {
            let why = letter.reason.message.clone();
            return self.redrive_failed(lane, letter, None, why).await;
        }
        // The table may have been mended since the record was refused.
        self.read_tables().await?;
        if let Some(why) = self.unfit.get(&*dead.route).cloned() {
            return self.redrive_failed(lane, letter, None, why).await;
        }
        let composed = match compose_one(&self.lanes[lane].lane.stream, self.plans.as_ref(), &letter) {
            Ok(statements) => statements,
            Err(reason) => {
                let why = reason.message.clone();
                return self.redrive_failed(lane, letter, Some(reason), why).await;
            }
        };
        match self.exhume(lane, dead, composed).await {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => {
                let why = reason.message.clone();
                self.redrive_failed(lane, letter, Some(reason), why).await
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Takes a dead row back and writes these statements, all or nothing. `Some`: the database refused them.
    async fn exhume(
        &mut self,
        lane: usize,
        dead: &DeadId,
        statements: Vec<crate::transaction::Statement>,
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
    ) -> Result<(), Trouble> {
        letter.attempts += 1;
        letter.redrive_error = Some(why);
        if let Some(reason) = reason {
            letter.reason = reason;
        }
        let name = self.lanes[lane].lane.clone();
        Ok(log(self.limits.log, &self.progress, self.log.keep_dead(&name, &[letter])).await?)
    }
}

impl LaneState {
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

/// What a redrive of this dead letter writes, by the route as it is now.
pub(super) fn compose_one(
    application: &str,
    plans: Option<&Plans>,
    letter: &DeadLetter,
) -> Result<Vec<crate::transaction::Statement>, Rejection> {
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
    let table = &plans.get(plan).mapping.plan;
    Ok(composed.statements.into_iter().filter(|statement| Arc::ptr_eq(&statement.plan, table)).collect())
}
