//! Categories: what a message is about, and so what it looks and sounds like in a shop.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;

use super::{Shown, Tab, Wrong, answer, encoded, filled, present, sounds, tabs, text};
use crate::{
    admin::{
        ActError, Role,
        broadcasts::categories::{self as acts, CategoryView},
    },
    broadcast::parts::{Colour, Icon, Sound},
    console::{
        list::{List, ROWS},
        look::Html,
        page::{Frame, Nav, PageContext, PageError},
        texts::broadcast::Broadcast,
    },
    resources::Category,
    users::Lang,
};

const PATH: &str = "/console/broadcast/categories";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/broadcast/categories").route(web::get().to(list)))
        .service(web::resource("/broadcast/categories/~new").route(web::get().to(show_new)).route(web::post().to(add)))
        .service(web::resource("/broadcast/categories/{name}").route(web::get().to(show)).route(web::post().to(change)))
        .service(web::resource("/broadcast/categories/{name}/remove").route(web::post().to(remove)));
}

#[derive(Template)]
#[template(path = "broadcast/categories.html")]
struct ListPage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    query: Query,
    categories: Vec<Shown>,
    pager: Html,
    sounds: String,
    may_edit: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    q: String,
    page: Option<usize>,
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let (query, text) = (query.into_inner(), text(&page));
    let (views, _) = acts::list(page.admin(), &page.who()).await?;
    let mut categories: Vec<Shown> = views.iter().map(|view| Shown::of(&view.category, page.lang())).collect();
    let q = query.q.trim().to_lowercase();
    categories.retain(|one| [&one.title, &one.name].iter().any(|text| text.to_lowercase().contains(&q)));
    // In the order in which they are offered to whoever writes.
    let list = List::new(PATH, &[("q", &query.q)], "", "", query.page);
    let (categories, pager) = list.cut(categories, ROWS, page.look());
    page.render(&ListPage {
        frame: page.frame(Nav::Broadcast, text.categories),
        text,
        tabs: tabs(&page, PATH),
        query,
        categories,
        pager,
        sounds: sounds(),
        may_edit: page.may(Role::Operator),
    })
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Given {
    name: String,
    title: String,
    title_id: String,
    colour: String,
    icon: String,
    sound: String,
}

type Words = Vec<(&'static str, &'static str)>;

#[derive(Template)]
#[template(path = "broadcast/category.html")]
struct OnePage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    path: String,
    form: Given,
    is_new: bool,
    may_remove: bool,
    wrong: Wrong,
    sounds: String,
    colours: Words,
    icons: Words,
    sound_words: Words,
}

fn one(
    page: &PageContext,
    status: StatusCode,
    form: Given,
    is_new: bool,
    may_remove: bool,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let text = text(page);
    let named = |word: &'static str| (word, text.word(word));
    let indonesian = page.lang() == Lang::Id && !form.title_id.is_empty();
    let known = if indonesian { &form.title_id } else { &form.title };
    let title = if is_new { text.category_new.to_owned() } else { filled(text.category_edit, &[known]) };
    let shown = OnePage {
        frame: page.frame(Nav::Broadcast, title),
        text,
        tabs: tabs(page, PATH),
        path: if is_new { format!("{PATH}/~new") } else { format!("{PATH}/{}", encoded(&form.name)) },
        form,
        is_new,
        may_remove,
        wrong,
        sounds: sounds(),
        colours: Colour::ALL.iter().map(|one| named(one.as_str())).collect(),
        icons: Icon::ALL.iter().map(|one| named(one.as_str())).collect(),
        sound_words: Sound::ALL.iter().map(|one| named(one.as_str())).collect(),
    };
    page.render_with(status, &shown)
}

async fn find(page: &PageContext, name: &str) -> Result<CategoryView, PageError> {
    let (views, _) = acts::list(page.admin(), &page.who()).await?;
    views.into_iter().find(|view| view.category.name == name).ok_or_else(|| PageError::NotFound(String::new()))
}

async fn show_new(page: PageContext) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let form = Given {
        colour: Colour::default().as_str().into(),
        icon: Icon::default().as_str().into(),
        sound: Sound::default().as_str().into(),
        ..Given::default()
    };
    one(&page, StatusCode::OK, form, true, false, Wrong::default())
}

async fn show(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let CategoryView { category, own, .. } = find(&page, &name).await?;
    let form = Given {
        name: category.name,
        title: category.title,
        title_id: category.title_id.unwrap_or_default(),
        colour: category.colour.as_str().into(),
        icon: category.icon.as_str().into(),
        sound: category.sound.as_str().into(),
    };
    one(&page, StatusCode::OK, form, false, own, Wrong::default())
}

async fn add(page: PageContext, given: web::Form<Given>) -> Result<HttpResponse, PageError> {
    save(&page, given.into_inner(), true).await
}

async fn change(
    page: PageContext,
    name: web::Path<String>,
    given: web::Form<Given>,
) -> Result<HttpResponse, PageError> {
    save(&page, Given { name: name.into_inner(), ..given.into_inner() }, false).await
}

async fn save(page: &PageContext, given: Given, is_new: bool) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let known = || PageError::Bad("there is no such colour, sign or sound".into());
    let category = Category {
        name: given.name.trim().to_owned(),
        title: given.title.clone(),
        title_id: Some(given.title_id.clone()),
        colour: Colour::parse(&given.colour).ok_or_else(known)?,
        icon: Icon::parse(&given.icon).ok_or_else(known)?,
        sound: Sound::parse(&given.sound).ok_or_else(known)?,
    };
    let outcome = match present(page) {
        Ok(()) => acts::save(page.admin(), &page.who(), &category, is_new).await,
        Err(away) => Err(away),
    };
    match outcome {
        Ok(()) => Ok(page.done(PATH, filled(text(page).done_category, &[&given.title]))),
        Err(error @ (ActError::Invalid(_) | ActError::Conflict(_) | ActError::Unavailable(_))) => {
            let (status, wrong) = Wrong::of(page, error)?;
            one(page, status, given, is_new, false, wrong)
        }
        Err(error) => Err(error.into()),
    }
}

async fn remove(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let outcome = acts::remove(page.admin(), &page.who(), &name).await;
    let path = if outcome.is_ok() { PATH.to_owned() } else { format!("{PATH}/{}", encoded(&name)) };
    answer(&page, &path, outcome, filled(text(&page).done_category_removed, &[&name]))
}
