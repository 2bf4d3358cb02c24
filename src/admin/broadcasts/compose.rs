//! Writing a broadcast: whom it reaches, whether it will do, and sending it.

use serde::{Deserialize, Serialize};
use tidegate_actors::delivery::random_token;

use super::{noted, of, to_whom};
use crate::{
    admin::{ActError, Admin, FieldError, Role, Who, fields::wrong},
    broadcast::{
        message::{
            Audience, Content, LONGEST_AHEAD_MS, MOST_IMAGE, MOST_TEXT, MOST_TITLE, Message, Reach, State, plain,
            rfc3339,
        },
        parts::{KEPT_DAYS, all_categories},
        roll::Roll,
        store::{CastError, Named, image_type},
    },
    resources::{Category, Document},
};

const ID_LENGTH: usize = 16;
/// The code of an `Idempotency-Key` that stands for another body.
pub(crate) const KEY_REUSED: &str = "key_reused";

/// A broadcast as somebody wrote it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Whom it is for.
    pub audience: Audience,
    /// The category's name.
    pub category: String,
    /// One line, 1 to 120 characters.
    pub title: String,
    /// Plain text, 1 to 4,000 characters; line breaks stay.
    pub text: String,
    /// PNG, JPEG, GIF or WebP of at most 512 KiB.
    pub image: Option<Vec<u8>>,
    /// Digest of an image that is kept already: for a correction that leaves it as it is.
    pub kept_image: Option<String>,
    /// From when on it is of no more use, in milliseconds since the Unix epoch.
    pub valid_until_ms: Option<u64>,
    /// Whether a person at each terminal must confirm it.
    pub must_confirm: bool,
    /// When to send it, in milliseconds since the Unix epoch; `None` is now.
    pub send_at_ms: Option<u64>,
}

/// What became of a broadcast that somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// How many terminals it is for, and how many of these are on now.
    pub reach: Reach,
    /// When it is to be sent, where it is scheduled.
    pub due_ms: Option<u64>,
    /// It was there already: the same was sent under the same name before.
    pub replayed: bool,
}

/// A region of the tree of audiences; the one without a name holds the shops that have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionBranch {
    /// Its name; may be empty.
    pub region: String,
    /// How many terminals are in it.
    pub reach: Reach,
    /// Its shops.
    pub shops: Vec<ShopLeaf>,
}

/// A shop in the tree of audiences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopLeaf {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// How many terminals are in it.
    pub reach: Reach,
}

/// What the compose page is made of.
#[derive(Clone, Debug, Default)]
pub struct ComposeView {
    /// All categories.
    pub categories: Vec<Category>,
    /// Regions by name with their shops by title; shops without a region come last, in a branch without a name.
    pub tree: Vec<RegionBranch>,
    /// All terminals.
    pub everybody: Reach,
    /// Why the counts are not known.
    pub away: Option<String>,
}

/// What the compose page shows. Without Redis it has the shops and categories that this node knows, and no counts.
///
/// # Errors
/// They may not.
pub async fn view(admin: &Admin, who: &Who) -> Result<ComposeView, ActError> {
    who.needs(Role::Broadcaster)?;
    let document = admin.document();
    let (roll, away) = match Roll::call(&of(admin), &document).await {
        Ok(roll) => (Some(roll), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let counts = roll.as_ref().map(Roll::by_shop).unwrap_or_default();
    let mut tree: Vec<RegionBranch> = Vec::new();
    let mut shops: Vec<_> = document.shops.iter().collect();
    shops.sort_by_key(|shop| (shop.region.is_empty(), shop.region.clone(), shop.title.to_lowercase()));
    for shop in shops {
        let reach = counts.get(shop.name.as_str()).copied().unwrap_or_default();
        let leaf = ShopLeaf { name: shop.name.clone(), title: shop.title.clone(), reach };
        match tree.last_mut().filter(|branch| branch.region == shop.region) {
            Some(branch) => branch.shops.push(leaf),
            None => tree.push(RegionBranch { region: shop.region.clone(), reach: Reach::default(), shops: vec![leaf] }),
        }
    }
    for branch in &mut tree {
        branch.reach.terminals = branch.shops.iter().map(|shop| shop.reach.terminals).sum();
        branch.reach.on_now = branch.shops.iter().map(|shop| shop.reach.on_now).sum();
    }
    let everybody = roll.as_ref().map(|roll| roll.reach(&Audience::all())).unwrap_or_default();
    Ok(ComposeView { categories: all_categories(&document.categories), tree, everybody, away })
}

/// How many terminals an audience has, and how many of these are on.
///
/// # Errors
/// They may not, or Redis is away.
pub async fn reach(admin: &Admin, who: &Who, audience: &Audience) -> Result<Reach, ActError> {
    who.needs(Role::Broadcaster)?;
    Ok(Roll::call(&of(admin), &admin.document()).await?.reach(audience))
}

/// Sends a broadcast, or schedules it.
///
/// # Errors
/// They may not; something that was given is wrong (fields `audience`, `category`, `title`, `text`, `image`, `valid_until`,
/// `send_at`); or Redis is away ([`ActError::Unavailable`]: nothing was sent).
pub async fn send(admin: &Admin, who: &Who, draft: &Draft) -> Result<Sent, ActError> {
    send_named(admin, who, draft, None, Vec::new()).await
}

/// The same, once under these names.
pub(crate) async fn send_named(
    admin: &Admin,
    who: &Who,
    draft: &Draft,
    own_id: Option<String>,
    names: Vec<Named>,
) -> Result<Sent, ActError> {
    who.needs(Role::Broadcaster)?;
    let sender = Sender { by: who.name.to_string(), application: None, own_id, names };
    let sent = publish(admin, draft, sender).await?;
    if !sent.replayed {
        let (whom, many) = (to_whom(&draft.audience), sent.reach.terminals);
        let what = match sent.due_ms {
            Some(due) => format!("schedule broadcast {} to {whom} for {}", sent.id, rfc3339(due)),
            None => format!("send broadcast {} to {whom} (terminals: {many})", sent.id),
        };
        noted(admin, who, what).await;
    }
    Ok(sent)
}

/// Who sends, and the names under which it is taken once.
pub(crate) struct Sender {
    pub(crate) by: String,
    pub(crate) application: Option<String>,
    pub(crate) own_id: Option<String>,
    pub(crate) names: Vec<Named>,
}

/// For whoever was found to have the right.
pub(crate) async fn publish(admin: &Admin, draft: &Draft, sender: Sender) -> Result<Sent, ActError> {
    // A category or a shop that was made a moment ago counts.
    let document = admin.newest().await?;
    let roll = Roll::call(&of(admin), &document).await?;
    let now = roll.now_ms;
    let mut content = content(draft, &document, now)?;
    if let Some(due) = draft.send_at_ms {
        let over = content.valid_until_ms.is_some_and(|until| until <= due);
        let complaint = if due > now + LONGEST_AHEAD_MS {
            Some(wrong("send_at", "too_far", "this is more than 90 days ahead; give an earlier time"))
        } else if over {
            Some(wrong("valid_until", "before_sending", "it would be over before it is sent; give a later time"))
        } else {
            None
        };
        if let Some(complaint) = complaint {
            return Err(ActError::Invalid(vec![complaint]));
        }
    }
    let broadcasts = of(admin);
    if let Some(image) = &draft.image {
        content.image = Some(broadcasts.keep_image(image, image_days(&document, draft.send_at_ms, now)).await?);
    }
    let due_ms = draft.send_at_ms.filter(|due| *due > now);
    let reach = roll.reach(&draft.audience);
    let message = Message {
        id: random_token(ID_LENGTH),
        state: if due_ms.is_some() { State::Scheduled } else { State::Sent },
        audience: draft.audience.clone(),
        content,
        by: sender.by,
        application: sender.application,
        own_id: sender.own_id,
        created_ms: now,
        due_ms,
        sent_ms: due_ms.is_none().then_some(now),
        corrected_ms: None,
        recalled_ms: None,
        recalled_by: None,
        reminded_ms: None,
        reach,
        versions: Vec::new(),
    };
    let published = match broadcasts.publish(&message, &sender.names).await {
        Err(CastError::NameUsed("id")) => {
            let message = "this id belongs to an earlier broadcast with other contents";
            return Err(ActError::Invalid(vec![wrong("id", "id_reused", message)]));
        }
        Err(CastError::NameUsed(name)) => {
            return Err(ActError::Invalid(vec![wrong(name, KEY_REUSED, "it was used with another body")]));
        }
        published => published?,
    };
    let due_ms = if published.replayed { broadcasts.get(&published.id).await?.due_ms } else { due_ms };
    Ok(Sent { id: published.id, reach, due_ms, replayed: published.replayed })
}

/// For how many days an image is kept: as long as its message, which counts from when that is sent.
pub(super) fn image_days(document: &Document, due_ms: Option<u64>, now_ms: u64) -> u32 {
    let ahead = due_ms.map_or(0, |due| due.saturating_sub(now_ms).div_ceil(86_400_000));
    let kept = document.settings.broadcasts_kept_days.unwrap_or(KEPT_DAYS);
    kept.saturating_add(u32::try_from(ahead).unwrap_or(u32::MAX))
}

/// What is to be shown, if it will do.
pub(super) fn content(draft: &Draft, document: &Document, now_ms: u64) -> Result<Content, ActError> {
    let mut complaints = audience_complaint(&draft.audience, document);
    if !all_categories(&document.categories).iter().any(|category| category.name == draft.category) {
        complaints.push(if draft.category.is_empty() {
            wrong("category", "missing", "choose a category")
        } else {
            wrong("category", "unknown", format!("there is no category `{}`", draft.category))
        });
    }
    // Browsers send line breaks as two characters.
    let (title, text) = (plain(&draft.title), plain(&draft.text));
    let (title, text) = (title.trim(), text.trim_end().trim_start_matches('\n'));
    for (field, value, most) in [("title", title, MOST_TITLE), ("text", text, MOST_TEXT)] {
        if value.trim().is_empty() {
            complaints.push(wrong(field, "missing", format!("give a {field}")));
        } else if value.chars().count() > most {
            complaints.push(wrong(field, "too_long", format!("at most {most} characters")));
        }
    }
    if title.contains('\n') {
        complaints.push(wrong("title", "line_break", "a title is one line"));
    }
    if let Some(image) = &draft.image {
        if image.len() > MOST_IMAGE {
            complaints.push(wrong("image", "too_large", "an image has at most 512 KiB"));
        } else if image_type(image).is_none() {
            complaints.push(wrong("image", "not_an_image", "give a PNG, JPEG, GIF or WebP image"));
        }
    }
    if draft.valid_until_ms.is_some_and(|until| until <= now_ms) {
        complaints.push(wrong("valid_until", "in_the_past", "this time is over already; give a later one"));
    }
    if !complaints.is_empty() {
        return Err(ActError::Invalid(complaints));
    }
    Ok(Content {
        category: draft.category.clone(),
        title: title.to_owned(),
        text: text.to_owned(),
        image: draft.kept_image.clone().filter(|_| draft.image.is_none()),
        valid_until_ms: draft.valid_until_ms,
        must_confirm: draft.must_confirm,
    })
}

fn audience_complaint(audience: &Audience, document: &Document) -> Vec<FieldError> {
    if audience.is_empty() {
        return vec![wrong("audience", "missing", "choose who is to see it")];
    }
    if audience.all {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for region in &audience.regions {
        if region.is_empty() || !document.shops.iter().any(|shop| shop.region == *region) {
            complaints.push(wrong("audience", "unknown_region", format!("no shop is in region `{region}`")));
        }
    }
    for name in &audience.shops {
        if !document.shops.iter().any(|shop| shop.name == *name) {
            complaints.push(wrong("audience", "unknown_shop", format!("there is no shop `{name}`")));
        }
    }
    complaints.truncate(20);
    complaints
}
