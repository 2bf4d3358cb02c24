//! Records that become broadcasts: from `/v1/messages` over a route to the terminals of the shops they concern, once whatever
//! dies on the way; and what single rows come to, held against Redis itself.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tidegate::{
    broadcast::message::{Audience, State},
    resources::{Document, Shop},
};
use tidegate_actors::{
    failpoint,
    ports::{Rejection, WriteError},
    transaction::{Cell, LaneId, Op, SideRow, Statement, Trial},
};

use super::{
    Scene,
    terminal::{Event, Listening, Terminal},
};
use crate::{
    contract::{
        broadcast::{messages, open},
        writer::{DESTINATION, INSTALLATION, Plan, Writer, dead_row, generation, lane},
    },
    servers::{redis::RedisServer, wait_for},
};

const ROUTE: &str = r#"
[[application]]
name = "head-office"
topics = ["items"]

[[destination]]
name = "shops"
kind = "broadcast"
url = "broadcast://shops"

[[route]]
name = "price-news"
application = "head-office"
topic = "items"
destination = "shops"
table = "broadcasts"
key = ["key"]
on_missing = "insert"
[route.columns]
key = "sku"
shop = "shop"
category = { value = "price" }
title = { expr = "'New price: ' + data.name" }
text = { expr = "'Price of ' + data.name + ': ' + string(data.price)" }
"#;

fn gallery(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gallery/price-news").join(name)).unwrap()
}

/// Posts records to a node.
async fn post(scene: &Scene, node: &str, key: &str, body: String) {
    let url = format!("http://127.0.0.1:{}/v1/messages", scene.nodes[node].0.listen);
    let request = awc::Client::default().post(&url).bearer_auth(key).content_type("application/x-ndjson");
    let mut answer = request.send_body(body).await.unwrap();
    let body = answer.body().await.unwrap();
    assert_eq!(answer.status(), 202, "{}", String::from_utf8_lossy(&body));
}

fn price(action: &str, price: u32) -> String {
    let data = json!({"sku": "K-7", "name": "Knife", "price": price, "shop": "s1"});
    json!({"topic": "items", "action": action, "key": "K-7", "data": data}).to_string()
}

/// What a stream has said of messages.
fn said(listening: &Listening) -> Vec<Event> {
    let of_messages = |event: &Event| matches!(event.name.as_str(), "message" | "correct" | "recall");
    listening.events().into_iter().filter(of_messages).collect()
}

#[actix_web::test]
async fn the_example_of_the_gallery_comes_out_as_it_says() {
    let scene = Scene::start(&["a"]).await;
    scene.installation.apply(&gallery("routes.toml"));
    let key = scene.installation.run(&["key", "create", "head-office"]).trim().to_owned();
    let wanted: Value = serde_json::from_str(&gallery("terminals.json")).unwrap();
    let mut terminals: Vec<(&str, Terminal, Listening)> = Vec::new();
    for shop in ["menteng", "dago"] {
        let terminal = scene.terminal("a", shop).await;
        let listening = terminal.listen(None).await;
        listening.is_open().await;
        terminals.push((shop, terminal, listening));
    }
    // One after the other: changes of one key that come in one batch are told as one.
    let told = [[1, 0], [2, 1], [3, 1], [3, 1], [4, 2]];
    for (record, told) in gallery("records.ndjson").lines().zip(told) {
        post(&scene, "a", &key, record.to_owned()).await;
        for ((shop, _, listening), told) in terminals.iter().zip(told) {
            listening.until(shop, |_| said(listening).len() == told).await;
        }
    }
    for (shop, _, listening) in &terminals {
        let wanted = wanted[shop].as_array().unwrap();
        listening.until(shop, |_| said(listening).len() >= wanted.len()).await;
        let said = said(listening);
        let seen: Vec<Value> = said
            .iter()
            .map(|Event { name, data }| {
                let mut shown = data.clone();
                for varying in ["id", "sent_at", "corrected_at"] {
                    shown.as_object_mut().unwrap().remove(varying);
                }
                shown["event"] = name.as_str().into();
                shown
            })
            .collect();
        assert_eq!(seen, *wanted, "{shop}");
        // Corrections and recalls are of the messages before them.
        assert_eq!(said.last().unwrap().data["id"], said[said.len().min(3) - 2].data["id"], "{shop}: {said:?}");
    }
    let refused = wanted["refused"].as_array().unwrap();
    wait_for("what is refused", Duration::from_secs(20), async || {
        let letters = scene.installation.run(&["dead", "list", "--json"]);
        let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let found: Vec<Value> = letters
            .iter()
            .map(|letter| {
                let key = letter["key"].as_str().map_or_else(|| letter["key"].to_string(), str::to_owned);
                json!({"route": letter["route"], "key": key, "code": letter["code"], "column": letter["column"]})
            })
            .collect();
        (found == *refused).then_some(())
    })
    .await;
    let checked = scene.installation.run(&["check", "shops"]);
    assert!(checked.contains("2 terminals"), "{checked}");
    // What the node's actors show of it: the destination as any other, and who brings it to the terminals.
    let url = format!("http://127.0.0.1:{}/health/actors", scene.nodes["a"].0.admin);
    wait_for("the actors to have caught up", Duration::from_secs(20), async || {
        let (_, body) = crate::e2e::installation::get(&url).await?;
        let health: Value = serde_json::from_str(&body).unwrap();
        let of = |kind: &str, name: &str| {
            let all = health["actors"].as_array().unwrap().iter();
            let mut of_kind = all.filter(|actor| actor["kind"] == kind && actor["name"] == name);
            of_kind.next().map_or(Value::Null, |actor| actor["detail"].clone())
        };
        let (shops, terminals) = (of("destination", "shops"), of("broadcast", "terminals"));
        let sound = shops["status"] == "up" && shops["backlog"] == 0 && shops["rows_written"].as_u64() >= Some(4);
        let brought = terminals["terminals"] == 2 && terminals["lag_ms"] == 0 && terminals["last_event"].is_string();
        (sound && brought && shops["dead_letters_made"].as_u64() >= Some(1)).then_some(())
    })
    .await;
}

/// Each time the node that writes dies right behind its commit, so that the next one can't know of it.
#[actix_web::test]
async fn a_record_is_one_message_whatever_dies_on_the_way() {
    let mut scene = Scene::start(&["a", "b"]).await;
    scene.installation.apply(ROUTE);
    let key = scene.installation.run(&["key", "create", "head-office"]).trim().to_owned();
    let (mine, other) = (scene.terminal("a", "s1").await, scene.terminal("a", "s2").await);
    for name in ["a", "b"] {
        scene.node(name).kill();
    }
    let mut told: Vec<Event> = Vec::new();
    let mut cursor = None;
    let steps = [("upsert", 150_000), ("upsert", 145_000), ("update", 140_000), ("delete", 0)];
    for (number, (action, amount)) in steps.into_iter().enumerate() {
        let installation = &scene.installation;
        let (node, _) = scene.nodes.get_mut("a").unwrap();
        node.environment.insert("FAILPOINTS", format!("{}=1*return", failpoint::AFTER_COMMIT));
        node.start(installation);
        node.ready().await;
        post(&scene, "a", &key, price(action, amount)).await;
        let node = scene.node("a");
        wait_for("the node dies behind its commit", Duration::from_secs(20), async || node.ended()).await;
        let installation = &scene.installation;
        scene.nodes.get_mut("b").unwrap().0.start(installation);
        scene.nodes["b"].0.ready().await;
        // The producer got no answer that it knows of, and sends again.
        if action != "update" {
            post(&scene, "b", &key, price(action, amount)).await;
        }
        let listening = mine.listen_at(&scene.base("b"), cursor.as_deref()).await;
        listening.until("the message", |_| told.len() + said(&listening).len() == number + 1).await;
        wait_for("nothing waits", Duration::from_secs(20), async || {
            let detail = scene.nodes["b"].0.destination("shops").await;
            (detail["status"] == "up" && detail["backlog"] == 0).then_some(())
        })
        .await;
        let theirs = other.listen_at(&scene.base("b"), None).await;
        theirs.is_open().await;
        assert!(said(&theirs).is_empty(), "another shop sees nothing of it");
        told.extend(said(&listening));
        cursor = Some(listening.cursor());
        drop(listening);
        scene.node("b").kill();
    }
    let what: Vec<_> = told.iter().map(|event| (event.name.as_str(), event.data["text"].as_str())).collect();
    assert_eq!(
        what,
        [
            ("message", Some("Price of Knife: 150000")),
            ("correct", Some("Price of Knife: 145000")),
            ("correct", Some("Price of Knife: 140000")),
            ("recall", None),
        ]
    );
    assert!(told.iter().all(|event| event.data["id"] == told[0].data["id"]), "{told:?}");
}

/// A destination in a Redis of its own, of a node that knows two shops.
struct Desk {
    server: RedisServer,
    writer: Writer,
    plan: Plan,
}

impl Desk {
    async fn new() -> Self {
        let server = RedisServer::start().await;
        let shop = |name: &str, region: &str| Shop { name: name.into(), title: name.into(), region: region.into() };
        let document = Document { shops: vec![shop("s1", "west"), shop("s2", "east")], ..Document::default() };
        let mut destination = open(&server, document);
        let found = destination.take_over(INSTALLATION, DESTINATION, "one").await.unwrap();
        let at = tidegate_actors::message::StreamId::ZERO;
        destination.begin_lane(&lane("app"), &generation(), "one", at).await.unwrap();
        let table = destination.table("broadcasts").await.unwrap();
        let plan = Plan(std::sync::Arc::new(tidegate_actors::transaction::TablePlan {
            route: "route".into(),
            columns: (0..table.columns.len()).collect(),
            table: std::sync::Arc::new(table),
            key: vec![0],
            only_unique_key: true,
            version: None,
        }));
        Self { server, writer: Writer { destination, owner: "one".into(), lane: lane("app"), at, found }, plan }
    }

    async fn write(&mut self, statement: Statement) -> Result<Vec<(usize, usize)>, WriteError> {
        self.writer.write(vec![statement]).await.map(|committed| committed.untouched)
    }

    /// `key state text` of every message, by when it was made and its text.
    async fn all(&self) -> Vec<String> {
        let mut all = messages(&self.server).await;
        all.sort_by_key(|message| (message.state != State::Recalled, message.content.text.clone()));
        all.iter()
            .map(|message| {
                let key = message.own_id.as_deref().unwrap_or("-");
                format!("{key} {} {}", message.state.as_str(), message.content.text)
            })
            .collect()
    }
}

const ALL: [&str; 4] = ["key", "shop", "title", "text"];

fn refused(outcome: Result<Vec<(usize, usize)>, WriteError>) -> Rejection {
    match outcome {
        Err(WriteError::Reject(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn rows_make_correct_and_recall_messages() {
    let mut desk = Desk::new().await;
    let plan = desk.plan.clone();
    let row = |text: &'static str| ["k", "s1", "Knife", text];
    assert!(desk.write(plan.texts(Op::Insert, &ALL, &[&row("1")])).await.unwrap().is_empty());
    assert_eq!(desk.all().await, ["k sent 1"]);
    // The same again is nothing new; another text is a correction, of whatever action.
    desk.write(plan.texts(Op::Insert, &ALL, &[&row("1")])).await.unwrap();
    assert!(messages(&desk.server).await[0].versions.is_empty());
    desk.write(plan.texts(Op::Insert, &ALL, &[&row("2")])).await.unwrap();
    desk.write(plan.texts(Op::Update, &["key", "text"], &[&["k", "3"]])).await.unwrap();
    let message = messages(&desk.server).await.remove(0);
    assert_eq!(message.versions.iter().map(|one| one.content.text.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((message.by.as_str(), message.content.title.as_str()), ("route route", "Knife"));
    // A default of the route is for new ones only.
    let mut upsert = plan.texts(Op::Upsert, &["key", "shop", "title", "text"], &[&["k", "s1", "Knife", "9"]]);
    upsert.insert_only = vec![3];
    desk.write(upsert).await.unwrap();
    assert_eq!(desk.all().await, ["k sent 3"]);
    // Another audience can't be told by a correction.
    desk.write(plan.texts(Op::Upsert, &["key", "shop"], &[&["k", r#"["s1", "s2"]"#]])).await.unwrap();
    assert_eq!(desk.all().await, ["k recalled 3", "k sent 3"]);
    assert!(desk.write(plan.texts(Op::Delete, &["key"], &[&["k"]])).await.unwrap().is_empty());
    assert_eq!(desk.write(plan.texts(Op::Delete, &["key"], &[&["k"]])).await.unwrap(), [(0, 0)]);
    let mut update = plan.texts(Op::Update, &["key", "text"], &[&["k", "4"]]);
    assert_eq!(refused(desk.write(update.clone()).await).code, "missing_row");
    update.must_touch = false;
    assert_eq!(desk.write(update).await.unwrap(), [(0, 0)]);
    desk.write(plan.texts(Op::Upsert, &ALL, &[&row("5")])).await.unwrap();
    desk.write(plan.texts(Op::Replace, &ALL, &[&row("6")])).await.unwrap();
    assert_eq!(desk.all().await, ["k recalled 3", "k recalled 3", "k recalled 5", "k sent 6"]);
    // Without a key each is a message of its own.
    for _ in 0..2 {
        desk.write(plan.texts(Op::Insert, &["audience", "title", "text"], &[&["all", "t", "a"]])).await.unwrap();
    }
    let all = messages(&desk.server).await;
    assert_eq!(all.iter().filter(|message| message.audience == Audience::all()).count(), 2);
}

#[actix_web::test]
async fn what_will_not_do_is_refused_with_its_column() {
    let mut desk = Desk::new().await;
    let plan = desk.plan.clone();
    let long = "x".repeat(121);
    let table: [(&[&str], &[&str], &str, &str); 9] = [
        (&ALL, &["k", "nowhere", "t", "x"], "check", "shop"),
        (&ALL, &["k", r#"["s1", "nowhere"]"#, "t", "x"], "check", "shop"),
        (&["key", "region", "title", "text"], &["k", "north", "t", "x"], "check", "region"),
        (&["key", "title", "text"], &["k", "t", "x"], "check", "audience"),
        (&["key", "shop", "category", "title", "text"], &["k", "s1", "sale", "t", "x"], "check", "category"),
        (&ALL, &["k", "s1", &long, "x"], "too_long", "title"),
        (&ALL, &["k", "s1", "t\nu", "x"], "check", "title"),
        (&ALL, &["k", "s1", "t", " "], "check", "text"),
        (&["key", "shop", "title"], &["k", "s1", "t"], "not_null", "text"),
    ];
    let good: &[&str] = &["good", "s1", "t", "good"];
    for (columns, cells, code, column) in table {
        let bad = plan.texts(Op::Upsert, columns, &[cells]);
        let statements = vec![plan.texts(Op::Upsert, &ALL, &[good]), bad];
        let rejection = refused(desk.writer.write(statements.clone()).await.map(|committed| committed.untouched));
        let found = (rejection.code.as_str(), rejection.column.as_deref(), rejection.statement, rejection.row);
        assert_eq!(found, (code, Some(column), Some(1), Some(0)), "{cells:?}");
        assert!(!rejection.message.contains("nowhere") && !rejection.message.contains("sale"), "{rejection}");
        let sifted = desk.writer.destination.sift(&desk.writer.transaction(statements)).await.unwrap();
        assert_eq!(sifted.iter().map(|one| (one.statement, one.row)).collect::<Vec<_>>(), [(Some(1), Some(0))]);
    }
    let mut sided = desk.writer.transaction(vec![plan.texts(Op::Upsert, &["key", "title"], &[&["k", "t"]])]);
    let part = LaneId { part: "table broadcasts".into(), ..lane("app") };
    sided.open = vec![SideRow { lane: part, generation: generation(), last_id: desk.writer.at }];
    assert!(matches!(desk.writer.commit(sided).await, Err(WriteError::Reject(_))));
    assert!(messages(&desk.server).await.is_empty(), "all or nothing");
    // On trial, what is refused is given up and the rest is written.
    let bad: &[&str] = &["k", "nowhere", "t", "x"];
    let statements = vec![plan.texts(Op::Upsert, &ALL, &[good]), plan.texts(Op::Upsert, &ALL, &[bad])];
    let trial = Trial { statements: 1..2, bury: dead_row(1, "r", "broadcasts", Some("k")), supersede: None };
    let transaction = desk.writer.transaction(statements);
    let tried = desk.writer.destination.commit_trials(&transaction, &[trial]).await.unwrap();
    assert_eq!(
        tried.refused.iter().map(|(place, why)| (*place, why.column.as_deref())).collect::<Vec<_>>(),
        [(0, Some("shop"))]
    );
    assert_eq!(desk.all().await, ["good sent good"]);
    let found = open(&desk.server, Document::default()).take_over(INSTALLATION, DESTINATION, "two").await.unwrap();
    assert_eq!((found.dead.len(), found.rows.len()), (1, 1));
}

#[actix_web::test]
async fn while_redis_is_away_it_is_tried_again() {
    let mut desk = Desk::new().await;
    desk.server.kill();
    let row =
        desk.plan.statement(Op::Upsert, &ALL, vec![["k", "s1", "t", "x"].map(|cell| Cell::Text(cell.into())).to_vec()]);
    match desk.write(row.clone()).await {
        Err(WriteError::Retry(fault)) => assert!(fault.connection_lost, "{fault}"),
        other => panic!("{other:?}"),
    }
    desk.server.restart().await;
    desk.write(row).await.unwrap();
    assert_eq!(desk.all().await, ["k sent x"]);
}
