//! Input that is broken, too much or hostile: a clear refusal, never a 5xx, nothing appended.

use std::io::Write as _;

use actix_web::test::TestRequest;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::{call, post};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn note(data: &str) -> String {
    format!(r#"{{"topic":"notes","data":{data}}}"#)
}

#[actix_web::test]
async fn text_that_is_no_json_is_refused_with_its_place() {
    for (body, refusal) in [
        (&b""[..], "400"),
        (b" \n ", "400"),
        (b"topic=cars", "400 0: syntax"),
        (b"{\"topic\":\"notes\",\"data\":{\"a\":\"x\0y\"}}", "400 0:/data/a syntax"),
        (b"{\"topic\":\"notes\",\"data\":{\"a\":[\"x\xffy\"]}}", "400 0:/data/a/0 syntax"),
        (b"[{\"topic\":\"notes\",\"data\":{}},{\"topic\":\"notes\",\"data\":{\"b\":\"\xc3", "400 1:/data/b syntax"),
        (b"[{\"topic\":\"notes\",\"data\":{}},]", "400 1: syntax"),
        (b"[{\"topic\":\"notes\",\"data\":{}}", "400 0: syntax"),
        (b"[{\"topic\":\"notes\",\"data\":{}}]]", "400 0: syntax"),
        (b"{\"topic\":\"notes\",\"data\":{}}{\"topic\":\"notes\"}", "400 1: syntax"),
        (b"{\"topic\":\"x\",\"data\":{\"a\":}}", "400 0:/data/a syntax"),
        (b"[{\"topik\":\"x\",\"data\":{\"a\":}}]", "400 0: syntax"),
        (b"\xef\xbb\xbf{\"topic\":\"notes\",\"data\":{}}", "400 0: syntax"),
        (b"{\"topic\":\"notes\",\"data\":{\"a\":\"\\ud800\"}}", "422 0:/data/a lone_surrogate"),
    ] {
        assert_eq!(post(body).send().await.refusal(), refusal, "{}", String::from_utf8_lossy(body));
    }
}

#[actix_web::test]
async fn limits_are_kept() {
    let nested = |depth: usize| note(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
    let wide = |fields: usize| {
        let fields: Vec<_> = (0..fields).map(|field| format!("\"f{field}\":1")).collect();
        note(&format!("{{{}}}", fields.join(",")))
    };
    let many = |count: usize| format!("[{}]", vec![note("{}"); count].join(","));
    let lines = |count: usize| vec![note("{}"); count].join("\n");
    let long = |bytes: usize| note(&format!("{{\"a\":\"{}\"}}", "x".repeat(bytes)));
    assert_eq!(post(nested(64)).send().await.status, 202);
    assert_eq!(post(nested(65)).send().await.refusal(), format!("422 0:/data{} too_deep", "/a".repeat(64)));
    assert_eq!(post(wide(2000)).send().await.status, 202);
    assert_eq!(post(wide(2001)).send().await.refusal(), "422 0:/data/f2000 too_many_fields");
    assert_eq!(post(many(10_000)).send().await.status, 202);
    assert_eq!(post(many(10_001)).send().await.refusal(), "413");
    assert_eq!(post(lines(10_001)).kind("application/x-ndjson").send().await.refusal(), "413");
    assert_eq!(post(long(1024 * 1024 - 50)).send().await.status, 202);
    assert_eq!(post(long(1024 * 1024)).send().await.refusal(), "413 0: too_large");
    assert_eq!(post(long(10 * 1024 * 1024)).send().await.refusal(), "413");
}

#[actix_web::test]
async fn a_hundred_errors_are_enough() {
    let answer = post(format!("[{}]", vec!["1"; 250].join(","))).send().await;
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 100);
    assert_eq!(
        answer.json()["detail"],
        "250 messages were not accepted (the first 100 are listed), and so nothing of this request was stored."
    );
}

#[actix_web::test]
async fn hopelessly_deep_text_overflows_nothing() {
    for opening in ["[", "{\"a\":"] {
        let body = format!("[{{\"topic\":\"notes\",\"data\":{{\"a\":{}", opening.repeat(1_000_000));
        assert_eq!(post(body).limits(|limits| limits.body_bytes = 100 << 20).send().await.status, 400);
    }
    assert_eq!(post("[".repeat(5_000_000)).send().await.status, 400);
}

#[actix_web::test]
async fn gzip_is_unpacked_within_the_same_bounds() {
    let send = |body: Vec<u8>| post(body).header("content-encoding", "gzip");
    let answer = send(gzip(note("{\"a\":1.50}").as_bytes())).send().await;
    assert_eq!(&*answer.records()[0].data, "{\"a\":1.50}");
    let padded = format!("{}{}", note("{}"), " ".repeat(9 << 20));
    assert_eq!(send(gzip(padded.as_bytes())).send().await.status, 202);
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert_eq!(send(bomb).send().await.refusal(), "413");
    assert_eq!(send(b"no gzip".to_vec()).send().await.refusal(), "400");
    let mut cut = gzip(note("{}").as_bytes());
    cut.truncate(cut.len() - 3);
    assert_eq!(send(cut).send().await.refusal(), "400");
    let brotli = post("x").header("content-encoding", "br").send().await;
    assert_eq!((brotli.refusal().as_str(), brotli.header("accept-encoding")), ("415", Some("gzip")));
}

#[actix_web::test]
async fn other_kinds_of_body_are_named_what_is_read() {
    for kind in ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin-1", "é"] {
        assert_eq!(post(note("{}")).kind(kind).send().await.refusal(), "415", "{kind}");
    }
    assert_eq!(post(note("{}")).kind("Application/JSON;charset=\"UTF-8\"").send().await.status, 202);
}

const KINDS: [&str; 5] = [
    "application/json",
    "application/x-ndjson",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "text/plain",
];

fn answered(body: Vec<u8>, kind: &'static str, packed: bool, headers: Vec<(&'static str, Vec<u8>)>) -> u16 {
    let mut request = TestRequest::post().uri("/v1/messages").set_payload(if packed { gzip(&body) } else { body });
    for (name, value) in headers {
        if let Ok(value) = actix_web::http::header::HeaderValue::from_bytes(&value) {
            request = request.insert_header((name, value));
        }
    }
    let mut call = call(request).kind(kind);
    if packed {
        call = call.header("content-encoding", "gzip");
    }
    actix_web::rt::System::new().block_on(call.send()).status
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_come_to_a_server_error(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        kind in proptest::sample::select(&KINDS[..]),
        packed: bool,
    ) {
        prop_assert!(answered(body, kind, packed, Vec::new()) < 500);
    }

    #[test]
    fn no_message_comes_to_a_server_error(
        pieces in proptest::collection::vec(proptest::sample::select(&[
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "d83d", "\"topic\":", "\"notes\"", "\"cars\"", "\"data\":{",
            "\"key\":", "\"action\":\"delete\"", "1", "-", "e9", ".5", "null", "true", "\n", "é", "\0", " ",
        ][..]), 0..40),
        kind in proptest::sample::select(&KINDS[..]),
    ) {
        prop_assert!(answered(pieces.concat().into_bytes(), kind, false, Vec::new()) < 500);
    }

    #[test]
    fn no_header_comes_to_a_server_error(
        value in proptest::collection::vec(any::<u8>(), 0..40),
        name in proptest::sample::select(&[
            "authorization", "content-encoding", "idempotency-key", "ce-specversion", "ce-id", "ce-source", "traceparent",
            "x-request-id", "content-length",
        ][..]),
    ) {
        let body = b"{\"topic\":\"notes\",\"data\":{}}".to_vec();
        prop_assert!(answered(body, KINDS[0], false, vec![("ce-type", b"x".to_vec()), (name, value)]) < 500);
    }

    #[test]
    fn numbers_are_appended_digit_by_digit(number in "-?(0|[1-9][0-9]{0,80})(\\.[0-9]{1,80})?([eE][+-]?[0-9]{1,9})?") {
        let body = format!("{{\"topic\":\"notes\",\"key\":{number},\"data\":{{\"n\":{number}}}}}");
        let answer = actix_web::rt::System::new().block_on(post(body).send());
        prop_assert_eq!(&*answer.records()[0].data, format!("{{\"n\":{number}}}"));
        prop_assert_eq!(answer.records()[0].key.as_deref(), Some(number.as_str()));
    }
}
