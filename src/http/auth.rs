//! API keys at the door: `Authorization: Bearer tg_live_…` is looked up by the id inside the key and compared by digest
//! in constant time.
//!
//! A key is `tg_live_`, 8 characters that name it, 32 random ones and 6 of checksum; only the name and the SHA-256 of
//! the whole are kept anywhere.

use std::rc::Rc;

use actix_web::{
    HttpRequest,
    http::header::{self, AUTHORIZATION},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    directory::{Directory, KnownApplication},
    problem::{Problem, UNAUTHORIZED, UNAVAILABLE},
};

const PREFIX: &str = "tg_live_";
const ID_LENGTH: usize = 8;
const KEY_LENGTH: usize = PREFIX.len() + ID_LENGTH + 32 + 6;

/// The application whose key the request carries.
///
/// # Errors
/// 401 without a valid key; 503 while the registry has not been read, because nobody can be known then.
pub(crate) fn application(
    request: &HttpRequest,
    directory: &Directory,
    now_ms: u64,
) -> Result<Rc<KnownApplication>, Problem> {
    let Some(index) = directory.current() else {
        let detail = "This node does not know now which applications there are: the registry is being read or restored; send again.";
        return Err(Problem::new(&UNAVAILABLE, detail).retry_after(2));
    };
    let Some(given) = request.headers().get(AUTHORIZATION) else {
        return Err(refused("Send the application's key as `Authorization: Bearer tg_live_…`."));
    };
    let key = given.to_str().ok().and_then(bearer).and_then(|token| {
        let id = id_of(token)?;
        let entry = index.key(id)?;
        bool::from(<[u8; 32]>::from(Sha256::digest(token)).ct_eq(&entry.digest)).then_some((id, entry))
    });
    match key {
        Some((id, entry)) if entry.is_active(now_ms) => {
            directory.opened(id, entry, now_ms);
            Ok(Rc::clone(&entry.application))
        }
        Some(_) => Err(refused("This API key has expired or was revoked; create another with `tidegate key create`.")),
        None => Err(refused("This API key is not known; keys look like `tg_live_…` and are shown once, when created.")),
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(&UNAUTHORIZED, detail).with_header(header::WWW_AUTHENTICATE, "Bearer realm=\"tidegate\"")
}

/// The token of a `Bearer` header; the scheme is written in any case (RFC 9110, *Authentication Scheme*).
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// The part of a key that names it, where the key has the right shape.
fn id_of(token: &str) -> Option<&str> {
    let rest = token.strip_prefix(PREFIX)?;
    let shaped = token.len() == KEY_LENGTH && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    shaped.then(|| &rest[..ID_LENGTH])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_key_is_its_first_eight_characters() {
        let key = format!("tg_live_{}{}{}", "Ab3dEf9h", "x".repeat(32), "123456");
        assert_eq!(id_of(&key), Some("Ab3dEf9h"));
        for wrong in ["", "tg_live_", "tg_live_Ab3dEf9h", &key[1..], &format!("{key}x"), &key.replace('x', "é")] {
            assert_eq!(id_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bearer_token_is_told_from_other_schemes() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
