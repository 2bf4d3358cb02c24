//! The SQL text of every kind of write, for a number of rows at once. Pure: it sees names and types, never values.
//!
//! Measured on MariaDB 10.11 with six columns: a prepared multi-row `VALUES` writes 110,000 to 200,000 rows a second, one
//! JSON parameter through `JSON_TABLE` 70,000 to 90,000. Rows to insert go as literals. Rows to look up, update or delete are joined as a derived table
//! of casts (`UNION ALL`, which every version knows) in which each row has its ordinal.
//!
//! A clearing names its values in a list: 128 parents of 200,000 children take 8 ms so, and 115 ms where the child has no
//! index over its parent; joined as above it is 16 ms and, since the table is then read once per parent, 15 s.

use tidegate_actors::{
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::Statement,
};

use super::catalogue::Facts;

/// Most rows of one statement with parameters: beyond it a statement gets no faster.
const MAX_ROWS: usize = 512;
/// Most rows of one statement of literals.
const MAX_LITERAL_ROWS: usize = 2_048;
/// Most rows of a derived table: each is a SELECT of its own to the parser.
const MAX_DERIVED_ROWS: usize = 128;
/// Most parameters of one statement (the protocol allows 65,535): a prepared statement costs the server about 400 bytes
/// for each, for as long as it is kept.
const MAX_PARAMETERS: usize = 4_096;

/// A name as it stands in SQL.
pub(super) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// How many of `rows` rows go into one statement: a power of two, so that few different statements are prepared.
pub(super) fn chunk(rows: usize, columns: usize, derived: bool) -> usize {
    let most = (MAX_PARAMETERS / columns.max(1)).min(if derived { MAX_DERIVED_ROWS } else { MAX_ROWS });
    let most = rows.min(most).max(1);
    if most.is_power_of_two() { most } else { most.next_power_of_two() / 2 }
}

/// How many of `rows` rows go into one statement of literals.
pub(super) fn literal_chunk(rows: usize) -> usize {
    rows.clamp(1, MAX_LITERAL_ROWS)
}

/// A statement's table and columns, as far as they decide its SQL.
pub(super) struct Shape<'a> {
    table: &'a TableSchema,
    facts: &'a Facts,
    /// The column of every cell of a row.
    pub(super) columns: Vec<&'a ColumnSchema>,
    /// Places in `columns` of the key.
    pub(super) key: Vec<usize>,
    /// Places in `columns` that only an insert writes.
    insert_only: &'a [usize],
    /// Place in `columns` of the version that guards the row.
    guard: Option<usize>,
}

impl<'a> Shape<'a> {
    /// The shape of this statement.
    pub(super) fn new(statement: &'a Statement, facts: &'a Facts) -> Self {
        Self {
            table: &statement.plan.table,
            facts,
            columns: statement.written().collect(),
            key: statement.key_cells(),
            insert_only: &statement.insert_only,
            guard: statement.guard(),
        }
    }

    fn table(&self) -> String {
        match self.table.schema.as_str() {
            "" => quote(&self.table.name),
            schema => format!("{}.{}", quote(schema), quote(&self.table.name)),
        }
    }

    /// The columns that an update sets: neither the key nor what only an insert writes.
    fn others(&self) -> impl Iterator<Item = (usize, &'a ColumnSchema)> {
        let set = |place: &usize| !self.key.contains(place) && !self.insert_only.contains(place);
        self.columns.iter().copied().enumerate().filter(move |(place, _)| set(place))
    }

    /// Whether there is anything to set.
    pub(super) fn sets_something(&self) -> bool {
        self.others().next().is_some()
    }

    /// Whether `ON DUPLICATE KEY` does what an upsert by this key is: no other unique key can match instead, and the row
    /// to insert, which MySQL looks at first, has every column that must be there.
    pub(super) fn on_duplicate_key(&self, only_unique_key: bool) -> bool {
        let complete = self.table.columns.iter().all(|column| {
            column.nullable
                || column.has_default
                || column.generated
                || self.columns.iter().any(|written| written.name == column.name)
        });
        only_unique_key && complete && !self.facts.hidden_unique
    }

    /// So many rows of parameters.
    pub(super) fn parameters(&self, rows: usize) -> String {
        let row: Vec<_> = self.columns.iter().map(|column| placeholder(column)).collect();
        let row = format!("({})", row.join(","));
        vec![row.as_str(); rows].join(",")
    }

    /// INSERT of these rows.
    pub(super) fn insert(&self, values: &str) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| quote(&column.name)).collect();
        format!("INSERT INTO {} ({}) VALUES {values}", self.table(), names.join(","))
    }

    /// INSERT of these rows, which updates those that are there.
    pub(super) fn upsert(&self, values: &str) -> String {
        // VALUES() is old style in MySQL, but the only one that MariaDB knows too.
        let version = self.guard.map(|place| quote(&self.columns[place].name));
        let set = |(_, column): (usize, &ColumnSchema)| {
            let name = quote(&column.name);
            match &version {
                Some(version) => format!("{name}=IF({version}>VALUES({version}),{name},VALUES({name}))"),
                None => format!("{name}=VALUES({name})"),
            }
        };
        // From left to right, each assignment sees what those before it wrote: so the version comes last.
        let (last, first): (Vec<_>, Vec<_>) = self.others().partition(|(place, _)| self.guard == Some(*place));
        let mut sets: Vec<_> = first.into_iter().chain(last).map(set).collect();
        if sets.is_empty() {
            let nothing = |&place: &usize| format!("{0}={0}", quote(&self.columns[place].name));
            sets = self.key.iter().take(1).map(nothing).collect();
        }
        format!("{} ON DUPLICATE KEY UPDATE {}", self.insert(values), sets.join(","))
    }

    /// Which of so many keys are there: the ordinal of each, and the bytes of the row's key. Locks the rows.
    pub(super) fn lookup(&self, rows: usize) -> String {
        let bytes = |&place: &usize| format!("HEX(CAST(t.{} AS BINARY))", quote(&self.columns[place].name));
        let bytes: Vec<_> = self.key.iter().map(bytes).collect();
        format!("SELECT v.o, CONCAT_WS(',',{}) FROM {} FOR UPDATE", bytes.join(","), self.joined(rows, &self.key))
    }

    /// UPDATE of so many rows by key.
    pub(super) fn update(&self, rows: usize) -> String {
        let places: Vec<_> = (0..self.columns.len()).collect();
        let sets: Vec<_> =
            self.others().map(|(place, column)| format!("t.{}=v.c{place}", quote(&column.name))).collect();
        format!("UPDATE {} SET {}{}", self.joined(rows, &places), sets.join(","), self.unless_newer())
    }

    /// DELETE of so many rows by key.
    pub(super) fn delete(&self, rows: usize) -> String {
        format!("DELETE t FROM {}{}", self.joined(rows, &self.found_by()), self.unless_newer())
    }

    /// Which of so many rows are there with a greater version: their ordinals. After the statement itself these are the
    /// rows that its guard left alone, for the others have the version that was written.
    pub(super) fn newer(&self, rows: usize) -> Option<String> {
        Some(format!("SELECT v.o FROM {} WHERE {}", self.joined(rows, &self.found_by()), self.is_newer()?))
    }

    /// Whether [`clear`](Self::clear) names its values in a list. A text that the column's character set may lack is
    /// compared with more care, which only a join can.
    pub(super) fn clears_by_list(&self) -> bool {
        let plain = |charset: &str| charset == "utf8mb4";
        let charset = |&place: &usize| self.facts.collations.get(&self.columns[place].name);
        self.key.iter().filter_map(charset).all(|(charset, _)| plain(charset))
    }

    /// DELETE of all rows that have so many values, which may be named more than once.
    pub(super) fn clear(&self, rows: usize) -> String {
        if !self.clears_by_list() {
            return format!("DELETE t FROM {}", self.joined(rows, &self.key));
        }
        let name = |&place: &usize| quote(&self.columns[place].name);
        let value = |&place: &usize| {
            let collation = self.facts.collations.get(&self.columns[place].name);
            let collation = collation.map_or(String::new(), |(_, collation)| format!(" COLLATE {collation}"));
            typed(self.columns[place], "?") + &collation
        };
        let names: Vec<_> = self.key.iter().map(name).collect();
        let values: Vec<_> = self.key.iter().map(value).collect();
        let (names, row) = match self.key.len() {
            1 => (names.join(","), values.join(",")),
            _ => (format!("({})", names.join(",")), format!("({})", values.join(","))),
        };
        format!("DELETE FROM {} WHERE {names} IN ({})", self.table(), vec![row.as_str(); rows].join(","))
    }

    /// The places whose cells [`delete`](Self::delete) and [`newer`](Self::newer) bind, in order.
    pub(super) fn found_by(&self) -> Vec<usize> {
        self.key.iter().copied().chain(self.guard).collect()
    }

    /// `t`'s version is greater than that of `v`, compared as the column itself compares.
    fn is_newer(&self) -> Option<String> {
        let place = self.guard?;
        let column = self.columns[place];
        let given = match self.facts.collations.get(&column.name) {
            Some((charset, collation)) if charset == "utf8mb4" => format!("v.c{place} COLLATE {collation}"),
            Some((charset, collation)) => format!("CONVERT(v.c{place} USING {charset}) COLLATE {collation}"),
            None => typed(column, &format!("v.c{place}")),
        };
        Some(format!("t.{}>{given}", quote(&column.name)))
    }

    fn unless_newer(&self) -> String {
        self.is_newer().map_or(String::new(), |newer| format!(" WHERE ({newer}) IS NOT TRUE"))
    }

    /// The rows as a derived table `v`, joined with the table `t` by key. `v` is read first and in order, so that rows
    /// are written in theirs.
    fn joined(&self, rows: usize, places: &[usize]) -> String {
        let cast = |place: usize| match self.key.contains(&place) {
            true => typed(self.columns[place], "?"),
            false => value_cast(self.columns[place]),
        };
        let first: Vec<_> = places.iter().map(|&place| format!("{} c{place}", cast(place))).collect();
        let next: Vec<_> = places.iter().map(|&place| cast(place)).collect();
        let (first, next) = (first.join(","), next.join(","));
        let mut derived = format!("SELECT 0 o,{first}");
        for ordinal in 1..rows {
            derived += &format!(" UNION ALL SELECT {ordinal},{next}");
        }
        let on: Vec<_> = self.key.iter().map(|&place| self.matches(place)).collect();
        format!("({derived}) v STRAIGHT_JOIN {} t ON {}", self.table(), on.join(" AND "))
    }

    /// `t.key = v.cN`, compared as the column itself compares, so that its index serves.
    fn matches(&self, place: usize) -> String {
        let name = quote(&self.columns[place].name);
        let Some((charset, collation)) = self.facts.collations.get(&self.columns[place].name) else {
            return format!("t.{name}=v.c{place}");
        };
        if charset == "utf8mb4" {
            return format!("t.{name}=v.c{place} COLLATE {collation}");
        }
        // What the column's character set lacks would become `?` and match a row that is called so.
        format!(
            "t.{name}=CONVERT(v.c{place} USING {charset}) COLLATE {collation} AND \
             CAST(CONVERT(CONVERT(v.c{place} USING {charset}) USING utf8mb4) AS BINARY)=CAST(v.c{place} AS BINARY)"
        )
    }
}

/// Whether text assigned to this column would be taken for its bits.
fn is_bit(column: &ColumnSchema) -> bool {
    column.declared.starts_with("bit")
}

/// A value in a list of VALUES: the text, which the strict assignment reads.
pub(super) fn placeholder(column: &ColumnSchema) -> &'static str {
    if is_bit(column) { "CAST(? AS UNSIGNED)" } else { "?" }
}

/// A value to assign, in a derived table.
fn value_cast(column: &ColumnSchema) -> String {
    match column.kind {
        ColumnType::Bytes { .. } => "CAST(? AS BINARY)".into(),
        _ if is_bit(column) => "CAST(? AS UNSIGNED)".into(),
        _ => "CAST(? AS CHAR)".into(),
    }
}

/// A value to compare with, as the column's own type, since text against a number is compared as a float, without an index.
fn typed(column: &ColumnSchema, value: &str) -> String {
    let kind = match column.kind {
        _ if is_bit(column) => "UNSIGNED".into(),
        ColumnType::Int { min, .. } if min >= 0 => "UNSIGNED".into(),
        ColumnType::Int { .. } | ColumnType::Bool => "SIGNED".into(),
        ColumnType::Decimal { precision: Some(precision), scale } => {
            format!("DECIMAL({precision},{})", scale.unwrap_or(0))
        }
        ColumnType::Decimal { .. } => "DECIMAL(65,30)".into(),
        ColumnType::Float { bits: 32 } => "FLOAT".into(),
        ColumnType::Float { .. } => "DOUBLE".into(),
        ColumnType::Date => "DATE".into(),
        ColumnType::Time { .. } => "TIME(6)".into(),
        ColumnType::Timestamp { .. } => "DATETIME(6)".into(),
        ColumnType::Uuid => "UUID".into(),
        // `binary(n)` is filled up with zeros; the cast fills the value up alike.
        ColumnType::Bytes { .. } if column.declared.starts_with("binary(") => column.declared.to_uppercase(),
        ColumnType::Bytes { .. } => "BINARY".into(),
        _ => "CHAR".to_owned(),
    };
    format!("CAST({value} AS {kind})")
}
