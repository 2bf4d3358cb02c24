//! PostgreSQL as a destination.

use super::Kind;

/// PostgreSQL.
pub const KIND: Kind = Kind {
    name: "postgres",
    title: "PostgreSQL",
    port: None,
    example: "",
    notes: "",
    ddl: "",
    grants: "",
    validate: |_| Ok(()),
    open: |_| unreachable!("written next"),
    check: |_| Box::pin(async { Vec::new() }),
};
