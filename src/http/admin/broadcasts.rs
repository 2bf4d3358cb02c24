//! Broadcasts over the admin API: sending, what was sent and who has it, correcting, recalling, reminding. A broadcast is written and
//! read in the words of the producers' API; what only head office knows stands beside them.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Caller, Refusal, answer, asked, read};
use crate::{
    admin::{
        ActError, FieldError,
        broadcasts::{
            changes, compose,
            history::{self, Row},
            of,
            receipts::{self, Only, ReceiptRow},
        },
        fields::wrong,
    },
    broadcast::message::{Audience, Message, State, from_rfc3339, rfc3339},
    http::{
        broadcasts::{self as form, Form, Image},
        problem::Issue,
    },
};

/// Receipts of an answer, where it is not said how many.
const PAGE: usize = 100;
/// Most of them.
const MOST: usize = 1_000;

/// What is wrong with a form, by the names of its fields.
fn refused(issues: Vec<Issue>) -> Refusal {
    let field = |issue: Issue| FieldError {
        field: issue.pointer.trim_start_matches('/').replace('/', "."),
        code: issue.code,
        message: issue.message,
    };
    ActError::Invalid(issues.into_iter().map(field).collect()).into()
}

fn shown(row: &Row) -> Value {
    let message = &row.message;
    let mut all = form::shown(message, row.received, row.confirmed);
    all["by"] = message.by.as_str().into();
    all["application"] = message.application.as_deref().into();
    all["image"] = message.content.image.is_some().then(|| format!("/v1/broadcasts/{}/image", message.id)).into();
    all["created_at"] = rfc3339(message.created_ms).into();
    all["reminded_at"] = message.reminded_ms.map(rfc3339).into();
    all["recalled_by"] = message.recalled_by.as_deref().into();
    all
}

/// The same with what it said before.
fn whole(row: &Row) -> Value {
    let mut all = shown(row);
    let version = |version: &crate::broadcast::message::Version| {
        json!({
            "category": version.content.category,
            "title": version.content.title,
            "text": version.content.text,
            "valid_until": version.content.valid_until_ms.map(rfc3339),
            "must_confirm": version.content.must_confirm,
            "until": rfc3339(version.until_ms),
            "corrected_by": version.by,
        })
    };
    all["versions"] = row.message.versions.iter().map(version).collect();
    all
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    q: String,
    state: String,
    category: String,
    shop: String,
    from: Option<String>,
    to: Option<String>,
    before: String,
}

pub(super) async fn list(caller: Caller, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let Asked { q, state, category, shop, from, to, before } = asked(&request)?;
    let known = State::parse(&state);
    if known.is_none() && !state.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "`state` is scheduled, sent or recalled."));
    }
    let moment = |field: &str, text: Option<String>| {
        let read = text.map(|text| {
            let message = "give a time as in 2026-05-01T08:00:00Z (RFC 3339)";
            from_rfc3339(&text).ok_or_else(|| ActError::Invalid(vec![wrong(field, "time", message)]))
        });
        read.transpose()
    };
    let (since_ms, until_ms) = (moment("from", from)?, moment("to", to)?);
    let query = history::Query { q, state: known, category, shop, since_ms, until_ms, before };
    let found = history::list(&caller.admin, &caller.who, &query).await?;
    let rows: Vec<Value> = found.rows.iter().map(shown).collect();
    Ok(answer(StatusCode::OK, &json!({"broadcasts": rows, "next": found.next})))
}

pub(super) async fn send(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let (draft, own_id) = form::draft(read::<Form>(&body)?).map_err(refused)?;
    let stands_for: [u8; 32] = Sha256::digest(&body).into();
    // No application is called so.
    let name = |own: &String| of(&caller.admin).name("id", &caller.who.name, own, &stands_for);
    let names = own_id.iter().map(name).collect();
    let sent = compose::send_named(&caller.admin, &caller.who, &draft, own_id, names).await?;
    let status = if sent.replayed { StatusCode::OK } else { StatusCode::CREATED };
    let body = json!({
        "id": sent.id,
        "terminals": sent.reach.terminals,
        "on_now": sent.reach.on_now,
        "send_at": sent.due_ms.map(rfc3339),
        "replayed": sent.replayed,
    });
    Ok(answer(status, &body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    audience: Audience,
}

pub(super) async fn reach(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let To { audience } = read(&body)?;
    Ok(answer(StatusCode::OK, &compose::reach(&caller.admin, &caller.who, &audience).await?))
}

async fn one(caller: &Caller, id: &str) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &whole(&history::show(&caller.admin, &caller.who, id).await?)))
}

pub(super) async fn show(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    one(&caller, &id).await
}

/// What a correction may say; its audience and its time stay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Correction {
    category: String,
    title: String,
    text: String,
    /// Left out: as it is. `null`: none.
    #[serde(default, deserialize_with = "given")]
    image: Option<Option<Image>>,
    valid_until: Option<String>,
    #[serde(default)]
    must_confirm: bool,
}

fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<Image>>, D::Error> {
    Option::deserialize(value).map(Some)
}

pub(super) async fn correct(caller: Caller, id: web::Path<String>, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let Correction { category, title, text, image, valid_until, must_confirm } = read(&body)?;
    let keeps = image.is_none();
    let form = Form {
        id: None,
        audience: Audience::all(),
        category,
        title,
        text,
        image: image.flatten(),
        valid_until,
        must_confirm,
        send_at: None,
    };
    let (mut draft, _) = form::draft(form).map_err(refused)?;
    if keeps {
        draft.kept_image = history::show(&caller.admin, &caller.who, &id).await?.message.content.image;
    }
    changes::correct(&caller.admin, &caller.who, &id, &draft).await?;
    one(&caller, &id).await
}

pub(super) async fn recall(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    changes::recall(&caller.admin, &caller.who, &id).await?;
    one(&caller, &id).await
}

pub(super) async fn remind(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let many = changes::remind(&caller.admin, &caller.who, &id).await?;
    Ok(answer(StatusCode::OK, &json!({"reminded": many})))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Which {
    q: String,
    only: String,
    skip: usize,
    limit: usize,
}

pub(super) async fn receipts(
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let Which { q, only, skip, limit } = asked(&request)?;
    let known = Only::parse(&only);
    if known.is_none() && !only.is_empty() {
        let why = "`only` is off, waiting, received, confirmed or missing.";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, why));
    }
    let limit = if limit == 0 { PAGE } else { limit.min(MOST) };
    let query = receipts::Query { q, only: known, skip, limit, ..receipts::Query::default() };
    let list = receipts::list(&caller.admin, &caller.who, &id, &query).await?;
    let row = |row: &ReceiptRow| {
        json!({
            "terminal": row.terminal,
            "name": row.name,
            "shop": row.shop,
            "shop_title": row.shop_title,
            "region": row.region,
            "state": row.standing,
            "on": row.on,
            "received_at": row.received_ms.map(rfc3339),
            "confirmed_at": row.confirmed_ms.map(rfc3339),
        })
    };
    let rows: Vec<Value> = list.rows.iter().map(row).collect();
    let body = json!({"id": list.message.id, "counts": list.counts, "found": list.found, "receipts": rows});
    Ok(answer(StatusCode::OK, &body))
}

pub(super) async fn csv(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let csv = receipts::csv(&caller.admin, &caller.who, &id).await?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .content_type("text/csv; charset=utf-8")
        .body(csv))
}

pub(super) async fn image(caller: Caller, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let message: Message = history::show(&caller.admin, &caller.who, &id).await?.message;
    let Some(digest) = message.content.image else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "This broadcast has no image."));
    };
    let (kind, bytes) = history::image(&caller.admin, &caller.who, &digest).await?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).content_type(kind).body(bytes))
}
