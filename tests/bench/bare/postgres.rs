//! PostgreSQL: one array of the column's type per column, in the binary format, through UNNEST. The bytes of each
//! statement's parameters are made beforehand.

use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Encode, PgConnection, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, types::Oid},
};

use super::{Clock, Task};
use crate::shape::{Row, SENT_AT_MICROSECONDS, Shape};

/// A column's type: its name, the array's number and the element's.
struct Column(&'static str, u32, u32);

const COLUMNS: [Column; 7] = [
    Column("bigint", 1016, 20),
    Column("text", 1009, 25),
    Column("int", 1007, 23),
    Column("numeric", 1231, 1700),
    Column("text", 1009, 25),
    Column("timestamptz", 1185, 1184),
    Column("text", 1009, 25),
];

/// A parameter whose bytes are there already.
struct Packed {
    array: u32,
    bytes: Vec<u8>,
}

impl Type<Postgres> for Packed {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(COLUMNS[0].1))
    }
}

impl Encode<'_, Postgres> for Packed {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.array)))
    }
}

/// One column of some rows, as an array of one dimension without nulls.
fn pack(place: usize, rows: &[Row]) -> Packed {
    let Column(_, array, element) = COLUMNS[place];
    let mut bytes = Vec::new();
    for number in [1, 0, element as i32, rows.len() as i32, 1] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    for row in rows {
        let at = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        match place {
            0 => bytes.extend_from_slice(&row.id.to_be_bytes()),
            1 => bytes.extend_from_slice(row.car_name.as_bytes()),
            2 => bytes.extend_from_slice(&row.stock.to_be_bytes()),
            3 => numeric(row.price, &mut bytes),
            4 => bytes.extend_from_slice(row.wide.as_ref().unwrap().0.as_bytes()),
            5 => bytes.extend_from_slice(&SENT_AT_MICROSECONDS.to_be_bytes()),
            _ => bytes.extend_from_slice(row.wide.as_ref().unwrap().1.as_bytes()),
        }
        let length = (bytes.len() - at - 4) as i32;
        bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Packed { array, bytes }
}

/// A positive number of hundredths: how many digits of base 10,000 there are, the first one's weight, sign, scale, digits.
fn numeric(hundredths: i64, bytes: &mut Vec<u8>) {
    let mut digits = vec![(hundredths % 100 * 100) as i16];
    let mut whole = hundredths / 100;
    while whole > 0 {
        digits.push((whole % 10_000) as i16);
        whole /= 10_000;
    }
    let weight = digits.len() as i16 - 2;
    digits.reverse();
    while digits.last() == Some(&0) {
        digits.pop();
    }
    for number in [digits.len() as i16, weight, 0, 2] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    digits.iter().for_each(|digit| bytes.extend_from_slice(&digit.to_be_bytes()));
}

pub(super) async fn write(task: &Task) {
    let columns = &COLUMNS[..if task.shape == Shape::Wide { 7 } else { 4 }];
    let parameters: Vec<_> =
        columns.iter().enumerate().map(|(place, column)| format!("${}::{}[]", place + 1, column.0)).collect();
    let conflict = if task.upsert {
        format!(" ON CONFLICT (id) DO UPDATE SET {}", task.sets(|column| format!("excluded.{column}")))
    } else {
        String::new()
    };
    let sql = format!("INSERT INTO cars SELECT * FROM unnest({}){conflict}", parameters.join(", "));
    let sql: std::sync::Arc<str> = sql.into();
    let mut prepared = Vec::new();
    for batch in task.batches() {
        let rows: Vec<Row> = batch.map(|id| task.shape.row(id)).collect();
        let mut arguments = PgArguments::default();
        for place in 0..columns.len() {
            arguments.add(pack(place, &rows)).unwrap();
        }
        prepared.push(arguments);
    }
    let mut connection = PgConnection::connect(&task.url).await.unwrap();
    let clock = Clock::start();
    for arguments in prepared {
        sqlx::query_with(AssertSqlSafe(sql.clone()), arguments).execute(&mut connection).await.unwrap();
    }
    clock.stop();
}
