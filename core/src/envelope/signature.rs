//! From received bytes to a [`Signature`]: the integrity check, in one place for both formats.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::draft::Unprotected;
use super::error::clip;
use super::{
    EnvelopeError, Format, PAYLOAD_CONTENT_TYPE, Payload, ProvenChains, SignedAttributes,
    UnsignedAttributes, cose, jws,
};
use crate::algorithm::SignatureAlgorithm;
use crate::crypto;
use crate::json::Limits;
use crate::x509::{Certificate, Chain, ChainError, CodeSigning, MAX_CHAIN_LEN};

/// Longest envelope accepted, in bytes.
// ENV-42
pub const MAX_ENVELOPE_LEN: usize = 32 * 1024 * 1024;

/// Most values in the JSON or CBOR of an envelope, of its protected header, or of its payload, each
/// for itself: counted while they are read, so that none makes work without end (ENV-42). Real
/// ones have a few dozen.
pub(super) const MAX_VALUES: usize = 10_000;

/// Bounds of the JSON of an envelope and of its parts.
pub(super) const JSON_LIMITS: Limits = Limits {
    bytes: MAX_ENVELOPE_LEN,
    depth: 32,
    values: MAX_VALUES,
};

/// Most members of a protected or unprotected header, and most entries of `crit`.
// ENV-42
pub const MAX_HEADERS: usize = 128;

/// A parsed envelope. Nothing in it is to be believed.
#[derive(Clone, Debug)]
pub struct Envelope {
    format: Format,
    bytes: Vec<u8>,
    parts: Parts,
}

/// An intact signature: the leaf's key made it over exactly these bytes, and the chain meets
/// every certificate rule. Only [`Envelope::verify_integrity`], [`Envelope::verify_integrity_among`] and
/// [`super::Draft::assemble`] make one.
#[derive(Clone, Debug)]
pub struct Signature {
    format: Format,
    bytes: Vec<u8>,
    content: Content,
}

/// The content of an envelope whose signature was not checked: for display only.
#[derive(Clone, Debug)]
pub struct Unverified(Content);

/// What an envelope says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Content {
    /// The signed payload.
    pub payload: Payload,
    /// The payload as it was received.
    pub payload_bytes: Vec<u8>,
    /// The signed attributes.
    pub attributes: SignedAttributes,
    /// The unsigned attributes: untrusted.
    // SEC-30
    pub unsigned: UnsignedAttributes,
    /// The certificate chain.
    pub chain: Chain<CodeSigning>,
    /// The signature algorithm, which the leaf's key decided.
    pub algorithm: SignatureAlgorithm,
    /// The primitive signature: RSASSA-PSS, or r‖s.
    pub signature_bytes: Vec<u8>,
}

/// The pieces that both formats have, undigested.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) protected: RawProtected,
    pub(super) payload: Vec<u8>,
    /// The bytes that the signature covers.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) unsigned: UnsignedAttributes,
}

/// A protected header, well-formed but not interpreted.
#[derive(Clone, Debug)]
pub(super) enum RawProtected {
    Jws(crate::json::Value),
    Cose(Vec<(ciborium::Value, ciborium::Value)>),
}

/// An interpreted protected header.
#[derive(Clone, Debug)]
pub(super) struct Protected {
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) content_type: String,
    pub(super) attributes: SignedAttributes,
}

impl Envelope {
    /// Parses an envelope. Its form is checked, its signature is not.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn parse(format: Format, bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE_LEN {
            return Err(EnvelopeError::TooLarge {
                length: bytes.len(),
            });
        }
        let parts = match format {
            Format::Jws => jws::parse(bytes)?,
            Format::Cose => cose::parse(bytes)?,
        };
        Ok(Self {
            format,
            bytes: bytes.to_vec(),
            parts,
        })
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Checks the signature with the leaf's key over the bytes as received, then everything that
    /// an intact envelope must be: algorithm, content type, attributes, payload,
    /// certificate rules. Validity in time is not looked at.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    // ENV-33, ENV-03, ENV-08, X509-01, X509-20
    pub fn verify_integrity(self) -> Result<Signature, EnvelopeError> {
        let leaf = self.leaf()?;
        self.check_signature(&leaf)?;
        self.into_signature(leaf)
    }

    /// The same, where the chain need not be proven again if it is among those that were.
    ///
    /// # Errors
    /// As [`Envelope::verify_integrity`].
    pub fn verify_integrity_among(self, proven: &ProvenChains) -> Result<Signature, EnvelopeError> {
        let Some(chain) = proven.get(&self.parts.certificates) else {
            let signature = self.verify_integrity()?;
            proven.add(signature.chain());
            return Ok(signature);
        };
        self.check_signature(chain.leaf())?;
        self.into_made(chain)
    }

    /// [`Envelope::verify_integrity`] for a signature that was just made. Where the signature does
    /// not verify and the chain breaks a rule as well, the chain is told of: a root that stands
    /// where the leaf belongs explains the signature, and not the other way round.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn verify_made(self) -> Result<Signature, EnvelopeError> {
        let leaf = self.leaf()?;
        self.check_signature(&leaf).map_err(|error| {
            let fault = prove(leaf.clone(), &self.parts.certificates).err();
            fault.unwrap_or(error)
        })?;
        self.into_signature(leaf)
    }

    /// The content of an envelope whose signature was verified: `chain` is the proven one that stands
    /// in it.
    pub(super) fn into_made(self, chain: Chain<CodeSigning>) -> Result<Signature, EnvelopeError> {
        let format = self.format;
        let (bytes, content) = self.into_content_with(|_| Ok(chain))?;
        Ok(Signature {
            format,
            bytes,
            content,
        })
    }

    /// Whether the envelope is made of these parts and no others.
    pub(super) fn is_made_of(&self, signed: &[u8], unprotected: Unprotected<'_>) -> bool {
        let carried = self.parts.unsigned.attestation.as_ref();
        self.parts.signed == signed
            && self.parts.signature == unprotected.signed.signature
            && self.parts.certificates == unprotected.signed.certificate_chain.ders()
            && self.parts.unsigned.timestamp_token.as_deref() == unprotected.token
            && carried == unprotected.attestation.cloned().map(Ok).as_ref()
    }

    /// The leaf's key made the signature over the bytes as received.
    fn check_signature(&self, leaf: &Certificate) -> Result<(), EnvelopeError> {
        let spec = leaf.key_spec().ok_or(EnvelopeError::UnsupportedKey)?;
        let digest = crypto::hash(spec.hash(), &self.parts.signed);
        leaf.public_key()
            .map_err(|_| EnvelopeError::UnsupportedKey)?
            .verify_digest(&digest, &self.parts.signature)
            .map_err(|source| EnvelopeError::Signature { source })
    }

    fn into_signature(self, leaf: Certificate) -> Result<Signature, EnvelopeError> {
        let format = self.format;
        let (bytes, content) = self.into_content(leaf)?;
        Ok(Signature {
            format,
            bytes,
            content,
        })
    }

    /// The content with its form and its certificate rules checked, but **not its signature**: for
    /// showing what an envelope claims.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn danger_unverified(self) -> Result<Unverified, EnvelopeError> {
        let leaf = self.leaf()?;
        Ok(Unverified(self.into_content(leaf)?.1))
    }

    fn leaf(&self) -> Result<Certificate, EnvelopeError> {
        let leaf = self
            .parts
            .certificates
            .first()
            .ok_or(EnvelopeError::CertificateChainMissing)?;
        Certificate::from_der(leaf).map_err(|source| EnvelopeError::MalformedLeaf { source })
    }

    fn into_content(self, leaf: Certificate) -> Result<(Vec<u8>, Content), EnvelopeError> {
        self.into_content_with(|certificates| prove(leaf, certificates))
    }

    fn into_content_with(
        self,
        chain: impl FnOnce(&[Vec<u8>]) -> Result<Chain<CodeSigning>, EnvelopeError>,
    ) -> Result<(Vec<u8>, Content), EnvelopeError> {
        let parts = self.parts;
        let protected = match parts.protected {
            RawProtected::Jws(header) => jws::interpret(&header)?,
            RawProtected::Cose(header) => cose::interpret(&header)?,
        };
        check_times(&protected.attributes)?;
        if protected.content_type != PAYLOAD_CONTENT_TYPE {
            return Err(EnvelopeError::UnsupportedContentType {
                content_type: clip(&protected.content_type),
            });
        }
        let payload = Payload::parse(&parts.payload)?;
        let chain = chain(&parts.certificates)?;
        let derived = chain
            .leaf()
            .key_spec()
            .ok_or(EnvelopeError::UnsupportedKey)?
            .signature_algorithm();
        if derived != protected.algorithm {
            return Err(EnvelopeError::AlgorithmMismatch {
                derived,
                specified: protected.algorithm,
            });
        }
        let content = Content {
            payload,
            payload_bytes: parts.payload,
            attributes: protected.attributes,
            unsigned: parts.unsigned,
            chain,
            algorithm: derived,
            signature_bytes: parts.signature,
        };
        Ok((self.bytes, content))
    }
}

impl Signature {
    /// The format of the envelope.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The envelope, as received or assembled.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything the envelope says.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The signed payload.
    pub fn payload(&self) -> &Payload {
        &self.content.payload
    }

    /// The payload as it was received.
    pub fn payload_bytes(&self) -> &[u8] {
        &self.content.payload_bytes
    }

    /// The signed attributes.
    pub fn attributes(&self) -> &SignedAttributes {
        &self.content.attributes
    }

    /// The unsigned attributes: untrusted.
    // SEC-30
    pub fn unsigned(&self) -> &UnsignedAttributes {
        &self.content.unsigned
    }

    /// The certificate chain.
    pub fn chain(&self) -> &Chain<CodeSigning> {
        &self.content.chain
    }

    /// The signature algorithm, which the leaf's key decided.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.content.algorithm
    }

    /// The primitive signature: RSASSA-PSS, or r‖s.
    pub fn signature_bytes(&self) -> &[u8] {
        &self.content.signature_bytes
    }
}

impl Signature {
    /// Whether the signature covers these bytes.
    pub(super) fn is_over(&self, format: Format, signed: &[u8]) -> bool {
        let envelope = Envelope::parse(self.format, &self.bytes);
        self.format == format && envelope.is_ok_and(|envelope| envelope.parts.signed == signed)
    }
}

impl Unverified {
    /// The content. Nobody vouches for it.
    pub fn danger_content(&self) -> &Content {
        &self.0
    }
}

/// A signer's chain: certificates in DER, leaf first, root last. It is read and proven once, however
/// many signatures are made with it; clones share the proof.
#[derive(Clone, Debug)]
pub struct SignerChain(Arc<SignerChainParts>);

#[derive(Debug)]
struct SignerChainParts {
    ders: Vec<Vec<u8>>,
    proven: OnceLock<Chain<CodeSigning>>,
}

impl SignerChain {
    /// The certificates as they were given.
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.0.ders
    }

    /// The chain, which meets every rule of code-signing chains. Validity in time is not
    /// looked at.
    ///
    /// # Errors
    /// [`EnvelopeError`]: a certificate that can't be read, or the rule that is broken.
    // X509-01
    pub fn prove(&self) -> Result<&Chain<CodeSigning>, EnvelopeError> {
        if let Some(proven) = self.0.proven.get() {
            return Ok(proven);
        }
        let ders = self.ders();
        let leaf = ders.first().ok_or(EnvelopeError::CertificateChainMissing)?;
        let leaf = Certificate::from_der(leaf)
            .map_err(|source| EnvelopeError::MalformedLeaf { source })?;
        let chain = prove(leaf, ders)?;
        Ok(self.0.proven.get_or_init(|| chain))
    }
}

impl From<Vec<Vec<u8>>> for SignerChain {
    fn from(ders: Vec<Vec<u8>>) -> Self {
        Self(Arc::new(SignerChainParts {
            ders,
            proven: OnceLock::new(),
        }))
    }
}

impl PartialEq for SignerChain {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.ders() == other.ders()
    }
}

impl Eq for SignerChain {}

fn prove(leaf: Certificate, ders: &[Vec<u8>]) -> Result<Chain<CodeSigning>, EnvelopeError> {
    if ders.len() > MAX_CHAIN_LEN {
        let source = ChainError::TooLong { length: ders.len() };
        return Err(EnvelopeError::Chain { source });
    }
    let mut certificates = vec![leaf];
    for der in ders.iter().skip(1) {
        let certificate = Certificate::from_der(der);
        certificates.push(certificate.map_err(|source| EnvelopeError::Certificate { source })?);
    }
    Chain::prove(certificates).map_err(|source| EnvelopeError::Chain { source })
}

/// ENV-21, ENV-22.
pub(super) fn check_times(attributes: &SignedAttributes) -> Result<(), EnvelopeError> {
    if Some(attributes.signing_time) == zero_time() {
        return Err(EnvelopeError::SigningTimeMissing);
    }
    match attributes.expiry {
        Some(expiry) if expiry <= attributes.signing_time => {
            Err(EnvelopeError::ExpiryNotAfterSigningTime)
        }
        _ => Ok(()),
    }
}

/// The time that the reference takes for "none": the first second of the year 1.
fn zero_time() -> Option<Timestamp> {
    let midnight = DateTime::new(1, 1, 1, 0, 0, 0, 0).ok()?;
    TimeZone::UTC.to_timestamp(midnight).ok()
}

/// ENV-42: more certificates than a chain has are not even decoded.
pub(super) fn check_chain_len(length: usize) -> Result<(), EnvelopeError> {
    if length > MAX_CHAIN_LEN {
        let source = ChainError::TooLong { length };
        return Err(EnvelopeError::Chain { source });
    }
    Ok(())
}

/// ENV-42: bounds every list whose entries are compared with one another.
pub(super) fn check_count(headers: usize) -> Result<(), EnvelopeError> {
    if headers > MAX_HEADERS {
        return Err(EnvelopeError::TooManyHeaders);
    }
    Ok(())
}
