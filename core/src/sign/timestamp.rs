//! A timestamp for a signature that was just made: asked for, judged, and refused unless all of it
//! holds (TSA-08).

use std::error::Error;
use std::fmt;
use std::pin::Pin;

use jiff::Timestamp;

use crate::crypto::NoRandomness;
use crate::envelope::Signature;
use crate::event::Listener;
use crate::revocation::Checker;
use crate::timestamp::{
    AuthorityRevocation, Client, ClientError, OutsideValidity, Request, ResponseError, TokenError,
    check_revocation,
};
use crate::x509::Certificate;

/// Where timestamps come from: [`TimestampAuthority`], whatever checks revocation for it.
pub trait Countersigner: fmt::Debug + Send + Sync {
    /// A token over the primitive signature, good in every respect, to be stored as it is.
    fn countersign<'a>(
        &'a self,
        signature: &'a Signature,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, TimestampError>> + Send + 'a>>;
}

/// A timestamping authority that the user names, with the root that its chain must end in.
pub struct TimestampAuthority {
    client: Client,
    roots: [Certificate; 1],
    checker: Box<dyn Checker>,
    listener: Listener,
}

/// Why a signature has no timestamp; it is not stored then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// No nonce could be made.
    #[error(transparent)]
    Nonce(#[from] NoRandomness),
    /// There is no answer.
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
        matches!(self, Self::Client(_))
    }
}

impl TimestampAuthority {
    /// An authority whose chain must end in `root`, and whose revocation `checker` checks.
    pub fn new(
        client: Client,
        root: Certificate,
        checker: impl Checker + 'static,
        listener: Listener,
    ) -> Self {
        Self {
            client,
            roots: [root],
            checker: Box::new(checker),
            listener,
        }
    }

    /// The hash follows the signing key (TSA-02, TSA-14). The chain is judged at the time of the
    /// token and now.
    async fn ask(&self, signature: &Signature, now: Timestamp) -> Result<Vec<u8>, TimestampError> {
        let message = signature.signature_bytes();
        let request = Request::new(signature.algorithm().hash(), message)?;
        let response = self.client.ask(&request).await?;
        let answer = request.accept(&response, message, &self.roots)?;
        let chain = answer.verified.chain();
        let valid = chain.check_validity_at(now);
        valid.map_err(|source| ResponseError::Token(TokenError::NotValidAt { source }))?;
        answer
            .verified
            .range()
            .check_inside(signature.chain().certificates())?;
        check_revocation(&*self.checker, chain, now, &self.listener).await?;
        Ok(answer.token)
    }
}

impl Countersigner for TimestampAuthority {
    fn countersign<'a>(
        &'a self,
        signature: &'a Signature,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, TimestampError>> + Send + 'a>> {
        Box::pin(self.ask(signature, now))
    }
}

impl fmt::Debug for TimestampAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimestampAuthority")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
