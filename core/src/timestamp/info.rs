//! What a token says (RFC 3161 §2.4.2), and the range of time that follows from it.
//!
//! ```text
//! TSTInfo ::= SEQUENCE {
//!     version        INTEGER { v1(1) },
//!     policy         OBJECT IDENTIFIER,
//!     messageImprint SEQUENCE { hashAlgorithm AlgorithmIdentifier, hashedMessage OCTET STRING },
//!     serialNumber   INTEGER,
//!     genTime        GeneralizedTime,
//!     accuracy       SEQUENCE { seconds INTEGER OPTIONAL, millis [0] INTEGER OPTIONAL,
//!                               micros [1] INTEGER OPTIONAL } OPTIONAL,
//!     ordering       BOOLEAN DEFAULT FALSE,
//!     nonce          INTEGER OPTIONAL,
//!     tsa            [0] GeneralName OPTIONAL,
//!     extensions     [1] IMPLICIT Extensions OPTIONAL }
//! ```

use std::fmt;
use std::ops::Range as Bounds;

use der::asn1::ObjectIdentifier;
use der::{Decode, Reader, SliceReader, Tag};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::cms::{of_tag, optional};
use super::context;
use super::error::InfoError;
use crate::algorithm::HashAlgorithm;
use crate::crypto;

/// The content of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Info {
    /// Content bytes of the nonce, if there is one.
    pub(super) nonce: Option<Vec<u8>>,
    pub(super) hash_algorithm: Option<HashAlgorithm>,
    pub(super) hashed_message: Vec<u8>,
    pub(super) gen_time: Timestamp,
    /// Half the length of the range.
    pub(super) accuracy: SignedDuration,
}

/// The range of time in which a token was made, both bounds included.
// TSA-23
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Range {
    /// Lower bound.
    pub earliest: Timestamp,
    /// Upper bound.
    pub latest: Timestamp,
}

impl Info {
    pub(super) fn from_der(der: &[u8]) -> Result<Self, InfoError> {
        let raw = raw(der).map_err(|source| InfoError::Malformed { source })?;
        if raw.version != [1] {
            return Err(InfoError::Version);
        }
        Ok(Self {
            nonce: raw.nonce.map(<[u8]>::to_vec),
            hash_algorithm: crypto::hash_algorithm(raw.hash_algorithm),
            hashed_message: raw.hashed_message.to_vec(),
            gen_time: gen_time(raw.gen_time).ok_or(InfoError::GenTime)?,
            accuracy: accuracy(raw.accuracy, raw.policy)?,
        })
    }

    /// The time at which the TSA's chain is judged.
    pub fn gen_time(&self) -> Timestamp {
        self.gen_time
    }

    /// genTime minus and plus the accuracy.
    ///
    /// # Errors
    /// [`InfoError::Range`] where that is no time.
    // TSA-23
    pub fn range(&self) -> Result<Range, InfoError> {
        let moved = |by| self.gen_time.checked_add(by).map_err(|_| InfoError::Range);
        Ok(Range {
            earliest: moved(-self.accuracy)?,
            latest: moved(self.accuracy)?,
        })
    }

    /// Whether the token is over `message`: the imprint is its hash, under the hash that the token
    /// names.
    ///
    /// # Errors
    /// [`InfoError::HashAlgorithm`], [`InfoError::Mismatch`].
    // TSA-30, TSA-35
    pub fn check_imprint(&self, message: &[u8]) -> Result<(), InfoError> {
        let algorithm = self.hash_algorithm.ok_or(InfoError::HashAlgorithm)?;
        if crypto::hash(algorithm, message) == self.hashed_message {
            Ok(())
        } else {
            Err(InfoError::Mismatch)
        }
    }
}

impl Range {
    /// Both bounds as `write` writes them: `[<lo>, <hi>]`.
    // CLI-49, CLI-55
    pub fn written<D: fmt::Display>(self, write: impl Fn(Timestamp) -> D) -> String {
        format!("[{}, {}]", write(self.earliest), write(self.latest))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.earliest, self.latest)
    }
}

struct Raw<'a> {
    version: &'a [u8],
    policy: ObjectIdentifier,
    hash_algorithm: &'a [u8],
    hashed_message: &'a [u8],
    gen_time: &'a [u8],
    accuracy: Option<&'a [u8]>,
    nonce: Option<&'a [u8]>,
}

fn raw(der: &[u8]) -> der::Result<Raw<'_>> {
    let mut reader = SliceReader::new(der)?;
    let raw = reader.sequence(|reader| {
        let version = of_tag(reader, Tag::Integer)?;
        let policy = ObjectIdentifier::decode(reader)?;
        let (hash_algorithm, hashed_message) = reader.sequence(|imprint| {
            let algorithm = imprint.tlv_bytes()?;
            Ok((algorithm, of_tag(imprint, Tag::OctetString)?))
        })?;
        of_tag(reader, Tag::Integer)?;
        let gen_time = of_tag(reader, Tag::GeneralizedTime)?;
        let accuracy = optional(reader, Tag::Sequence)?;
        Option::<bool>::decode(reader)?;
        let nonce = optional(reader, Tag::Integer)?;
        optional(reader, context(0, true))?;
        optional(reader, context(1, true))?;
        Ok(Raw {
            version,
            policy,
            hash_algorithm,
            hashed_message,
            gen_time,
            accuracy,
            nonce,
        })
    })?;
    reader.finish(raw)
}

/// `YYYYMMDDhhmmss[.f…]Z`: UTC, seconds always there, no zero at the end of the fraction (TSA-07;
/// RFC 3161 §2.4.2).
pub(super) fn gen_time(value: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (seconds, fraction) = match text.split_once('.') {
        None => (text, ""),
        Some((_, "")) => return None,
        Some((seconds, fraction)) => (seconds, fraction),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let form = seconds.len() == 14 && fraction.len() <= 9 && !fraction.ends_with('0');
    if !form || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let number = |range: Bounds<usize>| -> Option<i8> { seconds.get(range)?.parse().ok() };
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    let civil = DateTime::new(
        seconds.get(..4)?.parse().ok()?,
        number(4..6)?,
        number(6..8)?,
        number(8..10)?,
        number(10..12)?,
        number(12..14)?,
        nanoseconds,
    );
    TimeZone::UTC.to_timestamp(civil.ok()?).ok()
}

/// TSA-23 to TSA-25. An accuracy of nothing but zeros is none.
fn accuracy(value: Option<&[u8]>, policy: ObjectIdentifier) -> Result<SignedDuration, InfoError> {
    let parts = value.map(accuracy_parts).transpose();
    let parts = parts.map_err(|source| InfoError::Malformed { source })?;
    let [seconds, millis, micros] = parts.unwrap_or_default();
    let number = |part: Option<&[u8]>| match part {
        None => Some(0),
        Some([first, ..]) if first & 0x80 != 0 => None,
        Some(octets) if octets.len() <= 4 => {
            Some(octets.iter().fold(0_i64, |n, b| n << 8 | i64::from(*b)))
        }
        Some(_) => None,
    };
    let numbers = (number(seconds), number(millis), number(micros));
    let (Some(s), Some(ms), Some(us)) = numbers else {
        return Err(InfoError::Accuracy);
    };
    if (s, ms, us) == (0, 0, 0) {
        let baseline = policy == BASELINE_POLICY;
        return Ok(SignedDuration::from_secs(i64::from(baseline)));
    }
    let fits = |part: Option<&[u8]>, n| part.is_none() || (1..=999).contains(&n);
    if s > DAY || !fits(millis, ms) || !fits(micros, us) {
        return Err(InfoError::Accuracy);
    }
    Ok(SignedDuration::from_secs(s)
        + SignedDuration::from_millis(ms)
        + SignedDuration::from_micros(us))
}

fn accuracy_parts(value: &[u8]) -> der::Result<[Option<&[u8]>; 3]> {
    let mut reader = SliceReader::new(value)?;
    let parts = [
        optional(&mut reader, Tag::Integer)?,
        optional(&mut reader, context(0, false))?,
        optional(&mut reader, context(1, false))?,
    ];
    reader.finish(parts)
}

/// Seconds in a day: the most that an accuracy may be (TSA-25).
const DAY: i64 = 24 * 60 * 60;

/// The baseline policy of ETSI EN 319 421, which demands an accuracy of a second (TSA-23).
const BASELINE_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.2023.1.1");

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(accuracy_der: &str, policy: ObjectIdentifier) -> Option<SignedDuration> {
        let der = hex::decode(accuracy_der).unwrap();
        accuracy(der.get(2..), policy).ok()
    }

    /// TSA-23, TSA-24, TSA-25.
    #[test]
    fn accuracies() {
        let other = ObjectIdentifier::new_unwrap("1.2.3");
        let micros = SignedDuration::from_micros;
        for (der, normal, under_baseline) in [
            ("", Some(0), Some(1_000_000)),
            // All zeros are as good as nothing.
            ("3000", Some(0), Some(1_000_000)),
            ("3003020100", Some(0), Some(1_000_000)),
            ("3009020100800100810100", Some(0), Some(1_000_000)),
            ("3003020101", Some(1_000_000), Some(1_000_000)),
            ("3003800101", Some(1_000), Some(1_000)),
            ("3004800203e7", Some(999_000), Some(999_000)),
            ("3003810101", Some(1), Some(1)),
            ("300a020102800203e7810101", Some(2_999_001), Some(2_999_001)),
            // A day, and a second more.
            ("30050203015180", Some(86_400_000_000), Some(86_400_000_000)),
            ("30050203015181", None, None),
            // Negative, absurd, and parts that are no parts of a second.
            ("30030201ff", None, None),
            ("30038001ff", None, None),
            ("300702057fffffffff", None, None),
            ("3004800203e8", None, None),
            ("3004810203e8", None, None),
            ("3006020101800100", None, None),
            ("3006800101020101", None, None),
        ] {
            assert_eq!(baseline(der, other), normal.map(micros), "{der}");
            let got = baseline(der, BASELINE_POLICY);
            assert_eq!(got, under_baseline.map(micros), "{der}");
        }
    }

    /// TSA-07: UTC, whole.
    #[test]
    fn times() {
        for (text, time) in [
            ("20260102030405Z", "2026-01-02T03:04:05Z"),
            ("20260102030405.5Z", "2026-01-02T03:04:05.5Z"),
            (
                "20260102030405.123456789Z",
                "2026-01-02T03:04:05.123456789Z",
            ),
            ("20241231080529.009Z", "2024-12-31T08:05:29.009Z"),
        ] {
            assert_eq!(gen_time(text.as_bytes()), time.parse().ok(), "{text}");
        }
        for text in [
            "20260102030405",
            "20260102030405+0100",
            "202601020304Z",
            "260102030405Z",
            "20260102030405.Z",
            "20260102030405.50Z",
            "20260102030405.0Z",
            "20260102030405,5Z",
            "20260102030405.1234567891Z",
            "20261302030405Z",
            "20260102030460Z",
            "2026010203040 Z",
            "2026-102030405Z",
            "",
        ] {
            assert_eq!(gen_time(text.as_bytes()), None, "{text}");
        }
    }
}
