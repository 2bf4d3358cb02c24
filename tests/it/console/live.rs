//! The screens that change while somebody looks: the overview and the actors, by their streams.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::{Scene, browser::Browser};
use crate::{e2e::installation::manifest, servers::wait_for};

const LONG: Duration = Duration::from_secs(30);

/// A live screen's stream.
struct Heard {
    stream: Pin<Box<dyn Stream<Item = Bytes>>>,
    said: String,
}

impl Heard {
    async fn from(browser: &Browser, path: &str) -> Self {
        Self { stream: browser.stream(path).await, said: String::new() }
    }

    /// Waits until an event of this name says this; all that was said up to then.
    async fn until(&mut self, event: &str, what: &str) -> String {
        let begin = format!("event: {event}");
        let is_there = |said: &str| said.split("\n\n").filter(|one| one.contains(&begin)).any(|one| one.contains(what));
        let heard = tokio::time::timeout(LONG, async {
            while !is_there(&self.said) {
                let bytes = self.stream.next().await.expect("the stream goes on");
                self.said += std::str::from_utf8(&bytes).unwrap();
            }
        });
        assert!(heard.await.is_ok(), "waited in vain for {event} with {what}; the stream said\n{}", self.said);
        std::mem::take(&mut self.said)
    }
}

#[actix_web::test]
async fn a_tile_turns_while_somebody_looks() {
    let mut scene = Scene::start(&["ana:viewer"]).await;
    let (rooms, cars) = (scene.installation.sqlite("rooms").await, scene.installation.sqlite("cars").await);
    let mut browser = scene.browser_of("ana").await;
    let mut heard = Heard::from(&browser, "/console/events?of=overview").await;
    let first = heard.until("tiles", "No destinations yet").await;
    assert!(first.starts_with("retry: 1000\nevent: summary\n"), "{first}");

    let as_it_is = manifest(&[rooms.clone(), cars]);
    scene.installation.apply(&as_it_is);
    heard.until("summary", "All 2 destinations are well").await;

    // A file that is not there is held, never made.
    scene.installation.apply(&as_it_is.replace(&rooms.url, &format!("{}.elsewhere", rooms.url)));
    let said = heard.until("summary", "1 of 2 destinations need attention").await;
    assert!(said.contains("Held"), "{said}");
    let page = browser.get("/console/").await;
    let (need, well) = (page.body.find("aria-label=\"rooms\""), page.body.find("aria-label=\"cars\""));
    assert!(page.status == 200 && need < well, "what needs somebody comes first:\n{}", page.body);
    scene.installation.apply(&as_it_is);
    heard.until("summary", "All 2 destinations are well").await;
    // A point for the charts every two seconds.
    let point = heard.until("point", "\"destinations\":{\"cars\"").await;
    assert!(!point.contains("event: tiles"), "the same destinations need no new tiles:\n{point}");
    let series = browser.get("/console/series").await;
    let series: serde_json::Value = serde_json::from_str(&series.body).unwrap();
    assert_eq!(series["lines"][0]["name"], "cars");
    assert_eq!(series["at"].as_array().unwrap().len(), series["lines"][1]["backlog"].as_array().unwrap().len());

    scene.installation.redis.kill();
    heard.until("alarms", "Redis is away").await;
    for path in ["/console/", "/console/actors"] {
        let page = browser.get(path).await;
        assert!(page.status == 200 && page.body.contains("Redis is away"), "{path}\n{}", page.body);
        assert!(page.body.contains("rooms"), "what the node knows is shown all the same:\n{}", page.body);
    }
    scene.installation.redis.restart().await;
    heard.until("summary", "All 2 destinations are well").await;
}

#[actix_web::test]
async fn the_actors_of_every_node_are_there_with_what_they_do() {
    let scene = Scene::start(&["ana:viewer"]).await;
    let rooms = scene.installation.sqlite("rooms").await;
    scene.installation.apply(&manifest(&[rooms]));
    let other = scene.installation.node("b");
    other.ready().await;
    let mut browser = scene.browser_of("ana").await;
    browser.cookies.insert("lang".into(), "id".into());
    let page = wait_for("both nodes and who writes", LONG, async || {
        let page = browser.get("/console/actors").await.body;
        let both = page.matches("Pengawas").count() == 2;
        (both && page.contains("dipegang di sini") && page.contains("Pembaca stream")).then_some(page)
    })
    .await;
    assert!(page.contains("node ini") && page.contains("<b>worker-0</b>"), "{page}");
    let mut heard = Heard::from(&browser, "/console/events?of=actors").await;
    drop(other);
    let said = heard.until("nodes", "Pengawas").await;
    assert!(said.contains("head-"), "{said}");
}

#[actix_web::test]
async fn a_stream_is_for_whoever_is_signed_in() {
    let scene = Scene::start(&[]).await;
    let answer = scene.browser().get("/console/events?of=overview").await;
    assert_eq!(answer.status, 303);
}
