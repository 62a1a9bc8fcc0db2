//! Logging in and out (CFG-25, CFG-26): a credential is tried at the registry before it is kept.

use super::credentials::{CredentialError, CredentialStore, Erased};
use super::{Credential, Credentials};
use crate::artifact::reference::{ReferenceFault, is_registry, registry_of_address};
use crate::oci::OciError;
use crate::oci::registry::Connector;

/// How a login ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoginOutcome {
    /// The credential is kept in a credential store.
    Stored,
    /// The same credential stands in a file in plain text, and stays there.
    // CFG-26
    AlreadyInPlainText,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// Not the name of a registry.
    #[error("invalid reference: {0}")]
    Registry(ReferenceFault),
    /// The registry did not accept the credential, or could not be asked.
    #[error("failed to log in to {server}")]
    Refused {
        /// The registry.
        server: String,
        /// What failed with the registry.
        #[source]
        source: Box<OciError>,
    },
    /// The credential is good and could not be kept.
    #[error("failed to log in to {server}")]
    Store {
        /// The registry.
        server: String,
        /// What failed with the credential store.
        #[source]
        source: CredentialError,
    },
    /// The credential is good, and there is no secure place for it.
    // CFG-25
    #[error(
        "failed to log in to {server}: the credential could not be saved because a credentials store is required to securely store the password. See https://notaryproject.dev/docs/how-to/registry-authentication/"
    )]
    NoStore {
        /// The registry.
        server: String,
    },
}

/// Why a logout failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogoutError {
    /// Not the name or address of a registry.
    #[error("invalid reference: {0}")]
    Registry(ReferenceFault),
    /// The credential could not be removed.
    #[error("failed to log out of {server}")]
    Store {
        /// The registry.
        server: String,
        /// What failed with the credential store.
        #[source]
        source: CredentialError,
    },
}

/// Tries a credential at a registry, and keeps it.
///
/// # Errors
/// [`LoginError`].
pub async fn login(
    connector: &Connector,
    store: &CredentialStore,
    server: &str,
    credential: &Credential,
) -> Result<LoginOutcome, LoginError> {
    if !is_registry(server) {
        let fault = ReferenceFault::Registry(server.to_owned());
        return Err(LoginError::Registry(fault));
    }
    connector
        .ping(server, Credentials::Given(credential.clone()))
        .await
        .map_err(|source| LoginError::Refused {
            server: server.to_owned(),
            source: Box::new(source),
        })?;
    match store.put(server, credential).await {
        Ok(()) => Ok(LoginOutcome::Stored),
        Err(CredentialError::NoHelper) => match store.get(server).await {
            Ok(Some(known)) if known == *credential => Ok(LoginOutcome::AlreadyInPlainText),
            _ => Err(LoginError::NoStore {
                server: server.to_owned(),
            }),
        },
        Err(source) => Err(LoginError::Store {
            server: server.to_owned(),
            source,
        }),
    }
}

/// Forgets the credential for a registry. `server` may be an address as people type it, with a
/// scheme in front and a path behind.
///
/// # Errors
/// [`LogoutError`]; having none is no error.
pub async fn logout(store: &CredentialStore, server: &str) -> Result<Erased, LogoutError> {
    if registry_of_address(server).is_none() {
        let fault = ReferenceFault::Registry(server.to_owned());
        return Err(LogoutError::Registry(fault));
    }
    store
        .erase(server)
        .await
        .map_err(|source| LogoutError::Store {
            server: server.to_owned(),
            source,
        })
}
