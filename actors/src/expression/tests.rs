#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bounds;
mod properties;

use std::sync::LazyLock;

use super::*;
use crate::{
    mapping::Whence,
    message::{Action, Generation, Message, StreamId},
};

static GENERATION: LazyLock<Generation> = LazyLock::new(|| Generation::new("k3v9x0q2ab"));

fn message(data: &str) -> Message {
    Message {
        id: StreamId::new(1_748_736_000_123, 4),
        topic: "orders".into(),
        action: Action::Upsert,
        key: Some(r#"{"branch":"JKT","no":7}"#.into()),
        own_id: None,
        traceparent: None,
        data: data.into(),
    }
}

fn whence() -> Whence<'static> {
    Whence { application: "shop", generation: &GENERATION }
}

/// What an expression comes to: its kind's first letter and text, or the code of the failure after `!`.
fn shown(outcome: Result<Value<'static>, CastError>) -> String {
    match outcome {
        Ok(Value::Null) => "null".to_owned(),
        Ok(Value::Bool(truth)) => truth.to_string(),
        Ok(Value::Number(text)) => text.into_owned(),
        Ok(Value::Text(text)) => format!("'{text}'"),
        Ok(Value::Object(text) | Value::Array(text)) => text.into_owned(),
        Err(error) => format!("!{}", error.code),
    }
}

fn value(expression: &str, data: &str) -> String {
    let expression = Expression::compile(expression).unwrap_or_else(|error| panic!("{error}"));
    let message = message(data);
    shown(expression.value(&Scope::new(&message, whence(), None)))
}

fn why(expression: &str, data: &str) -> String {
    let expression = Expression::compile(expression).unwrap_or_else(|error| panic!("{error}"));
    let message = message(data);
    expression.value(&Scope::new(&message, whence(), None)).unwrap_err().why
}

fn refused(expression: &str) -> String {
    Expression::compile(expression).expect_err("an expression that is refused")
}

const RECORD: &str = r#"{"qty": 3, "price": 19.99, "name": "Ann", "last": "O'Neil", "paid": true, "note": null,
    "tags": ["b", "a"], "lines": [{"sku": "x1", "n": 2}, {"sku": "y2", "n": 5}], "address": {"city": "Jakarta", "zip": "10110"},
    "first name": "A\u00e4\"", "big": 9223372036854775808, "huge": 123456789012345678901234567890,
    "exact": 0.1234567890123456789, "when": "2025-06-01T08:00:00+07:00", "b64": "AAE="}"#;

#[test]
fn fields_and_arithmetic() {
    for (expression, expected) in [
        ("data.qty + 1", "4"),
        ("data.qty * 2 - 1", "5"),
        ("data.price * 2.0", "39.98"),
        ("double(data.qty) * data.price", "59.97"),
        ("data.price", "19.99"),
        ("data.qty", "3"),
        ("data.name + ' ' + data.last", "'Ann O'Neil'"),
        ("data.paid", "true"),
        ("!data.paid || data.qty > 2", "true"),
        ("data.note", "null"),
        ("data.note == null", "true"),
        ("data.qty > 2 ? 'many' : 'few'", "'many'"),
        ("data.address.city", "'Jakarta'"),
        ("data['first name']", "'Aä\"'"),
        ("data.lines[1].sku", "'y2'"),
        ("data.lines[0]", r#"{"n":2,"sku":"x1"}"#),
        ("data.tags", r#"["b","a"]"#),
        ("[data.qty, data.price, 'x', null, true]", r#"[3,19.99,"x",null,true]"#),
        ("{'b': data.qty, 'a': data.name}", r#"{"a":"Ann","b":3}"#),
        ("data.qty / 2", "1"),
        ("data.qty % 2", "1"),
        ("7 / 2.0 == 3.5", "true"),
        ("data.qty * data.price", "59.97"),
        ("data.qty + 0.5 - data.qty", "0.5"),
        ("data.big + 0.5", "!expression"),
        ("data.tags.map(tag, tag + '!')", r#"["b!","a!"]"#),
        ("10.0 / 4.0", "2.5"),
        ("1.0 + 1.0", "2"),
        ("-0.0", "0"),
        ("1e300 * 1e300", "!expression"),
        ("18446744073709551615u", "18446744073709551615"),
        ("data.qty == 3.0", "true"),
        ("b'ab'", "'YWI='"),
    ] {
        assert_eq!(value(expression, RECORD), expected, "{expression}");
    }
}

#[test]
fn numbers_keep_their_digits_or_become_text() {
    for (expression, expected) in [
        ("data.big", "9223372036854775808"),
        ("data.big > 1", "true"),
        ("data.huge", "'123456789012345678901234567890'"),
        ("data.exact", "'0.1234567890123456789'"),
        ("data.huge + 1", "!expression"),
        ("double(data.exact)", "0.12345678901234568"),
        ("data.whole + 1.0", "6"),
        ("data.tiny", "5e-324"),
        ("data.over", "'1e400'"),
        ("data.neg", "-9223372036854775808"),
        ("data.tenth", "0.1"),
        ("data.long", "1234567.8901234567"),
    ] {
        let record = r#"{"big": 9223372036854775808, "huge": 123456789012345678901234567890, "exact": 0.1234567890123456789,
            "whole": 5.0, "tiny": 5e-324, "over": 1e400, "neg": -9223372036854775808, "tenth": 0.10, "long": 1234567.8901234567}"#;
        assert_eq!(value(expression, record), expected, "{expression}");
    }
}

#[test]
fn what_may_be_missing() {
    for (expression, expected) in [
        ("has(data.nick)", "false"),
        ("has(data.name)", "true"),
        ("has(data.note)", "true"),
        ("has(data.address.city) && !has(data.address.street)", "true"),
        ("has(data.nick) ? data.nick : data.name", "'Ann'"),
        ("data.?nick.orValue('none')", "'none'"),
        ("data.?name.orValue('none')", "'Ann'"),
        ("data.?address.?zip.orValue('')", "'10110'"),
        ("data.?nick", "null"),
        ("data.?name", "'Ann'"),
        ("data[?'nick'].orValue(1)", "1"),
        ("data.nick", "!expression"),
        ("'name' in data", "true"),
        ("size(data) > 5", "true"),
        ("data == data", "true"),
    ] {
        assert_eq!(value(expression, RECORD), expected, "{expression}");
    }
}

#[test]
fn loops_and_functions() {
    for (expression, expected) in [
        ("data.lines.all(l, l.n > 1)", "true"),
        ("data.lines.exists(l, l.sku == 'y2')", "true"),
        ("data.lines.exists_one(l, l.n == 2)", "true"),
        ("data.lines.map(l, l.sku)", r#"["x1","y2"]"#),
        ("data.lines.filter(l, l.n > 2).map(l, l.n * data.qty)", "[15]"),
        ("data.lines.map(data, data.n)", "[2,5]"),
        ("data.tags.join('/')", "'b/a'"),
        ("'a' in data.tags", "true"),
        ("size(data.tags)", "2"),
        ("data.address.map(k, k)", r#"["city","zip"]"#),
        ("{'z': 1, 'a': 2, 'm': 3, 'b': 4}.map(k, k)", r#"["a","b","m","z"]"#),
        ("data.name.lowerAscii() + data.name.upperAscii()", "'annANN'"),
        ("data.last.replace(\"'\", '')", "'ONeil'"),
        ("data.last.split(\"'\")", r#"["O","Neil"]"#),
        ("data.name.substring(1)", "'nn'"),
        ("data.name.matches('^[A-Z][a-z]+$')", "true"),
        ("matches(data.name, '^x')", "false"),
        ("data.name.startsWith('A') && data.name.contains('n')", "true"),
        ("math.round(data.price)", "20"),
        ("math.greatest(data.qty, 10)", "10"),
        ("math.least([1, 2, data.qty])", "1"),
        ("'%s has %d for %.2f'.format([data.name, data.qty, data.price])", "'Ann has 3 for 19.99'"),
        ("string(data.qty) + 'x'", "'3x'"),
        ("int('7') + data.qty", "10"),
        ("timestamp(data.when)", "'2025-06-01T08:00:00+07:00'"),
        ("timestamp(data.when).getFullYear()", "2025"),
        ("timestamp(data.when) + duration('90m')", "'2025-06-01T09:30:00+07:00'"),
        ("duration('90m')", "'5400s'"),
        ("duration('-250ms')", "'-0.25s'"),
        ("type(data.qty) == int", "true"),
        ("optional.of(data.qty)", "3"),
        ("data.?name.optMap(n, n + '!').orValue('')", "'Ann!'"),
    ] {
        assert_eq!(value(expression, RECORD), expected, "{expression}");
    }
}

#[test]
fn every_function_that_is_known_is_there() {
    use cel::{ExecutionError, Program};

    for name in functions::KNOWN.iter().filter(|name| !name.contains('@')) {
        let calls = [
            format!("'x'.{name}()"),
            format!("{name}('x')"),
            format!("math.{name}(1)"),
            format!("optional.{name}(1)"),
            format!("strings.{name}('x')"),
        ];
        let is_there = |call: &String| {
            let outcome =
                Program::compile(call).unwrap().execute(&Context::with_env(std::sync::Arc::clone(&functions::ENV)));
            !matches!(outcome, Err(ExecutionError::UndeclaredReference(_)))
        };
        assert!(calls.iter().any(is_there), "{name}");
    }
}

#[test]
fn it_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Expression>();
}

#[test]
fn what_is_known_of_the_message() {
    for (expression, expected) in [
        ("topic", "'orders'"),
        ("action == 'upsert'", "true"),
        ("application", "'shop'"),
        ("id", "'k3v9x0q2ab-1748736000123-4'"),
        ("received", "'2025-06-01T00:00:00.123Z'"),
        ("received.getHours('Asia/Jakarta')", "7"),
        ("received > timestamp('2025-01-01T00:00:00Z')", "true"),
        ("key.branch + string(key.no)", "'JKT7'"),
        ("key", r#"{"branch":"JKT","no":7}"#),
    ] {
        assert_eq!(value(expression, "{}"), expected, "{expression}");
    }
    let mut keyless = message("{}");
    for (key, expected) in [(None, "null"), (Some("42"), "42"), (Some("\"a\""), "'a'")] {
        keyless.key = key.map(Into::into);
        assert_eq!(shown(Expression::compile("key").unwrap().value(&Scope::new(&keyless, whence(), None))), expected);
    }
}

#[test]
fn children_speak_of_their_element() {
    let message = message(RECORD);
    let parent = Scope::new(&message, whence(), None);
    let of = |expression: &str, raw: &'static str, index| {
        let expression = Expression::compile(expression).unwrap();
        let apart = shown(expression.value(&Scope::new(&message, whence(), Some((raw, index)))));
        assert_eq!(shown(expression.value(&parent.of_element(raw, index))), apart);
        apart
    };
    let raw = r#"{"sku": "x1", "n": 2}"#;
    assert_eq!(of("item.n * data.qty", raw, 1), "6");
    assert_eq!(of("data.name + '-' + item.sku + '-' + string(index)", raw, 3), "'Ann-x1-3'");
    assert_eq!(of("item", raw, 1), r#"{"n":2,"sku":"x1"}"#);
    assert_eq!(of("has(item.x)", raw, 1), "false");
    assert_eq!(of("item + '!'", r#""text""#, 1), "'text!'");
    assert_eq!(of("item * 2", "21", 1), "42");
    assert_eq!(value("item.n", RECORD), "!expression");
    assert!(why("index", RECORD).contains("`index` is not there"));
}

#[test]
fn filters_are_true_or_false() {
    let message = message(RECORD);
    let scope = Scope::new(&message, whence(), None);
    let truth = |expression: &str| Expression::compile(expression).unwrap().truth(&scope).map_err(|error| error.why);
    assert_eq!(truth("data.qty > 2 && topic == 'orders'"), Ok(true));
    assert_eq!(truth("data.qty > 5"), Ok(false));
    assert_eq!(truth("data.qty"), Err("comes to a number, where true or false is expected".to_owned()));
    assert_eq!(truth("data.?nick"), Err("comes to null, where true or false is expected".to_owned()));
}

#[test]
fn variables_that_it_speaks_of() {
    let mentions = |text: &str, variable| Expression::compile(text).unwrap().mentions(variable);
    assert!(mentions("item.x + data.y", "item"));
    assert!(!mentions("data.item + 'index'", "item"));
    assert!(!mentions("data.item + 'index'", "index"));
    assert!(!mentions("data.list.map(item, item.x)", "item"));
    assert!(mentions("data.list.map(x, item.x)", "item"));
}

#[test]
fn failures_have_no_word_of_the_record() {
    let record = r#"{"a": "top secret", "b": 5, "n": {"top": "secret"}, "l": ["secret"]}"#;
    for (expression, expected) in [
        ("data.a + data.b", "`+` does not take a string and an int"),
        ("data.b % 1.5", "`%` does not take an int and a double; make them alike with `double(…)` or `int(…)`"),
        ("data.a - 1", "`-` does not take a string and an int"),
        ("data.a > data.b", "`>` does not take a string and an int"),
        ("data.x", "there is no `x`; where it may be missing, write `has(…)`, or `.?x.orValue(…)`"),
        ("data.n[data.a]", "a field that it needs is not there"),
        ("int(data.a)", "`int` can't take the value that it gets"),
        ("timestamp(data.a)", "`timestamp` can't take the value that it gets"),
        ("data.l[3]", "a list has fewer elements"),
        ("data.b / 0", "it divides by zero"),
        ("data.b % 0", "it divides by zero"),
        ("data.b * 9223372036854775807", "a number becomes too large"),
        ("data.a ? 1 : 2", "it has a string where it needs a bool"),
        ("data.a.map(x, x)", "it has a string where it needs a list or map"),
        ("data.a.nothing", "does not take a string"),
        ("size(data.b)", "`size` does not take an int"),
        ("{data.l: 1}", "can't be worked out for this record"),
        ("data.a in data.b", "`in` does not take a string and an int"),
        ("data.a && true", "does not take a string and a bool"),
        ("-data.a", "`-` does not take a string"),
        ("data.a.charAt(99)", "`charAt` can't take the value"),
        ("data.a.matches('x', 'y')", ""),
    ] {
        let Ok(compiled) = Expression::compile(expression) else { continue };
        let message = message(record);
        let error = compiled.value(&Scope::new(&message, whence(), None)).unwrap_err();
        assert!(error.why.contains(expected), "{expression}: {}", error.why);
        assert!(!error.why.contains("secret"), "{expression}: {}", error.why);
        assert_eq!(error.code, "expression");
    }
    assert_eq!(why("data.a", r#"{"a": 1, "a": 2}"#), "can't be worked out: field `a` stands in the record twice");
    assert_eq!(
        why("size(data)", r#"{"a": 1, "a": 2}"#),
        "can't be worked out: the record has a field that stands there twice"
    );
    assert_eq!(value("data.b", r#"{"a": 1, "a": 2, "b": 3}"#), "3");
    assert!(why("data.a", r#"{"a": "\ud800"}"#).contains("half of a surrogate pair"));
    assert!(why("data.a", "[1]").contains("does not take a list and a string"));
    assert!(why("data.a", "{").contains("not a JSON object"));
}

#[test]
fn what_can_not_be_read_says_where() {
    for (expression, expected) in [
        ("data.qty +", "at line 1, column 11: "),
        ("data.qty + * 2", "at line 1, column 12: "),
        ("'ä€🚗' + foo", "at line 1, column 9: there is no variable `foo`"),
        ("'ä€🚗' + * 2", "at line 1, column 9: "),
        ("'ä€🚗' + 'a\\q'", "at line 1, column 9: "),
        ("(data.a", "it ends too early"),
        ("data.a)", "there should not be ')'"),
        ("'open", "at line 1, column 1: "),
        (
            "data.qty +\n  quantity",
            "at line 2, column 3: there is no variable `quantity`; a field is written `data.quantity`",
        ),
        ("dta.qty", "at line 1, column 1: there is no variable `dta`; did you mean `data`?"),
        ("data.name.lowerASCII()", "there is no function `lowerASCII`; did you mean `lowerAscii`?"),
        ("sizeof(data)", "there is no function `sizeof`; did you mean `size`?"),
        ("data.x.map(y, z + 1)", "at line 1, column 15: there is no variable `z`"),
        ("has(data)", "invalid argument to has() macro"),
        (
            "data.name.matches(data.pattern)",
            "at line 1, column 23: the pattern of `matches` must stand in the expression",
        ),
        ("data.name.matches('a(b')", "the pattern of `matches` can't be read"),
        ("Point{x: 1}", "the type `Point` is not known"),
        ("", "is empty"),
        ("  \n", "is empty"),
    ] {
        let error = refused(expression);
        assert!(error.contains(expected), "{expression:?}: {error}");
    }
    assert_eq!(
        refused("data.qty + quantity"),
        "`expr` can't be read at line 1, column 12: there is no variable `quantity`; a field is written `data.quantity`, a \
         text 'in quotes'\n  data.qty + quantity\n             ^"
    );
}
