//! Signature envelopes: what is signed, the two forms it is written in, and the only road from
//! received bytes to content that may be believed.
//!
//! Implements the Notary Project signature specification with its JWS and COSE envelopes.
//! Writing is prepare, sign elsewhere, assemble: [`Draft`] fixes the bytes to be signed, somebody
//! else signs them, [`Draft::assemble`] checks the answer and the whole envelope and returns a
//! [`Signature`], or nothing. Reading is [`Envelope::parse`], then [`Envelope::verify_integrity`],
//! which also makes a [`Signature`]. Nothing else makes one.
//!
//! A [`Signature`] is intact: the leaf's key made it over these bytes and the chain meets the
//! certificate rules. Whether the chain is trusted, was valid at the time or is revoked, and
//! whether the attributes ask for more, are `verify`'s questions.

mod attributes;
mod carried;
mod cbor;
mod cose;
mod draft;
mod error;
mod jws;
mod payload;
mod proven;
mod signature;

use std::str::FromStr;

pub use crate::json::{JsonError, Value as JsonValue};
pub use attributes::{
    AttributeError, AttributeKey, AttributeValue, ExtendedAttribute, SignedAttributes,
    SigningScheme, UnsignedAttributes, VERIFICATION_PLUGIN, VERIFICATION_PLUGIN_MIN_VERSION,
    VerificationPlugin,
};
pub use carried::{ATTESTATION, CarriedEvidence, CarriedFault, MAX_ATTESTATION_LEN, YUBICO_PIV};
pub use draft::{Draft, DraftAttributes, Signed, ToBeSigned};
pub use error::{CborError, EnvelopeError};
pub use payload::{PAYLOAD_CONTENT_TYPE, Payload, PayloadError};
pub use proven::ProvenChains;
pub use semver::Version;
pub use signature::{
    Content, Envelope, MAX_ENVELOPE_LEN, MAX_HEADERS, Signature, SignerChain, Unverified,
};

/// The form of an envelope.
// JWS-01, COSE-01
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
