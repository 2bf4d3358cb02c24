//! Enrolling, moving and revoking terminals, and whom their requests are taken from.

use std::time::Duration;

use serde_json::json;
use tidegate::admin::{
    ActError, Role, Who,
    broadcasts::{
        codes::{self, Codes, Query},
        shops, terminals as acts,
    },
};

use super::{
    Scene, head_office, operator,
    terminal::{Terminal, enrol},
    to_shops,
};

#[actix_web::test]
async fn a_code_works_once_and_guessing_is_stopped() {
    let scene = Scene::start(&["a", "b"]).await;
    let code = scene.code("s1").await;
    let typed = code.to_lowercase().replace('-', " ");
    let (status, body) = enrol(&scene.base("a"), &typed, false).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["token"].is_null() && body["terminal"]["name"] == "Till 1", "{body}");
    for node in ["a", "b"] {
        let (status, body) = enrol(&scene.base(node), &code, true).await;
        assert_eq!((status, body["code"].as_str()), (422, Some("unknown_code")), "{body}");
    }
    let good = scene.code("s1").await;
    // Two wrong ones so far; the address is the same on every node.
    for _ in 2..10 {
        assert_eq!(enrol(&scene.base("b"), "ABCD-EFGH-JKLM", true).await.0, 422);
    }
    let (status, body) = enrol(&scene.base("a"), &good, true).await;
    assert_eq!((status, body["code"].as_str()), (429, Some("too_many_tries")), "{body}");
}

#[actix_web::test]
async fn a_code_that_was_taken_back_or_used_is_open_no_more() {
    let scene = Scene::start(&["a"]).await;
    let admin = scene.admin().await;
    let (first, second) = (scene.code("s1").await, scene.code("s2").await);
    let Codes { codes: open, found, .. } = codes::list(&admin, &head_office(), &Query::default()).await.unwrap();
    assert_eq!(found, 2);
    let mut seen: Vec<_> =
        open.iter().map(|code| (code.shop_title.as_str(), code.name.as_str(), code.by.as_str())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("Shop One", "Till 1", "sari"), ("Shop Two", "Till 1", "sari")]);
    let of = |shop: &str| open.iter().find(|code| code.shop == shop).unwrap().id.clone();
    let viewer = Who { name: "vera".into(), role: Role::Viewer, from: "10.0.0.1".into() };
    assert!(matches!(codes::list(&admin, &viewer, &Query::default()).await, Err(ActError::Forbidden { .. })));
    assert!(matches!(codes::take_back(&admin, &viewer, &of("s1")).await, Err(ActError::Forbidden { .. })));
    assert_eq!(codes::take_back(&admin, &head_office(), &of("s1")).await.unwrap().shop, "s1");
    let (status, body) = enrol(&scene.base("a"), &first, true).await;
    assert_eq!((status, body["code"].as_str()), (422, Some("unknown_code")), "{body}");
    assert_eq!(enrol(&scene.base("a"), &second, true).await.0, 200);
    assert!(codes::list(&admin, &head_office(), &Query::default()).await.unwrap().codes.is_empty());
    for id in [of("s1"), of("s2"), "nothing".into()] {
        let gone = codes::take_back(&admin, &head_office(), &id).await.unwrap_err();
        assert!(matches!(gone, ActError::Unknown(_)), "{gone}");
    }
    // One whose day is over is forgotten by looking.
    scene.code("s3").await;
    let mut connection = scene.installation.redis.connection().await;
    let key = "tidegate:{broadcasts}:offers";
    let all: Vec<(String, String)> = redis::cmd("HGETALL").arg(key).query_async(&mut connection).await.unwrap();
    let old = format!("1{}", &all[0].1[all[0].1.find(' ').unwrap()..]);
    let _: u8 = redis::cmd("HSET").arg(key).arg(&all[0].0).arg(old).query_async::<u8>(&mut connection).await.unwrap();
    assert!(codes::list(&admin, &head_office(), &Query::default()).await.unwrap().codes.is_empty());
    let left: u8 = redis::cmd("HLEN").arg(key).query_async(&mut connection).await.unwrap();
    assert_eq!(left, 0);
}

#[actix_web::test]
async fn open_codes_come_a_page_at_a_time_and_the_one_that_ends_first_comes_first() {
    let scene = Scene::start(&["a"]).await;
    let admin = scene.admin().await;
    for shop in ["s1", "s2", "s3"] {
        scene.code(shop).await;
    }
    // As they would be that were made hours apart: the last one ends first.
    let mut connection = scene.installation.redis.connection().await;
    let key = "tidegate:{broadcasts}:offers";
    let all: Vec<(String, String)> = redis::cmd("HGETALL").arg(key).query_async(&mut connection).await.unwrap();
    for (id, line) in all {
        let (ends, rest) = line.split_once(' ').unwrap();
        let later = if rest.contains("\"s1\"") { 2 } else { u64::from(rest.contains("\"s2\"")) };
        let line = format!("{} {rest}", ends.parse::<u64>().unwrap() + later * 3_600_000);
        redis::cmd("HSET").arg(key).arg(&id).arg(line).query_async::<u8>(&mut connection).await.unwrap();
    }
    for (skip, limit, wanted) in
        [(0, 0, vec!["s3", "s2", "s1"]), (0, 2, vec!["s3", "s2"]), (2, 2, vec!["s1"]), (9, 2, vec!["s1"])]
    {
        let Codes { codes, found, .. } =
            codes::list(&admin, &head_office(), &Query { skip, limit, ..Query::default() }).await.unwrap();
        let shops: Vec<_> = codes.iter().map(|code| code.shop.as_str()).collect();
        assert_eq!((shops, found), (wanted, 3), "{limit} behind {skip}");
    }
}

#[actix_web::test]
async fn beats_and_receipts_end_their_connection_in_the_clear() {
    let scene = Scene::start(&["a"]).await;
    let terminal = scene.terminal("a", "s1").await;
    let client = awc::Client::builder().timeout(Duration::from_secs(8)).finish();
    for (path, body) in [("beat", json!({})), ("receipts", json!({"receipts": []})), ("receipts", json!(1))] {
        let request = client.post(format!("{}/terminal/{path}", scene.base("a")));
        let request = request.insert_header(("Authorization", format!("Bearer {}", terminal.token)));
        let answer = request.send_json(&body).await.unwrap();
        let said = answer.headers().get("connection").and_then(|value| value.to_str().ok());
        assert_eq!(said, Some("close"), "{path} {body}");
    }
    let request = client.get(format!("{}/terminal/me", scene.base("a")));
    let answer = request.insert_header(("Authorization", format!("Bearer {}", terminal.token))).send().await.unwrap();
    assert!(answer.headers().get("connection").is_none(), "all else stays open");
}

#[actix_web::test]
async fn a_revoked_terminals_stream_ends_everywhere_and_it_is_refused() {
    let scene = Scene::start(&["a", "b"]).await;
    let (gone, stays) = (scene.terminal("a", "s1").await, scene.terminal("a", "s1").await);
    let (here, there) = (gone.listen(None).await, gone.listen_at(&scene.base("b"), None).await);
    let other = stays.listen(None).await;
    for listening in [&here, &there, &other] {
        listening.is_open().await;
    }
    acts::revoke(&scene.admin().await, &head_office(), &gone.id).await.unwrap();
    let begun = std::time::Instant::now();
    for listening in [&here, &there] {
        assert_eq!(listening.is_over().await, 200);
        assert_eq!(listening.told(), ["revoked"]);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    for base in [scene.base("a"), scene.base("b")] {
        let asked = Terminal { token: gone.token.clone(), id: gone.id.clone(), base };
        for path in ["/terminal/me", "/terminal/history", "/terminal/events"] {
            let (status, body) = asked.get(path).await;
            assert_eq!((status, body["code"].as_str()), (401, Some("revoked")), "{path}: {body}");
        }
        assert_eq!(asked.beat().await, 401);
        assert_eq!(asked.receive(&["x"], true).await, 401);
    }
    scene.send("still here").await;
    other.until_told(&["message still here"]).await;
    let list = acts::list(&scene.admin().await, &head_office(), &acts::Query::default()).await.unwrap();
    assert_eq!((list.found, list.all), (1, 1));
}

#[actix_web::test]
async fn a_moved_terminal_sees_what_is_for_its_new_shop_with_the_same_token() {
    let scene = Scene::start(&["a"]).await;
    let terminal = scene.terminal("a", "s1").await;
    let listening = terminal.listen(None).await;
    listening.is_open().await;
    let refused = shops::remove(&scene.admin().await, &operator(), "s1").await.unwrap_err();
    assert!(matches!(refused, ActError::Conflict(_)), "{refused}");
    acts::move_to(&scene.admin().await, &head_office(), &terminal.id, "s2").await.unwrap();
    crate::servers::wait_for("it is told so", Duration::from_secs(10), async || {
        (terminal.get("/terminal/me").await.1["terminal"]["shop"]["name"] == "s2").then_some(())
    })
    .await;
    scene.send_draft(&to_shops("for one", &["s1"])).await;
    scene.send_draft(&to_shops("for two", &["s2"])).await;
    listening.until_told(&["message for two"]).await;
    acts::rename(&scene.admin().await, &head_office(), &terminal.id, "Counter").await.unwrap();
    crate::servers::wait_for("it is on, and listed so", Duration::from_secs(5), async || {
        let view = acts::show(&scene.admin().await, &head_office(), &terminal.id).await.unwrap();
        ((view.name.as_str(), view.shop.as_str(), view.on) == ("Counter", "s2", true)).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn requests_without_a_token_of_ours_are_turned_away_in_the_readers_language() {
    let scene = Scene::start(&["a"]).await;
    let terminal = scene.terminal("a", "s1").await;
    let base = scene.base("a");
    let forged = Terminal { token: format!("{}x", terminal.token), id: String::new(), base: base.clone() };
    assert_eq!(forged.get("/terminal/me").await.0, 401);
    let client = awc::Client::builder().timeout(Duration::from_secs(8)).finish();
    let mut answer =
        client.get(format!("{base}/terminal/me")).insert_header(("Accept-Language", "id")).send().await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&answer.body().await.unwrap()).unwrap();
    assert_eq!(
        (body["code"].as_str(), body["title"].as_str()),
        (Some("not_enrolled"), Some("Belum terdaftar")),
        "{body}"
    );
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(answer.headers().get(name).unwrap(), value);
    }
    assert!(
        answer.headers().get("content-security-policy").unwrap().to_str().unwrap().contains("frame-ancestors 'none'")
    );

    // A cookie lends its weight to pages of ours alone.
    let code = scene.code("s1").await;
    let mut answer = client
        .post(format!("{base}/terminal/enrol"))
        .insert_header(("Origin", base.clone()))
        .send_json(&json!({"code": code}))
        .await
        .unwrap();
    let body = answer.body().await.unwrap();
    assert_eq!(answer.status(), 200, "{body:?}");
    let cookie = answer.headers().get("set-cookie").unwrap().to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    for (origin, status) in [(Some("http://evil.example"), 403), (None, 403), (Some(base.as_str()), 204)] {
        let mut request = client.post(format!("{base}/terminal/beat")).insert_header(("Cookie", cookie.clone()));
        if let Some(origin) = origin {
            request = request.insert_header(("Origin", origin));
        }
        assert_eq!(request.send_json(&json!({})).await.unwrap().status(), status, "{origin:?}");
    }
    assert_eq!(terminal.get("/terminal/nothing").await.1["code"], "not_found");
    assert_eq!(terminal.post("/terminal/receipts", &json!({"receipt": 1})).await.1["code"], "bad_request");
}

#[actix_web::test]
async fn a_terminal_that_is_silent_is_off_within_45_seconds_and_counts_say_so() {
    let scene = Scene::start(&["a"]).await;
    let (on, off) = (scene.terminal("a", "s1").await, scene.terminal("a", "s1").await);
    assert_eq!(on.beat().await, 204);
    let admin = scene.admin().await;
    let counted = crate::servers::wait_for("one is on", Duration::from_secs(5), async || {
        let list = acts::list(&admin, &head_office(), &acts::Query::default()).await.unwrap();
        (list.on == 1).then_some(list)
    })
    .await;
    let row = |id: &str| counted.rows.iter().find(|row| row.id == id).unwrap();
    assert!(row(&on.id).on && !row(&off.id).on);
    // Its last beat is made older, by Redis's own clock.
    let mut connection = scene.installation.redis.connection().await;
    let seen = row(&on.id).seen_ms.unwrap();
    let _: u64 = redis::cmd("ZADD")
        .arg("tidegate:{broadcasts}:beats")
        .arg(seen - 46_000)
        .arg(&on.id)
        .query_async(&mut connection)
        .await
        .unwrap();
    let list = acts::list(&admin, &head_office(), &acts::Query::default()).await.unwrap();
    assert_eq!((list.on, list.all), (0, 2));
}
