//! Times of certificates, with the year 9999 whole, and without a clock.

use std::fmt;
use std::time::SystemTime;

use der::asn1::AnyRef;
use der::{Reader, Tag, Tagged};

use super::certificate::Flaw;

/// A second in UTC, of the years 0000 to 9999. The order is that of time.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time {
    /// Year of the common era.
    pub year: u16,
    /// Month, from 1.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
}

impl Time {
    /// The second of a system time; what lies outside 1970 to 9999 is cut to it.
    pub fn from_system(time: SystemTime) -> Self {
        let last = der::DateTime::INFINITY;
        let time = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => der::DateTime::from_unix_duration(since).unwrap_or(last),
            Err(_) => return Self::EPOCH,
        };
        Self {
            year: time.year(),
            month: time.month(),
            day: time.day(),
            hour: time.hour(),
            minute: time.minutes(),
            second: time.seconds(),
        }
    }

    const EPOCH: Self = Self {
        year: 1970,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
    };

    /// Reads `UTCTime` as `YYMMDDHHMMSSZ` or `GeneralizedTime` as `YYYYMMDDHHMMSSZ` (RFC 5280
    /// §4.1.2.5), and nothing else that ASN.1 allows.
    ///
    /// # Errors
    /// The element is malformed, or is none of these two.
    pub fn decode<'a, R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        let value: AnyRef<'a> = reader.decode()?;
        Self::from_any(value).map_err(|_| der::ErrorKind::DateTime.into())
    }

    pub(super) fn from_any(value: AnyRef<'_>) -> Result<Self, Flaw> {
        let text = String::from_utf8_lossy(value.value());
        let flaw = || Flaw::Time {
            text: crate::text::escaped(&text),
        };
        let digits = text.strip_suffix('Z').ok_or_else(flaw)?;
        let digits = match (value.tag(), digits.len()) {
            (Tag::UtcTime, 12) => {
                // RFC 5280 §4.1.2.5.1: 50 to 99 are of the twentieth century.
                let century = if digits < "50" { "20" } else { "19" };
                format!("{century}{digits}")
            }
            (Tag::GeneralizedTime, 14) => digits.to_owned(),
            _ => return Err(flaw()),
        };
        Self::from_digits(&digits).ok_or_else(flaw)
    }

    fn from_digits(digits: &str) -> Option<Self> {
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let two = |at: usize| digits.get(at..at.checked_add(2)?)?.parse::<u8>().ok();
        let time = Self {
            year: digits.get(..4)?.parse().ok()?,
            month: two(4)?,
            day: two(6)?,
            hour: two(8)?,
            minute: two(10)?,
            second: two(12)?,
        };
        let leap = time.year % 4 == 0 && (time.year % 100 != 0 || time.year % 400 == 0);
        let days = match time.month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            1..=12 => 31,
            _ => return None,
        };
        let exists = (1..=days).contains(&time.day)
            && time.hour < 24
            && time.minute < 60
            && time.second < 60;
        exists.then_some(time)
    }
}

impl fmt::Display for Time {
    /// RFC 3339: `2026-01-31T12:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}
