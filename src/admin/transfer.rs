//! Export and import: the registry as the TOML that `tidegate apply` reads, and the same plan that it makes, shown before it is
//! carried out.

use std::path::Path;

use tidegate_actors::delivery::now_ms;

use super::{
    ActError, Role, Who,
    settings::{document, registry},
};
use crate::{
    redis::Redis,
    registry::{
        Edit, export,
        manifest::{Manifest, PasswordSource},
        plan::{Means, Plan, plan},
        secrets::MasterKey,
    },
};

/// Largest file.
pub const MOST_BYTES: usize = 1024 * 1024;

/// What an import would do, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Preview {
    /// Each change.
    pub changes: Vec<String>,
    /// What the file lacks, and what therefore stays as it is.
    pub left: Vec<String>,
    /// What somebody should know.
    pub notes: Vec<String>,
    /// What removes something.
    pub removals: usize,
    /// The registry's version that this was worked out for: it is carried out on that one only.
    pub version: u64,
}

/// Why there is no preview.
#[derive(Debug)]
pub enum Refusal {
    /// The file has mistakes, each with its line.
    Mistakes(Vec<String>),
    /// Something else.
    Act(ActError),
}

impl<E: Into<ActError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Act(error.into())
    }
}

/// Applications, destinations and routes as TOML, without secrets.
///
/// # Errors
/// They may not, or Redis is away.
pub async fn export_toml(redis: &Redis, who: &Who) -> Result<String, ActError> {
    who.needs(Role::Admin)?;
    Ok(export::export(&document(redis, who).await?))
}

/// What an import would do.
///
/// # Errors
/// See [`Refusal`].
pub async fn preview(
    redis: &Redis,
    master_key: Option<&MasterKey>,
    who: &Who,
    text: &str,
    prune: bool,
) -> Result<Preview, Refusal> {
    who.needs(Role::Admin)?;
    let (plan, version) = planned(redis, master_key, who, text, prune).await?;
    Ok(Preview {
        changes: plan.changes.iter().map(ToString::to_string).collect(),
        left: plan.left.iter().map(ToString::to_string).collect(),
        removals: plan.changes.iter().filter(|change| change.verb == crate::registry::plan::Verb::Remove).count(),
        notes: plan.notes,
        version,
    })
}

/// Carries an import out, if the registry is still the one of the preview. Answers with what changed.
///
/// # Errors
/// See [`Refusal`].
pub async fn import(
    redis: &Redis,
    master_key: Option<&MasterKey>,
    who: &Who,
    text: &str,
    prune: bool,
    version: u64,
) -> Result<Vec<String>, Refusal> {
    who.needs(Role::Admin)?;
    let (plan, now) = planned(redis, master_key, who, text, prune).await?;
    let meanwhile =
        || ActError::Conflict("somebody else changed the registry meanwhile; look at what would change again".into());
    if now != version {
        return Err(meanwhile().into());
    }
    let what: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    let mut registry = registry(redis, who);
    let carried_out = registry.change(|current| {
        if current.version != version {
            return Err(meanwhile());
        }
        Ok::<_, ActError>(Edit { document: plan.document.clone(), what: what.clone(), value: () })
    });
    carried_out.await.map_err(ActError::from)?;
    Ok(what)
}

async fn planned(
    redis: &Redis,
    master_key: Option<&MasterKey>,
    who: &Who,
    text: &str,
    prune: bool,
) -> Result<(Plan, u64), Refusal> {
    if text.len() > MOST_BYTES {
        let why = "the file is larger than 1 MiB; split it, or use `tidegate apply`";
        return Err(Refusal::Mistakes(vec![why.into()]));
    }
    let mistakes = |mistaken: &crate::registry::manifest::Mistaken| {
        Refusal::Mistakes(mistaken.0.iter().map(ToString::to_string).collect())
    };
    let manifest = Manifest::parse(text).map_err(|mistaken| mistakes(&mistaken))?;
    // They would be those of the node: nobody may read its files or environment from a browser.
    let of_the_node: Vec<String> = manifest
        .destinations
        .iter()
        .filter(|entry| matches!(entry.password, Some(PasswordSource::Env(_) | PasswordSource::File(_))))
        .map(|entry| {
            format!(
                "the password of destination `{}` is to be read from a file or the environment, which only `tidegate apply` \
                 does; say {{ kept = true }} here, or give it in the destination's form",
                entry.name
            )
        })
        .collect();
    if !of_the_node.is_empty() {
        return Err(Refusal::Mistakes(of_the_node));
    }
    let current = registry(redis, who).settled().await?;
    let means =
        Means { master_key, environment: &|_| None, folder: Path::new("/nonexistent"), now_ms: now_ms(), prune };
    let plan = plan(&manifest, &current, &means).map_err(|mistaken| mistakes(&mistaken))?;
    Ok((plan, current.version))
}
