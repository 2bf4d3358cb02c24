//! A request to SQL Server: T-SQL and the texts of its parameters.
//!
//! Every value is a parameter. What stands in the T-SQL itself is ours, or a name from the catalogue in brackets.

use std::fmt::Write as _;

/// The collation of our own tables and of comparisons of their values: by code point, in every version.
pub(super) const EXACT: &str = "Latin1_General_100_BIN2";

/// Our own error numbers, where no trigger's author is likely to be.
pub(super) const FENCED: u32 = 1_749_320_001;
/// A redrive's dead row is not there.
pub(super) const NOTHING_TO_EXHUME: u32 = 1_749_320_002;
/// Two rows of a statement are one row to the database.
pub(super) const TWINS: u32 = 1_749_320_003;
/// A value has a character that its column's code page lacks.
pub(super) const UNSPEAKABLE: u32 = 1_749_320_004;
/// A row that must be there is not.
pub(super) const MISSING: u32 = 1_749_320_005;

/// An identifier in brackets.
pub(super) fn quote(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// T-SQL that is being put together, with its parameters `@P1`, `@P2` …
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The T-SQL.
    pub(super) text: String,
    /// The parameters, all `nvarchar`.
    pub(super) parameters: Vec<String>,
    /// Whether it sets IDENTITY_INSERT, which a session keeps after an error.
    pub(super) sets_identity_insert: bool,
}

impl Batch {
    /// One that begins with a comment that names it, for whoever looks at the server's activity.
    pub(super) fn named(name: &str) -> Self {
        Self { text: format!("/* TIDEGATE {name} */\n"), ..Self::default() }
    }

    /// One whose `work` is a transaction and whose `answer`, after the commit, is what the server tells. An error rolls back,
    /// tells the place (`@step`, `@place`, `@item`) and is then thrown again.
    pub(super) fn transaction<E>(
        name: &str,
        declare: &str,
        answer: &str,
        work: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut batch = Self::named(name);
        batch.line("SET NOCOUNT ON;");
        batch.line("SET XACT_ABORT ON;");
        batch.line("DECLARE @step int = -1, @place int, @item int;");
        for line in declare.lines() {
            batch.line(line);
        }
        batch.line("BEGIN TRY");
        batch.line("BEGIN TRANSACTION;");
        work(&mut batch)?;
        batch.line("COMMIT TRANSACTION;");
        for line in answer.lines() {
            batch.line(line);
        }
        batch.line("END TRY");
        batch.line("BEGIN CATCH");
        batch.line("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;");
        batch.line("SELECT @step AS step, @place AS place, @item AS item;");
        batch.line("THROW;");
        batch.line("END CATCH;");
        Ok(batch)
    }

    /// With this text at its end.
    pub(super) fn with(mut self, text: &str) -> Self {
        self.line(text);
        self
    }

    /// Adds a line.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Adds a line that throws one of our own errors where `condition` holds.
    pub(super) fn throw_if(&mut self, condition: &str, number: u32, words: &str) {
        let _ = writeln!(self.text, "IF {condition} THROW {number}, N'tidegate: {words}', 1;");
    }

    /// Adds a parameter; its name.
    pub(super) fn bind(&mut self, value: impl Into<String>) -> String {
        self.parameters.push(value.into());
        format!("@P{}", self.parameters.len())
    }
}
