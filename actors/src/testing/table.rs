//! A table in memory: its description, and its rows with unique keys, NOT NULL, defaults and checks.
//!
//! A test describes it with [`MemoryTable`]; [`super::statement`] writes into it by the table's rules.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use crate::{
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::Cell,
};

/// A row: a cell for every column of the table, none of them [`Cell::Absent`].
pub(super) type Row = Vec<Cell>;
type RowFunction<T> = Arc<dyn Fn(&[Cell]) -> T + Send + Sync>;

/// A table in memory. A test describes it and hands it to [`super::MemoryDatabase::add_table`].
#[derive(Clone)]
pub struct MemoryTable {
    schema: TableSchema,
    defaults: HashMap<usize, ColumnDefault>,
    computed: Vec<(usize, RowFunction<Cell>)>,
    checks: Vec<(usize, RowFunction<bool>)>,
    pub(super) references: Vec<Reference>,
    rows: BTreeMap<u64, Row>,
    /// For each of the schema's unique keys: its columns, and which row has which values.
    indexes: Vec<(Vec<usize>, HashMap<Row, u64>)>,
    next_row: u64,
    counter: u64,
}

#[derive(Clone)]
enum ColumnDefault {
    Value(Cell),
    Counter,
}

#[derive(Clone)]
pub(super) struct Reference {
    pub(super) column: usize,
    pub(super) table: String,
    pub(super) other: String,
}

impl fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} rows)", self.schema.name, self.rows.len())
    }
}

impl MemoryTable {
    /// An empty table of this shape. Columns that are said to be computed or to have a default need
    /// [`MemoryTable::computed`], [`MemoryTable::default_value`] or [`MemoryTable::counter`] too.
    #[must_use]
    pub fn new(schema: TableSchema) -> Self {
        let place = |name: &String| schema.columns.iter().position(|column| column.name == *name);
        let indexes =
            schema.unique_keys.iter().map(|key| (key.iter().filter_map(place).collect(), HashMap::new())).collect();
        Self {
            schema,
            defaults: HashMap::new(),
            computed: Vec::new(),
            checks: Vec::new(),
            references: Vec::new(),
            rows: BTreeMap::new(),
            indexes,
            next_row: 0,
            counter: 0,
        }
    }

    /// An empty table with this primary key (none where it is empty) and nullable columns besides.
    #[must_use]
    pub fn of(name: &str, key: &[&str], columns: &[(&str, ColumnType)]) -> Self {
        let columns = columns.iter().map(|(column, kind)| ColumnSchema {
            name: (*column).into(),
            declared: format!("{kind:?}").to_lowercase(),
            kind: kind.clone(),
            nullable: !key.contains(column),
            has_default: false,
            default: None,
            generated: false,
        });
        Self::new(TableSchema {
            schema: String::new(),
            name: name.into(),
            columns: columns.collect(),
            unique_keys: if key.is_empty() { vec![] } else { vec![key.iter().map(|&name| name.into()).collect()] },
        })
    }

    /// An empty table whose columns are all text of any length; see [`MemoryTable::of`].
    #[must_use]
    pub fn of_text(name: &str, key: &[&str], columns: &[&str]) -> Self {
        let text = ColumnType::Text { max_chars: None, max_bytes: None, nul: false };
        Self::of(name, key, &columns.iter().map(|&column| (column, text.clone())).collect::<Vec<_>>())
    }

    /// One more unique key.
    #[must_use]
    pub fn unique(mut self, columns: &[&str]) -> Self {
        self.indexes.push((columns.iter().map(|name| self.place(name)).collect(), HashMap::new()));
        self.schema.unique_keys.push(columns.iter().map(|&name| name.into()).collect());
        self
    }

    /// NOT NULL.
    #[must_use]
    pub fn required(mut self, column: &str) -> Self {
        let place = self.place(column);
        self.schema.columns[place].nullable = false;
        self
    }

    /// What an insert that does not speak of the column puts there.
    #[must_use]
    pub fn default_value(mut self, column: &str, value: Cell) -> Self {
        let place = self.place(column);
        self.schema.columns[place].has_default = true;
        if let Cell::Text(text) = &value {
            self.schema.columns[place].default = Some(text.to_string());
        }
        self.defaults.insert(place, ColumnDefault::Value(value));
        self
    }

    /// An insert that does not speak of the column puts the next number there.
    #[must_use]
    pub fn counter(mut self, column: &str) -> Self {
        let place = self.place(column);
        self.schema.columns[place].has_default = true;
        self.defaults.insert(place, ColumnDefault::Counter);
        self
    }

    /// The column is always computed from the rest of the row and can never be written.
    #[must_use]
    pub fn computed(mut self, column: &str, value: impl Fn(&[Cell]) -> Cell + Send + Sync + 'static) -> Self {
        let place = self.place(column);
        self.schema.columns[place].generated = true;
        self.computed.push((place, Arc::new(value)));
        self
    }

    /// A row for which `holds` is false is rejected as `check`, in the name of this column. The cells come in the table's
    /// order.
    #[must_use]
    pub fn check(mut self, column: &str, holds: impl Fn(&[Cell]) -> bool + Send + Sync + 'static) -> Self {
        let place = self.place(column);
        self.checks.push((place, Arc::new(holds)));
        self
    }

    /// A foreign key: a value that is not in that column of that table is rejected as `foreign_key`, and so is the
    /// removal of one that is still referred to.
    #[must_use]
    pub fn references(mut self, column: &str, table: &str, other: &str) -> Self {
        let column = self.place(column);
        self.references.push(Reference { column, table: table.into(), other: other.into() });
        self
    }

    /// The table's description.
    #[must_use]
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    pub(super) fn row(&self, id: u64) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// A number that no row has had yet.
    pub(super) fn new_id(&mut self) -> u64 {
        self.next_row += 1;
        self.next_row
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// The same table without one column, its rows kept; unique keys that had it are gone, and so are all rules that see
    /// a whole row.
    pub(super) fn without(&self, column: &str) -> Self {
        let gone = self.place(column);
        let mut schema = self.schema.clone();
        schema.columns.remove(gone);
        schema.unique_keys.retain(|key| !key.iter().any(|name| name == column));
        let mut table = Self::new(schema);
        let moved = |place: usize| place - usize::from(place > gone);
        let defaults = self.defaults.iter().filter(|(place, _)| **place != gone);
        table.defaults = defaults.map(|(place, default)| (moved(*place), default.clone())).collect();
        (table.counter, table.next_row) = (self.counter, self.next_row);
        for (id, row) in &self.rows {
            let mut row = row.clone();
            row.remove(gone);
            table.put(*id, Some(row));
        }
        table
    }

    /// Puts, replaces or removes a row, whatever the rules; answers with what was there.
    pub(super) fn put(&mut self, id: u64, row: Option<Row>) -> Option<Row> {
        let before = self.rows.remove(&id);
        for (columns, index) in &mut self.indexes {
            if let Some(values) = before.as_ref().and_then(|row| values(row, columns)) {
                index.remove(&values);
            }
            if let Some(values) = row.as_ref().and_then(|row| values(row, columns)) {
                index.insert(values, id);
            }
        }
        if let Some(row) = row {
            self.rows.insert(id, row);
        }
        before
    }

    fn place(&self, name: &str) -> usize {
        let place = self.schema.columns.iter().position(|column| column.name == name);
        // A test that names a column wrongly must not go on.
        #[allow(clippy::panic)]
        place.unwrap_or_else(|| panic!("table `{}` has no column `{name}`", self.schema.name))
    }

    /// The rows whose `columns` have these values; NULL equals nothing, and no columns tell no rows apart.
    pub(super) fn find(&self, columns: &[usize], wanted: &[Cell]) -> Vec<u64> {
        if wanted.is_empty() || wanted.contains(&Cell::Null) {
            return Vec::new();
        }
        // A route's order of the key need not be the table's.
        let in_order = |unique: &Vec<usize>| -> Option<Row> {
            let place = |column| columns.iter().position(|other| other == column).map(|place| wanted[place].clone());
            if unique.len() == columns.len() { unique.iter().map(place).collect() } else { None }
        };
        if let Some((wanted, index)) = self.indexes.iter().find_map(|(unique, index)| Some((in_order(unique)?, index)))
        {
            return index.get(&wanted).copied().into_iter().collect();
        }
        let same = |row: &Row| columns.iter().zip(wanted).all(|(column, cell)| row[*column] == *cell);
        self.rows.iter().filter(|(_, row)| same(row)).map(|(id, _)| *id).collect()
    }

    pub(super) fn has(&self, column: &str, value: &Cell) -> bool {
        let place = self.schema.columns.iter().position(|other| other.name == column);
        place.is_some_and(|place| !self.find(&[place], std::slice::from_ref(value)).is_empty())
    }

    /// What an insert of these cells puts into the table.
    pub(super) fn new_row(&mut self, columns: &[usize], cells: &[Cell]) -> Row {
        let mut row = Vec::with_capacity(self.schema.columns.len());
        for place in 0..self.schema.columns.len() {
            let given = columns.iter().position(|column| *column == place).map(|at| cells[at].clone());
            row.push(given.unwrap_or_else(|| match self.defaults.get(&place) {
                Some(ColumnDefault::Value(value)) => value.clone(),
                Some(ColumnDefault::Counter) => {
                    self.counter += 1;
                    Cell::Text(self.counter.to_string().into())
                }
                None => Cell::Null,
            }));
        }
        row
    }

    pub(super) fn compute(&self, row: &mut Row) {
        for (place, value) in &self.computed {
            row[*place] = value(row);
        }
    }

    /// Whether the row may be in the table as number `id`, as far as this table alone can tell.
    pub(super) fn admit(&self, id: u64, row: &Row) -> Result<(), Refusal> {
        for (column, cell) in self.schema.columns.iter().zip(row) {
            if !column.nullable && *cell == Cell::Null {
                let message = format!("column `{}` of table `{}` may not be null", column.name, self.schema.name);
                return Err(Refusal::new("not_null", Some(&column.name), message));
            }
            if let Cell::Text(text) = cell
                && let Err(code) = fits(&column.kind, text)
            {
                let (declared, name) = (&column.declared, &self.schema.name);
                let message = format!("column `{}` of table `{name}` is {declared}: {code}", column.name);
                return Err(Refusal::new(code, Some(&column.name), message));
            }
        }
        for (place, holds) in &self.checks {
            if !holds(row) {
                let column = &self.schema.columns[*place].name;
                let message = format!("a check on column `{column}` of table `{}` fails", self.schema.name);
                return Err(Refusal::new("check", Some(column), message));
            }
        }
        for ((columns, index), key) in self.indexes.iter().zip(&self.schema.unique_keys) {
            let other = values(row, columns).and_then(|values| index.get(&values).copied());
            if other.is_some_and(|other| other != id) {
                let message = format!("table `{}` has a row with this {} already", self.schema.name, key.join(", "));
                return Err(Refusal::new("unique", key.first().filter(|_| key.len() == 1), message));
            }
        }
        Ok(())
    }
}

/// Whether a column of this type takes the text, as far as the strict databases agree; else the rejection's code.
fn fits(kind: &ColumnType, text: &str) -> Result<(), &'static str> {
    match kind {
        ColumnType::Int { min, max } => {
            let number: i128 = text.parse().map_err(|_| "type")?;
            if (*min..=*max).contains(&number) { Ok(()) } else { Err("range") }
        }
        ColumnType::Decimal { precision, scale } => {
            let digits = text.trim_start_matches('-');
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if whole.is_empty() || !(whole.to_owned() + fraction).bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("type");
            }
            let places = precision.map(|precision| precision.saturating_sub(scale.unwrap_or(0)) as usize);
            let whole = whole.trim_start_matches('0').len();
            if places.is_some_and(|places| whole > places) { Err("range") } else { Ok(()) }
        }
        ColumnType::Text { max_chars, max_bytes, .. } => {
            let too_long = max_chars.is_some_and(|max| text.chars().count() as u64 > max)
                || max_bytes.is_some_and(|max| text.len() as u64 > max);
            if too_long { Err("too_long") } else { Ok(()) }
        }
        ColumnType::Bool if text != "true" && text != "false" => Err("type"),
        ColumnType::Enum { values } if !values.iter().any(|value| value == text) => Err("type"),
        _ => Ok(()),
    }
}

/// Why one row cannot be written; the statement that wrote it adds where it stands.
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) column: Option<String>,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, column: Option<&String>, message: String) -> Self {
        Self { code, column: column.cloned(), message }
    }
}

/// The values of a unique key; none where one is NULL, for NULL equals nothing.
fn values(row: &Row, columns: &[usize]) -> Option<Row> {
    let values: Row = columns.iter().map(|column| row[*column].clone()).collect();
    (!values.contains(&Cell::Null)).then_some(values)
}
