use proptest::prelude::*;

use super::*;
use crate::cast::tests::properties::any_json;

/// Expressions that parse, most of them, over the fields of [`any_record`].
fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        proptest::sample::select(vec![
            "data.k0",
            "data.k1",
            "data.?k2",
            "data['k3']",
            "data",
            "key",
            "key.no",
            "topic",
            "received",
            "id",
            "item",
            "index",
            "1",
            "0",
            "-1",
            "9223372036854775807",
            "2u",
            "1.5",
            "1e308",
            "true",
            "null",
            "'a'",
            "'ä€'",
            "''",
            "b'x'",
            "[]",
            "{}",
            "duration('1h')",
            "timestamp('2025-06-01T00:00:00Z')",
            "timestamp('9999-12-31T23:59:59Z')",
            "'UTC'",
            "'Asia/Jakarta'",
            "duration('2540400h')",
            "optional.none()",
            "x",
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:?}")),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        let method = proptest::sample::select(vec![
            "size", "startsWith", "endsWith", "contains", "charAt", "indexOf", "lastIndexOf", "lowerAscii", "upperAscii", "trim",
            "replace", "split", "substring", "join", "reverse", "format", "getFullYear", "getHours", "getDayOfWeek",
            "getMilliseconds", "getDayOfYear", "hasValue", "orValue", "value", "or",
        ]);
        let function = proptest::sample::select(vec![
            "size", "int", "uint", "double", "string", "bytes", "bool", "timestamp", "duration", "type", "dyn", "math.abs",
            "math.ceil", "math.round", "math.sqrt", "math.bitNot", "math.sign", "math.isNaN", "optional.of",
            "optional.ofNonZeroValue", "strings.quote", "math.greatest",
        ]);
        let operator = proptest::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"]);
        let shift = proptest::sample::select(vec!["math.bitShiftLeft", "math.bitShiftRight", "math.bitAnd", "math.least", "math.greatest"]);
        let fold = proptest::sample::select(vec!["all", "exists", "exists_one", "map", "filter", "optMap", "optFlatMap"]);
        prop_oneof![
            4 => (pair.clone(), operator).prop_map(|((left, right), operator)| format!("({left} {operator} {right})")),
            2 => (inner.clone(), method, proptest::collection::vec(inner.clone(), 0..3))
                .prop_map(|(target, method, args)| format!("{target}.{method}({})", args.join(", "))),
            2 => (inner.clone(), function).prop_map(|(argument, function)| format!("{function}({argument})")),
            1 => (pair.clone(), shift).prop_map(|((left, right), shift)| format!("{shift}({left}, {right})")),
            2 => (pair.clone(), fold).prop_map(|((range, body), fold)| format!("{range}.{fold}(x, {body})")),
            1 => (inner.clone(), pair.clone()).prop_map(|(test, (yes, no))| format!("({test} ? {yes} : {no})")),
            1 => pair.clone().prop_map(|(list, index)| format!("{list}[{index}]")),
            1 => pair.clone().prop_map(|(list, index)| format!("{list}[?{index}]")),
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(|elements| format!("[{}]", elements.join(", "))),
            1 => pair.prop_map(|(name, value)| format!("{{{name}: {value}}}")),
            1 => inner.clone().prop_map(|target| format!("has({target}.k0)")),
            1 => inner.clone().prop_map(|inner| format!("-{inner}")),
            1 => inner.prop_map(|inner| format!("!{inner}")),
        ]
    })
}

fn any_record() -> impl Strategy<Value = String> {
    proptest::collection::vec(any_json(), 0..5).prop_map(|values| {
        let members: Vec<_> =
            values.iter().enumerate().map(|(place, value)| format!("\"k{place}\": {value}")).collect();
        format!("{{{}}}", members.join(", "))
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,60}", r"[a-z0-9.+*/()\[\]{}?:'\x22,<>=!&|`\\ -]{0,60}", any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn no_text_panics(text in any_text(), record in any_record()) {
        if let Ok(expression) = Expression::parse(&text) {
            let message = message(&record);
            let _ = expression.value(&Scope::new(&message, whence(), None));
        }
    }

    #[test]
    fn no_expression_panics_and_each_is_the_same_twice(text in any_expression(), record in any_record(), element in any_json()) {
        if let Ok(expression) = Expression::parse(&text) {
            let message = message(&record);
            let once = expression.value(&Scope::new(&message, whence(), Some((&element, 1))));
            let again = expression.value(&Scope::new(&message, whence(), Some((&element, 1))));
            prop_assert_eq!(&once, &again, "{}", text);
            // What it comes to is JSON, where it is no text.
            if let Ok(Value::Number(json) | Value::Object(json) | Value::Array(json)) = &once {
                prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(json).is_ok(), "{}: {}", text, json);
            }
        }
    }

    #[test]
    fn any_text_is_a_record_that_can_be_refused(record in any::<String>()) {
        let message = message(&record);
        for text in ["data.a", "size(data)", "has(data.a) && data.a == 1"] {
            let _ = Expression::parse(text).unwrap().value(&Scope::new(&message, whence(), None));
        }
    }

    #[test]
    fn a_number_goes_through_unchanged(text in r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?") {
        let message = message(&format!(r#"{{"n": {text}}}"#));
        let outcome = Expression::parse("data.n").unwrap().value(&Scope::new(&message, whence(), None)).unwrap();
        let (Value::Number(out) | Value::Text(out)) = outcome else { panic!() };
        let number = |text: &str| crate::cast::Number::parse(text).unwrap().shortest();
        prop_assert_eq!(number(&out), number(&text));
    }
}
