//! Terminals: who has one, since when, whether it is on; one-time codes, moving and revoking.

use std::cmp::Ordering;

use secrecy::SecretString;
use serde::Serialize;

use super::{of, page};
use crate::{
    admin::{ActError, Admin, Role, Who, fields::wrong},
    broadcast::{
        codes::Offer,
        roll::Roll,
        terminals::{MOST_NAME, Terminal, TokenKey},
    },
    registry::Edit,
    resources::Document,
};

/// Most terminals: every node knows them all.
const MOST: usize = 50_000;

/// A terminal as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TerminalView {
    /// Its id.
    pub id: String,
    /// What it is called: its name, else its id.
    pub name: String,
    /// Its shop's name.
    pub shop: String,
    /// What its shop is called.
    pub shop_title: String,
    /// Its region; may be empty.
    pub region: String,
    /// Whether it is on now.
    pub on: bool,
    /// When it last beat, in milliseconds since the Unix epoch.
    pub seen_ms: Option<u64>,
    /// When it was enrolled.
    pub created_ms: u64,
    /// Who made its code.
    pub by: String,
    /// When it was revoked.
    pub revoked_ms: Option<u64>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
}

/// What is looked for; what is empty is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// In name, id and shop, without regard to upper and lower case.
    pub q: String,
    /// The shop's name.
    pub shop: String,
    /// The region.
    pub region: String,
    /// On, off or revoked; without it, all that are not revoked.
    pub state: Option<TerminalState>,
    /// By what they are sorted.
    pub order: Order,
    /// The other way round.
    pub down: bool,
    /// How many are skipped; at most as many as leave the last page.
    pub skip: usize,
    /// How many are wanted; 0 for [`PAGE`].
    pub limit: usize,
}

/// What terminals are sorted by; those that are alike by shop, then name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// What their shop is called.
    #[default]
    Shop,
    /// What they are called.
    Name,
    /// Their region.
    Region,
    /// On, off, revoked.
    State,
    /// When they last beat; those that never did come first.
    Seen,
    /// When they were enrolled.
    Created,
}

impl Order {
    /// The one of this word; by shop where there is none such.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "terminal" => Self::Name,
            "region" => Self::Region,
            "state" => Self::State,
            "seen" => Self::Seen,
            "created" => Self::Created,
            _ => Self::Shop,
        }
    }

    fn of(self, a: &TerminalView, b: &TerminalView) -> Ordering {
        let standing = |view: &TerminalView| (view.revoked_ms.is_some(), !view.on);
        match self {
            Self::Shop => a.shop_title.to_lowercase().cmp(&b.shop_title.to_lowercase()),
            Self::Name => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
            Self::Region => a.region.to_lowercase().cmp(&b.region.to_lowercase()),
            Self::State => standing(a).cmp(&standing(b)),
            Self::Seen => a.seen_ms.cmp(&b.seen_ms),
            Self::Created => a.created_ms.cmp(&b.created_ms),
        }
    }
}

/// Terminals of a page.
pub const PAGE: usize = 100;

/// What a terminal is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalState {
    /// It beats.
    On,
    /// It does not.
    Off,
    /// It may see nothing any more.
    Revoked,
}

impl TerminalState {
    /// The one of this word: `on`, `off`, `revoked`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "on" => Some(Self::On),
            "off" => Some(Self::Off),
            "revoked" => Some(Self::Revoked),
            _ => None,
        }
    }
}

/// A page of terminals.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Terminals {
    /// By shop's title, then name.
    pub rows: Vec<TerminalView>,
    /// How many were found, on this page and others.
    pub found: usize,
    /// How many there are that are not revoked.
    pub all: usize,
    /// How many of those are on.
    pub on: usize,
}

/// A one-time code that was just made.
#[derive(Debug)]
pub struct Code {
    /// `ABCD-EFGH-JKLM`. It is told here and never again. The link is `/terminal/#code=` and this, after the console's address.
    pub code: SecretString,
    /// Until when it is good, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// Terminals that are looked for.
///
/// # Errors
/// Redis is away.
pub async fn list(admin: &Admin, _who: &Who, query: &Query) -> Result<Terminals, ActError> {
    let document = admin.document();
    let roll = Roll::call(&of(admin), &document).await?;
    let q = query.q.trim().to_lowercase();
    let mut views: Vec<TerminalView> = roll.terminals.iter().map(|terminal| view(&document, &roll, terminal)).collect();
    let all = views.iter().filter(|view| view.revoked_ms.is_none()).count();
    let on = views.iter().filter(|view| view.on).count();
    views.retain(|view| {
        let state = match query.state {
            None => view.revoked_ms.is_none(),
            Some(TerminalState::On) => view.on,
            Some(TerminalState::Off) => !view.on && view.revoked_ms.is_none(),
            Some(TerminalState::Revoked) => view.revoked_ms.is_some(),
        };
        state
            && (query.shop.is_empty() || view.shop == query.shop)
            && (query.region.is_empty() || view.region == query.region)
            && (q.is_empty()
                || [&view.name, &view.id, &view.shop, &view.shop_title]
                    .iter()
                    .any(|text| text.to_lowercase().contains(&q)))
    });
    views.sort_by(|a, b| {
        let key = |view: &TerminalView| (view.shop_title.to_lowercase(), view.name.to_lowercase(), view.id.clone());
        let by = if query.down { query.order.of(b, a) } else { query.order.of(a, b) };
        by.then_with(|| key(a).cmp(&key(b)))
    });
    let found = views.len();
    let limit = if query.limit == 0 { PAGE } else { query.limit };
    Ok(Terminals { rows: page(views, query.skip, limit), found, all, on })
}

/// One terminal.
///
/// # Errors
/// There is none of this id, or Redis is away.
pub async fn show(admin: &Admin, _who: &Who, id: &str) -> Result<TerminalView, ActError> {
    let document = admin.document();
    let roll = Roll::call(&of(admin), &document).await?;
    let found = roll.terminals.iter().find(|terminal| terminal.id == id);
    found.map(|terminal| view(&document, &roll, terminal)).ok_or_else(unknown)
}

/// Makes a one-time code for a new terminal in a shop.
///
/// # Errors
/// They may not, there is no such shop (field `shop`), the name is too long (`name`), there are too many, or Redis is away.
pub async fn make_code(admin: &Admin, who: &Who, shop: &str, name: &str) -> Result<Code, ActError> {
    who.needs(Role::Broadcaster)?;
    let document = admin.newest().await?;
    let name = name_of(name)?;
    if !document.shops.iter().any(|known| known.name == shop) {
        return Err(ActError::Invalid(vec![no_shop(shop)]));
    }
    let broadcasts = of(admin);
    if broadcasts.terminals().await?.len() >= MOST {
        return Err(ActError::Conflict(format!("there are {MOST} terminals already")));
    }
    if document.terminal_key.is_none() {
        let key = TokenKey::generate(admin.master_key.as_deref());
        admin
            .registry(who)?
            .change(|current| {
                if current.terminal_key.is_some() {
                    return Ok::<_, ActError>(Edit { document: current.clone(), what: vec![], value: () });
                }
                let document = Document { terminal_key: Some(key.clone()), ..current.clone() };
                Ok(Edit { document, what: vec!["make the key of the terminals' tokens".into()], value: () })
            })
            .await?;
    }
    let offer = Offer { shop: shop.to_owned(), name: name.clone(), by: who.name.to_string() };
    let (code, expires_ms) = broadcasts.offer(&offer).await?;
    let called = if name.is_empty() { String::new() } else { format!(" `{name}`") };
    admin.note(who, &[format!("make a one-time code for a terminal{called} in shop `{shop}`")]).await?;
    Ok(Code { code, expires_ms })
}

/// Revokes a terminal: its streams end within a second on every node, and it is refused from then on.
///
/// # Errors
/// They may not, there is none of this id, or Redis is away.
pub async fn revoke(admin: &Admin, who: &Who, id: &str) -> Result<(), ActError> {
    who.needs(Role::Broadcaster)?;
    let broadcasts = of(admin);
    let now = broadcasts.now().await?;
    let terminals = broadcasts.terminals().await?;
    let terminal = terminals.iter().find(|terminal| terminal.id == id).ok_or_else(unknown)?;
    // The document first: it stands when all else is lost.
    admin
        .registry(who)?
        .change(|current| {
            let mut document = current.clone();
            if !document.revoked_terminals.insert(id.to_owned()) {
                return Ok::<_, ActError>(Edit { document, what: vec![], value: () });
            }
            document.moved_terminals.remove(id);
            let what = vec![format!("revoke terminal `{}` of shop `{}`", terminal.title(), terminal.shop)];
            Ok(Edit { document, what, value: () })
        })
        .await?;
    broadcasts
        .change_terminal(id, |terminal| {
            terminal.revoked_ms.get_or_insert(now);
            terminal.revoked_by.get_or_insert_with(|| who.name.to_string());
        })
        .await?;
    Ok(())
}

/// Moves a terminal to another shop; it sees what is for that one from now on.
///
/// # Errors
/// They may not, there is none of this id, it is revoked, there is no such shop (field `shop`), or Redis is away.
pub async fn move_to(admin: &Admin, who: &Who, id: &str, shop: &str) -> Result<(), ActError> {
    who.needs(Role::Broadcaster)?;
    let broadcasts = of(admin);
    let terminal = broadcasts.terminal(id).await?.ok_or_else(unknown)?;
    if terminal.is_revoked() {
        return Err(ActError::Conflict("this terminal is revoked; enrol it anew".into()));
    }
    admin
        .registry(who)?
        .change(|current| {
            if !current.shops.iter().any(|known| known.name == shop) {
                return Err(ActError::Invalid(vec![no_shop(shop)]));
            }
            let mut document = current.clone();
            if document.moved_terminals.insert(id.to_owned(), shop.to_owned()).as_deref() == Some(shop) {
                return Ok(Edit { document, what: vec![], value: () });
            }
            let what = vec![format!("move terminal `{}` to shop `{shop}`", terminal.title())];
            Ok(Edit { document, what, value: () })
        })
        .await?;
    broadcasts.change_terminal(id, |terminal| shop.clone_into(&mut terminal.shop)).await?;
    Ok(())
}

/// Gives a terminal another name.
///
/// # Errors
/// They may not, there is none of this id, the name is too long (field `name`), or Redis is away.
pub async fn rename(admin: &Admin, who: &Who, id: &str, name: &str) -> Result<(), ActError> {
    who.needs(Role::Broadcaster)?;
    let name = name_of(name)?;
    of(admin).change_terminal(id, |terminal| name.clone_into(&mut terminal.name)).await?;
    admin.note(who, &[format!("rename terminal {id} to `{name}`")]).await?;
    Ok(())
}

fn name_of(name: &str) -> Result<String, ActError> {
    let name = name.trim();
    if name.chars().count() > MOST_NAME || name.chars().any(char::is_control) {
        let message = format!("use up to {MOST_NAME} characters in one line");
        return Err(ActError::Invalid(vec![wrong("name", "too_long", message)]));
    }
    Ok(name.to_owned())
}

fn no_shop(shop: &str) -> crate::admin::FieldError {
    if shop.is_empty() {
        wrong("shop", "missing", "choose a shop")
    } else {
        wrong("shop", "unknown", format!("there is no shop `{shop}`; add it first"))
    }
}

fn unknown() -> ActError {
    ActError::Unknown("there is no such terminal".into())
}

fn view(document: &Document, roll: &Roll, terminal: &Terminal) -> TerminalView {
    let shop = document.shops.iter().find(|shop| shop.name == terminal.shop);
    TerminalView {
        id: terminal.id.clone(),
        name: terminal.title().to_owned(),
        shop: terminal.shop.clone(),
        shop_title: shop.map_or_else(|| terminal.shop.clone(), |shop| shop.title.clone()),
        region: roll.region(&terminal.shop).to_owned(),
        on: !terminal.is_revoked() && roll.is_on(terminal),
        seen_ms: roll.beats.get(&terminal.id).copied(),
        created_ms: terminal.created_ms,
        by: terminal.by.clone(),
        revoked_ms: terminal.revoked_ms,
        revoked_by: terminal.revoked_by.clone(),
    }
}
