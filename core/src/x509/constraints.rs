//! What a CA of a timestamping chain may issue (RFC 5280 §4.2.1.10, §4.2.1.12, §6.1).
//!
//! A timestamp makes expired and stolen signing certificates good again, and the roots of `tsa`
//! stores are often those of large public CAs. So a CA under such a root that was made for
//! something else must not be able to make an authority of its own. Code-signing chains have no
//! such rules: there the specification ignores every extension but three (X509-17).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use hardsign_plugin::chain::asn1::{ANY_PURPOSE, TIME_STAMPING, optional_context};

use super::{Certificate, ChainError};

/// Why a certificate must not stand in a timestamping chain.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// The CA is for other purposes; purposes nest from the root down.
    #[error(
        "extended key usage of a CA certificate in a timestamping chain must be absent, or contain Timestamping or Any"
    )]
    Purposes,
    /// A critical extension that isn't understood (RFC 5280 §4.2).
    #[error(
        "critical extension {oid} is not understood, so it must not stand in a timestamping chain"
    )]
    UnknownCritical {
        /// Its type.
        oid: ObjectIdentifier,
    },
    /// Constraints on names that are not decided here.
    #[error("its name constraints on {kind} are not evaluated, and apply to {to:?} below it")]
    Names {
        /// The kind of names.
        kind: &'static str,
        /// The subject of the first certificate with such a name.
        to: String,
    },
    /// Name constraints, or alternative names under them, that don't decode.
    #[error("malformed {extension}")]
    Malformed {
        /// The extension.
        extension: &'static str,
    },
}

/// Checks a whole chain, leaf first.
pub(super) fn check(certificates: &[Certificate]) -> Result<(), ChainError> {
    let at = |certificate: &Certificate, source| ChainError::Constraint {
        subject: certificate.subject().clone(),
        source,
    };
    for certificate in certificates {
        let mut extensions = certificate.extensions().iter();
        if let Some(unknown) = extensions.find(|e| e.critical && !UNDERSTOOD.contains(&e.oid)) {
            return Err(at(
                certificate,
                ConstraintError::UnknownCritical { oid: unknown.oid },
            ));
        }
    }
    for (place, ca) in certificates.iter().enumerate().skip(1) {
        check_purposes(ca).map_err(|source| at(ca, source))?;
        let below = certificates.get(..place).unwrap_or_default();
        check_names(ca, below).map_err(|source| at(ca, source))?;
    }
    Ok(())
}

fn check_purposes(ca: &Certificate) -> Result<(), ConstraintError> {
    match ca.extended_key_usage() {
        None => Ok(()),
        Some(purposes) if purposes.contains(&TIME_STAMPING) || purposes.contains(&ANY_PURPOSE) => {
            Ok(())
        }
        Some(_) => Err(ConstraintError::Purposes),
    }
}

/// Constraints are passed over only where no certificate below has a name of their kind. Every
/// certificate has a directory name, so constraints on those are always refused.
fn check_names(ca: &Certificate, below: &[Certificate]) -> Result<(), ConstraintError> {
    let Some(extension) = ca.extension(NAME_CONSTRAINTS) else {
        return Ok(());
    };
    let malformed = |_: der::Error| ConstraintError::Malformed {
        extension: "nameConstraints",
    };
    for kind in constrained(&extension.value).map_err(malformed)? {
        for certificate in below {
            if has_name(certificate, kind)? {
                return Err(ConstraintError::Names {
                    kind: name_of(kind),
                    to: certificate.subject().to_string(),
                });
            }
        }
    }
    Ok(())
}

/// The kinds of names that are constrained, by the number of the GeneralName's tag.
///
/// ```text
/// NameConstraints ::= SEQUENCE { permittedSubtrees [0] GeneralSubtrees OPTIONAL,
///                                excludedSubtrees  [1] GeneralSubtrees OPTIONAL }
/// GeneralSubtree ::= SEQUENCE { base GeneralName, minimum [0] DEFAULT 0, maximum [1] OPTIONAL }
/// ```
fn constrained(value: &[u8]) -> der::Result<Vec<u8>> {
    let mut reader = SliceReader::new(value)?;
    let (permitted, excluded) = reader.sequence(|reader| {
        Ok((
            optional_context(reader, 0, true)?,
            optional_context(reader, 1, true)?,
        ))
    })?;
    reader.finish(())?;
    let mut kinds = Vec::new();
    for list in [permitted, excluded].into_iter().flatten() {
        let mut subtrees = SliceReader::new(list)?;
        while !subtrees.is_finished() {
            let subtree = AnyRef::decode(&mut subtrees)?;
            subtree.tag().assert_eq(Tag::Sequence)?;
            let mut parts = SliceReader::new(subtree.value())?;
            kinds.push(kind(AnyRef::decode(&mut parts)?)?);
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

/// The number of a GeneralName's tag (RFC 5280 §4.2.1.6).
fn kind(general_name: AnyRef<'_>) -> der::Result<u8> {
    match general_name.tag() {
        Tag::ContextSpecific { number, .. } => Ok(number.value()),
        tag => Err(tag.unexpected_error(None)),
    }
}

fn has_name(certificate: &Certificate, wanted: u8) -> Result<bool, ConstraintError> {
    let mut attributes = certificate.subject().attributes().iter();
    if wanted == DIRECTORY_NAME
        || (wanted == RFC822_NAME && attributes.any(|a| a.oid == EMAIL_ADDRESS))
    {
        return Ok(true);
    }
    let Some(extension) = certificate.extension(SUBJECT_ALT_NAME) else {
        return Ok(false);
    };
    let names = || -> der::Result<bool> {
        let list = AnyRef::from_der(&extension.value)?;
        list.tag().assert_eq(Tag::Sequence)?;
        let mut names = SliceReader::new(list.value())?;
        let mut found = false;
        while !names.is_finished() {
            found |= kind(AnyRef::decode(&mut names)?)? == wanted;
        }
        Ok(found)
    };
    names().map_err(|_| ConstraintError::Malformed {
        extension: "subjectAltName",
    })
}

fn name_of(kind: u8) -> &'static str {
    match kind {
        RFC822_NAME => "e-mail addresses",
        2 => "DNS names",
        DIRECTORY_NAME => "directory names",
        6 => "URIs",
        7 => "IP addresses",
        _ => "names of other kinds",
    }
}

const RFC822_NAME: u8 = 1;
const DIRECTORY_NAME: u8 = 4;

const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// Extensions that may be critical: those that are honoured here or by `revocation`, those that
/// only describe, and certificatePolicies, which demand nothing where no policy is asked for.
/// Constraints on policies are not among them, since policies are not processed.
const UNDERSTOOD: [ObjectIdentifier; 9] = [
    ObjectIdentifier::new_unwrap("2.5.29.14"), // subjectKeyIdentifier
    ObjectIdentifier::new_unwrap("2.5.29.15"), // keyUsage
    SUBJECT_ALT_NAME,                          //
    ObjectIdentifier::new_unwrap("2.5.29.19"), // basicConstraints
    NAME_CONSTRAINTS,                          //
    ObjectIdentifier::new_unwrap("2.5.29.31"), // cRLDistributionPoints
    ObjectIdentifier::new_unwrap("2.5.29.32"), // certificatePolicies
    ObjectIdentifier::new_unwrap("2.5.29.35"), // authorityKeyIdentifier
    ObjectIdentifier::new_unwrap("2.5.29.37"), // extKeyUsage
];
