//! The first check: the envelope is well formed, and the leaf's key signed it (VER-11).

use crate::envelope::{Envelope, EnvelopeError, Format, ProvenChains, Signature};

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

/// Parses an envelope and verifies it against its own leaf. Nothing about trust is said. A chain among
/// those that were `proven` is not proven again.
pub(super) fn integrity(
    format: Format,
    envelope: &[u8],
    proven: &ProvenChains,
) -> Result<Signature, IntegrityError> {
    Envelope::parse(format, envelope)
        .map_err(IntegrityError::Parse)?
        .verify_integrity_among(proven)
        .map_err(IntegrityError::Invalid)
}
