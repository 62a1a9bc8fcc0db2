//! OCSP: the request, and its answer judged.
//!
//! Implements "Revocation Checking with OCSP" of the trust policy specification over RFC 6960.
//! Takes bytes and a time, opens nothing.
//!
//! ```text
//! OCSPRequest ::= SEQUENCE { SEQUENCE { SEQUENCE OF SEQUENCE { CertID } } }
//! CertID ::= SEQUENCE {
//!     hashAlgorithm  AlgorithmIdentifier,
//!     issuerNameHash OCTET STRING,
//!     issuerKeyHash  OCTET STRING,
//!     serialNumber   INTEGER }
//! OCSPResponse ::= SEQUENCE {
//!     responseStatus ENUMERATED,
//!     responseBytes  [0] EXPLICIT SEQUENCE { OBJECT IDENTIFIER, OCTET STRING } OPTIONAL }
//! BasicOCSPResponse ::= SEQUENCE {
//!     tbsResponseData, signatureAlgorithm, signature BIT STRING,
//!     certs [0] EXPLICIT SEQUENCE OF Certificate OPTIONAL }
//! ResponseData ::= SEQUENCE {
//!     version            [0] EXPLICIT INTEGER DEFAULT v1,
//!     responderID        CHOICE { byName [1] Name, byKey [2] OCTET STRING },
//!     producedAt         GeneralizedTime,
//!     responses          SEQUENCE OF SingleResponse,
//!     responseExtensions [1] EXPLICIT Extensions OPTIONAL }
//! SingleResponse ::= SEQUENCE {
//!     certID           CertID,
//!     certStatus       CHOICE { good [0] NULL, revoked [1] RevokedInfo, unknown [2] NULL },
//!     thisUpdate       GeneralizedTime,
//!     nextUpdate       [0] EXPLICIT GeneralizedTime OPTIONAL,
//!     singleExtensions [1] EXPLICIT Extensions OPTIONAL }
//! ```
//!
//! What must hold for safety: an [`OcspAnswer`] exists only for a response that is signed by the
//! certificate's issuer or by a responder that this issuer authorised, is current, and names
//! exactly the certificate asked for. The responderID is not compared: the signature says more.

// Requirements: REV-15, REV-18 to REV-28.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use hardsign_plugin::chain::Wrapping;
use jiff::{SignedDuration, Timestamp};

use super::asn1::{
    INTEGER, INVALIDITY_DATE, NotSigned, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, Signed,
    element, generalized_time, shortest,
};
use crate::crypto::{self, KeyError};
use crate::x509::{Certificate, KeyUsage, extensions, malformed, optional_context};

/// Longest response accepted, in bytes.
// REV-18
pub const MAX_RESPONSE_LEN: usize = 20480;

/// How far a responder's clock may be ahead (REV-24).
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Oldest answer accepted, whatever its nextUpdate says (REV-24): a year is what CAs state for CA
/// certificates, and this is some weeks more.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(400 * 24);

/// Most certificates that are tried as the responder's.
const MAX_RESPONDERS: usize = 8;

/// What a responder says about a certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OcspAnswer {
    /// The status.
    pub status: OcspStatus,
    /// Since when it is revoked, where it is and the responder says so.
    pub revoked_at: Option<Timestamp>,
    /// Until when this holds.
    pub valid_until: Timestamp,
    /// The responder's own certificate, where it has to be looked up in a CRL before the answer
    /// counts.
    // REV-28
    pub to_check: Option<Certificate>,
}

/// The status that a responder states.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OcspStatus {
    /// Not revoked, or only after an authentic signing time.
    // REV-25
    Good,
    /// Revoked, whatever the reason.
    // REV-26
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
}

/// A response that says nothing about the certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OcspError {
    /// Not the DER of a response.
    #[error("malformed OCSP response")]
    Malformed {
        /// What the DER decoder met.
        #[source]
        source: der::Error,
    },
    /// Something else than DER, known by its first bytes.
    #[error("malformed OCSP response: it is {wrapping}")]
    Wrapped {
        /// What its first bytes say that it is.
        wrapping: Wrapping,
    },
    /// Longer than [`MAX_RESPONSE_LEN`].
    #[error("the OCSP response has more than {MAX_RESPONSE_LEN} bytes")]
    TooLarge,
    /// The responder says that the request is malformed.
    // REV-18
    #[error("OCSP malformed")]
    MalformedRequest,
    /// The responder has an internal error.
    #[error("OCSP internal error")]
    InternalError,
    /// The responder asks for another try.
    #[error("OCSP try later")]
    TryLater,
    /// The responder wants signed requests.
    #[error("OCSP signature required")]
    SignatureRequired,
    /// The responder refuses the request.
    #[error("OCSP unauthorized")]
    Unauthorized,
    /// Another kind of response.
    #[error("OCSP response type {oid} is not supported")]
    ResponseType {
        /// The kind.
        oid: ObjectIdentifier,
    },
    /// The issuer's key, which names the certificate, can't be used.
    #[error(transparent)]
    IssuerKey(#[from] KeyError),
    /// Neither the issuer nor a responder of its own signed it.
    // REV-20, REV-34
    #[error(
        "the OCSP response is not signed by the certificate's issuer or a responder that it authorized"
    )]
    NotSigned {
        /// What came of the issuer's own key.
        #[source]
        source: NotSigned,
    },
    /// It is signed with a certificate of the issuer that is not for OCSP.
    // REV-21
    #[error("the OCSP response is signed by {}, which {fault}", responder.subject().quoted())]
    Responder {
        /// The certificate.
        responder: Box<Certificate>,
        /// What is wrong with it.
        fault: ResponderFault,
    },
    /// It is about other certificates.
    // REV-22
    #[error("the OCSP response is about another certificate")]
    OtherCertificate,
    /// It has expired, or does not say when it will.
    // REV-23
    #[error("expired OCSP response")]
    Expired,
    /// It is from the future.
    // REV-24
    #[error("the OCSP response is not yet valid")]
    NotYetValid,
    /// It is older than is believed.
    // REV-24
    #[error("the OCSP response is more than {} days old", MAX_AGE.as_hours() / 24)]
    TooOld,
    /// A critical extension that is not understood.
    // REV-27
    #[error("unsupported critical extension found in OCSP response: {oid}")]
    Critical {
        /// The extension.
        oid: ObjectIdentifier,
    },
}

/// Why a certificate of the issuer may not sign OCSP responses.
// REV-21
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponderFault {
    /// Its extended key usage does not have OCSPSigning.
    #[error("is not authorized to sign OCSP responses")]
    NoPurpose,
    /// Its key usage does not have digitalSignature.
    #[error("may not make digital signatures")]
    NoDigitalSignature,
    /// It is not valid now.
    #[error("is not valid at this time")]
    NotValid,
}

impl From<der::Error> for OcspError {
    fn from(source: der::Error) -> Self {
        Self::Malformed { source }
    }
}

/// The DER of the request for one certificate: a CertID with SHA-1, unsigned, without extensions.
///
/// # Errors
/// The issuer's key is of an unsupported kind.
// REV-15
pub fn request(certificate: &Certificate, issuer: &Certificate) -> Result<Vec<u8>, OcspError> {
    let id = CertId::of(certificate, issuer)?;
    let algorithm = sequence(&[tlv(OBJECT_IDENTIFIER, SHA1.as_bytes())?, tlv(NULL, &[])?])?;
    let id = sequence(&[
        algorithm,
        tlv(OCTET_STRING, &id.issuer_name)?,
        tlv(OCTET_STRING, &id.issuer_key)?,
        tlv(INTEGER, id.serial)?,
    ])?;
    // Request, requestList, TBSRequest, OCSPRequest.
    let mut der = id;
    for _ in 0..4 {
        der = sequence(&[der])?;
    }
    Ok(der)
}

/// Judges a response about `certificate`, which `issuer` issued.
///
/// `authentic_signing_time` is what a signing authority vouches for: a certificate that became
/// invalid after it counts as good.
///
/// # Errors
/// [`OcspError`]: the response says nothing.
// REV-25
pub fn judge(
    response: &[u8],
    certificate: &Certificate,
    issuer: &Certificate,
    authentic_signing_time: Option<Timestamp>,
    now: Timestamp,
) -> Result<OcspAnswer, OcspError> {
    if response.len() > MAX_RESPONSE_LEN {
        return Err(OcspError::TooLarge);
    }
    if let Some(wrapping) = Wrapping::of(response) {
        return Err(OcspError::Wrapped { wrapping });
    }
    let basic = basic_response(response)?;
    let signed = Signed::find(basic)?;
    let to_check = responder(basic, &signed, issuer, now)?;
    let tbs = basic.get(signed.tbs.clone()).unwrap_or_default();
    let data = ResponseData::read(tbs)?;
    let id = CertId::of(certificate, issuer)?;
    let mut worst: Option<(OcspStatus, Timestamp)> = None;
    let mut revoked_at: Option<Timestamp> = None;
    for single in &data.singles {
        if !single.is_about(&id) {
            continue;
        }
        let (status, until) = single.judge(data.produced_at, authentic_signing_time, now)?;
        if status == OcspStatus::Revoked {
            revoked_at = [revoked_at, single.revoked_at].into_iter().flatten().min();
        }
        worst = Some(match worst {
            Some((known, earlier)) => (worse(known, status), earlier.min(until)),
            None => (status, until),
        });
    }
    let (status, valid_until) = worst.ok_or(OcspError::OtherCertificate)?;
    Ok(OcspAnswer {
        status,
        revoked_at,
        valid_until,
        to_check,
    })
}

/// Reads a response to its end. Nobody has looked at the signature: this is for tests, and decides
/// nothing.
///
/// # Errors
/// [`OcspError`]: it can't be read.
pub fn danger_parse(response: &[u8]) -> Result<(), OcspError> {
    let basic = basic_response(response)?;
    let signed = Signed::find(basic)?;
    carried(basic.get(signed.rest.clone()).unwrap_or_default())?;
    ResponseData::read(basic.get(signed.tbs.clone()).unwrap_or_default())?;
    Ok(())
}

/// Of two statements about the same certificate, the one that can't do harm.
fn worse(a: OcspStatus, b: OcspStatus) -> OcspStatus {
    match (a, b) {
        (OcspStatus::Revoked, _) | (_, OcspStatus::Revoked) => OcspStatus::Revoked,
        (OcspStatus::Unknown, _) | (_, OcspStatus::Unknown) => OcspStatus::Unknown,
        (OcspStatus::Good, OcspStatus::Good) => OcspStatus::Good,
    }
}

/// The BasicOCSPResponse inside a successful response.
fn basic_response(response: &[u8]) -> Result<&[u8], OcspError> {
    let mut reader = SliceReader::new(response)?;
    let (status, bytes) = reader.sequence(|reader| {
        let status = AnyRef::decode(reader)?;
        status.tag().assert_eq(Tag::Enumerated)?;
        let [status] = status.value() else {
            return Err(malformed(Tag::Enumerated));
        };
        Ok((*status, optional_context(reader, 0, true)?))
    })?;
    reader.finish(())?;
    match status {
        0 => {}
        1 => return Err(OcspError::MalformedRequest),
        2 => return Err(OcspError::InternalError),
        3 => return Err(OcspError::TryLater),
        5 => return Err(OcspError::SignatureRequired),
        6 => return Err(OcspError::Unauthorized),
        _ => return Err(malformed(Tag::Enumerated).into()),
    }
    let mut reader = SliceReader::new(bytes.ok_or_else(|| malformed(Tag::Sequence))?)?;
    let (oid, basic) = reader.sequence(|reader| {
        let oid = ObjectIdentifier::decode(reader)?;
        Ok((oid, OctetStringRef::decode(reader)?.as_bytes()))
    })?;
    reader.finish(())?;
    if oid == BASIC_RESPONSE {
        Ok(basic)
    } else {
        Err(OcspError::ResponseType { oid })
    }
}

/// Finds who signed, and whether that may be (REV-20, REV-21). The certificate returned must be
/// looked up in a CRL (REV-28).
fn responder(
    basic: &[u8],
    signed: &Signed,
    issuer: &Certificate,
    now: Timestamp,
) -> Result<Option<Certificate>, OcspError> {
    let Err(source) = signed.verify(basic, issuer) else {
        return Ok(None);
    };
    let rest = basic.get(signed.rest.clone()).unwrap_or_default();
    for responder in carried(rest)? {
        let issued = responder.check_issued_by(issuer).is_ok();
        if !issued || signed.verify(basic, &responder).is_err() {
            continue;
        }
        let purposes = responder.extended_key_usage().unwrap_or_default();
        let usage = responder.key_usage();
        let fault = if !purposes.contains(&OCSP_SIGNING) {
            ResponderFault::NoPurpose
        } else if !usage.is_none_or(|usage| usage.allows(KeyUsage::DIGITAL_SIGNATURE)) {
            ResponderFault::NoDigitalSignature
        } else if !responder.is_valid_at(now) {
            ResponderFault::NotValid
        } else {
            let exempt = responder.extension(OCSP_NOCHECK).is_some();
            let listed = !responder.crl_urls().is_empty();
            return Ok((!exempt && listed).then_some(responder));
        };
        return Err(OcspError::Responder {
            responder: Box::new(responder),
            fault,
        });
    }
    Err(OcspError::NotSigned { source })
}

/// The certificates that come with a response; those that can't be parsed are nobody's.
fn carried(rest: &[u8]) -> der::Result<Vec<Certificate>> {
    let mut reader = SliceReader::new(rest)?;
    let list = optional_context(&mut reader, 0, true)?;
    reader.finish(())?;
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let mut certificates = Vec::new();
    let mut reader = SliceReader::new(list)?;
    reader.sequence(|reader| {
        while !reader.is_finished() {
            let der = reader.tlv_bytes()?;
            if certificates.len() < MAX_RESPONDERS {
                certificates.extend(Certificate::from_der(der));
            }
        }
        Ok(())
    })?;
    reader.finish(certificates)
}

/// What names a certificate: hashes of its issuer's name and key, and its serial number.
struct CertId<'a> {
    issuer_name: Vec<u8>,
    issuer_key: Vec<u8>,
    serial: &'a [u8],
}

impl<'a> CertId<'a> {
    fn of(certificate: &'a Certificate, issuer: &Certificate) -> Result<Self, OcspError> {
        Ok(Self {
            issuer_name: crypto::sha1_name(issuer.subject().der()),
            issuer_key: crypto::sha1_name(issuer.public_key()?.bytes()),
            serial: certificate.serial(),
        })
    }
}

struct ResponseData<'a> {
    produced_at: Timestamp,
    singles: Vec<Single<'a>>,
}

struct Single<'a> {
    algorithm: ObjectIdentifier,
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: OcspStatus,
    revoked_at: Option<Timestamp>,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    invalidity_date: Option<Timestamp>,
    unsupported: Option<ObjectIdentifier>,
}

impl<'a> ResponseData<'a> {
    fn read(tbs: &'a [u8]) -> Result<Self, OcspError> {
        let mut reader = SliceReader::new(tbs)?;
        let (data, unsupported) = reader.sequence(|reader| {
            if let Some(version) = optional_context(reader, 0, true)?
                && u8::from_der(version)? != 0
            {
                return Err(malformed(Tag::Integer));
            }
            let by_name = optional_context(reader, 1, true)?;
            let by_key = optional_context(reader, 2, true)?;
            if by_name.is_some() == by_key.is_some() {
                return Err(malformed(Tag::Sequence));
            }
            let produced_at = generalized_time(reader.tlv_bytes()?)?;
            let mut singles = Vec::new();
            reader.sequence(|reader| {
                while !reader.is_finished() {
                    singles.push(reader.sequence(Single::read)?);
                }
                Ok(())
            })?;
            let mut unsupported = None;
            if let Some(list) = optional_context(reader, 1, true)? {
                let critical = extensions(list)?.into_iter().find(|e| e.critical);
                unsupported = critical.map(|extension| extension.oid);
            }
            let data = Self {
                produced_at,
                singles,
            };
            Ok((data, unsupported))
        })?;
        reader.finish(())?;
        match unsupported {
            Some(oid) => Err(OcspError::Critical { oid }),
            None => Ok(data),
        }
    }
}

impl<'a> Single<'a> {
    fn read<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        let (algorithm, issuer_name, issuer_key, serial) = reader.sequence(|id| {
            let algorithm = spki::AlgorithmIdentifierRef::decode(id)?.oid;
            let name = OctetStringRef::decode(id)?.as_bytes();
            let key = OctetStringRef::decode(id)?.as_bytes();
            let serial = AnyRef::decode(id)?;
            serial.tag().assert_eq(Tag::Integer)?;
            Ok((algorithm, name, key, serial.value()))
        })?;
        let status = match reader.peek_byte() {
            Some(GOOD) => OcspStatus::Good,
            Some(REVOKED) => OcspStatus::Revoked,
            Some(UNKNOWN) => OcspStatus::Unknown,
            _ => return Err(malformed(Tag::Sequence)),
        };
        let revoked_at = revocation_time(reader.tlv_bytes()?);
        let this_update = generalized_time(reader.tlv_bytes()?)?;
        let next_update = optional_context(reader, 0, true)?;
        let mut single = Self {
            algorithm,
            issuer_name,
            issuer_key,
            serial,
            status,
            revoked_at,
            this_update,
            next_update: next_update.map(generalized_time).transpose()?,
            invalidity_date: None,
            unsupported: None,
        };
        if let Some(list) = optional_context(reader, 1, true)? {
            for extension in extensions(list)? {
                if extension.oid == INVALIDITY_DATE {
                    single.invalidity_date = Some(generalized_time(&extension.value)?);
                } else if extension.critical {
                    single.unsupported = single.unsupported.or(Some(extension.oid));
                }
            }
        }
        Ok(single)
    }

    /// The whole CertID is compared (REV-22).
    fn is_about(&self, id: &CertId<'_>) -> bool {
        self.algorithm == SHA1
            && self.issuer_name == id.issuer_name
            && self.issuer_key == id.issuer_key
            && shortest(self.serial) == shortest(id.serial)
    }

    fn judge(
        &self,
        produced_at: Timestamp,
        authentic_signing_time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(OcspStatus, Timestamp), OcspError> {
        if let Some(oid) = self.unsupported {
            return Err(OcspError::Critical { oid });
        }
        let latest = now.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        let earliest = now.saturating_sub(MAX_AGE).unwrap_or(Timestamp::MIN);
        if self.this_update > latest || produced_at > latest {
            return Err(OcspError::NotYetValid);
        }
        let next_update = self.next_update.filter(|next| now <= *next);
        let next_update = next_update.ok_or(OcspError::Expired)?;
        if self.this_update < earliest {
            return Err(OcspError::TooOld);
        }
        let later = authentic_signing_time
            .zip(self.invalidity_date)
            .is_some_and(|(signed, invalid)| signed < invalid);
        let status = match self.status {
            OcspStatus::Revoked if later => OcspStatus::Good,
            status => status,
        };
        Ok((status, next_update))
    }
}

/// The time in a `RevokedInfo`; it decides nothing, and none where it can't be read or there is none.
fn revocation_time(status: &[u8]) -> Option<Timestamp> {
    let mut status = status;
    let mut info = element(&mut status)
        .filter(|info| info.tag == REVOKED)?
        .value;
    let whole = info;
    element(&mut info)?;
    generalized_time(whole.get(..whole.len() - info.len())?).ok()
}

fn tlv(tag: u8, value: &[u8]) -> der::Result<Vec<u8>> {
    let tag = Tag::try_from(tag)?;
    AnyRef::new(tag, value)?.to_der()
}

fn sequence(parts: &[Vec<u8>]) -> der::Result<Vec<u8>> {
    tlv(SEQUENCE, &parts.concat())
}

const NULL: u8 = 0x05;
/// Tags of CertStatus.
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;
const UNKNOWN: u8 = 0x82;

const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const BASIC_RESPONSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
const OCSP_NOCHECK: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.5");
