//! What somebody is told: one change of an alarm, or a test.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// What happened to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// It has begun.
    Begun,
    /// It is over.
    Over,
    /// Nothing: somebody wants to see whether alerts arrive.
    Test,
}

/// The JSON body of a webhook, and what a letter is written from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Stays the same however often it is sent.
    pub(crate) id: String,
    /// Begun, over, or a test.
    pub(crate) state: Change,
    /// Which kind of alarm; `test` for a test.
    pub(crate) kind: String,
    /// The destination, where it is about one.
    pub(crate) destination: Option<String>,
    /// The sentence.
    pub(crate) what: String,
    /// Since when, RFC 3339.
    pub(crate) since: String,
    /// When this was noticed, RFC 3339.
    pub(crate) at: String,
    /// Which installation.
    pub(crate) installation: String,
    /// The node that noticed.
    pub(crate) node: String,
}

impl Event {
    /// A letter's subject: one line, whatever is in a name.
    pub(super) fn subject(&self) -> String {
        let about = self.destination.as_deref().unwrap_or("installation");
        let state = match self.state {
            Change::Begun => "Alarm",
            Change::Over => "Over",
            Change::Test => "Test",
        };
        let line = format!("[Tidegate] {state}: {} ({about})", self.kind.replace('_', " "));
        line.chars().filter(|c| !c.is_control()).take(150).collect()
    }

    /// A letter's text.
    pub(super) fn letter(&self) -> String {
        let state = match self.state {
            Change::Begun => "This needs attention.",
            Change::Over => "This is over.",
            Change::Test => "This is a test: alerts arrive here.",
        };
        format!(
            "{state}\n\n{}\n\nSince: {}\nNoticed: {} by node {}\nInstallation: {}\n",
            self.what, self.since, self.at, self.node, self.installation
        )
    }
}

/// A moment as RFC 3339.
pub(super) fn instant(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}
