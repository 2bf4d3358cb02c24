//! The second factor: a time-based one-time password (RFC 6238: SHA-1, 6 digits, 30 s, which every authenticator knows), and
//! recovery codes for whoever has lost the device.
//!
//! The secret is sealed with the master key, for its user alone. A code is accepted once, on whichever node: Redis remembers
//! the last time step that was used.

use std::net::IpAddr;

use rand::Rng;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use subtle::ConstantTimeEq;
use tidegate_actors::{delivery::now_ms, ports::LogError};
use totp_rs::{Algorithm, TOTP};

use super::{User, Users, digest, record::SecondFactor, scripts};
use crate::{
    admin::{ActError, FieldError, Role, Who},
    registry::{Edit, secrets::SecretError},
    resources::Sealed,
};

/// How many recovery codes there are.
pub const RECOVERY_CODES: usize = 10;
const SECRET_BYTES: usize = 20;
const DIGITS: usize = 6;
const STEP_S: u64 = 30;
/// Letters and digits that nobody confuses.
const LETTERS: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";
/// Characters of a recovery code: 59 bits.
const RECOVERY_CHARS: usize = 12;

/// A second factor that is being turned on: nothing is kept before a first code has proved that the device has it.
#[derive(Debug)]
pub struct Enrolment {
    /// The secret in base 32, for typing it into a device.
    pub secret: SecretString,
    /// The same as an `otpauth://` address, for a QR code.
    pub url: SecretString,
    /// The secret sealed for this user: it comes back with the first code.
    pub sealed: String,
}

impl Users {
    /// Begins to turn a second factor on.
    ///
    /// # Errors
    /// There is no master key to seal its secret with.
    pub fn enrol(&self, user: &str) -> Result<Enrolment, ActError> {
        let Some(key) = self.master_key() else { return Err(no_master_key()) };
        let secret = Zeroizing::new(rand::random::<[u8; SECRET_BYTES]>());
        let sealed = key.seal_bytes(&sealed_for(user), &*secret);
        let sealed = serde_json::to_string(&sealed).map_err(|error| ActError::Unavailable(error.to_string()))?;
        Enrolment::of(user, &totp(secret.to_vec())?, sealed)
    }

    /// One that was begun, to show it once more.
    ///
    /// # Errors
    /// There is no master key, or what was sealed is not this user's.
    pub fn enrolled(&self, user: &str, sealed: &str) -> Result<Enrolment, ActError> {
        Enrolment::of(user, &totp(self.unseal(user, sealed)?.1)?, sealed.to_owned())
    }

    /// The secret of an enrolment, as it is kept and as it is.
    fn unseal(&self, user: &str, sealed: &str) -> Result<(Sealed, Vec<u8>), ActError> {
        let Some(key) = self.master_key() else { return Err(no_master_key()) };
        let begun_anew = || ActError::Conflict("this QR code is no longer good; begin again".into());
        let sealed: Sealed = serde_json::from_str(sealed).map_err(|_| begun_anew())?;
        let secret = key.open_bytes(&sealed_for(user), &sealed).map_err(|_| begun_anew())?;
        Ok((sealed, secret))
    }

    /// Turns it on, if the code shows that the device has the secret. Answers with the recovery codes, which are told this
    /// once.
    ///
    /// # Errors
    /// The code is wrong, or what was sealed is not this user's.
    pub async fn turn_on(&self, who: &Who, sealed: &str, code: &str) -> Result<Vec<SecretString>, ActError> {
        let (sealed, secret) = self.unseal(&who.name, sealed)?;
        let right = match step_of(&totp(secret)?, code, now_ms() / 1000) {
            Some(step) => self.use_step(&who.name, step).await?,
            None => false,
        };
        if !right {
            return Err(ActError::Invalid(vec![FieldError {
                field: "code".into(),
                code: "code_wrong",
                message: "this code is wrong, or was used already; wait for the next one, and see that the device's clock is right".into(),
            }]));
        }
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
        let second = SecondFactor {
            secret: sealed,
            recovery: codes.iter().map(|code| digest(code)).collect(),
            since_ms: now_ms(),
        };
        self.edit(who, &who.name, |user| {
            user.second = Some(second.clone());
            Ok(vec![format!("turn the second factor of user `{}` on", user.name)])
        })
        .await?;
        Ok(codes.iter().map(|code| spaced(code).into()).collect())
    }

    /// Whether this code of a device, or recovery code, is right, and not used yet.
    pub(super) async fn accept(
        &self,
        user: &User,
        second: &SecondFactor,
        code: &str,
        from: IpAddr,
    ) -> Result<bool, ActError> {
        let plain: String = code.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>().to_ascii_lowercase();
        if plain.len() == RECOVERY_CHARS {
            return self.recover(user, &digest(&plain), from).await;
        }
        let Some(key) = self.master_key() else { return Err(no_master_key()) };
        let opened = key.open_bytes(&sealed_for(&user.name), &second.secret);
        let secret =
            opened.map_err(|error| ActError::Unavailable(format!("the second factor can't be read: {error}")))?;
        match step_of(&totp(secret)?, &plain, now_ms() / 1000) {
            Some(step) => Ok(self.use_step(&user.name, step).await?),
            None => Ok(false),
        }
    }

    /// Uses a recovery code up.
    async fn recover(&self, user: &User, digest: &str, from: IpAddr) -> Result<bool, ActError> {
        let who = Who { name: user.name.as_str().into(), role: Role::Viewer, from: from.to_string().into() };
        let used = self
            .edit(&who, &user.name, |user| {
                let codes = user.second.as_mut().map(|second| &mut second.recovery);
                let place = codes.as_ref().and_then(|codes| {
                    codes.iter().position(|code| bool::from(code.as_bytes().ct_eq(digest.as_bytes())))
                });
                let (Some(codes), Some(place)) = (codes, place) else { return Err(ActError::Unknown(String::new())) };
                codes.remove(place);
                Ok(vec![format!("user `{}` signed in with a recovery code; {} are left", user.name, codes.len())])
            })
            .await;
        match used {
            Ok(()) => Ok(true),
            Err(ActError::Unknown(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn use_step(&self, user: &str, step: u64) -> Result<bool, LogError> {
        let key = self.key("codes");
        self.ask(async |mut connection| {
            scripts::USE_CODE.key(&key).arg(user).arg(step).invoke_async(&mut connection).await
        })
        .await
    }

    /// Changes one user.
    pub(crate) async fn edit(
        &self,
        who: &Who,
        name: &str,
        mut edit: impl FnMut(&mut User) -> Result<Vec<String>, ActError>,
    ) -> Result<(), ActError> {
        self.change(who, |current| {
            let mut document = current.clone();
            let user = document
                .users
                .iter_mut()
                .find(|user| user.name == name)
                .ok_or_else(|| unknown(&current.users, name))?;
            let what = edit(user)?;
            Ok(Edit { document, what, value: () })
        })
        .await
    }
}

/// There is no such user; perhaps another was meant.
pub(crate) fn unknown(users: &[User], name: &str) -> ActError {
    let names = users.iter().map(|user| user.name.as_str());
    let hint = crate::databases::nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    ActError::Unknown(format!("there is no user `{name}`{hint}"))
}

fn no_master_key() -> ActError {
    ActError::Conflict(format!("a second factor needs a place for its secret, and {}", SecretError::NoMasterKey))
}

/// What a sealed secret is bound to.
fn sealed_for(user: &str) -> String {
    format!("totp/{user}")
}

fn totp(secret: Vec<u8>) -> Result<TOTP, ActError> {
    TOTP::new(Algorithm::SHA1, DIGITS, 1, STEP_S, secret)
        .map_err(|_| ActError::Unavailable("the second factor's secret is damaged".into()))
}

/// The time step that a code is of: this one, the one before or the one after, as clocks differ. Compared in constant time.
fn step_of(totp: &TOTP, code: &str, now_s: u64) -> Option<u64> {
    let code: String = code.chars().filter(char::is_ascii_digit).collect();
    let now = now_s / STEP_S;
    let mut found = None;
    for step in [now.saturating_sub(1), now, now + 1] {
        if bool::from(totp.generate(step * STEP_S).as_bytes().ct_eq(code.as_bytes())) {
            found = Some(step);
        }
    }
    found
}

fn recovery_code() -> String {
    let mut random = rand::rng();
    (0..RECOVERY_CHARS).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// In groups of four, for people.
fn spaced(code: &str) -> String {
    let groups: Vec<String> =
        code.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join("-")
}

impl Enrolment {
    fn of(user: &str, totp: &TOTP, sealed: String) -> Result<Self, ActError> {
        let text = totp.get_secret_base32();
        // `@` is the only character of a name that an address would not take as it is.
        let url = format!("otpauth://totp/Tidegate:{}?secret={text}&issuer=Tidegate", user.replace('@', "%40"));
        Ok(Self { secret: text.into(), url: url.into(), sealed })
    }

    /// The secret in groups of four, for typing.
    #[must_use]
    pub fn spaced(&self) -> String {
        spaced(self.secret.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_code_is_of_this_step_or_one_beside_it() {
        // RFC 6238, Appendix B: the last six digits of the SHA-1 values.
        let totp = totp(b"12345678901234567890".to_vec()).unwrap();
        assert_eq!(step_of(&totp, "287 082", 59), Some(1));
        assert_eq!(step_of(&totp, "287082", 59 + 30), Some(1));
        assert_eq!(step_of(&totp, "287082", 59 + 60), None);
        assert_eq!(step_of(&totp, "081804", 1_111_111_109), Some(37_037_036));
        for wrong in ["", "28708", "2870820", "287083", "２８７０８２"] {
            assert_eq!(step_of(&totp, wrong, 59), None, "{wrong}");
        }
    }

    #[test]
    fn recovery_codes_are_read_as_they_are_shown() {
        let code = recovery_code();
        assert_eq!(code.len(), RECOVERY_CHARS);
        assert_eq!(spaced(&code).replace('-', ""), code);
        assert_eq!(spaced(&code).len(), RECOVERY_CHARS + 2);
    }
}
