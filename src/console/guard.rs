//! What stands before every page: how the request came in, who is signed in, and whether a change comes from one of our own
//! pages. Behind it, every failure becomes a page, and every page gets its headers.

use std::{
    cell::Cell,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, REFERER,
            REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    web,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    Console, ask, cookies,
    entrance::{Arrival, Astray},
    errors, lang,
    page::{Flash, PageError, Visitor},
};
use crate::{admin::Role, redis::patience, users::Session};

/// What pages may load: from here, and nothing that stands in the page itself.
pub(crate) const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'";
/// Longest wait for what Redis says of a session.
const SESSION_WITHIN: Duration = Duration::from_secs(1);
/// How long a session that Redis confirmed is believed while Redis is away. It can read what this node knows; every change
/// needs Redis.
const BELIEVED_FOR: Duration = Duration::from_secs(60 * 60);
/// Most sessions that are remembered for that.
const MOST_KNOWN: usize = 10_000;

static CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
static HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
/// The page's script sends it with what a part of the page asks for by itself, again and again.
static POLL: HeaderName = HeaderName::from_static("x-poll");

/// Sessions as Redis last confirmed them, for when it is away.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<[u8; 32], (Session, Instant)>>);

impl Known {
    fn all(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Session, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, token: &str, session: &Session, now: Instant) {
        let mut all = self.all();
        if all.len() >= MOST_KNOWN {
            all.retain(|_, (_, at)| now.saturating_duration_since(*at) < BELIEVED_FOR);
            if all.len() >= MOST_KNOWN {
                return;
            }
        }
        all.insert(Sha256::digest(token).into(), (session.clone(), now));
    }

    pub(super) fn forget(&self, token: &str) {
        self.all().remove(&<[u8; 32]>::from(Sha256::digest(token)));
    }

    fn recall(&self, token: &str, now: Instant) -> Option<Session> {
        let all = self.all();
        let (session, at) = all.get(&<[u8; 32]>::from(Sha256::digest(token)))?;
        (now.saturating_duration_since(*at) < BELIEVED_FOR).then(|| session.clone())
    }
}

impl Console {
    /// The session of this token, and why Redis could not be asked for it.
    pub(super) async fn session_of(&self, token: Option<&str>) -> (Option<Session>, Option<String>) {
        let down = self.readiness.redis_obstacle();
        let Some(token) = token.filter(|token| !token.is_empty() && token.len() <= 256) else { return (None, down) };
        let why = match down {
            Some(why) => why,
            None => match tokio::time::timeout(SESSION_WITHIN, self.users.session(token)).await {
                Ok(Ok(Some(session))) => {
                    self.known.remember(token, &session, Instant::now());
                    return (Some(session), None);
                }
                Ok(Ok(None)) => {
                    self.known.forget(token);
                    return (None, None);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "Redis did not answer in time".to_owned(),
            },
        };
        (self.known.recall(token, Instant::now()), Some(why))
    }
}

impl Console {
    /// How a request came in that is not for a page; the sentence says why it is not let in.
    pub(crate) fn arrive(&self, peer: IpAddr, request: &ServiceRequest) -> Result<Arrival, &'static str> {
        self.entrance.arrive(peer, request.headers(), &host(request)).map_err(Astray::sentence)
    }

    /// Whether somebody who is signed in asks, for what is neither page nor change.
    pub(crate) async fn is_signed_in(&self, request: &HttpRequest) -> bool {
        let headers = request.headers();
        for secure in [true, false] {
            let token = cookies::read(headers, cookies::session_name(secure));
            if token.is_some() && self.session_of(token).await.0.is_some() {
                return true;
            }
        }
        false
    }
}

/// Lets a request through to its page, or answers in its place. However many questions to Redis that takes, one that stands
/// still is waited for once.
pub(super) async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    patience::of_request(guarded(request, next)).await
}

async fn guarded<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(console) = request.app_data::<web::Data<Console>>().cloned() else {
        return Ok(request.into_response(HttpResponse::InternalServerError().finish()));
    };
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let arrival = match console.entrance.arrive(peer, request.headers(), &host(&request)) {
        Ok(arrival) => arrival,
        Err(astray) => {
            let answer = HttpResponse::build(StatusCode::MISDIRECTED_REQUEST)
                .content_type("text/plain; charset=utf-8")
                .body(astray.sentence());
            return Ok(request.into_response(answer));
        }
    };
    let headers = request.headers();
    let token = cookies::read(headers, cookies::session_name(arrival.secure)).map(str::to_owned);
    let (session, away) = console.session_of(token.as_deref()).await;
    let visitor = Rc::new(Visitor {
        lang: lang::of(session.as_ref().and_then(|session| session.lang), headers),
        theme: cookies::read(headers, cookies::THEME).and_then(super::preferences::theme),
        flash: cookies::read(headers, cookies::FLASH).and_then(Flash::read),
        flash_shown: Cell::new(false),
        from: arrival.from,
        secure: arrival.secure,
        host: arrival.host.clone(),
        away,
        here: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        htmx: headers.contains_key(&HX_REQUEST),
        polls: headers.contains_key(&POLL),
        session,
        console,
    });
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let checked = match may_come(&visitor, request.path()) {
        Ok(()) if !changes => Ok(Vec::new()),
        Ok(()) if !arrival.is_from_our_page(request.headers()) => Err(PageError::NotOurs),
        Ok(()) => carries_token(&mut request, &visitor).await,
        Err(error) => Err(error),
    };
    let mut response = match checked {
        Ok(fields) if ask::carry_question(&fields) => {
            let from = request.headers().get(REFERER).and_then(|from| from.to_str().ok()).map(str::to_owned);
            request.into_response(ask::page(&visitor, from.as_deref(), fields))
        }
        Ok(_) => {
            request.extensions_mut().insert(Rc::clone(&visitor));
            let response = next.call(request).await?.map_into_boxed_body();
            if let Some(error) = errors::of(&response) {
                response.into_response(errors::page(&visitor, &error, changes))
            } else {
                response
            }
        }
        Err(error) => request.into_response(errors::page(&visitor, &error, changes)),
    };
    dress(response.headers_mut(), &visitor);
    Ok(response)
}

fn host(request: &ServiceRequest) -> String {
    // HTTP/2 has it in the address.
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| request.uri().authority().map(|authority| authority.as_str())).unwrap_or_default().to_owned()
}

/// A broadcaster has the broadcast screens and their own account, and nothing else.
fn may_come(visitor: &Visitor, path: &str) -> Result<(), PageError> {
    const THEIRS: [&str; 6] = [
        "/console/broadcast",
        "/console/terminals",
        "/console/shops",
        "/console/me",
        "/console/sign-out",
        "/console/look",
    ];
    let Some(session) = &visitor.session else { return Ok(()) };
    if session.role.may(Role::Viewer) || path == "/console/" {
        return Ok(());
    }
    let under = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if THEIRS.into_iter().any(under) { Ok(()) } else { Err(PageError::Forbidden(Role::Viewer)) }
}

/// What asks for a change carries the session's token, in a header or in the field `csrf` of the form, whose fields it answers.
async fn carries_token(request: &mut ServiceRequest, visitor: &Visitor) -> Result<Vec<(String, String)>, PageError> {
    // Nobody is signed in: there is nothing that a foreign page could do in their name.
    let Some(session) = &visitor.session else { return Ok(Vec::new()) };
    let is_theirs = |given: &[u8]| bool::from(given.ct_eq(session.csrf.as_bytes()));
    if let Some(given) = request.headers().get(&CSRF) {
        return if is_theirs(given.as_bytes()) { Ok(Vec::new()) } else { Err(PageError::NotOurs) };
    }
    let is_form = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !is_form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return Err(PageError::NotOurs);
    }
    let body = request.extract::<web::Bytes>().await.map_err(|error| PageError::Bad(error.to_string()))?;
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    let ours = fields.iter().find(|(name, _)| name == "csrf").is_some_and(|(_, given)| is_theirs(given.as_bytes()));
    let whole = futures_util::stream::once(std::future::ready(Ok(body)));
    request.set_payload(Payload::Stream { payload: Box::pin(whole) });
    if ours { Ok(fields) } else { Err(PageError::NotOurs) }
}

/// The headers of every page.
fn dress(headers: &mut HeaderMap, visitor: &Visitor) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if visitor.flash_shown.get()
        && let Ok(gone) = HeaderValue::from_str(&cookies::flash(visitor.secure, None))
    {
        headers.append(SET_COOKIE, gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_believed_without_redis_for_an_hour_and_not_after_it_ended() {
        let (known, start) = (Known::default(), Instant::now());
        let session =
            Session { user: "ana".into(), role: Role::Viewer, csrf: "c".into(), lang: None, since_ms: 0, seen_ms: 0 };
        known.remember("t", &session, start);
        assert!(known.recall("t", start + BELIEVED_FOR - Duration::from_secs(1)).is_some());
        assert!(known.recall("t", start + BELIEVED_FOR).is_none());
        assert!(known.recall("u", start).is_none());
        known.forget("t");
        assert!(known.recall("t", start).is_none());
    }
}
