//! Signing in and out, and the one-time link that makes the first admin.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tidegate_actors::delivery::now_ms;

use super::{
    cookies,
    page::{Frame, Guest, Nav, PageError, Visitor},
    preferences::own_path,
    secret::Typed,
    texts::sign_in::{self as texts, SignIn},
};
use crate::{
    admin::FieldError,
    users::{FirstError, SignInError, SignedIn},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/sign-in").route(web::get().to(show)).route(web::post().to(sign_in)))
        .service(web::resource("/sign-out").route(web::post().to(sign_out)))
        .service(web::resource("/first").route(web::get().to(show_first)).route(web::post().to(first)));
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    text: &'static SignIn,
    form: Form,
}

/// The form by itself: what htmx puts in the place of the one that was sent.
#[derive(Template)]
#[template(path = "sign_in_form.html")]
struct FormPart {
    frame: Frame,
    text: &'static SignIn,
    form: Form,
}

/// What the form shows.
#[derive(Default)]
struct Form {
    name: String,
    next: String,
    error: Option<String>,
    /// The account asks for a code as well.
    code: bool,
}

#[derive(Template)]
#[template(path = "first.html")]
struct FirstPage {
    frame: Frame,
    text: &'static SignIn,
    token: String,
    name: String,
    error: Option<String>,
    fields: Vec<FieldError>,
    /// The link leads to nothing.
    over: bool,
}

impl FirstPage {
    fn wrong(&self, field: &str) -> Option<String> {
        self.fields.iter().find(|error| error.field == field).map(|error| self.frame.wrong(error))
    }
}

#[derive(Deserialize)]
struct Next {
    next: Option<String>,
}

#[derive(Deserialize)]
struct Given {
    name: String,
    password: Typed,
    code: Option<String>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Link {
    token: Option<String>,
}

#[derive(Deserialize)]
struct GivenFirst {
    token: String,
    name: String,
    password: Typed,
    again: Typed,
}

fn text(visitor: &Visitor) -> &'static SignIn {
    visitor.look().pick(&texts::EN, &texts::ID)
}

/// Sends somebody who is not signed in to the form, and back afterwards.
pub(super) fn send_there(visitor: &Visitor, changes: bool) -> HttpResponse {
    let next = if changes || visitor.here == "/console/" { None } else { Some(visitor.here.as_str()) };
    let query =
        next.map(|next| format!("?next={}", url::form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>()));
    visitor.see(&format!("/console/sign-in{}", query.unwrap_or_default()))
}

async fn show(Guest(visitor): Guest, query: web::Query<Next>) -> Result<HttpResponse, PageError> {
    let next = own_path(query.next.as_deref());
    if visitor.session.is_some() {
        return Ok(visitor.see(next));
    }
    page(&visitor, StatusCode::OK, Form { next: next.to_owned(), ..Form::default() })
}

fn page(visitor: &Visitor, status: StatusCode, form: Form) -> Result<HttpResponse, PageError> {
    let text = text(visitor);
    let frame = visitor.frame(Nav::Elsewhere, text.title);
    if visitor.htmx {
        return visitor.render(status, &FormPart { frame, text, form });
    }
    visitor.render(status, &SignInPage { frame, text, form })
}

async fn sign_in(Guest(visitor): Guest, given: web::Form<Given>) -> Result<HttpResponse, PageError> {
    let Given { name, password: Typed(password), code, next } = given.into_inner();
    let (text, next) = (text(&visitor), own_path(next.as_deref()).to_owned());
    let code = code.as_deref().map(str::trim).filter(|code| !code.is_empty());
    let outcome = visitor.console.users.sign_in(name.trim(), password, code, visitor.from).await;
    let (status, error, code) = match outcome {
        Ok(signed_in) => return Ok(enter(&visitor, &signed_in, &next)),
        Err(SignInError::Wrong) => (StatusCode::UNPROCESSABLE_ENTITY, text.wrong.to_owned(), code.is_some()),
        Err(SignInError::LockedUntil(ms)) => {
            #[allow(clippy::cast_precision_loss, reason = "minutes")]
            let wait = visitor.look().span(ms.saturating_sub(now_ms()) as f64 / 1000.0);
            (StatusCode::TOO_MANY_REQUESTS, text.locked.replace("{}", &wait), code.is_some())
        }
        Err(SignInError::CodeWanted) => (StatusCode::UNPROCESSABLE_ENTITY, text.code_wanted.to_owned(), true),
        Err(SignInError::CodeWrong) => (StatusCode::UNPROCESSABLE_ENTITY, text.code_wrong.to_owned(), true),
        Err(SignInError::Unavailable(why)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{} ({})", text.unavailable, visitor.look().why(why)),
            code.is_some(),
        ),
    };
    page(&visitor, status, Form { name, next, error: Some(error), code })
}

/// Gives the browser its session.
fn enter(visitor: &Visitor, signed_in: &SignedIn, next: &str) -> HttpResponse {
    let mut response = visitor.see(next);
    if let Ok(cookie) = cookies::session(visitor.secure, signed_in.token.expose_secret()).parse() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn sign_out(Guest(visitor): Guest, request: actix_web::HttpRequest) -> HttpResponse {
    if let Some(token) = cookies::read(request.headers(), cookies::session_name(visitor.secure)) {
        visitor.console.known.forget(token);
        // Where Redis is away it ends by its time; this browser has it no more.
        if let Err(error) = visitor.console.users.sign_out(token).await {
            tracing::warn!(%error, "a session could not be ended at once");
        }
    }
    let mut response = visitor.see("/console/sign-in");
    if let Ok(cookie) = cookies::no_session(visitor.secure).parse() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn show_first(Guest(visitor): Guest, link: web::Query<Link>) -> Result<HttpResponse, PageError> {
    let text = text(&visitor);
    let frame = visitor.frame(Nav::Elsewhere, text.first_title);
    let token = link.into_inner().token.unwrap_or_default();
    let (error, fields, over) = (None, Vec::new(), token.is_empty());
    visitor.render(StatusCode::OK, &FirstPage { frame, text, token, name: String::new(), error, fields, over })
}

async fn first(Guest(visitor): Guest, given: web::Form<GivenFirst>) -> Result<HttpResponse, PageError> {
    let text = text(&visitor);
    let GivenFirst { token, name, password: Typed(password), again: Typed(again) } = given.into_inner();
    let differ = password.expose_secret() != again.expose_secret();
    let outcome = if differ {
        let message = text.again_differs.to_owned();
        Err(FirstError::Invalid(vec![FieldError { field: "again".into(), code: "differs", message }]))
    } else {
        visitor.console.users.first_admin(&token, name.trim(), password).await
    };
    let (status, error, fields, over) = match outcome {
        Ok(signed_in) => return Ok(enter(&visitor, &signed_in, "/console/")),
        Err(FirstError::Gone) => (StatusCode::GONE, None, Vec::new(), true),
        Err(FirstError::Invalid(fields)) => (StatusCode::UNPROCESSABLE_ENTITY, None, fields, false),
        Err(FirstError::Unavailable(why)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(format!("{} ({})", text.unavailable, visitor.look().why(why))),
            Vec::new(),
            false,
        ),
    };
    let frame = visitor.frame(Nav::Elsewhere, text.first_title);
    visitor.render(status, &FirstPage { frame, text, token, name, error, fields, over })
}
