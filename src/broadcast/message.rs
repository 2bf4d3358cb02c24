//! A broadcast: what was written, for whom, and how it stands. As it is kept in Redis, as an entry of the log, and as a
//! terminal sees it.

use serde::{Deserialize, Serialize};

/// Longest title, in characters.
pub const MOST_TITLE: usize = 120;
/// Longest text, in characters.
pub const MOST_TEXT: usize = 4_000;
/// Largest image, in bytes.
pub const MOST_IMAGE: usize = 512 * 1024;
/// Longest time ahead that one is scheduled for: 90 days.
pub const LONGEST_AHEAD_MS: u64 = 90 * 86_400_000;

/// Whom a broadcast is for: everybody, or all that is in one of the regions or is one of the shops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AudienceForm", into = "AudienceForm")]
pub struct Audience {
    /// Every terminal.
    pub all: bool,
    /// Regions, by name.
    pub regions: Vec<String>,
    /// Shops, by name.
    pub shops: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AudienceForm {
    Word(String),
    Some(Chosen),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    #[serde(default)]
    regions: Vec<String>,
    #[serde(default)]
    shops: Vec<String>,
}

impl TryFrom<AudienceForm> for Audience {
    type Error = &'static str;

    fn try_from(form: AudienceForm) -> Result<Self, Self::Error> {
        match form {
            AudienceForm::Word(word) if word == "all" => Ok(Self::all()),
            AudienceForm::Word(_) => Err("an audience is \"all\" or {\"regions\": […], \"shops\": […]}"),
            AudienceForm::Some(Chosen { regions, shops }) => Ok(Self { all: false, regions, shops }),
        }
    }
}

impl From<Audience> for AudienceForm {
    fn from(audience: Audience) -> Self {
        let Audience { all, regions, shops } = audience;
        if all { Self::Word("all".into()) } else { Self::Some(Chosen { regions, shops }) }
    }
}

impl Audience {
    /// Everybody.
    #[must_use]
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.regions.is_empty() && self.shops.is_empty()
    }

    /// Whether a shop of this name, in this region, is meant.
    #[must_use]
    pub fn has(&self, shop: &str, region: &str) -> bool {
        self.all
            || self.shops.iter().any(|one| one == shop)
            || (!region.is_empty() && self.regions.iter().any(|one| one == region))
    }
}

/// What is shown of a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The category's name.
    pub category: String,
    /// One line.
    pub title: String,
    /// Plain text with line breaks.
    pub text: String,
    /// SHA-256 of its image, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// From when on it is of no more use, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_ms: Option<u64>,
    /// Whether a person at the terminal must confirm it.
    #[serde(default)]
    pub must_confirm: bool,
}

impl Content {
    /// Whether it is of no more use.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.valid_until_ms.is_some_and(|until| until <= now_ms)
    }
}

/// How a broadcast stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its time is yet to come.
    Scheduled,
    /// Terminals have it, or get it when they come on.
    Sent,
    /// It was taken back, before or after it was sent.
    Recalled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Scheduled, Self::Sent, Self::Recalled];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Sent => "sent",
            Self::Recalled => "recalled",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// How many terminals there are in an audience.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// That may see it.
    pub terminals: u64,
    /// Of these, on at the moment.
    pub on_now: u64,
}

/// What a broadcast said before it was corrected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// What it said.
    pub content: Content,
    /// Until when, in milliseconds since the Unix epoch.
    pub until_ms: u64,
    /// Who corrected it.
    pub by: String,
}

/// A broadcast as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Random, 16 lower-case letters and digits.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// Whom it is for.
    pub audience: Audience,
    /// What it says.
    pub content: Content,
    /// Who wrote it: a user's name, or `application NAME`.
    pub by: String,
    /// The application whose key sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Its id with the producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_id: Option<String>,
    /// When it was written, by Redis's clock, in milliseconds since the Unix epoch, as all times here.
    pub created_ms: u64,
    /// When it is to be sent, where that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ms: Option<u64>,
    /// When it was last corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_ms: Option<u64>,
    /// When it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled_ms: Option<u64>,
    /// Who took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled_by: Option<String>,
    /// When the rest was last reminded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminded_ms: Option<u64>,
    /// How many it was for when it was sent.
    #[serde(default)]
    pub reach: Reach,
    /// What it said before, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Version>,
}

impl Message {
    /// Where it stands in the order of all: when it was sent, or is to be.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.sent_ms.or(self.due_ms).unwrap_or(self.created_ms)
    }

    /// The entry of the log by which terminals learn of it as it stands.
    #[must_use]
    pub fn entry(&self, kind: Kind) -> Entry {
        let shown = matches!(kind, Kind::Message | Kind::Correct).then(|| self.content.clone());
        Entry {
            kind,
            id: self.id.clone(),
            audience: self.audience.clone(),
            content: shown,
            sent_ms: self.sent_ms.unwrap_or(self.created_ms),
            corrected_ms: self.corrected_ms,
            terminals: Vec::new(),
        }
    }
}

/// What an entry of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A new broadcast.
    Message,
    /// It says something else now.
    Correct,
    /// It is taken back.
    Recall,
    /// Whoever has not confirmed it is asked again.
    Remind,
}

impl Kind {
    /// The event's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Correct => "correct",
            Self::Recall => "recall",
            Self::Remind => "remind",
        }
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The broadcast's id.
    pub id: String,
    /// Whom it is for.
    pub audience: Audience,
    /// What it says; not for what has no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// When the broadcast was sent.
    pub sent_ms: u64,
    /// When it was corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_ms: Option<u64>,
    /// For these terminals alone; for all of the audience where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terminals: Vec<String>,
}

/// A broadcast as a terminal sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Shown<'a> {
    /// Its id.
    pub id: &'a str,
    /// The category's name.
    pub category: &'a str,
    /// One line.
    pub title: &'a str,
    /// Plain text with line breaks.
    pub text: &'a str,
    /// Where its image is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// RFC 3339, UTC.
    pub sent_at: String,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// Whether a person must confirm it.
    pub must_confirm: bool,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected_at: Option<String>,
}

impl<'a> Shown<'a> {
    /// What a terminal sees of this.
    #[must_use]
    pub fn of(id: &'a str, content: &'a Content, sent_ms: u64, corrected_ms: Option<u64>) -> Self {
        Self {
            id,
            category: &content.category,
            title: &content.title,
            text: &content.text,
            image: content.image.as_ref().map(|digest| format!("/terminal/image/{digest}")),
            sent_at: rfc3339(sent_ms),
            valid_until: content.valid_until_ms.map(rfc3339),
            must_confirm: content.must_confirm,
            corrected_at: corrected_ms.map(rfc3339),
        }
    }
}

/// A text as it is shown: line breaks are one character, and control characters other than these and tabs have no place in it.
#[must_use]
pub fn plain(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// A time as RFC 3339 in UTC, with milliseconds.
#[must_use]
pub fn rfc3339(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(chrono::DateTime::from_timestamp_millis).unwrap_or_default();
    moment.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Reads RFC 3339.
#[must_use]
pub fn from_rfc3339(text: &str) -> Option<u64> {
    let moment = chrono::DateTime::parse_from_rfc3339(text.trim()).ok()?;
    u64::try_from(moment.timestamp_millis()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_audience_is_all_or_a_choice() {
        let read = |text| serde_json::from_str::<Audience>(text);
        assert_eq!(read("\"all\"").unwrap(), Audience::all());
        assert!(read("\"some\"").is_err());
        assert!(read(r#"{"shop": ["a"]}"#).is_err());
        let some = read(r#"{"regions": ["west"], "shops": ["s1"]}"#).unwrap();
        assert!(some.has("s1", "") && some.has("s9", "west"));
        assert!(!some.has("s9", "east") && !some.has("west", "s1") && !Audience::default().has("", ""));
        assert_eq!(read(&serde_json::to_string(&some).unwrap()).unwrap(), some);
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(from_rfc3339(&rfc3339(1_763_775_403_123)), Some(1_763_775_403_123));
        assert_eq!(from_rfc3339("2026-11-22T18:00:00+07:00"), from_rfc3339("2026-11-22T11:00:00Z"));
        assert_eq!(from_rfc3339("tomorrow"), None);
    }
}
