//! The connection check of a destination that is to be: step by step, and never to where it must not lead.
//!
//! What a check found good is remembered for a while in Redis, under a token, so that any node can save exactly that and
//! nothing else. How often somebody may check is bounded, so that it is no scanner.

use tidegate_actors::{delivery::random_token, ports::LogError};

use super::draft::{Draft, Sound};
use crate::{
    admin::{ActError, Admin, Role, Who, fields::wrong},
    databases::{self, CheckStep},
    redis::checks,
    resources::{Delivery, Document},
    tables::look,
};

/// Checks that one user may ask for in a minute, on all nodes together.
const MOST_A_MINUTE: u64 = 20;

/// What a check came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Checked {
    /// The steps, in their order.
    pub steps: Vec<CheckStep>,
    /// Names it when it is saved; `None` where a step failed that must not.
    pub token: Option<String>,
}

/// Checks a draft; `of` is the destination that it changes. Each step is told as it is done.
///
/// # Errors
/// They may not, a field is wrong, or they ask too often.
pub async fn check(
    admin: &Admin,
    who: &Who,
    draft: &Draft,
    of: Option<&str>,
    mut tell: impl FnMut(&CheckStep),
) -> Result<Checked, ActError> {
    who.needs(Role::Operator)?;
    let document = admin.newest().await?;
    let sound = draft.sound(admin, &document, of)?;
    let asked = admin.ask(checks::count(&admin.redis, &who.name)).await?;
    if asked > MOST_A_MINUTE {
        let message = format!("at most {MOST_A_MINUTE} checks a minute; wait a while");
        return Err(ActError::Conflict(message));
    }
    run(admin, &document, &sound, &mut tell).await
}

/// The steps. Those of tables say how it is and forbid nothing.
pub(super) async fn run(
    admin: &Admin,
    document: &Document,
    sound: &Sound,
    tell: &mut dyn FnMut(&CheckStep),
) -> Result<Checked, ActError> {
    let mut steps: Vec<CheckStep> = Vec::new();
    let elsewhere = sound.wanted.node.as_deref().filter(|node| **node != *admin.node);
    if let Some(node) = elsewhere {
        let message = format!("this file is node `{node}`'s, and can be checked only there");
        return Err(ActError::Invalid(vec![wrong("node", "another_node", message)]));
    }
    {
        let mut add = |step: CheckStep| {
            tell(&step);
            steps.push(step);
        };
        let rule = admin.settings.local_destinations();
        databases::check::check_each(sound.kind, &sound.connection, rule, &mut add).await;
    }
    // A parallel destination needs no tables of ours.
    if sound.wanted.delivery == Delivery::Parallel
        && let Some(step) = steps.iter_mut().find(|step| step.step == "rights" && step.outcome.is_err())
        && (sound.kind.open)(sound.connection.clone()).probe().await.is_ok()
    {
        step.outcome = Ok("takes writes".into());
        tell(step);
    }
    let good = steps.iter().all(|step| step.outcome.is_ok());
    if good {
        let mut database = (sound.kind.open)(sound.connection.clone());
        let mut tables: Vec<&str> = document
            .routes
            .iter()
            .filter(|route| route.destination == sound.wanted.name)
            .map(|route| route.table.as_str())
            .collect();
        tables.sort_unstable();
        tables.dedup();
        for name in tables {
            let outcome = match look::table(&mut *database, name).await {
                Ok(table) => Ok(format!("{} columns", table.columns.len())),
                Err(unseen) => Err(unseen.to_string()),
            };
            let step = CheckStep { step: "table", subject: name.to_owned(), outcome };
            tell(&step);
            steps.push(step);
        }
    }
    if !good {
        return Ok(Checked { steps, token: None });
    }
    let token = random_token(24);
    let digest = sound.digest(&token);
    admin.ask(checks::keep(&admin.redis, &token, &digest)).await?;
    Ok(Checked { steps, token: Some(token) })
}

/// Whether this very draft was checked and found good.
pub(super) async fn was_good(admin: &Admin, sound: &Sound, token: &str) -> Result<bool, ActError> {
    let is_token = token.len() == 24 && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let kept = async { if is_token { checks::kept(&admin.redis, token).await } else { Ok::<_, LogError>(None) } };
    Ok(admin.ask(kept).await?.is_some_and(|kept| kept == sound.digest(token)))
}
