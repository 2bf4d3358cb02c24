//! Applications: who may send, with which keys, which topics, and how much.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use tidegate_actors::delivery::now_ms;

use super::{
    ActError, Admin, FieldError, Role, Who,
    fields::{name_complaint, wrong},
};
pub use crate::resources::MOST_RECORDS_PER_S;
use crate::{
    redis::{status, used},
    registry::{
        Edit,
        keys::{self, KeyError, Which},
    },
    resources::{ApiKey, Application, Document},
};

/// Most applications: every node holds them all.
const MOST: usize = 10_000;
/// Most topics that are listed for one application.
const MOST_TOPICS: usize = 1_000;
/// A key's rotation leaves this many active ones.
const IN_ROTATION: usize = 2;

impl From<KeyError> for ActError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownApplication { .. } | KeyError::UnknownKey { .. } => Self::Unknown(error.to_string()),
            KeyError::TooMany(_) | KeyError::Ambiguous { .. } => Self::Conflict(error.to_string()),
        }
    }
}

/// Whether a key opens the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

impl KeyState {
    /// The word in lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A key as lists show it: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// The part of it that names it.
    pub id: String,
    /// Whether it opens the door.
    pub state: KeyState,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it stops working.
    pub expires_at_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_at_ms: Option<u64>,
    /// When it was last used, to a minute; `None` where it never was, or Redis is away.
    pub last_used_at_ms: Option<u64>,
}

/// An application as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ApplicationView {
    /// Its name.
    pub name: String,
    /// Topics that are listed for it.
    pub topics: Vec<String>,
    /// Topics that exist by having a route only.
    pub routed_topics: Vec<String>,
    /// How many routes lead from it.
    pub routes: usize,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Most records a second that each node takes.
    pub records_per_s: Option<u32>,
    /// Whether its keys may send broadcasts.
    pub broadcasts: bool,
    /// Its keys, the newest first.
    pub keys: Vec<KeyView>,
    /// When its last record came; `None` before the first, or while Redis is away.
    pub last_record_ms: Option<u64>,
    /// Records a second over the last minute; `None` while Redis is away.
    pub rate_per_s: Option<f64>,
}

impl ApplicationView {
    /// How many of its keys open the door.
    #[must_use]
    pub fn active_keys(&self) -> usize {
        self.keys.iter().filter(|key| key.state == KeyState::Active).count()
    }
}

/// All applications, by name. What only Redis knows is left out where it does not answer; the second says so.
///
/// # Errors
/// They may not.
pub async fn list(admin: &Admin, who: &Who) -> Result<(Vec<ApplicationView>, Option<ActError>), ActError> {
    who.needs(Role::Viewer)?;
    let (document, away) = admin.newest_or_known().await;
    let names: Vec<&str> = document.applications.iter().map(|application| application.name.as_str()).collect();
    let looked = async { Ok((used::last(&admin.redis).await?, status::arrivals(&admin.redis, &names).await?)) };
    let (seen, away) = match if away.is_none() { admin.ask(looked).await.map(Some) } else { Ok(None) } {
        Ok(seen) => (seen, away),
        Err(error) => (None, Some(error)),
    };
    let (used, arrivals) = seen.unwrap_or_default();
    let mut views: Vec<ApplicationView> =
        document.applications.iter().map(|application| view(&document, application, &used)).collect();
    for (view, arrival) in views.iter_mut().zip(arrivals) {
        (view.last_record_ms, view.rate_per_s) = (arrival.last_ms, Some(arrival.per_s));
    }
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((views, away))
}

/// One application.
///
/// # Errors
/// They may not, or there is none of this name.
pub async fn show(admin: &Admin, who: &Who, name: &str) -> Result<(ApplicationView, Option<ActError>), ActError> {
    let (views, away) = list(admin, who).await?;
    let found = views.into_iter().find(|view| view.name == name);
    let found = found.ok_or_else(|| ActError::Unknown(format!("there is no application `{name}`")))?;
    Ok((found, away))
}

fn view(
    document: &Document,
    application: &Application,
    used: &std::collections::HashMap<String, u64>,
) -> ApplicationView {
    let routes = document.routes.iter().filter(|route| route.application == application.name);
    let mut routed_topics: Vec<String> =
        routes.clone().map(|route| route.topic.clone()).filter(|topic| !application.topics.contains(topic)).collect();
    routed_topics.sort();
    routed_topics.dedup();
    let now = now_ms();
    let key = |key: &ApiKey| KeyView {
        id: key.id.clone(),
        state: match key {
            ApiKey { revoked_at_ms: Some(_), .. } => KeyState::Revoked,
            key if keys::is_active(key, now) => KeyState::Active,
            _ => KeyState::Expired,
        },
        created_at_ms: key.created_at_ms,
        expires_at_ms: key.expires_at_ms,
        revoked_at_ms: key.revoked_at_ms,
        last_used_at_ms: used.get(&key.id).copied(),
    };
    ApplicationView {
        name: application.name.clone(),
        topics: application.topics.clone(),
        routed_topics,
        routes: routes.count(),
        created_at_ms: application.created_at_ms,
        records_per_s: application.records_per_s,
        broadcasts: application.broadcasts,
        keys: application.keys.iter().rev().map(key).collect(),
        last_record_ms: None,
        rate_per_s: None,
    }
}

/// Creates an application.
///
/// # Errors
/// They may not, the name is taken, or something that was given is wrong.
pub async fn create(
    admin: &Admin,
    who: &Who,
    name: &str,
    topics: &[String],
    records_per_s: Option<u32>,
) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let mut complaints: Vec<FieldError> = name_complaint("name", name).into_iter().collect();
    if name == "registry" {
        complaints.push(wrong("name", "reserved", "`registry` is taken by Tidegate itself; give another name"));
    }
    complaints.extend(topics_complaint(topics));
    complaints.extend(limit_complaint(records_per_s));
    refuse(complaints)?;
    admin
        .registry(who)?
        .change(|current| {
            if current.applications.iter().any(|known| known.name == name) {
                let message = format!("there is an application `{name}` already; give another name");
                return Err(ActError::Invalid(vec![wrong("name", "taken", message)]));
            }
            if current.applications.len() >= MOST {
                return Err(ActError::Conflict(format!("there are {MOST} applications already; remove some")));
            }
            let mut document = current.clone();
            document.applications.push(Application {
                name: name.to_owned(),
                topics: topics.to_vec(),
                schemas: Default::default(),
                records_per_s,
                broadcasts: false,
                created_at_ms: now_ms(),
                keys: Vec::new(),
            });
            Ok(Edit { document, what: vec![format!("create application `{name}`")], value: () })
        })
        .await?;
    Ok(())
}

/// Replaces the topics that are listed for an application. One that a route takes exists all the same.
///
/// # Errors
/// They may not, there is no such application, or a topic is no name.
pub async fn set_topics(admin: &Admin, who: &Who, name: &str, topics: &[String]) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    refuse(topics_complaint(topics))?;
    edit(admin, who, name, |application| {
        let before = std::mem::replace(&mut application.topics, topics.to_vec());
        if before == topics {
            return Vec::new();
        }
        // A schema without its topic would come back with it unnoticed.
        application.schemas.retain(|topic, _| topics.contains(topic));
        vec![format!(
            "topics of application `{name}`: {}",
            if topics.is_empty() { "none".into() } else { topics.join(", ") }
        )]
    })
    .await
}

/// Sets how many records a second each node takes of an application; `None`: as many as there are.
///
/// # Errors
/// They may not, there is no such application, or the number is out of range.
pub async fn set_limit(admin: &Admin, who: &Who, name: &str, records_per_s: Option<u32>) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    refuse(limit_complaint(records_per_s).into_iter().collect())?;
    edit(admin, who, name, |application| {
        if std::mem::replace(&mut application.records_per_s, records_per_s) == records_per_s {
            return Vec::new();
        }
        vec![match records_per_s {
            Some(limit) => format!("limit of application `{name}`: {limit} records a second and node"),
            None => format!("no limit for application `{name}`"),
        }]
    })
    .await
}

/// Lets an application send broadcasts, or no more.
///
/// # Errors
/// They may not, or there is no such application.
pub async fn set_broadcasts(admin: &Admin, who: &Who, name: &str, may: bool) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    edit(admin, who, name, |application| {
        if std::mem::replace(&mut application.broadcasts, may) == may {
            return Vec::new();
        }
        vec![format!("application `{name}` may {} broadcasts", if may { "send" } else { "no longer send" })]
    })
    .await
}

/// Creates a key, which is told here and never again.
///
/// # Errors
/// They may not, there is no such application, or it has too many keys.
pub async fn create_key(
    admin: &Admin,
    who: &Who,
    name: &str,
    expires_at_ms: Option<u64>,
) -> Result<(SecretString, ApiKey), ActError> {
    who.needs(Role::Operator)?;
    let now = now_ms();
    refuse(expiry_complaint(expires_at_ms, now).into_iter().collect())?;
    let made = admin
        .registry(who)?
        .change(|current| {
            let mut document = current.clone();
            let (text, key) = keys::create(&mut document, name, expires_at_ms, now)?;
            let what = vec![format!("create API key {} of application `{name}`", key.id)];
            Ok::<_, ActError>(Edit { document, what, value: (text, key) })
        })
        .await?;
    Ok(made)
}

/// Creates a key that takes the place of the active one: both work, until the old one is revoked or, where a time is given,
/// runs out.
///
/// # Errors
/// They may not, there is no such application, or two keys are active already.
pub async fn rotate_key(
    admin: &Admin,
    who: &Who,
    name: &str,
    old_ends_in: Option<Duration>,
) -> Result<(SecretString, ApiKey), ActError> {
    who.needs(Role::Operator)?;
    let now = now_ms();
    let ends = old_ends_in.map(|time| now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
    let made = admin
        .registry(who)?
        .change(|current| {
            let mut document = current.clone();
            let application = keys::application(current, name)?;
            let active: Vec<&str> =
                application.keys.iter().filter(|key| keys::is_active(key, now)).map(|key| key.id.as_str()).collect();
            if active.len() >= IN_ROTATION {
                let message = format!(
                    "application `{name}` has {} active keys ({}); revoke those that are no longer used first",
                    active.len(),
                    active.join(", ")
                );
                return Err(ActError::Conflict(message));
            }
            let (text, key) = keys::create(&mut document, name, None, now)?;
            let mut what = vec![format!("create API key {} of application `{name}`", key.id)];
            if let Some(ends) = ends {
                let all = document.applications.iter_mut().filter(|known| known.name == name);
                let old = all.flat_map(|known| &mut known.keys).filter(|old| active.contains(&old.id.as_str()));
                for old in old {
                    old.expires_at_ms = Some(old.expires_at_ms.map_or(ends, |before| before.min(ends)));
                    what.push(format!("API key {} of application `{name}` ends", old.id));
                }
            }
            Ok(Edit { document, what, value: (text, key) })
        })
        .await?;
    Ok(made)
}

/// Revokes keys; nodes refuse them within a second. Answers with their ids.
///
/// # Errors
/// They may not, there is no such application or key, or it is not clear which.
pub async fn revoke_key(admin: &Admin, who: &Who, name: &str, which: &Which) -> Result<Vec<String>, ActError> {
    who.needs(Role::Operator)?;
    let now = now_ms();
    let revoked = admin
        .registry(who)?
        .change(|current| {
            let mut document = current.clone();
            let ids = keys::revoke(&mut document, name, which, now)?;
            let what = ids.iter().map(|id| format!("revoke API key {id} of application `{name}`")).collect();
            Ok::<_, ActError>(Edit { document, what, value: ids })
        })
        .await?;
    Ok(revoked)
}

/// Changes one application.
async fn edit(
    admin: &Admin,
    who: &Who,
    name: &str,
    change: impl Fn(&mut Application) -> Vec<String>,
) -> Result<(), ActError> {
    admin
        .registry(who)?
        .change(|current| {
            keys::application(current, name)?;
            let mut document = current.clone();
            let found = document.applications.iter_mut().filter(|known| known.name == name);
            let what = found.flat_map(&change).collect();
            Ok::<_, ActError>(Edit { document, what, value: () })
        })
        .await?;
    Ok(())
}

fn refuse(complaints: Vec<FieldError>) -> Result<(), ActError> {
    if complaints.is_empty() { Ok(()) } else { Err(ActError::Invalid(complaints)) }
}

fn topics_complaint(topics: &[String]) -> Vec<FieldError> {
    if topics.len() > MOST_TOPICS {
        return vec![wrong("topics", "too_many", format!("at most {MOST_TOPICS} topics can be listed"))];
    }
    let twice = |at: usize| topics[..at].contains(&topics[at]);
    let complaint = |(at, topic): (usize, &String)| match name_complaint("topics", topic) {
        Some(error) => Some(wrong("topics", error.code, format!("`{topic}`: {}", error.message))),
        None if twice(at) => Some(wrong("topics", "twice", format!("topic `{topic}` is listed twice"))),
        None => None,
    };
    topics.iter().enumerate().filter_map(complaint).collect()
}

fn limit_complaint(records_per_s: Option<u32>) -> Option<FieldError> {
    let wanted = format!("give a number of records a second from 1 to {MOST_RECORDS_PER_S}, or nothing for no limit");
    let in_range = records_per_s.is_none_or(|limit| (1..=MOST_RECORDS_PER_S).contains(&limit));
    (!in_range).then(|| wrong("records_per_s", "out_of_range", wanted))
}

fn expiry_complaint(expires_at_ms: Option<u64>, now_ms: u64) -> Option<FieldError> {
    let past = expires_at_ms.is_some_and(|at| at <= now_ms);
    past.then(|| wrong("expires_at", "in_the_past", "this time is over already; give a later one"))
}
