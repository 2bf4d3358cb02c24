use super::*;

fn number(locale: &str, rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        let raw = serde_json::Value::from(*text).to_string();
        assert_eq!(clean(&raw, &json!([{"number": locale}])), *expected, "`{text}` in {locale}");
    }
}

fn why(locale: &str, text: &str) -> String {
    steps(json!([{"number": locale}])).apply(Value::Text(text.to_owned().into())).unwrap_err().why
}

#[test]
fn numbers_as_people_write_them() {
    number(
        "id-ID",
        &[
            ("Rp 1.500.000,00", "1500000.00"),
            ("Rp1.500.000", "1500000"),
            ("Rp. 1.500.000,-", "1500000"),
            ("Rp.500,--", "500"),
            ("1500000", "1500000"),
            ("1.500 IDR", "1500"),
            ("-Rp 2.500,5", "-2500.5"),
            ("Rp -2.500,5", "-2500.5"),
            ("(Rp 2.500)", "-2500"),
            ("2.500-", "-2500"),
            (" 12 rupiah ", "12"),
            ("0,5", "0.5"),
            (",5", "0.5"),
            ("007", "7"),
            ("-0,00", "0.00"),
            ("1.50", "!type"),
            ("1.5", "!type"),
            ("1.5000", "!type"),
            ("0.500", "!type"),
            ("1,500,000", "!type"),
            ("1.500.00,00", "!type"),
            ("15.00.000", "!type"),
            (".500", "!type"),
            ("1..500", "!type"),
            ("1.500,", "!type"),
            ("1 500", "!type"),
            ("12 kg", "!type"),
            ("Rp", "!type"),
            ("", "!type"),
            ("--5", "!type"),
            ("(-5)", "!type"),
            ("1e5", "!type"),
            ("12 %", "!type"),
        ],
    );
    number(
        "de-DE",
        &[
            ("1.234,56 €", "1234.56"),
            ("€ 1.234,56", "1234.56"),
            ("1.234,56 EUR", "1234.56"),
            ("1.234,56-", "-1234.56"),
            ("\u{2212}5", "-5"),
            ("5,– €", "5"),
            ("1,234.56", "!type"),
        ],
    );
    number(
        "en-US",
        &[
            ("$1,234.56", "1234.56"),
            ("US$ 1,234.56", "1234.56"),
            ("($1,234.56)", "-1234.56"),
            ("$.50", "0.50"),
            ("-$5", "-5"),
            ("$-5", "-5"),
            ("+1,000", "1000"),
            ("1,234.56 USD", "1234.56"),
            ("$1 USD", "1"),
            ("1.234,56", "!type"),
            ("1,23", "!type"),
        ],
    );
    number(
        "fr-FR",
        &[
            ("1\u{202f}234,56 €", "1234.56"),
            ("1\u{a0}234\u{a0}567", "1234567"),
            ("1 234,5", "1234.5"),
            ("1.234,5", "!type"),
            ("12 34", "!type"),
        ],
    );
    number("de-CH", &[("1'234.50", "1234.50"), ("CHF 1’234.50", "1234.50"), ("Fr. 5.-", "5"), ("1,234.50", "!type")]);
    number(
        "en-IN",
        &[
            ("1,23,456.70", "123456.70"),
            ("₹12,34,567", "1234567"),
            ("Rs. 1,234", "1234"),
            ("1,234,567", "!type"),
            ("123,456", "!type"),
        ],
    );
    number("hi-IN", &[("१,२३,४५६.७०", "123456.70"), ("1,23,456", "123456")]);
    number("ar-EG", &[("١٬٢٣٤٫٥", "1234.5"), ("1٬234", "1234"), ("1,234", "!type")]);
    number("de-AT", &[("1 234,5", "1234.5"), ("€ 1.234,50", "1234.50"), ("1.234 567", "!type")]);
    number("pl-PL", &[("1 234,50 zł", "1234.50")]);
    number("sv-SE", &[("1 234:50", "!type"), ("1 234 kr", "1234")]);
    number("pt-BR", &[("R$ 1.234,56", "1234.56")]);
    number("ja-JP", &[("¥1,234", "1234"), ("1,234円", "1234")]);
}

#[test]
fn numbers_of_json_pass() {
    table(&json!([{"number": "id-ID"}]), &[("1.5", "1.5"), ("1500", "1500"), ("true", "true")]);
}

#[test]
fn refusals_say_how_the_locale_writes_and_not_what_was_sent() {
    assert_eq!(
        why("id-ID", "1.50"),
        "is a string whose separators do not stand as `id-ID` has them (`1.234.567,89`), so that its value would be a guess"
    );
    assert!(why("en-IN", "1,234,567").contains("`12,34,567.89`"));
    assert!(why("en-US", "5 %").contains("percentage"));
    assert!(why("en-US", " ").contains("null_if_empty"));
    assert_eq!(why("en-US", "secret 5"), "is a string that has something besides a number and a currency");
}

#[test]
fn a_locale_that_is_not_known_is_refused_with_the_nearest() {
    for (tag, expected) in
        [("id", "`id-ID`"), ("id_ID", ""), ("EN-us", ""), ("de-XX", "`de-DE`"), ("ID-id-x", "`id-ID`"), ("", "`id-ID`")]
    {
        match Locale::find(tag) {
            Ok(_) => assert_eq!(expected, "", "{tag}"),
            Err(error) => assert!(!expected.is_empty() && error.contains(expected), "{error}"),
        }
    }
}

#[test]
fn tags_are_listed_once() {
    let mut tags: Vec<_> = locale::tags().collect();
    assert!(tags.len() > 100);
    tags.dedup();
    assert_eq!(tags.len(), locale::tags().count());
}
