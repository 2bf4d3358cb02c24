//! The producer API: `POST /v1/messages`, `GET /v1/messages/{id}` and `GET /v1/messages?id=`.
//!
//! A 202 goes out only after [`super::Ingest`] has answered; everything before it is form, and every refusal is a
//! [`Problem`]. Bad input never comes to a 5xx.

use std::{rc::Rc, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, CONTENT_TYPE, HeaderName},
    web,
};
use sha2::{Digest, Sha256};
use tidegate_actors::{
    delivery::now_ms,
    message::MessageId,
    ports::{AppendError, AppendRequest},
};

use super::{
    Found, ProducerState, auth,
    batch::{self, Form},
    body,
    cloudevents::{Attributes, is_traceparent},
    directory::KnownApplication,
    metrics as meter,
    problem::{
        BAD_REQUEST, CONFLICT, FORBIDDEN, INVALID, Issue, KEY_REUSED, METHOD_NOT_ALLOWED, NOT_FOUND, Problem,
        TOO_LARGE, TOO_MANY, UNAVAILABLE, UNSUPPORTED,
    },
    throttle::Throttled,
};

const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The routes of the API.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/v1/messages")
                .route(web::post().to(post))
                .route(web::get().to(find))
                .default_service(web::to(|| wrong_method("GET, POST"))),
        )
        .service(
            web::resource("/v1/messages/{id}")
                .route(web::get().to(get))
                .default_service(web::to(|| wrong_method("GET"))),
        );
}

pub(super) async fn wrong_method(allowed: &'static str) -> HttpResponse {
    Problem::new(&METHOD_NOT_ALLOWED, format!("This path answers to {allowed}."))
        .with_header(header::ALLOW, allowed)
        .response()
}

/// What answers on paths that do not exist.
pub(super) async fn nowhere() -> HttpResponse {
    let detail =
        "This listener has /v1/messages, /v1/broadcasts, /docs, /openapi.json, /healthz/live and /healthz/ready.";
    Problem::new(&NOT_FOUND, detail).response()
}

async fn post(state: web::Data<Rc<ProducerState>>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let started = Instant::now();
    let (application, outcome) = match auth::application(&request, &state.directory, now_ms()) {
        Ok(application) => {
            let outcome = accept(&state, &request, payload, &application).await;
            (Some(application), outcome)
        }
        Err(problem) => (None, Err(problem)),
    };
    let response = match outcome {
        Ok(response) => {
            application.iter().for_each(|application| application.accepted.increment(1));
            response
        }
        Err(problem) => {
            let name = application.as_ref().map_or("unknown", |application| &application.name);
            meter::requests(name, problem.status()).increment(1);
            problem.response()
        }
    };
    state.duration.record(started.elapsed());
    response
}

async fn accept(
    state: &ProducerState,
    request: &HttpRequest,
    payload: web::Payload,
    application: &KnownApplication,
) -> Result<HttpResponse, Problem> {
    let form = form(request)?;
    let idempotency_key = idempotency_key(request)?;
    let body = body::read(request, &mut payload.into_inner(), state.limits.body_bytes, state.limits.body_time).await?;
    let idempotency = idempotency_key.map(|key| (key, digest(&body, &form)));
    let accepted = batch::read(&body, &form, application, &state.limits)?;
    drop(body);
    let many = accepted.many;
    let mut records = accepted.records;
    if let Some(trace) = traceparent(request) {
        records.iter_mut().filter(|record| record.traceparent.is_none()).for_each(|record| {
            record.traceparent = Some(trace.into());
        });
    }
    let count = records.len() as u64;
    if let Some(bucket) = &application.bucket {
        bucket.take(records.len()).map_err(throttled)?;
    }
    let append = AppendRequest { application: application.name.clone(), records, idempotency };
    let appended = state.ingest.append(append).await.map_err(refused)?;
    let mut response = HttpResponse::Accepted();
    response.insert_header((CONTENT_TYPE, "application/json"));
    if appended.replayed {
        response.insert_header((HeaderName::from_static("idempotency-replayed"), "true"));
    } else {
        application.messages.increment(count);
    }
    Ok(response.body(ids(&appended.ids, many)))
}

/// `{"id":"…"}` for one, `{"ids":["…"]}` for many. Ids are letters, digits and hyphens.
fn ids(ids: &[MessageId], many: bool) -> String {
    use std::fmt::Write as _;
    let mut body = String::with_capacity(16 + ids.len() * 40);
    match ids {
        [id] if !many => {
            let _ = write!(body, "{{\"id\":\"{id}\"}}");
        }
        _ => {
            body.push_str("{\"ids\":[");
            for (place, id) in ids.iter().enumerate() {
                let _ = write!(body, "{}\"{id}\"", if place == 0 { "" } else { "," });
            }
            body.push_str("]}");
        }
    }
    body
}

/// How the body is to be read, by its content type and the `ce-` headers.
fn form(request: &HttpRequest) -> Result<Form, Problem> {
    let given = request.headers().get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    let (essence, parameters) = given.split_once(';').unwrap_or((given, ""));
    let charset = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    if charset.is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("utf8")) {
        return Err(Problem::new(&UNSUPPORTED, "JSON is exchanged in UTF-8; leave `charset` out."));
    }
    let is = |name: &str| essence.trim().eq_ignore_ascii_case(name);
    let binary = request.headers().contains_key("ce-specversion");
    if is("application/json") || essence.trim().is_empty() {
        if binary {
            return Ok(Form::Binary(Box::new(Attributes::of_headers(request.headers())?)));
        }
        return Ok(Form::Messages);
    }
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
        "application/cloudevents+json" => Ok(Form::Event),
        "application/cloudevents-batch+json" => Ok(Form::Events),
        other if binary && other.ends_with("+json") => {
            Ok(Form::Binary(Box::new(Attributes::of_headers(request.headers())?)))
        }
        _ => {
            let detail = "Set `Content-Type` to application/json, application/x-ndjson, application/cloudevents+json or \
                          application/cloudevents-batch+json.";
            let accepted = "application/json, application/x-ndjson, application/cloudevents+json, \
                            application/cloudevents-batch+json";
            Err(Problem::new(&UNSUPPORTED, detail).with_header(HeaderName::from_static("accept-post"), accepted))
        }
    }
}

pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<Box<str>>, Problem> {
    let Some(given) = request.headers().get("idempotency-key") else { return Ok(None) };
    match given.to_str() {
        Ok(key) if (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) && key.bytes().all(|b| (0x20..0x7f).contains(&b)) => {
            Ok(Some(key.into()))
        }
        _ => {
            let detail = format!("`Idempotency-Key` has 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters.");
            Err(Problem::new(&BAD_REQUEST, detail))
        }
    }
}

/// What tells two requests with the same `Idempotency-Key` apart: the body, and the attributes that stand in headers.
fn digest(body: &[u8], form: &Form) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(body);
    if let Form::Binary(attributes) = form {
        attributes.digest(|piece| digest.update(piece));
    }
    digest.finalize().into()
}

fn traceparent(request: &HttpRequest) -> Option<&str> {
    request.headers().get("traceparent")?.to_str().ok().filter(|value| is_traceparent(value))
}

/// More than the application may send now.
pub(super) fn throttled(why: Throttled) -> Problem {
    match why {
        Throttled::After(wait) => {
            let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let seconds = u32::try_from(whole).unwrap_or(u32::MAX).max(1);
            let detail = "The application sends more records a second than it may; nothing was stored; send again after a while.";
            Problem::new(&TOO_MANY, detail).retry_after(seconds)
        }
        Throttled::MoreThanABurst(most) => {
            let detail =
                format!("The application may send {most} records a second; send at most that many in a request.");
            Problem::new(&TOO_LARGE, detail)
        }
    }
}

/// What the outside learns of an append that failed.
fn refused(error: AppendError) -> Problem {
    let again = "send again after a while (with the same `Idempotency-Key` or `id`, nothing is stored twice)";
    match error {
        AppendError::Unavailable(why) => {
            tracing::warn!(why, "records could not be appended");
            Problem::new(&UNAVAILABLE, format!("The event log does not answer; {again}.")).retry_after(2)
        }
        AppendError::Full => {
            Problem::new(&UNAVAILABLE, format!("The event log is full; nothing was stored; {again}.")).retry_after(15)
        }
        AppendError::Overloaded => {
            let detail = format!("Too much is under way; nothing was stored; {again}.");
            Problem::new(&UNAVAILABLE, detail).retry_after(1)
        }
        AppendError::KeyUnderWay => {
            let detail = "The first request with this Idempotency-Key has no answer yet; ask again in a moment.";
            Problem::new(&CONFLICT, detail).retry_after(1)
        }
        AppendError::KeyReused => {
            let detail = "This Idempotency-Key was used with another body; take a new key for a new request.";
            Problem::new(&KEY_REUSED, detail)
        }
        AppendError::IdReused { index } => {
            let message = "this id belongs to an earlier message with other contents".to_owned();
            let issue = Issue { index, pointer: "/id".to_owned(), code: "id_reused", message };
            Problem::new(&INVALID, "A message's id belongs to another message; nothing of this request was stored.")
                .with_errors(vec![issue])
        }
    }
}

async fn get(state: web::Data<Rc<ProducerState>>, request: HttpRequest) -> HttpResponse {
    let found = async {
        let application = auth::application(&request, &state.directory, now_ms())?;
        let id = request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or_else(no_message)?;
        show(&state, &application, &id).await
    };
    found.await.unwrap_or_else(|problem| problem.response())
}

async fn find(state: web::Data<Rc<ProducerState>>, request: HttpRequest) -> HttpResponse {
    let found = async {
        let application = auth::application(&request, &state.directory, now_ms())?;
        let mut query = url::form_urlencoded::parse(request.query_string().as_bytes());
        let Some((_, own_id)) = query.find(|(name, value)| name == "id" && !value.is_empty()) else {
            let detail = "Name the id that the message was sent with, as `/v1/messages?id=…`.";
            return Err(Problem::new(&BAD_REQUEST, detail));
        };
        let id = state.lookup.by_own_id(&application.name, &own_id).await.map_err(refused_lookup)?;
        show(&state, &application, &id.ok_or_else(no_message)?).await
    };
    found.await.unwrap_or_else(|problem| problem.response())
}

async fn show(state: &ProducerState, application: &KnownApplication, id: &MessageId) -> Result<HttpResponse, Problem> {
    match state.lookup.message(&application.name, id).await.map_err(refused_lookup)? {
        Found::Message(message) => {
            Ok(HttpResponse::Ok().content_type("application/json").body(String::from(Box::<str>::from(message))))
        }
        Found::Nothing => Err(no_message()),
        Found::Foreign => Err(Problem::new(&FORBIDDEN, "This message was sent by another application.")),
    }
}

fn no_message() -> Problem {
    Problem::new(&NOT_FOUND, "There is no message of this id, or it is no longer retained.")
}

fn refused_lookup(error: AppendError) -> Problem {
    tracing::warn!(%error, "a message could not be looked up");
    Problem::new(&UNAVAILABLE, "The event log does not answer; ask again after a while.").retry_after(2)
}
