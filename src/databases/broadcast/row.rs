//! One row as a broadcast: which cells it has, whether they will do, and what they make of a broadcast that stands.

use tidegate_actors::{
    ports::Rejection,
    transaction::{Cell, Statement},
};

use super::table::{CATEGORY, MOST_KEY};
use crate::{
    broadcast::{
        message::{Audience, Content, LONGEST_AHEAD_MS, MOST_TEXT, MOST_TITLE, Message, plain},
        parts::all_categories,
    },
    resources::Document,
};

/// The cells of one row, by column; `None` where the row does not speak of it.
#[derive(Debug, Default)]
pub(super) struct Row<'a> {
    pub(super) key: Option<&'a str>,
    audience: Option<Option<&'a str>>,
    region: Option<Option<&'a str>>,
    shop: Option<Option<&'a str>>,
    category: Option<Option<&'a str>>,
    title: Option<Option<&'a str>>,
    text: Option<Option<&'a str>>,
    valid_until: Option<Option<&'a str>>,
    must_confirm: Option<Option<&'a str>>,
    send_at: Option<Option<&'a str>>,
}

/// What a row of a new broadcast, or a changed one, comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) audience: Audience,
    pub(super) content: Content,
    /// When it is to be sent: `None` where the row does not speak of it, a moment only where it is yet to come.
    pub(super) due_ms: Option<Option<u64>>,
}

/// Why a row will not do.
pub(super) fn refused(code: &str, column: &str, message: impl Into<String>) -> Rejection {
    Rejection {
        statement: None,
        row: None,
        code: code.into(),
        column: (!column.is_empty()).then(|| column.into()),
        message: message.into(),
    }
}

impl<'a> Row<'a> {
    /// The cells of a statement's row; without those that only an insert writes where `changes`.
    pub(super) fn of(statement: &'a Statement, cells: &'a [Cell], changes: bool) -> Result<Self, Rejection> {
        let mut row = Self::default();
        for (at, (column, cell)) in statement.written().zip(cells).enumerate() {
            let name = column.name.as_str();
            let text = match cell {
                Cell::Text(text) => Some(&**text),
                Cell::Null => None,
                Cell::Absent => continue,
                Cell::Bytes(_) => return Err(refused("type", name, format!("`{name}` takes no bytes"))),
            };
            if changes && statement.insert_only.contains(&at) {
                continue;
            }
            let place = match name {
                "key" => {
                    let key = text.ok_or_else(|| refused("not_null", "key", "`key` can't be null"))?;
                    if key.chars().count() > MOST_KEY {
                        return Err(refused("too_long", "key", format!("`key` has at most {MOST_KEY} characters")));
                    }
                    row.key = Some(key);
                    continue;
                }
                "audience" => &mut row.audience,
                "region" => &mut row.region,
                "shop" => &mut row.shop,
                "category" => &mut row.category,
                "title" => &mut row.title,
                "text" => &mut row.text,
                "valid_until" => &mut row.valid_until,
                "must_confirm" => &mut row.must_confirm,
                "send_at" => &mut row.send_at,
                _ => return Err(refused("other", name, format!("broadcasts have no column `{name}`"))),
            };
            *place = Some(text);
        }
        Ok(row)
    }

    /// Whether what stands is newer by this column. Where either has nothing there, nothing is.
    pub(super) fn is_older(&self, stands: &Message, column: &str) -> bool {
        let content = &stands.content;
        let newer = |mine: Option<Option<&str>>, theirs: &str| mine.flatten().is_some_and(|mine| theirs > mine);
        match column {
            "valid_until" => {
                let mine = self.valid_until.flatten().and_then(|text| instant("valid_until", text).ok());
                mine.zip(content.valid_until_ms).is_some_and(|(mine, theirs)| theirs > mine)
            }
            "title" => newer(self.title, &content.title),
            "text" => newer(self.text, &content.text),
            "category" => newer(self.category, &content.category),
            _ => false,
        }
    }

    /// What is to stand: `before` is what stands now.
    pub(super) fn wanted(
        &self,
        before: Option<(&Audience, &Content)>,
        document: &Document,
        now_ms: u64,
    ) -> Result<Wanted, Rejection> {
        let audience = self.audience(before.map(|(audience, _)| audience), document)?;
        let content = self.content(before.map(|(_, content)| content), document)?;
        let due_ms = self.due(now_ms)?;
        Ok(Wanted { audience, content, due_ms })
    }

    fn due(&self, now_ms: u64) -> Result<Option<Option<u64>>, Rejection> {
        let Some(cell) = self.send_at else { return Ok(None) };
        let due = cell.map(|text| instant("send_at", text)).transpose()?.filter(|due| *due > now_ms);
        if due.is_some_and(|due| due > now_ms + LONGEST_AHEAD_MS) {
            return Err(refused("range", "send_at", "this is more than 90 days ahead"));
        }
        Ok(Some(due))
    }

    fn audience(&self, before: Option<&Audience>, document: &Document) -> Result<Audience, Rejection> {
        let mut audience = before.cloned().unwrap_or_default();
        if let Some(word) = self.audience {
            audience.all = match word {
                Some("all") => true,
                None => false,
                Some(_) => return Err(refused("check", "audience", "`audience` is `all`, or left out")),
            };
        }
        if let Some(regions) = self.region {
            audience.regions = names(regions, "region")?;
            let known = |name: &String| !name.is_empty() && document.shops.iter().any(|shop| shop.region == *name);
            if !audience.regions.iter().all(known) {
                return Err(refused("check", "region", "no shop is in this region: add one, or correct the record"));
            }
        }
        if let Some(shops) = self.shop {
            audience.shops = names(shops, "shop")?;
            if !audience.shops.iter().all(|name| document.shops.iter().any(|shop| shop.name == *name)) {
                return Err(refused("check", "shop", "this shop is not known: add it, or correct the record"));
            }
        }
        if audience.is_empty() {
            let message = "nobody is to see it: give `audience` = all, a `region` or a `shop`";
            return Err(refused("check", "audience", message));
        }
        Ok(if audience.all { Audience::all() } else { audience })
    }

    fn content(&self, before: Option<&Content>, document: &Document) -> Result<Content, Rejection> {
        let mut content =
            before.cloned().unwrap_or_else(|| Content { category: CATEGORY.into(), ..Content::default() });
        match self.category {
            Some(Some(name)) if all_categories(&document.categories).iter().any(|one| one.name == name) => {
                content.category = name.into();
            }
            Some(Some(_)) => {
                let message = "this category is not known: add it, or correct the record";
                return Err(refused("check", "category", message));
            }
            Some(None) => return Err(refused("not_null", "category", "`category` can't be null")),
            None => {}
        }
        if let Some(title) = written("title", self.title, before.is_some(), MOST_TITLE)? {
            content.title = title.trim().into();
            if content.title.contains('\n') {
                return Err(refused("check", "title", "a title is one line"));
            }
        }
        if let Some(text) = written("text", self.text, before.is_some(), MOST_TEXT)? {
            content.text = text.trim_end().trim_start_matches('\n').into();
        }
        if let Some(until) = self.valid_until {
            content.valid_until_ms = until.map(|text| instant("valid_until", text)).transpose()?;
        }
        match self.must_confirm {
            Some(Some("true" | "1")) => content.must_confirm = true,
            Some(Some("false" | "0")) => content.must_confirm = false,
            Some(Some(_)) => return Err(refused("type", "must_confirm", "`must_confirm` is true or false")),
            Some(None) => return Err(refused("not_null", "must_confirm", "`must_confirm` can't be null")),
            None => {}
        }
        Ok(content)
    }
}

/// A title or a text, where the row has one or must have one.
fn written(column: &str, cell: Option<Option<&str>>, stands: bool, most: usize) -> Result<Option<String>, Rejection> {
    let text = match cell {
        None if stands => return Ok(None),
        Some(Some(text)) => plain(text),
        _ => return Err(refused("not_null", column, format!("a broadcast needs a {column}"))),
    };
    if text.trim().is_empty() {
        return Err(refused("check", column, format!("a broadcast needs a {column}, and this one is empty")));
    }
    if text.chars().count() > most {
        return Err(refused("too_long", column, format!("a {column} has at most {most} characters")));
    }
    Ok(Some(text))
}

/// One name, or a JSON array of them.
fn names(cell: Option<&str>, column: &str) -> Result<Vec<String>, Rejection> {
    let mut names = match cell.map(str::trim) {
        None => Vec::new(),
        Some(list) if list.starts_with('[') => serde_json::from_str::<Vec<String>>(list)
            .map_err(|_| refused("type", column, format!("`{column}` is a name, or a list of names")))?,
        Some(name) => vec![name.to_owned()],
    };
    names.sort();
    names.dedup();
    Ok(names)
}

/// Refuses what would be over before anybody sees it.
pub(super) fn in_time(content: &Content, due_ms: Option<u64>) -> Result<(), Rejection> {
    if due_ms.is_some_and(|due| content.is_over(due)) {
        return Err(refused("check", "valid_until", "it would be over before it is sent"));
    }
    Ok(())
}

fn instant(column: &str, text: &str) -> Result<u64, Rejection> {
    let moment = chrono::DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%:z").ok();
    let ms = moment.and_then(|moment| u64::try_from(moment.timestamp_millis()).ok());
    ms.ok_or_else(|| refused("range", column, format!("`{column}` is no time that a broadcast can have")))
}
