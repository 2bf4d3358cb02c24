//! Alarms that somebody is told of: a webhook or a letter when one begins and when it is over.
//!
//! One node at a time looks, by what all nodes say of their actors, and sends what waits. An alarm that begins or ends and what
//! is to be sent of it are one write in Redis, so each change is told once to each target; what a target does not take is sent
//! again with growing pauses for a day. The node starts [`run`]; [`crate::admin::alerts`] has what operators do.

pub(crate) mod email;
pub(crate) mod event;
mod firing;
pub mod outbound;
pub(crate) mod outbox;
pub mod target;
pub(crate) mod webhook;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use secrecy::SecretString;
use tidegate_actors::{
    delivery::{now_ms, random_token},
    ports::LogError,
};

use self::{
    event::{Change, Event, instant},
    firing::{Firing, Known, firing},
    outbound::Allowed,
    outbox::{Outbox, Waiting},
    target::{AlarmKind, AlertTarget, Way},
};
use crate::{
    databases::CheckStep,
    http::DocumentReceiver,
    redis::{Redis, dead, members},
    registry::secrets::MasterKey,
    resources::Document,
};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a node has the turn without saying so again.
const TURN_LASTS: Duration = Duration::from_secs(30);
/// The first pause after a failed attempt; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 5_000;
const LONGEST_PAUSE_MS: u64 = 15 * 60 * 1000;
/// How long one is sent again and again.
const GIVEN_UP_AFTER_MS: u64 = 24 * 60 * 60 * 1000;
/// Longer than any attempt takes: nobody else tries meanwhile.
const ATTEMPT_MS: u64 = 60_000;

/// What alerts are made from.
pub struct Wiring {
    /// This node's name.
    pub node: Arc<str>,
    /// Where alarms are noted, and what nodes say.
    pub redis: Redis,
    /// The registry.
    pub documents: DocumentReceiver,
    /// What targets' secrets are sealed with.
    pub master_key: Option<Arc<MasterKey>>,
    /// What may be reached although it is this machine's own.
    pub allowed: Allowed,
}

/// Looks and sends for as long as the node runs.
pub async fn run(wiring: Wiring) {
    let instance = random_token(12);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(document) = wiring.documents.borrow().clone() else { continue };
        if document.settings.alerts.targets.is_empty() {
            continue;
        }
        // With Redis away nothing is known and nothing could be noted; the next look is soon.
        if let Err(error) = wiring.round(&document, &instance).await {
            tracing::debug!(%error, "alarms could not be looked at");
        }
    }
}

impl Wiring {
    async fn round(&self, document: &Document, instance: &str) -> Result<(), LogError> {
        let outbox = Outbox { redis: &self.redis };
        if !outbox.turn(instance, TURN_LASTS).await? {
            return Ok(());
        }
        self.look(document, &outbox).await?;
        self.send(document, &outbox).await
    }

    /// Notes which alarms begin and which are over.
    async fn look(&self, document: &Document, outbox: &Outbox<'_>) -> Result<(), LogError> {
        let reports = members::reports(self.redis.link(), self.redis.keys()).await?;
        let mut dead = BTreeMap::new();
        for destination in &document.destinations {
            let mut letters = 0;
            for application in &document.applications {
                letters += dead::count(&self.redis, &application.name, &destination.id).await?;
            }
            dead.insert(destination.id.clone(), letters);
        }
        let told = outbox.told().await?;
        let before: BTreeSet<String> = told.keys().cloned().collect();
        let now = now_ms();
        let known = Known { document, reports: &reports, dead: &dead, before: &before, now_ms: now };
        let firing = firing(&known);
        for (key, one) in firing.iter().filter(|(key, _)| !told.contains_key(*key)) {
            let letters = self.letters(document, one, Change::Begun, now);
            if outbox.note(key, "", Some(one), &letters).await? {
                tracing::warn!(kind = one.kind.as_str(), what = %one.what, "alarm");
            }
        }
        for (key, (text, one)) in told.iter().filter(|(key, _)| !firing.contains_key(*key)) {
            let letters = match one {
                // It is shown for an hour, and then no longer; nothing has happened by that.
                Some(one) if one.kind != AlarmKind::RegistryRestored => self.letters(document, one, Change::Over, now),
                _ => Vec::new(),
            };
            if outbox.note(key, text, None, &letters).await? {
                tracing::info!(alarm = %key, "alarm over");
            }
        }
        Ok(())
    }

    fn letters(&self, document: &Document, one: &Firing, state: Change, now_ms: u64) -> Vec<Waiting> {
        let wanted = document.settings.alerts.targets.iter().filter(|target| target.kinds.contains(&one.kind));
        let id = random_token(20);
        let letter = |target: &AlertTarget| Waiting {
            target: target.id.clone(),
            event: Event {
                id: id.clone(),
                state,
                kind: one.kind.as_str().to_owned(),
                destination: one.subject.clone(),
                what: one.what.clone(),
                since: instant(one.since_ms),
                at: instant(now_ms),
                installation: document.installation.clone(),
                node: self.node.to_string(),
            },
            attempts: 0,
            next_ms: now_ms,
            since_ms: now_ms,
            last_error: None,
        };
        wanted.map(letter).collect()
    }

    /// Sends what is due: to all targets at once, to each the oldest first, so that one that takes its time holds up no other.
    async fn send(&self, document: &Document, outbox: &Outbox<'_>) -> Result<(), LogError> {
        let waiting = outbox.waiting().await?;
        let mut due: BTreeMap<String, Vec<Due>> = BTreeMap::new();
        for (id, (text, one)) in waiting {
            match one {
                Some(one) if one.next_ms <= now_ms() => {
                    due.entry(one.target.clone()).or_default().push(Due { id, text, one });
                }
                Some(_) => {}
                // Written by another version in words of its own.
                None => drop(outbox.replace(&id, &text, None).await?),
            }
        }
        let targets = due.into_iter().map(async |(target, mut due)| {
            due.sort_by_key(|due| due.one.since_ms);
            let target = document.settings.alerts.targets.iter().find(|known| known.id == target);
            // More of them would take longer than the turn lasts.
            for due in due.into_iter().take(if target.is_some() { 1 } else { usize::MAX }) {
                self.attempt(target, outbox, due).await?;
            }
            Ok(())
        });
        futures_util::future::join_all(targets).await.into_iter().collect()
    }

    async fn attempt(&self, target: Option<&AlertTarget>, outbox: &Outbox<'_>, due: Due) -> Result<(), LogError> {
        let Due { id, text, mut one } = due;
        let Some(target) = target else {
            // It was removed.
            return outbox.replace(&id, &text, None).await.map(drop);
        };
        // Claimed: another node that has the turn by then leaves it alone until this attempt must be over.
        one.attempts += 1;
        one.next_ms = now_ms() + ATTEMPT_MS;
        if !outbox.replace(&id, &text, Some(&one)).await? {
            return Ok(());
        }
        let claimed = serde_json::to_string(&one).unwrap_or_default();
        let steps = tell(target, &one.event, self.master_key.as_deref(), &self.allowed).await;
        let Some(why) = steps.into_iter().find_map(|step| step.outcome.err()) else {
            return outbox.replace(&id, &claimed, None).await.map(drop);
        };
        tracing::warn!(target = %target.name, attempt = one.attempts, %why, "an alert was not taken");
        let now = now_ms();
        if now.saturating_sub(one.since_ms) >= GIVEN_UP_AFTER_MS {
            return outbox.replace(&id, &claimed, None).await.map(drop);
        }
        one.last_error = Some(why);
        one.next_ms = now + pause_ms(one.attempts);
        outbox.replace(&id, &claimed, Some(&one)).await.map(drop)
    }
}

/// Something whose time to be sent has come.
struct Due {
    id: String,
    /// As it is stored.
    text: String,
    one: Waiting,
}

fn pause_ms(attempts: u32) -> u64 {
    FIRST_PAUSE_MS.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE_MS)
}

/// Tells one target; each step with what came of it.
pub(crate) async fn tell(
    target: &AlertTarget,
    event: &Event,
    master_key: Option<&MasterKey>,
    allowed: &Allowed,
) -> Vec<CheckStep> {
    let open = |sealed: &crate::resources::Sealed| -> Result<SecretString, String> {
        let key = master_key.ok_or("there is no master key on this node, so its secret can't be read")?;
        key.open(&AlertTarget::sealed_for(&target.id), sealed).map_err(|error| error.to_string())
    };
    let unreadable = |why: String| vec![CheckStep { step: "secret", subject: target.name.clone(), outcome: Err(why) }];
    match &target.way {
        Way::Webhook { url, secret } => match open(secret) {
            Ok(secret) => webhook::send(url, &secret, event, now_ms() / 1000, allowed).await,
            Err(why) => unreadable(why),
        },
        Way::Email { host, port, tls, user, password, from, to } => {
            let password = match password.as_ref().map(open).transpose() {
                Ok(password) => password,
                Err(why) => return unreadable(why),
            };
            let login = user.as_deref().zip(password);
            let post = email::Post { host, port: *port, tls: *tls, login, from, to };
            email::send(&post, event, allowed).await
        }
    }
}

/// What a test tells.
pub(crate) fn test_event(installation: &str, node: &str) -> Event {
    let now = instant(now_ms());
    Event {
        id: random_token(20),
        state: Change::Test,
        kind: "test".into(),
        destination: None,
        what: "Somebody pressed the test button in the console. Nothing is wrong.".into(),
        since: now.clone(),
        at: now,
        installation: installation.to_owned(),
        node: node.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_quarter_of_an_hour() {
        let pauses: Vec<u64> = [1, 2, 3, 8, 9, 40].into_iter().map(|attempts| pause_ms(attempts) / 1000).collect();
        assert_eq!(pauses, [5, 10, 20, 640, 900, 900]);
    }
}
