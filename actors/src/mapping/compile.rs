//! Compiling a route against its table: every name is looked up once, and every mistake is found before a record comes.
//!
//! All mistakes are reported together, each with the nearest right name or the statement that would mend it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{FieldTable, Mapping, Source, ValueRule, cast_through, fits::never_fits, nearest};
use crate::{
    route::{ColumnRule, ColumnSource, Columns, RouteSpec},
    schema::{ColumnSchema, TableSchema},
    transaction::{Cell, TablePlan},
};

/// One thing that is wrong between a route and its table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct MappingError {
    /// The route's name.
    pub route: String,
    /// The column as the route names it, or as the table does where the route does not; `None` for the route as a whole.
    pub column: Option<String>,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route `{}`: {}", self.route, self.message)
    }
}

impl Mapping {
    /// Compiles a route against the table it writes, and the tables of its children in their order.
    ///
    /// # Errors
    /// Everything that is wrong between the two, in the order of the route.
    pub fn compile(
        route: &RouteSpec,
        table: TableSchema,
        children: Vec<TableSchema>,
    ) -> Result<Self, Vec<MappingError>> {
        let _ = children;
        let mut compiler = Compiler { route, table: &table, errors: Vec::new() };
        let rules = compiler.rules();
        let key = compiler.key();
        compiler.check_inserts(&rules);

        // Columns stand in the table's order, whatever the order in which the route names them.
        let mut fields = FieldTable::new(matches!(route.columns, Columns::Matching(_)));
        let (mut columns, mut sources, mut defaults, mut required) = (vec![], vec![], vec![], vec![]);
        for (index, column) in table.columns.iter().enumerate() {
            let rule = rules.get(&index);
            if rule.is_none() && !key.contains(&index) {
                continue;
            }
            let place = columns.len();
            columns.push(index);
            let rule = rule.cloned().unwrap_or_else(|| plain(&column.name));
            if never_fits(&rule, &column.kind) {
                let (table, declared) = (&route.table, &column.declared);
                compiler.error(
                    Some(&column.name),
                    format!(
                        "column `{}` of table `{table}` is {declared}, which cannot hold what the route's `as` makes of its \
                         field: give the column its type back, or correct `as`",
                        column.name
                    ),
                );
            }
            if let Some(default) = compiler.default(column, &rule) {
                defaults.push((place, default));
            }
            if must_be_filled(column) {
                required.push(place);
            }
            let field = fields.add(rule.from.as_deref().unwrap_or(&column.name));
            match ValueRule::compile(&rule) {
                Ok(rule) => sources.push(Source { field, rule }),
                Err(why) => compiler.error(Some(&column.name), format!("column `{}`: {why}", column.name)),
            }
        }
        if columns.is_empty() && compiler.errors.is_empty() {
            compiler.error(None, format!("it writes no column of table `{}`; name one under `columns`", route.table));
        }
        if !compiler.errors.is_empty() {
            return Err(compiler.errors);
        }
        let names: Vec<_> = key.iter().map(|index| table.columns[*index].name.clone()).collect();
        let plan = TablePlan {
            route: Arc::from(route.id.as_str()),
            only_unique_key: !key.is_empty() && table.is_only_unique(&names),
            version: None,
            key: key.iter().filter_map(|index| columns.iter().position(|column| column == index)).collect(),
            columns,
            table: Arc::new(table),
        };
        Ok(Self {
            plan: Arc::new(plan),
            children: Vec::new(),
            filter: None,
            route: route.name.as_str().into(),
            table: route.table.as_str().into(),
            on_missing: route.on_missing,
            sources,
            fields,
            defaults,
            required,
        })
    }
}

/// The rule of a column that is fed by the field of its own name.
fn plain(field: &str) -> ColumnRule {
    ColumnRule { from: Some(field.to_owned()), ..ColumnRule::default() }
}

/// Whether an insert fails without a value for this column.
fn must_be_filled(column: &ColumnSchema) -> bool {
    !column.nullable && !column.has_default && !column.generated
}

struct Compiler<'a> {
    route: &'a RouteSpec,
    table: &'a TableSchema,
    errors: Vec<MappingError>,
}

impl Compiler<'_> {
    fn error(&mut self, column: Option<&str>, message: String) {
        let route = self.route.name.clone();
        self.errors.push(MappingError { route, column: column.map(str::to_owned), message });
    }

    /// The rule of each column that the route writes, by place in the table.
    fn rules(&mut self) -> BTreeMap<usize, ColumnRule> {
        let table = self.table;
        let named = match &self.route.columns {
            Columns::Matching(_) => {
                let writable = table.columns.iter().enumerate().filter(|(_, column)| !column.generated);
                return writable.map(|(index, column)| (index, plain(&column.name))).collect();
            }
            Columns::Named(named) => named,
        };
        let mut rules = BTreeMap::new();
        for (name, source) in named {
            let Some(index) = self.column(name, "columns") else { continue };
            let rule = match source {
                ColumnSource::Field(field) => plain(field),
                ColumnSource::Detailed(rule) => rule.clone(),
            };
            let rule = ColumnRule { from: Some(rule.from.unwrap_or_else(|| name.clone())), ..rule };
            if rules.insert(index, rule).is_some() {
                let message = format!("`columns` names column `{}` twice, in two spellings", table.columns[index].name);
                self.error(Some(name), message);
            }
        }
        rules
    }

    /// The place in the table of a column that is to be written.
    fn column(&mut self, name: &str, whence: &str) -> Option<usize> {
        let (table, label) = (self.table, &self.route.table);
        let Some(index) = table.column(name) else {
            let alike: Vec<_> = table.columns.iter().filter(|column| column.name.eq_ignore_ascii_case(name)).collect();
            let hint = match (alike.as_slice(), nearest(name, table.columns.iter().map(|column| column.name.as_str())))
            {
                ([first, second, ..], _) => {
                    format!(
                        "; `{}` and `{}` differ from it in case: write one of them exactly",
                        first.name, second.name
                    )
                }
                (_, Some(near)) => format!("; did you mean `{near}`?"),
                _ => {
                    let names: Vec<_> =
                        table.columns.iter().take(30).map(|column| format!("`{}`", column.name)).collect();
                    format!("; it has {}", names.join(", "))
                }
            };
            self.error(Some(name), format!("`{whence}` names `{name}`, which is no column of table `{label}`{hint}"));
            return None;
        };
        if table.columns[index].generated {
            let message = format!(
                "column `{name}` of table `{label}` is computed by the database and can't be written: take it out of `{whence}`"
            );
            self.error(Some(name), message);
            return None;
        }
        Some(index)
    }

    /// The places in the table of the key's columns, in the route's order.
    fn key(&mut self) -> Vec<usize> {
        let before = self.errors.len();
        let mut key = Vec::new();
        for name in &self.route.key {
            let Some(index) = self.column(name, "key") else { continue };
            if key.contains(&index) {
                self.error(Some(name), format!("`key` names column `{}` twice", self.table.columns[index].name));
            } else {
                key.push(index);
            }
        }
        let names: Vec<_> = key.iter().map(|index| self.table.columns[*index].name.clone()).collect();
        if self.errors.len() == before && !key.is_empty() && !self.table.is_unique(&names) {
            let (label, names) = (&self.route.table, names.join(", "));
            let unique = &self.table.unique_keys;
            let there: Vec<_> = unique.iter().map(|columns| format!("({})", columns.join(", "))).collect();
            let there = match there.as_slice() {
                [] => "it has none".to_owned(),
                keys => format!("it has {}", keys.join(" and ")),
            };
            let message = format!(
                "key ({names}) is no unique key of table `{label}` ({there}), so rows could not be told apart; \
                 name one of its unique keys, or add one: ALTER TABLE {label} ADD UNIQUE ({names})"
            );
            self.error(names.split(", ").next(), message);
        }
        key
    }

    /// Refuses named columns that leave out what every insert needs.
    fn check_inserts(&mut self, rules: &BTreeMap<usize, ColumnRule>) {
        if matches!(self.route.columns, Columns::Matching(_)) {
            return;
        }
        let table = self.table;
        for (index, column) in table.columns.iter().enumerate() {
            let is_key = || self.route.key.iter().any(|name| table.column(name) == Some(index));
            if must_be_filled(column) && !rules.contains_key(&index) && !is_key() {
                let message = format!(
                    "column `{name}` ({declared}) of table `{table}` is NOT NULL without a default and the route never \
                     fills it, so that no row could be inserted: add `{name}` to `columns`",
                    name = column.name,
                    declared = column.declared,
                    table = self.route.table,
                );
                self.error(Some(&column.name), message);
            }
        }
    }

    /// The default as a cell of its column.
    fn default(&mut self, column: &ColumnSchema, rule: &ColumnRule) -> Option<Cell> {
        let default = rule.default.as_ref()?;
        // What is wrong with the rule itself is told where it is compiled for its values.
        let compiled = ValueRule::compile(rule).ok()?;
        let why = match cast_through(&default.to_string(), &compiled, &column.kind) {
            Ok(Cell::Null) if !column.nullable => "is null, and the column is NOT NULL".to_owned(),
            Ok(cell) => return Some(cell),
            Err(error) => error.why,
        };
        self.error(
            Some(&column.name),
            format!(
                "the `default` for column `{}` ({}) of table `{}` {why}",
                column.name, column.declared, self.route.table
            ),
        );
        None
    }
}
