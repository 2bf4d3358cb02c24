//! The form of a message as a browser sends it, and as it comes back when it could not be sent: nothing that was typed is lost.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chrono::{DateTime, NaiveDateTime};

use super::Shown;
use crate::{
    admin::{FieldError, broadcasts::compose::Draft},
    broadcast::message::{Audience, Message},
};

/// The longest image as base64 that is read at all.
const MOST_IMAGE_TEXT: usize = 1 << 20;

/// What the form shows.
#[derive(Clone, Default)]
pub(super) struct Form {
    /// By which the same form, sent twice, is one message.
    pub(super) draft: String,
    pub(super) all: bool,
    pub(super) regions: Vec<String>,
    pub(super) shops: Vec<String>,
    pub(super) category: String,
    pub(super) title: String,
    pub(super) text: String,
    /// A new image, base64.
    pub(super) image: String,
    /// The digest of one that is kept already.
    pub(super) kept_image: String,
    pub(super) must_confirm: bool,
    pub(super) valid_until: String,
    /// Minutes that UTC is ahead of the browser's clock at that time, as JavaScript has it.
    pub(super) valid_zone: String,
    pub(super) send_at: String,
    pub(super) send_zone: String,
    /// It is not a correction.
    pub(super) is_new: bool,
    // What the preview shows of the category.
    pub(super) colour: &'static str,
    pub(super) icon: &'static str,
    pub(super) category_title: String,
}

impl Form {
    /// A new one, to all.
    pub(super) fn new(draft: String, categories: &[Shown]) -> Self {
        let category = categories.first().map(|one| one.name.clone()).unwrap_or_default();
        Self { draft, all: true, category, is_new: true, ..Self::default() }.dressed(categories)
    }

    /// To correct this message.
    pub(super) fn of(message: &Message, categories: &[Shown]) -> Self {
        let content = &message.content;
        Self {
            category: content.category.clone(),
            title: content.title.clone(),
            text: content.text.clone(),
            kept_image: content.image.clone().unwrap_or_default(),
            must_confirm: content.must_confirm,
            valid_until: content.valid_until_ms.map(written).unwrap_or_default(),
            valid_zone: "0".into(),
            ..Self::default()
        }
        .dressed(categories)
    }

    /// As a browser sent it.
    pub(super) fn read(given: Vec<(String, String)>, is_new: bool, categories: &[Shown]) -> Self {
        let mut form = Self { is_new, ..Self::default() };
        for (name, value) in given {
            match name.as_str() {
                "draft" => form.draft = value,
                "audience" => form.all = value == "all",
                "region" => form.regions.push(value),
                "shop" => form.shops.push(value),
                "category" => form.category = value,
                "title" => form.title = value,
                // Browsers send line breaks as two characters.
                "text" => form.text = value.replace("\r\n", "\n"),
                "image" => form.image = value,
                "kept_image" => form.kept_image = value,
                "must_confirm" => form.must_confirm = true,
                "valid_until" => form.valid_until = value,
                "valid_zone" => form.valid_zone = value,
                "send_at" => form.send_at = value,
                "send_zone" => form.send_zone = value,
                _ => {}
            }
        }
        form.dressed(categories)
    }

    fn dressed(mut self, categories: &[Shown]) -> Self {
        let shown = Shown::find(categories, &self.category);
        (self.colour, self.icon, self.category_title) = (shown.colour, shown.icon, shown.title);
        self
    }

    /// Whom it is for.
    pub(super) fn audience(&self) -> Audience {
        if self.all {
            return Audience::all();
        }
        Audience { all: false, regions: self.regions.clone(), shops: self.shops.clone() }
    }

    /// What it says, as far as it can be read.
    pub(super) fn draft(&self) -> Result<Draft, Vec<FieldError>> {
        let mut complaints = Vec::new();
        let mut time = |field: &str, text: &str, zone: &str| {
            let text = text.trim();
            let moment = moment(text, zone);
            if moment.is_none() && !text.is_empty() {
                let message = "give a date and a time".to_owned();
                complaints.push(FieldError { field: field.into(), code: "not_a_time", message });
            }
            moment
        };
        let valid_until_ms = time("valid_until", &self.valid_until, &self.valid_zone);
        let send_at_ms = time("send_at", &self.send_at, &self.send_zone);
        let image = match self.image.as_str() {
            "" => None,
            text if text.len() <= MOST_IMAGE_TEXT => BASE64.decode(text).ok(),
            _ => None,
        };
        if image.is_none() && !self.image.is_empty() {
            let message = "give a PNG, JPEG, GIF or WebP image of at most 512 KiB".to_owned();
            complaints.push(FieldError { field: "image".into(), code: "not_an_image", message });
        }
        if !complaints.is_empty() {
            return Err(complaints);
        }
        Ok(Draft {
            audience: self.audience(),
            category: self.category.clone(),
            title: self.title.clone(),
            text: self.text.clone(),
            image,
            kept_image: Some(self.kept_image.clone()).filter(|digest| !digest.is_empty()),
            valid_until_ms,
            must_confirm: self.must_confirm,
            send_at_ms,
        })
    }
}

/// What a browser's field for date and time holds, in milliseconds since the Unix epoch.
fn moment(text: &str, zone: &str) -> Option<u64> {
    let local = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    let minutes: i64 = if zone.is_empty() { 0 } else { zone.parse().ok().filter(|m: &i64| m.abs() <= 1_440)? };
    u64::try_from(local.and_utc().timestamp_millis().checked_add(minutes * 60_000)?).ok()
}

/// The same the other way round, in UTC.
fn written(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.format("%Y-%m-%dT%H:%M").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_time_is_the_readers_own() {
        let utc = moment("2026-11-22T11:00", "").unwrap();
        // Jakarta is seven hours ahead of UTC, which JavaScript tells as -420.
        assert_eq!(moment("2026-11-22T18:00", "-420"), Some(utc));
        assert_eq!(written(utc), "2026-11-22T11:00");
        for odd in ["", "tomorrow", "2026-13-01T00:00"] {
            assert_eq!(moment(odd, "0"), None, "{odd}");
        }
        assert_eq!(moment("2026-11-22T18:00", "99999"), None);
    }

    #[test]
    fn what_was_sent_comes_back_as_it_was() {
        let pairs = [
            ("audience", "some"),
            ("region", "West"),
            ("shop", "a"),
            ("shop", "b"),
            ("title", "<b>Sale</b>"),
            ("text", "one\r\ntwo"),
            ("must_confirm", "1"),
            ("image", "not base64!"),
        ];
        let given = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let form = Form::read(given, true, &[]);
        assert_eq!((form.title.as_str(), form.text.as_str()), ("<b>Sale</b>", "one\ntwo"));
        assert_eq!(
            form.audience(),
            Audience { all: false, regions: vec!["West".into()], shops: vec!["a".into(), "b".into()] }
        );
        assert_eq!(form.draft().unwrap_err()[0].field, "image");
    }
}
