//! One-time codes, by which terminals are enrolled: made for a shop, good once and for a day, listed and taken back.
//!
//! The code itself is told when it is made and kept nowhere: Redis has its digest alone, and lists speak of codes by an id that has
//! nothing to do with it.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tidegate_actors::delivery::random_token;

use super::{
    scripts,
    store::{Broadcasts, CastError, digest, odd},
    terminals::Terminal,
};

/// How long a one-time code is good.
pub const CODE_LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// Wrong codes of an address before it has to wait.
const MOST_TRIES: u32 = 10;
/// How long it has to wait.
const TRIES_REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// Letters of codes: none that is taken for another.
const CODE_LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Letters of a code, without its hyphens.
const CODE_LENGTH: usize = 12;
const ID_LENGTH: usize = 12;

/// What a one-time code is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The shop.
    pub shop: String,
    /// What the terminal is to be called.
    pub name: String,
    /// Who made it.
    pub by: String,
}

/// A code that is still good, without the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// By which it is taken back; says nothing of the code.
    #[serde(default)]
    pub id: String,
    /// What it is for.
    #[serde(flatten)]
    pub offer: Offer,
    /// Until when it is good, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub expires_ms: u64,
}

/// Why somebody is not enrolled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// Wrong, used or old.
    #[error("this code is not known: it is good once, for a day; ask for a new one")]
    UnknownCode,
    /// Too many wrong ones.
    #[error("too many wrong codes from this address; try again in ten minutes")]
    TooMany,
    /// Redis is away, or the key is.
    #[error("{0}")]
    Unavailable(String),
}

impl From<CastError> for EnrolError {
    fn from(error: CastError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// A code as people type it, without what does not count.
fn normal(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

impl Broadcasts {
    /// Makes a one-time code: `ABCD-EFGH-JKLM`. It is told here and never again.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn offer(&self, offer: &Offer) -> Result<(SecretString, u64), CastError> {
        use rand::Rng as _;
        let letters: String = {
            let mut random = rand::rng();
            (0..CODE_LENGTH).map(|_| char::from(CODE_LETTERS[random.random_range(0..CODE_LETTERS.len())])).collect()
        };
        let key = self.keys().code(&digest(&[letters.as_bytes()]));
        let offers = self.keys().offers();
        let open = Open { id: random_token(ID_LENGTH), offer: offer.clone(), expires_ms: 0 };
        let body = serde_json::to_string(&open).map_err(|_| odd())?;
        let lasts = u64::try_from(CODE_LASTS.as_millis()).unwrap_or(u64::MAX);
        let now: String = self
            .run(async |mut connection| {
                let mut call = scripts::OFFER.key(&key);
                call.key(&offers).arg(&body).arg(lasts).arg(&open.id).invoke_async(&mut connection).await
            })
            .await?;
        let code = format!("{}-{}-{}", &letters[..4], &letters[4..8], &letters[8..]);
        Ok((code.into(), now.parse::<u64>().unwrap_or_default() + lasts))
    }

    /// Uses a one-time code up for a new terminal.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn enrol(&self, code: &SecretString, address: &str) -> Result<Terminal, EnrolError> {
        let keys = self.keys();
        let code = keys.code(&digest(&[normal(code.expose_secret()).as_bytes()]));
        let tries = keys.tries(address);
        let remembered = u64::try_from(TRIES_REMEMBERED.as_millis()).unwrap_or(u64::MAX);
        let (outcome, found, now): (String, String, String) = self
            .run(async |mut connection| {
                let mut call = scripts::LOOK_UP.key(&code);
                call.key(&tries).arg(MOST_TRIES).arg(remembered).invoke_async(&mut connection).await
            })
            .await?;
        match outcome.as_str() {
            "FOUND" => {}
            "LIMITED" => return Err(EnrolError::TooMany),
            _ => return Err(EnrolError::UnknownCode),
        }
        let Open { id: open, offer, .. } = serde_json::from_str(&found).map_err(|_| EnrolError::from(odd()))?;
        let terminal = Terminal {
            id: random_token(ID_LENGTH),
            name: offer.name,
            shop: offer.shop,
            created_ms: now.parse().unwrap_or_default(),
            by: offer.by,
            revoked_ms: None,
            revoked_by: None,
        };
        let record = serde_json::to_string(&terminal).map_err(|_| EnrolError::from(odd()))?;
        let taken: u8 = self
            .run(async |mut connection| {
                let mut call = scripts::ENROL.key(&code);
                call.key(keys.terminals()).key(keys.terminals_version()).key(keys.offers());
                call.arg(&found).arg(&terminal.id).arg(&record).arg(&open).invoke_async(&mut connection).await
            })
            .await?;
        if taken == 1 { Ok(terminal) } else { Err(EnrolError::UnknownCode) }
    }

    /// The codes that are still good; the one that ends first comes first.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn open_codes(&self) -> Result<Vec<Open>, CastError> {
        let offers = self.keys().offers();
        let all: Vec<String> =
            self.run(async |mut connection| scripts::OFFERS.key(&offers).invoke_async(&mut connection).await).await?;
        let mut open: Vec<Open> = all.iter().filter_map(|line| read(line)).map(|(_, open)| open).collect();
        open.sort_by(|one, other| (one.expires_ms, &one.id).cmp(&(other.expires_ms, &other.id)));
        Ok(open)
    }

    /// Takes a code back, so that nobody can use it any more; what it was for. `None`: it was used, is over, or there was none.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn withdraw(&self, id: &str) -> Result<Option<Open>, CastError> {
        let offers = self.keys().offers();
        let line: Option<String> = self
            .run(async |mut connection| redis::cmd("HGET").arg(&offers).arg(id).query_async(&mut connection).await)
            .await?;
        let Some((key, open)) = line.as_deref().and_then(read) else { return Ok(None) };
        let gone: u8 = self
            .run(async |mut connection| {
                scripts::WITHDRAW.key(key).key(&offers).arg(id).invoke_async(&mut connection).await
            })
            .await?;
        Ok((gone == 1).then_some(open))
    }
}

/// `EXPIRES KEY JSON`, as the list of codes has it.
fn read(line: &str) -> Option<(&str, Open)> {
    let (expires, rest) = line.split_once(' ')?;
    let (key, body) = rest.split_once(' ')?;
    let open: Open = serde_json::from_str(body).ok()?;
    Some((key, Open { expires_ms: expires.parse().ok()?, ..open }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        assert_eq!(normal(" abcd-efgh jklm\n"), "ABCDEFGHJKLM");
    }

    #[test]
    fn a_line_of_the_list_is_read_and_an_odd_one_is_passed_over() {
        let (key, open) =
            read(r#"17 t:{broadcasts}:codes:ab {"id":"x","shop":"s1","name":"Till 1","by":"sari","expires_ms":0}"#)
                .unwrap();
        assert_eq!((key, open.expires_ms, open.offer.name.as_str()), ("t:{broadcasts}:codes:ab", 17, "Till 1"));
        for odd in ["", "17", "17 key", "17 key {}", "soon key {}"] {
            assert!(read(odd).is_none(), "{odd}");
        }
    }
}
