#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod numbers;
mod properties;

use serde_json::json;

use super::*;

fn steps(json: serde_json::Value) -> Cleaning {
    let steps: Vec<CleanStep> = serde_json::from_value(json).expect("steps");
    Cleaning::compile(&steps).expect("steps that compile")
}

/// What a JSON value becomes: its text, `NULL`, or the code of the refusal after `!`.
fn clean(raw: &str, cleaning: &serde_json::Value) -> String {
    let cleaning = steps(cleaning.clone());
    match Value::read(raw).and_then(|value| cleaning.apply(value)) {
        Ok(Value::Null) => "NULL".to_owned(),
        Ok(Value::Bool(truth)) => truth.to_string(),
        Ok(Value::Number(text) | Value::Object(text) | Value::Array(text)) => text.into_owned(),
        Ok(Value::Text(text)) => format!("'{text}'"),
        Err(error) => format!("!{}", error.code),
    }
}

fn table(cleaning: &serde_json::Value, rows: &[(&str, &str)]) {
    for (raw, expected) in rows {
        assert_eq!(clean(raw, cleaning), *expected, "{raw} by {cleaning}");
    }
    assert_eq!(clean("null", cleaning), "NULL", "{cleaning}");
}

fn refused(json: serde_json::Value) -> String {
    let steps: Vec<CleanStep> = serde_json::from_value(json).expect("steps");
    Cleaning::compile(&steps).expect_err("no error")
}

#[test]
fn white_space_and_case() {
    table(&json!(["trim"]), &[(r#""  a b\u00a0""#, "'a b'"), (r#""a""#, "'a'"), ("5", "5"), ("true", "true")]);
    table(
        &json!(["collapse"]),
        &[
            (r#""\ta \n\n b ""#, "' a b '"),
            (r#"" a b ""#, "' a b '"),
            (r#""a\u00a0b""#, "'a b'"),
            (r#""a  b""#, "'a b'"),
        ],
    );
    table(&json!(["collapse", "trim"]), &[(r#""\ta \n\n b ""#, "'a b'")]);
    table(&json!(["lower"]), &[(r#""ÄÖ Straße""#, "'äö straße'"), (r#""abc1""#, "'abc1'"), (r#""ABC""#, "'abc'")]);
    table(&json!(["upper"]), &[(r#""straße""#, "'STRASSE'"), (r#""ABC""#, "'ABC'"), ("5", "5")]);
}

#[test]
fn titles_begin_each_word_with_a_capital() {
    table(
        &json!(["title"]),
        &[
            (r#""JAKARTA selatan""#, "'Jakarta Selatan'"),
            (r#""o'neil d’arcy""#, "'O'neil D’arcy'"),
            (r#""jean-luc (PICARD)""#, "'Jean-Luc (Picard)'"),
            (r#""'hello' \"WORLD\"""#, "''Hello' \"World\"'"),
            (r#""3rd ave. 2b""#, "'3rd Ave. 2b'"),
            (r#""ßtraße ÉCOLE ñandú""#, "'Sstraße École Ñandú'"),
            (r#""cafe\u0301s e\u0301a""#, "'Cafe\u{301}s E\u{301}a'"),
            (r#""ОДЕССА мама""#, "'Одесса Мама'"),
            (r#""ΟΔΟΣ""#, "'Οδος'"),
            (r#""a—b…c/d_e""#, "'A—B…C/D_E'"),
            (r#""""#, "''"),
            ("5", "5"),
        ],
    );
}

#[test]
fn digits_nulls_replacement_and_length() {
    table(
        &json!(["digits"]),
        &[(r#""+62 (812) 3456-78""#, "'62812345678'"), (r#""٣""#, "''"), (r#""12""#, "'12'"), ("1.5", "1.5")],
    );
    table(&json!(["null_if_empty"]), &[(r#""""#, "NULL"), (r#""   ""#, "'   '"), ("0", "0")]);
    table(&json!(["trim", "null_if_empty", "upper"]), &[(r#""   ""#, "NULL")]);
    table(
        &json!([{"null_if": ["N/A", "-"]}]),
        &[(r#""N/A""#, "NULL"), (r#""-""#, "NULL"), (r#""n/a""#, "'n/a'"), ("5", "5")],
    );
    table(&json!([{"replace": ["a", "aa"]}]), &[(r#""banana""#, "'baanaanaa'"), (r#""x""#, "'x'"), ("5", "5")]);
    table(&json!([{"truncate": 3}]), &[(r#""äöüß""#, "'äöü'"), (r#""ab""#, "'ab'"), ("12345", "12345")]);
    table(&json!(["trim", {"truncate": 2}, "upper"]), &[(r#"" abc""#, "'AB'")]);
}

#[test]
fn rounding_is_half_away_from_zero_and_exact() {
    table(
        &json!([{"round": 2}]),
        &[
            ("1.005", "1.01"),
            ("2.675", "2.68"),
            ("-1.005", "-1.01"),
            ("1.004999999999999999999999", "1.00"),
            ("9.995", "10.00"),
            ("99999999999999999999.999", "100000000000000000000.00"),
            ("0.004", "0.00"),
            ("-0.004", "0.00"),
            ("1.5", "1.5"),
            ("15", "15"),
            ("1.2345e2", "1.2345e2"),
            ("1.23456e2", "123.46"),
            (r#""1.005""#, "'1.01'"),
            (r#""abc""#, "'abc'"),
            (r#""1,005""#, "'1,005'"),
            ("1e999999999", "1e999999999"),
            ("true", "true"),
            ("[1.005]", "[1.005]"),
        ],
    );
    table(&json!([{"round": 0}]), &[("0.5", "1"), ("-0.5", "-1"), ("1.4999", "1"), ("0.4", "0"), ("999.5", "1000")]);
    let long = format!("0.{}5", "9".repeat(5000));
    assert_eq!(clean(&long, &json!([{"round": 5000}])), format!("1.{}", "0".repeat(5000)));
}

#[test]
fn a_map_lists_what_it_takes() {
    let strict =
        json!([{"map": {"Y": true, "N": false, "1": "one", "2.5": 2, "true": "yes", "none": null, "list": [1]}}]);
    table(
        &strict,
        &[
            (r#""Y""#, "true"),
            (r#""N""#, "false"),
            ("1", "'one'"),
            ("1.0", "'one'"),
            (r#""1""#, "'one'"),
            ("2.50", "2"),
            ("true", "'yes'"),
            (r#""none""#, "NULL"),
            (r#""list""#, "[1]"),
            (r#""y""#, "!map"),
            (r#""1.0""#, "!map"),
            ("false", "!map"),
            ("{}", "!map"),
            (r#""*""#, "!map"),
        ],
    );
    table(
        &json!([{"map": {"a": 1, "*": "other"}}]),
        &[(r#""a""#, "1"), (r#""b""#, "'other'"), ("[]", "'other'"), (r#""*""#, "'other'")],
    );
    let secret = steps(strict).apply(Value::Text("top secret".into())).unwrap_err();
    assert_eq!(secret.why, "is a string that `map` does not list: add it there, or `\"*\"` for all others");
}

#[test]
fn html_becomes_its_text() {
    table(
        &json!(["strip_html"]),
        &[
            (r#""<p>A <b>fine</b> car</p>""#, "'A fine car'"),
            (r#""<p>One</p><p>Two<br/>Three</p>""#, "'One\nTwo\nThree'"),
            (r#""<ul><li>a</li><li>b</li></ul>c""#, "'a\nb\nc'"),
            (r#""<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>""#, "'a b\nc'"),
            (r#""a<br>\n<br>b""#, "'a\n\nb'"),
            (r#""x <script>alert('<b>')</script>y<STYLE>p > a {}</Style >z""#, "'x yz'"),
            (r#""<script>never ends""#, "''"),
            (r#""a<!-- <b> -- -->b<!-->c""#, "'abc'"),
            (r#""<!DOCTYPE html><?xml v?>a""#, "'a'"),
            (r#""5 < 6 && 7 > 3 <3""#, "'5 < 6 && 7 > 3 <3'"),
            (r#""<a title='x>y' href=\"a>b\">link</a>""#, "'link'"),
            (r#""it<a>'s</a> a \"b\"""#, "'it's a \"b\"'"),
            (r#""a<b never ends""#, "'a'"),
            (r#""&lt;b&gt; &amp;amp; &quot;&apos;&euro;&nbsp;&eacute;""#, "'<b> &amp; \"'€\u{a0}é'"),
            (r#""&#8364;&#x20AC;&#X20ac;&#128;&#0;&#xD800;&#99999999;""#, "'€€€€\u{fffd}\u{fffd}\u{fffd}'"),
            (r#""&unknown; &amp &#; &#x; &#+5; & &;""#, "'&unknown; &amp &#; &#x; &#+5; & &;'"),
            (r#""&scriptä;</scriptä>""#, "'&scriptä;'"),
            (r#""plain""#, "'plain'"),
            ("5", "5"),
        ],
    );
}

#[test]
fn stripping_html_is_linear() {
    // Each of these is quadratic in a careless parser; the bound is far above what a slow machine needs for one pass.
    for piece in
        ["<", "<a ", "<a '", "<a =\"", "</script", "<script>", "<!--", "&", "&#", "<p><", "&amp", "=\"   \"<a "]
    {
        let text = piece.repeat(1 << 20);
        let cleaning = steps(json!(["strip_html"]));
        let start = std::time::Instant::now();
        cleaning.apply(Value::Text(text.into())).unwrap();
        assert!(start.elapsed().as_secs() < 20, "{piece}");
    }
}

#[test]
fn steps_that_can_not_work_are_refused() {
    assert_eq!(
        refused(json!([{"replace": ["", "x"]}])),
        "`replace` looks for an empty text: its first text must not be empty"
    );
    assert!(refused(json!([{"truncate": 0}])).contains("1 or more"));
    assert!(refused(json!([{"null_if": []}])).contains("lists no text"));
    assert!(refused(json!([{"map": {}}])).contains("lists nothing"));
    assert!(refused(json!(["trim", {"number": "xx-XX"}])).contains("`xx-XX`"));
}

#[test]
fn what_does_not_change_is_not_copied() {
    let cleaning = steps(json!([
        "trim", "collapse", "lower", "strip_html", "null_if_empty", {"null_if": ["x"]}, {"replace": ["x", "y"]}, {"truncate": 9}
    ]));
    let cleaned = cleaning.apply(Value::Text("abc def".into())).unwrap();
    assert!(matches!(cleaned, Value::Text(Cow::Borrowed("abc def"))));
    assert!(matches!(steps(json!(["trim"])).apply(Value::Text(" a ".into())), Ok(Value::Text(Cow::Borrowed("a")))));
}
