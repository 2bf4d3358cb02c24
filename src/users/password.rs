//! Passwords: what is asked of one, and what is kept of it.
//!
//! Argon2id with the parameters that OWASP's *Password Storage Cheat Sheet* names first: 19 MiB, 2 passes, 1 lane; they are
//! the crate's defaults, and stand in every PHC string, so they may be raised later. All of it is slow on purpose: callers
//! run it on a thread that may block.

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};

use super::record::PasswordHash;
use crate::admin::FieldError;

/// Fewest characters of a password.
pub const LEAST_CHARS: usize = 12;
/// Most characters of a password.
pub const MOST_CHARS: usize = 256;

/// What is verified where there is no such user: the same work, so that the time tells nothing.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The commonest that are long enough, in lower case; from public lists of leaked passwords.
const COMMON: &[&str] = &[
    "000000000000",
    "111111111111",
    "112233445566",
    "121212121212",
    "123123123123",
    "123412341234",
    "123456123456",
    "1234567890123",
    "1234567890qwe",
    "1234567891011",
    "123456789abc",
    "123qwe123qwe",
    "1q2w3e4r5t6y",
    "1q2w3e4r5t6y7u8i",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "abc123abc123",
    "abcd1234abcd",
    "abcdefghijkl",
    "admin123admin",
    "admin1234567",
    "administrator",
    "administrator1",
    "asdfghjkl123",
    "bismillah123",
    "changeme1234",
    "changemenow1",
    "correcthorsebatterystaple",
    "footballfootball",
    "iloveyou1234",
    "iloveyouforever",
    "indonesia123",
    "indonesia1945",
    "letmeinletmein",
    "letmein12345",
    "p@ssw0rd1234",
    "p@ssword1234",
    "passw0rd1234",
    "password!123",
    "password1234",
    "password12345",
    "password123!",
    "password123456",
    "passwordpassword",
    "qazwsxedcrfv",
    "qwerty123456",
    "qwerty1234567",
    "qwertyqwerty",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiop[]",
    "qwertyuiopas",
    "qwertyuiopasdfghjkl",
    "rahasia12345",
    "sayangsayang",
    "superman1234",
    "tidegate1234",
    "tidegatetidegate",
    "trustno1trustno1",
    "welcome12345",
    "welcome123456",
    "zxcvbnm12345",
];

/// What is wrong with a password for this user, if anything.
#[must_use]
pub fn complaint(name: &str, password: &SecretString, field: &str) -> Option<FieldError> {
    let text = password.expose_secret();
    let wrong = |code: &'static str, message: String| Some(FieldError { field: field.to_owned(), code, message });
    let chars = text.chars().count();
    if chars < LEAST_CHARS {
        return wrong("password_short", format!("the password is too short; give {LEAST_CHARS} or more characters"));
    }
    if chars > MOST_CHARS {
        return wrong("password_long", format!("the password is too long; give at most {MOST_CHARS} characters"));
    }
    let lower = text.to_lowercase();
    if lower == name.to_lowercase() {
        return wrong("password_is_name", "the password is the user's name; give another".into());
    }
    if COMMON.contains(&lower.as_str()) || is_run(&lower) {
        return wrong("password_common", "the password is one of those that are tried first; give another".into());
    }
    None
}

/// One character over and over, or characters in their order (`abcdefghijklm`, `012345678901`).
fn is_run(text: &str) -> bool {
    let bytes = text.as_bytes();
    let all = |step: fn(u8, u8) -> bool| bytes.windows(2).all(|pair| step(pair[0], pair[1]));
    all(|a, b| a == b)
        || all(|a, b| b == a.wrapping_add(1) || (a, b) == (b'9', b'0'))
        || all(|a, b| a == b.wrapping_add(1) || (a, b) == (b'0', b'9'))
}

/// What is kept of a password. Takes some 20 ms and 19 MiB.
///
/// # Errors
/// The system gives no random numbers, or the password is beyond what Argon2 takes.
pub(super) fn hash(password: &SecretString) -> Result<PasswordHash, String> {
    let hashed = Argon2::default().hash_password(password.expose_secret().as_bytes());
    hashed
        .map(|hash| PasswordHash::new(hash.to_string()))
        .map_err(|error| format!("the password can't be kept: {error}"))
}

/// Whether it is this password. The same work where there is no such user, and then always false.
pub(super) fn matches(password: &SecretString, kept: Option<&PasswordHash>) -> bool {
    let hash = kept.map_or(NOBODY, PasswordHash::as_str);
    let right = Argon2::default().verify_password(password.expose_secret().as_bytes(), hash).is_ok();
    right && kept.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn code(name: &str, password: &str) -> Option<&'static str> {
        complaint(name, &password.into(), "password").map(|wrong| wrong.code)
    }

    #[test]
    fn a_password_is_long_enough_and_not_one_that_is_tried_first() {
        assert_eq!(code("ana", "elevenchars"), Some("password_short"));
        assert_eq!(code("ana", "kata sandi"), Some("password_short"));
        assert_eq!(code("ana", &"ü".repeat(257)), Some("password_long"));
        assert_eq!(code("administration", "Administration"), Some("password_is_name"));
        for common in ["PasswordPassword", "zzzzzzzzzzzzz", "abcdefghijklmn", "012345678901", "987654321098"] {
            assert_eq!(code("ana", common), Some("password_common"), "{common}");
        }
        assert_eq!(code("ana", "twelve chars"), None);
        assert_eq!(code("ana", &"ü7".repeat(128)), None);
        assert!(COMMON.iter().all(|one| one.chars().count() < LEAST_CHARS || code("ana", one).is_some()));
    }

    #[test]
    fn what_is_kept_knows_its_password_and_does_not_print_itself() {
        let kept = hash(&"a lighthouse at low tide".into()).unwrap();
        assert!(kept.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", kept.as_str());
        assert!(matches(&"a lighthouse at low tide".into(), Some(&kept)));
        assert!(!matches(&"a lighthouse at high tide".into(), Some(&kept)));
        assert!(!matches(&"a lighthouse at low tide".into(), None));
        assert!(!format!("{kept:?}").contains("argon2"));
        assert_ne!(kept, hash(&"a lighthouse at low tide".into()).unwrap(), "the salt is random");
    }

    #[test]
    fn nobodys_hash_costs_what_anybodys_costs() {
        let kept = hash(&"a lighthouse at low tide".into()).unwrap();
        let before_salt = |phc: &str| phc.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(before_salt(NOBODY), before_salt(kept.as_str()));
        let refused = Argon2::default().verify_password(b"x", NOBODY).unwrap_err();
        assert_eq!(
            refused,
            argon2::password_hash::Error::PasswordInvalid,
            "it was worked out, not refused for its form"
        );
    }
}
