//! Revocation of the authority's chain: always checked, and enforced wherever a token is
//! (TSA-08, TSA-32).

use jiff::Timestamp;

use crate::artifact::Quoted;
use crate::event::Observer;
use crate::revocation::{self, Checked, Checker, Inquiry, NotGood, Unknown};
use crate::x509::{Chain, Timestamping};

/// The chain of a timestamping authority is not known to be good.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityRevocation {
    /// A certificate is revoked.
    #[error("timestamping certificate with subject {} is revoked", Quoted(subject))]
    Revoked {
        /// Its subject.
        subject: String,
    },
    /// Nothing is known about a certificate.
    #[error(
        "timestamping certificate with subject {} revocation status is unknown",
        Quoted(subject)
    )]
    Unknown {
        /// Its subject.
        subject: String,
        /// What kept the status from being found.
        #[source]
        reason: Unknown,
    },
    /// The checker did not answer for a certificate.
    #[error(
        "timestamping certificate with subject {} revocation status is unknown",
        Quoted(subject)
    )]
    Unanswered {
        /// Its subject.
        subject: String,
    },
}

/// Finds out whether a certificate of the chain is revoked.
///
/// # Errors
/// [`AuthorityRevocation`], also where nothing is known.
pub async fn check_revocation(
    checker: &dyn Checker,
    chain: &Chain<Timestamping>,
    now: Timestamp,
    observer: &dyn Observer,
) -> Result<(), AuthorityRevocation> {
    let inquiry = Inquiry::about(chain, None, now, observer);
    conclude(chain, &checker.check(inquiry).await)
}

/// What the statuses of the chain's certificates add up to.
///
/// # Errors
/// [`AuthorityRevocation`], also where nothing is known.
pub fn conclude(
    chain: &Chain<Timestamping>,
    statuses: &[Checked],
) -> Result<(), AuthorityRevocation> {
    revocation::conclude(chain.certificates(), statuses).map_err(|not_good| match not_good {
        NotGood::Revoked { subject } => AuthorityRevocation::Revoked { subject },
        NotGood::Unknown { subject, reason } => AuthorityRevocation::Unknown { subject, reason },
        NotGood::Unanswered { subject } => AuthorityRevocation::Unanswered { subject },
    })
}
