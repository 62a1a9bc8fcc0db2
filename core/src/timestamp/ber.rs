//! BER to DER (X.690), as far as timestamp tokens need it (TSA-17): lengths in their shortest
//! form, lengths that are left open closed, octet strings in pieces put together. Elements keep
//! their order, and what is primitive keeps its content.

use der::{Decode, Tag, Tagged};

/// Longest input accepted, in bytes: the limit of a whole response (TSA-06).
pub(super) const MAX_LEN: usize = 1024 * 1024;

/// Deepest nesting accepted.
const MAX_DEPTH: usize = 32;

/// Input that is no BER. The texts begin as those of Go's `asn1` do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BerError {
    /// Nothing at all.
    #[error("asn1: syntax error: there are no bytes")]
    Empty,
    /// Longer than is read.
    #[error("asn1: structure error: {length} bytes are more than {MAX_LEN}")]
    TooLarge {
        /// Length in bytes.
        length: usize,
    },
    /// Nested deeper than is read.
    #[error("asn1: structure error: nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A length in the short form that runs past the end.
    // TSA-39
    #[error(
        "asn1: syntax error: decoding BER length octets: short form length octets value should be less or equal to the subsequent octets length"
    )]
    ShortLength,
    /// A length in the long form that runs past the end, or is no length.
    #[error("asn1: syntax error: decoding BER length octets: the length runs past the end")]
    LongLength,
    /// The input ends inside an element.
    #[error("asn1: syntax error: the input ends inside an element")]
    Truncated,
    /// A primitive element of open length, or the end of one that was never begun.
    #[error("asn1: syntax error: an open length stands where none may")]
    OpenLength,
    /// A piece of an octet string that is none itself.
    #[error("asn1: syntax error: an octet string has a piece that is none")]
    Piece,
    /// Bytes after the end.
    #[error("asn1: syntax error: bytes follow the end")]
    Trailing,
}

/// Encodes one element anew in DER; DER stays as it is.
pub(super) fn to_der(bytes: &[u8]) -> Result<Vec<u8>, BerError> {
    if bytes.is_empty() {
        return Err(BerError::Empty);
    }
    if bytes.len() > MAX_LEN {
        let length = bytes.len();
        return Err(BerError::TooLarge { length });
    }
    let mut der = Vec::with_capacity(bytes.len());
    match element(bytes, 0, &mut der)? {
        [] => Ok(der),
        _ => Err(BerError::Trailing),
    }
}

/// Reads one element, appends it to `out`, and returns what follows it.
fn element<'a>(input: &'a [u8], depth: usize, out: &mut Vec<u8>) -> Result<&'a [u8], BerError> {
    let (identifier, rest) = identifier(input)?;
    let (length, rest) = length(rest)?;
    let first = identifier.first().copied().unwrap_or_default();
    let constructed = first & CONSTRUCTED != 0;
    let (mut left, after) = match length {
        Some(length) => rest.split_at_checked(length).ok_or(BerError::LongLength)?,
        None if constructed => (rest, rest),
        None => return Err(BerError::OpenLength),
    };
    if !constructed {
        if first == END_OF_CONTENTS {
            return Err(BerError::OpenLength);
        }
        write(identifier, left, out);
        return Ok(after);
    }
    if depth >= MAX_DEPTH {
        return Err(BerError::TooDeep);
    }
    let in_pieces = first == OCTET_STRING | CONSTRUCTED;
    let mut content = Vec::new();
    let after = loop {
        match (length, left) {
            (Some(_), []) => break after,
            (None, [END_OF_CONTENTS, 0, after @ ..]) => break after,
            _ => {}
        }
        left = if in_pieces {
            piece(left, depth + 1, &mut content)?
        } else {
            element(left, depth + 1, &mut content)?
        };
    };
    if in_pieces {
        write(&[OCTET_STRING], &content, out);
    } else {
        write(identifier, &content, out);
    }
    Ok(after)
}

/// Reads one piece of an octet string and appends its content.
fn piece<'a>(input: &'a [u8], depth: usize, out: &mut Vec<u8>) -> Result<&'a [u8], BerError> {
    let mut der = Vec::new();
    let after = element(input, depth, &mut der)?;
    let string = der::AnyRef::from_der(&der).map_err(|_| BerError::Piece)?;
    if string.tag() != Tag::OctetString {
        return Err(BerError::Piece);
    }
    out.extend_from_slice(string.value());
    Ok(after)
}

/// The identifier octets (X.690 §8.1.2), of any tag number.
fn identifier(input: &[u8]) -> Result<(&[u8], &[u8]), BerError> {
    let mut end = 1;
    if input.first().is_some_and(|first| first & 0x1f == 0x1f) {
        while input.get(end).is_some_and(|octet| octet & 0x80 != 0) {
            end += 1;
        }
        end += 1;
    }
    input.split_at_checked(end).ok_or(BerError::Truncated)
}

/// The length octets (X.690 §8.1.3); no number where the length is left open.
fn length(input: &[u8]) -> Result<(Option<usize>, &[u8]), BerError> {
    let (first, rest) = input.split_first().ok_or(BerError::Truncated)?;
    let count = usize::from(first & 0x7f);
    match (first & 0x80 != 0, count) {
        (false, length) if length > rest.len() => Err(BerError::ShortLength),
        (false, length) => Ok((Some(length), rest)),
        (true, 0) => Ok((None, rest)),
        (true, 1..=4) => {
            let (octets, rest) = rest.split_at_checked(count).ok_or(BerError::Truncated)?;
            let length = octets.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b));
            let length = usize::try_from(length).ok().filter(|n| *n <= rest.len());
            Ok((Some(length.ok_or(BerError::LongLength)?), rest))
        }
        (true, _) => Err(BerError::LongLength),
    }
}

pub(super) fn write(identifier: &[u8], content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(identifier);
    match u8::try_from(content.len()) {
        Ok(short @ ..0x80) => out.push(short),
        _ => {
            let octets = content.len().to_be_bytes();
            let octets = octets.iter().skip_while(|b| **b == 0);
            // No length has more octets than a pointer.
            out.push(0x80 | u8::try_from(octets.clone().count()).unwrap_or_default());
            out.extend(octets);
        }
    }
    out.extend_from_slice(content);
}

const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;
const END_OF_CONTENTS: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(hex: &str) -> Result<String, BerError> {
        to_der(&hex::decode(hex).unwrap()).map(hex::encode)
    }

    /// TSA-17: open and long lengths, strings in pieces, and what is DER already.
    #[test]
    fn ber_becomes_der() {
        for (ber, der) in [
            ("3000", "3000"),
            ("3003020105", "3003020105"),
            ("308103020105", "3003020105"),
            ("30840000000402810105", "3003020105"),
            ("30800201050000", "3003020105"),
            ("3080308002010500000000", "30053003020105"),
            ("24080402aabb0402ccdd", "0404aabbccdd"),
            ("24800402aabb24800401cc00000000", "0403aabbcc"),
            ("a0800401aa0000", "a0030401aa"),
            // A high tag number, and a string that is no octet string, stay as they are.
            ("1fa02001aa", "1fa02001aa"),
            ("1fa0208101aa", "1fa02001aa"),
        ] {
            assert_eq!(converted(ber).as_deref(), Ok(der), "{ber}");
        }
        for length in [0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000] {
            let mut element = Vec::new();
            write(&[OCTET_STRING], &vec![7; length], &mut element);
            assert_eq!(to_der(&element).as_ref(), Ok(&element), "{length}");
            let string = der::AnyRef::from_der(&element).unwrap();
            assert_eq!(string.value().len(), length);
        }
    }

    /// TSA-39 for the first; the others end somewhere too.
    #[test]
    fn what_is_no_ber() {
        use BerError::*;
        assert_eq!(to_der(b"invalid"), Err(ShortLength));
        for (ber, error) in [
            ("", Empty),
            ("30", Truncated),
            ("1fa0", Truncated),
            ("3005020105", ShortLength),
            ("3003020205", ShortLength),
            ("308105020105", LongLength),
            ("3082", Truncated),
            ("308500000000030201", LongLength),
            ("3080020105", Truncated),
            ("0480aa0000", OpenLength),
            ("30020000", OpenLength),
            ("2403020105", Piece),
            ("300000", Trailing),
            ("30800000aa", Trailing),
        ] {
            assert_eq!(converted(ber), Err(error), "{ber}");
        }
        assert_eq!(to_der(&[0x30, 0x80].repeat(100)), Err(TooDeep));
        let length = MAX_LEN + 1;
        assert_eq!(to_der(&vec![0; length]), Err(TooLarge { length }));
    }
}
