//! One-time codes that were made and not used yet: which there are, and taking one back. The code itself is told nowhere; it is made
//! by [`super::terminals::make_code`].

use std::cmp::Ordering;

use serde::Serialize;

use super::{of, page};
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

/// What open codes are sorted by; those that are alike by when they end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Until when they are good.
    #[default]
    Ends,
    /// What the terminal is to be called.
    Name,
    /// What their shop is called.
    Shop,
    /// Who made them.
    By,
}

impl Order {
    /// The one of this word; by their end where there is none such.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "terminal" => Self::Name,
            "shop" => Self::Shop,
            "by" => Self::By,
            _ => Self::Ends,
        }
    }

    fn of(self, a: &CodeView, b: &CodeView) -> Ordering {
        match self {
            Self::Ends => a.expires_ms.cmp(&b.expires_ms),
            Self::Name => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
            Self::Shop => a.shop_title.to_lowercase().cmp(&b.shop_title.to_lowercase()),
            Self::By => a.by.cmp(&b.by),
        }
    }
}

/// What is looked for; what is empty is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// In the terminal's name, the shop, its region and who made it, without regard to upper and lower case.
    pub q: String,
    /// The shop's name.
    pub shop: String,
    /// What they are sorted by.
    pub order: Order,
    /// The latest first.
    pub down: bool,
    /// How many are skipped; beyond the end, the last page is shown.
    pub skip: usize,
    /// How many are wanted; 0 for [`PAGE`].
    pub limit: usize,
}

/// Codes of a page: a roll-out makes thousands at once.
pub const PAGE: usize = 100;

/// A page of open codes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Codes {
    /// In their order.
    pub codes: Vec<CodeView>,
    /// How many were found, on this page and others.
    pub found: usize,
    /// How many are open, whatever is looked for.
    pub all: usize,
}

/// The codes that are still good and looked for.
///
/// # Errors
/// They may not, or Redis is away.
pub async fn list(admin: &Admin, who: &Who, query: &Query) -> Result<Codes, ActError> {
    who.needs(Role::Broadcaster)?;
    let document = admin.document();
    let open = of(admin).open_codes().await?;
    let all = open.len();
    let q = query.q.trim().to_lowercase();
    let mut codes: Vec<CodeView> = open.into_iter().map(|open| CodeView::of(&document, open)).collect();
    codes.retain(|code| {
        (query.shop.is_empty() || code.shop == query.shop)
            && [&code.name, &code.shop, &code.shop_title, &code.region, &code.by]
                .iter()
                .any(|text| text.to_lowercase().contains(&q))
    });
    codes.sort_by(|a, b| if query.down { query.order.of(b, a) } else { query.order.of(a, b) });
    let found = codes.len();
    let limit = if query.limit == 0 { PAGE } else { query.limit };
    Ok(Codes { codes: page(codes, query.skip, limit), found, all })
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
