//! The records that the demo sends, and the producer that sends them: one after the other, each until it is acknowledged.

use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};

use anyhow::bail;
use serde_json::{Value, json};
use tidegate_actors::retry::Backoff;

const NAMES: [&str; 12] = [
    "porche 911 15",
    "Toyota Avanza 1.5 G CVT",
    "Honda BR-V Prestige",
    "Mitsubishi Xpander Ultimate",
    "Suzuki Ertiga Hybrid GX",
    "Daihatsu Terios R",
    "BMW 320i M Sport",
    "Mazda CX-5 Elite",
    "Hyundai Ioniq 5 Signature",
    "Citroën C3 Aircross",
    "Škoda Octavia Combi",
    "日産 リーフ e+",
];
const BRANCHES: [&str; 5] = ["Jakarta", "Bandung", "Surabaya", "Medan", "Denpasar"];
/// How often a request goes out.
const TICK: Duration = Duration::from_millis(100);
/// Records a second, however few there are.
const SLOWEST: u64 = 180;
/// All are sent within about this time.
const SECONDS: u64 = 24;

/// All records: number n is the same every time.
#[derive(Clone, Copy)]
pub(super) struct Records {
    pub(super) total: u64,
}

impl Records {
    /// How many different cars there are.
    pub(super) fn cars(self) -> u64 {
        (self.total / 10).max(1)
    }

    /// Record `no`, counted from 1: which car it is about goes round.
    pub(super) fn message(self, no: u64) -> Value {
        let (car, version) = ((no - 1) % self.cars() + 1, (no - 1) / self.cars() + 1);
        let pick = |n: u64, of: &[&'static str]| of[usize::try_from(n % of.len() as u64).unwrap_or(0)];
        json!({
            "topic": "cars",
            "key": car,
            "id": format!("demo-{no}"),
            "data": {
                "no": no, "id": car, "version": version,
                "stock": ((car * 7 + version * 3 + 4) % 10).to_string(),
                "car_name": pick(car - 1, &NAMES),
                "price": 15_000 + car % 90 * 1_000 - version % 10 * 50,
                "mileage": car % 40 * 1_000 + version * 12,
                "branch": pick(car * 3, &BRANCHES),
            }
        })
    }

    /// What a database must hold of every car in the end: its version and the value of one column.
    pub(super) fn last(self, column: &str) -> BTreeMap<i64, (i64, i64)> {
        let mut last = BTreeMap::new();
        for no in 1..=self.total {
            let message = self.message(no);
            let number = |name: &str| match &message["data"][name] {
                Value::String(text) => text.parse().unwrap_or(i64::MIN),
                value => value.as_i64().unwrap_or(i64::MIN),
            };
            last.insert(number("id"), (number("version"), number(column)));
        }
        last
    }
}

/// What the producer has done so far.
#[derive(Default)]
pub(super) struct Sent {
    /// Records that were acknowledged.
    pub(super) records: Cell<u64>,
    /// Requests that were acknowledged.
    pub(super) requests: Cell<u64>,
    /// Requests that had to be sent again, because there was no answer or none that settled it.
    pub(super) again: Cell<u64>,
}

/// Sends all records at a steady pace.
pub(super) async fn feed(records: Records, url: String, key: String, sent: Rc<Sent>) -> anyhow::Result<()> {
    let client = awc::Client::builder().timeout(Duration::from_secs(10)).finish();
    let at_once = (SLOWEST.max(records.total / SECONDS) / 10).max(1);
    let mut tick = tokio::time::interval(TICK);
    while sent.records.get() < records.total {
        tick.tick().await;
        let until = records.total.min(sent.records.get() + at_once);
        let body: Vec<Value> = (sent.records.get() + 1..=until).map(|no| records.message(no)).collect();
        let body = serde_json::to_string(&body)?;
        let mut backoff = Backoff::default();
        loop {
            let request = client
                .post(format!("{url}/v1/messages"))
                .insert_header(("Authorization", format!("Bearer {key}")))
                .insert_header(("Content-Type", "application/json"));
            match request.send_body(body.clone()).await {
                Ok(answer) if answer.status() == 202 => break,
                Ok(mut answer) if answer.status().is_client_error() && answer.status() != 409 => {
                    let text = answer.body().await.unwrap_or_default();
                    bail!("the node refused a record: {} {}", answer.status(), String::from_utf8_lossy(&text));
                }
                // The record's own id makes it safe to send it again.
                _ => {
                    sent.again.set(sent.again.get() + 1);
                    tokio::time::sleep(backoff.next(&mut rand::rng())).await;
                }
            }
        }
        sent.requests.set(sent.requests.get() + 1);
        sent.records.set(until);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_record_of_the_thesis_is_among_them() {
        let data = Records { total: 3_000 }.message(1)["data"].clone();
        assert!(data["car_name"] == "porche 911 15" && data["stock"] == "4", "{data}");
    }

    #[test]
    fn every_car_has_its_versions_in_order() {
        let records = Records { total: 95 };
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        for no in 1..=95 {
            let message = records.message(no);
            let last = seen.entry(message["data"]["id"].as_u64().unwrap()).or_default();
            assert_eq!(message["data"]["version"].as_u64().unwrap(), *last + 1);
            *last += 1;
        }
        let last: BTreeMap<u64, u64> =
            records.last("stock").into_iter().map(|(id, (version, _))| (id as u64, version as u64)).collect();
        assert_eq!(last, seen);
    }
}
