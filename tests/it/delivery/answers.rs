//! Answers that are lost, late or refused, restarts and second owners: nothing is lost and nothing written twice.

use std::time::Duration;

use serde_json::json;
use tidegate_actors::{
    delivery::{Follows, Trouble},
    message::{Action, StreamId},
    ports::{Batch, ReadOutcome},
};

use super::scene::{Fate, Scene, read, route};
use crate::contract::{
    Database,
    table::{Table, Type, column},
    writer::contents,
};

/// Without a key: whatever is written twice is there twice.
fn arrivals() -> Table {
    Table::new("arrivals", &[], vec![column("id", Type::Int)])
}

async fn begin(database: &dyn Database) -> Scene<'_> {
    database.create(&arrivals()).await;
    let mut scene = Scene::new(database, vec![route("arrivals", "arrivals", &[])]);
    scene.limits.write = Duration::from_secs(2);
    scene.delivery = scene.successor();
    scene
}

fn send(scene: &Scene<'_>, ids: std::ops::Range<u32>) -> StreamId {
    ids.map(|id| scene.send("arrivals", Action::Insert, &json!({"id": id}))).fold(StreamId::ZERO, |_, id| id)
}

async fn written(database: &dyn Database) -> Vec<u32> {
    let mut ids: Vec<u32> = contents(database, &arrivals()).await.iter().map(|row| row.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

pub(crate) async fn a_lost_answer_after_the_commit_writes_nothing_twice(database: &dyn Database) {
    let mut scene = begin(database).await;
    let last = send(&scene, 0..10);
    scene.fates.next(Fate::AnswerLost);
    let Err(Trouble::Database(fault)) = scene.drain().await else { panic!("the answer was lost") };
    assert!(fault.connection_lost);
    scene.drain().await.unwrap();
    assert_eq!(written(database).await, (0..10).collect::<Vec<_>>());
    assert_eq!(scene.watermark().await, last);
    let history = scene.streams.history(&scene.lane());
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].last, history[0].attempts, history[0].rows), (last, 1, 10));
    assert_eq!((scene.delivery.counts().rows, scene.delivery.counts().entries), (10, 10));
}

pub(crate) async fn a_refusal_before_anything_was_done_is_tried_again(database: &dyn Database) {
    let mut scene = begin(database).await;
    let last = send(&scene, 0..10);
    for _ in 0..2 {
        scene.fates.next(Fate::Refused);
        assert!(matches!(scene.drain().await, Err(Trouble::Database(_))));
        assert!(written(database).await.is_empty());
    }
    scene.drain().await.unwrap();
    assert_eq!(written(database).await, (0..10).collect::<Vec<_>>());
    let history = scene.streams.history(&scene.lane());
    assert_eq!((history.len(), history[0].last, history[0].attempts), (1, last, 3));
    send(&scene, 10..12);
    scene.drain().await.unwrap();
    assert_eq!(scene.streams.history(&scene.lane())[1].attempts, 1, "each batch counts its own");
}

pub(crate) async fn a_hang_ends_in_time_and_is_tried_again(database: &dyn Database) {
    let mut scene = begin(database).await;
    scene.limits.write = Duration::from_millis(200);
    scene.delivery = scene.successor();
    send(&scene, 0..10);
    scene.fates.next(Fate::Hangs);
    let Err(Trouble::Database(fault)) = scene.drain().await else { panic!("it does not answer") };
    assert!(fault.connection_lost, "whoever does not answer is down");
    scene.limits.write = Duration::from_secs(30);
    scene.restart().await;
    scene.drain().await.unwrap();
    assert_eq!(written(database).await, (0..10).collect::<Vec<_>>());
}

pub(crate) async fn the_same_batch_after_a_restart_is_passed_over(database: &dyn Database) {
    let mut scene = begin(database).await;
    let last = send(&scene, 0..10);
    scene.delivery.take_over().await.unwrap();
    let whole = scene.batch().await;
    let half = Batch { entries: whole.entries[..5].to_vec(), ..whole.clone() };
    scene.delivery.deliver(&half).await.unwrap();
    scene.restart().await;
    scene.delivery.deliver(&half).await.unwrap();
    assert_eq!(written(database).await, (0..5).collect::<Vec<_>>());
    scene.delivery.deliver(&whole).await.unwrap();
    scene.delivery.deliver(&whole).await.unwrap();
    assert_eq!(written(database).await, (0..10).collect::<Vec<_>>());
    assert_eq!(scene.watermark().await, last);
}

/// Where another batch is at hand, the position follows the commit after it.
pub(crate) async fn the_log_hears_of_a_batch_while_the_next_one_is_written(database: &dyn Database) {
    let mut scene = begin(database).await;
    let last = send(&scene, 0..10);
    scene.delivery.take_over().await.unwrap();
    let whole = scene.batch().await;
    let half = Batch { entries: whole.entries[..5].to_vec(), ..whole.clone() };
    let follows = Follows::default();
    follows.now();
    scene.delivery.follow(follows);
    scene.delivery.deliver(&half).await.unwrap();
    assert_eq!(written(database).await, (0..5).collect::<Vec<_>>());
    assert_eq!(scene.streams.history(&scene.lane()).len(), 0, "not yet");

    scene.delivery.follow(Follows::default());
    scene.delivery.deliver(&whole).await.unwrap();
    assert_eq!(written(database).await, (0..10).collect::<Vec<_>>());
    assert_eq!(scene.streams.history(&scene.lane()).len(), 2, "of both");
    assert_eq!(scene.streams.position(&scene.lane()).map(|position| position.id), Some(last));
}

/// A node that ends between the two has told nobody: the database knows, and the log is told by whoever takes over.
pub(crate) async fn a_batch_the_log_has_not_heard_of_is_recorded_by_the_next_owner(database: &dyn Database) {
    let mut scene = begin(database).await;
    send(&scene, 0..10);
    scene.delivery.take_over().await.unwrap();
    let whole = scene.batch().await;
    let half = Batch { entries: whole.entries[..5].to_vec(), ..whole.clone() };
    let follows = Follows::default();
    follows.now();
    scene.delivery.follow(follows);
    scene.delivery.deliver(&half).await.unwrap();

    // The same owner, which has lost its certainty: it still has what it did not tell.
    scene.fates.next(Fate::AnswerLost);
    let outcome = scene.delivery.deliver(&whole).await;
    assert!(matches!(outcome, Err(Trouble::Database(_))), "{outcome:?}");
    scene.delivery.stand_down();
    scene.delivery.take_over().await.unwrap();
    let records = scene.streams.history(&scene.lane());
    assert_eq!(records.iter().map(|record| record.entries).collect::<Vec<_>>(), [5, 5]);
    scene.drain().await.unwrap();
    assert_eq!(written(database).await, (0..10).collect::<Vec<_>>());
}

pub(crate) async fn a_second_owner_stops_the_first_in_the_middle(database: &dyn Database) {
    let mut scene = begin(database).await;
    send(&scene, 0..10);
    scene.delivery.take_over().await.unwrap();
    let whole = scene.batch().await;
    let half = Batch { entries: whole.entries[..5].to_vec(), ..whole.clone() };
    scene.delivery.deliver(&half).await.unwrap();

    // The first one is paused, its lease runs out, another takes over and writes on.
    scene.streams.end_lease(&scene.lane());
    let mut second = scene.successor();
    second.take_over().await.unwrap();
    let outcome = scene.delivery.deliver(&whole).await;
    assert!(matches!(outcome, Err(Trouble::TakeOver(_))), "{outcome:?}");
    assert_eq!(scene.delivery.counts().fenced, 1);
    assert_eq!(scene.delivery.take_over().await, Err(Trouble::StandBy));
    assert_eq!(written(database).await, (0..5).collect::<Vec<_>>());

    let rest = match read(&mut scene.streams.reader(), &second, 100).await {
        ReadOutcome::Batch(batch) => batch,
        other => panic!("{other:?}"),
    };
    second.deliver(&rest).await.unwrap();
    assert_eq!(written(database).await, (0..10).collect::<Vec<_>>());
    assert!(second.counts().epoch > 1);
}

/// A batch is a contiguous piece of the log: one that leaves something out would lose it.
pub(crate) async fn a_batch_that_does_not_follow_is_refused(database: &dyn Database) {
    let mut scene = begin(database).await;
    send(&scene, 0..10);
    scene.delivery.take_over().await.unwrap();
    let whole = scene.batch().await;
    let after = whole.entries[4].id();
    let gap = Batch { after, entries: whole.entries[5..].to_vec(), ..whole.clone() };
    assert!(matches!(scene.delivery.deliver(&gap).await, Err(Trouble::TakeOver(_))));
    assert!(written(database).await.is_empty());
    scene.drain().await.unwrap();
    assert_eq!(written(database).await, (0..10).collect::<Vec<_>>());
}
