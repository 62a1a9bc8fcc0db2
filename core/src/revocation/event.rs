//! What happens while revocation is checked, for a log and for warnings (REV-02, REV-04, REV-05,
//! REV-49, REV-50). Nothing is decided here, and nothing printed.

use std::fmt;

use crate::artifact::Quoted;

/// Receives what happens.
pub type Observer<'a> = &'a (dyn Fn(&Event<'_>) + Send + Sync);

/// Something that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A certificate that can't be revoked, counted from 1 at the leaf (REV-02).
    NotRevocable {
        /// Position in the chain.
        position: usize,
        /// Its subject.
        subject: &'a str,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRevocable { position, subject } => write!(
                f,
                "Certificate #{position} in the chain with subject {} neither has an OCSP nor a CRL revocation method.",
                Quoted(subject)
            ),
        }
    }
}
