//! What operators do by hand, by commands and over the admin API, end to end on a real PostgreSQL and with a database that is
//! away.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    installation::{Installation, Node, settle},
    ledger::Target,
    wait_until_sent,
};
use crate::servers::{postgres::PostgresServer, wait_for};

async fn shows(node: &Node, status: &str) {
    wait_for(&format!("it is {status}"), Duration::from_secs(20), async || {
        (node.destination("pg").await["status"] == status).then_some(())
    })
    .await;
}

async fn begin() -> (Installation, PostgresServer, Vec<Target>, String) {
    let installation = Installation::new().await;
    let postgres = PostgresServer::private();
    let target = Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) };
    target.create_tables().await;
    let targets = vec![target];
    let key = installation.register(&targets);
    (installation, postgres, targets, key)
}

#[actix_web::test]
async fn a_pause_outlives_a_killed_node_and_everything_arrives_once_and_in_order_afterwards() {
    let (installation, _postgres, targets, key) = begin().await;
    let (mut first, second) = (installation.node("a"), installation.node("b"));
    first.ready().await;
    second.ready().await;
    let producers = second.load(&key).start();
    wait_until_sent(&producers, 200).await;
    installation.run(&["destination", "pause", "pg"]);
    shows(&first, "paused").await;
    shows(&second, "paused").await;
    let stands = targets[0].arrived().await;
    first.kill();
    let sent = producers.sent();
    wait_until_sent(&producers, sent + 300).await;
    // `apply` leaves it as it is.
    installation.apply(&super::installation::manifest(&targets));
    first.start(&installation);
    first.ready().await;
    shows(&first, "paused").await;
    assert_eq!(targets[0].arrived().await, stands, "nothing was written");
    let acknowledged = producers.stop().await;
    installation.run(&["destination", "resume", "pg"]);
    settle(&targets, &acknowledged).await;
}

#[actix_web::test]
async fn a_backlog_given_up_while_the_database_is_away_frees_redis_and_what_follows_arrives() {
    let (installation, postgres, targets, key) = begin().await;
    let mut node = installation.new_node("a");
    node.environment.insert("TIDEGATE_ADMIN_TOKEN", "a-token-for-the-test".into());
    // What nobody needs goes at once.
    node.environment.insert("TIDEGATE_RETENTION", "0s".into());
    node.start(&installation);
    node.ready().await;
    let send = async |id: u32| {
        let client = awc::Client::default();
        let post = client.post(format!("http://127.0.0.1:{}/v1/messages", node.listen));
        let body = json!({"topic": "cars", "key": id, "data": {"id": id, "version": 1}});
        let answer = post.insert_header(("Authorization", format!("Bearer {key}"))).send_json(&body).await.unwrap();
        assert_eq!(answer.status().as_u16(), 202);
    };
    let ask = async |method: &str, path: &str, token: Option<&str>, body: Value| {
        let client = awc::Client::builder().timeout(Duration::from_secs(10)).finish();
        let url = format!("http://127.0.0.1:{}{path}", node.admin);
        let mut request = client.request(method.parse().unwrap(), url);
        if let Some(token) = token {
            request = request.insert_header(("Authorization", format!("Bearer {token}")));
        }
        let mut answer = request.send_json(&body).await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice::<Value>(&answer.body().await.unwrap()).unwrap_or_default())
    };
    let token = Some("a-token-for-the-test");
    send(1).await;
    wait_for("the first arrives", Duration::from_secs(20), async || targets[0].arrived().await.filter(|n| *n == 1))
        .await;
    // The health of actors asks for the token too, where there is one.
    let shown = async |status: &str| {
        wait_for(&format!("it is {status}"), Duration::from_secs(30), async || {
            let (_, view) = ask("GET", "/v1/destinations/pg", token, Value::Null).await;
            (view["detail"]["status"] == *status).then_some(view)
        })
        .await
    };
    postgres.stop();
    shown("down").await;
    for id in 2..=20 {
        send(id).await;
    }
    assert_eq!(ask("GET", "/v1/destinations", None, Value::Null).await.0, 401);
    let (status, look) = ask("GET", "/v1/destinations/pg/abandon?until=now", token, Value::Null).await;
    assert_eq!((status, look["would_be_given_up"][0]["given_up"].as_u64()), (200, Some(19)), "{look}");
    let (status, given) =
        ask("POST", "/v1/destinations/pg/abandon", token, json!({"until": "now", "reason": "hopeless"})).await;
    assert_eq!((status, given["given_up"][0]["done"].as_bool()), (200, Some(false)), "{given}");
    wait_for("Redis is rid of it", Duration::from_secs(20), async || {
        let left: u64 = installation.redis.ask("XLEN tidegate:{car-app}:stream").await;
        (left <= 1).then_some(())
    })
    .await;
    send(21).await;
    postgres.start();
    wait_for("what follows arrives", Duration::from_secs(30), async || targets[0].arrived().await.filter(|n| *n == 2))
        .await;
    // What nodes report of themselves is a second old.
    let view = wait_for("nothing waits any more", Duration::from_secs(15), async || {
        let view = shown("up").await;
        (view["detail"]["held"].is_null() && view["detail"]["backlog"] == 0).then_some(view)
    })
    .await;
    assert_eq!(view["abandoned"][0]["reason"], "hopeless", "{view}");
    let (status, description) = ask("GET", "/openapi.json", token, Value::Null).await;
    assert_eq!((status, description["info"]["title"].as_str()), (200, Some("Tidegate admin API")));
}
