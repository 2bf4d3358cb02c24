//! Sessions: begun when somebody signs in, known by a token that only their browser has, over after a time or at a word.
//!
//! A session carries its user's epoch. A password or role that changes, or an admin who ends sessions, gives the user another
//! one, and every session of the old one is over at its next use, on every node, whatever else is known of it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use tidegate_actors::ports::LogError;

use super::{Stamp, User, Users, digest, random_token, record::Lang, scripts};
use crate::admin::Role;

/// How often the use of a session is noted in Redis, as a part of the time that it may be left unused.
const NOTED: u32 = 200;
/// How long a session that was good is believed while Redis is away: for reading only, and the page says so.
const BELIEVED: Duration = Duration::from_secs(10 * 60);
/// Most sessions that a node remembers for that.
const MOST_REMEMBERED: usize = 1_000;

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Their name.
    pub user: Arc<str>,
    /// What they may do, as it stands now.
    pub role: Role,
    /// What every request that changes something must carry.
    pub csrf: Arc<str>,
    /// The language they chose.
    pub lang: Option<Lang>,
    /// When they signed in, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When the session was last used, to the minute or so, in milliseconds since the Unix epoch.
    pub seen_ms: u64,
}

/// A session that has just begun.
#[derive(Debug)]
pub struct SignedIn {
    /// For the cookie. It is told this once.
    pub token: SecretString,
    /// Whose it is.
    pub session: Session,
}

/// Sessions that were good a short while ago, by their tokens' digests.
#[derive(Default)]
pub(super) struct Remembered(HashMap<String, (Session, Instant)>);

impl Remembered {
    fn keep(&mut self, digest: String, session: Session) {
        if self.0.len() >= MOST_REMEMBERED {
            self.0.retain(|_, (_, at)| at.elapsed() < BELIEVED);
        }
        if self.0.len() < MOST_REMEMBERED {
            self.0.insert(digest, (session, Instant::now()));
        }
    }
}

impl Users {
    /// The session of this token; `None` where there is none or it is over.
    ///
    /// # Errors
    /// Redis is away: whether it is over is not known. See [`remembered`](Self::remembered).
    pub async fn session(&self, token: &str) -> Result<Option<Session>, LogError> {
        let found = self.look(token).await?;
        let mut remembered = self.shared.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            Some(session) => remembered.keep(digest(token), session.clone()),
            None => drop(remembered.0.remove(&digest(token))),
        }
        Ok(found)
    }

    async fn look(&self, token: &str) -> Result<Option<Session>, LogError> {
        let (session, document) = (self.session_key(token), self.key("document"));
        let (idle, absolute) = (ms(self.rules.idle), ms(self.rules.absolute));
        let noted = ms(self.rules.idle / NOTED);
        let found: Option<Vec<String>> = self
            .ask(async |mut connection| {
                let mut call = scripts::LOOK.key(&session);
                call.key(&document).arg(idle).arg(absolute).arg(noted).invoke_async(&mut connection).await
            })
            .await?;
        let Some(Ok([name, epoch, csrf, since, seen, version, installation, digest])) =
            found.map(<[String; 8]>::try_from)
        else {
            return Ok(None);
        };
        let users = self.of(&Stamp { version, installation, digest }).await?;
        let Some(user) = users.iter().find(|user| user.name == name && user.epoch == epoch) else { return Ok(None) };
        Ok(Some(Session {
            user: name.into(),
            role: user.role,
            csrf: csrf.into(),
            lang: user.lang,
            since_ms: since.parse().unwrap_or_default(),
            seen_ms: seen.parse().unwrap_or_default(),
        }))
    }

    /// The session as this node last knew it, some minutes ago at most: for pages that are only read while Redis is away.
    #[must_use]
    pub fn remembered(&self, token: &str) -> Option<Session> {
        let remembered = self.shared.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.0.get(&digest(token)).filter(|(_, at)| at.elapsed() < BELIEVED).map(|(session, _)| session.clone())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Redis is away: it goes on until its time is over.
    pub async fn sign_out(&self, token: &str) -> Result<(), LogError> {
        self.shared.remembered.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&digest(token));
        let key = self.session_key(token);
        self.ask(async |mut connection| redis::cmd("DEL").arg(&key).query_async(&mut connection).await).await
    }

    /// Begins a session of this user, and forgets what they did wrong before.
    pub(crate) async fn open(&self, user: &User, from: Option<std::net::IpAddr>) -> Result<SignedIn, LogError> {
        let (token, csrf) = (random_token(), random_token());
        let (session, seen) = (self.session_key(&token), self.key("signed-in"));
        let wrong = self.wrong_of_user(&user.name);
        // Whoever comes by the one-time link has no wrong attempts to take back.
        let at = from.map_or_else(|| self.key("wrong:from:-"), |from| self.wrong_of_address(from));
        let from = from.map_or_else(|| "-".to_owned(), |from| from.to_canonical().to_string());
        let idle = ms(self.rules.idle.min(self.rules.absolute));
        let now: String = self
            .ask(async |mut connection| {
                let mut call = scripts::OPEN.key(&session);
                call.key(&wrong).key(&at).key(&seen);
                call.arg(&user.name).arg(&user.epoch).arg(&csrf).arg(idle).arg(self.rules.address_tries).arg(&from);
                call.invoke_async(&mut connection).await
            })
            .await?;
        let now = now.parse().unwrap_or_default();
        let session = Session {
            user: user.name.as_str().into(),
            role: user.role,
            csrf: csrf.into(),
            lang: user.lang,
            since_ms: now,
            seen_ms: now,
        };
        let token = SecretString::from(token);
        let mut remembered = self.shared.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.keep(digest(token.expose_secret()), session.clone());
        drop(remembered);
        Ok(SignedIn { token, session })
    }
}

/// A time as Redis takes it.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
