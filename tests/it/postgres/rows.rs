//! Types, the catalogue, and rows that PostgreSQL refuses.

use tidegate_actors::{
    ports::WriteError,
    schema::ColumnType,
    transaction::{Cell, Op},
};

use super::{Writer, statement};

const TYPES: &str = r#"
    CREATE SCHEMA other;
    CREATE TYPE other."Mood" AS ENUM ('calm', 'it''s "odd"');
    CREATE DOMAIN price AS numeric(14,2) NOT NULL CHECK (VALUE >= 0);
    CREATE DOMAIN special_price AS price DEFAULT 9.90;
    CREATE TABLE kinds (
        id bigint PRIMARY KEY,
        code char(3),
        name varchar(20),
        price special_price,
        mood other."Mood",
        raw bytea,
        as_sent json,
        parsed jsonb,
        clock timetz,
        stamp timestamp,
        instant timestamptz,
        flags bit(3),
        labels text[],
        address inet,
        span interval,
        big numeric,
        flag boolean,
        small real,
        "select" uuid,
        twice bigint GENERATED ALWAYS AS (id * 2) STORED
    );"#;

#[tokio::test]
async fn every_type_is_described_and_kept_as_it_was_sent() {
    let mut writer = Writer::with(TYPES).await;
    let plan = writer.plan("kinds", &["id"]).await;
    let column = |name: &str| plan.table.columns.iter().find(|column| column.name == name).unwrap();
    assert_eq!(column("price").kind, ColumnType::Decimal { precision: Some(14), scale: Some(2) });
    assert!(!column("price").nullable && column("price").has_default, "a domain's own default and NOT NULL count");
    assert_eq!(column("mood").kind, ColumnType::Enum { values: vec!["calm".into(), "it's \"odd\"".into()] });
    assert_eq!(column("name").kind, ColumnType::Text { max_chars: Some(20), max_bytes: None, nul: false });
    assert_eq!(column("parsed").kind, ColumnType::Json { nul: false });
    assert_eq!(column("labels").kind, ColumnType::Other);
    assert!(column("twice").generated);

    let names: Vec<&str> =
        plan.table.columns.iter().map(|column| column.name.as_str()).filter(|name| *name != "twice").collect();
    let digits = "123456789012345678901234567890.1234567890123456789012345678901234567890";
    let row = [
        "9007199254740993",
        "abc",
        "Mobil 🚗 日本",
        "12345678901.50",
        "it's \"odd\"",
        "",
        r#"{"b": 1,  "a\u0000": 2}"#,
        r#"{"a": 1.10}"#,
        "08:00:00.5+07:00",
        "2025-06-01 08:00:00.5",
        "2025-06-01 08:00:00.123456+00:00",
        "101",
        r#"{a,"b c",NULL}"#,
        "10.0.0.5/24",
        "1 day 02:00:00",
        digits,
        "true",
        "0.1",
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
    ];
    let mut change = statement(&plan, Op::Insert, &names, &[&row]);
    change.rows[0][5] = Cell::Bytes(Box::new([0, 255, 16]));
    writer.commit(vec![change]).await.unwrap();

    let kept = writer
        .text(
            "SELECT concat_ws('|', id, code, name, price, mood, encode(raw, 'hex'), as_sent, parsed, clock, stamp, \
             instant AT TIME ZONE 'UTC', flags, labels, address, span, big, flag, small, \"select\", twice) FROM kinds",
        )
        .await
        .unwrap();
    let expected = format!(
        "9007199254740993|abc|Mobil 🚗 日本|12345678901.50|it's \"odd\"|00ff10|{{\"b\": 1,  \"a\\u0000\": 2}}|{{\"a\": 1.10}}|\
         08:00:00.5+07|2025-06-01 08:00:00.5|2025-06-01 08:00:00.123456|101|{{a,\"b c\",NULL}}|10.0.0.5/24|1 day 02:00:00|\
         {digits}|t|0.1|67e55044-10b1-426f-9247-bb680e5fe0c8|18014398509481986"
    );
    assert_eq!(kept, expected);
}

/// Whatever is not spelled in the canonical way is PostgreSQL's to read, and those beside it stay what they are.
#[tokio::test]
async fn every_spelling_is_kept_as_postgresql_itself_reads_it() {
    let mut writer = Writer::with("CREATE SCHEMA told").await;
    for (of, usual, odd) in [
        ("smallint", &["-32768", "32767", "0"][..], &[" 7", "+7", "007"][..]),
        ("integer", &["-2147483648", "2147483647"], &["1 ", "+1"]),
        ("bigint", &["-9223372036854775808", "9223372036854775807", "-0"], &["\t1"]),
        (
            "numeric",
            &["0", "-0", "0.000", "10000", "1.50", "-0.00010", "99999999.9999", "123456789012345678901234567890.5"],
            &["NaN", "1e3", "1.5E-7", ".5", "5.", " 2 ", "+3"],
        ),
        ("numeric(30,4)", &["12345678901234567890123456.7891", "-0.0001", "7"], &["NaN", "1e3"]),
        ("double precision", &["0.1", "-0", "5e-324", "1.7976931348623157e308"], &["NaN", "Infinity", "-inf", " 1"]),
        ("real", &["0.1", "16777217", "3.4028235e38", "1e-45"], &["nan", "infinity"]),
        ("boolean", &["true", "false"], &["t", "off", " yes ", "0"]),
        (
            "date",
            &["0001-01-01", "2000-02-29", "9999-12-31"],
            &["infinity", "0044-03-15 BC", "12345-06-07", "20250601", "epoch"],
        ),
        ("time", &["00:00:00", "23:59:59.999999"], &["24:00:00", "23:59:60", "08:00", "8:00 PM", "08:00:00.1234567"]),
        ("time(3)", &["08:00:00.1234", "23:59:59.9999"], &["24:00:00"]),
        (
            "timestamp",
            &["0001-01-01 00:00:00", "1999-12-31 23:59:59.999999", "9999-12-31 23:59:59.5"],
            &[
                "-infinity",
                "0044-03-15 12:00:00 BC",
                "2016-12-31 23:59:60",
                "2025-06-01T08:00:00",
                "2025-06-01",
                "2025-06-01 08:00:00.9999999",
            ],
        ),
        ("timestamp(0)", &["2025-12-31 23:59:59.5"], &["infinity"]),
        (
            "timestamptz",
            &["0001-01-01 00:00:00+00:00", "2025-06-01 08:00:00.5+00:00"],
            &[
                "infinity",
                "2025-06-01 08:00:00",
                "2025-06-01 08:00:00+07",
                "2025-06-01 08:00:00 Asia/Jakarta",
                "4713-01-01 00:00:00+00 BC",
            ],
        ),
        (
            "uuid",
            &["018f4f3e-7a1c-7cc0-98c4-dc0c0c07398f", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
            &["{018F4F3E-7A1C-7CC0-98C4-DC0C0C07398F}", "018f4f3e7a1c7cc098c4dc0c0c07398f"],
        ),
        ("integer[]", &["{1,NULL,3}", "{}", "[1,2]"], &["{{1},{2}}"]),
        ("text[]", &["{}", "{NULL,\"NULL\",\"\"}"], &[]),
    ] {
        writer
            .sql(&format!("DROP TABLE IF EXISTS kept; CREATE TABLE kept (id int PRIMARY KEY, v {of}, note text)"))
            .await;
        let all: Vec<&str> = usual.iter().chain(odd).copied().chain(["∅"]).collect();
        let ids: Vec<String> = (0..all.len() * 3).map(|id| id.to_string()).collect();
        let row = |at: usize, from: usize| -> [&str; 3] { [&ids[from + at], all[at], ""] };
        // The usual ones among themselves, as they nearly always come; then all of them together, by each way of writing.
        for at in 0..usual.len() {
            writer.write(Op::Insert, "kept", &["id", "v", "note"], &[&row(at, 0)]).await.unwrap();
        }
        let together: Vec<_> = (0..all.len()).map(|at| row(at, all.len())).collect();
        let together: Vec<&[&str]> = together.iter().map(<[&str; 3]>::as_slice).collect();
        writer.write(Op::Insert, "kept", &["id", "v", "note"], &together).await.unwrap();
        let again: Vec<_> = (0..all.len()).map(|at| row(at, 2 * all.len())).collect();
        let again: Vec<&[&str]> = again.iter().map(<[&str; 3]>::as_slice).collect();
        writer.write(Op::Upsert, "kept", &["id", "v", "note"], &again).await.unwrap();
        writer.write(Op::Update, "kept", &["id", "v", "note"], &again).await.unwrap();
        for (at, text) in all.iter().enumerate() {
            let read = match *text {
                "∅" => "NULL".to_owned(),
                json if json.starts_with('[') => format!("'{{{}}}'", json.trim_matches(['[', ']'])),
                other => format!("'{}'", other.replace('\'', "''")),
            };
            let places = [at, all.len() + at, 2 * all.len() + at];
            for id in places.into_iter().skip(usize::from(at >= usual.len())) {
                let same = format!(
                    "SELECT concat_ws(' is not ', v::text, ({read}::{of})::text) FROM kept WHERE id = {id} \
                     AND v::text IS DISTINCT FROM ({read}::{of})::text UNION ALL SELECT NULL LIMIT 1"
                );
                assert_eq!(writer.text(&same).await, None, "{of}, {text}, row {id}");
            }
        }
        let held = writer.text("SELECT count(*)::text FROM kept").await.unwrap();
        assert_eq!(held, (usual.len() + 2 * all.len()).to_string(), "{of}");
    }
}

/// What PostgreSQL says of a bad value does not depend on how its column was sent.
#[tokio::test]
async fn one_bad_value_is_told_of_among_many_good_ones() {
    let mut writer = Writer::with(
        "CREATE TABLE t (id int PRIMARY KEY, s smallint, n numeric(5,2), d date, u uuid, f real, b boolean, tz timestamptz)",
    )
    .await;
    for (column, good, bad, code) in [
        ("s", "7", "70000", "range"),
        ("s", "7", "seven", "type"),
        ("n", "1.50", "1000", "range"),
        ("n", "1.50", "1,5", "type"),
        ("d", "2025-06-01", "2025-02-30", "range"),
        ("u", "018f4f3e-7a1c-7cc0-98c4-dc0c0c07398f", "018f4f3e", "type"),
        ("f", "0.5", "1e39", "range"),
        ("b", "true", "maybe", "type"),
        ("tz", "2025-06-01 08:00:00+00:00", "2025-06-01 25:00:00+00:00", "range"),
    ] {
        let rejection = writer.rejected(Op::Insert, "t", &["id", column], &["1", bad]).await;
        assert_eq!(rejection.code, code, "{column}: {rejection}");
        let refused = writer.write(Op::Upsert, "t", &["id", column], &[&["1", good], &["2", bad], &["3", good]]).await;
        let Err(WriteError::Reject(among)) = refused else { panic!("{column}: {refused:?}") };
        assert_eq!((among.code, among.message), (rejection.code, rejection.message), "{column}");
        writer.write(Op::Insert, "t", &["id", column], &[&["1", good]]).await.unwrap();
        writer.sql("TRUNCATE t").await;
    }
}

#[tokio::test]
async fn a_value_that_is_too_long_is_refused_and_never_cut() {
    let mut writer = Writer::with(
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(3), code char(3), flags bit(3), labels varchar(3)[])",
    )
    .await;
    for (column, value, code) in [
        ("name", "abcd", "too_long"),
        ("code", "abcd", "too_long"),
        ("labels", "{abcd}", "too_long"),
        ("flags", "1010", "too_long"),
    ] {
        let rejection = writer.rejected(Op::Upsert, "t", &["id", column], &["1", value]).await;
        assert_eq!(rejection.code, code, "{column}: {rejection}");
        assert!(!rejection.message.contains(value), "{rejection}");
        writer.sql("INSERT INTO t VALUES (1)").await;
        let rejection = writer.rejected(Op::Update, "t", &["id", column], &["1", value]).await;
        assert_eq!(rejection.code, code, "{column}: {rejection}");
        writer.sql("TRUNCATE t").await;
    }
    assert_eq!(writer.rejected(Op::Insert, "t", &["id", "name"], &["1", "abcd"]).await.column.as_deref(), Some("name"));
}

#[tokio::test]
async fn a_json_array_goes_into_an_array_column() {
    let mut writer = Writer::with("CREATE TABLE t (id int PRIMARY KEY, labels text[], sizes numeric(30,2)[])").await;
    let rows: [&[&str]; 3] =
        [&["1", r#"["a, b", null, "{\"c\"}"]"#, "[12345678901234567890.25]"], &["2", "[]", "{1,2}"], &["3", "∅", "∅"]];
    writer.write(Op::Upsert, "t", &["id", "labels", "sizes"], &rows).await.unwrap();
    assert_eq!(
        writer.text("SELECT string_agg(concat_ws('|', id, labels, sizes), ' ' ORDER BY id) FROM t").await.unwrap(),
        r#"1|{"a, b",NULL,"{\"c\"}"}|{12345678901234567890.25} 2|{}|{1.00,2.00} 3"#
    );
    let rejection = writer.rejected(Op::Insert, "t", &["id", "sizes"], &["4", r#"["big"]"#]).await;
    assert_eq!((rejection.code.as_str(), rejection.message.contains("big")), ("type", false), "{rejection}");
}

#[tokio::test]
async fn a_bad_row_is_named_with_its_column_and_without_its_values() {
    let mut writer = Writer::with(
        "CREATE TABLE branch (id int PRIMARY KEY);
         CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE, stock int CHECK (stock >= 0), name text NOT NULL DEFAULT '',
                         branch int REFERENCES branch, born date, size smallint, late int REFERENCES branch DEFERRABLE INITIALLY DEFERRED);
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF new.name = 'forbidden' THEN RAISE EXCEPTION 'no such name here'; END IF; RETURN new; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse();
         INSERT INTO t (id, email) VALUES (1, 'secret@example.org')",
    )
    .await;
    for (column, value, code, named) in [
        ("email", "secret@example.org", "unique", Some("email")),
        ("stock", "-17", "check", Some("stock")),
        ("name", "∅", "not_null", Some("name")),
        ("name", "forbidden", "other", None),
        ("branch", "4711", "foreign_key", Some("branch")),
        ("born", "2025-13-77", "range", None),
        ("born", "tomorrowish", "type", Some("born")),
        ("size", "70000", "range", Some("size")),
        ("late", "4711", "foreign_key", Some("late")),
    ] {
        let rejection = writer.rejected(Op::Insert, "t", &["id", column], &["2", value]).await;
        assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), (code, named), "{column}: {rejection}");
        assert!(!rejection.message.contains(value), "{column}: {rejection}");
    }
    let rejection = writer.rejected(Op::Insert, "t", &["id"], &["1"]).await;
    assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), ("unique", Some("id")));
    assert_eq!(writer.text("SELECT count(*)::text FROM t").await.unwrap(), "1");
    writer.write(Op::Insert, "t", &["id"], &[&["2"]]).await.expect("the connection goes on after rejections");
}

#[tokio::test]
async fn an_upsert_of_some_columns_updates_a_row_that_an_insert_could_not_make() {
    let mut writer = Writer::with(
        "CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, stock int);
         CREATE TABLE c (id int PRIMARY KEY, low int DEFAULT 5, high int, CHECK (high > low));
         INSERT INTO t VALUES (1, 'one', 0); INSERT INTO c VALUES (1, 1, 2)",
    )
    .await;
    writer.write(Op::Upsert, "t", &["id", "stock"], &[&["1", "7"]]).await.unwrap();
    assert_eq!(writer.text("SELECT t::text FROM t").await.unwrap(), "(1,one,7)");
    let rejection = writer.rejected(Op::Upsert, "t", &["id", "stock"], &["2", "7"]).await;
    assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), ("not_null", Some("name")));
    writer.write(Op::Upsert, "c", &["id", "high"], &[&["1", "3"], &["2", "9"]]).await.unwrap();
    assert_eq!(writer.text("SELECT string_agg(c::text, ' ' ORDER BY id) FROM c").await.unwrap(), "(1,1,3) (2,5,9)");
}

#[tokio::test]
async fn two_updates_of_one_row_in_one_statement_are_never_merged_in_silence() {
    let mut writer =
        Writer::with("CREATE TABLE t (id char(3) PRIMARY KEY, stock int); INSERT INTO t VALUES ('a', 0)").await;
    let plan = writer.plan("t", &["id"]).await;
    // The same key to the database, and to nobody else.
    let mut change = statement(&plan, Op::Update, &["id", "stock"], &[&["a", "1"], &["a ", "2"]]);
    change.must_touch = false;
    let refused = writer.commit(vec![change]).await;
    assert!(matches!(&refused, Err(WriteError::Reject(rejection)) if rejection.code == "other"), "{refused:?}");
    let refused = writer.write(Op::Upsert, "t", &["id", "stock"], &[&["a", "1"], &["a ", "2"]]).await;
    assert!(matches!(&refused, Err(WriteError::Reject(rejection)) if rejection.code == "other"), "{refused:?}");
    assert_eq!(writer.text("SELECT stock::text FROM t").await.unwrap(), "0");
}

#[tokio::test]
async fn rows_that_touch_nothing_are_told_exactly() {
    let mut writer =
        Writer::with("CREATE TABLE t (id int PRIMARY KEY, stock int); INSERT INTO t VALUES (1, 0), (3, 0)").await;
    let plan = writer.plan("t", &["id"]).await;
    let mut update =
        statement(&plan, Op::Update, &["id", "stock"], &[&["1", "1"], &["2", "1"], &["3", "1"], &["4", "1"]]);
    update.must_touch = false;
    let delete = statement(&plan, Op::Delete, &["id"], &[&["5"], &["3"]]);
    let committed = writer.commit(vec![update, delete]).await.unwrap();
    assert_eq!(committed.untouched, [(0, 1), (0, 3), (1, 0)]);
    let refused = writer.write(Op::Update, "t", &["id", "stock"], &[&["1", "9"], &["2", "9"]]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!((rejection.code.as_str(), rejection.row), ("missing_row", Some(1)));
    assert_eq!(writer.text("SELECT t::text FROM t").await.unwrap(), "(1,1)", "the refused batch left nothing");
    writer.write(Op::Update, "t", &["id"], &[&["1"]]).await.expect("an update of nothing but the key finds its row");
}

#[tokio::test]
async fn keys_that_on_conflict_can_use_are_found_with_the_primary_key_first() {
    let mut writer = Writer::with(
        "CREATE TABLE t (a int UNIQUE, b int, c int, d text, PRIMARY KEY (c, b), UNIQUE (d) DEFERRABLE);
         CREATE UNIQUE INDEX ON t (a) WHERE b > 0; CREATE UNIQUE INDEX ON t (lower(d)); CREATE UNIQUE INDEX ON t (d, a) INCLUDE (b);
         CREATE VIEW v AS SELECT * FROM t;
         CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts DEFAULT",
    )
    .await;
    let keys = async |writer: &mut Writer, table: &str| writer.destination.table(table).await.unwrap().unique_keys;
    let expected = [vec!["c", "b"], vec!["a"], vec!["d", "a"]];
    assert_eq!(keys(&mut writer, "t").await, expected);
    assert!(keys(&mut writer, "public.v").await.is_empty());
    assert_eq!(keys(&mut writer, "parts").await, [["id"]]);
    writer.write(Op::Upsert, "parts", &["id"], &[&["1"], &["2"]]).await.unwrap();
}
