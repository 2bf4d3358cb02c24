//! What is set for all nodes at once: how long records are kept, and the marks of Redis's memory. The nodes follow without a
//! restart; what is not set is as each node's own settings say.

use std::time::Duration;

use super::{ActError, FieldError, Role, Who};
use crate::{
    broadcast::parts::KEPT_DAYS,
    config::Retention,
    redis::Redis,
    registry::{Edit, Registry, Store},
    resources::{Document, Kept, MemoryMarks, Overrides},
};

/// Longest time that records are kept for.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Longest time that broadcasts are kept for, in days.
const MOST_DAYS: u32 = 3_650;

/// Longest wait for what is only read.
const WITHIN: Duration = Duration::from_millis(1_800);

/// What was given, as it was typed: empty is "as each node's own settings say".
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Given {
    /// As the setting `retention` has it: `24h`, `1000000`, or both with a comma; `forever` for as long as there is room.
    #[serde(default)]
    pub retention: String,
    /// In percent.
    #[serde(default)]
    pub memory_soft: String,
    /// In percent.
    #[serde(default)]
    pub memory_hard: String,
    /// For how many days broadcasts and their receipts are kept; empty is 90.
    #[serde(default)]
    pub broadcasts_days: String,
}

/// The registry in this Redis, its changes signed.
pub(super) fn registry(redis: &Redis, who: &Who) -> Registry<Redis> {
    Registry::new(Store::of(redis), redis.clone(), who.to_string())
}

/// The registry as it stands in Redis now, within the time that a page may take.
pub(super) async fn document(redis: &Redis, who: &Who) -> Result<Document, ActError> {
    match tokio::time::timeout(WITHIN, registry(redis, who).document()).await {
        Ok(document) => Ok(document?),
        Err(_) => Err(ActError::Unavailable("Redis did not answer in time".into())),
    }
}

/// What is set for all nodes, as Redis has it now.
///
/// # Errors
/// They may not, or Redis is away.
pub async fn view(redis: &Redis, who: &Who) -> Result<Overrides, ActError> {
    who.needs(Role::Admin)?;
    Ok(document(redis, who).await?.settings)
}

/// Sets retention and memory marks for all nodes, and how long broadcasts are kept; those that are older go within a minute.
///
/// # Errors
/// They may not, or something that was given is wrong.
pub async fn set(redis: &Redis, who: &Who, given: &Given) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    let Read { retention, memory, broadcasts_days } = read(given)?;
    change(redis, who, |document| {
        let settings = &mut document.settings;
        let mut what = Vec::new();
        let or_own = |text: Option<String>| text.unwrap_or_else(|| "by each node's settings".into());
        if settings.retention != retention {
            let (old, new) = (settings.retention.map(in_words), retention.map(in_words));
            what.push(format!("retention of all nodes: {} → {}", or_own(old), or_own(new)));
            settings.retention = retention;
        }
        if settings.memory != memory {
            let words = |marks: MemoryMarks| format!("{} % and {} %", marks.soft_percent, marks.hard_percent);
            let (old, new) = (settings.memory.map(words), memory.map(words));
            what.push(format!("memory marks of all nodes: {} → {}", or_own(old), or_own(new)));
            settings.memory = memory;
        }
        if settings.broadcasts_kept_days != broadcasts_days {
            let days = |days: Option<u32>| days.unwrap_or(KEPT_DAYS);
            let (old, new) = (days(settings.broadcasts_kept_days), days(broadcasts_days));
            what.push(format!("broadcasts are kept for {old} → {new} days"));
            settings.broadcasts_kept_days = broadcasts_days;
        }
        Ok((what, ()))
    })
    .await
}

/// What was typed, understood.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    retention: Option<Kept>,
    memory: Option<MemoryMarks>,
    broadcasts_days: Option<u32>,
}

/// Changes the document, if there is an installation at all.
pub(super) async fn change<T>(
    redis: &Redis,
    who: &Who,
    mut edit: impl FnMut(&mut Document) -> Result<(Vec<String>, T), ActError>,
) -> Result<T, ActError> {
    let mut registry = registry(redis, who);
    // Redis may just have been emptied: what is being restored is waited for.
    registry.settled().await?;
    let changed = registry.change(|current| {
        let mut document = current.clone();
        let (what, value) = edit(&mut document)?;
        Ok::<_, ActError>(Edit { document, what, value })
    });
    Ok(changed.await?)
}

fn read(given: &Given) -> Result<Read, ActError> {
    let mut wrong = Vec::new();
    let mut refuse = |field: &str, code: &'static str, message: String| {
        wrong.push(FieldError { field: field.to_owned(), code, message });
    };
    let retention = match given.retention.trim() {
        "" => None,
        "forever" => Some(Kept::default()),
        text => match text.parse::<Retention>() {
            Ok(Retention { age, .. }) if age.is_some_and(|age| age > LONGEST) => {
                refuse("retention", "retention_long", "this is more than ten years; give less, or `forever`".into());
                None
            }
            Ok(Retention { age, messages }) => Some(Kept { age_s: age.map(|age| age.as_secs()), messages }),
            Err(why) => {
                refuse("retention", "retention", format!("this {why}; or `forever`"));
                None
            }
        },
    };
    let mut percent = |field: &str, text: &str| {
        let text = text.trim().trim_end_matches('%').trim_end();
        if text.is_empty() {
            return None;
        }
        match text.parse::<u8>() {
            Ok(percent) if (1..=100).contains(&percent) => Some(percent),
            _ => {
                refuse(field, "percent", "this is not a share; give a whole number of percent from 1 to 100".into());
                Some(0)
            }
        }
    };
    let (soft, hard) = (percent("memory_soft", &given.memory_soft), percent("memory_hard", &given.memory_hard));
    let memory = match (soft, hard) {
        (None, None) | (Some(0), _) | (_, Some(0)) => None,
        (Some(soft_percent), Some(hard_percent)) if soft_percent < hard_percent => {
            Some(MemoryMarks { soft_percent, hard_percent })
        }
        (Some(_), Some(_)) => {
            refuse("memory_soft", "soft_above_hard", "the first mark must be below the second".into());
            None
        }
        (soft, _) => {
            let missing = if soft.is_none() { "memory_soft" } else { "memory_hard" };
            refuse(missing, "marks_both", "give both marks, or neither".into());
            None
        }
    };
    let broadcasts_days = match given.broadcasts_days.trim() {
        "" => None,
        text => match text.parse::<u32>() {
            Ok(days) if (1..=MOST_DAYS).contains(&days) => Some(days),
            _ => {
                refuse("broadcasts_days", "days", format!("give a whole number of days from 1 to {MOST_DAYS}"));
                None
            }
        },
    };
    if wrong.is_empty() { Ok(Read { retention, memory, broadcasts_days }) } else { Err(ActError::Invalid(wrong)) }
}

/// As it is typed.
#[must_use]
pub fn in_words(kept: Kept) -> String {
    let age = kept.age_s.map(|age| humantime::format_duration(Duration::from_secs(age)).to_string());
    let parts: Vec<String> = age.into_iter().chain(kept.messages.map(|messages| messages.to_string())).collect();
    if parts.is_empty() { "forever".into() } else { parts.join(",") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn given(retention: &str, soft: &str, hard: &str) -> Given {
        Given { retention: retention.into(), memory_soft: soft.into(), memory_hard: hard.into(), ..Given::default() }
    }

    #[test]
    fn what_is_typed_is_read_and_shown_alike() {
        assert_eq!(read(&given("", "", "")).unwrap(), Read::default());
        let kept = |age_s, messages| Some(Kept { age_s, messages });
        for (text, wanted) in [
            ("24h", kept(Some(86_400), None)),
            ("2days, 1000", kept(Some(172_800), Some(1000))),
            ("1000", kept(None, Some(1000))),
            ("forever", kept(None, None)),
        ] {
            let retention = read(&given(text, "", "")).unwrap().retention;
            assert_eq!(retention, wanted, "{text}");
            assert_eq!(read(&given(&in_words(retention.unwrap()), "", "")).unwrap().retention, wanted, "{text}");
        }
        let memory = read(&given("", "70", "85 %")).unwrap().memory;
        assert_eq!(memory, Some(MemoryMarks { soft_percent: 70, hard_percent: 85 }));
    }

    #[test]
    fn what_is_wrong_is_told_by_field() {
        let codes = |given: Given| match read(&given) {
            Err(ActError::Invalid(fields)) => fields.into_iter().map(|field| (field.field, field.code)).collect(),
            _ => Vec::new(),
        };
        let one = |field: &str, code: &'static str| vec![(field.to_owned(), code)];
        assert_eq!(codes(given("soon", "", "")), one("retention", "retention"));
        assert_eq!(codes(given("90000days", "", "")), one("retention", "retention_long"));
        assert_eq!(codes(given("", "90", "80")), one("memory_soft", "soft_above_hard"));
        assert_eq!(codes(given("", "90", "")), one("memory_hard", "marks_both"));
        assert_eq!(codes(given("", "0", "101")).len(), 2);
        for days in ["0", "3651", "a week"] {
            assert_eq!(
                codes(Given { broadcasts_days: days.into(), ..Given::default() }),
                one("broadcasts_days", "days")
            );
        }
    }
}
