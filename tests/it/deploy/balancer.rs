//! Two nodes behind HAProxy with the project's own file: spreading, draining, rolling restarts, and what producers see
//! when Redis or all nodes are away.

use std::time::Duration;

use serde_json::Value;

use crate::{
    e2e::{
        installation::{Installation, Node, settle},
        ledger::Target,
        load::{Load, Producers},
    },
    servers::{haproxy::HaproxyServer, wait_for},
};

/// Two nodes on one Redis behind one balancer.
struct Scene {
    balancer: HaproxyServer,
    nodes: [Node; 2],
    installation: Installation,
    targets: Vec<Target>,
    key: String,
}

impl Scene {
    async fn new() -> Self {
        let installation = Installation::new().await;
        let targets = vec![installation.sqlite("lite").await];
        let key = installation.register(&targets);
        let nodes = [installation.node("a"), installation.node("b")];
        for node in &nodes {
            node.ready().await;
        }
        let balancer = HaproxyServer::start(&[nodes[0].listen, nodes[1].listen]).await;
        balancer.wait_for_healthy(2).await;
        Self { balancer, nodes, installation, targets, key }
    }

    fn load(&self) -> Load {
        Load { url: self.balancer.url(), ..self.nodes[0].load(&self.key) }
    }

    async fn requests(&self, server: &str) -> u64 {
        self.balancer.servers().await[server].requests
    }

    /// POSTs one record; status, `Retry-After`, and the body.
    async fn send(&self, id: &str) -> (u16, Option<u64>, Value) {
        let client = awc::Client::builder().timeout(Duration::from_secs(10)).finish();
        let body = format!(r#"{{"topic":"cars","key":1,"id":"{id}","data":{{"id":1,"version":1}}}}"#);
        let mut answer = client
            .post(format!("{}/v1/messages", self.balancer.url()))
            .insert_header(("Authorization", format!("Bearer {}", self.key)))
            .insert_header(("Content-Type", "application/json"))
            .send_body(body)
            .await
            .unwrap();
        let after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
        let body = answer.body().await.unwrap();
        (answer.status().as_u16(), after, serde_json::from_slice(&body).unwrap())
    }
}

async fn until_sent(producers: &Producers, messages: u64) {
    wait_for("the producers have sent enough", Duration::from_secs(60), async || {
        (producers.sent() >= messages).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn requests_spread_over_two_nodes() {
    let scene = Scene::new().await;
    let producers = scene.load().start();
    until_sent(&producers, 400).await;
    let acknowledged = producers.stop().await;
    let (a, b) = (scene.requests("a").await, scene.requests("b").await);
    assert!(a >= 100 && b >= 100, "of {} requests, a took {a} and b took {b}", a + b);
    settle(&scene.targets, &acknowledged).await;
}

#[actix_web::test]
async fn a_node_that_drains_gets_no_new_requests_and_none_fails() {
    let scene = Scene::new().await;
    let producers = scene.load().start();
    until_sent(&producers, 100).await;
    scene.balancer.set_state("b", "drain").await;
    let (before, sent) = (scene.requests("b").await, producers.sent());
    until_sent(&producers, sent + 200).await;
    // Those that were on their way to it when it was told.
    let late = scene.requests("b").await - before;
    assert!(late <= 4, "b got {late} more requests");
    scene.balancer.set_state("b", "ready").await;
    let sent = producers.sent();
    until_sent(&producers, sent + 200).await;
    assert!(scene.requests("b").await > before + 20, "b takes part again");
    assert_eq!(producers.refused(), 0, "no request failed");
    let acknowledged = producers.stop().await;
    settle(&scene.targets, &acknowledged).await;
}

#[actix_web::test]
async fn nodes_restarted_one_after_the_other_fail_no_request() {
    let mut scene = Scene::new().await;
    let producers = scene.load().start();
    until_sent(&producers, 100).await;
    for round in 0..4 {
        let node = &mut scene.nodes[round % 2];
        let (status, _) = node.terminate().await;
        assert!(status.success(), "{status}");
        node.start(&scene.installation);
        node.ready().await;
        scene.balancer.wait_for_healthy(2).await;
        let sent = producers.sent();
        until_sent(&producers, sent + 100).await;
    }
    assert_eq!(producers.refused(), 0, "no request failed");
    let acknowledged = producers.stop().await;
    settle(&scene.targets, &acknowledged).await;
}

#[actix_web::test]
async fn with_redis_away_producers_are_told_when_to_come_back() {
    let mut scene = Scene::new().await;
    scene.installation.redis.kill();
    // First a node that has not yet noticed refuses, then the balancer, once no node is ready.
    let (status, after, body) = scene.send("first").await;
    assert!(status == 503 && after >= Some(1), "{status} {after:?} {body}");
    scene.balancer.wait_for_healthy(0).await;
    let (status, after, body) = scene.send("second").await;
    assert_eq!((status, after), (503, Some(5)), "{body}");
    assert_eq!(body["status"], 503, "{body}");
    assert_eq!(body["type"], "/docs#unavailable", "the same type of problem as a node's own: {body}");
    scene.installation.redis.restart().await;
    scene.balancer.wait_for_healthy(2).await;
    let (status, _, body) = scene.send("second").await;
    assert_eq!(status, 202, "{body}");
}

#[actix_web::test]
async fn a_node_that_is_gone_costs_no_request_and_two_that_are_gone_cost_a_503() {
    let mut scene = Scene::new().await;
    scene.nodes[0].kill();
    for n in 0..10 {
        let (status, _, body) = scene.send(&format!("alone-{n}")).await;
        assert_eq!(status, 202, "connections that fail are made anew, to the other node: {body}");
    }
    scene.balancer.wait_for_healthy(1).await;
    scene.nodes[1].kill();
    scene.balancer.wait_for_healthy(0).await;
    let (status, after, body) = scene.send("nobody").await;
    assert_eq!((status, after), (503, Some(5)), "{body}");
    scene.nodes[0].start(&scene.installation);
    scene.balancer.wait_for_healthy(1).await;
    assert_eq!(scene.send("nobody").await.0, 202);
}
