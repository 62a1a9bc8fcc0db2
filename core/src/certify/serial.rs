//! Serial numbers: made unpredictable, read as people write them.

use std::fmt;

use x509_cert::serial_number::SerialNumber;

use super::CertifyError;
use crate::crypto;

/// The longest serial number (RFC 5280 §4.1.2.2).
const MAX_LEN: usize = 20;

/// A certificate's serial number: a positive number, shown in hexadecimal.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// A new one: 127 random bits.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn random() -> Result<Self, CertifyError> {
        let mut bytes: [u8; 16] = crypto::random()?;
        if let Some(first) = bytes.first_mut() {
            // Positive, and as long as all others.
            *first = (*first & 0x7f) | 0x40;
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Reads hexadecimal digits, with or without colons, blanks or `0x`.
    ///
    /// # Errors
    /// [`CertifyError::Serial`].
    pub fn parse(text: &str) -> Result<Self, CertifyError> {
        let wrong = || CertifyError::Serial {
            text: text.chars().take(80).collect(),
        };
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let digits: String = digits.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
        let digits = digits.trim_start_matches('0');
        let even = match digits.len() % 2 {
            0 => digits.to_owned(),
            _ => format!("0{digits}"),
        };
        let bytes = hex::decode(even).map_err(|_| wrong())?;
        if bytes.is_empty() || bytes.len() > MAX_LEN {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }

    /// That of a certificate.
    #[cfg(test)]
    pub(super) fn of(number: &SerialNumber) -> Self {
        let bytes = number.as_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes.get(zeros..).unwrap_or_default().to_vec())
    }

    pub(super) fn to_number(&self) -> der::Result<SerialNumber> {
        SerialNumber::new(&self.0)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    #[test]
    fn as_people_write_them() {
        for text in ["1a2b", "1A:2B", "0x1a2b", "001a2b", "1a 2b"] {
            assert_eq!(Serial::parse(text).unwrap().to_string(), "1a2b", "{text}");
        }
        assert_eq!(Serial::parse("a").unwrap().to_string(), "0a");
        for text in ["", "0", "xyz", "1.5", "-1", &"1a".repeat(21)] {
            let error = Serial::parse(text).unwrap_err().told();
            assert!(error.contains("is not a serial number"), "{error}");
        }
    }

    #[test]
    fn unpredictable_and_positive() {
        let made: Vec<_> = (0..100).map(|_| Serial::random().unwrap()).collect();
        let mut different = made.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), made.len());
        for serial in made {
            assert_eq!(serial.0.len(), 16);
            assert!(serial.0[0] < 0x80 && serial.0[0] >= 0x40);
            assert_eq!(Serial::of(&serial.to_number().unwrap()), serial);
        }
    }
}
