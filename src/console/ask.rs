//! Acts that ask before they are done. Their forms carry the question ([`Look::asks`]): a browser with scripts asks it in a dialog
//! and takes it out of the form; whatever still carries it when it comes here is answered with a page that asks.

use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;

use super::{
    look::{Html, Look, escaped},
    page::{Frame, Nav, Visitor},
};

/// The field with the sentence that says what would be done.
const SENTENCE: &str = "ask";
/// The field with the act's name.
const TITLE: &str = "ask_title";
/// The field that is there where nothing brings back what the act takes away.
const DANGER: &str = "ask_danger";

impl Look {
    /// What makes a form ask: the act's name, and a sentence that says what it would do.
    pub(crate) fn asks(self, title: impl AsRef<str>, sentence: impl AsRef<str>) -> Html {
        let field =
            |name: &str, value: &str| format!(r#"<input type="hidden" name="{name}" value="{}">"#, escaped(value));
        Html::trusted(field(TITLE, title.as_ref()) + &field(SENTENCE, sentence.as_ref()))
    }

    /// The same for what can't be brought back.
    pub(crate) fn asks_gravely(self, title: impl AsRef<str>, sentence: impl AsRef<str>) -> Html {
        let grave = format!(r#"<input type="hidden" name="{DANGER}" value="1">"#);
        Html::trusted(self.asks(title, sentence).to_string() + &grave)
    }
}

#[derive(Template)]
#[template(path = "ask.html")]
struct Page {
    frame: Frame,
    /// Where the answer goes.
    action: String,
    sentence: String,
    danger: bool,
    /// What was given, without the question.
    fields: Vec<(String, String)>,
    back: String,
}

/// Whether these fields still carry a question.
pub(super) fn carry_question(fields: &[(String, String)]) -> bool {
    fields.iter().any(|(name, _)| name == SENTENCE)
}

/// The page that asks, with all that was given. `from` is the page that it was given on.
pub(super) fn page(visitor: &Visitor, from: Option<&str>, fields: Vec<(String, String)>) -> HttpResponse {
    let told = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let (title, sentence) = (told(TITLE).unwrap_or_default(), told(SENTENCE).unwrap_or_default());
    let danger = told(DANGER).is_some();
    let fields = fields.into_iter().filter(|(name, _)| ![SENTENCE, TITLE, DANGER].contains(&name.as_str())).collect();
    let back = from.and_then(|from| url::Url::parse(from).ok()).map_or_else(
        || "/console/".to_owned(),
        |from| from.query().map_or_else(|| from.path().to_owned(), |query| format!("{}?{query}", from.path())),
    );
    let mut frame = visitor.frame(Nav::Elsewhere, title);
    // The page itself has no address that one could come back to.
    let action = std::mem::replace(&mut frame.here, back.clone());
    let page = Page { frame, action, sentence, danger, fields, back };
    visitor.render(StatusCode::OK, &page).unwrap_or_else(|_| HttpResponse::InternalServerError().finish())
}
