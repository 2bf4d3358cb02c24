//! Routes over the admin API.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::Deserialize;
use serde_json::json;
use tidegate_actors::route::RouteSpec;

use super::{Caller, Refusal, answer, asked, read};
use crate::admin::{
    ActError,
    fields::wrong,
    routes::{self as acts, Draft, Filters, Sort, StateWord},
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Query {
    application: String,
    topic: String,
    destination: String,
    state: Option<String>,
    search: String,
    sort: String,
    descending: bool,
    page: usize,
}

pub(super) async fn list(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let Query { application, topic, destination, state, search, sort, descending, page } = asked(&request)?;
    let state = match state.as_deref() {
        None => None,
        Some(word) => match StateWord::ALL.into_iter().find(|state| state.as_str() == word) {
            Some(state) => Some(state),
            None => {
                let words = StateWord::ALL.map(StateWord::as_str).join(", ");
                let message = format!("`state` is one of {words}");
                return Err(ActError::Invalid(vec![wrong("state", "unknown_word", message)]).into());
            }
        },
    };
    let sort = Sort::of(&sort);
    let filters = Filters { application, topic, destination, state, search, sort, descending, page };
    Ok(answer(StatusCode::OK, &acts::list(&caller.admin, &caller.who, &filters).await?))
}

pub(super) async fn show(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &acts::one(&caller.admin, &caller.who, &name).await?))
}

pub(super) async fn versions(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let versions = acts::versions(&caller.admin, &caller.who, &name).await?;
    Ok(answer(StatusCode::OK, &json!({"versions": versions})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// As `GET` shows it under `spec`; its id and version are the registry's.
    route: RouteSpec,
    /// The version that is changed; without it the route is new.
    #[serde(default)]
    base: Option<u64>,
}

/// What saving would do, and what is wrong with it.
pub(super) async fn outlook(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Body { route, base } = read(&body)?;
    let draft = Draft { spec: route, base };
    Ok(answer(StatusCode::OK, &acts::outlook(&caller.admin, &caller.who, &draft).await?))
}

pub(super) async fn create(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Body { route, base } = read(&body)?;
    if base.is_some() {
        let message = "a new route has no `base`; to change one, send it to its own address with PUT";
        return Err(ActError::Invalid(vec![wrong("base", "not_new", message)]).into());
    }
    let draft = Draft { spec: route, base: None };
    Ok(answer(StatusCode::CREATED, &acts::save(&caller.admin, &caller.who, &draft).await?))
}

pub(super) async fn edit(caller: Caller, name: web::Path<String>, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Body { route, base } = read(&body)?;
    if route.name != *name {
        let message = "a route keeps its name: it stands in the address";
        return Err(ActError::Invalid(vec![wrong("name", "fixed", message)]).into());
    }
    let Some(base) = base else {
        let message = "say which version you have changed; `GET` shows it";
        return Err(ActError::Invalid(vec![wrong("base", "missing", message)]).into());
    };
    let draft = Draft { spec: route, base: Some(base) };
    Ok(answer(StatusCode::OK, &acts::save(&caller.admin, &caller.who, &draft).await?))
}

pub(super) async fn removal(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &acts::removal(&caller.admin, &caller.who, &name).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removed {
    version: u64,
}

pub(super) async fn remove(
    caller: Caller,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let Removed { version } = asked(&request)?;
    acts::remove(&caller.admin, &caller.who, &name, version).await?;
    Ok(answer(StatusCode::OK, &json!({"removed": *name})))
}
