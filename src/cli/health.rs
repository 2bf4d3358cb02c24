//! What a node's operations listener says of its actors, for commands that show it. A node that does not answer at once is
//! no matter: Redis tells the rest.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tidegate_actors::status::{ActorKind, DestinationDetail, DestinationStatus};

use crate::{http::health::NodeHealth, registry::alarm::Alarm};

/// Longest time for the answer: the table waits for it.
const TIMEOUT: Duration = Duration::from_millis(800);
/// Longest answer: a thousand actors are a tenth of it.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The nodes that could be asked.
#[derive(Default)]
pub(super) struct Cluster {
    /// The node that answered, then those it knows of.
    pub(super) nodes: Vec<NodeHealth>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(flatten)]
    here: NodeHealth,
    nodes: Option<Vec<NodeHealth>>,
}

/// Asks the node at this address for all it knows; `None` where nobody answers.
pub(super) async fn ask(admin: SocketAddr, token: Option<&SecretString>) -> Option<Cluster> {
    let client = awc::Client::builder().timeout(TIMEOUT).finish();
    let mut request = client.get(format!("http://{}/health/actors?scope=cluster", reachable(admin)));
    if let Some(token) = token {
        request = request.insert_header(("Authorization", format!("Bearer {}", token.expose_secret())));
    }
    let mut answer = request.send().await.ok().filter(|answer| answer.status().is_success())?;
    let body: Body = serde_json::from_slice(&answer.body().limit(MOST_BYTES).await.ok()?).ok()?;
    Some(Cluster { nodes: std::iter::once(body.here).chain(body.nodes.unwrap_or_default()).collect() })
}

/// An address to listen on as one to connect to: 0.0.0.0 is everywhere, so also here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
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
