//! Sending a route again in the console: counted, asked, followed, stopped; and who may.

use std::time::Duration;

use super::dead::{message, send, with_table};
use crate::servers::wait_for;

const LIMIT: Duration = Duration::from_secs(40);

#[actix_web::test]
async fn a_route_is_sent_again_after_its_table_was_emptied() {
    let (scene, target, key) = with_table(&["ana:operator", "vi:viewer", "root:admin"]).await;
    let messages: Vec<_> = (1..=5).map(|id| message(id, "car", id)).collect();
    send(&scene, &key, &messages).await;
    let has = async |many: i64| {
        wait_for(&format!("{many} rows"), LIMIT, async || {
            let found = target.pairs("SELECT count(*), 0 FROM parts").await?;
            (found == [(many, 0)]).then_some(())
        })
        .await;
    };
    has(5).await;
    target.execute("DELETE FROM parts").await;
    let mut browser = scene.browser_of("ana").await;
    let route = browser.get("/console/tables/lite-parts").await;
    assert!(route.body.contains("/console/tables/lite-parts/replay"), "{}", route.body);
    let form = browser.get("/console/tables/lite-parts/replay").await;
    assert!(form.status == 200 && form.body.contains("All that is retained"), "{}", form.body);
    let wrong = browser.get("/console/tables/lite-parts/replay?from=yesterday").await;
    assert!(wrong.status == 422 && wrong.body.contains("value=\"yesterday\""), "{}", wrong.body);
    let plan = wait_for("the position to be told", LIMIT, async || {
        let plan = browser.get("/console/tables/lite-parts/replay?from=1970-01-01T00:00").await;
        (plan.status == 200).then_some(plan)
    })
    .await;
    for words in ["<strong>5</strong>", "Send these 5 again", "written as upserts", "where it meets the new records"] {
        assert!(plan.body.contains(words), "{words} in {}", plan.body);
    }
    let later = browser.get("/console/tables/lite-parts/replay?from=2100-01-01T00:00:00Z").await;
    assert!(later.body.contains("Nothing to send again"), "{}", later.body);
    // A viewer is not asked.
    let mut viewer = scene.browser_of("vi").await;
    assert_eq!(viewer.get("/console/tables/lite-parts/replay").await.status, 403);
    let theirs = viewer.get("/console/tables/lite-parts").await;
    assert!(theirs.status == 200 && !theirs.body.contains("lite-parts/replay\""), "{}", theirs.body);
    let csrf = viewer.get("/console/").await.csrf();
    let range = [("from", "1970-01-01T00:00:00Z"), ("to", "")];
    assert_eq!(viewer.post("/console/tables/lite-parts/replay", &csrf, &range).await.status, 403);
    let csrf = plan.csrf();
    let begun = browser.post("/console/tables/lite-parts/replay", &csrf, &range).await;
    assert_eq!((begun.status, begun.to().as_str()), (303, "/console/tables/lite-parts"), "{}", begun.body);
    let page = browser.get("/console/tables/lite-parts").await;
    assert!(page.body.contains("The records are being sent again."), "{}", page.body);
    has(5).await;
    wait_for("it to be over", LIMIT, async || {
        let part = browser.get("/console/tables/lite-parts/replays").await;
        part.body.contains("Nothing is being sent again any more.").then_some(())
    })
    .await;
    let audit = scene.browser_of("root").await.get("/console/settings/audit").await.body;
    assert!(audit.contains("ana") && audit.contains("5 records of topic"), "{audit}");
    // In Indonesian, a refusal too.
    browser.cookies.insert("lang".into(), "id".into());
    let gone = browser.get("/console/tables/lite-part/replay").await;
    assert!(gone.status == 404 && gone.body.contains("apakah maksud Anda <code>lite-parts</code>?"), "{}", gone.body);
}

#[actix_web::test]
async fn a_replay_that_waits_is_seen_and_stopped() {
    let (mut scene, target, key) = with_table(&["ana:operator", "vi:viewer"]).await;
    let messages: Vec<_> = (1..=5).map(|id| message(id, "car", id)).collect();
    let ids = send(&scene, &key, &messages).await;
    wait_for("the rows", LIMIT, async || {
        (target.pairs("SELECT count(*), 0 FROM parts").await? == [(5, 0)]).then_some(())
    })
    .await;
    // Its destination is paused, so that it waits.
    let mut browser = scene.browser_of("ana").await;
    let csrf = browser.get("/console/").await.csrf();
    let paused = browser.post("/console/destinations/lite/by-hand", &csrf, &[("act", "pause")]).await;
    assert_eq!(paused.status, 303, "{}", paused.body);
    wait_for("it to be paused", LIMIT, async || {
        browser.get("/console/destinations/lite").await.body.contains("Paused").then_some(())
    })
    .await;
    let range = [("from", ids[1].as_str()), ("to", ids[3].as_str())];
    let begun = browser.post("/console/tables/lite-parts/replay", &csrf, &range).await;
    assert_eq!(begun.status, 303, "{}", begun.body);
    let page = browser.get("/console/tables/lite-parts").await;
    assert!(page.body.contains("Being sent again") && page.body.contains("of 3 records"), "{}", page.body);
    let stop = format!("/console/tables/lite-parts/replays/{}/stop", {
        let (_, rest) = page.body.split_once("/console/tables/lite-parts/replays/").unwrap();
        let rest = if rest.starts_with('"') {
            rest.split_once("/console/tables/lite-parts/replays/").unwrap().1
        } else {
            rest
        };
        rest.split('/').next().unwrap()
    });
    let mut viewer = scene.browser_of("vi").await;
    let seen = viewer.get("/console/tables/lite-parts").await;
    assert!(seen.body.contains("Being sent again") && !seen.body.contains("/stop\""), "{}", seen.body);
    let theirs = viewer.get("/console/").await.csrf();
    assert_eq!(viewer.post(&stop, &theirs, &[]).await.status, 403);
    let stopped = browser.post(&stop, &csrf, &[]).await;
    assert_eq!(stopped.status, 303, "{}", stopped.body);
    let page = browser.get("/console/tables/lite-parts").await;
    assert!(page.body.contains("The replay is stopped.") && !page.body.contains("Being sent again"), "{}", page.body);
    let again = browser.post(&stop, &csrf, &[]).await;
    let told = browser.get(&again.to()).await;
    assert!(told.body.contains("this replay has ended already"), "{}", told.body);
    // With Redis away the form comes back as it was.
    scene.installation.redis.kill();
    let away = browser.post("/console/tables/lite-parts/replay", &csrf, &range).await;
    assert!(away.status == 503 && away.body.contains(&ids[1]), "{} {}", away.status, away.body);
}
