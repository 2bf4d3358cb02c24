//! Categories: the three that are built in, and the operator's own.

use serde::Serialize;

use crate::{
    admin::{
        ActError, Admin, Role, Who,
        fields::{name_complaint, wrong},
    },
    broadcast::parts::{all_categories, built_in},
    registry::Edit,
    resources::Category,
};

/// Most categories: more than anybody tells apart.
const MOST: usize = 50;
/// Longest title, in characters.
const MOST_CHARS: usize = 60;

/// A category as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CategoryView {
    /// The category.
    pub category: Category,
    /// It is always there.
    pub built_in: bool,
    /// The operator changed it, or it is the operator's own.
    pub own: bool,
}

/// All categories, the built-in ones first; why Redis could not be asked, where this is what the node knew.
///
/// # Errors
/// None so far; what is away is told beside the list.
pub async fn list(admin: &Admin, _who: &Who) -> Result<(Vec<CategoryView>, Option<ActError>), ActError> {
    let (document, away) = admin.newest_or_known().await;
    let view = |category: Category| CategoryView {
        built_in: built_in().iter().any(|one| one.name == category.name),
        own: document.categories.iter().any(|one| one.name == category.name),
        category,
    };
    Ok((all_categories(&document.categories).into_iter().map(view).collect(), away))
}

/// Adds a category, or changes the one of this name (`new`: it must not be there yet).
///
/// # Errors
/// They may not, something that was given is wrong (fields `name`, `title`, `title_id`), or Redis is away.
pub async fn save(admin: &Admin, who: &Who, category: &Category, new: bool) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let mut wanted = category.clone();
    wanted.title = wanted.title.trim().to_owned();
    wanted.title_id = wanted.title_id.map(|title| title.trim().to_owned()).filter(|title| !title.is_empty());
    let mut complaints: Vec<_> = name_complaint("name", &wanted.name).into_iter().collect();
    if wanted.title.is_empty() {
        complaints.push(wrong("title", "missing", "give a title"));
    }
    for (field, value) in [("title", Some(&wanted.title)), ("title_id", wanted.title_id.as_ref())] {
        if value.is_some_and(|value| value.chars().count() > MOST_CHARS || value.chars().any(char::is_control)) {
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
            let there = all_categories(&current.categories).iter().any(|one| one.name == *name);
            if new && there {
                let message = format!("there is a category `{name}` already; give another name");
                return Err(ActError::Invalid(vec![wrong("name", "taken", message)]));
            }
            if !new && !there {
                return Err(ActError::Unknown(format!("there is no category `{name}`")));
            }
            let many = document.categories.len();
            let what = match document.categories.iter_mut().find(|known| known.name == *name) {
                Some(known) if *known == wanted => vec![],
                Some(known) => {
                    known.clone_from(&wanted);
                    vec![format!("change category `{name}`")]
                }
                None if many >= MOST => {
                    return Err(ActError::Conflict(format!("there are {MOST} categories already; remove some")));
                }
                None => {
                    document.categories.push(wanted.clone());
                    vec![format!("{} category `{name}`", if there { "change" } else { "add" })]
                }
            };
            Ok(Edit { document, what, value: () })
        })
        .await?;
    Ok(())
}

/// Removes an own category; a built-in one that was changed is as it was again. Messages of it stay.
///
/// # Errors
/// They may not, there is none of this name of the operator's own, or Redis is away.
pub async fn remove(admin: &Admin, who: &Who, name: &str) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    admin
        .registry(who)?
        .change(|current| {
            let mut document = current.clone();
            document.categories.retain(|category| category.name != name);
            if document.categories.len() == current.categories.len() {
                let message = format!("there is no category `{name}` of your own; the built-in ones stay");
                return Err(ActError::Unknown(message));
            }
            Ok(Edit { document, what: vec![format!("remove category `{name}`")], value: () })
        })
        .await?;
    Ok(())
}
