//! Shop terminals and their one-time codes over the admin API.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use super::{Caller, Refusal, answer, asked, read};
use crate::admin::broadcasts::{
    codes,
    terminals::{self as acts, TerminalState},
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    q: String,
    shop: String,
    region: String,
    state: String,
    skip: usize,
    limit: usize,
}

/// Most terminals and codes of an answer.
const MOST: usize = 1_000;

pub(super) async fn list(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let Asked { q, shop, region, state, skip, limit } = asked(&request)?;
    let known = TerminalState::parse(&state);
    if known.is_none() && !state.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "`state` is on, off or revoked."));
    }
    let query = acts::Query { q, shop, region, state: known, skip, limit: limit.min(MOST), ..acts::Query::default() };
    Ok(answer(StatusCode::OK, &acts::list(&caller.admin, &caller.who, &query).await?))
}

pub(super) async fn show(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &acts::show(&caller.admin, &caller.who, &id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    shop: String,
}

pub(super) async fn move_to(caller: Caller, id: web::Path<String>, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Move { shop } = read(&body)?;
    acts::move_to(&caller.admin, &caller.who, &id, &shop).await?;
    show(caller, id).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

pub(super) async fn rename(caller: Caller, id: web::Path<String>, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Name { name } = read(&body)?;
    acts::rename(&caller.admin, &caller.who, &id, &name).await?;
    show(caller, id).await
}

pub(super) async fn revoke(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::revoke(&caller.admin, &caller.who, &id).await?;
    Ok(answer(StatusCode::OK, &json!({"revoked": *id})))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Page {
    q: String,
    shop: String,
    skip: usize,
    limit: usize,
}

pub(super) async fn codes(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let Page { q, shop, skip, limit } = asked(&request)?;
    let query = codes::Query { q, shop, skip, limit: limit.min(MOST), ..codes::Query::default() };
    Ok(answer(StatusCode::OK, &codes::list(&caller.admin, &caller.who, &query).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    shop: String,
    #[serde(default)]
    name: String,
}

pub(super) async fn make_code(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let New { shop, name } = read(&body)?;
    let made = acts::make_code(&caller.admin, &caller.who, &shop, &name).await?;
    let body = json!({"code": made.code.expose_secret(), "expires_ms": made.expires_ms});
    Ok(answer(StatusCode::CREATED, &body))
}

pub(super) async fn take_back_code(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &codes::take_back(&caller.admin, &caller.who, &id).await?))
}
