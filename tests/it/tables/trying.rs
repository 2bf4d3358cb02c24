//! From a table and some records to a route that is applied: suggested, tried, applied.

use super::{Site, route};

const RECORDS: &str = r#"{"id":1,"name":" Porsche 911","stock":"4","price":1500000.15,"sold":"2026-01-31T10:00:00Z"}
{"id":2,"name":"Kijang","stock":"2","price":"99.5","sold":"2026-02-01T00:00:00Z","colour":"red"}
"#;

#[tokio::test]
async fn a_suggestion_can_be_tried_and_applied_as_it_is() {
    let site = Site::new().await;
    site.begin();
    site.cars().await;
    site.write("cars.ndjson", RECORDS);
    for target in &site.targets {
        let name = target.name.as_str();
        let about = ["--application", "car-app", "--topic", "cars", "--destination", name, "--table", "cars"];
        let records = ["--records", "cars.ndjson"];
        let suggested = site.done(&[&["route", "suggest"][..], &about, &records].concat());
        site.write("suggested.toml", &suggested);
        assert!(suggested.contains("\nkey = [\"id\"] "), "{suggested}");
        assert!(suggested.contains("\ncar_name = { from = \"name\", clean = [\"trim\"] }"), "{suggested}");
        assert!(suggested.contains("# Fields that no column takes: colour\n"), "{suggested}");
        let json = site.done(&[&["route", "suggest", "--json"][..], &about, &records].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["key"][0], &json["columns"][0]["likeness"]), (&"id".into(), &1.0.into()));

        let tried = site.done(&["route", "try", "suggested.toml", "--records", "cars.ndjson", "--key-field", "id"]);
        assert!(tried.contains("line 1: upsert, key [\"1\"]\n"), "{tried}");
        let cell = |column: &str, value: &str, from: &str| {
            let found = tried.lines().any(|line| {
                line.trim_start().starts_with(&format!("{column} "))
                    && line.contains(&format!(" {value} "))
                    && line.ends_with(from)
            });
            assert!(found, "{column} {value} {from}: {tried}");
        };
        cell("car_name", "\"Porsche 911\"", "field name: trim");
        cell("stock", "4", "field stock");
        cell("price", "1500000.15", "field price");
        assert!(tried.ends_with("2 records: 2 upsert\n"), "{tried}");

        let applied = site.run(&["apply", "suggested.toml"]);
        assert!(applied.code == 0 && applied.err.is_empty(), "{}{}", applied.out, applied.err);
        // Now it is the registry's, and nothing was written for all that.
        let of_registry = site.done(&["route", "try", &format!("{name}-cars"), "--records", "cars.ndjson"]);
        assert!(of_registry.ends_with("2 records: 2 insert\n"), "{of_registry}");
        assert_eq!(target.pairs("select id, id from cars").await.unwrap(), []);
        assert_eq!(target.pairs("select 1, 1 from tidegate_watermark").await, None, "not even our own tables");
    }
    let listed = site.done(&["tables", "sales"]);
    assert!(listed.contains("cars   sales-cars"), "{listed}");
}

#[tokio::test]
async fn what_cannot_be_mapped_is_told_with_its_field_and_ends_in_failure() {
    let site = Site::new().await;
    site.begin();
    site.cars().await;
    let columns =
        "id = \"id\"\ncar_name = { from = \"name\", clean = [\"trim\"] }\nstock = { from = \"stock\", default = 1 }";
    site.write("cars.toml", &route("sales", "key = [\"id\"]", columns));
    let records = r#"[
  {"topic":"cars","action":"upsert","key":1,"data":{"name":"a"}},
  {"topic":"cars","action":"update","key":2,"data":{"stock":null}},
  {"topic":"cars","action":"delete","key":3},
  {"topic":"parts","data":{"name":"a"}},
  {"action":"drop","data":{"name":"a"}},
  {"id":4,"name":"b","stock":"many"},
  {"id":5}
]"#;
    site.write("cars.json", records);
    let ran = site.run(&["route", "try", "cars.toml", "--records", "cars.json"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    insta::assert_snapshot!(ran.out, @r##"
    route sales-cars: topic cars of car-app into table cars of sales; nothing is written
    record 1: upsert, key ["1"]
      id        1    the message's key
      car_name  "a"  field name: trim
      stock     1    default, if the row is new
    record 2: update, key ["2"]
      id     2     the message's key
      stock  null  field stock
    record 3: delete, key ["3"]
      id  3  the message's key
    record 4: not for this route, its topic is parts
    record 5: refused (type): `drop` is no action; there are insert, upsert, update, delete
    record 6: refused (type): field `stock` for column `stock` (integer) of table `cars` is a string that is not a whole number
    record 7: refused (required): field `name` is missing: column `car_name` (character varying(40)) of table `cars` is NOT NULL and has no default
    7 records: 1 delete, 1 update, 1 upsert, 1 of other topics, 3 refused
    "##);
    let json = site.run(&["route", "try", "cars.toml", "--records", "cars.json", "--json", "--only-refused"]);
    let lines: Vec<serde_json::Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let codes: Vec<_> =
        lines.iter().map(|line| (line["record"].as_str().unwrap(), line["code"].as_str().unwrap())).collect();
    assert_eq!(codes, [("record 5", "type"), ("record 6", "type"), ("record 7", "required")]);

    site.write("cars.csv", "id,name,stock\n1, a ,\n2,b,3\n");
    let csv = ["route", "try", "cars.toml", "--records", "cars.csv", "--key-field", "id", "--empty-as-null", "--json"];
    let ran = site.run(&csv);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let first: serde_json::Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["outcome"], &first["operation"], &first["key"]),
        (&"row".into(), &"upsert".into(), &"[\"1\"]".into())
    );
    let cells: Vec<_> = first["cells"].as_array().unwrap().iter().map(|cell| cell["value"].to_string()).collect();
    assert_eq!(cells, ["1", "\"a\"", "null"]);
}

#[tokio::test]
async fn a_route_that_does_not_fit_or_is_not_there_is_told() {
    let site = Site::new().await;
    site.begin();
    site.cars().await;
    site.write("one.ndjson", "{\"id\":1}\n");
    site.write("bad.toml", &route("sales", "key = [\"id\"]", "id = \"id\"\ncar_nme = \"name\""));
    let ran = site.run(&["route", "try", "bad.toml", "--records", "one.ndjson"]);
    assert!(ran.code == 1 && ran.err.contains("route `sales-cars` does not fit its table:\n  "), "{}", ran.err);
    assert!(ran.err.contains("did you mean `car_name`?"), "{}", ran.err);
    let ran = site.run(&["route", "try", "sales-crs", "--records", "one.ndjson"]);
    assert!(ran.code == 1 && ran.err.contains("there is no route `sales-crs`"), "{}", ran.err);
    site.write("two.toml", &format!("{}{}", route("sales", "", "id = \"id\""), route("rooms", "", "id = \"id\"")));
    let ran = site.run(&["route", "try", "two.toml", "--records", "one.ndjson"]);
    assert!(ran.err.contains("several routes (sales-cars, rooms-cars)"), "{}", ran.err);
    let ran = site.run(&["route", "try", "two.toml", "--route", "rooms-crs", "--records", "one.ndjson"]);
    assert!(ran.err.contains("did you mean `rooms-cars`?"), "{}", ran.err);
    let ran = site.run(&["route", "try", "two.toml", "--route", "rooms-cars"]);
    assert!(ran.err.contains("say which records: --records FILE, or --recent NUMBER"), "{}", ran.err);
    let ran = site.run(&["route", "try", "two.toml", "--route", "rooms-cars", "--recent", "3"]);
    assert!(ran.err.contains("has no record of topic `cars` any more"), "{}", ran.err);
}
