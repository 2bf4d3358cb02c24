//! What nodes say of their actors, for commands that show it: from Redis all of them, from an operations listener that one. A
//! node that does not answer at once is no matter.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use tidegate_actors::status::{ActorKind, DestinationDetail, DestinationStatus};

use crate::{http::health::NodeHealth, registry::alarm::Alarm};

/// Longest time for the answer: the table waits for it.
const TIMEOUT: Duration = Duration::from_millis(800);
/// Longest answer: a thousand actors are a tenth of it.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The nodes that were heard.
pub(super) struct Cluster {
    /// Each as it last spoke.
    pub(super) nodes: Vec<NodeHealth>,
}

/// Asks the node whose operations listener is at this address how its actors are; `None` where nobody answers.
pub(super) async fn ask(admin: SocketAddr) -> Option<NodeHealth> {
    let client = awc::Client::builder().timeout(TIMEOUT).finish();
    let request = client.get(format!("http://{admin}/health/actors"));
    let mut answer = request.send().await.ok().filter(|answer| answer.status().is_success())?;
    serde_json::from_slice(&answer.body().limit(MOST_BYTES).await.ok()?).ok()
}

impl Cluster {
    /// What the nodes raise an alarm about, each thing once.
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let mut all: Vec<Alarm> = Vec::new();
        for node in &self.nodes {
            for actor in node.actors.iter().filter(|actor| actor.kind == ActorKind::Janitor) {
                let told = actor.detail.get("alarms").cloned().unwrap_or_default();
                let told: Vec<Alarm> = serde_json::from_value(told).unwrap_or_default();
                for alarm in told {
                    if !all.iter().any(|known| known.what == alarm.what) {
                        all.push(alarm);
                    }
                }
            }
        }
        all
    }

    /// Every destination with the node that says most of it: the one that writes it, rather than one that stands by.
    pub(super) fn destinations(&self) -> HashMap<&str, (&str, DestinationDetail)> {
        let mut all: HashMap<&str, (&str, DestinationDetail)> = HashMap::new();
        for node in &self.nodes {
            for actor in node.actors.iter().filter(|actor| actor.kind == ActorKind::Destination) {
                let Ok(detail) = serde_json::from_value::<DestinationDetail>(actor.detail.clone()) else { continue };
                let known = all.get(actor.name.as_str());
                if known.is_none_or(|(_, known)| known.status == DestinationStatus::Standby) {
                    all.insert(&actor.name, (&node.node, detail));
                }
            }
        }
        all
    }
}
