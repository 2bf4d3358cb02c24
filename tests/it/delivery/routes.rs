//! What a route says of its records: every change, missing rows, defaults, a start, a neighbour on the same table.

use serde_json::json;
use tidegate_actors::{
    message::{Action, Position},
    route::{OnMissing, RouteSpec},
};

use super::scene::{APP, Scene, route};
use crate::contract::{
    Database,
    table::{Table, Type, column},
    writer::contents,
};

fn cars() -> Table {
    Table::new(
        "cars",
        &["id"],
        vec![column("id", Type::Int).required(), column("name", Type::Varchar(20)), column("stock", Type::Int)],
    )
}

pub(crate) async fn every_change_is_written_when_the_route_says_so(database: &dyn Database) {
    database.create(&cars()).await;
    for (every_change, rows) in [(false, 1), (true, 5)] {
        let mut scene = Scene::named(
            database,
            if every_change { "dest00000002" } else { "dest00000001" },
            vec![RouteSpec { every_change, ..route("cars", "cars", &["id"]) }],
        );
        for stock in 0..5 {
            scene.send("cars", Action::Upsert, &json!({"id": 1, "stock": stock}));
        }
        scene.drain().await.unwrap();
        assert_eq!(scene.delivery.counts().rows, rows);
        assert_eq!(scene.fates.commits(), 1, "in one transaction all the same");
        assert_eq!(contents(database, &cars()).await, ["1|∅|4"]);
    }
}

pub(crate) async fn an_update_of_a_missing_row_comes_to_what_the_route_says(database: &dyn Database) {
    database.create(&cars()).await;
    let cases = [
        (OnMissing::Reject, "dest00000001", 1, 1),
        (OnMissing::Ignore, "dest00000002", 1, 0),
        (OnMissing::Insert, "dest00000003", 3, 0),
    ];
    for (on_missing, id, rows, dead) in cases {
        let mut scene = Scene::named(database, id, vec![RouteSpec { on_missing, ..route("cars", "cars", &["id"]) }]);
        scene.send("cars", Action::Upsert, &json!({"id": 1, "name": "ape"}));
        let missing = scene.send("cars", Action::Update, &json!({"id": 2, "name": "vespa"}));
        let deleted = scene.send("cars", Action::Delete, &json!({"id": 3}));
        if on_missing == OnMissing::Insert {
            scene.send("cars", Action::Update, &json!({"id": 4, "name": "tuk"}));
        }
        scene.drain().await.unwrap();
        assert_eq!(contents(database, &cars()).await.len(), rows, "{on_missing:?}");
        assert_eq!(scene.letters().len(), dead, "{on_missing:?}");
        let untouched: Vec<_> =
            scene.streams.history(&scene.lane()).into_iter().flat_map(|record| record.untouched).collect();
        assert!(untouched.contains(&deleted));
        assert_eq!(untouched.contains(&missing), on_missing == OnMissing::Ignore);
    }
}

pub(crate) async fn defaults_are_for_new_rows_only(database: &dyn Database) {
    database.create(&cars()).await;
    let columns = json!({"id": "id", "name": "name", "stock": {"from": "stock", "default": 7}});
    let columns = serde_json::from_value(columns).unwrap();
    let mut scene = Scene::new(database, vec![RouteSpec { columns, ..route("cars", "cars", &["id"]) }]);
    for data in [json!({"id": 1, "name": "a"}), json!({"id": 2, "name": "a", "stock": 3})] {
        scene.send("cars", Action::Upsert, &data);
    }
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|a|7", "2|a|3"]);
    for data in [json!({"id": 1, "stock": 9}), json!({"id": 1, "name": "b"}), json!({"id": 2, "name": "b"})] {
        scene.send("cars", Action::Upsert, &data);
    }
    scene.send("cars", Action::Delete, &json!({"id": 3}));
    scene.send("cars", Action::Upsert, &json!({"id": 3, "name": "b"}));
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|b|9", "2|b|3", "3|b|7"]);
}

pub(crate) async fn two_routes_into_one_table_keep_their_order(database: &dyn Database) {
    database.create(&cars()).await;
    let named = |topic: &str, columns| {
        let columns = serde_json::from_value(columns).unwrap();
        RouteSpec { columns, ..route(topic, "cars", &["id"]) }
    };
    let routes = vec![
        named("names", json!({"id": "id", "name": "name"})),
        named("stocks", json!({"id": "id", "stock": "n", "name": {"from": "why"}})),
    ];
    let mut scene = Scene::new(database, routes);
    for round in 0..6 {
        for id in 0..3 {
            scene.send("names", Action::Upsert, &json!({"id": id, "name": format!("n{round}")}));
            scene.send("stocks", Action::Upsert, &json!({"id": id, "n": round, "why": format!("s{round}")}));
        }
        scene.send("names", if round % 2 == 0 { Action::Delete } else { Action::Upsert }, &json!({"id": 2}));
    }
    scene.send("names", Action::Upsert, &json!({"id": 1, "name": "last"}));
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["0|s5|5", "1|last|5", "2|s5|5"]);
}

pub(crate) async fn a_route_begins_where_it_starts(database: &dyn Database) {
    database.create(&cars()).await;
    let late = Table::new("late", &["id"], vec![column("id", Type::Int).required()]);
    database.create(&late).await;
    let mut scene = Scene::new(database, vec![route("cars", "cars", &["id"]), route("cars", "late", &["id"])]);
    let generation = scene.streams.generation(APP);
    let start = |route: &str, id| {
        scene.streams.set_start(&scene.lane(), route, Position { generation: generation.clone(), id });
    };
    let ids: Vec<_> = (1..=6).map(|id| scene.send("cars", Action::Insert, &json!({"id": id}))).collect();
    start("route-cars-cars", ids[1]);
    start("route-cars-late", ids[3]);
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["3|∅|∅", "4|∅|∅", "5|∅|∅", "6|∅|∅"]);
    assert_eq!(contents(database, &late).await, ["5", "6"]);
}
