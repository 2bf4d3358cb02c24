//! How long records are kept and from which marks of Redis's memory on less is: for all nodes at once.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;

use super::{Tab, Wrong, present, tabs, text};
use crate::{
    admin::{
        Role,
        settings::{self as acts, Given, in_words},
    },
    broadcast::parts::KEPT_DAYS,
    console::{
        page::{Frame, Nav, PageContext, PageError},
        texts::settings::Settings,
    },
    resources::{Kept, Overrides},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/settings/retention").route(web::get().to(show)).route(web::post().to(save)));
}

#[derive(Template)]
#[template(path = "settings/retention.html")]
struct Form {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    given: Given,
    /// This node's own settings, as they are typed.
    own: Given,
    wrong: Wrong,
}

fn typed(set: &Overrides) -> Given {
    let percent = |percent: Option<u8>| percent.map(|percent| percent.to_string()).unwrap_or_default();
    Given {
        retention: set.retention.map(in_words).unwrap_or_default(),
        memory_soft: percent(set.memory.map(|marks| marks.soft_percent)),
        memory_hard: percent(set.memory.map(|marks| marks.hard_percent)),
        broadcasts_days: set.broadcasts_kept_days.map(|days| days.to_string()).unwrap_or_default(),
    }
}

async fn show(page: PageContext) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    // As this node knows it: it is there while Redis is away, too.
    let set = page.admin().documents.borrow().as_ref().map(|document| document.settings.clone()).unwrap_or_default();
    form(&page, StatusCode::OK, typed(&set), Wrong::default())
}

fn form(page: &PageContext, status: StatusCode, given: Given, wrong: Wrong) -> Result<HttpResponse, PageError> {
    let settings = &page.admin().settings;
    let kept = Kept { age_s: settings.retention.age.map(|age| age.as_secs()), messages: settings.retention.messages };
    let percent = |share: f64| format!("{:.0}", share * 100.0);
    let own = Given {
        retention: in_words(kept),
        memory_soft: percent(settings.memory_soft),
        memory_hard: percent(settings.memory_hard),
        broadcasts_days: KEPT_DAYS.to_string(),
    };
    let (text, frame) = (text(page), page.frame(Nav::Settings, text(page).retention));
    page.render_with(status, &Form { frame, text, tabs: tabs(text, "retention"), given, own, wrong })
}

async fn save(page: PageContext, given: web::Form<Given>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let given = given.into_inner();
    let saved = match present(&page) {
        Ok(()) => acts::set(&page.admin().redis, &page.who(), &given).await,
        Err(away) => Err(away),
    };
    match saved {
        Ok(()) => Ok(page.done("/console/settings/retention", text(&page).done_saved)),
        Err(error) => {
            let (status, wrong) = Wrong::of(&page, error)?;
            form(&page, status, given, wrong)
        }
    }
}
