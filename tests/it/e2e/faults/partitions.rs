//! Cut wires: a node that can't reach Redis while it can reach the databases, and databases whose answers are lost.

use super::{Installation, PATIENCE, Scene, mariadb, postgres, wait_until_sent};
use crate::{
    e2e::installation::get,
    servers::{proxy::Proxy, wait_for},
};

#[actix_web::test]
async fn a_node_cut_off_from_redis_but_not_from_the_databases_is_replaced_and_steps_down() {
    let targets = vec![postgres("pg").await, mariadb("my").await];
    let mut scene = Scene::new(Installation::new().await, targets.clone(), &targets).await;
    let wire = Proxy::to(scene.installation.redis.port());
    let redis = format!("redis://127.0.0.1:{}", wire.port());
    scene.nodes[0].environment.insert("TIDEGATE_REDIS_URL", redis);
    // Whoever comes first owns something in any case.
    scene.start_nodes().await;
    let producers = scene.load().start();
    scene.wait_until_delivered(50).await;
    for silent in [true, false] {
        let cut_off = &scene.nodes[0];
        let mut owned = Vec::new();
        for target in &targets {
            if scene.writer(target).await == Some(0) {
                owned.push((target, target.epoch().await.unwrap()));
            }
        }
        assert!(!owned.is_empty(), "it writes to something");
        if silent {
            wire.cut()
        } else {
            wire.refuse()
        }
        let ready = format!("http://127.0.0.1:{}/healthz/ready", cut_off.listen);
        wait_for("it is not ready", PATIENCE, async || (get(&ready).await?.0 == 503).then_some(())).await;
        for target in &targets {
            scene.wait_for_writer(target, 1).await;
        }
        for (target, _) in &owned {
            wait_for("it knows that it has no lease, although nobody can tell it", PATIENCE, async || {
                (cut_off.destination(&target.name).await["leased"] == false).then_some(())
            })
            .await;
        }
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 200).await;
        scene.wait_until_delivered(50).await;
        for (target, epoch) in &owned {
            let now = target.epoch().await.unwrap();
            assert!(now > *epoch, "{}: the fence has moved from {epoch} to {now}", target.name);
            assert_eq!(scene.writer(target).await, Some(1), "{}: the other node writes on", target.name);
        }
        wire.mend();
        cut_off.ready().await;
        // Back in service: the other one goes, and this one writes again.
        scene.nodes[1].kill();
        for target in &targets {
            scene.wait_for_writer(target, 0).await;
        }
        scene.nodes[1].start(&scene.installation);
        scene.nodes[1].ready().await;
    }
    scene.settle(producers).await;
}

#[actix_web::test]
async fn commits_whose_answers_are_lost_are_neither_lost_nor_repeated() {
    let targets = vec![postgres("pg").await, mariadb("my").await];
    let wires = [Proxy::to(targets[0].port()), Proxy::to(targets[1].port())];
    let registered = [targets[0].through(&wires[0]), targets[1].through(&wires[1])];
    let mut scene = Scene::new(Installation::new().await, targets, &registered).await;
    scene.start_nodes().await;
    let producers = scene.load().start();
    for _ in 0..5 {
        scene.wait_until_delivered(50).await;
        wires.iter().for_each(Proxy::lose_answers);
        // Long enough for whatever was on its way to be done, and its answer to be lost.
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 20).await;
        wires.iter().for_each(Proxy::refuse);
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 20).await;
        wires.iter().for_each(Proxy::mend);
    }
    scene.settle(producers).await;
}
