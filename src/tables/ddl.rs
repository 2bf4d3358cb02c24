//! The statements that make what a route lacks: its table, its child tables, or single columns.
//!
//! Types come from the route itself: `as`, then its checks, its constant, its default; what says nothing is text. An operator
//! sees every statement before it is run. Nothing that is there is ever changed.

mod dialect;
mod wish;

use tidegate_actors::{
    route::{ChildSpec, ColumnSource, Columns, DeletePolicy, Meta, RouteSpec},
    schema::TableSchema,
};

pub use self::dialect::Dialect;
use self::wish::{Made, Wish};

/// What a route lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// The statements, in the order in which they must be run.
    pub statements: Vec<String>,
    /// What an operator should know of them.
    pub notes: Vec<String>,
}

/// The statements that a route needs, given the tables that are there; one for each of the route's children.
///
/// # Errors
/// A sentence: the route does not say what its table should have.
pub fn lacking(
    dialect: Dialect,
    route: &RouteSpec,
    table: Option<&TableSchema>,
    children: &[Option<TableSchema>],
) -> Result<Lacking, String> {
    let mut lacking = Lacking::default();
    let own = own_columns(dialect, route, table)?;
    match table {
        None => lacking.statements.push(create(dialect, &route.table, &own, &route.key, &[])),
        Some(there) => add(dialect, there, &own, &mut lacking),
    }
    for (place, child) in route.children.iter().enumerate() {
        let there = children.get(place).and_then(Option::as_ref);
        let columns = child_columns(dialect, child, &own, table, there)?;
        if let Some(there) = there {
            add(dialect, there, &columns, &mut lacking);
            continue;
        }
        let key = child_key(child);
        // What is there is called as it calls itself.
        let its_name = |name: &String| {
            let found = table.and_then(|table| table.column(name).map(|place| table.columns[place].name.clone()));
            found.unwrap_or_else(|| name.clone())
        };
        let (from, to): (Vec<&String>, Vec<String>) =
            child.parent.iter().map(|(from, to)| (from, its_name(to))).unzip();
        let foreign = format!(
            "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE CASCADE",
            dialect.list(&from),
            table.map_or_else(|| dialect.table(&route.table), |table| dialect.found(table)),
            dialect.list(&to.iter().collect::<Vec<_>>())
        );
        lacking.statements.push(create(dialect, &child.table, &columns, &key, &[foreign]));
        if key.is_empty() && dialect != Dialect::MySql {
            // The rows of a parent are looked for by these; MySQL makes an index for a foreign key by itself.
            let bare = child.table.rsplit('.').next().unwrap_or(&child.table);
            let index = dialect.quote(&format!("{bare}_parent"));
            lacking.statements.push(format!(
                "CREATE INDEX {index} ON {} ({})",
                dialect.table(&child.table),
                dialect.list(&from)
            ));
        }
        lacking.notes.push(format!(
            "rows of `{}` go with their row of `{}` (ON DELETE CASCADE), as the route's own deletes take them along",
            child.table, route.table
        ));
    }
    Ok(lacking)
}

/// The columns of the route's own table, in the order of the route: the key first, then by name.
fn own_columns(dialect: Dialect, route: &RouteSpec, table: Option<&TableSchema>) -> Result<Vec<Made>, String> {
    let named = match &route.columns {
        Columns::Named(named) => named.clone(),
        Columns::Matching(_) if table.is_some() => Default::default(),
        Columns::Matching(_) => return Err(no_columns(&route.name, &route.table)),
    };
    let is_key = |name: &str| route.key.iter().any(|key| key.eq_ignore_ascii_case(name));
    let mut columns: Vec<Made> = Vec::new();
    for name in &route.key {
        let source = named.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, source)| source);
        columns.push(Made::of(dialect, name, source, true));
    }
    columns.extend(
        named.iter().filter(|(name, _)| !is_key(name)).map(|(name, s)| Made::of(dialect, name, Some(s), false)),
    );
    if let DeletePolicy::Soft(soft) = &route.delete
        && !columns.iter().any(|made| made.name.eq_ignore_ascii_case(&soft.column))
    {
        let wish = soft.value.as_ref().map_or(Wish::Timestamp { zone: true }, Wish::of_value);
        let default = soft.restore.as_ref().and_then(|value| dialect.literal(value, &wish));
        columns.push(Made { name: soft.column.clone(), wish, required: false, default });
    }
    Ok(columns)
}

fn no_columns(route: &str, table: &str) -> String {
    format!(
        "route `{route}` takes every column of table `{table}` (columns = \"matching\"), and there is no such table: nothing says \
         what it should have; name the columns, or make the table yourself"
    )
}

/// The columns of a child: what ties it to its parent first, with the parent's types.
fn child_columns(
    dialect: Dialect,
    child: &ChildSpec,
    own: &[Made],
    parent: Option<&TableSchema>,
    there: Option<&TableSchema>,
) -> Result<Vec<Made>, String> {
    let named = match &child.columns {
        Columns::Named(named) => named.clone(),
        Columns::Matching(_) if there.is_some() => Default::default(),
        Columns::Matching(_) => return Err(no_columns(&child.from, &child.table)),
    };
    let mut columns = Vec::new();
    for (column, of) in &child.parent {
        let declared = parent.and_then(|table| table.column(of).map(|place| table.columns[place].declared.clone()));
        let wish = declared
            .map(Wish::Declared)
            .or_else(|| own.iter().find(|made| made.name.eq_ignore_ascii_case(of)).map(|made| made.wish.clone()));
        let wish = wish.unwrap_or(Wish::Text { max: Some(wish::KEY_CHARS) });
        columns.push(Made { name: column.clone(), wish, required: true, default: None });
    }
    let key = child_key(child);
    let others = named.iter().filter(|(name, _)| !child.parent.keys().any(|tie| tie.eq_ignore_ascii_case(name)));
    columns.extend(others.map(|(name, source)| Made::of(dialect, name, Some(source), key.contains(name))));
    Ok(columns)
}

/// What tells a child's rows apart: its parent and its place in the list, where the route writes that; else nothing.
fn child_key(child: &ChildSpec) -> Vec<String> {
    let Columns::Named(named) = &child.columns else { return Vec::new() };
    let is_index =
        |source: &ColumnSource| matches!(source, ColumnSource::Detailed(rule) if rule.meta == Some(Meta::Index));
    let Some((index, _)) = named.iter().find(|(_, source)| is_index(source)) else { return Vec::new() };
    child.parent.keys().chain([index]).cloned().collect()
}

fn create(dialect: Dialect, table: &str, columns: &[Made], key: &[String], more: &[String]) -> String {
    let mut parts: Vec<String> = columns.iter().map(|made| made.definition(dialect, made.required)).collect();
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", dialect.list(&key.iter().collect::<Vec<_>>())));
    }
    parts.extend_from_slice(more);
    format!("CREATE TABLE {} (\n    {}\n)", dialect.table(table), parts.join(",\n    "))
}

/// One statement for each column that is missing. They take NULL: there may be rows already.
fn add(dialect: Dialect, there: &TableSchema, columns: &[Made], lacking: &mut Lacking) {
    for made in columns.iter().filter(|made| there.column(&made.name).is_none()) {
        let word = if dialect == Dialect::SqlServer { "ADD" } else { "ADD COLUMN" };
        let definition = made.definition(dialect, false);
        lacking.statements.push(format!("ALTER TABLE {} {word} {definition}", dialect.found(there)));
        if made.required {
            lacking.notes.push(format!(
                "column `{}` of table `{}` takes NULL, since rows may be there already; fill it, then make it NOT NULL",
                made.name, there.name
            ));
        }
    }
}

#[cfg(test)]
mod tests;
