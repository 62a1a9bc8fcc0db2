//! Revocation of certificates.
//!
//! Implements "Certificate Revocation Evaluation" of the trust policy specification: [`ocsp`] and
//! [`crl`] judge answers and open nothing, [`Online`] asks for them, and [`conclude`] says what the
//! statuses of a chain add up to. Whoever can't be asked leaves a status unknown, and never good;
//! what that means is the policy's choice alone.

// Requirements: SEC-08, REV-11.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::artifact::Quoted;
use crate::event::Observer;
use crate::x509::{Certificate, Chain};

mod asn1;
mod attempt;
#[cfg(feature = "revocation-online")]
mod bundles;
#[cfg(feature = "revocation-online")]
mod cache;
pub mod crl;
#[cfg(feature = "revocation-online")]
mod fetch;
pub mod ocsp;
#[cfg(feature = "revocation-online")]
mod online;
mod points;
#[cfg(feature = "revocation-online")]
mod shared;

pub use asn1::NotSigned;
pub use attempt::{Attempt, ServerError};
#[cfg(feature = "revocation-online")]
pub use cache::CacheError;
#[cfg(feature = "revocation-online")]
pub use fetch::FetchError;
#[cfg(feature = "revocation-online")]
pub use online::{Online, OnlineOptions};
pub use points::{DistributionPoint, OutOfScope, Reasons, distribution_points};

/// What is known about one certificate, and from whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// What is known.
    pub status: Status,
    /// Whose answer that is; none where nobody was asked, or nobody answered.
    pub source: Option<RevocationServer>,
    /// Since when it is revoked, by that answer, where it is.
    pub revoked_at: Option<Timestamp>,
}

/// Who answered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RevocationServer {
    /// In which way.
    pub method: Method,
    /// Where: an address that the certificate names.
    pub url: String,
}

/// A way to publish revocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// RFC 6960.
    Ocsp,
    /// RFC 5280 §5.
    Crl,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known about one certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// A valid answer says that it is not revoked.
    Good,
    /// The root, or a certificate without any address to ask.
    // REV-01, REV-02
    NotRevocable,
    /// No answer, and why.
    Unknown(Unknown),
    /// A valid answer says that it is revoked.
    Revoked,
}

/// Why nothing is known about a certificate.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// Nobody who was asked gave a usable answer.
    #[error("{}", attempt::list(attempts))]
    NoAnswer {
        /// Who was asked, and why that was in vain.
        attempts: Vec<Attempt>,
    },
    /// Nobody was asked: see [`Offline`].
    #[error("nobody was asked")]
    NotAsked,
    /// The time for all certificates of the chain ran out.
    // REV-12
    #[error("no answer within {} seconds", after.as_secs())]
    TimeLimit {
        /// The limit.
        after: Duration,
    },
    /// A checker of another kind could not find out; the cause is its own.
    #[error(transparent)]
    Other(Arc<dyn Error + Send + Sync>),
}

/// A chain that is not known to be good. The texts are those of a signing chain.
// REV-06
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotGood {
    /// A certificate is revoked.
    #[error("signing certificate with subject {} is revoked", Quoted(subject))]
    Revoked {
        /// Its subject.
        subject: String,
    },
    /// Nothing is known about a certificate.
    #[error(
        "signing certificate with subject {} revocation status is unknown",
        Quoted(subject)
    )]
    Unknown {
        /// Its subject.
        subject: String,
        /// What kept the status unknown.
        #[source]
        reason: Unknown,
    },
    /// The checker did not answer for every certificate.
    #[error(
        "signing certificate with subject {} revocation status is unknown: no answer",
        Quoted(subject)
    )]
    Unanswered {
        /// The first certificate without an answer.
        subject: String,
    },
}

/// Finds out whether the certificates of a chain are revoked.
#[async_trait]
pub trait Checker: Send + Sync {
    /// The status of each certificate, leaf first; [`conclude`] says what they add up to.
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked>;
}

/// A chain whose revocation is asked about.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Inquiry<'a> {
    /// Its certificates, leaf first.
    pub certificates: &'a [Certificate],
    /// When it signed, where a signing authority vouches for that.
    // REV-25, REV-44
    pub authentic_signing_time: Option<Timestamp>,
    /// The time of the check.
    pub now: Timestamp,
    /// Hears what happens.
    pub observer: &'a dyn Observer,
}

impl<'a> Inquiry<'a> {
    /// About a chain that keeps the rules of its purpose, which is what its type says.
    // REV-08
    pub fn about<P>(
        chain: &'a Chain<P>,
        authentic_signing_time: Option<Timestamp>,
        now: Timestamp,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            certificates: chain.certificates(),
            authentic_signing_time,
            now,
            observer,
        }
    }
}

#[async_trait]
impl<T: Checker + ?Sized> Checker for Arc<T> {
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
        (**self).check(inquiry).await
    }
}

/// Asks nobody: what names addresses to ask is not known to be good, and fails wherever the policy wants to know.
///
/// ```
/// use hardsign_core::revocation::Offline;
/// use hardsign_core::trust::LoadedStores;
/// use hardsign_core::verify::Verifier;
///
/// let verifier = Verifier::new(LoadedStores::default()).with_revocation(Offline);
/// ```
// SEC-08
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

#[async_trait]
impl Checker for Offline {
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
        let status = |certificate| match names_addresses(certificate) {
            true => Status::Unknown(Unknown::NotAsked),
            false => Status::NotRevocable,
        };
        let certificates = inquiry.certificates.iter();
        certificates.map(|c| status(c).into()).collect()
    }
}

impl Method {
    /// Its name, as the logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ocsp => "OCSP",
            Self::Crl => "CRL",
        }
    }
}

impl Status {
    /// The name for reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::NotRevocable => "notRevocable",
            Self::Unknown(_) => "unknown",
            Self::Revoked => "revoked",
        }
    }
}

impl Unknown {
    /// A checker's own reason.
    pub fn other(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(error))
    }
}

impl RevocationServer {
    /// A server that is asked in this way, at an address.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
        }
    }
}

impl Checked {
    /// The same by the answer of this server.
    #[must_use]
    pub fn by(self, source: RevocationServer) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// The same, revoked since then.
    #[must_use]
    pub fn since(self, revoked_at: Timestamp) -> Self {
        Self {
            revoked_at: Some(revoked_at),
            ..self
        }
    }
}

impl From<Status> for Checked {
    fn from(status: Status) -> Self {
        Self {
            status,
            source: None,
            revoked_at: None,
        }
    }
}

/// Whether the certificate says where its revocation is published.
// REV-02
pub fn names_addresses(certificate: &Certificate) -> bool {
    !certificate.ocsp_urls().is_empty() || !certificate.crl_urls().is_empty()
}

/// What the statuses of a chain add up to: revoked before unknown, the certificate nearest the
/// leaf first.
///
/// # Errors
/// [`NotGood`], also where a status is missing.
// REV-06, REV-09
pub fn conclude(certificates: &[Certificate], checked: &[Checked]) -> Result<(), NotGood> {
    let subject = |c: &Certificate| c.subject().to_string();
    let pairs = || {
        let statuses = checked.iter().map(|checked| &checked.status);
        certificates.iter().zip(statuses)
    };
    if let Some((revoked, _)) = pairs().find(|(_, status)| matches!(status, Status::Revoked)) {
        return Err(NotGood::Revoked {
            subject: subject(revoked),
        });
    }
    for (certificate, status) in pairs() {
        match status {
            Status::Good | Status::NotRevocable => {}
            Status::Unknown(reason) => {
                return Err(NotGood::Unknown {
                    subject: subject(certificate),
                    reason: reason.clone(),
                });
            }
            Status::Revoked => {
                return Err(NotGood::Revoked {
                    subject: subject(certificate),
                });
            }
        }
    }
    match certificates.get(checked.len()) {
        Some(unanswered) => Err(NotGood::Unanswered {
            subject: subject(unanswered),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn chain() -> Vec<Certificate> {
        Certificate::parse_file(include_bytes!(
            "../tests/vectors/reference/certificates/p256.chain.pem"
        ))
        .unwrap()
    }

    /// REV-06, REV-09, SEC-08: nothing but an answer for each certificate passes.
    #[test]
    fn statuses_add_up() {
        use Status::{Good as G, NotRevocable as N, Revoked as R};
        let u = || {
            Status::Unknown(Unknown::TimeLimit {
                after: Duration::ZERO,
            })
        };
        let chain = chain();
        let subject = |i: usize| Quoted(&chain[i].subject().to_string()).to_string();
        let unknown = |i| {
            format!(
                "signing certificate with subject {} revocation status is unknown",
                subject(i)
            )
        };
        let revoked = |i| format!("signing certificate with subject {} is revoked", subject(i));
        for (statuses, expected) in [
            (vec![G, G, N], None),
            (vec![N, N, N], None),
            (vec![u(), G, N], Some(unknown(0))),
            (vec![G, u(), N], Some(unknown(1))),
            (vec![u(), R, N], Some(revoked(1))),
            (vec![R, R, N], Some(revoked(0))),
            (
                vec![G, G],
                Some(format!(
                    "signing certificate with subject {} revocation status is unknown: no answer",
                    subject(2)
                )),
            ),
        ] {
            let checked: Vec<Checked> = statuses.into_iter().map(Checked::from).collect();
            let got = conclude(&chain, &checked).err().map(|e| e.to_string());
            assert_eq!(got, expected, "{checked:?}");
        }
    }
}
