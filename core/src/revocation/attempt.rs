//! Servers that were asked, and why that was in vain.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::crl::CrlError;
#[cfg(feature = "revocation-online")]
use super::fetch::FetchError;
use super::ocsp::OcspError;
use super::{Method, RevocationServer};
use crate::text::WithCauses;

/// Most distribution points of one certificate that are tried (REV-12).
pub(super) const MAX_POINTS: usize = 16;

/// A server that was asked in vain, or that says "revoked".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Which server.
    pub source: RevocationServer,
    /// Why its answer does not count.
    pub error: Arc<ServerError>,
}

/// Why a server's answer does not make a certificate good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no answer.
    #[cfg(feature = "revocation-online")]
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The OCSP answer is of no use.
    #[error(transparent)]
    Ocsp(#[from] OcspError),
    /// The responder does not know the certificate.
    // REV-19
    #[error("certificate has unknown status via OCSP")]
    UnknownStatus,
    /// The certificate is revoked.
    // REV-05
    #[error("certificate is revoked via {method}")]
    Revoked {
        /// Who says so.
        method: Method,
    },
    /// The responder's own certificate is revoked.
    // REV-28
    #[error("the certificate of the OCSP responder, {responder}, is revoked")]
    ResponderRevoked {
        /// Its subject.
        responder: String,
    },
    /// Nothing is known about the responder's own certificate.
    // REV-28
    #[error(
        "the revocation status of the OCSP responder's certificate, {responder}, is unknown: {}",
        list(attempts)
    )]
    ResponderUnknown {
        /// Its subject.
        responder: String,
        /// Who was asked.
        attempts: Vec<Attempt>,
    },
    /// The CRL is of no use.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// No delta CRL could be had.
    // REV-40
    #[error("failed to get the delta CRL from {url}")]
    Delta {
        /// The last address that was tried.
        url: String,
        /// Why the answer before it does not count.
        #[source]
        source: Arc<Self>,
    },
    /// The certificate's CRLs leave out reasons.
    // REV-38
    #[error("the CRLs of the certificate do not cover every reason for a revocation")]
    ReasonsLeftOut,
    /// The certificate names more places than are asked.
    // REV-12
    #[error("the certificate has more than {MAX_POINTS} distribution points")]
    TooManyPoints,
    /// A checker of another kind got no answer; the cause is its own.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
}

impl ServerError {
    /// A checker's own reason.
    pub fn other(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(error))
    }
}

impl Attempt {
    /// A server that was asked in vain, and why.
    pub fn new(source: RevocationServer, error: impl Into<Arc<ServerError>>) -> Self {
        Self {
            source,
            error: error.into(),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {}: {}",
            self.source.method,
            self.source.url,
            WithCauses(&self.error)
        )
    }
}

/// Attempts in one line.
pub(super) fn list(attempts: &[Attempt]) -> String {
    let texts: Vec<_> = attempts.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
