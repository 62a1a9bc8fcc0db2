//! RFC 3161 timestamp countersignatures.
//!
//! **Not built in this version**: tokens are neither asked for nor checked. Whether a signature
//! needs one is decided in [`crate::verify`]; where it does, [`verify_token`] fails, so that
//! nothing passes on the strength of a token that nobody looked at (TSA-22).

/// A token that can't be relied on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// Checking tokens is not built.
    #[error(
        "the timestamp countersignature can't be checked: timestamp verification is not built in this version of hardsign"
    )]
    NotBuilt,
}

/// Checks a TimeStampToken (DER of a CMS ContentInfo) over the bytes of a primitive signature.
///
/// # Errors
/// [`TimestampError::NotBuilt`], always.
pub fn verify_token(_token: &[u8], _signature: &[u8]) -> Result<(), TimestampError> {
    Err(TimestampError::NotBuilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TSA-22: an unchecked token is worth nothing.
    #[test]
    fn no_token_is_accepted() {
        assert_eq!(verify_token(b"", b""), Err(TimestampError::NotBuilt));
    }
}
