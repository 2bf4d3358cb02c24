//! What is an alarm just now. Pure: the registry, what all nodes say of their actors, and the dead letters counted are the
//! arguments.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use tidegate_actors::{
    lane::GAP_SAYS,
    status::{ActorHealth, ActorKind, DestinationDetail, DestinationStatus},
};

use super::target::AlarmKind;
use crate::{redis::members::Report, registry::alarm::Alarm, resources::Document};

/// How far Redis's memory must fall below its mark before that alarm is over, in percent.
const MEMORY_HYSTERESIS: f64 = 5.0;

/// Something that is an alarm now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Firing {
    pub(super) kind: AlarmKind,
    /// The destination, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    /// The sentence, with the remedy where there is one.
    pub(super) what: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
}

/// What is known now.
pub(super) struct Known<'a> {
    pub(super) document: &'a Document,
    pub(super) reports: &'a [Report],
    /// Dead letters of each destination, by its id.
    pub(super) dead: &'a BTreeMap<String, u64>,
    /// The keys of what was an alarm at the last look.
    pub(super) before: &'a BTreeSet<String>,
    pub(super) now_ms: u64,
}

/// All alarms, by a key that stays the same while one lasts.
pub(super) fn firing(known: &Known<'_>) -> BTreeMap<String, Firing> {
    let alerts = &known.document.settings.alerts;
    let mut all = BTreeMap::new();
    let mut add = |kind: AlarmKind, name: &str, subject: Option<&str>, what: String, since_ms: u64| {
        let key = format!("{} {name}", kind.as_str());
        all.insert(key, Firing { kind, subject: subject.map(str::to_owned), what, since_ms });
    };
    for destination in &known.document.destinations {
        let name = destination.name.as_str();
        let detail = of_destination(known.reports, name);
        let since = detail.as_ref().and_then(|detail| detail.down_since.as_deref()).and_then(ms);
        if let (Some(detail), Some(since)) = (&detail, since)
            && detail.status == DestinationStatus::Down
            && known.now_ms.saturating_sub(since) >= u64::from(alerts.down_after_s) * 1000
        {
            let why = detail.last_error.as_deref().map_or(String::new(), |why| format!(": {why}"));
            let what = format!("destination `{name}` is down{why}; {} messages wait for it", detail.backlog);
            add(AlarmKind::DestinationDown, &destination.id, Some(name), what, since);
        }
        if let Some(detail) = &detail {
            let tables = detail.held_tables.iter().map(|table| format!("table `{}`: {}", table.table, table.why));
            for why in detail.held.iter().cloned().chain(tables) {
                let kind = if why.contains(GAP_SAYS) { AlarmKind::StreamGap } else { AlarmKind::DestinationHeld };
                add(kind, &destination.id, Some(name), format!("destination `{name}` waits: {why}"), known.now_ms);
            }
        }
        let dead = known.dead.get(&destination.id).copied().unwrap_or(0);
        if dead > alerts.dead_above {
            let what = format!("destination `{name}` has {dead} dead letters");
            add(AlarmKind::DeadLetters, &destination.id, Some(name), what, known.now_ms);
        }
    }
    let janitors = || known.reports.iter().filter_map(|report| of_kind(report, ActorKind::Janitor));
    let share = janitors().filter_map(|janitor| janitor.detail.get("memory_ratio")?.as_f64()).fold(0.0, f64::max);
    let mark = f64::from(alerts.memory_percent);
    let lasting = known.before.contains("redis_memory redis");
    if share * 100.0 >= if lasting { mark - MEMORY_HYSTERESIS } else { mark } {
        let what = format!(
            "Redis uses {:.0} % of its maxmemory; beyond the hard mark new records are answered with 503. Bring back what is \
             down, keep less, or raise maxmemory",
            share * 100.0
        );
        add(AlarmKind::RedisMemory, "redis", None, what, known.now_ms);
    }
    let alarms = janitors()
        .filter_map(|janitor| serde_json::from_value::<Vec<Alarm>>(janitor.detail.get("alarms")?.clone()).ok());
    for alarm in alarms.flatten() {
        let since = ms(&alarm.since).unwrap_or(known.now_ms);
        add(AlarmKind::RegistryRestored, &alarm.since, None, alarm.what, since);
    }
    all
}

/// What the node that writes a destination says of it; else one that found something out of order.
fn of_destination(reports: &[Report], name: &str) -> Option<DestinationDetail> {
    let said = reports.iter().filter_map(|report| report.health.as_ref()).flat_map(|health| &health.actors);
    let details = said
        .filter(|actor| actor.kind == ActorKind::Destination && actor.name == name)
        .filter_map(|actor| serde_json::from_value::<DestinationDetail>(actor.detail.clone()).ok());
    let weight = |detail: &DestinationDetail| (detail.leased, detail.status != DestinationStatus::Standby);
    details.max_by_key(weight)
}

fn of_kind(report: &Report, kind: ActorKind) -> Option<&ActorHealth> {
    report.health.as_ref()?.actors.iter().find(|actor| actor.kind == kind)
}

fn ms(moment: &str) -> Option<u64> {
    u64::try_from(DateTime::parse_from_rfc3339(moment).ok()?.timestamp_millis()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_763_775_403_000; // 2025-11-22T01:36:43Z

    fn document() -> Document {
        serde_json::from_value(json!({
            "version": 1, "installation": "i",
            "destinations": [{"id": "d1", "name": "rooms", "kind": "postgres", "url": "postgres://a/b"}],
            "settings": {"alerts": {"down_after_s": 30, "dead_above": 3}},
        }))
        .unwrap()
    }

    fn report(actors: Value) -> Report {
        let health = json!({"node": "a", "version": "0", "uptime_s": 1, "actors": actors});
        Report {
            member: serde_json::from_value(json!({"instance": "x", "node": "a", "version": "0", "started_ms": 1}))
                .unwrap(),
            health: Some(serde_json::from_value(health).unwrap()),
        }
    }

    fn actor(kind: &str, name: &str, detail: Value) -> Value {
        json!({"kind": kind, "name": name, "state": "running", "restarts": 0, "last_progress_s": 0.1, "detail": detail})
    }

    fn detail(changes: Value) -> Value {
        let mut detail = serde_json::to_value(DestinationDetail::default()).unwrap();
        detail.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        detail
    }

    fn keys(reports: &[Report], dead: u64, before: &[&str]) -> Vec<String> {
        let before = before.iter().map(|key| (*key).to_owned()).collect();
        let dead = [("d1".to_owned(), dead)].into();
        let document = document();
        let known = Known { document: &document, reports, dead: &dead, before: &before, now_ms: NOW };
        firing(&known).into_iter().map(|(key, one)| format!("{key}: {}", one.what)).collect()
    }

    #[test]
    fn a_destination_that_is_down_is_an_alarm_after_its_time() {
        let down = |since: &str| {
            let owner = actor(
                "destination",
                "rooms",
                detail(
                    json!({"status": "down", "leased": true, "down_since": since, "last_error": "refused", "backlog": 7}),
                ),
            );
            let standby = actor("destination", "rooms", detail(json!({"status": "standby"})));
            [report(json!([standby])), report(json!([owner]))]
        };
        assert_eq!(keys(&down("2025-11-22T01:36:20Z"), 0, &[]), [""; 0]);
        let told = keys(&down("2025-11-22T01:36:13Z"), 0, &[]);
        assert_eq!(told, ["destination_down d1: destination `rooms` is down: refused; 7 messages wait for it"]);
    }

    #[test]
    fn a_gap_is_told_from_other_holds() {
        let held =
            |why: &str| [report(json!([actor("destination", "rooms", detail(json!({"held": why, "leased": true})))]))];
        assert!(keys(&held("the column `name` is missing"), 0, &[])[0].starts_with("destination_held d1"));
        assert!(
            keys(&held(&format!("entries after 1-0 up to 5-0 {GAP_SAYS}")), 0, &[])[0].starts_with("stream_gap d1")
        );
    }

    #[test]
    fn memory_and_dead_letters_have_their_marks() {
        let memory = |ratio: f64| [report(json!([actor("janitor", "janitor", json!({"memory_ratio": ratio}))]))];
        assert_eq!(keys(&memory(0.79), 3, &[]), [""; 0]);
        assert!(keys(&memory(0.80), 0, &[])[0].starts_with("redis_memory redis"));
        assert_eq!(keys(&memory(0.76), 0, &["redis_memory redis"]).len(), 1, "until it is well below");
        assert_eq!(keys(&memory(0.74), 0, &["redis_memory redis"]), [""; 0]);
        assert_eq!(keys(&[], 4, &[]), ["dead_letters d1: destination `rooms` has 4 dead letters"]);
    }
}
