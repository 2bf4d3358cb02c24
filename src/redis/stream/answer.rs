//! The answer to XREAD on one stream, taken apart while it comes in, without a tree of values: an entry is read where it lies.
//!
//! An entry as we write them (one field, named by its format) is recognised by its bytes; any other goes the careful way,
//! through [`super::entry::parse`], and comes out as it would have there. Memory is bounded: beyond a size entries are passed over,
//! to be asked for again.

use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use redis::{RedisError, Value};
use tidegate_actors::{
    message::StreamId,
    ports::{Entry, LogError},
};

use super::entry::{parse, size_bytes, unpack};
use crate::redis::{
    odd,
    resp::{Scan, Stop, length},
    unavailable,
};

/// What comes before the value of an entry's only field: its name is [`super::entry::FORMAT`].
const OUR_FIELD: &[u8] = b"*2\r\n$1\r\n2\r\n";

/// What has come in so far.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Those that were taken, in order.
    pub(crate) entries: Vec<Entry>,
    /// Their size in memory.
    pub(crate) bytes: usize,
    /// How many came in, those included that were passed over.
    pub(crate) came: usize,
    /// Entries still to come, once that is known.
    left: Option<usize>,
    /// Asked for.
    asked: usize,
    /// No more is taken once there are this many bytes.
    enough_bytes: usize,
}

impl Answer {
    /// Of at most `asked` entries; takes them until they have `enough_bytes`.
    pub(crate) fn new(asked: usize, enough_bytes: usize) -> Self {
        Self { entries: Vec::new(), bytes: 0, came: 0, left: None, asked, enough_bytes }
    }

    /// Takes what is there of the answer off the front of `buffer`; whether it was all.
    ///
    /// # Errors
    /// Redis refuses, or this is no answer to XREAD.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Result<bool, LogError> {
        let mut at = 0;
        let all = loop {
            if self.left == Some(0) {
                break true;
            }
            match self.step(&buffer[at..]) {
                Ok(passed) => at += passed,
                Err(Ended::Short) => break false,
                Err(Ended::Failed(error)) => return Err(error),
            }
        };
        buffer.advance(at);
        Ok(all)
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Ended> {
        let Some(left) = self.left else { return self.head(bytes) };
        let passed = if self.bytes >= self.enough_bytes {
            length(bytes).map_err(|stop| ended(stop, "an entry"))?
        } else {
            let (entry, passed) = match quick(bytes) {
                Err(Stop::Other) => careful(bytes)?,
                Err(Stop::Short) => return Err(Ended::Short),
                Ok(found) => found,
            };
            self.bytes += size_bytes(&entry);
            self.entries.push(entry);
            passed
        };
        self.came += 1;
        self.left = Some(left - 1);
        Ok(passed)
    }

    /// What comes before the first entry: `[[stream, [`, or nothing, or a refusal.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Ended> {
        let mut scan = Scan::new(bytes);
        let odd = |stop| ended(stop, "XREAD");
        if scan.kind().map_err(odd)? == b'-' {
            scan.line().map_err(odd)?;
            return Err(Ended::Failed(refusal(&bytes[..scan.passed()])));
        }
        if bytes.starts_with(b"$") {
            // Nothing, in the other way to say it.
            scan.exactly(b"$-1\r\n").map_err(odd)?;
            self.left = Some(0);
            return Ok(scan.passed());
        }
        let entries = match scan.head(b'*').map_err(odd)? {
            None | Some(0) => 0,
            Some(1) => {
                scan.exactly(b"*2\r\n").map_err(odd)?;
                scan.bulk().map_err(odd)?;
                scan.head(b'*').map_err(odd)?.unwrap_or(0)
            }
            Some(_) => return Err(odd(Stop::Other)),
        };
        self.entries.reserve(entries.min(self.asked));
        self.left = Some(entries);
        Ok(scan.passed())
    }
}

#[derive(Debug)]
enum Ended {
    Short,
    Failed(LogError),
}

fn ended(stop: Stop, what: &str) -> Ended {
    match stop {
        Stop::Short => Ended::Short,
        Stop::Other => Ended::Failed(odd(what)),
    }
}

/// What an error line says.
fn refusal(line: &[u8]) -> LogError {
    match redis::parse_redis_value(line) {
        Ok(Value::ServerError(error)) => unavailable(&RedisError::from(error)),
        _ => odd("XREAD"),
    }
}

/// An entry as this version writes it.
#[inline]
fn quick(bytes: &[u8]) -> Result<(Entry, usize), Stop> {
    let mut scan = Scan::new(bytes);
    scan.exactly(b"*2\r\n")?;
    let id = id_of(scan.bulk()?).ok_or(Stop::Other)?;
    scan.exactly(OUR_FIELD)?;
    let message = unpack(id, scan.bulk()?).map_err(|_| Stop::Other)?;
    Ok((Entry::Message(Arc::new(message)), scan.passed()))
}

fn id_of(bytes: &[u8]) -> Option<StreamId> {
    let dash = bytes.iter().position(|byte| *byte == b'-')?;
    let number = |digits: &[u8]| {
        // Nineteen digits can't overflow; ids with more go the careful way.
        let plain = (1..20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        plain.then(|| digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0')))
    };
    Some(StreamId::new(number(&bytes[..dash])?, number(&bytes[dash + 1..])?))
}

/// Any other.
#[cold]
fn careful(bytes: &[u8]) -> Result<(Entry, usize), Ended> {
    let passed = length(bytes).map_err(|stop| ended(stop, "an entry"))?;
    let value = redis::parse_redis_value(&bytes[..passed]).ok();
    let entry = value.and_then(parse).ok_or_else(|| ended(Stop::Other, "an entry"))?;
    Ok((entry, passed))
}

#[cfg(test)]
mod tests;
