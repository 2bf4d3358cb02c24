//! Bad rows among good ones: exactly they become dead letters, and all others are written.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_actors::{delivery::Trouble, message::Action};

use super::scene::{APP, Scene, route};
use crate::contract::{
    Ability, Database,
    table::{Table, Type, column},
    writer::{by_first, contents},
};

fn owners() -> Table {
    Table::new("owners", &["id"], vec![column("id", Type::Int).required()])
}

fn cars() -> Table {
    Table::new(
        "cars",
        &["id"],
        vec![
            column("id", Type::Int).required(),
            column("name", Type::Varchar(10)).required(),
            column("plate", Type::Varchar(20)),
            column("stock", Type::Int).at_least(0),
            column("owner", Type::Int).references("owners", "id"),
        ],
    )
    .unique(&["plate"])
}

/// The ways to be bad: action, change of the record, code, column, and what a database must enforce for it.
fn ways() -> Vec<(Action, Value, &'static str, &'static str, Option<Ability>)> {
    vec![
        (Action::Insert, json!({"name": null}), "not_null", "name", None),
        (Action::Insert, json!({"name": "12345678901"}), "too_long", "name", Some(Ability::Length)),
        (Action::Insert, json!({"stock": "many"}), "type", "stock", None),
        (Action::Insert, json!({"stock": 5_000_000_000_i64}), "range", "stock", Some(Ability::Range)),
        (Action::Insert, json!({"plate": "TAKEN"}), "unique", "plate", None),
        (Action::Insert, json!({"stock": -1}), "check", "stock", Some(Ability::Check)),
        (Action::Insert, json!({"owner": 99}), "foreign_key", "owner", Some(Ability::ForeignKey)),
        (Action::Insert, json!({"id": 0}), "unique", "id", None),
        (Action::Update, json!({"id": 5_000}), "missing_row", "id", None),
    ]
}

pub(crate) async fn bad_rows_of_every_kind_are_given_up_and_nothing_else_is(database: &dyn Database) {
    database.create(&owners()).await;
    database.create(&cars()).await;
    let mut scene = Scene::new(database, vec![route("cars", "cars", &["id"]), route("owners", "owners", &["id"])]);
    scene.send("owners", Action::Insert, &json!({"id": 1}));
    scene.send("cars", Action::Insert, &json!({"id": 0, "name": "first", "plate": "TAKEN"}));
    scene.drain().await.unwrap();

    let ways: Vec<_> =
        ways().into_iter().filter(|(.., ability)| ability.is_none_or(|ability| database.can(ability))).collect();
    // At the start, one after another in the middle, here and there, and at the end.
    let count = ways.len();
    let places = (0..3).chain(200..200 + count).chain([300, 310, 470]).chain(500 - count..500);
    let bad: BTreeMap<usize, usize> = places.enumerate().map(|(nth, place)| (place, nth % count)).collect();
    let (mut expected, mut good, mut last) = (Vec::new(), vec!["0".to_owned()], None);
    for place in 0..500 {
        let mut data =
            json!({"id": place + 1, "name": "good", "stock": place, "owner": 1, "plate": format!("B {place}")});
        let mut action = [Action::Insert, Action::Upsert][place % 2];
        if let Some(way) = bad.get(&place) {
            let (bad_action, change, code, column, _) = &ways[*way];
            action = *bad_action;
            data.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let id = scene.send("cars", action, &data);
            expected.push((id, (*code).to_owned(), (*column).to_owned()));
            last = Some(id);
            continue;
        }
        good.push((place + 1).to_string());
        last = Some(scene.send("cars", action, &data));
    }
    scene.drain().await.unwrap();
    good.sort();
    assert_eq!(by_first(database, &cars()).await.into_keys().collect::<Vec<_>>(), good);
    let letters = scene.letters();
    let found: Vec<_> = letters.iter().map(|letter| (letter.dead.id, letter.reason.code.clone())).collect();
    assert_eq!(found, expected.iter().map(|(id, code, _)| (*id, code.clone())).collect::<Vec<_>>());
    for (letter, (_, code, column)) in letters.iter().zip(&expected) {
        assert!(!letter.reason.message.is_empty() && letter.route_name == "cars-to-cars" && letter.attempts >= 1);
        let told = letter.reason.column.as_deref();
        let sure = matches!(code.as_str(), "not_null" | "too_long" | "type" | "range");
        assert!(told == Some(column) || (!sure && told.is_none()), "{code}: {told:?}");
    }
    assert_eq!(scene.dead_rows().await.len(), expected.len());
    assert_eq!(Some(scene.watermark().await), last);
    assert_eq!(scene.streams.position(&scene.lane()).map(|position| position.id), last);
}

pub(crate) async fn what_one_route_refuses_another_still_writes(database: &dyn Database) {
    database.create(&owners()).await;
    let log = Table::new("log", &[], vec![column("id", Type::Int), column("note", Type::Text)]);
    database.create(&log).await;
    let mut scene = Scene::new(database, vec![route("owners", "owners", &["id"]), route("owners", "log", &[])]);
    for _ in 0..2 {
        for id in 1..4 {
            scene.send("owners", Action::Insert, &json!({"id": id, "note": "seen"}));
        }
    }
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &owners()).await, ["1", "2", "3"]);
    assert_eq!(contents(database, &log).await.len(), 6);
    let routes: Vec<_> = scene.letters().into_iter().map(|letter| letter.route_name).collect();
    assert_eq!(routes, ["owners-to-owners"; 3]);
}

pub(crate) async fn what_comes_before_an_unreadable_entry_is_written(database: &dyn Database) {
    database.create(&owners()).await;
    let mut scene = Scene::new(database, vec![route("owners", "owners", &["id"])]);
    scene.send("owners", Action::Insert, &json!({"id": 1}));
    let last = scene.send("owners", Action::Insert, &json!({"id": 2}));
    let odd = scene.streams.append_unknown(APP, "format 9");
    scene.send("owners", Action::Insert, &json!({"id": 3}));
    let Err(Trouble::Hold(why)) = scene.drain().await else { panic!("it holds") };
    assert!(why.contains(&odd.0.id.to_string()), "{why}");
    assert_eq!(contents(database, &owners()).await, ["1", "2"]);
    assert_eq!(scene.watermark().await, last);
}
