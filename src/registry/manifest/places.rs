//! Where each part of a table stands in a file, by its names along the way: `table`, `columns.price`,
//! `children[0].columns.sku`. What is found wrong long after reading is told with its line all the same.

use std::collections::BTreeMap;

use tidegate_actors::mapping::{MappingError, Step};
use toml::{Spanned, de::DeValue};

use super::reader::{Fields, Place};

/// The places of a `[[route]]`; the empty name is the whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places(BTreeMap<String, Place>);

impl Places {
    pub(super) fn of(fields: &Fields<'_, '_>) -> Self {
        let mut places = Self(BTreeMap::from([(String::new(), fields.place())]));
        for (name, value) in fields.entries() {
            places.add(name.value, name.place, value);
        }
        places
    }

    fn add(&mut self, name: String, key: Place, value: &Spanned<DeValue<'_>>) {
        if let Some(table) = value.get_ref().as_table() {
            for (inner, value) in table {
                self.add(format!("{name}.{}", inner.get_ref()), inner.span().start, value);
            }
        } else if let Some(items) = value.get_ref().as_array() {
            for (index, item) in items.iter().enumerate().filter(|(_, item)| item.get_ref().as_table().is_some()) {
                self.add(format!("{name}[{index}]"), item.span().start, item);
            }
        }
        self.0.insert(name, key);
    }

    /// The place of what is named so; of what it stands in, where the file does not speak of it itself.
    pub(crate) fn find(&self, name: &str) -> Place {
        let mut name = name;
        loop {
            let exact = self.0.get(name);
            let alike = || self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, place)| place);
            match exact.or_else(alike) {
                Some(place) => return *place,
                None if name.is_empty() => return 0,
                None => name = name.rfind(['.', '[']).map_or("", |end| &name[..end]),
            }
        }
    }
}

/// What of a route a mistake is about, as [`Places`] names it.
pub(crate) fn place_of(error: &MappingError) -> String {
    let mut place = String::new();
    for step in error.place.steps() {
        match step {
            Step::Name(name) if place.is_empty() => place.push_str(name),
            // A column's name may be any text; here it stands as it is.
            Step::Name(name) => place.extend([".", name]),
            Step::Index(index) => place.push_str(&format!("[{index}]")),
        }
    }
    place
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::registry::manifest::Manifest;

    #[test]
    fn every_part_of_a_route_has_its_line() {
        let text = r#"
[[route]]
name = "r"
application = "a"
topic = "t"
destination = "d"
table = "cars"
key = ["id"]
[route.columns]
id = "id"
price = { from = "harga", as = "int" }
"#;
        let manifest = Manifest::parse(text).unwrap();
        let at = |name: &str| {
            let mistake = manifest.mistake(manifest.routes[0].places.find(name), "");
            (mistake.line, mistake.column)
        };
        assert_eq!((at("table"), at("key")), ((7, 1), (8, 1)));
        assert_eq!((at("columns.price"), at("columns.PRICE"), at("columns.price.as")), ((11, 1), (11, 1), (11, 27)));
        // What the file does not name stands in what it does.
        assert_eq!((at("columns.stock"), at("filter")), (at("columns"), at("")));
        assert_eq!(at("").0, 2);
    }
}
