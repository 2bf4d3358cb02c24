//! Dead letters taken back: redrive and discard. The payload in Redis is all there is of one.

use std::time::Instant;

use super::{ParallelDelivery, Trouble};
use crate::{
    delivery::{commands::compose_one, database, log},
    ports::{Acknowledge, Command, DeadLetter, WriteError},
    transaction::{DeadId, LaneId},
};

impl ParallelDelivery {
    /// Carries out redrives and discards, where no other node is at it, for as long as half the time until they are looked for
    /// again. Twice is harmless. [`ParallelDelivery::commands_wait`] says whether some are left.
    ///
    /// # Errors
    /// What has to happen first; the command in hand stays on the list.
    pub async fn carry_out_commands(&mut self) -> Result<(), Trouble> {
        let began = Instant::now();
        // One look at the tables, which may have been mended, for all that is asked now.
        let mut tables_read = false;
        self.commands_wait = false;
        for at in 0..self.lanes.len() {
            let lane = self.lanes[at].lane.clone();
            let (limit, progress) = (self.limits.log, self.progress.clone());
            let mut waiting = log(limit, &progress, self.log.commands(&lane)).await?;
            let mine = std::slice::from_ref(&lane);
            if waiting.is_empty()
                || !log(limit, &progress, self.log.lease(mine, &self.token, self.limits.lease)).await?
            {
                continue;
            }
            while !waiting.is_empty() && !self.commands_wait {
                for command in waiting {
                    if began.elapsed() > self.limits.commands / 2 {
                        self.commands_wait = true;
                        break;
                    }
                    match &command {
                        Command::Redrive { dead, data, .. } => {
                            if !std::mem::replace(&mut tables_read, true) {
                                self.read_tables().await?;
                            }
                            self.redrive(&lane, dead, data.as_deref()).await?;
                        }
                        Command::Discard { dead, .. } => self.void(&lane, dead).await?,
                        // There is no position of its own that could have a gap, and what is given up is taken off the group
                        // at once.
                        Command::Resume { .. } | Command::Replay { .. } | Command::Abandon { .. } => {}
                    }
                    log(limit, &progress, self.log.finish(&lane, &command)).await?;
                }
                waiting = log(limit, &progress, self.log.commands(&lane)).await?;
            }
            log(limit, &progress, self.log.release(mine, &self.token)).await?;
        }
        Ok(())
    }

    /// Whether commands were left for the next time.
    #[must_use]
    pub fn commands_wait(&self) -> bool {
        self.commands_wait
    }

    async fn redrive(&mut self, lane: &LaneId, dead: &DeadId, data: Option<&str>) -> Result<(), Trouble> {
        let found = log(self.limits.log, &self.progress, self.log.dead(lane, dead)).await?;
        let Some(letter) = found else { return Ok(()) };
        let tried = DeadLetter { data: data.unwrap_or(&letter.data).to_owned(), ..letter.clone() };
        let reason = match compose_one(&lane.stream, self.plans.as_ref(), &tried) {
            Err(reason) => reason,
            Ok(statements) => {
                let call = self.database.write(&statements);
                match database(self.limits.write, &self.progress, "a redrive", call).await {
                    Ok(_) => return self.void(lane, dead).await,
                    Err(WriteError::Reject(reason)) => reason,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let attempts = letter.attempts + 1;
        let letter = match data {
            None => DeadLetter { attempts, redrive_error: Some(reason.message.clone()), reason, ..letter },
            // The letter stays what was sent; what became of the edit is beside it.
            Some(edited) => DeadLetter {
                attempts,
                redrive_error: Some(format!("as edited: {}", reason.message)),
                edited: Some(edited.to_owned()),
                ..letter
            },
        };
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
