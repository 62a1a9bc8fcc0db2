//! The first check: the envelope is well formed, and the leaf's key signed it (VER-11).

use crate::envelope::{Envelope, EnvelopeError, Format, Signature};

/// An envelope that is not intact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntegrityError {
    /// Not an envelope.
    #[error("unable to parse the digital signature, error ")]
    Parse(#[source] EnvelopeError),
    /// An envelope whose signature, attributes or chain break a rule.
    #[error(transparent)]
    Invalid(EnvelopeError),
}

/// Parses an envelope and verifies it against its own leaf. Nothing about trust is said.
pub(super) fn integrity(format: Format, envelope: &[u8]) -> Result<Signature, IntegrityError> {
    Envelope::parse(format, envelope)
        .map_err(IntegrityError::Parse)?
        .verify_integrity()
        .map_err(IntegrityError::Invalid)
}
