//! CRLs and delta CRLs, judged.
//!
//! Implements "Revocation Checking with CRL" of the trust policy specification over RFC 5280 §5 and
//! §6.3.3. Takes bytes and a time, opens nothing.
//!
//! ```text
//! CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signatureValue BIT STRING }
//! TBSCertList ::= SEQUENCE {
//!     version             INTEGER OPTIONAL,            -- if present, v2
//!     signature           AlgorithmIdentifier,
//!     issuer              Name,
//!     thisUpdate          Time,
//!     nextUpdate          Time OPTIONAL,
//!     revokedCertificates SEQUENCE OF SEQUENCE {
//!         userCertificate    INTEGER,
//!         revocationDate     Time,
//!         crlEntryExtensions Extensions OPTIONAL } OPTIONAL,
//!     crlExtensions       [0] EXPLICIT Extensions OPTIONAL }
//! ```
//!
//! A CRL may have a million entries: they are read in place, once for each certificate that is
//! looked up, and no tree of them is built.
//!
//! What must hold for safety: a [`Bundle`] exists only for CRLs that the issuer's key signed, and
//! says "not revoked" only for a certificate in their scope while both are current. Indirect CRLs
//! are not supported.

// Requirements: REV-33 to REV-46.

mod entry;

use std::fmt;
use std::ops::Range;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use hardsign_plugin::chain::Wrapping;
use jiff::Timestamp;

use self::entry::{Entry, entries_of, is_held};
use super::asn1::{INTEGER, NotSigned, SEQUENCE, Signed, optional_time};
use super::points::{self, DistributionPoint, OutOfScope, Reasons, Scope};
use crate::x509::{Certificate, KeyUsage, Name, extensions, malformed, optional_context, time};

/// Longest CRL accepted, in bytes: less than 32 MiB.
// REV-31
pub const MAX_CRL_LEN: usize = (32 << 20) - 1;
/// Longest issuer name, and longest list of extensions, in bytes.
const MAX_PART_LEN: usize = 64 << 10;

/// A parsed CRL, base or delta. Its entries have not been looked at, nor has its signature.
#[derive(Clone, Debug)]
pub struct Crl {
    der: Box<[u8]>,
    signed: Signed,
    issuer: Name,
    next_update: Option<Timestamp>,
    next_publish: Option<Timestamp>,
    /// Where the content of `revokedCertificates` stands.
    entries: Range<usize>,
    number: Option<Number>,
    base_number: Option<Number>,
    scope: Option<Scope>,
    freshest: Vec<String>,
    unsupported: Option<ObjectIdentifier>,
}

/// A CRL with the delta that belongs to it, both by one issuer: what is proven is everything that
/// does not depend on the time or on a certificate.
#[derive(Debug)]
pub struct Bundle {
    base: Crl,
    delta: Option<Crl>,
}

/// What a bundle says about one certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Whether the certificate is revoked.
    pub revoked: bool,
    /// Since when, where it is.
    pub revoked_at: Option<Timestamp>,
    /// The reasons for which it would be listed.
    pub reasons: Reasons,
    /// Until when this holds.
    pub valid_until: Timestamp,
}

/// A CRL's number: an INTEGER that is not negative, as big-endian bytes without leading zeros.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Number(Vec<u8>);

/// A CRL that says nothing about a certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// Not the DER of a CRL; PEM is none.
    // REV-31
    #[error("x509: malformed crl")]
    Malformed {
        /// What the DER decoder met.
        #[source]
        source: der::Error,
    },
    /// Something else than DER, known by its first bytes.
    // REV-31
    #[error("x509: malformed crl: the server's answer is {wrapping}, not a CRL in DER")]
    Wrapped {
        /// What it is.
        wrapping: Wrapping,
    },
    /// An entry is malformed.
    #[error("x509: malformed crl entry")]
    Entry,
    /// Longer than [`MAX_CRL_LEN`].
    #[error("CRL size exceeds the limit: {}", MAX_CRL_LEN + 1)]
    TooLarge,
    /// Another issuer's.
    // REV-35
    #[error("the CRL is issued by {}, not by CA {}", found.quoted(), expected.quoted())]
    OtherIssuer {
        /// The issuer that it names.
        found: Name,
        /// The certificate's issuer.
        expected: Name,
    },
    /// The issuer may not sign CRLs.
    // REV-33
    #[error("CRL is not signed by CA {}: its key usage has no bit for CRLSign", issuer.quoted())]
    NoCrlSign {
        /// The issuer.
        issuer: Name,
    },
    /// The issuer's key did not sign it.
    // REV-33, REV-34
    #[error("CRL is not signed by CA {}", issuer.quoted())]
    NotSigned {
        /// The issuer.
        issuer: Name,
        /// Which condition of being signed by the issuer does not hold.
        #[source]
        source: NotSigned,
    },
    /// It never expires.
    // REV-36
    #[error("CRL NextUpdate is not set")]
    NoNextUpdate,
    /// It has expired.
    // REV-36
    #[error(
        "expired CRL. Current time {} is after CRL NextUpdate {}", go_time(*now), go_time(*next_update)
    )]
    Expired {
        /// The time of the check.
        now: Timestamp,
        /// Its end.
        next_update: Timestamp,
    },
    /// It or one of its entries has a critical extension that is not understood.
    // REV-36
    #[error("unsupported critical extension found in CRL: {oid}")]
    Critical {
        /// The extension.
        oid: ObjectIdentifier,
    },
    /// It does not cover the certificate.
    // REV-38
    #[error(transparent)]
    Scope(#[from] OutOfScope),
    /// A delta in place of a base CRL.
    // REV-39
    #[error("a delta CRL was found in place of a base CRL")]
    DeltaAsBase,
    /// The base CRL names a delta, and there is none.
    // REV-40
    #[error("the base CRL has a delta CRL, which is missing")]
    DeltaMissing,
    /// A base CRL in place of a delta.
    // REV-41
    #[error("delta CRL indicator extension is not found")]
    NotADelta,
    /// A CRL without a number can't be combined with another.
    // REV-42
    #[error("a CRL that is used with a delta CRL must have a number")]
    NoNumber,
    /// The delta is not newer than its base.
    // REV-41
    #[error("delta CRL number {delta} is not greater than the base CRL number {base}")]
    DeltaNotNewer {
        /// Number of the delta.
        delta: Number,
        /// Number of the base.
        base: Number,
    },
    /// The delta builds on a newer base.
    // REV-41
    #[error(
        "delta CRL indicator {indicator} is not less than or equal to the base CRL number {base}"
    )]
    DeltaOfNewerBase {
        /// Number of the base that the delta builds on.
        indicator: Number,
        /// Number of the base.
        base: Number,
    },
    /// Base and delta cover different parts (RFC 5280 §6.3.3 (c)).
    #[error("the delta CRL has another scope than the base CRL")]
    DeltaOfOtherScope,
    /// Only the certificate says where the delta is.
    // REV-43
    #[error("freshest CRL from certificate extension is not supported")]
    FreshestInCertificate,
}

impl From<der::Error> for CrlError {
    fn from(source: der::Error) -> Self {
        Self::Malformed { source }
    }
}

impl Crl {
    /// Parses one DER CRL with nothing after it.
    ///
    /// # Errors
    /// [`CrlError::TooLarge`], [`CrlError::Malformed`].
    pub fn parse(der: Vec<u8>) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL_LEN {
            return Err(CrlError::TooLarge);
        }
        if let Some(wrapping) = Wrapping::of(&der)
            && wrapping != Wrapping::Crl
        {
            return Err(CrlError::Wrapped { wrapping });
        }
        let signed = Signed::find(&der)?;
        let tbs = der.get(signed.tbs.clone()).unwrap_or_default();
        let fields = SliceReader::new(tbs)?.sequence(Fields::read)?;
        let outside = der.get(signed.algorithm.clone());
        if !signed.rest.is_empty() || Some(fields.algorithm) != outside {
            return Err(malformed(Tag::Sequence).into());
        }
        // The entries end where the fields behind them begin.
        let end = signed.tbs.end.saturating_sub(fields.behind_entries);
        Ok(Self {
            entries: end.saturating_sub(fields.entries)..end,
            issuer: fields.issuer,
            next_update: fields.next_update,
            next_publish: fields.extensions.next_publish,
            number: fields.extensions.number,
            base_number: fields.extensions.base_number,
            scope: fields.extensions.scope,
            freshest: fields.extensions.freshest,
            unsupported: fields.extensions.unsupported,
            signed,
            der: der.into(),
        })
    }

    /// The CRL as it was received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// When it expires.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.next_update
    }

    /// When its issuer means to publish the next one, where it says so.
    // REV-46
    pub fn next_publish(&self) -> Option<Timestamp> {
        self.next_publish
    }

    /// Where its delta is, in the order in which to try.
    // REV-40
    pub fn freshest_urls(&self) -> &[String] {
        &self.freshest
    }

    /// Whether a serial number (the content of an INTEGER) is listed at all. Nobody has looked at
    /// the signature: this is for showing and for tests, and decides nothing.
    ///
    /// # Errors
    /// [`CrlError`] for a list that can't be read.
    pub fn danger_lists(&self, serial: &[u8]) -> Result<bool, CrlError> {
        Ok(!entries_of(self.entries(), serial)?.is_empty())
    }

    /// Everything that neither time nor certificate changes (REV-33 to REV-36).
    fn check_signed_by(&self, issuer: &Certificate) -> Result<(), CrlError> {
        let expected = issuer.subject();
        if self.issuer != *expected {
            return Err(CrlError::OtherIssuer {
                found: self.issuer.clone(),
                expected: expected.clone(),
            });
        }
        if !issuer
            .key_usage()
            .is_none_or(|u| u.allows(KeyUsage::CRL_SIGN))
        {
            return Err(CrlError::NoCrlSign {
                issuer: expected.clone(),
            });
        }
        let not_signed = |source| CrlError::NotSigned {
            issuer: expected.clone(),
            source,
        };
        self.signed.verify(&self.der, issuer).map_err(not_signed)?;
        match self.unsupported {
            Some(oid) => Err(CrlError::Critical { oid }),
            None => Ok(()),
        }
    }

    /// Checks a delta against its base (REV-41, REV-42; RFC 5280 §6.3.3 (c)).
    fn check_delta(&self, delta: &Self) -> Result<(), CrlError> {
        let number = |crl: &Self| crl.number.clone().ok_or(CrlError::NoNumber);
        let indicator = delta.base_number.clone().ok_or(CrlError::NotADelta)?;
        let (base, delta_number) = (number(self)?, number(delta)?);
        if !delta_number.is_greater(&base) {
            return Err(CrlError::DeltaNotNewer {
                delta: delta_number,
                base,
            });
        }
        if indicator.is_greater(&base) {
            return Err(CrlError::DeltaOfNewerBase { indicator, base });
        }
        let scope = |crl: &Self| crl.scope.as_ref().map(|scope| scope.der.clone());
        if scope(self) == scope(delta) {
            Ok(())
        } else {
            Err(CrlError::DeltaOfOtherScope)
        }
    }

    /// Whether its number is greater than another's; that of one without a number is smallest.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        match (&self.number, &other.number) {
            (Some(number), Some(other)) => number.is_greater(other),
            (number, _) => number.is_some(),
        }
    }

    /// The content of `revokedCertificates`.
    fn entries(&self) -> &[u8] {
        self.der.get(self.entries.clone()).unwrap_or_default()
    }

    fn check_time(&self, now: Timestamp) -> Result<Timestamp, CrlError> {
        match self.next_update {
            None => Err(CrlError::NoNextUpdate),
            Some(next_update) if now > next_update => Err(CrlError::Expired { now, next_update }),
            Some(next_update) => Ok(next_update),
        }
    }
}

impl Bundle {
    /// Proves that a base CRL is the issuer's.
    ///
    /// # Errors
    /// [`CrlError`].
    pub fn prove(base: Crl, issuer: &Certificate) -> Result<Self, CrlError> {
        if base.base_number.is_some() {
            return Err(CrlError::DeltaAsBase);
        }
        base.check_signed_by(issuer)?;
        Ok(Self { base, delta: None })
    }

    /// Adds a delta, once it is proven to be the issuer's and to belong to the base.
    ///
    /// # Errors
    /// [`CrlError`]; the bundle is then as it was.
    pub fn add_delta(&mut self, delta: Crl, issuer: &Certificate) -> Result<(), CrlError> {
        delta.check_signed_by(issuer)?;
        self.base.check_delta(&delta)?;
        self.delta = Some(delta);
        Ok(())
    }

    /// Until when both CRLs are current; none where one of them does not say so.
    pub fn valid_until(&self) -> Option<Timestamp> {
        let base = self.base.next_update?;
        match &self.delta {
            Some(delta) => Some(base.min(delta.next_update?)),
            None => Some(base),
        }
    }

    /// The base CRL.
    pub fn base(&self) -> &Crl {
        &self.base
    }

    /// The delta CRL.
    pub fn delta(&self) -> Option<&Crl> {
        self.delta.as_ref()
    }

    /// Whether the CRLs can say anything about a certificate, at whatever time: it is in their
    /// scope, and their entries can be read.
    ///
    /// # Errors
    /// [`CrlError`].
    pub fn check_covers(
        &self,
        certificate: &Certificate,
        point: &DistributionPoint,
    ) -> Result<(), CrlError> {
        self.look_up(certificate, point).map(drop)
    }

    /// The reasons that the CRLs decide about, and their entries for a certificate.
    fn look_up(
        &self,
        certificate: &Certificate,
        point: &DistributionPoint,
    ) -> Result<(Reasons, Vec<Entry>), CrlError> {
        let reasons = Scope::covers(self.base.scope.as_ref(), certificate, point)?;
        let mut entries = entries_of(self.base.entries(), certificate.serial())?;
        if let Some(delta) = &self.delta {
            entries.extend(entries_of(delta.entries(), certificate.serial())?);
        }
        Ok((reasons, entries))
    }

    /// What the CRLs say about a certificate of their issuer that names them at `point`.
    ///
    /// `authentic_signing_time` is what a signing authority vouches for: a certificate that became
    /// invalid after it counts as good. A timestamp countersignature does not take its
    /// place, as in the reference.
    ///
    /// # Errors
    /// [`CrlError`]: they are out of scope or expired. An expired one still says that a
    /// certificate is revoked for good.
    // REV-44, REV-45, DIF-34, REV-37
    pub fn judge(
        &self,
        certificate: &Certificate,
        point: &DistributionPoint,
        authentic_signing_time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Verdict, CrlError> {
        if self.delta.is_none() && !self.base.freshest.is_empty() {
            return Err(CrlError::DeltaMissing);
        }
        if self.delta.is_none() && certificate.extension(FRESHEST_CRL).is_some() {
            return Err(CrlError::FreshestInCertificate);
        }
        let (reasons, mut entries) = self.look_up(certificate, point)?;
        entries.retain(|entry| !entry.is_later_than(authentic_signing_time));
        let for_good = entries.iter().any(|entry| !entry.is_temporary());
        let revoked_at = entries.iter().map(Entry::date).min();
        let times = [Some(&self.base), self.delta.as_ref()];
        let times = times.into_iter().flatten().map(|crl| crl.check_time(now));
        match times.collect::<Result<Vec<_>, _>>() {
            Ok(times) => Ok(Verdict {
                revoked: for_good || is_held(&entries),
                revoked_at: revoked_at.filter(|_| for_good || is_held(&entries)),
                reasons,
                valid_until: times.into_iter().min().unwrap_or(now),
            }),
            Err(CrlError::Expired { .. }) if for_good => Ok(Verdict {
                revoked: true,
                revoked_at,
                reasons,
                valid_until: now,
            }),
            Err(error) => Err(error),
        }
    }
}

struct Fields<'a> {
    algorithm: &'a [u8],
    issuer: Name,
    next_update: Option<Timestamp>,
    /// Length of the content of `revokedCertificates`.
    entries: usize,
    /// Length of what follows it.
    behind_entries: usize,
    extensions: CrlExtensions,
}

impl<'a> Fields<'a> {
    fn read<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        let versioned = reader.peek_byte() == Some(INTEGER);
        if versioned && u8::decode(reader)? != V2 {
            return Err(malformed(Tag::Integer));
        }
        let algorithm = reader.tlv_bytes()?;
        let issuer =
            Name::from_der(short(reader.tlv_bytes()?)?).map_err(|_| malformed(Tag::Sequence))?;
        // thisUpdate decides nothing: an issuer's clock may be ahead.
        time(reader)?;
        let next_update = optional_time(reader)?;
        let entries = match reader.peek_byte() {
            Some(SEQUENCE) => AnyRef::decode(reader)?.value(),
            _ => &[],
        };
        let behind_entries = usize::try_from(reader.remaining_len())?;
        let extensions = match optional_context(reader, 0, true)? {
            Some(_) if !versioned => return Err(malformed(Tag::Sequence)),
            Some(list) => CrlExtensions::read(short(list)?)?,
            None => CrlExtensions::default(),
        };
        Ok(Self {
            algorithm,
            issuer,
            next_update,
            entries: entries.len(),
            behind_entries,
            extensions,
        })
    }
}

#[derive(Default)]
struct CrlExtensions {
    next_publish: Option<Timestamp>,
    number: Option<Number>,
    base_number: Option<Number>,
    scope: Option<Scope>,
    freshest: Vec<String>,
    unsupported: Option<ObjectIdentifier>,
}

impl CrlExtensions {
    fn read(list: &[u8]) -> der::Result<Self> {
        let mut read = Self::default();
        for extension in extensions(list)? {
            let value = &extension.value;
            match extension.oid {
                CRL_NUMBER => read.number = Some(Number::from_der(value)?),
                DELTA_CRL_INDICATOR => read.base_number = Some(Number::from_der(value)?),
                ISSUING_DISTRIBUTION_POINT => read.scope = Some(Scope::parse(value)?),
                FRESHEST_CRL => {
                    let points = points::parse(value)?;
                    read.freshest = points.iter().flat_map(|p| p.urls()).cloned().collect();
                }
                NEXT_PUBLISH => read.next_publish = next_publish(value),
                _ => {}
            }
            let understood = [ISSUING_DISTRIBUTION_POINT, DELTA_CRL_INDICATOR];
            if extension.critical && !understood.contains(&extension.oid) {
                read.unsupported = read.unsupported.or(Some(extension.oid));
            }
        }
        Ok(read)
    }
}

/// A part that is read before anybody knows whose CRL it is: what it grows to must stay small.
fn short(part: &[u8]) -> der::Result<&[u8]> {
    if part.len() > MAX_PART_LEN {
        return Err(malformed(Tag::Sequence));
    }
    Ok(part)
}

/// A hint and no more, so a malformed one is none.
fn next_publish(value: &[u8]) -> Option<Timestamp> {
    optional_time(&mut SliceReader::new(value).ok()?).ok()?
}

impl Number {
    fn from_der(der: &[u8]) -> der::Result<Self> {
        let value = AnyRef::try_from(der)?;
        value.tag().assert_eq(Tag::Integer)?;
        let bytes = value.value();
        // At most 20 octets (RFC 5280 §5.2.3), and not negative.
        if bytes.is_empty() || bytes.len() > 21 || bytes.first().is_some_and(|b| *b >= 0x80) {
            return Err(malformed(Tag::Integer));
        }
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        Ok(Self(bytes.get(zeros..).unwrap_or_default().to_vec()))
    }

    fn is_greater(&self, other: &Self) -> bool {
        (self.0.len(), &self.0) > (other.0.len(), &other.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0..=16 => {
                let value = self.0.iter().fold(0_u128, |n, b| n << 8 | u128::from(*b));
                write!(f, "{value}")
            }
            _ => write!(f, "0x{}", hex::encode(&self.0)),
        }
    }
}

/// A time as the reference prints it in these messages.
pub(super) fn go_time(time: Timestamp) -> impl fmt::Display {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
}

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// `version` of a CRL with extensions.
const V2: u8 = 1;

const CRL_NUMBER: ObjectIdentifier = oid("2.5.29.20");
const DELTA_CRL_INDICATOR: ObjectIdentifier = oid("2.5.29.27");
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = oid("2.5.29.28");
const FRESHEST_CRL: ObjectIdentifier = oid("2.5.29.46");
/// Microsoft's szOID_CRL_NEXT_PUBLISH.
const NEXT_PUBLISH: ObjectIdentifier = oid("1.3.6.1.4.1.311.21.4");
