//! Who has received and confirmed what. What terminals say is collected and written in one go, at most every 50 ms, and only
//! then answered; saying it again changes nothing, for the first time counts.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    scripts,
    store::{Broadcasts, CastError},
};

/// Receipts are written at most so often.
const EVERY: Duration = Duration::from_millis(50);
/// Receipts that are written in one go.
const AT_ONCE: usize = 1_000;
/// Terminals that may wait for their turn.
const WAITING: usize = 10_000;

/// What a terminal has said of a broadcast, in milliseconds since the Unix epoch, by Redis's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// When it was received.
    pub received_ms: u64,
    /// When somebody confirmed it.
    pub confirmed_ms: Option<u64>,
}

impl Receipt {
    fn read(text: &str) -> Option<Self> {
        let (received, confirmed) = text.split_once(' ').unwrap_or((text, ""));
        Some(Self { received_ms: received.parse().ok()?, confirmed_ms: confirmed.parse().ok() })
    }
}

/// What a terminal says of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The broadcast's id.
    pub message: String,
    /// The terminal's id.
    pub terminal: String,
    /// Somebody confirmed it, too.
    pub confirmed: bool,
}

impl Broadcasts {
    /// What all terminals have said of a broadcast, by terminal.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn receipts(&self, id: &str) -> Result<HashMap<String, Receipt>, CastError> {
        let key = self.keys().receipts(id);
        let all: HashMap<String, String> =
            self.run(async |mut connection| redis::cmd("HGETALL").arg(&key).query_async(&mut connection).await).await?;
        Ok(all.into_iter().filter_map(|(terminal, text)| Some((terminal, Receipt::read(&text)?))).collect())
    }

    /// What one terminal has said of each of these broadcasts.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn receipts_of(&self, terminal: &str, ids: &[&str]) -> Result<Vec<Option<Receipt>>, CastError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = ids.iter().map(|id| self.keys().receipts(id)).collect();
        let all: Vec<String> = self
            .run(async |mut connection| {
                let mut call = scripts::MINE.key(&keys[0]);
                for key in &keys[1..] {
                    call.key(key);
                }
                call.arg(terminal).invoke_async(&mut connection).await
            })
            .await?;
        Ok(all.iter().map(|text| Receipt::read(text)).collect())
    }

    async fn write_receipts(&self, given: &[Given]) -> Result<(), CastError> {
        let mut of: BTreeMap<&str, Vec<&Given>> = BTreeMap::new();
        for one in given {
            of.entry(&one.message).or_default().push(one);
        }
        let keys = self.keys();
        self.run(async |mut connection| {
            let mut call = scripts::RECEIPTS.key(keys.messages());
            for (id, all) in &of {
                call.key(keys.receipts(id)).key(keys.tally(id)).arg(*id).arg(all.len());
                for one in all {
                    call.arg(&one.terminal).arg(u8::from(one.confirmed));
                }
            }
            call.invoke_async::<redis::Value>(&mut connection).await
        })
        .await
        .map(drop)
    }
}

type Turn = (Vec<Given>, oneshot::Sender<Result<(), CastError>>);

/// Where terminals' receipts are handed in.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Turn>);

impl Desk {
    /// A desk, and what must be [kept at work](Clerk::run) behind it.
    #[must_use]
    pub fn new(broadcasts: Broadcasts) -> (Self, Clerk) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), Clerk { broadcasts, turns: receiver })
    }

    /// Hands receipts in; answers once Redis has them.
    ///
    /// # Errors
    /// Redis is away, or too many wait: they are to be given again.
    pub async fn hand_in(&self, given: Vec<Given>) -> Result<(), CastError> {
        if given.is_empty() {
            return Ok(());
        }
        let away = |why: &str| CastError::Unavailable(why.into());
        let (answer, answered) = oneshot::channel();
        self.0.try_send((given, answer)).map_err(|_| away("too many receipts wait already"))?;
        answered.await.map_err(|_| away("the node is stopping"))?
    }
}

/// Writes what is handed in.
#[derive(Debug)]
pub struct Clerk {
    broadcasts: Broadcasts,
    turns: mpsc::Receiver<Turn>,
}

impl Clerk {
    /// Until every desk is gone.
    pub async fn run(mut self) {
        let mut next = Instant::now();
        while let Some(first) = self.turns.recv().await {
            sleep_until(next).await;
            next = Instant::now() + EVERY;
            let (mut given, mut answers) = (first.0, vec![first.1]);
            while given.len() < AT_ONCE
                && let Ok((more, answer)) = self.turns.try_recv()
            {
                given.extend(more);
                answers.push(answer);
            }
            let outcome = self.broadcasts.write_receipts(&given).await;
            for answer in answers {
                // Whoever has gone away hands them in again.
                let _ = answer.send(outcome.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_with_and_without_its_confirmation() {
        assert_eq!(Receipt::read("5"), Some(Receipt { received_ms: 5, confirmed_ms: None }));
        assert_eq!(Receipt::read("5 7"), Some(Receipt { received_ms: 5, confirmed_ms: Some(7) }));
        assert_eq!(Receipt::read(""), None);
    }
}
