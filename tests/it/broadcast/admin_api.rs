//! Broadcasts, terminals, shops and categories over the admin API: what a program does there is seen at the terminals, and each act
//! leaves one entry in the list of changes.

use serde_json::{Value, json};

use super::Scene;
use crate::e2e::{
    api::{TOKEN, ask, done, node},
    installation::Node,
};

async fn get(node: &Node, path: &str) -> Value {
    done(node, "GET", path, Value::Null).await
}

async fn raw(node: &Node, path: &str) -> (String, Vec<u8>) {
    let url = format!("http://127.0.0.1:{}{path}", node.admin);
    let mut answer = awc::Client::default().get(url).bearer_auth(TOKEN).send().await.unwrap();
    let kind = answer.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
    (kind, answer.body().await.unwrap().to_vec())
}

/// The stable codes of a refusal, by field.
fn codes(problem: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| (text(&error["field"]), text(&error["code"]))).collect()
}

fn code(field: &str, code: &str) -> Vec<(String, String)> {
    vec![(field.into(), code.into())]
}

/// What the list of changes says, newest first, of what has this in it.
async fn entries(node: &Node, what: &str) -> Vec<String> {
    let told = get(node, &format!("/v1/audit?limit=200&what={what}")).await;
    let entries = told["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["what"].as_str().unwrap_or_default().to_owned()).collect()
}

#[actix_web::test]
async fn a_broadcast_is_sent_followed_corrected_brought_to_mind_and_recalled() {
    let scene = Scene::start(&["a"]).await;
    let api = node(&scene.installation, "api", &[]).await;
    let (west, east) = (scene.terminal("a", "s1").await, scene.terminal("a", "s2").await);
    let (first, second) = (west.listen(None).await, east.listen(None).await);
    first.is_open().await;
    second.is_open().await;
    let bare =
        awc::Client::default().get(format!("http://127.0.0.1:{}/v1/broadcasts", api.admin)).send().await.unwrap();
    assert_eq!(bare.status().as_u16(), 401);
    let reach = done(&api, "POST", "/v1/broadcast-reach", json!({"audience": {"regions": ["west"]}})).await;
    assert_eq!(reach["terminals"], 1, "{reach}");

    // Once, however often it is repeated; the same id does not stand for another one.
    let picture = include_bytes!("../../../src/terminal/assets/icon-192.png");
    let data = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(picture)
    };
    let mut rice = json!({
        "id": "rice", "audience": {"regions": ["west"], "shops": []}, "category": "price",
        "title": "Rice 5 kg is 72,000 from today", "text": "Please change the labels.", "must_confirm": true,
        "image": {"data": data},
    });
    let (status, sent) = ask(&api, "POST", "/v1/broadcasts", rice.clone()).await;
    assert_eq!((status, &sent["terminals"], &sent["replayed"]), (201, &json!(1), &json!(false)), "{sent}");
    let id = sent["id"].as_str().unwrap().to_owned();
    let (status, again) = ask(&api, "POST", "/v1/broadcasts", rice.clone()).await;
    assert_eq!((status, &again["id"], &again["replayed"]), (200, &sent["id"], &json!(true)), "{again}");
    rice["title"] = "Rice 5 kg is 90,000".into();
    let other = ask(&api, "POST", "/v1/broadcasts", rice).await;
    assert_eq!((other.0, codes(&other.1)), (422, code("id", "id_reused")), "{other:?}");
    first.until_told(&["message Rice 5 kg is 72,000 from today"]).await;
    let one = |title: &str| json!({"audience": "all", "category": "announcement", "title": title, "text": "…"});
    for (field, value, wrong) in [
        ("send_at", json!("tomorrow"), "time"),
        ("image", json!({"data": "?"}), "base64"),
        ("category", json!("sale"), "unknown"),
        ("title", json!(""), "missing"),
    ] {
        let mut body = one("x");
        body[field] = value;
        let refused = ask(&api, "POST", "/v1/broadcasts", body).await;
        let found = codes(&refused.1);
        assert!(refused.0 == 422 && found[0].0.starts_with(field) && found[0].1 == wrong, "{field}: {refused:?}");
    }
    assert_eq!(ask(&api, "POST", "/v1/broadcasts", json!({"audience": "some"})).await.0, 400);

    // Who has it.
    let path = format!("/v1/broadcasts/{id}");
    assert_eq!(west.receive(&[&id], false).await, 204);
    scene.has_receipts(&id, 1, 0).await;
    let shown = get(&api, &path).await;
    assert_eq!(
        (&shown["by"], &shown["own_id"], &shown["state"]),
        (&json!("admin token"), &json!("rice"), &json!("sent"))
    );
    assert_eq!(shown["counts"], json!({"terminals": 1, "received": 1, "confirmed": 0}));
    let receipts = get(&api, &format!("{path}/receipts?only=received")).await;
    let row = &receipts["receipts"][0];
    assert_eq!((&receipts["found"], &row["terminal"], &row["shop"]), (&json!(1), &json!(west.id), &json!("s1")));
    assert!(row["received_at"].is_string() && row["confirmed_at"].is_null(), "{receipts}");
    assert_eq!(get(&api, &format!("{path}/receipts?only=confirmed")).await["found"], 0);
    assert_eq!(ask(&api, "GET", &format!("{path}/receipts?only=odd"), Value::Null).await.0, 400);
    let (kind, csv) = raw(&api, &format!("{path}/receipts.csv")).await;
    let csv = String::from_utf8(csv).unwrap();
    assert!(
        kind.starts_with("text/csv") && csv.lines().count() == 2 && csv.contains(",Shop One,west,received,"),
        "{csv}"
    );
    assert_eq!(raw(&api, &format!("{path}/image")).await, ("image/png".to_owned(), picture.to_vec()));

    // Corrected: its image stays unless it is taken away.
    let better = json!({"category": "price", "title": "Rice 5 kg is 71,500", "text": "Please.", "must_confirm": true});
    let corrected = done(&api, "PUT", &path, better.clone()).await;
    assert_eq!(
        (&corrected["versions"][0]["title"], &corrected["versions"][0]["corrected_by"]),
        (&json!("Rice 5 kg is 72,000 from today"), &json!("admin token")),
        "{corrected}"
    );
    assert!(corrected["image"].is_string() && corrected["corrected_at"].is_string(), "{corrected}");
    assert_eq!(done(&api, "POST", &format!("{path}/remind"), Value::Null).await, json!({"reminded": 1}));
    first.until("a reminder", |told| told.iter().any(|told| *told == format!("remind {id}"))).await;
    let mut without = better.clone();
    without["image"] = Value::Null;
    assert_eq!(done(&api, "PUT", &path, without).await["image"], Value::Null);
    assert_eq!(ask(&api, "GET", &format!("{path}/image"), Value::Null).await.0, 404);
    let recalled = done(&api, "POST", &format!("{path}/recall"), Value::Null).await;
    assert_eq!((&recalled["state"], &recalled["recalled_by"]), (&json!("recalled"), &json!("admin token")));
    done(&api, "POST", &format!("{path}/recall"), Value::Null).await;
    let told = format!("recall {id}");
    first
        .until_told(&[
            "message Rice 5 kg is 72,000 from today",
            "correct Rice 5 kg is 71,500",
            &format!("remind {id}"),
            "correct Rice 5 kg is 71,500",
            &told,
        ])
        .await;
    assert_eq!(ask(&api, "PUT", &path, better).await.0, 409);
    assert_eq!(ask(&api, "POST", &format!("{path}/remind"), Value::Null).await.0, 409);
    assert!(second.told().is_empty(), "{:?}", second.told());

    // The history, a page at a time, and one for later that never goes.
    let mut later = one("For tomorrow");
    later["send_at"] = json!("2099-01-01T00:00:00Z");
    assert_eq!(codes(&ask(&api, "POST", "/v1/broadcasts", later.clone()).await.1), code("send_at", "too_far"));
    let tomorrow = chrono::Utc::now() + chrono::TimeDelta::days(1);
    later["send_at"] = json!(tomorrow.to_rfc3339());
    let later = done(&api, "POST", "/v1/broadcasts", later).await["id"].as_str().unwrap().to_owned();
    let titles = async |query: &str| {
        let list = get(&api, &format!("/v1/broadcasts{query}")).await;
        list["broadcasts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles("?state=scheduled").await, ["For tomorrow"]);
    assert_eq!(titles("?q=rice&category=price").await, ["Rice 5 kg is 71,500"]);
    assert_eq!(titles("?shop=s2").await, ["For tomorrow"]);
    let soon = (chrono::Utc::now() + chrono::TimeDelta::hours(1)).to_rfc3339().replace('+', "%2B");
    assert_eq!(titles(&format!("?from={soon}")).await, ["For tomorrow"]);
    assert_eq!(titles(&format!("?to={soon}")).await, ["Rice 5 kg is 71,500"]);
    let odd = ask(&api, "GET", "/v1/broadcasts?from=yesterday", Value::Null).await;
    assert_eq!((odd.0, codes(&odd.1)), (422, code("from", "time")), "{odd:?}");
    assert_eq!(ask(&api, "GET", "/v1/broadcasts?state=odd", Value::Null).await.0, 400);
    done(&api, "POST", &format!("/v1/broadcasts/{later}/recall"), Value::Null).await;
    assert_eq!(ask(&api, "GET", "/v1/broadcasts/nothing", Value::Null).await.0, 404);

    // One entry for each act, and none for what changed nothing.
    let told = entries(&api, &id).await;
    let said = ["recall broadcast", "correct broadcast", "remind of broadcast", "correct broadcast", "send broadcast"];
    assert_eq!(told.len(), said.len(), "{told:?}");
    assert!(told.iter().zip(said).all(|(told, said)| told.contains(said)), "{told:?}");
    assert!(told[4].contains("to region `west` (terminals: 1)"), "{told:?}");
    assert!(!told.iter().any(|told| told.contains("Rice")), "no text of a message: {told:?}");
}

#[actix_web::test]
async fn terminals_shops_and_categories_are_changed_as_in_the_console() {
    let scene = Scene::start(&["a"]).await;
    let api = node(&scene.installation, "api", &[]).await;
    let terminal = scene.terminal("a", "s1").await;
    let listening = terminal.listen(None).await;
    listening.is_open().await;
    let path = format!("/v1/terminals/{}", terminal.id);
    let shown = get(&api, &path).await;
    assert_eq!((&shown["name"], &shown["shop"]), (&json!("Till 1"), &json!("s1")), "{shown}");
    assert_eq!(ask(&api, "GET", "/v1/terminals/nobody", Value::Null).await.0, 404);
    assert_eq!(done(&api, "PUT", &format!("{path}/name"), json!({"name": "Back office"})).await["name"], "Back office");
    let nowhere = ask(&api, "PUT", &format!("{path}/shop"), json!({"shop": "nowhere"})).await;
    assert_eq!((nowhere.0, codes(&nowhere.1)), (422, code("shop", "unknown")), "{nowhere:?}");
    assert_eq!(done(&api, "PUT", &format!("{path}/shop"), json!({"shop": "s2"})).await["shop_title"], "Shop Two");
    // It sees what is for its new shop.
    for shop in ["s1", "s2"] {
        let body = json!({"audience": {"shops": [shop]}, "category": "announcement", "title": shop, "text": "…"});
        done(&api, "POST", "/v1/broadcasts", body).await;
    }
    listening.until("its new shop's", |told| told.last().is_some_and(|last| last == "message s2")).await;
    assert!(!listening.told().contains(&"message s1".to_owned()), "{:?}", listening.told());

    let new = json!({"name": "s4", "title": "Shop Four", "region": "north"});
    let added = ask(&api, "POST", "/v1/shops", new.clone()).await;
    assert_eq!((added.0, &added.1["terminals"]), (201, &json!(0)), "{added:?}");
    assert_eq!(codes(&ask(&api, "POST", "/v1/shops", new).await.1), code("name", "taken"));
    let path_of = |name: &str| format!("/v1/shops/{name}");
    let edited = done(&api, "PUT", &path_of("s4"), json!({"title": "Fourth", "region": "south"})).await;
    assert_eq!((&edited["title"], &edited["region"]), (&json!("Fourth"), &json!("south")));
    let other = ask(&api, "PUT", &path_of("s4"), json!({"name": "s5"})).await;
    assert_eq!((other.0, codes(&other.1)), (422, code("name", "fixed")), "{other:?}");
    assert_eq!(ask(&api, "PUT", &path_of("s9"), json!({"title": "Ninth"})).await.0, 404);
    let all = get(&api, "/v1/shops").await;
    assert_eq!(all["shops"].as_array().unwrap().len(), 4, "{all}");
    assert_eq!(get(&api, &path_of("s2")).await["terminals"], 1);
    let refused = ask(&api, "DELETE", &path_of("s2"), Value::Null).await;
    assert!(refused.0 == 409 && refused.1["detail"].as_str().unwrap().contains("has terminals"), "{refused:?}");
    assert_eq!(done(&api, "DELETE", &path_of("s4"), Value::Null).await, json!({"removed": "s4"}));
    assert_eq!(ask(&api, "GET", &path_of("s4"), Value::Null).await.0, 404);

    let sale = json!({"name": "sale", "title": "Sale", "title_id": "Obral", "colour": "red", "icon": "star", "sound": "alert"});
    let added = ask(&api, "POST", "/v1/categories", sale).await;
    assert_eq!((added.0, &added.1["built_in"], &added.1["own"]), (201, &json!(false), &json!(true)), "{added:?}");
    assert_eq!(ask(&api, "POST", "/v1/categories", json!({"name": "x", "title": "X", "colour": "gold"})).await.0, 400);
    let path = "/v1/categories/price";
    let edited =
        done(&api, "PUT", path, json!({"title": "Prices", "colour": "teal", "icon": "tag", "sound": "none"})).await;
    assert_eq!((&edited["title"], &edited["built_in"], &edited["own"]), (&json!("Prices"), &json!(true), &json!(true)));
    done(&api, "DELETE", path, Value::Null).await;
    assert_eq!(get(&api, path).await["title"], "Price information", "as it was");
    assert_eq!(ask(&api, "DELETE", path, Value::Null).await.0, 404);
    assert_eq!(get(&api, "/v1/categories").await["categories"].as_array().unwrap().len(), 4);

    let told = entries(&api, "shop%20%60s4%60").await;
    assert_eq!(told.len(), 3, "added, changed, removed: {told:?}");
    let told = entries(&api, "Back%20office").await;
    assert_eq!(told.len(), 2, "renamed, moved: {told:?}");
}
