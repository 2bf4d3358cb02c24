//! Shops and categories of broadcasts over the admin API.

use actix_web::{HttpResponse, http::StatusCode, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Caller, Refusal, answer, read};
use crate::{
    admin::{
        ActError,
        broadcasts::{
            categories::{self, CategoryView},
            shops::{self, ShopView},
        },
        fields::wrong,
    },
    broadcast::parts::{Colour, Icon, Sound},
    resources::{Category, Shop},
};

fn shop(view: &ShopView) -> Value {
    let (of, reach) = (&view.shop, view.reach.unwrap_or_default());
    json!({
        "name": of.name, "title": of.title, "region": of.region,
        "terminals": reach.terminals, "on_now": reach.on_now,
    })
}

async fn all_shops(caller: &Caller) -> Result<Vec<Value>, Refusal> {
    match shops::list(&caller.admin, &caller.who).await? {
        (_, Some(away)) => Err(away.into()),
        (views, None) => Ok(views.iter().map(shop).collect()),
    }
}

pub(super) async fn list(caller: Caller) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &json!({"shops": all_shops(&caller).await?})))
}

/// The one of this name, as lists show it.
fn named(all: Vec<Value>, what: &str, name: &str, status: StatusCode) -> Result<HttpResponse, Refusal> {
    match all.into_iter().find(|one| one["name"] == *name) {
        Some(one) => Ok(answer(status, &one)),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, format!("There is no {what} `{name}`."))),
    }
}

pub(super) async fn show(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    named(all_shops(&caller).await?, "shop", &name, StatusCode::OK)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewShop {
    #[serde(default)]
    name: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    region: String,
}

/// A name is given once, and stays: in a change it may be left out.
fn settled(given: String, there: &str) -> Result<String, Refusal> {
    if given.is_empty() || given == *there {
        return Ok(there.to_owned());
    }
    Err(ActError::Invalid(vec![wrong("name", "fixed", "a name stays as it is; leave it out")]).into())
}

pub(super) async fn add(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let NewShop { name, title, region } = read(&body)?;
    let shop = Shop { name, title, region };
    shops::save(&caller.admin, &caller.who, &shop, true).await?;
    named(all_shops(&caller).await?, "shop", &shop.name, StatusCode::CREATED)
}

pub(super) async fn edit(caller: Caller, name: web::Path<String>, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let given: NewShop = read(&body)?;
    let shop = Shop { name: settled(given.name, &name)?, title: given.title, region: given.region };
    shops::save(&caller.admin, &caller.who, &shop, false).await?;
    named(all_shops(&caller).await?, "shop", &name, StatusCode::OK)
}

pub(super) async fn remove(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    shops::remove(&caller.admin, &caller.who, &name).await?;
    Ok(answer(StatusCode::OK, &json!({"removed": *name})))
}

async fn all_categories(caller: &Caller) -> Result<Vec<Value>, Refusal> {
    let view = |CategoryView { category, built_in, own }: CategoryView| {
        json!({
            "name": category.name, "title": category.title, "title_id": category.title_id, "colour": category.colour,
            "icon": category.icon, "sound": category.sound, "built_in": built_in, "own": own,
        })
    };
    match categories::list(&caller.admin, &caller.who).await? {
        (_, Some(away)) => Err(away.into()),
        (views, None) => Ok(views.into_iter().map(view).collect()),
    }
}

pub(super) async fn list_categories(caller: Caller) -> Result<HttpResponse, Refusal> {
    Ok(answer(StatusCode::OK, &json!({"categories": all_categories(&caller).await?})))
}

pub(super) async fn show_category(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    named(all_categories(&caller).await?, "category", &name, StatusCode::OK)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCategory {
    #[serde(default)]
    name: String,
    title: String,
    title_id: Option<String>,
    #[serde(default)]
    colour: Colour,
    #[serde(default)]
    icon: Icon,
    #[serde(default)]
    sound: Sound,
}

impl NewCategory {
    fn called(self, name: String) -> Category {
        let Self { title, title_id, colour, icon, sound, .. } = self;
        Category { name, title, title_id, colour, icon, sound }
    }
}

pub(super) async fn add_category(caller: Caller, body: web::Bytes) -> Result<HttpResponse, Refusal> {
    let given: NewCategory = read(&body)?;
    let name = given.name.clone();
    categories::save(&caller.admin, &caller.who, &given.called(name.clone()), true).await?;
    named(all_categories(&caller).await?, "category", &name, StatusCode::CREATED)
}

pub(super) async fn edit_category(
    caller: Caller,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let given: NewCategory = read(&body)?;
    let called = settled(given.name.clone(), &name)?;
    categories::save(&caller.admin, &caller.who, &given.called(called), false).await?;
    named(all_categories(&caller).await?, "category", &name, StatusCode::OK)
}

pub(super) async fn remove_category(caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    categories::remove(&caller.admin, &caller.who, &name).await?;
    Ok(answer(StatusCode::OK, &json!({"removed": *name})))
}
