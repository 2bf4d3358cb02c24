//! What terminals have received, and what somebody there has confirmed.

use actix_web::{HttpRequest, HttpResponse, web::Bytes};
use serde::Deserialize;

use super::{
    guard::{Known, known},
    refusal::{Refusal, What},
};
use crate::broadcast::receipts::Given;

/// Most receipts of a request.
const MOST: usize = 1_000;

#[derive(Deserialize)]
struct Receipts {
    receipts: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    id: String,
    #[serde(default)]
    confirmed: bool,
}

pub(super) async fn take(request: HttpRequest, body: Bytes) -> Result<HttpResponse, Refusal> {
    let refused = |what| Refusal::of(&request, what);
    let Known { hub, terminal, .. } = known(&request).await?;
    let Receipts { receipts } = serde_json::from_slice(&body).map_err(|_| refused(What::BadRequest))?;
    if receipts.len() > MOST || receipts.iter().any(|one| one.id.is_empty() || one.id.len() > 64) {
        return Err(refused(What::BadRequest));
    }
    let unavailable = |error: crate::broadcast::store::CastError| refused(What::Unavailable(error.to_string()));
    let ids: Vec<String> = receipts.iter().map(|one| one.id.clone()).collect();
    // What was never for this shop is not its to confirm.
    let theirs = hub.for_shop(&ids, &terminal.shop).await.map_err(unavailable)?;
    let given = receipts.into_iter().filter(|one| theirs.contains(&one.id)).map(|one| Given {
        message: one.id,
        terminal: terminal.id.clone(),
        confirmed: one.confirmed,
    });
    hub.desk().hand_in(given.collect()).await.map_err(unavailable)?;
    Ok(HttpResponse::NoContent().finish())
}
