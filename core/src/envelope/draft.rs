//! Writing an envelope: prepare, sign elsewhere, assemble.
//!
//! The bytes to be signed and their digest are fixed before anybody is asked to sign (ENV-43).
//! Whatever comes back is assembled, parsed again and verified whole; a fault leaves nothing
//! behind (ENV-39).

use jiff::Timestamp;

use super::signature::check_times;
use super::{
    Envelope, EnvelopeError, Format, Payload, Signature, SignedAttributes, SigningScheme, cose, jws,
};
use crate::algorithm::{HashAlgorithm, KeySpec};
use crate::crypto;

/// An envelope that lacks only the signature and the certificates.
pub struct Draft {
    format: Format,
    key_spec: KeySpec,
    signing_time: Timestamp,
    encoded: Encoded,
    to_be_signed: ToBeSigned,
}

/// What the signer decides about a signature. The scheme is always `notary.x509` (ENV-40).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DraftAttributes {
    /// Signing time; fractions of a second are cut off (ENV-23).
    pub signing_time: Timestamp,
    /// When the signature expires; fractions of a second are cut off (ENV-23).
    pub expiry: Option<Timestamp>,
}

/// The bytes to be signed and their digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToBeSigned {
    bytes: Vec<u8>,
    digest: Vec<u8>,
    key_spec: KeySpec,
}

/// A signer's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// The primitive signature: RSASSA-PSS, or r‖s.
    pub signature: Vec<u8>,
    /// DER certificates, leaf first, root last.
    pub certificate_chain: Vec<Vec<u8>>,
    /// The signing agent to write (ENV-31); empty for none.
    pub signing_agent: String,
}

enum Encoded {
    Jws(jws::Encoded),
    Cose(cose::Encoded),
}

impl Draft {
    /// Prepares an envelope for a key of `key_spec`, which decides algorithm and hash (ENV-32).
    ///
    /// # Errors
    /// An expiry that is not later than the signing time (ENV-21), the zero time as signing time
    /// (ENV-22), or a size beyond the payload's int64.
    pub fn new(
        format: Format,
        payload: &Payload,
        attributes: &DraftAttributes,
        key_spec: KeySpec,
    ) -> Result<Self, EnvelopeError> {
        let size = payload.target.size;
        if i64::try_from(size).is_err() {
            return Err(EnvelopeError::SizeOutOfRange { size });
        }
        let attributes = SignedAttributes {
            signing_scheme: SigningScheme::X509,
            signing_time: whole_seconds(attributes.signing_time),
            expiry: attributes.expiry.map(whole_seconds),
            extended: Vec::new(),
        };
        check_times(&attributes)?;
        let algorithm = key_spec.signature_algorithm();
        let payload = payload.to_json(format);
        let (encoded, bytes) = match format {
            Format::Jws => {
                let encoded = jws::Encoded::new(algorithm, &attributes, &payload);
                let bytes = encoded.to_be_signed();
                (Encoded::Jws(encoded), bytes)
            }
            Format::Cose => {
                let encoded = cose::Encoded::new(algorithm, &attributes, &payload);
                let bytes = encoded.to_be_signed();
                (Encoded::Cose(encoded), bytes)
            }
        };
        Ok(Self {
            format,
            key_spec,
            signing_time: attributes.signing_time,
            encoded,
            to_be_signed: ToBeSigned {
                digest: crypto::hash(key_spec.hash(), &bytes),
                bytes,
                key_spec,
            },
        })
    }

    /// What a signer must sign.
    pub fn to_be_signed(&self) -> &ToBeSigned {
        &self.to_be_signed
    }

    /// The format of the envelope.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Puts the envelope together and verifies it whole: signature, chain rules, validity of
    /// every certificate at the signing time, key spec (ENV-39).
    ///
    /// # Errors
    /// [`EnvelopeError::GeneratedInvalid`] around the cause; there is no partial result.
    pub fn assemble(&self, signed: Signed) -> Result<Signature, EnvelopeError> {
        self.assemble_with(signed, None)
    }

    /// [`Draft::assemble`] with an RFC 3161 token over the signature. The token itself is not
    /// looked at here.
    ///
    /// # Errors
    /// As [`Draft::assemble`].
    pub fn assemble_with(
        &self,
        signed: Signed,
        timestamp_token: Option<Vec<u8>>,
    ) -> Result<Signature, EnvelopeError> {
        let bytes = match &self.encoded {
            Encoded::Jws(encoded) => encoded.assemble(&signed, timestamp_token.as_deref()),
            Encoded::Cose(encoded) => encoded.assemble(&signed, timestamp_token.as_deref()),
        };
        self.verify(&bytes)
            .map_err(|source| EnvelopeError::GeneratedInvalid {
                source: Box::new(source),
            })
    }

    fn verify(&self, bytes: &[u8]) -> Result<Signature, EnvelopeError> {
        let envelope = Envelope::parse(self.format, bytes)?;
        if envelope.signed_bytes() != self.to_be_signed.bytes() {
            return Err(EnvelopeError::DraftChanged);
        }
        let signature = envelope.verify_made()?;
        let leaf = signature.chain().leaf();
        let actual = leaf.key_spec().ok_or(EnvelopeError::UnsupportedKey)?;
        if actual != self.key_spec {
            return Err(EnvelopeError::KeySpecMismatch {
                expected: self.key_spec,
                actual,
            });
        }
        signature
            .chain()
            .check_validity_at(self.signing_time)
            .map_err(|source| EnvelopeError::NotValidAtSigningTime { source })?;
        Ok(signature)
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("format", &self.format)
            .field("key_spec", &self.key_spec)
            .finish_non_exhaustive()
    }
}

impl ToBeSigned {
    /// The bytes: the JWS Signing Input or the COSE Sig_structure.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their digest under [`ToBeSigned::hash`].
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The hash that the key decides.
    pub fn hash(&self) -> HashAlgorithm {
        self.key_spec.hash()
    }

    /// The key that must sign.
    pub fn key_spec(&self) -> KeySpec {
        self.key_spec
    }
}

/// Cut towards the past, so that no time moves later than it was.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let fraction = i64::from(time.subsec_nanosecond());
    let seconds = if fraction < 0 {
        time.as_second().saturating_sub(1)
    } else {
        time.as_second()
    };
    Timestamp::from_second(seconds).unwrap_or(time)
}
