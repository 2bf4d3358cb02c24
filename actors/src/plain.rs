//! How far a JSON string runs before something in it needs a look: for the strict scanner at the door and for the short way
//! through a record.

/// How many bytes come before a quotation mark, a backslash or a control character. Eight at a time: a word less ones borrows
/// into the high bit of a byte that was zero, and the lowest such bit is never a false one (S. E. Anderson, *Bit Twiddling
/// Hacks*, "Determine if a word has a zero byte").
#[must_use]
pub fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let (quote, slash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5C));
        let found = (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if found & HIGH != 0 {
            return place * 8 + ((found & HIGH).trailing_zeros() / 8) as usize;
        }
    }
    let stop = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).unwrap_or(rest.len());
    words.len() * 8 + stop
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_plain_run_ends_at_every_byte_that_is_not_plain_wherever_it_stands() {
        for length in 0..40 {
            let text = vec![b'x'; length];
            assert_eq!(plain(&text), length);
            for place in 0..length {
                for byte in 0..=255_u8 {
                    let mut text = text.clone();
                    text[place] = byte;
                    // What follows must not be taken for what is looked for.
                    if let Some(next) = text.get_mut(place + 1) {
                        *next = byte.wrapping_add(1);
                    }
                    let wanted = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).unwrap_or(length);
                    assert_eq!(plain(&text), wanted, "{byte} at {place} of {length}");
                }
            }
        }
    }
}
