//! `tidegate tables`.

use super::Site;

#[tokio::test]
async fn tables_are_listed_and_described_for_every_kind() {
    let site = Site::new().await;
    site.begin();
    for name in ["sales", "shelf"] {
        let none = site.done(&["tables", name]);
        assert!(none.starts_with(&format!("{name} has no table that its user can see")), "{none}");
    }
    site.cars().await;
    for target in &site.targets {
        let name = target.name.as_str();
        let listed = site.done(&["tables", name]);
        assert!(listed.starts_with("TABLE"), "{listed}");
        assert!(listed.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == ["cars", "-"]), "{listed}");
        let json = site.done(&["tables", name, "--json"]);
        let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let cars = lines.iter().find(|line| line["table"] == "cars").unwrap();
        assert_eq!(
            (&cars["name"], &cars["default_schema"], &cars["routes"]),
            (&"cars".into(), &true.into(), &serde_json::json!([]))
        );

        let described = site.done(&["tables", name, "cars"]);
        let line = |column: &str| {
            let line = described.lines().find(|line| line.starts_with(column)).unwrap_or_else(|| panic!("{described}"));
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(line("car_name").ends_with(&["no".into(), "-".into()]), "{described}");
        assert!(line("stock").ends_with(&["yes".into(), "7".into()]), "{described}");
        assert!(described.ends_with("unique key (id)\n"), "{described}");
        let json: serde_json::Value = serde_json::from_str(&site.done(&["tables", name, "cars", "--json"])).unwrap();
        assert_eq!((&json["columns"][2]["default"], &json["unique_keys"][0][0]), (&"7".into(), &"id".into()));

        let typo = site.run(&["tables", name, "carz"]);
        assert!(typo.code == 1 && typo.err.contains("did you mean `cars`?"), "{}", typo.err);
    }
    let typo = site.run(&["tables", "saels"]);
    assert!(
        typo.code == 1 && typo.err.contains("there is no destination `saels`; did you mean `sales`?"),
        "{}",
        typo.err
    );
}

#[tokio::test]
async fn views_and_partitions_are_told_as_what_they_are() {
    let site = Site::new().await;
    site.begin();
    site.cars().await;
    let sales = &site.targets[0];
    for sql in [
        "create view cheap as select * from cars where price < 100",
        "create view counted as select count(*) from cars",
        "create table events (id int, at date) partition by range (at)",
        "create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01')",
        "create schema archive",
        "create table archive.cars (id int)",
    ] {
        sales.execute(sql).await;
    }
    let listed = site.done(&["tables", "sales"]);
    let names: Vec<_> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["archive.cars", "cars", "cheap", "events"]);

    let rooms = &site.targets[1];
    rooms.execute("create view cheap as select id, price from cars where price < 100").await;
    rooms.execute("create view counted as select count(*) as n from cars").await;
    let listed = site.done(&["tables", "rooms"]);
    let names: Vec<_> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    // The server may show other databases, whose tables have a dot in their names.
    let names: Vec<_> = names.into_iter().filter(|name| !name.contains('.')).collect();
    assert_eq!(names, ["cars", "cheap"]);
}
