//! Terminals: made by a one-time code (see [`super::codes`]), known by a token of their own from then on, moved and revoked by a
//! word.
//!
//! A token is the terminal's id, its time of issue and its shop, with an HMAC by a key that the registry keeps: so a Redis that
//! was emptied and restored still knows them. What an operator decided later, another shop or the end, stands in the record and
//! in the registry's document.

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use secrecy::{SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    parts::{TERMINAL_KEY_ID, TerminalKey, UNASSIGNED},
    scripts,
    store::{Broadcasts, CastError, odd},
};
use crate::{
    registry::secrets::{MasterKey, SecretError},
    resources::Document,
};

/// What a token begins with.
pub const TOKEN_PREFIX: &str = "tg_term_";
/// A terminal whose last beat is younger is on.
pub const ON_WITHIN: Duration = Duration::from_secs(45);
/// Longest name of a terminal, in characters.
pub const MOST_NAME: usize = 80;

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Random, 12 lower-case letters and digits.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The name of its shop.
    pub shop: String,
    /// When it was enrolled, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Who made its code.
    #[serde(default)]
    pub by: String,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_ms: Option<u64>,
    /// Who revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
}

/// What a token says, once its HMAC was found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The terminal's id.
    pub id: String,
    /// When it was enrolled, in milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// The shop that it was enrolled for.
    pub shop: String,
}

/// The key of the terminals' tokens. It does not print itself.
pub struct TokenKey(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// A new random key, as the document keeps it.
    #[must_use]
    pub fn generate(master_key: Option<&MasterKey>) -> TerminalKey {
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
        match master_key {
            Some(key) => TerminalKey::Sealed(key.seal_bytes(TERMINAL_KEY_ID, bytes.as_slice())),
            None => TerminalKey::Plain { secret: BASE64.encode(bytes.as_slice()) },
        }
    }

    /// The key that the document keeps.
    ///
    /// # Errors
    /// It is sealed with a master key that is not at hand.
    pub fn open(kept: &TerminalKey, master_key: Option<&MasterKey>) -> Result<Self, SecretError> {
        let bytes = match kept {
            TerminalKey::Sealed(sealed) => {
                master_key.ok_or(SecretError::NoMasterKey)?.open_bytes(TERMINAL_KEY_ID, sealed)?
            }
            TerminalKey::Plain { secret } => BASE64.decode(secret).map_err(|_| SecretError::Damaged)?,
        };
        Ok(Self(Zeroizing::new(bytes)))
    }

    fn mac(&self, signed: &str) -> Option<Hmac<Sha256>> {
        // A key of any length will do.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(b"terminal/1/");
        mac.update(signed.as_bytes());
        Some(mac)
    }

    /// The token of a terminal.
    #[must_use]
    pub fn token(&self, terminal: &Terminal) -> SecretString {
        let signed = format!("{}~{}~{}", terminal.id, terminal.created_ms, terminal.shop);
        let mac = self.mac(&signed).map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        format!("{TOKEN_PREFIX}{signed}~{}", mac.unwrap_or_default()).into()
    }

    /// What a token says, if it is one of ours.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<Claim> {
        let (signed, mac) = token.strip_prefix(TOKEN_PREFIX)?.rsplit_once('~')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.mac(signed)?.verify_slice(&mac).ok()?;
        let mut parts = signed.splitn(3, '~');
        Some(Claim {
            id: parts.next()?.to_owned(),
            issued_ms: parts.next()?.parse().ok()?,
            shop: parts.next()?.to_owned(),
        })
    }
}

impl Claim {
    /// The record of a terminal that Redis does not know any more.
    #[must_use]
    pub fn terminal(&self) -> Terminal {
        Terminal {
            id: self.id.clone(),
            name: String::new(),
            shop: if self.shop.is_empty() { UNASSIGNED.into() } else { self.shop.clone() },
            created_ms: self.issued_ms,
            by: String::new(),
            revoked_ms: None,
            revoked_by: None,
        }
    }
}

impl Terminal {
    /// As the registry's document has it decided.
    #[must_use]
    pub fn settled(mut self, document: &Document) -> Self {
        if let Some(shop) = document.moved_terminals.get(&self.id) {
            self.shop.clone_from(shop);
        }
        if self.revoked_ms.is_none() && document.revoked_terminals.contains(&self.id) {
            self.revoked_ms = Some(0);
        }
        self
    }

    /// Whether it may see anything.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked_ms.is_some()
    }

    /// What it is called: by its name, else by its id.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }
}

impl Broadcasts {
    /// All terminals, as their records have them.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn terminals(&self) -> Result<Vec<Terminal>, CastError> {
        let key = self.keys().terminals();
        let all: Vec<String> =
            self.run(async |mut connection| redis::cmd("HVALS").arg(&key).query_async(&mut connection).await).await?;
        Ok(all.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    /// One terminal.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn terminal(&self, id: &str) -> Result<Option<Terminal>, CastError> {
        Ok(self.terminal_raw(id).await?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    async fn terminal_raw(&self, id: &str) -> Result<Option<String>, CastError> {
        let key = self.keys().terminals();
        self.run(async |mut connection| redis::cmd("HGET").arg(&key).arg(id).query_async(&mut connection).await).await
    }

    /// The record of a terminal that came with a token of ours; it is made anew where Redis has lost it.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn recognise(&self, claim: &Claim, document: &Document) -> Result<Terminal, CastError> {
        if let Some(terminal) = self.terminal(&claim.id).await? {
            return Ok(terminal.settled(document));
        }
        let terminal = claim.terminal().settled(document);
        let there = self.put_terminal("", &terminal).await?;
        tracing::info!(terminal = %terminal.id, shop = %terminal.shop, "a terminal that Redis did not know was made anew from its token");
        Ok(serde_json::from_str::<Terminal>(&there).unwrap_or(terminal).settled(document))
    }

    /// Changes a terminal's record.
    ///
    /// # Errors
    /// Redis is away, or there is none of this id.
    pub async fn change_terminal(&self, id: &str, edit: impl Fn(&mut Terminal)) -> Result<Terminal, CastError> {
        let mut there = self.terminal_raw(id).await?.ok_or(CastError::Unknown)?;
        for _ in 0..8 {
            let mut terminal: Terminal = serde_json::from_str(&there).map_err(|_| odd())?;
            edit(&mut terminal);
            let wanted = serde_json::to_string(&terminal).map_err(|_| odd())?;
            let found = self.put_terminal(&there, &terminal).await?;
            if found == wanted {
                return Ok(terminal);
            }
            there = found;
        }
        Err(CastError::Refused("others change the same terminal all the time; try again".into()))
    }

    pub(super) async fn put_terminal(&self, there: &str, terminal: &Terminal) -> Result<String, CastError> {
        let keys = self.keys();
        let record = serde_json::to_string(terminal).map_err(|_| odd())?;
        self.run(async |mut connection| {
            let mut call = scripts::TERMINAL.key(keys.terminals());
            call.key(keys.terminals_version()).arg(&terminal.id).arg(there).arg(&record);
            call.invoke_async(&mut connection).await
        })
        .await
    }

    /// The time now, and the last beat of every terminal that ever beat, both by Redis's clock.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn beats(&self) -> Result<(u64, std::collections::HashMap<String, u64>), CastError> {
        let key = self.keys().beats();
        let (now, flat): (String, Vec<String>) =
            self.run(async |mut connection| scripts::ON.key(&key).invoke_async(&mut connection).await).await?;
        let beats =
            flat.chunks_exact(2).filter_map(|pair| Some((pair[0].clone(), pair[1].parse::<f64>().ok()? as u64)));
        Ok((now.parse().map_err(|_| odd())?, beats.collect()))
    }
}

/// Whether a terminal that last beat then is on now.
#[must_use]
pub fn is_on(beat_ms: Option<u64>, now_ms: u64) -> bool {
    let within = u64::try_from(ON_WITHIN.as_millis()).unwrap_or(u64::MAX);
    beat_ms.is_some_and(|beat| now_ms.saturating_sub(beat) < within)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use secrecy::ExposeSecret as _;

    use super::*;

    fn terminal() -> Terminal {
        Claim { id: "abcdefghijkl".into(), issued_ms: 5, shop: "shop-1.a_b".into() }.terminal()
    }

    #[test]
    fn a_token_says_whose_it_is_and_every_changed_letter_is_noticed() {
        let master = MasterKey::generate();
        for master in [Some(&master), None] {
            let kept = TokenKey::generate(master);
            let key = TokenKey::open(&kept, master).unwrap();
            let token = key.token(&terminal());
            let token = token.expose_secret();
            assert_eq!(key.read(token).unwrap().terminal(), terminal());
            for place in 0..token.len() - 1 {
                let mut changed = token.to_owned().into_bytes();
                changed[place] = if changed[place] == b'x' { b'y' } else { b'x' };
                assert_eq!(key.read(&String::from_utf8(changed).unwrap()), None, "{place}");
            }
            let other = TokenKey::open(&TokenKey::generate(None), None).unwrap();
            assert_eq!(other.read(token), None);
        }
        assert!(!serde_json::to_string(&TokenKey::generate(Some(&master))).unwrap().contains("secret"));
    }

    #[test]
    fn the_document_has_the_last_word() {
        let mut document = Document::default();
        document.moved_terminals.insert("abcdefghijkl".into(), "shop-2".into());
        assert_eq!(terminal().settled(&document).shop, "shop-2");
        assert!(!terminal().settled(&document).is_revoked());
        document.revoked_terminals.insert("abcdefghijkl".into());
        assert!(terminal().settled(&document).is_revoked());
    }

    #[test]
    fn a_terminal_is_on_for_45_seconds_after_its_last_beat() {
        assert!(is_on(Some(1_000), 45_999) && !is_on(Some(1_000), 46_000) && !is_on(None, 0));
    }
}
