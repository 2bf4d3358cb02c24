//! The producer API's rules, over an in-memory log: what is accepted, what is appended for it, and how the rest is
//! refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cloudevents;
mod contract;
mod malformed;
mod messages;
mod reliability;

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, LazyLock},
};

use actix_web::{
    App,
    http::header::{HeaderMap, HeaderName, HeaderValue},
    middleware::from_fn,
    test::{self, TestRequest},
};
use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidegate_actors::{
    message::{Action, Generation, Message, MessageId, Position, StreamId},
    ports::{AppendError, AppendRequest, Appended, NewRecord},
};
use tokio::sync::watch;

use super::{
    Casting, Found, Ingest, Limits, Lookup, Post, ProducerState, health::Readiness, message_body, request_id, server,
};
use crate::{
    admin::{ActError, broadcasts::compose::Sent},
    broadcast::message::{Message as Broadcast, Reach},
    resources::{ApiKey, Application, Document},
};

pub(super) static KEY: LazyLock<String> = LazyLock::new(|| key("k1"));

/// A key whose id ends with these characters.
pub(super) fn key(end: &str) -> String {
    format!("tg_live_{end:x>8}{}{}", "s".repeat(32), "c".repeat(6))
}

fn stored(end: &str) -> ApiKey {
    let digest = Sha256::digest(key(end)).iter().map(|byte| format!("{byte:02x}")).collect();
    ApiKey { id: format!("{end:x>8}"), digest, created_at_ms: 1, expires_at_ms: None, revoked_at_ms: None }
}

/// What the records of `readings` must look like.
const READING: &str = r#"{"required":["at"],"properties":{"celsius":{"type":"number","minimum":-90},
    "tags":{"items":{"type":"string"}}}}"#;

/// `car-app` with the listed topics `cars` and `notes`, and others, whose routes have keys of every source.
fn document() -> Document {
    let route = |text: &str| serde_json::from_str(text).unwrap();
    Document {
        version: 1,
        installation: "inst".to_owned(),
        applications: vec![Application {
            name: "car-app".to_owned(),
            topics: vec!["cars".to_owned(), "notes".to_owned(), "readings".to_owned()],
            schemas: [("readings".to_owned(), READING.to_owned())].into(),
            records_per_s: None,
            broadcasts: true,
            created_at_ms: 1,
            keys: vec![
                stored("k1"),
                ApiKey { revoked_at_ms: Some(2), ..stored("revoked") },
                ApiKey { expires_at_ms: Some(2), ..stored("expired") },
            ],
        }],
        destinations: Vec::new(),
        routes: vec![
            route(
                r#"{"name":"rooms-cars","application":"car-app","topic":"cars","destination":"rooms","table":"cars",
                    "key":["id"],"columns":{"id":{"from":"car_id"},"name":"name"}}"#,
            ),
            route(
                r#"{"name":"rooms-orders","application":"car-app","topic":"orders","destination":"rooms",
                    "table":"orders","key":["branch","no"],"columns":"matching"}"#,
            ),
            route(
                r#"{"name":"visits","application":"car-app","topic":"visits","destination":"rooms","table":"visits",
                    "key":["branch","no"],"columns":{"branch":{"value":"JKT"},"no":"visit.numbers[0]"}}"#,
            ),
            route(
                r#"{"name":"events","application":"car-app","topic":"events","destination":"rooms","table":"events",
                    "key":["event"],"columns":{"event":{"meta":"key"}}}"#,
            ),
            route(
                r#"{"name":"sums","application":"car-app","topic":"sums","destination":"rooms","table":"sums",
                    "key":["sum"],"columns":{"sum":{"expr":"data.a + data.b"}}}"#,
            ),
        ],
        ..Document::default()
    }
}

/// A log that remembers what it was asked and answers with what it was told.
#[derive(Default)]
pub(super) struct Log {
    pub(super) requests: RefCell<Vec<AppendRequest>>,
    pub(super) answer: RefCell<Option<Result<Appended, AppendError>>>,
}

pub(super) fn id(sequence: u64) -> MessageId {
    MessageId(Position { generation: Generation::new("gen"), id: StreamId::new(1_763_775_403_123, sequence) })
}

#[async_trait(?Send)]
impl Ingest for Log {
    async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError> {
        let ids = (0..request.records.len() as u64).map(id).collect();
        self.requests.borrow_mut().push(request);
        self.answer.borrow_mut().take().unwrap_or(Ok(Appended { ids, replayed: false }))
    }
}

#[async_trait(?Send)]
impl Lookup for Log {
    async fn message(&self, application: &str, wanted: &MessageId) -> Result<Found, AppendError> {
        assert_eq!(application, "car-app");
        Ok(match wanted.to_string().as_str() {
            "gen-1763775403123-0" => {
                let message = Message {
                    id: wanted.0.id,
                    topic: "cars".into(),
                    action: Action::Upsert,
                    key: Some("42".into()),
                    own_id: Some("order 7".into()),
                    traceparent: None,
                    data: "{\"price\":1.00000000000000000000001}".into(),
                };
                Found::Message(message_body(wanted, &message, &[()]).unwrap())
            }
            "other-1763775403123-0" => Found::Foreign,
            "away-1763775403123-0" => return Err(AppendError::Unavailable("redis://secret@host".to_owned())),
            _ => Found::Nothing,
        })
    }

    async fn by_own_id(&self, _application: &str, own_id: &str) -> Result<Option<MessageId>, AppendError> {
        Ok((own_id == "order 7").then(|| id(0)))
    }
}

/// Sends broadcasts into nothing.
struct Caster;

fn broadcast(application: &str) -> Broadcast {
    let value = serde_json::json!({
        "id": "b1", "state": "sent", "audience": "all", "by": "x", "application": application, "created_ms": 1,
        "content": {"category": "price", "title": "a", "text": "b"},
    });
    serde_json::from_value(value).unwrap()
}

#[async_trait(?Send)]
impl Casting for Caster {
    async fn send(&self, application: &str, _post: Post) -> Result<Sent, ActError> {
        assert_eq!(application, "car-app");
        Ok(Sent { id: "b1".into(), reach: Reach { terminals: 3, on_now: 2 }, due_ms: None, replayed: false })
    }

    async fn show(&self, id: &str) -> Result<(Broadcast, u64, u64), ActError> {
        match id {
            "mine" => Ok((broadcast("car-app"), 2, 1)),
            "theirs" => Ok((broadcast("other"), 0, 0)),
            "away" => Err(ActError::Unavailable("redis://secret@host".into())),
            _ => Err(ActError::Unknown("none".into())),
        }
    }

    async fn recall(&self, application: &str, _id: &str) -> Result<Broadcast, ActError> {
        Ok(broadcast(application))
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) appended: Vec<AppendRequest>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(super) fn records(&self) -> &[NewRecord] {
        assert_eq!(self.status, 202, "{}", self.body);
        &self.appended[0].records
    }

    /// `pointer code` of each error, after its status.
    pub(super) fn refusal(&self) -> String {
        assert!(self.appended.is_empty(), "something was appended for {}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        let json = self.json();
        assert_eq!(json["status"], self.status);
        let errors = json["errors"].as_array().cloned().unwrap_or_default();
        let error = |error: &serde_json::Value| {
            format!(" {}:{} {}", error["index"], error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap())
        };
        format!("{}{}", self.status, errors.iter().map(error).collect::<String>())
    }
}

/// A request in the making; `Authorization` and a JSON content type are there from the start.
pub(super) struct Call {
    request: TestRequest,
    log: Log,
    limits: Limits,
    document: Option<Document>,
    readiness: Arc<Readiness>,
}

pub(super) fn call(request: TestRequest) -> Call {
    let readiness = Arc::new(Readiness::default());
    let request = request
        .insert_header(("authorization", format!("Bearer {}", *KEY)))
        .insert_header(("content-type", "application/json"));
    Call { request, log: Log::default(), limits: Limits::default(), document: Some(document()), readiness }
}

pub(super) fn post(body: impl Into<Bytes>) -> Call {
    call(TestRequest::post().uri("/v1/messages").set_payload(body))
}

pub(super) fn get(path: &str) -> Call {
    call(TestRequest::get().uri(path))
}

impl Call {
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = HeaderName::from_static(name);
        self.request = self.request.insert_header((name, HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        self
    }

    pub(super) fn kind(self, content_type: &str) -> Self {
        self.header("content-type", content_type)
    }

    pub(super) fn answering(self, answer: Result<Appended, AppendError>) -> Self {
        *self.log.answer.borrow_mut() = Some(answer);
        self
    }

    pub(super) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// To another path than messages are sent to.
    pub(super) fn to(mut self, path: &str) -> Self {
        self.request = self.request.uri(path);
        self
    }

    pub(super) fn without_broadcasts(mut self) -> Self {
        let applications = self.document.iter_mut().flat_map(|document| &mut document.applications);
        applications.for_each(|application| application.broadcasts = false);
        self
    }

    pub(super) fn without_document(mut self) -> Self {
        self.document = None;
        self
    }

    pub(super) fn readiness(self, change: impl FnOnce(&Readiness)) -> Self {
        change(&self.readiness);
        self
    }

    pub(super) async fn send(self) -> Answer {
        let log = Rc::new(self.log);
        let (_sender, documents) = watch::channel(self.document.map(Arc::new));
        let state = ProducerState::new(
            documents,
            Rc::clone(&log) as Rc<dyn Ingest>,
            Rc::clone(&log) as Rc<dyn Lookup>,
            self.limits,
        )
        .casting(Rc::new(Caster));
        let stamp = Arc::clone(&self.readiness);
        let app = test::init_service(
            App::new()
                .wrap(from_fn(move |request, next| request_id::stamp(Arc::clone(&stamp), request, next)))
                .configure(|config| server::producer_services(config, state, &self.readiness)),
        )
        .await;
        let response = test::call_service(&app, self.request.to_request()).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        assert!(headers.contains_key("x-request-id"));
        let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
        let appended = log.requests.take();
        Answer { status, headers, body, appended }
    }
}
