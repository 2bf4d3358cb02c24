//! What a route picks of a record, and what it makes of existing rows and deletes.

use serde_json::{Value, json};
use tidegate_actors::{delivery::Trouble, message::Action, route::RouteSpec};

use super::scene::{Scene, route};
use crate::contract::{
    Database,
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
            column("stock", Type::Int),
            column("gone", Type::Varchar(10)),
        ],
    )
}

/// The route with these of its fields.
fn with(fields: Value) -> RouteSpec {
    let mut spec = serde_json::to_value(route("cars", "cars", &["id"])).unwrap();
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

pub(crate) async fn values_are_picked_by_path_and_filtered(database: &dyn Database) {
    database.create(&cars()).await;
    let columns = json!({
        "id": "car.id",
        "name": {"from": "car.names[0].text", "clean": ["trim"]},
        "stock": {"expr": "data.shops[0].stock + data.shops[1].stock"},
        "gone": {"meta": "action"},
    });
    let mut scene = Scene::new(database, vec![with(json!({"columns": columns, "filter": "data.car.kind == 'car'"}))]);
    let car = |id: u32, kind: &str| json!({"car": {"id": id, "kind": kind, "names": [{"text": " ape "}]}, "shops": [{"stock": 2}, {"stock": 5}]});
    scene.send("cars", Action::Upsert, &car(1, "car"));
    scene.send("cars", Action::Upsert, &car(2, "boat"));
    scene.send("cars", Action::Insert, &car(3, "car"));
    scene.send("cars", Action::Upsert, &json!({"car": "ape"}));
    scene.send(
        "cars",
        Action::Upsert,
        &json!({"car": {"id": 5, "kind": "car", "names": "ape"}, "shops": [{"stock": 1}, {"stock": 1}]}),
    );
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape|7|upsert", "3|ape|7|insert"]);
    let letters = scene.letters();
    let whys: Vec<_> = letters.iter().map(|letter| letter.reason.message.as_str()).collect();
    assert_eq!(whys.len(), 2, "what the filter leaves out is no dead letter: {whys:?}");
    assert!(whys[0].starts_with("the filter of route `cars-to-cars` can't be worked out for this record"), "{whys:?}");
    assert!(
        whys[1].starts_with("field `car.names` for column `name`")
            && whys[1].contains("is a string, where an array is expected"),
        "{whys:?}"
    );
    scene.send("cars", Action::Delete, &json!({"car": {"id": 1}}));
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["3|ape|7|insert"]);
}

pub(crate) async fn existing_rows_are_what_the_route_says(database: &dyn Database) {
    database.create(&cars()).await;
    let cases = [
        ("by_action", 1, ["1|b|∅|∅", "2|a|∅|∅"], 1),
        ("reject", 2, ["1|a|∅|∅", "2|a|∅|∅"], 2),
        ("ignore", 3, ["1|a|∅|∅", "2|a|∅|∅"], 0),
        ("update", 4, ["1|b|∅|∅", "2|b|∅|∅"], 0),
    ];
    for (on_existing, number, rows, dead) in cases {
        // In one batch, where changes of a key are folded, and one by one.
        for most in [100, 1] {
            let mut scene = Scene::named(
                database,
                &format!("dest{number:06}{most:03}"),
                vec![with(json!({"on_existing": on_existing}))],
            );
            for id in [1, 2] {
                scene.send("cars", Action::Delete, &json!({"id": id}));
                scene.send("cars", Action::Upsert, &json!({"id": id, "name": "a"}));
            }
            scene.send("cars", Action::Upsert, &json!({"id": 1, "name": "b"}));
            scene.send("cars", Action::Insert, &json!({"id": 2, "name": "b"}));
            scene.drain_by(most).await.unwrap();
            assert_eq!(contents(database, &cars()).await, rows, "{on_existing} {most}");
            assert_eq!(scene.letters().len(), dead, "{on_existing} {most}");
        }
    }
}

pub(crate) async fn a_delete_is_what_the_route_says(database: &dyn Database) {
    database.create(&cars()).await;
    let soft = json!({"column": "gone", "value": "yes", "restore": "no"});
    let cases = [
        (json!("row"), 1, ["2|b|∅|∅"].to_vec(), ["1|c|∅|∅", "2|b|∅|∅"].to_vec()),
        (json!("ignore"), 2, ["1|a|∅|∅", "2|b|∅|∅"].to_vec(), ["1|c|∅|∅", "2|b|∅|∅"].to_vec()),
        (soft, 3, ["1|a|∅|yes", "2|b|∅|no"].to_vec(), ["1|c|∅|no", "2|b|∅|no"].to_vec()),
    ];
    for (delete, number, deleted, again) in cases {
        for most in [100, 1] {
            let mut scene =
                Scene::named(database, &format!("dest{number:06}{most:03}"), vec![with(json!({"delete": delete}))]);
            scene.send("cars", Action::Upsert, &json!({"id": 1, "name": "a"}));
            scene.send("cars", Action::Upsert, &json!({"id": 2, "name": "b"}));
            scene.send("cars", Action::Delete, &json!({"id": 1}));
            // Of a row that never was: delivered all the same.
            scene.send("cars", Action::Delete, &json!({"id": 3}));
            scene.drain_by(most).await.unwrap();
            assert_eq!(contents(database, &cars()).await, deleted, "{delete} {most}");
            scene.send("cars", Action::Upsert, &json!({"id": 1, "name": "c"}));
            scene.drain_by(most).await.unwrap();
            assert_eq!(contents(database, &cars()).await, again, "{delete} {most}");
            assert!(scene.letters().is_empty(), "{delete}");
            let mut cleaner = Scene::named(
                database,
                &format!("dest{number:06}{:03}", most + 500),
                vec![route("cars", "cars", &["id"])],
            );
            for id in [1, 2] {
                cleaner.send("cars", Action::Delete, &json!({"id": id}));
            }
            cleaner.drain().await.unwrap();
        }
    }
}

pub(crate) async fn a_missing_child_table_holds_by_the_routes_name(database: &dyn Database) {
    database.create(&cars()).await;
    let children = json!([{"from": "owners", "table": "owners", "parent": {"car": "id"}, "columns": {"owner": "."}}]);
    let mut scene = Scene::new(database, vec![with(json!({"children": children}))]);
    scene.send("cars", Action::Insert, &json!({"id": 1, "name": "ape"}));
    let Err(Trouble::Hold(why)) = scene.drain().await else { panic!("it holds") };
    assert!(why.contains("`cars-to-cars`") && why.contains("`owners`"), "{why}");
    let owners = vec![column("car", Type::Int).required(), column("owner", Type::Varchar(20)).required()];
    database.create(&Table::new("owners", &["car", "owner"], owners)).await;
    scene.drain().await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape|∅|∅"]);
}
