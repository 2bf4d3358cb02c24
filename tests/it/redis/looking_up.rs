//! What a producer is told of a message.

use tidegate::{
    redis::{
        RedisGroup,
        lookup::{self, RouteDelivery, Status},
    },
    resources::{Destination, Document},
};
use tidegate_actors::{
    message::Generation,
    ports::{Acknowledge, GroupReader as _},
    route::{RouteSpec, Start},
};

use super::{lanes::letter, *};

pub(super) fn document() -> Document {
    let route = |id: &str, topic: &str| RouteSpec {
        id: id.into(),
        version: 1,
        name: format!("{id}-name"),
        application: APP.into(),
        topic: topic.into(),
        destination: "rooms".into(),
        table: "cars".into(),
        ..RouteSpec::default()
    };
    let destination = Destination {
        id: DESTINATION.into(),
        name: "rooms".into(),
        kind: "sqlite".into(),
        url: "sqlite:///tmp/rooms.db".into(),
        password: None,
        delivery: Default::default(),
        tls: None,
        node: None,
        revision: 0,
        by_hand: Default::default(),
    };
    Document {
        destinations: vec![destination],
        routes: vec![route("route1", "cars"), route("late", "cars"), route("other", "bikes")],
        ..Document::default()
    }
}

async fn deliveries(scene: &Scene, id: &MessageId) -> Vec<RouteDelivery> {
    let message = lookup::message(&scene.redis, APP, id).await.unwrap().expect("it is there");
    lookup::deliveries(&scene.redis, &document(), APP, id, &message).await.unwrap()
}

#[tokio::test]
async fn a_message_is_pending_then_delivered_or_dead() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    let ids = scene.append(4).await;
    registration::register_route(&scene.redis, APP, "late", DESTINATION, &Start::Now).await.unwrap();

    let waiting = deliveries(&scene, &ids[0]).await;
    assert_eq!(waiting.len(), 1, "a route that starts later does not list it");
    assert_eq!((waiting[0].status, waiting[0].route.as_str()), (Status::Pending, "route1-name"));

    scene.lease().await;
    let mut dead = letter(&ids[1], "{}");
    scene.log.keep_dead(&scene.lane, &[dead.clone()]).await.unwrap();
    assert_eq!(deliveries(&scene, &ids[1]).await[0].status, Status::Pending, "a payload alone is not a dead letter");
    let mut advance = scene.advance_of(ids[2].0.clone()).await;
    let mut history = batch(&ids[0], &ids[2], 3);
    history.untouched = vec![ids[2].0.id];
    history.attempts = 3;
    history.started_ms = 1_748_764_800_000;
    advance.history = Some(history);
    scene.log.advance(&advance).await.unwrap();

    let json = serde_json::to_value(&deliveries(&scene, &ids[0]).await[0]).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "route": "route1-name", "destination": "rooms", "table": "cars", "status": "delivered", "route_version": 1,
            "sent": null,
            "rows": 1, "attempts": 3, "delivered_at": "2025-06-01T08:00:00.001Z", "error": null, "folded_into": null
        })
    );
    let refused = deliveries(&scene, &ids[1]).await.remove(0);
    assert_eq!((refused.status, refused.attempts), (Status::Dead, Some(2)));
    assert_eq!(refused.error.unwrap().column.as_deref(), Some("car_name"));
    assert_eq!(deliveries(&scene, &ids[2]).await[0].rows, Some(0));
    assert_eq!(deliveries(&scene, &ids[3]).await[0].status, Status::Pending);
    dead.superseded_by = Some(ids[2].0.id);
    scene.log.keep_dead(&scene.lane, &[dead]).await.unwrap();
    assert_eq!(deliveries(&scene, &ids[1]).await[0].status, Status::Superseded);

    let after = scene.append(1).await;
    assert_eq!(deliveries(&scene, &after[0]).await.len(), 2);
}

#[tokio::test]
async fn an_id_of_another_generation_is_nobodys() {
    let scene = Scene::new().await;
    let mut id = scene.append_one("{}").await;
    assert!(lookup::message(&scene.redis, APP, &id).await.unwrap().is_some());
    assert!(lookup::message(&scene.redis, "shop", &id).await.unwrap().is_none());
    id.0.generation = Generation::new("0000000000");
    assert!(lookup::message(&scene.redis, APP, &id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_parallel_destinations_message_is_pending_until_it_is_acknowledged() {
    let mut scene = Scene::new().await;
    scene.register(Start::Now).await;
    registration::register_group(&scene.redis, APP, DESTINATION).await.unwrap();
    let ids = scene.append(3).await;
    let mut node = RedisGroup::new(&scene.redis, DESTINATION, "a");
    assert_eq!(deliveries(&scene, &ids[0]).await[0].status, Status::Pending, "not handed out");
    let lanes = [scene.lane.clone()];
    node.fresh(&lanes, 2, Duration::from_millis(10)).await.unwrap();
    assert_eq!(deliveries(&scene, &ids[0]).await[0].status, Status::Pending, "in hand");
    scene.log.keep_dead(&scene.lane, &[letter(&ids[1], "{}")]).await.unwrap();
    let done = Acknowledge {
        generation: ids[0].0.generation.clone(),
        version: 0,
        ids: vec![ids[0].0.id],
        routes: vec![],
        standing: vec![],
        void: vec![],
    };
    node.acknowledge(&scene.lane, &done).await.unwrap();
    let delivered = deliveries(&scene, &ids[0]).await.remove(0);
    assert_eq!((delivered.status, delivered.delivered_at), (Status::Delivered, None), "nobody wrote down when");
    assert_eq!(deliveries(&scene, &ids[1]).await[0].status, Status::Dead, "the payload is the truth");
    assert_eq!(deliveries(&scene, &ids[2]).await[0].status, Status::Pending);
    let _: usize = scene.server.ask(&format!("XGROUP DESTROY {STREAM} {DESTINATION}")).await;
    assert_eq!(deliveries(&scene, &ids[0]).await[0].status, Status::Pending, "it will be written again");
}
