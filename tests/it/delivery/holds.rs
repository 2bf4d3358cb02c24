//! What is for somebody to put right holds the destination, says what it is, and goes on by itself.

use std::time::Duration;

use serde_json::json;
use tidegate_actors::{delivery::Trouble, message::Action, ports::EventLog, route::RouteSpec};

use super::scene::{Scene, route};
use crate::contract::{
    Ability, Database,
    table::{Table, Type, column},
    writer::contents,
};

fn cars() -> Table {
    Table::new("cars", &["id"], vec![column("id", Type::Int).required(), column("name", Type::Varchar(10))])
}

/// Column by column, so that a column that is gone is missed.
fn named() -> RouteSpec {
    let columns = serde_json::from_value(json!({"id": "id", "name": "name"})).unwrap();
    RouteSpec { columns, ..route("cars", "cars", &["id"]) }
}

async fn held(scene: &mut Scene<'_>) -> String {
    match scene.drain().await {
        Err(Trouble::Hold(why) | Trouble::Undecided(why)) => why,
        other => panic!("it holds: {other:?}"),
    }
}

pub(crate) async fn a_missing_table_holds_by_the_routes_name_and_goes_on(database: &dyn Database) {
    let mut scene = Scene::new(database, vec![named()]);
    scene.send("cars", Action::Insert, &json!({"id": 1, "name": "ape"}));
    for _ in 0..2 {
        let why = held(&mut scene).await;
        assert!(why.contains("`cars-to-cars`") && why.contains("`cars`"), "{why}");
    }
    database.create(&cars()).await;
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape"]);
    assert!(scene.letters().is_empty());
}

pub(crate) async fn a_table_dropped_behind_our_back_holds_and_goes_on(database: &dyn Database) {
    if !database.can(Ability::Drop) {
        return;
    }
    database.create(&cars()).await;
    let mut scene = Scene::new(database, vec![named()]);
    scene.send("cars", Action::Insert, &json!({"id": 1, "name": "ape"}));
    scene.drain().await.unwrap();
    database.drop_table("cars").await;
    scene.send("cars", Action::Insert, &json!({"id": 2, "name": "vespa"}));
    for _ in 0..2 {
        let why = held(&mut scene).await;
        assert!(why.contains("`cars-to-cars`"), "{why}");
    }
    database.create(&cars()).await;
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["2|vespa"]);
    assert!(scene.letters().is_empty());
}

pub(crate) async fn a_column_dropped_behind_our_back_holds_and_goes_on(database: &dyn Database) {
    if !database.can(Ability::Drop) {
        return;
    }
    database.create(&cars()).await;
    let mut scene = Scene::new(database, vec![named()]);
    scene.send("cars", Action::Insert, &json!({"id": 1, "name": "ape"}));
    scene.drain().await.unwrap();
    database.drop_column("cars", "name").await;
    scene.send("cars", Action::Insert, &json!({"id": 2, "name": "vespa"}));
    let why = held(&mut scene).await;
    assert!(why.contains("`cars-to-cars`") && why.contains("`name`"), "{why}");
    database.drop_table("cars").await;
    database.create(&cars()).await;
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["2|vespa"]);
    assert!(scene.letters().is_empty());
}

pub(crate) async fn a_widened_column_is_noticed_before_a_row_is_given_up(database: &dyn Database) {
    if !database.can(Ability::Drop) || !database.can(Ability::Length) {
        return;
    }
    database.create(&cars()).await;
    let mut scene = Scene::new(database, vec![named()]);
    scene.limits.catalogue_age = Duration::ZERO;
    scene.delivery = scene.successor();
    scene.send("cars", Action::Insert, &json!({"id": 1, "name": "ape"}));
    scene.drain().await.unwrap();
    database.drop_table("cars").await;
    let mut wide = cars();
    wide.columns[1] = column("name", Type::Varchar(30));
    database.create(&wide).await;
    scene.send("cars", Action::Insert, &json!({"id": 2, "name": "Piaggio Ape 50"}));
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &wide).await, ["2|Piaggio Ape 50"]);
    assert!(scene.letters().is_empty());
}

pub(crate) async fn another_database_holds(database: &dyn Database) {
    database.create(&cars()).await;
    let mut scene = Scene::new(database, vec![named()]);
    // What the log remembers is not the token that this database gives.
    EventLog::bind(&mut scene.streams.log(), &scene.lane(), "another").await.unwrap();
    scene.send("cars", Action::Insert, &json!({"id": 1, "name": "ape"}));
    let why = held(&mut scene).await;
    assert!(why.contains("`rooms`"), "{why}");
    assert!(!scene.delivery.is_taken());
    assert!(contents(database, &cars()).await.is_empty());
}
