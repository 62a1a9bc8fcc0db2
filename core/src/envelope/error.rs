//! The errors of envelopes. Texts that users and scripts of the reference know are kept.

use super::PayloadError;
use crate::algorithm::{KeySpec, SignatureAlgorithm};
use crate::artifact::Quoted;
use crate::crypto::SignatureInvalid;
use crate::json::JsonError;
use crate::x509::{CertificateError, ChainError, NotValidAt};

/// Why an envelope cannot be written, read or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Longer than [`super::MAX_ENVELOPE_LEN`].
    // ENV-42
    #[error(
        "signature envelope of {length} bytes is larger than {} bytes",
        super::MAX_ENVELOPE_LEN
    )]
    TooLarge {
        /// Length in bytes.
        length: usize,
    },
    /// A JWS envelope that is not strict JSON.
    #[error("malformed JWS envelope")]
    Json {
        /// What is wrong with the JSON, and where.
        source: JsonError,
    },
    /// A COSE envelope that is not CBOR as COSE wants it.
    #[error("malformed COSE envelope")]
    Cbor {
        /// What is wrong with the CBOR.
        source: CborError,
    },
    /// More headers, or more entries in `crit`, than [`super::MAX_HEADERS`].
    // ENV-42
    #[error("signature envelope has more than {} headers", super::MAX_HEADERS)]
    TooManyHeaders,
    /// Not the shape of an envelope of its format.
    #[error("malformed signature envelope: {fault}")]
    Shape {
        /// What the envelope breaks, in words for the end of the text.
        fault: &'static str,
    },
    /// A member or header of the wrong type or encoding.
    #[error("malformed signature envelope: {name:?} {fault}")]
    Member {
        /// Its name.
        name: String,
        /// What the member breaks, in words for the end of the text.
        fault: &'static str,
    },
    /// A protected header that is not what its format wants.
    // JWS-28
    #[error("jws envelope protected header can't be decoded")]
    ProtectedJson {
        /// What is wrong with the JSON, and where.
        source: JsonError,
    },
    /// A protected header of the wrong type or encoding.
    // JWS-28
    #[error("jws envelope protected header can't be decoded: {fault}")]
    ProtectedShape {
        /// Which type or encoding was expected.
        fault: String,
    },
    /// No signature bytes.
    // JWS-28
    #[error("signature missing in jws-json envelope")]
    JwsSignatureMissing,
    /// No signature bytes.
    // COSE-22
    #[error("signature missing in COSE envelope")]
    CoseSignatureMissing,
    /// No certificates.
    // JWS-16, COSE-16
    #[error("certificate chain is not present")]
    CertificateChainMissing,
    /// The first certificate does not parse.
    // JWS-16, COSE-18
    #[error("malformed leaf certificate")]
    MalformedLeaf {
        /// What is wrong with the certificate.
        #[source]
        source: CertificateError,
    },
    /// The first certificate is not even a byte string.
    // COSE-18
    #[error("COSE envelope malformed leaf certificate")]
    CoseMalformedLeaf,
    /// Another certificate does not parse.
    // JWS-28
    #[error("certificate-chain is invalid,")]
    Certificate {
        /// What is wrong with the certificate.
        source: CertificateError,
    },
    /// The certificates break a rule.
    // X509-01
    #[error("certificate-chain is invalid,")]
    Chain {
        /// Which rule the chain breaks.
        source: ChainError,
    },
    /// Two different certificate chains.
    // COSE-17
    #[error("protected and unprotected header carry different certificate chains")]
    ConflictingChains,
    /// A certificate was not valid at signing time.
    // X509-19
    #[error("certificate-chain is invalid,")]
    NotValidAtSigningTime {
        /// Which certificate is not valid at which time.
        source: NotValidAt,
    },
    /// The leaf's key is none of the six kinds that sign.
    // ENV-32
    #[error("signing key is not supported")]
    UnsupportedKey,
    /// The signature does not verify.
    // JWS-27, COSE-23
    #[error("signature is invalid. Error")]
    Signature {
        /// How the signature fails.
        source: SignatureInvalid,
    },
    /// `alg` outside the table.
    // JWS-08
    #[error("signature algorithm {} is not supported", Quoted(algorithm))]
    UnsupportedJwsAlgorithm {
        /// As the header names it.
        algorithm: String,
    },
    /// `alg` outside the table.
    // COSE-04
    #[error("signature algorithm not supported: {algorithm}")]
    UnsupportedCoseAlgorithm {
        /// As the header names it.
        algorithm: String,
    },
    /// `alg` is not the one that the key decides.
    // ENV-33
    #[error(
        "mismatch between signature algorithm derived from signing certificate ({derived}) and signing algorithm specified ({specified}s)"
    )]
    AlgorithmMismatch {
        /// What the key decides.
        derived: SignatureAlgorithm,
        /// What the header says.
        specified: SignatureAlgorithm,
    },
    /// No content type.
    // COSE-05
    #[error("missing content type")]
    ContentTypeMissing,
    /// A content type that is no text.
    // COSE-05
    #[error("content type should be of 'tstr' type")]
    ContentTypeNotText,
    /// Another content type.
    // ENV-03
    #[error("payload content type {} not supported", Quoted(content_type))]
    UnsupportedContentType {
        /// As the header names it.
        content_type: String,
    },
    /// The payload is not a Notary Project payload.
    // ENV-04
    #[error("malformed payload")]
    Payload {
        /// What is wrong with the payload.
        #[from]
        source: PayloadError,
    },
    /// No `crit`.
    // JWS-09, COSE-06
    #[error("missing \"crit\" header")]
    CritMissing,
    /// Headers that must be critical and are not.
    // JWS-09, COSE-06
    #[error("these required headers are not marked as critical: [{}]", names.join(" "))]
    NotMarkedCritical {
        /// Their names.
        names: Vec<String>,
    },
    /// `crit` names a header that is not there, or must not be named.
    // JWS-11
    #[error("{} header is marked critical but not present", Quoted(name))]
    CriticalNotPresent {
        /// Its name.
        name: String,
    },
    /// `crit` names a header twice.
    // JWS-12, COSE-07
    #[error("{} header is marked critical more than once", Quoted(name))]
    CriticalRepeated {
        /// Its name.
        name: String,
    },
    /// `crit` names a header that nobody here understands.
    // JWS-13, COSE-08
    #[error("critical header {} is not supported", Quoted(name))]
    UnsupportedCritical {
        /// Its name.
        name: String,
    },
    /// Signing scheme outside the two.
    // JWS-21
    #[error("unsupported SigningScheme: `{scheme}`")]
    UnsupportedJwsScheme {
        /// As the header names it.
        scheme: String,
    },
    /// Signing scheme outside the two.
    // COSE-22
    #[error("unsupported signingScheme: {scheme}")]
    UnsupportedCoseScheme {
        /// As the header names it.
        scheme: String,
    },
    /// Signing scheme absent or no text.
    // COSE-22
    #[error("invalid signingScheme")]
    InvalidCoseScheme,
    /// A time that belongs to the other scheme.
    // ENV-20, JWS-19
    #[error("\"{name}\" header must not be present for {scheme} signing scheme")]
    TimeOfOtherScheme {
        /// The header.
        name: &'static str,
        /// The scheme in force.
        scheme: &'static str,
    },
    /// No authentic signing time under signingAuthority.
    // JWS-19
    #[error("\"{name}\" header must be present for {scheme} signing scheme")]
    AuthenticSigningTimeMissing {
        /// The header.
        name: &'static str,
        /// The scheme in force.
        scheme: &'static str,
    },
    /// No signing time, or the zero time.
    // ENV-22
    #[error("signing-time not present")]
    SigningTimeMissing,
    /// A signing time that is no CBOR time.
    // COSE-22
    #[error("invalid signingTime: {fault}")]
    InvalidSigningTime {
        /// Which type or encoding was expected.
        fault: String,
    },
    /// An expiry that is no CBOR time.
    // COSE-22
    #[error("invalid expiry: {fault}")]
    InvalidExpiry {
        /// Which type or encoding was expected.
        fault: String,
    },
    /// Expiry not after the signing time.
    // ENV-21
    #[error("expiry cannot be equal or before the signing time")]
    ExpiryNotAfterSigningTime,
    /// The leaf's key is not the one that the draft was made for.
    #[error("signing certificate has a key of {actual}, but {expected} was announced")]
    KeySpecMismatch {
        /// What the draft was made for.
        expected: KeySpec,
        /// What the certificate has.
        actual: KeySpec,
    },
    /// The assembled envelope does not carry what the draft fixed.
    #[error("assembled envelope differs from its draft")]
    DraftChanged,
    /// A draft whose size does not fit the payload's int64.
    // ENV-04
    #[error("artifact size {size} is out of range")]
    SizeOutOfRange {
        /// Size in bytes.
        size: u64,
    },
    /// A fresh signature that does not pass verification. Nothing was kept.
    // ENV-39
    #[error("generated signature failed verification")]
    GeneratedInvalid {
        /// What is wrong with the envelope.
        source: Box<EnvelopeError>,
    },
}

/// Why bytes are not acceptable CBOR (RFC 8949).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The data ends inside an item.
    #[error("unexpected end of CBOR data")]
    UnexpectedEnd,
    /// Something follows the item.
    // COSE-01
    #[error("trailing bytes after CBOR item")]
    TrailingData,
    /// Indefinite length.
    // COSE-13
    #[error("indefinite-length CBOR item")]
    IndefiniteLength,
    /// A key occurs twice in one map.
    // COSE-13
    #[error("duplicate key in CBOR map")]
    DuplicateKey,
    /// A map key that is neither integer nor text.
    #[error("CBOR map key is neither integer nor text")]
    KeyType,
    /// Text that is not UTF-8.
    #[error("invalid UTF-8 in CBOR text")]
    Utf8,
    /// A reserved or unsupported initial byte or simple value.
    #[error("unsupported CBOR item")]
    Unsupported,
    /// Nested too deep.
    // ENV-42
    #[error("CBOR is nested too deep")]
    TooDeep,
    /// Too many items.
    // ENV-42
    #[error("CBOR has too many items")]
    TooManyItems,
}

/// The beginning of a text out of an envelope, so that an error stays readable.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}
