//! What each operation does to rows that are there and to rows that are not.

use tidegate_actors::{ports::WriteError, transaction::Op};

use super::{
    Ability, Database,
    table::{Table, Type, column},
    writer::{Writer, contents},
};

/// A table with a default, and a column that is required and has none.
fn cars() -> Table {
    Table::new(
        "cars",
        &["id"],
        vec![
            column("id", Type::Int).required(),
            column("name", Type::Varchar(40)).required(),
            column("stock", Type::Int).default("7"),
            column("note", Type::Text),
        ],
    )
}

fn rooms() -> Table {
    Table::new(
        "rooms",
        &["branch", "no"],
        vec![
            column("branch", Type::Varchar(8)).required(),
            column("no", Type::Int).required(),
            column("name", Type::Text),
        ],
    )
}

pub(crate) async fn an_insert_makes_a_row_and_absent_columns_get_their_default(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer
        .write(vec![
            plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]]),
            plan.texts(Op::Insert, &["note", "name", "id"], &[&["blue", "vespa", "2"]]),
        ])
        .await
        .unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape|7|∅", "2|vespa|7|blue"]);
}

pub(crate) async fn rows_without_a_key_are_all_kept(database: &dyn Database) {
    let log = Table::new("log", &[], vec![column("at", Type::Int), column("line", Type::Text)]);
    database.create(&log).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&log, &[]).await;
    for _ in 0..2 {
        writer.write(vec![plan.texts(Op::Insert, &["at", "line"], &[&["1", "a"], &["1", "a"]])]).await.unwrap();
    }
    assert_eq!(contents(database, &log).await, ["1|a", "1|a", "1|a", "1|a"]);
}

pub(crate) async fn an_upsert_inserts_or_changes_the_given_columns(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer
        .write(vec![plan.texts(Op::Insert, &["id", "name", "stock", "note"], &[&["1", "ape", "3", "red"]])])
        .await
        .unwrap();
    let committed = writer
        .write(vec![plan.texts(
            Op::Upsert,
            &["id", "name", "note"],
            &[&["1", "ape 50", "blue"], &["2", "vespa", "new"]],
        )])
        .await
        .unwrap();
    assert!(committed.untouched.is_empty());
    assert_eq!(contents(database, &cars()).await, ["1|ape 50|3|blue", "2|vespa|7|new"]);
}

pub(crate) async fn an_upsert_of_the_key_alone_changes_nothing_that_is_there(database: &dyn Database) {
    let tags =
        Table::new("tags", &["id"], vec![column("id", Type::Int).required(), column("n", Type::Int).default("5")]);
    database.create(&tags).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&tags, &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "n"], &[&["1", "1"]])]).await.unwrap();
    writer.write(vec![plan.texts(Op::Upsert, &["id"], &[&["1"], &["2"]])]).await.unwrap();
    assert_eq!(contents(database, &tags).await, ["1|1", "2|5"]);
}

pub(crate) async fn what_only_an_insert_writes_leaves_a_row_that_is_there_alone(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name", "stock"], &[&["1", "ape", "3"]])]).await.unwrap();
    let mut upsert =
        plan.texts(Op::Upsert, &["id", "name", "stock"], &[&["1", "ape 50", "100"], &["2", "vespa", "100"]]);
    upsert.insert_only = vec![2];
    writer.write(vec![upsert]).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape 50|3|∅", "2|vespa|100|∅"]);
}

/// `on_existing = "ignore"`: every column but the key is for new rows only. Another unique key is no reason to pass a row over.
pub(crate) async fn an_insert_if_absent_leaves_a_row_that_is_there_as_it_is(database: &dyn Database) {
    database.create(&cars()).await;
    let plated = Table::new(
        "plated",
        &["id"],
        vec![
            column("id", Type::Int).required(),
            column("plate", Type::Varchar(8)).required(),
            column("note", Type::Text),
        ],
    )
    .unique(&["plate"]);
    database.create(&plated).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    let absent = |plan: &super::writer::Plan, columns: &[&str], rows: &[&[&str]]| {
        let mut statement = plan.texts(Op::Upsert, columns, rows);
        statement.insert_only = (1..columns.len()).collect();
        statement
    };
    writer.write(vec![absent(&plan, &["id", "name"], &[&["1", "ape"]])]).await.unwrap();
    let committed =
        writer.write(vec![absent(&plan, &["id", "name", "stock"], &[&["1", "x", "1"], &["2", "vespa", "2"]])]).await;
    assert!(committed.unwrap().untouched.is_empty());
    assert_eq!(contents(database, &cars()).await, ["1|ape|7|∅", "2|vespa|2|∅"]);

    let plan = writer.plan(&plated, &["id"]).await;
    let all = ["id", "plate", "note"];
    writer.write(vec![absent(&plan, &all, &[&["1", "a", "first"], &["2", "b", "first"]])]).await.unwrap();
    // The row is there: its plate may be another row's.
    writer.write(vec![absent(&plan, &all, &[&["1", "b", "second"], &["3", "c", "second"]])]).await.unwrap();
    let rows = ["1|a|first", "2|b|first", "3|c|second"];
    assert_eq!(contents(database, &plated).await, rows);
    // A new row with another's plate is refused, not passed over.
    let refused = writer.write(vec![absent(&plan, &all, &[&["4", "b", "third"]])]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!(rejection.code, "unique");
    assert_eq!(contents(database, &plated).await, rows);
}

/// `{"id": 1, "stock": 9}` is a change of a row that is there, although it would not do for a new one.
pub(crate) async fn a_partial_upsert_of_a_row_that_is_there_needs_no_required_column(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"], &["2", "vespa"]])]).await.unwrap();
    writer.write(vec![plan.texts(Op::Upsert, &["id", "stock"], &[&["1", "9"], &["2", "10"]])]).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape|9|∅", "2|vespa|10|∅"]);

    let refused = writer.write(vec![plan.texts(Op::Upsert, &["id", "stock"], &[&["1", "11"], &["3", "12"]])]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), ("not_null", Some("name")));
    assert_eq!(contents(database, &cars()).await, ["1|ape|9|∅", "2|vespa|10|∅"]);
}

pub(crate) async fn an_update_changes_the_given_columns(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"], &["2", "vespa"]])]).await.unwrap();
    let update = plan.texts(Op::Update, &["id", "stock"], &[&["2", "20"]]);
    assert!(writer.write(vec![update.clone()]).await.unwrap().untouched.is_empty());
    // The same values once more: the row is there, so it counts as touched.
    assert!(writer.write(vec![update]).await.unwrap().untouched.is_empty());
    assert_eq!(contents(database, &cars()).await, ["1|ape|7|∅", "2|vespa|20|∅"]);
    // The key alone: nothing to change, and still there or not.
    writer.write(vec![plan.texts(Op::Update, &["id"], &[&["1"]])]).await.unwrap();
    let refused = writer.write(vec![plan.texts(Op::Update, &["id"], &[&["3"]])]).await;
    assert!(matches!(refused, Err(WriteError::Reject(_))), "{refused:?}");
}

pub(crate) async fn an_update_of_a_missing_row_is_rejected_by_its_place(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"], &["2", "vespa"]])]).await.unwrap();
    for op in [Op::Update, Op::Delete] {
        let (columns, rows): (&[&str], &[&[&str]]) = match op {
            Op::Update => (&["id", "stock"], &[&["1", "20"], &["3", "20"], &["2", "20"]]),
            _ => (&["id"], &[&["1"], &["3"], &["2"]]),
        };
        let mut statement = plan.texts(op, columns, rows);
        statement.must_touch = true;
        let insert = plan.texts(Op::Insert, &["id", "name"], &[&["9", "truck"]]);
        let refused = writer.write(vec![insert, statement]).await;
        let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
        assert_eq!((rejection.statement, rejection.row, rejection.code.as_str()), (Some(1), Some(1), "missing_row"));
        assert_eq!(contents(database, &cars()).await, ["1|ape|7|∅", "2|vespa|7|∅"]);
    }
}

pub(crate) async fn rows_that_touched_nothing_are_reported_by_their_place(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"], &["2", "vespa"]])]).await.unwrap();
    let mut update = plan.texts(Op::Update, &["id", "stock"], &[&["8", "1"], &["1", "1"], &["9", "1"], &["2", "2"]]);
    update.must_touch = false;
    let insert = plan.texts(Op::Insert, &["id", "name"], &[&["3", "truck"]]);
    let delete = plan.texts(Op::Delete, &["id"], &[&["3"], &["4"], &["1"]]);
    let mut committed = writer.write(vec![update, insert, delete]).await.unwrap();
    committed.untouched.sort_unstable();
    assert_eq!(committed.untouched, [(0, 0), (0, 2), (2, 1)]);
    assert_eq!(contents(database, &cars()).await, ["2|vespa|2|∅"]);
}

pub(crate) async fn a_delete_removes_the_row(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"], &["2", "vespa"]])]).await.unwrap();
    let committed = writer.write(vec![plan.texts(Op::Delete, &["id"], &[&["1"]])]).await.unwrap();
    assert!(committed.untouched.is_empty());
    assert_eq!(contents(database, &cars()).await, ["2|vespa|7|∅"]);
}

pub(crate) async fn a_replacement_forgets_what_it_does_not_name(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer
        .write(vec![plan.texts(Op::Insert, &["id", "name", "stock", "note"], &[&["1", "ape", "3", "red"]])])
        .await
        .unwrap();
    let committed =
        writer.write(vec![plan.texts(Op::Replace, &["id", "name"], &[&["1", "tuk"], &["2", "vespa"]])]).await.unwrap();
    assert!(committed.untouched.is_empty());
    assert_eq!(contents(database, &cars()).await, ["1|tuk|7|∅", "2|vespa|7|∅"]);
}

pub(crate) async fn composite_keys_tell_rows_apart(database: &dyn Database) {
    database.create(&rooms()).await;
    let mut writer = Writer::take(database, "one").await;
    // The route's order of the key need not be the table's.
    let plan = writer.plan(&rooms(), &["no", "branch"]).await;
    let all = ["branch", "no", "name"];
    writer
        .write(vec![
            plan.texts(
                Op::Insert,
                &all,
                &[&["JKT", "1", "a"], &["JKT", "2", "b"], &["BDG", "1", "c"], &["BDG", "2", "d"]],
            ),
            plan.texts(Op::Upsert, &all, &[&["JKT", "1", "A"], &["BDG", "3", "E"]]),
            plan.texts(Op::Update, &["name", "no", "branch"], &[&["D", "2", "BDG"]]),
            plan.texts(Op::Delete, &["no", "branch"], &[&["1", "BDG"]]),
            plan.texts(Op::Replace, &["branch", "no"], &[&["JKT", "2"]]),
        ])
        .await
        .unwrap();
    assert_eq!(contents(database, &rooms()).await, ["BDG|2|D", "BDG|3|E", "JKT|1|A", "JKT|2|∅"]);
}

pub(crate) async fn statements_over_several_tables_are_written_in_order(database: &dyn Database) {
    database.create(&cars()).await;
    database.create(&rooms()).await;
    let mut writer = Writer::take(database, "one").await;
    let (cars_plan, rooms_plan) = (writer.plan(&cars(), &["id"]).await, writer.plan(&rooms(), &["branch", "no"]).await);
    writer
        .write(vec![
            cars_plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]]),
            rooms_plan.texts(Op::Upsert, &["branch", "no", "name"], &[&["JKT", "1", "a"]]),
            cars_plan.texts(Op::Delete, &["id"], &[&["1"]]),
            rooms_plan.texts(Op::Update, &["branch", "no", "name"], &[&["JKT", "1", "b"]]),
            cars_plan.texts(Op::Insert, &["id", "name"], &[&["1", "vespa"]]),
        ])
        .await
        .unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|vespa|7|∅"]);
    assert_eq!(contents(database, &rooms()).await, ["JKT|1|b"]);
}

pub(crate) async fn odd_names_are_taken_as_they_are(database: &dyn Database) {
    if !database.can(Ability::OddNames) {
        return;
    }
    let odd = Table::new(
        "Order \"of\" `cars`",
        &["select"],
        vec![
            column("select", Type::Int).required(),
            column("Mixed Case", Type::Text),
            column("it's \"quoted\"", Type::Text),
            column("back`tick", Type::Text),
            column("naïve 車", Type::Text),
            column("column1", Type::Text),
            column("excluded", Type::Text),
            column("value", Type::Text),
        ],
    );
    database.create(&odd).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&odd, &["select"]).await;
    let all: Vec<&str> = odd.columns.iter().map(|column| column.name).collect();
    writer
        .write(vec![
            plan.texts(Op::Insert, &all, &[&["1", "a", "b", "c", "d", "e", "f", "g"]]),
            plan.texts(
                Op::Upsert,
                &all,
                &[&["1", "A", "B", "C", "D", "E", "F", "G"], &["2", "a", "b", "c", "d", "e", "f", "g"]],
            ),
            plan.texts(Op::Update, &all, &[&["2", "1", "2", "3", "4", "5", "6", "7"]]),
            plan.texts(Op::Replace, &all, &[&["3", "x", "x", "x", "x", "x", "x", "x"]]),
            plan.texts(Op::Delete, &["select"], &[&["3"]]),
        ])
        .await
        .unwrap();
    assert_eq!(contents(database, &odd).await, ["1|A|B|C|D|E|F|G", "2|1|2|3|4|5|6|7"]);
}
