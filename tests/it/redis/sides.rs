//! What stands beside a lane's main row (delivery rules 8 and 9): held tables, routes that catch up, replays.

use tidegate::redis::{
    dead, history,
    lookup::{self, RouteDelivery, Status},
    registration::RegistrationError,
    sides, status,
    trim::{self, Retention},
};
use tidegate_actors::{
    message::Generation,
    ports::{EntryReader as _, ReadOutcome, SidePosition},
    transaction::DeadId,
};

use super::{lanes::letter, looking_up::document, *};

fn side(part: &str, routes: &[&str], at: &Position, held: Option<&str>) -> SidePosition {
    SidePosition {
        part: part.into(),
        routes: routes.iter().map(|route| (*route).into()).collect(),
        at: at.clone(),
        held: held.map(Into::into),
    }
}

impl Scene {
    /// An advance of the main row with these side rows.
    async fn stand(&mut self, to: &Position, sides: &[SidePosition]) -> Result<(), LogError> {
        let advance = Advance { sides: sides.to_vec(), ..self.advance_of(to.clone()).await };
        self.log.advance(&advance).await
    }

    /// The batch of a side row, with the main row where it stands.
    async fn beside(&mut self, main: &Position, part: &str, sides: &[SidePosition], record: BatchRecord) {
        let history = Some(record);
        let advance = self.advance_of(main.clone()).await;
        let advance = Advance { sides: sides.to_vec(), part: part.into(), history, ..advance };
        self.log.advance(&advance).await.unwrap();
    }

    async fn position(&mut self) -> StreamId {
        self.log.view(&self.lane).await.unwrap().position.unwrap().id
    }

    async fn trim(&self) -> u64 {
        trim::stream(&self.redis, APP, &[DESTINATION], 0, Retention::NONE).await.unwrap().removed
    }

    async fn register_as(&self, route: &str, start: Start) -> Result<Position, RegistrationError> {
        registration::register_route(&self.redis, APP, route, DESTINATION, &start).await
    }

    /// What is left of sides in Redis.
    async fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = self.server.ask("HKEYS tidegate:{car-app}:sides").await;
        left.sort();
        left
    }
}

async fn statuses(scene: &Scene, route: &str, ids: &[MessageId]) -> Vec<Status> {
    let mut found = Vec::new();
    for id in ids {
        found.push(of(scene, route, id).await.status);
    }
    found
}

async fn of(scene: &Scene, route: &str, id: &MessageId) -> RouteDelivery {
    let message = lookup::message(&scene.redis, APP, id).await.unwrap().expect("it is there");
    let all = lookup::deliveries(&scene.redis, &document(), APP, id, &message).await.unwrap();
    all.into_iter().find(|delivery| delivery.route == format!("{route}-name")).expect("the route wants it")
}

#[tokio::test]
async fn the_lowest_place_is_kept_and_nothing_above_it_is_trimmed() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(10).await;
    scene.lease().await;
    let held = side("table cars", &["route1"], &ids[2].0, Some("no column `name`"));
    scene.stand(&ids[7].0, &[held.clone(), side("replay x", &["late"], &ids[4].0, None)]).await.unwrap();
    assert_eq!(scene.position().await, ids[2].0.id);
    assert_eq!(scene.trim().await, 2);
    let found = sides::of(&scene.redis, APP, DESTINATION).await.unwrap();
    assert_eq!((found.main.as_ref(), &found.rows[1]), (Some(&ids[7].0), &held));
    // What people see is the main row.
    let seen = status::lanes(&scene.redis, APP).await.unwrap().remove(0);
    assert_eq!((seen.position, seen.backlog.messages), (ids[7].0.clone(), 2));
    let groups: Vec<std::collections::HashMap<String, redis::Value>> =
        scene.server.ask(&format!("XINFO GROUPS {STREAM}")).await;
    assert_eq!(groups[0]["last-delivered-id"], redis::Value::BulkString(ids[7].0.id.to_string().into_bytes()));
    assert_eq!(groups[0]["lag"], redis::Value::Int(2));

    // Idempotent; and the main row goes on while the table stays where it is.
    scene.stand(&ids[7].0, std::slice::from_ref(&held)).await.unwrap();
    scene.stand(&ids[9].0, std::slice::from_ref(&held)).await.unwrap();
    assert_eq!((scene.position().await, scene.trim().await), (ids[2].0.id, 0));
    // They have met.
    scene.advance(&ids[9].0).await.unwrap();
    assert_eq!((scene.position().await, scene.trim().await), (ids[9].0.id, 7));
    assert_eq!(scene.left().await, [""; 0]);
    let seen = status::lanes(&scene.redis, APP).await.unwrap().remove(0);
    assert_eq!(seen.backlog.messages, 0);
}

#[tokio::test]
async fn a_side_row_of_an_older_generation_forbids_trimming() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(5).await;
    scene.server.restart().await;
    let (main, newest) = {
        let view = scene.log.view(&scene.lane).await.unwrap();
        let newest = view.generations.last().unwrap().clone();
        (Position { generation: newest.generation.clone(), id: newest.after }, newest.generation)
    };
    assert_ne!(newest, ids[0].0.generation);
    scene.lease().await;
    scene.stand(&main, &[side("table cars", &["route1"], &ids[1].0, Some("gone"))]).await.unwrap();
    let held = trim::stream(&scene.redis, APP, &[DESTINATION], 0, Retention::NONE).await.unwrap();
    assert_eq!((held.removed, held.held_by.as_deref()), (0, Some(DESTINATION)));
    scene.stand(&main, &[]).await.unwrap();
    assert!(scene.trim().await > 0);
}

#[tokio::test]
async fn a_message_of_a_held_table_says_why_and_is_delivered_by_the_tables_own_batches() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    scene.register_as("late", Start::Now).await.unwrap();
    let ids = scene.append(6).await;
    scene.lease().await;
    // The table of `route1` waits since the second message; `late` leads to another one.
    let held = |at: &Position, why: Option<&str>| [side("table cars", &["route1"], at, why)];
    let routes =
        |route: &str, record: BatchRecord| BatchRecord { routes: vec![(route.into(), 1, "digest".into())], ..record };
    let mut advance = scene.advance_of(ids[3].0.clone()).await;
    advance.sides = held(&ids[1].0, Some("table `cars` has no column `name`")).to_vec();
    advance.history = Some(routes("late", batch(&ids[0], &ids[3], 4)));
    scene.log.advance(&advance).await.unwrap();
    use Status::{Delivered, Held, Pending};
    assert_eq!(statuses(&scene, "route1", &ids).await, [Delivered, Delivered, Held, Held, Held, Held]);
    assert_eq!(statuses(&scene, "late", &ids).await, [Delivered, Delivered, Delivered, Delivered, Pending, Pending]);
    let waits = of(&scene, "route1", &ids[2]).await.error.unwrap();
    assert_eq!((waits.code.as_str(), waits.message.as_str()), ("held", "table `cars` has no column `name`"));

    // A payload of the held table above its row is none yet; one of another table is.
    let mut of_late = letter(&ids[3], "{}");
    of_late.dead.route = "late".into();
    scene.log.keep_dead(&scene.lane, &[letter(&ids[3], "{}"), of_late.clone()]).await.unwrap();
    assert_eq!(dead::ids(&scene.redis, APP, DESTINATION).await.unwrap(), [of_late.dead.clone()]);
    let gone = Advance { void: vec![letter(&ids[3], "{}").dead, of_late.dead], ..advance };
    scene.log.advance(&gone).await.unwrap();

    // It catches up, with a history of its own.
    let mut record = routes("route1", batch(&ids[2], &ids[2], 1));
    record.attempts = 7;
    scene.beside(&ids[3].0, "table cars", &held(&ids[2].0, None), record).await;
    assert_eq!(statuses(&scene, "route1", &ids[1..]).await, [Delivered, Delivered, Pending, Pending, Pending]);
    assert_eq!(of(&scene, "route1", &ids[2]).await.attempts, Some(7));
    assert_eq!(of(&scene, "late", &ids[2]).await.attempts, Some(1));
    let record = routes("route1", batch(&ids[3], &ids[3], 1));
    scene.beside(&ids[3].0, "table cars", &[], record).await;
    assert_eq!(statuses(&scene, "route1", &ids[2..]).await, [Delivered, Delivered, Pending, Pending]);
    assert!(of(&scene, "route1", &ids[3]).await.delivered_at.is_some(), "found although the row is gone");

    // The history of a part is trimmed with the rest, and forgotten when nothing of it is left.
    scene.advance(&ids[5].0).await.unwrap();
    scene.trim().await;
    assert_eq!(history::batch_of(&scene.redis, APP, DESTINATION, "table cars", &ids[3].0).await.unwrap(), None);
    let left: Vec<String> = scene.server.ask("KEYS *table*").await;
    assert_eq!((left, scene.server.ask::<usize>("EXISTS tidegate:{car-app}:parts").await), (vec![], 0));
}

#[tokio::test]
async fn a_replay_leaves_what_is_delivered_delivered() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(4).await;
    scene.lease().await;
    let mut advance = scene.advance_of(ids[3].0.clone()).await;
    advance.history = Some(batch(&ids[0], &ids[3], 4));
    advance.sides = vec![side("replay x", &["route1"], &ids[0].0, None)];
    scene.log.advance(&advance).await.unwrap();
    assert_eq!(of(&scene, "route1", &ids[2]).await.status, Status::Delivered);
    let mut again = batch(&ids[1], &ids[2], 2);
    again.attempts = 9;
    scene.beside(&ids[3].0, "replay x", &[], again).await;
    assert_eq!(of(&scene, "route1", &ids[2]).await.attempts, Some(1), "the first time is told");
}

#[tokio::test]
async fn a_route_may_begin_below_its_destination_and_holds_its_place_until_it_is_taken_up() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(8).await;
    scene.lease().await;
    scene.advance(&ids[7].0).await.unwrap();
    assert_eq!(scene.log.view(&scene.lane).await.unwrap().backfills, [""; 0]);

    let moment = chrono::DateTime::from_timestamp_millis(ids[0].0.id.ms as i64).unwrap();
    let start = scene.register_as("late", Start::At(moment.to_rfc3339())).await.unwrap();
    assert!(start.id < ids[0].0.id);
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!((view.backfills, view.position), (vec!["late".to_owned()], Some(start.clone())));
    assert!(view.starts.contains(&("late".into(), start.clone())));
    assert_eq!(scene.trim().await, 0);
    assert_eq!(of(&scene, "late", &ids[2]).await.status, Status::Pending);
    assert_eq!(of(&scene, "route1", &ids[2]).await.status, Status::Delivered);

    // An owner that does not know it yet goes on, and takes nothing from it.
    let more = scene.append(1).await;
    scene.advance(&more[0].0).await.unwrap();
    assert_eq!((scene.position().await, scene.trim().await), (start.id, 0));
    // One that does has its side row.
    let known: Vec<Arc<str>> = vec!["route1".into(), "late".into()];
    let mut taken = scene.advance_of(more[0].0.clone()).await;
    taken.known = known.clone();
    taken.sides = vec![side("route late", &["late"], &ids[4].0, None)];
    scene.log.advance(&taken).await.unwrap();
    assert_eq!(scene.position().await, ids[4].0.id);
    use Status::{Delivered, Pending};
    assert_eq!(statuses(&scene, "late", &ids[3..6]).await, [Delivered, Delivered, Pending]);
    // And none when it is over: its start stays marked, for the owner's own `done`.
    taken.sides.clear();
    scene.log.advance(&taken).await.unwrap();
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!((view.backfills, view.position), (vec!["late".to_owned()], Some(more[0].0.clone())));
    assert_eq!((of(&scene, "late", &ids[6]).await.status, scene.left().await), (Delivered, vec![]));
    assert!(scene.trim().await > 0);
    // Registered again (an apply that was cut off): nothing begins anew.
    assert_eq!(scene.register_as("late", Start::Earliest).await.unwrap(), start);
    assert_eq!((scene.position().await, scene.left().await), (more[0].0.id, vec![]));
    registration::unregister_route(&scene.redis, APP, "late").await.unwrap();
    assert_eq!(scene.log.view(&scene.lane).await.unwrap().backfills, [""; 0]);
}

#[tokio::test]
async fn a_route_that_is_gone_before_it_was_taken_up_holds_nothing_back() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(8).await;
    scene.lease().await;
    scene.advance(&ids[5].0).await.unwrap();
    scene.register_as("late", Start::Earliest).await.unwrap();
    assert_eq!(scene.position().await, StreamId::ZERO);
    registration::unregister_route(&scene.redis, APP, "late").await.unwrap();
    scene.advance(&ids[7].0).await.unwrap();
    assert_eq!((scene.position().await, scene.left().await), (ids[7].0.id, vec![]));
    // Everything of a destination goes with it.
    scene.register_as("late", Start::Earliest).await.unwrap();
    let held = [side("table cars", &["route1"], &ids[6].0, Some("gone"))];
    let record = batch(&ids[6], &ids[6], 1);
    scene.beside(&ids[7].0, "table cars", &held, record).await;
    assert_eq!(scene.left().await.len(), 3);
    registration::unregister_destination(&scene.redis, APP, DESTINATION).await.unwrap();
    let mut left: Vec<String> = scene.server.ask("KEYS *").await;
    left.sort();
    assert_eq!(left, ["tidegate:{car-app}:meta", "tidegate:{car-app}:stream"]);
}

#[tokio::test]
async fn what_is_trimmed_cannot_be_caught_up_and_a_parallel_destination_cannot_go_back() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(8).await;
    scene.lease().await;
    scene.advance(&ids[5].0).await.unwrap();
    assert_eq!(scene.trim().await, 5);
    let moment = chrono::DateTime::from_timestamp_millis(ids[0].0.id.ms as i64 - 5000).unwrap();
    assert_eq!(scene.register_as("late", Start::At(moment.to_rfc3339())).await.unwrap(), ids[4].0);

    let register =
        async |route: &str, start| registration::register_route(&scene.redis, APP, route, "dest00000002", &start).await;
    register("one", Start::Now).await.unwrap();
    registration::register_group(&scene.redis, APP, "dest00000002").await.unwrap();
    let refused = register("two", Start::Earliest).await.unwrap_err();
    assert!(refused.to_string().contains("Let the route start `now`"), "{refused}");
    register("three", Start::Now).await.unwrap();
}

#[tokio::test]
async fn routes_of_a_restored_registry_catch_up_with_nothing() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(3).await;
    scene.lease().await;
    scene.advance(&ids[2].0).await.unwrap();
    for route in ["route1", "late"] {
        registration::restore_route(&scene.redis, APP, route, DESTINATION, 1).await.unwrap().unwrap();
    }
    let view = scene.log.view(&scene.lane).await.unwrap();
    assert_eq!((view.backfills, view.position.map(|position| position.id)), (vec![], Some(ids[2].0.id)));
    assert_eq!(scene.left().await, [""; 0]);
}

#[tokio::test]
async fn parts_of_one_stream_are_read_in_turn_and_never_beyond_their_end() {
    let mut scene = Scene::new().await;
    let ids = scene.append(600).await;
    let mut main = scene.from(ids[299].0.id).await;
    let part = |name: &str, from: &ReadFrom| LaneId { part: name.into(), ..from.lane.clone() };
    let mut cars = ReadFrom { lane: part("table cars", &main), after: StreamId::ZERO, ..main.clone() };
    cars.until = Some(ids[299].0.id);
    let mut replay = ReadFrom { lane: part("replay x", &main), after: ids[9].0.id, ..main.clone() };
    replay.until = Some(ids[19].0.id);
    let (mut reader, mut turns) = (scene.reader(), Vec::new());
    loop {
        let lanes = [main.clone(), cars.clone(), replay.clone()];
        match reader.read(&lanes, 100, Duration::ZERO).await.unwrap() {
            ReadOutcome::Batch(batch) => {
                turns.push(batch.lane.part.to_string());
                let from =
                    [&mut main, &mut cars, &mut replay].into_iter().find(|from| from.lane == batch.lane).unwrap();
                assert_eq!(batch.after, from.after);
                from.after = batch.last();
            }
            ReadOutcome::Idle => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(turns[..5], ["main", "table cars", "replay x", "main", "table cars"], "{turns:?}");
    assert_eq!((main.after, cars.after, replay.after), (ids[599].0.id, ids[299].0.id, ids[19].0.id));

    // Nothing is left beside: the wait is for what is new, and wakes the main row.
    let lanes = [cars.clone(), main.clone(), replay.clone()];
    let read = reader.read(&lanes, 100, Duration::from_secs(5));
    let append = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        scene.append(1).await
    };
    let (outcome, new) = tokio::join!(read, append);
    let ReadOutcome::Batch(batch) = outcome.unwrap() else { panic!("nothing came") };
    assert_eq!((&*batch.lane.part, batch.last()), ("main", new[0].0.id));
    main.after = batch.last();

    // While the main row has nothing, what is beside it is not kept waiting; where both have something, each has its turn.
    cars.until = Some(new[0].0.id);
    let asked = std::time::Instant::now();
    let mut part_of = async |lanes: &[ReadFrom]| match reader.read(lanes, 10, Duration::from_secs(5)).await.unwrap() {
        ReadOutcome::Batch(batch) => batch.lane.part.to_string(),
        _ => "nothing".to_owned(),
    };
    assert_eq!(part_of(&[main.clone(), cars.clone()]).await, "table cars");
    assert!(asked.elapsed() < Duration::from_secs(1));
    scene.append(1).await;
    let mut both = [part_of(&[cars.clone(), main.clone()]).await, part_of(&[cars, main]).await];
    both.sort();
    assert_eq!(both, ["main", "table cars"]);
}

#[tokio::test]
async fn a_field_of_another_destination_is_left_alone() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(3).await;
    scene.lease().await;
    let held = side("table cars", &["route1"], &ids[0].0, Some("gone"));
    scene.stand(&ids[1].0, std::slice::from_ref(&held)).await.unwrap();
    let longer = format!("{DESTINATION}x");
    registration::register_route(&scene.redis, APP, "other", &longer, &Start::Now).await.unwrap();
    scene.lane = lane(&longer);
    scene.lease().await;
    scene.advance(&ids[2].0).await.unwrap();
    registration::unregister_destination(&scene.redis, APP, &longer).await.unwrap();
    assert_eq!(sides::of(&scene.redis, APP, DESTINATION).await.unwrap().rows, [held]);
    let nobody = DeadId { generation: Generation::new("g"), id: StreamId::ZERO, route: "route1".into() };
    assert_eq!(dead::show(&scene.redis, APP, DESTINATION, &nobody).await.unwrap(), None);
}
