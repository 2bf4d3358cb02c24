//! Dead letters in the console: groups, a letter edited and redriven, many at once with progress, who may what, and that a
//! record stays text.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Scene, browser::Browser};
use crate::{e2e::ledger::Target, servers::wait_for};

const LIMIT: Duration = Duration::from_secs(40);

/// A scene with a SQLite destination `lite` whose table takes no negative stock; its key.
pub(super) async fn with_table(users: &[&str]) -> (Scene, Target, String) {
    let scene = Scene::start(users).await;
    let target = scene.installation.sqlite("lite").await;
    let table = "CREATE TABLE parts (id integer PRIMARY KEY, title text NOT NULL, stock integer CHECK (stock >= 0))";
    target.execute(table).await;
    scene.installation.apply(&format!(
        "[[application]]\nname = \"car-app\"\ntopics = [\"cars\", \"loose\"]\n\
         [[destination]]\nname = \"lite\"\nkind = \"sqlite\"\nurl = \"{}\"\n\
         [[route]]\nname = \"lite-parts\"\napplication = \"car-app\"\ntopic = \"cars\"\ndestination = \"lite\"\n\
         table = \"parts\"\nkey = [\"id\"]\ncolumns = {{ id = \"id\", title = {{ from = \"name\", clean = [\"trim\"] }}, stock = \"stock\" }}\n",
        target.url
    ));
    let key = scene.installation.run(&["key", "create", "car-app"]).trim().to_owned();
    (scene, target, key)
}

pub(super) async fn send(scene: &Scene, key: &str, messages: &[Value]) -> Vec<String> {
    let url = format!("http://127.0.0.1:{}/v1/messages", scene.node.listen);
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    let mut answer = wait_for("the key is known", LIMIT, async || {
        let answer = client.post(&url).bearer_auth(key).send_json(&messages).await.unwrap();
        (answer.status() == 202).then_some(answer)
    })
    .await;
    let body: Value = answer.json().await.unwrap();
    body["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

pub(super) fn message(id: i64, name: &str, stock: i64) -> Value {
    json!({"topic": "cars", "action": "upsert", "key": id, "data": {"id": id, "name": name, "stock": stock, "color": "red"}})
}

async fn page_with(browser: &mut Browser, path: &str, words: &str) -> String {
    wait_for(words, LIMIT, async || {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page.body.contains(words).then_some(page.body)
    })
    .await
}

/// The first address of a page that begins so.
fn link(page: &str, begin: &str) -> String {
    let at = page.find(&format!("href=\"{begin}")).unwrap_or_else(|| panic!("no link to {begin} in:\n{page}"));
    page[at + 6..].split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&")
}

#[actix_web::test]
async fn a_bad_record_is_found_by_its_cause_edited_and_redriven() {
    let (scene, target, key) = with_table(&["ana:operator", "vi:viewer"]).await;
    let mut browser = scene.browser_of("ana").await;
    let empty = browser.get("/console/dead").await;
    assert!(empty.status == 200 && empty.body.contains("No dead letters"), "{}", empty.body);

    let hostile = "<script>alert('x')</script>";
    let ids = send(&scene, &key, &[message(1, "good", 5), message(2, hostile, -1), message(3, "bad", -2)]).await;
    let groups = page_with(&mut browser, "/console/dead", "Redrive all 2").await;
    assert!(groups.contains("check") && groups.contains("lite-parts") && groups.contains("<rect "), "{groups}");
    let inside = browser.get(&link(&groups, "/console/dead/letters")).await;
    assert!(inside.status == 200 && ids[1..].iter().all(|id| inside.body.contains(id)), "{}", inside.body);
    let address = format!(
        "/console/dead/letter/{}",
        link(&inside.body, "/console/dead/letter/")
            .rsplit_once('/')
            .unwrap()
            .0
            .trim_start_matches("/console/dead/letter/")
    );
    let address = format!("{address}/{}", ids[1]);
    let shown = browser.get(&address).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert!(!shown.body.contains(hostile), "a record is text");
    assert!(shown.body.contains("&#60;script&#62;") || shown.body.contains("&lt;script&gt;"), "{}", shown.body);
    assert!(shown.body.contains("Edit and redrive"), "{}", shown.body);

    // A viewer sees it and can do nothing about it.
    let mut viewer = scene.browser_of("vi").await;
    let seen = viewer.get(&address).await;
    assert!(seen.status == 200 && !seen.body.contains("<textarea"), "{}", seen.body);
    let csrf = viewer.get("/console/").await.csrf();
    let refused = viewer.post(&address, &csrf, &[("act", "discard"), ("reason", "x")]).await;
    assert_eq!(refused.status, 403);
    assert_eq!(viewer.post("/console/dead/many", &csrf, &[("task", "discard"), ("counted", "9")]).await.status, 403);

    let csrf = shown.csrf();
    let broken = browser.post(&address, &csrf, &[("act", "edit"), ("data", "{\"id\": 2, ")]).await;
    assert_eq!(broken.status, 422);
    assert!(broken.body.contains("That is not JSON.") && broken.body.contains("id&#34;: 2,"), "{}", broken.body);
    let again = browser.post(&address, &csrf, &[("act", "redrive")]).await;
    assert_eq!((again.status, again.to()), (303, address.clone()));
    let told = browser.get(&again.to()).await;
    assert!(told.body.contains("Refused:"), "{}", told.body);
    let better = json!({"id": 2, "name": "mended", "stock": 7}).to_string();
    let edited = browser.post(&address, &csrf, &[("act", "edit"), ("data", &better)]).await;
    assert_eq!((edited.status, edited.to()), (303, format!("/console/messages/car-app/{}", ids[1])));
    let life = browser.get(&edited.to()).await;
    assert!(life.body.contains("Written.") && life.body.contains("redriven"), "{}", life.body);
    assert!(life.body.contains("ana") && life.body.contains("edited: color, name, stock"), "{}", life.body);
    let stock = target.pairs("SELECT id, stock FROM parts WHERE title = 'mended'").await.unwrap();
    assert_eq!(stock, [(2, 7)]);
    assert_eq!(browser.get(&address).await.status, 404, "it is gone");

    // The last is discarded, in somebody's name.
    let other = address.replace(&ids[1], &ids[2]);
    let discarded = browser.post(&other, &csrf, &[("act", "discard"), ("reason", "a test")]).await;
    assert_eq!((discarded.status, discarded.to().as_str()), (303, "/console/dead"));
    page_with(&mut browser, "/console/dead", "No dead letters").await;
    let life = browser.get(&format!("/console/messages/car-app/{}", ids[2])).await;
    assert!(life.body.contains("Discarded") && life.body.contains("a test"), "{}", life.body);
}

#[actix_web::test]
async fn ten_thousand_are_shown_and_dealt_with_until_somebody_says_stop() {
    const LETTERS: i64 = 10_000;
    let (scene, target, key) = with_table(&["ana:operator"]).await;
    for chunk in 0..10 {
        let bad: Vec<Value> = (0..LETTERS / 10).map(|n| message(chunk * LETTERS / 10 + n, "x", -1)).collect();
        send(&scene, &key, &bad).await;
    }
    let mut browser = scene.browser_of("ana").await;
    wait_for("all are dead letters", Duration::from_secs(180), async || {
        browser.get("/console/dead").await.body.contains("Redrive all 10,000").then_some(())
    })
    .await;
    // What was read once is known: the page is quick.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let began = std::time::Instant::now();
        assert_eq!(browser.get("/console/dead").await.status, 200);
        quickest = quickest.min(began.elapsed());
    }
    println!("the page of groups with 10,000 dead letters: {quickest:?}");
    assert!(quickest < Duration::from_millis(if cfg!(debug_assertions) { 700 } else { 50 }), "{quickest:?}");
    let list = browser.get("/console/dead/letters?page=200").await;
    assert!(list.body.contains("Page 200 of 200"), "{}", list.body);

    // The table is mended; counted, asked, begun.
    target.execute("DROP TABLE parts").await;
    target.execute("CREATE TABLE parts (id integer PRIMARY KEY, title text NOT NULL, stock integer)").await;
    let asked = browser.get("/console/dead/many?task=redrive&destination=lite").await;
    assert!(asked.body.contains("Redrive 10,000 dead letters?"), "{}", asked.body);
    let (csrf, until) = (asked.csrf(), asked.after("name=\"until\" value=\""));
    let few = [("task", "redrive"), ("destination", "lite"), ("counted", "9999"), ("until", until.as_str())];
    let conflict = browser.post("/console/dead/many", &csrf, &few).await;
    assert!(conflict.status == 409 && conflict.body.contains("10000 of them by now"), "{}", conflict.body);
    let all = [("task", "redrive"), ("destination", "lite"), ("counted", "10000"), ("until", until.as_str())];
    let begun = browser.post("/console/dead/many", &csrf, &all).await;
    assert_eq!(begun.status, 303, "{}", begun.body);
    let job = begun.to();
    let shown = browser.get(&job).await;
    assert!(shown.body.contains("<progress max=\"10000\"") && shown.body.contains("Stop"), "{}", shown.body);
    let stopped = browser.post(&job, &csrf, &[]).await;
    assert_eq!((stopped.status, stopped.to()), (303, job.clone()));
    page_with(&mut browser, &job, "Stopped").await;
    // What the owner had been given by then is still written.
    wait_for("what is left is what is not written", LIMIT, async || {
        let left = browser.get("/console/dead").await;
        let written = target.pairs("SELECT count(*), count(*) FROM parts").await?[0].0;
        assert!(written < LETTERS, "it stopped before the end");
        let left_of = format!("{},{:03}", (LETTERS - written) / 1_000, (LETTERS - written) % 1_000);
        left.body.contains(&left_of).then_some(())
    })
    .await;

    // What is left is discarded, with a reason.
    let asked = browser.get("/console/dead/many?task=discard").await;
    let (until, counted) = (asked.after("name=\"until\" value=\""), asked.after("name=\"counted\" value=\""));
    let form =
        |reason| [("task", "discard"), ("counted", counted.as_str()), ("until", until.as_str()), ("reason", reason)];
    let silent = browser.post("/console/dead/many", &csrf, &form(" ")).await;
    assert!(silent.status == 422 && silent.body.contains("all that is left of them"), "{}", silent.body);
    let begun = browser.post("/console/dead/many", &csrf, &form("test data")).await;
    let job = begun.to();
    wait_for("some are discarded", LIMIT, async || {
        let shown = browser.get(&job).await.body;
        (!shown.contains("<dt>Discarded</dt><dd>0</dd>")).then_some(())
    })
    .await;
    browser.post(&job, &csrf, &[]).await;
    page_with(&mut browser, &job, "Stopped").await;
    assert!(browser.get("/console/dead").await.body.contains("Under way and lately"));
    browser.cookies.insert("lang".into(), "id".into());
    assert!(browser.get("/console/dead").await.body.contains("Pesan gagal"));
}

#[actix_web::test]
async fn with_redis_away_an_edit_comes_back_as_it_was_typed() {
    let (mut scene, _, key) = with_table(&["ana:operator"]).await;
    let ids = send(&scene, &key, &[message(2, "bad", -1), message(3, "good", 1)]).await;
    let mut browser = scene.browser_of("ana").await;
    let inside = page_with(&mut browser, "/console/dead/letters", &ids[0]).await;
    let address = link(&inside, "/console/dead/letter/");
    let csrf = browser.get(&address).await.csrf();
    scene.installation.redis.kill();
    wait_for("Redis is away", LIMIT, async || {
        browser.get("/console/dead").await.body.contains("Redis is away").then_some(())
    })
    .await;
    let began = std::time::Instant::now();
    let lost = browser.post(&address, &csrf, &[("act", "edit"), ("data", "{\"id\": 2, \"name\": \"typed\"}")]).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(lost.status, 503, "{}", lost.body);
    assert!(lost.body.contains("typed") && lost.body.contains("your text is still here"), "{}", lost.body);
}

#[actix_web::test]
async fn lists_of_dead_letters_are_sorted_filtered_by_time_and_have_addresses() {
    let (scene, _, key) = with_table(&["ana:operator"]).await;
    let mut browser = scene.browser_of("ana").await;
    let none = browser.get("/console/dead/jobs").await;
    assert!(none.status == 200 && none.body.contains("No job yet"), "{}", none.body);
    // Two causes: a check on `stock` (two letters), and a value that is no number (one).
    let odd = json!({"topic": "cars", "action": "upsert", "key": 9, "data": {"id": 9, "name": "odd", "stock": "many"}});
    let ids = send(&scene, &key, &[message(2, "bad", -1), message(3, "bad", -2), odd]).await;
    let groups = page_with(&mut browser, "/console/dead", "Redrive all 3").await;
    let order = |page: &str| {
        let begin = "href=\"/console/dead/letters?";
        let links =
            page.match_indices(begin).map(|(at, _)| page[at + begin.len()..].split('"').next().unwrap().to_owned());
        links.map(|link| link.split("group=").nth(1).unwrap().split('&').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let most_first = order(&groups);
    assert_eq!(most_first.len(), 2, "{groups}");
    assert!(groups.contains("aria-sort=\"descending\"><a href=\"/console/dead?sort=count\""), "{groups}");
    let least_first = order(&browser.get("/console/dead?sort=count").await.body);
    assert_eq!(least_first, most_first.iter().rev().cloned().collect::<Vec<_>>());
    let letters = browser.get("/console/dead/letters?sort=key").await.body;
    let places: Vec<_> = ids.iter().map(|id| letters.find(id.as_str()).unwrap()).collect();
    assert!(places.is_sorted(), "by key: {places:?}");
    let letters = browser.get("/console/dead/letters?sort=-key").await.body;
    let places: Vec<_> = ids.iter().rev().map(|id| letters.find(id.as_str()).unwrap()).collect();
    assert!(places.is_sorted(), "the other way round: {places:?}");
    // Nothing was given up before this year, all of it after.
    let before = browser.get("/console/dead?to=2020-01-01").await.body;
    assert!(before.contains("Nothing found") && before.contains("value=\"2020-01-01\""), "{before}");
    let since = browser.get("/console/dead?from=2020-01-01T00:00").await.body;
    assert!(since.contains("Redrive all 3") && since.contains("task=redrive"), "{since}");
    let wrong = browser.get("/console/dead?from=yesterday").await.body;
    assert!(wrong.contains("Write a moment such as") && wrong.contains("value=\"yesterday\""), "{wrong}");
    // A time goes along with what is done with many.
    let asked = browser.get("/console/dead/many?task=discard&to=2020-01-01").await.body;
    assert!(asked.contains("No dead letter is like that"), "{asked}");
    let asked = browser.get("/console/dead/many?task=discard&from=2020-01-01").await;
    assert!(asked.body.contains("name=\"from\" value=\"2020-01-01\""), "{}", asked.body);
    let until = asked.after("name=\"until\" value=\"");
    let fields =
        [("task", "discard"), ("counted", "3"), ("until", until.as_str()), ("from", "2020-01-01"), ("reason", "test")];
    let begun = browser.post("/console/dead/many", &asked.csrf(), &fields).await;
    assert_eq!(begun.status, 303, "{}", begun.body);
    let listed = page_with(&mut browser, "/console/dead/jobs", "3 / 3").await;
    assert!(listed.contains("Discard") && listed.contains("ana") && listed.contains("since 2020-01-01"), "{listed}");
    let filtered = browser.get("/console/dead/jobs?task=redrive").await.body;
    assert!(filtered.contains("Nothing found") && !filtered.contains("3 / 3"), "{filtered}");
}
