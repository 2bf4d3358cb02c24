//! Redis's protocol, as far as answers come in it (Redis, *RESP protocol spec*, version 2): where a value ends, and what a bulk
//! string holds, without taking anything out of the bytes that came in. Nothing is allocated by an announced length.

/// Longest line of text or of an error, and of a number.
const LONGEST_LINE: usize = 64 << 10;
const LONGEST_NUMBER: usize = 24;
/// No value is larger: Redis's own limit is 512 MB (`proto-max-bulk-len`).
const LARGEST: usize = 512 << 20;

/// Why there is nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// What is here is right so far, and not all of it.
    Short,
    /// Something else than was asked for.
    Other,
}

/// A place in bytes that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were passed.
    pub(crate) fn passed(&self) -> usize {
        self.at
    }

    /// The kind of the next value.
    pub(crate) fn kind(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::Short)
    }

    /// Passes exactly these bytes.
    #[inline]
    pub(crate) fn exactly(&mut self, expected: &[u8]) -> Result<(), Stop> {
        let rest = &self.bytes[self.at..];
        match rest.get(..expected.len()) {
            Some(found) if found == expected => {
                self.at += expected.len();
                Ok(())
            }
            None if expected.starts_with(rest) => Err(Stop::Short),
            _ => Err(Stop::Other),
        }
    }

    /// The next bytes, this many.
    #[inline]
    pub(crate) fn some(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        if count > LARGEST {
            return Err(Stop::Other);
        }
        let found = self.bytes.get(self.at..self.at + count).ok_or(Stop::Short)?;
        self.at += count;
        Ok(found)
    }

    /// A line without its end.
    pub(crate) fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().take(LONGEST_LINE).position(|byte| *byte == b'\r') else {
            return Err(if rest.len() < LONGEST_LINE { Stop::Short } else { Stop::Other });
        };
        match rest.get(end + 1) {
            None => Err(Stop::Short),
            Some(b'\n') => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            Some(_) => Err(Stop::Other),
        }
    }

    /// The number in the head of a value of this kind, such as `$12`; `None` for -1, which stands for nothing.
    #[inline]
    pub(crate) fn head(&mut self, kind: u8) -> Result<Option<usize>, Stop> {
        if self.kind()? != kind {
            return Err(Stop::Other);
        }
        let (mut number, mut digits) = (0_usize, 0);
        for (place, byte) in self.bytes[self.at + 1..].iter().enumerate() {
            match byte {
                b'0'..=b'9' if digits < 12 => {
                    number = number * 10 + usize::from(byte - b'0');
                    digits += 1;
                }
                b'\r' if digits > 0 => {
                    let end = self.at + 1 + place;
                    return match self.bytes.get(end + 1) {
                        None => Err(Stop::Short),
                        Some(b'\n') => {
                            self.at = end + 2;
                            Ok(Some(number))
                        }
                        Some(_) => Err(Stop::Other),
                    };
                }
                b'-' if place == 0 => {
                    let mut nothing = *self;
                    nothing.at += 1;
                    nothing.exactly(b"-1\r\n")?;
                    *self = nothing;
                    return Ok(None);
                }
                _ => return Err(Stop::Other),
            }
        }
        Err(Stop::Short)
    }

    /// A bulk string that is there.
    #[inline]
    pub(crate) fn bulk(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.head(b'$')?.ok_or(Stop::Other)?;
        let found = self.some(length)?;
        self.exactly(b"\r\n")?;
        Ok(found)
    }

    /// Passes one value, whatever it is.
    pub(crate) fn value(&mut self) -> Result<(), Stop> {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            match self.kind()? {
                b'+' | b'-' => {
                    self.line()?;
                }
                b':' => {
                    if self.line()?.len() > LONGEST_NUMBER {
                        return Err(Stop::Other);
                    }
                }
                b'$' => {
                    if let Some(length) = self.head(b'$')? {
                        self.some(length)?;
                        self.exactly(b"\r\n")?;
                    }
                }
                b'*' => {
                    let count = self.head(b'*')?.unwrap_or(0);
                    if count > LARGEST {
                        return Err(Stop::Other);
                    }
                    left = left.checked_add(count).ok_or(Stop::Other)?;
                }
                _ => return Err(Stop::Other),
            }
            if self.at > LARGEST {
                return Err(Stop::Other);
            }
        }
        Ok(())
    }
}

/// How long the first value is. Its parts need not be of any use; they only end where they say.
pub(crate) fn length(bytes: &[u8]) -> Result<usize, Stop> {
    let mut scan = Scan::new(bytes);
    scan.value()?;
    Ok(scan.passed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_it_says() {
        for whole in [
            "+OK\r\n",
            "-ERR it is so\r\n",
            ":-12\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "$0\r\n\r\n",
            "$4\r\n\r\n\r\n\r\n",
            "*0\r\n",
            "*3\r\n$1\r\na\r\n*1\r\n:1\r\n$-1\r\n",
        ] {
            assert_eq!(length(whole.as_bytes()), Ok(whole.len()), "{whole:?}");
            let more = format!("{whole}+OK\r\n");
            assert_eq!(length(more.as_bytes()), Ok(whole.len()), "{whole:?}");
            for end in 0..whole.len() {
                assert_eq!(length(&whole.as_bytes()[..end]), Err(Stop::Short), "{:?}", &whole[..end]);
            }
        }
    }

    #[test]
    fn what_lies_or_is_another_protocol_is_told_at_once() {
        for odd in [
            "hello",
            "$x\r\n",
            "$-2\r\n",
            "$\r\n",
            "$1\n",
            "$1\rx",
            "$3\r\nabcd\r\n",
            "$9999999999999999\r\n",
            "$999999999\r\n",
            "*9999999999\r\n",
            "%1\r\n",
            "*1\r\n_\r\n",
        ] {
            assert_eq!(length(odd.as_bytes()), Err(Stop::Other), "{odd:?}");
        }
        // Many are announced, none comes: waited for, and nothing is held ready for them.
        assert_eq!(length(b"*400000000\r\n"), Err(Stop::Short));
    }
}
