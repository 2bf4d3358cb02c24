//! Signing in: the attempt is counted, the password worked on, the second factor asked for, and only then is there a session.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use tidegate_actors::ports::LogError;

use super::{
    Users, normal, password, scripts,
    sessions::{SignedIn, ms},
};
use crate::admin::ActError;

/// Longest password that is worked on, in bytes: 256 characters are at most 1,024.
const MOST_BYTES: usize = 1_024;

/// Why somebody is not signed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// There is no such user, or it is not their password: which of the two is not told.
    #[error("user name and password do not match")]
    Wrong,
    /// Too many wrong attempts. Until when, in milliseconds since the Unix epoch.
    #[error("too many wrong attempts; try again later")]
    LockedUntil(u64),
    /// The password is right, and the code of the second factor is wanted too.
    #[error("the code of your device is wanted")]
    CodeWanted,
    /// The password is right and the code is not, or was used already.
    #[error("this code is wrong, or was used already")]
    CodeWrong,
    /// It could not be looked at, and why.
    #[error("{0}")]
    Unavailable(String),
}

impl From<LogError> for SignInError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ActError> for SignInError {
    fn from(error: ActError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Where an attempt is counted.
struct Attempt {
    keys: [String; 2],
}

impl Users {
    /// Signs somebody in who has come from this address. Each success has a token of its own.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(
        &self,
        name: &str,
        password: SecretString,
        code: Option<&str>,
        from: IpAddr,
    ) -> Result<SignedIn, SignInError> {
        let name = normal(name);
        let attempt = self.attempt(&name, from).await?;
        let users = self.load().await?;
        let user = users.iter().find(|user| user.name == name);
        let kept = user.map(|user| user.password.clone()).filter(|_| password.expose_secret().len() <= MOST_BYTES);
        let right = self.work(move || password::matches(&password, kept.as_ref())).await;
        let right = right.map_err(SignInError::Unavailable)?;
        let Some(user) = user.filter(|_| right) else {
            // The name of somebody who is none may be a password that was typed into the wrong field.
            match user {
                Some(user) => tracing::warn!(user = %user.name, %from, "a sign-in with a wrong password"),
                None => tracing::warn!(%from, "a sign-in of somebody who is no user"),
            }
            return Err(SignInError::Wrong);
        };
        if let Some(second) = &user.second {
            match code.map(str::trim).filter(|code| !code.is_empty()) {
                None => {
                    self.take_back(&attempt).await?;
                    return Err(SignInError::CodeWanted);
                }
                Some(code) if self.accept(user, second, code, from).await? => {}
                Some(_) => {
                    tracing::warn!(user = %user.name, %from, "a sign-in with a wrong code");
                    return Err(SignInError::CodeWrong);
                }
            }
        }
        let signed_in = self.open(user, Some(from)).await?;
        tracing::info!(user = %user.name, %from, "signed in");
        Ok(signed_in)
    }

    /// Whether this is the user's password, for an act that asks for it once more. Counted like a sign-in.
    pub(crate) async fn confirm(&self, name: &str, password: SecretString, from: IpAddr) -> Result<(), SignInError> {
        let attempt = self.attempt(name, from).await?;
        let kept = self.find(name).await?.map(|user| user.password);
        let kept = kept.filter(|_| password.expose_secret().len() <= MOST_BYTES);
        let right = self.work(move || password::matches(&password, kept.as_ref())).await;
        if !right.map_err(SignInError::Unavailable)? {
            return Err(SignInError::Wrong);
        }
        Ok(self.take_back(&attempt).await?)
    }

    /// Counts an attempt as wrong, for now.
    async fn attempt(&self, name: &str, from: IpAddr) -> Result<Attempt, SignInError> {
        let keys = [self.wrong_of_user(name), self.wrong_of_address(from)];
        let rules = &self.rules;
        let (shortest, longest) = (ms(rules.shortest_lock), ms(rules.longest_lock));
        let remembered = ms(rules.remembered);
        let (until, _now): (String, String) = self
            .ask(async |mut connection| {
                let mut call = scripts::ATTEMPT.key(&keys[0]);
                call.key(&keys[1]).arg(rules.user_tries).arg(rules.address_tries);
                call.arg(shortest).arg(longest).arg(remembered).invoke_async(&mut connection).await
            })
            .await?;
        match until.parse().unwrap_or(0) {
            0 => Ok(Attempt { keys }),
            until => Err(SignInError::LockedUntil(until)),
        }
    }

    async fn take_back(&self, Attempt { keys }: &Attempt) -> Result<(), LogError> {
        self.ask(async |mut connection| {
            let mut call = scripts::TAKE_BACK.key(&keys[0]);
            call.key(&keys[1]).arg(self.rules.user_tries).arg(self.rules.address_tries);
            call.invoke_async(&mut connection).await
        })
        .await
    }
}
