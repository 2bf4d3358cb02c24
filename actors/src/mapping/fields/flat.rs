//! The short way through a record, where every wanted field stands at its top: most routes, most records.
//!
//! It takes exactly the JSON that the walk takes. Whatever is out of the ordinary (an escape in a name, a name that stands there
//! twice, anything that is no JSON) is left to the walk, which knows the words for it. Called by [`super::FieldTable::read`].

use serde_json::value::RawValue;

use super::{FieldTable, Slot};
use crate::plain::plain;

/// Fills the slots of the fields at the top of a record; `None` where the walk has to look at it.
pub(super) fn read<'m>(fields: &FieldTable, data: &'m str, slots: &mut [Slot<'m>]) -> Option<()> {
    let bytes = data.as_bytes();
    let mut at = after(bytes, space(bytes, 0), b'{')?;
    if let Some(end) = after(bytes, at, b'}') {
        return (end == bytes.len()).then_some(());
    }
    loop {
        let name_end = plain_text_end(bytes, after_quote(bytes, at)?)?;
        let name = data.get(at + 1..name_end)?;
        let begin = after(bytes, space(bytes, name_end + 1), b':')?;
        let end = value_end(data, begin)?;
        if let Some((node, exact)) = fields.find(0, name) {
            let Slot::Absent = slots[node] else { return None };
            let raw = data.get(begin..end)?;
            slots[node] = if exact { Slot::Raw(raw) } else { Slot::Alike(raw) };
        }
        at = space(bytes, end);
        at = match after(bytes, at, b',') {
            Some(next) => next,
            None => return (after(bytes, at, b'}')? == bytes.len()).then_some(()),
        }
    }
}

fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// What follows this byte and the white space behind it.
fn after(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*bytes.get(at)? == byte).then(|| space(bytes, at + 1))
}

fn after_quote(bytes: &[u8], at: usize) -> Option<usize> {
    (*bytes.get(at)? == b'"').then_some(at + 1)
}

/// The end of the value that begins here.
fn value_end(data: &str, begin: usize) -> Option<usize> {
    let bytes = data.as_bytes();
    match bytes.get(begin)? {
        b'"' => text_end(bytes, begin + 1),
        b'-' | b'0'..=b'9' => number_end(bytes, begin),
        b't' => literal(bytes, begin, b"true"),
        b'f' => literal(bytes, begin, b"false"),
        b'n' => literal(bytes, begin, b"null"),
        b'{' | b'[' => {
            let mut json = serde_json::Deserializer::from_str(data.get(begin..)?).into_iter::<&RawValue>();
            json.next()?.ok().map(|raw| begin + raw.get().len())
        }
        _ => None,
    }
}

fn literal(bytes: &[u8], begin: usize, word: &[u8]) -> Option<usize> {
    bytes.get(begin..)?.starts_with(word).then_some(begin + word.len())
}

/// RFC 8259, section 6.
fn number_end(bytes: &[u8], begin: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let first = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > first).then_some(at)
    };
    let first = begin + usize::from(bytes[begin] == b'-');
    let mut at = if bytes.get(first) == Some(&b'0') { first + 1 } else { digits(first)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at = digits(at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-'))))?;
    }
    Some(at)
}

/// The end of a string's contents, where there is no escape in it.
fn plain_text_end(bytes: &[u8], begin: usize) -> Option<usize> {
    let at = special(bytes, begin)?;
    (bytes[at] == b'"').then_some(at)
}

/// The end of a string, its closing quotation mark included.
fn text_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = special(bytes, at)?;
        match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => return Some(at + 1),
            (b'\\', Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => at += 2,
            (b'\\', Some(b'u')) if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
            _ => return None,
        }
    }
}

/// The next quotation mark, backslash or control character.
fn special(bytes: &[u8], at: usize) -> Option<usize> {
    let found = at + plain(bytes.get(at..)?);
    (found < bytes.len()).then_some(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::mapping::path::Path;

    fn fields(any_case: bool) -> FieldTable {
        let mut fields = FieldTable::new(any_case);
        for name in ["a", "price", "note"] {
            if any_case {
                fields.add_column(name);
            } else {
                fields.add(&Path::of_name(name));
            }
        }
        fields
    }

    /// What the short way finds is what the walk finds; where the walk refuses, the short way leaves it to it.
    fn alike(data: &str, any_case: bool) -> bool {
        let fields = fields(any_case);
        let mut slots = vec![Slot::Absent; fields.len()];
        let short = read(&fields, data, &mut slots);
        let mut walked = Vec::new();
        let long = fields.attempt(data, &mut walked, false, false);
        if short.is_some() {
            assert!(long.is_ok(), "{data}");
            assert_eq!(format!("{slots:?}"), format!("{walked:?}"), "{data}");
        }
        short.is_some()
    }

    #[test]
    fn it_takes_what_is_ordinary_and_leaves_the_rest() {
        for ordinary in [
            "{}",
            " { } ",
            r#"{"a":1,"price":"10.50","note":null,"x":[1,{"a":"}"}]}"#,
            r#" { "a" : -0.5e+3 , "note" : "said \"no\" \u00e9 \ud800 at last" , "y" : true } "#,
            r#"{"note":"exactly8exactly8","a":false}"#,
            r#"{"a":{"b":1},"price":0}"#,
        ] {
            assert!(alike(ordinary, false) && alike(ordinary, true), "{ordinary}");
        }
        assert!(alike(r#"{"PRICE":1}"#, true));
        for odd in [
            "",
            "[]",
            "{",
            r#"{"a":1}x"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{"a":tru}"#,
            r#"{"a":nullx}"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            "{\"a\":\"tab\there\"}",
            r#"{"a":1,"a":2}"#,
            r#"{"\u0061":1}"#,
            r#"{"x":[1,}"#,
            r#"{"a":"unfinished"#,
        ] {
            assert!(!alike(odd, false), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_walk(pieces in prop::collection::vec(prop_oneof![
            Just("{".to_owned()), Just("}".to_owned()), Just("\"a\":".to_owned()), Just(",".to_owned()), Just("\"price\":".to_owned()),
            Just("\"".to_owned()), Just("\\".to_owned()), Just("[1,2]".to_owned()), Just(" ".to_owned()), Just("-1.5e3".to_owned()),
            "[ -~\u{1}é]{0,12}", "\"[a-zA-Z]{1,5}\":[0-9]{1,3}", "\"[a-z]{1,9}\":\"[ -~]{0,20}\"",
        ], 0..12), any_case: bool) {
            alike(&pieces.concat(), any_case);
            alike(&format!("{{{}}}", pieces.join(",")), any_case);
        }

        #[test]
        fn it_takes_every_flat_record(record in prop::collection::btree_map("[a-z]{1,6}", prop_oneof![
            any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(|number| serde_json::json!(number)),
            any::<i64>().prop_map(|number| serde_json::json!(number)), any::<String>().prop_map(|text| serde_json::json!(text)),
            any::<bool>().prop_map(|truth| serde_json::json!(truth)), Just(serde_json::json!([{"a": []}])),
        ], 0..9)) {
            let compact = serde_json::to_string(&record).unwrap();
            let pretty = serde_json::to_string_pretty(&record).unwrap();
            prop_assert!(alike(&compact, false) && alike(&pretty, true));
        }
    }
}
