//! What a producer can rely on: idempotency, answers when the log does not take records, request ids, draining.

use tidegate_actors::ports::{AppendError, Appended};

use super::{get, id, post};

const NOTE: &str = r#"{"topic":"notes","data":{}}"#;

#[actix_web::test]
async fn an_idempotency_key_goes_with_the_digest_of_the_body() {
    let first = post(NOTE).header("idempotency-key", "day 1").send().await;
    let other = post(format!("{NOTE} ")).header("idempotency-key", "day 1").send().await;
    let (key, digest) = first.appended[0].idempotency.clone().unwrap();
    assert_eq!(&*key, "day 1");
    assert_ne!(digest, other.appended[0].idempotency.clone().unwrap().1);
    assert_eq!(first.header("idempotency-replayed"), None);
    let replayed = Ok(Appended { ids: vec![id(5)], replayed: true });
    let again = post(NOTE).header("idempotency-key", "day 1").answering(replayed).send().await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, Some("true")));
    assert_eq!(again.body, r#"{"id":"gen-1763775403123-5"}"#);
    for key in ["", "é", &"x".repeat(256)] {
        assert_eq!(post(NOTE).header("idempotency-key", key).send().await.refusal(), "400", "{key}");
    }
    let longest = post(NOTE).header("idempotency-key", &"x".repeat(255)).send().await;
    assert_eq!(longest.status, 202);
}

#[actix_web::test]
async fn the_same_body_of_another_binary_event_is_another_request() {
    let digest = async |id: &str| {
        let event = post("{}").header("ce-specversion", "1.0").header("ce-id", id).header("ce-source", "/notes");
        let answer = event.header("ce-type", "x").header("idempotency-key", "k").send().await;
        answer.appended[0].idempotency.clone().unwrap().1
    };
    assert_ne!(digest("1").await, digest("2").await);
    assert_eq!(digest("1").await, digest("1").await);
}

#[actix_web::test]
async fn a_failed_append_says_what_to_do() {
    for (error, status, retry_after) in [
        (AppendError::Unavailable("redis://user:secret@host".to_owned()), 503, Some("2")),
        (AppendError::Full, 503, Some("15")),
        (AppendError::Overloaded, 503, Some("1")),
        (AppendError::KeyUnderWay, 409, Some("1")),
        (AppendError::KeyReused, 422, None),
        (AppendError::IdReused { index: 3 }, 422, None),
    ] {
        let answer = post(NOTE).answering(Err(error.clone())).send().await;
        assert_eq!((answer.status, answer.header("retry-after")), (status, retry_after), "{error:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(!answer.body.contains("secret"), "{}", answer.body);
        if let AppendError::IdReused { index } = error {
            let error = &answer.json()["errors"][0];
            assert_eq!((&error["index"], &error["pointer"]), (&index.into(), &"/id".into()));
        }
    }
}

#[actix_web::test]
async fn every_answer_has_a_request_id() {
    for sane in ["7f3c", "2026-11-22T01:02:03/abc+d=_."] {
        assert_eq!(get("/nowhere").header("x-request-id", sane).send().await.header("x-request-id"), Some(sane));
    }
    for other in ["", "a b", "<x>", "é", &"x".repeat(129)] {
        let answer = post(NOTE).header("x-request-id", other).send().await;
        let given = answer.header("x-request-id").unwrap();
        assert!(given.len() == 32 && given.bytes().all(|byte| byte.is_ascii_hexdigit()), "{given}");
    }
}

#[actix_web::test]
async fn ready_is_serving_with_redis_and_not_draining() {
    let starting = get("/healthz/ready").send().await;
    assert_eq!((starting.status, starting.json()["reason"].as_str()), (503, Some("starting")));
    let ready = get("/healthz/ready").readiness(|readiness| readiness.redis_is_up()).send().await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")));
    let down = get("/healthz/ready").readiness(|readiness| {
        readiness.redis_is_up();
        readiness.redis_is_down("no answer for 2 s");
    });
    assert_eq!(down.send().await.json()["reason"], "no answer for 2 s");
    let drain = |readiness: &super::Readiness| {
        readiness.redis_is_up();
        readiness.drain();
    };
    assert_eq!(get("/healthz/ready").readiness(drain).send().await.json()["reason"], "draining");
    assert_eq!(get("/healthz/live").readiness(drain).send().await.status, 200);
    assert_eq!(post(NOTE).readiness(drain).send().await.status, 202);
}
