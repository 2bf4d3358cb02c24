//! One message, arrays and NDJSON: what is appended for them, and which rules they must keep.

use tidegate_actors::message::Action;

use super::{call, get, key, post};

#[actix_web::test]
async fn a_message_is_appended_as_the_bytes_that_came() {
    let body = r#" {"topic":"cars","key":42,"data":{ "name" : "A\u0000 é 😀", "price": 123456789012345678901234567890.10,
        "big":1e400,"small":-0.0 },"id":"order 7"} "#;
    let answer =
        post(body).header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").send().await;
    let [record] = answer.records() else { panic!("{answer:?}") };
    assert_eq!(answer.body, r#"{"id":"gen-1763775403123-0"}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(&*answer.appended[0].application, "car-app");
    assert_eq!((&*record.topic, record.action), ("cars", Action::Upsert));
    assert_eq!(record.key.as_deref(), Some("42"));
    assert_eq!(record.own_id.as_deref(), Some("order 7"));
    assert_eq!(record.traceparent.as_deref(), Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    let (start, end) = (body.find("{ \"name").unwrap(), body.find(",\"id\"").unwrap());
    assert_eq!(&*record.data, &body[start..end]);
}

#[actix_web::test]
async fn many_are_answered_in_order() {
    let array = r#"[{"topic":"notes","data":{"n":1}},{"topic":"notes","data":{"n":2}}]"#;
    let lines = "{\"topic\":\"notes\",\"data\":{\"n\":1}}\r\n\n{\"topic\":\"notes\",\"data\":{\"n\":2}}\n";
    for answer in [post(array).send().await, post(lines).kind("application/x-ndjson; charset=utf-8").send().await] {
        let data: Vec<_> = answer.records().iter().map(|record| &*record.data).collect();
        assert_eq!(data, [r#"{"n":1}"#, r#"{"n":2}"#]);
        assert_eq!(answer.body, r#"{"ids":["gen-1763775403123-0","gen-1763775403123-1"]}"#);
    }
    let one = post(r#"[{"topic":"notes","data":{}}]"#).send().await;
    assert_eq!(one.body, r#"{"ids":["gen-1763775403123-0"]}"#);
}

#[actix_web::test]
async fn the_action_follows_from_the_key() {
    for (members, action) in [
        (r#""data":{}"#, Action::Insert),
        (r#""key":"a","data":{}"#, Action::Upsert),
        (r#""key":"a","data":{},"action":"insert""#, Action::Insert),
        (r#""key":"a","action":"delete""#, Action::Delete),
        (r#""key":"a","action":"update","data":{}"#, Action::Update),
        (r#""action":"update","data":{"car_id":7}"#, Action::Update),
        (r#""action":"delete","data":{"car_id":7}"#, Action::Delete),
        (r#""key":{"car_id":7},"data":{"car_id":7.0}"#, Action::Upsert),
    ] {
        let answer = post(format!(r#"{{"topic":"cars",{members}}}"#)).send().await;
        assert_eq!(answer.records()[0].action, action, "{members}");
    }
}

#[actix_web::test]
async fn a_delete_without_data_has_an_empty_record() {
    let answer = post(r#"{"topic":"cars","key":"a","action":"delete"}"#).send().await;
    assert_eq!(&*answer.records()[0].data, "{}");
}

#[actix_web::test]
async fn a_composite_key_is_sorted_and_compact() {
    let answer = post(r#"{"topic":"orders","key":{"no": 7, "branch":"J\u004bT"},"data":{"no":7.0}}"#).send().await;
    assert_eq!(answer.records()[0].key.as_deref(), Some(r#"{"branch":"JKT","no":7}"#));
}

#[actix_web::test]
async fn what_breaks_a_rule_is_refused_with_its_place() {
    for (body, refusal) in [
        (r#"{"topic":"car","data":{}}"#, "422 0:/topic unknown_topic"),
        (r#"{"data":{}}"#, "422 0:/topic required"),
        (r#"{"topic":"notes"}"#, "422 0:/data required"),
        (r#"{"topic":7,"data":{}}"#, "422 0:/topic type"),
        (r#"{"topic":"notes","data":[]}"#, "422 0:/data type"),
        (r#"{"topic":"notes","data":null}"#, "422 0:/data type"),
        (r#"{"topic":"notes","data":{},"action":"remove"}"#, "422 0:/action unknown_action"),
        (r#"{"topic":"notes","data":{},"key":null}"#, "422 0:/key type"),
        (r#"{"topic":"notes","data":{},"key":{"a":[1]}}"#, "422 0:/key/a type"),
        (r#"{"topic":"notes","data":{},"id":""}"#, "422 0:/id id"),
        (r#"{"topic":"notes","data":{},"id":7}"#, "422 0:/id type"),
        (r#"{"topic":"notes","dta":{}}"#, "422 0:/dta unknown_member"),
        (r#"{"topic":"notes","topic":"notes","data":{}}"#, "422 0:/topic duplicate_name"),
        (r#"{"topic":"cars","key":42,"data":{"car_id":43}}"#, "422 0:/key key_mismatch"),
        (r#"{"topic":"cars","key":42,"data":{"car_id":null}}"#, "422 0:/key key_mismatch"),
        (r#"{"topic":"orders","key":{"no":7,"branch":"JKT"},"data":{"branch":"BDG"}}"#, "422 0:/key key_mismatch"),
        (r#"{"topic":"cars","action":"update","data":{"id":1}}"#, "422 0:/key key_required"),
        (r#"{"topic":"cars","action":"upsert","data":{}}"#, "422 0:/key key_required"),
        (r#"{"topic":"notes","action":"delete"}"#, "422 0:/key key_required"),
        (r#"{"topic":"orders","key":{"NO":7},"data":{"No":8}}"#, "422 0:/key key_mismatch"),
        (r#"{"topic":"orders","action":"update","data":{"no":7}}"#, "422 0:/key key_required"),
        ("7", "422 0: type"),
        ("[7]", "422 0: type"),
        ("[]", "422"),
        (r#"[{"topic":"notes","data":{},"id":"a"},{"topic":"notes","data":{},"id":"a"}]"#, "422 1:/id duplicate_id"),
        (
            r#"[{"topic":"notes","data":{}}, {"topic":"x","data":{"a":[{}]}}, {"topic":"notes","data":{"a":1,"a":2}}, 1]"#,
            "422 1:/topic unknown_topic 2:/data/a duplicate_name 3: type",
        ),
    ] {
        assert_eq!(post(body).send().await.refusal(), refusal, "{body}");
    }
}

#[actix_web::test]
async fn a_key_is_found_by_path_and_what_is_no_field_is_not_asked_for() {
    for (body, refusal) in [
        (r#"{"topic":"visits","action":"update","data":{"visit":{"numbers":[7]}}}"#, "202"),
        (r#"{"topic":"visits","action":"update","data":{"visit":{"numbers":[]}}}"#, "422 0:/key key_required"),
        (r#"{"topic":"visits","action":"update","data":{"visit":null}}"#, "422 0:/key key_required"),
        (r#"{"topic":"visits","action":"delete","key":7}"#, "202"),
        (r#"{"topic":"visits","key":7,"data":{"visit":{"numbers":["7.0"]}}}"#, "202"),
        (r#"{"topic":"visits","key":7,"data":{"visit":{"numbers":[8]}}}"#, "422 0:/key key_mismatch"),
        (r#"{"topic":"visits","key":{"no":7},"data":{"visit":{"numbers":[8]}}}"#, "422 0:/key key_mismatch"),
        (r#"{"topic":"events","action":"update","data":{"event":7}}"#, "422 0:/key key_required"),
        (r#"{"topic":"events","key":7,"data":{"event":8}}"#, "202"),
        (r#"{"topic":"sums","action":"update","data":{"a":1}}"#, "202"),
        (r#"{"topic":"sums","key":7,"data":{"a":1,"b":2,"sum":8}}"#, "202"),
    ] {
        let answer = post(body).send().await;
        let outcome = if answer.status == 202 { "202".to_owned() } else { answer.refusal() };
        assert_eq!(outcome, refusal, "{body}");
    }
    let answer = post(r#"{"topic":"visits","action":"update","data":{}}"#).send().await;
    assert!(answer.body.contains("or the field `visit.numbers[0]` in `data`, which route `visits`"), "{}", answer.body);
}

#[actix_web::test]
async fn refusals_are_worth_reading() {
    let answer = post(r#"{"topic":"crs","data":{}}"#).send().await;
    insta::assert_snapshot!(answer.body, @r#"{"type":"/docs#invalid-message","title":"A message is not accepted","status":422,"detail":"/topic: `car-app` has no topic `crs`; did you mean `cars`?","errors":[{"index":0,"pointer":"/topic","code":"unknown_topic","message":"`car-app` has no topic `crs`; did you mean `cars`?"}]}"#);
    let answer = post(r#"[{"topic":"notes","dat":{}},{"topic":"cars","key":1,"data":{"car_id":2}}]"#).send().await;
    insta::assert_snapshot!(answer.body, @r#"{"type":"/docs#invalid-message","title":"A message is not accepted","status":422,"detail":"2 messages were not accepted, and so nothing of this request was stored.","errors":[{"index":0,"pointer":"/dat","code":"unknown_member","message":"a message has no such member; did you mean `data`? (it has topic, action, key, data, id)"},{"index":1,"pointer":"/key","code":"key_mismatch","message":"`key` and the field `car_id` of `data` differ; both are the key column `id` of route `rooms-cars`"}]}"#);
    let answer = post("{\"topic\":\"notes\",\n\"data\":{\"a\":tru}}").send().await;
    insta::assert_snapshot!(answer.body, @r#"{"type":"/docs#not-json","title":"The body is not JSON","status":400,"detail":"Expected a value such as `true` (line 2, column 13).","errors":[{"index":0,"pointer":"/data/a","code":"syntax","message":"expected a value such as `true` (line 2, column 13)"}]}"#);
    let answer = post("{\"topic\":\"notes\",\"data\":{}}\n{\"topic\":").kind("application/x-ndjson").send().await;
    insta::assert_snapshot!(answer.body, @r#"{"type":"/docs#not-json","title":"The body is not JSON","status":400,"detail":"1 message was not accepted, and so nothing of this request was stored.","errors":[{"index":1,"pointer":"/topic","code":"syntax","message":"expected a value, the text ends (line 2, column 10)"}]}"#);
    let answer = post("{\"topic\":\"notes\",\"data\":{}}\n{\"topic\":\"notes\",\"data\":{}}").send().await;
    insta::assert_snapshot!(answer.body, @r#"{"type":"/docs#not-json","title":"The body is not JSON","status":400,"detail":"Expected the end of the body (one message a line is sent as `application/x-ndjson`), found `{` (line 2, column 1).","errors":[{"index":1,"pointer":"","code":"syntax","message":"expected the end of the body (one message a line is sent as `application/x-ndjson`), found `{` (line 2, column 1)"}]}"#);
}

#[actix_web::test]
async fn each_line_of_ndjson_is_read_for_itself() {
    let lines =
        "{\"topic\":\"notes\",\"data\":{}}\n{\"topic\":\n\"notes\",\"data\":{}}\n{\"topic\":\"x\",\"data\":{}}\n{} {}";
    let answer = post(lines).kind("application/x-ndjson").send().await;
    assert_eq!(answer.refusal(), "400 1:/topic syntax 2: syntax 3:/topic unknown_topic 4: syntax");
}

#[actix_web::test]
async fn only_an_active_key_opens_the_door() {
    for (header, status) in [
        (String::new(), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer tg_live_".to_owned(), 401),
        (format!("Bearer {}x", *super::KEY), 401),
        (format!("Bearer {}", super::KEY.replace('s', "t")), 401),
        (format!("Bearer {}", key("unknown")), 401),
        (format!("Bearer {}", key("revoked")), 401),
        (format!("Bearer {}", key("expired")), 401),
        (format!("bearer {}", *super::KEY), 202),
    ] {
        let answer = post(r#"{"topic":"notes","data":{}}"#).header("authorization", &header).send().await;
        assert_eq!(answer.status, status, "{header}: {}", answer.body);
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"tidegate\""));
        }
    }
    let early = post("{}").without_document().send().await;
    assert_eq!((early.refusal().as_str(), early.header("retry-after")), ("503", Some("2")));
}

#[actix_web::test]
async fn messages_are_found_by_either_id() {
    for (path, status) in [
        ("/v1/messages/gen-1763775403123-0", 200),
        ("/v1/messages?id=order%207", 200),
        ("/v1/messages?id=order+7", 200),
        ("/v1/messages/gen-1763775403123-9", 404),
        ("/v1/messages/other-1763775403123-0", 403),
        ("/v1/messages/away-1763775403123-0", 503),
        ("/v1/messages/nonsense", 404),
        ("/v1/messages/%ff", 404),
        ("/v1/messages?id=order8", 404),
        ("/v1/messages?id=", 400),
        ("/v1/messages", 400),
        ("/v2/messages", 404),
        ("/", 404),
    ] {
        let answer = get(path).send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(!answer.body.contains("secret"));
        if status == 200 {
            let message = r#"{"id":"gen-1763775403123-0","own_id":"order 7","topic":"cars","action":"upsert","key":42,"data":{"price":1.00000000000000000000001},"accepted_at":"2025-11-22T01:36:43.123Z","deliveries":[null]}"#;
            assert_eq!(answer.body, message);
        }
    }
}

#[actix_web::test]
async fn other_methods_are_told_which_there_are() {
    use actix_web::{http::Method, test::TestRequest};
    for (method, path, allowed) in [
        (Method::DELETE, "/v1/messages", "GET, POST"),
        (Method::POST, "/v1/messages/gen-1-0", "GET"),
        (Method::POST, "/docs", "GET"),
        (Method::PUT, "/openapi.json", "GET"),
        (Method::POST, "/healthz/ready", "GET, HEAD"),
    ] {
        let answer = call(TestRequest::with_uri(path).method(method)).send().await;
        assert_eq!((answer.refusal().as_str(), answer.header("allow")), ("405", Some(allowed)), "{path}");
    }
}

#[actix_web::test]
async fn a_record_keeps_to_the_schema_of_its_topic() {
    let one = |data: &str| format!(r#"{{"topic":"readings","data":{data}}}"#);
    let good = one(r#"{"at":1,"celsius":21.5,"tags":["a"]}"#);
    assert_eq!(post(good.clone()).send().await.records().len(), 1);
    let bad = one(r#"{"celsius":-300,"tags":["a",7]}"#);
    let answer = post(format!("[{good},{bad}]")).send().await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let json = answer.json();
    let told = |place: &serde_json::Value| (place["index"].as_u64(), place["code"].clone(), place["pointer"].clone());
    let mut places: Vec<_> = json["errors"].as_array().unwrap().iter().map(told).collect();
    places.sort_by_key(|(_, _, pointer)| pointer.to_string());
    let at = |pointer: &str| (Some(1), "schema".into(), pointer.into());
    assert_eq!(places, [at("/data"), at("/data/celsius"), at("/data/tags/1")]);
    assert!(json["detail"].as_str().unwrap().starts_with("1 message was not accepted"), "{json}");
    assert!(!json.to_string().contains("-300"), "{json}");
    assert!(answer.appended.is_empty(), "nothing of the request was stored");
    let update = r#"{"topic":"readings","key":1,"action":"update","data":{"celsius":3}}"#;
    assert_eq!(post(update).send().await.status, 202, "an update may lack what a record must have");
}
