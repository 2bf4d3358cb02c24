//! The list of changes, newest first: by whom, of what, between two moments, a page at a time.

use super::{ActError, Role, Who};
use crate::registry::{
    Store,
    store::{AuditEntry, MAX_CHANGES},
};

/// Most entries of a page.
pub const MOST: usize = 200;
/// Entries that are read from Redis at a time.
const CHUNK: usize = 500;

/// Which changes are wanted; what is `None` is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A part of the name of who did it, or of where from.
    pub who: Option<String>,
    /// A part of what was done, or of what changed by it.
    pub what: Option<String>,
    /// Not before this moment, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Before this moment, in milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
}

impl Filter {
    fn wants(&self, entry: &AuditEntry) -> bool {
        let holds = |text: &str, wanted: &str| text.to_lowercase().contains(wanted);
        let by = self.who.as_ref().is_none_or(|who| {
            let who = who.to_lowercase();
            holds(&entry.who, &who) || entry.from.as_ref().is_some_and(|from| holds(from, &who))
        });
        let of = self.what.as_ref().is_none_or(|what| {
            let what = what.to_lowercase();
            let changed = |text: &Option<String>| text.as_ref().is_some_and(|text| holds(text, &what));
            holds(&entry.what, &what)
                || entry.changed.iter().any(|one| {
                    holds(&one.of, &what) || holds(&one.field, &what) || changed(&one.before) || changed(&one.after)
                })
        });
        by && of
    }
}

/// Some of the changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// The id below which the next page begins; `None` where this is the last.
    pub next: Option<String>,
}

/// The changes below this id that the filter wants, newest first.
///
/// # Errors
/// They may not, the id is none, or Redis is away.
pub async fn changes(
    store: &mut Store,
    who: &Who,
    filter: &Filter,
    below: Option<&str>,
    most: usize,
) -> Result<Page, ActError> {
    who.needs(Role::Admin)?;
    let most = most.clamp(1, MOST);
    let mut newest = match (below, filter.until_ms) {
        (Some(id), _) if is_id(id) => format!("({id}"),
        (Some(_), _) => return Err(ActError::Unknown("there is no such place in the list of changes".into())),
        (None, Some(until)) => format!("({until}-0"),
        (None, None) => "+".to_owned(),
    };
    let oldest = filter.since_ms.map_or("-".to_owned(), |since| format!("{since}-0"));
    let mut entries = Vec::new();
    // Redis keeps somewhat more than it is told.
    for _ in 0..=2 * MAX_CHANGES / CHUNK {
        let chunk = store.changes_between(&newest, &oldest, CHUNK).await?;
        let last = chunk.len() < CHUNK;
        let Some(lowest) = chunk.last().map(|entry| entry.id.clone()) else { break };
        entries.extend(chunk.into_iter().filter(|entry| filter.wants(entry)));
        if entries.len() > most {
            entries.truncate(most);
            let next = entries.last().map(|entry: &AuditEntry| entry.id.clone());
            return Ok(Page { entries, next });
        }
        if last {
            break;
        }
        newest = format!("({lowest}");
    }
    Ok(Page { entries, next: None })
}

fn is_id(text: &str) -> bool {
    text.len() <= 41
        && text.split_once('-').is_some_and(|(ms, number)| {
            [ms, number].iter().all(|part| part.parse::<u64>().is_ok() && part.bytes().all(|b| b.is_ascii_digit()))
        })
}
