//! Dead letters taken back: redrive and discard. The payload in Redis is all there is of one.

use super::{ParallelDelivery, Trouble};
use crate::{
    delivery::{commands::compose_one, database, log},
    ports::{Acknowledge, Command, DeadLetter, Rejection, WriteError},
    transaction::{DeadId, LaneId},
};

impl ParallelDelivery {
    /// Carries out redrives and discards, where no other node is at it. Twice is harmless.
    ///
    /// # Errors
    /// What has to happen first; the command in hand stays on the list.
    pub async fn carry_out_commands(&mut self) -> Result<(), Trouble> {
        for at in 0..self.lanes.len() {
            let lane = self.lanes[at].lane.clone();
            let (limit, progress) = (self.limits.log, self.progress.clone());
            let waiting = log(limit, &progress, self.log.commands(&lane)).await?;
            let mine = std::slice::from_ref(&lane);
            if waiting.is_empty()
                || !log(limit, &progress, self.log.lease(mine, &self.token, self.limits.lease)).await?
            {
                continue;
            }
            for command in waiting {
                match &command {
                    Command::Redrive { dead, .. } => self.redrive(&lane, dead).await?,
                    Command::Discard { dead, .. } => self.void(&lane, dead).await?,
                    // There is no position of its own that could have a gap.
                    Command::Resume { .. } | Command::Replay { .. } => {}
                }
                log(limit, &progress, self.log.finish(&lane, &command)).await?;
            }
            log(limit, &progress, self.log.release(mine, &self.token)).await?;
        }
        Ok(())
    }

    async fn redrive(&mut self, lane: &LaneId, dead: &DeadId) -> Result<(), Trouble> {
        let found = log(self.limits.log, &self.progress, self.log.dead(lane, dead)).await?;
        let Some(letter) = found else { return Ok(()) };
        // The table may have been mended since the record was refused.
        self.read_tables().await?;
        let statements = match compose_one(&lane.stream, self.plans.as_ref(), &letter) {
            Ok(statements) => statements,
            Err(reason) => return self.redrive_failed(lane, letter, reason).await,
        };
        let call = self.database.write(&statements);
        match database(self.limits.write, &self.progress, "a redrive", call).await {
            Ok(_) => self.void(lane, dead).await,
            Err(WriteError::Reject(reason)) => self.redrive_failed(lane, letter, reason).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn redrive_failed(&mut self, lane: &LaneId, letter: DeadLetter, reason: Rejection) -> Result<(), Trouble> {
        let why = Some(reason.message.clone());
        let letter = DeadLetter { attempts: letter.attempts + 1, redrive_error: why, reason, ..letter };
        Ok(log(self.limits.log, &self.progress, self.log.keep_dead(lane, &[letter])).await?)
    }

    /// Removes a dead letter's payload.
    async fn void(&mut self, lane: &LaneId, dead: &DeadId) -> Result<(), Trouble> {
        let done = Acknowledge {
            generation: dead.generation.clone(),
            version: self.version,
            ids: Vec::new(),
            routes: Vec::new(),
            standing: Vec::new(),
            void: vec![dead.clone()],
        };
        Ok(log(self.limits.log, &self.progress, self.group.acknowledge(lane, &done)).await?)
    }
}
