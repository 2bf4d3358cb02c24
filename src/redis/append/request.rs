//! The parts of a request that need no Redis: records with the same own id within it, digests, and ids as the script
//! writes them.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use tidegate_actors::{
    message::{MessageId, StreamId},
    ports::{AppendError, AppendRequest, NewRecord},
};

/// A request's records without those that are there twice under one own id.
pub(super) struct Unique {
    /// Places of the records to add, in order.
    pub(super) first: Vec<usize>,
    /// Digest of the contents of each of them; empty where it has no own id.
    pub(super) digests: Vec<String>,
    /// For every record of the request, its place in `first`.
    of: Vec<usize>,
}

impl Unique {
    pub(super) fn of(request: &AppendRequest) -> Result<Self, AppendError> {
        let mut unique = Self { first: Vec::new(), digests: Vec::new(), of: Vec::new() };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (index, record) in request.records.iter().enumerate() {
            let digest = record.own_id.as_ref().map(|_| contents(record)).unwrap_or_default();
            if let Some(id) = record.own_id.as_deref() {
                if let Some(&place) = seen.get(id) {
                    if unique.digests[place] != digest {
                        return Err(AppendError::IdReused { index });
                    }
                    unique.of.push(place);
                    continue;
                }
                seen.insert(id, unique.first.len());
            }
            unique.of.push(unique.first.len());
            unique.first.push(index);
            unique.digests.push(digest);
        }
        Ok(unique)
    }

    /// The ids of all records from those of the ones that were added.
    pub(super) fn spread(&self, ids: &[MessageId]) -> Option<Vec<MessageId>> {
        self.of.iter().map(|&place| ids.get(place).cloned()).collect()
    }
}

/// What makes two records with one own id the same: all but the trace context, which differs from attempt to attempt.
fn contents(record: &NewRecord) -> String {
    let mut hasher = Sha256::new();
    for part in [&record.topic, record.action.as_str(), record.key.as_deref().unwrap_or_default(), &record.data] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize()[..16])
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads `generation-ms-seq,generation-ms-seqxN,…`, where `xN` stands for N ids in a row.
pub(super) fn expand(runs: &str) -> Option<Vec<MessageId>> {
    let mut ids = Vec::new();
    for run in runs.split(',') {
        let last_dash = run.rfind('-')?;
        let (first, length) = match run[last_dash..].split_once('x') {
            Some((seq, length)) => (&run[..last_dash + seq.len()], length.parse::<u64>().ok()?),
            None => (run, 1),
        };
        let first: MessageId = first.parse().ok()?;
        for step in 0..length {
            let mut id = first.clone();
            id.0.id = StreamId::new(first.0.id.ms, first.0.id.seq.checked_add(step)?);
            ids.push(id);
        }
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use tidegate_actors::message::Action;

    fn record(own_id: Option<&str>, data: &str) -> NewRecord {
        NewRecord {
            topic: "cars".into(),
            action: Action::Insert,
            key: None,
            own_id: own_id.map(Into::into),
            traceparent: None,
            data: data.into(),
        }
    }

    fn request(records: Vec<NewRecord>) -> AppendRequest {
        AppendRequest { application: "car-app".into(), records, idempotency: None }
    }

    #[test]
    fn runs_are_ids_in_a_row() {
        let texts = |runs| expand(runs).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts("abc-5-0x3,abx-6-2"), ["abc-5-0", "abc-5-1", "abc-5-2", "abx-6-2"]);
        assert!(expand("").is_none());
    }

    #[test]
    fn a_record_that_is_there_twice_is_added_once() {
        let unique =
            Unique::of(&request(vec![record(Some("a"), "1"), record(None, "1"), record(Some("a"), "1")])).ok().unwrap();
        assert_eq!((unique.first, unique.of), (vec![0, 1], vec![0, 1, 0]));
    }

    #[test]
    fn one_own_id_for_two_records_names_the_second() {
        let refused = Unique::of(&request(vec![record(Some("a"), "1"), record(Some("a"), "2")]));
        assert_eq!(refused.err(), Some(AppendError::IdReused { index: 1 }));
    }
}
