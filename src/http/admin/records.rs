//! Deliveries, messages, dead letters, jobs and replays over the admin API. What is asked and answered stands in
//! [`crate::admin::api`].

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::Deserialize;
use serde_json::json;

use super::{Caller, Refusal, answer, asked, read};
use crate::admin::{
    api::{self, DeliveriesQuery, LetterAct, LetterName, ManyBody, ReplayBody},
    dead_letters::Filter,
};

pub(super) async fn deliveries(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let page = api::deliveries(&caller.admin, &asked::<DeliveriesQuery>(&request)?).await?;
    Ok(answer(StatusCode::OK, &page.body()))
}

pub(super) async fn message(caller: Caller, path: web::Path<(String, String)>) -> Result<HttpResponse, Refusal> {
    let (application, id) = path.into_inner();
    Ok(answer(StatusCode::OK, &api::message(&caller.admin, &application, &id).await?))
}

pub(super) async fn groups(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &api::groups(&caller.admin, &asked::<Filter>(&request)?).await?))
}

/// A filter, and which of what it lets through.
#[derive(Deserialize)]
struct LettersQuery {
    #[serde(default)]
    skip: Option<usize>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    application: Option<String>,
    #[serde(default)]
    destination: Option<String>,
    #[serde(default)]
    route: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    column: Option<String>,
    #[serde(default)]
    since_ms: Option<u64>,
    #[serde(default)]
    until_ms: Option<u64>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    superseded: Option<bool>,
    #[serde(default)]
    group: Option<String>,
}

pub(super) async fn letters(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let LettersQuery {
        skip,
        limit,
        application,
        destination,
        route,
        code,
        column,
        since_ms,
        until_ms,
        key,
        superseded,
        group,
    } = asked(&request)?;
    let filter = Filter { application, destination, route, code, column, since_ms, until_ms, key, superseded, group };
    let page = api::letters(&caller.admin, &filter, skip.unwrap_or(0), limit.unwrap_or(50)).await?;
    Ok(answer(StatusCode::OK, &page))
}

fn named((application, destination, route_id, id): (String, String, String, String)) -> LetterName {
    LetterName { application, destination, route_id, id }
}

type Place = web::Path<(String, String, String, String)>;

pub(super) async fn letter(caller: Caller, place: Place) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &api::letter(&caller.admin, &named(place.into_inner())).await?))
}

pub(super) async fn act(caller: Caller, place: Place, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let act = read::<LetterAct>(&body)?;
    api::act(&caller.admin, &caller.who, &named(place.into_inner()), &act).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({"state": "queued"})))
}

pub(super) async fn many(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let job = api::many(&caller.admin, &caller.who, read::<ManyBody>(&body)?).await?;
    Ok(answer(StatusCode::ACCEPTED, &job))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobsQuery {
    #[serde(default)]
    limit: Option<usize>,
}

pub(super) async fn jobs(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let JobsQuery { limit } = asked(&request)?;
    let jobs = api::jobs(&caller.admin, limit.unwrap_or(50)).await?;
    Ok(answer(StatusCode::OK, &json!({"jobs": jobs})))
}

pub(super) async fn job(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &api::job(&caller.admin, &id).await?))
}

pub(super) async fn cancel(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::ACCEPTED, &api::cancel(&caller.admin, &caller.who, &id).await?))
}

pub(super) async fn replay(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let body = read::<ReplayBody>(&body)?;
    let status = if body.dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(answer(status, &api::replay(&caller.admin, &caller.who, &body).await?))
}

pub(super) async fn replays(caller: Caller, route: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &json!({"replays": api::replays_of(&caller.admin, &route).await?})))
}

pub(super) async fn stop_replay(caller: Caller, path: web::Path<(String, String)>) -> Result<HttpResponse, Refusal> {
    let (route, token) = path.into_inner();
    api::stop_replay(&caller.admin, &caller.who, &route, &token).await?;
    Ok(answer(StatusCode::OK, &json!({"stopped": token})))
}
