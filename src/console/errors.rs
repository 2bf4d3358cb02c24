//! Failures as pages: what happened, and how to go on, in the reader's language.

use actix_web::{HttpResponse, body::BoxBody, dev::ServiceResponse, http::StatusCode};
use askama::Template;

use super::{
    page::{Frame, Nav, PageContext, PageError, Visitor},
    sign_in,
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
    let shell = visitor.look().pick(&super::texts::shell::EN, &super::texts::shell::ID);
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
