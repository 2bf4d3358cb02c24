//! What lies between two moments or messages, before it is sent again.

use tidegate::redis::replay::{self, Bound, Range, RangeError};
use tidegate_actors::message::Generation;

use super::*;

async fn range(scene: &Scene, from: &Bound, to: Option<&Bound>) -> Result<Range, RangeError> {
    replay::range(&scene.redis, APP, DESTINATION, "route1", from, to).await
}

fn message(id: &MessageId) -> Bound {
    Bound::Message(id.clone())
}

async fn count(scene: &Scene, topic: &str, range: &Range) -> u64 {
    let end = range.to.as_ref().unwrap_or(&range.stands).id;
    replay::count(&scene.redis, APP, topic, (range.from.id, end), |_| ()).await.unwrap()
}

#[tokio::test]
async fn a_range_includes_both_its_ends_and_ends_where_the_destination_stands() {
    let mut scene = Scene::new().await;
    assert_eq!(range(&scene, &Bound::Moment(0), None).await, Err(RangeError::NoPosition(APP.into())));
    scene.register(Start::Now).await;
    let ids = scene.append(2_500).await;
    let bikes = NewRecord { topic: "bikes".into(), ..record("{}") };
    let other = scene.appender.append(request(vec![bikes])).await.unwrap().ids.remove(0);
    let last = scene.append_one("{}").await;
    scene.lease().await;
    scene.advance(&other.0).await.unwrap();

    let all = range(&scene, &message(&ids[0]), None).await.unwrap();
    assert_eq!((all.to.clone(), all.cut, &all.stands), (None, false, &other.0));
    assert_eq!(all.from.generation, ids[0].0.generation);
    assert_eq!((count(&scene, "cars", &all).await, count(&scene, "bikes", &all).await), (2_500, 1));
    let some = range(&scene, &message(&ids[10]), Some(&message(&ids[19]))).await.unwrap();
    assert_eq!((some.to.as_ref(), count(&scene, "cars", &some).await), (Some(&ids[19].0), 10));
    // An end that is not reached yet is none: it goes on to where the lane is by then.
    assert_eq!(range(&scene, &message(&ids[10]), Some(&message(&last))).await.unwrap().to, None);
    let whole = (Bound::Moment(0), Bound::Moment(last.0.id.ms + 1000));
    let whole = range(&scene, &whole.0, Some(&whole.1)).await.unwrap();
    assert_eq!((whole.to.clone(), count(&scene, "cars", &whole).await), (None, 2_500));

    let backwards = range(&scene, &message(&ids[20]), Some(&message(&ids[10]))).await;
    assert_eq!(backwards, Err(RangeError::Backwards));
    let mut foreign = ids[3].clone();
    foreign.0.generation = Generation::new("0000000000");
    assert_eq!(range(&scene, &message(&foreign), None).await, Err(RangeError::Unknown(foreign)));
}

#[tokio::test]
async fn what_is_gone_and_what_was_never_sent_is_said() {
    let mut scene = Scene::new().await;
    let before = scene.append(3).await;
    scene.register(Start::Now).await;
    let ids = scene.append(10).await;
    scene.lease().await;
    scene.advance(&ids[9].0).await.unwrap();
    let early = range(&scene, &message(&before[1]), None).await.unwrap();
    assert_eq!((early.begins.as_ref(), count(&scene, "cars", &early).await), (Some(&before[2].0), 12));
    assert_eq!(range(&scene, &message(&ids[0]), None).await.unwrap().begins, None);
    let trimmed = scene.server.ask::<u64>(&format!("XTRIM {STREAM} MINID {}", ids[4].0.id)).await;
    assert_eq!(trimmed, 7);
    scene.server.ask::<u64>(&format!("HSET tidegate:{{car-app}}:meta trimmed {}", ids[3].0.id)).await;
    let cut = range(&scene, &message(&ids[1]), None).await.unwrap();
    assert_eq!((cut.cut, cut.from.id, cut.trimmed), (true, ids[3].0.id, ids[3].0.id));
    assert_eq!(count(&scene, "cars", &cut).await, 6);
}
