//! Lists have filters, an order, pages and an address that one can share.

use std::time::Duration;

use super::{Scene, browser::Browser};
use crate::{e2e::installation::manifest, servers::wait_for};

const LONG: Duration = Duration::from_secs(30);

/// The places of these in a page's text, in this order.
fn in_order(body: &str, wanted: &[&str]) -> bool {
    let places: Vec<_> = wanted.iter().map(|text| body.find(text)).collect();
    places.iter().all(Option::is_some) && places.is_sorted()
}

async fn shown(browser: &mut Browser, path: &str) -> String {
    let page = browser.get(path).await;
    assert_eq!(page.status, 200, "{path}: {}", page.body);
    page.body
}

#[actix_web::test]
async fn alert_targets_are_searched_filtered_and_sorted() {
    let scene = Scene::start(&["ana:admin"]).await;
    let mut ana = scene.browser_of("ana").await;
    let path = "/console/settings/alerts";
    let none = shown(&mut ana, path).await;
    assert!(none.contains("Nobody is told yet") && !none.contains("name=\"way\""), "nothing to filter: {none}");
    let csrf = none.as_str().split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
    let hook = |name: &'static str, kind: &'static str| {
        [("way", "webhook"), ("name", name), ("url", "https://alerts.example/x"), ("kind", kind)]
    };
    for target in [hook("Night shift", "destination_down"), hook("Day shift", "dead_letters")] {
        assert_eq!(ana.post(&format!("{path}/~new"), &csrf, &target).await.status, 200);
    }
    let mail = [
        ("way", "email"),
        ("name", "Office"),
        ("host", "mail.example"),
        ("port", "465"),
        ("tls", "tls"),
        ("user", ""),
        ("from", "tidegate@example.com"),
        ("to", "ops@example.com"),
        ("kind", "dead_letters"),
    ];
    assert_eq!(ana.post(&format!("{path}/~new"), &csrf, &mail).await.status, 303);
    let [night, day, office] = [">Night shift</a>", ">Day shift</a>", ">Office</a>"];
    let all = shown(&mut ana, path).await;
    assert!(in_order(&all, &[day, night, office]), "by name: {all}");
    let down = shown(&mut ana, &format!("{path}?sort=-name")).await;
    assert!(in_order(&down, &[office, night, day]) && down.contains("aria-sort=\"descending\""), "{down}");
    for (query, there, gone) in [
        ("q=shift", vec![day, night], vec![office]),
        ("q=ops%40example", vec![office], vec![day, night]),
        ("way=email", vec![office], vec![day, night]),
        ("kind=dead_letters", vec![day, office], vec![night]),
        ("kind=dead_letters&way=webhook", vec![day], vec![night, office]),
        ("state=fine", vec![day, night, office], vec![]),
        ("state=waiting", vec![], vec![day, night, office]),
    ] {
        let page = shown(&mut ana, &format!("{path}?{query}")).await;
        assert!(there.iter().all(|name| page.contains(name)), "{query}: {page}");
        assert!(!gone.iter().any(|name| page.contains(name)), "{query}: {page}");
        assert_eq!(there.is_empty(), page.contains("No target is like that"), "{query}: {page}");
    }
}

#[actix_web::test]
async fn keys_versions_and_health_are_lists_like_others() {
    let scene = Scene::start(&["olga:operator"]).await;
    let rooms = scene.installation.sqlite("rooms").await;
    let file = manifest(std::slice::from_ref(&rooms));
    scene.installation.apply(&file);
    let mut olga = scene.browser_of("olga").await;
    // Keys: those that open the door, and those that did.
    let keys: Vec<String> = (0..3)
        .map(|_| scene.installation.run(&["key", "create", "car-app"]).trim().chars().skip(8).take(8).collect())
        .collect();
    let shows = |page: &str, key: &str| page.contains(&format!("tg_live_{key}"));
    let csrf = olga.get("/console/applications/car-app").await.csrf();
    let revoke = format!("/console/applications/car-app/keys/{}/revoke", keys[1]);
    assert_eq!(olga.post(&revoke, &csrf, &[]).await.status, 303);
    let ended = shown(&mut olga, "/console/applications/car-app?state=ended").await;
    assert!(shows(&ended, &keys[1]) && !shows(&ended, &keys[0]) && !shows(&ended, &keys[2]), "{ended}");
    let mut sorted: Vec<String> = [&keys[0], &keys[2]].map(|key| format!("tg_live_{key}")).into();
    sorted.sort();
    let active = shown(&mut olga, "/console/applications/car-app?state=active&sort=key").await;
    assert!(in_order(&active, &[&sorted[0], &sorted[1]]) && !shows(&active, &keys[1]), "{active}");
    let active = shown(&mut olga, "/console/applications/car-app?state=active&sort=-key").await;
    assert!(in_order(&active, &[&sorted[1], &sorted[0]]), "{active}");
    assert!(active.contains("car-app?state=active&amp;sort=key"), "what is filtered stays when one sorts: {active}");

    // Health: what it was, by state. One that never was up has one state only, and nothing to choose.
    wait_for("it to be up", LONG, async || {
        let page = olga.get("/console/destinations/rooms").await.body;
        page.split_once("id=\"history-title\"")?.1.contains("badge good").then_some(())
    })
    .await;
    for act in ["pause", "resume"] {
        assert_eq!(olga.post("/console/destinations/rooms/by-hand", &csrf, &[("act", act)]).await.status, 303);
        let state = if act == "pause" { "state=paused" } else { "state=up" };
        wait_for("the change to be told", LONG, async || {
            let page = olga.get("/console/destinations/rooms").await.body;
            page.contains(&format!("/console/destinations/rooms?{state}#history-title")).then_some(())
        })
        .await;
    }
    let paused = shown(&mut olga, "/console/destinations/rooms?state=paused").await;
    let history = paused.split_once("id=\"history-title\"").unwrap().1;
    assert!(history.contains("badge note") && !history.contains("badge good"), "{history}");
}

#[actix_web::test]
async fn versions_of_a_route_are_searched_and_keep_their_places() {
    let scene = Scene::start(&["olga:operator"]).await;
    let rooms = scene.installation.sqlite("rooms").await;
    let file = manifest(std::slice::from_ref(&rooms));
    scene.installation.apply(&file);
    let mut olga = scene.browser_of("olga").await;
    let text = |filter: &str| file.replace("[[route]]", &format!("[[route]]\nfilter = \"data.id > {filter}\""));
    for filter in ["11", "22", "33"] {
        scene.installation.apply(&text(filter));
    }
    let path = "/console/tables/rooms-cars";
    let all = wait_for("four versions", LONG, async || {
        Some(olga.get(path).await.body).filter(|page| page.contains("data.id &#62; 33"))
    })
    .await;
    assert!(all.contains(&format!("{path}/again/1")) && all.contains(&format!("{path}/again/2")), "{all}");
    let found = shown(&mut olga, &format!("{path}?q=id+%3E+11")).await;
    let versions = found.split_once("id=\"versions\"").unwrap().1.split_once("class=\"timeline\"").unwrap().1;
    let versions = versions.split("</ol>").next().unwrap();
    assert!(versions.contains("Version 2") && versions.contains("Version 3"), "{versions}");
    assert!(!versions.contains("Version 4") && !versions.contains("Version 1"), "{versions}");
    assert!(versions.contains(&format!("{path}/again/2")), "the place among all versions: {versions}");
    let none = shown(&mut olga, &format!("{path}?q=nothing+like+it")).await;
    assert!(none.contains("Nothing found"), "{none}");
}
