//! Destinations: the databases, how they do, and what operators do to them by hand.

mod abandon;
mod acts;
mod check;
mod draft;
mod follow;
mod resume;
mod view;

pub(crate) use self::draft::leads_elsewhere;
pub use self::{
    abandon::{Abandonment, Given, Until, abandon, look},
    acts::{Removal, close_breaker, create, edit, open_breaker, pause, removal, remove, resume},
    check::{Checked, check},
    draft::Draft,
    follow::{Progress, Step, begin as begin_check, follow as follow_check},
    resume::{Decision, GoOnFrom, decide, left, look as look_resume},
    view::{DestinationView, HealthChange, for_a_dba, list, show},
};
use crate::{
    admin::ActError,
    databases::nearest,
    resources::{Destination, Document},
};

/// The destination of this name.
fn find<'a>(document: &'a Document, name: &str) -> Result<&'a Destination, ActError> {
    document.destinations.iter().find(|one| one.name == name).ok_or_else(|| {
        let hint = nearest(name, document.destinations.iter().map(|one| one.name.as_str()));
        let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        ActError::Unknown(format!("there is no destination `{name}`{hint}"))
    })
}

/// The applications with a route to a destination, by name.
fn applications(document: &Document, name: &str) -> Vec<String> {
    let routed = document.routes.iter().filter(|route| route.destination == name);
    let mut applications: Vec<String> = routed.map(|route| route.application.clone()).collect();
    applications.sort();
    applications.dedup();
    applications
}

/// Those of them that an act is for: all, or `only` that one.
///
/// # Errors
/// There is none.
fn chosen(document: &Document, name: &str, only: Option<&str>) -> Result<Vec<String>, ActError> {
    let mut streams = applications(document, name);
    streams.retain(|application| only.is_none_or(|only| only == application));
    if streams.is_empty() {
        let of = only.map_or(String::new(), |only| format!(" from application `{only}`"));
        return Err(ActError::Unknown(format!("no route leads{of} to destination `{name}`")));
    }
    Ok(streams)
}
