//! What a host is told about certificates that a plugin can't use.

use super::{ChainError, LoadError};
use crate::Error;
use crate::error::ErrorCode;

impl From<ChainError> for Error {
    fn from(error: ChainError) -> Self {
        let hint = match &error {
            ChainError::NoIssuer { issuer, .. } => Some(format!(
                "add the certificate of {issuer:?}, and those above it up to the root"
            )),
            ChainError::NoMatch { .. } | ChainError::NoCertificate => {
                Some("name a certificate file for this key, leaf first".to_owned())
            }
            ChainError::NoneFits { .. } => Some(
                "renew the certificate of this key, or name a file with its chain, leaf first"
                    .to_owned(),
            ),
            _ => None,
        };
        let answer = Self::from_error(ErrorCode::ValidationError, &error);
        match hint {
            Some(hint) => answer.with_hint(hint),
            None => answer,
        }
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Self::from_error(ErrorCode::ValidationError, &error)
    }
}
