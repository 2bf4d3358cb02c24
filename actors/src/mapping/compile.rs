//! Compiling a route against its tables: every name is looked up once, and every mistake is found before a record comes.
//!
//! All mistakes are reported together, each with its place in the route and the nearest right name or the statement that would
//! mend it. What is doubtful and works is a warning ([`Mapping::warnings`]).

use std::{collections::HashSet, fmt, sync::Arc};

use super::{Filter, Mapping, Path, Rows, nearest};
use crate::{
    expression::Expression,
    route::{Columns, RouteSpec, UnknownFields},
    schema::TableSchema,
    transaction::TablePlan,
};

mod children;
mod policies;
mod table;
mod warnings;
mod words;

use table::Target;

/// One thing that is wrong, or doubtful, between a route and its tables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct MappingError {
    /// The route's name.
    pub route: String,
    /// The column as the route names it, or as the table does where the route does not; `None` for the route as a whole.
    pub column: Option<String>,
    /// Where in the route it is, as a path into its fields: `columns.price.from`, `children[0].parent.order_id`. The field
    /// may be one that is missing there.
    pub place: Path,
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
    /// Everything that is wrong between them, in the order of the route.
    pub fn compile(
        route: &RouteSpec,
        table: TableSchema,
        children: Vec<TableSchema>,
    ) -> Result<Self, Vec<MappingError>> {
        let table = Arc::new(table);
        let target = Target::of_route(route, &table);
        let mut compiler = Compiler { route, errors: Vec::new(), warnings: Vec::new(), words: HashSet::new() };
        compiler.words = compiler.mentioned();
        let soft = compiler.soft_column(&target);
        let rules = compiler.rules(&target, soft);
        let key = compiler.key(&target);
        compiler
            .check_filled(&target, |index| rules.contains_key(&index) || key.contains(&index) || soft == Some(index));
        let mut built = compiler.build(&target, &rules, &key, soft.as_slice());
        let version = compiler.version(&target, &built);
        let filter = compiler.filter();
        compiler.check_on_existing();
        let deletes = compiler.deletes(&target, soft, &built);
        let kids = compiler.children(&target, &key, &mut built, children);
        compiler.doubts(&target, &rules);
        if built.columns.is_empty() && compiler.errors.is_empty() {
            let message = format!("it writes no column of table `{}`; name one under `columns`", route.table);
            compiler.error(None, Path::of_name("columns"), message);
        }
        let (Some(deletes), true) = (deletes, compiler.errors.is_empty()) else { return Err(compiler.errors) };

        if route.unknown_fields == UnknownFields::Reject {
            built.fields.refuse_unknown(compiler.words);
        }
        let places: Vec<_> =
            key.iter().filter_map(|index| built.columns.iter().position(|column| column == index)).collect();
        let names: Vec<_> = key.iter().map(|index| table.columns[*index].name.clone()).collect();
        let plan = Arc::new(TablePlan {
            route: Arc::from(route.id.as_str()),
            only_unique_key: !key.is_empty() && table.is_only_unique(&names),
            version,
            key: places,
            columns: built.columns,
            table,
        });
        Ok(Self {
            plan: Arc::clone(&plan),
            children: kids.iter().map(|kid| Arc::clone(&kid.rows.plan)).collect(),
            warnings: compiler.warnings,
            filter,
            on_missing: route.on_missing,
            on_existing: route.on_existing,
            deletes,
            rows: Rows {
                plan,
                route: route.name.as_str().into(),
                table: route.table.as_str().into(),
                array: None,
                sources: built.sources,
                fields: built.fields,
                defaults: built.defaults,
                needed: built.needed,
                required: built.required,
            },
            key: super::key_parts(route),
            kids,
        })
    }
}

/// What is found on the way.
struct Compiler<'a> {
    route: &'a RouteSpec,
    errors: Vec<MappingError>,
    warnings: Vec<MappingError>,
    /// The words of the route's expressions.
    words: HashSet<Box<str>>,
}

impl Compiler<'_> {
    fn error(&mut self, column: Option<&str>, place: Path, message: String) {
        let route = self.route.name.clone();
        self.errors.push(MappingError { route, column: column.map(str::to_owned), place, message });
    }

    fn warn(&mut self, column: Option<&str>, place: Path, message: String) {
        let route = self.route.name.clone();
        self.warnings.push(MappingError { route, column: column.map(str::to_owned), place, message });
    }

    /// The place in the table of a column that is to be written; `whence` is the field of the route that names it.
    fn column(&mut self, target: &Target<'_>, name: &str, whence: &str, place: Path) -> Option<usize> {
        let (table, label) = (target.table, target.label);
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
            let message = format!("`{whence}` names `{name}`, which is no column of table `{label}`{hint}");
            self.error(Some(name), place, message);
            return None;
        };
        if table.columns[index].generated {
            let message = format!(
                "column `{name}` of table `{label}` is computed by the database and can't be written: take it out of `{whence}`"
            );
            self.error(Some(name), place, message);
            return None;
        }
        Some(index)
    }

    /// The places in the table of the key's columns, in the route's order.
    fn key(&mut self, target: &Target<'_>) -> Vec<usize> {
        let before = self.errors.len();
        let place = Path::of_name("key");
        let mut key = Vec::new();
        for (at, name) in self.route.key.iter().enumerate() {
            let place = place.clone().index(at);
            let Some(index) = self.column(target, name, "key", place.clone()) else { continue };
            if key.contains(&index) {
                let message = format!("`key` names column `{}` twice", target.table.columns[index].name);
                self.error(Some(name), place, message);
            } else {
                key.push(index);
            }
        }
        let names: Vec<_> = key.iter().map(|index| target.table.columns[*index].name.clone()).collect();
        if self.errors.len() == before && !key.is_empty() && !target.table.is_unique(&names) {
            let (label, names) = (target.label, names.join(", "));
            let unique = &target.table.unique_keys;
            let there: Vec<_> = unique.iter().map(|columns| format!("({})", columns.join(", "))).collect();
            let there = match there.as_slice() {
                [] => "it has none".to_owned(),
                keys => format!("it has {}", keys.join(" and ")),
            };
            let message = format!(
                "key ({names}) is no unique key of table `{label}` ({there}), so rows could not be told apart; \
                 name one of its unique keys, or add one: ALTER TABLE {label} ADD UNIQUE ({names})"
            );
            self.error(names.split(", ").next(), place, message);
        }
        key
    }

    fn filter(&mut self) -> Option<Filter> {
        let text = self.route.filter.as_ref()?;
        match Expression::compile(text) {
            Ok(expression) => {
                self.no_element(&expression, "the filter", None, Path::of_name("filter"));
                Some(Filter { deletes: expression.mentions("action"), expression })
            }
            Err(why) => {
                self.error(None, Path::of_name("filter"), format!("the filter can't be read: {why}"));
                None
            }
        }
    }

    /// Every word of the route's expressions: what they may read of a record.
    fn mentioned(&self) -> HashSet<Box<str>> {
        let columns =
            std::iter::once(&self.route.columns).chain(self.route.children.iter().map(|child| &child.columns));
        let expressions = columns.flat_map(table::expressions).chain(self.route.filter.as_deref());
        expressions.flat_map(|text| words::words(text).map(|word| word.text.into())).collect()
    }
}

/// Whether the columns are matched by name.
fn is_matching(columns: &Columns) -> bool {
    matches!(columns, Columns::Matching(_))
}
