//! Redis emptied under running nodes, and what an operator decides after a gap or a re-pointing, with the real commands.

use std::{cell::Cell, rc::Rc, time::Duration};

use serde_json::{Value, json};

use super::{
    faults::Scene,
    installation::{Installation, Node, get, manifest, settle},
    ledger::{Acknowledged, Target},
    unrepeated::{Unrepeated, all_but},
    wait_until_sent,
};
use crate::servers::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

/// Sends version after version of one new key; every answer must be 202 or 503.
async fn insist(url: String, key: String, id: i64, stop: Rc<Cell<bool>>, done: Rc<Cell<i64>>) {
    let client = awc::Client::builder().timeout(Duration::from_secs(5)).finish();
    let mut version = 1;
    while !stop.get() {
        let body = json!({"topic": "cars", "key": id, "data": {"id": id, "version": version}});
        let answer = client
            .post(format!("{url}/v1/messages"))
            .insert_header(("Authorization", format!("Bearer {key}")))
            .insert_header(("Content-Type", "application/json"))
            .send_body(body.to_string())
            .await;
        // Without an answer the record may have been taken: nothing here breaks a connection.
        let mut answer = answer.unwrap();
        match answer.status().as_u16() {
            202 => {
                done.set(version);
                version += 1;
            }
            503 => {
                assert!(answer.headers().contains_key("Retry-After"));
                actix_rt::time::sleep(Duration::from_millis(20)).await;
            }
            status => panic!("{status} {}", String::from_utf8_lossy(&answer.body().await.unwrap_or_default())),
        }
    }
}

async fn edition(installation: &Installation) -> (Option<u64>, Option<String>) {
    installation.redis.ask("HMGET tidegate:{registry}:document version installation").await
}

async fn alarms(node: &Node) -> Vec<String> {
    let Some((200, body)) = get(&format!("http://127.0.0.1:{}/health/actors", node.admin)).await else { return vec![] };
    let body: Value = serde_json::from_str(&body).unwrap();
    let janitor = body["actors"].as_array().unwrap().iter().find(|actor| actor["kind"] == "janitor").cloned();
    let alarms = janitor.unwrap_or_default()["detail"]["alarms"].as_array().cloned().unwrap_or_default();
    alarms.iter().map(|alarm| alarm["what"].as_str().unwrap().to_owned()).collect()
}

fn status(installation: &Installation) -> String {
    installation.run(&["status", "--json"])
}

#[actix_web::test]
async fn an_emptied_redis_turns_nobody_away_and_doubles_nothing() {
    let mut scene = Scene::start().await;
    scene.wait_until_both_write().await;
    // All of this is delivered before Redis goes: not one may be missing in the end.
    let mut first = scene.load();
    first.keys = 25;
    let producers = first.start();
    wait_until_sent(&producers, 500).await;
    let delivered = producers.stop().await;
    settle(&scene.targets, &delivered).await;
    let before = edition(&scene.installation).await;

    let producers = Unrepeated::start(&scene.balancer.url(), &scene.key);
    producers.wait_until_each_got_on(20).await;
    scene.installation.redis.kill_and_empty();
    let cut = producers.cut();
    producers.wait_until_each_is_refused(5).await;
    scene.installation.redis.restart().await;
    producers.wait_until_each_got_on(50).await;
    for node in &scene.nodes {
        node.ready().await;
    }
    scene.balancer.wait_for_healthy(2).await;
    scene.wait_until_both_write().await;
    scene.wait_until_delivered(50).await;
    producers.wait_until_each_got_on(10).await;
    let mut acknowledged = producers.stop().await;
    acknowledged.extend(delivered.iter().flat_map(|(id, versions)| (1..=*versions).map(|version| (*id, version))));
    scene.wait_until_drained().await;
    for target in &scene.targets {
        let missing = all_but(target, &acknowledged, &cut).await;
        println!("{}: {} of {} were in Redis alone", target.name, missing.len(), acknowledged.len());
    }
    assert_eq!(edition(&scene.installation).await, before);

    // Somebody hears of it, and takes note with the next apply.
    let what = "Redis had lost the registry: restored by node";
    for node in &scene.nodes {
        wait_for("the node shows the alarm", LIMIT, async || {
            alarms(node).await.iter().any(|alarm| alarm.contains(what)).then_some(())
        })
        .await;
    }
    assert!(status(&scene.installation).contains(what));
    scene.installation.apply(&manifest(&scene.targets));
    assert!(!status(&scene.installation).contains(what));
    for node in &scene.nodes {
        wait_for("the alarm is over", LIMIT, async || alarms(node).await.is_empty().then_some(())).await;
    }
    assert_eq!(edition(&scene.installation).await, before);
}

#[actix_web::test]
async fn of_two_nodes_that_come_back_one_by_one_the_newer_registry_wins() {
    let mut installation = Installation::new().await;
    let targets = vec![installation.sqlite("lite").await];
    let key = installation.register(&targets);
    let mut older = installation.node("a");
    older.ready().await;
    older.terminate().await;
    installation.apply(&manifest(&targets).replace("[\"cars\"]", "[\"cars\", \"parts\"]"));
    let newest = edition(&installation).await;
    let mut newer = installation.node("b");
    newer.ready().await;
    newer.terminate().await;
    installation.redis.kill_and_empty();
    installation.redis.restart().await;
    older.start(&installation);
    older.ready().await;
    newer.start(&installation);
    newer.ready().await;
    wait_for("the newest is there", LIMIT, async || (edition(&installation).await == newest).then_some(())).await;
    for node in [&older, &newer] {
        node.ready().await;
        let mut acknowledged = Acknowledged::new();
        let (stop, done) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let url = format!("http://127.0.0.1:{}", node.listen);
        let task = actix_rt::spawn(insist(url, key.clone(), i64::from(node.listen), stop.clone(), done.clone()));
        wait_for("it takes records", LIMIT, async || (done.get() >= 5).then_some(())).await;
        stop.set(true);
        task.await.unwrap();
        acknowledged.insert(i64::from(node.listen), done.get());
        wait_for("they arrive", LIMIT, async || targets[0].arrived().await.filter(|arrived| *arrived >= done.get()))
            .await;
    }
}

#[actix_web::test]
async fn apply_makes_no_second_installation_by_accident() {
    let mut installation = Installation::new().await;
    let targets = vec![installation.sqlite("lite").await];
    installation.register(&targets);
    let mut node = installation.node("a");
    node.ready().await;
    let before = edition(&installation).await;
    installation.redis.kill_and_empty();
    installation.redis.restart().await;
    // The node that lives has the first word.
    installation.apply(&manifest(&targets));
    assert_eq!(edition(&installation).await, before);
    node.terminate().await;

    // Without a node, the snapshot on this machine is enough to ask.
    installation.redis.kill_and_empty();
    installation.redis.restart().await;
    let file = installation.dir.path().join("resources.toml");
    let file = file.to_str().unwrap();
    let apply = |more: &[&str]| {
        let arguments: Vec<&str> = ["apply", file].iter().chain(more).copied().collect();
        installation.command(&arguments).env("TIDEGATE_STATE_DIR", node.state_dir(&installation)).output().unwrap()
    };
    let refused = apply(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--new-installation"), "{said}");
    assert_eq!(edition(&installation).await, (None, None));
    let begun = apply(&["--new-installation"]);
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    let second = edition(&installation).await;
    assert!(second.1.is_some() && second.1 != before.1);
    // A node of the old one follows, since somebody said so.
    node.start(&installation);
    node.ready().await;
    assert_eq!(edition(&installation).await, second);
}

async fn held(node: &Node, name: &str) -> String {
    wait_for("it is held", LIMIT, async || node.destination(name).await["held"].as_str().map(str::to_owned)).await
}

async fn versions(target: &Target) -> Vec<(i64, i64)> {
    target.pairs("select id, version from events order by seq").await.unwrap_or_default()
}

#[actix_web::test]
async fn an_operator_decides_after_a_gap_and_after_pointing_elsewhere() {
    let installation = Installation::new().await;
    let mut target = installation.sqlite("lite").await;
    let key = installation.register(std::slice::from_ref(&target));
    let mut node = installation.node("a");
    node.ready().await;
    let (stop, done) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let url = format!("http://127.0.0.1:{}", node.listen);
    let task = actix_rt::spawn(insist(url, key.clone(), 7, stop.clone(), done.clone()));
    wait_for("some are sent", LIMIT, async || (done.get() >= 20).then_some(())).await;
    let file = installation.dir.path().join("lite.db");
    std::fs::rename(&file, installation.dir.path().join("away")).unwrap();
    let sent = done.get();
    wait_for("more are sent", LIMIT, async || (done.get() >= sent + 20).then_some(())).await;
    stop.set(true);
    task.await.unwrap();
    node.terminate().await;
    // All but the last five entries go, as nobody should do it.
    let stream = "tidegate:{car-app}:stream";
    let kept: Vec<(String, redis::Value)> = installation.redis.ask(&format!("XREVRANGE {stream} + - COUNT 6")).await;
    let (removed, first) = (&kept[5].0, &kept[4].0);
    installation.redis.ask::<u64>(&format!("XTRIM {stream} MINID = {first}")).await;
    installation.redis.ask::<u64>(&format!("HSET tidegate:{{car-app}}:meta trimmed {removed}")).await;
    std::fs::rename(installation.dir.path().join("away"), &file).unwrap();
    node.start(&installation);
    let why = held(&node, "lite").await;
    assert!(why.contains("tidegate resume lite"), "{why}");
    // The gap ends at the mark, or just below the first entry where the node has noticed by itself.
    let id = |text: &str| text.split_once('-').map(|(ms, n)| (ms.parse::<u64>().unwrap(), n.parse::<u64>().unwrap()));
    let up_to = why.split_once("up to ").and_then(|(_, rest)| id(rest.split_once(' ')?.0));
    assert!(id(removed) <= up_to && up_to < id(first), "from {removed} to below {first}: {why}");
    let said = installation.command(&["resume", "lite", "--from", "earliest"]).output().unwrap();
    assert!(!said.status.success(), "it asks first");
    let said = installation.run(&["resume", "lite", "--from", "earliest", "--yes"]);
    assert!(said.contains("5 records") && said.contains("Taken up"), "{said}");
    let all = done.get();
    let arrived = wait_for("it drains", LIMIT, async || {
        Some(versions(&target).await).filter(|rows| rows.last() == Some(&(7, all)))
    })
    .await;
    let mut distinct = arrived.clone();
    distinct.dedup();
    assert_eq!(distinct, arrived, "nothing twice");
    assert_eq!(&arrived[arrived.len() - 5..], (all - 4..=all).map(|version| (7, version)).collect::<Vec<_>>());
    let shown = get(&format!("http://127.0.0.1:{}/metrics", node.admin)).await.unwrap().1;
    assert!(shown.contains("tidegate_stream_gaps_total 1"), "one gap is counted once");

    // The address leads to another file now.
    let other = installation.sqlite("other").await;
    target.url.clone_from(&other.url);
    installation.apply(&manifest(std::slice::from_ref(&target)));
    let why = held(&node, "lite").await;
    assert!(why.contains("not the database") && why.contains("tidegate resume lite"), "{why}");
    installation.run(&["resume", "lite", "--from", "earliest", "--yes"]);
    wait_for("the other file has what is retained", LIMIT, async || {
        let rows = versions(&other).await;
        (rows == (all - 4..=all).map(|version| (7, version)).collect::<Vec<_>>()).then_some(())
    })
    .await;
}
