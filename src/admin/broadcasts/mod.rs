//! Broadcasts as people write and follow them: composing, the history, receipts, terminals, shops and categories. The console,
//! the producers' API and the commands call these.
//!
//! Every user may see what was sent. Broadcasters, operators and admins write; shops and categories are an operator's.

pub mod categories;
pub mod changes;
pub mod codes;
pub mod compose;
pub mod history;
pub mod receipts;
pub mod shops;
pub mod terminals;

use std::collections::{BTreeMap, HashMap};

use super::{ActError, Admin};
use crate::{
    broadcast::{
        message::{Audience, Reach},
        store::{Broadcasts, CastError},
        terminals::{Terminal, is_on},
    },
    resources::Document,
};

impl From<CastError> for ActError {
    fn from(error: CastError) -> Self {
        match error {
            CastError::Unavailable(_) | CastError::Full => Self::Unavailable(error.to_string()),
            CastError::Unknown => Self::Unknown(error.to_string()),
            CastError::NameUsed(_) | CastError::Refused(_) => Self::Conflict(error.to_string()),
        }
    }
}

pub(crate) fn of(admin: &Admin) -> Broadcasts {
    Broadcasts::new(&admin.redis)
}

/// All terminals that are not revoked, with the time now and when each last beat: what counts are made of.
pub(super) struct Roll {
    pub(super) terminals: Vec<Terminal>,
    pub(super) now_ms: u64,
    pub(super) beats: HashMap<String, u64>,
    regions: BTreeMap<String, String>,
}

impl Roll {
    pub(super) async fn call(admin: &Admin, document: &Document) -> Result<Self, ActError> {
        let broadcasts = of(admin);
        let (terminals, beats) = futures_util::future::join(broadcasts.terminals(), broadcasts.beats()).await;
        let (now_ms, beats) = beats?;
        let terminals = terminals?.into_iter().map(|terminal| terminal.settled(document)).collect();
        let regions = document.shops.iter().map(|shop| (shop.name.clone(), shop.region.clone())).collect();
        Ok(Self { terminals, now_ms, beats, regions })
    }

    pub(super) fn region(&self, shop: &str) -> &str {
        self.regions.get(shop).map_or("", String::as_str)
    }

    pub(super) fn is_on(&self, terminal: &Terminal) -> bool {
        is_on(self.beats.get(&terminal.id).copied(), self.now_ms)
    }

    /// Those that are in the audience and may see anything.
    pub(super) fn of<'a>(&'a self, audience: &'a Audience) -> impl Iterator<Item = &'a Terminal> {
        self.terminals
            .iter()
            .filter(|terminal| !terminal.is_revoked() && audience.has(&terminal.shop, self.region(&terminal.shop)))
    }

    pub(super) fn reach(&self, audience: &Audience) -> Reach {
        let mut reach = Reach::default();
        for terminal in self.of(audience) {
            reach.terminals += 1;
            reach.on_now += u64::from(self.is_on(terminal));
        }
        reach
    }
}
