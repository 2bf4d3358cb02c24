#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tidegate_actors::route::{ColumnSource, Columns};

use super::*;

/// The example of the contract, word for word.
const EXAMPLE: &str = include_str!("example.toml");

fn mistakes(text: &str) -> String {
    Manifest::parse(text).unwrap_err().to_string()
}

#[test]
fn the_example_of_the_contract_parses() {
    let manifest = Manifest::parse(EXAMPLE).unwrap();
    assert_eq!(manifest.applications[0].topics, ["cars"]);
    let destination = &manifest.destinations[0];
    assert_eq!((destination.kind.as_str(), destination.delivery), ("mysql", Delivery::Ordered));
    assert!(matches!(&destination.password, Some(PasswordSource::Env(name)) if name == "ROOMS_PASSWORD"));
    let by_serde: toml::Table = toml::from_str(EXAMPLE).unwrap();
    let by_serde: RouteSpec = by_serde["route"].as_array().unwrap()[0].clone().try_into().unwrap();
    assert_eq!(manifest.routes[0].spec, by_serde, "our reader and the type's own serde agree");
}

#[test]
fn a_file_belongs_to_a_node() {
    let text = "[[destination]]\nname = \"rooms\"\nkind = \"sqlite\"\nurl = \"sqlite:///srv/rooms.db\"\nnode = \"a\"\n";
    let manifest = Manifest::parse(text).unwrap();
    assert_eq!(manifest.destinations[0].node.as_deref(), Some("a"));
}

#[test]
fn defaults_are_the_json_that_a_record_would_carry() {
    let defaults = |value: &str| {
        let manifest = Manifest::parse(&EXAMPLE.replace("default = 0", &format!("default = {value}"))).unwrap();
        let Columns::Named(columns) = &manifest.routes[0].spec.columns else { panic!("columns") };
        let ColumnSource::Detailed(rule) = &columns["stock"] else { panic!("a rule") };
        rule.default.clone().unwrap().to_string()
    };
    for (toml, json) in [
        ("1_000", "1000"),
        ("+5", "5"),
        ("0xFF", "255"),
        ("-1_0.5e1", "-105.0"),
        ("2026-01-31", "\"2026-01-31\""),
        ("[1, { a = true }]", "[1,{\"a\":true}]"),
    ] {
        assert_eq!(defaults(toml), json);
    }
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("default = 0", "default = 9223372036854775808")), @"line 24, column 49: this number has more than 64 bits; write it as a text");
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("default = 0", "default = nan")), @"line 24, column 49: JSON has no such number; write it as a text");
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("topics =", "topic =").replace("[[route]]", "[[routes]]")), @r###"
line 3, column 1: an application has no `topic`; did you mean `topics`?
line 13, column 3: a manifest has no `routes`; did you mean `route`?
line 21, column 2: write `[[route]]`: there may be several
"###);
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("\"mysql\"", "\"mysq\"").replace("\"ordered\"", "\"orderd\"")), @r###"
line 7, column 8: `mysq` is not a kind of database; did you mean `mysql`? (there are postgres, mysql, sqlserver, sqlite, broadcast)
line 10, column 12: `orderd` is not a value of `delivery`; did you mean `ordered`?
"###);
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("\"trim\"", "\"tirm\"").replace("\"int\"", "\"number\"")), @r###"
line 23, column 42: `tirm` is not a value of `clean`; did you mean `trim`?
line 24, column 32: `number` is not a value of `as`; there are `int`, `decimal`, `float`, `bool`, `text`, `date`, `time`, `timestamp`, `uuid`, `json`, `bytes`
"###);
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("default = 0", "defualt = 0").replace("mode =", "moed =")), @r###"
line 11, column 7: `tls` needs `mode`: verify, require or off
line 11, column 9: `tls` has no `moed`; did you mean `mode`?
line 24, column 39: a column has no `defualt`; did you mean `default`?
"###);
}

#[test]
fn what_is_missing_or_doubled_is_named() {
    insta::assert_snapshot!(mistakes("[[application]]\nname = \"a\"\n[[application]]\nname = \"a\"\n[[destination]]\n[[route]]\n"), @r###"
line 4, column 8: there are two applications `a`; names are unique
line 5, column 1: a destination needs `kind`
line 5, column 1: a destination needs `name`
line 5, column 1: a destination needs `url`
line 6, column 1: a route needs `application`
line 6, column 1: a route needs `destination`
line 6, column 1: a route needs `name`
line 6, column 1: a route needs `table`
line 6, column 1: a route needs `topic`
line 6, column 1: a route needs columns: write `columns = "matching"`, or a table `[route.columns]` with a field for each column
"###);
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("id = \"id\"", "").replace("key = [\"id\"]", "key = \"id\"")), @r#"line 19, column 7: `key` is a list of texts, such as ["id"], not a text"#);
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("id = \"id\"", "idd = \"id\"")), @"line 19, column 8: key column `id` is not in `columns`; did you mean `idd`?");
    insta::assert_snapshot!(mistakes("[[application]]\nname = \"a b\"\ntopics = [\"ä\", \"t\", \"t\"]\n[[application]]\nname = \"registry\""), @r###"
line 2, column 8: `a b` cannot be the application's name; use up to 64 letters, digits, `-`, `_` and `.`
line 3, column 11: `ä` cannot be the topic's name; use up to 64 letters, digits, `-`, `_` and `.`
line 3, column 21: topic `t` is listed twice
line 4, column 1: `registry` is taken by Tidegate itself; give the application another name
"###);
}

#[test]
fn values_of_the_wrong_sort_are_named() {
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("table = \"cars\"", "table = \"a.b.c\"").replace("\"now\"", "\"tomorrow\"")), @r###"
line 18, column 9: `a.b.c` is neither `table` nor `schema.table`
line 20, column 9: `tomorrow` is not a start; give "now", "earliest" or a time such as "2026-01-31T08:00:00+07:00"
"###);
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("stock = {", "stock = 5 #").replace("{ env = \"ROOMS_PASSWORD\" }", "7")), @r###"
line 9, column 12: `password` is a text, { env = "NAME" }, { file = "path" } or { kept = true }, not a number
line 24, column 9: a column takes a field's name or a table such as { from = "field" }, not a number
"###);
    insta::assert_snapshot!(mistakes(&EXAMPLE.replace("{ env = \"ROOMS_PASSWORD\" }", "{ env = \"A\", kept = true }")), @r#"line 9, column 12: `password` is a text, { env = "NAME" }, { file = "path" } or { kept = true }; give one of them"#);
    insta::assert_snapshot!(mistakes("[application]\nname = \"a\""), @"line 1, column 1: write `[[application]]`: there may be several");
    insta::assert_snapshot!(mistakes("[[application]\n"), @"line 1, column 15: this is not TOML: unclosed array table, expected `]`");
}

#[test]
fn a_password_in_the_address_is_refused_and_not_shown() {
    for url in ["mysql://writer:hunter2@10.0.0.5/cars_room", "mysql://writer@10.0.0.5/cars_room?Password=hunter2"] {
        let found = mistakes(&EXAMPLE.replace("mysql://writer@10.0.0.5/cars_room", url));
        assert!(found.starts_with("line 8, column 7: `url` holds a password"), "{found}");
        assert!(!found.contains("hunter2"));
    }
    assert!(!mistakes(&EXAMPLE.replace("{ env = \"ROOMS_PASSWORD\" }", "hunter2")).contains("hunter2"));
    let manifest = Manifest::parse(&EXAMPLE.replace("{ env = \"ROOMS_PASSWORD\" }", "\"hunter2\"")).unwrap();
    assert!(!format!("{manifest:?}").contains("hunter2"));
}

/// The example with more lines in its route, before its columns.
fn with(lines: &str) -> String {
    EXAMPLE.replace("[route.columns]", &format!("{lines}\n[route.columns]"))
}

/// The example with another rule for `stock`.
fn stock(rule: &str) -> String {
    EXAMPLE.replace("{ from = \"stock\", as = \"int\", default = 0 }", rule)
}

#[test]
fn everything_that_a_route_can_say_is_read_as_its_own_serde_reads_it() {
    let text = with(
        r#"
filter = "data.stock > 0"
on_missing = "insert"
on_existing = "ignore"
delete = { column = "deleted_at", restore = 0 }
version_column = "changed"
unknown_fields = "reject"
on_dead = "block"
"#,
    ) + r#"
changed = { meta = "received", as = "timestamp", format = "%d/%m/%Y", zone = "Asia/Jakarta", required = true }
colour = { clean = ["title", "strip_html", { null_if = ["-"] }, { replace = ["a", "b"] }, { truncate = 5 }], one_of = ["Red"] }
price = { expr = "data.price * 2", clean = [{ number = "id-ID" }, { round = 2 }], min = 0, max = 9.5 }
state = { value = "new", clean = [{ map = { N = "new", "*" = 1 } }], length = { min = 1, max = 20 }, pattern = "^n" }
[[route.children]]
from = "parts"
table = "car_parts"
parent = { car_id = "id" }
columns = { name = "name", no = { meta = "index" } }
"#;
    let manifest = Manifest::parse(&text).unwrap();
    let by_serde: toml::Table = toml::from_str(&text).unwrap();
    let by_serde: RouteSpec = by_serde["route"].as_array().unwrap()[0].clone().try_into().unwrap();
    assert_eq!(manifest.routes[0].spec, by_serde);
    let place = |part| manifest.mistake(manifest.routes[0].places.find(part), "").line;
    assert_eq!((place("columns.price.expr"), place("columns.nothing")), (place("columns.price"), place("columns")));
    assert!(place("children[0].table") > place("children[0]"));
}

#[test]
fn steps_and_checks_that_are_written_wrong_say_how_they_are_written() {
    insta::assert_snapshot!(mistakes(&stock(r#"{ clean = ["truncate", { truncat = 3 }, { round = "2" }, { trim = 1, lower = 2 }, "tilte"] }"#)), @r###"
line 24, column 20: the step `truncate` takes a value: write { truncate = 40 }
line 24, column 34: `truncat` is not a step that takes a value; did you mean `truncate`?
line 24, column 59: the step `round` is written { round = 2 }
line 24, column 66: a step of `clean` is one word, or a table with one name such as { truncate = 40 }
line 24, column 91: `tilte` is not a value of `clean`; did you mean `title`?
"###);
    insta::assert_snapshot!(mistakes(&stock(r#"{ from = "stock", expr = "1", length = [9, 1], min = true, one_of = [] }"#)), @r###"
line 24, column 11: a column takes its value from one place, and this one has both `expr` and `from`
line 24, column 48: no text is at least 9 and at most 1 characters long
line 24, column 62: `min` is a number, or a date or time as a text, not true or false
line 24, column 77: `one_of` is a list of the values that are taken, such as ["new", "used"]
"###);
    insta::assert_snapshot!(mistakes(&stock(r#"{ length = 1.5, required = true, default = 1, meta = "recieved" }"#)), @r###"
line 24, column 9: a column that is `required` never takes its `default`: leave one of them out
line 24, column 20: `length` is a number of characters, [1, 20], or { min = 1, max = 20 }
line 24, column 62: `recieved` is not a value of `meta`; did you mean `received`?
"###);
}

#[test]
fn what_a_route_does_is_one_of_the_words() {
    insta::assert_snapshot!(mistakes(&with("delete = \"rwo\"\non_dead = \"stop\"\non_existing = \"skip\"\nunknown_fields = 1")), @r###"
line 21, column 10: `delete` is "row", "ignore", or { column = "deleted_at" } for a soft delete; there are `row`, `ignore`
line 22, column 11: `stop` is not a value of `on_dead`; there are `skip`, `block`
line 23, column 15: `skip` is not a value of `on_existing`; there are `by_action`, `reject`, `ignore`, `update`
line 24, column 18: `unknown_fields` is a text, not a number
"###);
    insta::assert_snapshot!(mistakes(&with("delete = { colunm = \"gone\" }")), @r###"
line 21, column 10: `delete` needs `column`
line 21, column 12: `delete` has no `colunm`; did you mean `column`?
"###);
}

#[test]
fn a_child_finds_its_parent_by_the_whole_key() {
    let child = |parent: &str| {
        format!("{EXAMPLE}[[route.children]]\nfrom = \"parts\"\ntable = \"parts\"\n{parent}\ncolumns = \"matching\"\n")
    };
    insta::assert_snapshot!(mistakes(&child("")), @r###"line 25, column 1: a child needs `parent`: its own column and the route's key column, such as { parent_id = "id" }"###);
    insta::assert_snapshot!(mistakes(&child("parent = { car_id = \"ID\" }")), @r###"
line 28, column 10: `parent` lacks key column `id`: without it a child has several parents
line 28, column 21: `ID` is no key column of the route; did you mean `id`?
"###);
    let two = child("parent = { car_id = \"id\" }").replace("key = [\"id\"]", "key = [\"id\", \"stock\"]");
    insta::assert_snapshot!(mistakes(&two), @r###"line 28, column 10: `parent` lacks key column `stock`: without it a child has several parents"###);
}

#[test]
fn a_schema_is_a_file_or_a_text() {
    let schema =
        |schema: &str| EXAMPLE.replace("topics = [\"cars\"]", &format!("topics = [\"cars\"]\nschemas = {schema}"));
    let manifest = Manifest::parse(&schema("{ cars = { file = \"cars.json\" } }")).unwrap();
    assert!(matches!(&manifest.applications[0].schemas["cars"], SchemaSource::File(file) if file == "cars.json"));
    insta::assert_snapshot!(mistakes(&schema("{ cars = 1 }")), @r###"line 4, column 20: a schema is { file = "cars.schema.json" }, or JSON as a text, not a number"###);
}
