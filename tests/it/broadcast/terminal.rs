//! A terminal as far as the protocol goes: it keeps its token, listens, and says what it has received.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::servers::wait_for;

/// An event of the stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: Value,
}

/// What a stream has said so far.
#[derive(Default)]
struct Heard {
    events: Vec<Event>,
    /// What the browser would send when it connects anew.
    last_id: String,
    ended: Option<u16>,
}

/// A terminal that is enrolled.
pub(super) struct Terminal {
    pub(super) token: String,
    pub(super) id: String,
    pub(super) base: String,
}

/// An open stream; it is closed when this is dropped.
pub(super) struct Listening {
    heard: Rc<RefCell<Heard>>,
    task: actix_rt::task::JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn client() -> awc::Client {
    awc::Client::builder().timeout(Duration::from_secs(8)).disable_redirects().finish()
}

impl Terminal {
    /// Enrols with a code.
    pub(super) async fn enrol(base: &str, code: &str) -> Self {
        let (status, body) = enrol(base, code, true).await;
        assert_eq!(status, 200, "{body}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { token: text(&body["token"]), id: text(&body["terminal"]["id"]), base: base.into() }
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        let request = client().get(format!("{}{path}", self.base));
        let mut answer =
            request.insert_header(("Authorization", format!("Bearer {}", self.token))).send().await.unwrap();
        let body = answer.body().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = client().post(format!("{}{path}", self.base));
        let request = request.insert_header(("Authorization", format!("Bearer {}", self.token)));
        let Ok(mut answer) = request.send_json(body).await else { return (0, Value::Null) };
        let body = answer.body().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Says that it has received these, or that somebody confirmed them.
    pub(super) async fn receive(&self, ids: &[&str], confirmed: bool) -> u16 {
        let receipts: Vec<_> = ids.iter().map(|id| json!({"id": id, "confirmed": confirmed})).collect();
        self.post("/terminal/receipts", &json!({"receipts": receipts})).await.0
    }

    pub(super) async fn beat(&self) -> u16 {
        self.post("/terminal/beat", &json!({})).await.0
    }

    /// Listens at a node from behind a cursor, or from where it does not know.
    pub(super) async fn listen_at(&self, base: &str, cursor: Option<&str>) -> Listening {
        let heard = Rc::new(RefCell::new(Heard::default()));
        let mut request = client()
            .get(format!("{base}/terminal/events"))
            .timeout(Duration::from_secs(600))
            .no_decompress()
            .insert_header(("Authorization", format!("Bearer {}", self.token)));
        if let Some(cursor) = cursor {
            request = request.insert_header(("Last-Event-ID", cursor));
            heard.borrow_mut().last_id = cursor.to_owned();
        }
        let of_task = Rc::clone(&heard);
        let task = actix_rt::spawn(async move {
            let answer = request.send().await;
            let Ok(mut answer) = answer else {
                of_task.borrow_mut().ended = Some(0);
                return;
            };
            let mut text = String::new();
            while let Some(Ok(bytes)) = answer.next().await {
                text += &String::from_utf8_lossy(&bytes);
                while let Some((block, rest)) = text.split_once("\n\n") {
                    of_task.borrow_mut().take(block);
                    text = rest.to_owned();
                }
            }
            of_task.borrow_mut().ended = Some(answer.status().as_u16());
        });
        Listening { heard, task }
    }

    pub(super) async fn listen(&self, cursor: Option<&str>) -> Listening {
        self.listen_at(&self.base, cursor).await
    }
}

/// Tries to enrol; the status and the body.
pub(super) async fn enrol(base: &str, code: &str, token: bool) -> (u16, Value) {
    let request = client().post(format!("{base}/terminal/enrol"));
    let mut answer = request.send_json(&json!({"code": code, "token": token})).await.unwrap();
    let body = answer.body().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

impl Heard {
    /// As HTML's standard has it.
    fn take(&mut self, block: &str) {
        let (mut name, mut data) = (String::new(), None);
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = id.to_owned(),
                Some(("event", event)) => name = event.to_owned(),
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                _ => {}
            }
        }
        if let Some(data) = data {
            self.events.push(Event { name, data });
        }
    }
}

impl Listening {
    pub(super) fn events(&self) -> Vec<Event> {
        self.heard.borrow().events.clone()
    }

    /// `name title-or-id` of everything but hello and what is said of Redis.
    pub(super) fn told(&self) -> Vec<String> {
        let all = self.events();
        let all = all.iter().filter(|event| !matches!(event.name.as_str(), "hello" | "redis"));
        let what =
            |event: &Event| event.data["title"].as_str().or(event.data["id"].as_str()).unwrap_or_default().to_owned();
        all.map(|event| format!("{} {}", event.name, what(event)).trim().to_owned()).collect()
    }

    /// The cursor that a browser would come back with.
    pub(super) fn cursor(&self) -> String {
        self.heard.borrow().last_id.clone()
    }

    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        while !wanted(&self.told()) {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "waited in vain for: {what}; told was {:?}, ended {:?}, {:?}",
                self.told(),
                self.heard.borrow().ended,
                self.events()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn until_told(&self, wanted: &[&str]) {
        self.until(&format!("{wanted:?}"), |told| told == wanted).await;
    }

    /// Waits until the stream says who it is for.
    pub(super) async fn is_open(&self) {
        wait_for("the stream opens", Duration::from_secs(20), async || {
            self.events().iter().any(|event| event.name == "hello").then_some(())
        })
        .await;
    }

    /// Waits until it is over; the status of the answer.
    pub(super) async fn is_over(&self) -> u16 {
        wait_for("the stream ends", Duration::from_secs(20), async || self.heard.borrow().ended).await
    }
}
