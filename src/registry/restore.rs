//! Putting the registry back into a Redis that lost it: emptied, or gone back to an older version by a failover to a replica
//! that lagged behind.
//!
//! Every node that knows more than Redis offers its document, again and again, to one script. The script keeps the highest
//! version that was offered; whoever calls it once [`SETTLE`] has passed since the first offer publishes that one. So nodes
//! need not find each other, nobody waits for a node that is gone, and the script itself is the lock: it publishes only
//! where nothing, or a lower version of the same installation, stands. A node that comes later with a still higher version
//! finds Redis behind it and does the same again. The follower of the registry calls this.

use std::time::Duration;

use redis::Script;

use crate::redis::Connection;

use super::store::{MAX_CHANGES, Store, StoreError};
use crate::{
    redis::{Redis, registration},
    resources::{Delivery, Document},
};

/// How long offers are collected before the highest is published: reconnecting takes a node less.
pub const SETTLE: Duration = Duration::from_millis(1_000);

/// KEYS: document, offer, changes. ARGV: version, installation, body, node, how long offers are collected in
/// milliseconds, how many changes are kept. It is a write, so a replica refuses it: one that has not got its data yet is
/// never taken for an emptied Redis. An offer of a node that is gone is forgotten after a while.
const OFFER: &str = r"#!lua flags=allow-oom
local there = redis.call('HMGET', KEYS[1], 'version', 'installation')
if there[2] and there[2] ~= ARGV[2] then return 'FOREIGN' end
if tonumber(there[1] or '-1') >= tonumber(ARGV[1]) then return 'THERE' end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local best = redis.call('HMGET', KEYS[2], 'version', 'installation', 'since')
if best[2] and best[2] ~= ARGV[2] then return 'WAIT' end
local since = tonumber(best[3] or now)
if not best[1] or tonumber(best[1]) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[2], 'version', ARGV[1], 'installation', ARGV[2], 'body', ARGV[3], 'node', ARGV[4],
    'since', string.format('%.0f', since))
  redis.call('PEXPIRE', KEYS[2], 10000)
end
if now - since < tonumber(ARGV[5]) then return 'WAIT' end
local won = redis.call('HMGET', KEYS[2], 'version', 'body', 'node')
local what = 'restored by node ' .. won[3] .. ' from version ' .. won[1]
if there[1] then
  what = 'the registry in Redis had gone back to version ' .. there[1] .. ': ' .. what
else
  what = 'Redis had lost the registry: ' .. what
end
redis.call('HSET', KEYS[1], 'version', won[1], 'installation', ARGV[2], 'body', won[2], 'digest', redis.sha1hex(won[2]),
  'restored', string.format('%.0f', now), 'restored_what', what)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'version', won[1], 'who', 'node ' .. won[3], 'what', what)
redis.call('DEL', KEYS[2])
return 'RESTORED'
";

/// What an offer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// Others may still offer; ask again.
    Wait,
    /// The highest version is published; it need not be the one that was offered.
    Restored,
    /// As high a version stands there already.
    There,
    /// Another installation stands there.
    Foreign,
}

/// Who restores, and what beside the document must be put back.
#[derive(Clone, Debug)]
pub struct Restorer {
    /// This node's name, for the list of changes.
    pub node: String,
    /// The streams, which must learn of the routes again.
    pub redis: Redis,
}

impl Store {
    /// Where offers are collected.
    fn offer_key(&self) -> String {
        format!("{}:{{registry}}:offer", self.prefix())
    }

    /// Offers a document to a Redis that has none, or a lower version of it.
    pub(super) async fn offer(
        &self,
        connection: &mut Connection,
        document: &Document,
        node: &str,
    ) -> Result<Offered, StoreError> {
        let body = self.encode(document)?;
        let (key, offer, changes) = (self.document_key(), self.offer_key(), self.changes_key());
        let script = Script::new(OFFER);
        let mut call = script.key(&key);
        call.key(&offer).key(&changes).arg(document.version).arg(&document.installation).arg(&body).arg(node);
        call.arg(u64::try_from(SETTLE.as_millis()).unwrap_or(0)).arg(MAX_CHANGES);
        let answer: String = call.invoke_async(connection).await.map_err(|error| self.unavailable(&error))?;
        Ok(match answer.as_str() {
            "RESTORED" => Offered::Restored,
            "THERE" => Offered::There,
            "FOREIGN" => Offered::Foreign,
            _ => Offered::Wait,
        })
    }

    /// Whether a node has a document on offer right now.
    ///
    /// # Errors
    /// Redis cannot be read.
    pub(super) async fn is_offered(&mut self) -> Result<bool, StoreError> {
        let key = self.offer_key();
        self.run(async |connection| redis::cmd("EXISTS").arg(&key).query_async(connection).await).await
    }
}

impl Restorer {
    /// Registers every route of a restored document with its stream, the groups of parallel destinations, and its version. A route whose start is still known
    /// keeps it; any other begins at the earliest entry there is: what is in an emptied Redis is all new, and where a
    /// database has it already, its watermark says so.
    ///
    /// # Errors
    /// Redis is away; to be repeated as a whole.
    pub(super) async fn register(&self, document: &Document) -> Result<(), String> {
        for route in &document.routes {
            let destination = document.destinations.iter().find(|one| one.name == route.destination);
            let Some(destination) = destination else { continue };
            let (application, id) = (&route.application, &destination.id);
            let restored = registration::restore_route(&self.redis, application, &route.id, id, document.version).await;
            restored.map_err(|error| error.to_string())?;
            if destination.delivery == Delivery::Parallel {
                registration::register_group(&self.redis, application, id).await.map_err(|e| e.to_string())?;
            }
        }
        for application in &document.applications {
            let told = registration::set_version(&self.redis, &application.name, document.version).await;
            told.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
