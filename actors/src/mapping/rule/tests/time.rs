use super::*;

#[test]
fn formats_of_producers() {
    table(
        &json!({"as": "date", "format": "%d/%m/%Y"}),
        &[
            (r#""01/06/2025""#, "2025-06-01"),
            (r#""1/6/2025""#, "2025-06-01"),
            (r#""31/02/2025""#, "!range"),
            (r#""01-06-2025""#, "!type"),
            (r#""01/06/2025 ""#, "!type"),
            ("5", "!type"),
            ("true", "!type"),
        ],
    );
    table(
        &json!({"as": "date", "format": "%Y%m%d"}),
        &[(r#""20250601""#, "2025-06-01"), ("20250601", "2025-06-01"), (r#""00000601""#, "!range")],
    );
    table(
        &json!({"as": "date", "format": "%d %B %y"}),
        &[(r#""1 June 25""#, "2025-06-01"), (r#""1 june 70""#, "1970-06-01")],
    );
    table(
        &json!({"as": "timestamp", "format": "%m/%d/%Y %I:%M %p"}),
        &[(r#""06/01/2025 08:05 PM""#, "2025-06-01 20:05:00"), (r#""06/01/2025 13:05 PM""#, "!range")],
    );
    table(
        &json!({"as": "timestamp", "format": "%Y-%m-%dT%H:%M:%S%.f%z"}),
        &[(r#""2025-06-01T08:00:00.25+0700""#, "2025-06-01 01:00:00.25+00:00")],
    );
    table(&json!({"as": "timestamp", "format": "%d.%m.%Y"}), &[(r#""01.06.2025""#, "2025-06-01 00:00:00")]);
    table(&json!({"as": "time", "format": "%H.%M"}), &[(r#""08.30""#, "08:30:00"), (r#""24.30""#, "!range")]);
    table(&json!({"as": "time", "format": "%d.%m.%Y %H:%M"}), &[(r#""01.06.2025 08:30""#, "08:30:00")]);
    // Without `as`, the format says what it is.
    table(&json!({"format": "%d.%m.%Y"}), &[(r#""01.06.2025""#, "2025-06-01")]);
    table(&json!({"format": "%d.%m.%Y %H:%M"}), &[(r#""01.06.2025 08:30""#, "2025-06-01 08:30:00")]);
    table(&json!({"format": "%H:%M"}), &[(r#""08:30""#, "08:30:00")]);
}

#[test]
fn zones_of_times_that_name_none() {
    table(
        &json!({"as": "timestamp", "zone": "Asia/Jakarta"}),
        &[
            (r#""2025-06-01 08:00:00""#, "2025-06-01 01:00:00+00:00"),
            (r#""2025-06-01T08:00:00Z""#, "2025-06-01 08:00:00+00:00"),
            (r#""2025-06-01T08:00:00+09:00""#, "2025-05-31 23:00:00+00:00"),
            (r#""2025-06-01""#, "2025-05-31 17:00:00+00:00"),
            (r#""0001-01-01 00:00:00""#, "!range"),
            (r#""2016-12-31 23:59:60""#, "2016-12-31 17:00:00+00:00"),
        ],
    );
    table(&json!({"zone": "+07:00"}), &[(r#""2025-06-01 08:00""#, "2025-06-01 01:00:00+00:00")]);
    table(&json!({"zone": "-03:30"}), &[(r#""2025-06-01 08:00""#, "2025-06-01 11:30:00+00:00")]);
    table(&json!({"zone": "UTC"}), &[(r#""2025-06-01 08:00""#, "2025-06-01 08:00:00+00:00")]);
    table(
        &json!({"as": "time", "zone": "+07:00"}),
        &[(r#""08:00""#, "08:00:00+07:00"), (r#""08:00Z""#, "08:00:00+00:00")],
    );
    table(
        &json!({"format": "%d/%m/%Y %H:%M", "zone": "Asia/Jakarta"}),
        &[(r#""01/06/2025 08:00""#, "2025-06-01 01:00:00+00:00")],
    );
}

#[test]
fn a_time_shown_twice_is_the_earlier_and_one_that_is_skipped_is_refused() {
    table(
        &json!({"zone": "Europe/Berlin"}),
        &[
            (r#""2025-10-26 02:30:00""#, "2025-10-26 00:30:00+00:00"),
            (r#""2025-10-26 03:00:00""#, "2025-10-26 02:00:00+00:00"),
            (r#""2025-03-30 02:30:00""#, "!range"),
            (r#""2025-03-30 03:00:00""#, "2025-03-30 01:00:00+00:00"),
        ],
    );
    assert_eq!(
        why(r#""2025-03-30 02:30:00""#, &json!({"zone": "Europe/Berlin"})),
        "is a time that the clocks of Europe/Berlin skip, as they are put forward"
    );
}

#[test]
fn unix_times() {
    table(
        &json!({"as": "timestamp", "format": "unix"}),
        &[
            ("1748736000", "2025-06-01 00:00:00+00:00"),
            ("1748736000.5", "2025-06-01 00:00:00.5+00:00"),
            ("-1", "1969-12-31 23:59:59+00:00"),
            (r#""1748736000""#, "2025-06-01 00:00:00+00:00"),
            ("1.748736e9", "2025-06-01 00:00:00+00:00"),
            ("1e30", "!range"),
            ("0.0000000001", "!range"),
            ("1748736000000", "!range"),
            (r#""2025-06-01""#, "!type"),
            ("true", "!type"),
        ],
    );
    table(
        &json!({"format": "unix_ms"}),
        &[
            ("1748736000123", "2025-06-01 00:00:00.123+00:00"),
            ("1748736000123.4567", "2025-06-01 00:00:00.1234567+00:00"),
        ],
    );
    table(
        &json!({"as": "date", "format": "unix", "zone": "Asia/Jakarta"}),
        &[("1748710800", "2025-06-01"), ("1748710799", "2025-05-31")],
    );
    table(&json!({"as": "time", "format": "unix", "zone": "Asia/Jakarta"}), &[("1748736000", "07:00:00")]);
}

#[test]
fn formats_and_zones_that_can_not_work_are_refused() {
    for (rule, expected) in [
        (json!({"as": "date", "format": "%d/%m/%Q"}), "`format` `%d/%m/%Q` has `%Q`, which strftime does not know"),
        (json!({"as": "date", "format": "%d/%m/%"}), "`format` `%d/%m/%` has `%`, which"),
        (json!({"as": "date", "format": "dd/mm/yyyy"}), "`format` `dd/mm/yyyy` has no part of a date or time"),
        (json!({"as": "date", "format": "%d/%m"}), "`format` `%d/%m` lacks a whole date"),
        (json!({"as": "timestamp", "format": "%d/%m/%Y %I:%M"}), "`format` `%d/%m/%Y %I:%M` lacks a whole time"),
        (json!({"as": "time", "format": "%d/%m/%Y"}), "`format` `%d/%m/%Y` lacks a whole time"),
        (json!({"format": "%d"}), "`format` `%d` has neither a whole date nor a whole time"),
        (json!({"format": "%Y-%m-%d %H:%M %Z"}), "`format` `%Y-%m-%d %H:%M %Z` has `%Z`: names of zones"),
        (json!({"format": "%s"}), "`format` `%s` has `%s`: for seconds since 1970"),
        (json!({"as": "int", "format": "%d"}), "`format` is for dates and times: take it out"),
        (json!({"as": "text", "zone": "UTC"}), "`zone` is for dates and times"),
        (json!({"zone": "Asia/Djakarta"}), "`zone` `Asia/Djakarta` is not known; did you mean `Asia/Jakarta`?"),
        (json!({"zone": "Jakarta"}), "`zone` `Jakarta` is not known; did you mean `Asia/Jakarta`?"),
        (json!({"zone": "+25:00"}), "`zone` `+25:00` is no offset"),
        (json!({"zone": "+07:60"}), "`zone` `+07:60` is no offset"),
        (json!({"as": "date", "zone": "UTC"}), "`zone` says nothing of a date"),
        (json!({"as": "time", "zone": "Asia/Jakarta"}), "a time of day alone has no offset in Asia/Jakarta"),
    ] {
        let error = refused(rule.clone());
        assert!(error.starts_with(expected), "{rule}: {error}");
    }
}

#[test]
fn the_column_says_what_a_format_reads() {
    let rule = rule(json!({"format": "%d/%m/%Y %H:%M"}));
    let read = |column: &ColumnType| {
        let rule = ValueRule::compile_for(&rule, column)?;
        rule.apply(Value::Text("01/06/2025 08:30".into())).map_err(|error| error.why)
    };
    let text = |text: &'static str| Ok(Value::Text(text.into()));
    assert_eq!(read(&ColumnType::Date), text("2025-06-01"));
    assert_eq!(read(&ColumnType::Time { zone: false }), text("08:30:00"));
    assert_eq!(read(&ColumnType::Timestamp { zone: true }), text("2025-06-01 08:30:00"));
    assert_eq!(read(&ColumnType::Text { max_chars: None, max_bytes: None, nul: false }), text("2025-06-01 08:30:00"));
    assert!(read(&ColumnType::Bool).unwrap_err().contains("the column is neither"));
}
