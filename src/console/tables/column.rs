//! One column's rule: where its value comes from, how it is cleaned and read, and what is asked of it.

use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;
use tidegate_actors::route::{Cast, CleanStep, ColumnRule, ColumnSource};

use super::{
    draft::{Draft, METAS, Pick, STEP_NAMES, as_typed, shortest, step_of, step_parts, typed, word},
    steps::{Pairs, address, get, shown, text},
};
use crate::{
    admin::routes::{self, Field, Place},
    console::{
        page::{Frame, Nav, PageContext, PageError},
        texts::tables::Tables,
    },
};

/// What a value can be read as.
const CASTS: [Cast; 11] = [
    Cast::Text,
    Cast::Int,
    Cast::Decimal,
    Cast::Float,
    Cast::Bool,
    Cast::Date,
    Cast::Time,
    Cast::Timestamp,
    Cast::Uuid,
    Cast::Json,
    Cast::Bytes,
];
/// Empty places for further steps.
const MORE: usize = 2;

#[derive(Template)]
#[template(path = "tables/column.html")]
struct ColumnPage {
    frame: Frame,
    text: &'static Tables,
    draft: String,
    column: String,
    declared: String,
    fields: Vec<Field>,
    kind: &'static str,
    path: String,
    constant: String,
    expression: String,
    meta: String,
    steps: Vec<(String, String)>,
    cast: String,
    format: String,
    zone: String,
    default: String,
    required: bool,
    received: Option<String>,
    refusal: Option<String>,
    record: Option<String>,
    errors: Vec<String>,
}

impl ColumnPage {
    fn back(&self) -> String {
        address("fields", &self.draft)
    }

    fn action(&self) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("column", &self.column).finish();
        format!("{}&{query}", address("column", &self.draft))
    }

    fn casts(&self) -> Vec<String> {
        CASTS.iter().map(word).collect()
    }

    fn step_names(&self) -> [&'static str; 14] {
        STEP_NAMES
    }

    fn metas(&self) -> Vec<(&'static str, &'static str)> {
        METAS.iter().map(|(meta, name)| (*name, self.text.meta(*meta))).collect()
    }
}

pub(super) async fn show(page: &PageContext, draft: &Draft, query: &Pairs) -> Result<HttpResponse, PageError> {
    let column = text(query, "column").to_owned();
    let rule = match draft.source(&column) {
        Some(ColumnSource::Detailed(rule)) => rule.clone(),
        Some(ColumnSource::Field(path)) => ColumnRule { from: Some(path.clone()), ..ColumnRule::default() },
        None => ColumnRule::default(),
    };
    let steps = rule.clean.iter().map(step_parts).map(|(name, with)| (name.to_owned(), with)).collect();
    shown_with(page, draft, &column, &rule, steps, StatusCode::OK, Vec::new()).await
}

async fn shown_with(
    page: &PageContext,
    draft: &Draft,
    column: &str,
    rule: &ColumnRule,
    mut steps: Vec<(String, String)>,
    status: StatusCode,
    errors: Vec<String>,
) -> Result<HttpResponse, PageError> {
    if column.is_empty() {
        return Err(PageError::Bad("the address names no column".into()));
    }
    steps.retain(|(name, _)| !name.is_empty());
    steps.extend((0..MORE).map(|_| Default::default()));
    // The rule is edited although the database is away; only what it would come to is not seen then.
    let offer = routes::offer(page.admin(), &page.who(), &Place::of(&draft.spec)).await.ok();
    let mut draft = draft.clone();
    draft.feed(column, Some(shortest(rule.clone())));
    let (mut received, mut refusal, mut record, mut declared) = (None, None, None, String::new());
    if let Some(offer) = &offer {
        declared =
            offer.table.column(column).map(|place| offer.table.columns[place].declared.clone()).unwrap_or_default();
        if let Some((message, generation)) = &offer.newest {
            record = Some(message.data.to_string());
            let previews = routes::previews(&draft.spec, &offer.table, message, generation);
            if let Some(preview) = previews.into_iter().find(|preview| preview.column.eq_ignore_ascii_case(column)) {
                received = preview.value.map(|value| shown(value.get()));
                refusal = preview.refusal.map(|refusal| refusal.message);
            }
        }
    }
    let source = shortest(rule.clone());
    let kind = match Pick::of(Some(&source), column) {
        Pick::Constant => "value",
        Pick::Meta(_) => "meta",
        Pick::Expression => "expr",
        Pick::Field(_) | Pick::Nothing => "field",
    };
    let title = format!("{}: {column}", page.tables().column);
    page.render_with(
        status,
        &ColumnPage {
            frame: page.frame(Nav::Tables, title),
            text: page.tables(),
            draft: draft.write()?,
            column: column.to_owned(),
            declared,
            fields: offer.map(|offer| offer.fields).unwrap_or_default(),
            kind,
            path: rule.from.clone().unwrap_or_else(|| if kind == "field" { column.to_owned() } else { String::new() }),
            constant: as_typed(rule.value.as_ref()),
            expression: rule.expr.clone().unwrap_or_default(),
            meta: rule.meta.as_ref().map(word).unwrap_or_default(),
            steps,
            cast: rule.cast.as_ref().map(word).unwrap_or_default(),
            format: rule.format.clone().unwrap_or_default(),
            zone: rule.zone.clone().unwrap_or_default(),
            default: as_typed(rule.default.as_ref()),
            required: rule.required,
            received,
            refusal,
            record,
            errors,
        },
    )
}

pub(super) async fn take(
    page: &PageContext,
    mut draft: Draft,
    query: &Pairs,
    form: &Pairs,
) -> Result<HttpResponse, PageError> {
    let column = text(query, "column").to_owned();
    // Checks that this page does not show stay as they are.
    let mut rule = match draft.source(&column) {
        Some(ColumnSource::Detailed(rule)) => rule.clone(),
        _ => ColumnRule::default(),
    };
    let given = |name: &str| Some(text(form, name).to_owned()).filter(|given| !given.is_empty());
    (rule.from, rule.value, rule.meta, rule.expr) = (None, None, None, None);
    match text(form, "kind") {
        "value" => rule.value = Some(typed(get(form, "constant").unwrap_or_default()).unwrap_or_else(|| "".into())),
        "meta" => {
            let name = text(form, "meta");
            rule.meta = METAS.iter().find(|(_, known)| *known == name).map(|(meta, _)| *meta);
        }
        "expr" => rule.expr = Some(text(form, "expression").to_owned()),
        _ => rule.from = Some(given("path").unwrap_or_else(|| column.clone())),
    }
    let names = form.iter().filter(|(name, _)| name == "step").map(|(_, step)| step);
    let with = form.iter().filter(|(name, _)| name == "with").map(|(_, with)| with);
    let steps: Vec<(String, String)> = names.cloned().zip(with.cloned()).collect();
    let (mut clean, mut errors): (Vec<CleanStep>, Vec<String>) = (Vec::new(), Vec::new());
    for (name, with) in &steps {
        match step_of(name, with) {
            Ok(step) => clean.extend(step),
            Err(()) => errors.push(page.tables().step_wrong(name)),
        }
    }
    rule.clean = clean;
    rule.cast = CASTS.into_iter().find(|cast| word(cast) == text(form, "as"));
    (rule.format, rule.zone) = (given("format"), given("zone"));
    rule.default = typed(get(form, "default").unwrap_or_default());
    rule.required = get(form, "required").is_some();
    if !errors.is_empty() {
        return shown_with(page, &draft, &column, &rule, steps, StatusCode::UNPROCESSABLE_ENTITY, errors).await;
    }
    if text(form, "go") == "look" {
        return shown_with(page, &draft, &column, &rule, steps, StatusCode::OK, errors).await;
    }
    draft.feed(&column, Some(shortest(rule)));
    Ok(page.see(&address("fields", &draft.write()?)))
}
