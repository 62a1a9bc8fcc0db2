//! What is signed: digests and descriptors (OCI image specification, "Content Descriptors"), and
//! the text a user names an artifact by.

mod kind;
mod quote;
pub mod reference;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::algorithm::HashAlgorithm;

pub use kind::Kind;
pub use quote::Quoted;

/// An OCI digest, `<algorithm>:<lower-case hex>`, of SHA-256, SHA-384 or SHA-512.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest {
    algorithm: HashAlgorithm,
    bytes: Vec<u8>,
}

/// A text that is not a digest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// No `<algorithm>:<hex>`, or hex that is not lower-case.
    #[error("invalid checksum digest format")]
    Format,
    /// An algorithm other than sha256, sha384 and sha512.
    #[error("unsupported digest algorithm")]
    UnsupportedAlgorithm,
    /// The hex does not have the length of the algorithm.
    #[error("invalid checksum digest length")]
    Length,
}

/// The descriptor of a piece of content: what the payload of a signature binds.
// ENV-04
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Descriptor {
    /// Media type of the content.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Annotations; in a signature's payload these are the user metadata.
    // ENV-13
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

impl Digest {
    /// Wraps a hash already computed.
    ///
    /// # Errors
    /// [`DigestError::Length`] where `bytes` is not as long as the algorithm's output.
    pub fn from_bytes(algorithm: HashAlgorithm, bytes: Vec<u8>) -> Result<Self, DigestError> {
        if bytes.len() == algorithm.output_len() {
            Ok(Self { algorithm, bytes })
        } else {
            Err(DigestError::Length)
        }
    }

    /// Wraps what the hash function itself returned, which always has the right length.
    pub(crate) fn new(algorithm: HashAlgorithm, bytes: Vec<u8>) -> Self {
        debug_assert_eq!(bytes.len(), algorithm.output_len());
        Self { algorithm, bytes }
    }

    /// The hash algorithm.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The raw hash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash in lower-case hex, without the algorithm.
    pub fn hex(&self) -> String {
        let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
        let mut text = String::with_capacity(self.bytes.len() * 2);
        for byte in &self.bytes {
            text.push(digit(byte >> 4));
            text.push(digit(*byte));
        }
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.oci_name(), self.hex())
    }
}

/// As it is written everywhere else.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Format)?;
        let algorithm = HashAlgorithm::ALL
            .into_iter()
            .find(|a| a.oci_name() == name)
            .ok_or(DigestError::UnsupportedAlgorithm)?;
        if hex.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Format);
        }
        if hex.len() != algorithm.output_len() * 2 {
            return Err(DigestError::Length);
        }
        // Digests are read more than anything else: a table of errors for each digit takes ten times as long.
        let value = |digit: u8| match digit {
            b'0'..=b'9' => digit - b'0',
            _ => digit - b'a' + 10,
        };
        let (pairs, _) = hex.as_bytes().as_chunks();
        let bytes = pairs
            .iter()
            .map(|&[high, low]| value(high) << 4 | value(low));
        Self::from_bytes(algorithm, bytes.collect())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Descriptor {
    /// Whether both describe the same content: media type, digest and size; annotations
    /// play no part.
    // VER-19
    pub fn same_content(&self, other: &Self) -> bool {
        self.media_type == other.media_type
            && self.digest == other.digest
            && self.size == other.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_prints_as_one() {
        let text = format!("sha256:{}", "0a".repeat(32));
        let digest: Digest = text.parse().unwrap();
        assert_eq!(format!("{digest:?}"), text);
        let descriptor = Descriptor {
            media_type: "text/plain".to_owned(),
            digest,
            size: 3,
            annotations: BTreeMap::new(),
        };
        assert!(format!("{descriptor:?}").contains(&format!("digest: {text}, size: 3")));
    }

    #[test]
    fn digest_text_is_strict() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        for (bad, why) in [
            ("sha256".to_owned(), DigestError::Format),
            (format!("sha256:{}", "0A".repeat(32)), DigestError::Format),
            (format!("sha256:{}", "0a".repeat(31)), DigestError::Length),
            (format!("sha256:{}0", "0a".repeat(31)), DigestError::Length),
            (
                format!("md5:{}", "0a".repeat(16)),
                DigestError::UnsupportedAlgorithm,
            ),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(why), "{bad}");
        }
    }
}
