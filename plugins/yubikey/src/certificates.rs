//! The certificate chain of a key: from its slot, from other slots that hold its issuers, and from
//! a file.
//!
//! A file that holds a signer's certificate decides which one is used; a file of CA certificates
//! completes what the card has. A certificate that should be the key's and is not is an error.

use std::path::Path;
use std::time::SystemTime;

use hardsign_plugin::Error;
use hardsign_plugin::chain::{self, ChainError, PublicKey};

use crate::error::YubiKeyError;
use crate::piv::{CardError, Piv};
use crate::reader::Connection;
use crate::slot::Slot;

/// Whose chain is looked for.
pub(crate) struct Wanted<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) slot: Slot,
    pub(crate) public: &'a PublicKey,
    pub(crate) file: Option<&'a Path>,
}

impl Wanted<'_> {
    /// The chain of a key that is not to sign, which may have any certificate, or none.
    pub(crate) fn any_chain(&self) -> Vec<Vec<u8>> {
        self.chain().unwrap_or_default()
    }

    /// The chain, leaf to root.
    pub(crate) fn chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        let file = self.file.map(chain::load).transpose()?.unwrap_or_default();
        let is_keys = |der: &Vec<u8>| chain::matches(self.public, der);
        let mut pool = file;
        if !pool.iter().any(is_keys) {
            if let (Some(path), Some(leaf)) =
                (self.file, pool.iter().find(|der| !chain::is_ca(der)))
            {
                return Err(self.mismatch(leaf, path.display().to_string()));
            }
            let slot = self.slot;
            let own = self.read(move |piv| piv.certificate(slot))?;
            match own {
                Some(der) if !is_keys(&der) => {
                    return Err(self.mismatch(&der, format!("slot {slot}")));
                }
                own => pool.extend(own),
            }
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "only a certificate that is valid now signs"
        )]
        let now = SystemTime::now();
        let chosen = match chain::choose(self.public, &pool, now) {
            Err(ChainError::NoIssuer { .. } | ChainError::NoneFits { .. }) => {
                // Only now is it worth a look into all the other slots.
                let own = self.slot;
                pool.extend(self.read(move |piv| others(piv, own))?);
                chain::choose(self.public, &pool, now)
            }
            other => other,
        };
        let choice = chosen.map_err(|error| self.explain(&error))?;
        Ok(choice.chain)
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Piv<'_>) -> Result<T, CardError> + Send + 'static,
    ) -> Result<T, YubiKeyError> {
        let failed =
            |source| YubiKeyError::card("reading certificates of", self.connection.name(), source);
        self.connection.run(read)?.map_err(failed)
    }

    fn mismatch(&self, der: &[u8], place: String) -> Error {
        YubiKeyError::Mismatch {
            subject: chain::subject(der).unwrap_or_default(),
            place,
            slot: self.slot,
            card: self.connection.name(),
        }
        .into()
    }

    fn explain(&self, error: &ChainError) -> Error {
        let (slot, card) = (self.slot, self.connection.name());
        let hint = match error {
            ChainError::NoCertificate | ChainError::NoMatch { .. } => {
                "store its certificate in the slot, or name a PEM file with cert-chain".to_owned()
            }
            ChainError::NoIssuer { issuer, .. } => format!(
                "name a PEM file with cert-chain that holds {issuer:?} and the certificates above it"
            ),
            _ => return Error::validation(format!("slot {slot} of {card}: {error}")),
        };
        Error::validation(format!("slot {slot} of {card}: {error}")).with_hint(hint)
    }
}

/// The certificates of all slots but one; those of issuers are kept in slots that have no key.
fn others(piv: &mut Piv<'_>, own: Slot) -> Result<Vec<Vec<u8>>, CardError> {
    let mut found = Vec::new();
    for slot in Slot::all().filter(|slot| *slot != own) {
        match piv.certificate(slot) {
            Ok(certificate) => found.extend(certificate),
            // One object that can't be read does not matter until it is missed.
            Err(CardError::Lost(error)) => return Err(CardError::Lost(error)),
            Err(_) => {}
        }
    }
    Ok(found)
}
