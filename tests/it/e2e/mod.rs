//! End to end, as separate processes: the node under test, real Redis and real databases, each run followed by the ledger
//! check.

mod admin_api;
pub(crate) mod api;
mod by_hand;
mod change;
mod choosing;
mod cluster;
mod dead;
mod emptied;
mod failover;
mod faults;
mod given_up;
pub(crate) mod installation;
pub(crate) mod ledger;
pub(crate) mod load;
mod parallel;
mod unrepeated;

use std::time::Duration;

use installation::{Installation, settle};
use ledger::Target;

use crate::servers::{mariadb::MariadbServer, postgres::PostgresServer, wait_for};

/// Five databases, as the published system had: three PostgreSQL on two servers, two MariaDB on two servers.
struct Five {
    targets: Vec<Target>,
    postgres: [PostgresServer; 2],
    mariadb: [MariadbServer; 2],
}

impl Five {
    async fn start() -> Self {
        let postgres = [PostgresServer::private(), PostgresServer::private()];
        let mariadb = [MariadbServer::private(), MariadbServer::private()];
        let mut targets = Vec::new();
        for (name, server) in [("a", &postgres[0]), ("b", &postgres[0]), ("c", &postgres[1])] {
            let url = server.url(&server.database().await);
            targets.push(Target { name: format!("postgres-{name}"), kind: "postgres", url });
        }
        for (name, server) in [("a", &mariadb[0]), ("b", &mariadb[1])] {
            let url = server.url(&server.database().await);
            targets.push(Target { name: format!("mariadb-{name}"), kind: "mysql", url });
        }
        for target in &targets {
            target.create_tables().await;
        }
        Self { targets, postgres, mariadb }
    }
}

async fn wait_until_sent(producers: &load::Producers, messages: u64) {
    wait_for("the producers have sent enough", Duration::from_secs(60), async || {
        (producers.sent() >= messages).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn the_normal_run_fills_five_databases() {
    let five = Five::start().await;
    let installation = Installation::new().await;
    let key = installation.register(&five.targets);
    let node = installation.node("a");
    node.ready().await;
    let producers = node.load(&key).start();
    wait_until_sent(&producers, 3_000).await;
    let acknowledged = producers.stop().await;
    settle(&five.targets, &acknowledged).await;
}

#[actix_web::test]
async fn two_of_five_databases_go_down_and_drain_when_they_are_back() {
    let five = Five::start().await;
    let installation = Installation::new().await;
    let key = installation.register(&five.targets);
    let node = installation.node("a");
    node.ready().await;
    let producers = node.load(&key).start();
    wait_until_sent(&producers, 500).await;
    five.postgres[1].stop();
    five.mariadb[1].stop();
    for name in ["postgres-c", "mariadb-b"] {
        wait_for("it is shown as down", Duration::from_secs(15), async || {
            let detail = node.destination(name).await;
            (detail["status"] == "down" && detail["breaker"] != "closed" && detail["down_since"].is_string())
                .then_some(())
        })
        .await;
    }
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 1_500).await;
    let acknowledged = producers.stop().await;
    let up: Vec<_> =
        five.targets.iter().filter(|t| !["postgres-c", "mariadb-b"].contains(&&*t.name)).cloned().collect();
    settle(&up, &acknowledged).await;
    wait_for("the backlog is shown", Duration::from_secs(10), async || {
        let detail = node.destination("postgres-c").await;
        (detail["backlog"].as_u64() >= Some(1_500)).then_some(())
    })
    .await;
    five.postgres[1].start();
    five.mariadb[1].start();
    for target in five.targets.iter().filter(|target| ["postgres-c", "mariadb-b"].contains(&&*target.name)) {
        wait_for("it drains by itself within 10 s of its return", Duration::from_secs(10), async || {
            target.arrived().await.filter(|arrived| *arrived >= 1_500)
        })
        .await;
    }
    settle(&five.targets, &acknowledged).await;
    wait_for("all is well again", Duration::from_secs(15), async || {
        let detail = node.destination("postgres-c").await;
        (detail["status"] == "up" && detail["backlog"] == 0).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn a_node_killed_twenty_times_under_load_loses_and_doubles_nothing() {
    let installation = Installation::new().await;
    let (postgres, mariadb) = (PostgresServer::private(), MariadbServer::private());
    let mut targets = vec![
        Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) },
        Target { name: "my".into(), kind: "mysql", url: mariadb.url(&mariadb.database().await) },
    ];
    for target in &targets {
        target.create_tables().await;
    }
    targets.push(installation.sqlite("lite").await);
    let key = installation.register(&targets);
    let mut node = installation.node("a");
    node.ready().await;
    let producers = node.load(&key).start();
    for round in 0..20_u64 {
        let sent = producers.sent();
        if round % 4 == 3 {
            // While it takes over: it has taken records, and may have written none of them yet.
            wait_until_sent(&producers, sent + 20 + 10 * round).await;
        } else {
            // While it writes: each of the databases has got further since the last time.
            for target in &targets {
                let before = target.arrived().await.unwrap_or(0);
                wait_for("the destination gets on", Duration::from_secs(20), async || {
                    target.arrived().await.filter(|arrived| *arrived > before)
                })
                .await;
            }
        }
        node.kill();
        node.start(&installation);
    }
    node.ready().await;
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 100).await;
    let acknowledged = producers.stop().await;
    settle(&targets, &acknowledged).await;
}

#[actix_web::test]
async fn redis_killed_and_restarted_under_load_loses_nothing_that_was_acknowledged() {
    let mut installation = Installation::new().await;
    let postgres = PostgresServer::private();
    let mut targets =
        vec![Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) }];
    targets[0].create_tables().await;
    targets.push(installation.sqlite("lite").await);
    let key = installation.register(&targets);
    let node = installation.node("a");
    node.ready().await;
    let producers = node.load(&key).start();
    for _ in 0..5 {
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 200).await;
        installation.redis.kill();
        let (status, answer) =
            installation::get(&format!("http://127.0.0.1:{}/healthz/ready", node.listen)).await.unwrap();
        assert!(status == 200 || answer.contains("reason"), "{status} {answer}");
        installation.redis.restart().await;
        node.ready().await;
    }
    let acknowledged = producers.stop().await;
    settle(&targets, &acknowledged).await;
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn a_nodes_memory_comes_in_small_pages() {
    let installation = Installation::new().await;
    let node = installation.node("a");
    node.ready().await;
    assert_eq!(node.status("THP_enabled"), "0");
}

#[actix_web::test]
async fn a_node_told_to_end_finishes_what_it_has_in_hand() {
    let installation = Installation::new().await;
    let targets = vec![installation.sqlite("lite").await];
    let key = installation.register(&targets);
    let mut node = installation.node("a");
    node.ready().await;
    let producers = node.load(&key).start();
    wait_until_sent(&producers, 300).await;
    let acknowledged = producers.stop().await;
    let (status, took) = node.terminate().await;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(16), "drain delay of 1 s and 15 s more, but it took {took:?}");
    node.start(&installation);
    settle(&targets, &acknowledged).await;
}

#[actix_web::test]
async fn a_database_that_never_answers_keeps_nobody_waiting() {
    let installation = Installation::new().await;
    let postgres = PostgresServer::private();
    let hung = Target { name: "hung".into(), kind: "postgres", url: postgres.url(&postgres.database().await) };
    hung.create_tables().await;
    let targets = vec![hung, installation.sqlite("lite").await, installation.sqlite("second").await];
    let key = installation.register(&targets);
    let node = installation.node("a");
    node.ready().await;
    let producers = node.load(&key).start();
    wait_until_sent(&producers, 200).await;
    postgres.pause();
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 500).await;
    let acknowledged = producers.stop().await;
    settle(&targets[1..], &acknowledged).await;
    postgres.resume();
    settle(&targets, &acknowledged).await;
}

#[actix_web::test]
async fn a_full_redis_refuses_new_records_and_empties_itself_once_it_can() {
    let installation = Installation::with_redis(&[("maxmemory", "12mb")]).await;
    let targets = vec![installation.sqlite("lite").await];
    let key = installation.register(&targets);
    let node = installation.node("a");
    node.ready().await;
    // Away before anything is written, so that nothing is delivered and nothing may be trimmed.
    let (file, away) = (installation.dir.path().join("lite.db"), installation.dir.path().join("lite.away"));
    std::fs::rename(&file, &away).unwrap();
    let mut load = node.load(&key);
    (load.batch, load.padding) = (50, 20_000);
    let producers = load.start();
    let ready = format!("http://127.0.0.1:{}/healthz/ready", node.listen);
    wait_for("the node refuses new records", Duration::from_secs(60), async || (producers.refused() > 0).then_some(()))
        .await;
    assert_eq!(installation::get(&ready).await.unwrap().0, 200, "a full Redis still answers");
    std::fs::rename(&away, &file).unwrap();
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 500).await;
    let acknowledged = producers.stop().await;
    settle(&targets, &acknowledged).await;
}
