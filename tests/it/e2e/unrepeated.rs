//! Producers for faults in which Redis forgets what it took, and message ids with it. A record that was not acknowledged
//! may have been taken or not, and nobody could tell it from a repetition: so none is sent twice, and none may come twice.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use serde_json::json;

use super::{faults::PATIENCE, ledger::Target};
use crate::servers::wait_for;

/// Producers, and keys of each.
const PRODUCERS: i64 = 8;
const KEYS: i64 = 25;
/// The first key: below are those of other producers.
const FIRST_KEY: i64 = 100_000;

/// Which versions of which keys, as `(id, version)`.
pub(super) type Versions = BTreeSet<(i64, i64)>;

/// Running producers, each with keys of its own, whose versions rise with every request: answered or not.
pub(super) struct Unrepeated {
    stop: Rc<Cell<bool>>,
    senders: Vec<(Rc<Sent>, actix_rt::task::JoinHandle<()>)>,
}

/// What one of them has sent, and got for it.
#[derive(Default)]
struct Sent {
    all: RefCell<Versions>,
    acknowledged: RefCell<Versions>,
    refused: Cell<u64>,
}

/// Where Redis was killed, as the producers knew it.
pub(super) struct Cut {
    /// What had been sent, with an answer or not yet: what may be lost.
    pub(super) at_risk: Versions,
    /// What had been acknowledged, all of it by that Redis.
    acknowledged: Versions,
}

impl Unrepeated {
    /// Starts them; they send as fast as they are answered, and panic at any answer but 202 and 503.
    pub(super) fn start(url: &str, key: &str) -> Self {
        let stop = Rc::new(Cell::new(false));
        let senders = (0..PRODUCERS)
            .map(|producer| {
                let sent = Rc::new(Sent::default());
                let (url, key, stop) = (format!("{url}/v1/messages"), key.to_owned(), Rc::clone(&stop));
                let task = produce(url, key, FIRST_KEY + producer * KEYS, stop, Rc::clone(&sent));
                (sent, actix_rt::spawn(task))
            })
            .collect();
        Self { stop, senders }
    }

    /// All that was acknowledged so far.
    pub(super) fn acknowledged(&self) -> Versions {
        self.senders.iter().flat_map(|(sent, _)| sent.acknowledged.borrow().clone()).collect()
    }

    /// What was sent and acknowledged up to now: Redis has just been killed.
    pub(super) fn cut(&self) -> Cut {
        let at_risk = self.senders.iter().flat_map(|(sent, _)| sent.all.borrow().clone()).collect();
        Cut { at_risk, acknowledged: self.acknowledged() }
    }

    /// Waits until each producer has so many more records acknowledged.
    pub(super) async fn wait_until_each_got_on(&self, records: usize) {
        self.wait_until_each("each producer gets on", |sent| sent.acknowledged.borrow().len(), records).await;
    }

    /// Waits until each producer has had so many more 503.
    pub(super) async fn wait_until_each_is_refused(&self, times: u64) {
        self.wait_until_each("each producer is refused", |sent| sent.refused.get(), times).await;
    }

    async fn wait_until_each<T>(&self, what: &str, count: impl Fn(&Sent) -> T, more: T)
    where
        T: Copy + Ord + std::ops::Add<Output = T>,
    {
        let goals: Vec<T> = self.senders.iter().map(|(sent, _)| count(sent) + more).collect();
        wait_for(what, PATIENCE, async || {
            // One that has ended has failed, and has said why.
            assert!(self.senders.iter().all(|(_, task)| !task.is_finished()), "a producer got another answer");
            self.senders.iter().zip(&goals).all(|((sent, _), goal)| count(sent) >= *goal).then_some(())
        })
        .await;
    }

    /// Stops them between two requests; all that was acknowledged.
    pub(super) async fn stop(self) -> Versions {
        self.stop.set(true);
        let mut all = Versions::new();
        for (sent, task) in self.senders {
            task.await.unwrap();
            all.append(&mut sent.acknowledged.borrow_mut());
        }
        all
    }
}

async fn produce(url: String, key: String, first: i64, stop: Rc<Cell<bool>>, sent: Rc<Sent>) {
    let client = awc::Client::builder().timeout(Duration::from_secs(5)).finish();
    for version in 1.. {
        if stop.get() {
            return;
        }
        let id = first + version % KEYS;
        let body = json!({"topic": "cars", "key": id, "data": {"id": id, "version": version}});
        sent.all.borrow_mut().insert((id, version));
        let request = client
            .post(&url)
            .insert_header(("Authorization", format!("Bearer {key}")))
            .insert_header(("Content-Type", "application/json"));
        // Neither nodes nor the balancer go away here: there is always an answer.
        let mut answer = request.send_body(body.to_string()).await.unwrap();
        match answer.status().as_u16() {
            202 => {
                sent.acknowledged.borrow_mut().insert((id, version));
            }
            503 => {
                assert!(answer.headers().contains_key("Retry-After"));
                sent.refused.set(sent.refused.get() + 1);
                actix_rt::time::sleep(Duration::from_millis(20)).await;
            }
            status => panic!("{status} {}", String::from_utf8_lossy(&answer.body().await.unwrap_or_default())),
        }
    }
}

/// The ledger check where some records may be lost: waits until all are there that were acknowledged, but for those at risk,
/// and says which are missing. Whatever is there came once and in the order of its key; of each key, the last ones that
/// Redis had are lost and no earlier ones.
pub(super) async fn all_but(target: &Target, acknowledged: &Versions, cut: &Cut) -> Versions {
    let what = format!("{} has all that may not be lost", target.name);
    let there = wait_for(&what, PATIENCE, async || {
        let there = arrived(target).await?;
        acknowledged.iter().all(|one| there.contains(one) || cut.at_risk.contains(one)).then_some(there)
    })
    .await;
    let missing: Versions = acknowledged.difference(&there).copied().collect();
    for (id, version) in &missing {
        let later = cut.acknowledged.range((*id, *version)..=(*id, i64::MAX)).find(|one| there.contains(one));
        assert_eq!(later, None, "{}: key {id} has no version {version}, but a later one of then", target.name);
    }
    missing
}

/// What is in the database; nothing where it does not answer.
async fn arrived(target: &Target) -> Option<Versions> {
    // Before the events: a transaction between the two questions only adds to these.
    let cars: BTreeMap<i64, i64> = target.pairs("select id, version from cars").await?.into_iter().collect();
    let events = target.pairs("select id, version from events order by seq").await?;
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for (id, version) in &events {
        let before = last.insert(*id, *version).unwrap_or_default();
        assert!(*version > before, "{}: key {id}: version {version} came after {before}", target.name);
    }
    // What arrived between the two questions is looked at the next time.
    (cars == last).then(|| events.into_iter().collect())
}
