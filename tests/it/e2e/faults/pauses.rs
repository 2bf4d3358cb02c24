//! Nodes that stand still for a while, as virtual machines do when they are moved.

use std::time::Duration;

use super::{LEASE, Scene, wait_until_sent};

#[actix_web::test]
async fn nodes_paused_ten_times_for_twice_the_lease_lose_and_double_nothing() {
    let scene = Scene::start().await;
    let producers = scene.load().start();
    scene.wait_until_delivered(50).await;
    for pause in 0..10 {
        let node = &scene.nodes[pause % 2];
        // At any moment of what it does.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..300))).await;
        node.pause().await;
        tokio::time::sleep(2 * LEASE).await; // the fault itself
        node.resume();
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 50).await;
        scene.wait_until_delivered(20).await;
    }
    scene.settle(producers).await;
}
