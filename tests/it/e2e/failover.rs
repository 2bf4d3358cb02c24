//! Two nodes over Sentinel, behind HAProxy: the master is killed under load, its replica is promoted, and delivery goes on
//! by itself on both.

use super::{
    faults::{Scene, mariadb, postgres},
    installation::Installation,
    unrepeated::{Unrepeated, all_but},
};
use crate::servers::redis_sentinel::{Watchers, promoted};

#[actix_web::test]
async fn a_promoted_replica_takes_over_under_load_and_delivery_goes_on_in_order() {
    let mut installation = Installation::new().await;
    let replica = installation.redis.replica().await;
    let watchers = Watchers::over(&installation.redis).await;
    installation.redis.reach_by(&watchers.url());
    let targets = vec![postgres("pg").await, mariadb("my").await];
    let mut scene = Scene::new(installation, targets.clone(), &targets).await;
    scene.start_nodes().await;
    scene.wait_until_both_write().await;
    let producers = Unrepeated::start(&scene.balancer.url(), &scene.key);
    producers.wait_until_each_got_on(50).await;
    let replicated = producers.acknowledged();
    // WAIT asks for what was written before its own connection's last command.
    let mut connection = scene.installation.redis.connection().await;
    let (_, replicas): (String, i64) =
        redis::pipe().cmd("PING").cmd("WAIT").arg(1).arg(10_000).query_async(&mut connection).await.unwrap();
    assert_eq!(replicas, 1, "the replica keeps up");
    producers.wait_until_each_got_on(20).await;

    scene.installation.redis.kill();
    let mut cut = producers.cut();
    cut.at_risk.retain(|one| !replicated.contains(one));
    promoted(&replica).await;
    producers.wait_until_each_got_on(100).await;
    for node in &scene.nodes {
        node.ready().await;
    }
    scene.balancer.wait_for_healthy(2).await;
    scene.wait_until_both_write().await;
    scene.wait_until_delivered(50).await;
    producers.wait_until_each_got_on(10).await;
    let acknowledged = producers.stop().await;
    scene.wait_until_drained().await;
    for target in &targets {
        let missing = all_but(target, &acknowledged, &cut).await;
        println!("{}: {} of {} were in the old master alone", target.name, missing.len(), acknowledged.len());
    }
    let info: String = replica.ask("INFO replication").await;
    assert!(info.contains("role:master"));
}
