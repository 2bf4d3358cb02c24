//! What mapping costs: realistic records through their routes, a record and a field at a time.
//!
//! `cargo bench --bench mapping` prints divan's figures, then a table with nanoseconds a record and a field, and how that
//! compares with parsing the same record into a `serde_json::Value` in the same run: figures follow the machine, ratios
//! hardly do. A field is a column that the record fills. The goals are 150 ns for a plain field and 600 ns for a cleaned one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod gallery;

use std::{
    hint::black_box,
    sync::LazyLock,
    time::{Duration, Instant},
};

use divan::{Bencher, counter::ItemsCount};
use serde_json::{Value, json};
use tidegate_actors::{
    mapping::{Mapped, Mapping, Whence},
    message::{Action, Generation, Message, StreamId},
    route::RouteSpec,
    schema::{ColumnSchema, ColumnType, TableSchema},
};

use gallery::*;

// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let listing = std::env::args().any(|argument| argument == "--list" || argument == "--test");
    divan::main();
    if !listing {
        report();
    }
}

const INT: ColumnType = ColumnType::Int { min: i64::MIN as i128, max: i64::MAX as i128 };
const TEXT: ColumnType = ColumnType::Text { max_chars: Some(500), max_bytes: None, nul: false };
const MONEY: ColumnType = ColumnType::Decimal { precision: Some(14), scale: Some(2) };
const WHEN: ColumnType = ColumnType::Timestamp { zone: true };

/// Records of one shape, and the route that maps them.
struct Case {
    group: &'static str,
    name: &'static str,
    mapping: Mapping,
    messages: Vec<Message>,
    /// Columns that a record fills, those of its children included.
    fields: usize,
}

static GENERATION: LazyLock<Generation> = LazyLock::new(|| Generation::new("k3v9x0q2ab"));

fn whence() -> Whence<'static> {
    Whence { application: "gallery", generation: &GENERATION }
}

fn table(name: &str, columns: &[(&str, ColumnType)]) -> TableSchema {
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, kind)| ColumnSchema {
            name: (*name).to_owned(),
            declared: "a type".to_owned(),
            kind: kind.clone(),
            nullable: *name != columns[0].0,
            has_default: false,
            default: None,
            generated: false,
        })
        .collect();
    let key = vec![columns[0].name.clone()];
    TableSchema { schema: String::new(), name: name.to_owned(), columns, unique_keys: vec![key] }
}

impl Case {
    /// Sixteen records that differ in their key, as a batch's do.
    fn new(
        group: &'static str,
        name: &'static str,
        columns: &[(&str, ColumnType)],
        changes: &Value,
        record: &Value,
        children: Vec<TableSchema>,
    ) -> Self {
        let mut route = json!({
            "id": "r1", "name": name, "application": "gallery", "topic": name, "destination": "db", "table": name,
            "key": [columns[0].0],
        });
        route.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let route: RouteSpec = serde_json::from_value(route).expect("a route");
        let mapping =
            Mapping::compile(&route, table(name, columns), children).unwrap_or_else(|errors| panic!("{errors:?}"));
        let messages: Vec<_> = (1..=16)
            .map(|number: u64| {
                let mut record = record.clone();
                record[columns[0].0] = json!(number);
                Message {
                    id: StreamId::new(1_748_736_000_000 + number, 0),
                    topic: name.into(),
                    action: Action::Upsert,
                    key: Some(number.to_string().into()),
                    own_id: None,
                    traceparent: None,
                    data: record.to_string().into(),
                }
            })
            .collect();
        let mut case = Self { group, name, mapping, messages, fields: 0 };
        case.fields = case.filled(&case.messages[0]);
        case
    }

    /// The columns that a message fills.
    fn filled(&self, message: &Message) -> usize {
        let filled = |cells: &[tidegate_actors::transaction::Cell]| {
            cells.iter().filter(|cell| **cell != tidegate_actors::transaction::Cell::Absent).count()
        };
        match self.mapping.apply(message, whence()) {
            Ok(Mapped::Row(row)) => {
                let children = row.children.iter().flatten().flatten();
                filled(&row.cells) + children.map(|cells| filled(cells)).sum::<usize>()
            }
            Ok(Mapped::Skipped | Mapped::Nothing) => panic!("{}: the record is skipped", self.name),
            Err(error) => panic!("{}: {error}", self.name),
        }
    }

    fn map_all(&self) {
        for message in &self.messages {
            let _ = black_box(self.mapping.apply(black_box(message), whence()));
        }
    }

    fn parse_all(&self) {
        for message in &self.messages {
            let _ = black_box(serde_json::from_str::<Value>(black_box(&message.data)));
        }
    }

    fn bench(&self, bencher: Bencher<'_, '_>) {
        bencher.counter(ItemsCount::new(self.fields * self.messages.len())).bench_local(|| self.map_all());
    }
}

/// Fields as they come.
mod plain {
    use super::*;

    #[divan::bench]
    fn shop_item(bencher: Bencher<'_, '_>) {
        shop_item_plain().bench(bencher);
    }

    #[divan::bench]
    fn sensor_reading(bencher: Bencher<'_, '_>) {
        sensor_plain().bench(bencher);
    }

    #[divan::bench]
    fn whmcs_invoice(bencher: Bencher<'_, '_>) {
        invoice_plain().bench(bencher);
    }
}

/// Each field but the key cleaned, cast or checked.
mod cleaned {
    use super::*;

    #[divan::bench]
    fn shop_item(bencher: Bencher<'_, '_>) {
        shop_item_cleaned().bench(bencher);
    }

    #[divan::bench]
    fn sensor_reading(bencher: Bencher<'_, '_>) {
        sensor_cleaned().bench(bencher);
    }

    #[divan::bench]
    fn whmcs_invoice(bencher: Bencher<'_, '_>) {
        invoice_cleaned().bench(bencher);
    }
}

/// Fields inside fields.
mod nested {
    use super::*;

    #[divan::bench]
    fn patient(bencher: Bencher<'_, '_>) {
        patient_nested().bench(bencher);
    }
}

/// A filter and a column that is worked out.
mod expression {
    use super::*;

    #[divan::bench]
    fn order(bencher: Bencher<'_, '_>) {
        order_expression().bench(bencher);
    }
}

/// A table of its own for the lines of an order.
mod children {
    use super::*;

    #[divan::bench]
    fn order_of_five_lines(bencher: Bencher<'_, '_>) {
        order_with_lines().bench(bencher);
    }
}

/// What one round over a case's records takes: the fastest of many, as all that disturbs a measurement makes it longer.
fn fastest(work: impl Fn()) -> Duration {
    let rounds = |count: usize| {
        let round = || {
            let start = Instant::now();
            for _ in 0..50 {
                work();
            }
            start.elapsed() / 50
        };
        (0..count).map(|_| round()).min().unwrap_or_default()
    };
    rounds(20);
    rounds(100)
}

fn report() {
    type Make = fn() -> Case;
    let cases: [(&str, Make); 9] = [
        ("plain", shop_item_plain),
        ("plain", sensor_plain),
        ("plain", invoice_plain),
        ("cleaned", shop_item_cleaned),
        ("cleaned", sensor_cleaned),
        ("cleaned", invoice_cleaned),
        ("nested", patient_nested),
        ("expression", order_expression),
        ("children", order_with_lines),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!(
        "\n{:<12}{:<16}{:>8}{:>12}{:>12}{:>12}{:>14}",
        "group", "record", "fields", "ns/record", "ns/field", "parse, ns", "of parsing"
    );
    for (group, case) in cases {
        if !wanted.is_empty() && !wanted.iter().any(|word| group.contains(word.as_str())) {
            continue;
        }
        let case = case();
        let records = case.messages.len() as f64;
        let mapped = fastest(|| case.map_all()).as_nanos() as f64 / records;
        let parsed = fastest(|| case.parse_all()).as_nanos() as f64 / records;
        let fields = case.fields as f64;
        println!(
            "{:<12}{:<16}{:>8}{:>12.0}{:>12.0}{:>12.0}{:>13.2}×",
            case.group,
            case.name,
            case.fields,
            mapped,
            mapped / fields,
            parsed,
            mapped / parsed
        );
    }
}
