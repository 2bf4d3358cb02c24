//! The statements for each kind, as they are printed.
#![allow(clippy::unwrap_used)]

use tidegate_actors::schema::{ColumnSchema, ColumnType};

use super::*;

fn orders(columns: &str) -> RouteSpec {
    let text = format!(
        r#"{{"name":"shop-orders","application":"shop","topic":"orders","destination":"shop","table":"sales.orders","key":["no"],
            "delete":{{"column":"deleted_at"}},
            "children":[{{"from":"lines","table":"sales.order_lines","parent":{{"order_no":"no"}},
                "columns":{{"line":{{"meta":"index"}},"sku":{{"length":{{"max":20}},"required":true}},"qty":{{"as":"int","default":1}}}}}}],
            "columns":{columns}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

const COLUMNS: &str = r#"{"no":"no","total":{"as":"decimal","clean":[{"round":2}]},"state":{"one_of":["new","paid"],"default":"new"},
    "paid":{"as":"bool","default":false},"at":{"as":"timestamp","zone":"Asia/Jakarta"},"received":{"meta":"received"},
    "buyer":{"from":"customer.id","as":"uuid"},"raw":{"as":"json"},"note":"note","o'clock":{"as":"time"},"photo":{"as":"bytes"},
    "rate":{"as":"float"},"day":{"as":"date"},"seen":{"as":"timestamp"},"source":{"value":"shop"}}"#;

fn all(dialect: Dialect) -> String {
    let needed = lacking(dialect, &orders(COLUMNS), None, &[None]).unwrap();
    format!("{}\n{}", needed.statements.join(";\n"), needed.notes.join("\n"))
}

#[test]
fn postgres_makes_a_table_and_its_childs() {
    insta::assert_snapshot!(all(Dialect::Postgres), @"");
}

#[test]
fn mysql_makes_a_table_and_its_childs() {
    insta::assert_snapshot!(all(Dialect::MySql), @"");
}

#[test]
fn sqlite_makes_a_table_and_its_childs() {
    insta::assert_snapshot!(all(Dialect::Sqlite), @"");
}

#[test]
fn sql_server_makes_a_table_and_its_childs() {
    insta::assert_snapshot!(all(Dialect::SqlServer), @"");
}

#[test]
fn only_what_is_missing_is_added() {
    let column = |name: &str| ColumnSchema {
        name: name.into(),
        declared: "integer".into(),
        kind: ColumnType::Other,
        nullable: true,
        has_default: false,
        default: None,
        generated: false,
    };
    let there = TableSchema {
        schema: "sales".into(),
        name: "orders".into(),
        columns: vec![column("No"), column("deleted_at")],
        unique_keys: vec![vec!["No".into()]],
    };
    let route = orders(r#"{"no":"no","total":{"as":"decimal","required":true},"note":{"length":{"max":80}}}"#);
    let needed = lacking(Dialect::MySql, &route, Some(&there), &[None]).unwrap();
    insta::assert_snapshot!(format!("{}\n{}", needed.statements.join(";\n"), needed.notes.join("\n")), @"");
    let lines = TableSchema { name: "order_lines".into(), columns: vec![], ..there.clone() };
    let needed = lacking(Dialect::SqlServer, &route, Some(&there), &[Some(lines)]).unwrap();
    insta::assert_snapshot!(needed.statements.join(";\n"), @"");
}

#[test]
fn a_route_that_names_no_columns_makes_no_table() {
    let mut route = orders("{}");
    route.columns = Columns::default();
    let told = lacking(Dialect::Postgres, &route, None, &[None]).unwrap_err();
    assert!(told.contains("`sales.orders`") && told.contains("name the columns"), "{told}");
}
