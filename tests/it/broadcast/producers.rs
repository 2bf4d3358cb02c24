//! Broadcasts of applications, over the producers' API.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::admin::broadcasts::history;

use super::{Scene, head_office};

async fn call(method: &str, url: &str, key: &str, idempotency: Option<&str>, body: &Value) -> (u16, bool, Value) {
    let client = awc::Client::builder().timeout(Duration::from_secs(8)).finish();
    let mut request = client
        .request(method.parse().unwrap(), url)
        .insert_header(("Authorization", format!("Bearer {key}")))
        .insert_header(("Content-Type", "application/json"));
    if let Some(key) = idempotency {
        request = request.insert_header(("Idempotency-Key", key));
    }
    let body = if method == "GET" || body.is_null() { String::new() } else { body.to_string() };
    let mut answer = request.send_body(body).await.unwrap();
    let replayed = answer.headers().contains_key("idempotency-replayed");
    let body = answer.body().await.unwrap();
    (answer.status().as_u16(), replayed, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[actix_web::test]
async fn an_application_with_the_right_tells_the_shops_something_once() {
    let scene = Scene::start(&["a"]).await;
    let key = scene.installation.run(&["key", "create", "till"]).trim().to_owned();
    let mute = scene.installation.run(&["key", "create", "mute"]).trim().to_owned();
    let terminal = scene.terminal("a", "s1").await;
    let listening = terminal.listen(None).await;
    listening.is_open().await;
    let base = format!("http://127.0.0.1:{}", scene.nodes["a"].0.listen);
    let all = format!("{base}/v1/broadcasts");
    // One red pixel.
    let pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    let body = json!({
        "id": "price-7", "audience": {"shops": ["s1"], "regions": ["east"]}, "category": "price", "title": "Rice",
        "text": "12.500", "must_confirm": true, "image": {"type": "image/png", "data": pixel},
    });
    crate::servers::wait_for("the node knows the key", Duration::from_secs(10), async || {
        (call("POST", &all, &mute, None, &body).await.0 == 403).then_some(())
    })
    .await;
    let (status, replayed, sent) = call("POST", &all, &key, Some("k-1"), &body).await;
    assert_eq!((status, replayed, sent["terminals"].as_u64()), (202, false, Some(1)), "{sent}");
    for idempotency in [Some("k-1"), None] {
        let (status, replayed, again) = call("POST", &all, &key, idempotency, &body).await;
        assert_eq!((status, replayed, &again["id"]), (202, true, &sent["id"]), "{again}");
    }
    let mut other = body.clone();
    other["title"] = "Sugar".into();
    let (status, _, problem) = call("POST", &all, &key, None, &other).await;
    assert_eq!((status, problem["errors"][0]["code"].as_str()), (422, Some("id_reused")), "{problem}");
    other["id"] = "price-8".into();
    let (status, _, problem) = call("POST", &all, &key, Some("k-1"), &other).await;
    assert_eq!((status, problem["type"].as_str()), (422, Some("/docs#idempotency-key-reused")), "{problem}");

    listening.until_told(&["message Rice"]).await;
    let image = listening.events().into_iter().find(|event| event.name == "message").unwrap().data["image"].clone();
    let client = awc::Client::default();
    let address = format!("{}{}", scene.base("a"), image.as_str().unwrap());
    assert_eq!(client.get(&address).send().await.unwrap().status(), 401, "only who may see it");
    let mut answer = client
        .get(&address)
        .insert_header(("Authorization", format!("Bearer {}", terminal.token)))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers().get("content-type").unwrap(), "image/png");
    assert!(answer.headers().get("cache-control").unwrap().to_str().unwrap().contains("immutable"));
    assert!(answer.body().await.unwrap().starts_with(b"\x89PNG"));

    let id = sent["id"].as_str().unwrap();
    assert_eq!(terminal.receive(&[id], true).await, 204);
    let one = format!("{all}/{id}");
    let (status, _, shown) = call("GET", &one, &key, None, &Value::Null).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["counts"], json!({"terminals": 1, "received": 1, "confirmed": 1}));
    let theirs = scene.send("of head office").await;
    assert_eq!(call("GET", &format!("{all}/{theirs}"), &key, None, &Value::Null).await.0, 403);
    assert_eq!(call("POST", &format!("{all}/{theirs}/recall"), &key, None, &Value::Null).await.0, 403);
    let (status, _, recalled) = call("POST", &format!("{one}/recall"), &key, None, &Value::Null).await;
    assert_eq!((status, recalled["state"].as_str()), (200, Some("recalled")), "{recalled}");
    listening.until_told(&["message Rice", "message of head office", &format!("recall {id}")]).await;
    let row = history::show(&scene.admin().await, &head_office(), id).await.unwrap();
    assert_eq!((row.message.by.as_str(), row.message.own_id.as_deref()), ("application till", Some("price-7")));
    for (change, code) in [(("send_at", json!("soon")), "time"), (("colour", json!("red")), "form")] {
        let mut wrong = body.clone();
        wrong[change.0] = change.1;
        let (status, _, problem) = call("POST", &all, &key, None, &wrong).await;
        assert_eq!((status, problem["errors"][0]["code"].as_str()), (422, Some(code)), "{problem}");
    }
}
