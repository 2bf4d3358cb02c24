//! The editor of a route, step by step: source, destination, table, fields, a trial, and saving; beside them one column's
//! rule and the route as text.
//!
//! Every step is an address that holds all that was chosen ([`Draft`]). A step that fails, because a database is away or
//! something does not fit, is shown again with the reason on top and everything as it was.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::HeaderName},
    web,
};
use askama::Template;
use tidegate_actors::{
    route::{Columns, DeletePolicy, RouteSpec, SoftDelete, Start},
    schema::TableSchema,
};

use super::{
    column,
    draft::{Draft, METAS, Pick, as_typed, choice, summary, typed, word},
};
use crate::{
    admin::{
        ActError, FieldError, Role,
        routes::{self, Field, Offer, Outlook, Place, TablePage, Trial},
    },
    console::{
        look::Look,
        page::{Frame, Nav, PageContext, PageError},
        texts::tables::Tables,
    },
    registry::manifest::Manifest,
    tables::dry_run::{Outcome, PlacedCell},
};

/// The steps, in their order, by what their addresses end with.
pub(super) const STEPS: [&str; 6] = ["source", "destination", "table", "fields", "try", "save"];
/// Records that a trial shows.
const TRIED: usize = 10;

/// Where the editor is; what every template of a step has.
pub(super) struct Steps {
    /// The one that is shown.
    at: &'static str,
    /// The draft, for addresses.
    pub(super) draft: String,
    spec: RouteSpec,
    base: Option<u64>,
}

impl Steps {
    fn new(at: &'static str, draft: &Draft) -> Result<Self, PageError> {
        Ok(Self { at, draft: draft.write()?, spec: draft.spec.clone(), base: draft.base })
    }

    /// Every step: its name, its address where one can go there already, and whether it is this one.
    fn all(&self, text: &'static Tables) -> Vec<(&'static str, Option<String>, bool, String)> {
        let spec = &self.spec;
        let has_source = !spec.application.is_empty() && !spec.topic.is_empty();
        let has_table = has_source && !spec.destination.is_empty() && !spec.table.is_empty();
        let has_columns = has_table && !matches!(&spec.columns, Columns::Named(named) if named.is_empty());
        let line = |(name, label): (&'static str, &'static str)| {
            let (may, chosen) = match name {
                "source" => {
                    (true, if has_source { format!("{} · {}", spec.application, spec.topic) } else { String::new() })
                }
                "destination" => (has_source, spec.destination.clone()),
                "table" => (has_source && !spec.destination.is_empty(), spec.table.clone()),
                "fields" => (has_table, String::new()),
                _ => (has_columns, String::new()),
            };
            (label, may.then(|| self.to(name)), name == self.at, chosen)
        };
        STEPS.into_iter().zip(text.steps).map(line).collect()
    }

    /// The address of a step with this draft.
    fn to(&self, step: &str) -> String {
        address(step, &self.draft)
    }
}

pub(super) fn address(step: &str, draft: &str) -> String {
    format!("/console/tables/~new/{step}?d={draft}")
}

/// What an address or a form says, in its order.
pub(super) type Pairs = Vec<(String, String)>;

pub(super) fn get<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

pub(super) fn text<'a>(pairs: &'a Pairs, name: &str) -> &'a str {
    get(pairs, name).unwrap_or_default().trim()
}

/// The draft of an address, with what else that says: `application`, `topic`, `destination`, `table`, or `source`, which is
/// application and topic.
pub(super) fn draft(query: &Pairs) -> Result<Draft, PageError> {
    let mut draft = match get(query, "d") {
        Some(text) if !text.is_empty() => Draft::read(text)?,
        _ => Draft::new(),
    };
    let before = (draft.spec.destination.clone(), draft.spec.table.clone());
    if let Some((application, topic)) = get(query, "source").and_then(|source| source.split_once(' ')) {
        application.clone_into(&mut draft.spec.application);
        topic.clone_into(&mut draft.spec.topic);
    }
    // An own topic is typed beside the ones to pick, and counts for more.
    let own = !text(query, "topic").is_empty();
    for (name, of) in [
        ("application", &mut draft.spec.application),
        ("topic", &mut draft.spec.topic),
        ("destination", &mut draft.spec.destination),
        ("table", &mut draft.spec.table),
    ] {
        let given = text(query, name);
        if !given.is_empty() && (name != "application" || own || get(query, "source").is_none()) {
            given.clone_into(of);
        }
    }
    if before.0 != draft.spec.destination && before.1 == draft.spec.table {
        draft.spec.table.clear();
    }
    Ok(draft)
}

/// Shows a step.
pub(super) async fn show(
    page: PageContext,
    step: web::Path<String>,
    query: web::Query<Pairs>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let draft = draft(&query)?;
    let spec = &draft.spec;
    // Whoever comes too early begins where something is missing.
    let early = match step.as_str() {
        "source" | "text" => None,
        _ if spec.application.is_empty() || spec.topic.is_empty() => Some("source"),
        "destination" => None,
        _ if spec.destination.is_empty() => Some("destination"),
        "table" => None,
        _ if spec.table.is_empty() => Some("table"),
        _ => None,
    };
    if let Some(step) = early {
        return Ok(page.see(&address(step, &draft.write()?)));
    }
    match step.as_str() {
        "source" => source(&page, &draft).await,
        "destination" => destination(&page, &draft).await,
        "table" => table(&page, &draft, &query).await,
        "fields" => fields(&page, draft, StatusCode::OK, Vec::new()).await,
        "try" => try_out(&page, &draft, None).await,
        "save" => save(&page, &draft, None).await,
        "column" => column::show(&page, &draft, &query).await,
        "text" => as_text(&page, &draft, routes::toml(&draft.spec), StatusCode::OK, Vec::new()),
        other => Err(PageError::NotFound(format!("there is no step `{other}`"))),
    }
}

/// Takes what a step's form says.
pub(super) async fn take(
    page: PageContext,
    step: web::Path<String>,
    query: web::Query<Pairs>,
    form: web::Form<Pairs>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let draft = draft(&query)?;
    match step.as_str() {
        "fields" => take_fields(&page, draft, &form).await,
        "try" => try_out(&page, &draft, Some(text(&form, "records"))).await,
        "save" => take_save(&page, draft, &form).await,
        "column" => column::take(&page, draft, &query, &form).await,
        "text" => take_text(&page, draft, &form),
        other => Err(PageError::NotFound(format!("there is no step `{other}`"))),
    }
}

/// A failure on top of a step: its status, and what to say.
fn failure(error: ActError) -> Result<(StatusCode, Option<String>, Vec<FieldError>), PageError> {
    Ok(match error {
        ActError::Invalid(fields) => (StatusCode::UNPROCESSABLE_ENTITY, None, fields),
        ActError::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, Some(why), Vec::new()),
        ActError::Conflict(why) => (StatusCode::CONFLICT, Some(why), Vec::new()),
        ActError::Unknown(why) => (StatusCode::NOT_FOUND, Some(why), Vec::new()),
        error @ ActError::Forbidden { .. } => return Err(error.into()),
    })
}

fn title(page: &PageContext, draft: &Draft) -> String {
    let text = page.tables();
    match draft.base {
        Some(_) => text.edit_title.replace("{}", &draft.spec.name),
        None => text.new_title.to_owned(),
    }
}

// ---- Where the records come from ----

#[derive(Template)]
#[template(path = "tables/source.html")]
struct SourcePage {
    frame: Frame,
    text: &'static Tables,
    steps: Steps,
    /// Every application with its topics, those that are listed and those that have a route.
    applications: Vec<(String, Vec<String>)>,
}

async fn source(page: &PageContext, draft: &Draft) -> Result<HttpResponse, PageError> {
    let applications = routes::sources(page.admin(), &page.who()).await?;
    let frame = page.frame(Nav::Tables, title(page, draft));
    page.render(&SourcePage { frame, text: page.tables(), steps: Steps::new("source", draft)?, applications })
}

// ---- Where they go ----

#[derive(Template)]
#[template(path = "tables/destination.html")]
struct DestinationPage {
    frame: Frame,
    text: &'static Tables,
    steps: Steps,
    destinations: Vec<routes::Target>,
}

async fn destination(page: &PageContext, draft: &Draft) -> Result<HttpResponse, PageError> {
    let destinations = routes::targets(page.admin(), &page.who()).await?;
    let frame = page.frame(Nav::Tables, title(page, draft));
    page.render(&DestinationPage { frame, text: page.tables(), steps: Steps::new("destination", draft)?, destinations })
}

#[derive(Template)]
#[template(path = "tables/table.html")]
struct TableStep {
    frame: Frame,
    text: &'static Tables,
    steps: Steps,
    search: String,
    found: Option<TablePage>,
    failure: Option<String>,
}

impl TableStep {
    fn at_page(&self, page: usize) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("q", &self.search)
            .append_pair("page", &page.to_string())
            .finish();
        format!("{}&{query}", self.steps.to("table"))
    }

    fn choose(&self, table: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("table", table).finish();
        format!("{}&{query}", self.steps.to("fields"))
    }
}

async fn table(page: &PageContext, draft: &Draft, query: &Pairs) -> Result<HttpResponse, PageError> {
    let search = text(query, "q").to_owned();
    let wanted = text(query, "page").parse().unwrap_or(1);
    let found = routes::tables(page.admin(), &page.who(), &draft.spec.destination, &search, wanted).await;
    let (status, found, failure) = match found {
        Ok(found) => (StatusCode::OK, Some(found), None),
        Err(error) => {
            let (status, why, _) = failure(error)?;
            (status, None, why)
        }
    };
    let frame = page.frame(Nav::Tables, title(page, draft));
    let steps = Steps::new("table", draft)?;
    page.render_with(status, &TableStep { frame, text: page.tables(), steps, search, found, failure })
}

// ---- Which column takes what ----

/// A column as the editor shows it.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) declared: String,
    /// No row can be inserted without it.
    pub(super) is_required: bool,
    pub(super) in_key: bool,
    pub(super) default: Option<String>,
    pub(super) generated: bool,
    /// The table has no such column.
    pub(super) is_strange: bool,
    pub(super) pick: String,
    pub(super) rule: String,
    /// What it would receive.
    pub(super) value: Option<String>,
    pub(super) refusal: Option<String>,
    /// What there is to know of how it was suggested.
    pub(super) hint: Option<String>,
    pub(super) errors: Vec<String>,
}

impl Row {
    fn is_picked(&self, option: &str) -> bool {
        self.pick == option
    }

    /// What is picked and is no field of the recent records.
    fn own<'a>(&'a self, fields: &[Field]) -> Option<&'a str> {
        let path = self.pick.strip_prefix("field:")?;
        fields.iter().all(|field| field.path != path).then_some(path)
    }
}

#[derive(Template)]
#[template(path = "tables/fields.html")]
struct FieldsPage {
    frame: Frame,
    text: &'static Tables,
    steps: Steps,
    rows: Vec<Row>,
    fields: Vec<Field>,
    unique_keys: Vec<Vec<String>>,
    records: usize,
    newest_ms: Option<u64>,
    is_matching: bool,
    is_suggested: bool,
    failure: Option<String>,
    errors: Vec<FieldError>,
}

impl FieldsPage {
    fn metas(&self) -> Vec<(String, &'static str)> {
        METAS.iter().map(|(meta, name)| (format!("meta:{name}"), self.text.meta(*meta))).collect()
    }

    /// What a field looks like in the list to pick from.
    fn option(&self, field: &Field) -> String {
        let example: String = field.example.as_deref().unwrap_or_default().chars().take(28).collect();
        if example.is_empty() { field.path.clone() } else { format!("{}   {example}", field.path) }
    }
}

async fn fields(
    page: &PageContext,
    mut draft: Draft,
    status: StatusCode,
    errors: Vec<FieldError>,
) -> Result<HttpResponse, PageError> {
    let offer = routes::offer(page.admin(), &page.who(), &Place::of(&draft.spec)).await;
    let is_empty = matches!(&draft.spec.columns, Columns::Named(named) if named.is_empty());
    let is_suggested = is_empty && offer.as_ref().is_ok_and(|offer| offer.suggestion.is_some());
    let (status, offer, failure) = match offer {
        Ok(offer) => (status, Some(offer), None),
        Err(error) => {
            let (status, why, _) = failure(error)?;
            (status, None, why)
        }
    };
    if let Some(offer) = &offer {
        if is_suggested {
            suggest(&mut draft, offer);
        }
        if draft.spec.name.is_empty() {
            offer.name.clone_into(&mut draft.spec.name);
        }
    }
    let rows = rows(page.look(), page.tables(), &draft, offer.as_ref(), &errors);
    let frame = page.frame(Nav::Tables, title(page, &draft));
    let (fields, unique_keys, records, newest_ms) = match offer {
        Some(offer) => {
            let newest_ms = offer.newest.as_ref().map(|(message, _)| message.id.ms);
            (offer.fields, offer.table.unique_keys, offer.records, newest_ms)
        }
        None => (Vec::new(), Vec::new(), 0, None),
    };
    let is_matching = matches!(draft.spec.columns, Columns::Matching(_));
    let (text, steps) = (page.tables(), Steps::new("fields", &draft)?);
    let errors = errors.into_iter().filter(|error| !error.field.starts_with("columns.")).collect();
    page.render_with(
        status,
        &FieldsPage {
            frame,
            text,
            steps,
            rows,
            fields,
            unique_keys,
            records,
            newest_ms,
            is_matching,
            is_suggested,
            failure,
            errors,
        },
    )
}

/// Takes over what was suggested.
fn suggest(draft: &mut Draft, offer: &Offer) {
    let Some(suggestion) = &offer.suggestion else { return };
    draft.spec.key.clone_from(&suggestion.key);
    let columns = suggestion.columns.iter().map(|guess| (guess.column.clone(), guess.source.clone()));
    draft.spec.columns = Columns::Named(columns.collect());
}

/// The rows of the table's columns, then those of columns that the route names and the table does not have.
fn rows(look: Look, text: &'static Tables, draft: &Draft, offer: Option<&Offer>, errors: &[FieldError]) -> Vec<Row> {
    let previews = match offer.and_then(|offer| Some((offer, offer.newest.as_ref()?))) {
        Some((offer, (message, generation))) => routes::previews(&draft.spec, &offer.table, message, generation),
        None => Vec::new(),
    };
    let errors = |name: &str| {
        let at = format!("columns.{name}");
        let is_its = |field: &str| field == at || field.strip_prefix(&at).is_some_and(|rest| rest.starts_with('.'));
        errors.iter().filter(|error| is_its(&error.field)).map(|error| look.wrong(error)).collect::<Vec<_>>()
    };
    let row = |name: &str| {
        let source = draft.source(name);
        let preview = previews.iter().find(|preview| preview.column == name);
        Row {
            name: name.to_owned(),
            declared: String::new(),
            is_required: false,
            in_key: draft.has_key(name),
            default: None,
            generated: false,
            is_strange: false,
            pick: Pick::of(source, name).write(),
            rule: summary(source),
            value: preview.and_then(|preview| preview.value.as_ref()).map(|value| shown(value.get())),
            refusal: preview.and_then(|preview| preview.refusal.as_ref()).map(|refusal| refusal.message.clone()),
            hint: None,
            errors: errors(name),
        }
    };
    let mut rows = Vec::new();
    let table: Option<&TableSchema> = offer.map(|offer| &offer.table);
    for column in table.iter().flat_map(|table| &table.columns) {
        let suggestion = offer.and_then(|offer| offer.suggestion.as_ref());
        let guess = suggestion.and_then(|all| all.columns.iter().find(|guess| guess.column == column.name));
        let open = suggestion.and_then(|all| all.open.iter().find(|open| open.column == column.name));
        let row = row(&column.name);
        let hint = match (row.pick.is_empty(), guess, open) {
            // Only of what was guessed, not of what somebody else picked since.
            (false, Some(guess), _) if draft.source(&column.name) == Some(&guess.source) => {
                let remarks = guess.remarks.join("; ");
                let likely = if guess.likeness >= 0.99 { "" } else { text.guessed };
                Some(
                    [likely, remarks.as_str()]
                        .iter()
                        .filter(|part| !part.is_empty())
                        .copied()
                        .collect::<Vec<_>>()
                        .join("; "),
                )
            }
            (true, _, Some(open)) => open.near.clone(),
            _ => None,
        };
        rows.push(Row {
            declared: column.declared.clone(),
            is_required: !column.nullable && !column.has_default && !column.generated,
            default: column.default.clone().or_else(|| column.has_default.then(|| text.by_database.to_owned())),
            generated: column.generated,
            hint: hint.filter(|hint| !hint.is_empty()),
            ..row
        });
    }
    if let Columns::Named(named) = &draft.spec.columns {
        let strange = named.keys().filter(|name| table.is_none_or(|table| table.column(name).is_none()));
        rows.extend(strange.map(|name| Row { is_strange: table.is_some(), ..row(name) }));
    }
    rows
}

async fn take_fields(page: &PageContext, mut draft: Draft, form: &Pairs) -> Result<HttpResponse, PageError> {
    let go = text(form, "go");
    if go == "pick" {
        draft.spec.columns = Columns::Named(BTreeMap::new());
        return Ok(page.see(&address("fields", &draft.write()?)));
    }
    let names = form.iter().filter(|(name, _)| name == "column").map(|(_, column)| column);
    let picks = form.iter().filter(|(name, _)| name == "pick").map(|(_, pick)| pick);
    for (column, pick) in names.zip(picks) {
        let source = Pick::read(pick).apply(draft.source(column), column);
        draft.feed(column, source);
    }
    if get(form, "column").is_some() {
        draft.spec.key = form.iter().filter(|(name, _)| name == "key").map(|(_, column)| column.clone()).collect();
    }
    if draft.spec.name.is_empty() {
        // A route without a name is told nothing else that is wrong with it.
        draft.spec.name =
            routes::name_for(page.admin(), &page.who(), &Place::of(&draft.spec)).await.unwrap_or_default();
    }
    let written = draft.write()?;
    if let Some(column) = go.strip_prefix("rule:") {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("column", column).finish();
        return Ok(page.see(&format!("{}&{query}", address("column", &written))));
    }
    if go != "next" {
        // Only what the columns would receive now, at an address that has what was picked.
        let here = address("fields", &written);
        if !page.is_htmx() {
            return Ok(page.see(&here));
        }
        let mut shown = fields(page, draft, StatusCode::OK, Vec::new()).await?;
        if let Ok(here) = here.parse() {
            shown.headers_mut().insert(HeaderName::from_static("hx-replace-url"), here);
        }
        return Ok(shown);
    }
    // What can be wrong with columns is told beside them.
    match routes::outlook(page.admin(), &page.who(), &draft.to_act()).await {
        Err(ActError::Invalid(errors)) if errors.iter().any(|error| is_of_fields(&error.field)) => {
            fields(page, draft, StatusCode::UNPROCESSABLE_ENTITY, errors).await
        }
        _ => Ok(page.see(&address("try", &written))),
    }
}

fn is_of_fields(field: &str) -> bool {
    field == "key" || field.starts_with("columns") || field == "table"
}

// ---- What it would come to ----

#[derive(Template)]
#[template(path = "tables/try.html")]
struct TryPage {
    frame: Frame,
    text: &'static Tables,
    steps: Steps,
    trial: Option<Trial>,
    given: String,
    failure: Option<String>,
    errors: Vec<FieldError>,
}

impl TryPage {
    /// The cells of a row as one sees them: a value that is JSON's own text without its quotation marks.
    fn value(&self, cell: &PlacedCell) -> String {
        shown(cell.value.get())
    }

    fn operation(&self, operation: &str) -> &'static str {
        self.text.operation(operation)
    }
}

/// A JSON value for people: a text as it is.
pub(super) fn shown(raw: &str) -> String {
    serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned())
}

async fn try_out(page: &PageContext, draft: &Draft, given: Option<&str>) -> Result<HttpResponse, PageError> {
    let records = given.filter(|given| !given.is_empty());
    let tried = routes::try_out(page.admin(), &page.who(), &draft.spec, TRIED, records).await;
    let (status, trial, failure, errors) = match tried {
        Ok(trial) => (StatusCode::OK, Some(trial), None, Vec::new()),
        Err(error) => {
            let (status, why, errors) = failure(error)?;
            (status, None, why, errors)
        }
    };
    let frame = page.frame(Nav::Tables, title(page, draft));
    let given = given.unwrap_or_default().to_owned();
    let (text, steps) = (page.tables(), Steps::new("try", draft)?);
    page.render_with(status, &TryPage { frame, text, steps, trial, given, failure, errors })
}

// ---- Where it starts, and saving ----

#[derive(Template)]
#[template(path = "tables/save.html")]
struct SavePage {
    frame: Frame,
    text: &'static Tables,
    steps: Steps,
    outlook: Option<Outlook>,
    ddl: Vec<String>,
    failure: Option<String>,
    errors: Vec<FieldError>,
}

/// One of a few words, as a list to choose from.
struct Choice {
    name: &'static str,
    label: &'static str,
    choices: &'static [(&'static str, &'static str)],
    value: String,
}

impl SavePage {
    fn wrong(&self, field: &str) -> Option<String> {
        self.errors.iter().find(|error| error.field == field).map(|error| self.frame.wrong(error))
    }

    /// What is wrong with what another step asks for.
    fn elsewhere(&self) -> Vec<&FieldError> {
        const HERE: [&str; 4] = ["name", "start", "filter", "version_column"];
        self.errors.iter().filter(|error| !HERE.contains(&error.field.as_str())).collect()
    }

    fn start(&self) -> &'static str {
        match self.steps.spec.start {
            Start::Now => "now",
            Start::Earliest => "earliest",
            Start::At(_) => "at",
        }
    }

    fn start_at(&self) -> &str {
        match &self.steps.spec.start {
            Start::At(moment) => moment,
            _ => "",
        }
    }

    fn is_new(&self) -> bool {
        self.steps.base.is_none() || self.outlook.as_ref().is_some_and(|outlook| outlook.begins_anew)
    }

    fn options(&self) -> [Choice; 4] {
        let (spec, text) = (&self.steps.spec, self.text);
        let choice = |name, label, choices, value| Choice { name, label, choices, value };
        [
            choice("on_missing", text.on_missing, &text.on_missing_choices[..], word(&spec.on_missing)),
            choice("on_existing", text.on_existing, &text.on_existing_choices[..], word(&spec.on_existing)),
            choice("on_dead", text.on_dead, &text.on_dead_choices[..], word(&spec.on_dead)),
            choice("unknown_fields", text.unknown_fields, &text.unknown_fields_choices[..], word(&spec.unknown_fields)),
        ]
    }

    fn delete(&self) -> &'static str {
        match self.steps.spec.delete {
            DeletePolicy::Row => "row",
            DeletePolicy::Ignore => "ignore",
            DeletePolicy::Soft(_) => "soft",
        }
    }

    fn soft(&self) -> (String, String, String) {
        match &self.steps.spec.delete {
            DeletePolicy::Soft(soft) => {
                (soft.column.clone(), as_typed(soft.value.as_ref()), as_typed(soft.restore.as_ref()))
            }
            _ => Default::default(),
        }
    }

    /// Whether anything is otherwise than a new route has it.
    fn has_options(&self) -> bool {
        let (spec, plain) = (&self.steps.spec, RouteSpec::default());
        spec.filter.is_some()
            || spec.version_column.is_some()
            || spec.every_change
            || spec.delete != plain.delete
            || spec.on_missing != plain.on_missing
            || spec.on_existing != plain.on_existing
            || spec.on_dead != plain.on_dead
            || spec.unknown_fields != plain.unknown_fields
    }
}

async fn save(page: &PageContext, draft: &Draft, refused: Option<ActError>) -> Result<HttpResponse, PageError> {
    let mut draft = draft.clone();
    if draft.spec.name.is_empty() {
        draft.spec.name =
            routes::name_for(page.admin(), &page.who(), &Place::of(&draft.spec)).await.unwrap_or_default();
    }
    let first = refused.is_none();
    let outlook = match refused {
        Some(error) => Err(error),
        None => routes::outlook(page.admin(), &page.who(), &draft.to_act()).await,
    };
    let (status, outlook, failure, errors) = match outlook {
        Ok(outlook) => (StatusCode::OK, Some(outlook), None, Vec::new()),
        Err(error) => {
            let (status, why, errors) = failure(error)?;
            // Who only looks at the form has not sent anything wrong yet.
            (
                if first && status == StatusCode::UNPROCESSABLE_ENTITY { StatusCode::OK } else { status },
                None,
                why,
                errors,
            )
        }
    };
    let ddl = match &outlook {
        Some(outlook) if outlook.notes.iter().any(|note| note.field.ends_with("table") && note.code == "doubtful") => {
            let lacking = routes::ddl(page.admin(), &page.who(), &draft.spec).await;
            lacking.map(|lacking| lacking.statements).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let frame = page.frame(Nav::Tables, title(page, &draft));
    let (text, steps) = (page.tables(), Steps::new("save", &draft)?);
    page.render_with(status, &SavePage { frame, text, steps, outlook, ddl, failure, errors })
}

async fn take_save(page: &PageContext, mut draft: Draft, form: &Pairs) -> Result<HttpResponse, PageError> {
    let spec = &mut draft.spec;
    let given = |name: &str| Some(text(form, name).to_owned()).filter(|given| !given.is_empty());
    if draft.base.is_none() {
        spec.name = given("name").unwrap_or_default();
    }
    match get(form, "start") {
        Some("now") => spec.start = Start::Now,
        Some("earliest") => spec.start = Start::Earliest,
        Some(_) => spec.start = Start::At(text(form, "start_at").to_owned()),
        None => {}
    }
    spec.filter = given("filter");
    spec.version_column = given("version_column");
    spec.every_change = get(form, "every_change").is_some();
    spec.on_missing = choice(text(form, "on_missing"));
    spec.on_existing = choice(text(form, "on_existing"));
    spec.on_dead = choice(text(form, "on_dead"));
    spec.unknown_fields = choice(text(form, "unknown_fields"));
    spec.delete = match text(form, "delete") {
        "ignore" => DeletePolicy::Ignore,
        "soft" => DeletePolicy::Soft(SoftDelete {
            column: text(form, "soft_column").to_owned(),
            value: typed(text(form, "soft_value")),
            restore: typed(text(form, "soft_restore")),
        }),
        _ => DeletePolicy::Row,
    };
    if text(form, "go") == "look" {
        return Ok(page.see(&address("save", &draft.write()?)));
    }
    match routes::save(page.admin(), &page.who(), &draft.to_act()).await {
        Ok(saved) => {
            let text = page.tables();
            let said = if saved.outlook.changes.is_empty() {
                text.unchanged.replace("{}", &saved.name)
            } else if saved.outlook.is_new {
                text.created.replace("{}", &saved.name)
            } else {
                text.changed.replace("{}", &saved.name)
            };
            let said = match saved.catches_up_from_ms {
                Some(_) => format!("{said} {}", text.catches_up),
                None => said,
            };
            Ok(page.done(&format!("/console/tables/{}", saved.name), said))
        }
        Err(error) => save(page, &draft, Some(error)).await,
    }
}

// ---- The route as text ----

#[derive(Template)]
#[template(path = "tables/text.html")]
struct TextPage {
    frame: Frame,
    text: &'static Tables,
    steps: Steps,
    toml: String,
    mistakes: Vec<String>,
}

fn as_text(
    page: &PageContext,
    draft: &Draft,
    toml: String,
    status: StatusCode,
    mistakes: Vec<String>,
) -> Result<HttpResponse, PageError> {
    let frame = page.frame(Nav::Tables, title(page, draft));
    let (text, steps) = (page.tables(), Steps::new("text", draft)?);
    page.render_with(status, &TextPage { frame, text, steps, toml, mistakes })
}

fn take_text(page: &PageContext, mut draft: Draft, form: &Pairs) -> Result<HttpResponse, PageError> {
    let toml = get(form, "toml").unwrap_or_default().replace("\r\n", "\n");
    let again = |mistakes| as_text(page, &draft, toml.clone(), StatusCode::UNPROCESSABLE_ENTITY, mistakes);
    let manifest = match Manifest::parse(&toml) {
        Ok(manifest) => manifest,
        Err(mistaken) => return again(mistaken.0.iter().map(ToString::to_string).collect()),
    };
    let [entry] = manifest.routes.as_slice() else { return again(vec![page.tables().one_route.to_owned()]) };
    if draft.base.is_some() && entry.spec.name != draft.spec.name {
        return again(vec![page.tables().same_name.replace("{}", &draft.spec.name)]);
    }
    draft.spec = entry.spec.clone();
    Ok(page.see(&address("try", &draft.write()?)))
}
