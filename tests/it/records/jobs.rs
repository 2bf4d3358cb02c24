//! Many dead letters at once: counted, carried out, cancelled, and ended by the end of their node.

use tidegate::{
    admin::{
        ActError,
        dead_letters::Filter,
        jobs::{self, Order, State, Task},
    },
    redis::dead,
};
use tidegate_actors::ports::Command;

use super::*;
use crate::servers::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

async fn with_letters(many: u64) -> Scene {
    let mut scene = Scene::new().await;
    let ids = scene.append("car-app", (0..many).map(|n| record("cars", n, "x")).collect()).await;
    let letters: Vec<_> = (0..many).map(|n| letter("car-app", &ids[n as usize], "r1", n)).collect();
    scene.bury("rooms", &letters).await;
    scene.deliver("car-app", "rooms", (&ids[0], ids.last().unwrap()), many as u32, &["r1"]).await;
    scene
}

/// Carries out what waits, as the owner does: every third is refused.
async fn carry_out(scene: &mut Scene) -> usize {
    let lane = lane("car-app", "rooms");
    let log = scene.logs.get_mut("rooms").unwrap();
    let waiting = log.commands(&lane).await.unwrap();
    for command in &waiting {
        let (Command::Redrive { dead, .. } | Command::Discard { dead, .. }) = command else { panic!("{command:?}") };
        let mut letter = log.dead(&lane, dead).await.unwrap().unwrap();
        if letter.reason.code == "check" {
            letter.redrive_error = Some("still out of range".into());
            log.keep_dead(&lane, &[letter]).await.unwrap();
        } else {
            let view = log.view(&lane).await.unwrap();
            let advance = Advance {
                lane: lane.clone(),
                owner: "me".into(),
                version: 0,
                newest: view.generations.last().unwrap().generation.clone(),
                to: view.position.unwrap(),
                sides: vec![],
                part: "main".into(),
                known: vec![],
                history: None,
                void: vec![dead.clone()],
            };
            log.advance(&advance).await.unwrap();
        }
        log.finish(&lane, command).await.unwrap();
    }
    waiting.len()
}

fn order(counted: usize) -> Order {
    Order { filter: Filter::default(), counted, task: Task::Redrive { force: false } }
}

#[actix_web::test]
async fn a_job_is_counted_carried_out_and_told() {
    let mut scene = with_letters(450).await;
    let mut store = scene.store();
    let begin = async |store: &mut Store, role, order| {
        jobs::begin(&scene.redis, store, &scene.document, &who(role), "node-a", order).await
    };
    assert!(matches!(begin(&mut store, Role::Viewer, order(450)).await, Err(ActError::Forbidden { .. })));
    let more = begin(&mut store, Role::Operator, order(449)).await.unwrap_err();
    assert!(more.to_string().contains("450 of them by now"), "{more}");
    let nameless = Order { task: Task::Discard { reason: " ".into() }, ..order(450) };
    assert!(matches!(begin(&mut store, Role::Operator, nameless).await, Err(ActError::Invalid(_))));
    let id = begin(&mut store, Role::Operator, order(450)).await.unwrap();
    let redis = scene.redis.clone();
    wait_for("all are dealt with", LIMIT, async || {
        let most = dead::waiting(&redis, "car-app", "rooms0000001").await.unwrap().len();
        assert!(most <= 200, "handed over some at a time");
        carry_out(&mut scene).await;
        let view = jobs::view(&redis, &id).await.unwrap().unwrap();
        (view.state == State::Done).then_some(())
    })
    .await;
    let view = jobs::view(&redis, &id).await.unwrap().unwrap();
    assert_eq!((view.total, view.done, view.refused, view.superseded), (450, 300, 150, 0));
    assert_eq!(view.reasons, [("still out of range".to_owned(), 150)]);
    assert_eq!((view.task.as_str(), view.who.as_str(), view.node.as_str()), ("redrive", "siti", "node-a"));
    assert!(view.ended_ms >= Some(view.begun_ms));
    assert_eq!(jobs::newest(&redis, 5).await.unwrap(), [view]);
    let changes = store.changes(10).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert!(changes[0].what.starts_with("redrive 450 dead letters (450 of rooms)"), "{}", changes[0].what);
    let ended = jobs::cancel(&redis, &mut store, &who(Role::Operator), &id).await;
    assert!(matches!(ended, Err(ActError::Conflict(_))), "{ended:?}");
}

#[actix_web::test]
async fn a_cancelled_job_leaves_the_rest_as_it_is() {
    let mut scene = with_letters(450).await;
    let mut store = scene.store();
    let operator = who(Role::Operator);
    let id = jobs::begin(&scene.redis, &mut store, &scene.document, &operator, "node-a", order(450)).await.unwrap();
    let redis = scene.redis.clone();
    wait_for("the first are handed over", LIMIT, async || {
        (dead::waiting(&redis, "car-app", "rooms0000001").await.unwrap().len() == 200).then_some(())
    })
    .await;
    assert_eq!(carry_out(&mut scene).await, 100);
    jobs::cancel(&redis, &mut store, &operator, &id).await.unwrap();
    let view = wait_for("it stops", LIMIT, async || {
        jobs::view(&redis, &id).await.unwrap().filter(|view| view.state == State::Cancelled)
    })
    .await;
    assert_eq!((view.settled(), view.goes_on()), (100, false));
    assert_eq!(dead::waiting(&redis, "car-app", "rooms0000001").await.unwrap(), [], "nothing is left on the list");
}

#[actix_web::test]
async fn a_job_whose_node_is_gone_is_shown_as_ended() {
    let scene = with_letters(3).await;
    let id = tidegate::redis::jobs::begin(&scene.redis, &[("task", "redrive".into()), ("total", "3".into())]).await;
    let id = id.unwrap();
    assert_eq!(jobs::view(&scene.redis, &id).await.unwrap().unwrap().state, State::Running);
    scene.server.ask::<()>(&format!("HSET tidegate:{{jobs}}:job:{id} beat_ms 5")).await;
    let view = jobs::view(&scene.redis, &id).await.unwrap().unwrap();
    assert_eq!((view.state, view.goes_on()), (State::Abandoned, false));
    assert!(jobs::view(&scene.redis, "nobody").await.unwrap().is_none());
}
