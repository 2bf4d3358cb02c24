//! What a failed connection or call means, in a sentence with the remedy. Redis's own words name commands and keys, never
//! values; passwords never come here.

use redis::{ErrorKind, RedisError};

/// The sentence, where the cause is one that whoever runs Redis or Tidegate can do something about.
pub(crate) fn sentence(error: &RedisError) -> Option<String> {
    let text = error.to_string();
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Some("it refuses this user and password; put the right ones into `redis_url`".into());
    }
    match error.code() {
        Some("NOAUTH" | "WRONGPASS") => {
            return Some("it wants a user and password; put the right ones into `redis_url`".into());
        }
        Some("NOPERM") => {
            return Some(format!(
                "this user may not do it ({}); give it the rule in docs/operations.md, *Rights in Redis*",
                error.detail().unwrap_or("NOPERM")
            ));
        }
        Some("READONLY") => {
            return Some(
                "it is a replica, which takes no writes; give the address of the master, or of the sentinels".into(),
            );
        }
        Some("CLUSTERDOWN") => {
            return Some("the cluster does not serve all of its slots; `redis-cli --cluster check` says which".into());
        }
        Some("MOVED" | "ASK") => {
            return Some(
                "it is a node of a cluster, or slots are on the move; give redis+cluster://, and try again".into(),
            );
        }
        Some("NOREPLICAS") => {
            return Some(
                "it has fewer good replicas than `min-replicas-to-write`, so it takes no writes; look at them".into(),
            );
        }
        Some("MISCONF") => {
            return Some("it cannot write its files, so it takes no writes; look at its disk and log".into());
        }
        _ => {}
    }
    if text.contains("UnknownIssuer")
        || text.contains("BadSignature")
        || text.contains("SelfSigned")
        || text.contains("CaUsedAsEndEntity")
    {
        return Some(
            "its certificate is signed by nobody who is trusted here; give `redis_ca` the certificate of who signed it"
                .into(),
        );
    }
    if text.contains("NotValidForName") {
        return Some(
            "its certificate is for another name; put a name that is in the certificate into `redis_url`".into(),
        );
    }
    if text.contains("certificate expired") || text.contains("Expired") {
        return Some("its certificate has expired; renew it".into());
    }
    if text.contains("CertificateRequired") || text.contains("HandshakeFailure") {
        return Some("it wants a certificate of ours; give `redis_cert` and `redis_key`".into());
    }
    if text.contains("InvalidContentType") {
        return Some("it does not speak TLS at this port; give its TLS port, or begin `redis_url` with redis".into());
    }
    match error.kind() {
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::EmptySentinelList => {
            Some(error.detail().unwrap_or("no sentinel names the master").to_owned())
        }
        ErrorKind::InvalidClientConfig => error.detail().map(str::to_owned),
        ErrorKind::ClusterConnectionNotFound => {
            Some("no node of the cluster can be reached; are they running, and is `redis_url` right?".into())
        }
        _ => None,
    }
}

/// What a refused handshake means, by whether TLS was wanted.
pub(super) fn of_connecting(error: RedisError, tls: bool) -> RedisError {
    let hint = if tls && error.is_timeout() {
        "it does not answer a TLS handshake: is this its plain port? then begin `redis_url` with redis, or give its TLS port"
    } else if !tls && error.is_connection_dropped() && !error.is_connection_refusal() {
        "it closed the connection at once: is this its TLS port? then begin `redis_url` with rediss"
    } else {
        return error;
    };
    RedisError::from((ErrorKind::InvalidClientConfig, "wrong port", hint.to_owned()))
}
