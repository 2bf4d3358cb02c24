//! Settings and one's own account over HTTP: the real program, a real Redis, and receivers of alerts that remember what came.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use totp_rs::{Algorithm, Secret, TOTP};

use super::{
    PASSWORD, Scene,
    browser::Browser,
    chromium::{Chromium, Look},
};
use crate::{e2e::installation::get, servers::wait_for};

const LIMIT: Duration = Duration::from_secs(60);
/// Typed into forms, and never to be seen again.
const CANARY: &str = "canary harbour in the morning";

const SCREENS: [&str; 8] = [
    "/console/settings/users",
    "/console/settings/users/~new",
    "/console/settings/users/ana",
    "/console/settings/audit",
    "/console/settings/retention",
    "/console/settings/alerts",
    "/console/settings/alerts/~new?way=email",
    "/console/settings/transfer",
];

async fn csrf(browser: &mut Browser) -> String {
    browser.get("/console/me").await.csrf()
}

/// Sends a form with the session's token; whatever is answered shows nothing that was secret.
async fn post(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> super::browser::Answer {
    let token = csrf(browser).await;
    let answer = browser.post(path, &token, fields).await;
    for secret in [CANARY, PASSWORD, "$argon2"] {
        assert!(!answer.body.contains(secret), "{secret} in the answer of {path}:\n{}", answer.body);
    }
    answer
}

#[actix_web::test]
async fn an_admin_adds_changes_and_removes_users_and_every_change_is_listed() {
    let scene = Scene::start(&["ana:admin"]).await;
    let mut ana = scene.browser_of("ana").await;
    let list = ana.get("/console/settings/users").await;
    assert!(list.status == 200 && list.body.contains("Who may sign in here"), "{}", list.body);

    let new = [("name", "Budi"), ("role", "viewer"), ("password", CANARY), ("again", "another phrase")];
    let differ = post(&mut ana, "/console/settings/users/~new", &new).await;
    assert_eq!(differ.status, 422);
    assert!(differ.body.contains("The two passwords are not the same.") && differ.body.contains("value=\"Budi\""));
    let short = [("name", "b b"), ("role", "viewer"), ("password", "short"), ("again", "short")];
    let wrong = post(&mut ana, "/console/settings/users/~new", &short).await;
    assert!(
        wrong.status == 422 && wrong.body.contains("id=\"name-error\"") && wrong.body.contains("id=\"password-error\"")
    );
    let new = [("name", "Budi"), ("role", "viewer"), ("password", CANARY), ("again", CANARY)];
    let added = post(&mut ana, "/console/settings/users/~new", &new).await;
    assert_eq!((added.status, added.to().as_str()), (303, "/console/settings/users/budi"), "{}", added.body);
    let page = ana.get(&added.to()).await;
    assert!(page.status == 200 && page.body.contains("budi can sign in now."), "{}", page.body);
    let taken = post(&mut ana, "/console/settings/users/~new", &new).await;
    assert!(taken.status == 422 && taken.body.contains("already"), "{}", taken.body);

    let mut budi = scene.browser();
    budi.sign_in("budi", CANARY).await;
    assert_eq!(budi.get("/console/me").await.status, 200);
    let role = post(&mut ana, "/console/settings/users/budi/role", &[("role", "operator")]).await;
    assert_eq!(role.status, 303);
    assert_eq!(budi.get("/console/me").await.status, 303, "the session of the old role is over");
    budi.sign_in("budi", CANARY).await;
    post(&mut ana, "/console/settings/users/budi/end-sessions", &[]).await;
    assert_eq!(budi.get("/console/me").await.status, 303);
    let set = [("password", "a quite different phrase"), ("again", "a quite different phrase")];
    assert_eq!(post(&mut ana, "/console/settings/users/budi/password", &set).await.status, 303);
    budi.sign_in("budi", "a quite different phrase").await;
    post(&mut ana, "/console/settings/users/ana/remove", &[]).await;
    let kept = ana.get("/console/settings/users").await;
    assert!(kept.body.contains("/console/settings/users/ana"), "{}", kept.body);
    let filtered = ana.get("/console/settings/users?role=admin&sort=-seen").await;
    assert!(filtered.body.contains("users/ana") && !filtered.body.contains("users/budi\""), "{}", filtered.body);
    let removed = post(&mut ana, "/console/settings/users/budi/remove", &[]).await;
    assert_eq!(removed.to(), "/console/settings/users");
    assert_eq!(budi.get("/console/me").await.status, 303);
    assert_eq!(ana.get("/console/settings/users/budi").await.status, 404);

    let changes = ana.get("/console/settings/audit?what=budi").await;
    for told in ["create user `budi`, role viewer", "viewer → operator", "remove user `budi`", "127.0.0.1"] {
        assert!(changes.body.contains(told), "{told} in\n{}", changes.body);
    }
    assert!(!changes.body.contains("create user `ana`") && changes.body.contains("(secret)"));
    let others = ana.get("/console/settings/audit?who=tidegate+user+add").await;
    assert!(others.body.contains("create user `ana`") && !others.body.contains("remove user `budi`"));
    assert!(ana.get("/console/settings/audit?until=2020-01-01").await.body.contains("No change matches."));
    assert_eq!(ana.get("/console/settings/audit?below=nonsense").await.status, 404);
}

#[actix_web::test]
async fn whoever_is_no_admin_sees_and_does_nothing_of_it() {
    let scene = Scene::start(&["ana:admin", "vi:viewer", "op:operator", "bo:broadcaster"]).await;
    for name in ["vi", "op", "bo"] {
        let mut browser = scene.browser_of(name).await;
        for screen in SCREENS.into_iter().chain(["/console/settings", "/console/settings/transfer/tidegate.toml"]) {
            assert_eq!(browser.get(screen).await.status, 403, "{name} {screen}");
        }
        for act in [
            "/console/settings/users/~new",
            "/console/settings/users/ana/remove",
            "/console/settings/users/ana/role",
            "/console/settings/retention",
            "/console/settings/alerts",
            "/console/settings/alerts/~new",
            "/console/settings/alerts/abc/test",
            "/console/settings/transfer/preview",
            "/console/settings/transfer/import",
        ] {
            let fields = [
                ("name", "eve"),
                ("role", "admin"),
                ("password", CANARY),
                ("again", CANARY),
                ("retention", "1h"),
                ("memory_soft", ""),
                ("memory_hard", ""),
                ("toml", ""),
                ("down_after_s", "5"),
                ("dead_above", "0"),
                ("memory_percent", "1"),
                ("way", "webhook"),
                ("url", "https://a.example/"),
                ("kind", "dead_letters"),
            ];
            assert_eq!(post(&mut browser, act, &fields).await.status, 403, "{name} {act}");
        }
        let home = browser.get("/console/me").await;
        assert!(home.status == 200 && !home.body.contains("/console/settings"), "{name}: {}", home.body);
    }
    let mut ana = scene.browser_of("ana").await;
    for screen in SCREENS {
        let english = ana.get(screen).await;
        assert_eq!(english.status, 200, "{screen}: {}", english.body);
        ana.cookies.insert("lang".into(), "id".into());
        let indonesian = ana.get(screen).await;
        assert!(indonesian.body.contains("<html lang=\"id\"") && indonesian.body.contains("Pengaturan"), "{screen}");
        ana.cookies.remove("lang");
        for inline in [" style=", " onclick=", "<script>", "<style", "javascript:"] {
            assert!(!english.body.contains(inline), "{inline} in {screen}");
        }
    }
}

#[actix_web::test]
async fn retention_of_all_nodes_is_followed_without_a_restart() {
    let scene = Scene::start(&["ana:admin"]).await;
    let target = scene.installation.sqlite("one").await;
    let key = scene.installation.register(std::slice::from_ref(&target));
    // The node learns of the key within a second.
    let both = [r#"{"topic":"cars","key":"1","data":{"id":1,"version":1,"car_name":"a","stock":1,"ballast":""}}"#; 2];
    wait_for("the records to be taken", LIMIT, async || {
        let sent = awc::Client::default()
            .post(format!("http://127.0.0.1:{}/v1/messages", scene.node.listen))
            .insert_header(("authorization", format!("Bearer {key}")))
            .insert_header(("content-type", "application/x-ndjson"))
            .send_body(both.join("\n"))
            .await
            .ok()?;
        sent.status().is_success().then_some(())
    })
    .await;
    let length = async || scene.installation.redis.ask::<u64>("XLEN tidegate:{car-app}:stream").await;
    assert_eq!(length().await, 2);
    let mut ana = scene.browser_of("ana").await;
    let given = |retention: &'static str, soft: &'static str, hard: &'static str| {
        [("retention", retention), ("memory_soft", soft), ("memory_hard", hard)]
    };
    let wrong = post(&mut ana, "/console/settings/retention", &given("soon", "90", "80")).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("value=\"soon\"") && wrong.body.contains("retention-error"), "{}", wrong.body);
    let saved = post(&mut ana, "/console/settings/retention", &given("0s", "60", "75")).await;
    assert_eq!((saved.status, saved.to().as_str()), (303, "/console/settings/retention"), "{}", saved.body);
    // The entry that the destination stands at stays.
    wait_for("what was delivered to go", LIMIT, async || (length().await == 1).then_some(())).await;
    let page = ana.get("/console/settings/retention").await;
    assert!(page.body.contains("value=\"0s\"") && page.body.contains("value=\"60\""), "{}", page.body);
    let audit = ana.get("/console/settings/audit?what=retention").await;
    assert!(audit.body.contains("retention of all nodes: by each node&#39;s settings → 0s"), "{}", audit.body);
}

#[actix_web::test]
async fn while_redis_is_away_a_form_keeps_what_was_typed() {
    let mut scene = Scene::start(&["ana:admin"]).await;
    let mut ana = scene.browser_of("ana").await;
    let token = csrf(&mut ana).await;
    scene.installation.redis.kill();
    let given = [("retention", "36h"), ("memory_soft", "61"), ("memory_hard", "77"), ("broadcasts_days", "33")];
    let refused = ana.post("/console/settings/retention", &token, &given).await;
    assert_eq!(refused.status, 503);
    for kept in ["value=\"36h\"", "value=\"61\"", "value=\"77\"", "value=\"33\"", "This was not saved."] {
        assert!(refused.body.contains(kept), "{kept} in\n{}", refused.body);
    }
    let new = [("name", "budi"), ("role", "viewer"), ("password", CANARY), ("again", CANARY)];
    let refused = ana.post("/console/settings/users/~new", &token, &new).await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("value=\"budi\"") && !refused.body.contains(CANARY), "{}", refused.body);
    for screen in SCREENS.into_iter().chain(["/console/me"]) {
        let asked = std::time::Instant::now();
        let page = ana.get(screen).await;
        assert_eq!(page.status, 200, "{screen}");
        assert!(asked.elapsed() < Duration::from_secs(3), "{screen} took {:?}", asked.elapsed());
    }
}

/// What came, newest last: header names and values, and the body.
type Came = Arc<Mutex<Vec<(Vec<(String, String)>, String)>>>;

/// A receiver of webhooks that answers with these statuses, and 200 from then on.
fn receiver(statuses: &'static [u16]) -> (u16, Came) {
    let (came, listener) = (Came::default(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let (port, kept) = (listener.local_addr().unwrap().port(), Arc::clone(&came));
    let server = HttpServer::new(move || {
        let kept = Arc::clone(&kept);
        App::new().default_service(web::to(move |request: HttpRequest, body: String| {
            let headers = request.headers().iter();
            let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
            let mut all = kept.lock().unwrap();
            let status = statuses.get(all.len()).copied().unwrap_or(200);
            all.push((headers, body));
            async move { HttpResponse::build(status.try_into().unwrap()).finish() }
        }))
    });
    actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
    (port, came)
}

fn header(headers: &[(String, String)], name: &str) -> String {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What came last, if it was signed with this secret.
fn signed(secret: &str, (headers, body): &(Vec<(String, String)>, String)) -> Value {
    let (id, at) = (header(headers, "webhook-id"), header(headers, "webhook-timestamp"));
    let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let wanted = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
    assert_eq!(header(headers, "webhook-signature"), wanted);
    let event: Value = serde_json::from_str(body).unwrap();
    assert_eq!(event["id"], id.as_str());
    event
}

#[actix_web::test]
async fn a_webhook_is_told_once_when_a_destination_goes_down_and_once_when_it_is_over() {
    let scene = Scene::start_with(&["ana:admin"], &[("TIDEGATE_ALERTS_ALLOW", "127.0.0.1")]).await;
    // The first attempt of the alarm is refused: it comes again, with the same id.
    let (port, came) = receiver(&[200, 500]);
    let mut ana = scene.browser_of("ana").await;
    let url = format!("http://127.0.0.1:{port}/hook?token=canary-in-the-address");
    let empty =
        post(&mut ana, "/console/settings/alerts/~new", &[("way", "webhook"), ("name", ""), ("url", "x")]).await;
    assert!(
        empty.status == 422 && empty.body.contains("name-error") && empty.body.contains("url-error"),
        "{}",
        empty.body
    );
    let target = [
        ("way", "webhook"),
        ("name", "On call"),
        ("url", &url),
        ("kind", "destination_down"),
        ("kind", "dead_letters"),
    ];
    let added = post(&mut ana, "/console/settings/alerts/~new", &target).await;
    assert_eq!(added.status, 200, "{}", added.body);
    let secret = added.body.split_once("whsec_").map(|(_, rest)| rest.split('<').next().unwrap()).unwrap();
    let secret = format!("whsec_{secret}");
    let list = ana.get("/console/settings/alerts").await;
    assert!(
        list.body.contains("On call") && list.body.contains(&format!("http://127.0.0.1:{port}/…")),
        "{}",
        list.body
    );
    assert!(!list.body.contains("canary-in-the-address") && !list.body.contains(&secret));
    let audit = ana.get("/console/settings/audit?what=alert").await;
    assert!(
        audit.body.contains("create alert target") && !audit.body.contains("canary-in-the-address"),
        "{}",
        audit.body
    );

    let id = list.after("href=\"/console/settings/alerts/").clone();
    let id = list
        .body
        .split("/console/settings/alerts/")
        .filter_map(|rest| rest.strip_suffix("").and_then(|rest| rest.split(['"', '/']).next()))
        .find(|id| id.len() == 12 && id.chars().all(|c| c.is_ascii_alphanumeric()))
        .map_or(id, str::to_owned);
    let tested = post(&mut ana, &format!("/console/settings/alerts/{id}/test"), &[]).await;
    assert!(
        tested.status == 200 && tested.body.contains("The test was taken.") && tested.body.contains("answered 200")
    );
    let event = signed(&secret, came.lock().unwrap().last().unwrap());
    assert_eq!(event["state"], "test");

    let marks = [("down_after_s", "4"), ("dead_above", "0"), ("memory_percent", "80")];
    assert_eq!(post(&mut ana, "/console/settings/alerts", &marks).await.status, 422);
    let marks = [("down_after_s", "5"), ("dead_above", "0"), ("memory_percent", "80")];
    assert_eq!(post(&mut ana, "/console/settings/alerts", &marks).await.status, 303);
    let nowhere = crate::servers::free_port();
    let down = format!(
        "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n[[destination]]\nname = \"rooms\"\nkind = \"postgres\"\n\
         url = \"postgres://w@127.0.0.1:{nowhere}/d\"\n[[route]]\nname = \"r\"\napplication = \"car-app\"\ntopic = \"cars\"\n\
         destination = \"rooms\"\ntable = \"cars\"\nkey = [\"id\"]\ncolumns = \"matching\"\n"
    );
    scene.installation.apply(&down);
    let events = || -> Vec<Value> { came.lock().unwrap().iter().map(|one| signed(&secret, one)).collect() };
    wait_for("the alarm to come again after it was refused", LIMIT, async || {
        (events().iter().filter(|event| event["state"] == "begun").count() >= 2).then_some(())
    })
    .await;
    let begun: Vec<Value> = events().into_iter().filter(|event| event["state"] == "begun").collect();
    assert_eq!(
        (begun[0]["kind"].as_str(), begun[0]["destination"].as_str()),
        (Some("destination_down"), Some("rooms"))
    );
    assert_eq!(begun[0], begun[1], "the same, once more");
    // The destination is gone, and its alarm with it.
    scene.installation.run(&["apply", "--prune", "--no-check", &{
        let file = scene.installation.dir.path().join("less.toml");
        std::fs::write(&file, "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n").unwrap();
        file.to_str().unwrap().to_owned()
    }]);
    wait_for("the end of the alarm", LIMIT, async || {
        events().iter().any(|event| event["state"] == "over").then_some(())
    })
    .await;
    let counted = |state: &str| events().iter().filter(|event| event["state"] == state).count();
    assert_eq!((counted("begun"), counted("over"), counted("test")), (2, 1, 1), "{:?}", events());
    let removed = post(&mut ana, &format!("/console/settings/alerts/{id}/remove"), &[]).await;
    assert_eq!(removed.status, 303);
    assert!(ana.get("/console/settings/alerts").await.body.contains("On call was removed."));
    let log = scene.node.logged();
    for secret in [&secret, "canary-in-the-address", CANARY, PASSWORD] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[actix_web::test]
async fn an_alert_does_not_reach_what_only_the_node_can() {
    let scene = Scene::start(&["ana:admin"]).await;
    let (port, came) = receiver(&[]);
    let mut ana = scene.browser_of("ana").await;
    for (number, host) in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "[::ffff:127.0.0.1]", "2130706433"]
        .into_iter()
        .enumerate()
    {
        let (name, url) = (format!("t{number}"), format!("http://{host}:{port}/"));
        let target = [("way", "webhook"), ("name", &name), ("url", &url), ("kind", "dead_letters")];
        let added = post(&mut ana, "/console/settings/alerts/~new", &target.map(|(a, b): (&str, &str)| (a, b))).await;
        assert_eq!(added.status, 200, "{url}: {}", added.body);
        let list = ana.get("/console/settings/alerts").await;
        let before = list.body.split_once(&format!(">{name}</a>")).unwrap().0.to_owned();
        let id = before.rsplit_once("/console/settings/alerts/").unwrap().1.split('"').next().unwrap().to_owned();
        let tested = post(&mut ana, &format!("/console/settings/alerts/{id}/test"), &[]).await;
        assert!(
            tested.body.contains("The test was not taken.") && tested.body.contains("alerts_allow"),
            "{}",
            tested.body
        );
    }
    assert!(came.lock().unwrap().is_empty());
}

/// A mail server that takes every letter.
async fn mail_server() -> (u16, Arc<Mutex<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, kept) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(String::new())));
    let letters = Arc::clone(&kept);
    actix_web::rt::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (read, mut write) = socket.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
            let mut in_letter = false;
            while let Ok(Some(line)) = lines.next_line().await {
                letters.lock().unwrap().push_str(&format!("{line}\n"));
                let answer: &[u8] = match line.as_str() {
                    "." => {
                        in_letter = false;
                        b"250 taken\r\n"
                    }
                    _ if in_letter => continue,
                    "DATA" => {
                        in_letter = true;
                        b"354 go on\r\n"
                    }
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 mail.example\r\n",
                };
                if write.write_all(answer).await.is_err() {
                    break;
                }
            }
        }
    });
    (port, kept)
}

#[actix_web::test]
async fn a_letter_is_sent_over_smtp_and_a_password_never_in_the_clear() {
    let scene = Scene::start_with(&["ana:admin"], &[("TIDEGATE_ALERTS_ALLOW", "127.0.0.1")]).await;
    let (port, letters) = mail_server().await;
    let (mut ana, port) = (scene.browser_of("ana").await, port.to_string());
    let mut target = vec![
        ("way", "email"),
        ("name", "Team"),
        ("host", "127.0.0.1"),
        ("port", port.as_str()),
        ("tls", "off"),
        ("user", "tide"),
        ("password", CANARY),
        ("from", "tidegate@example.com"),
        ("to", "a@example.com, Ops <b@example.com>"),
        ("kind", "redis_memory"),
    ];
    let clear = post(&mut ana, "/console/settings/alerts/~new", &target).await;
    assert!(clear.status == 422 && clear.body.contains("tls-error"), "{}", clear.body);
    target[5] = ("user", "");
    target[6] = ("password", "");
    let added = post(&mut ana, "/console/settings/alerts/~new", &target).await;
    assert_eq!((added.status, added.to().as_str()), (303, "/console/settings/alerts"), "{}", added.body);
    let list = ana.get("/console/settings/alerts").await;
    let before = list.body.split_once(">Team</a>").unwrap().0;
    let id = before.rsplit_once("/console/settings/alerts/").unwrap().1.split('"').next().unwrap().to_owned();
    let tested = post(&mut ana, &format!("/console/settings/alerts/{id}/test"), &[]).await;
    assert!(tested.body.contains("The test was taken."), "{}", tested.body);
    let letter = letters.lock().unwrap().clone();
    for part in
        ["MAIL FROM:<tidegate@example.com>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>", "[Tidegate] Test"]
    {
        assert!(letter.contains(part), "{part} in\n{letter}");
    }
    let form = ana.get(&format!("/console/settings/alerts/{id}")).await;
    assert!(form.body.contains("value=\"tidegate@example.com\""), "{}", form.body);
}

#[actix_web::test]
async fn resources_are_exported_and_imported_after_they_were_shown() {
    let scene = Scene::start(&["ana:admin"]).await;
    let mut ana = scene.browser_of("ana").await;
    let toml = "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n";
    let bad = post(&mut ana, "/console/settings/transfer/preview", &[("toml", "[[aplication]]\nname = \"x\"\n")]).await;
    assert!(bad.status == 422 && bad.body.contains("line 1") && bad.body.contains("[[aplication]]"), "{}", bad.body);
    let of_the_node = "[[destination]]\nname = \"d\"\nkind = \"postgres\"\nurl = \"postgres://w@db.example/d\"\npassword = { file = \"/etc/hostname\" }\n";
    let refused = post(&mut ana, "/console/settings/transfer/preview", &[("toml", of_the_node)]).await;
    assert!(refused.status == 422 && refused.body.contains("kept = true"), "{}", refused.body);

    let shown = post(&mut ana, "/console/settings/transfer/preview", &[("toml", toml)]).await;
    assert!(shown.status == 200 && shown.body.contains("create application <code>car-app</code>"), "{}", shown.body);
    assert!(!scene.installation.run(&["export"]).contains("car-app"), "nothing was changed yet");
    let version = shown.after("name=\"version\" value=\"");
    // Somebody else is faster.
    scene.installation.apply("[[application]]\nname = \"other\"\n");
    let form = [("toml", toml), ("version", version.as_str())];
    let late = post(&mut ana, "/console/settings/transfer/import", &form).await;
    assert!(late.status == 409 && late.body.contains("car-app"), "{}", late.body);
    let shown = post(&mut ana, "/console/settings/transfer/preview", &[("toml", toml), ("prune", "yes")]).await;
    assert!(shown.body.contains("remove application <code>other</code>"), "{}", shown.body);
    let version = shown.after("name=\"version\" value=\"");
    let form = [("toml", toml), ("version", version.as_str()), ("prune", "yes")];
    let done = post(&mut ana, "/console/settings/transfer/import", &form).await;
    assert_eq!((done.status, done.to().as_str()), (303, "/console/settings/transfer"), "{}", done.body);
    let file = ana.get("/console/settings/transfer/tidegate.toml").await;
    assert!(file.header("content-disposition").contains("attachment"));
    assert_eq!(file.body, scene.installation.run(&["export"]));
    assert!(file.body.contains("car-app") && !file.body.contains("other"), "{}", file.body);
    assert_eq!(ana.get("/console/settings/users/ana").await.status, 200, "users are no part of it, and stay");

    // Held against the tables, as by `tidegate apply`.
    let target = scene.installation.sqlite("rooms").await;
    let fits = crate::e2e::installation::manifest(std::slice::from_ref(&target))
        .replace("kind = \"sqlite\"", "kind = \"sqlite\"\nnode = \"a\"");
    let unfit = fits.replace("version = \"version\"", "version = \"version\"\ncolour = \"color\"");
    let refused = post(&mut ana, "/console/settings/transfer/preview", &[("toml", &unfit)]).await;
    assert!(refused.status == 422 && refused.body.contains("colour"), "{}", refused.body);
    let shown = post(&mut ana, "/console/settings/transfer/preview", &[("toml", &fits)]).await;
    let version = shown.after("name=\"version\" value=\"");
    let sneaked = [("toml", unfit.as_str()), ("version", version.as_str())];
    assert_eq!(
        post(&mut ana, "/console/settings/transfer/import", &sneaked).await.status,
        422,
        "not past the preview either"
    );
    let form = [("toml", fits.as_str()), ("version", version.as_str())];
    assert_eq!(post(&mut ana, "/console/settings/transfer/import", &form).await.status, 303);
    assert!(scene.installation.run(&["export"]).contains("rooms-cars"));
}

#[actix_web::test]
async fn everybody_has_an_account_with_password_second_factor_and_language() {
    let scene = Scene::start(&["bo:broadcaster"]).await;
    let (mut bo, mut elsewhere) = (scene.browser_of("bo").await, scene.browser_of("bo").await);
    let wrong = [("password", "not mine at all"), ("new", CANARY), ("again", CANARY)];
    let refused = post(&mut bo, "/console/me/password", &wrong).await;
    assert!(refused.status == 422 && refused.body.contains("This is not your password."), "{}", refused.body);
    let changed =
        post(&mut bo, "/console/me/password", &[("password", PASSWORD), ("new", CANARY), ("again", CANARY)]).await;
    assert_eq!((changed.status, changed.to().as_str()), (303, "/console/me"), "{}", changed.body);
    assert_eq!(bo.get("/console/me").await.status, 200, "signed in here still, with a new session");
    assert_eq!(elsewhere.get("/console/me").await.status, 303, "and nowhere else");

    let scan = post(&mut bo, "/console/me/second", &[("password", CANARY)]).await;
    assert!(scan.status == 200 && scan.body.contains("<svg class=\"qr\""), "{}", scan.body);
    let secret = scan.body.split_once("id=\"totp-secret\">").unwrap().1.split('<').next().unwrap().replace('-', "");
    let device = TOTP::new(Algorithm::SHA1, 6, 1, 30, Secret::Encoded(secret).to_bytes().unwrap()).unwrap();
    let sealed = scan.after("name=\"sealed\" value=\"").replace("&#34;", "\"");
    let wrong = post(&mut bo, "/console/me/second/on", &[("sealed", &sealed), ("code", "12")]).await;
    assert!(
        wrong.status == 422 && wrong.body.contains("<svg class=\"qr\"") && wrong.body.contains("code-error"),
        "{}",
        wrong.body
    );
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let code = device.generate(now() - 30);
    let codes = post(&mut bo, "/console/me/second/on", &[("sealed", &sealed), ("code", &code)]).await;
    assert_eq!(codes.status, 200, "{}", codes.body);
    let codes: Vec<String> = codes
        .body
        .split_once("id=\"codes\" tabindex=\"0\">")
        .unwrap()
        .1
        .split("</pre>")
        .next()
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(codes.iter().filter(|code| code.len() == 14).count(), 10, "{codes:?}");

    let mut other = scene.browser();
    let asked = other.post("/console/sign-in", "", &[("name", "bo"), ("password", CANARY)]).await;
    assert!(asked.status == 422 && asked.body.contains("name=\"code\""), "{}", asked.body);
    let code = device.generate(now());
    let entered = other.post("/console/sign-in", "", &[("name", "bo"), ("password", CANARY), ("code", &code)]).await;
    assert_eq!(entered.status, 303, "{}", entered.body);
    let recovered = scene
        .browser()
        .post("/console/sign-in", "", &[("name", "bo"), ("password", CANARY), ("code", &codes[0])])
        .await;
    assert_eq!(recovered.status, 303, "{}", recovered.body);
    assert_eq!(post(&mut bo, "/console/me/second/off", &[("password", CANARY)]).await.status, 303);
    let mut plain = scene.browser();
    plain.sign_in("bo", CANARY).await;

    post(&mut bo, "/console/me/language", &[("lang", "id")]).await;
    assert!(plain.get("/console/me").await.body.contains("<html lang=\"id\""), "in the other browser too");
    let out = post(&mut bo, "/console/me/sessions", &[]).await;
    assert_eq!(out.to(), "/console/sign-in");
    assert_eq!(plain.get("/console/me").await.status, 303);
    let (_, health) = get(&format!("http://127.0.0.1:{}/health/actors", scene.node.admin)).await.unwrap();
    let told = format!("{health:?}{}", scene.node.logged());
    for secret in [CANARY, PASSWORD, "$argon2", codes[1].as_str()] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

#[actix_web::test]
async fn every_screen_fits_is_accessible_and_loads_nothing_that_its_policy_forbids() {
    let scene = Scene::start(&["ana:admin", "bo:broadcaster"]).await;
    let mut ana = scene.browser_of("ana").await;
    let target =
        [("way", "webhook"), ("name", "On call"), ("url", "https://alerts.example/x"), ("kind", "dead_letters")];
    assert_eq!(post(&mut ana, "/console/settings/alerts/~new", &target).await.status, 200);
    let browser = Chromium::open(&scene.base).await;
    browser.sign_in("ana", PASSWORD).await;
    for look in Look::ALL {
        browser.look(look).await;
        for screen in SCREENS.into_iter().chain(["/console/me", "/console/settings/alerts/~new?way=webhook"]) {
            browser.visit(screen).await;
            browser.is_accessible().await;
            browser.fits().await;
        }
    }
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    // The QR code is drawn, and what would remove somebody asks first.
    browser.look(Look::LIGHT).await;
    browser.visit("/console/me").await;
    browser.run("document.getElementById('second-password').value = 'a long enough phrase'; return null").await;
    browser.press("Turn it on").await;
    browser.sees("Scan this with your app").await;
    browser.is_accessible().await;
    let dark = browser.run("return document.querySelector('.qr-dark').getBBox().width").await;
    assert!(dark.as_f64().unwrap() > 20.0, "{dark}");
    browser.visit("/console/settings/users/bo").await;
    browser.press("Remove this user").await;
    browser.sees("bo can no longer sign in").await;
    browser.press("Cancel").await;
    assert_eq!(ana.get("/console/settings/users/bo").await.status, 200);
    browser.press("Remove this user").await;
    browser.run("document.querySelector('dialog button[value=yes]').click(); return null").await;
    browser.sees("bo was removed.").await;
    browser.close().await;
}
