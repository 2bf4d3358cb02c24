//! Pages of deliveries, searches, and a message's whole life.

use tidegate::{
    admin::{
        deliveries::{Bound, Condition, Field, Query, Row, State, look},
        messages::life,
    },
    redis::lookup,
};
use tidegate_actors::{
    message::StreamId,
    ports::{Command, EventLog as _},
};

use super::*;

/// Without a limit of time: what is found does not depend on how busy the machine is.
const BOUND: Bound = Bound { rows: 10, entries: 10_000, time: Duration::from_secs(20) };

impl Scene {
    async fn rows(&self, query: &Query) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut cursor = None;
        for _ in 0..1_000 {
            let page = look(&self.redis, &self.document, query, cursor.as_ref(), BOUND).await.unwrap();
            assert!(page.looked <= page.of.max(page.looked));
            rows.extend(page.rows);
            cursor = page.next;
            if cursor.is_none() {
                return rows;
            }
        }
        panic!("a list without an end");
    }
}

#[tokio::test]
async fn a_page_tells_what_came_and_what_was_sent() {
    let mut scene = Scene::new().await;
    let again = NewRecord { own_id: None, ..record("cars", 1, "Xenia") };
    let ids = scene.append("car-app", vec![record("cars", 1, "Avanza"), record("bikes", 2, "Beat"), again]).await;
    scene.deliver("car-app", "rooms", (&ids[0], &ids[2]), 3, &["r1", "r3"]).await;
    let page = look(&scene.redis, &scene.document, &Query::default(), None, BOUND).await.unwrap();
    assert_eq!((page.next.is_none(), page.of, page.looked), (true, 3, 3));
    let short: Vec<_> = page.rows.iter().map(|row| (row.route.as_str(), row.status, row.sent_later)).collect();
    assert_eq!(
        short,
        [
            ("r1-name", State::Delivered, true),
            ("r2-name", State::Pending, false),
            ("r3-name", State::Delivered, false),
            ("r1-name", State::Delivered, true),
            ("r2-name", State::Pending, false),
        ]
    );
    let bike = &page.rows[2];
    assert_eq!((bike.host.as_str(), bike.table.as_str(), bike.key.as_deref()), ("10.0.0.5:5432", "bikes", Some("2")));
    assert_eq!(bike.sent.as_ref().unwrap().get(), r#"{"id":2,"title":"Beat"}"#);
    assert_eq!(bike.data, r#"{"id":2,"name":" Beat ","color":"red"}"#);
    assert_eq!((bike.attempts, bike.took_us, bike.sent_ms), (Some(2), Some(1_500), Some(1_748_764_800_001)));

    // Two changes of one key in one batch: what was sent is told exactly by a look at the message.
    let first = life(&scene.redis, &scene.document, "car-app", &ids[0]).await.unwrap().unwrap();
    assert_eq!(first.ways[0].row.folded_into, Some(ids[2].to_string()));
    let second = life(&scene.redis, &scene.document, "car-app", &ids[2]).await.unwrap().unwrap();
    assert_eq!(second.ways[0].row.sent.as_ref().unwrap().get(), r#"{"id":1,"title":"Xenia"}"#);
    let batch = second.ways[0].batch.as_ref().unwrap();
    assert_eq!((batch.node.as_deref(), batch.entries, batch.attempts), (Some("node-a"), 3, 2));
    let compared = second.ways[0].comparison.as_ref().unwrap();
    let left_out: Vec<_> = compared.received.iter().filter(|field| field.columns.is_empty()).collect();
    assert_eq!((left_out.len(), left_out[0].path.as_str()), (1, "color"));
    assert!(life(&scene.redis, &scene.document, "shop", &ids[0]).await.unwrap().is_none());
}

#[tokio::test]
async fn pages_go_on_where_they_ended_while_records_come_in() {
    let scene = Scene::new().await;
    let mut expected = Vec::new();
    for n in 0..40 {
        let application = if n % 3 == 0 { "shop" } else { "car-app" };
        expected.push(scene.append_one(application, "bikes", n, "x").await.to_string());
    }
    expected.reverse();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = look(&scene.redis, &scene.document, &Query::default(), cursor.as_ref(), BOUND).await.unwrap();
        assert!(page.rows.len() <= 10);
        seen.extend(page.rows.into_iter().map(|row| row.id));
        // What comes in meanwhile stands above.
        scene.append_one("car-app", "cars", 99, "new").await;
        cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if cursor.is_none() {
            break;
        }
    }
    let ids: Vec<StreamId> = seen.iter().map(|id| id.parse::<MessageId>().unwrap().0.id).collect();
    assert!(ids.is_sorted_by(|a, b| a >= b), "newest first");
    assert_eq!(seen.len(), 40);
    let (mut seen, mut all) = (seen, expected);
    seen.sort();
    all.sort();
    assert_eq!(seen, all, "each once");
}

#[tokio::test]
async fn filters_take_what_they_name() {
    let mut scene = Scene::new().await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(scene.append_one("car-app", if n % 5 == 0 { "bikes" } else { "cars" }, n, &format!("Car {n}")).await);
    }
    let shop = scene.append_one("shop", "cars", 7, "Shop").await;
    scene.deliver("car-app", "rooms", (&ids[0], &ids[19]), 20, &["r1", "r3"]).await;
    let count = async |query: Query| scene.rows(&query).await.len();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(count(Query::default()).await, 6 + 24 * 2 + 1);
    assert_eq!(count(Query { application: text("shop"), ..Query::default() }).await, 1);
    assert_eq!(count(Query { topic: text("bikes"), ..Query::default() }).await, 6);
    assert_eq!(count(Query { destination: text("halls"), ..Query::default() }).await, 24);
    assert_eq!(count(Query { route: text("r3-name"), ..Query::default() }).await, 6);
    assert_eq!(count(Query { table: text("cars"), application: text("car-app"), ..Query::default() }).await, 48);
    assert_eq!(count(Query { key: text("7"), ..Query::default() }).await, 3);
    assert_eq!(count(Query { own_id: text("own-cars-8"), ..Query::default() }).await, 2);
    assert_eq!(count(Query { status: Some(State::Delivered), ..Query::default() }).await, 20);
    assert_eq!(count(Query { status: Some(State::Pending), ..Query::default() }).await, 35);
    let by_id = scene.rows(&Query { id: Some(shop.clone()), ..Query::default() }).await;
    assert_eq!((by_id.len(), by_id[0].application.as_str()), (1, "shop"));
    let (from_ms, to_ms) = (Some(ids[10].0.id.ms), Some(ids[20].0.id.ms));
    let within = scene.rows(&Query { from_ms, to_ms, ..Query::default() }).await;
    assert!(within.iter().all(|row| row.accepted_ms >= from_ms.unwrap() && row.accepted_ms < to_ms.unwrap()));
    assert!(!within.is_empty());
    let since = scene.rows(&Query { since: Some(ids[28].0.id), ..Query::default() }).await;
    assert_eq!(
        since.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(),
        [shop.to_string(), ids[29].to_string(), ids[29].to_string()]
    );
    let field = Field::new("name", Condition::Contains, "car 2").ok();
    let destination = text("rooms");
    assert_eq!(count(Query { field, destination, ..Query::default() }).await, 1 + 10);
}

#[tokio::test]
async fn a_search_goes_on_in_steps_and_says_how_far_it_is() {
    let scene = Scene::new().await;
    for chunk in 0..10_u64 {
        let records = (0..500).map(|n| record("cars", chunk * 500 + n, "x")).collect();
        scene.append("car-app", records).await;
    }
    let query = Query { field: Field::new("id", Condition::Is, "3").ok(), ..Query::default() };
    let bound = Bound { entries: 700, ..BOUND };
    let (mut steps, mut cursor, mut found, mut looked) = (0, None, 0, 0);
    loop {
        let page = look(&scene.redis, &scene.document, &query, cursor.as_ref(), bound).await.unwrap();
        assert_eq!(page.of, 5_000);
        assert!(page.looked > looked, "it gets on");
        looked = page.looked;
        found += page.rows.len();
        steps += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((found, looked), (2, 5_000));
    assert!((6..=9).contains(&steps), "{steps}");
}

#[tokio::test]
async fn dead_letters_and_what_became_of_them_are_told() {
    let mut scene = Scene::new().await;
    let records = (0..5).map(|n| record("cars", n, "x")).collect();
    let ids = scene.append("car-app", records).await;
    let letters: Vec<_> = (0..4).map(|n| letter("car-app", &ids[n], "r1", n as u64)).collect();
    scene.bury("rooms", &letters).await;
    assert_eq!(scene.rows(&Query { status: Some(State::Dead), ..Query::default() }).await.len(), 0, "not passed yet");
    scene.deliver("car-app", "rooms", (&ids[0], &ids[4]), 5, &["r1"]).await;
    let mut superseded = letters[3].clone();
    superseded.superseded_by = Some(ids[4].0.id);
    scene.bury("rooms", &[superseded]).await;
    let dead = scene.rows(&Query { status: Some(State::Dead), ..Query::default() }).await;
    assert_eq!(dead.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), [2, 1, 0].map(|n| ids[n].to_string()));
    assert_eq!(dead[2].error.as_ref().map(|error| error.code.as_str()), Some("unique"));
    assert_eq!(scene.rows(&Query { status: Some(State::Superseded), ..Query::default() }).await.len(), 1);

    // Two are taken back: one written, one given up.
    let lane = lane("car-app", "rooms");
    let log = scene.logs.get_mut("rooms").unwrap();
    for (place, command) in [
        Command::Redrive { dead: letters[0].dead.clone(), force: false, data: None },
        Command::Discard { dead: letters[1].dead.clone(), reason: None },
    ]
    .into_iter()
    .enumerate()
    {
        tidegate::redis::dead::push(&scene.redis, "car-app", "rooms0000001", &command).await.unwrap();
        let newest = log.view(&lane).await.unwrap().generations.pop().unwrap().generation;
        let advance = Advance {
            lane: lane.clone(),
            owner: "me".into(),
            version: 0,
            newest,
            to: ids[4].0.clone(),
            sides: vec![],
            part: "main".into(),
            known: vec![],
            history: None,
            void: vec![letters[place].dead.clone()],
        };
        log.advance(&advance).await.unwrap();
        log.finish(&lane, &command).await.unwrap();
    }
    let rows = scene.rows(&Query { destination: Some("rooms".into()), ..Query::default() }).await;
    let states: Vec<_> = rows.iter().map(|row| (row.status, row.redriven)).collect();
    assert_eq!(
        states,
        [
            (State::Delivered, false),
            (State::Superseded, false),
            (State::Dead, false),
            (State::Discarded, false),
            (State::Delivered, true),
        ]
    );
    assert_eq!(rows[3].sent.as_ref().map(|sent| sent.get()), None);

    // A list and a look at one message agree, where both know the state.
    for (row, id) in rows.iter().zip(ids.iter().rev()) {
        let message = lookup::message(&scene.redis, "car-app", id).await.unwrap().unwrap();
        let told = lookup::deliveries(&scene.redis, &scene.document, "car-app", id, &message).await.unwrap();
        if row.status != State::Discarded {
            assert_eq!(serde_json::to_value(told[0].status).unwrap(), serde_json::to_value(row.status).unwrap());
        }
    }
    let life = life(&scene.redis, &scene.document, "car-app", &ids[2]).await.unwrap().unwrap();
    assert_eq!(life.ways[0].letter.as_ref().unwrap().reason, "value 2 is out of range");
}
