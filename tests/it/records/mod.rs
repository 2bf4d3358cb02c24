//! Deliveries, messages and dead letters as operators look at them and act on them, against a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod deliveries;
mod jobs;
mod letters;
mod scale;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidegate::{
    admin::{Role, Who},
    redis::{Redis, RedisAppender, RedisLog, registration},
    registry::Store,
    resources::{Application, Destination, Document},
};
use tidegate_actors::{
    message::{Action, MessageId},
    ports::{
        Advance, AppendRequest, Appender as _, BatchRecord, DeadLetter, EventLog as _, NewRecord, PlanRecord, Rejection,
    },
    route::{RouteSpec, Start},
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::{DeadId, LaneId},
};

use crate::servers::redis::RedisServer;

const TTL: Duration = Duration::from_secs(300);

/// Two applications, two destinations. `car-app` has topics `cars` (into both) and `bikes` (into `rooms`); `shop` has `cars` into
/// `rooms`. Nobody delivers but the test.
struct Scene {
    server: RedisServer,
    redis: Redis,
    document: Document,
    logs: HashMap<String, RedisLog>,
}

fn route(id: &str, application: &str, topic: &str, destination: &str) -> RouteSpec {
    serde_json::from_value(serde_json::json!({
        "id": id, "version": 3, "name": format!("{id}-name"), "application": application, "topic": topic,
        "destination": destination, "table": topic, "key": ["id"],
        "columns": {"id": "id", "title": {"from": "name", "clean": ["trim"]}},
    }))
    .unwrap()
}

fn destination(name: &str) -> Destination {
    serde_json::from_value(serde_json::json!({
        "id": format!("{name}0000001"), "name": name, "kind": "postgres",
        "url": format!("postgres://writer@10.0.0.5:5432/{name}"),
    }))
    .unwrap()
}

fn application(name: &str) -> Application {
    serde_json::from_value(serde_json::json!({"name": name, "created_at_ms": 1})).unwrap()
}

fn document() -> Document {
    Document {
        installation: "inst".into(),
        applications: vec![application("car-app"), application("shop")],
        destinations: vec![destination("rooms"), destination("halls")],
        routes: vec![
            route("r1", "car-app", "cars", "rooms"),
            route("r2", "car-app", "cars", "halls"),
            route("r3", "car-app", "bikes", "rooms"),
            route("r4", "shop", "cars", "rooms"),
        ],
        ..Document::default()
    }
}

fn table(name: &str) -> TableSchema {
    let column = |name: &str, kind| ColumnSchema {
        name: name.into(),
        declared: "text".into(),
        kind,
        nullable: true,
        has_default: false,
        default: None,
        generated: false,
    };
    let id = column("id", ColumnType::Int { min: i128::from(i64::MIN), max: i128::from(i64::MAX) });
    TableSchema {
        schema: String::new(),
        name: name.into(),
        columns: vec![id, column("title", ColumnType::Other)],
        unique_keys: vec![vec!["id".into()]],
    }
}

fn record(topic: &str, id: u64, name: &str) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        action: Action::Upsert,
        key: Some(id.to_string().into()),
        own_id: Some(format!("own-{topic}-{id}").into()),
        traceparent: None,
        data: format!("{{\"id\":{id},\"name\":\" {name} \",\"color\":\"red\"}}").into(),
    }
}

fn lane(application: &str, destination: &str) -> LaneId {
    LaneId {
        installation: "inst".into(),
        destination: format!("{destination}0000001").into(),
        stream: application.into(),
        part: "main".into(),
    }
}

impl Scene {
    async fn new() -> Self {
        let server = RedisServer::start_with(&[("appendonly", "no")]).await;
        let redis = Redis::open(&server.url(), "tidegate").unwrap();
        let document = document();
        let mut scene = Self { server, redis, document, logs: HashMap::new() };
        for route in scene.document.routes.clone() {
            let destination = scene.document.destinations.iter().find(|one| one.name == route.destination).unwrap();
            let (application, id) = (&route.application, &destination.id);
            registration::register_route(&scene.redis, application, &route.id, id, &Start::Now).await.unwrap();
            let mut log = scene
                .logs
                .remove(&destination.name)
                .unwrap_or_else(|| RedisLog::new(&scene.redis, &destination.name).of_node(&Arc::from("node-a")));
            let lane = lane(&route.application, &destination.name);
            assert!(log.lease(std::slice::from_ref(&lane), "me", TTL).await.unwrap());
            let plan = PlanRecord { table: table(&route.table), route: route.clone(), children: vec![] };
            log.keep_plan(&lane, &format!("plan-{}", route.id), &plan).await.unwrap();
            scene.logs.insert(destination.name.clone(), log);
        }
        scene
    }

    fn store(&self) -> Store {
        Store::open(&self.server.url().parse().unwrap(), "tidegate").unwrap()
    }

    async fn append(&self, application: &str, records: Vec<NewRecord>) -> Vec<MessageId> {
        let appender = RedisAppender::new(&self.redis, Arc::default());
        let request = AppendRequest { application: application.into(), records, idempotency: None };
        appender.append(request).await.unwrap().ids
    }

    async fn append_one(&self, application: &str, topic: &str, id: u64, name: &str) -> MessageId {
        self.append(application, vec![record(topic, id, name)]).await.remove(0)
    }

    /// The destination has everything from one message to another, in one batch, for these routes.
    async fn deliver(
        &mut self,
        application: &str,
        destination: &str,
        (first, last): (&MessageId, &MessageId),
        entries: u32,
        routes: &[&str],
    ) {
        let lane = lane(application, destination);
        let log = self.logs.get_mut(destination).unwrap();
        let newest = log.view(&lane).await.unwrap().generations.pop().unwrap().generation;
        let history = BatchRecord {
            first: first.0.id,
            last: last.0.id,
            entries,
            rows: entries,
            started_ms: 1_748_764_800_000,
            took_us: 1_500,
            attempts: 2,
            routes: routes.iter().map(|id| ((*id).into(), 3, format!("plan-{id}"))).collect(),
            untouched: vec![],
            folded: entries > 1,
        };
        let advance = Advance {
            lane,
            owner: "me".into(),
            version: 0,
            newest,
            to: last.0.clone(),
            sides: vec![],
            part: "main".into(),
            known: vec![],
            history: Some(history),
            void: vec![],
        };
        log.advance(&advance).await.unwrap();
    }

    async fn bury(&mut self, destination: &str, letters: &[DeadLetter]) {
        let log = self.logs.get_mut(destination).unwrap();
        let application = letters[0].application.clone();
        log.keep_dead(&lane(&application, destination), letters).await.unwrap();
    }
}

fn letter(application: &str, message: &MessageId, route: &str, number: u64) -> DeadLetter {
    let (code, column, text) = match number % 3 {
        0 => ("unique", Some("id"), format!("Duplicate entry '{number}' for key 'cars'")),
        1 => ("too_long", Some("title"), "title holds 20 characters at most".to_owned()),
        _ => ("check", None, format!("value {number} is out of range")),
    };
    DeadLetter {
        dead: DeadId { generation: message.0.generation.clone(), id: message.0.id, route: route.into() },
        application: application.into(),
        route_name: format!("{route}-name"),
        topic: "cars".into(),
        action: "upsert".into(),
        key: Some(number.to_string()),
        data: format!("{{\"id\":{number},\"name\":\"Avanza <script>alert(1)</script>\"}}"),
        table: "cars".into(),
        reason: Rejection {
            statement: None,
            row: None,
            code: code.into(),
            column: column.map(str::to_owned),
            message: text,
        },
        attempts: 1,
        at_ms: 1_748_764_800_000 + number * 1_000,
        redrive_error: None,
        superseded_by: None,
        blocked_by: None,
        edited: None,
    }
}

fn who(role: Role) -> Who {
    Who { name: "siti".into(), role, from: "127.0.0.1".into() }
}
