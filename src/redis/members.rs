//! Which nodes live, by Redis's clock, and how the actors of each are. Every node beats here; [`crate::cluster`] makes of it
//! who writes what, and `status` and `/health/actors?scope=cluster` show it.
//!
//! A node that is not heard of for the time of a lease is no member any more. All of it works in a full Redis.

use std::time::Duration;

use tidegate_actors::{placement::Member, ports::LogError};

use super::{Keys, Link, odd, scripts, unavailable};
use crate::http::health::NodeHealth;

/// A member and its word on its actors.
#[derive(Clone, Debug)]
pub struct Report {
    /// The member.
    pub member: Member,
    /// Its actors; `None` where it has only just come.
    pub health: Option<NodeHealth>,
}

/// Says that `member` lives, for `ttl` from now, and how its actors are where that is to be told again. Answers with all
/// members that live, itself included.
///
/// # Errors
/// Redis is away.
pub async fn beat(
    link: &Link,
    keys: &Keys,
    member: &Member,
    ttl: Duration,
    report: Option<&NodeHealth>,
) -> Result<Vec<Member>, LogError> {
    let itself = serde_json::to_string(member).map_err(|_| odd("a member"))?;
    let report = report.map(serde_json::to_string).transpose().map_err(|_| odd("a report"))?.unwrap_or_default();
    let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let all: Vec<String> = link
        .run(async |mut connection| {
            let mut call = scripts::MEMBERS.key(keys.members());
            call.key(keys.seen()).key(keys.reports()).arg(&*member.instance).arg(ms).arg(&itself).arg(&report);
            call.invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    // One that a newer version wrote in words of its own is not counted, rather than everybody's work stopped.
    Ok(all.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
}

/// Says that a member is gone, so that nobody waits for it.
///
/// # Errors
/// Redis is away.
pub async fn leave(link: &Link, keys: &Keys, instance: &str) -> Result<(), LogError> {
    link.run(async |mut connection| {
        let mut call = scripts::LEAVE.key(keys.members());
        call.key(keys.seen()).key(keys.reports()).arg(instance).invoke_async(&mut connection).await
    })
    .await
    .map_err(|error| unavailable(&error))
}

/// Every member that lives, by name, with what it last said of its actors.
///
/// # Errors
/// Redis is away.
pub async fn reports(link: &Link, keys: &Keys) -> Result<Vec<Report>, LogError> {
    let all: Vec<(String, String)> = link
        .run(async |mut connection| {
            let mut call = scripts::REPORTS.key(keys.members());
            call.key(keys.seen()).key(keys.reports()).invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let report = |(member, health): (String, String)| {
        Some(Report { member: serde_json::from_str(&member).ok()?, health: serde_json::from_str(&health).ok() })
    };
    let mut reports: Vec<_> = all.into_iter().filter_map(report).collect();
    reports.sort_by(|a, b| (&a.member.node, &a.member.instance).cmp(&(&b.member.node, &b.member.instance)));
    Ok(reports)
}
