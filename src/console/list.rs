//! Lists: what is looked for, the column they are sorted by, and the page that is shown, all of it in the address, so that it can be
//! shared; with the headings that sort and the links that turn pages drawn in one way.

use std::cmp::Ordering;

use askama::Template;

use super::{
    look::{Html, Look, escaped},
    texts::shell::{self, Shell},
};

/// Rows of a page, where a list has no reason for another number.
pub(super) const ROWS: usize = 50;
/// Columns that are looked at for their most or latest: the first press on one of them puts that first.
const BEGINS_DOWN: [&str; 15] = [
    "count",
    "first",
    "last",
    "at",
    "attempts",
    "letters",
    "refused",
    "begun",
    "backlog",
    "rate",
    "seen",
    "created",
    "used",
    "received",
    "confirmed",
];

/// One list as its address asks for it.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    path: String,
    given: Vec<(&'static str, String)>,
    /// The column; with `-` before it the most or latest first. Empty where nothing is asked for.
    sort: String,
    usual: &'static str,
    page: usize,
    /// The names in the address, where a page has several lists.
    sort_as: &'static str,
    page_as: &'static str,
}

#[derive(Template)]
#[template(path = "pager.html")]
struct Pager<'a> {
    look: Look,
    shell: &'static Shell,
    at: usize,
    pages: usize,
    found: usize,
    list: &'a List,
}

impl Pager<'_> {
    fn words(&self) -> String {
        let (at, pages) = (self.look.count(self.at as u64), self.look.count(self.pages as u64));
        let place = self.shell.page_of.replacen("{}", &at, 1).replacen("{}", &pages, 1);
        format!("{place} · {}", self.look.count(self.found as u64))
    }
}

impl List {
    /// A list at `path` with these filters; `usual` is the order where none is asked for.
    pub(super) fn new(
        path: impl Into<String>,
        given: &[(&'static str, &str)],
        sort: &str,
        usual: &'static str,
        page: Option<usize>,
    ) -> Self {
        let given = given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let page = page.unwrap_or(1).max(1);
        Self { path: path.into(), given, sort: sort.to_owned(), usual, page, sort_as: "sort", page_as: "page" }
    }

    /// One of several on a page: its order and its page have names of their own there.
    pub(super) fn named(self, sort_as: &'static str, page_as: &'static str) -> Self {
        Self { sort_as, page_as, ..self }
    }

    /// The column that it is sorted by, and whether the most or latest comes first.
    pub(super) fn sorting(&self) -> (&str, bool) {
        let sort = if self.sort.is_empty() { self.usual } else { &self.sort };
        sort.strip_prefix('-').map_or((sort, false), |column| (column, true))
    }

    /// Sorts by this, which is told the column; those that are alike stay as they were.
    pub(super) fn order<T>(&self, rows: &mut [T], by: impl Fn(&str, &T, &T) -> Ordering) {
        let (column, down) = self.sorting();
        rows.sort_by(|a, b| if down { by(column, b, a) } else { by(column, a, b) });
    }

    fn address(&self, sort: &str, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.given.iter().filter(|(_, value)| !value.is_empty()));
        if !sort.is_empty() {
            query.append_pair(self.sort_as, sort);
        }
        if page > 1 {
            query.append_pair(self.page_as, &page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }

    /// Its first page with one of the filters otherwise.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let mut list = self.clone();
        for (known, given) in &mut list.given {
            if *known == name {
                value.clone_into(given);
            }
        }
        list.address(&self.sort, 1)
    }

    /// Another page of it.
    pub(super) fn at(&self, page: usize) -> String {
        self.address(&self.sort, page)
    }

    /// The page that is asked for, or the last one: there were more when the address was written down.
    pub(super) fn page(&self, found: usize, per: usize) -> usize {
        self.page.min(found.div_ceil(per).max(1))
    }

    /// How many rows stand before the page that is asked for.
    pub(super) fn skip(&self, per: usize) -> usize {
        (self.page - 1).saturating_mul(per)
    }

    /// A page of these rows, and the links to the others.
    pub(super) fn cut<T>(&self, rows: Vec<T>, per: usize, look: Look) -> (Vec<T>, Html) {
        let (at, pager) = (self.page(rows.len(), per), self.pager(rows.len(), per, look));
        (rows.into_iter().skip((at - 1) * per).take(per).collect(), pager)
    }

    /// The links to the other pages; nothing where there are none.
    pub(super) fn pager(&self, found: usize, per: usize, look: Look) -> Html {
        let (at, pages) = (self.page(found, per), found.div_ceil(per).max(1));
        let shell = look.pick(&shell::EN, &shell::ID);
        let pager = Pager { look, shell, at, pages, found, list: self };
        if pages > 1 { Html::of(&pager).unwrap_or_default() } else { Html::default() }
    }

    /// A column's heading, which sorts by it.
    pub(super) fn heading(&self, column: &str, label: &str) -> Html {
        self.cell(column, label, "")
    }

    /// The same over figures.
    pub(super) fn heading_of_figures(&self, column: &str, label: &str) -> Html {
        self.cell(column, label, " class=\"number\"")
    }

    fn cell(&self, column: &str, label: &str, class: &str) -> Html {
        let (by, down) = self.sorting();
        let sorted = match (by == column, down) {
            (false, _) => "none",
            (true, true) => "descending",
            (true, false) => "ascending",
        };
        let next_down = if by == column { !down } else { BEGINS_DOWN.contains(&column) };
        let next = if next_down { format!("-{column}") } else { column.to_owned() };
        let href = escaped(&self.address(&next, 1));
        let label = escaped(label);
        Html::trusted(format!(r#"<th scope="col"{class} aria-sort="{sorted}"><a href="{href}">{label}</a></th>"#))
    }

    /// What a form for the filters carries along, lest a search puts the order back.
    pub(super) fn kept(&self) -> Html {
        if self.sort.is_empty() {
            return Html::default();
        }
        Html::trusted(format!(r#"<input type="hidden" name="{}" value="{}">"#, self.sort_as, escaped(&self.sort)))
    }

    /// Whether anything is looked for.
    pub(super) fn is_filtered(&self) -> bool {
        self.given.iter().any(|(_, value)| !value.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::Lang;

    fn list(sort: &str, page: usize) -> List {
        List::new("/console/x", &[("q", "a b"), ("state", "")], sort, "name", Some(page))
    }

    #[test]
    fn a_heading_sorts_and_says_how_it_is_sorted() {
        let shown = |sort: &str, column: &str| list(sort, 3).heading(column, "A & B").to_string();
        assert_eq!(
            shown("", "name"),
            r#"<th scope="col" aria-sort="ascending"><a href="/console/x?q=a+b&amp;sort=-name">A &amp; B</a></th>"#
        );
        assert!(shown("", "seen").contains(r#"aria-sort="none"><a href="/console/x?q=a+b&amp;sort=-seen""#));
        assert!(shown("-seen", "seen").contains(r#"aria-sort="descending"><a href="/console/x?q=a+b&amp;sort=seen""#));
    }

    #[test]
    fn a_page_beyond_the_end_is_the_last_one_and_pages_keep_what_was_asked_for() {
        let look = Look { lang: Lang::En };
        let (rows, pager) = list("-name", 9).cut((0..120).collect(), ROWS, look);
        assert_eq!(rows, (100..120).collect::<Vec<_>>());
        let pager = pager.to_string();
        assert!(pager.contains("Page 3 of 3 · 120") && !pager.contains("rel=\"next\""), "{pager}");
        assert!(pager.contains("/console/x?q=a+b&#38;sort=-name&#38;page=2"), "{pager}");
        assert_eq!(list("", 1).cut(vec![1], ROWS, look).1.to_string(), "");
        assert_eq!(list("-name", 4).with("state", "on"), "/console/x?q=a+b&state=on&sort=-name");
    }
}
