//! Which dead letters are meant: what lists, groups and acts share.

use serde::{Deserialize, Serialize};

use crate::redis::dead::Summary;

/// Which dead letters are meant; what is left out lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Of this application, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Of this destination, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Of this route, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// With this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// About this column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Given up at or after this, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Given up before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Of messages with this key, as JSON or the text of a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether a later record of the key was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded: Option<bool>,
    /// Of this group ([`super::Group::id`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Filter {
    /// Whether it lets this one through, of this application, destination and route; its group is not looked at.
    pub(super) fn passes(&self, application: &str, destination: &str, route: &str, letter: &Summary) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        let key_is = |wanted: &String| {
            letter.key.as_ref().is_some_and(|key| {
                key == wanted || serde_json::from_str::<String>(key).is_ok_and(|text| text == *wanted)
            })
        };
        is(&self.application, application)
            && is(&self.destination, destination)
            && is(&self.route, route)
            && is(&self.code, &letter.code)
            && self.column.as_ref().is_none_or(|column| letter.column.as_ref() == Some(column))
            && self.since_ms.is_none_or(|since| letter.at_ms >= since)
            && self.until_ms.is_none_or(|until| letter.at_ms < until)
            && self.key.as_ref().is_none_or(key_is)
            && self.superseded.is_none_or(|superseded| superseded == letter.superseded)
    }

    /// What it means, in words, for the list of changes; empty where it means all.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        let mut say = |what: &str, value: &Option<String>| {
            words.extend(value.as_ref().map(|value| format!("{what} `{value}`")));
        };
        say("application", &self.application);
        say("destination", &self.destination);
        say("route", &self.route);
        say("code", &self.code);
        say("column", &self.column);
        say("group", &self.group);
        if self.key.is_some() {
            words.push("one key".into());
        }
        let moment = |ms: u64| {
            let moment = i64::try_from(ms).ok().and_then(chrono::DateTime::from_timestamp_millis).unwrap_or_default();
            moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        };
        words.extend(self.since_ms.map(|ms| format!("since {}", moment(ms))));
        words.extend(self.until_ms.map(|ms| format!("until {}", moment(ms))));
        words
            .extend(self.superseded.map(|yes| if yes { "superseded".to_owned() } else { "not superseded".to_owned() }));
        words.join(", ")
    }
}
