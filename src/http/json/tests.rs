//! The reader against tables, against the library, and against noise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

fn read(text: &str) -> Result<usize, (String, &'static str)> {
    let mut scanner = Scanner::new(text, 4, 20);
    scanner.record().map_err(|fault| (fault.pointer(), fault.code))?;
    Ok(scanner.members().len())
}

#[test]
fn faults_name_their_place() {
    for (text, pointer, code) in [
        (r#"{"a":{"b":[1,{"c":1,"c":2}]}}"#, "/a/b/1/c", "duplicate_name"),
        (r#"{"a":1,"\u0061":2}"#, "/a", "duplicate_name"),
        (r#"{"a/b~":[[["x",[[]]]]]}"#, "/a~1b~0/0/0/1", "too_deep"),
        (r#"{"a":["\ud83d\ude00","\ud83d"]}"#, "/a/1", "lone_surrogate"),
        (r#"{"a":"\ude00"}"#, "/a", "lone_surrogate"),
        (r#"{"a":"\ud83dx\ude00"}"#, "/a", "lone_surrogate"),
        (r#"{"a":"\ud83d\u0041"}"#, "/a", "lone_surrogate"),
        (r#"{"a":01}"#, "/a", "syntax"),
        (r#"{"a":1.}"#, "/a", "syntax"),
        (r#"{"a":+1}"#, "/a", "syntax"),
        (r#"{"a":1e}"#, "/a", "syntax"),
        (r#"{"a":NaN}"#, "/a", "syntax"),
        (r#"{"a":nul}"#, "/a", "syntax"),
        ("{\"a\":\"x\0\"}", "/a", "syntax"),
        ("{\"a\":\"x\ny\"}", "/a", "syntax"),
        (r#"{"a":"\x"}"#, "/a", "syntax"),
        (r#"{"a":"\u12g4"}"#, "/a", "syntax"),
        (r#"{"a":[1,]}"#, "/a/1", "syntax"),
        (r#"{"a":1,}"#, "", "syntax"),
        (r#"{"a" 1}"#, "/a", "syntax"),
        (r#"{"a":1"#, "", "syntax"),
        (r#"{'a':1}"#, "", "syntax"),
        ("[1]", "", "type"),
    ] {
        assert_eq!(read(text), Err((pointer.to_owned(), code)), "{text}");
    }
}

#[test]
fn what_is_json_is_read() {
    for (text, members) in [
        ("{}", 0),
        (r#"{"a":{"b":{"c":{}}},"d":[[[]]]}"#, 2),
        (r#" { "a" : -0.10e+400 , "b":"\u0000\"\\" , "c":null } "#, 3),
        (r#"{"a":123456789012345678901234567890.000000000000000000001,"b":"日本 😀"}"#, 2),
    ] {
        assert_eq!(read(text), Ok(members), "{text}");
    }
}

#[test]
fn names_are_compared_beyond_the_first_few_too() {
    let names = |count: usize| (0..count).map(|n| format!("\"f{n}\":{n}")).collect::<Vec<_>>().join(",");
    let mut scanner_text = format!("{{{}}}", names(20));
    assert_eq!(read(&scanner_text), Ok(20));
    scanner_text = format!("{{{}}}", names(21));
    assert_eq!(read(&scanner_text), Err(("/f20".to_owned(), "too_many_fields")));
    scanner_text = format!("{{{},\"f3\":1}}", names(18));
    assert_eq!(read(&scanner_text), Err(("/f3".to_owned(), "duplicate_name")));
}

#[test]
fn lines_and_columns_count_from_one() {
    assert_eq!(line_and_column("ab\ncdé x", 8), (2, 5));
    assert_eq!(line_and_column("", 0), (1, 1));
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,5})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::btree_map("[a-z\"\\\\é]{0,3}", inner, 0..4).prop_map(|members| {
                let member =
                    |(name, value): (&String, &String)| format!("{}:{value}", serde_json::to_string(name).unwrap());
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(" ,"))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn every_json_value_is_read_whole(value in json()) {
        let text = format!("{{\"v\":{value}}}");
        let mut scanner = Scanner::new(&text, 64, 2000);
        prop_assert_eq!(scanner.record().map_err(|fault| fault.message).unwrap(), text.as_str());
        prop_assert_eq!(scanner.members()[0].value, value.as_str());
    }

    #[test]
    fn what_the_library_refuses_is_refused(text in "[\\[\\]{}:,\"a0-9eE.+\\-\\\\u \ntfnlrus]{0,12}") {
        let text = format!("{{\"v\":{text}}}");
        let mut scanner = Scanner::new(&text, 64, 2000);
        let ours = scanner.record().is_ok() && scanner.at() == text.len();
        let theirs = serde_json::from_str::<&RawValue>(&text).is_ok();
        prop_assert!(theirs || !ours);
    }

    #[test]
    fn nothing_makes_it_panic(text in any::<String>()) {
        let mut scanner = Scanner::new(&text, 8, 20);
        if let Err(fault) = scanner.record() {
            let _ = (fault.pointer(), line_and_column(&text, fault.at));
        }
    }
}
