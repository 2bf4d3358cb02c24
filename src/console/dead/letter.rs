//! One dead letter: all there is to know of it, and what can be done about it.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;
use tidegate_actors::{message::MessageId, transaction::DeadId};

use super::{Dead, in_time, letter_address};
use crate::{
    admin::{
        ActError, Role,
        dead_letters::{self, Outcome, Shown},
        json::pretty,
        messages::Letter,
    },
    console::{
        logs::message_address,
        page::{Frame, Nav, PageContext, PageError},
    },
};

/// How long an act's page waits for what came of it.
const SETTLES_WITHIN: Duration = Duration::from_millis(1_600);
const LOOK_EVERY: Duration = Duration::from_millis(80);

/// Application, destination, route's id, message's id.
type Place = (String, String, String, String);

#[derive(Template)]
#[template(path = "dead/letter.html")]
struct LetterPage {
    frame: Frame,
    text: &'static Dead,
    shown: Shown,
    id: String,
    letter: Letter,
    /// What stands in the form.
    data: String,
    reason: String,
    force: bool,
    /// What is wrong, by field; `` for all of it.
    mistakes: Vec<(String, String)>,
    may_act: bool,
}

impl LetterPage {
    fn mistake(&self, field: &str) -> Option<&str> {
        self.mistakes.iter().find(|(known, _)| known == field).map(|(_, why)| why.as_str())
    }

    fn message(&self) -> String {
        message_address(&self.shown.lot.application, &self.id)
    }

    fn other(&self, id: &str) -> String {
        message_address(&self.shown.lot.application, id)
    }

    fn address(&self) -> String {
        let Shown { lot, letter, .. } = &self.shown;
        letter_address(&lot.application, &lot.destination, &letter.dead.route, &self.id)
    }

    fn record(&self) -> String {
        pretty(&self.shown.letter.data)
    }

    fn edited(&self) -> Option<String> {
        self.shown.letter.edited.as_deref().map(pretty)
    }

    fn row(&self) -> Option<String> {
        self.shown.row.as_ref().ok().map(|row| pretty(row.get()))
    }

    fn no_row(&self) -> &str {
        self.shown.row.as_ref().err().map_or("", String::as_str)
    }
}

async fn find(page: &PageContext, place: &Place) -> Result<Shown, PageError> {
    let (application, destination, route, id) = place;
    let gone = || PageError::NotFound(page.dead().gone.to_owned());
    let id: MessageId = id.parse().map_err(|_| gone())?;
    let dead = DeadId { generation: id.0.generation, id: id.0.id, route: route.as_str().into() };
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let shown = dead_letters::show(&page.admin().redis, &document, application, destination, &dead);
    in_time(shown).await?.ok_or_else(gone)
}

fn render(
    page: &PageContext,
    status: StatusCode,
    shown: Shown,
    form: Option<Act>,
    mistakes: Vec<(String, String)>,
) -> Result<HttpResponse, PageError> {
    let text = page.dead();
    let id = dead_letters::name(&shown.letter.dead);
    let begun = shown.letter.edited.as_deref().unwrap_or(&shown.letter.data);
    let letter = Letter::of(&shown.letter, &shown.lot.destination_id);
    let Act { data, reason, force, .. } = form.unwrap_or_default();
    let template = LetterPage {
        frame: page.frame(Nav::Dead, format!("{} {}", text.letter, page.look().short_id(&id))),
        text,
        data: if data.is_empty() { pretty(begun) } else { data },
        reason,
        force: !force.is_empty(),
        id,
        letter,
        shown,
        mistakes,
        may_act: page.may(Role::Operator),
    };
    page.render_with(status, &template)
}

pub(super) async fn show(page: PageContext, place: web::Path<Place>) -> Result<HttpResponse, PageError> {
    let shown = find(&page, &place).await?;
    render(&page, StatusCode::OK, shown, None, Vec::new())
}

/// What a form asks for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Act {
    /// `redrive`, `edit` or `discard`.
    act: String,
    data: String,
    reason: String,
    force: String,
}

pub(super) async fn act(
    page: PageContext,
    place: web::Path<Place>,
    form: web::Form<Act>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let form = form.into_inner();
    let shown = match find(&page, &place).await {
        Err(PageError::Unavailable(why)) => return not_saved(&page, form, &why),
        outcome => outcome?,
    };
    let text = page.dead();
    let outcome = in_time_of_act(asked(&page, &shown, &form)).await;
    match outcome {
        Ok(()) => {}
        Err(ActError::Invalid(fields)) => {
            let mistakes = fields.into_iter().map(|field| {
                let more = if field.code == "record_no_json" { format!(" ({})", field.message) } else { String::new() };
                let why =
                    text.mistake(field.code).map_or_else(|| page.look().wrong(&field), |text| format!("{text}{more}"));
                (field.field, why)
            });
            return render(&page, StatusCode::UNPROCESSABLE_ENTITY, shown, Some(form), mistakes.collect());
        }
        Err(ActError::Unavailable(why)) => {
            let mistakes = vec![(String::new(), format!("{} {}", text.not_saved, page.look().why(why)))];
            return render(&page, StatusCode::SERVICE_UNAVAILABLE, shown, Some(form), mistakes);
        }
        Err(error) => return Err(error.into()),
    }
    let (application, destination, route, id) = place.into_inner();
    let here = letter_address(&application, &destination, &route, &id);
    let settled = settled(&page, &shown).await;
    Ok(match settled {
        Some(Outcome::Done) if form.act == "discard" => page.done("/console/dead", text.was_discarded),
        Some(Outcome::Done) => page.done(&message_address(&application, &id), text.was_written),
        Some(Outcome::Refused(why)) => page.failed(&here, format!("{} {why}", text.was_refused)),
        Some(Outcome::Superseded(why)) => page.failed(&here, format!("{} {why}", text.was_superseded)),
        None => page.done(&here, text.was_queued),
    })
}

async fn in_time_of_act(act: impl Future<Output = Result<(), ActError>>) -> Result<(), ActError> {
    match tokio::time::timeout(super::super::logs::WITHIN, act).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ActError::Unavailable("no answer from Redis in time".into())),
    }
}

async fn asked(page: &PageContext, shown: &Shown, form: &Act) -> Result<(), ActError> {
    let admin = page.admin();
    let (redis, mut store, who) = (&admin.redis, admin.store()?, page.who());
    let (lots, force) = (std::slice::from_ref(&shown.lot), !form.force.is_empty());
    match form.act.as_str() {
        "edit" => dead_letters::edit(redis, &mut store, &who, &shown.lot, &shown.letter, &form.data, force).await,
        "discard" => dead_letters::discard(redis, &mut store, &who, lots, Some(&form.reason)).await,
        _ => dead_letters::redrive(redis, &mut store, &who, lots, force).await,
    }
}

/// What came of it, if that shows soon.
async fn settled(page: &PageContext, shown: &Shown) -> Option<Outcome> {
    let began = Instant::now();
    let mut ids = shown.lot.ids();
    while began.elapsed() < SETTLES_WITHIN {
        tokio::time::sleep(LOOK_EVERY).await;
        let settled = dead_letters::settled(&page.admin().redis, &shown.lot, &mut ids).await.ok()?;
        if let Some((_, outcome)) = settled.into_iter().next() {
            return Some(outcome);
        }
    }
    None
}

#[derive(Template)]
#[template(path = "dead/not_saved.html")]
struct NotSavedPage {
    frame: Frame,
    text: &'static Dead,
    why: String,
    form: Act,
}

/// Redis is away: what was typed comes back, with a button to try again.
fn not_saved(page: &PageContext, form: Act, why: &str) -> Result<HttpResponse, PageError> {
    let text = page.dead();
    let frame = page.frame(Nav::Dead, text.letter);
    let template = NotSavedPage { frame, text, why: page.look().why(why), form };
    page.render_with(StatusCode::SERVICE_UNAVAILABLE, &template)
}
