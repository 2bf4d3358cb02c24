//! Writing a message: to whom, what, how; how many it reaches, and what the shop will see, while one writes.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;

use super::{
    Shown, Tab, Wrong, audience_words, categories_of, filled, form::Form, may_act, present, sounds, tabs, text,
};
use crate::{
    admin::{
        ActError, Role,
        broadcasts::{
            compose::{self as acts, ComposeView, RegionBranch, Sender},
            of,
        },
    },
    broadcast::message::{MOST_TEXT, MOST_TITLE, Reach},
    console::{
        look::{Html, Look},
        page::{Frame, Nav, PageContext, PageError},
        texts::broadcast::Broadcast,
    },
};

/// Regions with more shops than this are folded at first.
const OPEN_SHOPS: usize = 6;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/broadcast").route(web::get().to(show)).route(web::post().to(send)))
        .service(web::resource("/broadcast/reach").route(web::post().to(reach)));
}

/// A region in the tree.
struct Group {
    name: String,
    terminals: u64,
    on: u64,
    shops: Vec<Leaf>,
}

struct Leaf {
    name: String,
    title: String,
    terminals: u64,
    on: u64,
}

impl Group {
    fn of(branch: RegionBranch) -> Self {
        let leaf = |shop: acts::ShopLeaf| Leaf {
            name: shop.name,
            title: shop.title,
            terminals: shop.reach.terminals,
            on: shop.reach.on_now,
        };
        Self {
            name: branch.region,
            terminals: branch.reach.terminals,
            on: branch.reach.on_now,
            shops: branch.shops.into_iter().map(leaf).collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "broadcast/compose.html")]
struct ComposePage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    form: Form,
    groups: Vec<Group>,
    /// The counts are known.
    counted: bool,
    categories: Vec<Shown>,
    reach: Html,
    wrong: Wrong,
    sounds: String,
    may_shops: bool,
    most_title: usize,
    most_text: usize,
}

impl ComposePage {
    fn shops_in_all(&self) -> String {
        let shops: usize = self.groups.iter().map(|group| group.shops.len()).sum();
        self.text.shops_count.replace("{}", &self.frame.count(shops as u64))
    }

    fn shops_in(&self, group: &Group) -> String {
        self.text.shops_count.replace("{}", &self.frame.count(group.shops.len() as u64))
    }

    fn on_of(&self, on: &u64, terminals: &u64) -> String {
        match (self.counted, *terminals) {
            (false, _) => String::new(),
            (true, 0) => self.text.no_terminals.to_owned(),
            (true, _) => filled(self.text.terminals_on, &[&self.frame.count(*on), &self.frame.count(*terminals)]),
        }
    }

    fn is_open(&self, group: &Group) -> bool {
        group.shops.len() <= OPEN_SHOPS || group.shops.iter().any(|shop| self.form.shops.contains(&shop.name))
    }
}

/// The line that tells how many a message reaches.
#[derive(Template)]
#[template(path = "broadcast/reach.html")]
struct ReachPart {
    look: Look,
    text: &'static Broadcast,
    reach: Option<Reach>,
    /// Somebody was chosen.
    chosen: bool,
}

impl ReachPart {
    fn words(&self, reach: &Reach) -> String {
        filled(self.text.reach, &[&self.look.count(reach.terminals), &self.look.count(reach.on_now)])
    }
}

async fn show(page: PageContext) -> Result<HttpResponse, PageError> {
    if !may_act(&page) {
        // There is nothing to write; what was sent can be read.
        return Ok(page.see("/console/broadcast/sent"));
    }
    let categories = categories_of(&page.admin().document(), page.lang());
    let form = Form::new(tidegate_actors::delivery::random_token(16), &categories);
    render(&page, StatusCode::OK, form, Wrong::default()).await
}

async fn render(page: &PageContext, status: StatusCode, form: Form, wrong: Wrong) -> Result<HttpResponse, PageError> {
    let text = text(page);
    let ComposeView { tree, everybody, away, .. } = acts::view(page.admin(), &page.who()).await?;
    let audience = form.audience();
    let reach = match &away {
        Some(_) => None,
        None if audience.all => Some(everybody),
        None => acts::reach(page.admin(), &page.who(), &audience).await.ok(),
    };
    let part = ReachPart { look: page.look(), text, reach, chosen: !audience.is_empty() };
    let categories = categories_of(&page.admin().document(), page.lang());
    let shown = ComposePage {
        frame: page.frame(Nav::Broadcast, text.compose),
        text,
        tabs: tabs(page, "/console/broadcast"),
        form,
        groups: tree.into_iter().map(Group::of).collect(),
        counted: away.is_none(),
        categories,
        reach: Html::of(&part)?,
        wrong,
        sounds: sounds(),
        may_shops: page.may(Role::Operator),
        most_title: MOST_TITLE,
        most_text: MOST_TEXT,
    };
    page.render_with(status, &shown)
}

async fn reach(page: PageContext, given: web::Form<Vec<(String, String)>>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let audience = Form::read(given.into_inner(), true, &[]).audience();
    let reach = match page.redis_away() {
        Some(_) => None,
        None => acts::reach(page.admin(), &page.who(), &audience).await.ok(),
    };
    page.render(&ReachPart { look: page.look(), text: text(&page), reach, chosen: !audience.is_empty() })
}

async fn send(page: PageContext, given: web::Form<Vec<(String, String)>>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let text = text(&page);
    let categories = categories_of(&page.admin().document(), page.lang());
    let form = Form::read(given.into_inner(), true, &categories);
    let draft = match form.draft() {
        Ok(draft) => draft,
        Err(fields) => {
            let wrong = Wrong::fields(&page, fields);
            return render(&page, StatusCode::UNPROCESSABLE_ENTITY, form, wrong).await;
        }
    };
    let who = page.who();
    // A form that is sent again because its answer was lost is the same message.
    let names = match form.draft.as_str() {
        "" => Vec::new(),
        draft => vec![of(page.admin()).name("console", &who.name, draft, b"")],
    };
    let sender = Sender { by: who.name.to_string(), application: None, own_id: None, names };
    let outcome = match present(&page) {
        Ok(()) => acts::publish(page.admin(), &draft, sender).await,
        Err(away) => Err(away),
    };
    match outcome {
        Ok(sent) => {
            let path = format!("/console/broadcast/sent/{}", sent.id);
            Ok(page.done(&path, if sent.due_ms.is_some() { text.done_scheduled } else { text.done_sent }))
        }
        Err(ActError::Unavailable(why)) => {
            let wrong = Wrong { away: Some(page.look().why(why)), ..Wrong::default() };
            render(&page, StatusCode::SERVICE_UNAVAILABLE, form, wrong).await
        }
        Err(error) => {
            let (status, wrong) = Wrong::of(&page, error)?;
            render(&page, status, form, wrong).await
        }
    }
}

/// Whom a message is for, in words.
pub(super) fn to_whom(page: &PageContext, audience: &crate::broadcast::message::Audience) -> String {
    audience_words(text(page), &page.admin().document(), audience)
}
