use proptest::prelude::*;

use super::*;
use crate::{
    cast::tests::properties::{any_json, every_kind},
    route::Length,
};

fn any_constant() -> impl Strategy<Value = serde_json::Value> {
    any_json().prop_filter_map("JSON that serde takes", |raw| serde_json::from_str(&raw).ok())
}

fn any_rule() -> impl Strategy<Value = ColumnRule> {
    let cast = proptest::option::of(proptest::sample::select(vec![
        Cast::Int,
        Cast::Decimal,
        Cast::Float,
        Cast::Bool,
        Cast::Text,
        Cast::Date,
        Cast::Time,
        Cast::Timestamp,
        Cast::Uuid,
        Cast::Json,
        Cast::Bytes,
    ]));
    let format = prop_oneof![
        "(%[-_0]?[a-zA-Z%]|%[.:]?[0-9]?[fz]|[/. :T-]){0,6}",
        "\\PC{0,8}",
        proptest::sample::select(vec!["unix", "unix_ms", "%d/%m/%Y", "%Y-%m-%d %H:%M:%S", "%c", "%+"])
            .prop_map(str::to_owned),
    ];
    let zone = prop_oneof![
        "[+-][0-9]{0,4}(:[0-9]{0,2})?",
        proptest::sample::select(vec!["Asia/Jakarta", "Europe/Berlin", "America/St_Johns", "Z", "UTC", "nowhere"])
            .prop_map(str::to_owned),
    ];
    let pattern = prop_oneof![r"[a-z0-9\\.*+?()\[\]{},^$|-]{0,12}", "\\PC{0,12}"];
    let length =
        (proptest::option::of(0_u64..9), proptest::option::of(0_u64..9)).prop_map(|(min, max)| Length { min, max });
    let range = (proptest::option::weighted(0.2, any_constant()), proptest::option::weighted(0.2, any_constant()));
    (
        cast,
        proptest::option::weighted(0.3, format),
        proptest::option::weighted(0.3, zone),
        range,
        proptest::option::weighted(0.2, length),
        proptest::option::weighted(0.2, pattern),
        proptest::collection::vec(any_constant(), 0..2),
    )
        .prop_map(|(cast, format, zone, (min, max), length, pattern, one_of)| ColumnRule {
            cast,
            format,
            zone,
            min,
            max,
            length,
            pattern,
            one_of,
            ..ColumnRule::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn no_rule_and_no_value_panic(rule in any_rule(), raws in proptest::collection::vec(any_json(), 1..4)) {
        for kind in every_kind() {
            let Ok(compiled) = ValueRule::compile_for(&rule, &kind) else { continue };
            for raw in &raws {
                let Ok(value) = Value::read(raw).and_then(|value| compiled.apply(value)) else { continue };
                let _ = cast::to_cell(value, &kind);
            }
        }
    }

    #[test]
    fn what_a_format_writes_it_reads(seconds in -62_135_596_800_i64..253_402_300_800, nanos in 0_u32..1_000_000_000) {
        let at = chrono::DateTime::from_timestamp(seconds, nanos).unwrap();
        let rule = json!({"format": "%d.%m.%Y %H:%M:%S%.9f", "zone": "UTC"});
        let text = serde_json::Value::from(at.format("%d.%m.%Y %H:%M:%S%.9f").to_string()).to_string();
        let canonical = |raw: &str, rule: &serde_json::Value| apply(raw, rule);
        prop_assert_eq!(canonical(&text, &rule), canonical(&format!("\"{}\"", at.to_rfc3339()), &json!({"as": "timestamp"})));
        let unix = format!("{seconds}.{nanos:09}");
        if seconds >= 0 {
            prop_assert_eq!(canonical(&unix, &json!({"format": "unix"})), canonical(&text, &rule));
        }
    }
}
