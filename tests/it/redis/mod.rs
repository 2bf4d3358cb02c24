//! The event log against a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod appending;
mod deciding;
mod failover;
mod forms;
mod groups;
mod lanes;
mod looking_up;
mod reading;
mod replaying;
mod sharing;
mod sides;
mod storm;
mod trimming;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tidegate::redis::{Redis, RedisAppender, RedisLog, RedisReader, registration};
use tidegate_actors::{
    message::{Action, MessageId, Position, StreamId},
    ports::{Advance, AppendRequest, Appender, BatchRecord, EventLog, LogError, NewRecord, ReadFrom},
    route::Start,
    transaction::LaneId,
};

use crate::servers::redis::RedisServer;

const APP: &str = "car-app";
const STREAM: &str = "tidegate:{car-app}:stream";
const DESTINATION: &str = "dest00000001";
const TTL: Duration = Duration::from_secs(30);

/// A server with one application, one ordered destination, and one route between them.
struct Scene {
    server: RedisServer,
    redis: Redis,
    appender: RedisAppender,
    log: RedisLog,
    lane: LaneId,
}

impl Scene {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let server = RedisServer::start_with(settings).await;
        let redis = Redis::open(&server.url(), "tidegate").unwrap();
        let appender = RedisAppender::new(&redis, Arc::default());
        let log = RedisLog::new(&redis, "rooms");
        Self { server, redis, appender, log, lane: lane(DESTINATION) }
    }

    async fn append(&self, count: usize) -> Vec<MessageId> {
        self.appender
            .append(request((0..count).map(|n| record(&format!("{{\"n\":{n}}}"))).collect()))
            .await
            .unwrap()
            .ids
    }

    async fn append_one(&self, data: &str) -> MessageId {
        self.appender.append(request(vec![record(data)])).await.unwrap().ids.remove(0)
    }

    async fn register(&self, start: Start) -> Position {
        registration::register_route(&self.redis, APP, "route1", DESTINATION, &start).await.unwrap()
    }

    async fn lease(&mut self) {
        assert!(self.log.lease(std::slice::from_ref(&self.lane), "me", TTL).await.unwrap());
    }

    /// An advance to this place by the rules, as the owner `me`.
    async fn advance_of(&mut self, to: Position) -> Advance {
        let newest = self.log.view(&self.lane).await.unwrap().generations.pop().unwrap().generation;
        Advance {
            lane: self.lane.clone(),
            owner: "me".into(),
            version: 0,
            newest,
            to,
            sides: vec![],
            part: "main".into(),
            known: vec![],
            history: None,
            void: vec![],
        }
    }

    async fn advance(&mut self, to: &Position) -> Result<(), LogError> {
        let advance = self.advance_of(to.clone()).await;
        self.log.advance(&advance).await
    }

    async fn from(&mut self, after: StreamId) -> ReadFrom {
        let newest = self.log.view(&self.lane).await.unwrap().generations.pop().unwrap().generation;
        ReadFrom { lane: self.lane.clone(), after, newest, version: 0, until: None }
    }

    fn reader(&self) -> RedisReader {
        RedisReader::new(&self.redis)
    }
}

fn lane(destination: &str) -> LaneId {
    LaneId { installation: "inst".into(), destination: destination.into(), stream: APP.into(), part: "main".into() }
}

fn record(data: &str) -> NewRecord {
    NewRecord {
        topic: "cars".into(),
        action: Action::Upsert,
        key: Some("42".into()),
        own_id: None,
        traceparent: None,
        data: data.into(),
    }
}

fn own(id: &str, data: &str) -> NewRecord {
    NewRecord { own_id: Some(id.into()), ..record(data) }
}

fn request(records: Vec<NewRecord>) -> AppendRequest {
    AppendRequest { application: APP.into(), records, idempotency: None }
}

fn keyed(key: &str, digest: u8, records: Vec<NewRecord>) -> AppendRequest {
    AppendRequest { idempotency: Some((key.into(), [digest; 32])), ..request(records) }
}

fn batch(first: &MessageId, last: &MessageId, entries: u32) -> BatchRecord {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    BatchRecord {
        first: first.0.id,
        last: last.0.id,
        entries,
        rows: entries,
        started_ms: now.as_millis() as u64,
        took_us: 1500,
        attempts: 1,
        routes: vec![("route1".into(), 1, "digest".into())],
        untouched: vec![],
        folded: true,
    }
}
