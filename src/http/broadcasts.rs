//! `POST /v1/broadcasts`, `GET /v1/broadcasts/{id}` and `POST /v1/broadcasts/{id}/recall`: what an application tells the shops.
//!
//! An application needs the right to; what it sent is its own, and another's is not shown. What happens to a broadcast is behind
//! [`Casting`], so that form is decided here and nothing else.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, http::header::CONTENT_TYPE, http::header::HeaderName, web};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tidegate_actors::delivery::now_ms;

use super::{
    ProducerState, auth, body,
    directory::KnownApplication,
    problem::{
        FORBIDDEN, INVALID, Issue, KEY_REUSED, NOT_ALLOWED, NOT_FOUND, NOT_JSON, Problem, UNAVAILABLE, UNSUPPORTED,
    },
    producer::{idempotency_key, throttled, wrong_method},
};
use crate::{
    admin::{
        ActError, Admin,
        broadcasts::{
            changes,
            compose::{self, Draft, Sender, Sent},
            of,
        },
    },
    broadcast::message::{Audience, Message, from_rfc3339, rfc3339},
};

/// Longest body, in bytes: an image in base64, and the text.
const MOST_BODY: usize = 1 << 20;
/// Longest own id, in characters.
const MOST_OWN_ID: usize = 255;

/// A broadcast of an application.
pub struct Post {
    /// What it says, and to whom.
    pub draft: Draft,
    /// Its id with the application.
    pub own_id: Option<String>,
    /// `Idempotency-Key`.
    pub key: Option<Box<str>>,
    /// What tells two bodies apart.
    pub digest: [u8; 32],
}

/// Sends an application's broadcasts, and tells what became of them.
#[async_trait(?Send)]
pub trait Casting {
    /// Sends one, or schedules it; the same again where its name was used for the same.
    async fn send(&self, application: &str, post: Post) -> Result<Sent, ActError>;
    /// One with how many have received and confirmed it.
    async fn show(&self, id: &str) -> Result<(Message, u64, u64), ActError>;
    /// Takes one back that is this application's.
    async fn recall(&self, application: &str, id: &str) -> Result<Message, ActError>;
}

#[async_trait(?Send)]
impl Casting for Admin {
    async fn send(&self, application: &str, post: Post) -> Result<Sent, ActError> {
        let broadcasts = of(self);
        let mut names = Vec::new();
        if let Some(key) = &post.key {
            names.push(broadcasts.name("Idempotency-Key", application, key, &post.digest));
        }
        if let Some(own) = &post.own_id {
            names.push(broadcasts.name("id", application, own, &post.digest));
        }
        let by = format!("application {application}");
        let sender = Sender { by, application: Some(application.to_owned()), own_id: post.own_id, names };
        compose::publish(self, &post.draft, sender).await
    }

    async fn show(&self, id: &str) -> Result<(Message, u64, u64), ActError> {
        let broadcasts = of(self);
        let message = broadcasts.get(id).await?;
        let (received, confirmed) = broadcasts.tallies(&[id]).await?.first().copied().unwrap_or_default();
        Ok((message, received, confirmed))
    }

    async fn recall(&self, application: &str, id: &str) -> Result<Message, ActError> {
        let by = format!("application {application}");
        changes::recall_as(self, &by, id, |message| message.application.as_deref() == Some(application)).await
    }
}

/// A broadcast as a program writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    pub(super) id: Option<String>,
    pub(super) audience: Audience,
    pub(super) category: String,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) image: Option<Image>,
    pub(super) valid_until: Option<String>,
    #[serde(default)]
    pub(super) must_confirm: bool,
    pub(super) send_at: Option<String>,
}

/// An image in a body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    /// What it is shows in its first bytes; this is for the reader.
    #[serde(rename = "type")]
    _kind: Option<String>,
    data: String,
}

/// The routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/v1/broadcasts")
                .route(web::post().to(post))
                .default_service(web::to(|| wrong_method("POST"))),
        )
        .service(
            web::resource("/v1/broadcasts/{id}")
                .route(web::get().to(get))
                .default_service(web::to(|| wrong_method("GET"))),
        )
        .service(
            web::resource("/v1/broadcasts/{id}/recall")
                .route(web::post().to(recall))
                .default_service(web::to(|| wrong_method("POST"))),
        );
}

type State = web::Data<Rc<ProducerState>>;

/// The application that asks, where it may.
fn asker(state: &State, request: &HttpRequest) -> Result<(Rc<KnownApplication>, Rc<dyn Casting>), Problem> {
    let application = auth::application(request, &state.directory, now_ms())?;
    if !application.broadcasts {
        let detail = "This application may not send broadcasts; an operator gives it the right (`broadcasts = true`).";
        return Err(Problem::new(&NOT_ALLOWED, detail));
    }
    let casting = state
        .casting
        .clone()
        .ok_or_else(|| Problem::new(&UNAVAILABLE, "This node sends no broadcasts; send again.").retry_after(2))?;
    Ok((application, casting))
}

async fn post(state: State, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    accept(&state, &request, payload).await.unwrap_or_else(|problem| problem.response())
}

async fn accept(state: &State, request: &HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    let (application, casting) = asker(state, request)?;
    let kind = request.headers().get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.is_empty() && !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(&UNSUPPORTED, "Set `Content-Type` to application/json."));
    }
    let key = idempotency_key(request)?;
    let most = state.limits.body_bytes.min(MOST_BODY);
    let body = body::read(request, &mut payload.into_inner(), most, state.limits.body_time).await?;
    let post = read(&body, key)?;
    if let Some(bucket) = &application.bucket {
        bucket.take(1).map_err(throttled)?;
    }
    let sent = casting.send(&application.name, post).await.map_err(refused)?;
    let mut response = HttpResponse::Accepted();
    if sent.replayed {
        response.insert_header((HeaderName::from_static("idempotency-replayed"), "true"));
    }
    let mut body = json!({"id": sent.id, "terminals": sent.reach.terminals, "on_now": sent.reach.on_now});
    if let Some(due) = sent.due_ms {
        body["send_at"] = rfc3339(due).into();
    }
    Ok(response.json(body))
}

fn read(body: &[u8], key: Option<Box<str>>) -> Result<Post, Problem> {
    let digest = Sha256::digest(body).into();
    let form: Form = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            let message = error.to_string();
            return invalid(vec![Issue { index: 0, pointer: String::new(), code: "form", message }]);
        }
        let detail = format!("Line {}, column {}: this is not JSON.", error.line(), error.column());
        Problem::new(&NOT_JSON, detail)
    })?;
    let (draft, own_id) = draft(form).map_err(invalid)?;
    Ok(Post { draft, own_id, key, digest })
}

/// What somebody wrote, and its own id; or what of its form is wrong.
pub(super) fn draft(form: Form) -> Result<(Draft, Option<String>), Vec<Issue>> {
    let mut issues = Vec::new();
    let mut time = |field: &'static str, text: Option<&String>| {
        let read = text.map(|text| from_rfc3339(text))?;
        if read.is_none() {
            let message = "give a time as in 2026-05-01T08:00:00Z (RFC 3339)".to_owned();
            issues.push(Issue { index: 0, pointer: format!("/{field}"), code: "time", message });
        }
        read
    };
    let (valid_until_ms, send_at_ms) =
        (time("valid_until", form.valid_until.as_ref()), time("send_at", form.send_at.as_ref()));
    let image = form.image.map(|image| BASE64.decode(image.data.trim())).transpose();
    if image.is_err() {
        let message = "give the image's bytes in base64".to_owned();
        issues.push(Issue { index: 0, pointer: "/image/data".into(), code: "base64", message });
    }
    if form.id.as_ref().is_some_and(|id| id.is_empty() || id.chars().count() > MOST_OWN_ID) {
        let message = format!("an id has 1 to {MOST_OWN_ID} characters");
        issues.push(Issue { index: 0, pointer: "/id".into(), code: "id", message });
    }
    if !issues.is_empty() {
        return Err(issues);
    }
    let draft = Draft {
        audience: form.audience,
        category: form.category,
        title: form.title,
        text: form.text,
        image: image.unwrap_or_default(),
        kept_image: None,
        valid_until_ms,
        must_confirm: form.must_confirm,
        send_at_ms,
    };
    Ok((draft, form.id))
}

async fn get(state: State, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    let found = async {
        let (application, casting) = asker(&state, &request)?;
        let (message, received, confirmed) = casting.show(&id).await.map_err(refused)?;
        theirs(&message, &application)?;
        Ok::<_, Problem>(HttpResponse::Ok().json(shown(&message, received, confirmed)))
    };
    found.await.unwrap_or_else(|problem| problem.response())
}

async fn recall(state: State, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    let recalled = async {
        let (application, casting) = asker(&state, &request)?;
        let (message, ..) = casting.show(&id).await.map_err(refused)?;
        theirs(&message, &application)?;
        casting.recall(&application.name, &id).await.map_err(refused)?;
        let (message, received, confirmed) = casting.show(&id).await.map_err(refused)?;
        Ok::<_, Problem>(HttpResponse::Ok().json(shown(&message, received, confirmed)))
    };
    recalled.await.unwrap_or_else(|problem| problem.response())
}

fn theirs(message: &Message, application: &KnownApplication) -> Result<(), Problem> {
    if message.application.as_deref() == Some(&*application.name) {
        return Ok(());
    }
    Err(Problem::new(&FORBIDDEN, "This broadcast was not sent by this application."))
}

/// A broadcast as programs read it.
pub(super) fn shown(message: &Message, received: u64, confirmed: u64) -> serde_json::Value {
    let content = &message.content;
    json!({
        "id": message.id,
        "own_id": message.own_id,
        "state": message.state,
        "audience": message.audience,
        "category": content.category,
        "title": content.title,
        "text": content.text,
        "valid_until": content.valid_until_ms.map(rfc3339),
        "must_confirm": content.must_confirm,
        "send_at": message.due_ms.map(rfc3339),
        "sent_at": message.sent_ms.map(rfc3339),
        "corrected_at": message.corrected_ms.map(rfc3339),
        "recalled_at": message.recalled_ms.map(rfc3339),
        "counts": {"terminals": message.reach.terminals, "received": received, "confirmed": confirmed},
    })
}

fn invalid(issues: Vec<Issue>) -> Problem {
    Problem::new(&INVALID, "The broadcast is not accepted; nothing was sent.").with_errors(issues)
}

fn refused(error: ActError) -> Problem {
    match error {
        ActError::Invalid(fields) if fields.iter().any(|field| field.code == compose::KEY_REUSED) => {
            let detail = "This Idempotency-Key was used with another body; take a new key for a new request.";
            Problem::new(&KEY_REUSED, detail)
        }
        ActError::Invalid(fields) => {
            let issue = |field: crate::admin::FieldError| Issue {
                index: 0,
                pointer: format!("/{}", field.field),
                code: field.code,
                message: field.message,
            };
            invalid(fields.into_iter().map(issue).collect())
        }
        ActError::Unknown(_) => Problem::new(&NOT_FOUND, "There is no broadcast of this id, or it is no longer kept."),
        ActError::Conflict(why) => {
            invalid(vec![Issue { index: 0, pointer: String::new(), code: "conflict", message: why }])
        }
        ActError::Forbidden { .. } => Problem::new(&NOT_ALLOWED, "This application may not send broadcasts."),
        ActError::Unavailable(why) => {
            tracing::warn!(why, "a broadcast could not be sent or looked up");
            let detail = "Redis does not answer; send again after a while (with the same `Idempotency-Key` or `id`, nothing is \
                          sent twice).";
            Problem::new(&UNAVAILABLE, detail).retry_after(2)
        }
    }
}
