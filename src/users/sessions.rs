//! Sessions: begun when somebody signs in, known by a token that only their browser has, over after a time or at a word.
//!
//! A session carries its user's epoch. A password or role that changes, or an admin who ends sessions, gives the user another
//! one, and every session of the old one is over at its next use, on every node, whatever else is known of it.

use std::{fmt, sync::Arc, time::Duration};

use secrecy::SecretString;
use tidegate_actors::ports::LogError;

use super::{Stamp, User, Users, random_token, record::Lang, scripts};
use crate::admin::Role;

/// How often the use of a session is noted in Redis, as a part of the time that it may be left unused.
const NOTED: u32 = 200;

/// Somebody who is signed in.
#[derive(Clone, PartialEq, Eq)]
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

/// Without the token of its forms: whoever reads a log must not be able to send them.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, role, csrf: _, lang, since_ms, seen_ms } = self;
        f.debug_struct("Session")
            .field("user", user)
            .field("role", role)
            .field("lang", lang)
            .field("since_ms", since_ms)
            .field("seen_ms", seen_ms)
            .finish_non_exhaustive()
    }
}

impl Users {
    /// The session of this token; `None` where there is none or it is over.
    ///
    /// # Errors
    /// Redis is away: whether it is over is not known.
    pub async fn session(&self, token: &str) -> Result<Option<Session>, LogError> {
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

    /// Ends a session.
    ///
    /// # Errors
    /// Redis is away: it goes on until its time is over.
    pub async fn sign_out(&self, token: &str) -> Result<(), LogError> {
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
        Ok(SignedIn { token: token.into(), session })
    }
}

/// A time as Redis takes it.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_no_token_of_forms() {
        let session = Session {
            user: "ana".into(),
            role: Role::Admin,
            csrf: "canary".into(),
            lang: None,
            since_ms: 1,
            seen_ms: 2,
        };
        let signed_in = SignedIn { token: "canary".to_owned().into(), session };
        let shown = format!("{signed_in:?}");
        assert!(shown.contains("ana") && !shown.contains("canary"), "{shown}");
    }
}
