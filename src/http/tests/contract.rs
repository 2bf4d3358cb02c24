//! The documentation and the code say the same: every path, method, status and error code of one is in the other.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{http::Method, test::TestRequest};
use serde_json::Value;
use tidegate_actors::ports::AppendError;

use super::{Call, call, get, post};
use crate::http::{pages::OPENAPI, problem::KINDS};

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

fn operations(document: &Value) -> BTreeMap<(String, String), BTreeSet<u16>> {
    let paths = document["paths"].as_object().unwrap();
    let operation = |(path, methods): (&String, &Value)| {
        let methods: Vec<_> = methods
            .as_object()
            .unwrap()
            .iter()
            .map(|(method, operation)| {
                let statuses = operation["responses"].as_object().unwrap().keys().map(|status| status.parse().unwrap());
                ((path.clone(), method.clone()), statuses.collect())
            })
            .collect();
        methods
    };
    paths.iter().flat_map(operation).collect()
}

/// Requests that come to every status an operation has. 408 and 429 need time or many requests and are left out.
fn provoked() -> Vec<(&'static str, &'static str, Call)> {
    const MESSAGES: &str = "/v1/messages";
    const MESSAGE: &str = "/v1/messages/{id}";
    const BROADCASTS: &str = "/v1/broadcasts";
    const BROADCAST: &str = "/v1/broadcasts/{id}";
    const RECALL: &str = "/v1/broadcasts/{id}/recall";
    let broadcast = || post(r#"{"audience":"all","category":"price","title":"a","text":"b"}"#).to("/v1/broadcasts");
    let note = || post(r#"{"topic":"notes","data":{}}"#);
    vec![
        (MESSAGES, "post", note()),
        (MESSAGES, "post", post("{")),
        (MESSAGES, "post", note().header("authorization", "x")),
        (MESSAGES, "post", note().answering(Err(AppendError::KeyUnderWay))),
        (MESSAGES, "post", note().limits(|limits| limits.body_bytes = 1)),
        (MESSAGES, "post", note().kind("text/plain")),
        (MESSAGES, "post", post("{}")),
        (MESSAGES, "post", note().answering(Err(AppendError::Full))),
        (MESSAGES, "get", get("/v1/messages?id=order%207")),
        (MESSAGES, "get", get("/v1/messages")),
        (MESSAGES, "get", get("/v1/messages?id=x")),
        (MESSAGES, "get", get("/v1/messages?id=x").header("authorization", "x")),
        (MESSAGES, "get", get("/v1/messages?id=x").without_document()),
        (MESSAGE, "get", get("/v1/messages/gen-1763775403123-0")),
        (MESSAGE, "get", get("/v1/messages/x").header("authorization", "x")),
        (MESSAGE, "get", get("/v1/messages/other-1763775403123-0")),
        (MESSAGE, "get", get("/v1/messages/x")),
        (MESSAGE, "get", get("/v1/messages/away-1763775403123-0")),
        (BROADCASTS, "post", broadcast()),
        (BROADCASTS, "post", post("{").to("/v1/broadcasts")),
        (BROADCASTS, "post", broadcast().header("authorization", "x")),
        (BROADCASTS, "post", broadcast().without_broadcasts()),
        (BROADCASTS, "post", broadcast().limits(|limits| limits.body_bytes = 1)),
        (BROADCASTS, "post", broadcast().kind("text/plain")),
        (BROADCASTS, "post", post("{}").to("/v1/broadcasts")),
        (BROADCASTS, "post", broadcast().without_document()),
        (BROADCAST, "get", get("/v1/broadcasts/mine")),
        (BROADCAST, "get", get("/v1/broadcasts/mine").header("authorization", "x")),
        (BROADCAST, "get", get("/v1/broadcasts/theirs")),
        (BROADCAST, "get", get("/v1/broadcasts/none")),
        (BROADCAST, "get", get("/v1/broadcasts/away")),
        (RECALL, "post", post("").to("/v1/broadcasts/mine/recall")),
        (RECALL, "post", post("").to("/v1/broadcasts/mine/recall").header("authorization", "x")),
        (RECALL, "post", post("").to("/v1/broadcasts/theirs/recall")),
        (RECALL, "post", post("").to("/v1/broadcasts/none/recall")),
        (RECALL, "post", post("").to("/v1/broadcasts/away/recall")),
        ("/healthz/live", "get", get("/healthz/live")),
        ("/healthz/live", "head", call(TestRequest::with_uri("/healthz/live").method(Method::HEAD))),
        ("/healthz/ready", "get", get("/healthz/ready")),
        ("/healthz/ready", "get", get("/healthz/ready").readiness(|readiness| readiness.redis_is_up())),
        ("/healthz/ready", "head", call(TestRequest::with_uri("/healthz/ready").method(Method::HEAD))),
        ("/docs", "get", get("/docs")),
        ("/openapi.json", "get", get("/openapi.json")),
    ]
}

#[actix_web::test]
async fn every_status_is_documented_and_every_documented_one_is_served() {
    let documented = operations(&document());
    let mut served: BTreeMap<(String, String), BTreeSet<u16>> = BTreeMap::new();
    for (path, method, call) in provoked() {
        let answer = call.send().await;
        served.entry((path.to_owned(), method.to_owned())).or_default().insert(answer.status);
    }
    for (operation, statuses) in &documented {
        let found = served.remove(operation).unwrap_or_else(|| panic!("{operation:?} is documented and not served"));
        assert!(found.is_subset(statuses), "{operation:?} answers {found:?}, documented are {statuses:?}");
        let unseen: Vec<_> = statuses.difference(&found).filter(|status| ![408, 429].contains(*status)).collect();
        assert!(unseen.is_empty() || operation.1 == "head", "{operation:?} is never answered with {unseen:?}");
    }
    assert!(served.is_empty(), "not documented: {served:?}");
}

#[actix_web::test]
async fn other_methods_than_the_documented_ones_are_refused() {
    let documented = operations(&document());
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
        for path in documented.keys().map(|(path, _)| path).collect::<BTreeSet<_>>() {
            let request = TestRequest::with_uri(path).method(Method::from_bytes(method.as_bytes()).unwrap());
            let answer = call(request).send().await;
            let known = documented.contains_key(&(path.clone(), method.to_lowercase()));
            assert_eq!(answer.status != 405, known, "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn every_class_of_problem_is_explained() {
    let (openapi, docs) = (get("/openapi.json").send().await, get("/docs").send().await);
    assert_eq!(openapi.json()["openapi"], "3.1.0");
    let statuses: BTreeSet<u16> = operations(&document()).into_values().flatten().collect();
    for kind in KINDS {
        assert!(docs.body.contains(&format!("id=\"{}\"", kind.slug)), "/docs has no anchor {}", kind.slug);
        assert!(statuses.contains(&kind.status) || kind.status == 405, "{} is not documented", kind.status);
    }
    assert!(!docs.body.contains("src=\"http") && !docs.body.contains("href=\"http"), "the page loads nothing");
}

#[actix_web::test]
async fn every_error_code_is_documented() {
    let document = document();
    let errors = &document["components"]["schemas"]["Problem"]["properties"]["errors"];
    let documented: BTreeSet<&str> = errors["items"]["properties"]["code"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect();
    let sources = [
        include_str!("../json.rs"),
        include_str!("../key.rs"),
        include_str!("../envelope.rs"),
        include_str!("../cloudevents.rs"),
        include_str!("../batch.rs"),
    ];
    let mut used = BTreeSet::from(["id_reused", "key_reused"]);
    for source in sources {
        let source = source.split("#[cfg(test)]").next().unwrap();
        used.extend(source.split("Fault::new(\"").skip(1).map(|rest| rest.split('"').next().unwrap()));
    }
    for (source, before) in
        [(include_str!("../broadcasts.rs"), "code: \""), (include_str!("../../admin/broadcasts/compose.rs"), "wrong(")]
    {
        let source = source.split("#[cfg(test)]").next().unwrap();
        let code = |rest: &'static str| match before {
            "wrong(" => rest.split_once(", \"").filter(|(field, _)| !field.contains([')', ','])).map(|(_, rest)| rest),
            _ => Some(rest),
        };
        used.extend(source.split(before).skip(1).filter_map(code).map(|rest| rest.split('"').next().unwrap()));
    }
    assert_eq!(used, documented);
}

#[actix_web::test]
async fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}
