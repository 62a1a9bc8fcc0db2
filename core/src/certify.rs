//! Certificate requests, certificates and revocation lists for keys that stay where they are.
//!
//! Each is built as the bytes that are to be signed; their digest goes to the key, and
//! [`Unsigned::assemble`] puts the signature under them once it has verified it. A small team's CA is
//! made of nothing else: a key with [`self_signed`] as CA, [`issue`] for other keys and requests,
//! [`revocation_list`] for what it has to take back. What is made meets the rules of the Notary
//! Project and RFC 5280; PKCS#10 is RFC 2986.
//!
//! Pure code: no key, no file, no clock. [`Ledger`] alone reads and writes what a CA remembers.

// Requirements: X509-08 to X509-14.

use der::asn1::{BitString, ObjectIdentifier, UintRef};
use der::{Any, Decode as _, Encode as _};
use jiff::Timestamp;
use spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use crate::algorithm::{HashAlgorithm, KeySpec};
use crate::crypto::{self, KeyError, NoRandomness, PublicKey, SignedDataError};

pub use certificate::{Issued, Issuer, NewCertificate, issue, self_signed};
pub use crl::{CrlEntry, NewCrl, Reason, revocation_list};
pub use import::{Arranged, ImportError, arrange};
pub use ledger::{Ledger, LedgerEntry, LedgerError};
pub use request::{CertificateRequest, request};
pub use serial::Serial;
pub use subject::{Subject, SubjectError};

mod certificate;
mod crl;
mod import;
mod ledger;
mod request;
mod serial;
mod subject;
#[cfg(test)]
mod tests;

/// What can go wrong when a request, certificate or revocation list is made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifyError {
    /// The public key is none that can be certified.
    #[error("the public key can't be certified")]
    Key(#[from] KeyError),
    /// The key is outside the profile.
    // ENV-32
    #[error(
        "the public key can't be certified: Notary Project signatures need RSA with 2048, 3072 or \
         4096 bits, or EC on P-256, P-384 or P-521"
    )]
    KeyKind,
    /// PKCS#1 v1.5 with a key that is not RSA.
    #[error("RSASSA-PKCS1-v1_5 is for RSA keys; this one is {0}")]
    NotRsa(KeySpec),
    /// The signature that the key made is wrong.
    #[error("the signature that the key made does not verify")]
    Signature(#[from] SignedDataError),
    /// The signature has another form than the key's.
    #[error("the key made a signature of {length} bytes, which is none of {key_spec}")]
    SignatureForm {
        /// Its length.
        length: usize,
        /// The key's type and size.
        key_spec: KeySpec,
    },
    /// A subject that can't be used.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// No random number for the serial number.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// A time that no certificate can hold, or an end before the begin.
    #[error("a validity of {days} days from {from} can't be written into a certificate")]
    Validity {
        /// The begin.
        from: Timestamp,
        /// How long.
        days: u32,
    },
    /// The certificate of the CA is none.
    #[error("the certificate of the CA key can't be read")]
    IssuerCertificate(#[source] der::Error),
    /// The certificate of the CA is that of another key.
    #[error("{subject:?} is not the certificate of the CA's key")]
    OtherKey {
        /// Its subject.
        subject: String,
    },
    /// The certificate of the CA is no CA certificate.
    #[error("{subject:?} can't issue certificates: {why}")]
    NotCa {
        /// Its subject.
        subject: String,
        /// What is missing.
        why: &'static str,
    },
    /// The certificate of the CA is not valid now.
    #[error("the CA certificate {subject:?} is valid from {not_before} to {not_after} only")]
    IssuerNotValid {
        /// Its subject.
        subject: String,
        /// The begin.
        not_before: Timestamp,
        /// The end.
        not_after: Timestamp,
    },
    /// The path length of the CA leaves no room for another CA.
    #[error(
        "{subject:?} may issue certificates for signing keys, but none for another CA with path \
         length {wanted}: its own path length is {allowed}"
    )]
    PathLength {
        /// Its subject.
        subject: String,
        /// What it allows.
        allowed: u8,
        /// What was asked for.
        wanted: u8,
    },
    /// A request that is none.
    #[error("the certificate request can't be read")]
    Request(#[source] der::Error),
    /// PEM of something else.
    #[error("the file holds no certificate request but {label:?}")]
    NotARequest {
        /// The label.
        label: String,
    },
    /// A request that its own key did not sign.
    #[error("the certificate request is not signed by its own key")]
    RequestSignature(#[source] SignedDataError),
    /// A number that is no serial number.
    #[error(
        "{text:?} is not a serial number: 1 to 20 bytes in hexadecimal, as openssl and hardsign show it"
    )]
    Serial {
        /// As given.
        text: String,
    },
    /// A time in a ledger that is none.
    #[error("{text:?} is not a time (RFC 3339)")]
    Time {
        /// As it stands there.
        text: String,
    },
    /// An address that is none.
    #[error("{url:?} is not an http address, which is what a CRL is fetched from")]
    CrlUrl {
        /// As given.
        url: String,
    },
    /// DER that can't be written: a name that is too long, for instance.
    #[error("can't be encoded")]
    Encoding(#[from] der::Error),
}

/// How an RSA key signs requests and certificates; elliptic-curve keys have one way only.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RsaPadding {
    /// RSASSA-PSS with a salt as long as the hash, as for envelopes.
    #[default]
    Pss,
    /// RSASSA-PKCS1-v1_5, which some CAs want.
    Pkcs1,
}

/// The key that signs: its public half and its way.
#[derive(Clone, Debug)]
pub struct SigningKey {
    spki: Vec<u8>,
    public: PublicKey,
    key_spec: KeySpec,
    padding: RsaPadding,
}

impl SigningKey {
    /// A key by its SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`CertifyError::Key`], [`CertifyError::KeyKind`], [`CertifyError::NotRsa`].
    pub fn new(spki: &[u8], padding: RsaPadding) -> Result<Self, CertifyError> {
        let public = PublicKey::from_spki_der(spki)?;
        let key_spec = public.key_spec().ok_or(CertifyError::KeyKind)?;
        if padding == RsaPadding::Pkcs1 && !key_spec.is_rsa() {
            return Err(CertifyError::NotRsa(key_spec));
        }
        Ok(Self {
            spki: spki.to_vec(),
            public,
            key_spec,
            padding,
        })
    }

    /// Type and size.
    pub fn key_spec(&self) -> KeySpec {
        self.key_spec
    }

    /// How it signs, if it is an RSA key.
    pub fn padding(&self) -> RsaPadding {
        self.padding
    }

    /// The SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The AlgorithmIdentifier of its signatures (RFC 4055, RFC 5758).
    fn algorithm(&self) -> Result<AlgorithmIdentifierOwned, CertifyError> {
        let hash = self.key_spec.hash();
        let (oid, parameters) = match (self.key_spec.is_rsa(), self.padding) {
            (false, _) => (ecdsa_with(hash), None),
            (true, RsaPadding::Pkcs1) => (rsa_with(hash), Some(Any::null())),
            (true, RsaPadding::Pss) => {
                let parameters = pss_parameters(hash)?;
                (RSASSA_PSS, Some(Any::from_der(&parameters)?))
            }
        };
        Ok(AlgorithmIdentifierOwned { oid, parameters })
    }

    /// Its bytes to be signed, on their way to being a signed structure.
    fn unsigned(&self, tbs: Vec<u8>) -> Result<Unsigned, CertifyError> {
        Ok(Unsigned {
            algorithm: self.algorithm()?,
            key: self.clone(),
            tbs,
        })
    }
}

/// A request, certificate or revocation list that lacks its signature.
#[derive(Clone, Debug)]
pub struct Unsigned {
    tbs: Vec<u8>,
    algorithm: AlgorithmIdentifierOwned,
    key: SigningKey,
}

impl Unsigned {
    /// What the key is to sign.
    pub fn digest(&self) -> Vec<u8> {
        crypto::hash(self.key.key_spec.hash(), &self.tbs)
    }

    /// The bytes that the digest is of.
    pub fn message(&self) -> &[u8] {
        &self.tbs
    }

    /// The hash of the digest.
    pub fn hash(&self) -> HashAlgorithm {
        self.key.key_spec.hash()
    }

    /// How an RSA key is to sign it.
    pub fn padding(&self) -> RsaPadding {
        self.key.padding
    }

    /// The whole in DER. `signature` is as keys give it: that of RSA, or r‖s.
    ///
    /// # Errors
    /// The signature is not that of the key over these bytes.
    pub fn assemble(&self, signature: &[u8]) -> Result<Vec<u8>, CertifyError> {
        let key_spec = self.key.key_spec;
        let wrong = || CertifyError::SignatureForm {
            length: signature.len(),
            key_spec,
        };
        if signature.len() != key_spec.signature_len() {
            return Err(wrong());
        }
        let encoded = match key_spec.is_rsa() {
            true => signature.to_vec(),
            false => ecdsa_value(signature)?,
        };
        let algorithm = self.algorithm.to_der()?;
        self.key
            .public
            .verify_signed_data(&algorithm, &self.tbs, &encoded)?;
        let signature = BitString::from_bytes(&encoded)?.to_der()?;
        let content = [self.tbs.as_slice(), &algorithm, &signature].concat();
        Ok(Any::new(der::Tag::Sequence, content)?.to_der()?)
    }
}

/// ```asn1
/// Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }   -- RFC 3279 §2.2.3
/// ```
#[derive(der::Sequence)]
struct EcdsaValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

fn ecdsa_value(signature: &[u8]) -> der::Result<Vec<u8>> {
    let (r, s) = signature.split_at(signature.len() / 2);
    EcdsaValue {
        r: UintRef::new(r)?,
        s: UintRef::new(s)?,
    }
    .to_der()
}

fn ecdsa_with(hash: HashAlgorithm) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(match hash {
        HashAlgorithm::Sha256 => "1.2.840.10045.4.3.2",
        HashAlgorithm::Sha384 => "1.2.840.10045.4.3.3",
        HashAlgorithm::Sha512 => "1.2.840.10045.4.3.4",
    })
}

fn rsa_with(hash: HashAlgorithm) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(match hash {
        HashAlgorithm::Sha256 => "1.2.840.113549.1.1.11",
        HashAlgorithm::Sha384 => "1.2.840.113549.1.1.12",
        HashAlgorithm::Sha512 => "1.2.840.113549.1.1.13",
    })
}

const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");

/// ```asn1
/// RSASSA-PSS-params ::= SEQUENCE {            -- RFC 4055 §3.1
///     hashAlgorithm    [0] HashAlgorithm,
///     maskGenAlgorithm [1] MaskGenAlgorithm,
///     saltLength       [2] INTEGER }
/// ```
#[derive(der::Sequence)]
struct PssParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: Any,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    salt: u8,
}

fn pss_parameters(hash: HashAlgorithm) -> der::Result<Vec<u8>> {
    let identifier = Any::from_der(&crypto::hash_identifier(hash))?;
    PssParameters {
        hash: identifier.clone(),
        mask: AlgorithmIdentifierOwned {
            oid: MGF1,
            parameters: Some(identifier),
        },
        salt: u8::try_from(hash.output_len()).map_err(|_| der::ErrorKind::Overflow)?,
    }
    .to_der()
}

/// A document in PEM (RFC 7468), for instance `CERTIFICATE REQUEST`.
///
/// # Errors
/// A label that PEM does not know.
pub fn pem(label: &str, der: &[u8]) -> Result<String, CertifyError> {
    der::pem::encode_string(label, der::pem::LineEnding::LF, der)
        .map_err(|error| CertifyError::Encoding(error.into()))
}

/// The DER of a request file, PEM or DER.
///
/// # Errors
/// PEM of something else, or damaged.
pub fn request_file(bytes: &[u8]) -> Result<Vec<u8>, CertifyError> {
    let text = bytes.trim_ascii();
    if !text.starts_with(b"-----") {
        return Ok(bytes.to_vec());
    }
    let (label, der) =
        der::pem::decode_vec(text).map_err(|error| CertifyError::Request(error.into()))?;
    match label {
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Ok(der),
        other => Err(CertifyError::NotARequest {
            label: other.to_owned(),
        }),
    }
}

/// UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5).
fn time(at: Timestamp) -> der::Result<Time> {
    let seconds = u64::try_from(at.as_second()).map_err(|_| der::ErrorKind::DateTime)?;
    let since_epoch = std::time::Duration::from_secs(seconds);
    match der::asn1::UtcTime::from_unix_duration(since_epoch) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => {
            der::asn1::GeneralizedTime::from_unix_duration(since_epoch).map(Time::GeneralTime)
        }
    }
}

/// The time that a certificate says.
fn timestamp(time: &Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
