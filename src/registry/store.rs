//! The document in Redis: one value with its version, replaced only by who has read what is there, and the list of who
//! changed what.

use std::{collections::HashMap, time::Duration};

use redis::{RedisError, RedisResult, Script};

use super::{
    differences::{self, Difference},
    versions::{self, MAX_VERSIONS, RouteVersion},
};
use crate::{
    config::RedisUrl,
    redis::{
        Connection, Redis, Server, patience,
        server::{Limits, sentence},
    },
    resources::Document,
};

/// Longest time to connect and log in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time for an answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Changes that are remembered (roughly: Redis trims whole nodes of the stream).
pub(crate) const MAX_CHANGES: usize = 10_000;
/// Longest text of one change: a large apply is cut short in the audit, not in the document.
const MAX_CHANGE_BYTES: usize = 4096;

/// Replaces the document if it is the one that was read. It may write to a full Redis: an operator must be able to
/// change what fills it. KEYS: document, changes, then the versions of each route that changes. ARGV: the version and
/// installation that were read, the new ones, the body, who, what, how many changes are kept, the installation whose nodes
/// are to follow this one or nothing, where from or nothing, what is different as JSON, how many versions of a route are
/// kept; then for each of these routes the version that comes first where none is kept yet, the new one, and the seconds
/// after which they go, or nothing. The digest tells apart two documents of one version, which a failover that lost the
/// first can leave.
const REPLACE: &str = r"#!lua flags=allow-oom
local read = redis.call('HMGET', KEYS[1], 'version', 'installation')
if (read[1] or '0') ~= ARGV[1] or (read[2] or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'installation', ARGV[4], 'body', ARGV[5], 'digest',
  redis.sha1hex(ARGV[5]))
if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'supersedes', ARGV[9]) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[8], '*', 'version', ARGV[3], 'who', ARGV[6], 'what', ARGV[7],
  'from', ARGV[10], 'changed', ARGV[11])
for place = 3, #KEYS do
  local at = 13 + (place - 3) * 3
  if ARGV[at] ~= '' and redis.call('EXISTS', KEYS[place]) == 0 then redis.call('LPUSH', KEYS[place], ARGV[at]) end
  redis.call('LPUSH', KEYS[place], ARGV[at + 1])
  redis.call('LTRIM', KEYS[place], 0, ARGV[12] - 1)
  if ARGV[at + 2] == '' then redis.call('PERSIST', KEYS[place]) else redis.call('EXPIRE', KEYS[place], ARGV[at + 2]) end
end
return 1
";

/// Adds to the list of changes alone. KEYS: document, changes. ARGV: who, what, how many changes are kept, where
/// from or nothing.
const NOTE: &str = r"#!lua flags=allow-oom
local version = redis.call('HGET', KEYS[1], 'version') or '0'
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'version', version, 'who', ARGV[1], 'what', ARGV[2],
  'from', ARGV[4])
";

/// Why the document could not be read or written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// Redis is away, refuses, or is too slow.
    #[error("Redis at {address}: {why}")]
    Unavailable {
        /// Where it should be, without a password.
        address: String,
        /// What happened, and the remedy where there is one.
        why: String,
    },
    /// What stands there is no document of this version of Tidegate.
    #[error("the registry in Redis at {address} cannot be understood ({why}); was it written by a newer Tidegate?")]
    Unreadable {
        /// Where Redis is.
        address: String,
        /// What is wrong with it.
        why: String,
    },
}

/// One entry of the list of changes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AuditEntry {
    /// The entry's id; its first part is the time in milliseconds since the Unix epoch.
    pub id: String,
    /// The document's version afterwards.
    pub version: u64,
    /// Who changed it.
    pub who: String,
    /// Where from: an address, or the command (`tidegate key create`); `None` where a node did it by itself.
    pub from: Option<String>,
    /// What was changed, a line each.
    pub what: String,
    /// What was different before and after, with secrets masked; empty for what is no change of the document, and for
    /// entries of versions that did not keep it.
    pub changed: Vec<Difference>,
}

impl AuditEntry {
    /// An entry as Redis has it. Those of older versions have the place within `who`.
    fn read(id: String, mut fields: HashMap<String, String>) -> Self {
        let mut field = |name: &str| fields.remove(name).unwrap_or_default();
        let (signed, from) = (field("who"), field("from"));
        let (who, from) = if from.is_empty() { signature(&signed) } else { (signed.as_str(), from.as_str()) };
        Self {
            version: field("version").parse().unwrap_or_default(),
            who: who.to_owned(),
            from: (!from.is_empty()).then(|| from.to_owned()),
            what: field("what"),
            changed: serde_json::from_str(&field("changed")).unwrap_or_default(),
            id,
        }
    }

    /// When it was, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.id.split_once('-').and_then(|(ms, _)| ms.parse().ok()).unwrap_or_default()
    }
}

/// Who and where from, of `ana (10.0.0.7)`; nothing for the second where it is not said.
fn signature(signed: &str) -> (&str, &str) {
    signed.strip_suffix(')').and_then(|signed| signed.rsplit_once(" (")).unwrap_or((signed, ""))
}

/// What Redis has, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) version: u64,
    pub(super) installation: String,
    /// Tells apart two documents of one version and installation.
    pub(super) digest: Option<String>,
    /// When it was restored, in milliseconds since the Unix epoch, and what was said of it.
    pub(super) restored: Option<(u64, String)>,
    /// The installation whose nodes are to follow this one, by an operator's word.
    pub(super) supersedes: Option<String>,
}

/// The document's place in Redis, over a connection that is made on first use.
pub struct Store {
    server: Server,
    connection: Option<Connection>,
    address: String,
    prefix: String,
    supersedes: Option<String>,
}

impl Store {
    /// The registry of this prefix.
    ///
    /// # Errors
    /// The address cannot be understood. Nothing connects yet.
    pub fn open(url: &RedisUrl, prefix: &str) -> Result<Self, StoreError> {
        let address = url.to_string();
        let server = Server::parse(url.expose())
            .map_err(|error| StoreError::Unavailable { address: address.clone(), why: error.to_string() })?;
        Ok(Self { server, connection: None, address, prefix: prefix.to_owned(), supersedes: None })
    }

    /// The registry in this Redis.
    #[must_use]
    pub fn of(redis: &Redis) -> Self {
        let server = redis.server().clone();
        let address = server.to_string();
        Self { server, connection: None, address, prefix: redis.keys().prefix().to_owned(), supersedes: None }
    }

    /// The hash with `version`, `installation` and `body`. The braces keep all of the registry on one node of a cluster.
    pub(super) fn document_key(&self) -> String {
        format!("{}:{{registry}}:document", self.prefix)
    }

    /// The stream of changes.
    pub(super) fn changes_key(&self) -> String {
        format!("{}:{{registry}}:changes", self.prefix)
    }

    /// What all keys begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A document that this store writes takes the place of that installation: its nodes follow.
    pub fn supersede(&mut self, installation: String) {
        self.supersedes = Some(installation);
    }

    /// Where Redis is, without a password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The document, if there is one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn load(&mut self) -> Result<Option<Document>, StoreError> {
        let key = self.document_key();
        let body: Option<String> =
            self.run(async |connection| redis::cmd("HGET").arg(&key).arg("body").query_async(connection).await).await?;
        body.map(|body| self.parse(&body)).transpose()
    }

    /// The versions of one route, by its name. The braces keep them on the document's node of a cluster.
    fn versions_key(&self, route: &str) -> String {
        format!("{}:{{registry}}:versions:{route}", self.prefix)
    }

    /// Replaces `old` by `new`, and keeps a version of each route that this changes; false where `old` is not what stands
    /// there any more.
    ///
    /// # Errors
    /// See [`StoreError`]. Where the answer was lost, whether it was replaced is unknown.
    pub async fn replace(
        &mut self,
        old: &Document,
        new: &Document,
        who: &str,
        what: &[String],
    ) -> Result<bool, StoreError> {
        let body = self.encode(new)?;
        let supersedes = self.supersedes.clone().unwrap_or_default();
        let (document, changes) = (self.document_key(), self.changes_key());
        let what = shortened(what);
        let kept: Vec<_> = versions::of_change(old, new, who)
            .into_iter()
            .map(|kept| Ok((self.versions_key(&kept.route), kept.encoded().map_err(|error| self.odd(&error))?)))
            .collect::<Result<_, StoreError>>()?;
        let (who, from) = signature(who);
        let changed = differences::encode(&differences::between(old, new));
        let script = Script::new(REPLACE);
        self.run(async |connection| {
            let mut call = script.key(&document);
            call.key(&changes).arg(old.version).arg(&old.installation).arg(new.version).arg(&new.installation);
            call.arg(&body).arg(who).arg(&what).arg(MAX_CHANGES).arg(&supersedes).arg(from).arg(&changed);
            call.arg(MAX_VERSIONS);
            for (key, entries) in &kept {
                call.key(key).arg(entries);
            }
            call.invoke_async(connection).await
        })
        .await
    }

    /// The versions of a route that are kept, newest first; also of one that was removed not long ago.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn route_versions(&mut self, route: &str) -> Result<Vec<RouteVersion>, StoreError> {
        let key = self.versions_key(route);
        let all: Vec<String> = self
            .run(async |connection| redis::cmd("LRANGE").arg(&key).arg(0).arg(-1).query_async(connection).await)
            .await?;
        // One that a newer Tidegate wrote in words of its own is left out, rather than all of them.
        Ok(all.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    /// Notes something that was done to what the registry speaks of, without a change of the document itself.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn note(&mut self, who: &str, what: &[String]) -> Result<(), StoreError> {
        let (document, changes, what) = (self.document_key(), self.changes_key(), shortened(what));
        let (who, from) = signature(who);
        let script = Script::new(NOTE);
        self.run(async |connection| {
            let mut call = script.key(&document);
            call.key(&changes).arg(who).arg(&what).arg(MAX_CHANGES).arg(from).invoke_async(connection).await
        })
        .await
    }

    /// The latest changes, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn changes(&mut self, most: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.changes_between("+", "-", most).await
    }

    /// The changes from one id of the stream down to another, newest first; each as XREVRANGE takes it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn changes_between(
        &mut self,
        newest: &str,
        oldest: &str,
        most: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let key = self.changes_key();
        let entries: Vec<(String, HashMap<String, String>)> = self
            .run(async |connection| {
                let mut call = redis::cmd("XREVRANGE");
                call.arg(&key).arg(newest).arg(oldest).arg("COUNT").arg(most).query_async(connection).await
            })
            .await?;
        Ok(entries.into_iter().map(|(id, fields)| AuditEntry::read(id, fields)).collect())
    }

    /// What stands there, without its body.
    ///
    /// # Errors
    /// Redis cannot be read: away, loading its file, or too slow. An answer without a document means that there is none.
    pub(super) async fn standing(&self, connection: &mut Connection) -> Result<Option<Standing>, StoreError> {
        type Fields = (Option<u64>, Option<String>, Option<String>, Option<u64>, Option<String>, Option<String>);
        let fields = ["version", "installation", "digest", "restored", "restored_what", "supersedes"];
        let found: Fields = redis::cmd("HMGET")
            .arg(self.document_key())
            .arg(&fields)
            .query_async(connection)
            .await
            .map_err(|error| self.unavailable(&error))?;
        let (version, installation, digest, restored, what, supersedes) = found;
        let standing = |(version, installation)| Standing {
            version,
            installation,
            digest,
            restored: restored.zip(what),
            supersedes,
        };
        Ok(version.zip(installation).map(standing))
    }

    /// The same over the store's own connection.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn restored(&mut self) -> Result<Option<(u64, String)>, StoreError> {
        let key = self.document_key();
        let fields = ["restored", "restored_what"];
        let (at, what): (Option<u64>, Option<String>) = self
            .run(async |connection| redis::cmd("HMGET").arg(&key).arg(&fields).query_async(connection).await)
            .await?;
        Ok(at.zip(what))
    }

    /// An operator has taken note of the restore.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn acknowledge(&mut self) -> Result<(), StoreError> {
        let key = self.document_key();
        let fields = ["restored", "restored_what"];
        self.run(async |connection| redis::cmd("HDEL").arg(&key).arg(&fields).query_async(connection).await).await
    }

    /// Wakes the nodes that follow this registry, so that they look at once. Leaves no trace.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn knock(&mut self) -> Result<(), StoreError> {
        let key = self.changes_key();
        self.run(async |connection| {
            let id: String = redis::cmd("XADD").arg(&key).arg(&["*", "who", "-"]).query_async(connection).await?;
            redis::cmd("XDEL").arg(&key).arg(&id).query_async(connection).await
        })
        .await
    }

    pub(super) fn encode(&self, document: &Document) -> Result<String, StoreError> {
        serde_json::to_string(document).map_err(|error| self.odd(&error))
    }

    pub(super) fn parse(&self, body: &str) -> Result<Document, StoreError> {
        serde_json::from_str(body).map_err(|error| self.odd(&error))
    }

    fn odd(&self, error: &serde_json::Error) -> StoreError {
        StoreError::Unreadable { address: self.address.clone(), why: error.to_string() }
    }

    /// A connection of its own, for a reader that blocks.
    pub(super) async fn connect(&self, response_timeout: Duration) -> Result<Connection, StoreError> {
        self.server
            .connect(Limits { connect: CONNECT_TIMEOUT, response: Some(response_timeout) })
            .await
            .map_err(|error| self.unavailable(&error))
    }

    pub(super) fn unavailable(&self, error: &RedisError) -> StoreError {
        StoreError::Unavailable { address: self.address.clone(), why: described(error) }
    }

    pub(super) async fn run<T>(
        &mut self,
        call: impl AsyncFn(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let (server, kept) = (&self.server, self.connection.take());
        let asked = patience::ask(async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => server.connect(Limits { connect: CONNECT_TIMEOUT, response: Some(RESPONSE_TIMEOUT) }).await?,
            };
            let value = call(&mut connection).await?;
            Ok((connection, value))
        });
        match asked.await {
            Ok((connection, value)) => {
                self.connection = Some(connection);
                Ok(value)
            }
            // The connection goes too: after any error it may be out of step.
            Err(error) => Err(self.unavailable(&error)),
        }
    }
}

/// Redis's words, with the remedy where it is plain. They name commands and keys, never values.
fn described(error: &RedisError) -> String {
    if error.is_timeout() {
        return "it does not answer; is it overloaded or stopped?".into();
    }
    if error.is_connection_refusal() {
        return "nothing listens there; is it running, and is `redis_url` right?".into();
    }
    sentence(error).unwrap_or_else(|| error.to_string())
}

fn shortened(what: &[String]) -> String {
    let mut text = what.join("\n");
    if text.len() > MAX_CHANGE_BYTES {
        let mut end = MAX_CHANGE_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(" …");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn read(fields: &[(&str, &str)]) -> AuditEntry {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        AuditEntry::read("1763775403000-0".into(), fields)
    }

    #[test]
    fn entries_of_every_version_tell_who_and_where_from() {
        let old = read(&[("version", "3"), ("who", "operator@a (tidegate apply)"), ("what", "x")]);
        assert_eq!((old.who.as_str(), old.from.as_deref()), ("operator@a", Some("tidegate apply")));
        assert!(old.changed.is_empty());
        let by_itself = read(&[("version", "3"), ("who", "node a"), ("what", "x"), ("from", "")]);
        assert_eq!((by_itself.who.as_str(), by_itself.from), ("node a", None));
        let new = read(&[("who", "ana"), ("from", "10.0.0.7"), ("changed", r#"[{"of":"user `b`","field":"role"}]"#)]);
        assert_eq!((new.who.as_str(), new.from.as_deref()), ("ana", Some("10.0.0.7")));
        assert_eq!(new.changed[0].field, "role");
        assert_eq!(new.at_ms(), 1_763_775_403_000);
    }
}
