//! Apply holds new and changed routes against their tables.

use super::{Site, route, unreachable};

const COLUMNS: &str = "id = \"id\"\ncar_name = \"car_name\"";

#[tokio::test]
async fn a_route_that_can_never_work_is_refused_with_its_line_and_the_nearest_name() {
    let site = Site::new().await;
    site.begin();
    site.cars().await;
    for target in &site.targets {
        let name = target.name.as_str();
        let refused = |more: &str, columns: &str, line: &str, told: &str| {
            site.write("bad.toml", &format!("{}{}", site.ground(), route(name, more, columns)));
            let ran = site.run(&["apply", "bad.toml"]);
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
            assert!(ran.err.contains("bad.toml has a mistake; nothing was changed:"), "{}", ran.err);
            let text = format!("{}{}", site.ground(), route(name, more, columns));
            let number = text.lines().position(|found| found == line).unwrap() + 1;
            // `columns` in its header.
            let column = if line == "[route.columns]" { 8 } else { 1 };
            let place = format!("line {number}, column {column}: route `{name}-cars`: ");
            assert!(ran.err.contains(&place) && ran.err.contains(told), "{}", ran.err);
        };
        let columns = format!("{COLUMNS}\nprise = \"harga\"");
        refused("key = [\"id\"]", &columns, "prise = \"harga\"", "did you mean `price`?");
        refused("key = [\"car_name\"]", COLUMNS, "key = [\"car_name\"]", "is no unique key of table `cars`");
        let columns = format!("{COLUMNS}\nsold = {{ from = \"sold\", as = \"bool\" }}");
        refused(
            "key = [\"id\"]",
            &columns,
            "sold = { from = \"sold\", as = \"bool\" }",
            "takes nothing that is read as bool",
        );
        refused("key = [\"id\"]", "id = \"id\"", "[route.columns]", "add `car_name` to `columns`");
    }
    assert!(!site.done(&["export"]).contains("[[route]]"), "nothing was changed");
    // Who knows better may.
    let done = site.done(&["apply", "bad.toml", "--no-check"]);
    assert!(done.contains("create route") && done.ends_with("Applied.\n"), "{done}");
}

#[tokio::test]
async fn what_may_fit_later_is_told_and_applied() {
    let site = Site::new().await;
    let all = || site.targets.iter().map(|target| route(&target.name, "key = [\"id\"]", COLUMNS)).collect::<String>();
    site.write("cars.toml", &format!("{}{}", site.ground(), all()));
    let ran = site.run(&["apply", "cars.toml", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = site.run(&["apply", "cars.toml"]);
    assert!(ran.code == 0 && ran.out.ends_with("Applied.\n"), "{}{}", ran.out, ran.err);
    for target in &site.targets {
        let warning =
            ran.err.lines().find(|line| line.starts_with(&format!("warning: route `{}-cars`: ", target.name)));
        let warning = warning.unwrap_or_else(|| panic!("{}", ran.err));
        assert!(
            warning.contains("no table `cars`") && warning.ends_with("the route is held until the table is there"),
            "{warning}"
        );
    }
    // What has not changed is not looked at again.
    let again = site.run(&["apply", "cars.toml"]);
    assert_eq!((again.out.as_str(), again.err.as_str()), ("No changes.\n", ""));
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_noted_and_the_others_are_checked() {
    let site = Site::new().await;
    site.begin();
    site.cars().await;
    let good = route("sales", "key = [\"id\"]", COLUMNS);
    let keyless = route("shelf", "", COLUMNS);
    let text = format!("{}{}{good}{keyless}", unreachable(), route("gone", "key = [\"id\"]", COLUMNS));
    site.write("some.toml", &text);
    let ran = site.run(&["apply", "some.toml"]);
    assert!(ran.code == 0 && ran.out.ends_with("Applied.\n"), "{}{}", ran.out, ran.err);
    let lines: Vec<_> = ran.err.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let noted = lines.iter().find(|line| line.starts_with("note: route `gone-cars`: not checked: ")).unwrap();
    assert!(noted.ends_with("; the route is held until it fits"), "{noted}");
    let warned = lines.iter().find(|line| line.starts_with("warning: route `shelf-cars`: ")).unwrap();
    assert!(warned.contains("write key = [\"id\"]"), "{warned}");
}
