//! The names of all keys of an application's stream. They share one hash tag, so that a script may use any of them
//! together in a Redis Cluster too.

use std::sync::Arc;

/// The keys of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// All keys begin with `prefix` and a colon.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// What all keys begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Hash: instance → the node that runs, as JSON.
    #[must_use]
    pub fn members(&self) -> String {
        format!("{}:{{nodes}}:members", self.prefix)
    }

    /// Sorted set: instance, scored by the end of its life in milliseconds since the Unix epoch, by Redis's clock.
    #[must_use]
    pub fn seen(&self) -> String {
        format!("{}:{{nodes}}:seen", self.prefix)
    }

    /// Hash: instance → how its actors are, as JSON.
    #[must_use]
    pub fn reports(&self) -> String {
        format!("{}:{{nodes}}:reports", self.prefix)
    }

    /// List: a destination's changes of state, newest first, as JSON.
    #[must_use]
    pub fn health(&self, destination: &str) -> String {
        format!("{}:{{nodes}}:health:{destination}", self.prefix)
    }

    /// Number with a time limit: connection checks that a user asked for within the minute.
    #[must_use]
    pub fn checks_of(&self, user: &str) -> String {
        format!("{}:{{nodes}}:checks:{user}", self.prefix)
    }

    /// String with a time limit: what was found good under this token.
    #[must_use]
    pub fn checked(&self, token: &str) -> String {
        format!("{}:{{nodes}}:checked:{token}", self.prefix)
    }

    /// Hash: API key's id → when it was last used, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn used(&self) -> String {
        format!("{}:{{nodes}}:used", self.prefix)
    }

    /// Hash: one piece of long work that somebody began, and how far it is.
    #[must_use]
    pub fn job(&self, id: &str) -> String {
        format!("{}:{{jobs}}:job:{id}", self.prefix)
    }

    /// Sorted set: pieces of long work, scored by when they were begun, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn jobs(&self) -> String {
        format!("{}:{{jobs}}:all", self.prefix)
    }

    /// The keys of an application.
    #[must_use]
    pub fn of(&self, application: &str) -> StreamKeys {
        StreamKeys { base: format!("{}:{{{application}}}:", self.prefix) }
    }
}

/// The keys of one application's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKeys {
    base: String,
}

impl StreamKeys {
    fn with(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// The stream itself.
    #[must_use]
    pub fn stream(&self) -> String {
        self.with("stream")
    }

    /// Hash: `replid`, `generations` (`token after,token after`, oldest first), `trimmed`, `version`.
    #[must_use]
    pub fn meta(&self) -> String {
        self.with("meta")
    }

    /// Hash: destination id → `generation id entries_read group`, and `parallel` where it is.
    #[must_use]
    pub fn lanes(&self) -> String {
        self.with("lanes")
    }

    /// Hash of what stands beside a lane: `destination main` → `generation id` of the main row, `destination part` → a
    /// side row as JSON, `destination new route` → `generation id` of a route that no owner has taken up yet.
    #[must_use]
    pub fn sides(&self) -> String {
        self.with("sides")
    }

    /// Hash: `destination part` → generation, for every part other than `main` that has a history.
    #[must_use]
    pub fn parts(&self) -> String {
        self.with("parts")
    }

    /// Hash: route id → `generation id destination`; `generation id backfill destination` where the route began below its lane.
    #[must_use]
    pub fn starts(&self) -> String {
        self.with("starts")
    }

    /// Hash: destination id → bind token of its database.
    #[must_use]
    pub fn bind(&self) -> String {
        self.with("bind")
    }

    /// Hash: digest → table schema as JSON.
    #[must_use]
    pub fn plans(&self) -> String {
        self.with("plans")
    }

    /// String with a time limit: the token of the destination's owner.
    #[must_use]
    pub fn lease(&self, destination: &str) -> String {
        self.with(&format!("lease:{destination}"))
    }

    /// Stream: one entry for each batch, under the id of its last message.
    #[must_use]
    pub fn history(&self, destination: &str, generation: &str) -> String {
        format!("{}{generation}", self.history_prefix(destination))
    }

    /// The same for a part of a lane: its batches stand apart, since the ids in one stream only rise.
    #[must_use]
    pub fn history_of(&self, destination: &str, generation: &str, part: &str) -> String {
        let main = self.history(destination, generation);
        if part == "main" { main } else { format!("{main}:{part}") }
    }

    /// What the keys of a destination's history begin with; the generation follows.
    #[must_use]
    pub fn history_prefix(&self, destination: &str) -> String {
        format!("{}{destination}:", self.histories_prefix())
    }

    /// What the keys of all histories begin with; the destination and a colon follow.
    #[must_use]
    pub fn histories_prefix(&self) -> String {
        self.with("history:")
    }

    /// Hash: `generation id route` → dead letter as JSON.
    #[must_use]
    pub fn dead(&self, destination: &str) -> String {
        self.with(&format!("dead:{destination}"))
    }

    /// Hash: `token generation part` → messages that were given up, as JSON.
    #[must_use]
    pub fn abandoned(&self, destination: &str) -> String {
        self.with(&format!("abandoned:{destination}"))
    }

    /// Hash: the same fields → what lists say of them, in a line (`redis/dead/lines.rs`); `#` → when any of it last changed.
    #[must_use]
    pub fn dead_lines(&self, destination: &str) -> String {
        self.with(&format!("dead-lines:{destination}"))
    }

    /// String with a time limit: what became of a dead letter that is gone, `redriven` or `discarded`, and when, in milliseconds
    /// since the Unix epoch.
    #[must_use]
    pub fn dead_end(&self, destination: &str, field: &str) -> String {
        self.with(&format!("dead-end:{destination}:{field}"))
    }

    /// List of commands as JSON, oldest first.
    #[must_use]
    pub fn commands(&self, destination: &str) -> String {
        self.with(&format!("commands:{destination}"))
    }

    /// String with a time limit: what a request with this `Idempotency-Key` came to.
    #[must_use]
    pub fn idempotency(&self, key: &str) -> String {
        self.with(&format!("idem:{key}"))
    }

    /// String with a time limit: which message has this id of the producer's own.
    #[must_use]
    pub fn own(&self, id: &str) -> String {
        self.with(&format!("own:{id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_named_as_documented() {
        assert_eq!(Keys::new("tidegate").of("car-app").stream(), "tidegate:{car-app}:stream");
        assert_eq!(Keys::new("t").of("a").history("d1", "g1"), "t:{a}:history:d1:g1");
    }
}
