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
//! The received bytes are kept; nothing is encoded anew. Host and plugins read certificates here
//! and nowhere else, so what signs can also be verified.

use std::ops::Range;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _};

use super::extension::{self, BasicConstraints, Extension, KeyUsage, optional_context};
use super::{Name, PublicKey, Time, Wrapping};

/// Longest certificate accepted, in bytes.
pub const MAX_CERTIFICATE_LEN: usize = 64 * 1024;

/// A parsed certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Box<[u8]>,
    tbs: Range<usize>,
    signature_algorithm: Vec<u8>,
    signature: Vec<u8>,
    serial: Vec<u8>,
    issuer: Name,
    subject: Name,
    not_before: Time,
    not_after: Time,
    spki: Vec<u8>,
    extensions: Vec<Extension>,
    read: Read,
}

/// The extensions that are read.
#[derive(Clone, Debug, Default)]
struct Read {
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<Vec<ObjectIdentifier>>,
    ocsp_urls: Vec<String>,
    crl_urls: Vec<String>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
}

/// A certificate that cannot be read. The text begins with what scripts look for.
// X509-23
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not the DER of a certificate.
    #[error("x509: malformed certificate: {field}, at byte {at}: {flaw}")]
    Malformed {
        /// Where it is: a field by its name in RFC 5280, or an extension.
        field: String,
        /// Bytes before the place, counted from the start of the certificate.
        at: usize,
        /// Which rule of the Notary Project it breaks.
        flaw: Box<Flaw>,
    },
    /// Something else than DER.
    #[error("x509: malformed certificate: it is {0}")]
    Wrapped(Wrapping),
    /// Longer than [`MAX_CERTIFICATE_LEN`].
    #[error("x509: malformed certificate: {length} bytes are more than {MAX_CERTIFICATE_LEN}")]
    TooLarge {
        /// Length in bytes.
        length: usize,
    },
}

impl From<der::Error> for Flaw {
    fn from(error: der::Error) -> Self {
        Self::Der(error)
    }
}

/// What is wrong at one place of a certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// Not DER, or another type than is due.
    #[error("{}", _0.kind())]
    Der(der::Error),
    /// A character that the string's type does not have.
    #[error("{kind} can't hold {character:?}")]
    Character {
        /// The type of string.
        kind: &'static str,
        /// The first such character.
        character: char,
    },
    /// A string whose bytes are no text.
    #[error("the bytes are no {kind}")]
    Bytes {
        /// The type of string.
        kind: &'static str,
    },
    /// A value of a name that is none of the string types that are read.
    #[error(
        "a value of type {kind}; names are read in UTF8String, PrintableString, IA5String, NumericString, TeletexString and BMPString"
    )]
    StringType {
        /// The type.
        kind: String,
    },
    /// An extension that occurs twice (RFC 5280 §4.2).
    #[error("the extension occurs twice")]
    Twice,
    /// More extensions than are read.
    #[error("there are more than {0} extensions")]
    TooMany(usize),
    /// The algorithm inside the signed part is not the one outside (RFC 5280 §4.1.1.2).
    #[error("the algorithm in the signed part and the one beside the signature differ")]
    Algorithms,
    /// A version that does not exist.
    #[error("there is no version {}", u16::from(*_0) + 1)]
    Version(u8),
    /// Extensions in a version that has none.
    #[error("a certificate of version {} has no extensions", u16::from(*_0) + 1)]
    ExtensionsInOldVersion(u8),
    /// Not one of the two forms of time that RFC 5280 allows.
    #[error(
        "{text:?} is not a time as RFC 5280 requires it: UTCTime YYMMDDHHMMSSZ or GeneralizedTime YYYYMMDDHHMMSSZ"
    )]
    Time {
        /// The value.
        text: String,
    },
    /// Bytes behind the end.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
}

impl Certificate {
    /// Reads one DER certificate with nothing after it.
    ///
    /// # Errors
    /// [`CertificateError`]: also for repeated extensions, an algorithm that differs inside and
    /// outside the signed part, and malformed values of the extensions that are read here. A
    /// public key of an unsupported kind is no error; see [`Certificate::public_key`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let wrapping = Wrapping::of(der).filter(|wrapping| *wrapping != Wrapping::PrivateKey);
        if let Some(wrapping) = wrapping {
            return Err(CertificateError::Wrapped(wrapping));
        }
        if der.len() > MAX_CERTIFICATE_LEN {
            return Err(CertificateError::TooLarge { length: der.len() });
        }
        Parser { whole: der }.certificate()
    }

    /// The certificate as it was received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The signed part, as it was received.
    pub fn tbs_der(&self) -> &[u8] {
        self.der.get(self.tbs.clone()).unwrap_or_default()
    }

    /// The AlgorithmIdentifier of the signature, in DER.
    pub fn signature_algorithm(&self) -> &[u8] {
        &self.signature_algorithm
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The content bytes of the serial number: big-endian two's complement, as in the DER, of any
    /// length (RFC 5280 §4.1.2.2 asks issuers for 20 octets at most; some write more).
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The issuer's name.
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// The subject's name.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// First second of validity.
    pub fn not_before(&self) -> Time {
        self.not_before
    }

    /// Last second of validity.
    pub fn not_after(&self) -> Time {
        self.not_after
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The subject's public key.
    ///
    /// # Errors
    /// It is malformed. A key of an unknown kind is no error.
    pub fn public_key(&self) -> Result<PublicKey, super::ChainError> {
        PublicKey::from_spki_der(&self.spki)
    }

    /// Every extension, in order.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// An extension by its type.
    pub fn extension(&self, oid: ObjectIdentifier) -> Option<&Extension> {
        self.extensions.iter().find(|e| e.oid == oid)
    }

    /// The basicConstraints extension.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.read.basic_constraints
    }

    /// The keyUsage extension.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.read.key_usage
    }

    /// The purposes of the extKeyUsage extension.
    pub fn extended_key_usage(&self) -> Option<&[ObjectIdentifier]> {
        self.read.extended_key_usage.as_deref()
    }

    /// The OCSP responders named by authorityInfoAccess, in order.
    pub fn ocsp_urls(&self) -> &[String] {
        &self.read.ocsp_urls
    }

    /// The URIs named by cRLDistributionPoints, in order.
    pub fn crl_urls(&self) -> &[String] {
        &self.read.crl_urls
    }

    /// The subjectKeyIdentifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.read.subject_key_id.as_deref()
    }

    /// The keyIdentifier of authorityKeyIdentifier.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.read.authority_key_id.as_deref()
    }

    /// Whether basicConstraints says that the subject is a CA.
    pub fn is_ca(&self) -> bool {
        self.basic_constraints().is_some_and(|b| b.ca)
    }

    /// Whether subject and issuer are the same name, byte for byte.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether `time` is inside the validity, bounds included.
    // X509-19
    pub fn is_valid_at(&self, time: Time) -> bool {
        self.not_before <= time && time <= self.not_after
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

type Parsed<T> = Result<T, CertificateError>;

/// Reads the parts of `whole`, and knows where in it each of them stands.
struct Parser<'a> {
    whole: &'a [u8],
}

impl<'a> Parser<'a> {
    /// Bytes of the certificate before `part`, which lies in it.
    fn offset(&self, part: &[u8]) -> usize {
        let start = self.whole.as_ptr().addr();
        part.as_ptr().addr().saturating_sub(start)
    }

    fn fault(&self, field: &str, part: &[u8], flaw: impl Into<Flaw>) -> CertificateError {
        let flaw = flaw.into();
        let inside = match &flaw {
            Flaw::Der(error) => error.position().and_then(|at| usize::try_from(at).ok()),
            _ => None,
        };
        CertificateError::Malformed {
            field: field.to_owned(),
            at: self.offset(part).saturating_add(inside.unwrap_or(0)),
            flaw: Box::new(flaw),
        }
    }

    /// The next element of `reader`, which reads `part`.
    fn next(&self, field: &str, part: &[u8], reader: &mut SliceReader<'a>) -> Parsed<&'a [u8]> {
        reader
            .tlv_bytes()
            .map_err(|error| self.fault(field, part, error))
    }

    /// The element's value, if it has the tag.
    fn value(&self, field: &str, element: &'a [u8], tag: Tag) -> Parsed<&'a [u8]> {
        let value =
            AnyRef::try_from(element).and_then(|any| any.tag().assert_eq(tag).map(|_| any.value()));
        value.map_err(|error| self.fault(field, element, error))
    }

    fn reader(&self, field: &str, part: &'a [u8]) -> Parsed<SliceReader<'a>> {
        SliceReader::new(part).map_err(|error| self.fault(field, part, error))
    }

    fn finish(&self, field: &str, part: &[u8], reader: &SliceReader<'_>) -> Parsed<()> {
        let rest = usize::try_from(reader.remaining_len()).unwrap_or(usize::MAX);
        if rest == 0 {
            return Ok(());
        }
        let end = part.len().saturating_sub(rest);
        let rest_of = part.get(end..).unwrap_or_default();
        Err(self.fault(field, rest_of, Flaw::Trailing(rest)))
    }

    fn certificate(&self) -> Parsed<Certificate> {
        const WHOLE: &str = "Certificate";
        let mut outer = self.reader(WHOLE, self.whole)?;
        let element = self.next(WHOLE, self.whole, &mut outer)?;
        self.finish(WHOLE, self.whole, &outer)?;
        let content = self.value(WHOLE, element, Tag::Sequence)?;
        let mut reader = self.reader(WHOLE, content)?;
        let tbs = self.next("tbsCertificate", content, &mut reader)?;
        let signature_algorithm = self.next("signatureAlgorithm", content, &mut reader)?;
        let signature_element = self.next("signatureValue", content, &mut reader)?;
        self.finish(WHOLE, content, &reader)?;
        let signature = BitStringRef::from_der(signature_element)
            .and_then(|bits| bits.as_bytes().ok_or_else(|| Tag::BitString.value_error()))
            .map_err(|error| self.fault("signatureValue", signature_element, error))?;
        let tbs_at = self.offset(tbs);
        let mut certificate = self.tbs(tbs, signature_algorithm)?;
        certificate.tbs = tbs_at..tbs_at.saturating_add(tbs.len());
        certificate.signature_algorithm = signature_algorithm.to_vec();
        certificate.signature = signature.to_vec();
        Ok(certificate)
    }

    fn tbs(&self, tbs: &'a [u8], outer_algorithm: &[u8]) -> Parsed<Certificate> {
        let content = self.value("tbsCertificate", tbs, Tag::Sequence)?;
        let mut reader = self.reader("tbsCertificate", content)?;
        let version = self.version(&mut reader, content)?;
        let serial = self.next("serialNumber", content, &mut reader)?;
        let serial = self.value("serialNumber", serial, Tag::Integer)?;
        let algorithm = self.next("signature", content, &mut reader)?;
        if algorithm != outer_algorithm {
            return Err(self.fault("signature", algorithm, Flaw::Algorithms));
        }
        let issuer = self.name("issuer", self.next("issuer", content, &mut reader)?)?;
        let (not_before, not_after) =
            self.validity(self.next("validity", content, &mut reader)?)?;
        let subject = self.name("subject", self.next("subject", content, &mut reader)?)?;
        let spki = self.next("subjectPublicKeyInfo", content, &mut reader)?;
        let mut optional = |field: &str, number, constructed| {
            optional_context(&mut reader, number, constructed)
                .map_err(|error| self.fault(field, content, error))
        };
        optional("issuerUniqueID", 1, false)?;
        optional("subjectUniqueID", 2, false)?;
        let list = optional("extensions", 3, true)?;
        self.finish("tbsCertificate", content, &reader)?;
        let (extensions, read) = match list {
            Some(list) if version != 2 => {
                return Err(self.fault("extensions", list, Flaw::ExtensionsInOldVersion(version)));
            }
            Some(list) => self.extensions(list)?,
            None => (Vec::new(), Read::default()),
        };
        Ok(Certificate {
            der: self.whole.into(),
            tbs: 0..0,
            signature_algorithm: Vec::new(),
            signature: Vec::new(),
            serial: serial.to_vec(),
            issuer,
            subject,
            not_before,
            not_after,
            spki: spki.to_vec(),
            extensions,
            read,
        })
    }

    /// The number of the version: 0 is v1.
    fn version(&self, reader: &mut SliceReader<'a>, content: &'a [u8]) -> Parsed<u8> {
        let version = optional_context(reader, 0, true)
            .map_err(|error| self.fault("version", content, error))?;
        let Some(version) = version else { return Ok(0) };
        let number =
            u8::from_der(version).map_err(|error| self.fault("version", version, error))?;
        if number > 2 {
            return Err(self.fault("version", version, Flaw::Version(number)));
        }
        Ok(number)
    }

    fn name(&self, field: &str, element: &'a [u8]) -> Parsed<Name> {
        Name::read(element).map_err(|(attribute, part, flaw)| match attribute {
            Some(oid) => {
                let attribute = super::name::name_of(oid);
                self.fault(&format!("{field}, attribute {attribute}"), part, flaw)
            }
            None => self.fault(field, part, flaw),
        })
    }

    fn validity(&self, element: &'a [u8]) -> Parsed<(Time, Time)> {
        let content = self.value("validity", element, Tag::Sequence)?;
        let mut reader = self.reader("validity", content)?;
        let mut time = |field: &str| {
            let element = self.next(field, content, &mut reader)?;
            AnyRef::try_from(element)
                .map_err(Flaw::from)
                .and_then(Time::from_any)
                .map_err(|flaw| self.fault(field, element, flaw))
        };
        let times = (time("notBefore")?, time("notAfter")?);
        self.finish("validity", content, &reader)?;
        Ok(times)
    }

    fn extensions(&self, list: &'a [u8]) -> Parsed<(Vec<Extension>, Read)> {
        let parts = extension::parts(list).map_err(|(oid, part, flaw)| match oid {
            Some(oid) => self.fault(&extension::describe(oid), part, flaw),
            None => self.fault("extensions", part, flaw),
        })?;
        let mut read = Read::default();
        for part in &parts {
            self.extension(part, &mut read)
                .map_err(|error| self.fault(&extension::describe(part.oid), part.value, error))?;
        }
        let extensions = parts.iter().map(|part| part.to_extension()).collect();
        Ok((extensions, read))
    }

    fn extension(&self, part: &extension::Part<'a>, read: &mut Read) -> der::Result<()> {
        match part.oid {
            extension::BASIC_CONSTRAINTS => {
                read.basic_constraints = Some(extension::basic_constraints(part)?);
            }
            extension::KEY_USAGE => read.key_usage = Some(extension::key_usage(part)?),
            extension::EXT_KEY_USAGE => {
                read.extended_key_usage = Some(extension::extended_key_usage(part.value)?);
            }
            extension::AUTHORITY_INFO_ACCESS => {
                read.ocsp_urls = extension::ocsp_urls(part.value)?;
            }
            extension::CRL_DISTRIBUTION_POINTS => {
                read.crl_urls = extension::crl_urls(part.value)?;
            }
            // Hints for choosing an issuer, not rules: what does not decode is no hint.
            extension::SUBJECT_KEY_ID => {
                read.subject_key_id = extension::subject_key_id(part.value).ok();
            }
            extension::AUTHORITY_KEY_ID => {
                read.authority_key_id = extension::authority_key_id(part.value).ok().flatten();
            }
            _ => {}
        }
        Ok(())
    }
}
