//! What the console costs with much in it: every screen's answer with a million messages retained and ten thousand dead letters,
//! and what ten people who look on cost a node.
//!
//! The bounds are an optimised build's. `TIDEGATE_TEST_PROGRAM` names one, `TIDEGATE_TEST_MESSAGES` says how many messages there
//! are; without them it is this build with less in it, held to a bound ten times as wide.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Scene, browser::Browser};
use crate::{e2e::ledger::Target, servers::wait_for};

const LONG: Duration = Duration::from_secs(300);
/// Messages of one request.
const TOGETHER: u64 = 500;
/// How often each screen is asked for.
const ROUNDS: usize = 9;

fn is_optimised() -> bool {
    std::env::var_os("TIDEGATE_TEST_PROGRAM").is_some()
}

/// A scene with two tables, so many messages in them, and one in a hundred a dead letter.
async fn filled(messages: u64) -> (Scene, Vec<String>) {
    let scene = Scene::start_with(&["ana:admin"], &[]).await;
    let lite = scene.installation.sqlite("lite").await;
    lite.execute("CREATE TABLE parts (id integer PRIMARY KEY, title text NOT NULL, stock integer CHECK (stock >= 0))")
        .await;
    let dark = scene.installation.sqlite("dark").await;
    dark.execute("CREATE TABLE parts (id integer PRIMARY KEY, title text NOT NULL, stock integer)").await;
    let of = |target: &Target| {
        let (name, url) = (&target.name, &target.url);
        format!(
            "[[destination]]\nname = \"{name}\"\nkind = \"sqlite\"\nurl = \"{url}\"\n\
             [[route]]\nname = \"{name}-parts\"\napplication = \"car-app\"\ntopic = \"cars\"\ndestination = \"{name}\"\n\
             table = \"parts\"\nkey = [\"id\"]\ncolumns = {{ id = \"id\", title = \"name\", stock = \"stock\" }}\n"
        )
    };
    let manifest = format!("[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n{}{}", of(&lite), of(&dark));
    scene.installation.apply(&manifest);
    let key = scene.installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let url = format!("http://127.0.0.1:{}/v1/messages", scene.node.listen);
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    // In a full installation one record in a hundred is bad: ten thousand in a million.
    let record = |n: u64| {
        json!({ "topic": "cars", "action": "upsert", "key": n, "data": {
            "id": n, "name": format!("Toyota Avanza {n}"), "stock": if n % 100 == 7 { -1 } else { 5 }, "color": "silver",
            "note": "x".repeat(120) } })
    };
    let mut ids = Vec::new();
    for first in (0..messages).step_by(TOGETHER as usize) {
        let some: Vec<Value> = (first..first + TOGETHER).map(record).collect();
        let mut answer = wait_for("the records to be taken", LONG, async || {
            let answer = client.post(&url).bearer_auth(&key).send_json(&some).await.unwrap();
            (answer.status() == 202).then_some(answer)
        })
        .await;
        if first == 0 {
            let body: Value = answer.json().await.unwrap();
            ids = body["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        }
    }
    let wanted = i64::try_from(messages).unwrap();
    wait_for("both databases to have them", LONG, async || {
        let has = async |target: &Target, wanted: i64| {
            target.pairs("SELECT count(*), 0 FROM parts").await.is_some_and(|rows| rows == [(wanted, 0)])
        };
        (has(&lite, wanted - wanted / 100).await && has(&dark, wanted).await).then_some(())
    })
    .await;
    (scene, ids)
}

fn messages() -> u64 {
    std::env::var("TIDEGATE_TEST_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// Every screen with something in it.
async fn screens(browser: &mut Browser, ids: &[String]) -> Vec<String> {
    let mut all: Vec<String> = [
        "/console/",
        "/console/applications",
        "/console/applications/car-app",
        "/console/destinations",
        "/console/destinations/lite",
        "/console/destinations/lite/edit",
        "/console/destinations/lite/abandon",
        "/console/tables",
        "/console/tables/lite-parts",
        "/console/tables/lite-parts/remove",
        "/console/tables/lite-parts/replay",
        "/console/tables/~new/source",
        "/console/tables/~new/destination?source=car-app+cars",
        "/console/tables/~new/table?source=car-app+cars&destination=lite",
        "/console/tables/~new/fields?source=car-app+cars&destination=lite&table=parts",
        "/console/logs",
        "/console/logs?status=dead",
        "/console/logs?destination=lite&status=delivered",
        "/console/dead",
        "/console/actors",
        "/console/settings/users",
        "/console/settings/retention",
        "/console/settings/alerts",
        "/console/settings/transfer",
        "/console/settings/audit",
        "/console/me",
    ]
    .map(str::to_owned)
    .into();
    let link = |page: &str, begin: &str| {
        let rest = page.split_once(&format!("href=\"{begin}")).unwrap_or_else(|| panic!("no {begin} in\n{page}")).1;
        format!("{begin}{}", rest.split('"').next().unwrap()).replace("&amp;", "&").replace("&#38;", "&")
    };
    let dead = browser.get("/console/dead").await.body;
    all.push(link(&dead, "/console/dead/letters"));
    let inside = browser.get(all.last().unwrap()).await.body;
    all.push(link(&inside, "/console/dead/letter/"));
    all.push(format!("/console/messages/car-app/{}", ids[3]));
    all.push(format!("/console/logs?q={}", ids[3]));
    all
}

#[actix_web::test]
async fn every_screen_is_quick_with_much_in_it() {
    let (scene, ids) = filled(messages()).await;
    let mut browser = scene.browser_of("ana").await;
    wait_for("the dead letters to be told", LONG, async || {
        let wanted = messages() / 100;
        let page = browser.get("/console/dead").await.body.replace(',', "");
        page.contains(&format!("all {wanted}")).then_some(())
    })
    .await;
    let bound = Duration::from_millis(if is_optimised() { 50 } else { 500 });
    let mut slow = Vec::new();
    for path in screens(&mut browser, &ids).await {
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let page = browser.get(&path).await;
            took.push(begun.elapsed());
            // Another build may not have a screen that this one has.
            assert!(
                page.status == 200 || page.status == 404 && is_optimised(),
                "{path}: {} {}",
                page.status,
                page.body
            );
        }
        let first = took[0];
        took.sort_unstable();
        let (quickest, median) = (took[0], took[ROUNDS / 2]);
        println!("{path}: first {first:.1?}, median {median:.1?}, quickest {quickest:.1?}");
        if quickest > bound {
            slow.push(format!("{path}: {quickest:?}"));
        }
    }
    assert!(slow.is_empty(), "slower than {bound:?}: {slow:#?}");
}

#[actix_web::test]
async fn ten_who_look_on_cost_a_node_little() {
    let (scene, _) = filled(2_000).await;
    let mut browser = scene.browser_of("ana").await;
    let looks_for = Duration::from_secs(if is_optimised() { 20 } else { 4 });
    let used = async || {
        let before = scene.node.used();
        tokio::time::sleep(looks_for).await;
        (scene.node.used() - before).as_secs_f64() / looks_for.as_secs_f64()
    };
    browser.get("/console/").await;
    let alone = used().await;
    let mut viewers = Vec::new();
    for _ in 0..10 {
        let mut stream = browser.stream("/console/events?of=overview").await;
        viewers.push(actix_web::rt::spawn(async move {
            let mut heard = 0;
            while let Some(bytes) = futures_util::StreamExt::next(&mut stream).await {
                heard += bytes.len();
            }
            heard
        }));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = used().await;
    viewers.iter().for_each(|viewer| assert!(!viewer.is_finished(), "all of them look on"));
    viewers.into_iter().for_each(|viewer| viewer.abort());
    let (alone, seen) = (alone * 100.0, seen * 100.0);
    println!("of a core: {alone:.2} % without viewers, {seen:.2} % with ten, {:.2} % for them", seen - alone);
    let bound = if is_optimised() { 2.0 } else { 20.0 };
    assert!(seen - alone < bound, "{:.2} % of a core", seen - alone);
}
