//! The admin API as a program uses it: asked over HTTP with the token, answers as JSON.

use std::time::Duration;

use serde_json::Value;

use super::installation::{Installation, Node};

/// The token of the nodes that these tests start.
pub(crate) const TOKEN: &str = "a-token-for-the-test";

/// A node with a token, started.
pub(crate) async fn node(installation: &Installation, name: &str, settings: &[(&'static str, &str)]) -> Node {
    let mut node = installation.new_node(name);
    node.environment.insert("TIDEGATE_ADMIN_TOKEN", TOKEN.into());
    node.environment.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
    node.start(installation);
    node.ready().await;
    node
}

/// One request; status and body.
pub(crate) async fn ask(node: &Node, method: &str, path: &str, body: Value) -> (u16, Value) {
    let client = awc::Client::builder().timeout(Duration::from_secs(20)).finish();
    let url = format!("http://127.0.0.1:{}{path}", node.admin);
    let request = client.request(method.parse().unwrap(), url).bearer_auth(TOKEN);
    let mut answer = if body.is_null() { request.send().await } else { request.send_json(&body).await }.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice::<Value>(&answer.body().limit(8 << 20).await.unwrap()).unwrap_or_default())
}

/// The same, of which nothing but success is expected.
pub(crate) async fn done(node: &Node, method: &str, path: &str, body: Value) -> Value {
    let (status, answer) = ask(node, method, path, body).await;
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

/// A destination as the admin API shows it, once it is in this state.
pub(crate) async fn shown(node: &Node, destination: &str, status: &str) -> Value {
    crate::servers::wait_for(&format!("{destination} is {status}"), Duration::from_secs(30), async || {
        let (_, view) = ask(node, "GET", &format!("/v1/destinations/{destination}"), Value::Null).await;
        (view["detail"]["status"] == *status).then_some(view)
    })
    .await
}
