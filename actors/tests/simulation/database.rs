//! A destination's database as the rules see it: watermark rows, bind token, dead rows, and which records it holds.
//!
//! One call is one transaction, done whole or not at all, as the drivers' `bookkeeping.rs` do it. A clone is a backup.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_actors::{
    lane::Part,
    message::{Generation, StreamId},
    ports::WriteError,
    transaction::{DeadId, DeadRow, Fence, SideRow, TakenOver, WatermarkRow},
};

use crate::mistakes::Mistake;

/// A row of `tidegate_watermark`.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) epoch: u64,
    pub(crate) owner: String,
    pub(crate) last: StreamId,
}

/// What tells rows of `tidegate_watermark` apart: stream, part, generation.
pub(crate) type Place = (usize, String, Generation);

/// What tells the rows of a route's table apart: stream, topic, key.
pub(crate) type Key = (usize, usize, usize);

/// Everything that is in the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) rows: BTreeMap<Place, Row>,
    pub(crate) bind: Option<String>,
    pub(crate) dead: BTreeMap<(usize, DeadId), DeadRow>,
    records: Vec<bool>,
    last_of_key: BTreeMap<Key, usize>,
    /// The record that was written last, be it again.
    value_of_key: BTreeMap<Key, usize>,
    /// Keys of which an operator had only a part sent again.
    muddled: BTreeSet<Key>,
}

/// What a transaction of the core comes to here.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) stream: usize,
    pub(crate) lock: Option<Fence>,
    pub(crate) fence: Fence,
    pub(crate) open: Vec<SideRow>,
    /// Parts.
    pub(crate) close: Vec<String>,
    /// The take-over's number, which only a mistake looks at.
    pub(crate) epoch: u64,
    pub(crate) records: Vec<usize>,
    pub(crate) tables: Vec<String>,
}

impl Data {
    pub(crate) fn has(&self, record: usize) -> bool {
        self.records.get(record).copied().unwrap_or(false)
    }

    /// A record that is there is written once more.
    pub(crate) fn put_again(&mut self, record: usize, key: Key, bounded: bool) {
        self.value_of_key.insert(key, record);
        if bounded {
            self.muddled.insert(key);
        }
    }

    /// A key of this route that does not have what came last, if there is one.
    pub(crate) fn out_of_date(&self, stream: usize, topic: usize) -> Option<Key> {
        let of = self.last_of_key.iter().filter(|((s, t, _), _)| (*s, *t) == (stream, topic));
        let mut wrong =
            of.filter(|(key, last)| self.value_of_key.get(key) != Some(last) && !self.muddled.contains(key));
        wrong.next().map(|(key, _)| *key)
    }

    /// Whether nothing stands beside the main rows.
    pub(crate) fn is_plain(&self) -> bool {
        self.rows.keys().all(|(_, part, _)| part == Part::MAIN || part.starts_with("done "))
    }

    /// Whether a side row stands below what was trimmed of its stream.
    pub(crate) fn side_below(&self, trimmed: impl Fn(usize) -> StreamId) -> bool {
        let beside = |part: &str| part != Part::MAIN && !part.starts_with("done ");
        self.rows.iter().any(|((stream, part, _), row)| beside(part) && row.last < trimmed(*stream))
    }

    /// A side row that stands beyond its main one, if there is one.
    pub(crate) fn beyond_main(&self) -> Option<String> {
        let mut beyond = self.rows.iter().filter(|((stream, part, generation), row)| {
            let main = self.rows.get(&(*stream, Part::MAIN.into(), generation.clone()));
            !part.starts_with("done ") && main.is_some_and(|main| row.last > main.last)
        });
        beyond.next().map(|((_, part, _), _)| part.clone())
    }

    pub(crate) fn put(&mut self, record: usize, key: Key) {
        if self.records.len() <= record {
            self.records.resize(record + 1, false);
        }
        self.records[record] = true;
        self.last_of_key.insert(key, record);
        self.value_of_key.insert(key, record);
    }

    pub(crate) fn last_of_key(&self, key: Key) -> Option<usize> {
        self.last_of_key.get(&key).copied()
    }

    /// Raises the epoch and sets the owner on all rows, where there is one to set, and reads them.
    pub(crate) fn take_over(&mut self, lanes: &[String], owner: Option<&str>) -> TakenOver {
        if let Some(owner) = owner {
            for row in self.rows.values_mut() {
                row.epoch += 1;
                row.owner = owner.into();
            }
        }
        let rows = self.rows.iter().map(|((stream, part, generation), row)| WatermarkRow {
            lane: format!("{}{part}", lanes[*stream].trim_end_matches(Part::MAIN)),
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
        place: Place,
        owner: &str,
        last: StreamId,
        mistake: Mistake,
    ) -> Result<(), WriteError> {
        let other = |row: &Row| mistake != Mistake::NoOwner && row.owner != owner;
        if self.rows.contains_key(&place) || self.rows.values().any(other) {
            return Err(WriteError::Fenced);
        }
        let epoch = self.rows.values().map(|row| row.epoch).max().unwrap_or(1);
        if mistake != Mistake::DoneForgotten || !place.1.starts_with("done ") {
            self.rows.insert(place, Row { epoch, owner: owner.into(), last });
        }
        Ok(())
    }

    /// The first statements of every transaction. Answers whether the transaction goes on.
    pub(crate) fn fence(&mut self, write: &Write, mistake: Mistake) -> bool {
        let Fence { lane, generation, owner, new, .. } = &write.fence;
        let place = |lane: &tidegate_actors::transaction::LaneId, generation: &Generation| {
            (write.stream, lane.part.to_string(), generation.clone())
        };
        let key = place(lane, generation);
        if mistake == Mistake::RowMadeOutsideTakeOver && !self.rows.contains_key(&key) {
            self.rows.insert(key, Row { epoch: write.epoch, owner: owner.to_string(), last: *new });
            return true;
        }
        let stands = |fence: &Fence| {
            let Some(row) = self.rows.get(&place(&fence.lane, &fence.generation)) else { return false };
            let mine = match mistake {
                Mistake::NoOwner => true,
                _ => row.owner == *fence.owner,
            };
            let there = match mistake {
                Mistake::NoPrevious => true,
                // The new row of a generation, fenced by the owner alone: two defences against one moment.
                Mistake::ClaimBeforeFence => fence.previous == fence.new || row.last == fence.previous,
                Mistake::RestoreUnnoticed => row.last <= fence.previous,
                Mistake::LostReplyAsFailure => row.last == fence.previous || row.last == fence.new,
                _ => row.last == fence.previous,
            };
            mine && there
        };
        let locked = mistake == Mistake::SideUnlocked || write.lock.iter().all(stands);
        let opened = |row: &SideRow| self.rows.contains_key(&place(&row.lane, &row.generation));
        if !locked || !stands(&write.fence) || write.open.iter().any(opened) {
            return false;
        }
        if mistake != Mistake::WatermarkOutside
            && let Some(row) = self.rows.get_mut(&key)
        {
            row.last = *new;
        }
        let (epoch, owner) = (write.epoch, owner.to_string());
        for row in &write.open {
            if mistake != Mistake::DoneForgotten || !row.lane.part.starts_with("done ") {
                self.rows
                    .insert(place(&row.lane, &row.generation), Row { epoch, owner: owner.clone(), last: row.last_id });
            }
        }
        self.rows.retain(|(stream, part, _), _| *stream != write.stream || !write.close.contains(part));
        true
    }
}
