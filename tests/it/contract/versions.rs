//! The version guard: an older change never overwrites a newer row, whatever the type of the version.

use tidegate_actors::{
    ports::WriteError,
    transaction::{Cell, Op},
};

use super::{
    Ability, Database,
    table::{Table, Type, column},
    writer::{Plan, Writer, contents, text},
};

const ALL: [&str; 4] = ["id", "seen", "name", "stock"];

/// The version stands before other columns, so that it matters in which order they are assigned.
fn cars() -> Table {
    cars_by(Type::BigInt)
}

fn cars_by(version: Type) -> Table {
    let columns = vec![
        column("id", Type::Int).required(),
        column("seen", version),
        column("name", Type::Varchar(20)),
        column("stock", Type::Int).default("7"),
    ];
    Table::new("cars", &["id"], columns)
}

/// Three cars: of version 5, 10 and NULL.
async fn begin(database: &dyn Database, table: &Table) -> (Writer, Plan) {
    database.create(table).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(table, &["id"]).await.guarded("seen");
    let rows = [["1", "5", "ape", "1"], ["2", "10", "vespa", "2"]];
    let mut insert = plan.texts(Op::Insert, &ALL, &[&rows[0], &rows[1]]);
    insert.rows.push(vec![text("3"), Cell::Null, text("truck"), text("3")]);
    writer.write(vec![insert]).await.unwrap();
    (writer, plan)
}

pub(crate) async fn an_older_upsert_leaves_a_newer_row_alone(database: &dyn Database) {
    let (mut writer, plan) = begin(database, &cars()).await;
    // Newer, older, over NULL, not there yet: in one statement.
    let committed = writer
        .write(vec![plan.texts(
            Op::Upsert,
            &ALL,
            &[
                &["1", "6", "new", "10"],
                &["2", "9", "old", "20"],
                &["3", "1", "first", "30"],
                &["4", "1", "made", "40"],
            ],
        )])
        .await
        .unwrap();
    assert!(committed.untouched.is_empty());
    assert_eq!(contents(database, &cars()).await, ["1|6|new|10", "2|10|vespa|2", "3|1|first|30", "4|1|made|40"]);
    // The same version once more writes.
    writer.write(vec![plan.texts(Op::Upsert, &ALL, &[&["1", "6", "again", "11"]])]).await.unwrap();
    // A change without a version is as before.
    writer.write(vec![plan.texts(Op::Upsert, &["id", "name"], &[&["2", "plain"], &["5", "plain"]])]).await.unwrap();
    let rows = ["1|6|again|11", "2|10|plain|2", "3|1|first|30", "4|1|made|40", "5|∅|plain|7"];
    assert_eq!(contents(database, &cars()).await, rows);
    // NULL is no version: nothing is greater.
    let null = vec![text("2"), Cell::Null, text("unversioned"), text("2")];
    writer.write(vec![plan.statement(Op::Upsert, &ALL, vec![null])]).await.unwrap();
    assert_eq!(contents(database, &cars()).await[1], "2|∅|unversioned|2");
}

pub(crate) async fn an_older_update_leaves_a_newer_row_alone_and_finds_it(database: &dyn Database) {
    let (mut writer, plan) = begin(database, &cars()).await;
    let mut update = plan.texts(
        Op::Update,
        &["id", "name", "seen"],
        &[&["1", "old", "4"], &["2", "new", "11"], &["3", "first", "0"], &["1", "old", "3"]],
    );
    update.rows.truncate(3);
    assert!(writer.write(vec![update.clone()]).await.unwrap().untouched.is_empty());
    assert_eq!(contents(database, &cars()).await, ["1|5|ape|1", "2|11|new|2", "3|0|first|3"]);

    // A row that is not there is still told from one that is newer.
    update.rows[1] = vec![text("9"), text("x"), text("99")];
    let Err(WriteError::Reject(rejection)) = writer.write(vec![update.clone()]).await else { panic!() };
    assert_eq!((rejection.code.as_str(), rejection.row), ("missing_row", Some(1)));
    update.must_touch = false;
    assert_eq!(writer.write(vec![update]).await.unwrap().untouched, [(0, 1)]);
    // The version alone.
    writer.write(vec![plan.texts(Op::Update, &["id", "seen"], &[&["1", "4"], &["2", "12"]])]).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|5|ape|1", "2|12|new|2", "3|0|first|3"]);
}

pub(crate) async fn an_older_delete_leaves_a_newer_row_alone(database: &dyn Database) {
    let (mut writer, plan) = begin(database, &cars()).await;
    let delete = plan.texts(Op::Delete, &["id", "seen"], &[&["1", "5"], &["2", "9"], &["3", "0"], &["9", "1"]]);
    assert_eq!(writer.write(vec![delete]).await.unwrap().untouched, [(0, 3)]);
    assert_eq!(contents(database, &cars()).await, ["2|10|vespa|2"]);
    let mut must = plan.texts(Op::Delete, &["seen", "id"], &[&["9", "2"]]);
    must.must_touch = true;
    writer.write(vec![must]).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["2|10|vespa|2"]);
    // Without a version it is not guarded.
    writer.write(vec![plan.texts(Op::Delete, &["id"], &[&["2"]])]).await.unwrap();
    assert!(contents(database, &cars()).await.is_empty());
}

/// Where the row can't be inserted as it stands, or another unique key is in the way, a kind writes in another way.
pub(crate) async fn the_guard_holds_beside_other_unique_keys_and_for_parts_of_a_row(database: &dyn Database) {
    let table = Table::new(
        "cars",
        &["id"],
        vec![
            column("id", Type::Int).required(),
            column("plate", Type::Varchar(10)).required(),
            column("seen", Type::BigInt),
            column("stock", Type::Int),
        ],
    )
    .unique(&["plate"]);
    database.create(&table).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&table, &["id"]).await.guarded("seen");
    let all = ["id", "plate", "seen", "stock"];
    writer.write(vec![plan.texts(Op::Upsert, &all, &[&["1", "a", "5", "1"], &["2", "b", "5", "2"]])]).await.unwrap();
    writer.write(vec![plan.texts(Op::Upsert, &all, &[&["1", "c", "4", "9"], &["2", "d", "6", "9"]])]).await.unwrap();
    assert_eq!(contents(database, &table).await, ["1|a|5|1", "2|d|6|9"]);
    let part = ["id", "seen", "stock"];
    writer.write(vec![plan.texts(Op::Upsert, &part, &[&["1", "6", "3"], &["2", "5", "3"]])]).await.unwrap();
    assert_eq!(contents(database, &table).await, ["1|a|6|3", "2|d|6|9"]);
    let refused = writer.write(vec![plan.texts(Op::Upsert, &part, &[&["1", "1", "4"], &["3", "1", "4"]])]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!(rejection.code, "not_null");
}

/// What only an insert writes guards nothing.
pub(crate) async fn a_default_version_is_no_guard(database: &dyn Database) {
    let (mut writer, plan) = begin(database, &cars()).await;
    let mut upsert = plan.texts(Op::Upsert, &["id", "name", "seen"], &[&["2", "new", "0"], &["4", "made", "0"]]);
    upsert.insert_only = vec![2];
    writer.write(vec![upsert]).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|5|ape|1", "2|10|new|2", "3|∅|truck|3", "4|0|made|7"]);
}

/// By the column's type: 9 is less than 10, and the day before is less than today.
pub(crate) async fn versions_of_every_type(database: &dyn Database) {
    let types = [
        (Type::Int, ["9", "10", "11"]),
        (Type::UnsignedBig, ["9", "9223372036854775808", "18446744073709551615"]),
        (Type::Decimal(14, 2), ["9.5", "10", "10.01"]),
        (Type::Double, ["9.5", "10", "1e3"]),
        (Type::Varchar(20), ["2024-a", "2024-b", "2025"]),
        (Type::Date, ["2024-12-31", "2025-01-01", "2025-11-01"]),
        (Type::Time, ["08:00:00", "08:00:00.25", "08:00:00.5"]),
        (Type::Timestamp, ["2025-06-01 08:00:00", "2025-06-01 08:00:00.25", "2025-06-01 08:00:00.5"]),
        (Type::Instant, ["2025-06-01 08:00:00+00:00", "2025-06-01 08:00:00.25+00:00", "2025-06-01 08:00:00.5+00:00"]),
    ];
    for (of, [low, middle, high]) in types {
        let ability = match of {
            Type::UnsignedBig => Some(Ability::Unsigned),
            Type::Instant => Some(Ability::Instant),
            _ => None,
        };
        if ability.is_some_and(|ability| !database.can(ability)) {
            continue;
        }
        let table = cars_by(of);
        database.create(&table).await;
        let mut writer = Writer::take(database, "one").await;
        let plan = writer.plan(&table, &["id"]).await.guarded("seen");
        let row = |id: &'static str, version: &'static str, name: &'static str| [id, version, name];
        let ids = ["1", "2", "3", "4", "5", "6"];
        let start: Vec<_> = ids.iter().map(|id| row(id, middle, "start")).collect();
        let start: Vec<&[&str]> = start.iter().map(|row| &row[..]).collect();
        let columns = ["id", "seen", "name"];
        writer.write(vec![plan.texts(Op::Insert, &columns, &start)]).await.unwrap();
        let (old, new) = (|id| row(id, low, "old"), |id| row(id, high, "new"));
        writer
            .write(vec![
                plan.texts(Op::Upsert, &columns, &[&old("1"), &new("2")]),
                plan.texts(Op::Update, &columns, &[&old("3"), &new("4")]),
                plan.texts(Op::Delete, &["id", "seen"], &[&["5", low], &["6", middle]]),
            ])
            .await
            .unwrap();
        let names: Vec<_> = contents(database, &table).await;
        let names: Vec<_> = names.iter().map(|row| row.split('|').nth(2).unwrap()).collect();
        assert_eq!(names, ["start", "new", "start", "new", "start"], "{of:?}");
        database.drop_table("cars").await;
    }
}

pub(crate) async fn many_versions_at_once(database: &dyn Database) {
    let (mut writer, plan) = begin(database, &cars()).await;
    let row = |id: u32, version: u32, name: &str| {
        vec![text(&id.to_string()), text(&version.to_string()), text(name), text("1")]
    };
    let (first, rest) = (10..3_000, 3_000..4_000);
    writer
        .write(vec![plan.statement(Op::Insert, &ALL, first.clone().map(|id| row(id, 50, "a")).collect())])
        .await
        .unwrap();
    let upserts = first.clone().chain(rest).map(|id| row(id, id % 100, "b")).collect();
    writer.write(vec![plan.statement(Op::Upsert, &ALL, upserts)]).await.unwrap();
    let updates = first.clone().map(|id| row(id, (id + 1) % 100, "c")).collect();
    writer.write(vec![plan.statement(Op::Update, &ALL, updates)]).await.unwrap();
    let found = super::writer::by_first(database, &cars()).await;
    assert_eq!(found.len(), 3_993);
    for id in 10..4_000_u32 {
        let (mut version, mut name) = if id < 3_000 { (50, "a") } else { (id % 100, "b") };
        if id % 100 >= version {
            (version, name) = (id % 100, "b");
        }
        if id < 3_000 && (id + 1) % 100 >= version {
            (version, name) = ((id + 1) % 100, "c");
        }
        assert_eq!(found[&id.to_string()], format!("{version}|{name}|1"), "{id}");
    }
}
