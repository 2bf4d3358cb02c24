//! The admin API on the operations listener: what the console's forms do, for programs. JSON in and out, errors as
//! `application/problem+json`, described at `/openapi.json`.
//!
//! Every route stands in one table, from which it is served and described: none can be missing in the description. It asks for
//! the setting `admin_token` as a bearer, on loopback too: what a browser on this machine is made to send must not act.

mod applications;
mod broadcasts;
mod destinations;
mod openapi;
mod records;
mod routes;
mod settings;
mod shops;
mod terminals;
mod users;

use std::{
    future::{Ready, ready},
    rc::Rc,
};

use actix_web::{
    Error, FromRequest, HttpRequest, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    web,
};
use serde::{Serialize, de::DeserializeOwned};

use super::health::{AdminState, carries_token};
use crate::{
    admin::{ActError, Admin, FieldError, Role, Who},
    redis::patience,
};

/// Longest body.
const MOST_BODY_BYTES: usize = 1 << 20;

/// One method on one path, as the description has it.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// What the body is like; empty where there is none.
    pub(crate) body: &'static str,
    /// What may stand behind the `?`.
    pub(crate) query: &'static [&'static str],
}

macro_rules! resources {
    ($($path:literal { $($method:ident $handler:path, $summary:literal, $body:literal $(, [$($query:literal)+])?;)+ })+) => {
        /// Every route there is.
        pub(crate) static ROUTES: &[Route] = &[
            $($(Route {
                method: stringify!($method),
                path: $path,
                summary: $summary,
                body: $body,
                query: &[$($($query),+)?],
            },)+)+
        ];

        fn all_routes(config: &mut web::ServiceConfig) {
            $(config.service(web::resource($path)$(.route(web::$method().to($handler)))+.wrap(from_fn(patient)));)+
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
    "/v1/destination-checks" {
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
        get destinations::look_abandon, "What giving the backlog up would be; `until` is a moment, a message's id or `now`, `application` one stream", "", ["until" "application"];
        post destinations::abandon, "Give the backlog up", r#"{"until": "2026-05-01T08:00:00Z", "application": null, "reason": "the branch is closed"}"#;
    }
    "/v1/destinations/{name}/decision" {
        get destinations::look_decision, "What going on there would be, where a destination is held for a gap or another database; `from` is `last`, `earliest` or `now`, `application` one stream", "", ["from" "application"];
        post destinations::decide, "Decide where a held destination goes on", r#"{"from": "earliest", "application": null}"#;
    }
    "/v1/routes" {
        get routes::list, "Routes with how each goes, 50 a page. `state` is held, down, paused, catching_up, unknown or flowing; `sort` is name, source, destination or state", "", ["application" "topic" "destination" "state" "search" "sort" "descending" "page"];
        post routes::create, "Create a route, once it fits its table", r#"{"route": {"name": "rooms-cars", "application": "car-app", "topic": "cars", "destination": "rooms", "table": "cars", "key": ["id"], "start": "now", "columns": {"id": "id", "car_name": {"from": "car_name", "clean": ["trim"]}}}}"#;
    }
    "/v1/route-outlooks" {
        post routes::outlook, "What saving a route would do, and what is wrong with it; `base` is the version that it changes, null for a new one", r#"{"route": {"name": "rooms-cars", "application": "car-app", "topic": "cars", "destination": "rooms", "table": "cars", "columns": "matching"}, "base": null}"#;
    }
    "/v1/routes/{name}" {
        get routes::show, "One route with how it goes, its versions, and as TOML", "";
        put routes::edit, "Change a route, if `base` is its version still", r#"{"route": {"name": "rooms-cars", "application": "car-app", "topic": "cars", "destination": "rooms", "table": "cars", "columns": "matching"}, "base": 3}"#;
        delete routes::remove, "Remove a route, if this is its version still; its table stays as it is", "", ["version"];
    }
    "/v1/routes/{name}/versions" {
        get routes::versions, "What a route was, and who changed what; also of one that was removed", "";
    }
    "/v1/routes/{name}/removal" {
        get routes::removal, "What a removal would do", "";
    }
    "/v1/routes/{name}/replays" {
        get records::replays, "What of a route is being sent again: how far each is, and whether it can be stopped", "";
    }
    "/v1/routes/{name}/replays/{token}" {
        delete records::stop_replay, "Stop a replay: what is sent stays as it is, the rest is not sent. One without an end can be stopped only while it is queued", "";
    }
    "/v1/deliveries" {
        get records::deliveries, "Deliveries, newest first. `path` goes with `value` or `contains`; `cursor` is `next` of the page before", "", ["application" "topic" "destination" "route" "table" "status" "from" "to" "key" "id" "own_id" "action" "path" "value" "contains" "limit" "cursor"];
    }
    "/v1/applications/{application}/messages/{id}" {
        get records::message, "A message's whole life over all destinations", "";
    }
    "/v1/dead-letters" {
        get records::letters, "Dead letters", "", ["application" "destination" "route" "code" "column" "key" "group" "superseded" "since_ms" "until_ms" "skip" "limit"];
    }
    "/v1/dead-letters/groups" {
        get records::groups, "Dead letters by cause", "", ["application" "destination" "route" "code" "column" "key" "group" "superseded" "since_ms" "until_ms"];
    }
    "/v1/dead-letters/jobs" {
        get records::jobs, "The latest jobs over many dead letters, newest first; those of a week at most", "", ["limit"];
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
    "/v1/broadcasts" {
        get broadcasts::list, "What was sent, is to be, or was recalled, newest first, with how many have it. `from` and `to` are moments; `state` is scheduled, sent or recalled; `before` is `next` of the page before", "", ["q" "state" "category" "shop" "from" "to" "before"];
        post broadcasts::send, "Send a broadcast, or schedule it. With an `id` of your own it is sent once, however often this is repeated within a day; `image` is an object whose `data` is base64, of at most 512 KiB", r#"{"id": "rice-2026-05-01", "audience": {"regions": ["west"], "shops": ["bandung-1"]}, "category": "price", "title": "Rice 5 kg is 72,000 from today", "text": "Please change the labels before you open.", "valid_until": "2026-05-08T00:00:00Z", "must_confirm": true, "send_at": null}"#;
    }
    "/v1/broadcast-reach" {
        post broadcasts::reach, "How many terminals an audience has, and how many of these are on now", r#"{"audience": "all"}"#;
    }
    "/v1/broadcasts/{id}" {
        get broadcasts::show, "One broadcast with what it said before its corrections, and how many have it", "";
        put broadcasts::correct, "Correct a broadcast; terminals that have it show the new text. Its audience stays; its image does too if `image` is left out, and goes if it is null", r#"{"category": "price", "title": "Rice 5 kg is 71,500 from today", "text": "Please change the labels before you open.", "valid_until": null, "must_confirm": true}"#;
    }
    "/v1/broadcasts/{id}/recall" {
        post broadcasts::recall, "Take a broadcast back: it goes from the terminals that have it, and the others never see it", "";
    }
    "/v1/broadcasts/{id}/remind" {
        post broadcasts::remind, "Bring a broadcast to mind where it was not confirmed (or, where nothing must be, not received)", "";
    }
    "/v1/broadcasts/{id}/receipts" {
        get broadcasts::receipts, "Who has received and confirmed a broadcast and who has not, furthest behind first, 100 at a time unless `limit` says else. `only` is off, waiting, received, confirmed or missing", "", ["q" "only" "skip" "limit"];
    }
    "/v1/broadcasts/{id}/receipts.csv" {
        get broadcasts::csv, "All receipts of a broadcast as CSV", "";
    }
    "/v1/broadcasts/{id}/image" {
        get broadcasts::image, "A broadcast's image", "";
    }
    "/v1/shops" {
        get shops::list, "Shops by region and title, with how many terminals each has", "";
        post shops::add, "Add a shop", r#"{"name": "bandung-1", "title": "Bandung One", "region": "west"}"#;
    }
    "/v1/shops/{name}" {
        get shops::show, "One shop", "";
        put shops::edit, "Change a shop's title and region", r#"{"title": "Bandung One", "region": "west"}"#;
        delete shops::remove, "Remove a shop that has no terminals", "";
    }
    "/v1/categories" {
        get shops::list_categories, "Categories of broadcasts, the built-in ones first", "";
        post shops::add_category, "Add a category", r#"{"name": "delivery", "title": "Delivery", "title_id": "Pengiriman", "colour": "teal", "icon": "truck", "sound": "ping"}"#;
    }
    "/v1/categories/{name}" {
        get shops::show_category, "One category", "";
        put shops::edit_category, "Change a category, a built-in one too", r#"{"title": "Delivery", "title_id": "Pengiriman", "colour": "teal", "icon": "truck", "sound": "none"}"#;
        delete shops::remove_category, "Remove a category of your own; a built-in one that was changed is as it was again", "";
    }
    "/v1/terminals" {
        get terminals::list, "Shop terminals by shop and name, 100 at a time unless `limit` says else. `state` is on, off or revoked; without it, all that are not revoked", "", ["q" "shop" "region" "state" "skip" "limit"];
    }
    "/v1/terminals/{id}" {
        get terminals::show, "One terminal", "";
        delete terminals::revoke, "Revoke a terminal: it sees nothing from now on", "";
    }
    "/v1/terminals/{id}/shop" {
        put terminals::move_to, "Move a terminal to another shop; it sees what is for that one from now on", r#"{"shop": "bandung-2"}"#;
    }
    "/v1/terminals/{id}/name" {
        put terminals::rename, "Give a terminal another name", r#"{"name": "Counter 2"}"#;
    }
    "/v1/terminal-codes" {
        get terminals::codes, "One-time codes that were made and not used yet, without the code, 100 at a time unless `limit` says else; the one that ends first comes first", "", ["q" "shop" "skip" "limit"];
        post terminals::make_code, "Make a one-time code for a terminal; the answer is the only place where it stands", r#"{"shop": "bandung-1", "name": "Counter 1"}"#;
    }
    "/v1/terminal-codes/{id}" {
        delete terminals::take_back_code, "Take a code back: nobody becomes a terminal by it any more", "";
    }
    "/v1/users" {
        get users::list, "The console's users", "";
        post users::add, "Add a user; `role` is viewer, broadcaster, operator or admin", r#"{"name": "ana", "role": "operator", "password": "…"}"#;
    }
    "/v1/users/{name}" {
        get users::show, "One user", "";
        delete users::remove, "Remove a user; their sessions end", "";
    }
    "/v1/users/{name}/role" {
        put users::set_role, "Give a user another role; their sessions end", r#"{"role": "viewer"}"#;
    }
    "/v1/users/{name}/password" {
        put users::set_password, "Set a user's password; their sessions end, and a lock with them", r#"{"password": "…"}"#;
    }
    "/v1/users/{name}/sessions" {
        delete users::end_sessions, "End all sessions of a user", "";
    }
    "/v1/users/{name}/second-factor" {
        delete users::second_factor_off, "Turn a user's second factor off; their sessions end", "";
    }
    "/v1/settings" {
        get settings::show, "What is set for all nodes at once; null is as each node's own settings say", "";
        put settings::set, "Set retention and memory marks for all nodes, and how long broadcasts are kept; what is left out goes back to each node's own settings (broadcasts: 90 days)", r#"{"retention": "24h", "memory_soft": 70, "memory_hard": 85, "broadcasts_days": 30}"#;
    }
    "/v1/alerts" {
        get settings::alerts, "Marks of alarms, and who is told", "";
    }
    "/v1/alerts/marks" {
        put settings::set_marks, "From when on something is an alarm", r#"{"down_after_s": 60, "dead_above": 0, "memory_percent": 80}"#;
    }
    "/v1/alerts/targets" {
        post settings::add_target, "Add an alert target; what a webhook is signed with is told in the answer and nowhere else", r#"{"name": "on call", "kinds": ["destination_down", "destination_held", "dead_letters", "redis_memory", "stream_gap", "registry_restored"], "webhook": {"url": "https://hooks.example/tidegate"}}"#;
    }
    "/v1/alerts/targets/{id}" {
        put settings::edit_target, "Change an alert target; without a password it keeps its own", r#"{"name": "on call", "kinds": ["dead_letters"], "email": {"host": "smtp.example", "port": 465, "tls": "tls", "user": "tidegate", "from": "tidegate@example.com", "to": ["ops@example.com"]}}"#;
        delete settings::remove_target, "Remove an alert target", "";
    }
    "/v1/alerts/targets/{id}/secret" {
        post settings::renew_secret, "Sign a webhook with a new secret from now on; the answer is the only place where it stands", "";
    }
    "/v1/alerts/targets/{id}/test" {
        post settings::test_target, "Send a test to an alert target, step by step", "";
    }
    "/v1/audit" {
        get settings::audit, "The list of changes, newest first: by whom, from where, before and after. `below` is `next` of the page before", "", ["who" "what" "from" "to" "below" "limit"];
    }
    "/v1/export" {
        get settings::export, "Applications, destinations and routes as the TOML that `tidegate apply` reads, without secrets", "";
    }
    "/v1/import" {
        post settings::import, "What a TOML file would change; with the `version` of that answer it is carried out", r#"{"toml": "[[application]]\nname = \"car-app\"\n", "prune": false, "version": null}"#;
    }
    "/v1/replays" {
        post records::replay, "Send a route again what lies between two moments or messages; `dry_run` only counts and says what would be done", r#"{"route": "rooms-cars", "from": "2026-05-01T08:00:00Z", "to": null, "dry_run": true}"#;
    }
}

/// The admin API's routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(MOST_BODY_BYTES))
        .configure(all_routes)
        .service(web::resource("/openapi.json").route(web::get().to(openapi::show)));
}

/// A Redis that stands still is waited for once a request.
async fn patient<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    patience::of_request(next.call(request)).await
}

/// Reads a query.
fn asked<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Refusal> {
    let query = web::Query::<T>::from_query(request.query_string());
    // The words name fields of ours, or what is no number.
    query.map(web::Query::into_inner).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))
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
        for Route { method, path, body, summary, query } in ROUTES {
            let described = &description["paths"][*path][*method];
            assert_eq!(described["summary"], *summary, "{method} {path}");
            assert_eq!(described["requestBody"].is_object(), !body.is_empty(), "{method} {path}");
            if !body.is_empty() {
                serde_json::from_str::<serde_json::Value>(body).unwrap();
            }
            let parameters = path.matches('{').count();
            assert_eq!(described["parameters"].as_array().unwrap().len(), parameters + query.len(), "{method} {path}");
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
