//! What happens while revocation is checked, for a log and for warnings (REV-02, REV-04, REV-05,
//! REV-49, REV-50). Nothing is decided here, and nothing printed.

use std::fmt;

use jiff::Timestamp;

use super::cache::CacheError;
use super::crl::{CrlError, go_time};
use super::{Attempt, Method};
use crate::artifact::Quoted;
use crate::event::Severity;
use crate::text::WithCauses;

/// Receives what happens.
pub type Observer<'a> = &'a (dyn Fn(&Event<'_>) + Send + Sync);

/// Something that happened. Certificates are counted from 1 at the leaf.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A certificate that can't be revoked (REV-02).
    NotRevocable {
        /// Position in the chain.
        position: usize,
        /// Its subject.
        subject: &'a str,
    },
    /// No responder knew the certificate, so that its CRL was asked for (REV-04).
    Fallback {
        /// Position in the chain.
        position: usize,
        /// Its subject.
        subject: &'a str,
    },
    /// A server gave no good answer (REV-05).
    Server {
        /// Position in the chain.
        position: usize,
        /// The certificate's subject.
        subject: &'a str,
        /// Which server, and why.
        attempt: &'a Attempt,
        /// Whether another server made up for it.
        made_up_for: bool,
    },
    /// The cache is looked into.
    CacheRead {
        /// The CRL's address.
        url: &'a str,
    },
    /// The cache does not have the CRL.
    CacheMiss {
        /// The CRL's address.
        url: &'a str,
    },
    /// What the cache has is of no use any more.
    CacheExpired {
        /// When it expired.
        next_update: Timestamp,
    },
    /// What the cache has is not the issuer's (REV-51).
    CacheRefused {
        /// The CRL's address.
        url: &'a str,
        /// What is wrong with the CRL.
        error: &'a CrlError,
    },
    /// The cached CRL's issuer meant to publish another by now (REV-46).
    CacheOutdated {
        /// The CRL's address.
        url: &'a str,
    },
    /// A CRL is stored.
    CacheStore {
        /// The CRL's address.
        url: &'a str,
    },
    /// There is no cache (REV-50).
    CacheUnavailable(&'a CacheError),
    /// The cache can't be read or written (REV-50).
    CacheFault {
        /// What is wrong with the cache.
        error: &'a CacheError,
        /// Whether this is the checker's first.
        first: bool,
    },
}

impl Event<'_> {
    /// How much a reader of the log should care.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Server {
                made_up_for: false, ..
            } => Severity::Error,
            Self::NotRevocable { .. } | Self::Fallback { .. } | Self::CacheRefused { .. } => {
                Severity::Warn
            }
            _ => Severity::Debug,
        }
    }

    /// What the user should be told in any case.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::CacheUnavailable(error) => Some(WithCauses(*error).to_string()),
            Self::CacheFault { first: true, .. } => Some(
                "CRL cache error discarded. Enable debug log through '-d' for error details."
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRevocable { position, subject } => write!(
                f,
                "Certificate #{position} in the chain with subject {} neither has an OCSP nor a CRL revocation method.",
                Quoted(subject)
            ),
            Self::Fallback { position, subject } => write!(
                f,
                "OCSP check failed with unknown error and fallback to CRL check for certificate #{position} in chain with subject {}",
                Quoted(subject)
            ),
            Self::Server {
                position,
                subject,
                attempt,
                ..
            } => write!(
                f,
                "Certificate #{position} in chain with subject {} encountered an error for revocation method {} at URL {}: {}",
                Quoted(subject),
                attempt.source.method,
                Quoted(&attempt.source.url),
                WithCauses(&attempt.error)
            ),
            Self::CacheRead { url } => write!(
                f,
                "Retrieving crl bundle from file cache with key {} ...",
                Quoted(url)
            ),
            Self::CacheMiss { url } => {
                write!(f, "CRL file cache miss. Key {} does not exist", Quoted(url))
            }
            Self::CacheExpired { next_update } => write!(
                f,
                "CRL bundle retrieved from file cache has expired at {}",
                go_time(*next_update)
            ),
            Self::CacheRefused { url, error } => write!(
                f,
                "CRL bundle retrieved from file cache with key {} is not used: {}",
                Quoted(url),
                WithCauses(*error)
            ),
            Self::CacheOutdated { url } => write!(
                f,
                "CRL bundle retrieved from file cache with key {} should have a successor by now",
                Quoted(url)
            ),
            Self::CacheStore { url } => write!(
                f,
                "Storing crl bundle to file cache with key {} ...",
                Quoted(url)
            ),
            Self::CacheUnavailable(error) | Self::CacheFault { error, .. } => {
                WithCauses(*error).fmt(f)
            }
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
