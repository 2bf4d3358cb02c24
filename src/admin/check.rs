//! Whether everything that an installation leads to can be reached and used: the settings, Redis, and every destination step by
//! step, down to the columns of its routes. It writes nothing. `tidegate check` calls it.

use std::sync::Arc;

use serde::Serialize;
use tidegate_actors::{
    mapping::Mapping,
    ports::{Destination as Database, WriteError},
    route::RouteSpec,
    schema::TableSchema,
    transaction::TablePlan,
};

use crate::{
    config::Settings,
    databases::{self, CheckStep, kind, nearest},
    redis::{
        Redis,
        server::{self, Server},
    },
    registry::{Store, connection::connection, secrets::MasterKey},
    resources::{Delivery, Destination, Document},
    tables::look,
};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// None for the settings and Redis.
    pub destination: Option<String>,
    /// None for the steps before the tables.
    pub route: Option<String>,
    /// What was looked at: `settings`, `redis`, `name`, `tcp`, `login`, `rights`, `table`, `columns` …
    pub step: String,
    /// Of what.
    pub subject: String,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was found, or what is wrong and what to do.
    pub detail: String,
}

/// What is told while it goes on.
#[derive(Debug)]
pub enum Told<'a> {
    /// The steps that follow are of this destination.
    Destination {
        /// Its name.
        name: &'a str,
        /// Its kind.
        kind: &'a str,
    },
    /// A step is done.
    Line(&'a Line),
}

/// Where the steps go, and how many have failed.
struct Report<'t> {
    tell: &'t mut dyn FnMut(Told<'_>) -> anyhow::Result<()>,
    failed: usize,
}

impl Report<'_> {
    fn add(&mut self, destination: Option<&str>, route: Option<&str>, step: CheckStep) -> anyhow::Result<bool> {
        let (ok, detail) = match step.outcome {
            Ok(found) => (true, found),
            Err(wrong) => (false, wrong),
        };
        self.failed += usize::from(!ok);
        let line = Line {
            destination: destination.map(Into::into),
            route: route.map(Into::into),
            step: step.step.into(),
            subject: step.subject,
            ok,
            detail,
        };
        (self.tell)(Told::Line(&line))?;
        Ok(ok)
    }
}

/// Looks at everything, or at one destination after settings and Redis; how many steps failed. `loaded` is what came of reading
/// the settings: why they can't be read is a step that failed.
///
/// # Errors
/// There is no such destination; or what `tell` says.
pub async fn check(
    loaded: anyhow::Result<Settings>,
    only: Option<&str>,
    tell: &mut dyn FnMut(Told<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut report = Report { tell, failed: 0 };
    if let Some((settings, key)) = check_settings(loaded, &mut report)?
        && let Some(document) = check_redis(&settings, &mut report).await?
    {
        check_destinations(&document, only, &settings, key.as_ref(), &mut report).await?;
    }
    Ok(report.failed)
}

async fn check_destinations(
    document: &Document,
    only: Option<&str>,
    settings: &Settings,
    key: Option<&MasterKey>,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let names = || document.destinations.iter().map(|destination| destination.name.as_str());
    if let Some(name) = only.filter(|name| names().all(|known| known != *name)) {
        let hint = nearest(name, names()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        anyhow::bail!("there is no destination `{name}`{hint}");
    }
    let wanted = |destination: &&Destination| only.is_none_or(|name| *name == destination.name);
    for destination in document.destinations.iter().filter(wanted) {
        (report.tell)(Told::Destination { name: &destination.name, kind: &destination.kind })?;
        if let Some(node) = destination.node.as_ref().filter(|node| **node != settings.node) {
            let outcome = Ok(format!("this file is on node `{node}`; run the check there"));
            report.add(Some(&destination.name), None, CheckStep { step: "node", subject: node.clone(), outcome })?;
            continue;
        }
        let home = databases::Home {
            redis: Redis::open(settings.redis_url.expose(), &settings.prefix)?,
            documents: tokio::sync::watch::channel(Some(Arc::new(document.clone()))).1,
        };
        check_destination(document, destination, key, home, report).await?;
    }
    Ok(())
}

fn check_settings(
    loaded: anyhow::Result<Settings>,
    report: &mut Report<'_>,
) -> anyhow::Result<Option<(Settings, Option<MasterKey>)>> {
    let loaded = loaded.and_then(|settings| {
        let key = MasterKey::from_settings(&settings)?;
        settings.refuse_unsafe_listeners()?;
        Ok((settings, key))
    });
    let outcome = match &loaded {
        Ok((settings, key)) => Ok(match key {
            Some(key) => format!("node {}, master key {}", settings.node, key.id()),
            None => format!("node {}, no master key", settings.node),
        }),
        Err(error) => Err(format!("{error:#}")),
    };
    report.add(None, None, CheckStep { step: "settings", subject: "all".into(), outcome })?;
    Ok(loaded.ok())
}

async fn check_redis(settings: &Settings, report: &mut Report<'_>) -> anyhow::Result<Option<Document>> {
    let server = Server::parse(settings.redis_url.expose())?;
    let mut failed = false;
    for step in server::check(&server, &settings.prefix).await {
        failed |= !report.add(None, None, step)?;
    }
    if failed {
        return Ok(None);
    }
    let mut store = Store::open(&settings.redis_url, &settings.prefix)?;
    let loaded = store.load().await;
    let outcome = match &loaded {
        Ok(None) => Ok("nothing was applied yet".into()),
        Ok(Some(document)) => Ok(format!(
            "version {}: applications {}, destinations {}, routes {}",
            document.version,
            document.applications.len(),
            document.destinations.len(),
            document.routes.len()
        )),
        Err(error) => Err(error.to_string()),
    };
    report.add(None, None, CheckStep { step: "registry", subject: settings.prefix.clone(), outcome })?;
    Ok(loaded.ok().map(Option::unwrap_or_default))
}

async fn check_destination(
    document: &Document,
    destination: &Destination,
    key: Option<&MasterKey>,
    home: databases::Home,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let name = destination.name.as_str();
    let found = kind(&destination.kind).and_then(|kind| {
        let mut connection = connection(destination, key).map_err(|error| error.to_string())?;
        connection.home = Some(home);
        (kind.validate)(&connection)?;
        Ok((kind, connection))
    });
    let (kind, connection) = match found {
        Ok(found) => found,
        Err(wrong) => {
            report.add(
                Some(name),
                None,
                CheckStep { step: "settings", subject: destination.url.clone(), outcome: Err(wrong) },
            )?;
            return Ok(());
        }
    };
    for mut step in databases::check::check(kind, &connection).await {
        if destination.delivery == Delivery::Parallel && step.step == "rights" && step.outcome.is_err() {
            // A parallel destination needs none on tables of ours; those on its own table show with the first write.
            step.outcome = match (kind.open)(connection.clone()).probe().await {
                Ok(()) | Err(WriteError::Hold(_)) => Ok("takes writes".into()),
                Err(error) => Err(error.to_string()),
            };
        }
        if !report.add(Some(name), None, step)? {
            return Ok(());
        }
    }
    let mut routes = document.routes.iter().filter(|route| route.destination == destination.name).peekable();
    if routes.peek().is_none() {
        return Ok(());
    }
    let mut database = (kind.open)(connection);
    for route in routes {
        for step in check_route(route, database.as_mut()).await {
            report.add(Some(name), Some(&route.name), step)?;
        }
    }
    Ok(())
}

/// The steps `table`, for the route's own and those of its children, and `columns` of one route.
async fn check_route(route: &RouteSpec, database: &mut dyn Database) -> Vec<CheckStep> {
    let names = std::iter::once(&route.table).chain(route.children.iter().map(|child| &child.table));
    let (mut steps, mut tables) = (Vec::new(), Vec::new());
    for name in names {
        let outcome = match look::table(database, name).await {
            Err(unseen) => Err(unseen.to_string()),
            Ok(table) => {
                let found = format!("{} columns", table.columns.len());
                tables.push(table);
                Ok(found)
            }
        };
        steps.push(CheckStep { step: "table", subject: name.clone(), outcome });
    }
    if tables.len() == steps.len() {
        let children = tables.split_off(1);
        steps.extend(tables.pop().map(|table| columns_step(route, table, children)));
    }
    steps
}

/// Whether the route's mapping fits the table, by the same compilation that delivery uses.
fn columns_step(route: &RouteSpec, table: TableSchema, children: Vec<TableSchema>) -> CheckStep {
    let subject = route.table.clone();
    let outcome = match Mapping::compile(route, table, children) {
        Ok(mapping) => {
            let columns = |plan: &TablePlan| {
                let names = plan.columns.iter().map(|&column| &*plan.table.columns[column].name);
                names.collect::<Vec<_>>().join(", ")
            };
            let children = mapping.children.iter().map(|plan| format!("; {}: {}", plan.table.name, columns(plan)));
            let doubts = mapping.warnings().iter().map(|doubt| format!("; doubtful: {}", doubt.message));
            Ok(children.chain(doubts).fold(columns(&mapping.plan), |found, more| found + &more))
        }
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    };
    CheckStep { step: "columns", subject, outcome }
}
