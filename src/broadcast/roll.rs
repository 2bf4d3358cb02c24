//! Who could see a message at this moment: all terminals with their shops' regions and their last beats. What counts are made of,
//! in the console, for whoever sends, and when a message's time has come.

use std::collections::{BTreeMap, HashMap};

use super::{
    message::{Audience, Reach},
    store::{Broadcasts, CastError},
    terminals::{Terminal, is_on},
};
use crate::resources::Document;

/// All terminals, revoked ones among them, with the time now and when each last beat.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    pub(crate) terminals: Vec<Terminal>,
    pub(crate) now_ms: u64,
    pub(crate) beats: HashMap<String, u64>,
    regions: BTreeMap<String, String>,
}

impl Roll {
    /// Calls it, with what operators decided of terminals.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn call(broadcasts: &Broadcasts, document: &Document) -> Result<Self, CastError> {
        let (terminals, beats) = futures_util::future::join(broadcasts.terminals(), broadcasts.beats()).await;
        let (now_ms, beats) = beats?;
        let terminals = terminals?.into_iter().map(|terminal| terminal.settled(document)).collect();
        let regions = document.shops.iter().map(|shop| (shop.name.clone(), shop.region.clone())).collect();
        Ok(Self { terminals, now_ms, beats, regions })
    }

    pub(crate) fn region(&self, shop: &str) -> &str {
        self.regions.get(shop).map_or("", String::as_str)
    }

    pub(crate) fn is_on(&self, terminal: &Terminal) -> bool {
        is_on(self.beats.get(&terminal.id).copied(), self.now_ms)
    }

    /// Those that are in the audience and may see anything.
    pub(crate) fn of<'a>(&'a self, audience: &'a Audience) -> impl Iterator<Item = &'a Terminal> {
        self.terminals
            .iter()
            .filter(|terminal| !terminal.is_revoked() && audience.has(&terminal.shop, self.region(&terminal.shop)))
    }

    pub(crate) fn reach(&self, audience: &Audience) -> Reach {
        let mut reach = Reach::default();
        for terminal in self.of(audience) {
            reach.terminals += 1;
            reach.on_now += u64::from(self.is_on(terminal));
        }
        reach
    }

    /// What each shop has that has any; all at once, since there may be thousands of both.
    pub(crate) fn by_shop(&self) -> HashMap<&str, Reach> {
        let mut shops: HashMap<&str, Reach> = HashMap::new();
        for terminal in self.terminals.iter().filter(|terminal| !terminal.is_revoked()) {
            let reach = shops.entry(terminal.shop.as_str()).or_default();
            reach.terminals += 1;
            reach.on_now += u64::from(self.is_on(terminal));
        }
        shops
    }
}
