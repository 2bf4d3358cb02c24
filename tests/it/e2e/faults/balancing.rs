//! What producers see of nodes that are restarted one after the other: nothing.

use std::time::Duration;

use super::{Scene, wait_until_sent};

/// Requests a second while nodes are restarted.
const RATE: u32 = 500;
const RESTARTS: usize = 10;

#[actix_web::test]
async fn ten_rolling_restarts_fail_no_request() {
    let mut scene = Scene::start().await;
    let mut load = scene.load();
    (load.producers, load.keys, load.rate) = (32, 20, RATE);
    let producers = load.start();
    wait_until_sent(&producers, 500).await;
    for restart in 0..RESTARTS {
        let node = restart % 2;
        let (status, took) = scene.nodes[node].terminate().await;
        assert!(status.success(), "{status}");
        assert!(took < Duration::from_secs(16), "drain delay of 1 s and 15 s more, but it took {took:?}");
        scene.nodes[node].start(&scene.installation);
        scene.nodes[node].ready().await;
        scene.balancer.wait_for_healthy(2).await;
        let failed = producers.failed();
        let first = failed.first().map(|failed| (failed.status, &failed.why, failed.at));
        assert!(failed.is_empty(), "restart {restart}: {} requests failed, first {first:?}", failed.len());
    }
    let rate = producers.rate();
    println!("{} messages at {rate:.0} a second, none refused", producers.sent());
    // A machine that does other things meanwhile answers fewer than are offered; far fewer would show nothing.
    assert!(rate > f64::from(RATE) / 2.0, "a load of {rate:.0} requests a second is not what is to be shown");
    scene.settle(producers).await;
}
