use proptest::prelude::*;

use super::*;
use crate::cast::tests::properties::any_json;

fn any_step() -> impl Strategy<Value = CleanStep> {
    let text = prop_oneof!["\\PC{0,3}", Just("a".to_owned()), Just(" ".to_owned())];
    prop_oneof![
        Just(CleanStep::Trim),
        Just(CleanStep::Collapse),
        Just(CleanStep::Lower),
        Just(CleanStep::Upper),
        Just(CleanStep::Title),
        Just(CleanStep::Digits),
        Just(CleanStep::StripHtml),
        Just(CleanStep::NullIfEmpty),
        proptest::collection::vec(text.clone(), 1..3).prop_map(CleanStep::NullIf),
        (text.clone(), text.clone()).prop_map(|(from, to)| CleanStep::Replace([from, to])),
        (0_u32..20).prop_map(CleanStep::Truncate),
        (0_u32..20).prop_map(CleanStep::Round),
        proptest::collection::btree_map(text, any::<i32>().prop_map(serde_json::Value::from), 0..3)
            .prop_map(CleanStep::Map),
        proptest::sample::select(locale::tags().collect::<Vec<_>>()).prop_map(|tag| CleanStep::Number(tag.to_owned())),
    ]
}

/// Texts with what the steps look for.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        r"[<>&;#xa0-9/!'=\x22 -]{0,40}",
        r"(<(p|br|b|script|/script|!--)[ />]?|-->|&(amp|lt|#[0-9]{1,8}|#x[0-9a-f]{1,6});|[a-z ]){0,12}",
        r"[-+(]?(Rp|\$|€)? ?[0-9]{0,4}([., '’\u{a0}\u{202f}][0-9]{0,4}){0,4} ?(€|kr\.|%)?[-)]?",
        any::<String>(),
    ]
}

/// The number as the locale writes it.
fn written(locale: &str, negative: bool, integer: u64, fraction: &str) -> String {
    let (decimal, group, indian, zero) = locale::of(locale);
    let digits = integer.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len() - place;
        let breaks = if indian { left == 3 || (left > 3 && left % 2 == 1) } else { left % 3 == 0 };
        if place > 0 && breaks {
            out.push(group);
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push(decimal);
        out.push_str(fraction);
    }
    let native = |digit: char| match zero {
        Some(zero) if digit.is_ascii_digit() => char::from_u32(zero as u32 + digit.to_digit(10).unwrap()).unwrap(),
        _ => digit,
    };
    let sign = if negative { "-" } else { "" };
    sign.to_owned() + &out.chars().map(native).collect::<String>()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_text_and_no_steps_panic(text in any_text(), raw in any_json(), steps in proptest::collection::vec(any_step(), 0..5)) {
        if let Ok(cleaning) = Cleaning::compile(&steps) {
            let _ = cleaning.apply(Value::Text(text.into()));
            let _ = Value::read(&raw).and_then(|value| cleaning.apply(value));
        }
    }

    #[test]
    fn cleaning_twice_is_cleaning_once(text in any_text(), digits in 0_u32..9, length in 1_u32..9) {
        for step in [
            CleanStep::Trim, CleanStep::Collapse, CleanStep::Lower, CleanStep::Upper, CleanStep::Title, CleanStep::Digits,
            CleanStep::NullIfEmpty, CleanStep::Truncate(length), CleanStep::Round(digits),
        ] {
            let cleaning = Cleaning::compile(std::slice::from_ref(&step)).unwrap();
            let once = cleaning.apply(Value::Text(text.clone().into())).unwrap();
            let twice = cleaning.apply(once.clone()).unwrap();
            prop_assert_eq!(once, twice, "{:?}", step);
        }
    }

    #[test]
    fn a_number_as_a_locale_writes_it_is_that_number(
        locale in proptest::sample::select(locale::tags().collect::<Vec<_>>()),
        negative in any::<bool>(), integer in prop_oneof![0_u64..100_000, any::<u64>()], fraction in "[0-9]{0,6}",
    ) {
        let text = written(locale, negative, integer, &fraction);
        let zero = integer == 0 && fraction.bytes().all(|digit| digit == b'0');
        let sign = if negative && !zero { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let expected = Value::Number(format!("{sign}{integer}{point}{fraction}").into());
        let cleaning = steps(json!([{"number": locale}]));
        prop_assert_eq!(cleaning.apply(Value::Text(text.into())), Ok(expected.clone()));
        // With a currency on either side.
        for text in ["EUR ", "$"].map(|before| before.to_owned() + &written(locale, negative, integer, &fraction)) {
            prop_assert_eq!(cleaning.apply(Value::Text(text.into())), Ok(expected.clone()));
        }
    }

    #[test]
    fn what_a_locale_reads_is_a_number_of_json(locale in proptest::sample::select(locale::tags().collect::<Vec<_>>()), text in any_text()) {
        if let Ok(Value::Number(number)) = steps(json!([{"number": locale}])).apply(Value::Text(text.into())) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&number).is_ok(), "{}", number);
        }
    }

    #[test]
    fn rounding_is_never_off_by_more_than_a_half(integer in 0_u32..100_000, fraction in "[0-9]{1,12}", digits in 0_usize..6) {
        let text = format!("{integer}.{fraction}");
        let Value::Number(rounded) = steps(json!([{"round": digits}])).apply(Value::Number(text.clone().into())).unwrap() else { panic!() };
        let scaled = |text: &str| Number::parse(text).unwrap().scaled(12).unwrap();
        let unit = 10_i128.pow(12 - digits as u32);
        let off = scaled(&rounded) - scaled(&text);
        prop_assert!(off * 2 <= unit && off * 2 > -unit, "{} to {}", text, rounded);
    }
}
