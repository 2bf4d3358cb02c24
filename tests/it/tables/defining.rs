//! `tidegate route ddl`, and the statements for child tables on every kind.

use std::time::Duration;

use tidegate::{
    databases::{Connection, kind},
    tables::ddl::{Dialect, lacking},
};
use tidegate_actors::{ports::Destination, route::RouteSpec};

use super::{Site, route};

const COLUMNS: &str = "id = { from = \"id\", as = \"int\" }\ncar_name = \"car_name\"\nprice = { from = \"price\", as = \"decimal\" }\n\
    sold = { from = \"sold\", as = \"date\" }\nopen = { from = \"open\", as = \"bool\", default = true }";

#[tokio::test]
async fn a_missing_table_is_shown_then_made_where_that_is_asked_for() {
    let site = Site::new().await;
    site.begin();
    site.write("one.ndjson", "{\"id\":1,\"car_name\":\"a\",\"price\":\"1.50\",\"sold\":\"2026-01-31\"}\n");
    for target in &site.targets {
        site.write("cars.toml", &route(&target.name, "key = [\"id\"]", COLUMNS));
        let shown = site.done(&["route", "ddl", "cars.toml"]);
        assert!(shown.starts_with("CREATE TABLE ") && shown.contains("PRIMARY KEY"), "{shown}");
        assert!(site.run(&["tables", &target.name, "cars"]).code == 1, "nothing is made unasked");
        let unasked = site.run(&["route", "ddl", "cars.toml", "--create"]);
        assert!(unasked.code == 1 && unasked.err.contains("this runs 1 statement on"), "{}", unasked.err);
        assert!(site.run(&["tables", &target.name, "cars"]).code == 1, "nothing is made unconfirmed");

        let made = site.done(&["route", "ddl", "cars.toml", "--create", "--yes"]);
        assert_eq!(made, format!("{shown}-- 1 statement run on {}.\n", target.name));
        let none = site.done(&["route", "ddl", "cars.toml"]);
        assert!(none.contains("lacks no table and no column"), "{none}");
        site.done(&["route", "try", "cars.toml", "--records", "one.ndjson"]);

        let more = format!("{COLUMNS}\nnote = {{ from = \"note\", as = \"text\" }}");
        site.write("cars.toml", &route(&target.name, "key = [\"id\"]", &more));
        let made = site.done(&["route", "ddl", "cars.toml", "--create", "--yes"]);
        assert!(made.starts_with("ALTER TABLE ") && made.contains("note"), "{made}");
        let applied = site.run(&["apply", "cars.toml"]);
        assert_eq!((applied.code, applied.err.as_str()), (0, ""), "{}", applied.out);
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_not_taken_for_one_without_the_table() {
    let site = Site::new().await;
    site.write("gone.toml", &format!("{}{}", super::unreachable(), route("gone", "key = [\"id\"]", COLUMNS)));
    let ran = site.run(&["route", "ddl", "gone.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
}

#[tokio::test]
async fn child_tables_are_made_with_their_parent_on_every_kind() {
    let site = Site::new().await;
    let route: RouteSpec = serde_json::from_str(
        r#"{"name":"orders","application":"shop","topic":"orders","destination":"shop","table":"orders","key":["no"],
            "delete":{"column":"deleted_at","value":true,"restore":false},
            "columns":{"no":"no","total":{"as":"decimal","clean":[{"round":2}],"required":true},"at":{"as":"timestamp","zone":"Asia/Jakarta"},
                "got":{"meta":"received"},"raw":{"as":"json"},"who":{"as":"uuid"},"pic":{"as":"bytes"},"rate":{"as":"float"},
                "hour":{"as":"time"},"state":{"one_of":["new","it's gone"],"default":"it's gone"},"note":{"default":"-"}},
            "children":[
                {"from":"lines","table":"order_lines","parent":{"order_no":"no"},
                 "columns":{"line":{"meta":"index"},"sku":{"length":{"max":20},"required":true},"qty":{"as":"int","default":1}}},
                {"from":"tags","table":"order_tags","parent":{"order_no":"no"},"columns":{"tag":"tag"}}]}"#,
    )
    .unwrap();
    for target in &site.targets {
        let dialect = Dialect::of(target.kind).unwrap();
        let mut database = open(target.kind, &target.url);
        let needed = lacking(dialect, &route, None, &[None, None]).unwrap();
        database.define(&needed.statements).await.unwrap_or_else(|error| panic!("{error}\n{needed:#?}"));
        let orders = database.table("orders").await.unwrap();
        let lines = database.table("order_lines").await.unwrap();
        let tags = database.table("order_tags").await.unwrap();
        assert_eq!(orders.unique_keys, [["no"]]);
        let mut key = lines.unique_keys[0].clone();
        key.sort();
        assert_eq!(key, ["line", "order_no"]);
        assert!(
            orders.columns.iter().all(|column| column.kind != tidegate_actors::schema::ColumnType::Other),
            "{orders:?}"
        );
        let there = [Some(lines), Some(tags)];
        assert_eq!(lacking(dialect, &route, Some(&orders), &there).unwrap().statements, Vec::<String>::new());
        // A child beside a parent that is there already.
        target.execute("drop table order_lines").await;
        let needed = lacking(dialect, &route, Some(&orders), &[None, there[1].clone()]).unwrap();
        database.define(&needed.statements).await.unwrap_or_else(|error| panic!("{error}\n{needed:#?}"));
        target.execute("insert into orders (no, total) values ('a', 1)").await;
        target.execute("insert into order_lines (order_no, line, sku) values ('a', 1, 's')").await;
        target.execute("delete from orders").await;
        let left = target.pairs("select count(*), count(*) from order_lines").await.unwrap();
        assert_eq!(left, [(0, 0)], "{}", target.kind);
    }
}

fn open(of: &str, url: &str) -> Box<dyn Destination> {
    (kind(of).unwrap().open)(Connection {
        name: "rooms".into(),
        url: url.parse().unwrap(),
        password: None,
        tls: None,
        connect_timeout: Duration::from_secs(10),
        session_timeout: Duration::from_secs(3),
        home: None,
    })
}
