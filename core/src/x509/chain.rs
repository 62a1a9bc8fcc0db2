//! The proof that a list of certificates is a chain under a profile (X509-01 to X509-18).

use std::marker::PhantomData;

use jiff::Timestamp;

use super::certificate::NotIssued;
use super::extension::KeyUsage;
use super::profile::{Profile, Purposes, Rules};
use super::{Certificate, Name};

/// Most certificates accepted in one chain (ENV-42).
pub const MAX_CHAIN_LEN: usize = 16;

/// A chain that satisfied every rule of profile `P`, leaf first, root last; only
/// [`Chain::prove`] makes one. It says nothing about validity in time, revocation or trust.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chain<P> {
    certificates: Vec<Certificate>,
    profile: PhantomData<P>,
}

/// The rule that a list of certificates breaks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No certificate at all.
    #[error("certificate chain must contain at least one certificate")]
    Empty,
    /// More than [`MAX_CHAIN_LEN`] (ENV-42).
    #[error("certificate chain has {length} certificates, more than {MAX_CHAIN_LEN}")]
    TooLong {
        /// Number of certificates.
        length: usize,
    },
    /// A single certificate that is not self-signed (X509-04).
    #[error("invalid self-signed certificate with subject {}: {source}", subject.quoted())]
    SingleNotSelfSigned {
        /// Its subject.
        subject: Name,
        /// Why.
        source: NotIssued,
    },
    /// The last certificate is not self-signed (X509-03).
    #[error("the chain ends in {}, which is not a self-signed root certificate: {source}", subject.quoted())]
    RootNotSelfSigned {
        /// Its subject.
        subject: Name,
        /// Why.
        source: NotIssued,
    },
    /// A certificate other than the last is self-signed (X509-03).
    #[error("certificate with subject {} is self-signed but is not the last of the chain", subject.quoted())]
    UnexpectedSelfSigned {
        /// Its subject.
        subject: Name,
    },
    /// A certificate is not issued by the next (X509-02, X509-15, X509-16).
    #[error("certificate with subject {} is not issued by {}: {source}", subject.quoted(), next.quoted())]
    NotIssuedByNext {
        /// Its subject.
        subject: Name,
        /// Subject of the next certificate.
        next: Name,
        /// Why.
        source: NotIssued,
    },
    /// A CA certificate without critical basicConstraints that say so (X509-05).
    #[error("certificate with subject {}: ca field in basic constraints must be present, critical, and set to true", subject.quoted())]
    NotCa {
        /// Its subject.
        subject: Name,
    },
    /// pathLenConstraint is smaller than the number of CA certificates below (X509-06).
    #[error("certificate with subject {}: {below} CA certificates stand below it, its path length constraint allows {allowed}", subject.quoted())]
    PathTooLong {
        /// Its subject.
        subject: Name,
        /// CA certificates between it and the leaf.
        below: usize,
        /// What it allows.
        allowed: u32,
    },
    /// A leaf whose basicConstraints make it a CA (X509-08).
    #[error("certificate with subject {}: if the basic constraints extension is present, the ca field must be set to false", subject.quoted())]
    LeafIsCa {
        /// Its subject.
        subject: Name,
    },
    /// No keyUsage (X509-07, X509-09).
    #[error("certificate with subject {}: key usage extension must be present", subject.quoted())]
    KeyUsageAbsent {
        /// Its subject.
        subject: Name,
    },
    /// keyUsage is not critical (X509-07, X509-09).
    #[error("certificate with subject {}: key usage extension must be marked critical", subject.quoted())]
    KeyUsageNotCritical {
        /// Its subject.
        subject: Name,
    },
    /// keyUsage lacks a bit that it needs (X509-07, X509-09).
    #[error("certificate with subject {}: key usage must have the bit for {usage} set", subject.quoted())]
    KeyUsageMissing {
        /// Its subject.
        subject: Name,
        /// The missing usage.
        usage: &'static str,
    },
    /// A leaf's keyUsage has a bit that it must not have (X509-09).
    #[error("certificate with subject {}: key usage of a signing certificate must not have the bit for {usage} set", subject.quoted())]
    KeyUsageForbidden {
        /// Its subject.
        subject: Name,
        /// The forbidden usage.
        usage: &'static str,
    },
    /// A leaf for a purpose that excludes signing (X509-10, X509-11).
    #[error("certificate with subject {}: extended key usage must not contain {purpose} eku", subject.quoted())]
    PurposeForbidden {
        /// Its subject.
        subject: Name,
        /// The purpose.
        purpose: &'static str,
    },
    /// A timestamping leaf with other purposes, or none (X509-13).
    #[error("timestamp signing certificate with subject {} must have and only have {purpose} as extended key usage", subject.quoted())]
    PurposeNotExact {
        /// Its subject.
        subject: Name,
        /// The one purpose.
        purpose: &'static str,
    },
    /// A timestamping leaf whose extKeyUsage is not critical (X509-13).
    #[error("timestamp signing certificate with subject {} must have extended key usage extension marked as critical", subject.quoted())]
    PurposeNotCritical {
        /// Its subject.
        subject: Name,
    },
    /// A leaf key outside the algorithm table (X509-14).
    #[error("certificate with subject {}: a signing key must be RSA of 2048, 3072 or 4096 bits, P-256, P-384 or P-521", subject.quoted())]
    LeafKey {
        /// Its subject.
        subject: Name,
    },
}

/// A certificate was not valid at a time (X509-19).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "certificate with subject {} was invalid at signing time of {}. Certificate is valid from [{}] to [{}]",
    subject.quoted(), go_time(*checked_at), go_time(*not_before), go_time(*not_after)
)]
#[non_exhaustive]
pub struct NotValidAt {
    /// Its subject.
    pub subject: Name,
    /// The time at which it was checked.
    pub checked_at: Timestamp,
    /// First second of its validity.
    pub not_before: Timestamp,
    /// Last second of its validity.
    pub not_after: Timestamp,
}

impl<P: Profile> Chain<P> {
    /// Checks `certificates`, leaf first, against every rule of the profile. Validity in time is
    /// not looked at: see [`Chain::check_validity_at`].
    ///
    /// # Errors
    /// The first rule that is broken, from the leaf upwards.
    pub fn prove(certificates: Vec<Certificate>) -> Result<Self, ChainError> {
        if certificates.len() > MAX_CHAIN_LEN {
            return Err(ChainError::TooLong {
                length: certificates.len(),
            });
        }
        let [leaf, cas @ ..] = certificates.as_slice() else {
            return Err(ChainError::Empty);
        };
        if cas.is_empty() {
            check_single(leaf)?;
        } else {
            check_links(&certificates)?;
        }
        check_leaf(leaf, &P::RULES)?;
        for (below, ca) in cas.iter().enumerate() {
            check_ca(ca, below, &P::RULES)?;
        }
        Ok(Self {
            certificates,
            profile: PhantomData,
        })
    }

    /// Checks one certificate against the rules for the leaf of such a chain.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_leaf(certificate: &Certificate) -> Result<(), ChainError> {
        check_leaf(certificate, &P::RULES)
    }
}

impl<P> Chain<P> {
    /// The signing certificate.
    pub fn leaf(&self) -> &Certificate {
        // `prove` refuses an empty list.
        &self.certificates[0]
    }

    /// The last certificate, which is self-signed.
    pub fn root(&self) -> &Certificate {
        // `prove` refuses an empty list.
        &self.certificates[self.certificates.len() - 1]
    }

    /// Every certificate, leaf first.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Checks that every certificate is valid at `time`, bounds included (X509-19).
    ///
    /// # Errors
    /// The first certificate that is not, from the leaf upwards.
    pub fn check_validity_at(&self, time: Timestamp) -> Result<(), NotValidAt> {
        match self.certificates.iter().find(|c| !c.is_valid_at(time)) {
            None => Ok(()),
            Some(certificate) => Err(NotValidAt {
                subject: certificate.subject().clone(),
                checked_at: time,
                not_before: certificate.not_before(),
                not_after: certificate.not_after(),
            }),
        }
    }
}

fn check_single(certificate: &Certificate) -> Result<(), ChainError> {
    certificate
        .check_issued_by(certificate)
        .map_err(|source| ChainError::SingleNotSelfSigned {
            subject: certificate.subject().clone(),
            source,
        })
}

fn check_links(certificates: &[Certificate]) -> Result<(), ChainError> {
    for pair in certificates.windows(2) {
        let [certificate, next] = pair else { continue };
        let subject = || certificate.subject().clone();
        if certificate.is_self_signed() {
            return Err(ChainError::UnexpectedSelfSigned { subject: subject() });
        }
        certificate
            .check_issued_by(next)
            .map_err(|source| ChainError::NotIssuedByNext {
                subject: subject(),
                next: next.subject().clone(),
                source,
            })?;
    }
    let Some(root) = certificates.last() else {
        return Err(ChainError::Empty);
    };
    root.check_issued_by(root)
        .map_err(|source| ChainError::RootNotSelfSigned {
            subject: root.subject().clone(),
            source,
        })
}

/// `below` counts the CA certificates between this one and the leaf.
fn check_ca(certificate: &Certificate, below: usize, rules: &Rules) -> Result<(), ChainError> {
    let subject = || certificate.subject().clone();
    let constraints = certificate
        .basic_constraints()
        .filter(|b| b.ca && b.critical)
        .ok_or_else(|| ChainError::NotCa { subject: subject() })?;
    if let Some(allowed) = constraints.path_len
        && usize::try_from(allowed).is_ok_and(|allowed| allowed < below)
    {
        return Err(ChainError::PathTooLong {
            subject: subject(),
            below,
            allowed,
        });
    }
    let usage = key_usage(certificate, rules)?;
    if !usage.allows(KeyUsage::KEY_CERT_SIGN) {
        return Err(ChainError::KeyUsageMissing {
            subject: subject(),
            usage: "key cert sign",
        });
    }
    Ok(())
}

fn check_leaf(certificate: &Certificate, rules: &Rules) -> Result<(), ChainError> {
    let subject = || certificate.subject().clone();
    if certificate.is_ca() {
        return Err(ChainError::LeafIsCa { subject: subject() });
    }
    let usage = key_usage(certificate, rules)?;
    if !usage.allows(KeyUsage::DIGITAL_SIGNATURE) {
        return Err(ChainError::KeyUsageMissing {
            subject: subject(),
            usage: "digital signature",
        });
    }
    if let Some((_, usage)) = FORBIDDEN_TO_LEAF.iter().find(|(bit, _)| usage.allows(*bit)) {
        return Err(ChainError::KeyUsageForbidden {
            subject: subject(),
            usage,
        });
    }
    check_purposes(certificate, rules)?;
    if certificate.key_spec().is_none() {
        return Err(ChainError::LeafKey { subject: subject() });
    }
    Ok(())
}

fn key_usage(certificate: &Certificate, rules: &Rules) -> Result<KeyUsage, ChainError> {
    let usage = certificate
        .key_usage()
        .ok_or_else(|| ChainError::KeyUsageAbsent {
            subject: certificate.subject().clone(),
        })?;
    if rules.key_usage_must_be_critical && !usage.critical {
        return Err(ChainError::KeyUsageNotCritical {
            subject: certificate.subject().clone(),
        });
    }
    Ok(usage)
}

fn check_purposes(certificate: &Certificate, rules: &Rules) -> Result<(), ChainError> {
    let subject = || certificate.subject().clone();
    let purposes = certificate.extended_key_usage();
    match rules.leaf_purposes {
        Purposes::NoneOf(excluded) => {
            let found = purposes
                .unwrap_or_default()
                .iter()
                .find_map(|oid| excluded.iter().find(|e| e.oid == *oid));
            match found {
                None => Ok(()),
                Some(purpose) => Err(ChainError::PurposeForbidden {
                    subject: subject(),
                    purpose: purpose.name,
                }),
            }
        }
        Purposes::Exactly(purpose) => {
            if purposes != Some(&[purpose.oid]) {
                return Err(ChainError::PurposeNotExact {
                    subject: subject(),
                    purpose: purpose.name,
                });
            }
            if !certificate.is_extended_key_usage_critical() {
                return Err(ChainError::PurposeNotCritical { subject: subject() });
            }
            Ok(())
        }
    }
}

/// A time as Go prints it.
fn go_time(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

const FORBIDDEN_TO_LEAF: [(u16, &str); 7] = [
    (KeyUsage::KEY_ENCIPHERMENT, "key encipherment"),
    (KeyUsage::DATA_ENCIPHERMENT, "data encipherment"),
    (KeyUsage::KEY_AGREEMENT, "key agreement"),
    (KeyUsage::KEY_CERT_SIGN, "key cert sign"),
    (KeyUsage::CRL_SIGN, "CRL sign"),
    (KeyUsage::ENCIPHER_ONLY, "encipher only"),
    (KeyUsage::DECIPHER_ONLY, "decipher only"),
];
