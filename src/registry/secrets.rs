//! The master key, and how it seals what the registry must keep secret.
//!
//! A secret is sealed with XChaCha20-Poly1305, a random nonce and the id of what it belongs to as associated data, so
//! that a sealed password cannot be moved to another destination. Nothing here prints a key or a secret.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};
use secrecy::{
    ExposeSecret, SecretBox, SecretString,
    zeroize::{Zeroize, Zeroizing},
};
use sha2::{Digest, Sha256};

use crate::{config::Settings, resources::Sealed};

/// What the text of a master key begins with, so that scanners and people know it when they see it.
pub const MASTER_KEY_PREFIX: &str = "tgmk_";

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Why a secret cannot be sealed, opened, or read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// The text is not a master key.
    #[error(
        "is not a master key; give what `tidegate key generate-master` prints (`{MASTER_KEY_PREFIX}` and 43 more characters)"
    )]
    BadMasterKey,
    /// The file cannot be read.
    #[error("cannot read the master key from {path}: {why}; check the path and its rights")]
    MasterKeyFile {
        /// The file.
        path: String,
        /// The system's words.
        why: String,
    },
    /// Sealed with another key than the one at hand.
    #[error(
        "it was sealed with the master key {sealed_with}, and the one given is {given}; give that master key, or apply the password again"
    )]
    OtherKey {
        /// The id of the key it was sealed with.
        sealed_with: String,
        /// The id of the key at hand.
        given: String,
    },
    /// Changed since it was sealed, or sealed for something else.
    #[error("it was changed since it was sealed, or sealed for something else; apply it again")]
    Damaged,
    /// There is no master key at all.
    #[error(
        "there is no master key; make one with `tidegate key generate-master`, keep it in a file that only Tidegate may read, and name that file in `master_key_file` (or set TIDEGATE_MASTER_KEY)"
    )]
    NoMasterKey,
}

/// The key that seals secrets; 32 bytes, wiped from memory when dropped.
pub struct MasterKey {
    bytes: SecretBox<[u8; KEY_BYTES]>,
    id: String,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

impl MasterKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = <[u8; KEY_BYTES]>::generate();
        let key = Self::from_bytes(&bytes);
        bytes.zeroize();
        key
    }

    /// The key of this text.
    ///
    /// # Errors
    /// The text is not a master key.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix(MASTER_KEY_PREFIX).ok_or(SecretError::BadMasterKey)?;
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).map_err(|_| SecretError::BadMasterKey)?);
        let bytes =
            Zeroizing::new(<[u8; KEY_BYTES]>::try_from(decoded.as_slice()).map_err(|_| SecretError::BadMasterKey)?);
        Ok(Self::from_bytes(&bytes))
    }

    /// The key that the settings name, if they name one.
    ///
    /// # Errors
    /// The file cannot be read, or the text is not a master key.
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, SecretError> {
        if let Some(text) = &settings.master_key {
            return Self::parse(text.expose_secret()).map(Some);
        }
        let Some(path) = &settings.master_key_file else { return Ok(None) };
        let in_file = |why: String| SecretError::MasterKeyFile { path: path.display().to_string(), why };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| in_file(error.to_string()))?);
        Self::parse(&text).map(Some).map_err(|error| in_file(format!("what it holds {error}")))
    }

    fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let digest = Sha256::digest(bytes);
        let id = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self { bytes: SecretBox::init_with_mut(|kept: &mut [u8; KEY_BYTES]| kept.copy_from_slice(bytes)), id }
    }

    /// The text that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        format!("{MASTER_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(self.bytes.expose_secret())).into()
    }

    /// Which key it is: the first 8 hex digits of its SHA-256.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a secret for the thing of this id.
    #[must_use]
    pub fn seal(&self, id: &str, secret: &SecretString) -> Sealed {
        self.seal_bytes(id, secret.expose_secret().as_bytes())
    }

    /// Opens what [`seal`](Self::seal) made for the thing of this id.
    ///
    /// # Errors
    /// Another master key, or sealed for something else, or changed.
    pub fn open(&self, id: &str, sealed: &Sealed) -> Result<SecretString, SecretError> {
        let bytes = self.open_bytes(id, sealed)?;
        String::from_utf8(bytes).map(Into::into).map_err(|error| {
            error.into_bytes().zeroize();
            SecretError::Damaged
        })
    }

    pub(crate) fn seal_bytes(&self, id: &str, secret: &[u8]) -> Sealed {
        let nonce = XNonce::generate();
        // The cipher refuses only what is longer than 256 GiB, and that does not fit into memory.
        let text = self.cipher().encrypt(&nonce, Payload { msg: secret, aad: id.as_bytes() }).unwrap_or_default();
        Sealed { key: self.id.clone(), nonce: BASE64.encode(nonce), text: BASE64.encode(text) }
    }

    pub(crate) fn open_bytes(&self, id: &str, sealed: &Sealed) -> Result<Vec<u8>, SecretError> {
        if sealed.key != self.id {
            return Err(SecretError::OtherKey { sealed_with: sealed.key.clone(), given: self.id.clone() });
        }
        let nonce = BASE64.decode(&sealed.nonce).map_err(|_| SecretError::Damaged)?;
        let nonce = XNonce::from(<[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| SecretError::Damaged)?);
        let text = BASE64.decode(&sealed.text).map_err(|_| SecretError::Damaged)?;
        self.cipher().decrypt(&nonce, Payload { msg: &text, aad: id.as_bytes() }).map_err(|_| SecretError::Damaged)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.bytes.expose_secret().into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn what_was_sealed_opens_for_the_same_id_alone() {
        let key = MasterKey::generate();
        let sealed = key.seal("dest00000001", &"hunter2 пароль".into());
        assert_eq!(key.open("dest00000001", &sealed).unwrap().expose_secret(), "hunter2 пароль");
        assert_eq!(key.open("dest00000002", &sealed).unwrap_err(), SecretError::Damaged);
        assert!(!serde_json::to_string(&sealed).unwrap().contains("hunter2"));
        assert_ne!(sealed, key.seal("dest00000001", &"hunter2 пароль".into()), "the nonce is random");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = MasterKey::generate();
        let sealed = key.seal("d", &"hunter2".into());
        let bytes = BASE64.decode(&sealed.text).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = Sealed { text: BASE64.encode(changed), ..sealed.clone() };
            assert_eq!(key.open("d", &changed).unwrap_err(), SecretError::Damaged);
        }
        for (nonce, text) in
            [("", sealed.text.as_str()), ("AAAA", ""), (sealed.nonce.as_str(), "!"), (sealed.nonce.as_str(), "")]
        {
            let changed = Sealed { key: key.id().into(), nonce: nonce.into(), text: text.into() };
            assert_eq!(key.open("d", &changed).unwrap_err(), SecretError::Damaged);
        }
    }

    #[test]
    fn another_master_key_is_named() {
        let (ours, theirs) = (MasterKey::generate(), MasterKey::generate());
        let error = theirs.open("d", &ours.seal("d", &"hunter2".into())).unwrap_err();
        assert_eq!(error, SecretError::OtherKey { sealed_with: ours.id().into(), given: theirs.id().into() });
    }

    #[test]
    fn a_master_key_survives_its_text_and_does_not_print_itself() {
        let key = MasterKey::generate();
        let text = key.to_text();
        assert_eq!(text.expose_secret().len(), 48);
        let again = MasterKey::parse(&format!("{}\n", text.expose_secret())).unwrap();
        assert_eq!(again.id(), key.id());
        assert_eq!(again.open("d", &key.seal("d", &"s".into())).unwrap().expose_secret(), "s");
        assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.id()));
        for bad in ["", "tgmk_", "tgmk_AAAA", &text.expose_secret()[5..], &format!("{}A", text.expose_secret())] {
            assert_eq!(MasterKey::parse(bad).unwrap_err(), SecretError::BadMasterKey);
        }
    }
}
