//! Enrolment, what a terminal is told of itself, and its beats.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::SET_COOKIE,
    web::{self, Bytes},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{
    BEAT_S,
    guard::{self, Known, known},
    refusal::{Refusal, What},
};
use crate::{
    broadcast::{codes::EnrolError, parts::all_categories, stream::shown},
    console::Console,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrol {
    code: String,
    /// For a program, which keeps it itself.
    #[serde(default)]
    token: bool,
}

pub(super) async fn enrol(
    request: HttpRequest,
    console: web::Data<Console>,
    body: Bytes,
) -> Result<HttpResponse, Refusal> {
    let refused = |what| Refusal::of(&request, what);
    let Enrol { code, token: wants } = serde_json::from_slice(&body).map_err(|_| refused(What::BadRequest))?;
    let hub = &console.broadcasts;
    let unavailable = |why: String| refused(What::Unavailable(why));
    let key = hub.token_key().await.map_err(unavailable)?;
    // Without a key nobody has made a code yet; the try counts all the same.
    let address = guard::address(&request);
    let terminal = hub.broadcasts().enrol(&SecretString::from(code), &address).await.map_err(|error| match error {
        EnrolError::UnknownCode => refused(What::UnknownCode),
        EnrolError::TooMany => refused(What::TooManyTries),
        EnrolError::Unavailable(why) => refused(What::Unavailable(why)),
    })?;
    let key = key.ok_or_else(|| refused(What::Unavailable("there is no key of the terminals".into())))?;
    hub.learn(&terminal);
    tracing::info!(terminal = %terminal.id, shop = %terminal.shop, from = %address, "a terminal was enrolled");
    let token = key.token(&terminal);
    let mut body = json!({"terminal": shown(hub, &terminal)});
    let mut response = HttpResponse::Ok();
    if wants {
        body["token"] = token.expose_secret().into();
    } else {
        response.insert_header((SET_COOKIE, guard::cookie(&request, token.expose_secret())));
    }
    Ok(response.json(body))
}

pub(super) async fn me(request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let Known { hub, terminal, by_cookie } = known(&request).await?;
    let own = hub.document().map(|document| document.categories.clone()).unwrap_or_default();
    let mut response = HttpResponse::Ok();
    // Renewed, so that it outlasts the year while it is used, with the shop that the terminal is in now.
    if by_cookie && let Ok(Some(key)) = hub.token_key().await {
        response.insert_header((SET_COOKIE, guard::cookie(&request, key.token(&terminal).expose_secret())));
    }
    Ok(response.json(json!({
        "terminal": shown(&hub, &terminal),
        "now": hub.now_ms(),
        "categories": all_categories(&own),
        "beat_s": BEAT_S,
    })))
}

/// The body says nothing; but one that is not read ends the connection.
pub(super) async fn beat(request: HttpRequest, _: Bytes) -> Result<HttpResponse, Refusal> {
    let Known { hub, terminal, .. } = known(&request).await?;
    hub.beat(&terminal.id);
    Ok(HttpResponse::NoContent().finish())
}
