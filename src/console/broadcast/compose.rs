//! Writing a message: to whom, what, how; how many it reaches, and what the shop will see, while one writes.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    Shown, Tab, Wrong, audience_words, categories_of, filled, form::Form, may_act, present, sounds, tabs, text,
};
use crate::{
    admin::{
        ActError, Role,
        broadcasts::{
            compose::{self as acts, ComposeView, RegionBranch},
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
/// Shops whose counts follow while somebody writes.
const MOST_LIVE: usize = 2_000;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/broadcast").route(web::get().to(show)).route(web::post().to(send)))
        .service(web::resource("/broadcast/reach").route(web::post().to(reach)))
        .service(web::resource("/broadcast/counts").route(web::get().to(counts)));
}

/// A region in the tree.
struct Group {
    name: String,
    count: Count,
    shops: Vec<Leaf>,
}

struct Leaf {
    name: String,
    title: String,
    count: Count,
}

/// How many terminals a region or a shop has and how many of them are on, in words and at its place in the page.
#[derive(Clone)]
struct Count {
    id: String,
    words: String,
}

/// The tree as it is drawn.
fn groups(page: &PageContext, tree: Vec<RegionBranch>, counted: bool) -> Vec<Group> {
    let (text, look) = (text(page), page.look());
    let words = |reach: Reach| match (counted, reach.terminals) {
        (false, _) => String::new(),
        (true, 0) => text.no_terminals.to_owned(),
        (true, _) => filled(text.terminals_on, &[&look.count(reach.on_now), &look.count(reach.terminals)]),
    };
    let leaf = |shop: acts::ShopLeaf| Leaf {
        count: Count { id: format!("on-shop-{}", shop.name), words: words(shop.reach) },
        name: shop.name,
        title: shop.title,
    };
    let group = |branch: RegionBranch| Group {
        // A region is called as somebody likes, and an id has no spaces.
        count: Count { id: format!("on-region-{}", digested(&[&branch.region])), words: words(branch.reach) },
        name: branch.region,
        shops: branch.shops.into_iter().map(leaf).collect(),
    };
    tree.into_iter().map(group).collect()
}

fn digested(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The counts of the tree, which follow what happens: the same, and again only where they are others than those that were seen.
#[derive(Template)]
#[template(path = "broadcast/counts.html")]
struct CountsPart {
    /// What was seen.
    seen: String,
    /// What is sent of it.
    counts: Vec<Count>,
}

impl CountsPart {
    fn of(groups: &[Group]) -> Self {
        let regions = groups.iter().map(|group| &group.count);
        // What thousands of shops have is told as of loading: nobody sees them all at once, and their regions' counts follow.
        let all = groups.iter().flat_map(|group| &group.shops).map(|shop| &shop.count).take(MOST_LIVE);
        let counts: Vec<Count> = regions.chain(all).cloned().collect();
        let parts: Vec<&str> = counts.iter().flat_map(|count| [count.id.as_str(), &count.words]).collect();
        Self { seen: digested(&parts), counts }
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
    counts: Html,
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
    let groups = groups(page, tree, away.is_none());
    let counts = CountsPart { counts: Vec::new(), ..CountsPart::of(&groups) };
    let shown = ComposePage {
        frame: page.frame(Nav::Broadcast, text.compose),
        text,
        tabs: tabs(page, "/console/broadcast"),
        form,
        groups,
        counts: Html::of(&counts)?,
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

#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    seen: String,
}

/// What changes in the tree while somebody chooses; nothing while it is not known, so that what was known stays.
async fn counts(page: PageContext, seen: web::Query<Seen>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let found = match page.redis_away() {
        Some(_) => None,
        None => Some(acts::view(page.admin(), &page.who()).await?).filter(|view| view.away.is_none()),
    };
    let part = found.map(|view| CountsPart::of(&groups(&page, view.tree, true))).filter(|part| part.seen != seen.seen);
    match part {
        Some(part) => page.render(&part),
        None => Ok(HttpResponse::NoContent().finish()),
    }
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
    let outcome = match present(&page) {
        Ok(()) => acts::send_named(page.admin(), &who, &draft, None, names).await,
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
