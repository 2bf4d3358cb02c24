//! A `[[route]]` as an operator writes it, and its `[[route.children]]`.

use chrono::DateTime;
use tidegate_actors::route::{ChildSpec, DeletePolicy, RouteSpec, SoftDelete, Start};

use super::{
    RouteEntry, Taken, check_name, columns, name,
    places::Places,
    reader::{Fields, Mistakes, Text, described, hint},
};

/// Reads one route.
pub(super) fn read(mut fields: Fields<'_, '_>, taken: &mut Taken) -> RouteEntry {
    let places = Places::of(&fields);
    let name = name(&mut fields, "route", taken);
    let application = fields.text("application");
    let topic = fields.text("topic");
    check_name("topic", &topic, &fields.mistakes);
    let destination = fields.text("destination");
    let table = table(&mut fields);
    let key = fields.texts("key");
    let start = fields.optional_text("start").map_or(Start::Now, |text| start(&text, &fields.mistakes));
    let columns = columns::read(&mut fields, "a route");
    columns::check_key(&key, &columns, &fields.mistakes);
    let (application_place, destination_place) = (application.place, destination.place);
    let spec = RouteSpec {
        id: String::new(),
        version: 0,
        name,
        application: application.value,
        topic: topic.value,
        destination: destination.value,
        table,
        start,
        on_missing: fields.choice("on_missing").unwrap_or_default(),
        on_existing: fields.choice("on_existing").unwrap_or_default(),
        every_change: fields.flag("every_change"),
        filter: fields.optional_text("filter").map(|filter| filter.value),
        unknown_fields: fields.choice("unknown_fields").unwrap_or_default(),
        delete: delete(&mut fields),
        version_column: fields.optional_text("version_column").map(|column| column.value),
        on_dead: fields.choice("on_dead").unwrap_or_default(),
        children: children(&mut fields, &key),
        key: key.into_iter().map(|column| column.value).collect(),
        columns,
    };
    fields.finish();
    RouteEntry { spec, application_place, destination_place, places }
}

fn table(fields: &mut Fields<'_, '_>) -> String {
    let table = fields.text("table");
    if !table.value.is_empty() && (table.value.split('.').count() > 2 || table.value.split('.').any(str::is_empty)) {
        fields.mistakes.add(table.place, format!("`{}` is neither `table` nor `schema.table`", table.value));
    }
    table.value
}

fn start(text: &Text, mistakes: &Mistakes<'_>) -> Start {
    let start = Start::from(text.value.clone());
    if let Start::At(moment) = &start
        && DateTime::parse_from_rfc3339(moment).is_err()
    {
        mistakes.add(
            text.place,
            format!(
                "`{moment}` is not a start; give \"now\", \"earliest\" or a time such as \"2026-01-31T08:00:00+07:00\""
            ),
        );
    }
    start
}

/// `delete = "row"`, `"ignore"`, or the column of a soft delete.
fn delete(fields: &mut Fields<'_, '_>) -> DeletePolicy {
    const FORMS: &str = "`delete` is \"row\", \"ignore\", or { column = \"deleted_at\" } for a soft delete";
    let Some(value) = fields.get("delete") else { return DeletePolicy::Row };
    let mistakes = fields.mistakes.clone();
    match value.get_ref().as_str() {
        Some("row") => return DeletePolicy::Row,
        Some("ignore") => return DeletePolicy::Ignore,
        Some(other) => {
            mistakes.add(value.span().start, format!("{FORMS}; {}", hint(other, &["row", "ignore"])));
            return DeletePolicy::Row;
        }
        None if value.get_ref().as_table().is_none() => {
            mistakes.add(value.span().start, format!("{FORMS}, not {}", described(value.get_ref())));
            return DeletePolicy::Row;
        }
        None => {}
    }
    let Some(mut inner) = Fields::of("`delete`", value, &mistakes) else { return DeletePolicy::Row };
    let soft = SoftDelete {
        column: inner.text("column").value,
        value: inner.get("value").and_then(|value| columns::json(value, &mistakes)),
        restore: inner.get("restore").and_then(|value| columns::json(value, &mistakes)),
    };
    inner.finish();
    DeletePolicy::Soft(soft)
}

fn children(fields: &mut Fields<'_, '_>, key: &[Text]) -> Vec<ChildSpec> {
    let children = fields.tables("children", "a child").into_iter().map(|mut child| {
        let spec = ChildSpec {
            from: child.text("from").value,
            table: table(&mut child),
            parent: columns::parent(&mut child, key),
            columns: columns::read(&mut child, "a child"),
        };
        child.finish();
        spec
    });
    children.collect()
}
