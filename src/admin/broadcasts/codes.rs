//! One-time codes that were made and not used yet: which there are, and taking one back. The code itself is told nowhere; it is made
//! by [`super::terminals::make_code`].

use serde::Serialize;

use super::of;
use crate::{
    admin::{ActError, Admin, Role, Who},
    broadcast::codes::Open,
    resources::Document,
};

/// An open code as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodeView {
    /// By which it is taken back; it says nothing of the code.
    pub id: String,
    /// What the terminal is to be called; may be empty.
    pub name: String,
    /// The shop that it is for.
    pub shop: String,
    /// What its shop is called.
    pub shop_title: String,
    /// Its region; may be empty.
    pub region: String,
    /// Who made it.
    pub by: String,
    /// Until when it is good, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

impl CodeView {
    fn of(document: &Document, open: Open) -> Self {
        let shop = document.shops.iter().find(|shop| shop.name == open.offer.shop);
        Self {
            shop_title: shop.map_or_else(|| open.offer.shop.clone(), |shop| shop.title.clone()),
            region: shop.map(|shop| shop.region.clone()).unwrap_or_default(),
            id: open.id,
            name: open.offer.name,
            shop: open.offer.shop,
            by: open.offer.by,
            expires_ms: open.expires_ms,
        }
    }
}

/// Which of the open codes are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query {
    /// How many are skipped.
    pub skip: usize,
    /// How many are wanted; 0 for [`PAGE`].
    pub limit: usize,
}

/// Codes of a page: a roll-out makes thousands at once.
pub const PAGE: usize = 100;

/// A page of open codes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Codes {
    /// The one that ends first comes first.
    pub codes: Vec<CodeView>,
    /// How many there are, on this page and others.
    pub found: usize,
}

/// The codes that are still good.
///
/// # Errors
/// They may not, or Redis is away.
pub async fn list(admin: &Admin, who: &Who, query: &Query) -> Result<Codes, ActError> {
    who.needs(Role::Broadcaster)?;
    let document = admin.document();
    let limit = if query.limit == 0 { PAGE } else { query.limit };
    let (found, open) = of(admin).open_codes(query.skip, limit).await?;
    Ok(Codes { codes: open.into_iter().map(|open| CodeView::of(&document, open)).collect(), found })
}

/// Takes a code back: nobody becomes a terminal by it any more.
///
/// # Errors
/// They may not, Redis is away, or there is none of this id (any more).
pub async fn take_back(admin: &Admin, who: &Who, id: &str) -> Result<CodeView, ActError> {
    who.needs(Role::Broadcaster)?;
    let gone = of(admin).withdraw(id).await?;
    let gone = gone.ok_or_else(|| ActError::Unknown("this code was used, taken back, or is over".into()))?;
    let view = CodeView::of(&admin.document(), gone);
    let called = if view.name.is_empty() { String::new() } else { format!(" `{}`", view.name) };
    let what = format!("take back the one-time code for a terminal{called} in shop `{}`", view.shop);
    admin.note(who, &[what]).await?;
    Ok(view)
}
