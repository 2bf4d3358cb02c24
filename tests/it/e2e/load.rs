//! Producers: each owns some keys, sends one version after the other, and repeats with the message's own id until it is
//! acknowledged, as a careful application does.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::ledger::Acknowledged;

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
}

/// Running producers.
pub(crate) struct Producers {
    stop: Rc<Cell<bool>>,
    tasks: Vec<actix_rt::task::JoinHandle<Acknowledged>>,
    sent: Rc<Cell<u64>>,
    refused: Rc<Cell<u64>>,
}

impl Load {
    /// Starts the producers.
    pub(crate) fn start(&self) -> Producers {
        let (stop, sent, refused) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks = (0..self.producers)
            .map(|producer| {
                let (load, stop, sent) = (self.clone(), Rc::clone(&stop), Rc::clone(&sent));
                let refused = Rc::clone(&refused);
                actix_rt::spawn(async move { load.produce(producer, &stop, &sent, &refused).await })
            })
            .collect();
        Producers { stop, tasks, sent, refused }
    }

    async fn produce(&self, producer: i64, stop: &Cell<bool>, sent: &Cell<u64>, refused: &Cell<u64>) -> Acknowledged {
        let client = awc::Client::builder().timeout(Duration::from_secs(5)).finish();
        let mut acknowledged = Acknowledged::new();
        for round in 1.. {
            for first in (0..self.keys).step_by(usize::try_from(self.batch).unwrap()) {
                if stop.get() {
                    return acknowledged;
                }
                let ids: Vec<i64> =
                    (first..self.keys.min(first + self.batch)).map(|n| producer * self.keys + n).collect();
                self.send(&client, &ids, round, refused).await;
                acknowledged.extend(ids.iter().map(|id| (*id, round)));
                sent.set(sent.get() + ids.len() as u64);
            }
        }
        acknowledged
    }

    /// Sends until it is acknowledged.
    async fn send(&self, client: &awc::Client, ids: &[i64], version: i64, refused: &Cell<u64>) {
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
            match request.send_body(body.clone()).await {
                Ok(answer) if answer.status() == 202 => return,
                Ok(mut answer) if !matches!(answer.status().as_u16(), 409 | 503) => {
                    let text = answer.body().await.unwrap_or_default();
                    panic!("{} {}", answer.status(), String::from_utf8_lossy(&text));
                }
                _ => refused.set(refused.get() + 1),
            }
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
        self.refused.get()
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
