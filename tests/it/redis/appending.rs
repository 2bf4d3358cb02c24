//! Taking records in.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tidegate::redis::RedisAppender;
use tidegate_actors::ports::{AppendError, Appender, EntryReader, ReadOutcome};

use super::*;
use crate::servers::wait_for;

#[tokio::test]
async fn ids_are_in_order_and_name_entries_of_the_documented_stream() {
    let scene = Scene::new().await;
    let one = scene.append_one("{}").await;
    let many = scene.append(1000).await;
    assert_eq!(many.len(), 1000);
    assert!(std::iter::once(&one).chain(&many).is_sorted_by(|a, b| a.0.id < b.0.id));
    assert_eq!(scene.server.ask::<usize>(&format!("XLEN {STREAM}")).await, 1001);
    let id = many[500].0.id;
    let entries: Vec<(String, Vec<String>)> = scene.server.ask(&format!("XRANGE {STREAM} {id} {id}")).await;
    assert_eq!(entries[0].1, ["2", "p 4 2 0 0\ncars42{\"n\":500}"].map(String::from));
}

#[tokio::test]
async fn a_waiting_record_costs_at_most_a_third_more_than_a_plain_one() {
    let scene = Scene::new().await;
    let data = r#"{"car_name":"Toyota Avanza 1.5 G CVT","price":"233100000","stock":12,"branch":"JKT-03","updated":"2025-06-01T08:00:00Z"}"#;
    let records: Vec<_> = (0..20_000).map(|n| NewRecord { key: Some(format!("{n}").into()), ..record(data) }).collect();
    for chunk in records.chunks(5000) {
        scene.appender.append(request(chunk.to_vec())).await.unwrap();
    }
    let mut connection = scene.server.connection().await;
    for _ in 0..4 {
        let mut pipe = redis::pipe();
        for _ in 0..5000 {
            pipe.cmd("XADD").arg("plain").arg("*").arg("d").arg(data).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.unwrap();
    }
    let ours: f64 = scene.server.ask(&format!("MEMORY USAGE {STREAM} SAMPLES 0")).await;
    let plain: f64 = scene.server.ask("MEMORY USAGE plain SAMPLES 0").await;
    assert!(ours / plain <= 1.3, "{ours} bytes against {plain}: {}", ours / plain);
}

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_first_ids() {
    let scene = Scene::new().await;
    let records = || (0..300).map(|n| record(&format!("{n}"))).collect::<Vec<_>>();
    let first = scene.appender.append(keyed("k", 1, records())).await.unwrap();
    let again = scene.appender.append(keyed("k", 1, records())).await.unwrap();
    assert_eq!((first.ids.len(), first.replayed), (300, false));
    assert_eq!((again.ids, again.replayed), (first.ids, true));
    assert_eq!(scene.appender.append(keyed("k", 2, records())).await, Err(AppendError::KeyReused));
    assert_eq!(scene.server.ask::<usize>(&format!("XLEN {STREAM}")).await, 300);
    let ttl: i64 = scene.server.ask("TTL tidegate:{car-app}:idem:k").await;
    assert!((86_300..=86_400).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn requests_with_one_key_at_the_same_time_add_once() {
    let scene = Scene::new().await;
    let append = || scene.appender.append(keyed("k", 1, vec![record("{}")]));
    let (first, second) = tokio::join!(append(), append());
    assert!(first.is_ok());
    assert_eq!(second, Err(AppendError::KeyUnderWay));
    assert!(append().await.unwrap().replayed);
}

#[tokio::test]
async fn an_own_id_is_added_once_and_found() {
    let scene = Scene::new().await;
    let first = scene.appender.append(request(vec![own("a", "1"), record("2"), own("b", "3")])).await.unwrap().ids;
    let again =
        scene.appender.append(request(vec![record("4"), own("b", "3"), own("c", "5"), own("c", "5")])).await.unwrap();
    assert_eq!((&again.ids[1], again.replayed), (&first[2], false));
    assert_eq!(again.ids[2], again.ids[3]);
    assert_eq!(scene.server.ask::<usize>(&format!("XLEN {STREAM}")).await, 5);
    let refused = scene.appender.append(request(vec![record("6"), own("a", "other")])).await;
    assert_eq!(refused, Err(AppendError::IdReused { index: 1 }));
    assert_eq!(scene.server.ask::<usize>(&format!("XLEN {STREAM}")).await, 5, "all or nothing");
    let found = tidegate::redis::lookup::by_own_id(&scene.redis, APP, "a").await.unwrap();
    assert_eq!(found.as_ref(), Some(&first[0]));
    assert_eq!(tidegate::redis::lookup::by_own_id(&scene.redis, APP, "z").await.unwrap(), None);
}

#[tokio::test]
async fn a_full_redis_refuses_and_delivery_empties_it() {
    let mut scene = Scene::with(&[("maxmemory", "6mb")]).await;
    scene.register(Start::Now).await;
    let big = "x".repeat(50_000);
    let fill = || request(vec![record(&big); 2]);
    let mut ids = Vec::new();
    let refused = loop {
        match scene.appender.append(fill()).await {
            Ok(appended) => ids.extend(appended.ids),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Full);
    assert_eq!(scene.server.ask::<usize>(&format!("XLEN {STREAM}")).await, ids.len(), "all or nothing");
    // What a request itself takes counts too: a smaller one may still fit.
    while let Ok(appended) = scene.appender.append(request(vec![record(&big)])).await {
        ids.extend(appended.ids);
    }
    assert_eq!(scene.appender.append(request(vec![record(&big)])).await, Err(AppendError::Full));
    assert_eq!(scene.appender.append(keyed("k", 1, vec![record(&big)])).await, Err(AppendError::Full));

    // Everything that drains works all the same.
    scene.lease().await;
    let last = ids.last().unwrap().clone();
    let mut advance = scene.advance_of(last.0.clone()).await;
    advance.history = Some(batch(&ids[0], &last, ids.len() as u32));
    scene.log.advance(&advance).await.unwrap();
    let none = tidegate::redis::trim::Retention::NONE;
    let trimmed = tidegate::redis::trim::stream(&scene.redis, APP, &[DESTINATION], 0, none).await.unwrap();
    assert_eq!(trimmed.removed as usize, ids.len() - 1);
    scene.append_one(&big).await;
}

#[tokio::test]
async fn the_hard_mark_refuses() {
    let scene = Scene::new().await;
    let full = Arc::new(AtomicBool::new(true));
    let appender = RedisAppender::new(&scene.redis, full.clone());
    assert_eq!(appender.append(request(vec![record("{}")])).await, Err(AppendError::Full));
    full.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(appender.append(request(vec![record("{}")])).await.is_ok());
}

#[tokio::test]
async fn without_redis_an_answer_comes_within_two_seconds_and_the_return_is_noticed() {
    let mut scene = Scene::new().await;
    let before = scene.append_one("{}").await;
    for pause in [false, true] {
        if pause {
            scene.server.pause()
        } else {
            scene.server.kill()
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            let start = Instant::now();
            let refused = scene.appender.append(request(vec![record("{}")])).await;
            assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
            slowest = slowest.max(start.elapsed());
        }
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        let start = Instant::now();
        wait_for("fast failure", Duration::from_secs(5), async || {
            let start = Instant::now();
            assert!(scene.appender.ping().await.is_err());
            (start.elapsed() < Duration::from_millis(20)).then_some(())
        })
        .await;
        if pause {
            scene.server.resume()
        } else {
            scene.server.restart().await
        }
        let after = wait_for("records to be taken again", Duration::from_secs(5), async || {
            scene.appender.append(request(vec![record("{}")])).await.ok()
        })
        .await;
        let took = start.elapsed();
        assert!(took < Duration::from_secs(8), "{took:?}");
        assert!(after.ids[0].0.id > before.0.id);
        assert_ne!(after.ids[0].0.generation, before.0.generation, "a restart is a new generation");
    }
}

#[tokio::test]
async fn an_acknowledged_record_survives_kill_9() {
    let mut scene = Scene::new().await;
    let ids = scene.append(50).await;
    scene.server.kill();
    scene.server.restart().await;
    let from = scene.from(StreamId::ZERO).await;
    let ReadOutcome::Batch(read) = scene.reader().read(&[from], 1000, Duration::ZERO).await.unwrap() else {
        panic!("nothing read")
    };
    assert!(read.entries.iter().map(|entry| entry.id()).eq(ids.iter().map(|id| id.0.id)));
}

#[tokio::test]
async fn a_stream_that_vanishes_comes_back_as_a_new_generation() {
    let scene = Scene::new().await;
    let before = scene.append_one("{}").await;
    for many in [false, true] {
        scene.server.ask::<()>(&format!("DEL {STREAM}")).await;
        let after = scene.append(if many { 3 } else { 1 }).await;
        assert_ne!(after[0].0.generation, before.0.generation);
        assert_eq!(scene.server.ask::<usize>(&format!("XLEN {STREAM}")).await, after.len());
    }
    assert_eq!(tidegate::redis::lookup::message(&scene.redis, APP, &before).await.unwrap(), None);
}

#[tokio::test]
async fn after_redis_was_emptied_by_hand_ids_soon_name_the_new_generation() {
    let mut scene = Scene::new().await;
    scene.append_one("{}").await;
    scene.server.ask::<()>("FLUSHALL").await;
    // Somebody else makes the stream again before this node appends.
    scene.log.view(&lane(DESTINATION)).await.unwrap();
    wait_for("the new generation", Duration::from_secs(3), async || {
        let id = scene.append_one("{}").await;
        tidegate::redis::lookup::message(&scene.redis, APP, &id).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_promoted_replica_is_a_new_generation_and_takes_records_without_a_restart_of_the_node() {
    let mut master = Scene::new().await;
    let ids = master.append(3).await;
    let replica = Scene::new().await;
    replica.server.ask::<()>(&format!("REPLICAOF 127.0.0.1 {}", master.server.port())).await;
    wait_for("the replica to have everything", Duration::from_secs(20), async || {
        (replica.server.ask::<usize>(&format!("XLEN {STREAM}")).await == 3).then_some(())
    })
    .await;
    let refused = replica.appender.append(request(vec![record("{}")])).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");

    master.server.kill();
    replica.server.ask::<()>("REPLICAOF NO ONE").await;
    let after = wait_for("records to be taken", Duration::from_secs(5), async || {
        replica.appender.append(request(vec![record("{}")])).await.ok()
    })
    .await;
    assert_ne!(after.ids[0].0.generation, ids[0].0.generation);
    let view = RedisLog::new(&replica.redis, "rooms").view(&replica.lane).await.unwrap();
    assert_eq!(view.generations[1].after, ids[2].0.id);
}

#[test]
fn a_connection_outlives_the_thread_that_made_it() {
    let on_a_runtime = |work: &dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = runtime.block_on(Scene::new());
    let (appender, handle) = (scene.appender.clone(), scene.redis.clone());
    for _ in 0..3 {
        let (appender, handle) = (appender.clone(), handle.clone());
        on_a_runtime(&move || {
            let (appender, handle) = (appender.clone(), handle.clone());
            Box::pin(async move {
                // The connection of the runtime that ended is found broken by the first who uses it.
                wait_for("a record to be taken", Duration::from_secs(2), async || {
                    appender.append(request(vec![record("{}")])).await.ok()
                })
                .await;
                tidegate::redis::status::lanes(&handle, APP).await.unwrap();
            })
        });
    }
}
