//! Writing for a parallel destination: one transaction of rows, and nothing of ours in the database.

use tidegate_actors::{
    ports::{Destination, WriteError},
    transaction::Op,
};

use super::{
    Ability, Database,
    table::{Table, Type, column},
    writer::{Plan, contents, plan, text},
};

fn cars() -> Table {
    Table::new(
        "cars",
        &["id"],
        vec![
            column("id", Type::Int).required(),
            column("name", Type::Varchar(10)).required(),
            column("stock", Type::Int),
        ],
    )
}

async fn begin(database: &dyn Database) -> (Box<dyn Destination>, Plan) {
    database.create(&cars()).await;
    let mut destination = database.open();
    let plan = plan(destination.as_mut(), &cars(), &["id"]).await;
    (destination, plan)
}

pub(crate) async fn rows_need_no_table_of_ours(database: &dyn Database) {
    let (mut destination, plan) = begin(database).await;
    let rows = plan.texts(Op::Upsert, &["id", "name"], &[&["1", "ape"], &["2", "vespa"]]);
    destination.write(&[rows]).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape|∅", "2|vespa|∅"]);
    for ours in ["tidegate_watermark", "tidegate_dead", "tidegate_binding"] {
        let found = destination.table(ours).await;
        assert!(matches!(found, Err(WriteError::Hold(_))), "{ours} was made: {found:?}");
    }
}

pub(crate) async fn what_is_written_twice_is_the_same_row(database: &dyn Database) {
    let (mut destination, plan) = begin(database).await;
    let statements = [
        plan.texts(Op::Upsert, &["id", "name", "stock"], &[&["1", "ape", "3"], &["2", "vespa", "4"]]),
        plan.texts(Op::Update, &["id", "stock"], &[&["1", "9"]]),
        plan.texts(Op::Delete, &["id"], &[&["2"], &["7"]]),
    ];
    for _ in 0..2 {
        let committed = destination.write(&statements).await.unwrap();
        assert_eq!(committed.untouched, [(2, 1)], "a delete of a row that is not there");
        assert_eq!(contents(database, &cars()).await, ["1|ape|9"]);
    }
}

pub(crate) async fn a_bad_row_undoes_the_rest_and_is_told(database: &dyn Database) {
    let (mut destination, plan) = begin(database).await;
    destination.write(&[plan.texts(Op::Upsert, &["id", "name"], &[&["1", "ape"]])]).await.unwrap();
    let mut bad = plan.texts(Op::Insert, &["id", "name"], &[&["2", "vespa"], &["1", "again"], &["3", "bajaj"]]);
    let Err(WriteError::Reject(rejection)) = destination.write(std::slice::from_ref(&bad)).await else {
        panic!("not refused")
    };
    assert_eq!(rejection.code, "unique");
    assert!(rejection.row.is_none_or(|row| row == 1), "{rejection:?}");
    assert_eq!(contents(database, &cars()).await, ["1|ape|∅"], "rolled back");
    let missing = plan.texts(Op::Update, &["id", "name"], &[&["8", "nobody"]]);
    let Err(WriteError::Reject(rejection)) = destination.write(&[missing]).await else { panic!("not refused") };
    assert_eq!(rejection.code, "missing_row");
    bad.rows.remove(1);
    destination.write(&[bad]).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape|∅", "2|vespa|∅", "3|bajaj|∅"]);
}

pub(crate) async fn a_table_that_is_gone_holds(database: &dyn Database) {
    if !database.can(Ability::Drop) {
        return;
    }
    let (mut destination, plan) = begin(database).await;
    let row = [plan.texts(Op::Upsert, &["id", "name"], &[&["1", "ape"]])];
    destination.write(&row).await.unwrap();
    database.drop_table("cars").await;
    let outcome = destination.write(&row).await;
    assert!(matches!(outcome, Err(WriteError::Hold(_))), "{outcome:?}");
    database.create(&cars()).await;
    destination.write(&row).await.unwrap();
}

/// Two nodes with overlapping keys, in opposite orders: whoever is told to try again does, and is through at last.
pub(crate) async fn two_writers_of_the_same_rows_both_come_through(database: &dyn Database) {
    let (mut one, plan) = begin(database).await;
    let mut two = database.open();
    let rows = |name: &str, ids: &mut dyn Iterator<Item = u32>| {
        let rows = ids.map(|id| vec![text(&id.to_string()), text(name)]).collect();
        [plan.statement(Op::Upsert, &["id", "name"], rows)]
    };
    let (up, down) = (rows("up", &mut (0..300)), rows("down", &mut (0..300).rev()));
    let write = async |destination: &mut dyn Destination, statements: &[_]| {
        for _ in 0..20 {
            for attempt in 0.. {
                match destination.write(statements).await {
                    Ok(_) => break,
                    Err(WriteError::Retry(fault)) => assert!(attempt < 50, "{fault}"),
                    Err(other) => panic!("not a thing to try again: {other}"),
                }
            }
        }
    };
    tokio::join!(write(one.as_mut(), &up), write(two.as_mut(), &down));
    assert_eq!(contents(database, &cars()).await.len(), 300);
}
