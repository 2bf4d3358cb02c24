//! Dead letters found, grouped, shown and acted on.

use tidegate::{
    admin::{
        ActError,
        dead_letters::{self, Filter, count, find, groups, show},
    },
    redis::dead,
};
use tidegate_actors::ports::Command;

use super::*;

async fn with_letters(many: u64) -> (Scene, Vec<MessageId>, Vec<DeadLetter>) {
    let mut scene = Scene::new().await;
    let ids = scene.append("car-app", (0..many).map(|n| record("cars", n, "x")).collect()).await;
    let letters: Vec<_> = (0..many).map(|n| letter("car-app", &ids[n as usize], "r1", n)).collect();
    scene.bury("rooms", &letters).await;
    scene.deliver("car-app", "rooms", (&ids[0], ids.last().unwrap()), many as u32, &["r1"]).await;
    (scene, ids, letters)
}

#[tokio::test]
async fn they_are_grouped_by_cause_and_followed_as_they_change() {
    let (mut scene, _, mut letters) = with_letters(30).await;
    let all = find(&scene.redis, &scene.document, &Filter::default()).await.unwrap();
    assert_eq!(count(&all), 30);
    let found = groups(&scene.document, &all);
    assert_eq!((found.count, found.groups.len()), (30, 3));
    let unique = found.groups.iter().find(|group| group.cause.code == "unique").unwrap();
    assert_eq!((unique.count, unique.bars.iter().sum::<u64>()), (10, 10));
    assert_eq!(unique.cause.shape, "Duplicate entry '…' for key '…'");
    assert_eq!((unique.first_ms, unique.last_ms), (letters[0].at_ms, letters[27].at_ms));
    assert_eq!(unique.examples[0], dead_letters::name(&letters[0].dead));
    let inside = Filter { group: Some(unique.id.clone()), ..Filter::default() };
    assert_eq!(count(&find(&scene.redis, &scene.document, &inside).await.unwrap()), 10);

    // What is kept anew shows at once, and so does what is gone.
    letters[0].superseded_by = Some(letters[29].dead.id);
    scene.bury("rooms", &letters[..1]).await;
    let superseded = Filter { superseded: Some(true), ..Filter::default() };
    assert_eq!(count(&find(&scene.redis, &scene.document, &superseded).await.unwrap()), 1);
    let gone: u64 = scene.server.ask("HLEN tidegate:{car-app}:dead:rooms0000001").await;
    assert_eq!(gone, 30);

    // A letter that an older version kept has no line: it is looked into.
    let field = format!("{} {} r1", letters[1].dead.generation, letters[1].dead.id);
    let mut connection = scene.server.connection().await;
    let key = "tidegate:{car-app}:dead-lines:rooms0000001";
    let removed: u64 = redis::cmd("HDEL").arg(key).arg(&field).query_async(&mut connection).await.unwrap();
    assert_eq!(removed, 1);
    let all = find(&scene.redis, &scene.document, &Filter::default()).await.unwrap();
    let known = &all[0].letters.iter().find(|(id, _)| *id == letters[1].dead).unwrap().1;
    assert_eq!((count(&all), known.code.as_str(), known.topic.as_str()), (30, "too_long", "cars"));

    let wrong = Filter { destination: Some("room".into()), ..Filter::default() };
    let error = find(&scene.redis, &scene.document, &wrong).await.unwrap_err().to_string();
    assert!(error.contains("did you mean `rooms`?"), "{error}");
}

#[tokio::test]
async fn one_is_shown_edited_and_handed_over_in_somebodys_name() {
    let (scene, _, letters) = with_letters(3).await;
    let mut store = scene.store();
    let dead = &letters[1].dead;
    let shown = show(&scene.redis, &scene.document, "car-app", "rooms", dead).await.unwrap().unwrap();
    assert_eq!(shown.row.unwrap().get(), r#"{"id":1,"title":"Avanza <script>alert(1)</script>"}"#);
    let refused =
        dead_letters::edit(&scene.redis, &mut store, &who(Role::Viewer), &shown.lot, &shown.letter, "{}", false).await;
    assert!(matches!(refused, Err(ActError::Forbidden { needs: Role::Operator })), "{refused:?}");
    let operator = who(Role::Operator);
    let broken =
        dead_letters::edit(&scene.redis, &mut store, &operator, &shown.lot, &shown.letter, "{\"id\":", false).await;
    let Err(ActError::Invalid(fields)) = broken else { panic!("{broken:?}") };
    assert_eq!((fields[0].field.as_str(), fields[0].code), ("data", "record_no_json"));
    let better = "{\"id\": 1, \"name\": \"canary-name\"}";
    dead_letters::edit(&scene.redis, &mut store, &operator, &shown.lot, &shown.letter, better, false).await.unwrap();
    let waiting = dead::waiting(&scene.redis, "car-app", "rooms0000001").await.unwrap();
    let data = Some("{\"id\":1,\"name\":\"canary-name\"}".to_owned());
    assert_eq!(waiting, [Command::Redrive { dead: dead.clone(), force: false, data }]);

    let lots = find(&scene.redis, &scene.document, &Filter::default()).await.unwrap();
    let silent = dead_letters::discard(&scene.redis, &mut store, &operator, &lots, None).await;
    assert!(matches!(silent, Err(ActError::Invalid(_))), "{silent:?}");
    dead_letters::discard(&scene.redis, &mut store, &operator, &lots, Some("test data")).await.unwrap();
    dead_letters::redrive(&scene.redis, &mut store, &operator, &lots, true).await.unwrap();
    let changes = store.changes(10).await.unwrap();
    let whats: Vec<&str> = changes.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(whats.len(), 3, "{whats:?}");
    assert!(whats[0].starts_with("redrive 3 dead letters of destination rooms, over later records ("), "{whats:?}");
    assert!(whats[1].starts_with("discard 3 dead letters of destination rooms: test data ("), "{whats:?}");
    assert!(whats[2].contains("with its record edited: name"), "{whats:?}");
    assert!(changes.iter().all(|entry| entry.who.contains("siti") && !entry.what.contains("canary")));
}
