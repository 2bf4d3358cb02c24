//! The admin API on the operations listener: what the console's forms do, for programs. JSON in and out, errors as
//! `application/problem+json`, described at `/openapi.json`.
//!
//! Every route stands in one table, from which it is served and described: none can be missing in the description. It asks for
//! the setting `admin_token` as a bearer, on loopback too: what a browser on this machine is made to send must not act.

mod applications;
mod destinations;
mod openapi;
mod records;

use std::{
    future::{Ready, ready},
    rc::Rc,
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use serde::{Serialize, de::DeserializeOwned};

use super::health::{AdminState, carries_token};
use crate::admin::{ActError, Admin, FieldError, Role, Who};

/// Longest body.
const MOST_BODY_BYTES: usize = 1 << 20;

/// One method on one path, as the description has it.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// What the body is like; empty where there is none.
    pub(crate) body: &'static str,
}

macro_rules! resources {
    ($($path:literal { $($method:ident $handler:path, $summary:literal, $body:literal;)+ })+) => {
        /// Every route there is.
        pub(crate) static ROUTES: &[Route] = &[
            $($(Route { method: stringify!($method), path: $path, summary: $summary, body: $body },)+)+
        ];

        fn routes(config: &mut web::ServiceConfig) {
            $(config.service(web::resource($path)$(.route(web::$method().to($handler)))+);)+
        }
    };
}

resources! {
    "/v1/applications" {
        get applications::list, "All applications with their keys, rates and last records", "";
        post applications::create, "Create an application", r#"{"name": "car-app", "topics": ["cars"], "records_per_s": null}"#;
    }
    "/v1/applications/{name}" {
        get applications::show, "One application", "";
    }
    "/v1/applications/{name}/topics" {
        put applications::set_topics, "Replace the listed topics", r#"{"topics": ["cars", "rooms"]}"#;
    }
    "/v1/applications/{name}/limit" {
        put applications::set_limit, "Most records a second that each node takes; null for no limit", r#"{"records_per_s": 1000}"#;
    }
    "/v1/applications/{name}/broadcasts" {
        put applications::set_broadcasts, "Whether the application may send broadcasts", r#"{"broadcasts": true}"#;
    }
    "/v1/applications/{name}/keys" {
        post applications::create_key, "Create an API key; the answer is the only place where it stands", r#"{"expires_at_ms": null}"#;
    }
    "/v1/applications/{name}/keys/rotate" {
        post applications::rotate_key, "Create a second key; the first one ends after so many seconds, or by being revoked", r#"{"old_ends_in_s": 604800}"#;
    }
    "/v1/applications/{name}/keys/{id}" {
        delete applications::revoke_key, "Revoke a key", "";
    }
    "/v1/kinds" {
        get destinations::kinds, "The kinds of databases", "";
    }
    "/v1/destinations" {
        get destinations::list, "All destinations with how they do", "";
        post destinations::create, "Create a destination; it is checked first, unless `checked` names a check of exactly this", r#"{"name": "rooms", "kind": "mysql", "url": "mysql://writer@10.0.0.5/cars_room", "password": "…", "delivery": "ordered", "tls": {"mode": "verify"}, "checked": "token"}"#;
    }
    "/v1/destinations/check" {
        post destinations::check, "Check a destination that is to be; `of` names the one that it changes", r#"{"name": "rooms", "kind": "mysql", "url": "mysql://writer@10.0.0.5/cars_room", "password": "…", "of": null}"#;
    }
    "/v1/destinations/{name}" {
        get destinations::show, "One destination with its history", "";
        put destinations::edit, "Change a destination; without a password it keeps its own", r#"{"name": "rooms", "kind": "mysql", "url": "mysql://writer@10.0.0.6/cars_room", "checked": "token"}"#;
        delete destinations::remove, "Remove a destination with its routes", "";
    }
    "/v1/destinations/{name}/removal" {
        get destinations::removal, "What a removal would do", "";
    }
    "/v1/destinations/{name}/pause" {
        post destinations::pause, "Write nothing until it is resumed", "";
    }
    "/v1/destinations/{name}/resume" {
        post destinations::resume, "Go on where it was", "";
    }
    "/v1/destinations/{name}/breaker/open" {
        post destinations::open_breaker, "Open the breaker by hand", "";
    }
    "/v1/destinations/{name}/breaker/close" {
        post destinations::close_breaker, "Close the breaker by hand: the database is asked at once", "";
    }
    "/v1/destinations/{name}/abandon" {
        get destinations::look_abandon, "What giving the backlog up would be; `until` is a moment, a message's id or `now`, `application` one stream", "";
        post destinations::abandon, "Give the backlog up", r#"{"until": "2026-05-01T08:00:00Z", "application": null, "reason": "the branch is closed"}"#;
    }
    "/v1/deliveries" {
        get records::deliveries, "Deliveries, newest first. Query: application, topic, destination, route, table, status, from, to, key, id, own_id, action, path with value or contains, limit, cursor (`next` of the page before)", "";
    }
    "/v1/applications/{application}/messages/{id}" {
        get records::message, "A message's whole life over all destinations", "";
    }
    "/v1/dead-letters" {
        get records::letters, "Dead letters. Query: application, destination, route, code, column, key, group, superseded, since_ms, until_ms, skip, limit", "";
    }
    "/v1/dead-letters/groups" {
        get records::groups, "Dead letters by cause; the same filters", "";
    }
    "/v1/dead-letters/jobs" {
        post records::many, "Redrive or discard many; refused if there are more than were counted", r#"{"task": "redrive", "filter": {"destination": "rooms", "code": "unique"}, "counted": 120, "force": false}"#;
    }
    "/v1/dead-letters/jobs/{id}" {
        get records::job, "How far such a job is", "";
        delete records::cancel, "Stop it: what is in hand is finished, the rest stays as it is", "";
    }
    "/v1/dead-letters/{application}/{destination}/{route_id}/{id}" {
        get records::letter, "One dead letter with its record, the row it would be, and the reason", "";
        post records::act, "Redrive (`force`), edit (`data`, `force`) or discard (`reason`) it", r#"{"act": "edit", "data": "{\"id\": 42}", "force": false}"#;
    }
    "/v1/replays" {
        post records::replay, "Send a route again what lies between two moments or messages; `dry_run` only counts and says what would be done", r#"{"route": "rooms-cars", "from": "2026-05-01T08:00:00Z", "to": null, "dry_run": true}"#;
    }
}

/// The admin API's routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(MOST_BODY_BYTES))
        .configure(routes)
        .service(web::resource("/openapi.json").route(web::get().to(openapi::show)));
}

/// Whoever has the token.
pub(super) struct Caller {
    pub(super) admin: Admin,
    pub(super) who: Who,
}

impl FromRequest for Caller {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl Caller {
    fn of(request: &HttpRequest) -> Result<Self, Refusal> {
        let state = request.app_data::<web::Data<Rc<AdminState>>>();
        let Some((state, admin)) = state.and_then(|state| Some((state, state.acts.clone()?))) else {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "This listener has no admin API."));
        };
        match &state.token {
            None => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "The admin API acts for whoever has the setting `admin_token`, and there is none: set TIDEGATE_ADMIN_TOKEN.",
            )),
            Some(token) if carries_token(request, token) => {
                let from = request.peer_addr().map_or_else(|| "the admin API".to_owned(), |peer| peer.ip().to_string());
                let who = Who { name: "admin token".into(), role: Role::Admin, from: from.into() };
                Ok(Self { admin, who })
            }
            Some(_) => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Send the setting `admin_token` as `Authorization: Bearer …`.",
            )),
        }
    }
}

/// A refusal, as `application/problem+json` (RFC 9457).
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<ActError> for Refusal {
    fn from(error: ActError) -> Self {
        let status = match &error {
            ActError::Forbidden { .. } => StatusCode::FORBIDDEN,
            ActError::Unknown(_) => StatusCode::NOT_FOUND,
            ActError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ActError::Conflict(_) => StatusCode::CONFLICT,
            ActError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let detail = error.to_string();
        let errors = if let ActError::Invalid(errors) = error { errors } else { Vec::new() };
        Self { status, detail, errors }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldError],
        }
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"tidegate operations\""));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, 2));
        }
        response.body(serde_json::to_string(&body).unwrap_or_default())
    }
}

/// Reads a body; an empty one is `{}`.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    // serde's words may quote what was given, which may be a password: only the place is told.
    serde_json::from_slice(body).map_err(|error| {
        let what = if error.is_data() { "is not what is read here" } else { "is not JSON" };
        let detail = format!("The body {what} (line {}, column {}); see /openapi.json.", error.line(), error.column());
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// An answer; never kept by anybody on the way.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_route_is_described_and_every_example_is_json() {
        let description: serde_json::Value = serde_json::from_str(&openapi::text()).unwrap();
        for Route { method, path, body, summary } in ROUTES {
            let described = &description["paths"][*path][*method];
            assert_eq!(described["summary"], *summary, "{method} {path}");
            assert_eq!(described["requestBody"].is_object(), !body.is_empty(), "{method} {path}");
            if !body.is_empty() {
                serde_json::from_str::<serde_json::Value>(body).unwrap();
            }
            let parameters = path.matches('{').count();
            assert!(described["parameters"].as_array().unwrap().len() >= parameters, "{method} {path}");
        }
        let described: usize =
            description["paths"].as_object().unwrap().values().map(|one| one.as_object().unwrap().len()).sum();
        assert_eq!(described, ROUTES.len(), "nothing more is described");
    }

    #[test]
    fn a_body_that_is_not_understood_is_not_repeated() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct Wanted {
            number: u32,
        }
        let refused = read::<Wanted>(br#"{"number": "canary-password"}"#).unwrap_err();
        assert!(!refused.detail.contains("canary") && refused.detail.contains("line 1"), "{refused}");
    }
}
