//! What one node says of its actors on its operations listener. One that does not answer at once is no matter.

use std::{net::SocketAddr, time::Duration};

use crate::http::health::NodeHealth;

/// Longest time for the answer: the table waits for it.
const TIMEOUT: Duration = Duration::from_millis(800);
/// Longest answer: a thousand actors are a tenth of it.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Asks the node whose operations listener is at this address how its actors are; `None` where nobody answers.
pub(super) async fn ask(admin: SocketAddr) -> Option<NodeHealth> {
    let client = awc::Client::builder().timeout(TIMEOUT).finish();
    let request = client.get(format!("http://{admin}/health/actors"));
    let mut answer = request.send().await.ok().filter(|answer| answer.status().is_success())?;
    serde_json::from_slice(&answer.body().limit(MOST_BYTES).await.ok()?).ok()
}
