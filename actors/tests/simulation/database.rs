//! A destination's database as the rules see it: watermark rows, bind token, dead rows, and which records it holds.
//!
//! One call is one transaction, done whole or not at all, as the drivers' `bookkeeping.rs` do it. A clone is a backup.

use std::collections::BTreeMap;

use tidegate_actors::{
    message::{Generation, StreamId},
    ports::WriteError,
    transaction::{DeadId, DeadRow, Fence, TakenOver, WatermarkRow},
};

use crate::mistakes::Mistake;

/// A row of `tidegate_watermark`.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) epoch: u64,
    pub(crate) owner: String,
    pub(crate) last: StreamId,
}

/// Everything that is in the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    /// By stream and generation.
    pub(crate) rows: BTreeMap<(usize, Generation), Row>,
    pub(crate) bind: Option<String>,
    pub(crate) dead: BTreeMap<(usize, DeadId), DeadRow>,
    records: Vec<bool>,
    last_of_key: BTreeMap<(usize, usize, usize), usize>,
}

/// What a transaction of the core comes to here.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) stream: usize,
    pub(crate) fence: Fence,
    /// The take-over's number, which only a mistake looks at.
    pub(crate) epoch: u64,
    pub(crate) records: Vec<usize>,
}

impl Data {
    pub(crate) fn has(&self, record: usize) -> bool {
        self.records.get(record).copied().unwrap_or(false)
    }

    pub(crate) fn put(&mut self, record: usize, key: (usize, usize, usize)) {
        if self.records.len() <= record {
            self.records.resize(record + 1, false);
        }
        self.records[record] = true;
        self.last_of_key.insert(key, record);
    }

    pub(crate) fn last_of_key(&self, stream: usize, topic: usize, key: usize) -> Option<usize> {
        self.last_of_key.get(&(stream, topic, key)).copied()
    }

    /// Raises the epoch and sets the owner on all rows, where there is one to set, and reads them.
    pub(crate) fn take_over(&mut self, lanes: &[String], owner: Option<&str>) -> TakenOver {
        if let Some(owner) = owner {
            for row in self.rows.values_mut() {
                row.epoch += 1;
                row.owner = owner.into();
            }
        }
        let rows = self.rows.iter().map(|((stream, generation), row)| WatermarkRow {
            lane: lanes[*stream].clone(),
            generation: generation.clone(),
            epoch: row.epoch,
            owner: row.owner.clone(),
            last_id: row.last,
        });
        let dead = self.dead.iter().map(|((stream, _), row)| (lanes[*stream].clone(), row.clone()));
        TakenOver { rows: rows.collect(), dead: dead.collect(), bind: self.bind.clone().unwrap_or_default() }
    }

    /// Inserts a missing row where no other row has another owner.
    pub(crate) fn begin_lane(
        &mut self,
        (stream, generation): (usize, Generation),
        (owner, epoch): (&str, u64),
        last: StreamId,
        mistake: Mistake,
    ) -> Result<(), WriteError> {
        let by_number = mistake == Mistake::NoOwnerToken;
        let other = |row: &Row| if by_number { row.epoch != epoch } else { row.owner != owner };
        if self.rows.contains_key(&(stream, generation.clone())) || self.rows.values().any(other) {
            return Err(WriteError::Fenced);
        }
        let epoch = self.rows.values().map(|row| row.epoch).max().unwrap_or(1);
        self.rows.insert((stream, generation), Row { epoch, owner: owner.into(), last });
        Ok(())
    }

    /// The first statement of every transaction. Answers whether the transaction goes on.
    pub(crate) fn fence(&mut self, write: &Write, mistake: Mistake) -> bool {
        let Fence { generation, owner, previous, new, .. } = &write.fence;
        let key = (write.stream, generation.clone());
        let Some(row) = self.rows.get_mut(&key) else {
            if mistake == Mistake::RowMadeOutsideTakeOver {
                self.rows.insert(key, Row { epoch: write.epoch, owner: owner.to_string(), last: *new });
                return true;
            }
            return false;
        };
        let mine = match mistake {
            Mistake::NoOwnerToken => row.epoch == write.epoch,
            _ => row.owner == **owner,
        };
        let there = match mistake {
            Mistake::NoPrevious => true,
            Mistake::RestoreUnnoticed => row.last <= *previous,
            Mistake::LostReplyAsFailure => row.last == *previous || row.last == *new,
            _ => row.last == *previous,
        };
        if mine && there && mistake != Mistake::WatermarkOutside {
            row.last = *new;
        }
        mine && there
    }
}
