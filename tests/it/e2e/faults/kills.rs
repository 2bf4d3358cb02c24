//! Nodes that die: at named places of a delivery, and both at once.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt as _};

use tidegate_actors::failpoint;

use super::{PATIENCE, Scene};
use crate::servers::wait_for;

/// Where nodes die, and the most times that they come by before. What comes by at every batch is left alone for a while,
/// so that something has been written in between.
const PLACES: [(&str, u32); 9] = [
    (failpoint::AFTER_BEGIN_LANE, 0),
    (failpoint::BEFORE_TRANSACTION, 40),
    (failpoint::AFTER_LEASE, 1),
    (failpoint::INSIDE_POSTGRES, 20),
    (failpoint::AFTER_COMMIT, 40),
    (failpoint::AFTER_FENCE, 1),
    (failpoint::INSIDE_MYSQL, 20),
    (failpoint::AFTER_ADVANCE, 40),
    (failpoint::BEFORE_CLAIM, 1),
];
const KILLS: usize = 30;

#[actix_web::test]
async fn nodes_killed_thirty_times_at_named_places_lose_and_double_nothing() {
    let mut scene = Scene::start().await;
    let producers = scene.load().start();
    scene.wait_until_delivered(100).await;
    let mut next = (0..).map(|kill| PLACES[kill % PLACES.len()]);
    let mut armed = [""; 2];
    let mut killed: BTreeMap<&str, usize> = BTreeMap::new();
    // Both are armed from now on: whichever dies, the other takes over, and dies in its turn.
    for (node, armed) in scene.nodes.iter_mut().zip(&mut armed) {
        node.kill();
        *armed = arm(node, next.next().unwrap());
        node.start(&scene.installation);
    }
    while killed.values().sum::<usize>() < KILLS {
        if armed.contains(&failpoint::AFTER_BEGIN_LANE) {
            // Lanes begin once in each incarnation of Redis.
            scene.installation.redis.restart().await;
        }
        let what = format!("a node dies at one of {armed:?}");
        let (dead, status) = wait_for(&what, PATIENCE, async || {
            let ended = scene.nodes.iter_mut().map(super::Node::ended).enumerate();
            ended.filter_map(|(node, status)| Some((node, status?))).next()
        })
        .await;
        assert_eq!(status.signal(), Some(6), "it died at {} and of nothing else: {status}", armed[dead]);
        *killed.entry(armed[dead]).or_default() += 1;
        armed[dead] = arm(&mut scene.nodes[dead], next.next().unwrap());
        scene.nodes[dead].start(&scene.installation);
    }
    for node in &mut scene.nodes {
        node.kill();
        node.environment.remove("FAILPOINTS");
        node.start(&scene.installation);
    }
    assert_eq!(killed.len(), PLACES.len(), "each place had its turn: {killed:?}");
    scene.settle(producers).await;
}

fn arm(node: &mut super::Node, (place, at_most): (&'static str, u32)) -> &'static str {
    let passes = rand::random_range(0..=at_most);
    let action = if passes == 0 { "1*return".to_owned() } else { format!("{passes}*off->1*return") };
    node.environment.insert("FAILPOINTS", format!("{place}={action}"));
    place
}

#[actix_web::test]
async fn both_nodes_killed_at_once_come_back_and_go_on() {
    let mut scene = Scene::start().await;
    let producers = scene.load().start();
    for _ in 0..5 {
        scene.wait_until_delivered(50).await;
        scene.nodes.iter_mut().for_each(super::Node::kill);
        for node in &mut scene.nodes {
            node.start(&scene.installation);
        }
    }
    scene.settle(producers).await;
}
