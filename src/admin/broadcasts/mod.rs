//! Broadcasts as people write and follow them: composing, the history, receipts, terminals, shops and categories. The console,
//! the producers' API and the commands call these.
//!
//! Every user may see what was sent. Broadcasters, operators and admins write; shops and categories are an operator's.

pub mod categories;
pub mod changes;
pub mod codes;
pub mod compose;
pub mod history;
pub mod receipts;
pub mod shops;
pub mod terminals;

use super::{ActError, Admin, Who};
use crate::broadcast::{
    message::Audience,
    store::{Broadcasts, CastError},
};

/// Whom a message is for, as the list of changes says it.
fn to_whom(audience: &Audience) -> String {
    if audience.all {
        return "all shops".into();
    }
    let (regions, shops) = (audience.regions.iter().map(|name| format!("region `{name}`")), &audience.shops);
    let mut parts: Vec<String> = regions.chain(shops.iter().map(|name| format!("shop `{name}`"))).collect();
    let more = parts.len().saturating_sub(MOST_NAMED);
    parts.truncate(MOST_NAMED);
    parts.extend((more > 0).then(|| format!("{more} more")));
    parts.join(", ")
}

/// Regions and shops that are named in the list of changes.
const MOST_NAMED: usize = 5;

impl From<CastError> for ActError {
    fn from(error: CastError) -> Self {
        match error {
            CastError::Unavailable(_) | CastError::Full => Self::Unavailable(error.to_string()),
            CastError::Unknown => Self::Unknown(error.to_string()),
            CastError::NameUsed(_) | CastError::Refused(_) => Self::Conflict(error.to_string()),
        }
    }
}

/// Puts what somebody did to a broadcast into the list of changes. It is done: that this could not be noted is no failure of it.
pub(super) async fn noted(admin: &Admin, who: &Who, what: String) {
    if let Err(error) = admin.note(who, &[what]).await {
        tracing::warn!(%error, "what was done to a broadcast is missing in the list of changes");
    }
}

/// At most `limit` (not 0) of these after `skip`; beyond the end, the last page.
fn page<T>(all: Vec<T>, skip: usize, limit: usize) -> Vec<T> {
    let last = all.len().saturating_sub(1) / limit * limit;
    all.into_iter().skip(skip.min(last)).take(limit).collect()
}

pub(crate) fn of(admin: &Admin) -> Broadcasts {
    Broadcasts::new(&admin.redis)
}
