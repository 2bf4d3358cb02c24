//! Leases, positions, registration, dead letters and commands.

use std::time::Duration;

use tidegate::redis::{dead, members, registration::RegistrationError, status};
use tidegate_actors::{
    message::Generation,
    ports::{Command, DeadLetter, Rejection},
    transaction::DeadId,
};

use super::*;
use crate::servers::wait_for;

#[tokio::test]
async fn one_owner_at_a_time_and_the_next_after_the_lease_ran_out() {
    let mut scene = Scene::new().await;
    let lanes = [scene.lane.clone()];
    assert!(scene.log.lease(&lanes, "me", Duration::from_millis(300)).await.unwrap());
    assert!(scene.log.lease(&lanes, "me", Duration::from_millis(300)).await.unwrap(), "renewed");
    let mut other = RedisLog::new(&scene.redis, "rooms");
    assert!(!other.lease(&lanes, "other", TTL).await.unwrap());
    other.release(&lanes, "other").await.unwrap();
    assert!(!other.lease(&lanes, "other", TTL).await.unwrap(), "not theirs to give back");
    let mut tries = 0;
    while !other.lease(&lanes, "other", TTL).await.unwrap() {
        tries += 1;
        assert!(tries < 200);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!scene.log.lease(&lanes, "me", TTL).await.unwrap());
}

#[tokio::test]
async fn a_lease_by_a_clock_that_ran_ahead_does_not_last_for_hours() {
    let mut scene = Scene::new().await;
    // What a replica has of a dead node's lease, where its clock is behind that of the server which granted it.
    scene.server.ask::<()>(&format!("SET tidegate:{{car-app}}:lease:{DESTINATION} gone PX 3600000")).await;
    let lanes = [scene.lane.clone()];
    let ttl = Duration::from_millis(100);
    assert!(!scene.log.lease(&lanes, "me", ttl).await.unwrap());
    wait_for("the lease runs out", Duration::from_secs(5), async || {
        RedisLog::new(&scene.redis, "rooms").lease(&lanes, "me", ttl).await.unwrap().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_member_by_a_clock_that_ran_ahead_does_not_live_for_hours() {
    let scene = Scene::new().await;
    let member = |instance: &str| tidegate_actors::placement::Member {
        instance: instance.into(),
        node: instance.into(),
        version: String::new(),
        started_ms: 0,
        draining: false,
        holds: Default::default(),
        cannot_reach: Default::default(),
    };
    let beat = async |instance: &str, ttl| {
        let members = members::beat(scene.redis.link(), scene.redis.keys(), &member(instance), ttl, None).await;
        members.unwrap().len()
    };
    assert_eq!(beat("gone", Duration::from_secs(3600)).await, 1);
    let ttl = Duration::from_millis(100);
    assert_eq!(beat("here", ttl).await, 2);
    wait_for("the other is forgotten", Duration::from_secs(5), async || (beat("here", ttl).await == 1).then_some(()))
        .await;
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_connection_with_it() {
    let scene = Scene::new().await;
    let link = scene.redis.own_link();
    let number =
        async || link.run(async |mut to| redis::cmd("CLIENT").arg("ID").query_async::<u64>(&mut to).await).await;
    let first = number().await.unwrap();
    assert_eq!(number().await.unwrap(), first);
    scene.server.pause();
    assert!(tokio::time::timeout(Duration::from_millis(200), number()).await.is_err());
    scene.server.resume();
    assert_ne!(number().await.unwrap(), first, "nobody knows whether that one leads anywhere");
}

#[tokio::test]
async fn a_decision_is_found_behind_any_number_of_redrives() {
    let mut scene = Scene::new().await;
    let generation = Generation::new("g");
    let redrive = |ms| {
        let dead = DeadId { generation: generation.clone(), id: StreamId::new(ms, 0), route: "route1".into() };
        Command::Redrive { dead, force: false, data: None }
    };
    let mut commands: Vec<Command> = (0..1200).map(redrive).collect();
    let decision = Command::Resume { to: Position { generation: generation.clone(), id: StreamId::ZERO } };
    commands.push(decision.clone());
    dead::push_all(&scene.redis, APP, DESTINATION, &commands).await.unwrap();
    assert_eq!(scene.log.decisions(&scene.lane).await.unwrap(), [decision]);
}

#[tokio::test]
async fn a_lease_over_two_streams_is_all_or_none() {
    let mut scene = Scene::new().await;
    let mut shop = scene.lane.clone();
    shop.stream = "shop".into();
    let mut other = RedisLog::new(&scene.redis, "rooms");
    assert!(other.lease(std::slice::from_ref(&shop), "other", TTL).await.unwrap());
    assert!(!scene.log.lease(&[scene.lane.clone(), shop], "me", TTL).await.unwrap());
    assert!(other.lease(&[scene.lane.clone()], "other", TTL).await.unwrap(), "the first was given back");
}

#[tokio::test]
async fn an_advance_is_refused_where_the_rules_say_so() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(5).await;
    let good = scene.advance_of(ids[2].0.clone()).await;
    assert_eq!(scene.log.advance(&good).await, Err(LogError::NotMine));
    scene.lease().await;
    scene.log.advance(&good).await.unwrap();
    scene.log.advance(&good).await.unwrap();

    let stale = Advance { newest: Generation::new("oldoldoldo"), ..good.clone() };
    assert_eq!(scene.log.advance(&stale).await, Err(LogError::NewGeneration));
    let nowhere = StreamId::new(ids[4].0.id.ms + 60_000, 0);
    let ahead = Advance { to: Position { id: nowhere, ..good.to.clone() }, ..good.clone() };
    assert_eq!(scene.log.advance(&ahead).await, Err(LogError::NoSuchEntry(nowhere)));
    registration::set_version(&scene.redis, APP, 7).await.unwrap();
    registration::set_version(&scene.redis, APP, 3).await.unwrap();
    assert_eq!(scene.log.advance(&good).await, Err(LogError::NewVersion));
    scene.log.advance(&Advance { version: 7, ..good.clone() }).await.unwrap();
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!(view.position, Some(good.to), "none of the refused ones moved it");
}

#[tokio::test]
async fn backlog_and_the_display_group_follow_the_position() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    scene.lease().await;
    let ids = scene.append(100).await;
    let mut advance = scene.advance_of(ids[29].0.clone()).await;
    advance.history = Some(batch(&ids[0], &ids[29], 30));
    scene.log.advance(&advance).await.unwrap();
    let backlog = scene.log.backlog(&scene.lane, ids[29].0.id).await.unwrap();
    assert_eq!((backlog.messages, backlog.oldest_ms), (70, Some(ids[30].0.id.ms)));
    let groups: Vec<std::collections::HashMap<String, redis::Value>> =
        scene.server.ask(&format!("XINFO GROUPS {STREAM}")).await;
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0]["name"], redis::Value::BulkString(b"rooms".to_vec()));
    assert_eq!(groups[0]["lag"], redis::Value::Int(70));

    // A claim that goes back.
    scene.advance(&ids[9].0).await.unwrap();
    assert_eq!(scene.log.backlog(&scene.lane, ids[9].0.id).await.unwrap().messages, 90);
    scene.advance(&ids[99].0).await.unwrap();
    assert_eq!(scene.log.backlog(&scene.lane, ids[99].0.id).await.unwrap(), Default::default());
    let lanes = status::lanes(&scene.redis, APP).await.unwrap();
    assert_eq!((&*lanes[0].destination, &lanes[0].position), (DESTINATION, &ids[99].0));

    // A destination that was renamed shows under its new name only.
    scene.log = RedisLog::new(&scene.redis, "halls");
    scene.advance(&ids[99].0).await.unwrap();
    let groups: Vec<std::collections::HashMap<String, redis::Value>> =
        scene.server.ask(&format!("XINFO GROUPS {STREAM}")).await;
    assert_eq!((groups.len(), &groups[0]["name"]), (1, &redis::Value::BulkString(b"halls".to_vec())));
}

#[tokio::test]
async fn an_empty_redis_is_a_new_generation_from_the_start() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(3).await;
    scene.lease().await;
    scene.advance(&ids[2].0).await.unwrap();
    scene.server.kill_and_empty();
    scene.server.restart().await;
    let view = wait_for("the log", Duration::from_secs(5), async || {
        RedisLog::new(&scene.redis, "rooms").view(&lane(DESTINATION)).await.ok()
    })
    .await;
    assert_eq!(view.generations.len(), 1);
    assert_eq!(view.generations[0].after, StreamId::ZERO);
    assert_ne!(view.generations[0].generation, ids[0].0.generation);
    assert_eq!((view.position, view.trimmed), (None, StreamId::ZERO));
}

#[tokio::test]
async fn routes_start_where_they_are_told_to() {
    let mut scene = Scene::new().await;
    let before = scene.append(5).await;
    let register = async |route: &str, destination: &str, start: Start| {
        registration::register_route(&scene.redis, APP, route, destination, &start).await
    };
    let now = register("now", "d1", Start::Now).await.unwrap();
    assert_eq!(now, before[4].0);
    assert_eq!(register("earliest", "d2", Start::Earliest).await.unwrap().id, StreamId::ZERO);
    let moment = chrono::DateTime::from_timestamp_millis(before[0].0.id.ms as i64).unwrap();
    let at = register("at", "d3", Start::At(moment.to_rfc3339())).await.unwrap();
    assert!(at.id < before[0].0.id && at.id.ms + 1 == before[0].0.id.ms, "{at:?}");
    assert!(matches!(register("bad", "d4", Start::At("soon".into())).await, Err(RegistrationError::BadStart(_))));

    // A route that is there keeps its start.
    let later = scene.append(1).await;
    assert_eq!(register("now", "d1", Start::Now).await.unwrap(), now);
    assert_eq!(register("second", "d1", Start::Now).await.unwrap(), later[0].0);

    scene.lane = lane("d1");
    let view = scene.log.view(&scene.lane).await.unwrap();
    let mut starts: Vec<_> = view.starts.iter().map(|(route, _)| route.as_str()).collect();
    starts.sort_unstable();
    assert_eq!((starts, view.position), (vec!["now", "second"], Some(now)));
    // The owner claims its lane there, and the bind token is kept once.
    scene.lease().await;
    scene.advance(&before[4].0).await.unwrap();
    scene.log.bind(&scene.lane, "token").await.unwrap();
    scene.log.bind(&scene.lane, "other").await.unwrap();
    assert_eq!(scene.log.view(&scene.lane).await.unwrap().bind.as_deref(), Some("token"));

    registration::unregister_route(&scene.redis, APP, "second").await.unwrap();
    assert_eq!(scene.log.view(&scene.lane).await.unwrap().starts.len(), 1);
    registration::unregister_destination(&scene.redis, APP, "d1").await.unwrap();
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!((view.starts.len(), view.position, view.bind), (0, None, None));
    let groups: Vec<redis::Value> = scene.server.ask(&format!("XINFO GROUPS {STREAM}")).await;
    assert!(groups.is_empty());
}

pub(super) fn letter(message: &MessageId, data: &str) -> DeadLetter {
    DeadLetter {
        dead: DeadId { generation: message.0.generation.clone(), id: message.0.id, route: "route1".into() },
        application: APP.into(),
        route_name: "rooms-cars".into(),
        topic: "cars".into(),
        action: "upsert".into(),
        key: Some("42".into()),
        data: data.into(),
        table: "cars".into(),
        reason: Rejection {
            statement: None,
            row: None,
            code: "too_long".into(),
            column: Some("car_name".into()),
            message: "car_name holds 20 characters at most".into(),
        },
        attempts: 2,
        at_ms: 5,
        redrive_error: None,
        superseded_by: None,
        blocked_by: None,
        edited: None,
    }
}

#[tokio::test]
async fn dead_letters_are_kept_listed_and_taken_back() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    scene.lease().await;
    let ids = scene.append(1200).await;
    let letters: Vec<_> = ids.iter().map(|id| letter(id, "{}")).collect();
    scene.log.keep_dead(&scene.lane, &letters).await.unwrap();
    scene.log.keep_dead(&scene.lane, &letters[..10]).await.unwrap();
    assert_eq!(scene.log.dead_ids(&scene.lane).await.unwrap().len(), 1200);
    assert_eq!(scene.log.dead(&scene.lane, &letters[7].dead).await.unwrap().as_ref(), Some(&letters[7]));
    assert_eq!(dead::list(&scene.redis, APP, DESTINATION, 100).await.unwrap(), (vec![], 0), "not passed yet");

    let mut advance = scene.advance_of(ids[999].0.clone()).await;
    advance.void = letters[1..].iter().map(|letter| letter.dead.clone()).take(900).collect();
    scene.log.advance(&advance).await.unwrap();
    let (listed, all) = dead::list(&scene.redis, APP, DESTINATION, 50).await.unwrap();
    assert_eq!((listed.len(), all), (50, 99 + 1));
    assert_eq!((&listed[0], &listed[1]), (&letters[0], &letters[901]));
    assert_eq!(dead::count(&scene.redis, APP, DESTINATION).await.unwrap(), 300);

    let redrive = Command::Redrive { dead: letters[0].dead.clone(), force: false, data: None };
    let discard = Command::Discard { dead: letters[901].dead.clone(), reason: None };
    scene.server.ask::<()>(&format!("RPUSH tidegate:{{car-app}}:commands:{DESTINATION} nonsense")).await;
    for command in [&redrive, &discard] {
        dead::push(&scene.redis, APP, DESTINATION, command).await.unwrap();
    }
    assert_eq!(scene.log.commands(&scene.lane).await.unwrap(), [redrive.clone(), discard.clone()]);
    scene.log.finish(&scene.lane, &redrive).await.unwrap();
    assert_eq!(scene.log.commands(&scene.lane).await.unwrap(), [discard]);
}
