//! MySQL and MariaDB as a destination.

use super::Kind;

/// MySQL and MariaDB.
pub const KIND: Kind = Kind {
    name: "mysql",
    title: "MySQL and MariaDB",
    port: None,
    example: "",
    notes: "",
    ddl: "",
    grants: "",
    validate: |_| Ok(()),
    open: |_| unreachable!("written next"),
    check: |_| Box::pin(async { Vec::new() }),
};
