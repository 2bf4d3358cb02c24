//! The screen Applications over HTTP: from nothing to a record that was taken, and what a viewer may not.

use super::{Scene, browser::Browser};
use crate::{e2e::installation::get_as, servers::wait_for};

async fn send(scene: &Scene, key: &str, records: usize) -> (u16, String) {
    let client = awc::Client::default();
    let body: Vec<_> = (0..records).map(|at| serde_json::json!({"topic": "cars", "data": {"id": at}})).collect();
    let mut answer = client
        .post(format!("http://127.0.0.1:{}/v1/messages", scene.node.listen))
        .insert_header(("Authorization", format!("Bearer {key}")))
        .send_json(&body)
        .await
        .unwrap();
    let retry = answer.headers().get("retry-after").map_or(String::new(), |value| value.to_str().unwrap().to_owned());
    let text = String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap();
    (answer.status().as_u16(), format!("{retry} {text}"))
}

/// Creates `car-app` with topic `cars` and a key.
async fn with_a_key(operator: &mut Browser) -> String {
    let page = operator.get("/console/applications/~new").await;
    let made = operator
        .post("/console/applications", &page.csrf(), &[("name", "car-app"), ("topics", "cars"), ("records_per_s", "")])
        .await;
    assert_eq!((made.status, made.to().as_str()), (303, "/console/applications/car-app"), "{}", made.body);
    let made = operator.post("/console/applications/car-app/keys", &page.csrf(), &[("days", "")]).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.after("id=\"fresh-key\" tabindex=\"0\">").split('<').next().unwrap().to_owned()
}

#[actix_web::test]
async fn an_application_is_created_and_its_key_is_shown_once_and_works() {
    let scene = Scene::start(&["olga:operator"]).await;
    let mut operator = scene.browser_of("olga").await;
    let empty = operator.get("/console/applications").await;
    assert!(
        empty.body.contains("No application yet") && empty.body.contains("/console/applications/~new"),
        "{}",
        empty.body
    );
    let key = with_a_key(&mut operator).await;
    assert!(key.starts_with("tg_live_"), "{key}");
    let page = operator.get("/console/applications/car-app").await;
    assert!(!page.body.contains(&key), "it is shown once");
    assert!(page.body.contains(&key[8..16]), "its name stays");
    for example in ["curl", "PHP", "Python", "Node"] {
        assert!(page.body.contains(&format!("<summary>{example}</summary>")), "{example}");
    }
    wait_for("the key is known at the door", std::time::Duration::from_secs(5), async || {
        (send(&scene, &key, 1).await.0 == 202).then_some(())
    })
    .await;
    wait_for("its use is noted", std::time::Duration::from_secs(15), async || {
        let page = operator.get("/console/applications/car-app").await;
        let keys = page.body.split("id=\"keys\"").nth(1).unwrap().split("</table>").next().unwrap().to_owned();
        keys.contains("data-time=\"ago\"").then_some(())
    })
    .await;
    assert!(operator.get("/console/applications?q=nothing-like-it").await.body.contains("Nothing found"));
}

#[actix_web::test]
async fn a_key_is_rotated_and_revoked() {
    let scene = Scene::start(&["olga:operator"]).await;
    let mut operator = scene.browser_of("olga").await;
    let old = with_a_key(&mut operator).await;
    let csrf = operator.get("/console/applications/car-app").await.csrf();
    let made = operator.post("/console/applications/car-app/rotate", &csrf, &[("days", "7")]).await;
    assert_eq!(made.status, 200);
    let new = made.after("id=\"fresh-key\" tabindex=\"0\">").split('<').next().unwrap().to_owned();
    for key in [&old, &new] {
        wait_for("both work", std::time::Duration::from_secs(5), async || {
            (send(&scene, key, 1).await.0 == 202).then_some(())
        })
        .await;
    }
    let twice = operator.post("/console/applications/car-app/rotate", &csrf, &[("days", "7")]).await;
    assert_eq!(twice.status, 409);
    let id = &old[8..16];
    let asked = operator.get(&format!("/console/applications/car-app/keys/{id}/revoke")).await;
    assert!(asked.body.contains("Every node refuses it"), "{}", asked.body);
    let done = operator.post(&format!("/console/applications/car-app/keys/{id}/revoke"), &csrf, &[]).await;
    assert_eq!(done.status, 303, "{}", done.body);
    wait_for("the old one is refused", std::time::Duration::from_secs(5), async || {
        (send(&scene, &old, 1).await.0 == 401).then_some(())
    })
    .await;
    let url = format!("http://127.0.0.1:{}/v1/messages?id=none", scene.node.listen);
    assert_eq!(get_as(&url, &new).await.unwrap().0, 404, "the new one goes on");
}

#[actix_web::test]
async fn a_limit_holds_at_the_door() {
    let scene = Scene::start(&["olga:operator"]).await;
    let mut operator = scene.browser_of("olga").await;
    let key = with_a_key(&mut operator).await;
    let csrf = operator.get("/console/applications/car-app").await.csrf();
    let wrong = operator.post("/console/applications/car-app/limit", &csrf, &[("records_per_s", "many")]).await;
    assert!(wrong.status == 422 && wrong.body.contains("value=\"many\""), "what was typed stays: {}", wrong.body);
    let set = operator.post("/console/applications/car-app/limit", &csrf, &[("records_per_s", "5")]).await;
    assert_eq!(set.status, 303);
    wait_for("more than a second of records is refused", std::time::Duration::from_secs(10), async || {
        (send(&scene, &key, 6).await.0 == 413).then_some(())
    })
    .await;
    wait_for("too many are told when to come again", std::time::Duration::from_secs(10), async || {
        let (status, text) = send(&scene, &key, 4).await;
        (status == 429).then(|| assert!(text.starts_with("1 "), "{text}"))
    })
    .await;
    wait_for("and taken then", std::time::Duration::from_secs(5), async || {
        (send(&scene, &key, 1).await.0 == 202).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn a_viewer_reads_and_changes_nothing_and_indonesian_is_spoken() {
    let scene = Scene::start(&["olga:operator", "vera:viewer"]).await;
    with_a_key(&mut scene.browser_of("olga").await).await;
    let mut viewer = scene.browser_of("vera").await;
    let page = viewer.get("/console/applications/car-app").await;
    assert!(
        page.status == 200 && !page.body.contains("<h3>Rotate</h3>") && !page.body.contains("/revoke"),
        "{}",
        page.body
    );
    assert_eq!(viewer.get("/console/applications/~new").await.status, 403);
    for (path, field) in
        [("applications", "name"), ("applications/car-app/keys", "days"), ("applications/car-app/topics", "topics")]
    {
        assert_eq!(viewer.post(&format!("/console/{path}"), &page.csrf(), &[(field, "x")]).await.status, 403, "{path}");
    }
    viewer.headers.push(("Accept-Language".into(), "id".into()));
    let page = viewer.get("/console/applications").await;
    assert!(page.body.contains("<h1>Aplikasi</h1>"), "{}", page.body);
}
