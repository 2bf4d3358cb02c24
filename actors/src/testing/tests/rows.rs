//! What each operation does to rows that are there, or not.

use proptest::prelude::*;

use super::*;

/// `cars(id primary key, plate unique, name)` with one row.
fn cars() -> (MemoryDatabase, MemoryDestination, Arc<TablePlan>) {
    let (database, mut destination) = taken();
    database.add_table(MemoryTable::of_text("cars", &["id"], &["id", "plate", "name"]).unique(&["plate"]));
    let plan = plan(&database, "cars", &["id"]);
    let insert = statement(&plan, Op::Insert, &["id", "plate", "name"], &[&["1", "B1", "red"]]);
    answer(destination.commit(&transaction(0, 1, vec![insert]))).unwrap();
    (database, destination, plan)
}

/// The operation, its columns, the row, and the table afterwards or the code of the rejection.
type Case<'a> = (Op, &'a [&'a str], &'a [&'a str], Result<&'a [&'a str], String>);

#[test]
fn each_operation_has_its_outcome() {
    use Op::{Delete, Insert, Replace, Update, Upsert};
    let all = ["id", "plate", "name"];
    let refused = |code: &str| Err(code.to_owned());
    let table: Vec<Case> = vec![
        (Insert, &all, &["2", "B2", "blue"], Ok(&["1|B1|red", "2|B2|blue"])),
        (Insert, &["id"], &["2"], Ok(&["1|B1|red", "2|∅|∅"])),
        (Insert, &all, &["1", "B2", "blue"], refused("unique")),
        (Insert, &all, &["2", "B1", "blue"], refused("unique")),
        (Insert, &all, &["∅", "B2", "blue"], refused("not_null")),
        (Insert, &["name"], &["blue"], refused("not_null")),
        (Upsert, &all, &["2", "B2", "blue"], Ok(&["1|B1|red", "2|B2|blue"])),
        (Upsert, &all, &["1", "B2", "blue"], Ok(&["1|B2|blue"])),
        (Upsert, &["id", "name"], &["1", "∅"], Ok(&["1|B1|∅"])),
        (Upsert, &["id"], &["1"], Ok(&["1|B1|red"])),
        // Never matches another unique key than the route's.
        (Upsert, &all, &["2", "B1", "blue"], refused("unique")),
        (Update, &["id", "name"], &["1", "blue"], Ok(&["1|B1|blue"])),
        (Update, &["id", "name"], &["1", "red"], Ok(&["1|B1|red"])),
        (Update, &["id"], &["1"], Ok(&["1|B1|red"])),
        (Update, &["id", "name"], &["2", "blue"], refused("missing_row")),
        (Update, &["id", "name"], &["∅", "blue"], refused("missing_row")),
        (Delete, &["id"], &["1"], Ok(&[])),
        (Delete, &["id"], &["2"], Ok(&["1|B1|red"])),
        // What the record does not speak of has the column's default again.
        (Replace, &["id", "name"], &["1", "blue"], Ok(&["1|∅|blue"])),
        (Replace, &all, &["2", "B2", "blue"], Ok(&["1|B1|red", "2|B2|blue"])),
        (Replace, &all, &["2", "B1", "blue"], refused("unique")),
    ];
    for (op, columns, row, outcome) in table {
        let (database, mut destination, plan) = cars();
        let written = statement(&plan, op, columns, &[row]);
        let result = answer(destination.commit(&transaction(1, 2, vec![written])));
        let what = format!("{op:?} {columns:?} {row:?}");
        match outcome {
            Ok(rows) => {
                result.expect(&what);
                assert_eq!(shown(&database, "cars"), rows, "{what}");
            }
            Err(code) => {
                assert_eq!(rejected(result).2, code, "{what}");
                assert_eq!(shown(&database, "cars"), ["1|B1|red"], "{what}");
            }
        }
    }
}

#[test]
fn rows_that_touch_nothing_are_reported_or_rejected_by_their_place() {
    let (_, mut destination, plan) = cars();
    let first = statement(&plan, Op::Upsert, &["id", "name"], &[&["2", "blue"]]);
    let mut second = statement(&plan, Op::Update, &["id", "name"], &[&["2", "black"], &["9", "x"], &["8", "y"]]);
    second.must_touch = false;
    let third = statement(&plan, Op::Delete, &["id"], &[&["7"], &["2"]]);
    let committed = answer(destination.commit(&transaction(1, 2, vec![first, second.clone(), third.clone()])));
    assert_eq!(committed.unwrap().untouched, [(1, 1), (1, 2), (2, 0)]);

    let mut must = third;
    must.must_touch = true;
    second.rows.truncate(1);
    second.rows[0][0] = text("1");
    let result = answer(destination.commit(&transaction(2, 3, vec![second, must])));
    assert_eq!(rejected(result), (1, 0, "missing_row".into(), None));
}

#[test]
fn a_bad_row_takes_everything_with_it() {
    let (database, mut destination, plan) = cars();
    let good = statement(&plan, Op::Upsert, &["id", "name"], &[&["1", "blue"], &["2", "black"]]);
    let gone = statement(&plan, Op::Delete, &["id"], &[&["1"]]);
    let bad = statement(&plan, Op::Insert, &["id", "name"], &[&["3", "x"], &["2", "y"]]);
    let mut whole = transaction(1, 2, vec![good, gone, bad]);
    whole.bury = vec![dead_row(2, "9")];
    assert_eq!(rejected(answer(destination.commit(&whole))), (2, 1, "unique".into(), Some("id".into())));
    assert_eq!(shown(&database, "cars"), ["1|B1|red"]);
    assert_eq!(database.watermarks()[0].last_id, id(1));
    assert!(database.dead().is_empty());
    assert_eq!(database.journal().len(), 1);
    // The keys that were taken back are free again.
    let again = statement(&plan, Op::Insert, &["id", "name"], &[&["2", "black"]]);
    answer(destination.commit(&transaction(1, 2, vec![again]))).unwrap();
}

#[test]
fn defaults_counters_and_computed_columns_are_the_tables_own() {
    let (database, mut destination) = taken();
    let twice = |row: &[Cell]| match &row[1] {
        Cell::Text(stock) => Cell::Text((stock.parse::<i64>().unwrap() * 2).to_string().into()),
        _ => Cell::Null,
    };
    database.add_table(
        MemoryTable::of_text("cars", &["id"], &["id", "stock", "twice"])
            .counter("id")
            .default_value("stock", text("5"))
            .computed("twice", twice),
    );
    let plan = plan(&database, "cars", &["id"]);
    assert_eq!(plan.columns, [0, 1], "a computed column cannot be written");
    assert!(plan.table.columns[0].has_default && plan.table.columns[2].generated);
    let one = statement(&plan, Op::Insert, &["stock"], &[&["∅"], &["4"]]);
    let two = statement(&plan, Op::Insert, &[], &[&[]]);
    let three = statement(&plan, Op::Update, &["id", "stock"], &[&["2", "7"]]);
    answer(destination.commit(&transaction(0, 1, vec![one, two, three]))).unwrap();
    assert_eq!(shown(&database, "cars"), ["1|∅|∅", "2|7|14", "3|5|10"]);
}

#[test]
fn checks_and_foreign_keys_reject_with_their_column() {
    let (database, mut destination) = taken();
    let positive = |row: &[Cell]| !matches!(&row[1], Cell::Text(stock) if stock.starts_with('-'));
    database.add_table(MemoryTable::of_text("cars", &["id"], &["id", "stock"]).check("stock", positive));
    database.add_table(MemoryTable::of_text("sales", &["id"], &["id", "car"]).references("car", "cars", "id"));
    let (cars, sales) = (plan(&database, "cars", &["id"]), plan(&database, "sales", &["id"]));
    let car = statement(&cars, Op::Insert, &["id", "stock"], &[&["1", "3"]]);
    let negative = statement(&cars, Op::Upsert, &["id", "stock"], &[&["1", "-3"]]);
    let sale = statement(&sales, Op::Insert, &["id", "car"], &[&["1", "1"], &["2", "∅"]]);
    let orphan = statement(&sales, Op::Insert, &["id", "car"], &[&["3", "9"]]);
    let scrap = statement(&cars, Op::Delete, &["id"], &[&["1"]]);
    let sold_off = statement(&sales, Op::Delete, &["id"], &[&["1"]]);
    let mut commit =
        |previous, statements| answer(destination.commit(&transaction(previous, previous + 1, statements)));
    commit(0, vec![car, sale]).unwrap();
    assert_eq!(rejected(commit(1, vec![negative])), (0, 0, "check".into(), Some("stock".into())));
    assert_eq!(rejected(commit(1, vec![orphan])), (0, 0, "foreign_key".into(), Some("car".into())));
    assert_eq!(rejected(commit(1, vec![scrap.clone()])), (0, 0, "foreign_key".into(), Some("id".into())));
    commit(1, vec![sold_off, scrap]).unwrap();
}

#[test]
fn a_value_that_does_not_fit_its_column_is_rejected() {
    use crate::schema::ColumnType::{Bool, Decimal, Enum, Int, Text};
    let (database, mut destination) = taken();
    let text = |max_chars, max_bytes| Text { max_chars, max_bytes, nul: false };
    let enumeration = Enum { values: vec!["new".into()] };
    let decimal = Decimal { precision: Some(6), scale: Some(2) };
    for (kind, fits, too_much, code) in [
        (Int { min: -5, max: 5 }, "-5", "6", "range"),
        (Int { min: -5, max: 5 }, "5", "five", "type"),
        (decimal.clone(), "-9999.99", "10000", "range"),
        (decimal, "0001.5", "1e3", "type"),
        (text(Some(3), None), "車車車", "cars", "too_long"),
        (text(None, Some(3)), "car", "車車", "too_long"),
        (Bool, "true", "yes", "type"),
        (enumeration, "new", "old", "type"),
    ] {
        database.add_table(MemoryTable::of("cars", &[], &[("value", kind.clone())]));
        let plan = plan(&database, "cars", &[]);
        let at = database.watermarks()[0].last_id.seq;
        let rows = |value| transaction(at, at + 1, vec![statement(&plan, Op::Insert, &["value"], &[&["∅"], &[value]])]);
        let refused = rejected(answer(destination.commit(&rows(too_much))));
        assert_eq!(refused, (0, 1, code.into(), Some("value".into())), "{kind:?} {too_much}");
        answer(destination.commit(&rows(fits))).unwrap();
    }
}

#[test]
fn a_key_may_be_named_in_another_order_than_the_tables() {
    let (database, mut destination) = taken();
    database.add_table(MemoryTable::of_text("rooms", &["branch", "no"], &["branch", "no", "name"]));
    let plan = plan(&database, "rooms", &["no", "branch"]);
    let insert = statement(&plan, Op::Upsert, &["branch", "no", "name"], &[&["1", "2", "a"], &["2", "1", "b"]]);
    let update = statement(&plan, Op::Update, &["name", "no", "branch"], &[&["A", "2", "1"]]);
    answer(destination.commit(&transaction(0, 1, vec![insert, update]))).unwrap();
    assert_eq!(shown(&database, "rooms"), ["1|2|A", "2|1|b"]);
}

#[derive(Clone, Debug)]
struct Step(Op, u8, u8);

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let op = prop_oneof![Just(Op::Insert), Just(Op::Upsert), Just(Op::Update), Just(Op::Delete), Just(Op::Replace)];
    let step = (op, 0u8..4, 0u8..4).prop_map(|(op, key, value)| Step(op, key, value));
    proptest::collection::vec(proptest::collection::vec(step, 0..5), 0..12)
}

proptest! {
    /// Against a map that is copied before each transaction.
    #[test]
    fn transactions_are_all_or_nothing(transactions in steps()) {
        let (database, mut destination) = taken();
        database.add_table(MemoryTable::of_text("cars", &["id"], &["id", "name"]).unique(&["name"]));
        let plan = plan(&database, "cars", &["id"]);
        let mut model: BTreeMap<u8, u8> = BTreeMap::new();
        let mut at = 0;
        for steps in transactions {
            let mut after = Some(model.clone());
            let mut statements = Vec::new();
            for Step(op, key, value) in &steps {
                let (key_text, value_text) = (key.to_string(), value.to_string());
                let columns: &[&str] = if *op == Op::Delete { &["id"] } else { &["id", "name"] };
                let row: &[&str] = if *op == Op::Delete { &[&key_text] } else { &[&key_text, &value_text] };
                statements.push(statement(&plan, *op, columns, &[row]));
                after = after.and_then(|mut rows| {
                    let there = rows.contains_key(key);
                    let taken = rows.iter().any(|(other, name)| other != key && name == value);
                    match op {
                        Op::Insert if there => return None,
                        Op::Update if !there => return None,
                        Op::Delete => { rows.remove(key); }
                        _ if taken => return None,
                        _ => { rows.insert(*key, *value); }
                    }
                    Some(rows)
                });
            }
            let result = answer(destination.commit(&transaction(at, at + 1, statements)));
            prop_assert_eq!(result.is_ok(), after.is_some(), "{:?}", result);
            if let Some(after) = after {
                model = after;
                at += 1;
            }
            let expected: Vec<String> = model.iter().map(|(key, value)| format!("{key}|{value}")).collect();
            prop_assert_eq!(shown(&database, "cars"), expected);
        }
    }
}
