//! Export and import: the registry as TOML, and what a file would make of it, shown before it is carried out. `tidegate apply`,
//! the console and the admin API all come here.

use std::path::Path;

use serde::Serialize;
use tidegate_actors::{
    delivery::now_ms,
    route::{RouteSpec, Start},
};

use super::{
    ActError, Admin, Role, Who,
    destinations::leads_elsewhere,
    settings::{document, registry},
};
use crate::{
    databases::{check::Allowed, kind},
    redis::sides,
    registry::{
        Edit,
        connection::connection,
        export,
        manifest::{Manifest, Mistaken, PasswordSource, SchemaSource},
        plan::{Means, Plan, Verb, plan},
        snapshot::Snapshot,
    },
    resources::{Destination, Document},
    tables::fit::{self, Finding, Severity},
};

/// Largest file that is taken over HTTP.
pub const MOST_BYTES: usize = 1024 * 1024;

/// A file, and how it is to be taken.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// Its text.
    pub text: &'a str,
    /// Whether what it lacks is removed.
    pub prune: bool,
    /// What may be read for it beside itself.
    pub reads: Reads<'a>,
    /// Whether new and changed routes are held against their tables.
    pub check: bool,
    /// Whether a new installation may begin where this node knows one that Redis lacks.
    pub new_installation: bool,
}

impl<'a> Given<'a> {
    /// As it comes over HTTP: it reads nothing of the node, and leads nowhere where the node's settings forbid it.
    #[must_use]
    pub fn from_elsewhere(text: &'a str, prune: bool) -> Self {
        Self { text, prune, reads: Reads::Nothing, check: true, new_installation: false }
    }
}

/// An environment's variables by name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a file may have read for it.
#[derive(Clone, Copy)]
pub enum Reads<'a> {
    /// Nothing: whoever gives it is elsewhere.
    Nothing,
    /// Environment and files of this machine, by somebody who sits at it.
    OfThisMachine {
        /// An environment variable.
        environment: Environment<'a>,
        /// What relative paths are relative to.
        folder: &'a Path,
    },
}

/// What a file would make of the registry. Nothing is changed yet.
pub struct Planned {
    /// The registry as it is.
    pub before: Document,
    /// What would change.
    pub plan: Plan,
    /// What may not be meant, or could not be looked at; nothing that can't work.
    pub findings: Vec<Finding>,
    /// The installation that a new one takes the place of.
    supersedes: Option<String>,
}

/// What an import would do, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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

impl From<Planned> for Preview {
    fn from(planned: Planned) -> Self {
        let Planned { before, plan, findings, .. } = planned;
        let findings = findings.into_iter().map(|finding| finding.message);
        Self {
            changes: plan.changes.iter().map(ToString::to_string).collect(),
            removals: plan.changes.iter().filter(|change| change.verb == Verb::Remove).count(),
            left: plan.left,
            notes: plan.notes.into_iter().chain(findings).collect(),
            version: before.version,
        }
    }
}

/// Why there is no plan.
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

impl From<Mistaken> for Refusal {
    fn from(mistaken: Mistaken) -> Self {
        Self::Mistakes(mistaken.0.iter().map(ToString::to_string).collect())
    }
}

/// Applications, destinations and routes as TOML, without secrets.
///
/// # Errors
/// They may not, or Redis is away.
pub async fn export_toml(admin: &Admin, who: &Who) -> Result<String, ActError> {
    who.needs(Role::Admin)?;
    Ok(export::export(&document(&admin.redis, who).await?))
}

/// What an import would do.
///
/// # Errors
/// See [`Refusal`].
pub async fn preview(admin: &Admin, who: &Who, text: &str, prune: bool) -> Result<Preview, Refusal> {
    Ok(planned(admin, who, &Given::from_elsewhere(text, prune)).await?.into())
}

/// Carries an import out, if the registry is still the one of the preview. Answers with what changed.
///
/// # Errors
/// See [`Refusal`].
pub async fn import(admin: &Admin, who: &Who, text: &str, prune: bool, version: u64) -> Result<Vec<String>, Refusal> {
    let planned = planned(admin, who, &Given::from_elsewhere(text, prune)).await?;
    if planned.before.version != version {
        return Err(meanwhile().into());
    }
    Ok(carry_out(admin, who, &planned).await?)
}

/// What a file would make of the registry, after all that can be wrong with it was looked for.
///
/// # Errors
/// See [`Refusal`].
pub async fn planned(admin: &Admin, who: &Who, given: &Given<'_>) -> Result<Planned, Refusal> {
    who.needs(Role::Admin)?;
    let elsewhere = matches!(given.reads, Reads::Nothing);
    if elsewhere && given.text.len() > MOST_BYTES {
        let why = "the file is larger than 1 MiB; split it, or use `tidegate apply`";
        return Err(Refusal::Mistakes(vec![why.into()]));
    }
    let manifest = Manifest::parse(given.text)?;
    if elsewhere {
        reads_nothing(&manifest)?;
    }
    let before = registry(&admin.redis, who).settled().await?;
    let supersedes = if before.installation.is_empty() { known_here(admin, given.new_installation)? } else { None };
    let (environment, folder): (Environment<'_>, &Path) = match given.reads {
        Reads::Nothing => (&|_| None, Path::new("/nonexistent")),
        Reads::OfThisMachine { environment, folder } => (environment, folder),
    };
    let key = admin.master_key.as_deref();
    let means = Means { master_key: key, environment, folder, now_ms: now_ms(), prune: given.prune };
    let plan = plan(&manifest, &before, &means)?;
    // As it is looked at, which may be by other addresses than it will be reached by.
    let mut looked_at = plan.document.clone();
    if elsewhere {
        lead_where_they_may(admin, &manifest, &before, &mut looked_at).await?;
    }
    let mut findings = Vec::new();
    if given.check {
        let mut mistakes = Vec::new();
        let routes: Vec<&RouteSpec> = looked_at
            .routes
            .iter()
            .filter(|route| manifest.routes.iter().any(|entry| entry.spec.name == route.name))
            .filter(|route| is_new(route, &before, &plan.document))
            .collect();
        for finding in fit::check(&looked_at, &routes, key, &admin.node).await {
            if finding.severity == Severity::Refused {
                let entry = manifest.routes.iter().find(|entry| entry.spec.name == finding.route);
                let place = entry.map_or(0, |entry| entry.places.find(&finding.at));
                mistakes.push(manifest.mistake(place, finding.message));
            } else {
                findings.push(finding);
            }
        }
        if !mistakes.is_empty() {
            mistakes.sort();
            return Err(Mistaken(mistakes).into());
        }
    }
    Ok(Planned { before, plan, findings, supersedes })
}

/// Does what was planned, if nobody changed the registry meanwhile. Answers with what changed.
///
/// # Errors
/// They may not, somebody was faster, or Redis is away.
pub async fn carry_out(admin: &Admin, who: &Who, planned: &Planned) -> Result<Vec<String>, ActError> {
    who.needs(Role::Admin)?;
    let Planned { before, plan, supersedes, .. } = planned;
    let what: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    let mut registry = registry(&admin.redis, who);
    if let Some(known) = supersedes {
        registry.supersede(known.clone());
    }
    let carried_out = registry.change(|now| {
        // What was shown is what is done: nothing else may have come in between.
        if now.version != before.version || now.installation != before.installation {
            return Err(meanwhile());
        }
        Ok::<_, ActError>(Edit { document: plan.document.clone(), what: what.clone(), value: () })
    });
    carried_out.await?;
    registry.acknowledge().await?;
    Ok(what)
}

fn meanwhile() -> ActError {
    let why = "somebody else changed the registry meanwhile; nothing was changed: look at what would change again";
    ActError::Conflict(why.into())
}

/// A route that begins below where the others of its destination may stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatchesUp {
    /// The route.
    pub route: String,
    /// Its destination.
    pub destination: String,
    /// From the message of this time on, in milliseconds since the Unix epoch; 0 is the earliest one.
    pub from_ms: u64,
}

/// The new routes that have something to catch up with, once it was carried out.
///
/// # Errors
/// Redis is away.
pub async fn catching_up(admin: &Admin, planned: &Planned) -> Result<Vec<CatchesUp>, ActError> {
    let (before, now) = (&planned.before, &planned.plan.document);
    let new = now.routes.iter().filter(|route| !before.routes.iter().any(|known| known.id == route.id));
    let led = |route: &RouteSpec| {
        before.routes.iter().any(|old| old.application == route.application && old.destination == route.destination)
    };
    let mut found = Vec::new();
    for route in new.filter(|route| route.start != Start::Now && led(route)) {
        let asked = sides::catches_up_from(&admin.redis, &route.application, &route.id);
        let Some(from) = admin.ask(asked).await? else { continue };
        let (route, destination) = (route.name.clone(), route.destination.clone());
        found.push(CatchesUp { route, destination, from_ms: from.id.ms });
    }
    Ok(found)
}

/// Refuses what would be read on the node: nobody may read its files or environment from elsewhere.
fn reads_nothing(manifest: &Manifest) -> Result<(), Refusal> {
    let from_the_node =
        |source: &Option<PasswordSource>| matches!(source, Some(PasswordSource::Env(_) | PasswordSource::File(_)));
    let passwords = manifest.destinations.iter().filter(|entry| from_the_node(&entry.password)).map(|entry| {
        format!(
            "the password of destination `{}` is to be read from a file or the environment, which only `tidegate apply` \
             does; say {{ kept = true }} here, or give it in the destination's form",
            entry.name
        )
    });
    let schemas = manifest.applications.iter().flat_map(|entry| {
        let files = entry.schemas.iter().filter(|(_, source)| matches!(source, SchemaSource::File(_)));
        files.map(|(topic, _)| {
            format!(
                "the schema of topic `{topic}` of `{}` is to be read from a file, which only `tidegate apply` does; give the \
                 JSON as a text here",
                entry.name
            )
        })
    });
    let refused: Vec<String> = passwords.chain(schemas).collect();
    if refused.is_empty() { Ok(()) } else { Err(Refusal::Mistakes(refused)) }
}

/// Redis has no registry, and no node has restored one. If there was one, a new installation is hardly what is wanted; where it
/// is, the old one is answered, whose nodes are to follow.
fn known_here(admin: &Admin, new_installation: bool) -> Result<Option<String>, ActError> {
    let settings = &admin.settings;
    let snapshot = Snapshot::new(&settings.state_dir, &settings.prefix, admin.master_key.clone());
    let known = snapshot.installation().map_err(|error| ActError::Conflict(error.to_string()))?;
    match known {
        Some(known) if !new_installation => Err(ActError::Conflict(format!(
            "Redis at {} has no registry under the prefix `{}`, and {} knows one (installation {known}): Redis was \
             emptied. Start a node (`tidegate serve`) with this `state_dir`: it puts the registry back. If you mean to \
             begin anew, say `tidegate apply --new-installation`; nothing was changed",
            settings.redis_url,
            settings.prefix,
            snapshot.path().display(),
        ))),
        known => Ok(known),
    }
}

/// Refuses new and changed destinations that lead where the settings forbid it, as the form for one does. The others are given
/// the very address that was looked at, where no certificate is verified.
async fn lead_where_they_may(
    admin: &Admin,
    manifest: &Manifest,
    before: &Document,
    after: &mut Document,
) -> Result<(), Refusal> {
    let rule = admin.settings.local_destinations();
    let mut refused = Vec::new();
    for entry in &manifest.destinations {
        let Some(place) = after.destinations.iter().position(|one| one.name == entry.name) else { continue };
        let destination = &after.destinations[place];
        if before.destinations.iter().any(|known| leads_alike(known, destination)) {
            continue;
        }
        if let Some(why) = leads_elsewhere(&destination.url) {
            refused.push(format!("destination `{}`: {why}", entry.name));
            continue;
        }
        let (Ok(kind), Ok(connection)) =
            (kind(&destination.kind), connection(destination, admin.master_key.as_deref()))
        else {
            continue;
        };
        match crate::databases::check::allowed(kind, &connection, rule).await {
            Allowed::At(connection) => after.destinations[place].url = connection.url.into(),
            Allowed::Unknown(_) => {}
            Allowed::Never(why) => refused.push(format!("destination `{}`: {why}", entry.name)),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Refusal::Mistakes(refused)) }
}

fn leads_alike(one: &Destination, other: &Destination) -> bool {
    (&one.name, &one.kind, &one.url, &one.tls) == (&other.name, &other.kind, &other.url, &other.tls)
}

/// Whether a route is not what it was, or leads to a database that is not.
fn is_new(route: &RouteSpec, before: &Document, after: &Document) -> bool {
    let destination = |document: &Document| {
        document.destinations.iter().find(|one| one.name == route.destination).map(|one| (one.id.clone(), one.revision))
    };
    !before.routes.contains(route) || destination(before) != destination(after)
}
