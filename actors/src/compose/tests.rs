#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    message::Action,
    ports::{Destination as _, WriteError},
    schema::{ColumnSchema, ColumnType, TableSchema},
    testing::{MemoryDatabase, MemoryTable},
    transaction::Op,
};

fn table(name: &str, columns: &[&str], unique: &[&str]) -> TableSchema {
    let column = |name: &&str| ColumnSchema {
        name: (*name).into(),
        declared: "something".into(),
        kind: match *name {
            "note" | "sku" => ColumnType::Text { max_chars: None, max_bytes: None, nul: true },
            _ => ColumnType::Int { min: i32::MIN.into(), max: i32::MAX.into() },
        },
        nullable: !unique.contains(name),
        has_default: false,
        default: None,
        generated: false,
    };
    TableSchema {
        schema: String::new(),
        name: name.into(),
        columns: columns.iter().map(column).collect(),
        unique_keys: vec![unique.iter().map(|name| (*name).into()).collect()],
    }
}

fn orders() -> TableSchema {
    table("orders", &["no", "seen", "note"], &["no"])
}

fn lines() -> TableSchema {
    table("lines", &["order", "line", "sku"], &["order", "line"])
}

/// Orders and their lines, which refer to them.
fn database() -> MemoryDatabase {
    let database = MemoryDatabase::new();
    database.add_table(MemoryTable::new(orders()));
    database.add_table(MemoryTable::new(lines()).references("order", "orders", "no"));
    database
}

/// One route of orders into both tables, with these changes.
fn plans(changes: &Json) -> Plans {
    let mut route = json!({
        "id": "r1", "name": "shop-orders", "application": "shop", "topic": "orders", "destination": "rooms",
        "table": "orders", "key": ["no"], "columns": {"no": "no", "seen": "seen", "note": "note"},
        "children": [{"from": "lines", "table": "lines", "parent": {"order": "no"},
                      "columns": {"line": {"meta": "index"}, "sku": {"from": "sku"}}}],
    });
    route.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let route: RouteSpec = serde_json::from_value(route).unwrap();
    let mapping = Mapping::compile(&route, orders(), vec![lines()]).unwrap();
    Plans::new(vec![Plan { route: Arc::new(route), mapping, digest: String::new(), table: 0, read_at: Instant::now() }])
}

fn message(at: usize, action: Action, data: &Json) -> Message {
    Message {
        id: StreamId::new(1, at as u64),
        topic: "orders".into(),
        action,
        key: None,
        own_id: None,
        traceparent: None,
        data: data.to_string().into(),
    }
}

fn composed(messages: &[&Message], plans: &Plans) -> Composed {
    let piece = Piece {
        application: "shop",
        generation: &Generation::new("gen0"),
        messages,
        starts: &Starts::default(),
        refused: &BTreeMap::new(),
        dead: &DeadKeys::new(),
        fold: messages.len() > 1,
    };
    compose(&piece, plans)
}

/// Writes a piece; false where it was refused.
fn write(database: &MemoryDatabase, messages: &[&Message], plans: &Plans) -> bool {
    let statements = composed(messages, plans).statements;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(database.open().write(&statements)) {
        Ok(_) => true,
        Err(WriteError::Reject(_)) => false,
        Err(other) => panic!("{other:?}"),
    }
}

fn singly(database: &MemoryDatabase, messages: &[Message], plans: &Plans) {
    for message in messages {
        write(database, &[message], plans);
    }
}

fn contents(database: &MemoryDatabase) -> [Vec<Vec<Option<String>>>; 2] {
    ["orders", "lines"].map(|table| {
        let mut rows = database.texts(table);
        rows.sort();
        rows
    })
}

#[test]
fn children_are_cleared_with_what_goes_and_written_after_what_stays() {
    let plans = plans(&json!({}));
    let messages = [
        message(0, Action::Delete, &json!({"no": 1})),
        message(1, Action::Upsert, &json!({"no": 2, "note": "a", "lines": [{"sku": "x"}, {"sku": "y"}]})),
        message(2, Action::Upsert, &json!({"no": 3, "note": "b"})),
        message(3, Action::Upsert, &json!({"no": 4, "note": "c", "lines": []})),
    ];
    let composed = composed(&messages.iter().collect::<Vec<_>>(), &plans);
    let shown = composed
        .statements
        .iter()
        .map(|statement| (statement.plan.table.name.as_str(), statement.op, statement.rows.len()));
    let shown: Vec<_> = shown.collect();
    assert_eq!(
        shown,
        [
            ("lines", Op::Clear, 1),
            ("orders", Op::Delete, 1),
            ("orders", Op::Upsert, 3),
            ("lines", Op::Clear, 2),
            ("lines", Op::Insert, 2),
        ]
    );
    assert!(composed.statements.iter().all(|statement| statement.parents.is_empty()));
    // What is cleared stands for no message: four orders and two lines.
    assert_eq!(composed.rows(), 6);
    assert_eq!(composed.sources[4], [(vec![1], 0), (vec![1], 0)]);
    assert_eq!(composed.rows_written(&[(0, 0), (1, 0)]), 5);
    assert_eq!(composed.untouched_messages(&[(0, 0), (1, 0), (4, 1)]).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_guarded_delete_is_known_to_happen_before_its_children_go() {
    let plans = plans(&json!({"version_column": "seen"}));
    let messages = [
        message(0, Action::Upsert, &json!({"no": 1, "seen": 5, "lines": [{"sku": "x"}]})),
        message(1, Action::Delete, &json!({"no": 1, "seen": 4})),
        message(2, Action::Upsert, &json!({"no": 1, "seen": 3, "lines": []})),
    ];
    let database = database();
    assert!(write(&database, &messages.iter().collect::<Vec<_>>(), &plans));
    assert_eq!(contents(&database).map(|rows| rows.len()), [1, 1]);
    assert!(write(&database, &[&message(3, Action::Delete, &json!({"no": 1, "seen": 6}))], &plans));
    assert_eq!(contents(&database).map(|rows| rows.len()), [0, 0]);
}

fn routes() -> impl Strategy<Value = Json> {
    proptest::sample::select(vec![
        json!({}),
        json!({"on_missing": "ignore"}),
        json!({"on_missing": "insert"}),
        json!({"on_existing": "ignore"}),
        json!({"on_existing": "update"}),
        json!({"version_column": "seen"}),
        json!({"version_column": "seen", "on_missing": "ignore"}),
        json!({"every_change": true}),
    ])
}

/// Action, number, and where they are there: what it was seen at, its note, how many lines.
type Said = (u8, u8, Option<u8>, Option<u8>, Option<u8>);

fn messages() -> impl Strategy<Value = Vec<Said>> {
    let change = (0_u8..4, 0_u8..3, option(4), option(3), option(3));
    proptest::collection::vec(change, 1..12)
}

fn option(below: u8) -> impl Strategy<Value = Option<u8>> {
    proptest::option::of(0..below)
}

proptest! {
    /// Whole pieces, folded, against their messages one by one; a piece that is refused is done singly, as delivery does.
    #[test]
    fn a_piece_with_children_comes_to_what_its_messages_come_to_singly(route in routes(), changes in messages()) {
        let plans = plans(&route);
        let of = |(at, (action, no, seen, note, lines)): (usize, Said)| {
            let action = [Action::Insert, Action::Upsert, Action::Update, Action::Delete][usize::from(action)];
            let mut data = json!({"no": no});
            if let Some(seen) = seen {
                data["seen"] = seen.into();
            }
            if let Some(note) = note.filter(|_| action != Action::Delete) {
                data["note"] = format!("{note} of {at}").into();
            }
            if let Some(lines) = lines.filter(|_| action != Action::Delete) {
                data["lines"] = (0..lines).map(|line| json!({"sku": format!("{line} of {at}")})).collect();
            }
            message(at, action, &data)
        };
        let messages: Vec<_> = changes.into_iter().enumerate().map(of).collect();
        let (together, apart) = (database(), database());
        if !write(&together, &messages.iter().collect::<Vec<_>>(), &plans) {
            singly(&together, &messages, &plans);
        }
        singly(&apart, &messages, &plans);
        prop_assert_eq!(contents(&together), contents(&apart));
    }
}

/// What was mapped ahead comes to the same, wherever in the batch the piece begins, and a second time, when its rows are gone.
#[test]
fn what_was_mapped_ahead_is_composed_alike() {
    let plans = Arc::new(plans(&json!({})));
    let records = (0..300).map(|no| match no % 7 {
        3 => message(no, Action::Upsert, &json!({"no": "none", "note": "x"})),
        5 => message(no, Action::Delete, &json!({"no": no - 1})),
        _ => message(no, Action::Upsert, &json!({"no": no, "seen": no % 3, "lines": [{"sku": "a"}]})),
    });
    let records: Vec<Message> = records.collect();
    let generation = Generation::new("gen0");
    let lane = crate::transaction::LaneId {
        installation: "i".into(),
        destination: "d".into(),
        stream: "shop".into(),
        part: "main".into(),
    };
    let entries = records.iter().cloned().map(Arc::new).map(crate::ports::Entry::Message).collect();
    let batch = crate::ports::Batch { lane, after: StreamId::ZERO, entries };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let of = |starts| AheadOf { plans: Arc::clone(&plans), generation: generation.clone(), starts, encoder: None };
    let mut ahead = runtime.block_on(MappedAhead::map(of(None), &batch));
    for (from, other_plans, left) in
        [(0, false, 170), (0, false, 170), (120, false, 50), (200, true, 50), (250, false, 0)]
    {
        let messages: Vec<&Message> = records[from..(from + 130).min(records.len())].iter().collect();
        let piece = Piece {
            application: "shop",
            generation: &generation,
            messages: &messages,
            starts: &Starts::default(),
            refused: &BTreeMap::new(),
            dead: &DeadKeys::new(),
            fold: true,
        };
        let others = self::plans(&json!({"columns": {"no": "no", "note": "note"}}));
        let plans = if other_plans { &others } else { &*plans };
        let alone = format!("{:?}", compose(&piece, plans));
        assert_eq!(format!("{:?}", compose_with(&piece, &BTreeMap::new(), plans, Some(&mut ahead))), alone);
        assert_eq!(ahead.left(), left);
    }
    // The whole batch, composed ahead: once, and only where it begins as it did then.
    let messages: Vec<&Message> = records.iter().collect();
    let begins = Starts { begin: [("r1".to_owned(), Begin::After(StreamId::new(1, 40)))].into() };
    for (starts, there) in [(Starts::default(), true), (begins, false)] {
        let mut ahead = runtime.block_on(MappedAhead::map(of(Some(Starts::default())), &batch));
        let (refused, dead) = (BTreeMap::new(), DeadKeys::new());
        let piece = Piece {
            application: "shop",
            generation: &generation,
            messages: &messages,
            starts: &starts,
            refused: &refused,
            dead: &dead,
            fold: true,
        };
        let shorter = Piece { messages: &messages[..299], ..piece };
        assert!(ahead.composed(&shorter, &plans).is_none());
        let alone = format!("{:?}", compose(&piece, &plans));
        let composed = ahead.composed(&piece, &plans);
        assert_eq!(composed.is_some(), there);
        assert!(composed.is_none_or(|composed| format!("{composed:?}") == alone));
        assert!(ahead.composed(&piece, &plans).is_none());
        assert_eq!(format!("{:?}", compose_with(&piece, &BTreeMap::new(), &plans, Some(&mut ahead))), alone);
    }
}
