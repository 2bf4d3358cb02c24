//! Several bad rows in one piece: they are found together and tried where they stand in the log, in one transaction.

use serde_json::json;
use tidegate_actors::{delivery::Trouble, message::Action};

use super::scene::{Fate, Scene, route};
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
            column("plate", Type::Varchar(20)),
            column("stock", Type::Int).at_least(0),
        ],
    )
    .unique(&["plate"])
}

async fn begin(database: &dyn Database) -> Scene<'_> {
    database.create(&cars()).await;
    Scene::new(database, vec![route("cars", "cars", &["id"])])
}

pub(crate) async fn many_bad_rows_take_few_transactions(database: &dyn Database) {
    let mut scene = begin(database).await;
    let mut bad = Vec::new();
    for id in 0..2_000 {
        let taken = id > 0 && id % 125 == 0;
        let plate = if taken { "B 7".to_owned() } else { format!("B {id}") };
        let sent = scene.send("cars", Action::Upsert, &json!({"id": id, "plate": plate, "stock": 1}));
        bad.extend(taken.then_some((sent, "unique".to_owned())));
    }
    scene.drain().await.unwrap();
    assert_eq!(bad.len(), 15);
    assert_eq!(scene.codes(), bad);
    assert_eq!(contents(database, &cars()).await.len(), 2_000 - bad.len());
    assert!(scene.fates.commits() <= 4, "{} transactions", scene.fates.commits());
}

/// In bulk the second car meets the plate before the first one has given it away.
pub(crate) async fn a_row_is_dead_only_after_all_before_it(database: &dyn Database) {
    let mut scene = begin(database).await;
    for id in 0..50 {
        scene.send("cars", Action::Upsert, &json!({"id": id, "plate": format!("B {id}"), "stock": 1}));
    }
    scene.drain().await.unwrap();
    // Rows of other columns make statements of their own, and these are written in the order of their first rows.
    scene.send("cars", Action::Upsert, &json!({"id": 100, "plate": "B 100"}));
    scene.send("cars", Action::Update, &json!({"id": 1, "plate": "B 999", "stock": 3}));
    scene.send("cars", Action::Upsert, &json!({"id": 101, "plate": "B 1"}));
    let bad = scene.send("cars", Action::Upsert, &json!({"id": 102, "plate": "B 2"}));
    scene.send("cars", Action::Update, &json!({"id": 2, "plate": "B 998", "stock": 3}));
    scene.drain().await.unwrap();
    assert_eq!(scene.codes(), [(bad, "unique".to_owned())]);
    let rows = contents(database, &cars()).await;
    for row in ["1|B 999|3", "2|B 998|3", "100|B 100|∅", "101|B 1|∅"] {
        assert!(rows.contains(&row.to_owned()), "{row} in {rows:?}");
    }
}

pub(crate) async fn later_records_of_a_tried_key_are_told_apart(database: &dyn Database) {
    if !database.can(Ability::Check) {
        return;
    }
    let mut scene = begin(database).await;
    let send =
        |scene: &Scene<'_>, id, stock: i32| scene.send("cars", Action::Upsert, &json!({"id": id, "stock": stock}));
    let before = scene.send("cars", Action::Update, &json!({"id": 5, "stock": 1}));
    scene.drain().await.unwrap();
    for id in 0..5 {
        send(&scene, id, 1);
    }
    let own = scene.send("cars", Action::Insert, &json!({"id": 7, "stock": -1}));
    let over = send(&scene, 5, 2);
    let first = scene.send("cars", Action::Insert, &json!({"id": 8, "stock": -1}));
    let second = scene.send("cars", Action::Insert, &json!({"id": 8, "stock": -2}));
    let by = scene.send("cars", Action::Insert, &json!({"id": 8, "stock": 2}));
    let third = scene.send("cars", Action::Insert, &json!({"id": 8, "stock": -3}));
    scene.drain().await.unwrap();
    let expected = [(before, Some(over)), (own, None), (first, Some(by)), (second, Some(by)), (third, None)];
    assert_eq!(scene.dead_rows().await, expected);
    let letters: Vec<_> = scene.letters().into_iter().map(|letter| (letter.dead.id, letter.superseded_by)).collect();
    assert_eq!(letters, expected);
    assert!(contents(database, &cars()).await.contains(&"8|∅|2".to_owned()));
}

pub(crate) async fn a_lost_answer_to_a_trial_is_read_from_the_database(database: &dyn Database) {
    let mut scene = begin(database).await;
    let mut bad = Vec::new();
    for id in 0..300 {
        let plate = if id == 40 || id == 200 { "B 7".to_owned() } else { format!("B {id}") };
        let sent = scene.send("cars", Action::Insert, &json!({"id": id, "plate": plate}));
        bad.extend((id == 40 || id == 200).then_some((sent, None)));
    }
    scene.fates.well();
    scene.fates.next(Fate::AnswerLost);
    assert!(matches!(scene.drain().await, Err(Trouble::Database(_))));
    assert_eq!(scene.dead_rows().await, bad);
    // What was refused is in the database alone: it is taken over anew.
    while let Err(trouble) = scene.drain().await {
        assert!(matches!(trouble, Trouble::TakeOver(_)), "{trouble:?}");
        scene.delivery.stand_down();
    }
    assert_eq!(scene.dead_rows().await, bad);
    assert_eq!(scene.letters().len(), 2);
    assert_eq!(contents(database, &cars()).await.len(), 298);
    let by = scene.send("cars", Action::Upsert, &json!({"id": 40, "plate": "B 40"}));
    scene.drain().await.unwrap();
    assert_eq!(scene.dead_rows().await, [(bad[0].0, Some(by)), (bad[1].0, None)]);
}

pub(crate) async fn a_bad_parent_takes_its_children_with_it(database: &dyn Database) {
    if !database.can(Ability::ForeignKey) || !database.can(Ability::Check) {
        return;
    }
    let sales = Table::new(
        "sales",
        &["id"],
        vec![column("id", Type::Int).required(), column("car", Type::Int).references("cars", "id")],
    );
    database.create(&cars()).await;
    database.create(&sales).await;
    let mut scene = Scene::new(database, vec![route("cars", "cars", &["id"]), route("sales", "sales", &["id"])]);
    let mut expected = Vec::new();
    for id in 0..60 {
        let bad = id % 20 == 9;
        let stock = if bad { -1 } else { 1 };
        let car = scene.send("cars", Action::Upsert, &json!({"id": id, "stock": stock}));
        let sale = scene.send("sales", Action::Insert, &json!({"id": id, "car": id}));
        if bad {
            expected.extend([(car, "check".to_owned()), (sale, "foreign_key".to_owned())]);
        }
    }
    scene.drain().await.unwrap();
    assert_eq!(scene.codes(), expected);
    assert_eq!(contents(database, &cars()).await.len(), 57);
    assert_eq!(contents(database, &sales).await.len(), 57);
}
