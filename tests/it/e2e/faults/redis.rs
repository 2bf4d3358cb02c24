//! Redis in trouble, with two nodes: killed with `appendfsync always`, and full because a destination is dead.

use super::{Installation, PATIENCE, Scene, mariadb, postgres, wait_until_sent};
use crate::servers::{proxy::Proxy, wait_for};

#[actix_web::test]
async fn redis_killed_ten_times_loses_nothing_that_was_acknowledged() {
    let mut scene = Scene::start().await;
    let producers = scene.load().start();
    for _ in 0..10 {
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 100).await;
        scene.wait_until_delivered(20).await;
        scene.installation.redis.kill();
        scene.installation.redis.restart().await;
        for node in &scene.nodes {
            node.ready().await;
        }
    }
    scene.settle(producers).await;
}

#[actix_web::test]
async fn a_redis_that_a_dead_destination_has_filled_empties_itself_when_that_is_back() {
    let targets = vec![postgres("pg").await, mariadb("my").await];
    let wire = Proxy::to(targets[1].port());
    let registered = [targets[0].clone(), targets[1].through(&wire)];
    let installation = Installation::with_redis(&[("maxmemory", "12mb")]).await;
    let mut scene = Scene::new(installation, targets.clone(), &registered).await;
    scene.start_nodes().await;
    wire.refuse();
    let mut load = scene.load();
    (load.batch, load.padding) = (50, 20_000);
    let producers = load.start();
    wait_for("new records are refused", PATIENCE, async || {
        producers.failed().iter().any(|failed| failed.status == Some(503)).then_some(())
    })
    .await;
    // Delivery to the living one goes on with what Redis has taken, and the nodes stay in service.
    let taken = producers.sent();
    wait_for("the other database has what was taken", PATIENCE, async || {
        targets[0].arrived().await.filter(|arrived| *arrived >= i64::try_from(taken).unwrap())
    })
    .await;
    scene.balancer.wait_for_healthy(2).await;
    assert_eq!(targets[1].arrived().await, Some(0), "the dead one has nothing");
    wire.mend();
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 500).await;
    scene.settle(producers).await;
}
