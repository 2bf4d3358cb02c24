//! Apply's look at the tables: what can't work is refused with its line, all else is told and goes on.

use std::io::Write;

use tidegate_actors::route::RouteSpec;

use super::Apply;
use crate::{
    registry::{
        manifest::{Manifest, Mistaken},
        plan::Plan,
        secrets::MasterKey,
    },
    resources::Document,
    tables::fit::{self, Severity},
};

impl Apply {
    /// Refuses routes that can't work.
    pub(super) async fn check(
        &self,
        manifest: &Manifest,
        current: &Document,
        plan: &Plan,
        key: Option<&MasterKey>,
        node: &str,
    ) -> anyhow::Result<()> {
        let routes: Vec<&RouteSpec> = plan
            .document
            .routes
            .iter()
            .filter(|route| manifest.routes.iter().any(|entry| entry.spec.name == route.name))
            .filter(|route| is_new(route, current, &plan.document))
            .collect();
        let mut mistakes = Vec::new();
        let mut told = std::io::stderr().lock();
        for finding in fit::check(&plan.document, &routes, key, node).await {
            match finding.severity {
                Severity::Refused => {
                    let entry = manifest.routes.iter().find(|entry| entry.spec.name == finding.route);
                    let place = entry.map_or(0, |entry| entry.places.find(&finding.at));
                    mistakes.push(manifest.mistake(place, finding.message));
                }
                Severity::Doubtful => writeln!(told, "warning: {}", finding.message)?,
                Severity::Unchecked => writeln!(told, "note: {}", finding.message)?,
            }
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        mistakes.sort();
        Err(self.mistaken(&Mistaken(mistakes)))
    }
}

/// Whether a route is not what it was, or leads to a database that is not.
fn is_new(route: &RouteSpec, before: &Document, after: &Document) -> bool {
    let destination = |document: &Document| {
        document.destinations.iter().find(|one| one.name == route.destination).map(|one| (one.id.clone(), one.revision))
    };
    !before.routes.contains(route) || destination(before) != destination(after)
}
