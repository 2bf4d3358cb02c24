//! Where each part of a route stands in its file, so that what turns out wrong later is told with its line.

use std::collections::BTreeMap;

use super::reader::Place;

/// The places of a route's parts by their names joined with dots: `table`, `columns.price.from`, `children.0.parent`.
pub(super) type PlaceMap = BTreeMap<String, Place>;

/// The places under one part of a route, to add to.
pub(super) struct Places<'m> {
    map: &'m mut PlaceMap,
    prefix: String,
}

impl<'m> Places<'m> {
    pub(super) fn new(map: &'m mut PlaceMap) -> Self {
        Self { map, prefix: String::new() }
    }

    /// Notes where a part stands.
    pub(super) fn add(&mut self, name: &str, place: Place) {
        self.map.insert(format!("{}{name}", self.prefix), place);
    }

    /// The places under this part.
    pub(super) fn inside(&mut self, name: &str) -> Places<'_> {
        Places { prefix: format!("{}{name}.", self.prefix), map: self.map }
    }
}

/// The place of this part, or of the nearest one around it that is known.
pub(super) fn place_of(map: &PlaceMap, path: &str) -> Option<Place> {
    let mut path = path;
    loop {
        if let Some(place) = map.get(path) {
            return Some(*place);
        }
        path = path.rsplit_once('.')?.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_of_its_own_has_that_of_what_it_is_in() {
        let mut map = PlaceMap::new();
        let mut places = Places::new(&mut map);
        places.add("table", 10);
        let mut columns = places.inside("columns");
        columns.add("price", 20);
        columns.inside("price").add("from", 30);
        let at = |path| place_of(&map, path);
        assert_eq!(at("columns.price.from"), Some(30));
        assert_eq!(at("columns.price.as"), Some(20));
        assert_eq!(at("columns.prise"), None);
        assert_eq!(at("table"), Some(10));
    }
}
