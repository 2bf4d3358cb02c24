//! One's own account: password, second factor, language, sessions. Everybody has it, a broadcaster too.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use qrcodegen::{QrCode, QrCodeEcc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{
    page::{Frame, Nav, PageContext, PageError},
    secret::Typed,
    settings::{Wrong, answer, text},
    texts::settings::Settings,
};
use crate::{
    admin::{ActError, users as acts},
    users::{Enrolment, Lang},
};

const HOME: &str = "/console/me";
/// Light modules around the code, as the standard asks for.
const QUIET: i32 = 4;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/me").route(web::get().to(show)))
        .service(web::resource("/me/password").route(web::post().to(password)))
        .service(web::resource("/me/second").route(web::post().to(begin)))
        .service(web::resource("/me/second/on").route(web::post().to(turn_on)))
        .service(web::resource("/me/second/off").route(web::post().to(turn_off)))
        .service(web::resource("/me/language").route(web::post().to(language)))
        .service(web::resource("/me/sessions").route(web::post().to(end_sessions)));
}

#[derive(Template)]
#[template(path = "me/page.html")]
struct Page {
    frame: Frame,
    text: &'static Settings,
    since_ms: u64,
    /// `None` while Redis is away: then it is not known.
    second: Option<bool>,
    recovery_left: usize,
    lang: &'static str,
    /// Which form what is wrong belongs to.
    form: &'static str,
    wrong: Wrong,
}

#[derive(Template)]
#[template(path = "me/scan.html")]
struct Scan {
    frame: Frame,
    text: &'static Settings,
    /// The dark modules, as an SVG path.
    modules: String,
    /// Modules on each side, with the quiet zone.
    size: i32,
    secret: String,
    sealed: String,
    wrong: Wrong,
}

#[derive(Template)]
#[template(path = "me/codes.html")]
struct Codes {
    frame: Frame,
    text: &'static Settings,
    codes: Vec<String>,
}

async fn show(page: PageContext) -> Result<HttpResponse, PageError> {
    render(&page, StatusCode::OK, "", Wrong::default()).await
}

async fn render(
    page: &PageContext,
    status: StatusCode,
    form: &'static str,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let (text, session) = (text(page), page.session());
    let found = match page.redis_away() {
        Some(_) => None,
        None => page.console().users.find(&session.user).await.ok().flatten(),
    };
    let second = found.as_ref().map(|user| user.second.is_some());
    let recovery_left = found.and_then(|user| user.second).map_or(0, |second| second.recovery.len());
    let (frame, lang) = (page.frame(Nav::Me, text.me_title), session.lang.map_or("", Lang::as_str));
    let page_shown = Page { frame, text, since_ms: session.since_ms, second, recovery_left, lang, form, wrong };
    page.render_with(status, &page_shown)
}

async fn refused(page: &PageContext, form: &'static str, error: ActError) -> Result<HttpResponse, PageError> {
    let (status, wrong) = Wrong::of(page, error)?;
    render(page, status, form, wrong).await
}

#[derive(Deserialize)]
struct GivenPassword {
    password: Typed,
    new: Typed,
    again: Typed,
}

async fn password(page: PageContext, given: web::Form<GivenPassword>) -> Result<HttpResponse, PageError> {
    let GivenPassword { password: Typed(present), new: Typed(new), again: Typed(again) } = given.into_inner();
    if new.expose_secret() != again.expose_secret() {
        let wrong = Wrong::field(&page, "again", "password_differs", text(&page).password_differs);
        return render(&page, StatusCode::UNPROCESSABLE_ENTITY, "password", wrong).await;
    }
    match acts::change_own_password(&page.console().users, &page.who(), present, new, page.from()).await {
        Ok(signed_in) => Ok(page.entered(HOME, &signed_in, text(&page).done_me_password)),
        Err(error) => refused(&page, "password", error).await,
    }
}

#[derive(Deserialize)]
struct Confirmed {
    password: Typed,
}

async fn begin(page: PageContext, given: web::Form<Confirmed>) -> Result<HttpResponse, PageError> {
    let Typed(password) = given.into_inner().password;
    match acts::enrol(&page.console().users, &page.who(), password, page.from()).await {
        Ok(enrolment) => scan(&page, StatusCode::OK, &enrolment, Wrong::default()),
        Err(error) => refused(&page, "second", error).await,
    }
}

fn scan(
    page: &PageContext,
    status: StatusCode,
    enrolment: &Enrolment,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let (modules, size) = drawn(&enrolment.url)?;
    let (text, frame) = (text(page), page.frame(Nav::Me, text(page).me_scan_title));
    let (secret, sealed) = (enrolment.spaced(), enrolment.sealed.clone());
    page.render_with(status, &Scan { frame, text, modules, size, secret, sealed, wrong })
}

/// The dark modules of a QR code, row by row, and its size.
pub(super) fn drawn(url: &SecretString) -> Result<(String, i32), PageError> {
    let code = QrCode::encode_text(url.expose_secret(), QrCodeEcc::Medium).map_err(PageError::broken)?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            path.push_str(&format!("M{},{}h1v1h-1z", x + QUIET, y + QUIET));
        }
    }
    Ok((path, code.size() + 2 * QUIET))
}

#[derive(Deserialize)]
struct FirstCode {
    sealed: String,
    code: String,
}

async fn turn_on(page: PageContext, given: web::Form<FirstCode>) -> Result<HttpResponse, PageError> {
    let FirstCode { sealed, code } = given.into_inner();
    let (users, who) = (&page.console().users, page.who());
    match users.turn_on(&who, &sealed, &code).await {
        Ok(codes) => {
            let codes = codes.iter().map(|code| code.expose_secret().to_owned()).collect();
            let (text, frame) = (text(&page), page.frame(Nav::Me, text(&page).me_codes_title));
            page.render(&Codes { frame, text, codes })
        }
        Err(error @ (ActError::Invalid(_) | ActError::Unavailable(_))) => {
            let again = users.enrolled(&who.name, &sealed)?;
            let (status, wrong) = Wrong::of(&page, error)?;
            scan(&page, status, &again, wrong)
        }
        Err(error) => refused(&page, "second", error).await,
    }
}

async fn turn_off(page: PageContext, given: web::Form<Confirmed>) -> Result<HttpResponse, PageError> {
    let Typed(password) = given.into_inner().password;
    match acts::own_second_factor_off(&page.console().users, &page.who(), password, page.from()).await {
        Ok(()) => Ok(page.done(HOME, text(&page).done_me_second_off)),
        Err(error) => refused(&page, "second", error).await,
    }
}

#[derive(Deserialize)]
struct GivenLanguage {
    lang: String,
}

async fn language(page: PageContext, given: web::Form<GivenLanguage>) -> Result<HttpResponse, PageError> {
    let lang = Lang::parse(&given.lang);
    let outcome = acts::set_lang(&page.console().users, &page.who(), lang).await;
    // In the language that was just chosen.
    let done = match lang {
        Some(Lang::En) => super::texts::settings::EN.done_me_language,
        Some(Lang::Id) => super::texts::settings::ID.done_me_language,
        None => text(&page).done_me_language,
    };
    answer(&page, HOME, outcome, done.to_owned())
}

async fn end_sessions(page: PageContext) -> Result<HttpResponse, PageError> {
    let name = page.session().user.to_string();
    let outcome = acts::end_sessions(&page.console().users, &page.who(), &name).await;
    let path = if outcome.is_ok() { "/console/sign-in" } else { HOME };
    answer(&page, path, outcome, text(&page).done_sessions.replace("{}", &name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_code_is_drawn_with_its_quiet_zone() {
        let (path, size) =
            drawn(&"otpauth://totp/Tidegate:ana?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Tidegate".into())
                .unwrap();
        // The finder patterns stand in three corners.
        for corner in [(QUIET, QUIET), (size - QUIET - 1, QUIET), (QUIET, size - QUIET - 1)] {
            assert!(path.contains(&format!("M{},{}h1v1h-1z", corner.0, corner.1)), "{corner:?}");
        }
        assert!(!path.contains(&format!("M{},", QUIET - 1)));
        assert!((29..=61).contains(&size), "{size}");
    }
}
