//! What the list is asked for, as its address has it.

use chrono::NaiveDateTime;
use serde::Deserialize;

use super::Logs;
use crate::admin::deliveries::{self, Condition, Cursor, Field, State};

/// The address's query.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    pub(super) q: String,
    pub(super) application: String,
    pub(super) topic: String,
    pub(super) destination: String,
    pub(super) route: String,
    pub(super) table: String,
    pub(super) status: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) own_id: String,
    pub(super) path: String,
    pub(super) how: String,
    pub(super) value: String,
    pub(super) cursor: String,
    pub(super) paused: String,
    pub(super) part: String,
    /// Rows that the page has already; of a search that was stopped, how far it was.
    pub(super) found: String,
    /// The newest entry when the page was shown.
    pub(super) since: String,
    /// Messages on the page that wait: application and id, one after the other.
    pub(super) watch: String,
}

/// What is asked for, understood.
pub(super) struct Asked {
    pub(super) query: deliveries::Query,
    pub(super) cursor: Option<Cursor>,
}

/// Longest list of what is watched.
pub(super) const WATCHED: usize = 30;

impl Query {
    fn all(&self) -> [(&'static str, &str); 17] {
        [
            ("q", &self.q),
            ("application", &self.application),
            ("topic", &self.topic),
            ("destination", &self.destination),
            ("route", &self.route),
            ("table", &self.table),
            ("status", &self.status),
            ("from", &self.from),
            ("to", &self.to),
            ("own_id", &self.own_id),
            ("path", &self.path),
            ("how", &self.how),
            ("value", &self.value),
            ("cursor", &self.cursor),
            ("paused", &self.paused),
            ("part", &self.part),
            ("found", &self.found),
        ]
    }

    /// The address of the list with some of it otherwise.
    pub(super) fn address(&self, changes: &[(&str, &str)]) -> String {
        let mut all = self.all();
        for (name, value) in changes {
            if let Some(known) = all.iter_mut().find(|(known, _)| known == name) {
                known.1 = value;
            }
        }
        let given = all.into_iter().filter(|(_, value)| !value.is_empty());
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        if query.is_empty() { "/console/logs".into() } else { format!("/console/logs?{query}") }
    }

    /// Whether anything but the whole list is asked for.
    pub(super) fn is_filtered(&self) -> bool {
        let beside = ["cursor", "paused", "part", "found", "how"];
        self.all().iter().any(|(name, value)| !value.is_empty() && !beside.contains(name))
    }

    /// Whether something of the folded part of the form is given.
    pub(super) fn has_more(&self) -> bool {
        [&self.from, &self.to, &self.own_id, &self.path, &self.value, &self.route, &self.table]
            .into_iter()
            .any(|value| !value.is_empty())
    }

    /// Whether a look goes through what does not match.
    pub(super) fn searches(&self) -> bool {
        ![&self.q, &self.own_id, &self.value, &self.status].into_iter().all(String::is_empty)
    }

    pub(super) fn is_in(&self, state: &State) -> bool {
        self.status == state.as_str()
    }

    /// The messages that wait on the page.
    pub(super) fn watched(&self) -> impl Iterator<Item = (&str, &str)> {
        self.watch.split(' ').filter_map(|pair| pair.split_once('~')).take(WATCHED)
    }

    /// What it means; or what is wrong with which field.
    pub(super) fn asked(&self, text: &Logs) -> Result<Asked, Vec<(&'static str, String)>> {
        let mut mistakes = Vec::new();
        let given = |value: &str| Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        let q = self.q.trim();
        let id = q.parse().ok();
        let key = given(q).filter(|_| id.is_none());
        let mut time = |field: &'static str, value: &str| match moment(value) {
            Ok(moment) => moment,
            Err(()) => {
                mistakes.push((field, text.wrong_time.to_owned()));
                None
            }
        };
        let (from_ms, to_ms) = (time("from", &self.from), time("to", &self.to));
        let how = if self.how == "contains" { Condition::Contains } else { Condition::Is };
        let field = match given(&self.value).map(|_| Field::new(&self.path, how, self.value.trim())) {
            None => None,
            Some(Ok(field)) => Some(field),
            Some(Err(why)) => {
                mistakes.push(("path", format!("{} {why}", text.wrong_field)));
                None
            }
        };
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let query = deliveries::Query {
            application: given(&self.application),
            topic: given(&self.topic),
            destination: given(&self.destination),
            route: given(&self.route),
            table: given(&self.table),
            status: State::parse(&self.status),
            from_ms,
            to_ms,
            key,
            id,
            own_id: given(&self.own_id),
            action: None,
            field,
            since: None,
        };
        Ok(Asked { query, cursor: self.cursor.parse().ok() })
    }
}

/// A moment as a browser's field or somebody's hand writes it, in UTC where it names no zone.
pub(in crate::console) fn moment(text: &str) -> Result<Option<u64>, ()> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let ms = if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
        moment.timestamp_millis()
    } else {
        let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"];
        let read = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        let day = || format!("{text}T00:00");
        let read = read.or_else(|| NaiveDateTime::parse_from_str(&day(), formats[0]).ok());
        read.ok_or(())?.and_utc().timestamp_millis()
    };
    u64::try_from(ms).map(Some).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_a_browser_writes_it() {
        for text in ["1970-01-01T00:01", "1970-01-01T00:01:00Z", " 1970-01-01 00:01:00 ", "1970-01-01T07:01:00+07:00"] {
            assert_eq!(moment(text), Ok(Some(60_000)), "{text}");
        }
        assert_eq!(moment("1970-01-02"), Ok(Some(86_400_000)));
        assert_eq!((moment(""), moment("yesterday")), (Ok(None), Err(())));
    }

    #[test]
    fn an_address_has_what_was_asked_for_and_nothing_else() {
        let query = Query { topic: "cars".into(), value: "a & b".into(), cursor: "5-1~2~a".into(), ..Query::default() };
        assert_eq!(query.address(&[("cursor", "")]), "/console/logs?topic=cars&value=a+%26+b");
        assert_eq!(Query::default().address(&[]), "/console/logs");
    }
}
