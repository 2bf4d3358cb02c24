//! What nodes say of their actors: each destination by the node that knows it best, and what they raise an alarm about.
//! Commands and the console's screens look at it; it changes nothing.

use std::collections::HashMap;

use tidegate_actors::status::{ActorHealth, ActorKind, DestinationDetail, DestinationStatus};

use crate::{http::health::NodeHealth, registry::alarm::Alarm};

/// The nodes that were heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    /// Each as it last spoke.
    pub(crate) all: Vec<NodeHealth>,
}

impl Nodes {
    /// Every actor of this kind, over all nodes.
    pub(crate) fn actors(&self, kind: ActorKind) -> impl Iterator<Item = (&NodeHealth, &ActorHealth)> {
        self.all.iter().flat_map(move |node| {
            node.actors.iter().filter(move |actor| actor.kind == kind).map(move |actor| (node, actor))
        })
    }

    /// What the nodes raise an alarm about, each thing once.
    pub(crate) fn alarms(&self) -> Vec<Alarm> {
        let mut all: Vec<Alarm> = Vec::new();
        for (_, actor) in self.actors(ActorKind::Janitor) {
            let told = actor.detail.get("alarms").cloned().unwrap_or_default();
            let told: Vec<Alarm> = serde_json::from_value(told).unwrap_or_default();
            for alarm in told {
                if !all.iter().any(|known| known.what == alarm.what) {
                    all.push(alarm);
                }
            }
        }
        all
    }

    /// Every destination with the node that says most of it: the one that writes it, rather than one that stands by.
    pub(crate) fn destinations(&self) -> HashMap<&str, (&str, DestinationDetail)> {
        let mut all: HashMap<&str, (&str, DestinationDetail)> = HashMap::new();
        for (node, actor) in self.actors(ActorKind::Destination) {
            let Ok(detail) = serde_json::from_value::<DestinationDetail>(actor.detail.clone()) else { continue };
            let known = all.get(actor.name.as_str());
            if known.is_none_or(|(_, known)| known.status == DestinationStatus::Standby) {
                all.insert(&actor.name, (&node.node, detail));
            }
        }
        all
    }

    /// Seconds until Redis is full at the present rate, and how much is done about it, as the janitors see it.
    pub(crate) fn memory(&self) -> (Option<f64>, Option<String>) {
        let told = self.actors(ActorKind::Janitor).find(|(_, actor)| actor.detail.get("memory_pressure").is_some());
        let Some((_, actor)) = told else { return (None, None) };
        let pressure = actor.detail.get("memory_pressure").and_then(|text| text.as_str());
        (actor.detail.get("memory_full_in_s").and_then(serde_json::Value::as_f64), pressure.map(str::to_owned))
    }
}
