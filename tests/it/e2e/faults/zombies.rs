//! Zombies: writers that stand still at a named place, are replaced, and wake up again. They write nothing any more, and what
//! they held is taken from them by the database itself.

use std::time::Instant;

use tidegate_actors::failpoint;

use super::{Installation, PATIENCE, Scene, Target, mariadb, postgres, wait_until_delivered};
use crate::servers::wait_for;

#[actix_web::test]
async fn a_writer_to_postgres_stopped_before_inside_and_after_its_transaction_writes_nothing_when_it_wakes() {
    zombies(postgres("pg").await, failpoint::INSIDE_POSTGRES).await;
}

#[actix_web::test]
async fn a_writer_to_mariadb_stopped_before_inside_and_after_its_transaction_writes_nothing_when_it_wakes() {
    zombies(mariadb("my").await, failpoint::INSIDE_MYSQL).await;
}

async fn zombies(target: Target, inside: &str) {
    let targets = [target.clone()];
    let mut scene = Scene::new(Installation::new().await, targets.to_vec(), &targets).await;
    let producers = scene.load().start();
    for place in [failpoint::BEFORE_TRANSACTION, inside, failpoint::AFTER_COMMIT] {
        let [zombie, successor] = &mut scene.nodes;
        zombie.kill();
        successor.kill();
        zombie.environment.insert("FAILPOINTS", format!("{place}=10*off->1*return(stop)"));
        zombie.start(&scene.installation);
        zombie.has_stopped().await;
        let begun = Instant::now();
        let epoch = target.epoch().await.expect("it has written");
        successor.start(&scene.installation);
        // A transaction that stands still is ended by the database, so that the successor gets its row.
        wait_for("the successor has taken over", PATIENCE, async || target.epoch().await.filter(|now| *now > epoch))
            .await;
        let replaced = begun.elapsed();
        wait_until_delivered(&target, 100).await;
        let [zombie, _] = &scene.nodes;
        zombie.resume();
        wait_for("the zombie steps down", PATIENCE, async || {
            let detail = zombie.destination(&target.name).await;
            (detail.is_object() && (detail["leased"] == false || detail["epoch"] != epoch)).then_some(())
        })
        .await;
        if place == failpoint::BEFORE_TRANSACTION {
            // The lease was looked at before it fell asleep: nothing but the fence stood in its way.
            wait_for("the database has refused it", PATIENCE, async || {
                let refused = zombie.metric("tidegate_fence_rejections_total", &target.name).await;
                (refused >= 1.0).then_some(())
            })
            .await;
        }
        wait_until_delivered(&target, 50).await;
        println!("{}: stopped at {place}: its successor had taken over after {replaced:?}", target.name);
    }
    scene.settle(producers).await;
}
