//! `on_dead = "block"`: while a dead letter of a key stands, nothing newer of that key is written over the gap.

use serde_json::{Value, json};
use tidegate_actors::{
    message::{Action, StreamId},
    ports::{Command, DeadLetter},
    route::{OnDead, RouteSpec},
    transaction::DeadId,
};

use super::scene::{Scene, route};
use crate::contract::{
    Ability, Database,
    table::{Table, Type, column},
    writer::contents,
};

fn cars() -> Table {
    Table::new(
        "cars",
        &["id"],
        vec![
            column("id", Type::Int).required(),
            column("name", Type::Varchar(20)),
            column("stock", Type::Int).at_least(0),
        ],
    )
}

fn blocking() -> RouteSpec {
    RouteSpec { on_dead: OnDead::Block, ..route("cars", "cars", &["id"]) }
}

async fn begin(database: &dyn Database) -> Scene<'_> {
    database.create(&cars()).await;
    Scene::new(database, vec![blocking()])
}

fn send(scene: &Scene<'_>, action: Action, id: u32, name: &str) -> StreamId {
    scene.send("cars", action, &json!({"id": id, "name": name}))
}

fn named(scene: &Scene<'_>, id: StreamId) -> DeadId {
    DeadId { generation: scene.delivery.lanes()[0].generation.clone(), id, route: "route-cars-cars".into() }
}

async fn command(scene: &mut Scene<'_>, command: Command) {
    scene.streams.command(&scene.lane(), command);
    scene.delivery.carry_out_commands().await.unwrap();
}

async fn redrive(scene: &mut Scene<'_>, id: StreamId, force: bool) {
    let dead = named(scene, id);
    command(scene, Command::Redrive { dead, force, data: None }).await;
}

async fn edit(scene: &mut Scene<'_>, id: StreamId, data: &Value) {
    let dead = named(scene, id);
    command(scene, Command::Redrive { dead, force: false, data: Some(data.to_string()) }).await;
}

/// Puts a row there that no record of ours speaks of, so that an update of it can be written after all.
async fn somebody_inserts(database: &dyn Database, id: u32) {
    let mut other = Scene::named(database, "dest00000009", vec![route("cars", "cars", &["id"])]);
    send(&other, Action::Upsert, id, "row");
    other.drain().await.unwrap();
}

/// Code, and what it waits behind.
fn told(letters: &[DeadLetter]) -> Vec<(StreamId, &str, Option<StreamId>)> {
    letters
        .iter()
        .map(|letter| (letter.dead.id, letter.reason.code.as_str(), letter.blocked_by.as_ref().map(|first| first.id)))
        .collect()
}

pub(crate) async fn later_records_wait_behind_a_dead_letter_of_their_key(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send(&scene, Action::Update, 1, "dead");
    // One in its own batch, two in later ones; another key is not concerned.
    let second = send(&scene, Action::Upsert, 1, "two");
    send(&scene, Action::Upsert, 2, "other");
    scene.drain().await.unwrap();
    let third = send(&scene, Action::Delete, 1, "");
    send(&scene, Action::Upsert, 2, "again");
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["2|again|∅"]);
    assert_eq!(scene.dead_rows().await, [(first, None), (second, None), (third, None)]);
    let letters = scene.letters();
    let expected = [(first, "missing_row", None), (second, "blocked", Some(first)), (third, "blocked", Some(first))];
    assert_eq!(told(&letters), expected);
    assert!(letters[1].reason.message.contains(&first.to_string()), "{}", letters[1].reason.message);
}

pub(crate) async fn a_redrive_of_the_first_writes_those_behind_it_in_their_order(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send(&scene, Action::Update, 1, "one");
    send(&scene, Action::Delete, 1, "");
    scene.drain().await.unwrap();
    // Only after the delete is it not there; only after the insert can it be updated.
    send(&scene, Action::Insert, 1, "three");
    scene.send("cars", Action::Update, &json!({"id": 1, "stock": 4}));
    scene.drain().await.unwrap();
    somebody_inserts(database, 1).await;
    redrive(&mut scene, first, false).await;
    assert_eq!(contents(database, &cars()).await, ["1|three|4"]);
    assert!(scene.dead_rows().await.is_empty());
    assert!(scene.letters().is_empty());
    send(&scene, Action::Upsert, 1, "free");
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|free|4"]);
}

pub(crate) async fn a_chain_stops_at_the_first_that_fails(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send(&scene, Action::Update, 1, "one");
    send(&scene, Action::Upsert, 1, "two");
    let third = send(&scene, Action::Insert, 1, "there already");
    let fourth = send(&scene, Action::Upsert, 1, "four");
    scene.drain().await.unwrap();
    somebody_inserts(database, 1).await;
    redrive(&mut scene, first, false).await;
    assert_eq!(contents(database, &cars()).await, ["1|two|∅"]);
    assert_eq!(scene.dead_rows().await, [(third, None), (fourth, None)]);
    let letters = scene.letters();
    assert_eq!(letters[0].reason.code, "unique", "a reason of its own now");
    assert_eq!((letters[0].blocked_by.clone(), letters[0].attempts), (None, 2));
    assert_eq!(letters[1].reason.code, "blocked");
    let fifth = send(&scene, Action::Upsert, 1, "five");
    scene.drain().await.unwrap();
    assert_eq!(told(&scene.letters())[2], (fifth, "blocked", Some(third)));
}

pub(crate) async fn what_waits_is_not_redriven_before_the_first(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send(&scene, Action::Update, 1, "one");
    let second = send(&scene, Action::Upsert, 1, "two");
    scene.drain().await.unwrap();
    redrive(&mut scene, second, false).await;
    assert!(contents(database, &cars()).await.is_empty());
    let letter = scene.letters().remove(1);
    assert_eq!((letter.reason.code.as_str(), letter.blocked_by.map(|dead| dead.id)), ("blocked", Some(first)));
    assert!(letter.redrive_error.unwrap().contains(&first.to_string()));
}

pub(crate) async fn a_forced_redrive_goes_over_the_gap(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send(&scene, Action::Update, 1, "one");
    let second = send(&scene, Action::Upsert, 1, "two");
    send(&scene, Action::Upsert, 1, "three");
    scene.drain().await.unwrap();
    redrive(&mut scene, second, true).await;
    assert_eq!(contents(database, &cars()).await, ["1|three|∅"], "and what waits behind it");
    let left: Vec<_> = scene.letters().into_iter().map(|letter| (letter.dead.id, letter.superseded_by)).collect();
    assert_eq!(left, [(first, Some(second))]);
    redrive(&mut scene, first, false).await;
    assert_eq!(contents(database, &cars()).await, ["1|three|∅"], "superseded");
}

pub(crate) async fn a_discard_of_the_first_makes_the_next_one_the_first(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send(&scene, Action::Update, 1, "one");
    let second = send(&scene, Action::Upsert, 1, "two");
    scene.drain().await.unwrap();
    let dead = named(&scene, first);
    command(&mut scene, Command::Discard { dead, reason: Some("no such car".into()) }).await;
    assert!(contents(database, &cars()).await.is_empty(), "those behind it wait for an operator's word");
    let third = send(&scene, Action::Upsert, 1, "three");
    scene.drain().await.unwrap();
    assert_eq!(told(&scene.letters())[1], (third, "blocked", Some(second)));
    redrive(&mut scene, second, false).await;
    assert_eq!(contents(database, &cars()).await, ["1|three|∅"]);
    assert!(scene.letters().is_empty());
}

pub(crate) async fn what_waits_still_waits_after_a_restart(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send(&scene, Action::Update, 1, "one");
    send(&scene, Action::Upsert, 1, "two");
    scene.drain().await.unwrap();
    scene.restart().await;
    let third = send(&scene, Action::Upsert, 1, "three");
    scene.drain().await.unwrap();
    assert_eq!(told(&scene.letters())[2], (third, "blocked", Some(first)));
    scene.restart().await;
    somebody_inserts(database, 1).await;
    redrive(&mut scene, first, false).await;
    assert_eq!(contents(database, &cars()).await, ["1|three|∅"]);
    assert!(scene.dead_rows().await.is_empty());
}

pub(crate) async fn a_row_that_the_database_refuses_blocks_within_its_batch(database: &dyn Database) {
    if !database.can(Ability::Check) {
        return;
    }
    let mut scene = begin(database).await;
    let stock = |scene: &Scene<'_>, id, stock| scene.send("cars", Action::Upsert, &json!({"id": id, "stock": stock}));
    let (mut bad, mut behind) = (Vec::new(), Vec::new());
    for id in 0..40 {
        stock(&scene, id, 5);
        if id % 10 == 3 {
            bad.push(stock(&scene, id, -1));
        }
    }
    for id in [3, 7, 13] {
        behind.push(scene.send("cars", Action::Update, &json!({"id": id, "stock": 9})));
    }
    behind.remove(1);
    scene.drain().await.unwrap();
    let codes: Vec<_> = scene.letters().iter().map(|letter| (letter.dead.id, letter.reason.code.clone())).collect();
    let expected = bad.iter().map(|id| (*id, "check".to_owned()));
    assert_eq!(codes, expected.chain(behind.iter().map(|id| (*id, "blocked".to_owned()))).collect::<Vec<_>>());
    let rows = contents(database, &cars()).await;
    assert_eq!(rows.len(), 40);
    assert!(rows.contains(&"3|∅|5".to_owned()) && rows.contains(&"7|∅|9".to_owned()), "{rows:?}");
}

pub(crate) async fn a_mapping_failure_in_between_keeps_its_own_reason(database: &dyn Database) {
    let mut scene = begin(database).await;
    let first = send(&scene, Action::Update, 1, "one");
    let second = scene.send("cars", Action::Upsert, &json!({"id": 1, "stock": "many"}));
    let third = send(&scene, Action::Upsert, 1, "three");
    scene.drain().await.unwrap();
    let expected = [(first, "missing_row", None), (second, "type", None), (third, "blocked", Some(first))];
    assert_eq!(told(&scene.letters()), expected);
    somebody_inserts(database, 1).await;
    redrive(&mut scene, first, false).await;
    assert_eq!(contents(database, &cars()).await, ["1|one|∅"]);
    assert_eq!(scene.dead_rows().await, [(second, None), (third, None)]);
    edit(&mut scene, second, &json!({"id": 1, "stock": 6})).await;
    assert_eq!(contents(database, &cars()).await, ["1|three|6"], "and what waits behind it");
    assert!(scene.letters().is_empty());
}

pub(crate) async fn an_edited_redrive_writes_the_edit(database: &dyn Database) {
    database.create(&cars()).await;
    let mut scene = Scene::new(database, vec![route("cars", "cars", &["id"])]);
    let id = scene.send("cars", Action::Upsert, &json!({"id": 1, "stock": "many"}));
    scene.drain().await.unwrap();
    edit(&mut scene, id, &json!({"id": 1, "stock": 7})).await;
    assert_eq!(contents(database, &cars()).await, ["1|∅|7"]);
    assert!(scene.dead_rows().await.is_empty());
    assert!(scene.letters().is_empty());
}

pub(crate) async fn an_edit_that_is_refused_leaves_the_original(database: &dyn Database) {
    database.create(&cars()).await;
    let mut scene = Scene::new(database, vec![route("cars", "cars", &["id"])]);
    let id = scene.send("cars", Action::Upsert, &json!({"id": 1, "stock": "many"}));
    scene.drain().await.unwrap();
    edit(&mut scene, id, &json!({"id": 1, "stock": "few"})).await;
    let letter = scene.letters().remove(0);
    assert_eq!((letter.data.as_str(), letter.reason.code.as_str()), (r#"{"id":1,"stock":"many"}"#, "type"));
    assert_eq!(letter.edited.as_deref(), Some(r#"{"id":1,"stock":"few"}"#));
    assert!(letter.redrive_error.unwrap().starts_with("as edited: "));
    assert_eq!(scene.dead_rows().await, [(id, None)]);
}
