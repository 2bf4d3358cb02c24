//! What holds for every page: who may open it, what its headers say, and what is not taken.

use std::time::Duration;

use super::{PASSWORD, Scene};
use crate::{e2e::installation::get, servers::wait_for};

#[actix_web::test]
async fn signing_in_takes_a_session_whose_cookie_no_script_can_read() {
    let scene = Scene::start(&["ana:operator"]).await;
    let mut browser = scene.browser();
    let asked = browser.get("/console/logs?status=dead").await;
    assert_eq!((asked.status, asked.to().as_str()), (303, "/console/sign-in?next=%2Fconsole%2Flogs%3Fstatus%3Ddead"));

    let form = browser.get(&asked.to()).await;
    assert_eq!(form.status, 200);
    assert_eq!(
        form.header("content-security-policy"),
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    );
    assert_eq!(form.header("x-content-type-options"), "nosniff");
    assert_eq!(form.header("referrer-policy"), "same-origin");
    assert_eq!(form.header("cache-control"), "no-store");
    for inline in [" style=", " onclick=", "<script>", "<style", "javascript:"] {
        assert!(!form.body.contains(inline), "{inline} in\n{}", form.body);
    }

    let wrong = [("name", "ana"), ("password", "not it"), ("next", "/console/logs?status=dead")];
    let refused = browser.post("/console/sign-in", "", &wrong).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("User name and password do not match"), "{}", refused.body);
    assert!(refused.body.contains("value=\"ana\"") && !refused.body.contains("not it"), "{}", refused.body);
    browser.cookies.insert("lang".into(), "id".into());
    let refused = browser.post("/console/sign-in", "", &wrong).await;
    assert!(refused.body.contains("Username dan Password anda tidak sesuai"), "{}", refused.body);

    let right = [("name", "ana"), ("password", PASSWORD), ("next", "/console/logs?status=dead")];
    let entered = browser.post("/console/sign-in", "", &right).await;
    assert_eq!((entered.status, entered.to().as_str()), (303, "/console/logs?status=dead"));
    let cookie = entered.header("set-cookie");
    assert!(cookie.starts_with("tidegate=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");

    let page = browser.get("/console/").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<html lang=\"id\"") && page.body.contains("Ringkasan"), "{}", page.body);
}

#[actix_web::test]
async fn a_change_is_taken_only_from_a_page_of_ours_with_the_sessions_token() {
    let scene = Scene::start(&["ana:operator"]).await;
    let mut browser = scene.browser_of("ana").await;
    let csrf = browser.get("/console/").await.csrf();
    for (csrf, headers) in [
        (String::new(), vec![]),
        ("wrong".to_owned(), vec![]),
        (csrf.clone(), vec![("Origin", "https://evil.example")]),
        (csrf.clone(), vec![("Origin", "null")]),
    ] {
        browser.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let refused = browser.post("/console/sign-out", &csrf, &[]).await;
        assert_eq!(refused.status, 403, "{headers:?} {}", refused.body);
    }
    browser.headers = vec![("Host".into(), "evil.example".into())];
    assert_eq!(browser.get("/console/").await.status, 421, "a name of somebody else's that leads to loopback");
    browser.headers.clear();
    assert_eq!(browser.get("/console/").await.status, 200, "still signed in");

    let mut other = scene.browser();
    other.cookies = browser.cookies.clone();
    let out = browser.post("/console/sign-out", &csrf, &[]).await;
    assert_eq!((out.status, out.to().as_str()), (303, "/console/sign-in"));
    assert_eq!(other.get("/console/").await.status, 303, "the session itself is over, not only this browser's cookie");
}

#[actix_web::test]
async fn the_switches_of_language_and_light_lead_back_to_where_one_was() {
    let scene = Scene::start(&["ana:viewer"]).await;
    let mut browser = scene.browser_of("ana").await;
    let csrf = browser.get("/console/").await.csrf();
    let back = browser.post("/console/look", &csrf, &[("lang", "id"), ("next", "/console/actors")]).await;
    assert_eq!((back.status, back.to().as_str()), (303, "/console/actors"));
    browser.post("/console/look", &csrf, &[("theme", "dark")]).await;
    let away = browser.post("/console/look", &csrf, &[("theme", "\"><b"), ("next", "https://evil.example/")]).await;
    assert_eq!(away.to(), "/console/");
    browser.post("/console/look", &csrf, &[("theme", "dark")]).await;
    let page = browser.get("/console/").await;
    assert!(page.body.contains("<html lang=\"id\" data-theme=\"dark\">"), "{}", page.body);
}

#[actix_web::test]
async fn pages_that_are_not_there_say_so_and_assets_are_kept_for_good() {
    let scene = Scene::start(&["ana:viewer", "bo:broadcaster"]).await;
    let mut browser = scene.browser_of("ana").await;
    let nowhere = browser.get("/console/nowhere").await;
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.body.contains("There is nothing here"), "{}", nowhere.body);
    assert_eq!(browser.get("/").await.to(), "/console/");

    let page = browser.get("/console/").await;
    let style = page.after("rel=\"stylesheet\" href=\"");
    let style_now = browser.get(&style).await;
    assert_eq!((style_now.status, style_now.header("content-type").as_str()), (200, "text/css; charset=utf-8"));
    assert_eq!(style_now.header("cache-control"), "public, max-age=31536000, immutable");
    let old = browser.get("/console/assets/console.css?v=0").await;
    assert_eq!((old.status, old.header("cache-control").as_str()), (200, "no-cache"));

    let mut broadcaster = scene.browser();
    let sent = broadcaster.post("/console/sign-in", "", &[("name", "bo"), ("password", PASSWORD)]).await;
    assert_eq!(sent.to(), "/console/");
    assert_eq!(broadcaster.get("/console/").await.to(), "/console/broadcast");
    assert_eq!(broadcaster.get("/console/logs").await.status, 403);

    // Each listener has its own paths and none of another's.
    for (port, path) in [(scene.node.listen, "/console/sign-in"), (scene.node.admin, "/console/sign-in")] {
        assert_eq!(get(&format!("http://127.0.0.1:{port}{path}")).await.unwrap().0, 404, "{port}");
    }
    for path in ["/v1/messages", "/metrics", "/health/actors", "/docs"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    assert_eq!(browser.get("/healthz/live").await.status, 200);
}

#[actix_web::test]
async fn with_redis_away_a_page_answers_and_says_so() {
    let mut scene = Scene::start(&["ana:viewer"]).await;
    let mut browser = scene.browser_of("ana").await;
    scene.installation.redis.kill();
    wait_for("the banner", Duration::from_secs(10), async || {
        let begun = std::time::Instant::now();
        let page = browser.get("/console/").await;
        assert_eq!(page.status, 200);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        page.body.contains("Redis is away").then_some(())
    })
    .await;
    let mut stranger = scene.browser();
    assert_eq!(stranger.get("/console/").await.status, 303);
    wait_for("the banner on the form", Duration::from_secs(10), async || {
        let form = stranger.get("/console/sign-in").await;
        assert_eq!(form.status, 200);
        form.body.contains("Redis is away").then_some(())
    })
    .await;
    let refused = stranger.post("/console/sign-in", "", &[("name", "ana"), ("password", PASSWORD)]).await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("value=\"ana\"") && !refused.body.contains(PASSWORD), "{}", refused.body);

    scene.installation.redis.restart().await;
    wait_for("the page without the banner", Duration::from_secs(10), async || {
        let page = browser.get("/console/").await;
        (page.status == 200 && !page.body.contains("Redis is away")).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn the_first_admin_is_made_by_the_link_that_the_node_prints_and_by_it_once() {
    let scene = Scene::start(&[]).await;
    let link = scene.first_link().await;
    let mut browser = scene.browser();
    let form = browser.get(&link).await;
    assert_eq!(form.status, 200, "{}", form.body);
    let token = form.after("name=\"token\" value=\"");
    let fields = |name, again| [("token", token.as_str()), ("name", name), ("password", PASSWORD), ("again", again)];
    let refused = browser.post("/console/first", "", &fields("root", "another one entirely")).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("value=\"root\""), "{}", refused.body);
    let made = browser.post("/console/first", "", &fields("root", PASSWORD)).await;
    assert_eq!((made.status, made.to().as_str()), (303, "/console/"), "{}", made.body);
    assert!(browser.get("/console/").await.body.contains("Admin"));
    let again = scene.browser().post("/console/first", "", &fields("second", PASSWORD)).await;
    assert_eq!(again.status, 410);
}

#[actix_web::test]
async fn behind_a_named_proxy_the_cookie_is_for_tls_only() {
    let scene = Scene::start_with(&["ana:viewer"], &[("TIDEGATE_CONSOLE_PROXY", "127.0.0.1")]).await;
    let mut browser = scene.browser();
    browser.headers = vec![
        ("X-Forwarded-For".into(), "203.0.113.9".into()),
        ("X-Forwarded-Proto".into(), "https".into()),
        ("Host".into(), "console.example".into()),
        ("Origin".into(), "https://console.example".into()),
    ];
    let entered = browser.post("/console/sign-in", "", &[("name", "ana"), ("password", PASSWORD)]).await;
    assert_eq!(entered.status, 303, "{}", entered.body);
    let cookie = entered.header("set-cookie");
    assert!(cookie.starts_with("__Host-tidegate=") && cookie.contains("; Secure"), "{cookie}");
}
