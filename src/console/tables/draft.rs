//! A route that is being written, as a part of the address: every step of the editor can be shared, come back to and opened
//! beside another, and nothing is kept on the server or lost when a step fails.
//!
//! The route as JSON, compressed, in base64. It holds no secret, and whatever comes in with an address is read with bounds and
//! believed as little as a form.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use serde::{Deserialize, Serialize};
use tidegate_actors::route::{CleanStep, ColumnRule, ColumnSource, Columns, Meta, RouteSpec};

use crate::{admin::routes, console::page::PageError};

/// Longest draft as text in an address: HAProxy takes sixteen thousand bytes of a request's head by default.
const MOST_CHARS: usize = 12_000;
/// Longest draft as JSON.
const MOST_BYTES: u64 = 512 * 1024;

/// A route that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    /// The version that is edited; none for a new route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<u64>,
    pub(super) spec: RouteSpec,
}

impl Draft {
    /// A new route, without anything.
    pub(super) fn new() -> Self {
        Self { base: None, spec: RouteSpec { columns: Columns::Named(BTreeMap::new()), ..RouteSpec::default() } }
    }

    /// An edit of this route.
    pub(super) fn of(route: &RouteSpec, base: u64) -> Self {
        let spec = RouteSpec { id: String::new(), version: 0, ..route.clone() };
        Self { base: Some(base), spec }
    }

    /// From an address.
    pub(super) fn read(text: &str) -> Result<Self, PageError> {
        let bad =
            || PageError::Bad("the address was cut short or changed on its way; begin again from the list".into());
        if text.len() > MOST_CHARS {
            return Err(bad());
        }
        let packed = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        let mut json = Vec::new();
        DeflateDecoder::new(&packed[..]).take(MOST_BYTES).read_to_end(&mut json).map_err(|_| bad())?;
        serde_json::from_slice(&json).map_err(|_| bad())
    }

    /// For an address.
    ///
    /// # Errors
    /// It is too long for one.
    pub(super) fn write(&self) -> Result<String, PageError> {
        let json = serde_json::to_vec(self).map_err(PageError::broken)?;
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
        let packed = packed.write_all(&json).and_then(|()| packed.finish()).map_err(PageError::broken)?;
        let text = URL_SAFE_NO_PAD.encode(packed);
        if text.len() > MOST_CHARS {
            return Err(PageError::Bad(
                "this route is too large for the editor; write it as a file and use `tidegate apply`".into(),
            ));
        }
        Ok(text)
    }

    /// As the acts take it.
    pub(super) fn to_act(&self) -> routes::Draft {
        routes::Draft { spec: self.spec.clone(), base: self.base }
    }

    /// What feeds a column, by its name in whatever case.
    pub(super) fn source(&self, column: &str) -> Option<&ColumnSource> {
        let Columns::Named(named) = &self.spec.columns else { return None };
        named
            .get(column)
            .or_else(|| named.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, source)| source))
    }

    /// Makes this feed a column; `None`: nothing does.
    pub(super) fn feed(&mut self, column: &str, source: Option<ColumnSource>) {
        if let Columns::Matching(_) = self.spec.columns {
            self.spec.columns = Columns::Named(BTreeMap::new());
        }
        let Columns::Named(named) = &mut self.spec.columns else { return };
        named.retain(|name, _| !name.eq_ignore_ascii_case(column));
        if let Some(source) = source {
            named.insert(column.to_owned(), source);
        }
    }

    /// Whether a column belongs to the key.
    pub(super) fn has_key(&self, column: &str) -> bool {
        self.spec.key.iter().any(|key| key.eq_ignore_ascii_case(column))
    }
}

/// What is picked for a column, as the form has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// Nothing: the column is left out.
    Nothing,
    /// The field of this path.
    Field(String),
    /// Something that is known of the message.
    Meta(Meta),
    /// A constant; its value is written on the column's own page.
    Constant,
    /// An expression; it is written on the column's own page.
    Expression,
}

/// What is known of a message, in the order in which it is offered.
pub(super) const METAS: [(Meta, &str); 6] = [
    (Meta::Id, "id"),
    (Meta::Received, "received"),
    (Meta::Key, "key"),
    (Meta::Action, "action"),
    (Meta::Topic, "topic"),
    (Meta::Application, "application"),
];

impl Pick {
    /// From the form.
    pub(super) fn read(word: &str) -> Self {
        match word.split_once(':') {
            Some(("field", path)) if !path.is_empty() => Self::Field(path.to_owned()),
            Some(("meta", name)) => {
                METAS.iter().find(|(_, known)| *known == name).map_or(Self::Nothing, |(meta, _)| Self::Meta(*meta))
            }
            None if word == "value" => Self::Constant,
            None if word == "expr" => Self::Expression,
            _ => Self::Nothing,
        }
    }

    /// For the form.
    pub(super) fn write(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Field(path) => format!("field:{path}"),
            Self::Meta(meta) => {
                METAS.iter().find(|(known, _)| known == meta).map_or(String::new(), |(_, name)| format!("meta:{name}"))
            }
            Self::Constant => "value".into(),
            Self::Expression => "expr".into(),
        }
    }

    /// What a column has now.
    pub(super) fn of(source: Option<&ColumnSource>, column: &str) -> Self {
        match source {
            None => Self::Nothing,
            Some(ColumnSource::Field(path)) => Self::Field(path.clone()),
            Some(ColumnSource::Detailed(rule)) => match (&rule.value, rule.meta, &rule.expr) {
                (Some(_), _, _) => Self::Constant,
                (_, Some(meta), _) => Self::Meta(meta),
                (_, _, Some(_)) => Self::Expression,
                _ => Self::Field(rule.from.clone().unwrap_or_else(|| column.to_owned())),
            },
        }
    }

    /// What the column has then: the rest of its rule stays.
    pub(super) fn apply(&self, before: Option<&ColumnSource>, column: &str) -> Option<ColumnSource> {
        if *self == Self::of(before, column) {
            return before.cloned();
        }
        let mut rule = match before {
            Some(ColumnSource::Detailed(rule)) => rule.clone(),
            _ => ColumnRule::default(),
        };
        (rule.from, rule.value, rule.meta, rule.expr) = (None, None, None, None);
        match self {
            Self::Nothing => return None,
            Self::Field(path) => rule.from = Some(path.clone()),
            Self::Meta(meta) => rule.meta = Some(*meta),
            Self::Constant => rule.value = Some(String::new().into()),
            Self::Expression => rule.expr = Some(String::new()),
        }
        Some(shortest(rule))
    }
}

/// A rule in its shortest form.
pub(super) fn shortest(mut rule: ColumnRule) -> ColumnSource {
    let from = rule.from.take();
    match from {
        Some(path) if rule == ColumnRule::default() => ColumnSource::Field(path),
        from => ColumnSource::Detailed(ColumnRule { from, ..rule }),
    }
}

/// A rule beside its source, in words as the route has them: `trim, round 2, as int, default 0, required`.
pub(super) fn summary(source: Option<&ColumnSource>) -> String {
    let Some(ColumnSource::Detailed(rule)) = source else { return String::new() };
    let json = |value: &serde_json::Value| value.to_string();
    let mut parts: Vec<String> = Vec::new();
    parts.extend(rule.value.as_ref().map(json));
    parts.extend(rule.expr.clone());
    parts.extend(rule.clean.iter().map(|step| {
        let (name, with) = step_parts(step);
        if with.is_empty() { name.to_owned() } else { format!("{name} {with}") }
    }));
    parts.extend(rule.cast.map(|cast| format!("as {}", word(&cast))));
    parts.extend(rule.format.as_ref().map(|format| format!("format {format}")));
    parts.extend(rule.zone.as_ref().map(|zone| format!("zone {zone}")));
    parts.extend(rule.default.as_ref().map(|default| format!("default {default}")));
    parts.extend(rule.required.then(|| "required".to_owned()));
    parts.extend(rule.min.as_ref().map(|min| format!("min {min}")));
    parts.extend(rule.max.as_ref().map(|max| format!("max {max}")));
    parts.extend(rule.length.as_ref().map(|_| "length".to_owned()));
    parts.extend(rule.pattern.as_ref().map(|pattern| format!("pattern {pattern}")));
    parts.extend((!rule.one_of.is_empty()).then(|| "one of a list".to_owned()));
    parts.join(", ")
}

/// The cleaning steps, in the order in which they are offered.
pub(in crate::console) const STEP_NAMES: [&str; 14] = [
    "trim",
    "collapse",
    "null_if_empty",
    "lower",
    "upper",
    "title",
    "digits",
    "strip_html",
    "truncate",
    "number",
    "round",
    "replace",
    "null_if",
    "map",
];

/// A step as two fields of a form: its name, and what it takes.
pub(super) fn step_parts(step: &CleanStep) -> (&'static str, String) {
    let json = |value: serde_json::Value| value.to_string();
    match step {
        CleanStep::Trim => ("trim", String::new()),
        CleanStep::Collapse => ("collapse", String::new()),
        CleanStep::Lower => ("lower", String::new()),
        CleanStep::Upper => ("upper", String::new()),
        CleanStep::NullIfEmpty => ("null_if_empty", String::new()),
        CleanStep::Title => ("title", String::new()),
        CleanStep::Digits => ("digits", String::new()),
        CleanStep::StripHtml => ("strip_html", String::new()),
        CleanStep::NullIf(texts) => ("null_if", json(texts.clone().into())),
        CleanStep::Replace(pair) => ("replace", json(pair.to_vec().into())),
        CleanStep::Truncate(most) => ("truncate", most.to_string()),
        CleanStep::Round(digits) => ("round", digits.to_string()),
        CleanStep::Map(table) => ("map", serde_json::to_string(table).unwrap_or_default()),
        CleanStep::Number(locale) => ("number", locale.clone()),
    }
}

/// The step of a form; `Err`: what it takes is not what was given.
pub(super) fn step_of(name: &str, with: &str) -> Result<Option<CleanStep>, ()> {
    let with = with.trim();
    let number = || with.parse::<u32>().map_err(drop);
    let step = match name {
        "" => return Ok(None),
        "trim" => CleanStep::Trim,
        "collapse" => CleanStep::Collapse,
        "lower" => CleanStep::Lower,
        "upper" => CleanStep::Upper,
        "null_if_empty" => CleanStep::NullIfEmpty,
        "title" => CleanStep::Title,
        "digits" => CleanStep::Digits,
        "strip_html" => CleanStep::StripHtml,
        "truncate" => CleanStep::Truncate(number()?),
        "round" => CleanStep::Round(number()?),
        "number" if !with.is_empty() => CleanStep::Number(with.to_owned()),
        "replace" => CleanStep::Replace(serde_json::from_str(with).map_err(drop)?),
        "null_if" => CleanStep::NullIf(match serde_json::from_str(with) {
            Ok(texts) => texts,
            Err(_) if with.starts_with('[') || with.is_empty() => return Err(()),
            Err(_) => with.split(',').map(|text| text.trim().to_owned()).collect(),
        }),
        "map" => CleanStep::Map(serde_json::from_str(with).map_err(drop)?),
        _ => return Err(()),
    };
    Ok(Some(step))
}

/// A value that somebody typed: JSON where it is some, else the text itself; nothing where it is empty.
pub(super) fn typed(text: &str) -> Option<serde_json::Value> {
    if text.trim().is_empty() {
        return None;
    }
    Some(serde_json::from_str(text.trim()).unwrap_or_else(|_| text.to_owned().into()))
}

/// A value as somebody would type it.
pub(super) fn as_typed(value: Option<&serde_json::Value>) -> String {
    match value {
        None => String::new(),
        // A text that would be read as something else is written as JSON.
        Some(serde_json::Value::String(text)) if typed(text).as_ref() == value => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The word that stands for an enum's value.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// The enum's value of a word; its default where there is none such.
pub(super) fn choice<T: serde::de::DeserializeOwned + Default>(word: &str) -> T {
    serde_json::from_value(word.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_draft_survives_its_address_and_a_broken_one_is_refused() {
        let mut draft = Draft::new();
        draft.spec.name = "cars".into();
        draft.feed("price", Some(ColumnSource::Field("harga".into())));
        let text = draft.write().unwrap();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
        assert_eq!(Draft::read(&text).unwrap(), draft);
        for broken in ["", "!", &text[..text.len() - 4], &"A".repeat(20_000)] {
            assert!(Draft::read(broken).is_err(), "{broken}");
        }
        // A hundred columns go into an address.
        for number in 0..100 {
            draft.feed(
                &format!("a_column_with_a_long_name_{number}"),
                Some(ColumnSource::Field(format!("of.a.field_{number}"))),
            );
        }
        assert!(draft.write().unwrap().len() < 4_000);
        // What unpacks to very much is not unpacked.
        let mut bomb = DeflateEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 4 << 20]).unwrap();
        assert!(Draft::read(&URL_SAFE_NO_PAD.encode(bomb.finish().unwrap())).is_err());
    }

    #[test]
    fn another_pick_keeps_the_rest_of_the_rule() {
        let source = |value| serde_json::from_value::<ColumnSource>(value).unwrap();
        let before = source(json!({ "from": "harga", "clean": ["trim"], "default": 0 }));
        let picked = |word: &str| Pick::read(word).apply(Some(&before), "price");
        assert_eq!(picked("field:harga"), Some(before.clone()));
        assert_eq!(picked("field:cost"), Some(source(json!({ "from": "cost", "clean": ["trim"], "default": 0 }))));
        assert_eq!(
            picked("meta:received"),
            Some(source(json!({ "meta": "received", "clean": ["trim"], "default": 0 })))
        );
        assert_eq!(picked(""), None);
        assert_eq!(Pick::read("field:cost").apply(None, "price"), Some(ColumnSource::Field("cost".into())));
        assert_eq!(Pick::of(Some(&source(json!({ "as": "int" }))), "price"), Pick::Field("price".into()));
        assert_eq!(summary(Some(&before)), "trim, default 0");
        for word in ["field:a:b", "meta:key", "value", "expr", ""] {
            assert_eq!(Pick::read(word).write(), word);
        }
    }

    #[test]
    fn steps_and_values_are_read_back_as_they_are_written() {
        for step in [
            json!("trim"),
            json!({ "truncate": 40 }),
            json!({ "replace": ["a, b", "c"] }),
            json!({ "null_if": ["-", "n/a"] }),
            json!({ "map": { "N": "new", "*": 1 } }),
            json!({ "number": "id-ID" }),
        ] {
            let step: CleanStep = serde_json::from_value(step).unwrap();
            let (name, with) = step_parts(&step);
            assert!(STEP_NAMES.contains(&name));
            assert_eq!(step_of(name, &with), Ok(Some(step)));
        }
        assert_eq!(step_of("null_if", "-, n/a"), Ok(Some(CleanStep::NullIf(vec!["-".into(), "n/a".into()]))));
        assert!(
            step_of("truncate", "many").is_err() && step_of("replace", "x").is_err() && step_of("number", "").is_err()
        );
        for value in [json!(5), json!("five"), json!("5"), json!("true"), json!(false), json!("")] {
            let text = as_typed(Some(&value));
            assert_eq!(typed(&text).as_ref(), Some(&value), "{text}");
        }
    }
}
