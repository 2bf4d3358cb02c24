//! Failures as pages: what happened, and how to go on, in the reader's language.

use actix_web::{HttpResponse, body::BoxBody, dev::ServiceResponse, http::StatusCode};
use askama::Template;

use super::{
    look::Look,
    page::{Frame, Nav, PageContext, PageError, Visitor},
    sign_in,
    texts::shell::{self, Shell},
};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    status: u16,
    text: &'a str,
    /// More about it, from below.
    detail: Option<String>,
    remedy: &'a str,
}

/// In place of a part of a page whose thing has gone: what, and where the others are.
#[derive(Template)]
#[template(path = "gone.html")]
struct Gone {
    look: Look,
    title: &'static str,
    detail: Option<String>,
    list: Option<(&'static str, &'static str)>,
}

/// The lists of what has parts that are asked for again and again.
const LISTS: [&str; 6] = [
    "/console/dead/jobs",
    "/console/broadcast/sent",
    "/console/destinations",
    "/console/tables",
    "/console/terminals",
    "/console/logs",
];

/// With it, htmx puts its answer in the page and asks no more.
const NO_MORE: u16 = 286;

/// What a part gets that the page asks for again and again: while it can't be known a status alone, which the page says in words
/// of its own and beside what it last knew; once its thing has gone, that in its place, and with it the asking ends.
fn to_poll(visitor: &Visitor, shell: &'static Shell, error: &PageError) -> HttpResponse {
    let look = visitor.look();
    let (title, detail) = match error {
        PageError::NotFound(what) => (shell.gone, look.why(what)),
        PageError::Forbidden(_) => (shell.forbidden, shell.forbidden_text.to_owned()),
        error => {
            let status = actix_web::ResponseError::status_code(error);
            return HttpResponse::build(status).insert_header(("HX-Reswap", "none")).finish();
        }
    };
    let list = LISTS.into_iter().find(|list| visitor.here.starts_with(list)).map(|list| (list, shell.to_list));
    let detail = Some(detail.trim_end_matches('.').to_owned()).filter(|text| !text.is_empty());
    let gone = Gone { look, title, detail, list };
    let mut response = HttpResponse::build(StatusCode::from_u16(NO_MORE).unwrap_or(StatusCode::OK));
    // Whatever the part would have put where.
    response.insert_header(("HX-Reswap", "outerHTML")).insert_header(("HX-Reselect", "#gone"));
    match gone.render() {
        Ok(body) => response.content_type("text/html; charset=utf-8").body(body),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// What answers on paths that do not exist. Which do, strangers are not told.
pub(super) async fn nowhere(_: PageContext) -> Result<HttpResponse, PageError> {
    Err(PageError::NotFound(String::new()))
}

/// The failure that an answer stands for, where it is one that has no page yet.
pub(super) fn of(response: &ServiceResponse<BoxBody>) -> Option<PageError> {
    let error = response.response().error();
    if let Some(ours) = error.and_then(|error| error.as_error::<PageError>()) {
        return Some(ours.clone());
    }
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => Some(PageError::Bad(String::new())),
        // What a query or a form lacks; actix's words name fields, never what was in them.
        status if status.is_client_error() => error.map(|error| PageError::Bad(error.to_string())),
        status if status.is_server_error() => error.map(|error| PageError::Broken(error.to_string())),
        _ => None,
    }
}

/// The page of a failure. `changes`: what was asked for was a change, so nothing else can be shown in its place.
pub(super) fn page(visitor: &Visitor, error: &PageError, changes: bool) -> HttpResponse {
    if *error == PageError::SignIn {
        return sign_in::send_there(visitor, changes);
    }
    let shell = visitor.look().pick(&shell::EN, &shell::ID);
    if visitor.polls && !changes {
        return to_poll(visitor, shell, error);
    }
    let own = |text: &String| Some(visitor.look().why(text)).filter(|text| !text.is_empty());
    let (title, text, detail, remedy) = match error {
        PageError::SignIn => (shell.sign_in, "", None, ""),
        PageError::Forbidden(role) => {
            (shell.forbidden, shell.forbidden_text, Some(shell.role(*role).to_owned()), shell.forbidden_remedy)
        }
        PageError::NotFound(what) => (shell.not_found, shell.not_found_text, own(what), shell.not_found_remedy),
        PageError::NotOurs => (shell.not_ours, shell.not_ours_text, None, shell.not_ours_remedy),
        PageError::Bad(why) => (shell.bad, shell.bad_text, own(why), shell.bad_remedy),
        PageError::Conflict(why) => (shell.conflict, shell.conflict_text, own(why), shell.conflict_remedy),
        PageError::Unavailable(why) => (shell.unavailable, shell.unavailable_text, own(why), shell.unavailable_remedy),
        PageError::Broken(why) => {
            tracing::error!(%why, path = %visitor.here.split('?').next().unwrap_or_default(), "a page could not be made");
            (shell.broken, shell.broken_text, None, shell.broken_remedy)
        }
    };
    // A page that only reads answers although Redis is away, and says so.
    let status = match error {
        PageError::Unavailable(_) if !changes => StatusCode::OK,
        error => actix_web::ResponseError::status_code(error),
    };
    let frame = visitor.frame(Nav::Elsewhere, title);
    let page = ErrorPage { frame, status: actix_web::ResponseError::status_code(error).as_u16(), text, detail, remedy };
    visitor.render(status, &page).unwrap_or_else(|_| HttpResponse::InternalServerError().finish())
}
