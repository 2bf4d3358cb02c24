//! CloudEvents in their three modes.

use tidegate_actors::message::Action;

use super::post;

const EVENT: &str = r#"{"specversion":"1.0","id":"A-1","source":"https://shop.example/7/cars","type":"com.example.car.update",
    "subject":"42","time":"2026-01-01T00:00:00Z","comexampleother":5,"data":{"name":"Civic","car_id":42}}"#;

#[actix_web::test]
async fn a_structured_event_is_a_message() {
    let answer = post(EVENT).kind("application/cloudevents+json; charset=utf-8").send().await;
    let [record] = answer.records() else { panic!("{answer:?}") };
    assert_eq!((&*record.topic, record.action), ("cars", Action::Update));
    assert_eq!(record.key.as_deref(), Some(r#""42""#));
    assert_eq!(record.own_id.as_deref(), Some("https://shop.example/7/cars A-1"));
    assert_eq!(&*record.data, r#"{"name":"Civic","car_id":42}"#);
    assert_eq!(answer.body, r#"{"id":"gen-1763775403123-0"}"#);
}

#[actix_web::test]
async fn a_batch_of_events_is_answered_with_a_list() {
    let batch = format!("[{EVENT},{}]", EVENT.replace("A-1", "A-2").replace(".update", ".seen"));
    let answer = post(batch).kind("application/cloudevents-batch+json").send().await;
    assert_eq!(answer.records()[1].action, Action::Upsert);
    assert_eq!(answer.body, r#"{"ids":["gen-1763775403123-0","gen-1763775403123-1"]}"#);
    let extension = EVENT.replace("comexampleother\":5", "topic\":\"notes\"");
    let answer = post(extension).kind("application/cloudevents+json").send().await;
    assert_eq!(&*answer.records()[0].topic, "notes");
}

#[actix_web::test]
async fn a_binary_event_has_its_attributes_in_headers() {
    let send = |body: &'static str| {
        post(body)
            .header("ce-specversion", "1.0")
            .header("ce-id", "A%201")
            .header("ce-source", "/cars")
            .header("ce-type", "car.delete")
            .header("ce-subject", "J%C3%A9")
    };
    let answer = send(r#"{"name":"x"}"#).send().await;
    let [record] = answer.records() else { panic!("{answer:?}") };
    assert_eq!((&*record.topic, record.action), ("cars", Action::Delete));
    assert_eq!(record.key.as_deref(), Some("\"Jé\""));
    assert_eq!(record.own_id.as_deref(), Some("/cars A 1"));
    assert_eq!(&*record.data, r#"{"name":"x"}"#);
    assert_eq!(&*send("").send().await.records()[0].data, "{}");
    assert_eq!(send("").header("ce-type", "car.made").send().await.refusal(), "422 0:/data required");
    assert_eq!(send("[1]").send().await.refusal(), "422 0: type");
    assert_eq!(send("{\"a\":1,\"a\":1}").send().await.refusal(), "422 0:/a duplicate_name");
    assert_eq!(send("{").send().await.refusal(), "400 0: syntax");
    assert_eq!(send("{}").header("ce-subject", "%ff").send().await.refusal(), "400");
    assert_eq!(send("{}").kind("text/plain").send().await.refusal(), "415");
}

#[actix_web::test]
async fn an_event_that_is_none_is_refused_with_its_place() {
    for (from, to, refusal) in [
        (r#""specversion":"1.0","#, "", "422 0:/specversion required"),
        ("\"1.0\"", "\"0.3\"", "422 0:/specversion specversion"),
        (r#""id":"A-1","#, "", "422 0:/id required"),
        (r#""id":"A-1","#, r#""id":"","#, "422 0:/id required"),
        (r#""id":"A-1","#, r#""id":"A-1","id":"A-1","#, "422 0:/id duplicate_name"),
        (r#""id":"A-1","#, r#""id":1,"#, "422 0:/id type"),
        ("\"comexampleother\":5", "\"comexampleother\":{}", "422 0:/comexampleother type"),
        ("\"comexampleother\":5", "\"datacontenttype\":\"text/xml\"", "422 0:/datacontenttype datacontenttype"),
        ("\"data\":", "\"data_base64\":\"\",\"data\":", "422 0:/data_base64 data_base64"),
        ("7/cars", "7/boats", "422 0:/topic unknown_topic"),
        ("\"subject\":\"42\"", "\"subject\":\"43\"", "422 0:/key key_mismatch"),
        (r#"{"name":"Civic","car_id":42}"#, "[]", "422 0:/data type"),
    ] {
        let event = EVENT.replace(from, to);
        assert_eq!(post(event).kind("application/cloudevents+json").send().await.refusal(), refusal, "{to}");
    }
}
