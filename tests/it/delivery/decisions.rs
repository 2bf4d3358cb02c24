//! Where an operator decides: after a gap, and in another database. Nothing goes on without a decision, a decision may be
//! applied twice, and a crash between its steps changes nothing.

use serde_json::json;
use tidegate_actors::{
    delivery::Trouble,
    message::{Action, Generation, Position, StreamId},
    ports::{Command, EventLog, LogError, ReadOutcome},
    testing::{Failure, LogCall},
};

use super::scene::{APP, Fate, Scene, route};
use crate::contract::{
    Database,
    table::{Table, Type, column},
    writer::contents,
};

fn arrivals() -> Table {
    Table::new("arrivals", &[], vec![column("id", Type::Int)])
}

async fn begin(database: &dyn Database) -> Scene<'_> {
    database.create(&arrivals()).await;
    Scene::new(database, vec![route("arrivals", "arrivals", &[])])
}

fn send(scene: &Scene<'_>, id: u32) -> StreamId {
    scene.send("arrivals", Action::Insert, &json!({"id": id}))
}

fn decide(scene: &Scene<'_>, generation: &Generation, id: StreamId) {
    let to = Position { generation: generation.clone(), id };
    scene.streams.command(&scene.lane(), Command::Resume { to });
}

/// As an actor does it: whatever asks for a take-over gets one.
async fn go_on(scene: &mut Scene<'_>) -> Result<(), Trouble> {
    for _ in 0..50 {
        let outcome = step(scene).await;
        match outcome {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Trouble::TakeOver(_) | Trouble::Log(_) | Trouble::Database(_)) => scene.delivery.stand_down(),
            Err(trouble) => return Err(trouble),
        }
    }
    panic!("it does not come to an end");
}

/// Whether all is delivered.
async fn step(scene: &mut Scene<'_>) -> Result<bool, Trouble> {
    if !scene.delivery.is_taken() {
        scene.delivery.take_over().await?;
    }
    scene.delivery.carry_out_commands().await?;
    match scene.read(10_000).await {
        ReadOutcome::Batch(batch) => scene.delivery.deliver(&batch).await.map(|()| false),
        ReadOutcome::NewGeneration(_) | ReadOutcome::Gap { .. } => Err(Trouble::TakeOver(String::new())),
        ReadOutcome::NewVersion(_) => Err(Trouble::NewVersion),
        ReadOutcome::Idle => match scene.delivery.lanes()[0].until {
            Some(_) => scene.delivery.finish_generation(0).await.map(|()| false),
            None => Ok(true),
        },
    }
}

async fn held(scene: &mut Scene<'_>) -> String {
    match go_on(scene).await {
        Err(Trouble::Undecided(why)) => why,
        other => panic!("it holds: {other:?}"),
    }
}

/// 1 is delivered, 2 was removed before it was, 3 and 4 wait.
async fn with_a_gap(database: &dyn Database) -> (Scene<'_>, StreamId) {
    let mut scene = begin(database).await;
    send(&scene, 1);
    go_on(&mut scene).await.unwrap();
    let gone = send(&scene, 2);
    let kept = send(&scene, 3);
    send(&scene, 4);
    scene.streams.trim(APP, kept);
    (scene, gone)
}

pub(crate) async fn a_gap_waits_for_a_decision_and_goes_on_from_it(database: &dyn Database) {
    let (mut scene, gone) = with_a_gap(database).await;
    for _ in 0..3 {
        let why = held(&mut scene).await;
        assert!(why.contains(&gone.to_string()) && why.contains("`tidegate resume rooms --application app"), "{why}");
    }
    assert_eq!(scene.delivery.counts().gaps, 1, "one gap, however often it is met");
    let generation = scene.streams.generation(APP);
    decide(&scene, &generation, gone);
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "3", "4"]);
    assert!(scene.streams.waiting_commands(&scene.lane()).is_empty());
    // Decided twice, or by somebody who looked too late: nothing is sent again.
    decide(&scene, &generation, gone);
    send(&scene, 5);
    go_on(&mut scene).await.unwrap();
    scene.restart().await;
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "3", "4", "5"]);
    assert!(scene.streams.waiting_commands(&scene.lane()).is_empty());
}

pub(crate) async fn after_a_gap_the_last_decision_counts(database: &dyn Database) {
    let (mut scene, gone) = with_a_gap(database).await;
    held(&mut scene).await;
    let generation = scene.streams.generation(APP);
    decide(&scene, &generation, gone);
    let now = scene.streams.entries(APP).last().unwrap().id();
    decide(&scene, &generation, now);
    send(&scene, 5);
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "5"]);
}

pub(crate) async fn a_decision_about_a_place_that_is_gone_decides_nothing(database: &dyn Database) {
    let (mut scene, gone) = with_a_gap(database).await;
    held(&mut scene).await;
    let generation = scene.streams.generation(APP);
    decide(&scene, &Generation::new("another"), gone);
    held(&mut scene).await;
    // More was removed after it was decided.
    decide(&scene, &generation, gone);
    let last = scene.streams.entries(APP).last().unwrap().id();
    scene.streams.trim(APP, last);
    let why = held(&mut scene).await;
    assert!(why.contains("tidegate resume"), "{why}");
    assert!(scene.streams.waiting_commands(&scene.lane()).is_empty());
    assert_eq!(contents(database, &arrivals()).await, ["1"]);
}

pub(crate) async fn a_gap_in_an_older_generation_is_passed_as_decided(database: &dyn Database) {
    let mut scene = begin(database).await;
    send(&scene, 1);
    go_on(&mut scene).await.unwrap();
    send(&scene, 2);
    let newer = scene.streams.new_generation(APP);
    send(&scene, 3);
    let kept = send(&scene, 4);
    let last = send(&scene, 5);
    scene.streams.trim(APP, kept);
    held(&mut scene).await;
    decide(&scene, &newer, kept);
    // The first of two moves is made, then the answer is lost.
    scene.fates.next(Fate::AnswerLost);
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "5"]);
    assert_eq!(scene.watermark().await, last);
}

pub(crate) async fn a_decision_survives_lost_answers(database: &dyn Database) {
    let (mut scene, gone) = with_a_gap(database).await;
    held(&mut scene).await;
    decide(&scene, &scene.streams.generation(APP), gone);
    let away = || Failure::Refuse(LogError::Unavailable("says the test".into()));
    scene.streams.fail_next(LogCall::Commands, away());
    scene.fates.next(Fate::AnswerLost);
    scene.streams.fail_next(LogCall::Finish, away());
    scene.streams.fail_next(LogCall::Finish, Failure::LoseReply);
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "3", "4"]);
    assert!(scene.streams.waiting_commands(&scene.lane()).is_empty());
}

/// 1 and 2 are on the stream and delivered elsewhere; the address leads to this database now.
async fn pointed_here(database: &dyn Database) -> (Scene<'_>, StreamId, StreamId) {
    let mut scene = begin(database).await;
    let first = send(&scene, 1);
    let second = send(&scene, 2);
    EventLog::bind(&mut scene.streams.log(), &scene.lane(), "another").await.unwrap();
    let why = held(&mut scene).await;
    assert!(why.contains("not the database") && why.contains("tidegate resume rooms"), "{why}");
    assert_eq!(scene.delivery.counts().gaps, 0);
    send(&scene, 3);
    (scene, first, second)
}

pub(crate) async fn another_database_gets_what_is_decided(database: &dyn Database) {
    let (mut scene, first, _) = pointed_here(database).await;
    // Where Redis knew the destination to be.
    decide(&scene, &scene.streams.generation(APP), first);
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["2", "3"]);
    // It is this destination's database from now on.
    scene.restart().await;
    send(&scene, 4);
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["2", "3", "4"]);
}

pub(crate) async fn another_database_gets_everything_if_that_is_decided(database: &dyn Database) {
    let (mut scene, ..) = pointed_here(database).await;
    decide(&scene, &scene.streams.generation(APP), StreamId::ZERO);
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "2", "3"]);
}

pub(crate) async fn another_database_gets_what_comes_from_now_on(database: &dyn Database) {
    let (mut scene, ..) = pointed_here(database).await;
    let now = scene.streams.entries(APP).last().unwrap().id();
    decide(&scene, &scene.streams.generation(APP), now);
    go_on(&mut scene).await.unwrap();
    send(&scene, 4);
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["4"]);
}

pub(crate) async fn a_crash_before_or_after_the_new_token_is_harmless(database: &dyn Database) {
    let (mut scene, first, _) = pointed_here(database).await;
    decide(&scene, &scene.streams.generation(APP), first);
    scene.streams.fail_next(LogCall::Rebind, Failure::Refuse(LogError::Unavailable("says the test".into())));
    assert!(matches!(scene.delivery.take_over().await, Err(Trouble::Log(_))));
    // Another process finds the row moved and the token not.
    scene.streams.end_lease(&scene.lane());
    scene.delivery = scene.successor();
    scene.streams.fail_next(LogCall::Rebind, Failure::LoseReply);
    assert!(matches!(scene.delivery.take_over().await, Err(Trouble::Log(_))));
    // And another finds both, with the decision still on the list.
    scene.streams.end_lease(&scene.lane());
    scene.delivery = scene.successor();
    go_on(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["2", "3"]);
    assert!(scene.streams.waiting_commands(&scene.lane()).is_empty());
}

pub(crate) async fn a_dead_letter_whose_record_is_lost_is_seen_and_discarded(database: &dyn Database) {
    let table = Table::new("cars", &["id"], vec![column("id", Type::Int).required()]);
    database.create(&table).await;
    let mut scene = Scene::new(database, vec![route("cars", "cars", &["id"])]);
    let bad = scene.send("cars", Action::Insert, &json!({"id": "seven"}));
    go_on(&mut scene).await.unwrap();
    let dead = scene.letters().remove(0).dead;
    scene.streams.lose(APP);
    scene.delivery = scene.successor();
    go_on(&mut scene).await.unwrap();
    let letter = scene.letters().remove(0);
    assert_eq!((letter.dead.id, letter.reason.code.as_str()), (bad, "lost"));
    // A redrive says why not, and a discard takes it away.
    scene.streams.command(&scene.lane(), Command::Redrive { dead: dead.clone(), force: false, data: None });
    go_on(&mut scene).await.unwrap();
    assert!(scene.letters()[0].redrive_error.as_ref().unwrap().contains("lost"));
    scene.streams.command(&scene.lane(), Command::Discard { dead, reason: None });
    go_on(&mut scene).await.unwrap();
    assert!(scene.letters().is_empty());
    assert!(scene.dead_rows().await.is_empty());
}
