//! Authenticity: the chain is trusted by a store of the statement, and the signer is one of its
//! identities (VER-14).

use std::sync::Arc;

use crate::artifact::Quoted;
use crate::envelope::{Signature, SigningScheme};
use crate::policy::Rules;
use crate::trust::{self, Anchor, LoadedStores, StoreType, TrustError, Untrusted};
use crate::x509::identity::IdentityMismatch;

/// A signer who is not trusted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticityError {
    /// A store can't be used.
    #[error(transparent)]
    Store(Arc<TrustError>),
    /// No store of the scheme's type trusts the chain.
    // TST-13, TST-14
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The leaf is none of the trusted identities.
    // TP-34
    #[error(transparent)]
    Identity(Box<IdentityMismatch>),
    /// The verification plugin refused the identity.
    // VER-40
    #[error(
        "trusted identify verification by plugin {} failed with reason {}",
        Quoted(plugin),
        Quoted(reason)
    )]
    Plugin {
        /// The plugin.
        plugin: String,
        /// What it said.
        reason: String,
    },
}

/// The type of the stores that a scheme's signers are looked up in (TST-02, SEC-07).
pub(super) const fn store_type(scheme: SigningScheme) -> StoreType {
    match scheme {
        SigningScheme::X509 => StoreType::Ca,
        SigningScheme::SigningAuthority => StoreType::SigningAuthority,
    }
}

/// Looks the chain up in the statement's stores of the scheme's type. One store that can't be
/// used fails the check, even where another would trust the chain (TST-12).
pub(super) fn trusted_chain(
    signature: &Signature,
    rules: &Rules,
    stores: &LoadedStores,
) -> Result<Vec<Anchor>, AuthenticityError> {
    let wanted = store_type(signature.attributes().signing_scheme);
    let stores: Vec<_> = rules
        .stores_of(wanted)
        .map(|store| stores.get(store))
        .collect::<Result<_, _>>()
        .map_err(AuthenticityError::Store)?;
    let stores = stores.iter().map(|store| &**store);
    Ok(trust::decide(signature.chain().certificates(), stores)?)
}

/// Compares the leaf with the statement's identities (TP-23, TP-30 to TP-34).
pub(super) fn trusted_identity(
    signature: &Signature,
    rules: &Rules,
    statement: &str,
) -> Result<(), AuthenticityError> {
    rules
        .identities()
        .check(signature.chain().leaf(), statement)
        .map_err(|mismatch| AuthenticityError::Identity(Box::new(mismatch)))
}
