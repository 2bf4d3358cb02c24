//! Incarnations of the log: each is finished in its turn, and what is gone is never passed over in silence.

use serde_json::json;
use tidegate_actors::{
    delivery::Trouble,
    message::{Action, StreamId},
    ports::ReadOutcome,
};

use super::scene::{APP, Scene, route};
use crate::contract::{
    Database,
    table::{Table, Type, column},
    writer::contents,
};

fn arrivals() -> Table {
    Table::new("arrivals", &[], vec![column("id", Type::Int)])
}

async fn begin(database: &dyn Database) -> Scene<'_> {
    database.create(&arrivals()).await;
    Scene::new(database, vec![route("arrivals", "arrivals", &[])])
}

fn send(scene: &Scene<'_>, id: u32) -> StreamId {
    scene.send("arrivals", Action::Insert, &json!({"id": id}))
}

/// As an actor does it: whatever asks for a take-over gets one.
async fn drain(scene: &mut Scene<'_>) -> Result<(), Trouble> {
    loop {
        if !scene.delivery.is_taken() {
            scene.delivery.take_over().await?;
        }
        let outcome = match scene.read(10_000).await {
            ReadOutcome::Batch(batch) => scene.delivery.deliver(&batch).await,
            ReadOutcome::NewGeneration(_) => Err(Trouble::TakeOver(String::new())),
            ReadOutcome::NewVersion(_) => Err(Trouble::NewVersion),
            ReadOutcome::Idle => match scene.delivery.lanes()[0].until {
                Some(_) => scene.delivery.finish_generation(0).await,
                None => return Ok(()),
            },
            ReadOutcome::Gap { .. } => panic!("a gap"),
        };
        match outcome {
            Err(Trouble::TakeOver(_)) => scene.delivery.stand_down(),
            other => other?,
        }
    }
}

pub(crate) async fn an_older_generation_is_finished_first(database: &dyn Database) {
    let mut scene = begin(database).await;
    send(&scene, 1);
    scene.drain().await.unwrap();
    let first = scene.delivery.lanes()[0].generation.clone();
    send(&scene, 2);
    let second = scene.streams.new_generation(APP);
    let last = send(&scene, 3);
    assert!(matches!(scene.read(10).await, ReadOutcome::NewGeneration(_)));
    drain(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "2", "3"]);
    assert_ne!(first, second);
    assert_eq!(scene.delivery.lanes()[0].generation, second);
    assert_eq!(scene.watermark().await, last);
    assert_eq!(scene.streams.position(&scene.lane()).map(|position| position.generation), Some(second));
    scene.restart().await;
    drain(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await.len(), 3);
}

pub(crate) async fn an_emptied_log_is_read_from_its_start(database: &dyn Database) {
    let mut scene = begin(database).await;
    send(&scene, 1);
    drain(&mut scene).await.unwrap();
    scene.streams.lose(APP);
    send(&scene, 2);
    assert!(matches!(scene.read(10).await, ReadOutcome::NewGeneration(_)));
    scene.delivery.stand_down();
    drain(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "2"]);
    scene.restart().await;
    drain(&mut scene).await.unwrap();
    assert_eq!(contents(database, &arrivals()).await, ["1", "2"]);
}

pub(crate) async fn what_was_trimmed_before_it_was_delivered_holds(database: &dyn Database) {
    let mut scene = begin(database).await;
    send(&scene, 1);
    drain(&mut scene).await.unwrap();
    let gone = send(&scene, 2);
    let kept = send(&scene, 3);
    scene.streams.trim(APP, kept);
    assert!(matches!(scene.read(10).await, ReadOutcome::Gap { .. }));
    scene.delivery.stand_down();
    let Err(Trouble::Undecided(why)) = scene.delivery.take_over().await else { panic!("it holds") };
    assert!(why.contains(&gone.to_string()), "{why}");
    assert_eq!(scene.delivery.counts().gaps, 1);
    assert!(!scene.delivery.is_taken());
    assert_eq!(contents(database, &arrivals()).await, ["1"]);
}
