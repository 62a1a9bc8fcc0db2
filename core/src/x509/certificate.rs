//! One certificate: what [`chain::Certificate`] reads, and what its key is good for.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use der::Reader;
use hardsign_plugin::chain::{self, CertificateError, FileError};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Name;
use crate::algorithm::KeySpec;
use crate::crypto::{self, KeyError, PublicKey, SignedDataError};

/// Most certificates accepted in one file.
const MAX_CERTIFICATES: usize = 1024;

/// A parsed certificate; cheap to clone. Equal means byte for byte equal.
#[derive(Clone)]
pub struct Certificate {
    inner: Arc<Inner>,
}

struct Inner {
    parsed: chain::Certificate,
    issuer: Name,
    subject: Name,
    public_key: Result<PublicKey, KeyError>,
    self_signed: OnceLock<Result<(), SignedDataError>>,
    thumbprint: OnceLock<[u8; 32]>,
}

/// A certificate was not issued by the other.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotIssued {
    /// Issuer name and subject name differ.
    #[error("{}", other_name(issuer, subject))]
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

/// Names that read alike are told apart by their encodings.
fn other_name(issuer: &Name, subject: &Name) -> String {
    match issuer.difference(subject) {
        Some(difference) => format!(
            "issuer {issuer} and subject {subject} read alike, but {difference}, and names are compared byte for byte"
        ),
        None => format!("issuer {issuer} is not {subject}"),
    }
}

impl Certificate {
    /// Parses one DER certificate with nothing after it.
    ///
    /// # Errors
    /// As [`chain::Certificate::from_der`]. A public key of an unsupported kind is no error; see
    /// [`Certificate::public_key`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        chain::Certificate::from_der(der).map(Self::from)
    }

    /// Reads a certificate file: PEM, one or more blocks, or DER, one or several concatenated.
    /// An empty file gives an empty list.
    ///
    /// # Errors
    /// [`FileError`]; the first fault makes the whole file unusable.
    // X509-21
    pub fn parse_file(bytes: &[u8]) -> Result<Vec<Self>, FileError> {
        let certificates = chain::read_file(bytes, MAX_CERTIFICATES)?;
        Ok(certificates.into_iter().map(Self::from).collect())
    }

    /// The subject's name.
    pub fn subject(&self) -> &Name {
        &self.inner.subject
    }

    /// The issuer's name.
    pub fn issuer(&self) -> &Name {
        &self.inner.issuer
    }

    /// The subject's public key.
    ///
    /// # Errors
    /// [`KeyError`] where it is malformed or of a kind that is not supported.
    pub fn public_key(&self) -> Result<&PublicKey, KeyError> {
        self.inner.public_key.as_ref().map_err(|error| *error)
    }

    /// The key spec of the public key, if it is one of the six that may sign envelopes.
    // ENV-32
    pub fn key_spec(&self) -> Option<KeySpec> {
        self.public_key().ok()?.key_spec()
    }

    /// First second of validity.
    pub fn not_before(&self) -> Timestamp {
        timestamp(self.inner.parsed.not_before())
    }

    /// Last second of validity, to compare with; [`Certificate::not_after_utc`] is for showing it.
    /// RFC 5280's "no well-defined expiration", the end of the year 9999, is a day more than a
    /// [`Timestamp`] can hold and reads as [`Timestamp::MAX`].
    pub fn not_after(&self) -> Timestamp {
        timestamp(self.inner.parsed.not_after())
    }

    /// First second of validity in UTC, as it stands in the certificate.
    pub fn not_before_utc(&self) -> DateTime {
        civil(self.inner.parsed.not_before())
    }

    /// Last second of validity in UTC, as it stands in the certificate, the year 9999 included.
    pub fn not_after_utc(&self) -> DateTime {
        civil(self.inner.parsed.not_after())
    }

    /// Whether `time` is inside the validity, bounds included.
    // X509-19
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.not_before() <= time && time <= self.not_after()
    }

    /// SHA-256 over the DER.
    // X509-24
    pub fn thumbprint(&self) -> [u8; 32] {
        let thumbprint = &self.inner.thumbprint;
        *thumbprint.get_or_init(|| crypto::sha256(self.der()))
    }

    /// [`Certificate::thumbprint`] in lower-case hex.
    pub fn thumbprint_hex(&self) -> String {
        hex::encode(self.thumbprint())
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
    /// for byte, and its key verifies the signature. Neither validity nor
    /// extensions are looked at.
    ///
    /// # Errors
    /// [`NotIssued`].
    // X509-02, X509-15
    pub fn check_issued_by(&self, issuer: &Self) -> Result<(), NotIssued> {
        self.check_named_by(issuer)?;
        self.check_signed_by(issuer)
    }

    /// Checks the names of [`Certificate::check_issued_by`] alone.
    pub(super) fn check_named_by(&self, issuer: &Self) -> Result<(), NotIssued> {
        if self.issuer() == issuer.subject() {
            return Ok(());
        }
        Err(NotIssued::Name {
            issuer: self.issuer().clone(),
            subject: issuer.subject().clone(),
        })
    }

    /// Checks that the key of `issuer` verifies this certificate's signature, and nothing else:
    /// the names may differ.
    ///
    /// # Errors
    /// [`NotIssued`], never for the names.
    pub fn check_signed_by(&self, issuer: &Self) -> Result<(), NotIssued> {
        let key = issuer.public_key()?;
        let verify =
            || key.verify_signed_data(self.signature_algorithm(), self.tbs_der(), self.signature());
        if Arc::ptr_eq(&self.inner, &issuer.inner) {
            (*self.inner.self_signed.get_or_init(verify))?;
        } else {
            verify()?;
        }
        Ok(())
    }
}

impl Deref for Certificate {
    type Target = chain::Certificate;

    fn deref(&self) -> &chain::Certificate {
        &self.inner.parsed
    }
}

impl From<chain::Certificate> for Certificate {
    fn from(parsed: chain::Certificate) -> Self {
        Self {
            inner: Arc::new(Inner {
                issuer: parsed.issuer().into(),
                subject: parsed.subject().into(),
                public_key: PublicKey::from_spki_der(parsed.spki_der()),
                parsed,
                self_signed: OnceLock::new(),
                thumbprint: OnceLock::new(),
            }),
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
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

/// Reads a time as certificates, CRLs and OCSP answers have it (RFC 5280 §4.1.2.5).
pub(crate) fn time<'a, R: Reader<'a>>(reader: &mut R) -> der::Result<Timestamp> {
    chain::Time::decode(reader).map(timestamp)
}

fn civil(time: chain::Time) -> DateTime {
    let number = |part: u8| i8::try_from(part).unwrap_or_default();
    DateTime::new(
        i16::try_from(time.year).unwrap_or_default(),
        number(time.month),
        number(time.day),
        number(time.hour),
        number(time.minute),
        number(time.second),
        0,
    )
    .unwrap_or(DateTime::MAX)
}

/// The last day of the year 9999 is more than a [`Timestamp`] can hold.
fn timestamp(time: chain::Time) -> Timestamp {
    let timestamp = TimeZone::UTC.to_timestamp(civil(time));
    timestamp.unwrap_or(Timestamp::MAX)
}

/// A time in UTC.
pub(crate) fn utc(time: Timestamp) -> DateTime {
    TimeZone::UTC.to_datetime(time)
}

/// A time in UTC as the reference's messages write it: `Mon, 02 Jan 2006 15:04:05 +0000`.
pub(crate) fn rfc1123(time: DateTime) -> impl fmt::Display {
    time.strftime("%a, %d %b %Y %H:%M:%S +0000")
}
