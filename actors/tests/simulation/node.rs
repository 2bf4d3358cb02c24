//! One destination on one node: the real [`Delivery`], driven step by step as `destination/runner.rs` drives it.
//!
//! The shell of the real actor waits on clocks and mailboxes; here every wait is a call to the scheduler.

use std::{rc::Rc, sync::Arc, time::Duration};

use tidegate_actors::{
    delivery::{Delivery, Follows, LeaseClock, Limits, Trouble},
    ports::{Batch, EventLog as _, ReadFrom, ReadOutcome},
    progress::Progress,
};

use crate::{
    ports::{Answer, Caller, SimDatabase, SimLog},
    world::INSTALLATION,
};

struct Ahead {
    asked: Vec<ReadFrom>,
    outcome: Answer<ReadOutcome, tidegate_actors::ports::LogError>,
}

pub(crate) struct Runner {
    caller: Caller,
    destination: usize,
    version: u64,
    delivery: Delivery,
    down: bool,
    batch: Option<Batch>,
    ahead: Option<Ahead>,
}

/// The steps, for ever.
pub(crate) async fn run(caller: Caller, destination: usize, lanes: Rc<[String]>, lease: LeaseClock) {
    let (version, spec) = caller.world.borrow().known(caller.node, destination);
    let database = SimDatabase::new(caller.clone(), destination, lanes);
    let limits = Limits { lease: Duration::from_millis(crate::world::LEASE_MS), ..Limits::default() };
    let log = Box::new(SimLog(caller.clone()));
    let delivery =
        Delivery::new(log, Box::new(database), spec, INSTALLATION.into(), version, limits, Progress::new(), lease);
    let mut runner = Runner { caller, destination, version, delivery, down: false, batch: None, ahead: None };
    loop {
        runner.learn();
        if let Err(trouble) = runner.step().await {
            runner.meet(trouble).await;
        }
    }
}

/// Renews the lease beside the steps.
pub(crate) async fn keep(caller: Caller, lease: LeaseClock) {
    let mut side = SimLog(caller.clone());
    loop {
        caller.pause().await;
        let Some((owner, lanes)) = lease.holder() else { continue };
        let asked = lease.now();
        let ttl = Duration::from_millis(crate::world::LEASE_MS);
        if let Ok(granted) = side.lease(&lanes, &owner, ttl).await {
            lease.renewed(&owner, granted, asked, ttl);
        }
    }
}

impl Runner {
    fn learn(&mut self) {
        let (version, spec) = self.caller.world.borrow().known(self.caller.node, self.destination);
        if version != self.version {
            self.version = version;
            self.delivery.learn(spec, version);
        }
    }

    async fn step(&mut self) -> Result<(), Trouble> {
        if self.down {
            (self.batch, self.ahead) = (None, None);
            self.delivery.probe().await?;
            self.down = false;
            self.delivery.stand_down();
        }
        if !self.delivery.is_taken() {
            (self.batch, self.ahead) = (None, None);
            self.delivery.take_over().await?;
            self.note_owner();
        }
        if self.happens(100) {
            self.delivery.carry_out_commands().await?;
        }
        self.delivery.close_met().await?;
        if self.delivery.waits_beside() && self.happens(300) {
            self.delivery.look_again().await?;
        }
        if self.batch.is_none() {
            self.batch = self.next_batch().await?;
        }
        let Some(batch) = self.batch.take() else { return self.idle().await };
        if self.ahead.is_none() && self.happens(500) {
            self.ahead = self.read_after(Some(&batch));
        }
        // Now and then another batch is at hand, and the log hears of this one while the database writes that one; or it is
        // thrown away all the same.
        let follows = Follows::default();
        if self.ahead.is_some() && self.happens(700) {
            follows.now();
        }
        self.delivery.follow(follows);
        if let Err(trouble) = self.delivery.deliver(&batch).await {
            self.batch = Some(batch);
            return Err(trouble);
        }
        self.caller.world.borrow_mut().held[self.destination] = false;
        match self.delivery.ended() {
            Some(lane) => self.delivery.finish_generation(lane).await,
            None => Ok(()),
        }
    }

    async fn next_batch(&mut self) -> Result<Option<Batch>, Trouble> {
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => match self.read_after(None) {
                Some(ahead) => ahead,
                None => return Ok(None),
            },
        };
        match ahead.outcome.await? {
            ReadOutcome::Batch(batch) => Ok(Some(batch)),
            ReadOutcome::Idle => self.delivery.nothing_more(&ahead.asked).await.map(|()| None),
            ReadOutcome::NewGeneration(_) => Err(Trouble::TakeOver("a new generation".into())),
            ReadOutcome::NewVersion(_) => Err(Trouble::NewVersion),
            ReadOutcome::Gap { .. } => Err(Trouble::TakeOver("a gap".into())),
        }
    }

    fn read_after(&mut self, batch: Option<&Batch>) -> Option<Ahead> {
        let asked = self.delivery.reads(batch)?;
        let most = 1 + self.caller.world.borrow_mut().chance.place(4);
        let outcome = self.caller.read(asked.clone(), most);
        Some(Ahead { asked, outcome })
    }

    /// Nothing to do: now and then a sign of life is asked for.
    async fn idle(&mut self) -> Result<(), Trouble> {
        if self.happens(300) {
            self.delivery.probe().await?;
        }
        self.caller.pause().await;
        Ok(())
    }

    async fn meet(&mut self, trouble: Trouble) {
        self.caller.world.borrow_mut().trace(|| format!("n{}: {trouble}", self.caller.node));
        match trouble {
            Trouble::Database(fault) => self.down |= fault.connection_lost,
            Trouble::Hold(_) | Trouble::Undecided(_) => {
                self.caller.world.borrow_mut().held[self.destination] = true;
                self.delivery.forget_tables();
            }
            Trouble::Log(_) => self.ahead = None,
            Trouble::NewVersion => {}
            Trouble::TakeOver(_) | Trouble::StandBy => {
                self.delivery.stand_down();
                (self.ahead, self.batch) = (None, None);
            }
        }
        self.caller.pause().await;
    }

    fn note_owner(&self) {
        self.caller.world.borrow_mut().own(self.caller.task, &Arc::clone(self.delivery.owner()));
    }

    fn happens(&self, in_thousand: u64) -> bool {
        self.caller.world.borrow_mut().chance.happens(in_thousand)
    }
}
