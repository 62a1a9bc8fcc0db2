//! The timestamping authority that is asked over HTTP.

use std::fmt;
use std::pin::Pin;

use jiff::Timestamp;

use super::timestamp::{Countersigner, TimestampError};
use crate::envelope::Signature;
use crate::event::Listener;
use crate::revocation::Checker;
use crate::timestamp::{Client, Request, ResponseError, TokenError, check_revocation};
use crate::x509::Certificate;

/// A timestamping authority that the user names, with the root that its chain must end in.
pub struct TimestampAuthority {
    client: Client,
    roots: [Certificate; 1],
    checker: Box<dyn Checker>,
    listener: Listener,
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
