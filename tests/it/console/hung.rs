//! A Redis that stands still: it accepts connections and answers nothing. Every page is there about as soon as one question
//! was waited for, whatever it asks; nothing that was typed is lost.

use std::time::{Duration, Instant};

use super::{Scene, browser::Browser};
use crate::{
    e2e::{installation::manifest, ledger::Target},
    servers::wait_for,
};

/// A page waits for what Redis says of the session (1 s), or for its own first question (2 s), never for both; the rest is room
/// for a busy machine.
const AT_MOST: Duration = Duration::from_millis(3_200);

/// Pages that only read.
const PAGES: [&str; 21] = [
    "/console/",
    "/console/applications",
    "/console/applications/car-app",
    "/console/destinations",
    "/console/destinations/rooms",
    "/console/destinations/rooms/edit",
    "/console/tables",
    "/console/tables/rooms-cars",
    "/console/tables/~new/source",
    "/console/logs",
    "/console/logs?q=Avanza&application=car-app",
    "/console/dead",
    "/console/dead/letters",
    "/console/actors",
    "/console/settings/users",
    "/console/settings/retention",
    "/console/settings/alerts",
    "/console/settings/transfer",
    "/console/settings/audit",
    "/console/me",
    "/console/applications/~new",
];

async fn timed(browser: &mut Browser, path: &str) -> (Duration, u16, String) {
    let begun = Instant::now();
    let page = browser.get(path).await;
    (begun.elapsed(), page.status, page.body)
}

#[actix_web::test]
async fn a_page_waits_for_one_question_and_not_for_each() {
    let scene = Scene::start(&["olga:admin"]).await;
    let mut target = scene.installation.sqlite("rooms").await;
    target = Target { name: "rooms".into(), ..target };
    scene.installation.apply(&manifest(std::slice::from_ref(&target)));
    let mut olga = scene.browser_of("olga").await;
    wait_for("the destination is there", Duration::from_secs(20), async || {
        (scene.node.destination("rooms").await["status"] == "up").then_some(())
    })
    .await;
    let csrf = olga.get("/console/applications/~new").await.csrf();
    let mut slow = Vec::new();
    // Each of them as the first to find out: the node itself has not noticed yet.
    for path in [
        "/console/",
        "/console/applications/car-app",
        "/console/destinations/rooms",
        "/console/tables/rooms-cars",
        "/console/logs",
    ] {
        assert_eq!(olga.get(path).await.status, 200, "{path}");
        scene.installation.redis.pause();
        let (took, status, body) = timed(&mut olga, path).await;
        scene.installation.redis.resume();
        if took > AT_MOST || status != 200 || !body.contains("role=\"alert\"") && !body.contains("banner") {
            slow.push(format!("first {path}: {took:?}, {status}"));
        }
        wait_for("Redis answers again", Duration::from_secs(20), async || {
            let page = olga.get("/console/me").await;
            (page.status == 200 && !page.body.contains("Redis did not answer")).then_some(())
        })
        .await;
        scene.node.ready().await;
    }
    scene.installation.redis.pause();
    for path in PAGES {
        let (took, status, _) = timed(&mut olga, path).await;
        if took > AT_MOST || !matches!(status, 200 | 503) {
            slow.push(format!("{path}: {took:?}, {status}"));
        }
    }
    // Acts: refused as soon, with what was typed.
    type Fields<'f> = &'f [(&'f str, &'f str)];
    let acts: [(&str, Fields<'_>, &str); 5] = [
        ("/console/applications", &[("name", "typed-in"), ("topics", "t1"), ("records_per_s", "")], "typed-in"),
        ("/console/applications/car-app/limit", &[("records_per_s", "12345")], "12345"),
        ("/console/destinations/rooms/by-hand", &[("act", "pause")], ""),
        ("/console/settings/retention", &[("retention", "17days"), ("memory_soft", ""), ("memory_hard", "")], "17days"),
        ("/console/settings/transfer/preview", &[("toml", "[[application]]\nname = \"typed-in\"\n")], "typed-in"),
    ];
    for (path, fields, typed) in acts {
        let begun = Instant::now();
        let answer = olga.post(path, &csrf, fields).await;
        let took = begun.elapsed();
        if took > AT_MOST || !matches!(answer.status, 303 | 503) || !answer.body.contains(typed) {
            slow.push(format!("POST {path}: {took:?}, {} {}", answer.status, answer.body.contains(typed)));
        }
    }
    scene.installation.redis.resume();
    assert!(slow.is_empty(), "{slow:#?}");
    wait_for("an act goes through again", Duration::from_secs(30), async || {
        let fields = [("name", "after-all"), ("topics", ""), ("records_per_s", "")];
        (olga.post("/console/applications", &csrf, &fields).await.status == 303).then_some(())
    })
    .await;
}
