use super::*;

#[test]
fn numbers_are_compared_digit_by_digit() {
    table(
        &json!({"min": 0, "max": "99999999999999999999.5", "as": "decimal"}),
        &[
            ("0", "0"),
            ("-0", "0"),
            ("-0.0000000000000000000001", "!min"),
            ("99999999999999999999.5", "99999999999999999999.5"),
            ("99999999999999999999.51", "!max"),
            ("1e2", "100"),
            ("1e20", "!max"),
            (r#""7""#, "7"),
            (r#""x""#, "!type"),
        ],
    );
    table(
        &json!({"min": 10}),
        &[
            ("9", "!min"),
            ("10", "10"),
            ("10.0", "10.0"),
            (r#""9""#, "!min"),
            (r#""11""#, "11"),
            (r#""abc""#, "!type"),
            ("true", "!type"),
            ("{}", "!type"),
            ("-11", "!min"),
        ],
    );
    table(&json!({"max": -1.5}), &[("-1.5", "-1.5"), ("-1.4999", "!max"), ("-2", "-2")]);
    assert_eq!(why("-5", &json!({"min": 0})), "is below `min`, which is 0");
    assert_eq!(why(r#""secret""#, &json!({"min": 0})), "is a string that is not a number, which `min` compares");
}

#[test]
fn dates_and_times_are_compared_by_value() {
    table(
        &json!({"as": "date", "min": "2020-01-01", "max": "2029-12-31"}),
        &[(r#""2019-12-31""#, "!min"), (r#""2020-01-01T10:00:00Z""#, "2020-01-01"), (r#""2030-01-01""#, "!max")],
    );
    table(
        &json!({"as": "timestamp", "min": "2025-06-01T00:00:00+07:00"}),
        &[
            (r#""2025-05-31T17:00:00Z""#, "2025-05-31 17:00:00+00:00"),
            (r#""2025-05-31T16:59:59.999Z""#, "!min"),
            (r#""2025-06-01T01:00:00+09:00""#, "!min"),
            (r#""2025-06-01""#, "2025-06-01 00:00:00"),
        ],
    );
    table(
        &json!({"as": "time", "max": "17:00"}),
        &[(r#""17:00:00""#, "17:00:00"), (r#""17:00:00.1""#, "!max"), (r#""2025-06-01T08:00:00""#, "08:00:00")],
    );
    table(
        &json!({"format": "%d/%m/%Y", "min": "01/06/2025"}),
        &[(r#""01/06/2025""#, "2025-06-01"), (r#""31/05/2025""#, "!min"), (r#""01/01/2026""#, "2026-01-01")],
    );
    // Without a cast the bound says what the values are, and they stay as they came.
    table(
        &json!({"min": "2025-01-01"}),
        &[(r#""2025-06-01T08:00:00Z""#, "2025-06-01T08:00:00Z"), (r#""2024-12-31""#, "!min"), (r#""soon""#, "!type")],
    );
    table(&json!({"min": "08:00"}), &[(r#""07:59""#, "!min"), (r#""08:00:01""#, "08:00:01")]);
    table(&json!({"min": "12"}), &[("13", "13"), ("11", "!min")]);
}

#[test]
fn length_counts_characters() {
    table(
        &json!({"length": {"min": 2, "max": 3}}),
        &[
            (r#""ä""#, "!length"),
            (r#""äö""#, "äö"),
            (r#""äöü""#, "äöü"),
            (r#""äöüß""#, "!length"),
            ("12", "12"),
            ("1234", "!length"),
            ("[]", "!type"),
        ],
    );
    table(&json!({"length": {"max": 0}}), &[(r#""""#, ""), (r#""a""#, "!length")]);
    assert_eq!(
        why(r#""secret""#, &json!({"length": {"max": 3}})),
        "has 6 characters, at most 3 are allowed by `length`"
    );
}

#[test]
fn a_pattern_matches_somewhere_unless_it_is_anchored() {
    table(
        &json!({"pattern": "[0-9]{4}"}),
        &[(r#""a1234b""#, "a1234b"), (r#""123""#, "!pattern"), ("12345", "12345"), ("{}", "!type")],
    );
    table(&json!({"pattern": r"^\p{Lu}\w+$"}), &[(r#""Émile""#, "Émile"), (r#""émile""#, "!pattern")]);
    assert_eq!(why(r#""secret""#, &json!({"pattern": "^x"})), "is a string that `pattern` does not match");
}

#[test]
fn one_of_lists_values() {
    let rule = json!({"one_of": ["new", "used", 1, 2.5, true]});
    table(
        &rule,
        &[
            (r#""new""#, "new"),
            (r#""New""#, "!one_of"),
            ("1", "1"),
            ("1.0", "1.0"),
            (r#""1""#, "1"),
            (r#""2.50""#, "2.50"),
            ("true", "true"),
            ("false", "!one_of"),
            ("[]", "!one_of"),
        ],
    );
    assert_eq!(why(r#""secret""#, &rule), "is a string that `one_of` does not list (`new`, `used`, 1, 2.5, true)");
    table(
        &json!({"as": "date", "one_of": ["2025-06-01T10:00:00"]}),
        &[(r#""2025-06-01""#, "2025-06-01"), (r#""2025-06-02""#, "!one_of")],
    );
    table(&json!({"clean": ["upper"], "one_of": ["A"]}), &[(r#""a""#, "A")]);
    table(&json!({"one_of": ["1.0"]}), &[(r#""1""#, "!one_of"), ("1", "1")]);
}

#[test]
fn checks_that_can_not_work_are_refused() {
    for (rule, expected) in [
        (json!({"min": 5, "max": 1}), "`min` 5 is above `max` 1, so that nothing fits"),
        (json!({"min": 5, "max": "2025-01-01"}), "`min` and `max` are of different kinds"),
        (json!({"min": "soon"}), "`min` \"soon\" is no number, date or time"),
        (json!({"min": true}), "`min` is a boolean: write a number, or a date or time as a string"),
        (json!({"as": "int", "min": "x"}), "`min` \"x\" is no number"),
        (json!({"as": "date", "min": "01.06.2025"}), "`min` \"01.06.2025\" is a string that is not a date"),
        (json!({"as": "text", "min": 1}), "`min` compares numbers, dates and times"),
        (
            json!({"format": "%d/%m/%Y", "min": "2025.06.01"}),
            "`min` \"2025.06.01\" is a string that is not a date or time in the format",
        ),
        (json!({"length": {"min": 3, "max": 2}}), "`length` has a `min` of 3 above its `max` of 2"),
        (
            json!({"pattern": "a(b"}),
            "`pattern` can't be read: regex parse error:\n    a(b\n     ^\nerror: unclosed group",
        ),
        (json!({"pattern": r"(\w{500}){500}"}), "`pattern` takes more than 1024 KiB"),
        (json!({"one_of": [[1]]}), "`one_of` lists [1]: it takes texts, numbers, true and false"),
        (json!({"as": "int", "one_of": ["a"]}), "`one_of` lists \"a\", which is a string that is not a whole number"),
    ] {
        let error = refused(rule.clone());
        assert!(error.starts_with(expected), "{rule}: {error}");
    }
}
