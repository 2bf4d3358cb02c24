//! An alert as a POST, signed as the *Standard Webhooks* specification has it: `webhook-id`, `webhook-timestamp`, and in
//! `webhook-signature` HMAC-SHA-256 over `id.timestamp.body`. So a receiver can use any library for it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::{
    event::Event,
    outbound::{Allowed, resolve},
};
use crate::databases::CheckStep;

/// What a signing secret begins with; 24 bytes in base 64 follow.
const SECRET_PREFIX: &str = "whsec_";
/// Longest time for all of it.
const WITHIN: Duration = Duration::from_secs(10);

/// A new signing secret.
pub(crate) fn new_secret() -> SecretString {
    format!("{SECRET_PREFIX}{}", BASE64.encode(rand::random::<[u8; 24]>())).into()
}

/// What is wrong with an address, if anything.
pub(crate) fn complaint(url: &str) -> Option<&'static str> {
    match url::Url::parse(url) {
        Ok(url) if !matches!(url.scheme(), "https" | "http") || url.host().is_none() => {
            Some("this is not a webhook's address; give one that begins with https://")
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Some("give the address without a user and password; the body is signed instead")
        }
        Ok(_) => None,
        Err(_) => Some("this is not an address; give one such as https://alerts.example/tidegate"),
    }
}

/// Sends it; each step with what came of it, the last of them the first that failed.
pub(super) async fn send(
    url: &str,
    secret: &SecretString,
    event: &Event,
    now_s: u64,
    allowed: &Allowed,
) -> Vec<CheckStep> {
    let mut steps = Vec::new();
    let parsed = url::Url::parse(url);
    let Ok(parsed) = parsed else {
        let outcome = Err("this is not an address".to_owned());
        return vec![CheckStep { step: "address", subject: String::new(), outcome }];
    };
    let host = parsed.host_str().unwrap_or_default().to_owned();
    let port = parsed.port_or_known_default().unwrap_or(443);
    let address = match resolve(&host, port, allowed).await {
        Ok(address) => {
            steps.push(CheckStep { step: "name", subject: host.clone(), outcome: Ok(address.ip().to_string()) });
            address
        }
        Err(why) => {
            steps.push(CheckStep { step: "name", subject: host, outcome: Err(why) });
            return steps;
        }
    };
    let subject = format!("{host}:{port}");
    let outcome = match tokio::time::timeout(WITHIN, post(&parsed, address, secret, event, now_s)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
    };
    steps.push(CheckStep { step: "answer", subject, outcome });
    steps
}

async fn post(
    url: &url::Url,
    address: std::net::SocketAddr,
    secret: &SecretString,
    event: &Event,
    now_s: u64,
) -> Result<String, String> {
    let body = serde_json::to_string(event).map_err(|error| error.to_string())?;
    let signature = signature(secret, &event.id, now_s, &body);
    // Another address than the one that was judged is never gone to, by a redirect neither.
    let client = awc::Client::builder().disable_redirects().timeout(WITHIN).finish();
    let request = client
        .post(url.as_str())
        .address(address)
        .insert_header(("content-type", "application/json"))
        .insert_header(("user-agent", concat!("tidegate/", env!("CARGO_PKG_VERSION"))))
        .insert_header(("webhook-id", event.id.as_str()))
        .insert_header(("webhook-timestamp", now_s.to_string()))
        .insert_header(("webhook-signature", signature));
    let answer = request.send_body(body).await.map_err(|error| {
        // Its words may hold the whole address, which may be a secret.
        let words = error.to_string().replace(url.as_str(), "the address").replace(url.path(), "/…");
        words.chars().take(200).collect::<String>()
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(format!("answered {}", status.as_u16()));
    }
    if status.is_redirection() {
        return Err(format!("answered {}, which leads elsewhere; give the address that it leads to", status.as_u16()));
    }
    Err(format!("answered {}; it should be 200 to 299", status.as_u16()))
}

/// `v1,` and the signature in base 64. The secret is the bytes behind its prefix, or, where it is none of ours, itself.
fn signature(secret: &SecretString, id: &str, now_s: u64, body: &str) -> String {
    let text = secret.expose_secret();
    let key = text.strip_prefix(SECRET_PREFIX).and_then(|encoded| BASE64.decode(encoded).ok());
    let key = key.unwrap_or_else(|| text.as_bytes().to_vec());
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{now_s}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_signed_as_the_specification_has_it() {
        // The example of the Standard Webhooks libraries' own tests.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
        let signature = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn addresses_are_told_apart() {
        assert_eq!(complaint("https://alerts.example/x?y=1"), None);
        for bad in ["", "alerts.example", "ftp://alerts.example", "https://", "https://me:secret@alerts.example/"] {
            assert!(complaint(bad).is_some(), "{bad}");
        }
    }
}
