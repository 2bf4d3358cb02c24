//! Producers: each owns some keys, sends one version after the other, and repeats with the message's own id until it is
//! acknowledged, as a careful application does.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::ledger::Acknowledged;

/// How long a producer waits for an answer; a node gives one within 2 s, whatever Redis does.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// How producers send.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// `http://127.0.0.1:port`.
    pub(crate) url: String,
    /// The API key.
    pub(crate) key: String,
    /// How many producers.
    pub(crate) producers: i64,
    /// Keys of each producer.
    pub(crate) keys: i64,
    /// Records in one request; 1 is a single message.
    pub(crate) batch: i64,
    /// Bytes of ballast in each record, in a field that no table has.
    pub(crate) padding: usize,
    /// Requests a second of all producers together; 0 is as many as they get answered.
    pub(crate) rate: u32,
}

/// A request that was not answered with 202, and sent again.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    /// The status; none where no answer came, so that nobody knows whether it was taken.
    pub(crate) status: Option<u16>,
    /// Who answered, and what; or why there was no answer.
    pub(crate) why: String,
    /// Since the producers began.
    pub(crate) at: Duration,
}

/// Running producers.
pub(crate) struct Producers {
    stop: Rc<Cell<bool>>,
    tasks: Vec<actix_rt::task::JoinHandle<Acknowledged>>,
    sent: Rc<Cell<u64>>,
    failed: Rc<RefCell<Vec<Failed>>>,
    begun: Instant,
}

/// What a producer shares with the others.
struct Shared {
    stop: Rc<Cell<bool>>,
    sent: Rc<Cell<u64>>,
    failed: Rc<RefCell<Vec<Failed>>>,
    begun: Instant,
}

impl Load {
    /// Four producers of single messages, as fast as they are answered.
    pub(crate) fn new(url: &str, key: &str) -> Self {
        Self { url: url.into(), key: key.into(), producers: 4, keys: 50, batch: 1, padding: 0, rate: 0 }
    }

    /// Starts the producers.
    pub(crate) fn start(&self) -> Producers {
        let (stop, sent, failed) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)), Rc::default());
        let begun = Instant::now();
        let tasks = (0..self.producers)
            .map(|producer| {
                let shared =
                    Shared { stop: Rc::clone(&stop), sent: Rc::clone(&sent), failed: Rc::clone(&failed), begun };
                let load = self.clone();
                actix_rt::spawn(async move { load.produce(producer, &shared).await })
            })
            .collect();
        Producers { stop, tasks, sent, failed, begun }
    }

    async fn produce(&self, producer: i64, shared: &Shared) -> Acknowledged {
        let client = awc::Client::builder().timeout(ANSWERED_WITHIN).finish();
        let mut acknowledged = Acknowledged::new();
        let pause = (self.rate > 0).then(|| Duration::from_secs(1) * self.producers as u32 / self.rate);
        let mut next = shared.begun;
        for round in 1.. {
            for first in (0..self.keys).step_by(usize::try_from(self.batch).unwrap()) {
                if let Some(pause) = pause {
                    actix_rt::time::sleep_until(next.into()).await;
                    next += pause;
                }
                if shared.stop.get() {
                    return acknowledged;
                }
                let ids: Vec<i64> =
                    (first..self.keys.min(first + self.batch)).map(|n| producer * self.keys + n).collect();
                self.send(&client, &ids, round, shared).await;
                acknowledged.extend(ids.iter().map(|id| (*id, round)));
                shared.sent.set(shared.sent.get() + ids.len() as u64);
            }
        }
        acknowledged
    }

    /// Sends until it is acknowledged. A request without an answer may have been taken or not; the message's own id makes
    /// sure that sending it again comes to one record, so that what is not known is known in the end.
    async fn send(&self, client: &awc::Client, ids: &[i64], version: i64, shared: &Shared) {
        let message = |id: &i64| {
            json!({"topic": "cars", "key": id, "id": format!("{id}-{version}"),
                "data": {"id": id, "version": version, "car_name": format!("Toyota Avanza {id} G CVT"), "stock": version % 50,
                    "ballast": "x".repeat(self.padding)}})
        };
        let body = match ids {
            [only] => message(only).to_string(),
            many => serde_json::to_string(&many.iter().map(message).collect::<Vec<_>>()).unwrap(),
        };
        let begun = Instant::now();
        loop {
            let request = client
                .post(format!("{}/v1/messages", self.url))
                .insert_header(("Authorization", format!("Bearer {}", self.key)))
                .insert_header(("Content-Type", "application/json"));
            let failed = match request.send_body(body.clone()).await {
                Ok(answer) if answer.status() == 202 => return,
                Ok(mut answer) => {
                    let status = answer.status().as_u16();
                    let text = answer.body().await.unwrap_or_default();
                    let why = String::from_utf8_lossy(&text).into_owned();
                    // A load balancer answers 502 or 504 where its node goes away in the middle of an answer.
                    assert!(matches!(status, 409 | 502 | 503 | 504), "{status} {why}");
                    Failed { status: Some(status), why, at: shared.begun.elapsed() }
                }
                Err(error) => Failed { status: None, why: error.to_string(), at: shared.begun.elapsed() },
            };
            shared.failed.borrow_mut().push(failed);
            assert!(begun.elapsed() < Duration::from_secs(60), "a record was not accepted within a minute");
            actix_rt::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Producers {
    /// Messages acknowledged so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Requests that were not accepted and sent again.
    pub(crate) fn refused(&self) -> u64 {
        self.failed.borrow().len() as u64
    }

    /// The same, each with what was answered.
    pub(crate) fn failed(&self) -> Vec<Failed> {
        self.failed.borrow().clone()
    }

    /// Messages acknowledged per second so far.
    pub(crate) fn rate(&self) -> f64 {
        self.sent.get() as f64 / self.begun.elapsed().as_secs_f64()
    }

    /// Stops them between two messages; what was acknowledged.
    pub(crate) async fn stop(self) -> Acknowledged {
        self.stop.set(true);
        let mut all = Acknowledged::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all
    }
}
