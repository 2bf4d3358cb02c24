//! `X-Request-Id` on every answer: the client's own where it is sane, else a random one; and, while the node drains,
//! `Connection: close`, so that clients come back to another node by themselves.

use std::sync::Arc;

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType,
        header::{HeaderName, HeaderValue},
    },
    middleware::Next,
};

use super::health::Readiness;

/// Longest id that is echoed.
const MAX_LENGTH: usize = 128;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Adds the header.
pub(super) async fn stamp<B: MessageBody>(
    readiness: Arc<Readiness>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let given = request.headers().get(&REQUEST_ID).filter(|id| is_sane(id.as_bytes())).cloned();
    let mut response = next.call(request).await?;
    let id = given.unwrap_or_else(random);
    response.headers_mut().insert(REQUEST_ID.clone(), id);
    if readiness.is_draining() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

fn random() -> HeaderValue {
    let id = format!("{:032x}", rand::random::<u128>());
    HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("0"))
}
