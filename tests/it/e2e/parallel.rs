//! Two nodes and parallel destinations: each record arrives, whoever is killed on the way.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use sqlx::{Connection as _, Executor as _};

use super::{
    installation::{Installation, Node},
    ledger::{Acknowledged, Target},
    wait_until_sent,
};
use crate::servers::{mariadb::MariadbServer, postgres::PostgresServer, wait_for};

const STREAM: &str = "tidegate:{car-app}:stream";

pub(super) fn manifest(targets: &[Target]) -> String {
    let mut text = "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n".to_owned();
    for Target { name, kind, url } in targets {
        text += &format!(
            r#"
[[destination]]
name = "{name}"
kind = "{kind}"
url = "{url}"
delivery = "parallel"

[[route]]
name = "{name}-seen"
application = "car-app"
topic = "cars"
destination = "{name}"
table = "seen"
key = ["id", "version"]
columns = "matching"
"#
        );
    }
    text
}

/// The destination's id: its group's name.
pub(super) async fn id_of(installation: &Installation, name: &str) -> String {
    let body: String = installation.redis.ask("HGET tidegate:{registry}:document body").await;
    let document: Value = serde_json::from_str(&body).unwrap();
    let of = |destination: &&Value| destination["name"] == name;
    document["destinations"].as_array().unwrap().iter().find(of).unwrap()["id"].as_str().unwrap().to_owned()
}

/// How many entries a consumer has in hand.
pub(super) async fn in_hand(installation: &Installation, group: &str, consumer: &str) -> usize {
    let pending: Vec<redis::Value> =
        installation.redis.ask(&format!("XPENDING {STREAM} {group} - + 10000 {consumer}")).await;
    pending.len()
}

/// Waits until everything that was acknowledged is there, and nothing else.
pub(super) async fn complete(target: &Target, acknowledged: &Acknowledged) {
    let wanted: BTreeSet<(i64, i64)> =
        acknowledged.iter().flat_map(|(id, last)| (1..=*last).map(|version| (*id, version))).collect();
    wait_for(&format!("{} has every record", target.name), Duration::from_secs(90), async || {
        let seen: BTreeSet<_> = target.pairs("select id, version from seen").await?.into_iter().collect();
        (seen == wanted).then_some(())
    })
    .await;
}

pub(super) async fn both_write(nodes: [&Node; 2], targets: &[Target]) {
    for node in nodes {
        for target in targets {
            wait_for("each node writes to each destination", Duration::from_secs(60), async || {
                let detail = node.destination(&target.name).await;
                (detail["entries_delivered"].as_u64() > Some(0)).then_some(())
            })
            .await;
        }
    }
}

#[actix_web::test]
async fn what_a_killed_node_had_in_hand_is_written_by_the_other() {
    let installation = Installation::new().await;
    std::fs::write(installation.dir.path().join("tidegate.toml"), "retention = \"1s\"\n").unwrap();
    let (postgres, mariadb) = (PostgresServer::private(), MariadbServer::private());
    let targets = [
        Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) },
        Target { name: "my".into(), kind: "mysql", url: mariadb.url(&mariadb.database().await) },
    ];
    for target in &targets {
        target
            .execute(
                "create table seen (id bigint not null, version bigint not null, stock int, primary key (id, version))",
            )
            .await;
    }
    installation.apply(&manifest(&targets));
    let key = installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let (mut a, b) = (installation.node("a"), installation.node("b"));
    a.ready().await;
    b.ready().await;
    let producers = b.load(&key).start();
    both_write([&a, &b], &targets).await;

    // Nobody gets on in PostgreSQL, so that the node surely has entries in hand when it dies.
    let mut lock = sqlx::PgConnection::connect(&targets[0].url).await.unwrap();
    lock.execute("begin; lock table seen in access exclusive mode").await.unwrap();
    let group = id_of(&installation, "pg").await;
    wait_for("the node has entries in hand", Duration::from_secs(30), async || {
        (in_hand(&installation, &group, "a").await > 0).then_some(())
    })
    .await;
    a.kill();
    lock.close().await.unwrap();
    let left = in_hand(&installation, &group, "a").await;
    assert!(left > 0, "it left nothing: this test shows nothing");
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 200).await;
    let acknowledged = producers.stop().await;
    for target in &targets {
        complete(target, &acknowledged).await;
    }
    assert_eq!(in_hand(&installation, &group, "a").await, 0, "the other node has claimed it");
    wait_for("the stream is trimmed again", Duration::from_secs(30), async || {
        let length: usize = installation.redis.ask(&format!("XLEN {STREAM}")).await;
        (length <= 1).then_some(())
    })
    .await;
    for target in &targets {
        wait_for("nothing waits", Duration::from_secs(10), async || {
            let detail = b.destination(&target.name).await;
            (detail["status"] == "up" && detail["backlog"] == 0).then_some(())
        })
        .await;
        let ours = "select count(*), count(*) from information_schema.tables where table_name like 'tidegate%'";
        assert_eq!(target.pairs(ours).await.unwrap(), [(0, 0)], "nothing of ours is in the database");
    }
}

/// Bad rows, redrive, groups that are taken away, and what a producer is told: with one destination and two nodes.
#[actix_web::test]
async fn a_bad_row_is_a_dead_letter_and_a_lost_group_is_made_again() {
    let mut installation = Installation::new().await;
    let postgres = PostgresServer::private();
    let target = Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) };
    target
        .execute("create table seen (id bigint not null, version bigint not null, stock int check (stock < 40), primary key (id, version))")
        .await;
    installation.apply(&manifest(std::slice::from_ref(&target)));
    let key = installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let (a, b) = (installation.node("a"), installation.node("b"));
    a.ready().await;
    b.ready().await;
    let send = async |records: Value| -> Value {
        let url = format!("http://127.0.0.1:{}/v1/messages", a.listen);
        // A producer that is told 503 sends again: just after a restart the node may not have its connection back.
        wait_for("the records are taken", Duration::from_secs(20), async || {
            let mut answer = awc::Client::default().post(&url).bearer_auth(&key).send_json(&records).await.ok()?;
            let body = answer.body().await.ok()?;
            (answer.status().as_u16() == 202).then(|| serde_json::from_slice(&body).unwrap())
        })
        .await
    };
    let status = async |id: &str| -> String {
        let client = awc::Client::default();
        let url = format!("http://127.0.0.1:{}/v1/messages/{id}", b.listen);
        let mut answer = client.get(url).bearer_auth(&key).send().await.unwrap();
        let body: Value = serde_json::from_slice(&answer.body().await.unwrap()).unwrap();
        body["deliveries"][0]["status"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    };
    let record = |id: u32, stock: u32, action: &str| serde_json::json!({"topic": "cars", "action": action, "data": {"id": id, "version": 1, "stock": stock}});
    let sent = send(serde_json::json!([record(1, 1, "insert"), record(2, 99, "insert"), record(3, 3, "insert")])).await;
    let ids: Vec<&str> = sent["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    for (id, wanted) in ids.iter().zip(["delivered", "dead", "delivered"]) {
        wait_for("the record's fate", Duration::from_secs(20), async || (status(id).await == wanted).then_some(()))
            .await;
    }
    assert_eq!(target.pairs("select id, version from seen order by id").await.unwrap(), [(1, 1), (3, 1)]);
    let listed = installation.run(&["dead", "list", "--destination", "pg", "--json"]);
    assert!(listed.contains(ids[1].split_once('-').unwrap().1), "{listed}");

    // The group is taken away: what the stream still holds is written again, and changes nothing.
    let group = id_of(&installation, "pg").await;
    let _: usize = installation.redis.ask(&format!("XGROUP DESTROY {STREAM} {group}")).await;
    send(record(4, 4, "insert")).await;
    wait_for("the nodes go on", Duration::from_secs(20), async || {
        (target.pairs("select id, version from seen order by id").await? == [(1, 1), (3, 1), (4, 1)]).then_some(())
    })
    .await;
    assert!(a.logged().contains("consumer group was not there") || b.logged().contains("consumer group was not there"));

    // A new incarnation of Redis, with all it had.
    installation.redis.kill();
    installation.redis.restart().await;
    a.ready().await;
    b.ready().await;
    send(record(5, 5, "insert")).await;
    wait_for("the nodes go on", Duration::from_secs(20), async || {
        (target.pairs("select id, version from seen").await?.len() == 4).then_some(())
    })
    .await;

    target.execute("alter table seen drop constraint seen_stock_check").await;
    installation.run(&["dead", "redrive", "--all", "--destination", "pg", "--yes"]);
    wait_for("it is written after all", Duration::from_secs(20), async || {
        (target.pairs("select id, version from seen").await?.len() == 5).then_some(())
    })
    .await;
    wait_for("and says so", Duration::from_secs(20), async || (status(ids[1]).await == "delivered").then_some(()))
        .await;
}

#[actix_web::test]
async fn an_emptied_redis_needs_no_manual_step() {
    let mut installation = Installation::new().await;
    std::fs::write(installation.dir.path().join("tidegate.toml"), "retention = \"1s\"\n").unwrap();
    let postgres = PostgresServer::private();
    let target = Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) };
    target
        .execute(
            "create table seen (id bigint not null, version bigint not null, stock int, primary key (id, version))",
        )
        .await;
    let targets = std::slice::from_ref(&target);
    installation.apply(&manifest(targets));
    let key = installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let (a, b) = (installation.node("a"), installation.node("b"));
    a.ready().await;
    b.ready().await;
    let producers = a.load(&key).start();
    both_write([&a, &b], targets).await;
    wait_until_sent(&producers, 300).await;
    let before = producers.stop().await;
    complete(&target, &before).await;

    installation.redis.kill_and_empty();
    installation.redis.restart().await;
    let restored = async || installation.redis.ask::<bool>("HEXISTS tidegate:{registry}:document restored").await;
    wait_for("the registry is back", Duration::from_secs(30), async || restored().await.then_some(())).await;
    a.ready().await;
    b.ready().await;
    // The producers begin with their keys anew: what they send is new only where nothing of before is left.
    target.execute("delete from seen").await;
    let producers = b.load(&key).start();
    wait_until_sent(&producers, 300).await;
    let acknowledged = producers.stop().await;
    complete(&target, &acknowledged).await;
    for node in [&a, &b] {
        wait_for("nothing waits", Duration::from_secs(10), async || {
            let detail = node.destination("pg").await;
            (detail["status"] == "up" && detail["backlog"] == 0).then_some(())
        })
        .await;
    }
    wait_for("the stream is trimmed again", Duration::from_secs(30), async || {
        let length: usize = installation.redis.ask(&format!("XLEN {STREAM}")).await;
        (length <= 1).then_some(())
    })
    .await;
}
