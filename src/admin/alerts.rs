//! Who is told of what: targets added, changed, tested and removed, and from when on something is an alarm.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tidegate_actors::delivery::random_token;

use super::{
    ActError, FieldError, Role, Who,
    settings::{change, document},
};
use crate::{
    alerts::{
        self, email,
        outbound::Allowed,
        outbox::Outbox,
        target::{AlarmKind, AlertTarget, Alerts, MailTls, Way},
        webhook,
    },
    databases::CheckStep,
    redis::Redis,
    registry::secrets::{MasterKey, SecretError},
    resources::Document,
};

/// Most targets.
const MOST_TARGETS: usize = 50;
/// Most receivers of one letter.
const MOST_RECEIVERS: usize = 20;

/// What was given for a target.
#[derive(Default)]
pub struct Given {
    /// Its name.
    pub name: String,
    /// What it is told of.
    pub kinds: Vec<AlarmKind>,
    /// Which way.
    pub way: GivenWay,
}

/// Which way, as it was given.
pub enum GivenWay {
    /// A webhook.
    Webhook {
        /// Where to.
        url: String,
    },
    /// Letters.
    Email {
        /// The mail server.
        host: String,
        /// Its port.
        port: u16,
        /// How the connection is secured.
        tls: MailTls,
        /// The user; empty where the server asks for none.
        user: String,
        /// Their password; `None` keeps the one there is.
        password: Option<SecretString>,
        /// Whom it is from.
        from: String,
        /// Whom it is for, with commas between.
        to: String,
    },
}

impl Default for GivenWay {
    fn default() -> Self {
        Self::Webhook { url: String::new() }
    }
}

/// A target with what waits for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetView {
    /// Random, survives renaming.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is told of.
    pub kinds: Vec<AlarmKind>,
    /// `webhook` or `email`.
    pub way: &'static str,
    /// Where it leads, without what could be a secret.
    pub to: String,
    /// How many alerts wait to be taken.
    pub waiting: usize,
    /// Why the last attempt failed, while some wait.
    pub last_error: Option<String>,
}

/// Marks and targets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// How long a destination must be down, in seconds.
    pub down_after_s: u32,
    /// More dead letters of one destination than this.
    pub dead_above: u64,
    /// Share of Redis's memory, in percent.
    pub memory_percent: u8,
    /// Who is told.
    pub targets: Vec<TargetView>,
}

/// Marks and targets as they are now.
///
/// # Errors
/// They may not, or Redis is away.
pub async fn view(redis: &Redis, who: &Who) -> Result<View, ActError> {
    who.needs(Role::Admin)?;
    let alerts = document(redis, who).await?.settings.alerts;
    let waiting = Outbox { redis }.waiting().await?;
    let waiting: Vec<_> = waiting.into_values().filter_map(|(_, one)| one).collect();
    let target = |target: &AlertTarget| {
        let of = || waiting.iter().filter(|one| one.target == target.id);
        TargetView {
            id: target.id.clone(),
            name: target.name.clone(),
            kinds: target.kinds.clone(),
            way: match target.way {
                Way::Webhook { .. } => "webhook",
                Way::Email { .. } => "email",
            },
            to: target.shown(),
            waiting: of().count(),
            last_error: of().max_by_key(|one| one.attempts).and_then(|one| one.last_error.clone()),
        }
    };
    Ok(View {
        down_after_s: alerts.down_after_s,
        dead_above: alerts.dead_above,
        memory_percent: alerts.memory_percent,
        targets: alerts.targets.iter().map(target).collect(),
    })
}

/// One target as it is stored, for its form.
///
/// # Errors
/// They may not, there is none, or Redis is away.
pub async fn target(redis: &Redis, who: &Who, id: &str) -> Result<AlertTarget, ActError> {
    who.needs(Role::Admin)?;
    find(&document(redis, who).await?, id).cloned()
}

/// From when on something is an alarm.
///
/// # Errors
/// They may not, or something that was given is wrong.
pub async fn set_marks(
    redis: &Redis,
    who: &Who,
    down_after_s: u32,
    dead_above: u64,
    memory_percent: u8,
) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    let mut wrong = Vec::new();
    if !(5..=86_400).contains(&down_after_s) {
        let message = "give a time from 5 to 86400 seconds".into();
        wrong.push(FieldError { field: "down_after_s".into(), code: "down_after", message });
    }
    if !(1..=100).contains(&memory_percent) {
        let message = "give a whole number of percent from 1 to 100".into();
        wrong.push(FieldError { field: "memory_percent".into(), code: "percent", message });
    }
    if !wrong.is_empty() {
        return Err(ActError::Invalid(wrong));
    }
    change(redis, who, |document| {
        let alerts = &mut document.settings.alerts;
        let old = (alerts.down_after_s, alerts.dead_above, alerts.memory_percent);
        let new = (down_after_s, dead_above, memory_percent);
        let words = |(down, dead, memory): (u32, u64, u8)| {
            format!("down for {down} s, more than {dead} dead letters, memory above {memory} %")
        };
        let what =
            if old == new { vec![] } else { vec![format!("marks of alarms: {} → {}", words(old), words(new))] };
        (alerts.down_after_s, alerts.dead_above, alerts.memory_percent) = new;
        Ok((what, ()))
    })
    .await
}

/// A target that was added.
pub struct Added {
    /// Its id.
    pub id: String,
    /// What its webhooks are signed with, told this once.
    pub secret: Option<SecretString>,
}

/// Adds a target.
///
/// # Errors
/// They may not, something that was given is wrong, or there is no master key.
pub async fn add(redis: &Redis, master_key: Option<&MasterKey>, who: &Who, given: &Given) -> Result<Added, ActError> {
    who.needs(Role::Admin)?;
    let id = random_token(12);
    let secret = matches!(given.way, GivenWay::Webhook { .. }).then(webhook::new_secret);
    let target = read(given, &id, None, secret.as_ref(), master_key)?;
    change(redis, who, |document| {
        let alerts = &mut document.settings.alerts;
        taken(alerts, &target)?;
        if alerts.targets.len() >= MOST_TARGETS {
            return Err(ActError::Conflict(format!("there are {MOST_TARGETS} targets already; remove some")));
        }
        alerts.targets.push(target.clone());
        Ok((vec![format!("create alert target `{}`: {}", target.name, target.shown())], ()))
    })
    .await?;
    Ok(Added { id, secret })
}

/// Changes a target; its secret stays, unless another password is given.
///
/// # Errors
/// They may not, there is none, something that was given is wrong, or there is no master key for a password.
pub async fn edit(
    redis: &Redis,
    master_key: Option<&MasterKey>,
    who: &Who,
    id: &str,
    given: &Given,
) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    change(redis, who, |document| {
        let known = find(document, id)?.clone();
        let target = read(given, id, Some(&known), None, master_key)?;
        let alerts = &mut document.settings.alerts;
        taken(alerts, &target)?;
        let what = if target == known { vec![] } else { vec![format!("update alert target `{}`", target.name)] };
        if let Some(place) = alerts.targets.iter_mut().find(|known| known.id == id) {
            *place = target;
        }
        Ok((what, ()))
    })
    .await
}

/// Another signing secret for a webhook, told this once; the old one is good no longer.
///
/// # Errors
/// They may not, there is no such webhook, or there is no master key.
pub async fn renew_secret(
    redis: &Redis,
    master_key: Option<&MasterKey>,
    who: &Who,
    id: &str,
) -> Result<SecretString, ActError> {
    who.needs(Role::Admin)?;
    let key = master_key.ok_or_else(no_master_key)?;
    let fresh = webhook::new_secret();
    let sealed = key.seal(&AlertTarget::sealed_for(id), &fresh);
    change(redis, who, |document| {
        find(document, id)?;
        let target = document.settings.alerts.targets.iter_mut().find(|known| known.id == id);
        match target.map(|target| (target.name.clone(), &mut target.way)) {
            Some((name, Way::Webhook { secret, .. })) => {
                *secret = sealed.clone();
                Ok((vec![format!("new signing secret of alert target `{name}`")], ()))
            }
            _ => Err(ActError::Conflict("only webhooks are signed".into())),
        }
    })
    .await?;
    Ok(fresh)
}

/// Removes a target; what waits for it is dropped.
///
/// # Errors
/// They may not, or there is none.
pub async fn remove(redis: &Redis, who: &Who, id: &str) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    change(redis, who, |document| {
        let name = find(document, id)?.name.clone();
        document.settings.alerts.targets.retain(|target| target.id != id);
        Ok((vec![format!("remove alert target `{name}`")], ()))
    })
    .await
}

/// Sends a test to a target, and says what came of each step.
///
/// # Errors
/// They may not, there is none, or Redis is away.
pub async fn test(
    redis: &Redis,
    master_key: Option<&MasterKey>,
    allowed: &Allowed,
    node: &str,
    who: &Who,
    id: &str,
) -> Result<Vec<CheckStep>, ActError> {
    who.needs(Role::Admin)?;
    let known = document(redis, who).await?;
    let target = find(&known, id)?;
    let event = alerts::test_event(&known.installation, node);
    Ok(alerts::tell(target, &event, master_key, allowed).await)
}

fn find<'a>(document: &'a Document, id: &str) -> Result<&'a AlertTarget, ActError> {
    let target = document.settings.alerts.targets.iter().find(|target| target.id == id);
    target.ok_or_else(|| ActError::Unknown("there is no such alert target (any more)".into()))
}

fn taken(alerts: &Alerts, target: &AlertTarget) -> Result<(), ActError> {
    if !alerts.targets.iter().any(|known| known.id != target.id && known.name == target.name) {
        return Ok(());
    }
    Err(ActError::Invalid(vec![FieldError {
        field: "name".into(),
        code: "target_taken",
        message: format!("there is an alert target `{}` already; give another name", target.name),
    }]))
}

fn no_master_key() -> ActError {
    ActError::Conflict(format!("an alert target's secret needs to be sealed, and {}", SecretError::NoMasterKey))
}

fn read(
    given: &Given,
    id: &str,
    known: Option<&AlertTarget>,
    secret: Option<&SecretString>,
    master_key: Option<&MasterKey>,
) -> Result<AlertTarget, ActError> {
    let mut wrong = Vec::new();
    let mut refuse = |field: &str, code: &'static str, message: &str| {
        wrong.push(FieldError { field: field.to_owned(), code, message: message.to_owned() });
    };
    let name = given.name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        refuse("name", "target_name", "give a name of 1 to 64 characters");
    }
    if given.kinds.is_empty() {
        refuse("kinds", "target_kinds", "choose at least one kind of alarm");
    }
    let sealed = |secret: &SecretString| {
        master_key.map(|key| key.seal(&AlertTarget::sealed_for(id), secret)).ok_or_else(no_master_key)
    };
    let way = match &given.way {
        GivenWay::Webhook { url } => {
            let url = url.trim().to_owned();
            if let Some(why) = webhook::complaint(&url) {
                refuse("url", "webhook_url", why);
            }
            let kept = match known.map(|known| &known.way) {
                Some(Way::Webhook { secret, .. }) => Some(secret.clone()),
                _ => None,
            };
            let secret = match (kept, secret) {
                (Some(kept), None) => kept,
                (_, Some(fresh)) => sealed(fresh)?,
                (None, None) => {
                    return Err(ActError::Conflict("letters can't become a webhook; add one instead".into()));
                }
            };
            Way::Webhook { url, secret }
        }
        GivenWay::Email { host, port, tls, user, password, from, to } => {
            let host = host.trim().to_owned();
            if host.is_empty() || host.len() > 253 || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
                refuse("host", "mail_host", "give the mail server's name, such as smtp.example");
            }
            if *port == 0 {
                refuse("port", "port", "give a port from 1 to 65535: 465 for TLS, 587 for STARTTLS");
            }
            let to: Vec<String> =
                to.split([',', '\n']).map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect();
            if to.is_empty() || to.len() > MOST_RECEIVERS || !to.iter().all(|one| email::is_mailbox(one)) {
                refuse("to", "mail_to", "give 1 to 20 e-mail addresses with commas between");
            }
            if !email::is_mailbox(from.trim()) {
                refuse("from", "mail_from", "give an e-mail address that the server may send from");
            }
            let (kept_at, kept) = match known.map(|known| &known.way) {
                Some(Way::Email { host, password, .. }) => (Some(host.as_str()), password.clone()),
                Some(Way::Webhook { .. }) => {
                    return Err(ActError::Conflict("a webhook can't become letters; add them instead".into()));
                }
                None => (None, None),
            };
            let user = Some(user.trim().to_owned()).filter(|user| !user.is_empty());
            let password = password.as_ref().filter(|password| !password.expose_secret().is_empty());
            let password = match (&user, password) {
                (None, _) => None,
                (Some(_), Some(fresh)) => Some(sealed(fresh)?),
                // A password that is kept must not be sent to whoever is named now.
                (Some(_), None) if kept.is_some() && kept_at != Some(host.as_str()) => {
                    refuse("password", "password_again", "the server is another one, so give the password again");
                    None
                }
                (Some(_), None) => kept,
            };
            if user.is_some() && password.is_none() {
                refuse("password", "password_wanted", "give the password of this user, or leave the user empty");
            }
            if user.is_some() && *tls == MailTls::Off {
                refuse("tls", "mail_tls", "a password is not sent in the clear; choose TLS or STARTTLS");
            }
            Way::Email { host, port: *port, tls: *tls, user, password, from: from.trim().to_owned(), to }
        }
    };
    if !wrong.is_empty() {
        wrong.dedup_by(|a, b| a.field == b.field);
        return Err(ActError::Invalid(wrong));
    }
    let mut kinds = given.kinds.clone();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(AlertTarget { id: id.to_owned(), name: name.to_owned(), kinds, way })
}
