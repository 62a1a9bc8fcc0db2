//! What OCSP answers and CRLs have in common: signed structures, times, and elements read in place.

use std::ops::Range;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use jiff::Timestamp;

use crate::crypto::{KeyError, SignedDataError};
use crate::x509::{Certificate, malformed, time};

/// The parts of `SEQUENCE { toBeSigned, AlgorithmIdentifier, BIT STRING, … }` as positions in it.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    /// The signed element, as it was received.
    pub(super) tbs: Range<usize>,
    /// The signature's DER AlgorithmIdentifier.
    pub(super) algorithm: Range<usize>,
    /// The bytes of the signature.
    pub(super) signature: Range<usize>,
    /// What follows.
    pub(super) rest: Range<usize>,
}

/// Why a signed structure is not by a certificate's key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSigned {
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature does not verify, or its algorithm is refused.
    // REV-34
    #[error(transparent)]
    Signature(#[from] SignedDataError),
}

impl Signed {
    /// Finds the parts; nothing stands behind the structure.
    pub(super) fn find(bytes: &[u8]) -> der::Result<Self> {
        let outer = AnyRef::try_from(bytes)?;
        outer.tag().assert_eq(Tag::Sequence)?;
        let content = outer.value();
        let mut reader = SliceReader::new(content)?;
        // The whole is one element, so its content ends where the whole does; each part begins
        // where the one before it ends.
        let mut at = bytes.len().saturating_sub(content.len());
        let mut next = |length: usize| {
            let start = at;
            at = at.saturating_add(length);
            start..at
        };
        let tbs = next(reader.tlv_bytes()?.len());
        let algorithm = next(reader.tlv_bytes()?.len());
        let element = reader.tlv_bytes()?;
        let whole = next(element.len());
        let signature = BitStringRef::from_der(element)?
            .as_bytes()
            .ok_or_else(|| malformed(Tag::BitString))?
            .len();
        Ok(Self {
            tbs,
            algorithm,
            signature: whole.end.saturating_sub(signature)..whole.end,
            rest: whole.end..bytes.len(),
        })
    }

    /// Checks the signature with a certificate's key. SHA-1 and MD5 are refused (REV-34).
    pub(super) fn verify(&self, bytes: &[u8], signer: &Certificate) -> Result<(), NotSigned> {
        let part = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
        let key = signer.public_key()?;
        Ok(key.verify_signed_data(
            part(&self.algorithm),
            part(&self.tbs),
            part(&self.signature),
        )?)
    }
}

/// One element of a list that is read in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) value: &'a [u8],
}

/// Takes the next element off `input`: a single-byte tag, a length in its shortest form, the value.
///
/// For lists of a million entries; everything else is read with `der`.
pub(super) fn element<'a>(input: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&[tag, first], rest) = input.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().try_fold(0_usize, |length, byte| {
                length.checked_mul(256)?.checked_add(usize::from(*byte))
            })?;
            let shortest = bytes.first() != Some(&0) && length >= 0x80;
            (shortest.then_some(length)?, rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(Element { tag, value })
}

/// The content of an INTEGER without bytes that say nothing.
pub(super) fn shortest(mut integer: &[u8]) -> &[u8] {
    while let [0, next, ..] | [0xff, next, ..] = integer
        && (integer.first() == Some(&0)) == (*next < 0x80)
    {
        integer = integer.get(1..).unwrap_or_default();
    }
    integer
}

/// A `GeneralizedTime` and nothing after it.
pub(super) fn generalized_time(der: &[u8]) -> der::Result<Timestamp> {
    let mut reader = SliceReader::new(der)?;
    if reader.peek_byte() != Some(GENERALIZED_TIME) {
        return Err(malformed(Tag::GeneralizedTime));
    }
    let value = time(&mut reader)?;
    reader.finish(value)
}

/// `UTCTime` or `GeneralizedTime`, where one stands.
pub(super) fn optional_time<'a, R: Reader<'a>>(reader: &mut R) -> der::Result<Option<Timestamp>> {
    match reader.peek_byte() {
        Some(UTC_TIME | GENERALIZED_TIME) => time(reader).map(Some),
        _ => Ok(None),
    }
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// invalidityDate (RFC 5280 §5.3.2).
pub(super) const INVALIDITY_DATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_in_their_one_form() {
        for (bytes, good) in [
            (&[0x30, 0][..], true),
            (&[0x30, 1, 7], true),
            (&[0x30, 2, 7], false),
            (&[0x30, 0x80], false),
            (&[0x30, 0x81, 1, 7], false),
            (&[0x30, 0x82, 0, 0x80], false),
            (&[0x30, 0x85, 1, 1, 1, 1, 1], false),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], false),
            (&[0x30], false),
            (&[], false),
        ] {
            let mut rest = bytes;
            assert_eq!(element(&mut rest).is_some(), good, "{bytes:?}");
        }
        let long = [&[0x04, 0x81, 0x80][..], &[1; 0x81]].concat();
        let mut rest = &long[..];
        assert_eq!(element(&mut rest).unwrap().value, [1; 0x80]);
        assert_eq!(rest, [1]);
    }

    #[test]
    fn integers_have_one_shortest_form() {
        for (bytes, expected) in [
            (&[0][..], &[0][..]),
            (&[0, 0, 5], &[5]),
            (&[0, 0x80], &[0, 0x80]),
            (&[0xff, 0xff, 0x80], &[0x80]),
            (&[0xff, 0x7f], &[0xff, 0x7f]),
            (&[], &[]),
        ] {
            assert_eq!(shortest(bytes), expected, "{bytes:?}");
        }
    }
}
