//! The one table of this kind, `broadcasts`: a row is a broadcast that stands.

use tidegate_actors::{
    ports::{Fault, TableName, WriteError},
    schema::{ColumnSchema, ColumnType, TableSchema},
};

use crate::broadcast::message::{MOST_TEXT, MOST_TITLE};

/// Its name.
pub(super) const NAME: &str = "broadcasts";
/// Longest key, in characters.
pub(super) const MOST_KEY: usize = 250;
/// The category where a record has none.
pub(super) const CATEGORY: &str = "announcement";

/// The table of this name.
pub(super) fn find(name: &str) -> Result<TableSchema, WriteError> {
    if name.eq_ignore_ascii_case(NAME) {
        return Ok(schema());
    }
    Err(WriteError::Hold(Fault::new(format!("broadcasts are one table: write `table = \"{NAME}\"`, not `{name}`"))))
}

/// All there are.
pub(super) fn all() -> Vec<TableName> {
    vec![TableName { schema: String::new(), name: NAME.into(), default_schema: true }]
}

fn schema() -> TableSchema {
    let text = |most: usize| ColumnType::Text { max_chars: Some(most as u64), max_bytes: None, nul: false };
    let names = || ColumnType::Text { max_chars: None, max_bytes: None, nul: false };
    let column = |name: &str, declared: String, kind, nullable, default: Option<&str>| ColumnSchema {
        name: name.into(),
        declared,
        kind,
        nullable,
        has_default: default.is_some(),
        default: default.map(Into::into),
        generated: false,
    };
    let columns = vec![
        column("key", format!("text({MOST_KEY})"), text(MOST_KEY), false, Some("one of its own")),
        column("audience", "enum('all')".into(), ColumnType::Enum { values: vec!["all".into()] }, true, None),
        column("region", "text".into(), names(), true, None),
        column("shop", "text".into(), names(), true, None),
        column("category", "text".into(), names(), false, Some(CATEGORY)),
        column("title", format!("text({MOST_TITLE})"), text(MOST_TITLE), false, None),
        column("text", format!("text({MOST_TEXT})"), text(MOST_TEXT), false, None),
        column("valid_until", "timestamp".into(), ColumnType::Timestamp { zone: true }, true, None),
        column("must_confirm", "bool".into(), ColumnType::Bool, false, Some("false")),
        column("send_at", "timestamp".into(), ColumnType::Timestamp { zone: true }, true, Some("at once")),
    ];
    TableSchema { schema: String::new(), name: NAME.into(), columns, unique_keys: vec![vec!["key".into()]] }
}
