//! The body of a request: read within a bound of bytes and of time, and unpacked within the same bound.
//!
//! A producer that trickles its body is answered with 408, one that sends or unpacks to more than the limit with 413
//! before the rest is looked at; memory stays bounded by the limit.

use std::{io::Read, time::Duration};

use actix_web::{
    HttpRequest,
    dev::Payload,
    http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH},
};
use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use futures_util::StreamExt;

use super::problem::{BAD_REQUEST, Problem, TIMEOUT, TOO_LARGE, UNSUPPORTED};

/// What is set aside at most for a body that was announced and is not there yet.
const MOST_SET_ASIDE: usize = 512 * 1024;
/// Compressed bodies above this size are unpacked on a thread of their own, so that other requests go on meanwhile.
const INLINE_BYTES: usize = 16 * 1024;

/// Reads the whole body, plain or gzip.
///
/// # Errors
/// 400, 408, 413 or 415.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    limit_bytes: usize,
    time_limit: Duration,
) -> Result<Bytes, Problem> {
    let packed = is_gzip(request)?;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit_bytes) {
        return Err(too_large(limit_bytes));
    }
    let body = match tokio::time::timeout(time_limit, collect(payload, limit_bytes, length.unwrap_or(0))).await {
        Ok(body) => body?,
        Err(_) => {
            let detail =
                format!("The body was not complete after {} s; send it faster or in pieces.", time_limit.as_secs());
            return Err(Problem::new(&TIMEOUT, detail).closing());
        }
    };
    match packed {
        false => Ok(body),
        true if body.len() <= INLINE_BYTES => unpack(&body, limit_bytes),
        true => match actix_web::web::block(move || unpack(&body, limit_bytes)).await {
            Ok(unpacked) => unpacked,
            Err(_) => {
                Err(Problem::new(&super::problem::UNAVAILABLE, "This node is stopping; send again.").retry_after(1))
            }
        },
    }
}

/// A short body comes in one piece, which is then passed on as it is; a long one is put together in a place of the length that
/// it was announced with.
async fn collect(payload: &mut Payload, limit_bytes: usize, announced: usize) -> Result<Bytes, Problem> {
    let broken = |_| Problem::new(&BAD_REQUEST, "The body broke off before its end.");
    let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(broken)?;
    let mut whole = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(broken)?;
        if whole.is_empty() {
            // An announcement costs the sender nothing: no more than a little is set aside before the bytes are there.
            whole.reserve(announced.clamp(first.len() + piece.len(), MOST_SET_ASIDE.max(first.len() + piece.len())));
            whole.extend_from_slice(&first);
        }
        if whole.len() + piece.len() > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        whole.extend_from_slice(&piece);
    }
    let body = if whole.is_empty() { first } else { whole.freeze() };
    if body.len() > limit_bytes { Err(too_large(limit_bytes)) } else { Ok(body) }
}

fn is_gzip(request: &HttpRequest) -> Result<bool, Problem> {
    let Some(encoding) = request.headers().get(CONTENT_ENCODING) else { return Ok(false) };
    match encoding.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Ok(true),
        "identity" | "" => Ok(false),
        _ => {
            let detail = "A body is sent plain or with `Content-Encoding: gzip`.";
            Err(Problem::new(&UNSUPPORTED, detail).with_header(ACCEPT_ENCODING, "gzip"))
        }
    }
}

fn unpack(packed: &[u8], limit_bytes: usize) -> Result<Bytes, Problem> {
    let bound = u64::try_from(limit_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let mut unpacked = Vec::with_capacity(packed.len().saturating_mul(4).min(limit_bytes));
    MultiGzDecoder::new(packed)
        .take(bound)
        .read_to_end(&mut unpacked)
        .map_err(|_| Problem::new(&BAD_REQUEST, "The body is not the gzip that `Content-Encoding` says it is."))?;
    if unpacked.len() > limit_bytes { Err(too_large(limit_bytes)) } else { Ok(unpacked.into()) }
}

fn too_large(limit_bytes: usize) -> Problem {
    let detail = format!("A body has at most {limit_bytes} bytes, unpacked; send it in several requests.");
    Problem::new(&TOO_LARGE, detail).closing()
}
