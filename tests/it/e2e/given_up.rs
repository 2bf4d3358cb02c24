//! What is told of messages that an operator gave up: to the producer, in lists, and of the single message; on real PostgreSQL,
//! ordered and parallel.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    api::{ask, done, node, shown},
    installation::{Installation, Node, get_as},
    ledger::Target,
    parallel,
};
use crate::servers::{postgres::PostgresServer, wait_for};

/// Sends a record; the message's id.
async fn send(node: &Node, key: &str, id: u32) -> String {
    let post = awc::Client::default().post(format!("http://127.0.0.1:{}/v1/messages", node.listen));
    let body = json!({"topic": "cars", "key": id, "data": {"id": id, "version": 1}});
    let mut answer = post.bearer_auth(key).send_json(&body).await.unwrap();
    let answered: Value = answer.json().await.unwrap();
    answered["id"].as_str().unwrap_or_else(|| panic!("{answered}")).to_owned()
}

/// What the producer is told of a message on each route: status and code.
async fn told(node: &Node, key: &str, id: &str) -> Vec<(String, String)> {
    let url = format!("http://127.0.0.1:{}/v1/messages/{id}", node.listen);
    let (_, body) = get_as(&url, key).await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let of = |way: &Value| {
        (way["status"].as_str().unwrap().into(), way["error"]["code"].as_str().unwrap_or_default().into())
    };
    body["deliveries"].as_array().unwrap_or_else(|| panic!("{body}")).iter().map(of).collect()
}

/// What lists and the message's page say: state and code by route.
async fn listed(node: &Node, id: &str) -> Vec<(String, String)> {
    let pairs = |rows: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = rows.as_array().unwrap_or_else(|| panic!("{rows}")).iter();
        rows.map(|row| (text(&row["status"]), text(&row["error"]["code"]))).collect()
    };
    let list = done(node, "GET", &format!("/v1/deliveries?id={id}"), Value::Null).await;
    let life = done(node, "GET", &format!("/v1/applications/car-app/messages/{id}"), Value::Null).await;
    let (of_list, of_life) = (pairs(&list["deliveries"]), pairs(&life["ways"]));
    assert_eq!(of_list, of_life, "the list and the message's page");
    of_list
}

fn pair(status: &str, code: &str) -> (String, String) {
    (status.into(), code.into())
}

/// One after the other: given up, told as given up by everybody, before and after the database is back.
async fn is_told(node: &Node, key: &str, ids: &[String], routes: usize) {
    for id in ids {
        assert_eq!(told(node, key, id).await, vec![pair("skipped", "abandoned"); routes], "{id}");
        assert_eq!(listed(node, id).await, vec![pair("abandoned", "abandoned"); routes], "{id}");
    }
    let only = done(node, "GET", "/v1/deliveries?status=abandoned&limit=100", Value::Null).await;
    let found: usize = only["deliveries"].as_array().unwrap_or_else(|| panic!("{only}")).len();
    assert_eq!(found, ids.len() * routes, "{only}");
}

#[actix_web::test]
async fn what_was_given_up_is_told_as_given_up_while_the_database_is_away_and_afterwards() {
    let installation = Installation::new().await;
    let postgres = PostgresServer::private();
    let target = Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) };
    target.create_tables().await;
    let key = installation.register(std::slice::from_ref(&target));
    let node = node(&installation, "a", &[]).await;
    let first = send(&node, &key, 1).await;
    wait_for("the first arrives", Duration::from_secs(20), async || target.arrived().await.filter(|n| *n == 1)).await;
    postgres.stop();
    shown(&node, "pg", "down").await;
    let mut ids = Vec::new();
    for id in 2..=8 {
        ids.push(send(&node, &key, id).await);
    }
    let given = done(&node, "POST", "/v1/destinations/pg/abandon", json!({"until": "now", "reason": "hopeless"})).await;
    assert_eq!(given["given_up"][0]["done"], false, "{given}");
    // Its owner can't come to it yet: all the same nobody says that these were delivered.
    is_told(&node, &key, &ids, 2).await;
    assert_eq!(listed(&node, &first).await, vec![pair("delivered", ""); 2]);
    let waits = send(&node, &key, 9).await;
    assert_eq!(listed(&node, &waits).await[0].0, "pending");
    postgres.start();
    wait_for("what follows arrives", Duration::from_secs(30), async || target.arrived().await.filter(|n| *n == 2))
        .await;
    let view = wait_for("nothing is queued", Duration::from_secs(20), async || {
        let view = shown(&node, "pg", "up").await;
        let parts: Vec<_> = view["abandoned"].as_array()?.iter().map(|one| one["part"].clone()).collect();
        (parts == ["main"]).then_some(view)
    })
    .await;
    assert_eq!(view["abandoned"][0]["reason"], "hopeless", "{view}");
    is_told(&node, &key, &ids, 2).await;
    for id in [&first, &waits] {
        assert_eq!(listed(&node, id).await, vec![pair("delivered", ""); 2]);
    }
    assert_eq!(target.pairs("select id, version from events order by seq").await.unwrap(), [(1, 1), (9, 1)]);
}

#[actix_web::test]
async fn a_parallel_destinations_backlog_is_given_up_with_what_its_nodes_had_in_hand() {
    let installation = Installation::new().await;
    let postgres = PostgresServer::private();
    let target = Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) };
    target
        .execute(
            "create table seen (id bigint not null, version bigint not null, stock int, primary key (id, version))",
        )
        .await;
    installation.apply(&parallel::manifest(std::slice::from_ref(&target)));
    let key = installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let node = node(&installation, "a", &[]).await;
    let seen = async || target.pairs("select id, version from seen order by id").await;
    let first = send(&node, &key, 1).await;
    wait_for("the first arrives", Duration::from_secs(20), async || (seen().await? == [(1, 1)]).then_some(())).await;
    postgres.stop();
    let mut ids = vec![send(&node, &key, 2).await];
    shown(&node, "pg", "down").await;
    let group = parallel::id_of(&installation, "pg").await;
    wait_for("the node has entries in hand", Duration::from_secs(30), async || {
        (parallel::in_hand(&installation, &group, "a").await > 0).then_some(())
    })
    .await;
    for id in 3..=8 {
        ids.push(send(&node, &key, id).await);
    }
    // Up to and with the fifth.
    let up_to = format!("/v1/destinations/pg/abandon?until={}", ids[3]);
    let look = done(&node, "GET", &up_to, Value::Null).await;
    let counts = |look: &Value, name: &str| look["would_be_given_up"][0][name].as_u64();
    assert_eq!((counts(&look, "given_up"), counts(&look, "waiting")), (Some(4), Some(7)), "{look}");
    let order = json!({"until": ids[3], "reason": "the branch is closed"});
    let given = done(&node, "POST", "/v1/destinations/pg/abandon", order.clone()).await;
    assert_eq!(given["given_up"][0]["done"], true, "{given}");
    is_told(&node, &key, &ids[..4], 1).await;
    for id in &ids[4..] {
        assert_eq!(listed(&node, id).await[0].0, "pending");
        assert_eq!(told(&node, &key, id).await[0].0, "pending");
    }
    assert_eq!(parallel::in_hand(&installation, &group, "a").await, 0);
    // Once more changes nothing.
    assert_eq!(ask(&node, "POST", "/v1/destinations/pg/abandon", order).await.0, 200);
    postgres.start();
    wait_for("what follows arrives", Duration::from_secs(30), async || {
        (seen().await? == [(1, 1), (6, 1), (7, 1), (8, 1)]).then_some(())
    })
    .await;
    wait_for("nothing waits any more", Duration::from_secs(15), async || {
        (shown(&node, "pg", "up").await["detail"]["backlog"] == 0).then_some(())
    })
    .await;
    is_told(&node, &key, &ids[..4], 1).await;
    for id in ids[4..].iter().chain([&first]) {
        assert_eq!(listed(&node, id).await, vec![pair("delivered", "")]);
    }
    let view = shown(&node, "pg", "up").await;
    let reasons: Vec<_> = view["abandoned"].as_array().unwrap().iter().map(|one| one["reason"].clone()).collect();
    assert_eq!(reasons, ["the branch is closed"], "{view}");
    // A paused one: what comes meanwhile was never in a node's hand.
    done(&node, "POST", "/v1/destinations/pg/pause", Value::Null).await;
    shown(&node, "pg", "paused").await;
    let paused = [send(&node, &key, 9).await, send(&node, &key, 10).await];
    done(&node, "POST", "/v1/destinations/pg/abandon", json!({"until": "now"})).await;
    done(&node, "POST", "/v1/destinations/pg/resume", Value::Null).await;
    shown(&node, "pg", "up").await;
    let last = send(&node, &key, 11).await;
    wait_for("what follows arrives", Duration::from_secs(30), async || {
        (seen().await?.last() == Some(&(11, 1))).then_some(())
    })
    .await;
    for id in &paused {
        assert_eq!(listed(&node, id).await, vec![pair("abandoned", "abandoned")]);
    }
    wait_for("it is told", Duration::from_secs(10), async || {
        (listed(&node, &last).await[0].0 == "delivered").then_some(())
    })
    .await;
    assert_eq!(seen().await.unwrap().len(), 5);
}
