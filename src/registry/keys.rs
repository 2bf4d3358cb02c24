//! API keys: made, recognised and taken back.
//!
//! A key is `tg_live_`, 8 characters that name it, 32 that make it secret, and a checksum of 6, so that a mistyped one
//! is told from an unknown one without asking anybody. Only its id and SHA-256 are kept; whoever creates it sees it once.

use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    databases::nearest,
    resources::{ApiKey, Application, Document},
};

/// What every key begins with.
pub const KEY_PREFIX: &str = "tg_live_";

const ID_CHARS: usize = 8;
const SECRET_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
const KEY_CHARS: usize = KEY_PREFIX.len() + ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Active keys of one application: enough to rotate many producers, few enough to look through at every request.
pub const MAX_ACTIVE_KEYS: usize = 50;
/// Revoked and expired keys of one application that are still listed.
const MAX_FORMER_KEYS: usize = 20;

/// Why something cannot be done with a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// There is no such application.
    #[error("there is no application `{name}`{hint}")]
    UnknownApplication {
        /// The name that was given.
        name: String,
        /// The nearest right one, or what to do.
        hint: String,
    },
    /// The application has as many as it may.
    #[error("application `{0}` has {MAX_ACTIVE_KEYS} active keys already; revoke those that are no longer used")]
    TooMany(String),
    /// The application has no such key.
    #[error("application `{application}` has no active key `{key}`; `tidegate key list {application}` shows them")]
    UnknownKey {
        /// The application.
        application: String,
        /// The key's id.
        key: String,
    },
    /// Which one is not said.
    #[error("application `{application}` has {count} active keys ({ids}); say which one, or --all")]
    Ambiguous {
        /// The application.
        application: String,
        /// How many.
        count: usize,
        /// Their ids.
        ids: String,
    },
}

/// The id inside a well-formed key; `None` where the form or the checksum is wrong.
#[must_use]
pub fn parse(key: &str) -> Option<&str> {
    if key.len() != KEY_CHARS || !key.starts_with(KEY_PREFIX) {
        return None;
    }
    if !key[KEY_PREFIX.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (body, sum) = key.split_at(KEY_CHARS - CHECKSUM_CHARS);
    // The checksum is public arithmetic on what the caller sent, so its comparison tells nobody anything.
    (checksum(body) == sum).then(|| &body[KEY_PREFIX.len()..KEY_PREFIX.len() + ID_CHARS])
}

/// SHA-256 of the whole key, lower-case hex: what [`ApiKey::digest`] holds.
#[must_use]
pub fn digest(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a key is good at this time: not revoked, not expired.
#[must_use]
pub fn is_active(key: &ApiKey, now_ms: u64) -> bool {
    key.revoked_at_ms.is_none() && key.expires_at_ms.is_none_or(|expires| now_ms < expires)
}

/// The application that a presented key belongs to, if it is a good one. Digests are compared in constant time.
#[must_use]
pub fn authenticate<'a>(
    applications: impl IntoIterator<Item = &'a Application>,
    presented: &str,
    now_ms: u64,
) -> Option<(&'a Application, &'a ApiKey)> {
    let id = parse(presented)?;
    let presented = digest(presented);
    applications
        .into_iter()
        .flat_map(|application| application.keys.iter().map(move |key| (application, key)))
        .filter(|(_, key)| key.id == id && is_active(key, now_ms))
        .find(|(_, key)| bool::from(key.digest.as_bytes().ct_eq(presented.as_bytes())))
}

/// Adds a key to an application and hands it out, for this once.
///
/// # Errors
/// No such application, or it has too many keys.
pub fn create(
    document: &mut Document,
    application: &str,
    expires_at_ms: Option<u64>,
    now_ms: u64,
) -> Result<(SecretString, ApiKey), KeyError> {
    let taken: Vec<String> = document.applications.iter().flat_map(|app| &app.keys).map(|key| key.id.clone()).collect();
    let owner = application_mut(document, application)?;
    if owner.keys.iter().filter(|key| is_active(key, now_ms)).count() >= MAX_ACTIVE_KEYS {
        return Err(KeyError::TooMany(application.into()));
    }
    let mut former = owner.keys.iter().filter(|key| !is_active(key, now_ms)).count();
    owner.keys.retain(|key| {
        let drop = former > MAX_FORMER_KEYS && !is_active(key, now_ms);
        former -= usize::from(drop);
        !drop
    });
    let id = loop {
        let id = base62(ID_CHARS);
        if !taken.contains(&id) {
            break id;
        }
    };
    let body = format!("{KEY_PREFIX}{id}{}", base62(SECRET_CHARS));
    let text: SecretString = format!("{body}{}", checksum(&body)).into();
    let key =
        ApiKey { id, digest: digest(text.expose_secret()), created_at_ms: now_ms, expires_at_ms, revoked_at_ms: None };
    owner.keys.push(key.clone());
    Ok((text, key))
}

/// Which of an application's keys are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The only active one.
    Only,
    /// Every active one.
    All,
    /// The one of this id, or this whole key.
    Named(String),
}

/// Revokes keys of an application; answers with their ids.
///
/// # Errors
/// No such application, no such active key, or it is not clear which.
pub fn revoke(document: &mut Document, application: &str, which: &Which, now_ms: u64) -> Result<Vec<String>, KeyError> {
    let owner = application_mut(document, application)?;
    let active: Vec<String> =
        owner.keys.iter().filter(|key| is_active(key, now_ms)).map(|key| key.id.clone()).collect();
    let unknown = |key: &str| KeyError::UnknownKey { application: application.into(), key: key.into() };
    let chosen = match which {
        Which::All => active,
        Which::Only if active.len() == 1 => active,
        Which::Only if active.is_empty() => return Err(unknown("any")),
        Which::Only => {
            let (count, ids) = (active.len(), active.join(", "));
            return Err(KeyError::Ambiguous { application: application.into(), count, ids });
        }
        Which::Named(given) => {
            // A whole key is accepted too; it must not come back in an error.
            let id = parse(given).unwrap_or(given).to_owned();
            if !active.contains(&id) {
                return Err(unknown(id.get(..ID_CHARS).unwrap_or(&id)));
            }
            vec![id]
        }
    };
    for key in owner.keys.iter_mut().filter(|key| chosen.contains(&key.id)) {
        key.revoked_at_ms = Some(now_ms);
    }
    Ok(chosen)
}

/// The application of this name.
///
/// # Errors
/// There is none; the error names the nearest.
pub fn application<'a>(document: &'a Document, name: &str) -> Result<&'a Application, KeyError> {
    document.applications.iter().find(|app| app.name == name).ok_or_else(|| unknown_application(document, name))
}

fn application_mut<'a>(document: &'a mut Document, name: &str) -> Result<&'a mut Application, KeyError> {
    match document.applications.iter().position(|app| app.name == name) {
        Some(place) => Ok(&mut document.applications[place]),
        None => Err(unknown_application(document, name)),
    }
}

fn unknown_application(document: &Document, name: &str) -> KeyError {
    let hint = match nearest(name, document.applications.iter().map(|app| app.name.as_str())) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => "; create it with `tidegate apply`".into(),
    };
    KeyError::UnknownApplication { name: name.into(), hint }
}

/// Six base62 characters of the SHA-256 of what stands before them.
fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let mut number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let mut text = String::with_capacity(CHECKSUM_CHARS);
    for _ in 0..CHECKSUM_CHARS {
        text.push(char::from(BASE62[(number % 62) as usize]));
        number /= 62;
    }
    text
}

fn base62(length: usize) -> String {
    let mut random = rand::rng();
    (0..length).map(|_| char::from(BASE62[random.random_range(0..BASE62.len())])).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn document() -> Document {
        let application = |name: &str| Application {
            name: name.into(),
            topics: vec![],
            schemas: Default::default(),
            records_per_s: None,
            broadcasts: false,
            created_at_ms: 0,
            keys: vec![],
        };
        Document { applications: vec![application("car-app"), application("shop")], ..Document::default() }
    }

    #[test]
    fn a_new_key_is_recognised_and_only_its_digest_is_kept() {
        let mut document = document();
        let (key, _) = create(&mut document, "car-app", None, 1000).unwrap();
        let text = key.expose_secret();
        assert_eq!(text.len(), 8 + 8 + 32 + 6);
        let (application, kept) = authenticate(&document.applications, text, 2000).unwrap();
        assert_eq!(application.name, "car-app");
        assert_eq!(parse(text), Some(kept.id.as_str()));
        let stored = serde_json::to_string(&document).unwrap();
        assert!(!stored.contains(&text[16..]), "{stored}");
    }

    #[test]
    fn every_mistyped_character_is_told_by_the_checksum() {
        let (key, _) = create(&mut document(), "shop", None, 0).unwrap();
        let text = key.expose_secret();
        for place in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'a' { b'b' } else { b'a' };
            assert_eq!(parse(std::str::from_utf8(&bytes).unwrap()), None, "at {place}");
        }
        for bad in ["", "tg_live_", &text[1..], &format!("{text}0"), &format!("{}é", &text[..52])] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn another_key_with_the_same_id_is_refused() {
        let mut document = document();
        let (key, kept) = create(&mut document, "shop", None, 0).unwrap();
        let body = format!("{KEY_PREFIX}{}{}", kept.id, "0".repeat(SECRET_CHARS));
        let forged = format!("{body}{}", checksum(&body));
        assert!(parse(&forged).is_some());
        assert!(authenticate(&document.applications, &forged, 1).is_none());
        assert!(authenticate(&document.applications, key.expose_secret(), 1).is_some());
    }

    #[test]
    fn expired_and_revoked_keys_stop_working() {
        let mut document = document();
        let (short, _) = create(&mut document, "shop", Some(50), 0).unwrap();
        let (long, kept) = create(&mut document, "shop", None, 0).unwrap();
        assert!(authenticate(&document.applications, short.expose_secret(), 49).is_some());
        assert!(authenticate(&document.applications, short.expose_secret(), 50).is_none());
        assert!(matches!(revoke(&mut document, "shop", &Which::Only, 10), Err(KeyError::Ambiguous { count: 2, .. })));
        assert_eq!(revoke(&mut document, "shop", &Which::Only, 60).unwrap(), std::slice::from_ref(&kept.id));
        assert!(authenticate(&document.applications, long.expose_secret(), 61).is_none());
        let again = revoke(&mut document, "shop", &Which::Named(long.expose_secret().into()), 62).unwrap_err();
        assert!(!again.to_string().contains(long.expose_secret()), "{again}");
    }

    #[test]
    fn an_unknown_application_is_answered_with_the_nearest() {
        let error = create(&mut document(), "car-ap", None, 0).unwrap_err();
        assert_eq!(error.to_string(), "there is no application `car-ap`; did you mean `car-app`?");
    }
}
