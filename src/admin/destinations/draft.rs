//! A destination as a form or a body gives it, and what may be wrong with it before anything connects.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::{
    admin::{
        ActError, Admin, FieldError,
        fields::{name_complaint, wrong},
    },
    databases::{Connection, Kind, NO_PARALLEL, kind},
    registry::{connection::connection, plan::random_id},
    resources::{Delivery, Destination, Document, Tls},
};

/// Parameters of an address that would lead elsewhere than its host says, or hold a secret.
const NOT_IN_ADDRESSES: [&str; 8] = ["host", "hostaddr", "port", "socket", "password", "passwd", "pwd", "passfile"];

/// What is to become of a destination.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Its kind, a word of [`crate::databases::KINDS`].
    pub kind: String,
    /// Its address, without a password.
    pub url: String,
    /// Its password; `None`: the one that the registry keeps, where the destination has one.
    pub password: Option<SecretString>,
    /// Ordered or parallel.
    pub delivery: Delivery,
    /// How the connection is secured.
    pub tls: Option<Tls>,
    /// The node that owns a file.
    pub node: Option<String>,
}

/// A draft that may be connected to.
pub(super) struct Sound {
    /// The kind.
    pub(super) kind: &'static Kind,
    /// What the driver needs.
    pub(super) connection: Connection,
    /// What the registry would have; its password is sealed.
    pub(super) wanted: Destination,
}

impl Draft {
    /// Reads it against what there is: `of` is the destination that it changes, by name.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub(super) fn sound(&self, admin: &Admin, document: &Document, of: Option<&str>) -> Result<Sound, ActError> {
        let known = match of {
            Some(name) => Some(super::find(document, name)?),
            None => None,
        };
        let mut complaints: Vec<FieldError> = name_complaint("name", &self.name).into_iter().collect();
        let others = document.destinations.iter().filter(|one| known.is_none_or(|known| known.id != one.id));
        if others.into_iter().any(|one| one.name == self.name) {
            let message = format!("there is a destination `{}` already; give another name", self.name);
            complaints.push(wrong("name", "taken", message));
        }
        if known.is_some_and(|known| known.name != self.name) {
            complaints.push(wrong("name", "fixed", "a destination keeps its name: its routes are written for it"));
        }
        let kind = kind(&self.kind).map_err(|why| wrong("kind", "unknown_kind", why));
        let url = address(&self.url);
        if let Some(known) = known.filter(|known| known.delivery != self.delivery)
            && document.routes.iter().any(|route| route.destination == known.name)
        {
            let message = "it has routes, and ordered and parallel delivery keep their places in other ways; remove its \
                           routes first, or make another destination";
            complaints.push(wrong("delivery", "fixed", message));
        }
        if self.delivery == Delivery::Parallel && kind.as_ref().is_ok_and(|kind| !kind.parallel) {
            complaints.push(wrong("delivery", "no_parallel", NO_PARALLEL));
        }
        if let Some(node) = &self.node {
            complaints.extend(name_complaint("node", node));
        }
        complaints.extend(kind.as_ref().err().cloned());
        complaints.extend(url.as_ref().err().cloned());
        let kept = known.and_then(|known| known.password.clone());
        let is_file = kind.as_ref().is_ok_and(|kind| kind.is_file());
        let is_here = kind.as_ref().is_ok_and(|kind| kind.here);
        if self.password.as_ref().is_some_and(|password| password.expose_secret().is_empty())
            || (!is_file && !is_here && self.password.is_none() && kept.is_none())
        {
            complaints.push(wrong("password", "missing", "give the password of the database's user"));
        }
        if self.password.is_some() && admin.master_key.is_none() {
            let message = "this node has no master key to seal it with; set `master_key_file`";
            complaints.push(wrong("password", "no_master_key", message));
        }
        let (Ok(kind), Ok(_), true) = (kind, url, complaints.is_empty()) else {
            return Err(ActError::Invalid(complaints));
        };
        let id = known.map_or_else(random_id, |known| known.id.clone());
        let sealed = self.password.as_ref().zip(admin.master_key.as_deref()).map(|(text, key)| key.seal(&id, text));
        let wanted = Destination {
            id,
            name: self.name.clone(),
            kind: self.kind.clone(),
            url: self.url.clone(),
            password: sealed.or(kept),
            delivery: self.delivery,
            tls: self.tls.clone(),
            node: self.node.clone().or_else(|| is_file.then(|| admin.node.to_string())),
            revision: known.map_or(1, |known| known.revision),
            by_hand: known.map(|known| known.by_hand.clone()).unwrap_or_default(),
        };
        let mut connection = connection(&wanted, admin.master_key.as_deref())
            .map_err(|error| ActError::Invalid(vec![wrong("password", "unusable", error.to_string())]))?;
        connection.home = Some(admin.home());
        (kind.validate)(&connection).map_err(|why| ActError::Invalid(vec![wrong("url", "not_for_kind", why)]))?;
        Ok(Sound { kind, connection, wanted })
    }
}

impl Sound {
    /// What a check was about, so that nothing else is saved for it. The salt keeps it from being tried out.
    pub(super) fn digest(&self, salt: &str) -> String {
        let Destination { name, kind, url, delivery, tls, node, .. } = &self.wanted;
        let what = serde_json::json!([salt, name, kind, url, delivery, tls, node]).to_string();
        let mut digest = Sha256::new();
        digest.update(what.as_bytes());
        if let Some(password) = &self.connection.password {
            digest.update(password.expose_secret().as_bytes());
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The address, if it is one that says where it leads and nothing else. What is wrong with it is told without showing it.
fn address(text: &str) -> Result<url::Url, FieldError> {
    if text.is_empty() {
        return Err(wrong("url", "missing", "give the database's address, such as mysql://user@host/database"));
    }
    let url = url::Url::parse(text).map_err(|error| {
        wrong("url", "not_an_address", format!("this is not an address ({error}); write mysql://user@host/database"))
    })?;
    if url.password().is_some() {
        return Err(wrong(
            "url",
            "holds_a_password",
            "addresses are shown and logged; put the password into its own field",
        ));
    }
    match leads_elsewhere(text) {
        Some(message) => Err(wrong("url", "leads_elsewhere", message)),
        None => Ok(url),
    }
}

/// Why an address may lead elsewhere than its host says, if it may.
pub(crate) fn leads_elsewhere(address: &str) -> Option<&'static str> {
    let url = url::Url::parse(address).ok()?;
    let named = |(name, _): (std::borrow::Cow<'_, str>, _)| NOT_IN_ADDRESSES.contains(&&*name.to_lowercase());
    url.query_pairs()
        .any(named)
        .then_some("leave host, port and password out of what follows the `?`: they have places of their own")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_says_where_it_leads_and_nothing_else() {
        assert!(address("postgres://writer@db.example/cars?application_name=x").is_ok());
        let code = |text: &str| address(text).unwrap_err().code;
        assert_eq!(code(""), "missing");
        assert_eq!(code("db.example"), "not_an_address");
        assert_eq!(code("postgres://writer:secret@db.example/cars"), "holds_a_password");
        for hidden in ["host=169.254.169.254", "hostaddr=127.0.0.1", "HOST=/run", "socket=/run/my.sock", "password=x"] {
            assert_eq!(code(&format!("postgres://writer@db.example/cars?{hidden}")), "leads_elsewhere", "{hidden}");
        }
        assert!(!address("postgres://w:canary@db/x").unwrap_err().message.contains("canary"));
    }
}
