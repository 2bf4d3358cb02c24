//! Reading for a lane.

use std::time::{Duration, Instant};

use tidegate_actors::ports::{Entry, EntryReader, ReadOutcome};

use super::*;

fn entries(outcome: ReadOutcome) -> Vec<Entry> {
    match outcome {
        ReadOutcome::Batch(batch) => batch.entries,
        other => panic!("no batch: {other:?}"),
    }
}

#[tokio::test]
async fn everything_is_read_once_and_in_order() {
    let mut scene = Scene::new().await;
    let ids = scene.append(3000).await;
    let (mut reader, mut from, mut read) = (scene.reader(), scene.from(StreamId::ZERO).await, Vec::new());
    while read.len() < 3000 {
        let batch = entries(reader.read(std::slice::from_ref(&from), 700, Duration::ZERO).await.unwrap());
        assert!(batch.len() <= 700);
        from.after = batch.last().unwrap().id();
        read.extend(batch);
    }
    assert!(read.iter().map(Entry::id).eq(ids.iter().map(|id| id.0.id)));
    assert!(matches!(&read[2999], Entry::Message(message) if &*message.data == "{\"n\":2999}"));
    assert_eq!(reader.read(&[from], 700, Duration::ZERO).await.unwrap(), ReadOutcome::Idle);
}

#[tokio::test]
async fn a_batch_of_large_records_is_bounded_by_bytes() {
    let mut scene = Scene::new().await;
    let large = "x".repeat(1 << 20);
    for _ in 0..4 {
        scene.appender.append(request(vec![record(&large); 8])).await.unwrap();
    }
    let from = scene.from(StreamId::ZERO).await;
    let batch = entries(scene.reader().read(&[from], 10_000, Duration::ZERO).await.unwrap());
    assert!((8..=16).contains(&batch.len()), "{} MiB in one batch", batch.len());
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_a_record() {
    let mut scene = Scene::new().await;
    let from = scene.from(StreamId::ZERO).await;
    let mut reader = scene.reader();
    let start = Instant::now();
    let lanes = [from];
    let read = reader.read(&lanes, 10, Duration::from_secs(5));
    let append = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene.append_one("{}").await
    };
    let (read, id) = tokio::join!(read, append);
    assert_eq!(entries(read.unwrap())[0].id(), id.0.id);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_idle_wait_ends_and_a_dropped_one_costs_nothing() {
    let mut scene = Scene::new().await;
    let lanes = [scene.from(StreamId::ZERO).await];
    let mut reader = scene.reader();
    let dropped =
        tokio::time::timeout(Duration::from_millis(50), reader.read(&lanes, 10, Duration::from_secs(5))).await;
    assert!(dropped.is_err());
    assert_eq!(reader.read(&lanes, 10, Duration::from_millis(100)).await.unwrap(), ReadOutcome::Idle);
    let id = scene.append_one("{}").await;
    assert_eq!(entries(reader.read(&lanes, 10, Duration::from_secs(1)).await.unwrap())[0].id(), id.0.id);
}

#[tokio::test]
async fn lanes_take_turns() {
    let mut scene = Scene::new().await;
    let mut other = scene.lane.clone();
    other.stream = "shop".into();
    for app in [APP, "shop"] {
        let request = AppendRequest { application: app.into(), ..request(vec![record("{}"); 4]) };
        scene.appender.append(request).await.unwrap();
    }
    let newest = scene.log.view(&other).await.unwrap().generations.pop().unwrap().generation;
    let mut lanes = [
        scene.from(StreamId::ZERO).await,
        ReadFrom { lane: other, after: StreamId::ZERO, newest, version: 0, until: None },
    ];
    let (mut reader, mut order) = (scene.reader(), Vec::new());
    for _ in 0..4 {
        let ReadOutcome::Batch(batch) = reader.read(&lanes, 2, Duration::ZERO).await.unwrap() else { panic!("idle") };
        for lane in &mut lanes {
            if lane.lane == batch.lane {
                lane.after = batch.last();
            }
        }
        order.push(batch.lane.stream.to_string());
    }
    assert_eq!(order, [APP, "shop", APP, "shop"]);
    // The wait is for all of them.
    let read = reader.read(&lanes, 2, Duration::from_secs(5));
    let append = scene.appender.append(AppendRequest { application: "shop".into(), ..request(vec![record("{}")]) });
    let (read, _) = tokio::join!(read, append);
    assert!(matches!(read.unwrap(), ReadOutcome::Batch(batch) if &*batch.lane.stream == "shop"));
}

#[tokio::test]
async fn a_restart_is_told_as_a_new_generation_and_the_end_of_the_old_one_is_kept() {
    let mut scene = Scene::new().await;
    let old = scene.append(3).await;
    let mut from = scene.from(StreamId::ZERO).await;
    let mut reader = scene.reader();
    scene.server.restart().await;
    crate::servers::wait_for("the appender to be back", Duration::from_secs(5), async || {
        scene.appender.append(request(vec![record("{}")])).await.ok()
    })
    .await;
    // The reader's connection broke; its error is the environment's.
    let outcome = match reader.read(std::slice::from_ref(&from), 10, Duration::ZERO).await {
        Err(LogError::Unavailable(_)) => reader.read(std::slice::from_ref(&from), 10, Duration::ZERO).await.unwrap(),
        outcome => outcome.unwrap(),
    };
    assert_eq!(outcome, ReadOutcome::NewGeneration(scene.lane.clone()));

    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!(view.generations.len(), 2);
    assert_eq!(view.generations[1].after, old[2].0.id);
    from.newest = view.generations[1].generation.clone();
    from.until = Some(view.generations[1].after);
    let rest = entries(reader.read(std::slice::from_ref(&from), 10, Duration::ZERO).await.unwrap());
    assert_eq!(rest.len(), 3, "nothing of the new generation");
    from.after = old[2].0.id;
    from.until = None;
    assert_eq!(entries(reader.read(&[from], 10, Duration::ZERO).await.unwrap()).len(), 1);
}

#[tokio::test]
async fn a_stream_trimmed_above_the_lane_is_a_gap() {
    let mut scene = Scene::new().await;
    scene.register(Start::Earliest).await;
    let ids = scene.append(10).await;
    scene.lease().await;
    scene.advance(&ids[7].0).await.unwrap();
    let none = tidegate::redis::trim::Retention::NONE;
    tidegate::redis::trim::stream(&scene.redis, APP, &[DESTINATION], 0, none).await.unwrap();
    // A destination that was restored from an old backup stands below what was trimmed.
    let from = scene.from(ids[2].0.id).await;
    let outcome = scene.reader().read(&[from], 10, Duration::ZERO).await.unwrap();
    assert!(
        matches!(outcome, ReadOutcome::Gap { after, trimmed, .. } if after == ids[2].0.id && trimmed >= ids[6].0.id)
    );
    let from = scene.from(ids[7].0.id).await;
    assert_eq!(entries(scene.reader().read(&[from], 10, Duration::ZERO).await.unwrap()).len(), 2);
    // One that stands at the last entry that went misses nothing.
    let from = scene.from(ids[6].0.id).await;
    assert_eq!(entries(scene.reader().read(&[from], 10, Duration::ZERO).await.unwrap()).len(), 3);
}

#[tokio::test]
async fn an_owner_that_does_not_know_the_newest_routes_is_given_nothing() {
    let mut scene = Scene::new().await;
    scene.register(Start::Earliest).await;
    tidegate::redis::registration::set_version(&scene.redis, APP, 2).await.unwrap();
    scene.append(3).await;
    let mut from = scene.from(StreamId::ZERO).await;
    from.version = 1;
    let outcome = scene.reader().read(std::slice::from_ref(&from), 10, Duration::ZERO).await.unwrap();
    assert_eq!(outcome, ReadOutcome::NewVersion(scene.lane.clone()));
    from.version = 2;
    assert_eq!(entries(scene.reader().read(&[from], 10, Duration::ZERO).await.unwrap()).len(), 3);
}

#[tokio::test]
async fn an_entry_made_by_hand_is_told_and_not_skipped() {
    let mut scene = Scene::new().await;
    scene.append_one("{}").await;
    scene.server.ask::<String>(&format!("XADD {STREAM} * hello world")).await;
    let from = scene.from(StreamId::ZERO).await;
    let read = entries(scene.reader().read(&[from], 10, Duration::ZERO).await.unwrap());
    assert!(matches!(&read[1], Entry::Unknown { why, .. } if why.contains("not written by Tidegate")));
}
