//! Export and import of applications, destinations and routes; what an import would do is shown before it is done.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;

use super::{Tab, Wrong, present, tabs, text};
use crate::{
    admin::{
        Role,
        transfer::{self as acts, Preview, Refusal},
    },
    console::{
        page::{Frame, Nav, PageContext, PageError},
        texts::settings::Settings,
    },
};

const HOME: &str = "/console/settings/transfer";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/settings/transfer").route(web::get().to(show)))
        .service(web::resource("/settings/transfer/tidegate.toml").route(web::get().to(download)))
        .service(web::resource("/settings/transfer/preview").route(web::post().to(preview)))
        .service(web::resource("/settings/transfer/import").route(web::post().to(import)));
}

#[derive(Template)]
#[template(path = "settings/transfer.html")]
struct Screen {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    toml: String,
    prune: bool,
    mistakes: Vec<String>,
    wrong: Wrong,
}

#[derive(Template)]
#[template(path = "settings/preview.html")]
struct Shown {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    toml: String,
    prune: bool,
    preview: Preview,
    /// What is asked before it is carried out.
    ask: String,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    toml: String,
    prune: Option<String>,
    version: Option<u64>,
}

async fn show(page: PageContext) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    screen(&page, StatusCode::OK, String::new(), false, Vec::new(), Wrong::default())
}

fn screen(
    page: &PageContext,
    status: StatusCode,
    toml: String,
    prune: bool,
    mistakes: Vec<String>,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let (text, frame) = (text(page), page.frame(Nav::Settings, text(page).transfer));
    page.render_with(status, &Screen { frame, text, tabs: tabs(text, "transfer"), toml, prune, mistakes, wrong })
}

async fn download(page: PageContext) -> Result<HttpResponse, PageError> {
    let toml = acts::export_toml(page.admin(), &page.who()).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/toml; charset=utf-8")
        .insert_header(("content-disposition", "attachment; filename=\"tidegate.toml\""))
        .body(toml))
}

fn refused(page: &PageContext, refusal: Refusal, toml: String, prune: bool) -> Result<HttpResponse, PageError> {
    match refusal {
        Refusal::Mistakes(mistakes) => {
            screen(page, StatusCode::UNPROCESSABLE_ENTITY, toml, prune, mistakes, Wrong::default())
        }
        Refusal::Act(error) => {
            let (status, wrong) = Wrong::of(page, error)?;
            screen(page, status, toml, prune, Vec::new(), wrong)
        }
    }
}

async fn preview(page: PageContext, given: web::Form<Given>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let Given { toml, prune, .. } = given.into_inner();
    let (admin, prune) = (page.admin(), prune.is_some());
    if let Err(away) = present(&page) {
        return refused(&page, Refusal::Act(away), toml, prune);
    }
    match acts::preview(admin, &page.who(), &toml, prune).await {
        Ok(preview) => {
            let (text, frame) = (text(&page), page.frame(Nav::Settings, text(&page).import_changes));
            let (changes, removals) = (preview.changes.len().to_string(), preview.removals.to_string());
            let ask = text.import_ask.replacen("{}", &changes, 1).replacen("{}", &removals, 1);
            page.render(&Shown { frame, text, tabs: tabs(text, "transfer"), toml, prune, preview, ask })
        }
        Err(refusal) => refused(&page, refusal, toml, prune),
    }
}

async fn import(page: PageContext, given: web::Form<Given>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let Given { toml, prune, version } = given.into_inner();
    let (admin, prune, version) = (page.admin(), prune.is_some(), version.unwrap_or_default());
    if let Err(away) = present(&page) {
        return refused(&page, Refusal::Act(away), toml, prune);
    }
    match acts::import(admin, &page.who(), &toml, prune, version).await {
        Ok(changes) => Ok(page.done(HOME, text(&page).done_import.replace("{}", &changes.len().to_string()))),
        Err(refusal) => refused(&page, refusal, toml, prune),
    }
}
