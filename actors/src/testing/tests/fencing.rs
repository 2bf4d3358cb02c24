//! Who may write a lane, from where to where; and the dead letters that are passed on the way.

use super::*;
use crate::transaction::Supersede;

/// A database with a table `cars(id, name)`.
fn cars() -> (MemoryDatabase, MemoryDestination, Arc<TablePlan>) {
    let (database, destination) = taken();
    database.add_table(MemoryTable::of_text("cars", &["id"], &["id", "name"]));
    let plan = plan(&database, "cars", &["id"]);
    (database, destination, plan)
}

fn insert(plan: &Arc<TablePlan>, key: &str) -> Vec<Statement> {
    vec![statement(plan, Op::Insert, &["id"], &[&[key]])]
}

#[test]
fn only_the_owner_writes_and_only_from_where_the_row_stands() {
    let (database, mut destination, plan) = cars();
    let good = transaction(0, 5, insert(&plan, "1"));
    let spoilt = |spoil: fn(&mut Fence)| {
        let mut transaction = good.clone();
        spoil(&mut transaction.fence);
        transaction
    };
    for other in [
        spoilt(|fence| fence.owner = "two".into()),
        spoilt(|fence| fence.previous = id(1)),
        spoilt(|fence| fence.generation = Generation::new("gen2")),
        spoilt(|fence| fence.lane.stream = "shop".into()),
        spoilt(|fence| fence.lane.part = "cars".into()),
    ] {
        assert_eq!(answer(destination.commit(&other)), Err(WriteError::Fenced), "{:?}", other.fence);
    }
    assert!(shown(&database, "cars").is_empty());
    assert!(answer(destination.commit(&good)).unwrap().exhumed, "there was nothing to miss");
    let row = answer(destination.watermark(&lane("app"), &generation())).unwrap().unwrap();
    assert_eq!((row.last_id, row.owner.as_str(), row.epoch), (id(5), "one", 1));
    assert_eq!(answer(destination.commit(&good)), Err(WriteError::Fenced), "a second delivery");
    assert_eq!(shown(&database, "cars").len(), 1);
}

#[test]
fn a_take_over_raises_the_epoch_of_every_lane_and_shuts_the_other_out() {
    let (database, mut zombie, plan) = cars();
    answer(zombie.begin_lane(&lane("shop"), &generation(), "one", id(3))).unwrap();
    let mut successor = database.open();
    let found = answer(successor.take_over("inst", "dest", "two")).unwrap();
    assert_eq!(found.rows, database.watermarks());
    assert!(found.rows.iter().all(|row| row.epoch == 2 && row.owner == "two"));
    assert_eq!(found.rows.iter().map(|row| row.last_id).collect::<Vec<_>>(), [StreamId::ZERO, id(3)]);
    assert_eq!(answer(zombie.commit(&transaction(0, 1, insert(&plan, "1")))), Err(WriteError::Fenced));
    let late = answer(zombie.begin_lane(&lane("late"), &generation(), "one", StreamId::ZERO));
    assert_eq!(late, Err(WriteError::Fenced));

    let mut mine = transaction(0, 1, insert(&plan, "1"));
    mine.fence.owner = "two".into();
    answer(successor.commit(&mine)).unwrap();
}

#[test]
fn another_destination_in_the_same_database_is_left_alone() {
    let (database, mut destination, _) = cars();
    let other = answer(database.open().take_over("inst", "dest2", "two")).unwrap();
    let mine = answer(destination.take_over("inst", "dest", "three")).unwrap();
    assert!(other.rows.is_empty());
    assert_ne!(other.bind, mine.bind);
    assert_eq!(answer(database.open().take_over("inst", "dest", "four")).unwrap().bind, mine.bind, "it stays");
    assert_ne!(answer(MemoryDatabase::new().open().take_over("inst", "dest", "x")).unwrap().bind, mine.bind);
}

#[test]
fn a_lane_is_begun_once_with_the_epoch_of_its_siblings() {
    let (database, mut destination, _) = cars();
    answer(destination.take_over("inst", "dest", "two")).unwrap();
    let begin = answer(destination.begin_lane(&lane("app"), &generation(), "two", id(9)));
    assert_eq!(begin, Err(WriteError::Fenced), "the row is there");
    answer(destination.begin_lane(&lane("app"), &Generation::new("gen2"), "two", id(9))).unwrap();
    let rows: Vec<_> = database.watermarks().into_iter().map(|row| (row.generation, row.epoch, row.last_id)).collect();
    assert_eq!(rows, [(generation(), 2, StreamId::ZERO), (Generation::new("gen2"), 2, id(9))]);
}

#[test]
fn a_dead_letter_is_buried_superseded_and_told_to_the_next_owner() {
    let (database, mut destination, plan) = cars();
    let mut first = transaction(0, 3, vec![]);
    first.bury = vec![dead_row(1, "7"), dead_row(2, "8")];
    answer(destination.commit(&first)).unwrap();

    // Messages 4 and 5 are of key 7: one is dead, the next one is written.
    let mut second = transaction(3, 5, insert(&plan, "7"));
    second.bury = vec![dead_row(4, "7")];
    second.supersede = vec![Supersede { table: "cars".into(), key: "7".into(), by: id(5) }];
    answer(destination.commit(&second)).unwrap();
    // A still later one does not change what made the first obsolete; to the one given up just then it is the first.
    let mut third = transaction(5, 6, vec![]);
    third.supersede = vec![
        Supersede { table: "cars".into(), key: "7".into(), by: id(6) },
        Supersede { table: "vans".into(), key: "8".into(), by: id(6) },
    ];
    answer(destination.commit(&third)).unwrap();

    let found = answer(destination.take_over("inst", "dest", "two")).unwrap();
    let facts: Vec<_> = found.dead.iter().map(|(lane, row)| (lane.as_str(), row.dead.id, row.superseded_by)).collect();
    let lane = "inst/dest/app/main";
    assert_eq!(facts, [(lane, id(1), Some(id(5))), (lane, id(2), None), (lane, id(4), Some(id(6)))]);
    assert_eq!(found.dead, database.dead());
}

#[test]
fn a_redrive_takes_the_dead_row_back_or_writes_nothing() {
    let (database, mut destination, plan) = cars();
    let mut bury = transaction(0, 3, vec![]);
    bury.bury = vec![dead_row(1, "7")];
    answer(destination.commit(&bury)).unwrap();

    let mut redrive = transaction(3, 3, insert(&plan, "7"));
    redrive.exhume = Some(dead(1));
    let committed = answer(destination.commit(&redrive)).unwrap();
    assert!(committed.exhumed);
    assert_eq!((shown(&database, "cars"), database.dead().len()), (vec!["7|∅".to_owned()], 0));
    assert_eq!(database.watermarks()[0].last_id, id(3));

    let mut again = transaction(3, 3, insert(&plan, "8"));
    again.exhume = Some(dead(1));
    assert!(!answer(destination.commit(&again)).unwrap().exhumed);
    assert_eq!(shown(&database, "cars").len(), 1, "nothing is written where there is no dead row");
    assert_eq!(database.journal().len(), 2);
}

#[test]
fn a_redrive_that_is_rejected_leaves_the_dead_row() {
    let (database, mut destination, plan) = cars();
    let mut bury = transaction(0, 3, insert(&plan, "7"));
    bury.bury = vec![dead_row(1, "7")];
    answer(destination.commit(&bury)).unwrap();
    let mut redrive = transaction(3, 3, insert(&plan, "7"));
    redrive.exhume = Some(dead(1));
    assert_eq!(rejected(answer(destination.commit(&redrive))).2, "unique");
    assert_eq!(database.dead().len(), 1);
}

#[test]
fn a_restored_database_stands_where_its_backup_did() {
    let (database, mut destination, plan) = cars();
    answer(destination.commit(&transaction(0, 1, insert(&plan, "1")))).unwrap();
    let backup = database.backup();
    answer(destination.commit(&transaction(1, 2, insert(&plan, "2")))).unwrap();
    database.restore(&backup);
    assert_eq!(shown(&database, "cars").len(), 1);
    assert_eq!(database.watermarks()[0].last_id, id(1));
    assert_eq!(answer(destination.commit(&transaction(2, 3, insert(&plan, "3")))), Err(WriteError::Fenced));
    answer(destination.commit(&transaction(1, 2, insert(&plan, "2")))).unwrap();
    assert_eq!(database.journal().len(), 3, "the journal is the test's own");
}
