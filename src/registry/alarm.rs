//! What an operator must hear of beside the destinations' own troubles: since when, and what, in a sentence.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// How long something that is over is still shown.
const SHOWN_FOR_MS: u64 = 60 * 60 * 1000;

/// Something that is, or was a short while ago, out of order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// When it began, RFC 3339.
    pub since: String,
    /// The sentence, with the remedy where there is one.
    pub what: String,
    /// Whether it is over, and shown only so that somebody hears of it.
    #[serde(default)]
    pub over: bool,
}

impl Alarm {
    /// An alarm that began then, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(since_ms: u64, what: impl Into<String>) -> Self {
        let moment = i64::try_from(since_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
        Self { since: moment.to_rfc3339_opts(SecondsFormat::Secs, true), what: what.into(), over: false }
    }

    /// The alarm about something that is over, for as long as it is to be shown.
    #[must_use]
    pub fn past(since_ms: u64, now_ms: u64, what: impl Into<String>) -> Option<Self> {
        (now_ms.saturating_sub(since_ms) < SHOWN_FOR_MS).then(|| Self { over: true, ..Self::at(since_ms, what) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_shown_for_an_hour() {
        let since = 1_763_775_403_000;
        let shown = Alarm::past(since, since + SHOWN_FOR_MS - 1, "restored");
        assert_eq!(shown, Some(Alarm { since: "2025-11-22T01:36:43Z".into(), what: "restored".into(), over: true }));
        assert_eq!(Alarm::past(since, since + SHOWN_FOR_MS, "restored"), None);
        // A node's clock may be behind Redis's.
        assert!(Alarm::past(since, since - 5_000, "restored").is_some());
    }
}
