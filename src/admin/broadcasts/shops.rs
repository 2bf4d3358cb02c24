//! Shops: the places that terminals stand in and broadcasts are for.

use serde::Serialize;

use super::of;
use crate::{
    admin::{
        ActError, Admin, Role, Who,
        fields::{name_complaint, wrong},
    },
    broadcast::{
        message::{Audience, Reach},
        roll::Roll,
    },
    registry::Edit,
    resources::Shop,
};

/// Most shops: every node holds them all.
const MOST: usize = 20_000;
/// Longest title and region, in characters.
const MOST_CHARS: usize = 120;

/// A shop as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShopView {
    /// The shop.
    pub shop: Shop,
    /// Its terminals; `None` while Redis is away.
    pub reach: Option<Reach>,
}

/// All shops by region and title, and why their terminals could not be counted.
///
/// # Errors
/// None so far; what is away is told beside the list.
pub async fn list(admin: &Admin, _who: &Who) -> Result<(Vec<ShopView>, Option<ActError>), ActError> {
    let (document, away) = admin.newest_or_known().await;
    let (roll, away) = match away {
        None => match Roll::call(&of(admin), &document).await {
            Ok(roll) => (Some(roll), None),
            Err(error) => (None, Some(error.into())),
        },
        away => (None, away),
    };
    let counts = roll.as_ref().map(Roll::by_shop);
    let reach = |shop: &Shop| counts.as_ref().map(|counts| counts.get(&*shop.name).copied().unwrap_or_default());
    let mut views: Vec<ShopView> =
        document.shops.iter().map(|shop| ShopView { shop: shop.clone(), reach: reach(shop) }).collect();
    views.sort_by_key(|view| (view.shop.region.clone(), view.shop.title.to_lowercase(), view.shop.name.clone()));
    Ok((views, away))
}

/// Adds a shop, or changes the one of this name (`new`: it must not be there yet).
///
/// # Errors
/// They may not, something that was given is wrong (fields `name`, `title`, `region`), or Redis is away.
pub async fn save(admin: &Admin, who: &Who, shop: &Shop, new: bool) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let mut complaints: Vec<_> = name_complaint("name", &shop.name).into_iter().collect();
    let wanted = Shop {
        name: shop.name.clone(),
        title: if shop.title.trim().is_empty() { shop.name.clone() } else { shop.title.trim().to_owned() },
        region: shop.region.trim().to_owned(),
    };
    for (field, value) in [("title", &wanted.title), ("region", &wanted.region)] {
        if value.chars().count() > MOST_CHARS || value.chars().any(char::is_control) {
            complaints.push(wrong(field, "too_long", format!("use up to {MOST_CHARS} characters in one line")));
        }
    }
    if !complaints.is_empty() {
        return Err(ActError::Invalid(complaints));
    }
    admin
        .registry(who)?
        .change(|current| {
            let mut document = current.clone();
            let name = &wanted.name;
            let many = document.shops.len();
            let what = match document.shops.iter_mut().find(|known| known.name == *name) {
                Some(_) if new => {
                    let message = format!("there is a shop `{name}` already; give another name");
                    return Err(ActError::Invalid(vec![wrong("name", "taken", message)]));
                }
                Some(known) if *known == wanted => vec![],
                Some(known) => {
                    known.clone_from(&wanted);
                    vec![format!("change shop `{name}`")]
                }
                None if !new => return Err(ActError::Unknown(format!("there is no shop `{name}`"))),
                None if many >= MOST => {
                    return Err(ActError::Conflict(format!("there are {MOST} shops already; remove some")));
                }
                None => {
                    document.shops.push(wanted.clone());
                    vec![format!("add shop `{name}`")]
                }
            };
            Ok(Edit { document, what, value: () })
        })
        .await?;
    Ok(())
}

/// Removes a shop that has no terminals.
///
/// # Errors
/// They may not, there is none of this name, it has terminals ([`ActError::Conflict`]), or Redis is away.
pub async fn remove(admin: &Admin, who: &Who, name: &str) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let roll = Roll::call(&of(admin), &admin.newest().await?).await?;
    let reach = roll.reach(&Audience { shops: vec![name.to_owned()], ..Audience::default() });
    if reach.terminals > 0 {
        return Err(ActError::Conflict(format!(
            "shop `{name}` has terminals ({}); move or revoke them first",
            reach.terminals
        )));
    }
    admin
        .registry(who)?
        .change(|current| {
            let mut document = current.clone();
            document.shops.retain(|shop| shop.name != name);
            if document.shops.len() == current.shops.len() {
                return Err(ActError::Unknown(format!("there is no shop `{name}`")));
            }
            Ok(Edit { document, what: vec![format!("remove shop `{name}`")], value: () })
        })
        .await?;
    Ok(())
}
