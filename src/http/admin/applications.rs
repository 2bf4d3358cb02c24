//! Applications over the admin API.

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode, web};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use super::{Caller, Refusal, answer, read};
use crate::{admin::applications as acts, registry::keys::Which};

pub(super) async fn list(caller: Caller) -> Result<HttpResponse, Refusal> {
    let (views, away) = acts::list(&caller.admin, &caller.who).await?;
    let away = away.map(|error| error.to_string());
    Ok(answer(StatusCode::OK, &json!({"applications": views, "redis_away": away})))
}

pub(super) async fn show(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let (view, _) = acts::show(&caller.admin, &caller.who, &name).await?;
    Ok(answer(StatusCode::OK, &view))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    records_per_s: Option<u32>,
}

pub(super) async fn create(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let New { name, topics, records_per_s } = read(&body)?;
    acts::create(&caller.admin, &caller.who, &name, &topics, records_per_s).await?;
    let (view, _) = acts::show(&caller.admin, &caller.who, &name).await?;
    Ok(answer(StatusCode::CREATED, &view))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topics {
    topics: Vec<String>,
}

pub(super) async fn set_topics(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let Topics { topics } = read(&body)?;
    acts::set_topics(&caller.admin, &caller.who, &name, &topics).await?;
    show(caller, name).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    records_per_s: Option<u32>,
}

pub(super) async fn set_limit(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let Limit { records_per_s } = read(&body)?;
    acts::set_limit(&caller.admin, &caller.who, &name, records_per_s).await?;
    show(caller, name).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MayBroadcast {
    broadcasts: bool,
}

pub(super) async fn set_broadcasts(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let MayBroadcast { broadcasts } = read(&body)?;
    acts::set_broadcasts(&caller.admin, &caller.who, &name, broadcasts).await?;
    show(caller, name).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    #[serde(default)]
    expires_at_ms: Option<u64>,
}

pub(super) async fn create_key(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let NewKey { expires_at_ms } = read(&body)?;
    let (text, key) = acts::create_key(&caller.admin, &caller.who, &name, expires_at_ms).await?;
    let body = json!({"id": key.id, "key": text.expose_secret(), "expires_at_ms": key.expires_at_ms});
    Ok(answer(StatusCode::CREATED, &body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default)]
    old_ends_in_s: Option<u64>,
}

pub(super) async fn rotate_key(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let Rotation { old_ends_in_s } = read(&body)?;
    let ends = old_ends_in_s.map(Duration::from_secs);
    let (text, key) = acts::rotate_key(&caller.admin, &caller.who, &name, ends).await?;
    Ok(answer(StatusCode::CREATED, &json!({"id": key.id, "key": text.expose_secret()})))
}

pub(super) async fn revoke_key(caller: Caller, path: web::Path<(String, String)>) -> Result<HttpResponse, Refusal> {
    let (name, id) = path.into_inner();
    let revoked = acts::revoke_key(&caller.admin, &caller.who, &name, &Which::Named(id)).await?;
    Ok(answer(StatusCode::OK, &json!({"revoked": revoked})))
}
