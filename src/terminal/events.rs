//! The stream of events (server-sent events, as HTML's standard has them).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_TYPE, HeaderName},
    web,
};
use serde::Deserialize;

use super::{
    guard::{Known, known},
    refusal::{Refusal, What},
};
use crate::{broadcast::stream::TerminalStream, console::Console};

/// Most streams of a node.
const MOST: usize = 20_000;

#[derive(Deserialize)]
pub(super) struct From {
    after: Option<String>,
}

pub(super) async fn events(
    request: HttpRequest,
    console: web::Data<Console>,
    from: web::Query<From>,
) -> Result<HttpResponse, Refusal> {
    let Known { hub, terminal, .. } = known(&request).await?;
    if hub.connected() >= MOST {
        return Err(Refusal::of(&request, What::Full));
    }
    // The header is what a browser adds by itself when it connects anew, so it is the newer of the two.
    let header = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let cursor = header.or(from.after.as_deref());
    let stream = TerminalStream::new(&hub, terminal, cursor, console.stopped.clone());
    let stream = futures_util::stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((Ok::<_, actix_web::Error>(bytes), stream))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        // nginx would keep what comes until it has a page full.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(Box::pin(stream)))
}
