//! Failover by Sentinel: appends go on without a restart, the new master is a new generation, and nothing of it is skipped by
//! who stood in the old one.

use tidegate_actors::{
    lane::resume,
    message::Generation,
    ports::{EntryReader, ReadOutcome},
    transaction::WatermarkRow,
};

use super::*;
use crate::servers::{redis_cluster::Cluster, redis_sentinel::Sentinels, wait_for};

struct Failover {
    sentinels: Sentinels,
    appender: RedisAppender,
    log: RedisLog,
    reader: RedisReader,
}

fn row(generation: Generation, last_id: StreamId) -> WatermarkRow {
    WatermarkRow { lane: lane(DESTINATION).to_string(), generation, epoch: 1, owner: "me".into(), last_id }
}

impl Failover {
    async fn start() -> Self {
        let sentinels = Sentinels::start().await;
        let redis = Redis::open(&sentinels.url(), "tidegate").unwrap();
        registration::register_route(&redis, APP, "route1", DESTINATION, &Start::Earliest).await.unwrap();
        Self {
            sentinels,
            appender: RedisAppender::new(&redis, Arc::default()),
            log: RedisLog::new(&redis, "rooms"),
            reader: RedisReader::new(&redis),
        }
    }

    async fn append(&self, padding: usize) -> Option<MessageId> {
        let data = format!("{{\"x\":\"{}\"}}", "x".repeat(padding));
        Some(self.appender.append(request(vec![record(&data)])).await.ok()?.ids.remove(0))
    }

    /// Appends until one is acknowledged.
    async fn append_again(&self) -> MessageId {
        wait_for("an append is acknowledged", Duration::from_secs(30), async || self.append(0).await).await
    }

    /// Everything that a lane with these rows gets, as its owner would read it: from where it resumes, generation by
    /// generation, until nothing is left.
    async fn deliver(&mut self, rows: &mut Vec<WatermarkRow>) -> Vec<Position> {
        let lane = lane(DESTINATION);
        let mut got = Vec::new();
        let begun = std::time::Instant::now();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not come to an end: {} messages", got.len());
            let Ok(view) = self.log.view(&lane).await else { continue };
            let point = resume(&view, rows, &lane.to_string()).unwrap();
            if point.insert {
                rows.push(row(point.generation.clone(), point.id));
            }
            let newest = view.generations.last().unwrap().generation.clone();
            let from = ReadFrom { lane: lane.clone(), after: point.id, newest, version: 0, until: point.until };
            match self.reader.read(&[from], 1000, Duration::ZERO).await {
                Ok(ReadOutcome::Batch(batch)) => {
                    let row = rows.iter_mut().find(|row| row.generation == point.generation).unwrap();
                    row.last_id = batch.last();
                    let at = |id| Position { generation: point.generation.clone(), id };
                    got.extend(batch.entries.iter().map(|entry| at(entry.id())));
                }
                Ok(ReadOutcome::Idle) if point.until.is_none() => return got,
                Ok(ReadOutcome::Gap { .. }) => panic!("a gap"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn after_a_failover_appends_and_reads_go_on_and_the_new_master_is_a_new_generation() {
    let mut it = Failover::start().await;
    let mut before = Vec::new();
    for _ in 0..100 {
        before.push(it.append(0).await.unwrap());
    }
    let mut rows = Vec::new();
    assert_eq!(it.deliver(&mut rows).await.len(), 100);
    for _ in 0..50 {
        before.push(it.append(0).await.unwrap());
    }
    assert_eq!(it.sentinels.master.ask::<i64>("WAIT 1 5000").await, 1);
    wait_for("the replica has them all", Duration::from_secs(5), async || {
        (it.sentinels.replica.ask::<usize>(&format!("XLEN {STREAM}")).await == 150).then_some(())
    })
    .await;
    it.sentinels.master.kill();
    let first = it.append_again().await;
    it.sentinels.promoted().await;
    let mut after = vec![first];
    for _ in 0..20 {
        after.push(it.append(0).await.unwrap());
    }
    assert!(after.iter().all(|id| id.0.generation == after[0].0.generation));
    assert_ne!(after[0].0.generation, before[0].0.generation);
    let rest = it.deliver(&mut rows).await;
    let expected: Vec<Position> = before[100..].iter().chain(&after).map(|id| id.0.clone()).collect();
    // An append that was under way when the master died may have been stored before its answer was lost: not told to
    // anybody, and none here, since each waited for its answer.
    assert_eq!(rest, expected);

    // The old master comes back as a replica, and nobody notices.
    it.sentinels.master.restart().await;
    wait_for("the old master is a replica", Duration::from_secs(30), async || {
        (!it.sentinels.master.is_master().await).then_some(())
    })
    .await;
    let last = it.append_again().await;
    assert_eq!(last.0.generation, after[0].0.generation);
    assert_eq!(it.deliver(&mut rows).await, [last.0]);
}

#[tokio::test]
async fn a_replica_that_lagged_is_delivered_as_it_is_with_nothing_doubled_or_skipped() {
    let mut it = Failover::start().await;
    for _ in 0..20 {
        it.append(0).await.unwrap();
    }
    let mut rows = Vec::new();
    assert_eq!(it.deliver(&mut rows).await.len(), 20);
    wait_for("the replica has them", Duration::from_secs(5), async || {
        (it.sentinels.replica.ask::<usize>(&format!("XLEN {STREAM}")).await == 20).then_some(())
    })
    .await;
    // More than the sockets' buffers hold, so that the end of it never leaves the master.
    it.sentinels.replica.pause();
    let mut acknowledged = Vec::new();
    for _ in 0..300 {
        acknowledged.push(it.append(200_000).await.unwrap());
    }
    // Delivered up to a place that the new master will not have, too.
    let delivered = it.deliver(&mut rows).await;
    assert_eq!(delivered.len(), 300);
    it.sentinels.master.kill();
    it.sentinels.replica.resume();
    it.sentinels.promoted().await;
    let first = it.append_again().await;
    let mut after = vec![first.0];
    for _ in 0..5 {
        after.push(it.append(0).await.unwrap().0);
    }
    assert_ne!(after[0].generation, acknowledged[0].0.generation);
    let kept = it.sentinels.replica.ask::<usize>(&format!("XLEN {STREAM}")).await - after.len();
    assert!(kept < 320, "the replica was to lag, but it has all {kept}");
    // All of the new generation, in order, and nothing else: what the old one had was delivered before.
    assert_eq!(it.deliver(&mut rows).await, after);
    assert_eq!(it.deliver(&mut rows).await, []);

    // A lane that stood within what both have gets the rest of the old generation first.
    let mut behind = vec![row(acknowledged[0].0.generation.clone(), acknowledged[0].0.id)];
    let got = it.deliver(&mut behind).await;
    let mut expected: Vec<Position> =
        acknowledged[1..].iter().map(|id| id.0.clone()).take((kept - 20).saturating_sub(1)).collect();
    expected.extend(after);
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_node_of_a_cluster_that_was_killed_comes_back_as_a_new_generation() {
    let mut cluster = Cluster::start().await;
    let redis = Redis::open(&cluster.url(), "tidegate").unwrap();
    let appender = RedisAppender::new(&redis, Arc::default());
    let mut log = RedisLog::new(&redis, "rooms");
    let mut reader = RedisReader::new(&redis);
    let append = async |app: &str| {
        let request = AppendRequest { application: app.into(), ..request(vec![record("{}")]) };
        appender.append(request).await.ok().map(|appended| appended.ids[0].0.clone())
    };
    let first = append(APP).await.unwrap();
    let home = cluster.node_of(STREAM).await.port();
    let mut elsewhere = None;
    for number in 0..50 {
        let app = format!("app-{number}");
        if cluster.node_of(&redis.keys().of(&app).stream()).await.port() != home {
            elsewhere = Some(app);
            break;
        }
    }
    let elsewhere = elsewhere.expect("one of fifty lies on another node");
    let other = append(&elsewhere).await.unwrap();

    let killed = cluster.node_of(STREAM).await;
    killed.kill();
    assert_eq!(append(APP).await, None);
    killed.restart().await;
    let again = wait_for("an append is acknowledged", Duration::from_secs(30), async || append(APP).await).await;
    assert_ne!(again.generation, first.generation);
    let still = wait_for("the other node serves", Duration::from_secs(30), async || append(&elsewhere).await).await;
    assert_eq!(still.generation, other.generation);

    let lane = lane(DESTINATION);
    let from = |after: StreamId, newest: &Position, until: Option<StreamId>| ReadFrom {
        lane: lane.clone(),
        after,
        newest: newest.generation.clone(),
        version: 0,
        until,
    };
    let outcome = reader.read(&[from(StreamId::ZERO, &first, None)], 10, Duration::ZERO).await.unwrap();
    assert_eq!(outcome, ReadOutcome::NewGeneration(lane.clone()));
    let starts = log.view(&lane).await.unwrap().generations;
    assert_eq!((starts.len(), starts[1].after), (2, first.id));
    let outcome = reader.read(&[from(first.id, &again, None)], 10, Duration::ZERO).await.unwrap();
    let ReadOutcome::Batch(batch) = outcome else { panic!("{outcome:?}") };
    assert_eq!(batch.entries.iter().map(|entry| entry.id()).collect::<Vec<_>>(), [again.id]);
}
