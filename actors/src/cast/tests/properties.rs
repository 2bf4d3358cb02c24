use proptest::prelude::*;

use super::*;

pub(crate) fn every_kind() -> Vec<ColumnType> {
    let mut kinds = vec![
        I64,
        U64,
        I16,
        ANY_DECIMAL,
        numeric(14, 2),
        numeric(3, 5),
        ColumnType::Float { bits: 32 },
        ColumnType::Float { bits: 64 },
        ColumnType::Bool,
        TEXT,
        ColumnType::Text { max_chars: Some(5), max_bytes: Some(9), nul: true },
        ColumnType::Bytes { max_bytes: Some(5) },
        ColumnType::Date,
        NAIVE,
        INSTANT,
        ColumnType::Uuid,
        ColumnType::Enum { values: vec!["a".into()] },
        ColumnType::Numeric15,
        ColumnType::Other,
    ];
    kinds.extend([true, false].map(|zone| ColumnType::Time { zone }));
    kinds.extend([true, false].map(|nul| ColumnType::Json { nul }));
    kinds
}

/// JSON text of every shape, with what has broken parsers before.
pub(crate) fn any_json() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "\\PC{0,12}".prop_map(|text| text::quote(&text)),
        r#""(\\u[0-9a-fA-F]{4}|\\u0000|\\ud8[0-9a-f]{2}|\\udc[0-9a-f]{2}|[a-z]|\\n|\\\\){0,6}""#,
        r#""[+-]?[0-9]{0,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{0,12})?""#,
        r#""[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{0,11})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?""#,
        r#""[0-9]{2}:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,11})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?""#,
        r#""\{?[0-9a-fA-F-]{30,38}\}?""#,
        r#""[A-Za-z0-9+/_-]{0,12}={0,2}""#,
    ];
    let number = prop_oneof![
        r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,12})?",
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:?}")),
    ];
    let word = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), Just("false".to_owned())];
    let leaf = prop_oneof![text, number, word].boxed();
    let deep = (1_usize..2000).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth));
    prop_oneof![
        8 => leaf.clone(),
        1 => deep,
        1 => proptest::collection::vec(leaf.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
        1 => proptest::collection::vec(leaf, 0..4)
            .prop_map(|items| {
                let members: Vec<_> = items.iter().enumerate().map(|(place, item)| format!("\"k{place}\" :{item}")).collect();
                format!("{{{}}}", members.join(","))
            }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_json_panics_and_what_is_accepted_is_canonical(raw in any_json()) {
        for kind in every_kind() {
            let Ok(cell) = Value::read(&raw).and_then(|value| to_cell(value, &kind)) else { continue };
            let Cell::Text(text) = &cell else { continue };
            // Casting the canonical text again changes nothing.
            let again = match &kind {
                ColumnType::Json { .. } => Value::read(text).and_then(|value| to_cell(value, &kind)),
                _ => to_cell(Value::Text((&**text).into()), &kind),
            };
            prop_assert!(matches!(&kind, ColumnType::Json { .. }) || again.as_ref() == Ok(&cell), "{kind:?}: {text} -> {again:?}");
            prop_assert!(again.is_ok());
        }
        for cast in [Cast::Int, Cast::Decimal, Cast::Float, Cast::Bool, Cast::Text, Cast::Date, Cast::Time, Cast::Timestamp, Cast::Uuid, Cast::Json, Cast::Bytes] {
            let _ = Value::read(&raw).and_then(|value| recast(value, cast));
        }
    }

    #[test]
    fn a_value_is_never_certainly_different_from_itself_or_from_its_text(raw in any_json()) {
        if let Ok(value) = Value::read(&raw) {
            prop_assert!(!certainly_different(&value, &value));
            if let Value::Number(text) = &value {
                prop_assert!(!certainly_different(&value, &Value::Text(text.clone())));
            }
        }
    }

    #[test]
    fn decimals_come_out_digit_by_digit(negative in any::<bool>(), integer in "0|[1-9][0-9]{0,200}", fraction in "[0-9]{0,200}") {
        let zero = integer == "0" && fraction.bytes().all(|digit| digit == b'0');
        let sign = if negative && !zero { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let text = format!("{sign}{integer}{point}{fraction}");
        prop_assert_eq!(cast(&text, &ANY_DECIMAL), text.clone());
        prop_assert_eq!(cast(&format!("\"{text}\""), &ANY_DECIMAL), text);
    }

    #[test]
    fn an_exponent_moves_the_point_and_nothing_else(digits in "[1-9][0-9]{0,30}", shift in 0_usize..40) {
        // digits × 10^-shift, written out by hand.
        let padded = "0".repeat((shift + 1).saturating_sub(digits.len())) + &digits;
        let (integer, fraction) = padded.split_at(padded.len() - shift);
        let expected = if shift == 0 { integer.to_owned() } else { format!("{integer}.{fraction}") };
        prop_assert_eq!(cast(&format!("{digits}e-{shift}"), &ANY_DECIMAL), expected);
        prop_assert_eq!(cast(&format!("{digits}e{shift}"), &ANY_DECIMAL), digits + &"0".repeat(shift));
    }

    #[test]
    fn integers_round_trip(signed in any::<i64>(), unsigned in any::<u64>()) {
        prop_assert_eq!(cast(&signed.to_string(), &I64), signed.to_string());
        prop_assert_eq!(cast(&format!("\"{signed}\""), &I64), signed.to_string());
        prop_assert_eq!(cast(&unsigned.to_string(), &U64), unsigned.to_string());
    }

    #[test]
    fn floats_round_trip(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        let text = cast(&format!("{number:?}"), &ColumnType::Float { bits: 64 });
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
    }

    #[test]
    fn a_float_is_its_shortest_text_however_it_is_written(text in "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,7})?") {
        let shortest = format!("{:?}", text.parse::<f64>().unwrap());
        let shortest = shortest.strip_suffix(".0").unwrap_or(&shortest);
        prop_assert_eq!(cast(&text, &ColumnType::Float { bits: 64 }), shortest);
    }
}
