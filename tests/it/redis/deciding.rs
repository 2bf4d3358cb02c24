//! Where a lane goes on by an operator's word, and what a restored registry registers again.

use tidegate::redis::{
    resume::{From, resolve},
    trim::{self, Retention},
};

use super::*;
use crate::servers::wait_for;

async fn removed(scene: &Scene) -> u64 {
    trim::stream(&scene.redis, APP, &[DESTINATION], 0, Retention::NONE).await.unwrap().removed
}

#[tokio::test]
async fn a_word_becomes_a_place_at_once() {
    let mut scene = Scene::new().await;
    assert_eq!(resolve(&scene.redis, APP, DESTINATION, From::Last).await.unwrap(), None, "nothing is known of it");
    scene.register(Start::Now).await;
    let ids = scene.append(10).await;
    scene.lease().await;
    scene.advance(&ids[5].0).await.unwrap();
    assert_eq!(removed(&scene).await, 5);

    let last = resolve(&scene.redis, APP, DESTINATION, From::Last).await.unwrap().unwrap();
    assert_eq!((last.to, last.sent, last.waiting), (ids[5].0.clone(), 4, Some(4)));
    let earliest = resolve(&scene.redis, APP, DESTINATION, From::Earliest).await.unwrap().unwrap();
    assert_eq!((earliest.to.id, earliest.sent, earliest.waiting), (earliest.trimmed, 5, Some(4)));
    assert!(earliest.to.id >= ids[4].0.id && earliest.to.id < ids[5].0.id);
    let now = resolve(&scene.redis, APP, DESTINATION, From::Now).await.unwrap().unwrap();
    assert_eq!((now.to.clone(), now.sent), (ids[9].0.clone(), 0));
    // Each is a place that the owner may claim, even where the entry itself was taken out.
    scene.server.ask::<u64>(&format!("XDEL {STREAM} {}", ids[9].0.id)).await;
    scene.advance(&now.to).await.unwrap();

    // What is removed cannot be read again: the mark is as far back as it goes.
    scene.advance(&ids[5].0).await.unwrap();
    let mark = ids[7].0.id;
    scene.server.ask::<u64>(&format!("HSET tidegate:{{car-app}}:meta trimmed {mark}")).await;
    let last = resolve(&scene.redis, APP, DESTINATION, From::Last).await.unwrap().unwrap();
    assert_eq!((last.to.id, last.sent), (mark, 1));

    // A place is told with the generation that it is of.
    scene.server.restart().await;
    // The first append over the old connection finds it broken.
    let newer = wait_for("it takes a record", Duration::from_secs(20), async || {
        scene.appender.append(request(vec![record("{}")])).await.ok()
    })
    .await
    .ids
    .remove(0);
    let now = resolve(&scene.redis, APP, DESTINATION, From::Now).await.unwrap().unwrap();
    assert_eq!(now.to, newer.0);
    let earliest = resolve(&scene.redis, APP, DESTINATION, From::Earliest).await.unwrap().unwrap();
    assert_eq!(earliest.to.generation, ids[0].0.generation);
}

#[tokio::test]
async fn only_the_owner_replaces_the_bind_token() {
    let mut scene = Scene::with(&[("maxmemory", "1")]).await;
    scene.log.bind(&scene.lane.clone(), "first").await.unwrap();
    assert_eq!(scene.log.rebind(&scene.lane.clone(), "me", "second").await, Err(LogError::NotMine));
    scene.lease().await;
    for _ in 0..2 {
        scene.log.rebind(&scene.lane.clone(), "me", "second").await.unwrap();
        assert_eq!(scene.log.view(&scene.lane).await.unwrap().bind.as_deref(), Some("second"));
    }
}

#[tokio::test]
async fn a_restored_route_begins_at_the_earliest_entry_and_holds_back_trimming() {
    let mut scene = Scene::new().await;
    let ids = scene.append(3).await;
    let restore = || registration::restore_route(&scene.redis, APP, "route1", DESTINATION);
    let start = restore().await.unwrap();
    assert_eq!((start.id, &start.generation), (StreamId::ZERO, &ids[0].0.generation));
    assert_eq!(removed(&scene).await, 0, "the lane has not arrived");
    scene.lease().await;
    scene.advance(&ids[1].0).await.unwrap();
    assert_eq!(removed(&scene).await, 1);
    // Another route of the same destination, although it stands further on; and the first keeps its start.
    let other = registration::restore_route(&scene.redis, APP, "route2", DESTINATION).await.unwrap();
    assert!(other.id < ids[1].0.id);
    assert_eq!(registration::restore_route(&scene.redis, APP, "route1", DESTINATION).await.unwrap(), start);
    assert_eq!(scene.log.view(&scene.lane).await.unwrap().position, Some(ids[1].0.clone()), "it stays where it is");
}
