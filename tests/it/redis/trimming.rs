//! The janitor's rules.

use std::time::Duration;

use tidegate::redis::{
    history, memory,
    trim::{self, Retention, Trimmed},
};

use super::*;

async fn trim(scene: &Scene, destinations: &[&str], retention: Retention) -> Trimmed {
    trim::stream(&scene.redis, APP, destinations, 0, retention).await.unwrap()
}

async fn length(scene: &Scene) -> usize {
    scene.server.ask(&format!("XLEN {STREAM}")).await
}

#[tokio::test]
async fn only_what_every_destination_has_passed_goes() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    registration::register_route(&scene.redis, APP, "route2", "dest00000002", &Start::Now).await.unwrap();
    let ids = scene.append(10).await;
    scene.lease().await;
    scene.advance(&ids[8].0).await.unwrap();
    let both = [DESTINATION, "dest00000002"];
    assert_eq!(trim(&scene, &both, Retention::NONE).await.removed, 0, "the other has nothing yet");

    scene.lane = lane("dest00000002");
    scene.lease().await;
    scene.advance(&ids[3].0).await.unwrap();
    // Counted although the caller's list does not have it.
    let trimmed = trim(&scene, &[DESTINATION], Retention::NONE).await;
    assert_eq!((trimmed.removed, trimmed.unlisted), (3, vec!["dest00000002".to_owned()]));
    let first: Vec<(String, Vec<String>)> = scene.server.ask(&format!("XRANGE {STREAM} - + COUNT 1")).await;
    assert_eq!(first[0].0, ids[3].0.id.to_string(), "the position's own entry stays");
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!(view.trimmed, ids[2].0.id, "the last that went: whoever stands there misses nothing");
    // The lane can still be claimed where it stands.
    scene.advance(&ids[3].0).await.unwrap();
}

/// From below the first entry, Redis would look for it through the whole stream, a tenth of a second for every million.
#[tokio::test]
async fn where_nothing_is_old_enough_the_stream_is_not_gone_through() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(10).await;
    scene.lease().await;
    scene.advance(&ids[9].0).await.unwrap();
    let hour = Retention { time: Some(Duration::from_secs(3_600)), messages: None };
    let backwards = async || {
        let stats: String = scene.server.ask("INFO commandstats").await;
        stats.lines().any(|line| line.starts_with("cmdstat_xrevrange"))
    };
    assert_eq!(trim(&scene, &[DESTINATION], hour).await.removed, 0);
    assert!(!backwards().await);
    assert_eq!(trim(&scene, &[DESTINATION], Retention::NONE).await.removed, 9);
    assert!(backwards().await, "this is how the last that goes is found");
}

#[tokio::test]
async fn a_destination_without_a_position_of_the_newest_generation_forbids_it() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(10).await;
    scene.lease().await;
    scene.advance(&ids[9].0).await.unwrap();
    let held = trim(&scene, &[DESTINATION, "unknown"], Retention::NONE).await;
    assert_eq!((held.removed, held.held_by.as_deref()), (0, Some("unknown")));

    registration::set_version(&scene.redis, APP, 5).await.unwrap();
    let held = trim(&scene, &[DESTINATION], Retention::NONE).await;
    assert_eq!((held.removed, held.held_by.as_deref()), (0, Some("VERSION")));

    scene.server.restart().await;
    let by_version_5 = || trim::stream(&scene.redis, APP, &[DESTINATION], 5, Retention::NONE);
    assert_eq!(by_version_5().await.unwrap().held_by.as_deref(), Some("GENERATION"));
    scene.log.view(&scene.lane).await.unwrap();
    assert_eq!(by_version_5().await.unwrap().held_by.as_deref(), Some(DESTINATION));
    assert_eq!(length(&scene).await, 10);
}

#[tokio::test]
async fn the_retention_is_kept_by_time_and_by_number_whichever_is_less() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(3000).await;
    scene.lease().await;
    scene.advance(&ids[2999].0).await.unwrap();
    let hour = Some(Duration::from_secs(3600));
    let registered = [DESTINATION];
    assert_eq!(trim(&scene, &registered, Retention { time: hour, messages: None }).await.removed, 0);
    assert_eq!(trim(&scene, &registered, Retention { time: hour, messages: Some(5000) }).await.removed, 0);
    assert_eq!(trim(&scene, &registered, Retention { time: hour, messages: Some(500) }).await.removed, 2500);
    assert_eq!(length(&scene).await, 500);
    assert_eq!(trim(&scene, &registered, Retention { time: None, messages: Some(400) }).await.removed, 100);
    assert_eq!(trim(&scene, &registered, Retention::default()).await.removed, 0);
    let both = Retention { time: Some(Duration::ZERO), messages: Some(400) };
    crate::servers::wait_for("a millisecond to pass", Duration::from_secs(1), async || {
        (trim(&scene, &registered, both).await.removed > 0).then_some(())
    })
    .await;
    trim(&scene, &registered, both).await;
    assert_eq!(length(&scene).await, 1, "the position's own entry");
}

#[tokio::test]
async fn by_number_it_stops_at_the_slowest_destination() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(100).await;
    scene.lease().await;
    scene.advance(&ids[49].0).await.unwrap();
    let trimmed = trim(&scene, &[DESTINATION], Retention { time: None, messages: Some(10) }).await;
    assert_eq!(trimmed.removed, 49);
    let trimmed = trim(&scene, &[DESTINATION], Retention { time: None, messages: Some(10) }).await;
    assert_eq!(trimmed.removed, 0);
}

#[tokio::test]
async fn history_and_finished_generations_go_with_the_entries() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    scene.lease().await;
    let old = scene.append(4).await;
    for pair in old.chunks(2) {
        let mut advance = scene.advance_of(pair[1].0.clone()).await;
        advance.history = Some(batch(&pair[0], &pair[1], 2));
        scene.log.advance(&advance).await.unwrap();
        scene.log.advance(&advance).await.unwrap();
    }
    let generation = old[0].0.generation.0.clone();
    let recent = history::recent(&scene.redis, APP, DESTINATION, &generation, 10).await.unwrap();
    assert_eq!(recent.iter().map(|record| record.last).collect::<Vec<_>>(), [old[3].0.id, old[1].0.id]);
    trim(&scene, &[DESTINATION], Retention::NONE).await;
    assert_eq!(history::recent(&scene.redis, APP, DESTINATION, &generation, 10).await.unwrap().len(), 1);

    scene.server.restart().await;
    let new = crate::servers::wait_for("the appender to be back", Duration::from_secs(5), async || {
        scene.appender.append(request(vec![record("{}"); 4])).await.ok()
    })
    .await
    .ids;
    scene.advance(&new[2].0).await.unwrap();
    assert_eq!(scene.log.view(&scene.lane).await.unwrap().generations.len(), 2);
    trim(&scene, &[DESTINATION], Retention::NONE).await;
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!(view.generations.len(), 2, "a database may be restored to a time when it was read");
    let key = format!("tidegate:{{car-app}}:history:{DESTINATION}:{generation}");
    assert_eq!(scene.server.ask::<usize>(&format!("EXISTS {key}")).await, 0);
}

#[tokio::test]
async fn only_the_oldest_of_many_generations_are_forgotten() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    scene.lease().await;
    let last = scene.append(2).await.pop().unwrap().0;
    scene.advance(&last).await.unwrap();
    // As if Redis had been restarted very often, long ago.
    let many: Vec<_> = (0..40).map(|number| format!("old{number} 0-{number}")).collect();
    let newest = format!("{} 0-41", last.generation);
    let list = format!("{},{newest}", many.join(","));
    let mut connection = scene.server.connection().await;
    let key = "tidegate:{car-app}:meta";
    let _: () = redis::cmd("HSET").arg(key).arg("generations").arg(&list).query_async(&mut connection).await.unwrap();
    let key = "tidegate:{car-app}:starts";
    let route: Vec<String> = scene.server.ask(&format!("HKEYS {key}")).await;
    let start = format!("old3 0-3 {DESTINATION}");
    let _: () = redis::cmd("HSET").arg(key).arg(&route[0]).arg(start).query_async(&mut connection).await.unwrap();
    scene.append(1).await;
    trim(&scene, &[DESTINATION], Retention::NONE).await;
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!(view.generations.len(), 32);
    assert_eq!(view.generations[0].generation.0.as_ref(), "old9");
    assert_eq!((&*view.starts[0].1.generation.0, view.starts[0].1.id), ("old9", StreamId::ZERO), "it began before");
}

#[tokio::test]
async fn memory_is_sampled_with_its_limit() {
    let scene = Scene::with(&[("maxmemory", "50mb")]).await;
    let sample = memory::sample(&scene.redis).await.unwrap();
    assert_eq!(sample.limit_bytes, Some(50 << 20));
    assert!((1 << 19..20 << 20).contains(&sample.used_bytes), "{sample:?}");
    let unlimited = Scene::new().await;
    assert_eq!(memory::sample(&unlimited.redis).await.unwrap().limit_bytes, None);
}

#[tokio::test]
async fn schemas_that_no_batch_was_mapped_for_are_swept_at_the_second_look() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    scene.lease().await;
    let ids = scene.append(1).await;
    let mut advance = scene.advance_of(ids[0].0.clone()).await;
    advance.history = Some(batch(&ids[0], &ids[0], 1));
    scene.log.advance(&advance).await.unwrap();
    let table = tidegate_actors::schema::TableSchema {
        schema: String::new(),
        name: "cars".into(),
        columns: vec![],
        unique_keys: vec![],
    };
    let route = serde_json::json!({"name": "r", "application": APP, "topic": "t", "destination": "d", "table": "cars"});
    let plan =
        tidegate_actors::ports::PlanRecord { route: serde_json::from_value(route).unwrap(), table, children: vec![] };
    for n in 0..1100 {
        scene.log.keep_plan(&scene.lane, &format!("old{n}"), &plan).await.unwrap();
    }
    scene.log.keep_plan(&scene.lane, "digest", &plan).await.unwrap();
    let mut unused = Default::default();
    assert_eq!(trim::sweep_plans(&scene.redis, APP, &mut unused).await.unwrap(), 0);
    assert_eq!(trim::sweep_plans(&scene.redis, APP, &mut unused).await.unwrap(), 1100);
    let left: Vec<String> = scene.server.ask("HKEYS tidegate:{car-app}:plans").await;
    assert_eq!(left, ["digest"]);
}

#[tokio::test]
async fn the_stream_of_an_application_that_is_gone_is_emptied_once_no_lane_is_left() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    scene.append(5).await;
    registration::clear(&scene.redis, APP).await.unwrap();
    assert_eq!(scene.server.ask::<u64>("XLEN tidegate:{car-app}:stream").await, 5, "a lane still wants them");
    registration::unregister_destination(&scene.redis, APP, DESTINATION).await.unwrap();
    registration::clear(&scene.redis, APP).await.unwrap();
    assert_eq!(scene.server.ask::<u64>("XLEN tidegate:{car-app}:stream").await, 0);
    // It comes back under the same name, and begins at what is new.
    scene.register(Start::Earliest).await;
    scene.lease().await;
    let ids = scene.append(2).await;
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!((view.generations.len(), view.trimmed), (1, view.starts[0].1.id));
    assert!(view.trimmed < ids[0].0.id);
}
