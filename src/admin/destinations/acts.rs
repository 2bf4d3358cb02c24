//! Creating, editing and removing destinations, and what operators set of them by hand.

use serde::Serialize;
use tidegate_actors::delivery::now_ms;

use super::{
    applications,
    check::{run, was_good},
    draft::{Draft, Sound},
    find,
};
use crate::{
    admin::{ActError, Admin, Role, Who, fields::wrong},
    redis::{abandon, dead, health},
    registry::Edit,
    resources::{ByHand, Destination, Document, Stopped},
};

/// Creates a destination. It must have been checked just as it is: under `token`, else it is checked here.
///
/// # Errors
/// They may not, a field is wrong, or the database can't be written to.
pub async fn create(admin: &Admin, who: &Who, draft: &Draft, token: Option<&str>) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let sound = good(admin, draft, None, token).await?;
    admin
        .registry(who)?
        .change(|current| {
            draft.sound(admin, current, None)?;
            let mut document = current.clone();
            document.destinations.push(sound.wanted.clone());
            let Destination { name, kind, url, .. } = &sound.wanted;
            Ok::<_, ActError>(Edit {
                document,
                what: vec![format!("create destination `{name}`: {kind} at {url}")],
                value: (),
            })
        })
        .await?;
    Ok(())
}

/// Changes a destination; without a password it keeps the one it has. It must have been checked, as a new one.
///
/// # Errors
/// As for [`create`], or there is no such destination.
pub async fn edit(admin: &Admin, who: &Who, name: &str, draft: &Draft, token: Option<&str>) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let sound = good(admin, draft, Some(name), token).await?;
    admin
        .registry(who)?
        .change(|current| {
            let known = find(current, name)?;
            draft.sound(admin, current, Some(name))?;
            let mut wanted = Destination { by_hand: known.by_hand.clone(), ..sound.wanted.clone() };
            if draft.password.is_none() {
                wanted.password.clone_from(&known.password);
            }
            let mut what = Vec::new();
            if *known != wanted {
                // How it is reached is another: its actors are built anew.
                wanted.revision = known.revision + 1;
                what.push(format!("update destination `{name}`"));
            }
            Ok::<_, ActError>(Edit { document: with(current, wanted), what, value: () })
        })
        .await?;
    Ok(())
}

/// A draft that was found good.
async fn good(admin: &Admin, draft: &Draft, of: Option<&str>, token: Option<&str>) -> Result<Sound, ActError> {
    let document = admin.newest().await?;
    let sound = draft.sound(admin, &document, of)?;
    let known = match token {
        Some(token) => was_good(admin, &sound, token).await?,
        None => false,
    };
    if !known {
        let checked = run(admin, &document, &sound, &mut |_| {}).await?;
        if let (None, Some(failed)) = (&checked.token, checked.steps.iter().find(|step| step.outcome.is_err())) {
            let why = failed.outcome.as_ref().err().map_or("", String::as_str);
            let message = format!("the check failed at `{}` ({}): {why}", failed.step, failed.subject);
            return Err(ActError::Invalid(vec![wrong("check", "check_failed", message)]));
        }
    }
    Ok(sound)
}

fn with(current: &Document, wanted: Destination) -> Document {
    let mut document = current.clone();
    document.destinations.iter_mut().filter(|one| one.id == wanted.id).for_each(|one| one.clone_from(&wanted));
    document
}

/// What a removal would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// Routes that go with it.
    pub routes: Vec<String>,
    /// Records that wait for it and will never be written.
    pub waiting: u64,
    /// Dead letters that are forgotten.
    pub dead_letters: usize,
}

/// What a removal of this destination would do.
///
/// # Errors
/// They may not, there is none, or Redis is away.
pub async fn removal(admin: &Admin, who: &Who, name: &str) -> Result<Removal, ActError> {
    who.needs(Role::Operator)?;
    let document = admin.newest().await?;
    let destination = find(&document, name)?;
    let routes = document.routes.iter().filter(|route| route.destination == name).map(|route| route.name.clone());
    let mut removal = Removal { routes: routes.collect(), waiting: 0, dead_letters: 0 };
    for application in applications(&document, name) {
        let backlog = admin.ask(abandon::look(&admin.redis, &application, &destination.id, None)).await?;
        removal.waiting += backlog.waiting;
        let letters = admin.ask(dead::count(&admin.redis, &application, &destination.id)).await?;
        removal.dead_letters += usize::try_from(letters).unwrap_or(usize::MAX);
    }
    Ok(removal)
}

/// Removes a destination with its routes. Its database is left as it is.
///
/// # Errors
/// They may not, or there is none.
pub async fn remove(admin: &Admin, who: &Who, name: &str) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let id = admin
        .registry(who)?
        .change(|current| {
            let id = find(current, name)?.id.clone();
            let mut document = current.clone();
            document.destinations.retain(|one| one.name != name);
            document.routes.retain(|route| route.destination != name);
            let gone = current.routes.iter().filter(|route| route.destination == name);
            let mut what: Vec<String> = gone.map(|route| format!("remove route `{}`", route.name)).collect();
            what.push(format!("remove destination `{name}`"));
            Ok::<_, ActError>(Edit { document, what, value: id })
        })
        .await?;
    // For the eyes only: what can't be forgotten now stays.
    let _ = admin.ask(health::forget(&admin.redis, &id)).await;
    Ok(())
}

/// Pauses a destination: nothing is written, and what comes waits for it.
///
/// # Errors
/// They may not, there is none, or it is paused already.
pub async fn pause(admin: &Admin, who: &Who, name: &str) -> Result<(), ActError> {
    by_hand(admin, who, name, |by_hand| {
        if by_hand.paused.is_some() {
            return Err(ActError::Conflict(format!("destination `{name}` is paused already")));
        }
        by_hand.paused = Some(stopped(who));
        Ok(format!("pause destination `{name}`"))
    })
    .await
}

/// Ends a pause: it goes on where it was, in order.
///
/// # Errors
/// They may not, there is none, or it is not paused.
pub async fn resume(admin: &Admin, who: &Who, name: &str) -> Result<(), ActError> {
    by_hand(admin, who, name, |by_hand| {
        if by_hand.paused.take().is_none() {
            return Err(ActError::Conflict(format!("destination `{name}` is not paused")));
        }
        Ok(format!("resume destination `{name}`"))
    })
    .await
}

/// Opens the breaker by hand: nothing is written and the database is left alone altogether, until it is closed by hand.
///
/// # Errors
/// They may not, there is none, or it is open by hand already.
pub async fn open_breaker(admin: &Admin, who: &Who, name: &str) -> Result<(), ActError> {
    by_hand(admin, who, name, |by_hand| {
        if by_hand.breaker_open.is_some() {
            return Err(ActError::Conflict(format!("the breaker of destination `{name}` is open by hand already")));
        }
        by_hand.breaker_open = Some(stopped(who));
        Ok(format!("open the breaker of destination `{name}`"))
    })
    .await
}

/// Closes the breaker by hand, whoever opened it: waits and failures are forgotten, the database is asked at once, and where it
/// answers it is written to.
///
/// # Errors
/// They may not, or there is none.
pub async fn close_breaker(admin: &Admin, who: &Who, name: &str) -> Result<(), ActError> {
    by_hand(admin, who, name, |by_hand| {
        by_hand.breaker_open = None;
        by_hand.breaker_closings += 1;
        Ok(format!("close the breaker of destination `{name}`"))
    })
    .await
}

fn stopped(who: &Who) -> Stopped {
    Stopped { by: who.to_string(), at_ms: now_ms() }
}

async fn by_hand(
    admin: &Admin,
    who: &Who,
    name: &str,
    change: impl Fn(&mut ByHand) -> Result<String, ActError>,
) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    admin
        .registry(who)?
        .change(|current| {
            let mut wanted = find(current, name)?.clone();
            let what = vec![change(&mut wanted.by_hand)?];
            Ok::<_, ActError>(Edit { document: with(current, wanted), what, value: () })
        })
        .await?;
    Ok(())
}
