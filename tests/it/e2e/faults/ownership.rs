//! How long nobody writes when a node dies or stops. That everything has an owner again is what is asserted; the times are
//! printed, and stand in `docs/faults.md`.

use std::time::{Duration, Instant};

use super::{PATIENCE, Scene};
use crate::servers::wait_for;

const TIMES: usize = 5;

#[actix_web::test]
async fn what_a_node_wrote_is_written_by_the_other_when_it_dies_and_when_it_stops() {
    let mut scene = Scene::start().await;
    let producers = scene.load().start();
    scene.wait_until_delivered(50).await;
    let (mut died, mut stopped) = (Vec::new(), Vec::new());
    for round in 0..2 * TIMES {
        let target = scene.targets[round % 2].clone();
        let writer = wait_for("it has a writer", PATIENCE, async || scene.writer(&target).await).await;
        let epoch = target.epoch().await.unwrap();
        let begun = Instant::now();
        let dies = round < TIMES;
        if dies {
            scene.nodes[writer].kill();
        } else {
            scene.nodes[writer].begin_to_terminate();
        }
        wait_for("the other takes over", PATIENCE, async || target.epoch().await.filter(|now| *now > epoch)).await;
        if dies {
            died.push(begun.elapsed())
        } else {
            stopped.push(begun.elapsed())
        }
        scene.wait_for_writer(&target, 1 - writer).await;
        scene.wait_until_delivered(20).await;
        if !dies {
            let (status, _) = scene.nodes[writer].terminate().await;
            assert!(status.success(), "{status}");
        }
        scene.nodes[writer].start(&scene.installation);
        scene.nodes[writer].ready().await;
        // Each has its share again.
        scene.wait_until_both_write().await;
    }
    println!(
        "with a lease of {:?}: taken over {} after a kill, {} after SIGTERM",
        super::LEASE,
        of(&died),
        of(&stopped)
    );
    scene.settle(producers).await;
}

fn of(times: &[Duration]) -> String {
    let ms = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
    format!("{} to {} ms", ms(times.iter().min()), ms(times.iter().max()))
}
