//! A connection check that goes on by itself and is followed step by step, from whatever node: what it has found so far stands in
//! Redis for a while, under an id that only whoever began it knows.

use std::{cell::RefCell, rc::Rc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_actors::delivery::random_token;

use super::{Draft, check};
use crate::{
    admin::{ActError, Admin, Role, Who},
    databases::CheckStep,
    redis::checks,
};

/// How often what was found is written down.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// A step of a check, as whoever follows it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// As in [`CheckStep::step`].
    pub step: String,
    /// What was looked at.
    pub subject: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, or what is wrong and what to do.
    pub detail: String,
}

impl From<&CheckStep> for Step {
    fn from(step: &CheckStep) -> Self {
        let (ok, detail) = match &step.outcome {
            Ok(found) => (true, found.clone()),
            Err(why) => (false, why.clone()),
        };
        Self { step: step.step.to_owned(), subject: step.subject.clone(), ok, detail }
    }
}

/// How far a check is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The steps that are done, in their order.
    pub steps: Vec<Step>,
    /// Whether it has ended.
    pub done: bool,
    /// Names it when it is saved, once it has ended well.
    pub token: Option<String>,
    /// Why it could not be carried out.
    pub failure: Option<String>,
}

/// Begins a check of a draft (`of`: the destination that it changes) that goes on after this; the answer is its id.
///
/// # Errors
/// They may not, or Redis is away. All else is told to whoever follows it.
pub async fn begin(admin: &Admin, who: &Who, draft: Draft, of: Option<String>) -> Result<String, ActError> {
    who.needs(Role::Operator)?;
    let id = random_token(24);
    // Before anybody asks: a check that nobody has heard of is one that is over.
    tell(admin, &id, &Progress::default()).await?;
    let (admin, who, told) = (admin.clone(), who.clone(), id.clone());
    actix_rt::spawn(async move {
        let steps = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&steps);
        let check = check(&admin, &who, &draft, of.as_deref(), |step| seen.borrow_mut().push(Step::from(step)));
        tokio::pin!(check);
        loop {
            let so_far = Progress { steps: steps.borrow().clone(), ..Progress::default() };
            let progress = tokio::select! {
                ended = &mut check => match ended {
                    Ok(checked) => Progress {
                        steps: checked.steps.iter().map(Step::from).collect(),
                        done: true,
                        token: checked.token,
                        failure: None,
                    },
                    Err(error) => {
                        Progress { steps: so_far.steps, done: true, failure: Some(error.to_string()), token: None }
                    }
                },
                () = tokio::time::sleep(TELL_EVERY) => so_far,
            };
            let done = progress.done;
            // Whoever follows it is told by their own question that Redis is away.
            let _ = tell(&admin, &told, &progress).await;
            if done {
                return;
            }
        }
    });
    Ok(id)
}

async fn tell(admin: &Admin, id: &str, progress: &Progress) -> Result<(), ActError> {
    let text = serde_json::to_string(progress).unwrap_or_default();
    admin.ask(checks::keep(&admin.redis, id, &text)).await
}

/// How far a check is.
///
/// # Errors
/// They may not, there is none of this id (any more), or Redis is away.
pub async fn follow(admin: &Admin, who: &Who, id: &str) -> Result<Progress, ActError> {
    who.needs(Role::Operator)?;
    let is_id = id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let kept = if is_id { admin.ask(checks::kept(&admin.redis, id)).await? } else { None };
    let progress = kept.and_then(|text| serde_json::from_str(&text).ok());
    progress.ok_or_else(|| ActError::Unknown("this check is over; check again".into()))
}
