//! Parts of pages that ask for themselves again and again: they stop once their thing has gone, and where they get no answer the
//! page says that it does not know.

use std::time::Duration;

use super::{PASSWORD, Scene, chromium::Chromium};
use crate::servers::wait_for;

const LONG: Duration = Duration::from_secs(30);

/// A destination that no route leads to.
async fn rooms(scene: &Scene) {
    let rooms = scene.installation.sqlite("rooms").await;
    let (kind, url) = (rooms.kind, rooms.url);
    scene.installation.apply(&format!("[[destination]]\nname = \"rooms\"\nkind = \"{kind}\"\nurl = \"{url}\"\n"));
}

/// How many parts of the page ask by themselves.
async fn asking(browser: &Chromium) -> u64 {
    browser.run("return document.querySelectorAll('[hx-trigger*=\"every \"]').length").await.as_u64().unwrap()
}

#[actix_web::test]
async fn a_tab_that_shows_a_destination_says_that_it_was_removed_and_asks_no_more() {
    let scene = Scene::start(&["olga:admin"]).await;
    rooms(&scene).await;
    let tab = Chromium::open(&scene.base).await;
    tab.sign_in("olga", PASSWORD).await;
    tab.visit("/console/destinations/rooms").await;
    tab.sees("Pause").await;
    assert_eq!(asking(&tab).await, 1);
    let mut other = scene.browser_of("olga").await;
    let csrf = other.get("/console/destinations/rooms/remove").await.csrf();
    let removed = other.post("/console/destinations/rooms/remove", &csrf, &[]).await;
    assert_eq!(removed.status, 303, "{}", removed.body);
    tab.sees_within("It is no longer there: there is no destination rooms", LONG).await;
    tab.until("nothing to ask any more", LONG, async || asking(&tab).await == 0).await;
    assert!(!tab.offers("Pause").await, "nothing can be done with it any more");
    tab.is_accessible().await;
    tab.press("Go to the list").await;
    tab.sees("No destination yet").await;
    assert_eq!(tab.complaints().await, [""; 0]);
    tab.close().await;
}

#[actix_web::test]
async fn a_tab_that_gets_no_answer_says_that_it_does_not_know_until_it_does() {
    let scene = Scene::start(&["olga:admin"]).await;
    rooms(&scene).await;
    let tab = Chromium::open(&scene.base).await;
    tab.sign_in("olga", PASSWORD).await;
    for path in ["/console/destinations/rooms", "/console/logs"] {
        tab.visit(path).await;
        tab.until("the page to ask", LONG, async || asking(&tab).await == 1).await;
        scene.installation.redis.pause();
        tab.sees_within("Not known at the moment", LONG).await;
        assert_eq!(asking(&tab).await, 1, "it goes on asking");
        assert_eq!(tab.run("return document.querySelectorAll('h1').length").await, 1, "no page within the page");
        tab.is_accessible().await;
        scene.installation.redis.resume();
        tab.until("the page to know again", LONG, async || !tab.text().await.contains("Not known at the moment")).await;
    }
    tab.close().await;
}

#[actix_web::test]
async fn every_part_that_asks_is_told_that_its_thing_has_gone_and_where_the_others_are() {
    let scene = Scene::start(&["olga:admin"]).await;
    let mut olga = scene.browser_of("olga").await;
    olga.headers.extend([("HX-Request".into(), "true".into()), ("X-Poll".into(), "1".into())]);
    for (path, list) in [
        ("/console/destinations/none/state", "/console/destinations"),
        ("/console/tables/none/replays", "/console/tables"),
        ("/console/dead/jobs/none", "/console/dead/jobs"),
        ("/console/broadcast/sent/none", "/console/broadcast/sent"),
    ] {
        let told = olga.get(path).await;
        assert_eq!(told.status, 286, "{path}: {}", told.body);
        assert!(told.body.contains("It is no longer there"), "{path}: {}", told.body);
        assert!(told.body.contains(&format!("href=\"{list}\"")), "{path}: {}", told.body);
        assert_eq!(told.header("hx-reswap"), "outerHTML", "{path}");
    }
    // The form with the check's button stays.
    let over = olga.get("/console/destinations/~checks/0123456789abcdefghijklmn").await;
    assert!(over.status == 200 && over.body.contains("this check is over; check again"), "{}", over.body);
    assert!(over.body.contains("id=\"check\"") && !over.body.contains("hx-get"), "it asks no more: {}", over.body);
    scene.installation.redis.pause();
    for path in ["/console/destinations/none/state", "/console/dead/jobs/none", "/console/broadcast/sent/none"] {
        let told = olga.get(path).await;
        assert_eq!((told.status, told.body.as_str()), (503, ""), "nobody knows: {path}");
    }
    scene.installation.redis.resume();
    wait_for("Redis answers again", LONG, async || {
        (olga.get("/console/dead/jobs/none").await.status == 286).then_some(())
    })
    .await;
}
