//! SQLite as a destination.

use super::Kind;

/// SQLite.
pub const KIND: Kind = Kind {
    name: "sqlite",
    title: "SQLite",
    port: None,
    example: "",
    notes: "",
    ddl: "",
    grants: "",
    validate: |_| Ok(()),
    open: |_| unreachable!("written next"),
    check: |_| Box::pin(async { Vec::new() }),
};
