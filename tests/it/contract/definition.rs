//! What an operator sees of a database's tables, and tables that are made for a route.

use tidegate_actors::{
    ports::{TableName, WriteError},
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
            column("stock", Type::Int).default("7"),
            column("colour", Type::Text),
        ],
    )
}

fn rooms() -> Table {
    Table::new("rooms", &["id"], vec![column("id", Type::BigInt).required(), column("floor", Type::Int)])
}

pub(crate) async fn tables_are_listed_without_ours(database: &dyn Database) {
    let mut destination = database.open();
    // A server may show what is in its other databases too.
    let here = |tables: Vec<TableName>| tables.into_iter().filter(|table| table.default_schema).collect::<Vec<_>>();
    assert_eq!(here(destination.tables().await.unwrap()), []);
    database.create(&cars()).await;
    database.create(&rooms()).await;
    Writer::take(database, "one").await;
    let tables = here(destination.tables().await.unwrap());
    let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["cars", "rooms"]);
    // Each is found by what it is called here.
    for table in &tables {
        let described = destination.table(&table.name).await.unwrap();
        assert_eq!((&described.schema, &described.name), (&table.schema, &table.name));
    }
}

pub(crate) async fn defaults_are_told(database: &dyn Database) {
    database.create(&cars()).await;
    let table = database.open().table("cars").await.unwrap();
    let default = |name: &str| table.columns[table.column(name).unwrap()].default.clone();
    assert!(default("name").unwrap().contains("none"), "{table:?}");
    assert_eq!(default("stock").as_deref(), Some("7"));
    assert_eq!((default("id"), default("colour")), (None, None));
}

pub(crate) async fn tables_and_columns_are_made_as_asked(database: &dyn Database) {
    if !database.can(Ability::Define) {
        return;
    }
    let mut destination = database.open();
    let table = "CREATE TABLE rooms (id bigint NOT NULL PRIMARY KEY)".to_owned();
    destination.define(&[table, "ALTER TABLE rooms ADD COLUMN floor int".to_owned()]).await.unwrap();
    let described = destination.table("rooms").await.unwrap();
    let names: Vec<_> = described.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((names, described.unique_keys), (vec!["id", "floor"], vec![vec!["id".to_owned()]]));
    // What it knew of the table is not in the way.
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&rooms(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Upsert, &["id", "floor"], &[&["1", "2"]])]).await.unwrap();
    assert_eq!(contents(database, &rooms()).await, ["1|2"]);
}

pub(crate) async fn a_definition_that_fails_says_which_and_leaves_the_connection_usable(database: &dyn Database) {
    if !database.can(Ability::Define) {
        return;
    }
    database.create(&cars()).await;
    let mut destination = database.open();
    let statements = ["CREATE TABLE one (id int)", "CREATE TABLE cars (id int)", "CREATE TABLE two (id int)"];
    let failed = destination.define(&statements.map(str::to_owned)).await;
    let Err(WriteError::Hold(fault)) = failed else { panic!("{failed:?}") };
    assert!(fault.message.contains("statement 2 of 3 failed"), "{}", fault.message);
    assert!(fault.message.contains("cars"), "{}", fault.message);
    let stands = destination.table("one").await.is_ok();
    assert_eq!(stands, fault.message.contains("the first stands"), "{}", fault.message);
    assert!(destination.table("two").await.is_err());
    destination.table("cars").await.unwrap();
}
