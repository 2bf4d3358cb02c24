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

/// A moment so many seconds from now, as a cell has it.
fn moment(seconds: i64) -> String {
    let moment = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    moment.format("%Y-%m-%d %H:%M:%S%.3f+00:00").to_string()
}

#[actix_web::test]
async fn a_row_for_later_waits_may_become_another_one_and_is_sent_or_taken_back() {
    const LATER: [&str; 5] = ["key", "shop", "title", "text", "send_at"];
    let mut desk = Desk::new().await;
    let plan = desk.plan.clone();
    let (soon, later) = (moment(3_600), moment(7_200));
    let mut connection = desk.server.connection().await;
    let mut queued = async || {
        let due: Vec<(String, u64)> = redis::cmd("ZRANGE")
            .arg("tidegate:{broadcasts}:scheduled")
            .arg(&[0, -1])
            .arg("WITHSCORES")
            .query_async(&mut connection)
            .await
            .unwrap();
        let told: u64 = redis::cmd("XLEN").arg("tidegate:{broadcasts}:log").query_async(&mut connection).await.unwrap();
        (due, told)
    };
    desk.write(plan.texts(Op::Upsert, &LATER, &[&["k", "s1", "Knife", "1", &soon]])).await.unwrap();
    let first = messages(&desk.server).await.remove(0);
    assert_eq!((first.state, first.sent_ms), (State::Scheduled, None));
    assert_eq!(queued().await, (vec![(first.id.clone(), first.due_ms.unwrap())], 0), "nobody is told yet");
    // Nobody has it: text, audience and time become others in the same message.
    desk.write(plan.texts(Op::Upsert, &LATER, &[&["k", "s2", "Knife", "2", &later]])).await.unwrap();
    let second = messages(&desk.server).await.remove(0);
    assert_eq!((&second.id, second.state, &*second.content.text), (&first.id, State::Scheduled, "2"));
    assert_eq!((&second.audience.shops, second.versions.len()), (&vec!["s2".to_owned()], 0));
    assert_eq!(second.due_ms.unwrap() - first.due_ms.unwrap(), 3_600_000);
    assert_eq!(queued().await, (vec![(second.id.clone(), second.due_ms.unwrap())], 0));
    // A row that does not speak of the time leaves it; one without a time sends it.
    desk.write(plan.texts(Op::Update, &["key", "text"], &[&["k", "3"]])).await.unwrap();
    assert_eq!(messages(&desk.server).await.remove(0).due_ms, second.due_ms);
    let now = vec![vec![Cell::Text("k".into()), Cell::Null]];
    desk.write(plan.statement(Op::Update, &["key", "send_at"], now)).await.unwrap();
    let third = messages(&desk.server).await.remove(0);
    assert!(third.id == first.id && third.state == State::Sent && third.sent_ms.is_some(), "{third:?}");
    assert_eq!(queued().await, (vec![], 1));
    // What was sent is not unsent: the rest is a correction.
    desk.write(plan.texts(Op::Update, &["key", "text", "send_at"], &[&["k", "4", &later]])).await.unwrap();
    assert_eq!((desk.all().await, queued().await), (vec!["k sent 4".to_owned()], (vec![], 2)));
    // A time that is over is now; what waits can be taken back, of which nobody is told.
    desk.write(plan.texts(Op::Insert, &LATER, &[&["past", "s1", "t", "5", &moment(-60)]])).await.unwrap();
    desk.write(plan.texts(Op::Insert, &LATER, &[&["gone", "s1", "t", "6", &soon]])).await.unwrap();
    assert_eq!(queued().await.1, 3);
    desk.write(plan.texts(Op::Delete, &["key"], &[&["gone"]])).await.unwrap();
    assert_eq!(queued().await, (vec![], 3));
    assert_eq!(desk.all().await, ["gone recalled 6", "k sent 4", "past sent 5"]);
    // What can never be sent in time is refused.
    let far = moment(91 * 86_400);
    let refusal = refused(desk.write(plan.texts(Op::Insert, &LATER, &[&["far", "s1", "t", "x", &far]])).await);
    assert_eq!((refusal.code.as_str(), refusal.column.as_deref()), ("range", Some("send_at")));
    let over = ["key", "shop", "title", "text", "valid_until", "send_at"];
    let row = ["over", "s1", "t", "x", soon.as_str(), later.as_str()];
    let refusal = refused(desk.write(plan.texts(Op::Insert, &over, &[&row])).await);
    assert_eq!((refusal.code.as_str(), refusal.column.as_deref()), ("check", Some("valid_until")));
}

#[actix_web::test]
async fn a_record_for_later_is_one_message_when_its_time_has_come() {
    let scene = Scene::start(&["a", "b"]).await;
    scene.installation.apply(&ROUTE.replace("category = {", "send_at = \"on\"\ncategory = {"));
    let key = scene.installation.run(&["key", "create", "head-office"]).trim().to_owned();
    let terminal = scene.terminal("a", "s1").await;
    let listening = terminal.listen(None).await;
    listening.is_open().await;
    let at = chrono::Utc::now() + chrono::TimeDelta::seconds(6);
    let record = |sku: &str, name: &str, on: &str| {
        let data = json!({"sku": sku, "name": name, "price": 1, "shop": "s1", "on": on});
        json!({"topic": "items", "action": "insert", "key": sku, "data": data}).to_string()
    };
    let past = "2026-01-01T00:00:00Z";
    post(&scene, "a", &key, record("K-1", "Later", &at.to_rfc3339()) + "\n" + &record("K-2", "Now", past)).await;
    listening.until("the one for now", |_| !said(&listening).is_empty()).await;
    listening.until("the one for later", |_| said(&listening).len() == 2).await;
    let titles: Vec<_> = said(&listening).iter().map(|event| event.data["title"].clone()).collect();
    assert_eq!(titles, ["New price: Now", "New price: Later"]);
    let sent = said(&listening)[1].data["sent_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!(sent.timestamp_millis() >= at.timestamp_millis(), "{sent} is before {at}");
    // Twice would be seen before what comes after it.
    post(&scene, "b", &key, record("K-3", "After", past)).await;
    listening.until("what comes after it", |_| said(&listening).len() >= 3).await;
    assert_eq!(said(&listening)[2].data["title"], "New price: After");
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
