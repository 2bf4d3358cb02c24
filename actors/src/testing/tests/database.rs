//! The catalogue, and what becomes of a writer whose table changes under it.

use super::*;

fn held<T: std::fmt::Debug>(result: Result<T, WriteError>) -> String {
    match result {
        Err(WriteError::Hold(fault)) => fault.message,
        other => panic!("not held: {other:?}"),
    }
}

#[test]
fn a_table_is_found_by_its_name_with_or_without_its_schema() {
    let database = MemoryDatabase::new();
    let mut schema = MemoryTable::of_text("cars", &["id"], &["id"]).schema().clone();
    schema.schema = "stock".into();
    database.add_table(MemoryTable::new(schema.clone()));
    for name in ["cars", "stock.cars"] {
        assert_eq!(answer(database.open().table(name)), Ok(schema.clone()));
    }
    let message = held(answer(database.open().table("stock.car")));
    assert_eq!(message, "there is no table `stock.car`; did you mean `stock.cars`?");
    assert_eq!(held(answer(MemoryDatabase::new().open().table("cars"))), "there is no table `cars`");
}

#[test]
fn a_table_or_column_that_goes_away_holds_and_comes_back() {
    let (database, mut destination) = taken();
    database.add_table(MemoryTable::of_text("cars", &["id"], &["a", "id", "name"]));
    let plan = plan(&database, "cars", &["id"]);
    let write = |previous, key| {
        transaction(previous, previous + 1, vec![statement(&plan, Op::Upsert, &["id", "name"], &[&[key, "red"]])])
    };
    answer(destination.commit(&write(0, "1"))).unwrap();
    let table = database.drop_table("cars").unwrap();
    assert!(held(answer(destination.commit(&write(1, "2")))).contains("table `cars` is gone"));
    database.add_table(table);
    answer(destination.commit(&write(1, "2"))).unwrap();
    database.drop_column("cars", "a");
    assert_eq!(shown(&database, "cars"), ["1|red", "2|red"]);
    answer(destination.commit(&write(2, "2"))).unwrap();
    database.drop_column("cars", "name");
    assert!(held(answer(destination.commit(&write(3, "3")))).contains("no column `name`"));
    assert_eq!(answer(database.open().table("cars")).unwrap().unique_keys, [["id"]]);
    assert_eq!(database.watermarks()[0].last_id, id(3));
}

#[test]
fn the_journal_tells_what_was_committed_in_order() {
    let (database, mut destination) = taken();
    for step in 0..3 {
        answer(destination.commit(&transaction(step, step + 1, vec![]))).unwrap();
    }
    let places: Vec<_> = database.journal().iter().map(|entry| entry.transaction.fence.new).collect();
    assert_eq!(places, [id(1), id(2), id(3)]);
}

#[test]
fn a_world_gives_each_destination_its_database() {
    use crate::route::DestinationSpec;
    let world = MemoryWorld::new();
    let spec = |id: &str| DestinationSpec {
        id: id.into(),
        name: id.into(),
        revision: 1,
        mode: Default::default(),
        node: None,
        by_hand: Default::default(),
        routes: vec![],
    };
    world.database("a").add_table(MemoryTable::of_text("cars", &["id"], &["id"]));
    assert!(answer(world.destination(&spec("a")).table("cars")).is_ok());
    assert!(answer(world.destination(&spec("b")).table("cars")).is_err());
    world.point("b", world.database("a"));
    assert!(answer(world.destination(&spec("b")).table("cars")).is_ok());
    // Everything may be made on another thread than the test's.
    let remote = world.clone();
    std::thread::spawn(move || answer(remote.log(&spec("a")).view(&lane("app"))).unwrap()).join().unwrap();
    assert_eq!(world.streams().calls(LogCall::View), 1);
}
