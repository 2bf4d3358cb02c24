//! What was for a terminal's shop: searched, a page at a time; and the images of it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web,
};
use serde::{Deserialize, Serialize};

use super::{
    guard::{Known, known},
    refusal::{Refusal, What},
};
use crate::{
    broadcast::{
        message::{Shown, State, rfc3339},
        store::{CastError, Page, Place, image_type},
    },
    console::Console,
};

/// Messages of a page, where nothing else is asked for; and at most.
const PAGE: usize = 50;
const MOST: usize = 200;
/// Messages that are looked at for one page.
const LOOKED_AT: usize = 5_000;
const PIECE: usize = 200;

#[derive(Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    q: String,
    #[serde(default)]
    before: String,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    shown: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recalled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<String>,
}

#[derive(Serialize)]
struct Rows<'a> {
    messages: Vec<Row<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

pub(super) async fn list(request: HttpRequest, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let refused = |what| Refusal::of(&request, what);
    let unavailable = |error: CastError| refused(What::Unavailable(error.to_string()));
    let Known { hub, terminal, .. } = known(&request).await?;
    let shops = hub.shops();
    let region = shops.get(&terminal.shop).map_or("", |shop| shop.region.as_str());
    let q = query.q.trim().to_lowercase();
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MOST);
    let mut before = match query.before.as_str() {
        "" => None,
        text => Some(text.parse::<Place>().map_err(|()| refused(What::BadRequest))?),
    };
    let (mut found, mut looked, mut next) = (Vec::new(), 0, None);
    while found.len() < limit && looked < LOOKED_AT {
        let Page { messages, next: further } =
            hub.broadcasts().page(before.as_ref(), 0, PIECE).await.map_err(unavailable)?;
        looked += PIECE;
        let mut last = None;
        for message in messages {
            if found.len() == limit {
                break;
            }
            last = Some(Place::of(&message));
            let content = &message.content;
            let theirs = message.state != State::Scheduled
                && message.sent_ms.is_some()
                && message.audience.has(&terminal.shop, region);
            if theirs && (content.title.to_lowercase().contains(&q) || content.text.to_lowercase().contains(&q)) {
                found.push(message);
            }
        }
        next = if found.len() == limit { last } else { further.clone() };
        before = match further {
            Some(place) => Some(place),
            None => break,
        };
    }
    let ids: Vec<&str> = found.iter().map(|message| message.id.as_str()).collect();
    let receipts = hub.broadcasts().receipts_of(&terminal.id, &ids).await.map_err(unavailable)?;
    let rows = found.iter().zip(receipts).map(|(message, receipt)| Row {
        shown: Shown::of(&message.id, &message.content, message.sent_ms.unwrap_or_default(), message.corrected_ms),
        recalled_at: message.recalled_ms.map(rfc3339),
        received_at: receipt.map(|receipt| rfc3339(receipt.received_ms)),
        confirmed_at: receipt.and_then(|receipt| receipt.confirmed_ms).map(rfc3339),
    });
    Ok(HttpResponse::Ok().json(Rows { messages: rows.collect(), before: next.map(|place| place.to_string()) }))
}

/// For a terminal, or for somebody who is signed in to the console.
pub(super) async fn image(
    request: HttpRequest,
    console: web::Data<Console>,
    digest: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let refused = |what| Refusal::of(&request, what);
    if let Err(refusal) = known(&request).await
        && !console.is_signed_in(&request).await
    {
        return Err(refusal);
    }
    if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refused(What::NotFound));
    }
    let found = console.broadcasts.broadcasts().image(&digest).await;
    let bytes = found.map_err(|error| refused(What::Unavailable(error.to_string())))?;
    let bytes = bytes.ok_or_else(|| refused(What::NotFound))?;
    let kind = image_type(&bytes).ok_or_else(|| refused(What::NotFound))?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .body(bytes))
}
