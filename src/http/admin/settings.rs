//! What is set for all nodes, alert targets, the list of changes, export and import over the admin API.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{Caller, Refusal, answer, asked, read};
use crate::{
    admin::{
        ActError, alerts,
        alerts::{Given, GivenWay},
        audit,
        fields::wrong,
        settings,
        transfer::{self, Refusal as NotTaken},
    },
    alerts::{
        outbound::Allowed,
        target::{AlarmKind, MailTls},
    },
};

pub(super) async fn show(caller: Caller) -> Result<HttpResponse, Refusal> {
    let set = settings::view(&caller.admin.redis, &caller.who).await?;
    let body = json!({
        "retention": set.retention.map(settings::in_words),
        "memory_soft": set.memory.map(|marks| marks.soft_percent),
        "memory_hard": set.memory.map(|marks| marks.hard_percent),
        "broadcasts_days": set.broadcasts_kept_days,
    });
    Ok(answer(StatusCode::OK, &body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    #[serde(default)]
    retention: Option<String>,
    #[serde(default)]
    memory_soft: Option<u8>,
    #[serde(default)]
    memory_hard: Option<u8>,
    #[serde(default)]
    broadcasts_days: Option<u32>,
}

pub(super) async fn set(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Set { retention, memory_soft, memory_hard, broadcasts_days } = read(&body)?;
    let percent = |mark: Option<u8>| mark.map(|mark| mark.to_string()).unwrap_or_default();
    let given = settings::Given {
        retention: retention.unwrap_or_default(),
        memory_soft: percent(memory_soft),
        memory_hard: percent(memory_hard),
        broadcasts_days: broadcasts_days.map(|days| days.to_string()).unwrap_or_default(),
    };
    settings::set(&caller.admin.redis, &caller.who, &given).await?;
    show(caller).await
}

pub(super) async fn alerts(caller: Caller) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &alerts::view(&caller.admin.redis, &caller.who).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Marks {
    down_after_s: u32,
    dead_above: u64,
    memory_percent: u8,
}

pub(super) async fn set_marks(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Marks { down_after_s, dead_above, memory_percent } = read(&body)?;
    alerts::set_marks(&caller.admin.redis, &caller.who, down_after_s, dead_above, memory_percent).await?;
    alerts(caller).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    name: String,
    kinds: Vec<AlarmKind>,
    #[serde(default)]
    webhook: Option<Webhook>,
    #[serde(default)]
    email: Option<Email>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Email {
    host: String,
    port: u16,
    #[serde(default)]
    tls: MailTls,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: Option<String>,
    from: String,
    to: Vec<String>,
}

impl Target {
    fn given(self) -> Result<Given, Refusal> {
        let Self { name, kinds, webhook, email } = self;
        let way = match (webhook, email) {
            (Some(Webhook { url }), None) => GivenWay::Webhook { url },
            (None, Some(Email { host, port, tls, user, password, from, to })) => GivenWay::Email {
                password: password.map(SecretString::from),
                to: to.join(","),
                host,
                port,
                tls,
                user,
                from,
            },
            _ => {
                let message = "say `webhook` or `email`, and one of them only";
                return Err(ActError::Invalid(vec![wrong("webhook", "one_of_two", message)]).into());
            }
        };
        Ok(Given { name, kinds, way })
    }
}

pub(super) async fn add_target(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let given = read::<Target>(&body)?.given()?;
    let admin = &caller.admin;
    let added = alerts::add(&admin.redis, admin.master_key.as_deref(), &caller.who, &given).await?;
    let secret = added.secret.as_ref().map(|secret| secret.expose_secret());
    Ok(answer(StatusCode::CREATED, &json!({"id": added.id, "secret": secret})))
}

pub(super) async fn edit_target(
    caller: Caller,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let given = read::<Target>(&body)?.given()?;
    let admin = &caller.admin;
    alerts::edit(&admin.redis, admin.master_key.as_deref(), &caller.who, &id, &given).await?;
    alerts(caller).await
}

pub(super) async fn remove_target(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    alerts::remove(&caller.admin.redis, &caller.who, &id).await?;
    Ok(answer(StatusCode::OK, &json!({"removed": *id})))
}

pub(super) async fn renew_secret(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let admin = &caller.admin;
    let secret = alerts::renew_secret(&admin.redis, admin.master_key.as_deref(), &caller.who, &id).await?;
    Ok(answer(StatusCode::OK, &json!({"id": *id, "secret": secret.expose_secret()})))
}

pub(super) async fn test_target(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let admin = &caller.admin;
    let allowed = Allowed(admin.settings.alerts_allow.clone());
    let key = admin.master_key.as_deref();
    let steps = alerts::test(&admin.redis, key, &allowed, &admin.node, &caller.who, &id).await?;
    let good = steps.iter().all(|step| step.outcome.is_ok());
    Ok(answer(StatusCode::OK, &json!({"good": good, "steps": steps})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default)]
    who: Option<String>,
    #[serde(default)]
    what: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    below: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

pub(super) async fn audit(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let AuditQuery { who, what, from, to, below, limit } = asked(&request)?;
    let moment = |field: &str, text: Option<String>| match text.as_deref().map(chrono::DateTime::parse_from_rfc3339) {
        None => Ok(None),
        Some(Ok(moment)) => Ok(u64::try_from(moment.timestamp_millis()).ok()),
        Some(Err(_)) => {
            let message = "write a moment such as 2025-06-01T08:00:00Z";
            Err(ActError::Invalid(vec![wrong(field, "moment", message)]))
        }
    };
    let filter = audit::Filter { who, what, since_ms: moment("from", from)?, until_ms: moment("to", to)? };
    let mut store = caller.admin.store()?;
    let looked = audit::changes(&mut store, &caller.who, &filter, below.as_deref(), limit.unwrap_or(50));
    Ok(answer(StatusCode::OK, &looked.await?))
}

pub(super) async fn export(caller: Caller) -> Result<HttpResponse, Refusal> {
    let toml = transfer::export_toml(&caller.admin, &caller.who).await?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .content_type("application/toml; charset=utf-8")
        .body(toml))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    toml: String,
    #[serde(default)]
    prune: bool,
    /// The registry's version that a preview was for; without it there is only a preview.
    #[serde(default)]
    version: Option<u64>,
}

pub(super) async fn import(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Import { toml, prune, version } = read(&body)?;
    let refused = |refusal: NotTaken| match refusal {
        NotTaken::Act(error) => Refusal::from(error),
        NotTaken::Mistakes(mistakes) => {
            let each = |mistake: String| wrong("toml", "mistake", mistake);
            ActError::Invalid(mistakes.into_iter().map(each).collect()).into()
        }
    };
    let (admin, who) = (&caller.admin, &caller.who);
    let Some(version) = version else {
        let preview = transfer::preview(admin, who, &toml, prune).await.map_err(refused)?;
        return Ok(answer(StatusCode::OK, &preview));
    };
    let changed = transfer::import(admin, who, &toml, prune, version).await.map_err(refused)?;
    Ok(answer(StatusCode::OK, &json!({"changed": changed})))
}
