//! A timestamp for a signature that was just made: asked for, judged, and refused unless all of it
//! holds (TSA-08).

use std::error::Error;
use std::fmt;
use std::pin::Pin;

use jiff::Timestamp;

use crate::crypto::NoRandomness;
use crate::envelope::Signature;
#[cfg(feature = "timestamp-client")]
use crate::timestamp::ClientError;
use crate::timestamp::{AuthorityRevocation, OutsideValidity, ResponseError};

/// Where timestamps come from: `TimestampAuthority`, whatever checks revocation for it.
pub trait Countersigner: fmt::Debug + Send + Sync {
    /// A token over the primitive signature, good in every respect, to be stored as it is.
    fn countersign<'a>(
        &'a self,
        signature: &'a Signature,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, TimestampError>> + Send + 'a>>;
}

/// Why a signature has no timestamp; it is not stored then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// No nonce could be made.
    #[error(transparent)]
    Nonce(#[from] NoRandomness),
    /// There is no answer.
    #[cfg(feature = "timestamp-client")]
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer carries no token that can be relied on.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// No verifier could use the timestamp: it does not show that the chain was valid.
    #[error(transparent)]
    Outside(#[from] OutsideValidity),
    /// The authority's chain is not known to be good.
    #[error(transparent)]
    Revocation(#[from] AuthorityRevocation),
    /// A countersigner of another kind failed; the cause is its own.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
}

impl TimestampError {
    /// Whether the authority could not be used at all, so that the next request will fail too.
    pub fn is_unreachable(&self) -> bool {
        match self {
            #[cfg(feature = "timestamp-client")]
            Self::Client(_) => true,
            _ => false,
        }
    }
}
