//! The database in memory under the contract suite: what the core is tested with keeps the same promises.

use std::{collections::HashMap, sync::Mutex};

use async_trait::async_trait;
use tidegate_actors::{
    ports::Destination,
    schema::{ColumnSchema, ColumnType, TableSchema},
    testing::{MemoryDatabase, MemoryTable},
    transaction::Cell,
};

use super::{
    Ability, Database, Subject,
    table::{Column, ENUM, Table, Type},
};

/// The kind.
pub(crate) struct Memory;

#[async_trait(?Send)]
impl Subject for Memory {
    async fn fresh() -> Box<dyn Database> {
        Box::new(InMemory { database: MemoryDatabase::new(), columns: Mutex::default() })
    }
}

/// A database in memory as the suites see it.
pub(crate) struct InMemory {
    database: MemoryDatabase,
    /// What each table's columns are called now, to read them by name.
    columns: Mutex<HashMap<String, Vec<String>>>,
}

impl InMemory {
    /// A database that a test holds in hand too.
    pub(crate) fn over(database: &MemoryDatabase) -> Self {
        Self { database: database.clone(), columns: Mutex::default() }
    }
}

#[async_trait(?Send)]
impl Database for InMemory {
    fn open(&self) -> Box<dyn Destination> {
        Box::new(self.database.open())
    }

    fn can(&self, ability: Ability) -> bool {
        ability != Ability::Define
    }

    async fn create(&self, table: &Table) {
        let names = table.columns.iter().map(|column| column.name.to_owned()).collect();
        self.columns.lock().unwrap().insert(table.name.into(), names);
        self.database.add_table(made(table));
    }

    async fn drop_table(&self, table: &str) {
        self.database.drop_table(table).expect("a table");
    }

    async fn drop_column(&self, table: &str, column: &str) {
        self.database.drop_column(table, column);
        self.columns.lock().unwrap().get_mut(table).expect("a table").retain(|name| name != column);
    }

    async fn rows(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let names = self.columns.lock().unwrap()[table.name].clone();
        let place = |column: &Column| names.iter().position(|name| name == column.name).expect("a column");
        let places: Vec<_> = table.columns.iter().map(place).collect();
        let rows = self.database.texts(table.name).into_iter();
        rows.map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect()
    }
}

fn made(table: &Table) -> MemoryTable {
    let strings = |key: &Vec<&str>| key.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let keys = std::iter::once(&table.primary_key).filter(|key| !key.is_empty()).chain(&table.unique);
    let schema = |column: &Column| ColumnSchema {
        name: column.name.into(),
        declared: format!("{:?}", column.of),
        kind: kind(column.of),
        nullable: !column.required && !table.primary_key.contains(&column.name),
        has_default: false,
        default: None,
        generated: false,
    };
    let mut made = MemoryTable::new(TableSchema {
        schema: String::new(),
        name: table.name.into(),
        columns: table.columns.iter().map(schema).collect(),
        unique_keys: keys.map(strings).collect(),
    });
    for (place, column) in table.columns.iter().enumerate() {
        if column.of == Type::Identity {
            made = made.counter(column.name);
        }
        if let Some(literal) = column.default {
            let value = literal.trim_matches('\'').replace("''", "'");
            made = made.default_value(column.name, Cell::Text(value.into()));
        }
        if let Some(bound) = column.at_least {
            made = made.check(column.name, move |row| number(&row[place]).is_none_or(|number| number >= bound));
        }
        if let Some((parent, other)) = column.references {
            made = made.references(column.name, parent, other);
        }
        if let Some(other) = column.twice {
            let of = table.columns.iter().position(|column| column.name == other).expect("a column");
            made = made.computed(column.name, move |row| {
                number(&row[of]).map_or(Cell::Null, |number| Cell::Text((number * 2).to_string().into()))
            });
        }
    }
    made
}

/// NULL is no number.
fn number(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Text(text) => Some(text.parse().expect("a whole number")),
        _ => None,
    }
}

fn kind(of: Type) -> ColumnType {
    let text = |max_chars| ColumnType::Text { max_chars, max_bytes: None, nul: true };
    match of {
        Type::SmallInt => ColumnType::Int { min: i16::MIN.into(), max: i16::MAX.into() },
        Type::Int => ColumnType::Int { min: i32::MIN.into(), max: i32::MAX.into() },
        Type::BigInt | Type::Identity => ColumnType::Int { min: i64::MIN.into(), max: i64::MAX.into() },
        Type::UnsignedBig => ColumnType::Int { min: 0, max: u64::MAX.into() },
        Type::Decimal(precision, scale) => ColumnType::Decimal { precision: Some(precision), scale: Some(scale) },
        Type::Double => ColumnType::Float { bits: 64 },
        Type::Bool => ColumnType::Bool,
        Type::Text => text(None),
        Type::Varchar(max) => text(Some(max.into())),
        Type::Bytes => ColumnType::Bytes { max_bytes: None },
        Type::Date => ColumnType::Date,
        Type::Time => ColumnType::Time { zone: false },
        Type::Timestamp => ColumnType::Timestamp { zone: false },
        Type::Instant => ColumnType::Timestamp { zone: true },
        Type::Uuid => ColumnType::Uuid,
        Type::Json => ColumnType::Json { nul: true },
        Type::Enum => ColumnType::Enum { values: ENUM.map(str::to_owned).to_vec() },
    }
}
