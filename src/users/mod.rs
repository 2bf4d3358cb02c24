//! The console's users: who may sign in, with what, and for how long.
//!
//! A user stands in the registry's document, so a change of one is versioned, audited and restored like any other; sessions,
//! wrong attempts and used codes stand beside it in Redis. No password, token or code is kept in the clear anywhere: tokens
//! are 256 random bits and known by their SHA-256. The console signs people in and out here; [`crate::admin::users`] has
//! what an admin does.

mod first;
pub mod password;
pub mod record;
mod scripts;
mod second;
mod sessions;
mod sign_in;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tidegate_actors::ports::LogError;
use tokio::sync::Semaphore;

pub(crate) use self::second::unknown;
pub use self::{
    first::FirstError,
    record::{Lang, User},
    second::{Enrolment, RECOVERY_CODES},
    sessions::{Session, SignedIn},
    sign_in::SignInError,
};
use crate::{
    admin::{ActError, FieldError, Who},
    redis::Redis,
    registry::{Edit, Registry, Store, secrets::MasterKey},
    resources::Document,
};

/// Longest time for an answer of Redis: a page is not kept waiting longer.
const REDIS_WITHIN: Duration = Duration::from_millis(1_800);
/// Passwords that are worked on at once: each takes 19 MiB and a core.
const PASSWORDS_AT_ONCE: usize = 2;
/// Longest wait for its turn.
const PASSWORD_WITHIN: Duration = Duration::from_secs(5);
/// Longest name of a user, in characters.
pub const MOST_NAME_CHARS: usize = 64;

/// How long things last, and how often one may err. The defaults are the product's; tests take shorter ones.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Wrong attempts of one user before the first lock.
    pub user_tries: u32,
    /// Wrong attempts from one address before the first lock: more, since a whole office may share it.
    pub address_tries: u32,
    /// The first lock; each further wrong attempt after it doubles it.
    pub shortest_lock: Duration,
    /// The longest lock.
    pub longest_lock: Duration,
    /// How long after the last wrong attempt they are forgotten.
    pub remembered: Duration,
    /// How long a session may be left unused.
    pub idle: Duration,
    /// How long a session lasts at most.
    pub absolute: Duration,
    /// How long the link for the first admin is good.
    pub first_link: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            user_tries: 5,
            address_tries: 20,
            shortest_lock: minutes(1),
            longest_lock: minutes(15),
            remembered: minutes(60),
            idle: minutes(12 * 60),
            absolute: minutes(7 * 24 * 60),
            first_link: minutes(60),
        }
    }
}

/// The users of one installation, as a node or a command knows them. Cheap to clone.
#[derive(Clone)]
pub struct Users {
    redis: Redis,
    master_key: Option<Arc<MasterKey>>,
    rules: Rules,
    shared: Arc<Shared>,
}

struct Shared {
    known: Mutex<Option<Known>>,
    passwords: Semaphore,
}

/// The users of one version of the document.
#[derive(Clone)]
struct Known {
    stamp: Stamp,
    users: Arc<Vec<User>>,
}

/// Which document it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stamp {
    version: String,
    installation: String,
    digest: String,
}

/// The part of the document that is wanted here.
#[derive(Deserialize)]
struct OnlyUsers {
    #[serde(default)]
    users: Vec<User>,
}

impl Users {
    /// The users in this Redis.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        let shared = Shared { known: Mutex::default(), passwords: Semaphore::new(PASSWORDS_AT_ONCE) };
        Self { redis, master_key: None, rules: Rules::default(), shared: Arc::new(shared) }
    }

    /// With the key that seals the secrets of second factors; without one there are none.
    #[must_use]
    pub fn with_master_key(self, master_key: Option<Arc<MasterKey>>) -> Self {
        Self { master_key, ..self }
    }

    /// With other times and limits.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// All users, as Redis has them now, by name.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn all(&self) -> Result<Arc<Vec<User>>, LogError> {
        self.load().await
    }

    /// One user.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn find(&self, name: &str) -> Result<Option<User>, LogError> {
        let name = normal(name);
        Ok(self.load().await?.iter().find(|user| user.name == name).cloned())
    }

    /// The users of this version of the document: those that are known, where they are of it.
    async fn of(&self, stamp: &Stamp) -> Result<Arc<Vec<User>>, LogError> {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(known) if known.stamp == *stamp => Ok(known.users),
            _ => self.load().await,
        }
    }

    async fn load(&self) -> Result<Arc<Vec<User>>, LogError> {
        type Fields = (Option<String>, Option<String>, Option<String>, Option<String>);
        let key = self.key("document");
        let fields = ["version", "installation", "digest", "body"];
        let (version, installation, digest, body): Fields = self
            .ask(async |mut connection| redis::cmd("HMGET").arg(&key).arg(&fields).query_async(&mut connection).await)
            .await?;
        let users = match &body {
            None => Vec::new(),
            Some(body) => {
                let parsed: Result<OnlyUsers, _> = serde_json::from_str(body);
                // Its words could quote what it could not read.
                parsed.map_err(|_| LogError::Unavailable("the registry in Redis can't be understood".into()))?.users
            }
        };
        let users = Arc::new(users);
        let text = Option::unwrap_or_default;
        let stamp = Stamp { version: text(version), installation: text(installation), digest: text(digest) };
        let known = Known { stamp, users: Arc::clone(&users) };
        *self.shared.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(users)
    }

    /// Changes users, signed by who does it: one path and one entry in the list of changes for all ways to do it.
    pub(crate) async fn change<T>(
        &self,
        who: &Who,
        edit: impl FnMut(&Document) -> Result<Edit<T>, ActError>,
    ) -> Result<T, ActError> {
        let mut registry = Registry::new(Store::of(&self.redis), self.redis.clone(), who.to_string());
        // A Redis that was just emptied is waited for: users that are being restored must not be begun anew.
        registry.settled().await?;
        Ok(registry.change(edit).await?)
    }

    /// Forgets all that stands beside a user: of one who is gone, or of who had this name before.
    pub(crate) async fn forget(&self, name: &str) -> Result<(), LogError> {
        let (wrong, codes, seen) = (self.wrong_of_user(name), self.key("codes"), self.key("signed-in"));
        self.ask(async |mut connection| {
            let mut call = scripts::FORGET.key(&wrong);
            call.key(&codes).key(&seen).arg(name).invoke_async(&mut connection).await
        })
        .await
    }

    /// Takes the locks off a user.
    pub(crate) async fn forget_wrong(&self, name: &str) -> Result<(), LogError> {
        let wrong = self.wrong_of_user(name);
        self.ask(async |mut connection| redis::cmd("DEL").arg(&wrong).query_async(&mut connection).await).await
    }

    /// When each of these last signed in, and where from; until when each is locked out.
    pub(crate) async fn seen(&self, names: &[&str]) -> Result<Vec<Seen>, LogError> {
        let signed_in = self.key("signed-in");
        let wrong: Vec<String> = names.iter().map(|name| self.wrong_of_user(name)).collect();
        let found: Vec<(String, String)> = self
            .ask(async |mut connection| {
                let mut call = scripts::SEEN.key(&signed_in);
                for key in &wrong {
                    call.key(key);
                }
                call.arg(names).invoke_async(&mut connection).await
            })
            .await?;
        let seen = |(last, until): (String, String)| {
            let last = last.split_once(' ').and_then(|(ms, from)| Some((ms.parse().ok()?, from.to_owned())));
            Seen { last, locked_until_ms: until.parse().ok() }
        };
        Ok(found.into_iter().map(seen).collect())
    }

    /// The master key, where there is one.
    pub(crate) fn master_key(&self) -> Option<&MasterKey> {
        self.master_key.as_deref()
    }

    /// What is kept of a password, worked out on a thread that may block.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<record::PasswordHash, ActError> {
        let hashed = self.work(move || password::hash(&password)).await.map_err(ActError::Unavailable)?;
        hashed.map_err(ActError::Unavailable)
    }

    /// Slow work on a password, a few at a time.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let busy = || "too many people sign in at once; try again in a moment".to_owned();
        let turn = tokio::time::timeout(PASSWORD_WITHIN, self.shared.passwords.acquire()).await;
        let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        actix_web::web::block(work).await.map_err(|_| "the password could not be worked on; try again".to_owned())
    }

    /// A short call of Redis.
    async fn ask<T>(
        &self,
        call: impl AsyncFn(crate::redis::Connection) -> redis::RedisResult<T>,
    ) -> Result<T, LogError> {
        match tokio::time::timeout(REDIS_WITHIN, self.redis.link().run(call)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(LogError::Unavailable(crate::redis::connection::describe(&error))),
            Err(_) => Err(LogError::Unavailable("Redis did not answer in time".into())),
        }
    }

    /// Beside the registry's document, so that scripts may use both in a cluster too.
    fn key(&self, name: &str) -> String {
        format!("{}:{{registry}}:{name}", self.redis.keys().prefix())
    }

    fn session_key(&self, token: &str) -> String {
        self.key(&format!("session:{}", digest(token)))
    }

    /// By a digest: whatever somebody types as a name is no part of a key.
    fn wrong_of_user(&self, name: &str) -> String {
        self.key(&format!("wrong:user:{}", digest(name)))
    }

    /// Of an IPv6 address the network counts: whoever has one address of it has all.
    fn wrong_of_address(&self, from: IpAddr) -> String {
        let from = match from.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::")
            }
            IpAddr::V4(address) => address.to_string(),
        };
        self.key(&format!("wrong:from:{from}"))
    }
}

/// What stands beside a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When they last signed in, in milliseconds since the Unix epoch, and where from.
    pub(crate) last: Option<(u64, String)>,
    /// Until when they are locked out, in milliseconds since the Unix epoch.
    pub(crate) locked_until_ms: Option<u64>,
}

/// A name as it is kept: people do not mind capitals.
#[must_use]
pub fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}

/// What is wrong with a new user's name, if anything. It is to be [`normal`].
#[must_use]
pub fn name_complaint(name: &str) -> Option<FieldError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.@".contains(c);
    let first = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let ok = first && name.len() <= MOST_NAME_CHARS && name.chars().all(good);
    (!ok).then(|| FieldError {
        field: "name".into(),
        code: "user_name",
        message: format!(
            "this is not a user's name; give 1 to {MOST_NAME_CHARS} letters, digits, `-`, `_`, `.` or `@`, a letter or digit first"
        ),
    })
}

/// 256 random bits as text for an address or a cookie.
fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// SHA-256, lower-case hex.
fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A word that no session has carried yet.
pub(crate) fn new_epoch() -> String {
    tidegate_actors::delivery::random_token(12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain() {
        for good in ["ana", "a", "0ps", "ana.putri@example.com", "a_b-c"] {
            assert_eq!(name_complaint(good), None, "{good}");
        }
        for bad in ["", " ana", "Ana", ".ana", "ana putri", "ana\n", "<b>", "ana)", &"a".repeat(65)] {
            assert!(name_complaint(bad).is_some(), "{bad}");
        }
        assert_eq!(normal(" Ana "), "ana");
    }
}
