//! Folding and grouping: a batch comes to what its messages come to one by one.

use serde_json::{Value, json};
use tidegate_actors::message::Action;

use super::scene::{Scene, route};
use crate::contract::{
    Ability, Database,
    table::{Table, Type, column},
    writer::contents,
};

/// Keys in one batch: enough to fill statements, few enough that a refused one costs little.
const KEYS: usize = 20;

fn cars(name: &'static str) -> Table {
    let text = |name| column(name, Type::Varchar(20));
    Table::new(name, &["id"], vec![column("id", Type::Int).required(), text("a"), text("b")])
}

/// All sequences of one to four actions; the number in base four, least action first.
fn sequences() -> Vec<Vec<Action>> {
    (1..=4_u32)
        .flat_map(|length| {
            (0..4_usize.pow(length))
                .map(move |number| (0..length).map(|place| Action::ALL[number / 4_usize.pow(place) % 4]).collect())
        })
        .collect()
}

/// The record at this place of a sequence; which fields it names varies with both.
fn record(key: usize, place: usize, action: Action) -> Value {
    let mut data = json!({"id": key});
    let fields = (key / 2 + place) % 3 + 1;
    for (bit, field) in [(1, "a"), (2, "b")] {
        if action != Action::Delete && fields & bit != 0 {
            data[field] = if (key + place).is_multiple_of(7) { Value::Null } else { json!(format!("{field}{place}")) };
        }
    }
    data
}

pub(crate) async fn a_batch_gives_what_its_messages_give_one_by_one(database: &dyn Database) {
    let (folded_table, single_table) = (cars("folded"), cars("single"));
    database.create(&folded_table).await;
    database.create(&single_table).await;
    let mut folded = Scene::named(database, "dest00000001", vec![route("cars", "folded", &["id"])]);
    let mut single = Scene::named(database, "dest00000002", vec![route("cars", "single", &["id"])]);
    // Each sequence twice: an odd key has a row already.
    let sequences: Vec<_> = sequences().into_iter().flat_map(|sequence| [sequence.clone(), sequence]).collect();
    for key in (1..sequences.len()).step_by(2) {
        for scene in [&folded, &single] {
            scene.send("cars", Action::Insert, &json!({"id": key, "a": "old", "b": "old"}));
        }
    }
    folded.drain().await.unwrap();
    single.drain().await.unwrap();
    for first in (0..sequences.len()).step_by(KEYS) {
        let keys = first..(first + KEYS).min(sequences.len());
        for place in 0..4 {
            for key in keys.clone() {
                let Some(action) = sequences[key].get(place) else { continue };
                for scene in [&folded, &single] {
                    scene.send("cars", *action, &record(key, place, *action));
                }
            }
        }
        folded.drain().await.unwrap();
    }
    single.drain_by(1).await.unwrap();
    assert_eq!(contents(database, &folded_table).await, contents(database, &single_table).await);
    assert_eq!(folded.codes(), single.codes());
    assert_eq!(folded.dead_rows().await, single.dead_rows().await);
    assert!(folded.codes().len() > 300, "there is something to compare");
    assert!(folded.fates.commits() < single.fates.commits() * 4);
}

pub(crate) async fn a_hot_key_whose_last_change_is_bad_takes_few_transactions(database: &dyn Database) {
    if !database.can(Ability::Check) {
        return;
    }
    let table =
        Table::new("cars", &["id"], vec![column("id", Type::Int).required(), column("stock", Type::Int).at_least(0)]);
    database.create(&table).await;
    let mut scene = Scene::new(database, vec![route("cars", "cars", &["id"])]);
    for stock in 0..500 {
        scene.send("cars", Action::Upsert, &json!({"id": 1, "stock": stock}));
    }
    let bad = scene.send("cars", Action::Upsert, &json!({"id": 1, "stock": -1}));
    scene.drain().await.unwrap();
    assert_eq!(scene.codes(), [(bad, "check".to_owned())]);
    assert_eq!(contents(database, &table).await, ["1|499"]);
    assert!(scene.fates.commits() < 40, "{} transactions", scene.fates.commits());
}

/// A car is changed by its id and removed by its plate: which comes first matters, though the keys have nothing in common.
pub(crate) async fn one_table_by_two_keys_is_written_in_order(database: &dyn Database) {
    let table =
        Table::new("cars", &["id"], vec![column("id", Type::Int).required(), column("plate", Type::Varchar(20))])
            .unique(&["plate"]);
    database.create(&table).await;
    let routes = vec![route("cars", "cars", &["id"]), route("plates", "cars", &["plate"])];
    let mut scene = Scene::new(database, routes);
    scene.send("cars", Action::Upsert, &json!({"id": 1, "plate": "B 1"}));
    scene.send("plates", Action::Delete, &json!({"plate": "B 2"}));
    scene.send("cars", Action::Upsert, &json!({"id": 2, "plate": "B 2"}));
    scene.send("plates", Action::Delete, &json!({"plate": "B 1"}));
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &table).await, ["2|B 2"]);
}

pub(crate) async fn inserts_without_a_key_keep_their_place_among_changes_by_key(database: &dyn Database) {
    let table = cars("cars");
    database.create(&table).await;
    let routes = vec![route("cars", "cars", &["id"]), route("arrivals", "cars", &[])];
    let mut scene = Scene::new(database, routes);
    scene.send("cars", Action::Delete, &json!({"id": 9}));
    scene.send("arrivals", Action::Insert, &json!({"id": 1, "a": "x"}));
    scene.send("cars", Action::Delete, &json!({"id": 1}));
    scene.send("arrivals", Action::Insert, &json!({"id": 2, "a": "y"}));
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &table).await, ["2|y|∅"]);
    assert!(scene.codes().is_empty());
}
