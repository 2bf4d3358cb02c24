//! What is sent and written: records of 250 bytes, and the rows that they become. Product and limit get theirs from here.

use tidegate_actors::{message::Action, ports::NewRecord};

use crate::redis::stream::entry;

/// Length of a record, in bytes of JSON.
const BYTES: usize = 250;
/// The topic of all of them.
pub(super) const TOPIC: &str = "cars";

/// What a record becomes in the table.
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) car_name: String,
    pub(super) stock: i32,
    pub(super) price: i64,
}

impl Row {
    /// The row of record `no`.
    #[allow(clippy::cast_possible_wrap, reason = "no run counts that far")]
    pub(super) fn of(no: u64) -> Self {
        Self {
            id: no as i64,
            car_name: format!("Toyota Avanza {} G CVT", no % 1_000),
            stock: (no % 50) as i32,
            price: 150_000_000 + (no % 100_000) as i64,
        }
    }
}

/// Record `no`, as a car dealer's stock message is.
pub(super) fn record(no: u64) -> String {
    let Row { id, car_name, stock, price } = Row::of(no);
    let head = format!(
        r#"{{"id":{id},"car_name":"{car_name}","stock":{stock},"price":{price},"source":"dealer-07","sent_at":"2025-06-01T08:00:00.000+07:00","note":""#
    );
    let note = "x".repeat(BYTES.saturating_sub(head.len() + 2));
    format!("{head}{note}\"}}")
}

/// The record as a producer sends it.
pub(super) fn message(no: u64) -> String {
    format!(r#"{{"topic":"{TOPIC}","key":{no},"data":{}}}"#, record(no))
}

/// Adds the command that appends the record to a stream as a node does, to be inserted.
pub(super) fn append(pipe: &mut redis::Pipeline, stream: &str, no: u64) {
    let record = NewRecord {
        topic: TOPIC.into(),
        action: Action::Insert,
        key: Some(no.to_string().into()),
        own_id: None,
        traceparent: None,
        data: record(no).into(),
    };
    let command = pipe.cmd("XADD").arg(stream).arg("*");
    for (name, value) in entry::fields(&record) {
        command.arg(name).arg(value);
    }
    pipe.ignore();
}

/// The same as the limit appends it: one field, which is the record.
pub(super) fn append_plain(pipe: &mut redis::Pipeline, stream: &str, no: u64) {
    pipe.add_command(plain(stream, no)).ignore();
}

/// XADD of the record and nothing else.
pub(super) fn plain(stream: &str, no: u64) -> redis::Cmd {
    let mut command = redis::cmd("XADD");
    command.arg(stream).arg("*").arg("d").arg(record(no));
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_record_is_as_long_as_it_says_and_holds_its_row() {
        for no in [1, 999, 123_456, 99_999_999] {
            let (text, row) = (record(no), Row::of(no));
            assert_eq!(text.len(), BYTES);
            let data: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(data["id"] == row.id && data["stock"] == row.stock && data["price"] == row.price, "{data}");
            assert_eq!(data["car_name"], row.car_name);
        }
    }
}
