//! Dead letters: the payload before the row, redrive, discard, and what later records of the key do to them.

use serde_json::json;
use tidegate_actors::{
    delivery::Trouble,
    message::{Action, StreamId},
    ports::{Command, LogError},
    testing::{Failure, LogCall},
    transaction::DeadId,
};

use super::scene::{Fate, Scene, route};
use crate::contract::{
    Database,
    table::{Table, Type, column},
    writer::contents,
};

fn cars() -> Table {
    Table::new("cars", &["id"], vec![column("id", Type::Int).required(), column("name", Type::Varchar(20))])
}

async fn begin(database: &dyn Database) -> Scene<'_> {
    database.create(&cars()).await;
    Scene::new(database, vec![route("cars", "cars", &["id"])])
}

/// An update of a row that is not there: dead, until somebody inserts the row.
fn send_dead(scene: &Scene<'_>, id: u32) -> StreamId {
    scene.send("cars", Action::Update, &json!({"id": id, "name": "dead"}))
}

fn send_row(scene: &Scene<'_>, id: u32) -> StreamId {
    scene.send("cars", Action::Upsert, &json!({"id": id, "name": "row"}))
}

fn named(scene: &Scene<'_>, id: StreamId) -> DeadId {
    DeadId { generation: scene.delivery.lanes()[0].generation.clone(), id, route: "route-cars-cars".into() }
}

async fn redrive(scene: &mut Scene<'_>, id: StreamId, force: bool) -> Result<(), Trouble> {
    scene.streams.command(&scene.lane(), Command::Redrive { dead: named(scene, id), force, data: None });
    scene.delivery.carry_out_commands().await
}

/// Puts a row there that no record of ours speaks of, so that nothing supersedes the dead letter.
async fn somebody_inserts(database: &dyn Database, id: u32) {
    let mut other = Scene::named(database, "dest00000009", vec![route("cars", "cars", &["id"])]);
    send_row(&other, id);
    other.drain().await.unwrap();
}

pub(crate) async fn a_payload_is_kept_before_its_row(database: &dyn Database) {
    let mut scene = begin(database).await;
    let id = send_dead(&scene, 1);
    scene.streams.fail_next(LogCall::KeepDead, Failure::Refuse(LogError::Unavailable("full".into())));
    assert!(matches!(scene.drain().await, Err(Trouble::Log(_))));
    assert!(scene.dead_rows().await.is_empty(), "no row without a payload");
    assert!(scene.letters().is_empty());
    scene.drain().await.unwrap();
    assert_eq!(scene.dead_rows().await, [(id, None)]);
    assert_eq!(scene.codes(), [(id, "missing_row".to_owned())]);
    assert_eq!(scene.letters()[0].data, r#"{"id":1,"name":"dead"}"#);
}

pub(crate) async fn a_redrive_writes_and_takes_back_payload_and_row(database: &dyn Database) {
    let mut scene = begin(database).await;
    let id = send_dead(&scene, 1);
    scene.drain().await.unwrap();
    somebody_inserts(database, 1).await;
    redrive(&mut scene, id, false).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|dead"]);
    assert!(scene.dead_rows().await.is_empty());
    assert!(scene.letters().is_empty());
    assert!(scene.streams.waiting_commands(&scene.lane()).is_empty());
    redrive(&mut scene, id, false).await.unwrap();
    send_row(&scene, 1);
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|row"]);
}

pub(crate) async fn a_redrive_that_fails_again_says_why_and_stays(database: &dyn Database) {
    let mut scene = begin(database).await;
    let id = send_dead(&scene, 1);
    scene.drain().await.unwrap();
    redrive(&mut scene, id, false).await.unwrap();
    assert_eq!(scene.dead_rows().await, [(id, None)]);
    let letter = scene.letters().remove(0);
    assert_eq!(letter.attempts, 2);
    assert!(letter.redrive_error.is_some_and(|why| !why.is_empty()));
    assert!(scene.streams.waiting_commands(&scene.lane()).is_empty(), "it is done with");
}

pub(crate) async fn what_was_superseded_is_refused_unless_forced(database: &dyn Database) {
    let mut scene = begin(database).await;
    let (first, second) = (send_dead(&scene, 1), send_dead(&scene, 2));
    // One in the same batch, one in a later one.
    let by_first = send_row(&scene, 1);
    scene.drain().await.unwrap();
    let by_second = send_row(&scene, 2);
    scene.drain().await.unwrap();
    assert_eq!(scene.dead_rows().await, [(first, Some(by_first)), (second, Some(by_second))]);
    let by: Vec<_> = scene.letters().into_iter().map(|letter| letter.superseded_by).collect();
    assert_eq!(by, [Some(by_first), Some(by_second)]);
    for id in [first, second] {
        redrive(&mut scene, id, false).await.unwrap();
    }
    assert_eq!(contents(database, &cars()).await, ["1|row", "2|row"]);
    assert!(scene.letters().iter().all(|letter| letter.redrive_error.is_some()));
    redrive(&mut scene, first, true).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|dead", "2|row"]);
    assert_eq!(scene.letters().len(), 1);
}

/// The row is the truth: the process ended between the commit and the note in the log.
pub(crate) async fn what_was_superseded_before_a_restart_is_refused_after_it(database: &dyn Database) {
    let mut scene = begin(database).await;
    let id = send_dead(&scene, 1);
    scene.drain().await.unwrap();
    let by = send_row(&scene, 1);
    scene.streams.fail_next(LogCall::Dead, Failure::Refuse(LogError::Unavailable("away".into())));
    assert!(matches!(scene.drain().await, Err(Trouble::Log(_))));
    assert_eq!(scene.dead_rows().await, [(id, Some(by))]);
    scene.restart().await;
    redrive(&mut scene, id, false).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|row"]);
    let letter = scene.letters().remove(0);
    assert_eq!(letter.superseded_by, Some(by), "and now the payload says so too");
    assert!(letter.redrive_error.is_some());
}

pub(crate) async fn what_was_buried_in_doubt_is_superseded_too(database: &dyn Database) {
    let mut scene = begin(database).await;
    let id = send_dead(&scene, 1);
    // The first try finds out that the row is missing, the second gives it up.
    scene.fates.well();
    scene.fates.next(Fate::AnswerLost);
    assert!(matches!(scene.drain().await, Err(Trouble::Database(_))));
    assert_eq!(scene.dead_rows().await, [(id, None)]);
    let by = send_row(&scene, 1);
    scene.drain().await.unwrap();
    assert_eq!(scene.dead_rows().await, [(id, Some(by))]);
    assert_eq!(scene.delivery.counts().dead, 1);
    redrive(&mut scene, id, false).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|row"]);
}

/// What is given up in a transaction comes after what is written in it, if the log says so.
pub(crate) async fn what_is_given_up_after_a_later_record_is_not_superseded_by_it(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send_dead(&scene, 1);
    scene.drain().await.unwrap();
    let by = send_row(&scene, 1);
    let second = scene.send("cars", Action::Update, &json!({"id": 1, "name": "a name that is much too long"}));
    scene.drain().await.unwrap();
    let letters: Vec<_> = scene.letters().into_iter().map(|letter| (letter.dead.id, letter.superseded_by)).collect();
    if letters.len() == 2 {
        assert_eq!(letters, [(first, Some(by)), (second, None)]);
        assert_eq!(scene.dead_rows().await, letters);
    }
}

/// Two records of a key were given up; the later one is written after all, so the older one must not be written over it.
pub(crate) async fn a_redrive_supersedes_older_dead_letters_of_its_key(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send_dead(&scene, 1);
    let second = scene.send("cars", Action::Update, &json!({"id": 1, "name": "later"}));
    scene.drain().await.unwrap();
    somebody_inserts(database, 1).await;
    redrive(&mut scene, second, false).await.unwrap();
    redrive(&mut scene, first, false).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|later"]);
    let letter = scene.letters().remove(0);
    assert_eq!((letter.dead.id, letter.superseded_by), (first, Some(second)));
    scene.restart().await;
    redrive(&mut scene, first, false).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|later"]);
}

pub(crate) async fn a_discard_takes_back_payload_and_row(database: &dyn Database) {
    let mut scene = begin(database).await;
    let (id, other) = (send_dead(&scene, 1), send_dead(&scene, 2));
    scene.drain().await.unwrap();
    scene.streams.command(&scene.lane(), Command::Discard { dead: named(&scene, id), reason: None });
    scene.delivery.carry_out_commands().await.unwrap();
    assert_eq!(scene.dead_rows().await, [(other, None)]);
    assert_eq!(scene.codes(), [(other, "missing_row".to_owned())]);
    assert!(contents(database, &cars()).await.is_empty());
}

/// The payload was kept, and the process ended before the transaction that was to give the record up.
pub(crate) async fn a_void_payload_goes_at_the_take_over(database: &dyn Database) {
    let mut scene = begin(database).await;
    send_dead(&scene, 1);
    scene.fates.well();
    scene.fates.next(Fate::Refused);
    assert!(matches!(scene.drain().await, Err(Trouble::Database(_))));
    assert_eq!(scene.letters().len(), 1);
    assert!(scene.dead_rows().await.is_empty());
    somebody_inserts(database, 1).await;
    scene.restart().await;
    assert!(scene.letters().is_empty());
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|dead"]);
    assert!(scene.letters().is_empty());
}

/// The same without a restart: the payload must not stand there as if the record had been given up.
pub(crate) async fn a_payload_whose_record_was_written_after_all_goes(database: &dyn Database) {
    let mut scene = begin(database).await;
    send_dead(&scene, 1);
    scene.fates.well();
    scene.fates.next(Fate::Refused);
    assert!(matches!(scene.drain().await, Err(Trouble::Database(_))));
    assert_eq!(scene.letters().len(), 1);
    somebody_inserts(database, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|dead"]);
    assert!(scene.letters().is_empty());
    assert!(scene.dead_rows().await.is_empty());
}

pub(crate) async fn a_lost_answer_to_a_redrive_writes_once(database: &dyn Database) {
    let audit = Table::new("audit", &[], vec![column("id", Type::Int), column("note", Type::Varchar(20)).required()]);
    database.create(&audit).await;
    let mut scene = Scene::new(database, vec![route("cars", "audit", &[])]);
    let id = scene.send("cars", Action::Insert, &json!({"id": 1}));
    scene.drain().await.unwrap();
    assert_eq!(scene.codes(), [(id, "required".to_owned())]);
    let mut default = route("cars", "audit", &[]);
    default.columns = serde_json::from_value(json!({"id": "id", "note": {"default": "none"}})).unwrap();
    scene.set_routes(vec![default]);
    scene.drain().await.unwrap();
    scene.fates.next(Fate::AnswerLost);
    let dead = DeadId { route: "route-cars-audit".into(), ..named(&scene, id) };
    scene.streams.command(&scene.lane(), Command::Redrive { dead, force: false, data: None });
    assert!(matches!(scene.delivery.carry_out_commands().await, Err(Trouble::Database(_))));
    scene.delivery.carry_out_commands().await.unwrap();
    assert_eq!(contents(database, &audit).await, ["1|none"]);
    assert!(scene.dead_rows().await.is_empty());
    assert!(scene.letters().is_empty());
}

pub(crate) async fn a_route_that_takes_another_topic_now_loses_no_dead_letter(database: &dyn Database) {
    let mut scene = begin(database).await;
    let id = send_dead(&scene, 1);
    scene.drain().await.unwrap();
    let mut other = route("cars", "cars", &["id"]);
    other.topic = "bikes".into();
    scene.set_routes(vec![other]);
    scene.drain().await.unwrap();
    redrive(&mut scene, id, false).await.unwrap();
    assert_eq!(scene.dead_rows().await, [(id, None)]);
    let letter = scene.letters().remove(0);
    assert!(letter.redrive_error.is_some_and(|why| why.contains("`cars`")), "it names the topic");
}
