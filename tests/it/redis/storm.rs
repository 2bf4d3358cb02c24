//! All of it together: producers, an owner that walks its lane by the rules, a janitor that keeps nothing, and a Redis that
//! is killed in between.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    rc::Rc,
    time::Duration,
};

use tidegate::redis::trim::{self, Retention};
use tidegate_actors::ports::{EntryReader, ReadOutcome};
use tokio::task::LocalSet;

use super::*;

/// The owner of a lane, with a list in place of the database.
struct Owner {
    log: RedisLog,
    reader: RedisReader,
    written: Rc<RefCell<Vec<MessageId>>>,
    position: Position,
}

impl Owner {
    /// From one look at the lane until something is odd with it.
    async fn walk(&mut self) -> Result<(), LogError> {
        let lane = lane(DESTINATION);
        let view = self.log.view(&lane).await?;
        let newest = view.generations.last().unwrap().generation.clone();
        let place = view.generations.iter().position(|start| start.generation == self.position.generation);
        let place = place.expect("no generation goes before its lane has passed it");
        let next = view.generations.get(place + 1);
        if !self.log.lease(std::slice::from_ref(&lane), "me", TTL).await? {
            return Err(LogError::NotMine);
        }
        let to = |to: &Position, history| Advance {
            lane: lane.clone(),
            owner: "me".into(),
            version: 0,
            newest: newest.clone(),
            to: to.clone(),
            sides: vec![],
            part: "main".into(),
            known: vec![],
            history,
            void: vec![],
        };
        self.log.advance(&to(&self.position, None)).await?;
        loop {
            let from = ReadFrom {
                lane: lane.clone(),
                after: self.position.id,
                newest: newest.clone(),
                version: 0,
                until: next.map(|next| next.after),
            };
            let batch = match self.reader.read(&[from], 50, Duration::from_millis(100)).await? {
                ReadOutcome::Batch(batch) => batch,
                ReadOutcome::Idle => match next {
                    Some(next) => {
                        self.position = Position { generation: next.generation.clone(), id: next.after };
                        return Ok(());
                    }
                    None => continue,
                },
                ReadOutcome::NewGeneration(_) => return Ok(()),
                ReadOutcome::NewVersion(_) => panic!("a new version"),
                ReadOutcome::Gap { .. } => panic!("a gap"),
            };
            let of = |id| MessageId(Position { generation: self.position.generation.clone(), id });
            let (first, last) = (of(batch.entries[0].id()), of(batch.last()));
            self.written.borrow_mut().extend(batch.entries.iter().map(|entry| of(entry.id())));
            self.position = last.0.clone();
            let history = super::batch(&first, &last, batch.entries.len() as u32);
            self.log.advance(&to(&self.position, Some(history))).await?;
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_or_read_twice_while_redis_is_killed_and_trimmed() {
    let mut scene = Scene::new().await;
    let position = scene.register(Start::Now).await;
    let written = Rc::new(RefCell::new(Vec::new()));
    let acknowledged = Rc::new(RefCell::new(Vec::new()));
    let mut owner =
        Owner { log: RedisLog::new(&scene.redis, "rooms"), reader: scene.reader(), written: written.clone(), position };
    let tasks = LocalSet::new();
    tasks.spawn_local(async move {
        loop {
            match owner.walk().await {
                Ok(()) => {}
                Err(LogError::Unavailable(_) | LogError::NewGeneration) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    let janitor = scene.redis.clone();
    tasks.spawn_local(async move {
        loop {
            let _ = trim::stream(&janitor, APP, &[DESTINATION], 0, Retention::NONE).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let running = Rc::new(Cell::new(true));
    for producer in 0..4 {
        let (appender, acknowledged, running) = (scene.appender.clone(), acknowledged.clone(), running.clone());
        tasks.spawn_local(async move {
            for n in (0_u64..).take_while(|_| running.get()) {
                let records = vec![record(&format!("{{\"producer\":{producer},\"n\":{n}}}")); 1 + (n % 3) as usize];
                match appender.append(request(records)).await {
                    Ok(appended) => acknowledged.borrow_mut().extend(appended.ids),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
    }
    tasks
        .run_until(async {
            for _ in 0..4 {
                let before = acknowledged.borrow().len();
                crate::servers::wait_for("records to be acknowledged", Duration::from_secs(20), async || {
                    (acknowledged.borrow().len() > before + 500).then_some(())
                })
                .await;
                scene.server.kill();
                scene.server.restart().await;
            }
            running.set(false);
            crate::servers::wait_for("all that was acknowledged to be read", Duration::from_secs(20), async || {
                let read: HashSet<_> = written.borrow().iter().cloned().collect();
                acknowledged.borrow().iter().all(|id| read.contains(id)).then_some(())
            })
            .await;
            crate::servers::wait_for("all that was passed to be trimmed", Duration::from_secs(20), async || {
                (scene.server.ask::<usize>(&format!("XLEN {STREAM}")).await == 1).then_some(())
            })
            .await;
        })
        .await;
    drop(tasks);
    let written = written.borrow();
    assert!(written.is_sorted_by(|a, b| a.0.id < b.0.id), "in order, none twice");
}
