//! Where a held destination goes on, after a gap or in another database: looked at first, then decided, and noted with who did
//! it. The place is fixed when it is looked at; the node that writes the destination goes there when it takes over.

use serde::{Deserialize, Serialize};
use tidegate_actors::{
    message::{MessageId, Position},
    ports::Command,
};

use super::{chosen, find};
use crate::{
    admin::{ActError, Admin, Role, Who},
    redis::{
        dead,
        resume::{self, Resolved},
    },
};

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GoOnFrom {
    /// Where Redis last knew the destination to be.
    Last,
    /// The oldest entry that is retained.
    Earliest,
    /// After the newest entry.
    Now,
}

/// What a decision would be on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The application.
    pub application: String,
    /// After this message it goes on: generation and stream id.
    pub after: String,
    /// Records that are retained above it, which will be sent.
    pub sent: u64,
    /// Those above where Redis last knew the destination to be; `None` where Redis does not know that.
    pub waiting: Option<u64>,
    #[serde(skip)]
    destination_id: String,
    #[serde(skip)]
    place: Position,
}

impl Decision {
    fn command(&self) -> Command {
        Command::Resume { to: self.place.clone() }
    }
}

/// What going on there would be, stream by stream.
///
/// # Errors
/// They may not, there is no such destination, nothing leads there, Redis knows no place, or is away.
pub async fn look(
    admin: &Admin,
    who: &Who,
    name: &str,
    only: Option<&str>,
    from: GoOnFrom,
) -> Result<Vec<Decision>, ActError> {
    who.needs(Role::Operator)?;
    let document = admin.newest().await?;
    let id = &find(&document, name)?.id;
    let streams = chosen(&document, name, only)?;
    let from = match from {
        GoOnFrom::Last => resume::From::Last,
        GoOnFrom::Earliest => resume::From::Earliest,
        GoOnFrom::Now => resume::From::Now,
    };
    let mut found = Vec::with_capacity(streams.len());
    for application in streams {
        let Some(Resolved { to, sent, waiting, .. }) =
            admin.ask(resume::resolve(&admin.redis, &application, id, from)).await?
        else {
            return Err(ActError::Conflict(format!(
                "Redis knows no position of `{name}` on the stream of `{application}` (was it emptied?); choose \
                 `earliest` or `now`; nothing was changed"
            )));
        };
        let after = MessageId(to.clone()).to_string();
        found.push(Decision { application, after, sent, waiting, destination_id: id.clone(), place: to });
    }
    Ok(found)
}

/// Decides what [`look`] has shown. A destination that is not held for such a decision stays as it is.
///
/// # Errors
/// They may not, or Redis is away: then some streams may be decided, and once more does no harm.
pub async fn decide(admin: &Admin, who: &Who, name: &str, seen: &[Decision]) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    for decision in seen {
        let Decision { application, after, sent, destination_id, .. } = decision;
        // Noted first: what is done must not be without its entry.
        let what = format!(
            "destination `{name}`, if it is held, goes on after {after} on the stream of `{application}`: {sent} records are sent"
        );
        admin.note(who, &[what]).await?;
        admin.ask(dead::push(&admin.redis, application, destination_id, &decision.command())).await?;
    }
    Ok(())
}

/// How many of these no node has taken up yet.
///
/// # Errors
/// Redis is away.
pub async fn left(admin: &Admin, seen: &[Decision]) -> Result<usize, ActError> {
    let mut left = 0;
    for decision in seen {
        let Decision { application, destination_id, .. } = decision;
        let waiting = admin.ask(dead::waiting(&admin.redis, application, destination_id)).await?;
        left += usize::from(waiting.contains(&decision.command()));
    }
    Ok(left)
}
