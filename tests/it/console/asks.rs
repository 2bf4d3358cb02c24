//! Acts that ask before they are done: in a dialog where the browser runs scripts, else on a page of their own.

use super::{PASSWORD, Scene, chromium::Chromium};

const WHAT: &str = "Nothing is written until it is resumed";

#[actix_web::test]
async fn a_pause_asks_with_scripts_and_without() {
    let scene = Scene::start(&["olga:operator"]).await;
    let rooms = scene.installation.sqlite("rooms").await;
    let (kind, url) = (rooms.kind, rooms.url);
    scene.installation.apply(&format!("[[destination]]\nname = \"rooms\"\nkind = \"{kind}\"\nurl = \"{url}\"\n"));
    let browser = Chromium::open(&scene.base).await;
    browser.sign_in("olga", PASSWORD).await;
    browser.visit("/console/destinations/rooms").await;
    browser.press("Pause").await;
    browser.sees(WHAT).await;
    browser.is_accessible().await;
    browser.press("Cancel").await;
    browser.sees_no_more(WHAT).await;
    browser.press("Pause").await;
    browser.press("Pause: rooms").await;
    browser.sees("It is paused.").await;
    browser.press("Resume").await;
    browser.sees("Pause").await;
    browser.press("Open breaker").await;
    browser.sees("the database is left alone altogether").await;
    browser.press("Cancel").await;

    browser.scripts(false).await;
    browser.visit("/console/destinations/rooms").await;
    browser.press("Pause").await;
    browser.sees(WHAT).await;
    browser.sees("Pause: rooms").await;
    browser.is_accessible().await;
    browser.press("Cancel").await;
    browser.is_at("/console/destinations/rooms").await;
    assert!(browser.offers("Pause").await, "it was not paused");
    browser.press("Pause").await;
    browser.press("Pause: rooms").await;
    browser.sees("It is paused.").await;
    browser.is_at("/console/destinations/rooms").await;
    browser.close().await;
}

#[actix_web::test]
async fn every_act_that_asks_waits_for_the_answer_and_keeps_what_was_given() {
    let scene = Scene::start(&["root:admin", "ina:viewer"]).await;
    let mut root = scene.browser_of("root").await;
    let page = root.get("/console/settings/users/ina").await;
    let asked = page.after("name=\"ask\" value=\"");
    assert!(asked.contains("ina"), "it names what it would do: {asked}");
    let fields = [("ask", asked.as_str()), ("ask_title", "Remove <b>"), ("ask_danger", "1"), ("more", "a \"b\"\n&c")];
    let answer = root.post("/console/settings/users/ina/remove", &page.csrf(), &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("<h1>Remove &#60;b&#62;</h1>"), "{}", answer.body);
    assert!(answer.body.contains("action=\"/console/settings/users/ina/remove\""), "{}", answer.body);
    assert!(answer.body.contains("name=\"more\" value=\"a &#34;b&#34;\n&#38;c\""), "{}", answer.body);
    assert!(!answer.body.contains("name=\"ask\""), "the next one is the answer: {}", answer.body);
    assert_eq!(root.get("/console/settings/users/ina").await.status, 200, "still there");
    let done = root.post("/console/settings/users/ina/remove", &answer.csrf(), &[]).await;
    assert_eq!(done.status, 303, "{}", done.body);
    assert_eq!(root.get("/console/settings/users/ina").await.status, 404);
    // Whoever sends no token is refused before anything is asked.
    assert_eq!(root.post("/console/settings/users/root/remove", "not the token", &fields).await.status, 403);
}
