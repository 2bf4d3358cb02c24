//! Tables as the database describes them, and tables that change behind our back.

use tidegate_actors::{
    message::StreamId,
    ports::{Destination, WriteError},
    schema::ColumnType,
    transaction::Op,
};

use super::{
    Ability, Database,
    table::{Table, Type, column},
    writer::{Writer, contents},
};

fn cars() -> Table {
    Table::new(
        "cars",
        &["id"],
        vec![
            column("id", Type::BigInt).required(),
            column("name", Type::Varchar(40)).required().default("'none'"),
            column("branch", Type::Varchar(8)),
            column("no", Type::Int).required(),
        ],
    )
    .unique(&["branch", "no"])
}

async fn held(destination: &mut dyn Destination, table: &str) -> String {
    match destination.table(table).await {
        Err(WriteError::Hold(fault)) => fault.message,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_table_is_described_by_its_columns_and_keys(database: &dyn Database) {
    database.create(&cars()).await;
    let table = database.open().table("cars").await.unwrap();
    assert_eq!(table.name, "cars");
    let columns: Vec<_> =
        table.columns.iter().map(|c| (c.name.as_str(), c.nullable, c.has_default, c.generated)).collect();
    let required = |name, has_default| (name, false, has_default, false);
    // Whether a nullable column without a default "has" one (NULL) is the kind's affair.
    let branch = ("branch", true, columns[2].2, false);
    assert_eq!(columns, [required("id", false), required("name", true), branch, required("no", false)]);
    let mut second = table.unique_keys[1].clone();
    second.sort();
    assert_eq!((&table.unique_keys[0], second), (&vec!["id".to_owned()], vec!["branch".to_owned(), "no".to_owned()]));
    assert_eq!(table.unique_keys.len(), 2);
    assert!(matches!(table.columns[0].kind, ColumnType::Int { .. }), "{table:?}");
    assert!(matches!(table.columns[1].kind, ColumnType::Text { .. }), "{table:?}");
    assert!(table.columns.iter().all(|column| !column.declared.is_empty()));
}

pub(crate) async fn computed_columns_are_left_to_the_database(database: &dyn Database) {
    if !database.can(Ability::Generated) {
        return;
    }
    let parts = Table::new(
        "parts",
        &["id"],
        vec![
            column("id", Type::Identity).required(),
            column("stock", Type::Int),
            column("doubled", Type::Int).twice("stock"),
        ],
    );
    database.create(&parts).await;
    let mut writer = Writer::take(database, "one").await;
    let table = writer.destination.table("parts").await.unwrap();
    assert!(table.columns[0].has_default && !table.columns[0].nullable, "{table:?}");
    assert!(table.columns[2].generated && !table.columns[1].generated, "{table:?}");
    let plan = writer.plan(&parts, &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["stock"], &[&["4"], &["5"]])]).await.unwrap();
    assert_eq!(contents(database, &parts).await, ["1|4|8", "2|5|10"]);
    writer.write(vec![plan.texts(Op::Upsert, &["id", "stock"], &[&["2", "6"], &["9", "7"]])]).await.unwrap();
    assert_eq!(contents(database, &parts).await, ["1|4|8", "2|6|12", "9|7|14"]);
}

pub(crate) async fn a_missing_table_is_named_with_the_nearest_there_is(database: &dyn Database) {
    database.create(&cars()).await;
    let mut destination = database.open();
    let message = held(destination.as_mut(), "crs").await;
    assert!(message.contains("crs") && message.contains("cars"), "{message}");
    let message = held(destination.as_mut(), "zebra").await;
    assert!(message.contains("zebra") && !message.contains("cars"), "{message}");
}

pub(crate) async fn a_table_dropped_behind_our_back_holds_and_goes_on_when_it_is_back(database: &dyn Database) {
    if !database.can(Ability::Drop) {
        return;
    }
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Upsert, &["id", "no"], &[&["1", "1"]])]).await.unwrap();
    database.drop_table("cars").await;

    for op in [Op::Insert, Op::Upsert, Op::Update, Op::Replace] {
        let held = writer.write(vec![plan.texts(op, &["id", "no"], &[&["1", "1"]])]).await;
        let Err(WriteError::Hold(fault)) = held else { panic!("{op:?}: {held:?}") };
        assert!(fault.message.contains("cars"), "{}", fault.message);
    }
    let held = writer.write(vec![plan.texts(Op::Delete, &["id"], &[&["1"]])]).await;
    assert!(matches!(held, Err(WriteError::Hold(_))), "{held:?}");
    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 1)));

    database.create(&cars()).await;
    writer.write(vec![plan.texts(Op::Upsert, &["id", "no"], &[&["1", "1"]])]).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|none|∅|1"]);
}

pub(crate) async fn a_column_dropped_behind_our_back_holds_and_is_named(database: &dyn Database) {
    if !database.can(Ability::Drop) {
        return;
    }
    let tags = Table::new("tags", &["id"], vec![column("id", Type::Int).required(), column("colour", Type::Text)]);
    database.create(&tags).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&tags, &["id"]).await;
    writer.write(vec![plan.texts(Op::Upsert, &["id", "colour"], &[&["1", "red"]])]).await.unwrap();
    database.drop_column("tags", "colour").await;

    for op in [Op::Insert, Op::Upsert, Op::Update, Op::Replace] {
        let held = writer.write(vec![plan.texts(op, &["id", "colour"], &[&["1", "blue"]])]).await;
        let Err(WriteError::Hold(fault)) = held else { panic!("{op:?}: {held:?}") };
        assert!(fault.message.contains("colour"), "{}", fault.message);
    }
    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 1)));
    let plan = writer.plan(&Table::new("tags", &["id"], vec![column("id", Type::Int)]), &["id"]).await;
    writer.write(vec![plan.texts(Op::Upsert, &["id"], &[&["2"]])]).await.unwrap();
}
