//! Who has received and confirmed a broadcast, who has not, and who is off.

use std::{cmp::Ordering, collections::HashMap};

use serde::Serialize;

use super::{of, page};
use crate::{
    admin::{ActError, Admin, Who},
    broadcast::{
        message::{Message, rfc3339},
        receipts::Receipt,
        roll::Roll,
    },
};

/// How one terminal stands to a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is off, and has not received it.
    Off,
    /// It is on, and has not received it yet.
    Waiting,
    /// It has received it.
    Received,
    /// Somebody there has confirmed it.
    Confirmed,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Off, Self::Waiting, Self::Received, Self::Confirmed];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Waiting => "waiting",
            Self::Received => "received",
            Self::Confirmed => "confirmed",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

/// Which terminals are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// Those that stand so.
    Standing(Standing),
    /// Those that have not received it, on or off.
    Missing,
}

impl Only {
    /// The one of this word: that of a [`Standing`], or `missing`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        if word == "missing" { Some(Self::Missing) } else { Standing::parse(word).map(Self::Standing) }
    }

    fn has(self, standing: Standing) -> bool {
        match self {
            Self::Standing(wanted) => standing == wanted,
            Self::Missing => matches!(standing, Standing::Off | Standing::Waiting),
        }
    }
}

/// What is looked for; what is empty is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// In the terminal's name and id, in its shop's name and title, and in the region, without regard to upper and lower case.
    pub q: String,
    /// How they stand.
    pub only: Option<Only>,
    /// By what they are sorted.
    pub order: Order,
    /// The other way round.
    pub down: bool,
    /// How many are skipped; at most as many as leave the last page.
    pub skip: usize,
    /// How many are wanted; 0 for all.
    pub limit: usize,
}

/// What receipts are sorted by; those that are alike by who is furthest behind, shop and name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// How they stand: those who are furthest behind first.
    #[default]
    Standing,
    /// What the terminals are called.
    Name,
    /// What their shops are called.
    Shop,
    /// Whether they are on: those that are off first.
    On,
    /// When they received it; those that have not come first.
    Received,
    /// When it was confirmed there; those where it was not come first.
    Confirmed,
}

impl Order {
    /// The one of this word; by how they stand where there is none such.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "terminal" => Self::Name,
            "shop" => Self::Shop,
            "on" => Self::On,
            "received" => Self::Received,
            "confirmed" => Self::Confirmed,
            _ => Self::Standing,
        }
    }

    fn of(self, a: &ReceiptRow, b: &ReceiptRow) -> Ordering {
        match self {
            Self::Standing => a.standing.cmp(&b.standing),
            Self::Name => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
            Self::Shop => (a.shop_title.to_lowercase(), &a.region).cmp(&(b.shop_title.to_lowercase(), &b.region)),
            Self::On => a.on.cmp(&b.on),
            Self::Received => a.received_ms.cmp(&b.received_ms),
            Self::Confirmed => a.confirmed_ms.cmp(&b.confirmed_ms),
        }
    }
}

/// One terminal and one broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReceiptRow {
    /// The terminal's id.
    pub terminal: String,
    /// What it is called.
    pub name: String,
    /// Its shop's name.
    pub shop: String,
    /// What its shop is called.
    pub shop_title: String,
    /// Its region; may be empty.
    pub region: String,
    /// How it stands.
    pub standing: Standing,
    /// Whether it is on now.
    pub on: bool,
    /// When it received it, in milliseconds since the Unix epoch.
    pub received_ms: Option<u64>,
    /// When somebody there confirmed it.
    pub confirmed_ms: Option<u64>,
}

/// How many stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Terminals that it is for.
    pub terminals: u64,
    /// That have received it, the confirmed ones among them.
    pub received: u64,
    /// That have confirmed it.
    pub confirmed: u64,
    /// That are off and have not received it.
    pub off: u64,
    /// That are on and have not received it yet.
    pub waiting: u64,
}

/// A broadcast with everybody it is for.
#[derive(Clone, Debug, Serialize)]
pub struct Receipts {
    /// The broadcast.
    pub message: Message,
    /// How many stand where, whatever is looked for.
    pub counts: Counts,
    /// How many were found, on this page and others.
    pub found: usize,
    /// Those of the page, as they were to be sorted.
    pub rows: Vec<ReceiptRow>,
}

/// Who has received and confirmed a broadcast, as far as they are looked for.
///
/// # Errors
/// There is none of this id, or Redis is away.
pub async fn list(admin: &Admin, _who: &Who, id: &str, query: &Query) -> Result<Receipts, ActError> {
    let broadcasts = of(admin);
    let message = broadcasts.get(id).await?;
    let document = admin.document();
    let (roll, receipts) =
        futures_util::future::join(Roll::call(&broadcasts, &document), broadcasts.receipts(id)).await;
    let (roll, mut receipts): (Roll, HashMap<String, Receipt>) = (roll?, receipts?);
    let titles: HashMap<&str, &str> =
        document.shops.iter().map(|shop| (shop.name.as_str(), shop.title.as_str())).collect();
    let mut rows = Vec::new();
    // Those that have it although they are not in its audience any more: moved, or revoked since.
    for terminal in &roll.terminals {
        let receipt = receipts.remove(&terminal.id);
        let meant = !terminal.is_revoked() && message.audience.has(&terminal.shop, roll.region(&terminal.shop));
        if receipt.is_none() && (!meant || message.sent_ms.is_some_and(|sent| terminal.created_ms > sent)) {
            continue;
        }
        let on = !terminal.is_revoked() && roll.is_on(terminal);
        let standing = match &receipt {
            Some(Receipt { confirmed_ms: Some(_), .. }) => Standing::Confirmed,
            Some(_) => Standing::Received,
            None if on => Standing::Waiting,
            None => Standing::Off,
        };
        rows.push(ReceiptRow {
            terminal: terminal.id.clone(),
            name: terminal.title().to_owned(),
            shop: terminal.shop.clone(),
            shop_title: titles.get(terminal.shop.as_str()).map_or_else(|| terminal.shop.clone(), |t| (*t).to_owned()),
            region: roll.region(&terminal.shop).to_owned(),
            standing,
            on,
            received_ms: receipt.as_ref().map(|receipt| receipt.received_ms),
            confirmed_ms: receipt.and_then(|receipt| receipt.confirmed_ms),
        });
    }
    let mut counts = Counts { terminals: rows.len() as u64, ..Counts::default() };
    for row in &rows {
        match row.standing {
            Standing::Off => counts.off += 1,
            Standing::Waiting => counts.waiting += 1,
            Standing::Received => counts.received += 1,
            Standing::Confirmed => {
                counts.received += 1;
                counts.confirmed += 1;
            }
        }
    }
    let q = query.q.trim().to_lowercase();
    rows.retain(|row| query.only.is_none_or(|only| only.has(row.standing)) && (q.is_empty() || says(row, &q)));
    rows.sort_by(|a, b| {
        let by = if query.down { query.order.of(b, a) } else { query.order.of(a, b) };
        let usual = (a.standing, &a.shop_title, &a.name, &a.terminal);
        by.then_with(|| usual.cmp(&(b.standing, &b.shop_title, &b.name, &b.terminal)))
    });
    let found = rows.len();
    let limit = if query.limit == 0 { found.max(1) } else { query.limit };
    Ok(Receipts { message, counts, found, rows: page(rows, query.skip, limit) })
}

fn says(row: &ReceiptRow, q: &str) -> bool {
    [&row.name, &row.terminal, &row.shop, &row.shop_title, &row.region]
        .iter()
        .any(|text| text.to_lowercase().contains(q))
}

/// The same as CSV: a line of names, then one for each terminal. Cells that a spreadsheet would take for a formula begin with
/// an apostrophe.
///
/// # Errors
/// There is none of this id, or Redis is away.
pub async fn csv(admin: &Admin, who: &Who, id: &str) -> Result<String, ActError> {
    let Receipts { rows, .. } = list(admin, who, id, &Query::default()).await?;
    let mut out = String::from("terminal,name,shop,shop_title,region,state,on,received_at,confirmed_at\r\n");
    for row in rows {
        let time = |ms: Option<u64>| ms.map(rfc3339).unwrap_or_default();
        let on = if row.on { "yes" } else { "no" };
        let (received, confirmed) = (time(row.received_ms), time(row.confirmed_ms));
        let cells: [&str; 9] = [
            &row.terminal,
            &row.name,
            &row.shop,
            &row.shop_title,
            &row.region,
            row.standing.as_str(),
            on,
            &received,
            &confirmed,
        ];
        let cells: Vec<String> = cells.iter().map(|cell| self::cell(cell)).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    }
    Ok(out)
}

fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(cell("=1+1"), "'=1+1");
    }
}
