//! The console's users over the admin API.

use actix_web::{HttpResponse, http::StatusCode, web};
use serde::Deserialize;
use serde_json::json;

use super::{Caller, Refusal, answer, read};
use crate::{
    admin::{Role, users as acts},
    users::Users,
};

fn users(caller: &Caller) -> Users {
    Users::new(caller.admin.redis.clone()).with_master_key(caller.admin.master_key.clone())
}

pub(super) async fn list(caller: Caller) -> Result<HttpResponse, Refusal> {
    let views = acts::list(&users(&caller), &caller.who).await?;
    Ok(answer(StatusCode::OK, &json!({"users": views})))
}

/// The view of one of them, as it is now.
async fn one(caller: &Caller, name: &str, status: StatusCode) -> Result<HttpResponse, Refusal> {
    let views = acts::list(&users(caller), &caller.who).await?;
    let name = crate::users::normal(name);
    match views.iter().find(|view| view.name == name) {
        Some(view) => Ok(answer(status, view)),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, format!("There is no user `{name}`."))),
    }
}

pub(super) async fn show(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    one(&caller, &name, StatusCode::OK).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    role: Role,
    password: String,
}

pub(super) async fn add(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let New { name, role, password } = read(&body)?;
    let name = acts::add(&users(&caller), &caller.who, &name, role, password.into()).await?;
    one(&caller, &name, StatusCode::CREATED).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: Role,
}

pub(super) async fn set_role(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let NewRole { role } = read(&body)?;
    acts::set_role(&users(&caller), &caller.who, &name, role).await?;
    one(&caller, &name, StatusCode::OK).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: String,
}

pub(super) async fn set_password(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let NewPassword { password } = read(&body)?;
    acts::set_password(&users(&caller), &caller.who, &name, password.into()).await?;
    one(&caller, &name, StatusCode::OK).await
}

pub(super) async fn remove(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::remove(&users(&caller), &caller.who, &name).await?;
    Ok(answer(StatusCode::OK, &json!({"removed": *name})))
}

pub(super) async fn end_sessions(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::end_sessions(&users(&caller), &caller.who, &name).await?;
    one(&caller, &name, StatusCode::OK).await
}

pub(super) async fn second_factor_off(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    acts::second_factor_off(&users(&caller), &caller.who, &name).await?;
    one(&caller, &name, StatusCode::OK).await
}
