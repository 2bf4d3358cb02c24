//! A database that accepts everything and answers nothing, among five.

use super::{Installation, Scene, mariadb, postgres, settle, wait_until_sent};
use crate::servers::proxy::Proxy;

#[actix_web::test]
async fn four_of_five_databases_go_on_while_one_hangs() {
    let targets = vec![
        postgres("postgres-a").await,
        postgres("postgres-b").await,
        postgres("postgres-c").await,
        mariadb("mariadb-a").await,
        mariadb("mariadb-b").await,
    ];
    let wire = Proxy::to(targets[2].port());
    let mut registered = targets.clone();
    registered[2] = targets[2].through(&wire);
    let mut scene = Scene::new(Installation::new().await, targets.clone(), &registered).await;
    scene.start_nodes().await;
    let producers = scene.load().start();
    scene.wait_until_delivered(50).await;
    wire.cut();
    let stood_at = targets[2].arrived().await.unwrap();
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 1_000).await;
    let acknowledged = producers.stop().await;
    let others: Vec<_> = targets.iter().filter(|target| target.name != "postgres-c").cloned().collect();
    settle(&others, &acknowledged).await;
    // What was on its way when the wire was cut may have arrived: one batch at most.
    let stands_at = targets[2].arrived().await.unwrap();
    assert!(stands_at < stood_at + 500, "it hangs, and yet it got from {stood_at} to {stands_at}");
    wire.mend();
    settle(&targets, &acknowledged).await;
}
