//! Records of the stream's recent history: `--recent`.

use std::sync::Arc;

use tidegate::redis::{Redis, RedisAppender, recent};
use tidegate_actors::{
    message::Action,
    ports::{AppendRequest, Appender as _, NewRecord},
};

use super::{Site, route};

async fn append(site: &Site, records: Vec<NewRecord>) {
    let redis = Redis::open(&site.installation.redis.url(), "tidegate").unwrap();
    let appender = RedisAppender::new(&redis, Arc::default());
    let request = AppendRequest { application: "car-app".into(), records, idempotency: None };
    appender.append(request).await.unwrap();
}

fn record(topic: &str, number: usize) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        action: Action::Upsert,
        key: Some(number.to_string().into()),
        own_id: None,
        traceparent: None,
        data: format!("{{\"id\":{number},\"car_name\":\"car {number}\",\"stock\":\"{number}\"}}").into(),
    }
}

#[tokio::test]
async fn the_last_records_of_a_topic_are_found_however_rare_they_are() {
    let site = Site::new().await;
    let records = (1..=2_000).map(|number| record(if number % 600 == 0 { "cars" } else { "parts" }, number)).collect();
    append(&site, records).await;
    let redis = Redis::open(&site.installation.redis.url(), "tidegate").unwrap();
    let found = async |topic: &str, wanted| {
        let found = recent::messages(&redis, "car-app", topic, wanted).await.unwrap();
        found.into_iter().map(|(message, _)| message.key.unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found("cars", 2).await, ["1200", "1800"]);
    assert_eq!(found("cars", 9).await, ["600", "1200", "1800"]);
    assert_eq!(found("parts", 3).await, ["1998", "1999", "2000"]);
    assert!(found("rooms", 3).await.is_empty());
    // What a message is called is what its producer was told.
    let (message, generation) = recent::messages(&redis, "car-app", "cars", 1).await.unwrap().remove(0);
    let id = format!("{generation}-{}", message.id).parse().unwrap();
    let looked_up = tidegate::redis::lookup::message(&redis, "car-app", &id).await.unwrap();
    assert_eq!(looked_up, Some(message));
}

#[tokio::test]
async fn a_route_is_suggested_from_and_tried_on_what_the_stream_still_has() {
    let site = Site::new().await;
    site.begin();
    site.cars().await;
    append(&site, (1..=5).map(|number| record("cars", number)).collect()).await;
    let about = ["--application", "car-app", "--topic", "cars", "--destination", "sales", "--table", "cars"];
    let suggested = site.done(&[&["route", "suggest"][..], &about].concat());
    assert!(suggested.starts_with("# Suggested from 5 records of topic `cars`"), "{suggested}");
    let columns = "id = \"id\"\ncar_name = \"car_name\"\nstock = \"stock\"";
    site.write("sales.toml", &route("sales", "key = [\"id\"]", columns));
    let tried = site.done(&["route", "try", "sales.toml", "--recent", "2"]);
    assert!(tried.contains(": upsert, key [\"4\"]\n") && tried.ends_with("2 records: 2 upsert\n"), "{tried}");
}
