//! The screen Destinations over HTTP, on a real PostgreSQL: a check that fails and one that does not, what operators do by
//! hand, and what must never be shown.

use std::time::Duration;

use super::{Scene, browser::Browser};
use crate::{
    e2e::{installation::manifest, ledger::Target},
    servers::{postgres::PostgresServer, wait_for},
};

const CANARY: &str = "canary-password";

struct Parts {
    host: String,
    port: String,
    database: String,
}

async fn parts(server: &PostgresServer) -> Parts {
    let url: url::Url = server.url(&server.database().await).parse().unwrap();
    Parts {
        host: url.host_str().unwrap().into(),
        port: url.port().unwrap().to_string(),
        database: url.path().trim_start_matches('/').into(),
    }
}

impl Parts {
    fn fields<'a>(&'a self, name: &'a str, port: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("kind", "postgres"),
            ("name", name),
            ("host", &self.host),
            ("port", port),
            ("database", &self.database),
            ("user", "postgres"),
            ("password", CANARY),
            ("tls", "off"),
            ("delivery", "ordered"),
        ]
    }
}

async fn open(operator: &mut Browser) -> String {
    let page = operator.get("/console/destinations/~new?kind=postgres").await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("GRANT"), "what a DBA is given");
    page.csrf()
}

#[actix_web::test]
async fn a_destination_is_saved_only_once_its_check_is_good() {
    let scene = Scene::start(&["olga:operator"]).await;
    let server = PostgresServer::private();
    let parts = parts(&server).await;
    let mut operator = scene.browser_of("olga").await;
    assert!(operator.get("/console/destinations").await.body.contains("No destination yet"));
    let csrf = open(&mut operator).await;
    let mut fields = parts.fields("rooms", "1");
    let failed = operator.post("/console/destinations/~check", &csrf, &fields).await;
    assert!(failed.body.contains("nothing listens there"), "{}", failed.body);
    assert!(!failed.body.contains(CANARY), "a password never comes back");
    let refused = operator.post("/console/destinations", &csrf, &fields).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("value=\"rooms\"") && !refused.body.contains(CANARY), "{}", refused.body);
    fields.iter_mut().filter(|(name, _)| *name == "password").for_each(|field| field.1 = "");
    fields.iter_mut().filter(|(name, _)| *name == "port").for_each(|field| field.1 = &parts.port);
    let without = operator.post("/console/destinations", &csrf, &fields).await;
    assert_eq!(without.status, 422, "not without its password");
    let good = parts.fields("rooms", &parts.port);
    let checked = operator.post("/console/destinations/~check", &csrf, &good).await;
    let token = checked.after("name=\"token\" value=\"");
    let mut with_token = good.clone();
    with_token.push(("token", &token));
    let saved = operator.post("/console/destinations", &csrf, &with_token).await;
    assert_eq!((saved.status, saved.to().as_str()), (303, "/console/destinations/rooms"), "{}", saved.body);
    wait_for("it is up", Duration::from_secs(15), async || {
        operator.get("/console/destinations/rooms").await.body.contains("badge good").then_some(())
    })
    .await;
    // Nothing is asked, and nothing leads there that could be counted.
    let decide = operator.get("/console/destinations/rooms/decide").await;
    assert!(decide.status == 200 && decide.body.contains("does not wait for a decision"), "{}", decide.body);
    let above = decide.body.split("class=\"crumb\"").nth(1).and_then(|rest| rest.split("</nav>").next()).unwrap();
    assert!(above.contains("href=\"/console/destinations/rooms\"") && above.contains("rooms</span>"), "{above}");
    let edit = operator.get("/console/destinations/rooms/edit").await;
    assert!(edit.body.contains("Leave it empty to keep") && !edit.body.contains(CANARY), "{}", edit.body);
    let mut again = good.clone();
    again.retain(|(name, _)| *name != "password");
    again.push(("options", "search_path=public"));
    let saved = operator.post("/console/destinations/rooms/edit", &csrf, &again).await;
    assert_eq!(saved.status, 303, "an edit keeps the password: {}", saved.body);
    assert!(!scene.node.logged().contains(CANARY));
}

#[actix_web::test]
async fn a_check_goes_step_by_step_and_never_where_it_must_not() {
    let scene = Scene::start_with(&["olga:operator"], &[("TIDEGATE_LOCAL_DESTINATIONS", "deny")]).await;
    let mut operator = scene.browser_of("olga").await;
    let csrf = open(&mut operator).await;
    for host in ["127.0.0.1", "localhost", "169.254.169.254", "::1", "[::ffff:127.0.0.1]"] {
        let parts = Parts { host: host.into(), port: "5432".into(), database: "x".into() };
        let refused = operator.post("/console/destinations/~check", &csrf, &parts.fields("rooms", "5432")).await;
        assert!(
            refused.body.contains("it leads to") && !refused.body.contains("nothing listens"),
            "{host}: {}",
            refused.body
        );
    }
    operator.headers.push(("HX-Request".into(), "true".into()));
    let parts = Parts { host: "127.0.0.1".into(), port: "5432".into(), database: "x".into() };
    let begun = operator.post("/console/destinations/~check", &csrf, &parts.fields("rooms", "5432")).await;
    let poll = begun.after("hx-get=\"");
    wait_for("the steps come in", Duration::from_secs(10), async || {
        let part = operator.get(&poll).await;
        (part.body.contains("it leads to") && !part.body.contains("hx-get")).then_some(())
    })
    .await;
    // So often that it could be a scan.
    operator.headers.clear();
    let mut last = String::new();
    for _ in 0..20 {
        last = operator.post("/console/destinations/~check", &csrf, &parts.fields("rooms", "5432")).await.body;
    }
    assert!(last.contains("checks a minute"), "{last}");
}

#[actix_web::test]
async fn a_paused_destination_keeps_its_records_and_a_backlog_is_given_up_up_to_a_message() {
    let scene = Scene::start(&["olga:operator", "vera:viewer"]).await;
    let server = PostgresServer::private();
    let target = Target { name: "rooms".into(), kind: "postgres", url: server.url(&server.database().await) };
    target.create_tables().await;
    scene.installation.apply(&manifest(std::slice::from_ref(&target)));
    let key = scene.installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let mut operator = scene.browser_of("olga").await;
    let csrf = operator.get("/console/destinations").await.csrf();
    let act = async |operator: &mut Browser, act: &str| {
        let done = operator.post("/console/destinations/rooms/by-hand", &csrf, &[("act", act)]).await;
        assert_eq!(done.status, 303, "{act}: {}", done.body);
    };
    let shows = async |status: &'static str| {
        wait_for(&format!("it is {status}"), Duration::from_secs(20), async || {
            (scene.node.destination("rooms").await["status"] == status).then_some(())
        })
        .await;
    };
    let mut ids = Vec::new();
    let send = async |id: u32| {
        let body = serde_json::json!({"topic": "cars", "data": {"id": id, "version": 1}, "key": id});
        let client = awc::Client::default();
        let post = client.post(format!("http://127.0.0.1:{}/v1/messages", scene.node.listen));
        let mut answer = post.insert_header(("Authorization", format!("Bearer {key}"))).send_json(&body).await.unwrap();
        let answered: serde_json::Value = answer.json().await.unwrap();
        answered["id"].as_str().unwrap_or_else(|| panic!("{answered}")).to_owned()
    };
    shows("up").await;
    ids.push(send(1).await);
    wait_for("the first arrives", Duration::from_secs(20), async || target.arrived().await.filter(|n| *n == 1)).await;
    act(&mut operator, "pause").await;
    shows("paused").await;
    for id in 2..=6 {
        ids.push(send(id).await);
    }
    wait_for("they wait", Duration::from_secs(20), async || {
        (scene.node.destination("rooms").await["backlog"] == 5).then_some(())
    })
    .await;
    assert_eq!(target.arrived().await, Some(1));
    let page = operator.get("/console/destinations/rooms").await;
    assert!(page.body.contains("Paused by olga"), "{}", page.body);
    // Up to the fourth.
    let shown = operator.get(&format!("/console/destinations/rooms/abandon?until={}", ids[3])).await;
    assert!(shown.body.contains("<strong>3</strong>"), "{}", shown.body);
    let seen = shown.after("name=\"seen\" value=\"");
    let done =
        operator.post("/console/destinations/rooms/abandon", &csrf, &[("seen", &seen), ("reason", "closed")]).await;
    assert_eq!(done.status, 303, "{}", done.body);
    act(&mut operator, "resume").await;
    shows("up").await;
    wait_for("what follows arrives", Duration::from_secs(20), async || target.arrived().await.filter(|n| *n == 3))
        .await;
    let looked = crate::e2e::installation::get_as(
        &format!("http://127.0.0.1:{}/v1/messages/{}", scene.node.listen, ids[2]),
        &key,
    )
    .await
    .unwrap();
    assert!(looked.1.contains("\"abandoned\""), "{}", looked.1);
    let page = operator.get("/console/destinations/rooms").await;
    assert!(page.body.contains("closed") && page.body.contains("badge note"), "history: {}", page.body);
    // The breaker, and what a viewer may not.
    act(&mut operator, "open").await;
    wait_for("it is shown as such", Duration::from_secs(10), async || {
        let detail = scene.node.destination("rooms").await;
        (detail["breaker"] == "open" && detail["breaker_by_hand"]["by"].is_string()).then_some(())
    })
    .await;
    act(&mut operator, "close").await;
    shows("up").await;
    let mut viewer = scene.browser_of("vera").await;
    let page = viewer.get("/console/destinations/rooms").await;
    assert!(page.status == 200 && !page.body.contains("by-hand"), "{}", page.body);
    assert_eq!(viewer.post("/console/destinations/rooms/by-hand", &page.csrf(), &[("act", "pause")]).await.status, 403);
    // Removal says what it will do.
    let asked = operator.get("/console/destinations/rooms/remove").await;
    assert!(asked.body.contains("rooms-cars"), "{}", asked.body);
    assert_eq!(operator.post("/console/destinations/rooms/remove", &csrf, &[]).await.status, 303);
    assert!(operator.get("/console/destinations").await.body.contains("No destination yet"));
}

/// The shops' terminals have no server: the form asks for a name and how to deliver, and for nothing else.
#[actix_web::test]
async fn the_shops_are_a_destination_without_server_and_password() {
    let scene = Scene::start(&["olga:operator"]).await;
    let mut operator = scene.browser_of("olga").await;
    let page = operator.get("/console/destinations/~new?kind=broadcast").await;
    assert_eq!(page.status, 200, "{}", page.body);
    for field in ["host", "port", "database", "user", "password", "tls", "node", "options"] {
        assert!(!page.body.contains(&format!("name=\"{field}\"")), "{field}: {}", page.body);
    }
    let fields = vec![("kind", "broadcast"), ("name", "shops"), ("delivery", "ordered")];
    let checked = operator.post("/console/destinations/~check", &page.csrf(), &fields).await;
    assert!(checked.body.contains("takes writes") && checked.body.contains("0 terminals"), "{}", checked.body);
    let token = checked.after("name=\"token\" value=\"");
    let with_token = [fields, vec![("token", token.as_str())]].concat();
    let saved = operator.post("/console/destinations", &page.csrf(), &with_token).await;
    assert_eq!(saved.status, 303, "{}", saved.body);
    let shown = operator.get("/console/destinations/shops").await;
    assert!(shown.body.contains("Broadcasts") && !shown.body.contains("GRANT"), "{}", shown.body);
}

/// A file in the place of another is another database: nothing is written until somebody says from where on.
#[actix_web::test]
async fn where_a_held_destination_goes_on_is_decided_here() {
    let mut scene = Scene::start(&["olga:operator", "vera:viewer", "root:admin"]).await;
    let mut target = scene.installation.sqlite("lite").await;
    let key = scene.installation.register(std::slice::from_ref(&target));
    let client = awc::Client::default();
    for id in 1..=4 {
        let post = client.post(format!("http://127.0.0.1:{}/v1/messages", scene.node.listen)).bearer_auth(&key);
        let body = serde_json::json!({"topic": "cars", "data": {"id": id, "version": 1}, "key": id});
        assert_eq!(post.send_json(&body).await.unwrap().status(), 202);
    }
    wait_for("all arrive", Duration::from_secs(20), async || target.arrived().await.filter(|n| *n == 4)).await;
    let mut operator = scene.browser_of("olga").await;
    let early = operator.get("/console/destinations/lite/decide").await;
    assert!(early.status == 200 && early.body.contains("does not wait for a decision"), "{}", early.body);
    assert!(!early.body.contains("name=\"from\""), "there is nothing to answer: {}", early.body);

    let other = scene.installation.sqlite("other").await;
    target.url.clone_from(&other.url);
    scene.installation.apply(&manifest(std::slice::from_ref(&target)));
    let page = wait_for("it is held", Duration::from_secs(30), async || {
        let page = operator.get("/console/destinations/lite").await;
        page.body.contains("lite/decide").then_some(page)
    })
    .await;
    assert!(page.body.contains("not the database that destination"), "{}", page.body);
    // The file by its name, with its path on hover.
    assert!(page.body.contains(">other.db</span>") && page.body.contains("/other.db\""), "{}", page.body);
    let mut viewer = scene.browser_of("vera").await;
    assert!(!viewer.get("/console/destinations/lite").await.body.contains("lite/decide"));
    assert_eq!(viewer.get("/console/destinations/lite/decide").await.status, 403);
    let theirs = viewer.get("/console/").await.csrf();
    assert_eq!(viewer.post("/console/destinations/lite/decide", &theirs, &[("from", "now")]).await.status, 403);
    assert_eq!(viewer.get("/console/destinations/lite/state").await.status, 200);

    let asked = operator.get("/console/destinations/lite/decide").await;
    for words in ["4 records are sent.", "0 records are sent.", "From the earliest record", "From now on"] {
        assert!(asked.body.contains(words), "{words}: {}", asked.body);
    }
    let (csrf, seen) = (asked.csrf(), asked.after("name=\"seen_earliest\" value=\""));
    let odd = operator.post("/console/destinations/lite/decide", &csrf, &[("from", "there")]).await;
    assert_eq!(odd.status, 400, "{}", odd.body);
    let held = asked.after("name=\"held\" value=\"");
    let stale = [("from", "earliest"), ("seen_earliest", seen.as_str()), ("held", "something else")];
    let refused = operator.post("/console/destinations/lite/decide", &csrf, &stale).await;
    assert_eq!(refused.status, 409, "an answer to another question: {}", refused.body);
    let moved = [("from", "earliest"), ("seen_earliest", "car-app aaaaaaaaaa-5-0"), ("held", &held)];
    let refused = operator.post("/console/destinations/lite/decide", &csrf, &moved).await;
    assert!(refused.status == 409 && refused.body.contains("another place by now"), "{}", refused.body);
    assert!(refused.body.contains("value=\"earliest\" checked"), "what was chosen stays: {}", refused.body);
    let fields = [("from", "earliest"), ("seen_earliest", seen.as_str()), ("held", &held)];
    let done = operator.post("/console/destinations/lite/decide", &csrf, &fields).await;
    assert_eq!((done.status, done.to().as_str()), (303, "/console/destinations/lite"), "{}", done.body);
    wait_for("the other has them", Duration::from_secs(30), async || other.arrived().await.filter(|n| *n == 4)).await;
    let audit = scene.browser_of("root").await.get("/console/settings/audit?what=goes+on").await.body;
    assert!(audit.contains("olga") && audit.contains("4 records are sent"), "{audit}");
    operator.cookies.insert("lang".into(), "id".into());
    assert!(operator.get("/console/destinations/lite/decide").await.body.contains("lang=\"id\""));
    operator.cookies.remove("lang");
    scene.installation.redis.kill();
    let away = operator.post("/console/destinations/lite/decide", &csrf, &fields).await;
    assert!(away.status == 503 && away.body.contains("name=\"from\""), "{} {}", away.status, away.body);
}

#[actix_web::test]
async fn many_destinations_have_pages_with_addresses() {
    let scene = Scene::start(&["vera:viewer"]).await;
    let one = |n: u32| {
        format!(
            "[[destination]]\nname = \"d{n:02}\"\nkind = \"postgres\"\nurl = \"postgres://w@127.0.0.1:1/x{}\"\n",
            99 - n
        )
    };
    scene.installation.apply(&(0..60).map(one).collect::<String>());
    let mut viewer = scene.browser_of("vera").await;
    let shows = |body: &str, name: &str| body.contains(&format!("href=\"/console/destinations/{name}\""));
    let first = wait_for("the node to know them", Duration::from_secs(10), async || {
        Some(viewer.get("/console/destinations").await.body).filter(|body| body.contains("Page 1 of 2"))
    })
    .await;
    assert!(shows(&first, "d00") && shows(&first, "d49") && !shows(&first, "d50"), "{first}");
    assert!(first.contains("href=\"/console/destinations?page=2\""), "{first}");
    let second = viewer.get("/console/destinations?page=2").await.body;
    assert!(!shows(&second, "d49") && shows(&second, "d50") && shows(&second, "d59"), "{second}");
    let sorted = viewer.get("/console/destinations?sort=database").await.body;
    assert!(shows(&sorted, "d59") && !shows(&sorted, "d00"), "{sorted}");
    let found = viewer.get("/console/destinations?q=x90&page=7").await.body;
    assert!(shows(&found, "d09") && !found.contains("Page "), "{found}");
}
