//! The child tables of a route, compiled: what ties them to their parent, and their columns.

use std::sync::Arc;

use super::{
    Compiler,
    table::{Built, Target},
};
use crate::{
    mapping::{Path, Rows, children::Child, nearest},
    route::{ChildSpec, UnknownFields},
    schema::TableSchema,
    transaction::TablePlan,
};

impl Compiler<'_> {
    /// The route's child tables, in order; `key` is where the parent's key stands in its table.
    pub(super) fn children(
        &mut self,
        parent: &Target<'_>,
        key: &[usize],
        built: &mut Built,
        tables: Vec<TableSchema>,
    ) -> Vec<Child> {
        let specs = &self.route.children;
        if specs.is_empty() {
            return Vec::new();
        }
        self.check_with_children();
        if specs.len() != tables.len() {
            let message =
                format!("the route has {} children and {} of their tables were read", specs.len(), tables.len());
            self.error(None, Path::of_name("children"), message);
            return Vec::new();
        }
        let mut kids = Vec::new();
        let mut taken = vec![(parent.table.schema.clone(), parent.table.name.clone())];
        for (at, (spec, table)) in specs.iter().zip(tables).enumerate() {
            let place = Path::of_name("children").index(at);
            let name = (table.schema.clone(), table.name.clone());
            if taken.contains(&name) {
                let message = format!(
                    "table `{}` is written by this route already, and children are replaced as a whole: they would delete each \
                     other's rows; take another table",
                    spec.table
                );
                self.error(None, place.clone().name("table"), message);
            }
            taken.push(name);
            kids.extend(self.child(spec, place, (parent, key), built, table));
        }
        kids
    }

    fn child(
        &mut self,
        spec: &ChildSpec,
        place: Path,
        (parent, key): (&Target<'_>, &[usize]),
        parent_built: &mut Built,
        table: TableSchema,
    ) -> Option<Child> {
        let table = Arc::new(table);
        let target =
            Target { table: &table, label: &spec.table, columns: &spec.columns, place: place.clone(), is_child: true };
        let path = match Path::parse(&spec.from) {
            Ok(path) if path.steps().is_empty() => {
                let message = "`from` is the record itself, which is no array: name the field that has the elements";
                self.error(None, place.clone().name("from"), message.to_owned());
                None
            }
            Ok(path) => Some(path),
            Err(error) => {
                self.error(None, place.clone().name("from"), format!("`{}` is no path: {error}", spec.from));
                None
            }
        };
        let ties = self.ties(spec, &target, parent, key);
        let own: Vec<usize> = ties.iter().map(|(mine, _)| *mine).collect();
        let rules = self.rules(&target, own.iter().copied());
        // A tie that is wrong is told as such.
        let tied = |index| spec.parent.keys().any(|name| table.column(name) == Some(index));
        self.check_filled(&target, |index| rules.contains_key(&index) || tied(index));
        let mut built = self.build(&target, &rules, &[], &own);
        self.doubts(&target, &rules);
        if built.columns.len() == own.len() && self.errors.is_empty() {
            let message = format!("nothing is written to table `{}` but the parent's key; name a column", spec.table);
            self.error(None, target.at("columns"), message);
        }
        if self.route.unknown_fields == UnknownFields::Reject {
            built.fields.refuse_unknown(self.words.clone());
        }
        let path = path?;
        let node = parent_built.fields.add(&path);
        let at = |index: usize, columns: &[usize]| columns.iter().position(|column| *column == index);
        let ties: Option<Vec<_>> = ties
            .iter()
            .map(|&(mine, theirs)| Some((at(mine, &built.columns)?, at(theirs, &parent_built.columns)?)))
            .collect();
        let ties = ties?;
        // The same column would be two members of one name.
        let shown = path.to_string();
        let clash = parent_built.columns.iter().any(|column| parent.table.columns[*column].name == shown);
        let plan = TablePlan {
            route: Arc::from(self.route.id.as_str()),
            key: ties.iter().map(|(mine, _)| *mine).collect(),
            only_unique_key: false,
            version: None,
            columns: built.columns,
            table: Arc::clone(&table),
        };
        Some(Child {
            rows: Rows {
                plan: Arc::new(plan),
                route: self.route.name.as_str().into(),
                table: spec.table.as_str().into(),
                array: Some(path),
                sources: built.sources,
                fields: built.fields,
                defaults: built.defaults,
                needed: built.needed,
                required: built.required,
            },
            node,
            ties,
            shown: if clash { spec.table.as_str().into() } else { shown.into() },
        })
    }

    /// What ties the child to its parent: places in their tables, in the order of the parent's key.
    fn ties(
        &mut self,
        spec: &ChildSpec,
        target: &Target<'_>,
        parent: &Target<'_>,
        key: &[usize],
    ) -> Vec<(usize, usize)> {
        let at = target.at("parent");
        let mut ties: Vec<(usize, usize)> = Vec::new();
        for (mine, theirs) in &spec.parent {
            let place = at.clone().name(mine);
            let Some(index) = self.column(target, mine, &at.to_string(), place.clone()) else { continue };
            let of_parent = parent.table.column(theirs).filter(|index| key.contains(index));
            let Some(of_parent) = of_parent else {
                let hint = match nearest(theirs, self.route.key.iter().map(String::as_str)) {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None => {
                        let names: Vec<_> = self.route.key.iter().map(|name| format!("`{name}`")).collect();
                        format!("; that is {}", names.join(", "))
                    }
                };
                self.error(
                    Some(mine),
                    place,
                    format!("`{at}` ties `{mine}` to `{theirs}`, which is no column of the route's `key`{hint}"),
                );
                continue;
            };
            if ties.iter().any(|(known, _)| *known == index) {
                self.error(Some(mine), place, format!("`{at}` names column `{mine}` twice, in two spellings"));
            } else if ties.iter().any(|(_, known)| *known == of_parent) {
                self.error(
                    Some(mine),
                    place,
                    format!("`{at}` names key column `{theirs}` twice: one column of the child is enough"),
                );
            } else {
                ties.push((index, of_parent));
            }
        }
        let place_in_key = |index: usize| key.iter().position(|column| *column == index);
        ties.sort_by_key(|(_, theirs)| place_in_key(*theirs));
        let untied: Vec<_> = key.iter().filter(|index| ties.iter().all(|(_, theirs)| theirs != *index)).collect();
        if !untied.is_empty() && ties.len() == spec.parent.len() {
            let names: Vec<_> =
                untied.iter().map(|index| format!("`{}`", parent.table.columns[**index].name)).collect();
            let message = format!(
                "`{at}` leaves out key column {} of the route, so children of different parents could not be told apart: name a \
                 column of table `{}` for it, as in {{ order_id = \"id\" }}",
                names.join(", "),
                spec.table
            );
            self.error(None, at, message);
        }
        ties
    }
}
