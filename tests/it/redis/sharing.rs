//! Several destinations of one node read one stream: what one of them has fetched, the others need not.

use std::{
    future::Future as _,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use tidegate::redis::trim::{self, Retention};
use tidegate_actors::ports::{Entry, EntryReader, ReadOutcome};

use super::*;

/// As many destinations as wanted, each with a reader that stands at the beginning.
struct Readers {
    scene: Scene,
    all: Vec<(RedisReader, ReadFrom)>,
}

impl Readers {
    async fn of(count: usize, entries: usize) -> Self {
        let mut scene = Scene::new().await;
        for _ in 0..entries.div_ceil(2000) {
            scene.append(entries.min(2000)).await;
        }
        let from = scene.from(StreamId::ZERO).await;
        let reader = |place| {
            let lane = lane(&format!("dest{place:08}"));
            (RedisReader::new(&scene.redis), ReadFrom { lane, ..from.clone() })
        };
        let all = (0..count).map(reader).collect();
        Self { scene, all }
    }

    /// One batch of this reader.
    async fn read(&mut self, place: usize, max_entries: usize) -> Vec<Entry> {
        let (reader, from) = &mut self.all[place];
        step(reader, from, max_entries).await
    }

    async fn reads_asked(&self) -> u64 {
        let stats: String = self.scene.server.ask("INFO commandstats").await;
        let line = stats.lines().find(|line| line.starts_with("cmdstat_xread:")).unwrap_or("calls=0,");
        line.split("calls=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap()
    }
}

async fn step(reader: &mut RedisReader, from: &mut ReadFrom, max_entries: usize) -> Vec<Entry> {
    match reader.read(std::slice::from_ref(from), max_entries, Duration::ZERO).await.unwrap() {
        ReadOutcome::Batch(batch) => {
            from.after = batch.last();
            batch.entries
        }
        ReadOutcome::Idle => vec![],
        other => panic!("{other:?}"),
    }
}

fn ids(entries: &[Entry]) -> Vec<StreamId> {
    entries.iter().map(Entry::id).collect()
}

#[tokio::test]
async fn what_stands_at_one_place_is_read_once_for_all() {
    let mut readers = Readers::of(3, 20_000).await;
    let mut alone = Vec::new();
    while let batch @ [_, ..] = &readers.read(0, 2000).await[..] {
        assert!(batch.len() <= 2000);
        alone.extend(ids(batch));
    }
    assert_eq!(alone.len(), 20_000);
    let by_one = readers.reads_asked().await;
    let [_, (one, from_one), (other, from_other)] = &mut readers.all[..] else { panic!("three") };
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    loop {
        // Batches of other sizes meet the same pieces.
        let read = tokio::join!(step(one, from_one, 2000), step(other, from_other, 1700));
        if read.0.is_empty() && read.1.is_empty() {
            break;
        }
        of_one.extend(ids(&read.0));
        of_other.extend(ids(&read.1));
    }
    assert!(of_one == alone && of_other == alone);
    let by_both = readers.reads_asked().await - by_one;
    assert!(by_both < by_one + by_one / 2, "{by_both} reads for two, {by_one} for one");
}

/// Two that began together; the first is now one batch ahead, and what it read is at hand for the second.
async fn one_ahead() -> (Readers, Vec<StreamId>) {
    let mut readers = Readers::of(2, 500).await;
    readers.scene.register(Start::Earliest).await;
    let [(one, from_one), (other, from_other)] = &mut readers.all[..] else { panic!("two") };
    let first = tokio::join!(step(one, from_one, 16), step(other, from_other, 16));
    assert_eq!(ids(&first.0), ids(&first.1));
    let before = readers.reads_asked().await;
    let ahead = ids(&readers.read(0, 100).await);
    assert_eq!(ahead.len(), 100);
    assert!(readers.reads_asked().await > before);
    (readers, ahead)
}

#[tokio::test]
async fn who_comes_later_is_given_what_is_at_hand() {
    let (mut readers, ahead) = one_ahead().await;
    let before = readers.reads_asked().await;
    assert_eq!(ids(&readers.read(1, 100).await), ahead);
    assert_eq!(readers.reads_asked().await, before, "nothing was read for it");
    let Entry::Message(message) = &readers.read(1, 1).await[0] else { panic!("no message") };
    assert_eq!(&*message.data, "{\"n\":116}");
}

#[tokio::test]
async fn a_new_generation_is_seen_by_who_is_given_what_is_at_hand() {
    let (mut readers, ahead) = one_ahead().await;
    readers.scene.server.restart().await;
    let view = readers.scene.log.view(&readers.all[1].1.lane.clone()).await;
    let view = match view {
        Ok(view) => view,
        Err(_) => readers.scene.log.view(&readers.all[1].1.lane.clone()).await.unwrap(),
    };
    assert_eq!(view.generations.len(), 2);
    let (reader, from) = &mut readers.all[1];
    let outcome = match reader.read(std::slice::from_ref(from), 100, Duration::ZERO).await {
        Err(_) => reader.read(std::slice::from_ref(from), 100, Duration::ZERO).await.unwrap(),
        Ok(outcome) => outcome,
    };
    assert_eq!(outcome, ReadOutcome::NewGeneration(from.lane.clone()));
    // The old one's rest is read again.
    from.newest = view.generations[1].generation.clone();
    from.until = Some(view.generations[1].after);
    let before = readers.reads_asked().await;
    assert_eq!(ids(&readers.read(1, 100).await), ahead);
    assert!(readers.reads_asked().await > before, "what was kept is of the old generation");
}

#[tokio::test]
async fn a_trim_is_seen_by_who_is_given_what_is_at_hand() {
    let (mut readers, ahead) = one_ahead().await;
    let trimmed = readers.scene.server.ask::<u64>(&format!("XTRIM {STREAM} MINID {}", ahead[50])).await;
    assert_eq!(trimmed, 66);
    let (reader, from) = &mut readers.all[1];
    let outcome = reader.read(std::slice::from_ref(from), 100, Duration::ZERO).await.unwrap();
    assert!(
        matches!(&outcome, ReadOutcome::Gap { after, trimmed, .. } if *after == from.after && *trimmed >= ahead[49]),
        "{outcome:?}"
    );
    // One that stands above it misses nothing.
    assert_eq!(readers.read(0, 100).await.len(), 100);
}

#[tokio::test]
async fn what_retention_takes_from_others_is_no_loss_of_who_has_it() {
    let (mut readers, ahead) = one_ahead().await;
    readers.scene.lease().await;
    let newest = readers.all[0].1.newest.clone();
    readers.scene.advance(&Position { generation: newest, id: ahead[0] }).await.unwrap();
    trim::stream(&readers.scene.redis, APP, &[DESTINATION], 0, Retention::NONE).await.unwrap();
    // The second stands just below the entry that stays.
    assert_eq!(ids(&readers.read(1, 100).await), ahead);
}

#[tokio::test]
async fn a_newer_registry_is_seen_by_who_is_given_what_is_at_hand() {
    let (mut readers, _) = one_ahead().await;
    registration::set_version(&readers.scene.redis, APP, 3).await.unwrap();
    let (reader, from) = &mut readers.all[1];
    let outcome = reader.read(std::slice::from_ref(from), 100, Duration::ZERO).await.unwrap();
    assert_eq!(outcome, ReadOutcome::NewVersion(from.lane.clone()));
}

#[tokio::test]
async fn a_reader_that_stands_still_does_not_keep_another() {
    let (mut readers, _) = one_ahead().await;
    readers.read(1, 100).await;
    let [(one, from_one), (other, from_other)] = &mut readers.all[..] else { panic!("two") };
    // It has asked, and nobody takes its answer in.
    let lanes = [from_one.clone()];
    let mut still = pin!(one.read(&lanes, 100, Duration::ZERO));
    std::future::poll_fn(|context| {
        assert!(still.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    let began = Instant::now();
    let mut rest = 116;
    loop {
        let batch = step(other, from_other, 100).await;
        if batch.is_empty() {
            break;
        }
        rest += batch.len();
    }
    assert_eq!(rest, 500);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(matches!(still.await.unwrap(), ReadOutcome::Batch(batch) if batch.entries.len() == 100));
}

#[tokio::test]
async fn all_that_wait_are_woken_by_one_record() {
    let mut readers = Readers::of(5, 0).await;
    let lanes: Vec<_> = readers.all.iter().map(|(_, from)| from.clone()).collect();
    let reads = readers.all.iter_mut().zip(&lanes).map(async |((reader, _), from)| {
        let outcome = reader.read(std::slice::from_ref(from), 100, Duration::from_secs(5)).await.unwrap();
        (outcome, Instant::now())
    });
    let scene = &readers.scene;
    let append = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene.append_one("{}").await;
        Instant::now()
    };
    let (read, appended) = tokio::join!(futures_util::future::join_all(reads), append);
    for (outcome, at) in read {
        assert!(matches!(outcome, ReadOutcome::Batch(batch) if batch.entries.len() == 1));
        assert!(at < appended + Duration::from_secs(1));
    }
}
