//! Bad rows: the code and the column that are told, and that nothing of their transaction stays.

use tidegate_actors::{
    message::StreamId,
    ports::{Rejection, WriteError},
    transaction::{Cell, Op, Statement},
};

use super::{
    Ability, Database,
    table::{Table, Type, column},
    writer::{Writer, contents, text},
};

fn cars() -> Table {
    Table::new(
        "cars",
        &["id"],
        vec![
            column("id", Type::Int).required(),
            column("name", Type::Varchar(10)).required(),
            column("plate", Type::Varchar(20)),
            column("stock", Type::Int).at_least(0),
        ],
    )
    .unique(&["plate"])
}

const ALL: [&str; 4] = ["id", "name", "plate", "stock"];

/// Writes a good row, then these, which must be refused; and shows that the lane goes on as if they had never been.
async fn refused(database: &dyn Database, writer: &mut Writer, table: &Table, bad: Vec<Statement>) -> Rejection {
    let (rows, at) = (contents(database, table).await, writer.watermark().await);
    let outcome = writer.write(bad).await;
    let Err(WriteError::Reject(rejection)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(contents(database, table).await, rows, "rolled back");
    assert_eq!(writer.watermark().await, at, "rolled back");
    assert!(!rejection.message.is_empty());
    rejection
}

/// Where the row is told, it is the right one.
fn assert_place(rejection: &Rejection, statement: usize, row: usize) {
    assert!(rejection.statement.is_none_or(|told| told == statement), "{rejection:?}");
    assert!(rejection.row.is_none_or(|told| told == row), "{rejection:?}");
}

async fn begin(database: &dyn Database) -> (Writer, super::writer::Plan) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer
        .write(vec![plan.texts(Op::Insert, &ALL, &[&["1", "ape", "B 1", "3"], &["2", "vespa", "B 2", "4"]])])
        .await
        .unwrap();
    (writer, plan)
}

pub(crate) async fn a_duplicate_insert(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    let bad = plan.texts(Op::Insert, &["id", "name"], &[&["3", "new"], &["2", "again"], &["4", "new"]]);
    let rejection = refused(database, &mut writer, &cars(), vec![bad.clone()]).await;
    assert_eq!(rejection.code, "unique");
    assert_place(&rejection, 0, 1);

    let rejection =
        refused(database, &mut writer, &cars(), vec![plan.texts(Op::Insert, &["id", "name"], &[&["2", "x"]])]).await;
    assert_eq!(rejection.code, "unique");
    assert_place(&rejection, 0, 0);

    let good = Statement { rows: vec![bad.rows[0].clone(), bad.rows[2].clone()], ..bad };
    writer.write(vec![good]).await.unwrap();
    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 2)));
    assert_eq!(contents(database, &cars()).await.len(), 4);
}

pub(crate) async fn a_bad_row_among_many(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    let mut rows: Vec<_> = (100..1_100).map(|id| vec![text(&id.to_string()), text("new")]).collect();
    rows[777][0] = text("1");
    let good = plan.texts(Op::Update, &["id", "stock"], &[&["1", "9"]]);
    let bad = plan.statement(Op::Insert, &["id", "name"], rows);
    let rejection = refused(database, &mut writer, &cars(), vec![good, bad]).await;
    assert_eq!(rejection.code, "unique");
    assert_place(&rejection, 1, 777);
}

/// Car 2 asks for the plate of car 1: that is refused, whether car 2 is new or not, and car 1 is not overwritten.
pub(crate) async fn an_upsert_that_meets_another_rows_unique_key(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    for id in ["2", "3"] {
        for op in [Op::Upsert, Op::Replace] {
            let bad = plan.texts(op, &["id", "name", "plate"], &[&["9", "tuk", "B 9"], &[id, "thief", "B 1"]]);
            let rejection = refused(database, &mut writer, &cars(), vec![bad]).await;
            assert_eq!(rejection.code, "unique", "{op:?} of {id}");
            assert_place(&rejection, 0, 1);
        }
    }
    let bad = plan.texts(Op::Update, &["id", "plate"], &[&["2", "B 1"]]);
    assert_eq!(refused(database, &mut writer, &cars(), vec![bad]).await.code, "unique");
    // Its own plate again is no collision.
    writer.write(vec![plan.texts(Op::Upsert, &["id", "name", "plate"], &[&["2", "vespa", "B 2"]])]).await.unwrap();
}

pub(crate) async fn null_in_a_required_column(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    for (op, id) in [(Op::Insert, "3"), (Op::Upsert, "3"), (Op::Upsert, "2"), (Op::Update, "2"), (Op::Replace, "2")] {
        let row = vec![text(id), Cell::Null];
        let rejection =
            refused(database, &mut writer, &cars(), vec![plan.statement(op, &["id", "name"], vec![row])]).await;
        assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), ("not_null", Some("name")), "{op:?}");
        assert_place(&rejection, 0, 0);
    }
    let bad = plan.texts(Op::Insert, &["id", "stock"], &[&["3", "1"]]);
    let rejection = refused(database, &mut writer, &cars(), vec![bad]).await;
    assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), ("not_null", Some("name")));
}

pub(crate) async fn a_value_that_a_check_refuses(database: &dyn Database) {
    if !database.can(Ability::Check) {
        return;
    }
    let (mut writer, plan) = begin(database).await;
    for op in [Op::Insert, Op::Upsert, Op::Replace] {
        let bad = plan.texts(op, &["id", "name", "stock"], &[&["3", "tuk", "5"], &["4", "tuk", "-1"]]);
        let rejection = refused(database, &mut writer, &cars(), vec![bad]).await;
        assert_eq!(rejection.code, "check", "{op:?}");
        assert!(rejection.column.as_deref().is_none_or(|column| column == "stock"), "{rejection:?}");
        assert_place(&rejection, 0, 1);
    }
    let bad = plan.texts(Op::Update, &["id", "stock"], &[&["1", "5"], &["2", "-1"]]);
    assert_eq!(refused(database, &mut writer, &cars(), vec![bad]).await.code, "check");
}

pub(crate) async fn a_reference_to_a_row_that_is_not_there(database: &dyn Database) {
    if !database.can(Ability::ForeignKey) {
        return;
    }
    let sales = Table::new(
        "sales",
        &["id"],
        vec![column("id", Type::Int).required(), column("car", Type::Int).references("cars", "id")],
    );
    let (mut writer, cars_plan) = begin(database).await;
    database.create(&sales).await;
    let plan = writer.plan(&sales, &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "car"], &[&["1", "1"]])]).await.unwrap();
    for op in [Op::Insert, Op::Upsert, Op::Replace] {
        let bad = plan.texts(op, &["id", "car"], &[&["2", "2"], &["3", "99"]]);
        let rejection = refused(database, &mut writer, &sales, vec![bad]).await;
        assert_eq!(rejection.code, "foreign_key", "{op:?}");
        assert!(rejection.column.as_deref().is_none_or(|column| column == "car"), "{rejection:?}");
        assert_place(&rejection, 0, 1);
    }
    // The referenced row can't go, and a parent that comes first in the same transaction is there.
    let bad = cars_plan.texts(Op::Delete, &["id"], &[&["1"]]);
    assert_eq!(refused(database, &mut writer, &cars(), vec![bad]).await.code, "foreign_key");
    let parent = cars_plan.texts(Op::Insert, &["id", "name"], &[&["7", "tuk"]]);
    writer.write(vec![parent, plan.texts(Op::Insert, &["id", "car"], &[&["7", "7"]])]).await.unwrap();
}

pub(crate) async fn a_text_that_is_too_long(database: &dyn Database) {
    if !database.can(Ability::Length) {
        return;
    }
    let (mut writer, plan) = begin(database).await;
    for op in [Op::Insert, Op::Upsert, Op::Replace] {
        let bad = plan.texts(op, &["id", "name"], &[&["3", "1234567890"], &["4", "12345678901"]]);
        let rejection = refused(database, &mut writer, &cars(), vec![bad]).await;
        assert_eq!(rejection.code, "too_long", "{op:?}");
        assert!(rejection.column.as_deref().is_none_or(|column| column == "name"), "{rejection:?}");
        assert_place(&rejection, 0, 1);
    }
    // Ten characters are ten, however many bytes they take.
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["3", "車車車車車車車車車車"]])]).await.unwrap();
}

pub(crate) async fn a_number_out_of_range(database: &dyn Database) {
    if !database.can(Ability::Range) {
        return;
    }
    let numbers = Table::new(
        "numbers",
        &["id"],
        vec![column("id", Type::Int).required(), column("small", Type::SmallInt), column("price", Type::Decimal(6, 2))],
    );
    database.create(&numbers).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&numbers, &["id"]).await;
    for op in [Op::Insert, Op::Upsert, Op::Replace] {
        for (name, value) in [("small", "32768"), ("price", "10000")] {
            let bad = plan.texts(op, &["id", name], &[&["1", "1"], &["2", value]]);
            let rejection = refused(database, &mut writer, &numbers, vec![bad]).await;
            assert_eq!(rejection.code, "range", "{op:?} {name}");
            assert!(rejection.column.as_deref().is_none_or(|column| column == name), "{rejection:?}");
            assert_place(&rejection, 0, 1);
        }
    }
}
