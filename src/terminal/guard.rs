//! What stands before every request of a terminal: how it came in, whose token it carries, whether a change is really its own,
//! and the headers of every answer.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{
            AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, ORIGIN,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    web,
};

use super::refusal::{Refusal, What};
use crate::{
    broadcast::{
        hub::{Hub, Refused},
        terminals::Terminal,
    },
    console::{Arrival, Console, POLICY, lang_of, read_cookie},
    users::Lang,
};

/// The token's cookie where nobody on the way can read it.
const COOKIE_SECURE: &str = "__Host-tidegate-terminal";
/// The same on plain loopback.
const COOKIE_PLAIN: &str = "tidegate-terminal";
const YEAR_S: u32 = 365 * 24 * 60 * 60;

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How a request came in.
#[derive(Clone)]
struct Asker {
    lang: Lang,
    arrival: Arc<Arrival>,
}

/// Lets a request through, or answers in its place.
pub(super) async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(console) = request.app_data::<web::Data<Console>>().cloned() else {
        return Ok(request.into_response(HttpResponse::InternalServerError().finish()));
    };
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let arrival = match console.arrive(peer, &request) {
        Ok(arrival) => arrival,
        Err(sentence) => {
            let answer = HttpResponse::build(StatusCode::MISDIRECTED_REQUEST)
                .content_type("text/plain; charset=utf-8")
                .body(sentence);
            return Ok(request.into_response(answer));
        }
    };
    let lang = lang_of(None, request.headers());
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let ours = !changes || is_theirs(&arrival, request.headers());
    request.extensions_mut().insert(Asker { lang, arrival: Arc::new(arrival) });
    let mut response = if ours {
        next.call(request).await?.map_into_boxed_body()
    } else {
        let refusal = Refusal::new(What::NotOurs, lang);
        request.into_response(actix_web::ResponseError::error_response(&refusal))
    };
    // What the router or an extractor refuses is told like all else.
    if response.status().is_client_error()
        && response.headers().get("content-type").is_none_or(|kind| kind != "application/problem+json")
    {
        let what = if response.status() == StatusCode::NOT_FOUND { What::NotFound } else { What::BadRequest };
        let refusal = Refusal::new(what, lang);
        response = response.into_response(actix_web::ResponseError::error_response(&refusal));
    }
    dress(response.headers_mut());
    Ok(response)
}

/// What a cookie lends its weight to must come from a page of ours; what carries its token itself, or comes from no browser at
/// all, can't have been made by a foreign page.
fn is_theirs(arrival: &Arrival, headers: &HeaderMap) -> bool {
    if headers.contains_key(AUTHORIZATION) {
        return true;
    }
    let by_cookie = read_cookie(headers, cookie_name(arrival.secure)).is_some();
    let of_browser = headers.contains_key(ORIGIN) || headers.contains_key(&FETCH_SITE);
    if by_cookie || of_browser { arrival.is_from_our_page(headers) } else { true }
}

fn dress(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

fn cookie_name(secure: bool) -> &'static str {
    if secure { COOKIE_SECURE } else { COOKIE_PLAIN }
}

/// Sets the token's cookie, for a year from now.
pub(super) fn cookie(request: &HttpRequest, token: &str) -> String {
    let secure = asker(request).is_some_and(|asker| asker.arrival.secure);
    let word = if secure { "; Secure" } else { "" };
    format!("{}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={YEAR_S}{word}", cookie_name(secure))
}

fn asker(request: &HttpRequest) -> Option<Asker> {
    request.extensions().get::<Asker>().cloned()
}

/// The language to answer in.
pub(super) fn lang(request: &HttpRequest) -> Lang {
    asker(request).map_or_else(Lang::default, |asker| asker.lang)
}

/// Where a request came from.
pub(super) fn address(request: &HttpRequest) -> String {
    asker(request).map_or_else(String::new, |asker| asker.arrival.from.to_canonical().to_string())
}

/// The token of a request, and whether it came as a cookie.
fn token(request: &HttpRequest) -> Option<(String, bool)> {
    let headers = request.headers();
    if let Some(given) = headers.get(AUTHORIZATION) {
        let (scheme, token) = given.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| (token.trim().to_owned(), false));
    }
    let secure = asker(request).is_some_and(|asker| asker.arrival.secure);
    Some((read_cookie(headers, cookie_name(secure))?.to_owned(), true))
}

/// A terminal that asks.
pub(super) struct Known {
    pub(super) hub: Arc<Hub>,
    pub(super) terminal: Arc<Terminal>,
    /// Its token came as a cookie.
    pub(super) by_cookie: bool,
}

/// Whose request this is.
pub(super) async fn known(request: &HttpRequest) -> Result<Known, Refusal> {
    let refused = |what| Refusal::of(request, what);
    let console = request.app_data::<web::Data<Console>>();
    let hub = console.map(|console| Arc::clone(&console.broadcasts)).ok_or_else(|| refused(What::NotFound))?;
    let (token, by_cookie) = token(request).ok_or_else(|| refused(What::NotEnrolled))?;
    match hub.authenticate(&token).await {
        Ok(terminal) => Ok(Known { hub, terminal, by_cookie }),
        Err(Refused::NotEnrolled) => Err(refused(What::NotEnrolled)),
        Err(Refused::Revoked) => Err(refused(What::Revoked)),
        Err(Refused::Unavailable(why)) => Err(refused(What::Unavailable(why))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_change_by_cookie_must_come_from_a_page_of_ours() {
        let arrival = Arrival { from: "10.0.0.1".parse().unwrap(), secure: true, host: "console.example".into() };
        let theirs = |all: &[(&'static str, &'static str)]| {
            let all = all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            is_theirs(&arrival, &all.collect())
        };
        let cookie = ("cookie", "__Host-tidegate-terminal=x");
        assert!(!theirs(&[cookie]));
        assert!(!theirs(&[cookie, ("origin", "https://evil.example")]));
        assert!(theirs(&[cookie, ("origin", "https://console.example")]));
        assert!(theirs(&[("authorization", "Bearer tg_term_x")]));
        assert!(theirs(&[]), "a program");
        assert!(!theirs(&[("sec-fetch-site", "cross-site")]), "a foreign page that would enrol a browser");
    }
}
