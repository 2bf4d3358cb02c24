//! The consumer group of a parallel destination: registration, claims, acknowledgement, trimming, status.

use std::time::Duration;

use tidegate::redis::{Redis, RedisAppender, RedisGroup, RedisLog, registration, status, trim};
use tidegate_actors::{
    message::StreamId,
    ports::{Acknowledge, Claimed, DeadLetter, EventLog as _, GroupReader, LogError, Rejection},
    route::Start,
    transaction::{DeadId, LaneId},
};

use super::{APP, AppendRequest, Appender as _, DESTINATION, STREAM, Scene, lane, record, request};

const NO_WAIT: Duration = Duration::from_millis(10);

struct Group {
    scene: Scene,
}

impl Group {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let scene = Scene::with(settings).await;
        scene.register(Start::Now).await;
        registration::register_group(&scene.redis, APP, DESTINATION).await.unwrap();
        Self { scene }
    }

    fn consumer(&self, node: &str) -> RedisGroup {
        RedisGroup::new(&self.scene.redis, DESTINATION, node)
    }

    async fn fresh(&self, consumer: &mut RedisGroup, most: usize) -> Claimed {
        let lanes = [self.scene.lane.clone()];
        let mut found = consumer.fresh(&lanes, most, NO_WAIT).await.unwrap();
        found.pop().map(|(_, claimed)| claimed).unwrap_or_default()
    }

    async fn acknowledge(&self, consumer: &mut RedisGroup, ids: Vec<StreamId>) -> Result<(), LogError> {
        let done = done(&self.scene.redis, &self.scene.lane, ids).await;
        consumer.acknowledge(&self.scene.lane, &done).await
    }

    async fn trim(&self) -> trim::Trimmed {
        trim::stream(&self.scene.redis, APP, &[DESTINATION], 0, trim::Retention::NONE).await.unwrap()
    }

    async fn length(&self) -> usize {
        self.scene.server.ask(&format!("XLEN {STREAM}")).await
    }

    async fn backlog(&self) -> (u64, Option<u64>) {
        let lanes = status::lanes(&self.scene.redis, APP).await.unwrap();
        let backlog = lanes[0].backlog;
        (backlog.messages, backlog.oldest_ms)
    }
}

async fn done(redis: &Redis, lane: &LaneId, ids: Vec<StreamId>) -> Acknowledge {
    let view = RedisLog::new(redis, "rooms").view(lane).await.unwrap();
    Acknowledge {
        generation: view.generations.last().unwrap().generation.clone(),
        version: 0,
        ids,
        routes: vec![],
        standing: vec![],
        void: vec![],
    }
}

fn letter(dead: DeadId) -> DeadLetter {
    DeadLetter {
        dead,
        application: APP.into(),
        route_name: "r".into(),
        topic: "cars".into(),
        action: "upsert".into(),
        key: None,
        data: "{}".into(),
        table: "cars".into(),
        reason: Rejection { statement: None, row: None, code: "type".into(), column: None, message: "no".into() },
        attempts: 1,
        at_ms: 1,
        redrive_error: None,
        superseded_by: None,
        blocked_by: None,
        edited: None,
    }
}

fn ids(claimed: &Claimed) -> Vec<StreamId> {
    claimed.entries.iter().map(tidegate_actors::ports::Entry::id).collect()
}

#[tokio::test]
async fn two_consumers_share_what_comes_and_nothing_is_trimmed_that_one_of_them_has_in_hand() {
    let group = Group::new().await;
    let (mut a, mut b) = (group.consumer("a"), group.consumer("b"));
    let sent: Vec<_> = group.scene.append(10).await.into_iter().map(|id| id.0.id).collect();
    assert_eq!(group.trim().await.removed, 0, "nothing was handed out");
    let (first, second) = (group.fresh(&mut a, 4).await, group.fresh(&mut b, 100).await);
    assert_eq!([ids(&first), ids(&second)].concat(), sent);
    assert_eq!(group.backlog().await, (10, Some(sent[0].ms)), "in hand is not done");
    group.acknowledge(&mut b, ids(&second)).await.unwrap();
    assert_eq!(group.trim().await.removed, 0, "the lowest is still in hand");
    assert_eq!(group.backlog().await, (4, Some(sent[0].ms)));
    group.acknowledge(&mut a, sent[..3].to_vec()).await.unwrap();
    assert_eq!(group.trim().await.removed, 3);
    group.acknowledge(&mut a, sent[3..4].to_vec()).await.unwrap();
    group.trim().await;
    assert_eq!(group.length().await, 1, "the last entry that was handed out stays, as with ordered lanes");
    assert_eq!(group.backlog().await, (0, None));
    let reads = status::lease_holder(&group.scene.redis, APP, DESTINATION).await.unwrap();
    assert!(matches!(reads.as_deref(), Some("a" | "b")), "a node that reads: {reads:?}");
    let mut log = tidegate::redis::RedisLog::new(&group.scene.redis, "rooms");
    assert_eq!(log.backlog(&group.scene.lane, StreamId::ZERO).await.unwrap().messages, 0);
}

#[tokio::test]
async fn own_entries_are_found_again_and_what_a_consumer_left_is_claimed_to_the_end() {
    let group = Group::new().await;
    let (mut a, mut b) = (group.consumer("a"), group.consumer("b"));
    let sent: Vec<_> = group.scene.append(40).await.into_iter().map(|id| id.0.id).collect();
    assert_eq!(group.fresh(&mut a, 100).await.entries.len(), 40);
    let lane = group.scene.lane.clone();
    // The node comes back under its name: in pieces, until nothing is left.
    let mut again = group.consumer("a");
    let (mut found, mut after) = (Vec::new(), StreamId::ZERO);
    loop {
        let claimed = again.own(&lane, after, 15).await.unwrap();
        if claimed.is_empty() {
            break;
        }
        after = claimed.next;
        found.extend(ids(&claimed));
    }
    assert_eq!(found, sent);
    assert!(b.own(&lane, StreamId::ZERO, 100).await.unwrap().is_empty(), "they are not b's");
    let early = b.left(&lane, StreamId::ZERO, Duration::from_secs(60), 100).await.unwrap();
    assert_eq!(ids(&early), [], "not before its time");
    tokio::time::sleep(Duration::from_millis(30)).await;
    let (mut found, mut cursor) = (Vec::new(), StreamId::ZERO);
    loop {
        let claimed = b.left(&lane, cursor, Duration::from_millis(20), 7).await.unwrap();
        found.extend(ids(&claimed));
        cursor = claimed.next;
        if cursor == StreamId::ZERO {
            break;
        }
    }
    assert_eq!(found, sent);
    assert!(group.consumer("a").own(&lane, StreamId::ZERO, 100).await.unwrap().is_empty(), "they are b's now");
}

#[tokio::test]
async fn entries_that_are_gone_are_told() {
    let group = Group::new().await;
    let (mut a, mut b) = (group.consumer("a"), group.consumer("b"));
    let sent: Vec<_> = group.scene.append(3).await.into_iter().map(|id| id.0.id).collect();
    group.fresh(&mut a, 100).await;
    let _: usize = group.scene.server.ask(&format!("XDEL {STREAM} {} {}", sent[0], sent[2])).await;
    let lane = group.scene.lane.clone();
    let own = a.own(&lane, StreamId::ZERO, 100).await.unwrap();
    assert_eq!((own.gone.clone(), ids(&own), own.next), (vec![sent[0], sent[2]], vec![sent[1]], sent[2]));
    let left = b.left(&lane, StreamId::ZERO, Duration::ZERO, 100).await.unwrap();
    assert_eq!((left.gone.clone(), ids(&left)), (vec![sent[0], sent[2]], vec![sent[1]]));
}

#[tokio::test]
async fn a_group_that_is_gone_is_made_again_and_hands_out_everything_that_is_left() {
    let group = Group::new().await;
    let mut a = group.consumer("a");
    let lane = group.scene.lane.clone();
    assert!(!a.open(&lane, 0).await.unwrap(), "registration made it");
    let sent: Vec<_> = group.scene.append(5).await.into_iter().map(|id| id.0.id).collect();
    let claimed = group.fresh(&mut a, 100).await;
    group.acknowledge(&mut a, ids(&claimed)).await.unwrap();
    let _: usize = group.scene.server.ask(&format!("XGROUP DESTROY {STREAM} {DESTINATION}")).await;
    assert_eq!(a.fresh(std::slice::from_ref(&lane), 10, NO_WAIT).await, Err(LogError::NoGroup));
    assert_eq!(a.own(&lane, StreamId::ZERO, 10).await, Err(LogError::NoGroup));
    assert_eq!(a.left(&lane, StreamId::ZERO, Duration::ZERO, 10).await, Err(LogError::NoGroup));
    assert_eq!(group.trim().await.held_by.as_deref(), Some(DESTINATION), "nobody knows what it still needs");
    assert!(a.open(&lane, 0).await.unwrap());
    assert_eq!(ids(&group.fresh(&mut a, 100).await), sent);
    // Everything is gone: stream, lanes, group.
    let _: String = group.scene.server.ask("FLUSHALL").await;
    assert_eq!(a.fresh(std::slice::from_ref(&lane), 10, NO_WAIT).await, Err(LogError::NoGroup));
    assert!(a.open(&lane, 0).await.unwrap());
    let again: Vec<_> = group.scene.append(2).await.into_iter().map(|id| id.0.id).collect();
    assert_eq!(ids(&group.fresh(&mut a, 100).await), again);
    group.acknowledge(&mut a, again).await.unwrap();
    assert_eq!(group.trim().await.removed, 1);
}

#[tokio::test]
async fn a_full_redis_lets_a_new_consumer_read_claim_and_acknowledge() {
    let group = Group::new().await;
    group.scene.append(20).await;
    let (mut a, mut b) = (group.consumer("a"), group.consumer("b"));
    assert_eq!(group.fresh(&mut a, 5).await.entries.len(), 5);
    let _: String = group.scene.server.ask("CONFIG SET maxmemory 1").await;
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATECONSUMER").arg(STREAM).arg(DESTINATION).arg("c");
    let refused = create.query_async::<u8>(&mut group.scene.server.connection().await).await;
    assert_eq!(refused.unwrap_err().code(), Some("OOM"), "else this test shows nothing");
    let lane = group.scene.lane.clone();
    assert_eq!(ids(&b.left(&lane, StreamId::ZERO, Duration::ZERO, 100).await.unwrap()).len(), 5);
    let claimed = group.fresh(&mut b, 100).await;
    assert_eq!(claimed.entries.len(), 15, "a consumer that nobody made before");
    group.acknowledge(&mut b, ids(&claimed)).await.unwrap();
    assert!(!b.open(&lane, 0).await.unwrap());
    let _: usize = group.scene.server.ask(&format!("XGROUP DESTROY {STREAM} {DESTINATION}")).await;
    assert!(b.open(&lane, 0).await.unwrap(), "a lost group is made again even then");
}

#[tokio::test]
async fn a_consumer_that_knows_an_old_registry_acknowledges_nothing() {
    let group = Group::new().await;
    let mut a = group.consumer("a");
    group.scene.append(1).await;
    let claimed = group.fresh(&mut a, 10).await;
    registration::set_version(&group.scene.redis, APP, 7).await.unwrap();
    assert_eq!(group.acknowledge(&mut a, ids(&claimed)).await, Err(LogError::NewVersion));
    assert_eq!(group.backlog().await.0, 1);
    let _: usize = group.scene.server.ask(&format!("XGROUP DESTROY {STREAM} {DESTINATION}")).await;
    assert_eq!(a.open(&group.scene.lane, 6).await, Err(LogError::NewVersion), "its destination may have gone");
    assert!(a.open(&group.scene.lane, 7).await.unwrap());
    assert_eq!(ids(&group.fresh(&mut a, 10).await), ids(&claimed));
    let known = Acknowledge { version: 7, ..done(&group.scene.redis, &group.scene.lane, ids(&claimed)).await };
    a.acknowledge(&group.scene.lane, &known).await.unwrap();
    assert_eq!(group.backlog().await.0, 0);
}

#[tokio::test]
async fn a_consumer_that_takes_new_entries_for_old_ones_acknowledges_nothing() {
    let group = Group::new().await;
    let mut a = group.consumer("a");
    group.scene.append(1).await;
    let claimed = group.fresh(&mut a, 10).await;
    let before = done(&group.scene.redis, &group.scene.lane, ids(&claimed)).await;
    // Everything is gone, and back in place before the consumer asks again.
    let _: String = group.scene.server.ask("FLUSHALL").await;
    assert!(group.consumer("b").open(&group.scene.lane, 0).await.unwrap());
    group.scene.append(1).await;
    let claimed = group.fresh(&mut a, 10).await;
    let stale = Acknowledge { ids: ids(&claimed), ..before };
    assert_eq!(a.acknowledge(&group.scene.lane, &stale).await, Err(LogError::NewGeneration));
    assert_eq!(a.own(&group.scene.lane, StreamId::ZERO, 10).await.unwrap(), claimed);
    group.acknowledge(&mut a, ids(&claimed)).await.unwrap();
    assert_eq!(group.backlog().await.0, 0);
}

#[tokio::test]
async fn an_acknowledgement_voids_the_payloads_of_earlier_deliveries_only() {
    let mut group = Group::new().await;
    let mut a = group.consumer("a");
    let sent = group.scene.append(2).await;
    let claimed = group.fresh(&mut a, 10).await;
    let dead = |at: usize, route: &str| DeadId {
        generation: sent[at].0.generation.clone(),
        id: sent[at].0.id,
        route: route.into(),
    };
    let letters: Vec<_> = [dead(0, "r1"), dead(1, "r1"), dead(1, "other")].into_iter().map(letter).collect();
    let lane = group.scene.lane.clone();
    group.scene.log.keep_dead(&lane, &letters).await.unwrap();
    let known = Acknowledge {
        generation: sent[0].0.generation.clone(),
        routes: vec!["r1".into()],
        standing: vec![dead(1, "r1")],
        ..done(&group.scene.redis, &lane, ids(&claimed)).await
    };
    a.acknowledge(&lane, &known).await.unwrap();
    let mut left = group.scene.log.dead_ids(&lane).await.unwrap();
    left.sort();
    assert_eq!(left, [dead(1, "other"), dead(1, "r1")]);
    assert_eq!(tidegate::redis::dead::ids(&group.scene.redis, APP, DESTINATION).await.unwrap().len(), 2);
    let nothing = done(&group.scene.redis, &lane, vec![]).await;
    a.acknowledge(&lane, &Acknowledge { void: vec![dead(1, "other")], ..nothing }).await.unwrap();
    assert_eq!(group.scene.log.dead_ids(&lane).await.unwrap(), [dead(1, "r1")]);
}

#[tokio::test]
async fn only_a_consumer_with_nothing_in_hand_is_forgotten() {
    let group = Group::new().await;
    let (mut a, mut b, mut c) = (group.consumer("a"), group.consumer("b"), group.consumer("c"));
    group.scene.append(2).await;
    let in_hand = group.fresh(&mut a, 1).await;
    let done = group.fresh(&mut b, 1).await;
    group.acknowledge(&mut b, ids(&done)).await.unwrap();
    let lane = group.scene.lane.clone();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(c.forget_departed(&lane, Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(c.forget_departed(&lane, Duration::from_millis(20)).await.unwrap(), 1);
    assert_eq!(ids(&c.left(&lane, StreamId::ZERO, Duration::ZERO, 10).await.unwrap()), ids(&in_hand));
}

#[tokio::test]
async fn a_route_can_not_begin_below_what_the_group_has_handed_out() {
    let group = Group::new().await;
    let mut a = group.consumer("a");
    group.scene.append(3).await;
    group.fresh(&mut a, 100).await;
    let register = async |route: &str, start: Start| {
        registration::register_route(&group.scene.redis, APP, route, DESTINATION, &start).await
    };
    assert!(register("late", Start::Earliest).await.is_err());
    register("now", Start::Now).await.unwrap();
    registration::register_group(&group.scene.redis, APP, DESTINATION).await.unwrap();
    assert!(group.fresh(&mut a, 100).await.is_empty(), "a group that is there stays as it is");
}

/// One group over several applications, wherever their streams lie: claimed, waited for, acknowledged, trimmed.
pub(super) async fn several_streams_are_one_destination(redis: &Redis) {
    let destination = "dest00000002";
    let appender = RedisAppender::new(redis, std::sync::Arc::default());
    let append = async |lane: &LaneId, count: usize| -> Vec<StreamId> {
        let request = AppendRequest { application: lane.stream.clone(), ..request(vec![record("{}"); count]) };
        appender.append(request).await.unwrap().ids.iter().map(|id| id.0.id).collect()
    };
    let (mut a, mut b) = (RedisGroup::new(redis, destination, "a"), RedisGroup::new(redis, destination, "b"));
    let mut lanes: Vec<LaneId> = Vec::new();
    for stream in ["first-app", "second-app", "third-app", "fourth-app"] {
        registration::register_route(redis, stream, "route2", destination, &Start::Now).await.unwrap();
        registration::register_group(redis, stream, destination).await.unwrap();
        let lane = LaneId { stream: stream.into(), ..lane(destination) };
        assert!(!a.open(&lane, 0).await.unwrap(), "registration made it");
        lanes.push(lane);
    }
    let mut sent = Vec::new();
    for lane in &lanes {
        sent.push(append(lane, 40).await);
    }
    // More than one read of one stream, and every stream has its share.
    let mut claimed: Vec<Vec<StreamId>> = vec![vec![]; lanes.len()];
    while claimed.iter().map(Vec::len).sum::<usize>() < 160 {
        let found = a.fresh(&lanes, 100, NO_WAIT).await.unwrap();
        assert!(!found.is_empty(), "{claimed:?}");
        for (lane, entries) in found {
            claimed[lanes.iter().position(|known| *known == lane).unwrap()].extend(ids(&entries));
        }
    }
    assert_eq!(claimed, sent);
    assert!(a.fresh(&lanes, 100, NO_WAIT).await.unwrap().is_empty());
    assert_eq!(ids(&a.own(&lanes[3], StreamId::ZERO, 10).await.unwrap()), sent[3][..10]);
    assert_eq!(ids(&b.left(&lanes[3], StreamId::ZERO, Duration::ZERO, 10).await.unwrap()), sent[3][..10]);

    // A wait is for all of them, and for none longer than it has to be.
    for late in &lanes {
        let began = std::time::Instant::now();
        let (found, appended) = tokio::join!(b.fresh(&lanes, 10, Duration::from_secs(5)), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            append(late, 1).await
        });
        let found: Vec<_> = found.unwrap().into_iter().map(|(lane, entries)| (lane, ids(&entries))).collect();
        assert_eq!(found, [(late.clone(), appended.clone())]);
        assert!(began.elapsed() < Duration::from_secs(4), "woken after {:?}", began.elapsed());
        sent[lanes.iter().position(|known| known == late).unwrap()].extend(appended);
    }
    for (lane, sent) in lanes.iter().zip(&sent) {
        a.acknowledge(lane, &done(redis, lane, sent.clone()).await).await.unwrap();
        let trimmed = trim::stream(redis, &lane.stream, &[destination], 0, trim::Retention::NONE).await.unwrap();
        assert_eq!(trimmed.removed, 40, "all but the last one: {trimmed:?}");
        let known = status::lanes(redis, &lane.stream).await.unwrap();
        assert_eq!((known.len(), known[0].backlog.messages), (1, 0));
    }
}
