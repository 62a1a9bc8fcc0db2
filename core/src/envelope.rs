//! Signature envelopes.

use std::str::FromStr;

/// The form of an envelope (JWS-01, COSE-01).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// JWS in the JSON serialization (RFC 7515).
    Jws,
    /// COSE_Sign1 (RFC 9052).
    Cose,
}

/// A text that names no envelope format.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("signature format {0:?} not supported")]
pub struct UnknownFormat(pub String);

impl Format {
    /// Both formats, the default first.
    pub const ALL: [Self; 2] = [Self::Jws, Self::Cose];

    /// Media type of an envelope.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jws => "application/jose+json",
            Self::Cose => "application/cose",
        }
    }

    /// The name on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jws => "jws",
            Self::Cose => "cose",
        }
    }

    /// The format with that media type.
    pub fn from_media_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.media_type() == text)
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|f| f.name() == text)
            .ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}
