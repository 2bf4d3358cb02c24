//! A node over Sentinel: the master is killed under load, its replica is promoted, and delivery goes on by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    installation::Installation,
    ledger::{Acknowledged, Target},
    wait_until_sent,
};
use crate::servers::{
    postgres::PostgresServer,
    redis_sentinel::{Watchers, promoted},
    wait_for,
};

/// What was acknowledged and is not there. Whatever is there came once and in the order of its key.
async fn missing(target: &Target, acknowledged: &Acknowledged) -> BTreeSet<(i64, i64)> {
    let events = target.pairs("select id, version from events order by seq").await.expect("the database answers");
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for (id, version) in &events {
        let before = last.insert(*id, *version).unwrap_or_default();
        assert!(*version > before, "{}: key {id}: version {version} came after {before}", target.name);
    }
    let cars = target.pairs("select id, version from cars").await.expect("the database answers");
    assert_eq!(cars.into_iter().collect::<BTreeMap<_, _>>(), last, "{}: the last version that came", target.name);
    let there: BTreeSet<_> = events.into_iter().collect();
    let all = acknowledged.iter().flat_map(|(id, versions)| (1..=*versions).map(|version| (*id, version)));
    all.filter(|one| !there.contains(one)).collect()
}

#[actix_web::test]
async fn a_promoted_replica_takes_over_under_load_and_delivery_goes_on_in_order() {
    let mut installation = Installation::new().await;
    let replica = installation.redis.replica().await;
    let watchers = Watchers::over(&installation.redis).await;
    installation.redis.reach_by(&watchers.url());
    let postgres = PostgresServer::private();
    let mut targets =
        vec![Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) }];
    targets[0].create_tables().await;
    targets.push(installation.sqlite("lite").await);
    let key = installation.register(&targets);
    let node = installation.node("a");
    node.ready().await;
    let producers = node.load(&key).start();
    wait_until_sent(&producers, 500).await;
    assert_eq!(installation.redis.ask::<i64>("WAIT 1 5000").await, 1, "the replica keeps up");
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 200).await;
    installation.redis.kill();
    let killed_at = producers.sent();
    promoted(&replica).await;
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 1_000).await;
    node.ready().await;
    let acknowledged = producers.stop().await;
    let expected: i64 = acknowledged.values().sum();
    for target in &targets {
        wait_for("the last version of every key, or all is quiet", Duration::from_secs(60), async || {
            let detail = node.destination(&target.name).await;
            let arrived = target.arrived().await?;
            // Those of the last moments before the kill may be gone; the thousand after it may not.
            let lost = expected - arrived;
            (detail["status"] == "up" && detail["backlog"] == 0 && lost < 200).then_some(())
        })
        .await;
        let missing = missing(target, &acknowledged).await;
        // A producer sends one version after the other: what came after the promotion is all there.
        let last_missing = missing.iter().map(|(_, version)| *version).max().unwrap_or(0);
        let rounds_at_kill = i64::try_from(killed_at).unwrap() / 200 + 2;
        assert!(last_missing <= rounds_at_kill, "{}: lost after the failover: {missing:?}", target.name);
    }
    let info: String = replica.ask("INFO replication").await;
    assert!(info.contains("role:master"));
}
