//! Rows as their driver sends them, worked out while the database still writes the batch before theirs.
//!
//! Only the driver knows what that is, so it hands out an [`Encoder`]; whoever composes ahead uses it, and the driver finds the
//! outcome again in the statement. It is a hint: whatever was not encoded, or has changed since, is encoded when it is sent.

use std::{any::Any, fmt, rc::Rc, sync::Arc};

use super::{Cell, Statement};

/// The rows of one statement in their driver's own form, or nothing.
#[derive(Clone, Default)]
pub struct Encoded(Option<Form>);

#[derive(Clone)]
struct Form {
    /// Where the rows lie that it was made from, and how many they are. A statement is moved, never changed in its place, so
    /// that other rows lie elsewhere; and while it has the form it has its rows, so that no others can come to lie there.
    rows: (usize, usize),
    form: Arc<dyn Any + Send + Sync>,
}

fn place(rows: &[Vec<Cell>]) -> (usize, usize) {
    (rows.as_ptr().addr(), rows.len())
}

impl Encoded {
    /// What the driver made of all these rows.
    #[must_use]
    pub fn of(rows: &[Vec<Cell>], form: impl Any + Send + Sync) -> Self {
        Self(Some(Form { rows: place(rows), form: Arc::new(form) }))
    }

    /// The driver's form, if it was made from these very rows.
    #[must_use]
    pub fn get<T: Any>(&self, rows: &[Vec<Cell>]) -> Option<&T> {
        self.0.as_ref().filter(|form| form.rows == place(rows))?.form.downcast_ref()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Encoded" } else { "None" })
    }
}

/// How a driver encodes a statement's rows: pure, and the same whenever it is done.
#[derive(Clone)]
pub struct Encoder(Rc<dyn Fn(&Statement) -> Encoded>);

impl Encoder {
    /// By this function.
    pub fn new(encode: impl Fn(&Statement) -> Encoded + 'static) -> Self {
        Self(Rc::new(encode))
    }

    /// Encodes all rows, where the driver has a use for it.
    #[must_use]
    pub fn encode(&self, statement: &Statement) -> Encoded {
        (self.0)(statement)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Vec<Cell>> {
        vec![vec![Cell::Text(text.into())]]
    }

    #[test]
    fn a_form_is_found_for_the_rows_it_was_made_from_and_for_no_others() {
        let (mine, others) = (rows("a"), rows("a"));
        let encoded = Encoded::of(&mine, 7_u8);
        assert_eq!((encoded.get::<u8>(&others), encoded.get::<u16>(&mine)), (None, None));
        assert_eq!(encoded.get::<u8>(&mine[..0]), None);
        let moved = (mine, encoded);
        assert_eq!(moved.1.get::<u8>(&moved.0), Some(&7));
        assert_eq!(moved.1.get::<u8>(&moved.0.clone()), None);
        assert_eq!(Encoded::default().get::<u8>(&moved.0), None);
    }
}
