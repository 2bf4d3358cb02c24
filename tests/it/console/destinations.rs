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
