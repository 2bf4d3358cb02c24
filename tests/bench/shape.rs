//! What is delivered: records of two sizes, the tables that take them, and the rows that they become. Tidegate, the bare
//! writers and the references all get their rows from here, so that what they write is the same.

use crate::databases::Kind;

/// A size of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Shape {
    /// 250 bytes, of which four columns are kept.
    Narrow,
    /// 2,000 bytes, and every field is a column.
    Wide,
}

/// What one record becomes in a table.
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) car_name: String,
    pub(crate) stock: i32,
    /// In hundredths.
    pub(crate) price: i64,
    /// Source and note.
    pub(crate) wide: Option<(String, String)>,
}

/// When every record says that it was sent, as the record has it, and in UTC.
pub(crate) const SENT_AT: &str = "2025-06-01T08:00:00.000+07:00";
pub(crate) const SENT_AT_UTC: &str = "2025-06-01 01:00:00.000";
/// The same in microseconds since 2000-01-01, as PostgreSQL counts.
pub(crate) const SENT_AT_MICROSECONDS: i64 = 802_054_800_000_000;
const SOURCE: &str = "dealer-07";

impl Shape {
    /// By the size of a record.
    pub(crate) fn of(bytes: usize) -> Self {
        match bytes {
            250 => Self::Narrow,
            2_000 => Self::Wide,
            other => panic!("records are of 250 or 2000 bytes, not {other}"),
        }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Narrow => 250,
            Self::Wide => 2_000,
        }
    }

    /// A record of exactly that many bytes, as a car dealer's stock message is.
    pub(crate) fn record(self, id: usize) -> String {
        let head = head(id);
        let note = "x".repeat(self.bytes() - head.len() - 2);
        format!("{head}{note}\"}}")
    }

    /// What the record becomes.
    pub(crate) fn row(self, id: usize) -> Row {
        let note = || "x".repeat(self.bytes() - head(id).len() - 2);
        Row {
            id: id as i64,
            car_name: car_name(id),
            stock: (id % 50) as i32,
            price: price(id) as i64 * 100,
            wide: (self == Self::Wide).then(|| (SOURCE.to_owned(), note())),
        }
    }

    /// The columns, as they stand in the table.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Narrow => &["id", "car_name", "stock", "price"],
            Self::Wide => &["id", "car_name", "stock", "price", "source", "sent_at", "note"],
        }
    }

    /// The table.
    pub(crate) fn create(self, kind: Kind) -> String {
        let (id, price, sent_at) = match kind {
            Kind::Postgres => ("bigint PRIMARY KEY", "numeric(14,2)", "timestamptz"),
            Kind::Mariadb => ("bigint PRIMARY KEY", "decimal(14,2)", "datetime(3)"),
            // A key of its own spelling: it is the row's number then, and needs no index beside the table.
            Kind::Sqlite => ("integer PRIMARY KEY", "numeric", "text"),
        };
        let wide = match self {
            Self::Narrow => String::new(),
            Self::Wide => format!(", source text, sent_at {sent_at}, note text"),
        };
        format!("CREATE TABLE cars (id {id}, car_name text, stock int, price {price}{wide})")
    }

    /// Fills the table with every second one of so many ids, so that half of the upserts meet a row that is there and of
    /// about the size of theirs.
    pub(crate) fn preload(self, kind: Kind, records: usize) -> String {
        let (numbers, number) = match kind {
            Kind::Postgres => (format!("generate_series(2, {records}, 2) AS g"), "g"),
            Kind::Mariadb => (format!("seq_2_to_{records}_step_2"), "seq"),
            Kind::Sqlite => ("g".to_owned(), "g"),
        };
        let with = match kind {
            Kind::Sqlite => {
                format!("WITH RECURSIVE g(g) AS (SELECT 2 UNION ALL SELECT g + 2 FROM g WHERE g + 2 <= {records}) ")
            }
            _ => String::new(),
        };
        let note = match kind {
            Kind::Sqlite => "replace(hex(zeroblob(900)), '0', 'y')",
            _ => "repeat('y', 1800)",
        };
        let wide = match self {
            Self::Narrow => String::new(),
            Self::Wide => format!(", 'dealer-00', '{SENT_AT_UTC}', {note}"),
        };
        format!("INSERT INTO cars {with}SELECT {number}, 'Toyota Avanza old G', -1, 1.00{wide} FROM {numbers}")
    }

    /// The sum of the stocks of so many records.
    pub(crate) fn stock(records: usize) -> i64 {
        (1..=records as i64).map(|id| id % 50).sum()
    }
}

fn head(id: usize) -> String {
    format!(
        r#"{{"id":{id},"car_name":"{}","stock":{},"price":"{}.00","source":"{SOURCE}","sent_at":"{SENT_AT}","note":""#,
        car_name(id),
        id % 50,
        price(id)
    )
}

fn car_name(id: usize) -> String {
    format!("Toyota Avanza {} G CVT", id % 1000)
}

fn price(id: usize) -> usize {
    150_000_000 + id % 100_000
}
