//! Bytes from base64, and UUIDs in any of their usual spellings.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};

use super::{CastError, Value};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Bytes as JSON shows them: standard base64 with padding.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Standard or URL-safe base64, with or without padding.
pub(super) fn bytes(value: &Value<'_>, max_bytes: Option<u64>) -> Result<Box<[u8]>, CastError> {
    let bad = || CastError::not(value, "base64");
    let Value::Text(text) = value else { return Err(bad()) };
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let bytes = engine.decode(&**text).map_err(|_| bad())?;
    let length = bytes.len() as u64;
    match max_bytes {
        Some(max) if length > max => Err(CastError::too_long(format!("is too long: {length} bytes, at most {max}"))),
        _ => Ok(bytes.into()),
    }
}

/// Hyphenated, simple, in braces or as a URN, in any case; lower case with hyphens comes out.
pub(super) fn uuid(value: &Value<'_>) -> Result<String, CastError> {
    let bad = || CastError::not(value, "a UUID");
    let Value::Text(text) = value else { return Err(bad()) };
    let text = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(bad)?,
        None => match text.get(..9) {
            Some(prefix) if prefix.eq_ignore_ascii_case("urn:uuid:") => &text[9..],
            _ => text,
        },
    };
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let hyphenated = text.len() == 36;
    if !hyphenated && text.len() != 32 {
        return Err(bad());
    }
    let mut out = String::with_capacity(36);
    for (place, byte) in text.bytes().enumerate() {
        if hyphenated && HYPHENS.contains(&place) {
            if byte != b'-' {
                return Err(bad());
            }
            continue;
        }
        if !byte.is_ascii_hexdigit() {
            return Err(bad());
        }
        if HYPHENS.contains(&out.len()) {
            out.push('-');
        }
        out.push(char::from(byte.to_ascii_lowercase()));
    }
    Ok(out)
}
