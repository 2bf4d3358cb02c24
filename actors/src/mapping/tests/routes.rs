//! Arbitrary routes with arbitrary records: nothing panics, the same record always comes to the same, and no refusal repeats
//! what stands in a record.

use proptest::{collection::vec, option::of as maybe, prelude::*, sample::select};

use super::*;
use crate::{
    cast::tests::properties::any_json,
    mapping::fields::{FieldTable, Slot},
};

/// No record says it by chance, and no route or table does.
const SECRET: &str = "hunter2";

const NAMES: [&str; 6] = ["id", "a", "b", "c", "lines", "x y"];

/// Records with the names that routes speak of, deep and wide, with names that stand twice and texts that must not be told.
fn any_record() -> impl Strategy<Value = String> {
    let secret = prop_oneof![
        Just(format!("\"{SECRET}\"")),
        Just(format!("\"{SECRET}{}\"", "é".repeat(40))),
        Just(format!("\"\\u0000{SECRET}\"")),
        Just(format!("\"{SECRET}\\ud800\"")),
    ];
    let leaf = prop_oneof![2 => secret, 3 => any_json(), 2 => (0_u32..5).prop_map(|number| number.to_string())];
    let value = leaf.prop_recursive(4, 40, 5, |inner| {
        let member = (select(&NAMES[..]), inner.clone()).prop_map(|(name, value)| format!("\"{name}\" : {value}"));
        prop_oneof![
            3 => vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
            2 => vec(inner, 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,"))),
        ]
    });
    let joined = |members: Vec<(&str, String)>| {
        let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let lines = vec((any::<u8>(), "[a-c]{1,3}"), 0..4).prop_map(|lines| {
        let lines: Vec<_> =
            lines.iter().map(|(number, text)| format!("{{\"a\": {number}, \"b\": \"{text}{SECRET}\"}}")).collect();
        format!("[{}]", lines.join(","))
    });
    let id = prop_oneof![4 => (0_u32..5).prop_map(|number| number.to_string()), 1 => value.clone()];
    let tidy = (id, vec(maybe(value.clone()), 3), prop_oneof![2 => lines, 1 => value.clone()]).prop_map(
        move |(id, values, lines)| {
            let others = NAMES[1..4].iter().zip(values).filter_map(|(name, value)| Some((*name, value?)));
            joined([("id", id), ("lines", lines)].into_iter().chain(others).collect())
        },
    );
    let wild = vec((select(&NAMES[..]), value), 0..7).prop_map(joined);
    prop_oneof![8 => tidy, 2 => wild, 1 => any_json(), 1 => "\\PC{0,30}"]
}

fn any_path() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        4 => select(&NAMES[..]).prop_map(|name| Step::Name(name.into())),
        1 => (0_usize..3).prop_map(Step::Index),
    ];
    let steps = prop_oneof![3 => vec(step.clone(), 1), 2 => vec(step, 0..4)];
    steps.prop_map(|steps| {
        let path = steps.into_iter().fold(Path::default(), |path, step| match step {
            Step::Name(name) => path.name(&name),
            Step::Index(index) => path.index(index),
        });
        path.to_string()
    })
}

fn any_source() -> impl Strategy<Value = Json> {
    let rule = (
        any_path(),
        any::<bool>(),
        maybe(select(vec!["int", "text", "bool", "decimal", "json", "timestamp"])),
        vec(select(vec!["trim", "upper", "null_if_empty"]), 0..3),
        maybe(select(vec![json!(1), json!("x"), json!(null)])),
    )
        .prop_map(|(from, required, cast, clean, default)| {
            let mut rule = json!({"from": from, "required": required, "clean": clean});
            if let Some(cast) = cast {
                rule["as"] = json!(cast);
            }
            if let Some(default) = default {
                rule["default"] = default;
            }
            rule
        });
    prop_oneof![
        4 => any_path().prop_map(Json::from),
        4 => rule,
        1 => select(vec![json!(1), json!("k"), json!({"a": [1]})]).prop_map(|value| json!({"value": value})),
        2 => select(vec!["id", "application", "topic", "action", "key", "received", "index"]).prop_map(|meta| json!({"meta": meta})),
        1 => select(vec!["1 + 1", "data.a", "has(data.b) ? data.b : 1", "item.a", "key", "action + topic"]).prop_map(|text| json!({"expr": text})),
        1 => Just(json!({})),
    ]
}

fn any_columns() -> impl Strategy<Value = Json> {
    prop_oneof![
        1 => Just(json!("matching")),
        4 => (any::<bool>(), vec(maybe(any_source()), 6)).prop_map(|(plain, sources)| {
            let named = NAMES.iter().zip(sources).filter_map(|(name, source)| Some(((*name).to_owned(), source?)));
            let mut named: serde_json::Map<_, _> = named.collect();
            if plain {
                named.insert("id".into(), json!("id"));
            }
            Json::Object(named)
        }),
    ]
}

fn any_route() -> impl Strategy<Value = RouteSpec> {
    let child = (prop_oneof![Just("lines".to_owned()), any_path()], any_columns()).prop_map(
        |(from, columns)| json!({"from": from, "table": "lines", "parent": {"parent": "id"}, "columns": columns}),
    );
    let delete = prop_oneof![
        Just(json!("row")),
        Just(json!("ignore")),
        Just(json!({"column": "soft"})),
        Just(json!({"column": "soft", "value": "2025-06-01 00:00", "restore": "2024-01-01 00:00"})),
    ];
    (
        (any_columns(), select(vec![json!(["id"]), json!(["id", "b"]), json!([])])),
        select(vec!["reject", "ignore", "insert", "insert"]),
        select(vec!["by_action", "reject", "ignore", "update"]),
        select(vec!["ignore", "ignore", "ignore", "reject"]),
        delete,
        (
            proptest::option::weighted(0.1, select(vec!["data.a == 1", "action != 'delete'"])),
            proptest::option::weighted(0.15, Just("c")),
            vec(child, 0..2),
        ),
    )
        .prop_map(|((columns, key), on_missing, on_existing, unknown, delete, (filter, version, children))| {
            let mut spec = json!({
                "columns": columns, "key": key, "on_missing": on_missing, "on_existing": on_existing, "unknown_fields": unknown,
                "delete": delete, "children": children,
            });
            if let Some(filter) = filter {
                spec["filter"] = json!(filter);
            }
            if let Some(version) = version {
                spec["version_column"] = json!(version);
            }
            route(spec)
        })
}

fn table(kinds: &[ColumnType], own: &str, kind: ColumnType) -> TableSchema {
    let columns = NAMES.iter().zip(kinds).map(|(name, kind)| column(name, kind.clone()));
    let columns = columns.chain([ColumnSchema { has_default: true, ..not_null(column(own, kind)) }]).collect();
    TableSchema {
        name: own.into(),
        columns,
        unique_keys: vec![vec!["id".into()], vec!["id".into(), "b".into()]],
        ..cars()
    }
}

/// A soft delete's column that takes NULL.
fn parents(kinds: &[ColumnType]) -> TableSchema {
    let mut table = table(kinds, "soft", ColumnType::Timestamp { zone: true });
    table.columns.iter_mut().for_each(|column| column.nullable = column.name != "id");
    table
}

fn any_kinds() -> impl Strategy<Value = Vec<ColumnType>> {
    // Values of some kinds are refused more often than not; texts and JSON let more through.
    let kind =
        prop_oneof![select(every_kind()), Just(TEXT), Just(ColumnType::Json { nul: true }), Just(ColumnType::Other)];
    vec(kind, NAMES.len())
}

/// Whether this sentence has a piece of a record's texts. Names may be told: they are in `NAMES`.
fn tells(rejection: &Rejection) -> bool {
    rejection.message.contains(SECRET) || rejection.column.as_deref().is_some_and(|column| column.contains(SECRET))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn any_record_through_any_route(
        spec in any_route(),
        kinds in any_kinds(),
        child_kinds in any_kinds(),
        records in vec((any_record(), maybe(any_json()), select(&Action::ALL[..])), 8),
    ) {
        let children: Vec<_> = spec.children.iter().map(|_| table(&child_kinds, "parent", kinds[0].clone())).collect();
        let mapping = match Mapping::compile(&spec, parents(&kinds), children) {
            Ok(mapping) => mapping,
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                return Ok(());
            }
        };
        let generation = Generation::new("gen0");
        let whence = Whence { application: "car-app", generation: &generation };
        for (data, key, action) in records {
            let message = message(action, key.as_deref(), &data);
            let first = mapping.apply(&message, whence);
            prop_assert_eq!(&first, &mapping.apply(&message, whence));
            prop_assert_eq!(mapping.key(&message, whence), mapping.key(&message, whence));
            match &first {
                Err(rejection) => prop_assert!(!tells(rejection), "{} {}", data, rejection),
                Ok(Mapped::Nothing | Mapped::Skipped) => {}
                Ok(Mapped::Row(row)) => {
                    prop_assert_eq!(row.cells.len(), mapping.plan.columns.len());
                    prop_assert_eq!(row.children.len(), mapping.children.len());
                    for (plan, rows) in mapping.children.iter().zip(&row.children) {
                        prop_assert!(rows.iter().flatten().all(|cells| cells.len() == plan.columns.len()));
                        let tied = |cells: &Vec<Cell>| plan.key.iter().all(|place| !matches!(cells[*place], Cell::Absent | Cell::Null));
                        prop_assert!(rows.iter().flatten().all(tied));
                    }
                    for (place, _) in &row.insert_only {
                        prop_assert_eq!(&row.cells[*place], &Cell::Absent);
                    }
                    prop_assert!(mapping.sent(row).get() != "null", "{:?}", row);
                    // What it says of the key is what a delete looks for.
                    if !matches!(row.op, Op::Insert) && key.is_some() {
                        prop_assert!(row.key.is_some() != mapping.plan.key.is_empty());
                    }
                }
            }
            let _ = key.as_deref().and_then(|key| key_conflict(&spec, &data, key));
        }
    }

    #[test]
    fn one_pass_finds_what_a_search_for_each_path_finds(data in any_record(), paths in vec(any_path(), 1..6)) {
        let mut fields = FieldTable::new(false);
        let nodes: Vec<_> = paths.iter().map(|path| fields.add(&Path::parse(path).unwrap())).collect();
        let mut slots = Vec::new();
        if fields.read(&data, &mut slots, true).is_ok() {
            for (path, node) in paths.iter().zip(nodes) {
                let found = if let Slot::Raw(raw) = slots[node] { Some(raw) } else { None };
                prop_assert_eq!(found, Path::parse(path).unwrap().find(&data), "{}", path);
            }
        }
    }
}

/// The share of cases that get as far as a row; the property above is worth as much as this.
#[test]
fn many_of_these_routes_compile_and_many_of_these_records_map() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut compiled, mut rows, mut children, mut refused) = (0, 0, 0, 0);
    for _ in 0..2000 {
        let (spec, kinds, data, action) =
            (any_route(), any_kinds(), any_record(), select(&Action::ALL[..])).new_tree(&mut runner).unwrap().current();
        let tables: Vec<_> = spec.children.iter().map(|_| table(&kinds, "parent", kinds[0].clone())).collect();
        let Ok(mapping) = Mapping::compile(&spec, parents(&kinds), tables) else { continue };
        compiled += 1;
        match applied(&mapping, &message(action, None, &data)) {
            Ok(Mapped::Row(row)) => {
                rows += 1;
                children += usize::from(row.children.iter().flatten().flatten().count() > 0);
            }
            Ok(_) => {}
            Err(_) => refused += 1,
        }
    }
    assert!(compiled > 300 && rows > 40 && refused > 100, "{compiled} {rows} {children} {refused}");
}
