//! The proof that a list of certificates is a chain under a profile (X509-01 to X509-18).

use std::marker::PhantomData;

use hardsign_plugin::chain::{self, MAX_CHAIN as MAX_CHAIN_LEN, RuleError};
use jiff::Timestamp;
use jiff::civil::DateTime;

use super::certificate::{NotIssued, utc};
use super::constraints::{self, ConstraintError};
use super::profile::Profile;
use super::{Certificate, Name};

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
    /// More than [`MAX_CHAIN_LEN`].
    // ENV-42
    #[error("certificate chain has {length} certificates, more than {MAX_CHAIN_LEN}")]
    TooLong {
        /// Number of certificates.
        length: usize,
    },
    /// A single certificate that is not self-signed.
    // X509-04
    #[error("invalid self-signed certificate with subject {}", subject.quoted())]
    SingleNotSelfSigned {
        /// Its subject.
        subject: Name,
        /// Which condition of being issued by the next one does not hold.
        source: NotIssued,
    },
    /// The last certificate is not self-signed.
    // X509-03
    #[error("the chain ends in {}, which is not a self-signed root certificate", subject.quoted())]
    RootNotSelfSigned {
        /// Its subject.
        subject: Name,
        /// Which condition of being issued by the next one does not hold.
        source: NotIssued,
    },
    /// A certificate other than the last is self-signed.
    // X509-03
    #[error("certificate with subject {} is self-signed but is not the last of the chain, whose order is: signing certificate first, root last", subject.quoted())]
    UnexpectedSelfSigned {
        /// Its subject.
        subject: Name,
    },
    /// A certificate is not issued by the next.
    // X509-02, X509-15, X509-16
    #[error("certificate with subject {} is not issued by {}", subject.quoted(), next.quoted())]
    NotIssuedByNext {
        /// Its subject.
        subject: Name,
        /// Subject of the next certificate.
        next: Name,
        /// Which condition of being issued by the next one does not hold.
        source: NotIssued,
    },
    /// A certificate that breaks a rule for its place.
    // X509-05 to X509-14
    #[error("{}", broken(subject, rule))]
    Rule {
        /// Its subject.
        subject: Name,
        /// Which; it ends the text.
        rule: RuleError,
    },
    /// A CA certificate that lets nobody below it, or not this one, make timestamps.
    #[error("certificate with subject {}", subject.quoted())]
    Constraint {
        /// Its subject.
        subject: Name,
        /// Which constraint of a CA is broken.
        source: ConstraintError,
    },
}

/// The texts are those that users of the reference know.
fn broken(subject: &Name, rule: &RuleError) -> String {
    match rule {
        RuleError::PurposeNotExact { .. } | RuleError::PurposeNotCritical => {
            format!(
                "timestamp signing certificate with subject {} {rule}",
                subject.quoted()
            )
        }
        rule => format!("certificate with subject {}: {rule}", subject.quoted()),
    }
}

/// A certificate was not valid at a time.
// X509-19
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "certificate with subject {} was invalid at signing time of {}. Certificate is valid from [{}] to [{}]",
    subject.quoted(), go_time(utc(*checked_at)), go_time(*not_before), go_time(*not_after)
)]
#[non_exhaustive]
pub struct NotValidAt {
    /// Its subject.
    pub subject: Name,
    /// The time at which it was checked.
    pub checked_at: Timestamp,
    /// First second of its validity, in UTC.
    pub not_before: DateTime,
    /// Last second of its validity, in UTC.
    pub not_after: DateTime,
}

#[cfg(test)]
thread_local! {
    /// Chains that this thread of a test proved.
    pub(crate) static PROVEN: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl<P: Profile> Chain<P> {
    /// Checks `certificates`, leaf first, against every rule of the profile. Validity in time is
    /// not looked at: see [`Chain::check_validity_at`].
    ///
    /// # Errors
    /// The first rule that is broken, from the leaf upwards.
    pub fn prove(certificates: Vec<Certificate>) -> Result<Self, ChainError> {
        #[cfg(test)]
        PROVEN.with(|count| count.set(count.get() + 1));
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
        check_leaf(leaf, P::RULES)?;
        for (below, ca) in cas.iter().enumerate() {
            ca.check_ca(below, P::RULES)
                .map_err(|source| rule(ca, source))?;
        }
        if P::RULES == chain::Profile::Timestamping {
            constraints::check(&certificates)?;
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
        check_leaf(certificate, P::RULES)
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

    /// Checks that every certificate is valid at `time`, bounds included.
    ///
    /// # Errors
    /// The first certificate that is not, from the leaf upwards.
    // X509-19
    pub fn check_validity_at(&self, time: Timestamp) -> Result<(), NotValidAt> {
        match self.certificates.iter().find(|c| !c.is_valid_at(time)) {
            None => Ok(()),
            Some(certificate) => Err(NotValidAt {
                subject: certificate.subject().clone(),
                checked_at: time,
                not_before: certificate.not_before_utc(),
                not_after: certificate.not_after_utc(),
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

/// Structure before arithmetic: which certificate stands where is said of all of them before a
/// signature is checked, since a wrong order makes every signature wrong.
fn check_links(certificates: &[Certificate]) -> Result<(), ChainError> {
    let pairs = || certificates.iter().zip(certificates.iter().skip(1));
    let not_issued =
        |certificate: &Certificate, next: &Certificate, source| ChainError::NotIssuedByNext {
            subject: certificate.subject().clone(),
            next: next.subject().clone(),
            source,
        };
    for (certificate, next) in pairs() {
        if certificate.is_self_signed() {
            return Err(ChainError::UnexpectedSelfSigned {
                subject: certificate.subject().clone(),
            });
        }
        certificate
            .check_named_by(next)
            .map_err(|source| not_issued(certificate, next, source))?;
    }
    let Some(root) = certificates.last() else {
        return Err(ChainError::Empty);
    };
    let no_root = |source| ChainError::RootNotSelfSigned {
        subject: root.subject().clone(),
        source,
    };
    root.check_named_by(root).map_err(no_root)?;
    for (certificate, next) in pairs() {
        certificate
            .check_signed_by(next)
            .map_err(|source| not_issued(certificate, next, source))?;
    }
    root.check_signed_by(root).map_err(no_root)
}

fn rule(certificate: &Certificate, rule: RuleError) -> ChainError {
    ChainError::Rule {
        subject: certificate.subject().clone(),
        rule,
    }
}

fn check_leaf(certificate: &Certificate, profile: chain::Profile) -> Result<(), ChainError> {
    certificate
        .check_leaf(profile)
        .map_err(|source| rule(certificate, source))?;
    // A key of the right kind and size may still be none: a point off its curve, an even modulus.
    if certificate.key_spec().is_none() {
        let what = match certificate.public_key() {
            Err(error) => error.to_string(),
            Ok(_) => "not usable".to_owned(),
        };
        return Err(rule(certificate, RuleError::LeafKey { what }));
    }
    Ok(())
}

/// A time as Go prints it.
fn go_time(time: DateTime) -> impl std::fmt::Display {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}
