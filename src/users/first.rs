//! The first admin: whoever has the link that a node prints at its first start makes themselves one, once.

use secrecy::SecretString;
use tidegate_actors::{delivery::now_ms, ports::LogError};

use super::{
    SignedIn, User, Users, digest, name_complaint, new_epoch, normal, password, random_token, scripts, sessions::ms,
};
use crate::{
    admin::{ActError, FieldError, Role, Who},
    registry::{Edit, Registry, Store},
};

/// Why somebody did not become the first admin.
#[derive(Debug, thiserror::Error)]
pub enum FirstError {
    /// The link is wrong, too old, or there is a user already.
    #[error("this link is used or too old; restart a node for a new one, or run `tidegate user add NAME --role admin`")]
    Gone,
    /// What was given is wrong.
    #[error("{}", .0.first().map_or("something that was given is wrong", |first| first.message.as_str()))]
    Invalid(Vec<FieldError>),
    /// Redis is away: try again.
    #[error("{0}")]
    Unavailable(String),
}

impl From<LogError> for FirstError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ActError> for FirstError {
    fn from(error: ActError) -> Self {
        match error {
            ActError::Invalid(fields) => Self::Invalid(fields),
            ActError::Conflict(_) => Self::Gone,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl Users {
    /// A token for the first admin's link, where there is no user yet. Only its digest is kept, for an hour.
    ///
    /// # Errors
    /// Redis is away, or refuses.
    pub async fn first_link(&self) -> anyhow::Result<Option<String>> {
        // Redis may have been emptied: the users that are being restored are no reason for a link.
        let mut registry = Registry::new(Store::of(&self.redis), self.redis.clone(), "first link");
        if !registry.settled().await?.users.is_empty() {
            return Ok(None);
        }
        let token = random_token();
        let (key, lives) = (self.first_key(&token), ms(self.rules.first_link));
        self.ask(async |mut connection| scripts::FIRST.key(&key).arg(lives).invoke_async::<()>(&mut connection).await)
            .await?;
        Ok(Some(token))
    }

    /// Whether this link may still be used: for the page that it leads to.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn is_first(&self, token: &str) -> Result<bool, LogError> {
        let key = self.first_key(token);
        let known: bool =
            self.ask(async |mut connection| redis::cmd("EXISTS").arg(&key).query_async(&mut connection).await).await?;
        Ok(known && self.load().await?.is_empty())
    }

    /// Makes the first admin, and signs them in.
    ///
    /// # Errors
    /// See [`FirstError`].
    pub async fn first_admin(&self, token: &str, name: &str, password: SecretString) -> Result<SignedIn, FirstError> {
        if !self.is_first(token).await? {
            return Err(FirstError::Gone);
        }
        let name = normal(name);
        let wrong: Vec<FieldError> =
            [name_complaint(&name), password::complaint(&name, &password, "password")].into_iter().flatten().collect();
        if !wrong.is_empty() {
            return Err(FirstError::Invalid(wrong));
        }
        let (password, now) = (self.hash(password).await?, now_ms());
        let user = User {
            name: name.clone(),
            role: Role::Admin,
            password,
            created_at_ms: now,
            password_at_ms: now,
            epoch: new_epoch(),
            lang: None,
            second: None,
        };
        let who = Who { name: name.as_str().into(), role: Role::Admin, from: "first link".into() };
        self.change(&who, |current| {
            if !current.users.is_empty() {
                return Err(ActError::Conflict("there is a user already".into()));
            }
            let mut document = current.clone();
            document.users.push(user.clone());
            Ok(Edit {
                document,
                what: vec![format!("create user `{name}`, role admin, by the one-time link")],
                value: (),
            })
        })
        .await?;
        let key = self.first_key(token);
        // Nobody can use it any more anyway: there is a user.
        let _ =
            self.ask(async |mut connection| redis::cmd("DEL").arg(&key).query_async::<()>(&mut connection).await).await;
        Ok(self.open(&user, None).await?)
    }

    fn first_key(&self, token: &str) -> String {
        self.key(&format!("first:{}", digest(token)))
    }
}
