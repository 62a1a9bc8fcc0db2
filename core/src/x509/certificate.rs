//! One parsed certificate (RFC 5280 §4.1).
//!
//! ```text
//! Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING }
//! TBSCertificate ::= SEQUENCE {
//!     version         [0] EXPLICIT INTEGER DEFAULT v1,
//!     serialNumber    INTEGER,
//!     signature       AlgorithmIdentifier,
//!     issuer          Name,
//!     validity        SEQUENCE { notBefore Time, notAfter Time },
//!     subject         Name,
//!     subjectPublicKeyInfo,
//!     issuerUniqueID  [1] OPTIONAL, subjectUniqueID [2] OPTIONAL,
//!     extensions      [3] EXPLICIT OPTIONAL }
//! ```
//!
//! The received bytes are kept and are what signatures are checked over; nothing is encoded anew.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, ErrorKind, Reader, SliceReader, Tag, Tagged};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Name;
use super::extension::{self, BasicConstraints, Extension, KeyUsage, malformed, optional_context};
use crate::algorithm::KeySpec;
use crate::crypto::{self, KeyError, PublicKey, SignedDataError};

/// Longest certificate accepted, in bytes.
pub const MAX_CERTIFICATE_LEN: usize = 64 * 1024;

/// A parsed certificate; cheap to clone. Equal means byte for byte equal.
#[derive(Clone)]
pub struct Certificate {
    inner: Arc<Inner>,
}

struct Inner {
    der: Box<[u8]>,
    tbs: Range<usize>,
    signature_algorithm: Vec<u8>,
    signature: Vec<u8>,
    serial: Vec<u8>,
    issuer: Name,
    subject: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    spki: Vec<u8>,
    public_key: Result<PublicKey, KeyError>,
    extensions: Vec<Extension>,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<Vec<ObjectIdentifier>>,
    ocsp_urls: Vec<String>,
    crl_urls: Vec<String>,
    self_signed: OnceLock<Result<(), SignedDataError>>,
}

/// A certificate that cannot be parsed. The text is the one that scripts look for (X509-23).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not the DER of a certificate.
    #[error("x509: malformed certificate")]
    Malformed {
        /// What the DER decoder met.
        #[source]
        source: der::Error,
    },
    /// Longer than [`MAX_CERTIFICATE_LEN`].
    #[error("x509: malformed certificate: {length} bytes are more than {MAX_CERTIFICATE_LEN}")]
    TooLarge {
        /// Length in bytes.
        length: usize,
    },
}

/// A certificate was not issued by the other.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotIssued {
    /// Issuer name and subject name differ.
    #[error("issuer {issuer} is not {subject}")]
    Name {
        /// The issuer that the certificate names.
        issuer: Name,
        /// The subject of the supposed issuer.
        subject: Name,
    },
    /// The supposed issuer's public key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature does not verify.
    #[error(transparent)]
    Signature(#[from] SignedDataError),
}

impl Certificate {
    /// Parses one DER certificate with nothing after it.
    ///
    /// # Errors
    /// [`CertificateError`]: also for repeated extensions, an algorithm that differs inside and
    /// outside the signed part, and malformed values of the extensions that are read here. A
    /// public key of an unsupported kind is no error; see [`Certificate::public_key`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_LEN {
            return Err(CertificateError::TooLarge { length: der.len() });
        }
        let inner = parse(der).map_err(|source| CertificateError::Malformed { source })?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The certificate as it was received.
    pub fn der(&self) -> &[u8] {
        &self.inner.der
    }

    /// The signed part, as it was received.
    pub fn tbs_der(&self) -> &[u8] {
        self.inner
            .der
            .get(self.inner.tbs.clone())
            .unwrap_or_default()
    }

    /// The subject's name.
    pub fn subject(&self) -> &Name {
        &self.inner.subject
    }

    /// The issuer's name.
    pub fn issuer(&self) -> &Name {
        &self.inner.issuer
    }

    /// The content bytes of the serial number: big-endian two's complement, as in the DER.
    pub fn serial(&self) -> &[u8] {
        &self.inner.serial
    }

    /// The subject's public key.
    ///
    /// # Errors
    /// [`KeyError`] where it is malformed or of a kind that is not supported.
    pub fn public_key(&self) -> Result<&PublicKey, KeyError> {
        self.inner.public_key.as_ref().map_err(|error| *error)
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.inner.spki
    }

    /// The key spec of the public key, if it is one of the six that may sign envelopes (ENV-32).
    pub fn key_spec(&self) -> Option<KeySpec> {
        self.public_key().ok()?.key_spec()
    }

    /// First second of validity.
    pub fn not_before(&self) -> Timestamp {
        self.inner.not_before
    }

    /// Last second of validity. RFC 5280's "no well-defined expiration", the end of the year 9999,
    /// is a day more than a [`Timestamp`] can hold and reads as [`Timestamp::MAX`].
    pub fn not_after(&self) -> Timestamp {
        self.inner.not_after
    }

    /// Whether `time` is inside the validity, bounds included (X509-19).
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.not_before() <= time && time <= self.not_after()
    }

    /// SHA-256 over the DER (X509-24).
    pub fn thumbprint(&self) -> [u8; 32] {
        crypto::sha256(self.der())
    }

    /// [`Certificate::thumbprint`] in lower-case hex.
    pub fn thumbprint_hex(&self) -> String {
        hex::encode(self.thumbprint())
    }

    /// Whether basicConstraints says that the subject is a CA.
    pub fn is_ca(&self) -> bool {
        self.basic_constraints().is_some_and(|b| b.ca)
    }

    /// Whether the certificate is self-issued (same names, byte for byte) and its signature
    /// verifies with its own key.
    pub fn is_self_signed(&self) -> bool {
        self.check_issued_by(self).is_ok()
    }

    /// Whether it is a CA certificate and self-signed.
    pub fn is_root_ca(&self) -> bool {
        self.is_ca() && self.is_self_signed()
    }

    /// Checks that `issuer` issued this certificate: its subject is this one's issuer name, byte
    /// for byte, and its key verifies the signature (X509-02, X509-15). Neither validity nor
    /// extensions are looked at.
    ///
    /// # Errors
    /// [`NotIssued`].
    pub fn check_issued_by(&self, issuer: &Self) -> Result<(), NotIssued> {
        if self.issuer() != issuer.subject() {
            return Err(NotIssued::Name {
                issuer: self.issuer().clone(),
                subject: issuer.subject().clone(),
            });
        }
        self.check_signed_by(issuer)
    }

    /// Checks that the key of `issuer` verifies this certificate's signature, and nothing else:
    /// the names may differ.
    ///
    /// # Errors
    /// [`NotIssued`], never for the names.
    pub fn check_signed_by(&self, issuer: &Self) -> Result<(), NotIssued> {
        let key = issuer.public_key()?;
        let verify = || {
            let inner = &self.inner;
            key.verify_signed_data(&inner.signature_algorithm, self.tbs_der(), &inner.signature)
        };
        if Arc::ptr_eq(&self.inner, &issuer.inner) {
            (*self.inner.self_signed.get_or_init(verify))?;
        } else {
            verify()?;
        }
        Ok(())
    }

    /// The basicConstraints extension.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.inner.basic_constraints
    }

    /// The keyUsage extension.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.inner.key_usage
    }

    /// The purposes of the extKeyUsage extension.
    pub fn extended_key_usage(&self) -> Option<&[ObjectIdentifier]> {
        self.inner.extended_key_usage.as_deref()
    }

    pub(super) fn is_extended_key_usage_critical(&self) -> bool {
        self.extension(extension::EXT_KEY_USAGE)
            .is_some_and(|e| e.critical)
    }

    /// An extension by its type.
    pub fn extension(&self, oid: ObjectIdentifier) -> Option<&Extension> {
        self.inner.extensions.iter().find(|e| e.oid == oid)
    }

    /// The OCSP responders named by authorityInfoAccess, in order.
    pub fn ocsp_urls(&self) -> &[String] {
        &self.inner.ocsp_urls
    }

    /// The URIs named by cRLDistributionPoints, in order.
    pub fn crl_urls(&self) -> &[String] {
        &self.inner.crl_urls
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.inner.der == other.inner.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", self.subject())
            .field("thumbprint", &self.thumbprint_hex())
            .finish_non_exhaustive()
    }
}

fn parse(bytes: &[u8]) -> der::Result<Inner> {
    let outer = AnyRef::try_from(bytes)?;
    outer.tag().assert_eq(Tag::Sequence)?;
    let content = outer.value();
    // The whole is one element, so its content ends where the whole does.
    let tbs_at = bytes.len().saturating_sub(content.len());
    let mut reader = SliceReader::new(content)?;
    let tbs = reader.tlv_bytes()?;
    let signature_algorithm = reader.tlv_bytes()?;
    let signature = BitStringRef::decode(&mut reader)?
        .as_bytes()
        .ok_or_else(|| malformed(Tag::BitString))?;
    reader.finish(())?;

    let mut reader = SliceReader::new(tbs)?;
    let fields = reader.sequence(tbs_fields)?;
    reader.finish(())?;
    if fields.algorithm != signature_algorithm {
        return Err(malformed(Tag::Sequence));
    }
    let extensions = fields.extensions;
    let find = |oid| extensions.iter().find(|e: &&Extension| e.oid == oid);
    Ok(Inner {
        der: bytes.into(),
        tbs: tbs_at..tbs_at.saturating_add(tbs.len()),
        signature_algorithm: signature_algorithm.to_vec(),
        signature: signature.to_vec(),
        serial: fields.serial.to_vec(),
        issuer: fields.issuer,
        subject: fields.subject,
        not_before: fields.not_before,
        not_after: fields.not_after,
        public_key: PublicKey::from_spki_der(fields.spki),
        spki: fields.spki.to_vec(),
        basic_constraints: find(extension::BASIC_CONSTRAINTS)
            .map(extension::basic_constraints)
            .transpose()?,
        key_usage: find(extension::KEY_USAGE)
            .map(extension::key_usage)
            .transpose()?,
        extended_key_usage: find(extension::EXT_KEY_USAGE)
            .map(extension::extended_key_usage)
            .transpose()?,
        ocsp_urls: find(extension::AUTHORITY_INFO_ACCESS)
            .map_or(Ok(Vec::new()), extension::ocsp_urls)?,
        crl_urls: find(extension::CRL_DISTRIBUTION_POINTS)
            .map_or(Ok(Vec::new()), extension::crl_urls)?,
        extensions,
        self_signed: OnceLock::new(),
    })
}

struct Fields<'a> {
    serial: &'a [u8],
    algorithm: &'a [u8],
    issuer: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    subject: Name,
    spki: &'a [u8],
    extensions: Vec<Extension>,
}

fn tbs_fields<'a, R: Reader<'a>>(reader: &mut R) -> der::Result<Fields<'a>> {
    let version = match optional_context(reader, 0, true)? {
        Some(version) => u8::from_der(version)?,
        None => 0,
    };
    if version > 2 {
        return Err(malformed(Tag::Integer));
    }
    let serial = AnyRef::decode(reader)?;
    serial.tag().assert_eq(Tag::Integer)?;
    let algorithm = reader.tlv_bytes()?;
    let issuer = Name::from_der(reader.tlv_bytes()?)?;
    let (not_before, not_after) =
        reader.sequence(|validity| Ok((time(validity)?, time(validity)?)))?;
    let subject = Name::from_der(reader.tlv_bytes()?)?;
    let spki = reader.tlv_bytes()?;
    optional_context(reader, 1, false)?;
    optional_context(reader, 2, false)?;
    let extensions = match optional_context(reader, 3, true)? {
        Some(_) if version != 2 => return Err(malformed(Tag::Sequence)),
        Some(list) => extension::extensions(list)?,
        None => Vec::new(),
    };
    Ok(Fields {
        serial: serial.value(),
        algorithm,
        issuer,
        not_before,
        not_after,
        subject,
        spki,
        extensions,
    })
}

/// `UTCTime` as `YYMMDDHHMMSSZ` or `GeneralizedTime` as `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
pub(crate) fn time<'a, R: Reader<'a>>(reader: &mut R) -> der::Result<Timestamp> {
    let value = AnyRef::decode(reader)?;
    let bad = || ErrorKind::DateTime;
    let text = std::str::from_utf8(value.value()).map_err(|_| bad())?;
    let digits = text.strip_suffix('Z').ok_or_else(bad)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad().into());
    }
    let (year_digits, two_digit_year) = match (value.tag(), digits.len()) {
        (Tag::UtcTime, 12) => (2, true),
        (Tag::GeneralizedTime, 14) => (4, false),
        _ => return Err(bad().into()),
    };
    let number = |range: Range<usize>| -> Option<i8> { digits.get(range)?.parse().ok() };
    let parse = || -> Option<Timestamp> {
        let year: i16 = digits.get(..year_digits)?.parse().ok()?;
        let year = match year {
            0..=49 if two_digit_year => year.checked_add(2000)?,
            50..=99 if two_digit_year => year.checked_add(1900)?,
            _ => year,
        };
        let field = |i: usize| number(year_digits + 2 * i..year_digits + 2 * i + 2);
        let civil = DateTime::new(
            year,
            field(0)?,
            field(1)?,
            field(2)?,
            field(3)?,
            field(4)?,
            0,
        )
        .ok()?;
        match TimeZone::UTC.to_timestamp(civil) {
            Ok(timestamp) => Some(timestamp),
            Err(_) if year == 9999 => Some(Timestamp::MAX),
            Err(_) => None,
        }
    };
    parse().ok_or_else(|| bad().into())
}
