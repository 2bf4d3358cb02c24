//! The SQL of each way to write rows: one statement for any number of rows, one array parameter per column.
//!
//! `unnest` turns the arrays back into rows. Where an array is of text, each value is cast to its column's type. The cast goes
//! to the type *without* its length: an explicit cast to `varchar(3)` or `bit(3)` cuts a longer value silently, the
//! assignment to the column refuses it.

use tidegate_actors::{
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::Statement,
};

use super::binary::Wire;

/// An identifier, quoted.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn table(table: &TableSchema) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// A type without its modifier: `numeric(14,2)` is `numeric`, `timestamp(3) with time zone` is `timestamp with time zone`.
pub(super) fn bare_type(declared: &str) -> String {
    let mut bare = String::with_capacity(declared.len());
    let (mut quoted, mut depth) = (false, 0_u32);
    for char in declared.chars() {
        match char {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth = depth.saturating_sub(1);
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            bare.push(char);
        }
    }
    bare
}

/// The type to cast to. The bare words `character` and `bit` would mean a length of 1.
fn cast(declared: &str) -> String {
    let bare = bare_type(declared);
    let (element, array) = bare.find("[]").map_or((bare.as_str(), ""), |at| bare.split_at(at));
    match element {
        "character" => format!("bpchar{array}"),
        "bit" => format!("\"bit\"{array}"),
        _ => bare,
    }
}

/// The `number`th parameter's value, of the column's type. A record's array is JSON; PostgreSQL's own spelling
/// (`{a,b}`) of an array is taken too.
fn value(number: usize, column: &ColumnSchema, wire: Wire) -> String {
    if wire != Wire::Text {
        return format!("u.c{number}");
    }
    let cast = cast(&column.declared);
    match column.kind {
        ColumnType::Other if cast.ends_with("[]") => format!(
            "CASE WHEN u.c{number} LIKE '[%]' THEN ARRAY(SELECT jsonb_array_elements_text(u.c{number}::jsonb))::{cast} \
             ELSE u.c{number}::{cast} END"
        ),
        _ => format!("u.c{number}::{cast}"),
    }
}

/// `UNNEST($1::bigint[], $2::text[])` … `AS u(c1, c2)`, with each row's number from 1 as `u.ord` where it is asked for.
fn unnest(wires: &[Wire], numbered: bool) -> String {
    let arrays = list(wires, |number, wire| format!("${number}::{}[]", wire.name()));
    let names = list(wires, |number, _| format!("c{number}"));
    if numbered {
        format!("UNNEST({arrays}) WITH ORDINALITY AS u({names}, ord)")
    } else {
        format!("UNNEST({arrays}) AS u({names})")
    }
}

fn list(wires: &[Wire], of: impl Fn(usize, Wire) -> String) -> String {
    wires.iter().enumerate().map(|(place, wire)| of(place + 1, *wire)).collect::<Vec<_>>().join(", ")
}

/// The columns of a statement in the order of its parameters: (name quoted, value, whether it is of the key).
fn assignments(statement: &Statement, wires: &[Wire]) -> Vec<(String, String, bool)> {
    let key = statement.key_cells();
    statement
        .written()
        .zip(wires)
        .enumerate()
        .map(|(index, (column, wire))| (quote(&column.name), value(index + 1, column, *wire), key.contains(&index)))
        .collect()
}

/// The columns that an update sets: neither the key nor what only an insert writes.
fn set<'a>(
    statement: &'a Statement,
    columns: &'a [(String, String, bool)],
) -> impl Iterator<Item = &'a (String, String, bool)> {
    let kept = |index: &usize| statement.insert_only.contains(index);
    columns.iter().enumerate().filter(move |(index, (.., key))| !key && !kept(index)).map(|(_, column)| column)
}

fn matches(assignments: &[(String, String, bool)]) -> String {
    let key = assignments.iter().filter(|(_, _, key)| *key);
    key.map(|(name, value, _)| format!("t.{name} = {value}")).collect::<Vec<_>>().join(" AND ")
}

/// INSERT of all rows; `upsert` updates the present columns of a row whose key is there.
pub(super) fn insert(statement: &Statement, wires: &[Wire], upsert: bool) -> String {
    insert_where(statement, wires, upsert, "")
}

/// The same, where the watermark moves with it; answers how many did: one, or none, and then no row is written. Its new id, lane,
/// generation, owner and previous id are the parameters after the rows'. Without a column there is no such statement.
pub(super) fn fenced_insert(statement: &Statement, wires: &[Wire], upsert: bool) -> String {
    let fence: Vec<_> = (wires.len() + 1..=wires.len() + 5).map(|number| format!("${number}")).collect();
    let [new, lane, generation, owner, previous] = &fence[..] else { return String::new() };
    format!(
        "WITH tidegate_fence AS (UPDATE tidegate_watermark SET last_id = {new}, updated_at = now() \
         WHERE lane = {lane} AND generation = {generation} AND owner = {owner} AND last_id = {previous} RETURNING lane), \
         tidegate_rows AS ({}) SELECT count(*) FROM tidegate_fence",
        insert_where(statement, wires, upsert, " WHERE EXISTS (SELECT FROM tidegate_fence)")
    )
}

fn insert_where(statement: &Statement, wires: &[Wire], upsert: bool, condition: &str) -> String {
    let into = table(&statement.plan.table);
    let columns = assignments(statement, wires);
    if columns.is_empty() {
        return format!("INSERT INTO {into} DEFAULT VALUES"); // one row at a time
    }
    let join = |of: &dyn Fn(&(String, String, bool)) -> String| columns.iter().map(of).collect::<Vec<_>>().join(", ");
    let names = join(&|(name, _, _)| name.clone());
    let values = join(&|(_, value, _)| value.clone());
    let guard = statement.guard().filter(|_| upsert).map(|place| &columns[place].0);
    let alias = if guard.is_some() { " AS t" } else { "" };
    let mut sql =
        format!("INSERT INTO {into}{alias} ({names}) SELECT {values} FROM {}{condition}", unnest(wires, false));
    let key: Vec<_> = statement.key_cells().iter().map(|&index| columns[index].0.as_str()).collect();
    if upsert && !key.is_empty() {
        let set: Vec<_> = set(statement, &columns).map(|(name, ..)| format!("{name} = excluded.{name}")).collect();
        let action = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
        sql += &format!(" ON CONFLICT ({}) DO {action}", key.join(", "));
        if let Some(version) = guard {
            sql += &format!(" WHERE (t.{version} > excluded.{version}) IS NOT TRUE");
        }
    }
    sql
}

/// UPDATE of the present columns by key; answers with the numbers of the rows that touched something. Where there is
/// nothing but the key, it only looks.
pub(super) fn update(statement: &Statement, wires: &[Wire]) -> String {
    let columns = assignments(statement, wires);
    let set: Vec<_> = set(statement, &columns).map(|(name, value, _)| format!("{name} = {value}")).collect();
    if set.is_empty() {
        return present(statement, wires);
    }
    let newer = |place: usize| statement.written().nth(place).map(|column| is_newer(place + 1, column));
    let guard = statement.guard().and_then(newer);
    let guard = guard.map_or(String::new(), |newer| format!(" AND ({newer}) IS NOT TRUE"));
    format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {}{guard} RETURNING u.ord",
        table(&statement.plan.table),
        set.join(", "),
        unnest(wires, true),
        matches(&columns)
    )
}

/// Which rows' keys are there: their numbers.
pub(super) fn present(statement: &Statement, wires: &[Wire]) -> String {
    let columns = assignments(statement, wires);
    format!(
        "SELECT u.ord FROM {} JOIN {} AS t ON {}",
        unnest(wires, true),
        table(&statement.plan.table),
        matches(&columns)
    )
}

/// The places of a statement's columns that a row is found by: the parameters of [`delete`] and [`newer`]; of [`clear`] the key
/// alone.
pub(super) fn found_by(statement: &Statement) -> Vec<usize> {
    let mut places = statement.key_cells();
    places.extend(statement.guard());
    places
}

/// DELETE by key; answers with the numbers of the rows that touched something.
pub(super) fn delete(statement: &Statement, wires: &[Wire]) -> String {
    let (matches, guard) = found(statement, wires);
    let guard = guard.map_or(String::new(), |newer| format!(" AND ({newer}) IS NOT TRUE"));
    let rows = unnest(wires, true);
    format!("DELETE FROM {} AS t USING {rows} WHERE {matches}{guard} RETURNING u.ord", table(&statement.plan.table))
}

/// DELETE of all that has these values; says nothing of its rows.
pub(super) fn clear(statement: &Statement, wires: &[Wire]) -> String {
    let (matches, _) = found(statement, wires);
    let rows = unnest(wires, false);
    format!("DELETE FROM {} AS t USING {rows} WHERE {matches}", table(&statement.plan.table))
}

/// Which rows' keys are there with a greater version: their numbers. After the statement itself these are the rows that
/// its guard left alone, for the others have the version that was written.
pub(super) fn newer(statement: &Statement, wires: &[Wire]) -> Option<String> {
    let (matches, guard) = found(statement, wires);
    let rows = unnest(wires, true);
    Some(format!("SELECT u.ord FROM {rows} JOIN {} AS t ON {matches} AND {}", table(&statement.plan.table), guard?))
}

/// How a row is found by the parameters of [`found_by`], and when it is newer.
fn found(statement: &Statement, wires: &[Wire]) -> (String, Option<String>) {
    let columns: Vec<_> = statement.written().collect();
    let key: Vec<_> = statement.key_cells().iter().map(|&place| columns[place]).collect();
    let same = |(nth, (column, wire)): (usize, (&&ColumnSchema, &Wire))| {
        format!("t.{} = {}", quote(&column.name), value(nth + 1, column, *wire))
    };
    let same: Vec<_> = key.iter().zip(wires).enumerate().map(same).collect();
    (same.join(" AND "), statement.guard().map(|place| is_newer(key.len() + 1, columns[place])))
}

/// The table's version is greater than the `number`th parameter's, rounded as the column has it: its type with its length.
fn is_newer(number: usize, column: &ColumnSchema) -> String {
    format!("t.{} > u.c{number}::{}", quote(&column.name), column.declared)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use insta::assert_snapshot;
    use tidegate_actors::transaction::{Encoded, Op, TablePlan};

    use super::*;

    /// A statement of these columns (name, type as declared) of `sales.Room "7"`, whose first `key` are the key.
    fn statement(op: Op, columns: &[(&str, &str)], key: usize) -> Statement {
        let column = |&(name, declared): &(&str, &str)| ColumnSchema {
            name: name.into(),
            declared: declared.into(),
            kind: match declared {
                "bytea" => ColumnType::Bytes { max_bytes: None },
                "integer" => ColumnType::Int { min: 0, max: 9 },
                _ => ColumnType::Other,
            },
            nullable: true,
            has_default: false,
            default: None,
            generated: false,
        };
        let table = TableSchema {
            schema: "sales".into(),
            name: "Room \"7\"".into(),
            columns: columns.iter().map(column).collect(),
            unique_keys: Vec::new(),
        };
        let plan = TablePlan {
            route: "r".into(),
            table: Arc::new(table),
            columns: (0..columns.len()).collect(),
            key: (0..key).collect(),
            only_unique_key: true,
            version: None,
        };
        let columns = if op == Op::Delete { (0..key).collect() } else { (0..columns.len()).collect() };
        Statement {
            plan: Arc::new(plan),
            op,
            must_touch: false,
            columns,
            insert_only: Vec::new(),
            parents: Vec::new(),
            encoded: Encoded::default(),
            rows: Vec::new(),
        }
    }

    /// How these places are sent, where every value converts.
    fn wires(statement: &Statement, places: &[usize]) -> Vec<Wire> {
        let columns: Vec<_> = statement.written().collect();
        places.iter().map(|&place| Wire::of(columns[place])).collect()
    }

    fn all(statement: &Statement) -> Vec<Wire> {
        wires(statement, &(0..statement.columns.len()).collect::<Vec<_>>())
    }

    fn inserted(statement: &Statement, upsert: bool) -> String {
        insert(statement, &all(statement), upsert)
    }

    fn updated(statement: &Statement) -> String {
        update(statement, &all(statement))
    }

    fn deleted(statement: &Statement) -> String {
        delete(statement, &wires(statement, &found_by(statement)))
    }

    fn cleared(statement: &Statement) -> String {
        clear(statement, &wires(statement, &statement.key_cells()))
    }

    fn newest(statement: &Statement) -> Option<String> {
        newer(statement, &wires(statement, &found_by(statement)))
    }

    const CARS: [(&str, &str); 4] =
        [("branch", "character(3)"), ("no", "integer"), ("price", "numeric(14,2)"), ("photo", "bytea")];

    #[test]
    fn insert_is_one_statement_for_all_rows() {
        assert_snapshot!(inserted(&statement(Op::Insert, &CARS, 2), false), @r#"INSERT INTO "sales"."Room ""7""" ("branch", "no", "price", "photo") SELECT u.c1::bpchar, u.c2, u.c3::numeric, u.c4 FROM UNNEST($1::text[], $2::integer[], $3::text[], $4::bytea[]) AS u(c1, c2, c3, c4)"#);
        assert_snapshot!(inserted(&statement(Op::Insert, &[], 0), false), @r#"INSERT INTO "sales"."Room ""7""" DEFAULT VALUES"#);
    }

    #[test]
    fn the_watermark_moves_with_the_rows_or_neither_does() {
        let fenced = |statement: &Statement, upsert| fenced_insert(statement, &all(statement), upsert);
        assert_snapshot!(fenced(&statement(Op::Upsert, &CARS[..2], 1), true), @r#"WITH tidegate_fence AS (UPDATE tidegate_watermark SET last_id = $3, updated_at = now() WHERE lane = $4 AND generation = $5 AND owner = $6 AND last_id = $7 RETURNING lane), tidegate_rows AS (INSERT INTO "sales"."Room ""7""" ("branch", "no") SELECT u.c1::bpchar, u.c2 FROM UNNEST($1::text[], $2::integer[]) AS u(c1, c2) WHERE EXISTS (SELECT FROM tidegate_fence) ON CONFLICT ("branch") DO UPDATE SET "no" = excluded."no") SELECT count(*) FROM tidegate_fence"#);
    }

    #[test]
    fn upsert_updates_what_is_present_and_nothing_else() {
        assert_snapshot!(inserted(&statement(Op::Upsert, &CARS, 2), true), @r#"INSERT INTO "sales"."Room ""7""" ("branch", "no", "price", "photo") SELECT u.c1::bpchar, u.c2, u.c3::numeric, u.c4 FROM UNNEST($1::text[], $2::integer[], $3::text[], $4::bytea[]) AS u(c1, c2, c3, c4) ON CONFLICT ("branch", "no") DO UPDATE SET "price" = excluded."price", "photo" = excluded."photo""#);
        assert_snapshot!(inserted(&statement(Op::Upsert, &CARS[..2], 2), true), @r#"INSERT INTO "sales"."Room ""7""" ("branch", "no") SELECT u.c1::bpchar, u.c2 FROM UNNEST($1::text[], $2::integer[]) AS u(c1, c2) ON CONFLICT ("branch", "no") DO NOTHING"#);
    }

    #[test]
    fn update_tells_which_rows_it_touched() {
        assert_snapshot!(updated(&statement(Op::Update, &CARS, 2)), @r#"UPDATE "sales"."Room ""7""" AS t SET "price" = u.c3::numeric, "photo" = u.c4 FROM UNNEST($1::text[], $2::integer[], $3::text[], $4::bytea[]) WITH ORDINALITY AS u(c1, c2, c3, c4, ord) WHERE t."branch" = u.c1::bpchar AND t."no" = u.c2 RETURNING u.ord"#);
        assert_snapshot!(updated(&statement(Op::Update, &CARS[..1], 1)), @r#"SELECT u.ord FROM UNNEST($1::text[]) WITH ORDINALITY AS u(c1, ord) JOIN "sales"."Room ""7""" AS t ON t."branch" = u.c1::bpchar"#);
    }

    #[test]
    fn delete_goes_by_key() {
        assert_snapshot!(deleted(&statement(Op::Delete, &CARS, 2)), @r#"DELETE FROM "sales"."Room ""7""" AS t USING UNNEST($1::text[], $2::integer[]) WITH ORDINALITY AS u(c1, c2, ord) WHERE t."branch" = u.c1::bpchar AND t."no" = u.c2 RETURNING u.ord"#);
        assert_snapshot!(deleted(&statement(Op::Replace, &CARS, 2)), @r#"DELETE FROM "sales"."Room ""7""" AS t USING UNNEST($1::text[], $2::integer[]) WITH ORDINALITY AS u(c1, c2, ord) WHERE t."branch" = u.c1::bpchar AND t."no" = u.c2 RETURNING u.ord"#);
    }

    /// The cars, guarded by their price.
    fn guarded(op: Op) -> Statement {
        let mut statement = statement(op, &CARS[..3], 2);
        statement.plan = Arc::new(TablePlan {
            version: Some(2),
            route: "r".into(),
            table: Arc::clone(&statement.plan.table),
            columns: statement.plan.columns.clone(),
            key: statement.plan.key.clone(),
            only_unique_key: true,
        });
        statement.columns = vec![0, 1, 2];
        statement
    }

    #[test]
    fn a_guard_compares_versions_as_their_column_does() {
        assert_snapshot!(inserted(&guarded(Op::Upsert), true), @r#"INSERT INTO "sales"."Room ""7""" AS t ("branch", "no", "price") SELECT u.c1::bpchar, u.c2, u.c3::numeric FROM UNNEST($1::text[], $2::integer[], $3::text[]) AS u(c1, c2, c3) ON CONFLICT ("branch", "no") DO UPDATE SET "price" = excluded."price" WHERE (t."price" > excluded."price") IS NOT TRUE"#);
        assert_snapshot!(updated(&guarded(Op::Update)), @r#"UPDATE "sales"."Room ""7""" AS t SET "price" = u.c3::numeric FROM UNNEST($1::text[], $2::integer[], $3::text[]) WITH ORDINALITY AS u(c1, c2, c3, ord) WHERE t."branch" = u.c1::bpchar AND t."no" = u.c2 AND (t."price" > u.c3::numeric(14,2)) IS NOT TRUE RETURNING u.ord"#);
        assert_snapshot!(deleted(&guarded(Op::Delete)), @r#"DELETE FROM "sales"."Room ""7""" AS t USING UNNEST($1::text[], $2::integer[], $3::text[]) WITH ORDINALITY AS u(c1, c2, c3, ord) WHERE t."branch" = u.c1::bpchar AND t."no" = u.c2 AND (t."price" > u.c3::numeric(14,2)) IS NOT TRUE RETURNING u.ord"#);
        assert_snapshot!(newest(&guarded(Op::Delete)).unwrap(), @r#"SELECT u.ord FROM UNNEST($1::text[], $2::integer[], $3::text[]) WITH ORDINALITY AS u(c1, c2, c3, ord) JOIN "sales"."Room ""7""" AS t ON t."branch" = u.c1::bpchar AND t."no" = u.c2 AND t."price" > u.c3::numeric(14,2)"#);
        assert!(newest(&statement(Op::Upsert, &CARS, 2)).is_none());
    }

    #[test]
    fn a_clearing_is_one_statement_for_many_parents() {
        assert_snapshot!(cleared(&statement(Op::Clear, &CARS, 2)), @r#"DELETE FROM "sales"."Room ""7""" AS t USING UNNEST($1::text[], $2::integer[]) AS u(c1, c2) WHERE t."branch" = u.c1::bpchar AND t."no" = u.c2"#);
    }

    #[test]
    fn an_array_may_come_as_json() {
        assert_snapshot!(inserted(&statement(Op::Insert, &[("sizes", "numeric(4,1)[]")], 0), false), @r#"INSERT INTO "sales"."Room ""7""" ("sizes") SELECT CASE WHEN u.c1 LIKE '[%]' THEN ARRAY(SELECT jsonb_array_elements_text(u.c1::jsonb))::numeric[] ELSE u.c1::numeric[] END FROM UNNEST($1::text[]) AS u(c1)"#);
    }

    #[test]
    fn casts_never_cut() {
        for (declared, expected) in [
            ("character varying(20)", "character varying"),
            ("character(3)[]", "bpchar[]"),
            ("bit(8)", "\"bit\""),
            ("bit varying(8)", "bit varying"),
            ("timestamp(3) with time zone", "timestamp with time zone"),
            ("numeric(14,2)", "numeric"),
            ("sales.\"Mood (odd)\"", "sales.\"Mood (odd)\""),
            ("geometry(Point,4326)", "geometry"),
        ] {
            assert_eq!(cast(declared), expected);
        }
    }
}
