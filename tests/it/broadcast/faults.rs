//! What terminals see while nodes die, Redis is away, restarted or emptied, and they are off themselves: everything that is
//! still valid, in order, once.

use std::time::Duration;

use tidegate::{
    admin::{
        Role, Who,
        broadcasts::{compose, history},
    },
    broadcast::store::Broadcasts,
};

use super::{Scene, draft, head_office, terminal::Terminal, to_shops};
use crate::servers::wait_for;

fn messages(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("message n{number}")).collect()
}

#[actix_web::test]
async fn what_is_published_on_one_node_is_received_on_the_other_by_its_shop_alone() {
    let scene = Scene::start(&["a", "b"]).await;
    let (one, two) = (scene.terminal("a", "s1").await, scene.terminal("b", "s2").await);
    // Each is known to every node, whoever enrolled it.
    let (first, second) = (one.listen_at(&scene.base("b"), None).await, two.listen_at(&scene.base("a"), None).await);
    first.is_open().await;
    second.is_open().await;
    let mut west = draft("west");
    west.audience = serde_json::from_str(r#"{"regions": ["west"]}"#).unwrap();
    for draft in
        [to_shops("one", &["s1"]), to_shops("two", &["s2"]), west, draft("all"), to_shops("both", &["s1", "s2"])]
    {
        scene.send_draft(&draft).await;
    }
    first.until_told(&["message one", "message west", "message all", "message both"]).await;
    second.until_told(&["message two", "message all", "message both"]).await;
    let (status, history) = two.get("/terminal/history").await;
    assert_eq!((status, history["messages"].as_array().unwrap().len()), (200, 3), "{history}");
}

#[actix_web::test]
async fn after_a_nodes_death_its_terminals_go_on_at_another_with_nothing_missed_and_nothing_twice() {
    let mut scene = Scene::start(&["a", "b"]).await;
    let terminal = scene.terminal("a", "s1").await;
    let mut listening = terminal.listen(None).await;
    listening.is_open().await;
    let mut told = Vec::new();
    let mut sent = 0;
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "b")] {
        for _ in 0..5 {
            scene.send(&format!("n{sent}")).await;
            sent += 1;
        }
        // Somewhere in the middle of them.
        scene.node(from).kill();
        let cursor = {
            listening.is_over().await;
            told.extend(listening.told());
            listening.cursor()
        };
        for _ in 0..5 {
            scene.send(&format!("n{sent}")).await;
            sent += 1;
        }
        let begun = std::time::Instant::now();
        let cursor = Some(cursor.as_str()).filter(|cursor| !cursor.is_empty());
        listening = terminal.listen_at(&scene.base(to), cursor).await;
        let had = told.len();
        listening.until("the rest", |now| had + now.len() == sent).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let installation = &scene.installation;
        scene.nodes.get_mut(from).unwrap().0.start(installation);
        scene.nodes[from].0.ready().await;
    }
    told.extend(listening.told());
    assert_eq!(told, messages(0..sent));
}

#[actix_web::test]
async fn a_terminal_that_was_off_is_told_what_is_still_valid_in_order_and_once() {
    let scene = Scene::start(&["a"]).await;
    scene.send("before it was enrolled").await;
    let terminal = scene.terminal("a", "s1").await;
    let now = Broadcasts::new(&scene.admin().await.redis).now().await.unwrap();
    let short = compose::Draft { valid_until_ms: Some(now + 700), ..draft("short-lived") };
    scene.send_draft(&short).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(scene.send(&format!("n{number}")).await);
    }
    scene.send_draft(&to_shops("of another shop", &["s2"])).await;
    wait_for("it is over", Duration::from_secs(5), async || {
        (Broadcasts::new(&scene.admin().await.redis).now().await.unwrap() > now + 700).then_some(())
    })
    .await;
    let mut all = messages(0..5);
    let listening = terminal.listen(None).await;
    listening.until_told(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Live ones follow, and what it saw is not told again.
    ids.push(scene.send("n5").await);
    all.push("message n5".into());
    listening.until_told(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let cursor = listening.cursor();
    drop(listening);
    ids.push(scene.send("n6").await);
    let again = terminal.listen(Some(&cursor)).await;
    again.until_told(&["message n6"]).await;
    drop(again);
    // Without a cursor: what it has not said to have received.
    let received: Vec<&str> = ids[..6].iter().map(String::as_str).collect();
    assert_eq!(terminal.receive(&received, false).await, 204);
    let fresh = terminal.listen(None).await;
    fresh.until_told(&["message n6"]).await;
    scene.send("n7").await;
    fresh.until_told(&["message n6", "message n7"]).await;
    // With one that nobody knows: the same, and it is said that something may be missing.
    for unknown in ["gone-1763775403123-0", "rubbish"] {
        let lost = terminal.listen(Some(unknown)).await;
        lost.until_told(&["gap", "message n6", "message n7"]).await;
    }
}

#[actix_web::test]
async fn a_long_absence_is_read_below_what_the_node_has_in_memory() {
    let mut scene = Scene::start(&["a"]).await;
    let terminal = scene.terminal("a", "s1").await;
    let listening = terminal.listen(None).await;
    listening.is_open().await;
    scene.send("first").await;
    listening.until_told(&["message first"]).await;
    let cursor = listening.cursor();
    drop(listening);
    // More than a node keeps, of other shops as well as its own.
    let mut connection = scene.installation.redis.connection().await;
    for piece in 0..12 {
        let mut pipe = redis::pipe();
        for number in 0..500 {
            let number = piece * 500 + number;
            let shop = if number % 1_000 == 7 { "s1" } else { "s2" };
            let entry = serde_json::json!({
                "kind": "message", "id": format!("m{number}"), "audience": {"shops": [shop]}, "sent_ms": 1,
                "content": {"category": "price", "title": format!("m{number}"), "text": "t"},
            });
            // Only what is still out is shown.
            let message = serde_json::json!({
                "id": format!("m{number}"), "state": "sent", "audience": {"shops": [shop]}, "by": "x", "created_ms": 1,
                "content": entry["content"],
            });
            pipe.cmd("XADD").arg("tidegate:{broadcasts}:log").arg("*").arg("m").arg(entry.to_string()).ignore();
            let messages = pipe.cmd("HSET").arg("tidegate:{broadcasts}:messages");
            messages.arg(format!("m{number}")).arg(message.to_string()).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.unwrap();
    }
    scene.node("a").kill();
    let installation = &scene.installation;
    scene.nodes.get_mut("a").unwrap().0.start(installation);
    scene.nodes["a"].0.ready().await;
    let listening = terminal.listen(Some(&cursor)).await;
    let wanted: Vec<String> = (0..6).map(|number| format!("message m{}", number * 1_000 + 7)).collect();
    listening.until_told(&wanted.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[actix_web::test]
async fn a_redis_that_is_restarted_loses_nobody_anything() {
    let mut scene = Scene::start(&["a", "b"]).await;
    let (one, two) = (scene.terminal("a", "s1").await, scene.terminal("b", "s1").await);
    let (first, second) = (one.listen(None).await, two.listen(None).await);
    first.is_open().await;
    second.is_open().await;
    for round in 0..3 {
        let id = scene.send(&format!("n{}", round * 2)).await;
        let last = format!("message n{}", round * 2);
        for listening in [&first, &second] {
            listening.until("the newest", |told| told.last() == Some(&last)).await;
        }
        scene.installation.redis.kill();
        assert_eq!(one.receive(&[&id], false).await, 503, "it is to be said again");
        for listening in [&first, &second] {
            wait_for("it is told that Redis is away", Duration::from_secs(20), async || {
                let last = listening.events().into_iter().rfind(|event| event.name == "redis");
                last.is_some_and(|event| event.data["up"] == false).then_some(())
            })
            .await;
        }
        scene.installation.redis.restart().await;
        wait_for("receipts are taken again", Duration::from_secs(20), async || {
            (one.receive(&[&id], false).await == 204).then_some(())
        })
        .await;
        scene.send(&format!("n{}", round * 2 + 1)).await;
        scene.has_receipts(&id, 1, 0).await;
    }
    for listening in [&first, &second] {
        listening.until("all", |told| told.len() >= 6).await;
        assert_eq!(listening.told(), messages(0..6));
    }
}

#[actix_web::test]
async fn a_redis_that_was_emptied_and_restored_still_knows_its_terminals() {
    let mut scene = Scene::start(&["a"]).await;
    let (stays, revoked, moved) =
        (scene.terminal("a", "s1").await, scene.terminal("a", "s1").await, scene.terminal("a", "s1").await);
    let admin = scene.admin().await;
    tidegate::admin::broadcasts::terminals::revoke(&admin, &head_office(), &revoked.id).await.unwrap();
    tidegate::admin::broadcasts::terminals::move_to(&admin, &head_office(), &moved.id, "s2").await.unwrap();
    let listening = stays.listen(None).await;
    listening.is_open().await;
    scene.send("before").await;
    listening.until_told(&["message before"]).await;
    let version = scene.admin().await.document().version;
    wait_for("the node has the registry", Duration::from_secs(10), async || {
        (moved.get("/terminal/me").await.1["terminal"]["shop"]["name"] == "s2").then_some(())
    })
    .await;
    scene.installation.redis.kill_and_empty();
    scene.installation.redis.restart().await;
    wait_for("the registry is put back", Duration::from_secs(30), async || {
        let admin = tidegate::admin::Admin::for_command(scene.settings()).await.ok()?;
        (admin.document().version >= version).then_some(())
    })
    .await;
    wait_for("the terminal is let in", Duration::from_secs(20), async || {
        (stays.get("/terminal/me").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(moved.get("/terminal/me").await.1["terminal"]["shop"]["name"], "s2");
    assert_eq!(revoked.get("/terminal/me").await.0, 401);
    let id = wait_for("a broadcast is sent", Duration::from_secs(20), async || {
        compose::send(&scene.admin().await, &head_office(), &to_shops("after", &["s1"])).await.ok()
    })
    .await
    .id;
    // The stream that was open goes on, and says that something is lost.
    listening.until("what comes after", |told| told.last().is_some_and(|last| last == "message after")).await;
    assert!(listening.told().contains(&"gap".to_owned()), "{:?}", listening.told());
    assert_eq!(listening.told().iter().filter(|told| *told == "message after").count(), 1);
    assert_eq!(stays.receive(&[&id], true).await, 204);
    scene.has_receipts(&id, 1, 1).await;
    let fresh = stays.listen(None).await;
    fresh.is_open().await;
    scene.send("at last").await;
    fresh.until_told(&["message at last"]).await;
}

#[actix_web::test]
async fn the_broadcast_actor_is_shown_and_a_node_that_stops_ends_its_streams_at_once() {
    let mut scene = Scene::start(&["a"]).await;
    let terminal = scene.terminal("a", "s1").await;
    let listening = terminal.listen(None).await;
    listening.is_open().await;
    scene.send("one").await;
    listening.until_told(&["message one"]).await;
    let (admin, base) = (scene.nodes["a"].0.admin, scene.base("a"));
    wait_for("it is shown", Duration::from_secs(10), async || {
        let (_, body) = crate::e2e::installation::get(&format!("http://127.0.0.1:{admin}/health/actors")).await?;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let all = body["actors"].as_array().unwrap();
        let actor = all.iter().find(|actor| actor["kind"] == "broadcast")?;
        let seen = actor["state"] == "running" && actor["detail"]["terminals"] == 1;
        (seen && actor["detail"]["last_event"].is_string()).then_some(())
    })
    .await;
    let (_, metrics) = crate::e2e::installation::get(&format!("http://127.0.0.1:{admin}/metrics")).await.unwrap();
    assert!(metrics.contains("tidegate_broadcast_terminals 1"), "{metrics}");
    let (status, took) = scene.node("a").terminate().await;
    assert!(status.success() && took < Duration::from_secs(5), "{status} {took:?}");
    assert_eq!(listening.is_over().await, 200);
    let nobody = Terminal { token: terminal.token.clone(), id: String::new(), base };
    assert_eq!(nobody.beat().await, 0);
    let viewer = Who { name: "vera".into(), role: Role::Viewer, from: "x".into() };
    let history = history::list(&scene.admin().await, &viewer, &history::Query::default()).await.unwrap();
    assert_eq!(history.rows.len(), 1);
}
