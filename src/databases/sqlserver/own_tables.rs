//! Tidegate's three tables in the destination: how they are made, and whether the user may use them.
//!
//! They are found in the user's default schema, then in `dbo`, and made in the first; a user without the right to create them
//! uses those that a DBA made from [`DDL`].

use tidegate_actors::ports::WriteError;

use super::{
    batch::Batch,
    bookkeeping::{asked, number, probe, text},
    errors::{of_ours, out_of_turn},
    session::Session,
};

/// The statements that make the tables, in the order of [`TABLES`]. Names compare by code point, so that a destination's lanes
/// are found by prefix in the index; the keys stay below the 900 bytes of a clustered one.
pub(super) const DDL: &str = "\
IF OBJECT_ID(N'tidegate_watermark', N'U') IS NULL CREATE TABLE tidegate_watermark (
  lane nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
  generation nvarchar(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
  epoch bigint NOT NULL,
  owner nvarchar(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
  last_id nvarchar(41) COLLATE Latin1_General_100_BIN2 NOT NULL,
  updated_at datetime2(6) NOT NULL,
  PRIMARY KEY (lane, generation)
);
IF OBJECT_ID(N'tidegate_dead', N'U') IS NULL CREATE TABLE tidegate_dead (
  lane nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
  generation nvarchar(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
  id nvarchar(41) COLLATE Latin1_General_100_BIN2 NOT NULL,
  route nvarchar(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
  table_name nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
  record_key nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL,
  superseded_by nvarchar(41) COLLATE Latin1_General_100_BIN2 NULL,
  PRIMARY KEY (lane, generation, id, route)
);
IF OBJECT_ID(N'tidegate_binding', N'U') IS NULL CREATE TABLE tidegate_binding (
  destination nvarchar(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
  token nvarchar(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
  PRIMARY KEY (destination)
);
";

/// The tables, in the order of [`DDL`].
pub(super) const TABLES: [&str; 3] = ["tidegate_watermark", "tidegate_dead", "tidegate_binding"];

pub(super) const MISSING: &str = "SELECT CONVERT(nvarchar(128), t.name) FROM (VALUES (N'tidegate_watermark'), (N'tidegate_dead'), \
    (N'tidegate_binding')) AS t (name) WHERE OBJECT_ID(t.name, N'U') IS NULL;";

async fn missing(session: &mut Session, name: &str) -> Result<Vec<String>, WriteError> {
    let sets = asked(session, name, &Batch::named("OWN TABLES").with(MISSING)).await?;
    Ok(sets.iter().flatten().filter_map(|row| text(row, 0)).map(str::to_owned).collect())
}

/// Makes the tables that are missing; the others are not touched, for the user may not be allowed to.
pub(super) async fn make(session: &mut Session, name: &str) -> Result<(), WriteError> {
    let missing = missing(session, name).await?;
    for (table, statement) in TABLES.iter().zip(DDL.split_inclusive(";\n")) {
        if !missing.iter().any(|name| name == table) {
            continue;
        }
        match session.text(statement).await {
            Ok(()) => {}
            // Another writer made it at the same moment.
            Err(error) if error.code() == Some(2714) => {}
            Err(error) => return Err(of_ours(name, &error)),
        }
    }
    Ok(())
}

/// Says whether the user can read and write the tables, or make them; else what to do.
pub(super) async fn rights(session: &mut Session, name: &str) -> Result<String, String> {
    let words = |error: WriteError| error.to_string();
    probe(session, name).await.map_err(words)?;
    let absent = missing(session, name).await.map_err(words)?;
    let denied = Batch::named("RIGHTS").with(
        "SELECT CONVERT(nvarchar(200), p.name + N' on ' + t.name) FROM (VALUES (N'tidegate_watermark'), (N'tidegate_dead'), \
         (N'tidegate_binding')) AS t (name) CROSS JOIN (VALUES (N'SELECT'), (N'INSERT'), (N'UPDATE'), (N'DELETE')) AS p (name) \
         WHERE OBJECT_ID(t.name, N'U') IS NOT NULL AND NOT (p.name = N'DELETE' AND t.name = N'tidegate_binding') \
         AND ISNULL(HAS_PERMS_BY_NAME(t.name, 'OBJECT', p.name), 0) = 0;",
    );
    let sets = asked(session, name, &denied).await.map_err(words)?;
    let denied: Vec<_> = sets.iter().flatten().filter_map(|row| text(row, 0)).collect();
    if !denied.is_empty() {
        return Err(format!("the user lacks {}: grant it", denied.join(", ")));
    }
    if absent.is_empty() {
        return Ok("reads and writes Tidegate's tables".into());
    }
    let may = Batch::named("RIGHTS").with(
        "SELECT HAS_PERMS_BY_NAME(NULL, 'DATABASE', 'CREATE TABLE'), HAS_PERMS_BY_NAME(SCHEMA_NAME(), 'SCHEMA', 'ALTER'), \
         CONVERT(nvarchar(128), SCHEMA_NAME());",
    );
    let sets = asked(session, name, &may).await.map_err(words)?;
    let row = sets.first().and_then(|set| set.first()).ok_or_else(|| words(out_of_turn(name)))?;
    match (number(row, 0), number(row, 1)) {
        (Some(1), Some(1)) => Ok("can create Tidegate's tables".into()),
        _ => Err(format!(
            "{} missing, and the user may not create tables: grant CREATE TABLE and ALTER on schema {}, or run the printed \
             statements as its owner",
            absent.join(", "),
            text(row, 2).unwrap_or("dbo")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_for_a_dba_are_in_the_documentation() {
        assert!(include_str!("../../../docs/operations.md").contains(DDL));
    }
}
