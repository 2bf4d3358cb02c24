//! The janitor actor: trims the log and minds its memory, a round at a time.

use std::time::Duration;

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use serde_json::json;

use crate::{ports::Housekeeping, status::Vitals};

/// A round begins this long after the last one did, or when it ended.
const EVERY: Duration = Duration::from_secs(1);
/// A round that takes longer is given up; the next one begins where it can.
const ROUND: Duration = Duration::from_secs(20);

/// Keeps the log in order.
pub struct Janitor {
    housekeeping: Option<Box<dyn Housekeeping>>,
    vitals: Vitals,
}

impl Janitor {
    /// A janitor that has not begun.
    #[must_use]
    pub fn new(housekeeping: Box<dyn Housekeeping>, vitals: Vitals) -> Self {
        Self { housekeeping: Some(housekeeping), vitals }
    }

    fn round(&mut self, context: &mut Context<Self>) {
        let Some(mut housekeeping) = self.housekeeping.take() else { return };
        let zone = self.vitals.progress().slow_zone(ROUND);
        let round = async move {
            let shown = tokio::time::timeout(ROUND, housekeeping.tidy()).await;
            drop(zone);
            (housekeeping, shown)
        };
        context.spawn(round.into_actor(self).map(|(housekeeping, shown), actor, _| {
            actor.housekeeping = Some(housekeeping);
            match shown {
                Ok(Ok(detail)) => {
                    actor.vitals.running();
                    actor.vitals.publish(&detail);
                }
                Ok(Err(error)) => {
                    actor.vitals.waiting();
                    actor.vitals.publish(&json!({"last_error": error.to_string()}));
                }
                Err(_) => {
                    actor.vitals.waiting();
                    actor.vitals.publish(&json!({"last_error": "no answer from Redis to housekeeping"}));
                }
            }
        }));
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.vitals.running();
        self.round(context);
        context.run_interval(EVERY, Self::round);
    }
}
