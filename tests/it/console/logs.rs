//! Logs in the console: what came and what was sent, live and searched, and a message's page.

use std::time::Duration;

use serde_json::json;

use super::dead::{message, send, with_table};
use crate::servers::wait_for;

const LIMIT: Duration = Duration::from_secs(40);

#[actix_web::test]
async fn a_record_is_seen_with_what_came_and_what_was_sent() {
    let (scene, target, key) = with_table(&["vi:viewer"]).await;
    let mut browser = scene.browser_of("vi").await;
    let empty = browser.get("/console/logs").await;
    assert!(empty.status == 200 && empty.body.contains("Nothing has been delivered yet"), "{}", empty.body);
    let since = empty.after("id=\"since\" name=\"since\" value=\"");

    let hostile = " <script>alert(1)</script> ";
    let ids = send(&scene, &key, &[message(1, hostile, 5), json!({"topic": "loose", "data": {"a": 1}})]).await;
    wait_for("it is written", LIMIT, async || {
        (target.pairs("SELECT count(*), count(*) FROM parts").await? == [(1, 1)]).then_some(())
    })
    .await;
    let page = wait_for("the log has it", LIMIT, async || {
        let page = browser.get("/console/logs").await;
        page.body.contains("Delivered").then_some(page)
    })
    .await;
    assert!(!page.body.contains("<script>alert"), "a record is text");
    for words in [ids[0].as_str(), ids[1].as_str(), "lite-parts", "No route", "hx-trigger=\"every 2s\""] {
        assert!(page.body.contains(words), "{words} in {}", page.body);
    }
    for inline in [" style=", " onclick=", "<script>", "javascript:"] {
        assert!(!page.body.contains(inline), "{inline}");
    }

    // What came since a page was shown, and nothing where nothing did.
    let new = browser.get(&format!("/console/logs?part=new&since={since}")).await;
    assert!(new.status == 200 && new.body.contains(&ids[0]) && new.body.contains("hx-swap-oob"), "{}", new.body);
    let now = new.after("name=\"since\" value=\"");
    assert_eq!(browser.get(&format!("/console/logs?part=new&since={now}")).await.status, 204);
    let paused = browser.get("/console/logs?paused=1").await;
    assert!(!paused.body.contains("every 2s") && paused.body.contains("Go on live"), "{}", paused.body);

    let life = browser.get(&format!("/console/messages/car-app/{}", ids[0])).await;
    assert_eq!(life.status, 200, "{}", life.body);
    assert!(!life.body.contains("<script>alert"), "a record is text");
    for words in ["left out", "changed", "title", "color", "Written by", "Data received", "Data sent"] {
        assert!(life.body.contains(words), "{words} in {}", life.body);
    }
    let data = browser.get(&format!("/console/logs?part=data&application=car-app&q={}&route=lite-parts", ids[0])).await;
    assert!(data.status == 200 && data.body.contains("left out") && !data.body.contains("<html"), "{}", data.body);
    let loose = browser.get(&format!("/console/messages/car-app/{}", ids[1])).await;
    assert!(loose.body.contains("No route takes this message"), "{}", loose.body);
    for gone in ["/console/messages/car-app/zzz-5-0", "/console/messages/nobody/x", "/console/messages/car-app/x"] {
        assert_eq!(browser.get(gone).await.status, 404, "{gone}");
    }
    browser.cookies.insert("lang".into(), "id".into());
    assert!(browser.get("/console/logs").await.body.contains("Terkirim"));
}

#[actix_web::test]
async fn a_search_tells_how_far_it_is_and_stops() {
    let (scene, _, key) = with_table(&["vi:viewer"]).await;
    let mut ids = Vec::new();
    for chunk in 0..6_i64 {
        let some: Vec<_> = (0..3_000).map(|n| message(chunk * 3_000 + n, &format!("Car {n}"), 1)).collect();
        ids.extend(send(&scene, &key, &some).await);
    }
    let mut browser = scene.browser_of("vi").await;
    let by_id = browser.get(&format!("/console/logs?q={}", ids[5])).await;
    assert!(by_id.body.contains(&ids[5]) && !by_id.body.contains(&ids[6]), "{}", by_id.body);

    // By a key and by a field's value, in steps.
    for query in ["q=7", "path=id&how=is&value=7", "value=car+2999&how=contains&destination=lite"] {
        let mut page = browser.get(&format!("/console/logs?{query}")).await.body;
        let mut steps = 0;
        let mut found = page.matches("class=\"delivery\"").count();
        while page.contains("class=\"looking\" hx-get=\"") {
            assert!(page.contains("Looked at ") && page.contains(" of 18,000 messages"), "{page}");
            let next = page.split("class=\"looking\" hx-get=\"").nth(1).unwrap().split('"').next().unwrap();
            let next = next.replace("&amp;", "&").replace("&#38;", "&");
            page = browser.get(&next).await.body;
            found += page.matches("class=\"delivery\"").count();
            steps += 1;
            assert!(steps < 200, "a search without an end");
        }
        assert_eq!(found, if query.starts_with("value") { 6 } else { 1 }, "{query}");
    }
    let begun = browser.get("/console/logs?path=id&value=none").await.body;
    if let Some((_, rest)) = begun.split_once("class=\"button small\" hx-get=\"/console/logs?") {
        let stop = rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&");
        let stopped = browser.get(&format!("/console/logs?{stop}")).await;
        assert!(stopped.body.contains("Stopped.") && stopped.body.contains("Go on"), "{}", stopped.body);
    }
    let wrong = browser.get("/console/logs?path=a..b&value=1&from=yesterday").await;
    assert_eq!(wrong.status, 200);
    assert!(
        wrong.body.contains("That is no path of a field") && wrong.body.contains("That is no time"),
        "{}",
        wrong.body
    );
    assert!(wrong.body.contains("value=\"a..b\"") && wrong.body.contains("value=\"yesterday\""), "{}", wrong.body);
    let nothing = browser.get("/console/logs?application=car-app&q=none&to=2020-01-01").await;
    assert!(nothing.body.contains("Nothing found"), "{}", nothing.body);
}
