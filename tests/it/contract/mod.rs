//! The contract that every kind of database and the in-memory destination must keep, written once.
//!
//! A kind takes part with a [`Subject`] and one line of [`contract_suite!`] at the end of this file; each behaviour is
//! then a test of its own, `contract::<kind>::<area>::<behaviour>`. A behaviour gets a fresh, empty [`Database`] and
//! only speaks of tables in the neutral words of [`table`]; what a kind cannot do it says in [`Database::can`].

mod fencing;
mod sqlite;
pub(crate) mod table;
pub(crate) mod writer;

use async_trait::async_trait;
use tidegate_actors::ports::Destination;

use table::Table;

/// A kind of database under test.
#[async_trait(?Send)]
pub(crate) trait Subject {
    /// A fresh, empty database, gone (or abandoned) when it is dropped.
    async fn fresh() -> Box<dyn Database>;
}

/// A fresh, empty database and what a test must be able to do to it beside our back.
#[async_trait(?Send)]
pub(crate) trait Database {
    /// A destination of its own: every call is another writer with its own connection to the same database.
    fn open(&self) -> Box<dyn Destination>;

    /// Whether this kind can do, or enforces, such a thing. Behaviours that need it pass without it.
    fn can(&self, ability: Ability) -> bool;

    /// Makes a table. SQL kinds send [`table::create`].
    async fn create(&self, table: &Table);

    /// Drops a table.
    async fn drop_table(&self, table: &str);

    /// Drops a column.
    async fn drop_column(&self, table: &str, column: &str);

    /// Every row, with a text for every column of `table`, in any order. SQL kinds send [`table::select`]; numbers,
    /// booleans, times and JSON may come in the database's own spelling ([`table::canonical`] evens them out), bytes
    /// come in hex.
    async fn rows(&self, table: &Table) -> Vec<Vec<Option<String>>>;
}

/// What not every kind can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ability {
    /// CHECK constraints.
    Check,
    /// Foreign keys.
    ForeignKey,
    /// The length of a `Varchar` is enforced.
    Length,
    /// The bounds of `SmallInt` and `Int` are enforced.
    Range,
    /// The type of a value is enforced (a text does not go into an integer column).
    Type,
    /// Unsigned 64-bit integers.
    Unsigned,
    /// Decimals of more than 15 digits are kept digit by digit.
    LongDecimal,
    /// Enumerations.
    Enum,
    /// Computed and identity columns.
    Generated,
    /// A timestamp that is an instant.
    Instant,
    /// Names with spaces, quotes, reserved words and mixed case.
    OddNames,
    /// Tables and columns can be dropped behind our back.
    Drop,
    /// The rejection of a unique key, a NULL or a foreign key names the statement and row, or at least the column.
    NamesColumn,
}

/// Runs one behaviour against a fresh database, on a runtime of its own (as each destination has in the product).
pub(crate) fn run<S: Subject>(behaviour: impl AsyncFnOnce(&dyn Database)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = S::fresh().await;
        behaviour(database.as_ref()).await;
    });
}

/// Every behaviour for one kind: `contract_suite!(postgres, crate::servers::postgres::Postgres);`.
macro_rules! contract_suite {
    ($kind:ident, $subject:path) => {
        contract_suite! { @areas $kind, $subject,
            fencing: [
                a_take_over_of_an_empty_database_makes_the_tables,
            ],
        }
    };
    (@areas $kind:ident, $subject:path, $($area:ident: $behaviours:tt,)*) => {
        mod $kind {
            $(contract_suite! { @area $area, $subject, $behaviours })*
        }
    };
    (@area $area:ident, $subject:path, [$($behaviour:ident,)*]) => {
        mod $area {
            $(#[test]
            fn $behaviour() {
                crate::contract::run::<$subject>(crate::contract::$area::$behaviour);
            })*
        }
    };
}

contract_suite!(on_sqlite, crate::contract::sqlite::Sqlite);
