//! What a shop sees: messages on standard output, as lines or as JSON, and as notifications of the desktop; what there is to say of
//! the connection goes to standard error.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, IsTerminal as _, Write as _},
};

use chrono::{DateTime, Local};
use console::Style;
use serde_json::{Value, json};

use super::{
    kept::Message,
    notify::{Desktop, Notice},
};
use crate::cli::table::{paint, plain, plain_lines};

/// Why a message is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    New,
    /// It takes the place of what was shown.
    Corrected,
    /// Head office asks for an answer.
    Reminder,
    /// It waits for its confirmation since before the program was started.
    StillOpen,
}

impl Why {
    fn event(self) -> &'static str {
        match self {
            Self::New => "message",
            Self::Corrected => "correct",
            Self::Reminder => "remind",
            Self::StillOpen => "open",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::New => "",
            Self::Corrected => " (corrected)",
            Self::Reminder => " (reminder)",
            Self::StillOpen => " (still to be confirmed)",
        }
    }
}

/// Says something that is no message.
pub(super) fn note(text: &str) {
    // Nobody may listen there.
    let _ = writeln!(io::stderr(), "{}", plain(text));
}

/// Where messages are shown.
pub(super) struct Screen {
    pub(super) json: bool,
    pub(super) desktop: Option<Desktop>,
    /// Titles of the categories by name.
    pub(super) categories: RefCell<HashMap<String, String>>,
}

impl Screen {
    /// Learns what the categories are called, from what a terminal is told of itself.
    pub(super) fn learn(&self, me: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = me["categories"].as_array().into_iter().flatten();
        *self.categories.borrow_mut() = all.map(|one| (text(&one["name"]), text(&one["title"]))).collect();
    }

    fn category(&self, name: &str) -> String {
        let categories = self.categories.borrow();
        plain(categories.get(name).filter(|title| !title.is_empty()).map_or(name, String::as_str))
    }

    /// Shows a message; `enter` tells that Enter confirms it.
    pub(super) fn message(&self, message: &Message, why: Why, enter: bool) -> io::Result<()> {
        let category = self.category(&message.category);
        if self.json {
            let mut line = serde_json::to_value(message)?;
            line["event"] = why.event().into();
            line["category_title"] = category.clone().into();
            say(&line.to_string())?;
        } else {
            let style = Style::new().bold();
            let head = format!("{}{}", plain(&message.title), why.words());
            let mut lines = format!("{}  {category}  {}", moment(&message.sent_at), paint(&head, &style));
            let mut add = |line: &str| {
                lines.push_str("\n    ");
                lines.push_str(line);
            };
            plain_lines(&message.text).lines().for_each(&mut add);
            if message.image.is_some() {
                add("[With a picture: see the web terminal.]");
            }
            if let Some(until) = &message.valid_until {
                add(&format!("[Valid until {}.]", moment(until)));
            }
            if message.must_confirm {
                let how = if enter { "press Enter" } else { "start with --confirm, or use the web terminal" };
                add(&format!("[Must be confirmed: {how}.]"));
            }
            // Somebody may look elsewhere.
            if io::stdout().is_terminal() {
                lines.insert(0, '\u{7}');
            }
            say(&lines)?;
        }
        if let Some(desktop) = &self.desktop {
            let title = format!("{category}: {}{}", plain(&message.title), why.words());
            let body = plain_lines(&message.text);
            desktop.show(Notice { id: message.id.clone(), title, body, must_confirm: message.must_confirm });
        }
        Ok(())
    }

    /// A message was taken back.
    pub(super) fn recalled(&self, id: &str, message: Option<&Message>) -> io::Result<()> {
        self.close(id);
        let title = message.map_or("", |message| message.title.as_str());
        if self.json {
            return say(&json!({"event": "recall", "id": id, "title": title}).to_string());
        }
        match message {
            Some(message) => say(&format!("{}  Recalled: {}", now(), plain(&message.title))),
            // It was never shown here.
            None => Ok(()),
        }
    }

    /// Somebody here has confirmed it.
    pub(super) fn confirmed(&self, message: &Message, left: usize) -> io::Result<()> {
        self.close(&message.id);
        if self.json {
            return say(&json!({"event": "confirmed", "id": message.id, "title": message.title}).to_string());
        }
        let left = if left == 0 { String::new() } else { format!(" ({left} more to confirm)") };
        say(&format!("{}  Confirmed: {}{left}", now(), plain(&message.title)))
    }

    fn close(&self, id: &str) {
        if let Some(desktop) = &self.desktop {
            desktop.close(id);
        }
    }

    /// Head office can't tell any more what came while this terminal was off.
    pub(super) fn gap(&self) -> io::Result<()> {
        if self.json {
            return say(&json!({"event": "gap"}).to_string());
        }
        say(&format!("{}  Messages may have been missed: what was sent long ago is not kept.", now()))
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn now() -> String {
    Local::now().format("%Y-%m-%d %H:%M").to_string()
}

/// A moment of the protocol as a clock here shows it.
fn moment(text: &str) -> String {
    let parsed = DateTime::parse_from_rfc3339(text).ok();
    parsed.map_or_else(now, |moment| moment.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string())
}
