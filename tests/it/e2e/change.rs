//! Tables that change while records flow into them, routes that begin in the past, and replays (delivery rules 8 and 9): two
//! nodes behind HAProxy, PostgreSQL and MariaDB, each run followed by the ledger check.
//!
//! Each destination has a third table beside the ledger's two: `trail`, insert only like `events`, is the one that changes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    faults::{PATIENCE, Scene, mariadb, postgres},
    installation::{Installation, get_as, manifest},
    ledger::{Acknowledged, Target},
    load::Producers,
    wait_until_sent,
};
use crate::servers::wait_for;

/// A message that no producer sends: what is asked about.
const PROBE: i64 = 9_000_000;

/// The third table.
fn trail(kind: &str) -> String {
    let seq = match kind {
        "postgres" => "bigint generated always as identity primary key",
        _ => "bigint auto_increment primary key",
    };
    format!(
        "create table trail (seq {seq}, id bigint not null, version bigint not null, car_name varchar(200), stock int)"
    )
}

/// The manifest with a route into `trail` for each destination.
fn with_trail(targets: &[Target], start: &str) -> String {
    let mut text = manifest(targets);
    for Target { name, .. } in targets {
        text += &format!(
            r#"
[[route]]
name = "{name}-trail"
application = "car-app"
topic = "cars"
destination = "{name}"
table = "trail"
start = "{start}"
[route.columns]
id = "id"
version = "version"
car_name = "car_name"
stock = {{ from = "stock", as = "int" }}
"#
        );
    }
    text
}

/// How many messages have arrived in `trail`; none where that cannot be asked.
async fn trailed(target: &Target) -> Option<i64> {
    target.pairs("select count(*), count(*) from trail").await.map(|rows| rows[0].0)
}

/// Holds `trail` against what was acknowledged, as `events` is.
async fn check_trail(target: &Target, acknowledged: &Acknowledged) {
    let expected: i64 = acknowledged.values().sum();
    wait_for(&format!("{}: trail has {expected} messages", target.name), PATIENCE, async || {
        trailed(target).await.filter(|arrived| *arrived >= expected)
    })
    .await;
    let rows = target.pairs("select id, version from trail order by seq").await.expect("the database answers");
    let mut seen = Acknowledged::new();
    for (id, version) in rows {
        let last = seen.entry(id).or_default();
        assert_eq!(version, *last + 1, "{}: trail, key {id}: version {version} came after {last}", target.name);
        *last = version;
    }
    assert_eq!(seen, *acknowledged, "{}: trail has every message once, in the order of its key", target.name);
}

impl Scene {
    /// Both nodes in service, with the third table and its routes in both databases.
    async fn with_three_tables() -> Self {
        let targets = vec![postgres("pg").await, mariadb("my").await];
        for target in &targets {
            target.execute(&trail(target.kind)).await;
        }
        let installation = Installation::new().await;
        installation.apply(&with_trail(&targets, "now"));
        let mut scene = Self::new(installation, targets.clone(), &targets).await;
        scene.start_nodes().await;
        scene
    }

    /// `detail` of a destination, as its owner shows it.
    async fn detail(&self, target: &Target) -> Option<Value> {
        let writer = self.writer(target).await?;
        Some(self.nodes[writer].destination(&target.name).await)
    }

    /// Waits until the owner shows `trail` as held, with these words in the reason.
    async fn wait_until_held(&self, target: &Target, words: &[&str]) {
        wait_for(&format!("{}: trail is shown as held for {words:?}", target.name), PATIENCE, async || {
            let detail = self.detail(target).await?;
            let held = detail["held_tables"].as_array()?.iter().find(|held| {
                held["table"].as_str().is_some_and(|table| table == "trail" || table.ends_with(".trail"))
            })?;
            let why = held["why"].as_str()?;
            (detail["status"] == "up" && words.iter().all(|word| why.contains(word))).then_some(())
        })
        .await;
    }

    /// Waits until nothing of a destination is held or behind.
    async fn wait_until_level(&self, target: &Target) {
        wait_for(&format!("{}: nothing is held or behind", target.name), PATIENCE, async || {
            let detail = self.detail(target).await?;
            let none = |field: &str| detail[field].as_array().is_none_or(Vec::is_empty);
            (detail["status"] == "up" && none("held_tables") && none("catching_up")).then_some(())
        })
        .await;
    }

    /// Sends one message of its own; its id.
    async fn send_probe(&self, version: i64) -> String {
        let body = json!({"topic": "cars", "key": PROBE,
            "data": {"id": PROBE, "version": version, "car_name": "probe", "stock": 1}});
        let client = awc::Client::builder().timeout(Duration::from_secs(3)).finish();
        let mut answer = client
            .post(format!("{}/v1/messages", self.balancer.url()))
            .insert_header(("Authorization", format!("Bearer {}", self.key)))
            .send_json(&body)
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.body().await.unwrap()).unwrap();
        answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Where a message stands on a route.
    async fn status(&self, message: &str, route: &str) -> Option<Value> {
        let url = format!("{}/v1/messages/{message}", self.balancer.url());
        let (status, body) = get_as(&url, &self.key).await?;
        // A look-up that takes too long is refused, and asked again.
        assert!(matches!(status, 200 | 502 | 503), "{status} {body}");
        if status != 200 {
            return None;
        }
        let body: Value = serde_json::from_str(&body).unwrap();
        body["deliveries"].as_array()?.iter().find(|delivery| delivery["route"] == route).cloned()
    }

    async fn wait_for_status(&self, message: &str, route: &str, status: &str) -> Value {
        wait_for(&format!("{message} is {status} on {route}"), PATIENCE, async || {
            self.status(message, route).await.filter(|delivery| delivery["status"] == status)
        })
        .await
    }

    /// The load goes on for a while; then the producers stop and every table of every database is held against the ledger.
    async fn settle_all(&self, producers: Producers, probes: i64) {
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 100).await;
        let mut acknowledged = producers.stop().await;
        acknowledged.extend((probes > 0).then_some((PROBE, probes)));
        super::settle(&self.targets, &acknowledged).await;
        for target in &self.targets {
            check_trail(target, &acknowledged).await;
            self.wait_until_level(target).await;
        }
    }
}

/// What is done to `trail`, how it is undone, and what the operator must be told, by kind of database.
struct Change {
    done: fn(&str) -> Vec<&'static str>,
    undone: fn(&str) -> Vec<&'static str>,
    told: &'static [&'static str],
}

/// The change is made and undone in both databases while records flow; the other tables of each go on.
async fn lives_through(change: Change) {
    let scene = Scene::with_three_tables().await;
    let producers = scene.load().start();
    scene.wait_until_delivered(200).await;
    for target in &scene.targets {
        for sql in (change.done)(target.kind) {
            target.execute(sql).await;
        }
    }
    for target in &scene.targets {
        scene.wait_until_held(target, change.told).await;
    }
    let held = scene.send_probe(1).await;
    // The others go on.
    scene.wait_until_delivered(300).await;
    for target in &scene.targets {
        let name = &target.name;
        let delivery = scene.wait_for_status(&held, &format!("{name}-trail"), "held").await;
        let why = delivery["error"]["message"].as_str().unwrap_or_default();
        assert!(change.told.iter().all(|word| why.contains(word)), "{delivery}");
        scene.wait_for_status(&held, &format!("{name}-cars"), "delivered").await;
    }
    let shown = scene.installation.run(&["status", "--once"]);
    assert!(shown.contains("is held") && change.told.iter().all(|word| shown.contains(word)), "{shown}");
    for target in &scene.targets {
        for sql in (change.undone)(target.kind) {
            target.execute(sql).await;
        }
    }
    for target in &scene.targets {
        let route = format!("{}-trail", target.name);
        let delivery = scene.wait_for_status(&held, &route, "delivered").await;
        assert_eq!(delivery["sent"]["car_name"], "probe", "{delivery}");
    }
    scene.settle_all(producers, 1).await;
}

#[actix_web::test]
async fn a_dropped_column_holds_its_table_alone() {
    lives_through(Change {
        done: |_| vec!["alter table trail drop column car_name"],
        undone: |_| vec!["alter table trail add column car_name varchar(200)"],
        told: &["car_name"],
    })
    .await;
}

#[actix_web::test]
async fn a_renamed_table_holds_itself_alone() {
    lives_through(Change {
        done: |_| vec!["alter table trail rename to trail_of_before"],
        undone: |_| vec!["alter table trail_of_before rename to trail"],
        told: &["trail"],
    })
    .await;
}

#[actix_web::test]
async fn a_new_required_column_holds_its_table_alone() {
    lives_through(Change {
        done: |kind| match kind {
            "postgres" => vec![
                "alter table trail add column workshop int not null default 0",
                "alter table trail alter column workshop drop default",
            ],
            _ => vec!["alter table trail add column workshop int not null"],
        },
        undone: |_| vec!["alter table trail alter column workshop set default 7"],
        told: &["workshop"],
    })
    .await;
}

#[actix_web::test]
async fn a_column_of_another_type_holds_its_table_alone() {
    lives_through(Change {
        done: |_| vec!["alter table trail drop column stock, add column stock date"],
        undone: |_| vec!["alter table trail drop column stock, add column stock int"],
        told: &["stock"],
    })
    .await;
}

/// The owner is killed while the table is held, and again while it catches up; the other node goes on with both.
#[actix_web::test]
async fn an_owner_killed_while_a_table_is_held_and_while_it_catches_up_loses_and_doubles_nothing() {
    let mut scene = Scene::with_three_tables().await;
    let mut load = scene.load();
    // Not more than the machine takes with ease: a side row gains on main only while main keeps up with what comes in.
    load.batch = 3;
    let producers = load.start();
    scene.wait_until_delivered(200).await;
    for target in scene.targets.clone() {
        target.execute("alter table trail drop column car_name").await;
        scene.wait_until_held(&target, &["car_name"]).await;
        scene.wait_until_delivered(500).await;
        let owner = wait_for("it has an owner", PATIENCE, async || scene.writer(&target).await).await;
        scene.nodes[owner].kill();
        scene.wait_for_writer(&target, 1 - owner).await;
        scene.wait_until_held(&target, &["car_name"]).await;
        scene.wait_until_delivered(1_500).await;
        scene.nodes[owner].start(&scene.installation);
        scene.nodes[owner].ready().await;
        scene.wait_until_both_write().await;
        // It stands still a moment for each row, so that there is time to end its writer in between.
        target.execute(&slow(target.kind)).await;
        let before = trailed(&target).await.unwrap();
        target.execute("alter table trail add column car_name varchar(200)").await;
        wait_for("it catches up", PATIENCE, async || trailed(&target).await.filter(|now| *now > before)).await;
        let (trail, events) = (trailed(&target).await.unwrap(), target.arrived().await.unwrap());
        let owner = wait_for("it has an owner", PATIENCE, async || scene.writer(&target).await).await;
        scene.nodes[owner].kill();
        assert!(trail < events, "killed in the middle: {trail} of {events}");
        scene.wait_for_writer(&target, 1 - owner).await;
        target.execute(&fast(target.kind)).await;
        scene.wait_until_level(&target).await;
        scene.nodes[owner].start(&scene.installation);
        scene.nodes[owner].ready().await;
        scene.wait_until_both_write().await;
    }
    scene.settle_all(producers, 0).await;
}

/// A trigger that takes two milliseconds for each row.
fn slow(kind: &str) -> String {
    match kind {
        "postgres" => "create function wait() returns trigger language plpgsql as \
                       'begin perform pg_sleep(0.002); return new; end'; \
                       create trigger slow before insert on trail for each row execute function wait()"
            .to_owned(),
        _ => "create trigger slow before insert on trail for each row set @waited = sleep(0.002)".to_owned(),
    }
}

fn fast(kind: &str) -> String {
    let on = if kind == "postgres" { " on trail" } else { "" };
    format!("drop trigger slow{on}")
}

/// A route that is added with `start = "earliest"` gets what is retained, and what comes meanwhile, once and in order; its
/// owner is killed on the way.
#[actix_web::test]
async fn a_route_that_begins_in_the_past_gets_everything_once() {
    let targets = vec![postgres("pg").await, mariadb("my").await];
    let mut scene = Scene::new(Installation::new().await, targets.clone(), &targets).await;
    scene.start_nodes().await;
    let mut load = scene.load();
    load.batch = 10;
    let producers = load.start();
    scene.wait_until_delivered(1_000).await;
    let old = scene.send_probe(1).await;
    scene.wait_for_status(&old, "pg-cars", "delivered").await;
    for target in &targets {
        target.execute(&trail(target.kind)).await;
        target.execute(&slow(target.kind)).await;
    }
    let file = scene.installation.dir.path().join("with-trail.toml");
    std::fs::write(&file, with_trail(&targets, "earliest")).unwrap();
    let said = scene.installation.run(&["apply", file.to_str().unwrap()]);
    assert!(said.contains("route pg-trail catches up from the earliest record"), "{said}");
    for target in &targets {
        wait_for("it catches up", PATIENCE, async || trailed(target).await.filter(|now| *now > 50)).await;
        let owner = wait_for("it has an owner", PATIENCE, async || scene.writer(target).await).await;
        scene.nodes[owner].kill();
        scene.nodes[owner].start(&scene.installation);
        scene.nodes[owner].ready().await;
    }
    // The others are not kept waiting.
    scene.wait_until_delivered(300).await;
    for target in &targets {
        target.execute(&fast(target.kind)).await;
        let delivery = scene.wait_for_status(&old, &format!("{}-trail", target.name), "delivered").await;
        assert_eq!(delivery["sent"]["version"], 1, "{delivery}");
    }
    scene.settle_all(producers, 1).await;
}

/// A table that lost rows gets them back from what is retained; nothing else is written.
#[actix_web::test]
async fn a_replay_brings_back_what_a_table_lost() {
    let targets = vec![postgres("pg").await, mariadb("my").await];
    let mut scene = Scene::new(Installation::new().await, targets.clone(), &targets).await;
    scene.start_nodes().await;
    let begun = (chrono::Utc::now() - chrono::TimeDelta::minutes(1)).to_rfc3339();
    let mut load = scene.load();
    load.batch = 10;
    let producers = load.start();
    scene.wait_until_delivered(1_000).await;
    for target in &targets {
        target.execute("delete from cars where id < 100").await;
    }
    let run = |arguments: &[&str]| -> Value {
        let said = scene.installation.run(arguments);
        serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"))
    };
    for target in &targets {
        let route = format!("{}-cars", target.name);
        let counted = run(&["replay", &route, "--from", &begun, "--dry-run", "--json"]);
        assert!(counted["state"] == "dry_run" && counted["records"].as_u64() >= Some(1_000), "{counted}");
        let done = run(&["replay", &route, "--from", &begun, "--wait", "--json"]);
        assert_eq!(done["state"], "done", "{done}");
    }
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 200).await;
    let mut acknowledged = producers.stop().await;
    super::settle(&targets, &acknowledged).await;

    // A range that has ended: what was changed since goes back, after a word of warning, and stays there.
    let first = scene.send_probe(1).await;
    let second = scene.send_probe(2).await;
    scene.wait_for_status(&second, "pg-cars", "delivered").await;
    acknowledged.insert(PROBE, 2);
    super::settle(&targets, &acknowledged).await;
    let range = ["replay", "pg-cars", "--from", &first, "--to", &first];
    let refused = scene.installation.command(&range).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("--yes"), "{why}");
    let done = run(&[&range[..], &["--yes", "--wait", "--json"]].concat());
    assert!(done["state"] == "done" && done["records"] == 1, "{done}");
    let back = |expected: i64| {
        let sql = format!("select id, version from cars where id = {PROBE}");
        async move |target: &Target| target.pairs(&sql).await.filter(|rows| rows[..] == [(PROBE, expected)]).map(drop)
    };
    let pg = &targets[0];
    wait_for("the row is as it was", PATIENCE, async || back(1)(pg).await).await;
    assert!(back(2)(&targets[1]).await.is_some(), "the other database is left alone");
    // Its next change comes as ever; `events` was sent nothing again.
    let third = scene.send_probe(3).await;
    scene.wait_for_status(&third, "pg-cars", "delivered").await;
    acknowledged.insert(PROBE, 3);
    super::settle(&targets, &acknowledged).await;

    let refused = scene.installation.command(&["replay", "pg-events", "--from", &begun]).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("has no `key`"), "{why}");
}
