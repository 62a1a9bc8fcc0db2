//! Where CRLs are, and what part of a CA's revocations each holds (RFC 5280 §4.2.1.13, §5.2.5).
//!
//! ```text
//! CRLDistributionPoints ::= SEQUENCE SIZE (1..MAX) OF DistributionPoint
//! DistributionPoint ::= SEQUENCE {
//!     distributionPoint [0] DistributionPointName OPTIONAL,
//!     reasons           [1] ReasonFlags OPTIONAL,
//!     cRLIssuer         [2] GeneralNames OPTIONAL }
//! DistributionPointName ::= CHOICE {
//!     fullName                [0] GeneralNames,
//!     nameRelativeToCRLIssuer [1] RelativeDistinguishedName }
//! IssuingDistributionPoint ::= SEQUENCE {
//!     distributionPoint          [0] DistributionPointName OPTIONAL,
//!     onlyContainsUserCerts      [1] BOOLEAN DEFAULT FALSE,
//!     onlyContainsCACerts        [2] BOOLEAN DEFAULT FALSE,
//!     onlySomeReasons            [3] ReasonFlags OPTIONAL,
//!     indirectCRL                [4] BOOLEAN DEFAULT FALSE,
//!     onlyContainsAttributeCerts [5] BOOLEAN DEFAULT FALSE }
//! ```
//!
//! A cRLIssuer is not looked at: a CRL counts only if the certificate's own issuer signed it.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Reader, SliceReader, Tag, Tagged};

use crate::x509::{Certificate, malformed, optional_context};

/// Reasons for which a certificate can be revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reasons(u16);

/// A place where a CRL is, under one or several addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DistributionPoint {
    /// Its names, as GeneralNames in DER.
    names: Vec<Vec<u8>>,
    /// Those of them that are addresses, in order.
    urls: Vec<String>,
    /// The reasons that it covers.
    reasons: Reasons,
}

/// What part of a CA's revocations a CRL holds: its issuingDistributionPoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Scope {
    /// The extension's value.
    pub(super) der: Vec<u8>,
    /// Names of the point; none where it is not limited to one.
    names: Option<Vec<Vec<u8>>>,
    only_users: bool,
    only_cas: bool,
    only_attributes: bool,
    indirect: bool,
    reasons: Reasons,
}

/// Why a CRL says nothing about a certificate.
// REV-38
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OutOfScope {
    /// It belongs to another distribution point.
    #[error("the CRL is that of another distribution point")]
    OtherPoint,
    /// It holds end-entity certificates only, and the certificate is a CA's.
    #[error("the CRL holds end-entity certificates only")]
    OnlyUsers,
    /// It holds CA certificates only, and the certificate is none.
    #[error("the CRL holds CA certificates only")]
    OnlyCas,
    /// It holds attribute certificates only.
    #[error("the CRL holds attribute certificates only")]
    OnlyAttributes,
    /// Its entries may be other issuers'.
    // REV-30
    #[error("indirect CRLs are not supported")]
    Indirect,
}

impl Reasons {
    /// No reason.
    pub const NONE: Self = Self(0);
    /// Every reason: keyCompromise to aACompromise (RFC 5280 §4.2.1.13).
    pub const ALL: Self = Self(0b1_1111_1110);

    /// Those in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// `ReasonFlags ::= BIT STRING`, of which this is the content.
    fn from_content(content: &[u8]) -> der::Result<Self> {
        let (unused, bytes) = content
            .split_first()
            .filter(|(unused, bytes)| **unused < 8 && (!bytes.is_empty() || **unused == 0))
            .ok_or_else(|| malformed(Tag::BitString))?;
        let bit = |i: usize| {
            let byte = bytes.get(i / 8).copied().unwrap_or_default();
            let last = i / 8 + 1 == bytes.len();
            let used = !last || i % 8 < usize::from(8 - *unused);
            used && byte & 0x80_u8 >> (i % 8) != 0
        };
        let set = (1..=8).filter(|i| bit(*i));
        Ok(Self(set.fold(0, |reasons, i| reasons | 1 << i)))
    }
}

impl DistributionPoint {
    /// The addresses, in order.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }
}

/// The distribution points that a certificate names and that have an address. Others can't be
/// asked; whether those that can cover every reason is looked at in the end.
///
/// # Errors
/// The extension is malformed.
pub fn distribution_points(certificate: &Certificate) -> der::Result<Vec<DistributionPoint>> {
    match certificate.extension(CRL_DISTRIBUTION_POINTS) {
        Some(extension) => parse(&extension.value),
        None => Ok(Vec::new()),
    }
}

/// Parses `CRLDistributionPoints`; points without an address are left out.
pub(super) fn parse(der: &[u8]) -> der::Result<Vec<DistributionPoint>> {
    let mut points = Vec::new();
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|reader| {
        while !reader.is_finished() {
            let point = reader.sequence(|point| {
                let name = optional_context(point, 0, true)?;
                let reasons = optional_context(point, 1, false)?;
                optional_context(point, 2, true)?;
                let names = name.map(full_names).transpose()?.unwrap_or_default();
                let reasons = reasons.map_or(Ok(Reasons::ALL), Reasons::from_content)?;
                Ok(DistributionPoint {
                    urls: names.iter().filter_map(|name| url(name)).collect(),
                    names,
                    reasons,
                })
            })?;
            if !point.urls.is_empty() {
                points.push(point);
            }
        }
        Ok(())
    })?;
    reader.finish(points)
}

/// The names of a `DistributionPointName`; none for one that is relative to the CRL's issuer.
fn full_names(name: &[u8]) -> der::Result<Vec<Vec<u8>>> {
    let mut reader = SliceReader::new(name)?;
    let Some(names) = optional_context(&mut reader, 0, true)? else {
        optional_context(&mut reader, 1, true)?.ok_or_else(|| malformed(Tag::Sequence))?;
        return reader.finish(Vec::new());
    };
    let mut list = Vec::new();
    let mut names = SliceReader::new(names)?;
    while !names.is_finished() {
        list.push(names.tlv_bytes()?.to_vec());
    }
    reader.finish(list)
}

/// The address in a GeneralName, `uniformResourceIdentifier [6] IA5String`.
fn url(general_name: &[u8]) -> Option<String> {
    let name = AnyRef::try_from(general_name).ok()?;
    let uri = Tag::ContextSpecific {
        constructed: false,
        number: der::TagNumber::N6,
    };
    if name.tag() != uri || !name.value().is_ascii() {
        return None;
    }
    String::from_utf8(name.value().to_vec()).ok()
}

impl Scope {
    /// Parses the value of an issuingDistributionPoint.
    pub(super) fn parse(der: &[u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let scope = reader.sequence(|reader| {
            let names = optional_context(reader, 0, true)?;
            let flag = |reader: &mut _, number| -> der::Result<bool> {
                match optional_context(reader, number, false)? {
                    None | Some([0]) => Ok(false),
                    Some([0xff]) => Ok(true),
                    Some(_) => Err(malformed(Tag::Boolean)),
                }
            };
            let only_users = flag(reader, 1)?;
            let only_cas = flag(reader, 2)?;
            let reasons = optional_context(reader, 3, false)?;
            Ok(Self {
                der: der.to_vec(),
                names: names.map(full_names).transpose()?,
                only_users,
                only_cas,
                reasons: reasons.map_or(Ok(Reasons::ALL), Reasons::from_content)?,
                indirect: flag(reader, 4)?,
                only_attributes: flag(reader, 5)?,
            })
        })?;
        reader.finish(scope)
    }

    /// The reasons for which a CRL of this scope decides about a certificate that names it at
    /// `point` (RFC 5280 §6.3.3 (b) and (d)).
    pub(super) fn covers(
        scope: Option<&Self>,
        certificate: &Certificate,
        point: &DistributionPoint,
    ) -> Result<Reasons, OutOfScope> {
        let Some(scope) = scope else {
            return Ok(point.reasons);
        };
        let shared = |names: &Vec<Vec<u8>>| names.iter().any(|name| point.names.contains(name));
        if scope.indirect {
            Err(OutOfScope::Indirect)
        } else if scope.only_attributes {
            Err(OutOfScope::OnlyAttributes)
        } else if scope.only_users && certificate.is_ca() {
            Err(OutOfScope::OnlyUsers)
        } else if scope.only_cas && !certificate.is_ca() {
            Err(OutOfScope::OnlyCas)
        } else if !scope.names.as_ref().is_none_or(shared) {
            Err(OutOfScope::OtherPoint)
        } else {
            Ok(point.reasons.and(scope.reasons))
        }
    }
}

const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_bit_by_bit() {
        let reasons = |content: &[u8]| Reasons::from_content(content);
        assert_eq!(reasons(&[0, 0xff, 0x80]), Ok(Reasons(0b1_1111_1110)));
        assert_eq!(reasons(&[6, 0x40]), Ok(Reasons(0b10)));
        // Unused bits say nothing, whatever stands there.
        assert_eq!(reasons(&[6, 0x7f]), Ok(Reasons(0b10)));
        assert_eq!(reasons(&[0]), Ok(Reasons::NONE));
        for bad in [&[][..], &[8, 0], &[1]] {
            assert!(reasons(bad).is_err(), "{bad:?}");
        }
    }
}
