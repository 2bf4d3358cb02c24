//! Destinations as lists and pages show them.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_actors::{
    ports::Abandoned,
    status::{ActorKind, DestinationDetail, DestinationStatus},
};

use super::{applications, find};
pub use crate::redis::health::HealthChange;
use crate::{
    admin::{ActError, Admin, Role, Who},
    databases::{Kind, kind},
    redis::{abandon, members},
    resources::{ByHand, Delivery, Destination, Tls},
};

/// A destination with how it does.
#[derive(Clone, Debug, Serialize)]
pub struct DestinationView {
    /// Random, survives everything.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its kind's word.
    pub kind: String,
    /// Its kind for people.
    pub title: String,
    /// Its address, without a password.
    pub url: String,
    /// Where its server is; empty for a file.
    pub host: String,
    /// The user that writes; empty for a file.
    pub user: String,
    /// The database on it, or the file.
    pub database: String,
    /// Whether a password is kept.
    pub has_password: bool,
    /// Ordered or parallel.
    pub delivery: Delivery,
    /// How the connection is secured, where that was said.
    pub tls: Option<Tls>,
    /// The node that owns a file.
    pub node: Option<String>,
    /// What operators have set by hand.
    pub by_hand: ByHand,
    /// Its routes.
    pub routes: Vec<String>,
    /// How it does, by the node that writes it; `None` while no node says so.
    pub detail: Option<DestinationDetail>,
    /// What its state was, newest first; empty in lists.
    pub history: Vec<HealthChange>,
    /// What was given up, newest first; empty in lists.
    pub abandoned: Vec<Abandoned>,
}

impl DestinationView {
    /// What becomes of it, as far as anybody says.
    #[must_use]
    pub fn status(&self) -> DestinationStatus {
        match &self.detail {
            _ if self.by_hand.stops() => DestinationStatus::Paused,
            Some(detail) => detail.status,
            None => DestinationStatus::Standby,
        }
    }

    /// Whether it is held until an operator decides where it goes on: after a gap, or in another database.
    #[must_use]
    pub fn asks_for_decision(&self) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.held.is_some() && detail.undecided)
    }
}

/// All destinations, by name. What only Redis knows is left out where it does not answer; the second says so.
///
/// # Errors
/// They may not.
pub async fn list(admin: &Admin, who: &Who) -> Result<(Vec<DestinationView>, Option<ActError>), ActError> {
    who.needs(Role::Viewer)?;
    let (document, away) = admin.newest_or_known().await;
    let reports = match &away {
        None => admin.ask(members::reports(admin.redis.link(), admin.redis.keys())).await,
        Some(_) => Ok(Vec::new()),
    };
    let (reports, away) = match reports {
        Ok(reports) => (reports, away),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut details: BTreeMap<String, DestinationDetail> = BTreeMap::new();
    let actors = reports.into_iter().filter_map(|report| report.health).flat_map(|health| health.actors);
    for actor in actors.filter(|actor| actor.kind == ActorKind::Destination) {
        let Ok(detail) = serde_json::from_value::<DestinationDetail>(actor.detail) else { continue };
        // The node that has to do with it says more than those that stand by.
        let better = details.get(&actor.name).is_none_or(|known| weight(&detail) > weight(known));
        if better {
            details.insert(actor.name, detail);
        }
    }
    let mut views: Vec<DestinationView> = document
        .destinations
        .iter()
        .map(|one| {
            let routes = document.routes.iter().filter(|route| route.destination == one.name);
            view(one, routes.map(|route| route.name.clone()).collect(), details.remove(&one.name))
        })
        .collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((views, away))
}

/// How much a node's word counts: whoever has the lease, then whoever counts what waits.
fn weight(detail: &DestinationDetail) -> (bool, bool, u64) {
    (detail.leased, detail.status != DestinationStatus::Standby, detail.backlog)
}

/// One destination with its history.
///
/// # Errors
/// They may not, or there is none.
pub async fn show(admin: &Admin, who: &Who, name: &str) -> Result<(DestinationView, Option<ActError>), ActError> {
    let (views, mut away) = list(admin, who).await?;
    let document = admin.document();
    let found = views.into_iter().find(|view| view.name == name);
    let Some(mut view) = found else { return Err(find(&document, name).err().unwrap_or_else(|| gone(name))) };
    if away.is_none() {
        let told = async {
            let history = crate::redis::health::changes(&admin.redis, &view.id).await?;
            let mut abandoned = Vec::new();
            for application in applications(&document, name) {
                abandoned.extend(abandon::told(&admin.redis, &application, &view.id).await?);
            }
            Ok((history, abandoned))
        };
        match admin.ask(told).await {
            Ok(told) => (view.history, view.abandoned) = told,
            Err(error) => away = Some(error),
        }
    }
    Ok((view, away))
}

fn gone(name: &str) -> ActError {
    ActError::Unknown(format!("there is no destination `{name}` any more"))
}

fn view(one: &Destination, routes: Vec<String>, detail: Option<DestinationDetail>) -> DestinationView {
    let url = url::Url::parse(&one.url).ok();
    let part = |part: fn(&url::Url) -> Option<String>| url.as_ref().and_then(part).unwrap_or_default();
    DestinationView {
        id: one.id.clone(),
        name: one.name.clone(),
        kind: one.kind.clone(),
        title: kind(&one.kind).map_or_else(|_| one.kind.clone(), |kind| kind.title.to_owned()),
        url: one.url.clone(),
        host: part(|url| {
            let host = url.host_str().filter(|host| !host.is_empty())?;
            Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
        }),
        user: part(|url| Some(url.username().to_owned())),
        database: {
            let path = part(|url| Some(url.path().to_owned()));
            let is_file = kind(&one.kind).is_ok_and(Kind::is_file);
            if is_file { path } else { path.trim_start_matches('/').to_owned() }
        },
        has_password: one.password.is_some(),
        delivery: one.delivery,
        tls: one.tls.clone(),
        node: one.node.clone(),
        by_hand: one.by_hand.clone(),
        routes,
        detail,
        history: Vec::new(),
        abandoned: Vec::new(),
    }
}

/// The statements that a DBA runs for a destination of this kind: rights, then our own tables.
///
/// # Errors
/// There is no such kind.
pub fn for_a_dba(kind_name: &str, user: &str, database: &str) -> Result<(String, &'static str), ActError> {
    let kind = kind(kind_name).map_err(ActError::Unknown)?;
    let or = |given: &str, placeholder: &str| if given.is_empty() { placeholder.to_owned() } else { given.to_owned() };
    let grants = kind.grants.replace("{user}", &or(user, "writer")).replace("{database}", &or(database, "database"));
    Ok((grants, kind.ddl))
}
