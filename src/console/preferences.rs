//! Language and light or dark, from the switches in the header: kept in the browser, and the language with the user too.

use actix_web::{HttpResponse, http::header, web};
use serde::Deserialize;

use super::{
    cookies,
    page::{Guest, PageError},
};
use crate::{admin::users::set_lang, users::Lang};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/look").route(web::post().to(change)));
}

/// The theme of this name.
pub(super) fn theme(name: &str) -> Option<&'static str> {
    ["light", "dark"].into_iter().find(|known| *known == name)
}

#[derive(Deserialize)]
struct Wish {
    lang: Option<String>,
    theme: Option<String>,
    /// Where the switch was.
    next: Option<String>,
}

/// A path of ours, or the overview: never another site.
pub(super) fn own_path(path: Option<&str>) -> &str {
    let ours = |path: &&str| {
        path.starts_with("/console/") && path.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\')
    };
    path.filter(ours).unwrap_or("/console/")
}

async fn change(Guest(visitor): Guest, wish: web::Form<Wish>) -> Result<HttpResponse, PageError> {
    let mut response = visitor.see(own_path(wish.next.as_deref()));
    let mut keep = |name: &str, value: &str| {
        if let Ok(cookie) = cookies::preference(visitor.secure, name, value).parse() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    };
    if let Some(lang) = wish.lang.as_deref().and_then(Lang::parse) {
        keep(cookies::LANG, lang.as_str());
        // A choice that was made for good would win over this browser's.
        let chosen = visitor.session.as_ref().and_then(|session| session.lang);
        if let Some(who) = visitor.who().filter(|_| chosen.is_some_and(|chosen| chosen != lang)) {
            set_lang(&visitor.console.users, &who, Some(lang)).await?;
        }
    }
    if let Some(name) = wish.theme.as_deref() {
        // Anything else is the browser's own choice again.
        keep(cookies::THEME, theme(name).unwrap_or("auto"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_never_leaves_the_console() {
        for (given, path) in [
            (Some("/console/logs?status=dead"), "/console/logs?status=dead"),
            (Some("//evil.example"), "/console/"),
            (Some("https://evil.example/console/"), "/console/"),
            (Some("/console/\\evil"), "/console/"),
            (Some("/console/a\r\nx: y"), "/console/"),
            (None, "/console/"),
        ] {
            assert_eq!(own_path(given), path);
        }
    }
}
