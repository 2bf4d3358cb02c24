//! Destinations over the admin API.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::{Caller, Refusal, answer, asked, read};
use crate::{
    admin::destinations::{self as acts, Draft, GoOnFrom, Until},
    databases::KINDS,
    resources::{Delivery, Tls},
};

pub(super) async fn kinds(_: Caller) -> Result<HttpResponse, Refusal> {
    let kind = |kind: &crate::databases::Kind| {
        json!({
            "name": kind.name, "title": kind.title, "port": kind.port, "notes": kind.notes, "example": kind.example,
            "grants": kind.grants, "ddl": kind.ddl,
        })
    };
    Ok(answer(StatusCode::OK, &json!({"kinds": KINDS.iter().map(kind).collect::<Vec<_>>()})))
}

pub(super) async fn list(caller: Caller) -> Result<HttpResponse, Refusal> {
    let (views, away) = acts::list(&caller.admin, &caller.who).await?;
    let away = away.map(|error| error.to_string());
    Ok(answer(StatusCode::OK, &json!({"destinations": views, "redis_away": away})))
}

pub(super) async fn show(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let (view, _) = acts::show(&caller.admin, &caller.who, &name).await?;
    Ok(answer(StatusCode::OK, &view))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    kind: String,
    url: String,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    delivery: Delivery,
    #[serde(default)]
    tls: Option<Tls>,
    #[serde(default)]
    node: Option<String>,
    /// The token of a check.
    #[serde(default)]
    checked: Option<String>,
    /// For a check: the destination that is changed.
    #[serde(default)]
    of: Option<String>,
}

impl Body {
    fn split(self) -> (Draft, Option<String>, Option<String>) {
        let Self { name, kind, url, password, delivery, tls, node, checked, of } = self;
        let password = password.map(SecretString::from);
        (Draft { name, kind, url, password, delivery, tls, node }, checked, of)
    }
}

pub(super) async fn check(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let (draft, _, of) = read::<Body>(&body)?.split();
    let checked = acts::check(&caller.admin, &caller.who, &draft, of.as_deref(), |_| {}).await?;
    let good = checked.token.is_some();
    Ok(answer(StatusCode::OK, &json!({"good": good, "checked": checked.token, "steps": checked.steps})))
}

pub(super) async fn create(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let (draft, token, _) = read::<Body>(&body)?.split();
    acts::create(&caller.admin, &caller.who, &draft, token.as_deref()).await?;
    let (view, _) = acts::show(&caller.admin, &caller.who, &draft.name).await?;
    Ok(answer(StatusCode::CREATED, &view))
}

pub(super) async fn edit(caller: Caller, name: web::Path<String>, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let (draft, token, _) = read::<Body>(&body)?.split();
    acts::edit(&caller.admin, &caller.who, &name, &draft, token.as_deref()).await?;
    show(caller, name).await
}

pub(super) async fn removal(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &acts::removal(&caller.admin, &caller.who, &name).await?))
}

pub(super) async fn remove(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::remove(&caller.admin, &caller.who, &name).await?;
    Ok(answer(StatusCode::OK, &json!({"removed": *name})))
}

pub(super) async fn pause(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::pause(&caller.admin, &caller.who, &name).await?;
    show(caller, name).await
}

pub(super) async fn resume(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::resume(&caller.admin, &caller.who, &name).await?;
    show(caller, name).await
}

pub(super) async fn open_breaker(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::open_breaker(&caller.admin, &caller.who, &name).await?;
    show(caller, name).await
}

pub(super) async fn close_breaker(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::close_breaker(&caller.admin, &caller.who, &name).await?;
    show(caller, name).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Abandon {
    until: String,
    #[serde(default)]
    application: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

fn until(text: &str) -> Result<Until, Refusal> {
    Until::parse(text).map_err(|error| crate::admin::ActError::Invalid(vec![error]).into())
}

pub(super) async fn look_abandon(
    caller: Caller,
    name: web::Path<String>,
    query: web::Query<std::collections::BTreeMap<String, String>>,
) -> Result<HttpResponse, Refusal> {
    let until = until(query.get("until").map_or("now", String::as_str))?;
    let only = query.get("application").map(String::as_str);
    let seen = acts::look(&caller.admin, &caller.who, &name, only, &until).await?;
    Ok(answer(StatusCode::OK, &json!({"would_be_given_up": seen})))
}

pub(super) async fn abandon(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let body: Abandon = read(&body)?;
    let until = until(&body.until)?;
    let seen = acts::look(&caller.admin, &caller.who, &name, body.application.as_deref(), &until).await?;
    let given = acts::abandon(&caller.admin, &caller.who, &name, &seen, body.reason.as_deref()).await?;
    Ok(answer(StatusCode::OK, &json!({"given_up": given})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decide {
    from: GoOnFrom,
    #[serde(default)]
    application: Option<String>,
}

pub(super) async fn look_decision(
    caller: Caller,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let Decide { from, application } = asked(&request)?;
    let seen = acts::look_resume(&caller.admin, &caller.who, &name, application.as_deref(), from).await?;
    Ok(answer(StatusCode::OK, &json!({"would_go_on": seen})))
}

pub(super) async fn decide(caller: Caller, name: web::Path<String>, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Decide { from, application } = read(&body)?;
    let seen = acts::look_resume(&caller.admin, &caller.who, &name, application.as_deref(), from).await?;
    acts::decide(&caller.admin, &caller.who, &name, &seen).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({"goes_on": seen})))
}
