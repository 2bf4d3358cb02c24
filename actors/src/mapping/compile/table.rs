//! The columns of one table, compiled: the route's own, and each child's.

use std::collections::BTreeMap;

use super::{Compiler, is_matching};
use crate::mapping::fits::never_fits;
use crate::{
    cast::Value,
    expression::Expression,
    mapping::{
        Path, cast_through,
        fields::FieldTable,
        rows::{Origin, Source, received},
        rule::ValueRule,
        settle,
    },
    message::Action,
    route::{ColumnRule, ColumnSource, Columns, Meta, RouteSpec},
    schema::{ColumnSchema, TableSchema},
    transaction::Cell,
};

/// A table that is to be written, and what the route says of it.
pub(super) struct Target<'a> {
    pub(super) table: &'a TableSchema,
    /// As the route names it.
    pub(super) label: &'a str,
    pub(super) columns: &'a Columns,
    /// Where in the route it stands: nowhere for the route's own table.
    pub(super) place: Path,
    pub(super) is_child: bool,
}

impl<'a> Target<'a> {
    pub(super) fn of_route(route: &'a RouteSpec, table: &'a TableSchema) -> Self {
        Self { table, label: &route.table, columns: &route.columns, place: Path::default(), is_child: false }
    }

    /// The place of a field of the route's, or of this child's.
    pub(super) fn at(&self, field: &str) -> Path {
        self.place.clone().name(field)
    }

    /// A column in a sentence.
    pub(super) fn of(&self, column: &ColumnSchema) -> String {
        format!("for column `{}` ({}) of table `{}`", column.name, column.declared, self.label)
    }
}

/// A column's rule, and where it stands in the route.
pub(super) struct Rule {
    pub(super) rule: ColumnRule,
    /// The field that it reads where it names no source: the column's name as the route writes it.
    own: String,
    pub(super) place: Path,
}

impl Rule {
    fn plain(column: &str, columns: &Path) -> Self {
        Self { rule: ColumnRule::default(), own: column.to_owned(), place: columns.clone().name(column) }
    }
}

/// A table's columns, compiled.
pub(super) struct Built {
    pub(super) columns: Vec<usize>,
    pub(super) sources: Vec<Source>,
    pub(super) fields: FieldTable,
    pub(super) defaults: Vec<(usize, Cell)>,
    pub(super) needed: Vec<usize>,
    pub(super) required: Vec<usize>,
}

/// Whether an insert fails without a value for this column.
fn must_be_filled(column: &ColumnSchema) -> bool {
    !column.nullable && !column.has_default && !column.generated
}

/// The expressions of columns.
pub(super) fn expressions(columns: &Columns) -> impl Iterator<Item = &str> {
    let named = if let Columns::Named(named) = columns { Some(named) } else { None };
    named.into_iter().flatten().filter_map(|(_, source)| match source {
        ColumnSource::Detailed(rule) => rule.expr.as_deref(),
        ColumnSource::Field(_) => None,
    })
}

impl Compiler<'_> {
    /// The rule of each column that the route writes, by place in the table, but for those that it fills itself.
    pub(super) fn rules(
        &mut self,
        target: &Target<'_>,
        own: impl IntoIterator<Item = usize> + Clone,
    ) -> BTreeMap<usize, Rule> {
        let table = target.table;
        let is_own = |index: usize| own.clone().into_iter().any(|own| own == index);
        let place = target.at("columns");
        let named = match target.columns {
            Columns::Matching(_) => {
                let writable = table.columns.iter().enumerate();
                let writable = writable.filter(|(index, column)| !column.generated && !is_own(*index));
                return writable.map(|(index, column)| (index, Rule::plain(&column.name, &place))).collect();
            }
            Columns::Named(named) => named,
        };
        let whence = place.to_string();
        let mut rules = BTreeMap::new();
        for (name, source) in named {
            let place = place.clone().name(name);
            let Some(index) = self.column(target, name, &whence, place.clone()) else { continue };
            if is_own(index) {
                let why = if target.is_child { "`parent` ties it to the parent's key" } else { "`delete` sets it" };
                self.error(
                    Some(name),
                    place,
                    format!("column `{name}` is in `{whence}`, but {why}: take it out of one of the two"),
                );
                continue;
            }
            let rule = match source {
                ColumnSource::Field(field) => ColumnRule { from: Some(field.clone()), ..ColumnRule::default() },
                ColumnSource::Detailed(rule) => rule.clone(),
            };
            if rules.insert(index, Rule { rule, own: name.clone(), place: place.clone() }).is_some() {
                let message =
                    format!("`{whence}` names column `{}` twice, in two spellings", table.columns[index].name);
                self.error(Some(name), place, message);
            }
        }
        rules
    }

    /// Refuses named columns that leave out what every insert needs.
    pub(super) fn check_filled(&mut self, target: &Target<'_>, is_filled: impl Fn(usize) -> bool) {
        if is_matching(target.columns) {
            return;
        }
        for (index, column) in target.table.columns.iter().enumerate() {
            if must_be_filled(column) && !is_filled(index) {
                let columns = target.at("columns");
                let message = format!(
                    "column `{name}` ({declared}) of table `{table}` is NOT NULL without a default and the route never \
                     fills it, so that no row could be inserted: add `{name}` to `{columns}`",
                    name = column.name,
                    declared = column.declared,
                    table = target.label,
                );
                self.error(Some(&column.name), columns, message);
            }
        }
    }

    /// Columns in the table's order, whatever the order in which the route names them.
    pub(super) fn build(
        &mut self,
        target: &Target<'_>,
        rules: &BTreeMap<usize, Rule>,
        key: &[usize],
        own: &[usize],
    ) -> Built {
        let mut built = Built {
            columns: Vec::new(),
            sources: Vec::new(),
            fields: FieldTable::new(is_matching(target.columns)),
            defaults: Vec::new(),
            needed: Vec::new(),
            required: Vec::new(),
        };
        for (index, column) in target.table.columns.iter().enumerate() {
            let (is_own, is_key) = (own.contains(&index), key.contains(&index));
            let unnamed;
            let rule = match rules.get(&index) {
                Some(rule) => rule,
                None if is_own || is_key => {
                    unnamed = Rule::plain(&column.name, &target.at("columns"));
                    &unnamed
                }
                None => continue,
            };
            let place = built.columns.len();
            built.columns.push(index);
            if let Some(default) = self.default(target, column, rule) {
                built.defaults.push((place, default));
            }
            if must_be_filled(column) {
                built.needed.push(place);
            }
            if rule.rule.required {
                built.required.push(place);
            }
            if let Some(cast) = rule.rule.cast.filter(|cast| never_fits(*cast, &column.kind)) {
                let word = serde_json::to_string(&cast).unwrap_or_default();
                let message = format!(
                    "column `{}` ({}) of table `{}` takes nothing that is read as {}: correct `as`, or give the column its type \
                     back",
                    column.name,
                    column.declared,
                    target.label,
                    word.trim_matches('"')
                );
                self.error(Some(&column.name), rule.place.clone(), message);
            }
            let compiled = ValueRule::compile_for(&rule.rule, &column.kind).unwrap_or_else(|why| {
                self.error(Some(&column.name), rule.place.clone(), format!("column `{}`: {why}", column.name));
                ValueRule::default()
            });
            let origin =
                if is_own { Origin::Policy } else { self.origin(target, column, rule, &compiled, &mut built.fields) };
            let required = rule.rule.required;
            built.sources.push(Source { origin, rule: compiled, required, is_key });
        }
        built
    }

    /// Where a column's value comes from.
    fn origin(
        &mut self,
        target: &Target<'_>,
        column: &ColumnSchema,
        rule: &Rule,
        compiled: &ValueRule,
        fields: &mut FieldTable,
    ) -> Origin {
        let Rule { rule, own, place } = rule;
        let name = column.name.as_str();
        let sources = [
            ("from", rule.from.is_some()),
            ("value", rule.value.is_some()),
            ("meta", rule.meta.is_some()),
            ("expr", rule.expr.is_some()),
        ];
        let named: Vec<_> = sources.iter().filter(|(_, named)| *named).map(|(field, _)| format!("`{field}`")).collect();
        if named.len() > 1 {
            let message = format!("column `{name}` takes its value from {}: keep one of them", named.join(" and "));
            self.error(Some(name), place.clone(), message);
            return Origin::Policy;
        }
        if let Some(value) = &rule.value {
            return self.constant(
                target,
                column,
                compiled,
                ("`value`", place.clone().name("value")),
                &value.to_string(),
            );
        }
        if let Some(text) = &rule.expr {
            return match Expression::compile(text) {
                Ok(expression) => {
                    let place = place.clone().name("expr");
                    if target.is_child && expression.mentions("item") {
                        // The element as a whole.
                        fields.add(&Path::default());
                    } else if !target.is_child {
                        self.no_element(&expression, &format!("the expression of column `{name}`"), Some(name), place);
                    }
                    Origin::Expression(expression)
                }
                Err(why) => {
                    let message = format!("the expression of column `{name}` can't be read: {why}");
                    self.error(Some(name), place.clone().name("expr"), message);
                    Origin::Policy
                }
            };
        }
        if let Some(meta) = rule.meta {
            return self.meta(target, column, compiled, place.clone().name("meta"), rule, meta);
        }
        let Some(from) = &rule.from else { return Origin::Field(fields.add_column(own)) };
        match Path::parse(from) {
            Ok(path) => Origin::Field(fields.add(&path)),
            Err(error) => {
                let message = format!("column `{name}`: `{from}` is no path: {error}");
                self.error(Some(name), place.clone().name("from"), message);
                Origin::Policy
            }
        }
    }

    /// Outside of child tables there is no element to speak of.
    pub(super) fn no_element(&mut self, expression: &Expression, what: &str, column: Option<&str>, place: Path) {
        if let Some(variable) = ["item", "index"].into_iter().find(|variable| expression.mentions(variable)) {
            let message = format!(
                "{what} speaks of `{variable}`, which is of an element of an array and known to the columns of `children` alone; \
                 the record is `data`"
            );
            self.error(column, place, message);
        }
    }

    fn constant(
        &mut self,
        target: &Target<'_>,
        column: &ColumnSchema,
        compiled: &ValueRule,
        (what, place): (&str, Path),
        json: &str,
    ) -> Origin {
        let why = match cast_through(json, compiled, &column.kind) {
            Ok(Cell::Null) if !column.nullable => "is null, and the column is NOT NULL".to_owned(),
            Ok(cell) => return Origin::Constant(cell),
            Err(error) => error.why,
        };
        let message = format!("the {what} {} {why}", target.of(column));
        self.error(Some(&column.name), place, message);
        Origin::Policy
    }

    /// Metadata; what can never go into the column is found here.
    fn meta(
        &mut self,
        target: &Target<'_>,
        column: &ColumnSchema,
        compiled: &ValueRule,
        place: Path,
        rule: &ColumnRule,
        meta: Meta,
    ) -> Origin {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let samples = match meta {
            Meta::Application => {
                let json = quoted(&self.route.application);
                return self.constant(target, column, compiled, ("application's name", place), &json);
            }
            Meta::Topic => {
                let json = quoted(&self.route.topic);
                return self.constant(target, column, compiled, ("topic", place), &json);
            }
            Meta::Index if !target.is_child => {
                let message = format!(
                    "column `{}`: `index` is an element's place in its array, which only the columns of `children` have",
                    column.name
                );
                self.error(Some(&column.name), place, message);
                return Origin::Policy;
            }
            Meta::Index => vec![Value::Number("1".into())],
            Meta::Key => Vec::new(),
            Meta::Id => vec![Value::Text("k3v9x0q2ab-1763775403123-0".into())],
            Meta::Action => Action::ALL.iter().map(|action| Value::Text(action.as_str().into())).collect(),
            Meta::Received => received(1_763_775_403_123).into_iter().collect(),
        };
        // Checks and formats are for values that come; here it is only seen whether they can go into the column at all.
        let bare = ColumnRule { cast: rule.cast, clean: rule.clean.clone(), ..ColumnRule::default() };
        if let Ok(bare) = ValueRule::compile_for(&bare, &column.kind) {
            let outcomes = samples.into_iter().map(|value| settle(value, &bare, &column.kind));
            let refused: Result<Vec<_>, _> = outcomes.map(|outcome| outcome.err().ok_or(())).collect();
            if let Ok(refused) = refused
                && let Some(first) = refused.first()
            {
                let message = format!("the message's metadata {} {}", target.of(column), first.why);
                self.error(Some(&column.name), place, message);
            }
        }
        Origin::Meta(meta)
    }

    /// The default as a cell of its column.
    fn default(&mut self, target: &Target<'_>, column: &ColumnSchema, rule: &Rule) -> Option<Cell> {
        let default = rule.rule.default.as_ref()?;
        // What is wrong with the rule itself is told where it is compiled for its values. Cleaning is for what producers
        // send: a default is the operator's own.
        let own = ColumnRule { clean: Vec::new(), ..rule.rule.clone() };
        let compiled = ValueRule::compile_for(&own, &column.kind).ok()?;
        let why = match cast_through(&default.to_string(), &compiled, &column.kind) {
            Ok(Cell::Null) if !column.nullable => "is null, and the column is NOT NULL".to_owned(),
            Ok(cell) => return Some(cell),
            Err(error) => error.why,
        };
        let message = format!("the `default` {} {why}", target.of(column));
        self.error(Some(&column.name), rule.place.clone().name("default"), message);
        None
    }
}
