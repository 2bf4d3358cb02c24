//! Nodes that die: at named places of a delivery, and both at once.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt as _};

use tidegate_actors::failpoint;

use super::{Installation, Node, PATIENCE, Producers, Scene, Target, mariadb, postgres};
use crate::servers::wait_for;

/// Where nodes die whatever they write to, and the most times that they come by before: a while, where they come by at
/// every batch, so that something has been written in between; not at all, where they come by only once in a take-over.
const PLACES: [(&str, u32); 7] = [
    (failpoint::AFTER_BEGIN_LANE, 0),
    (failpoint::BEFORE_TRANSACTION, 40),
    (failpoint::AFTER_LEASE, 0),
    (failpoint::AFTER_COMMIT, 40),
    (failpoint::AFTER_FENCE, 0),
    (failpoint::AFTER_ADVANCE, 40),
    (failpoint::BEFORE_CLAIM, 0),
];

#[actix_web::test]
async fn nodes_killed_at_named_places_lose_and_double_nothing() {
    let mut scene = Scene::start().await;
    let producers = scene.load().start();
    let killed = die(&mut scene, &PLACES, 22).await;
    assert_eq!(killed.len(), PLACES.len(), "each place had its turn: {killed:?}");
    end(scene, producers).await;
}

#[actix_web::test]
async fn nodes_killed_inside_transactions_on_postgres_lose_and_double_nothing() {
    inside(postgres("pg").await, failpoint::INSIDE_POSTGRES).await;
}

#[actix_web::test]
async fn nodes_killed_inside_transactions_on_mariadb_lose_and_double_nothing() {
    inside(mariadb("my").await, failpoint::INSIDE_MYSQL).await;
}

async fn inside(target: Target, place: &'static str) {
    let mut scene = Scene::new(Installation::new().await, vec![target.clone()], &[target]).await;
    scene.start_nodes().await;
    let producers = scene.load().start();
    die(&mut scene, &[(place, 40)], 4).await;
    end(scene, producers).await;
}

/// Both nodes are armed: whichever dies, the other takes over, and dies in its turn. How often each place had its turn.
async fn die(scene: &mut Scene, places: &[(&'static str, u32)], kills: usize) -> BTreeMap<&'static str, usize> {
    scene.wait_until_delivered(100).await;
    let mut next = places.iter().copied().cycle();
    let mut killed = BTreeMap::new();
    let mut armed = [""; 2];
    for (node, armed) in scene.nodes.iter_mut().zip(&mut armed) {
        node.kill();
        *armed = arm(node, next.next().unwrap());
        node.start(&scene.installation);
    }
    while killed.values().sum::<usize>() < kills {
        if armed.contains(&failpoint::AFTER_BEGIN_LANE) {
            // Lanes begin once in each incarnation of Redis.
            scene.installation.redis.restart().await;
        }
        let (dead, status) = wait_for(&format!("a node dies at one of {armed:?}"), PATIENCE, async || {
            let ended = scene.nodes.iter_mut().map(Node::ended).enumerate();
            ended.filter_map(|(node, status)| Some((node, status?))).next()
        })
        .await;
        assert_eq!(status.signal(), Some(6), "it died at {} and of nothing else: {status}", armed[dead]);
        *killed.entry(armed[dead]).or_default() += 1;
        armed[dead] = arm(&mut scene.nodes[dead], next.next().unwrap());
        scene.nodes[dead].start(&scene.installation);
    }
    println!("died at {killed:?}");
    killed
}

fn arm(node: &mut Node, (place, at_most): (&'static str, u32)) -> &'static str {
    let passes = rand::random_range(0..=at_most);
    let action = if passes == 0 { "1*return".to_owned() } else { format!("{passes}*off->1*return") };
    node.environment.insert("FAILPOINTS", format!("{place}={action}"));
    place
}

async fn end(mut scene: Scene, producers: Producers) {
    for node in &mut scene.nodes {
        node.kill();
        node.environment.remove("FAILPOINTS");
        node.start(&scene.installation);
    }
    scene.settle(producers).await;
}

#[actix_web::test]
async fn both_nodes_killed_at_once_come_back_and_go_on() {
    let mut scene = Scene::start().await;
    let producers = scene.load().start();
    for _ in 0..5 {
        scene.wait_until_delivered(50).await;
        scene.nodes.iter_mut().for_each(Node::kill);
        for node in &mut scene.nodes {
            node.start(&scene.installation);
        }
    }
    scene.settle(producers).await;
}
