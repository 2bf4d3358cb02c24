//! A secret as a form's field: it does not print itself, and no page shows it again.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// What somebody typed into a password's field.
pub(crate) struct Typed(pub(crate) SecretString);

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}
