//! Signatures of a key behind a plugin: through one session, or by contract 1.0.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::Command;

use super::Holder;
use super::session::SigningSession;
use crate::algorithm::HashAlgorithm;
use crate::crypto;
use crate::envelope::{Signed, SignerChain, ToBeSigned};
use crate::plugin::PluginError;
use crate::sign::{Signer, SignerError};

/// A key behind a plugin.
#[derive(Debug)]
pub struct RawSigner {
    holder: Holder,
    key_spec: KeySpec,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// One process for all signatures.
    Session(SigningSession),
    /// A process for each. The chain that came with the last one is kept, since it is proven once.
    Contract(Mutex<SignerChain>),
}

impl RawSigner {
    /// Looks the key up, with a session by logging in.
    pub(super) async fn open(mut holder: Holder) -> Result<Self, PluginError> {
        let opened = if holder.command == Command::Session {
            let opened = SigningSession::open(&mut holder).await;
            opened.map(|(key_spec, session)| (key_spec, Way::Session(session)))
        } else {
            let described = holder.describe_key().await;
            described.map(|key_spec| (key_spec, Way::Contract(Mutex::new(Vec::new().into()))))
        };
        match opened {
            Ok((key_spec, way)) => Ok(Self {
                holder,
                key_spec,
                way,
            }),
            Err(error) => Err(holder.in_context(error)),
        }
    }

    /// Proves the certificates that a session said when it was opened, before anything is signed with them. A
    /// plugin without sessions says them with each signature.
    pub(super) fn prove(&self) -> Result<(), PluginError> {
        match &self.way {
            Way::Session(session) => {
                let proven = session.prove(&self.holder.store);
                proven.map_err(|error| self.holder.in_context(error))
            }
            Way::Contract(_) => Ok(()),
        }
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// How signatures are asked for, as `-v` shows it: `session`, or a command.
    pub fn route(&self) -> &str {
        self.holder.command.name()
    }

    /// Whether the key is open, and not only described.
    pub fn is_open(&self) -> bool {
        matches!(self.way, Way::Session(_))
    }

    /// The key's type and size.
    pub fn key_spec(&self) -> KeySpec {
        self.key_spec
    }

    /// How many signatures may be asked for at once.
    pub fn max_in_flight(&self) -> usize {
        match &self.way {
            Way::Session(session) => session.max_in_flight(),
            Way::Contract(_) => 1,
        }
    }

    /// SHA-256 of the signing certificate, where it is known: a session says it when it is opened, a
    /// plugin without one with each signature.
    pub fn leaf_thumbprint(&self) -> Option<[u8; 32]> {
        let chain = self.chain();
        let leaf = chain.ders().first()?;
        crypto::hash(HashAlgorithm::Sha256, leaf).try_into().ok()
    }

    /// The certificate chain as the plugin gave it; empty where it was not asked yet.
    pub fn chain(&self) -> SignerChain {
        match &self.way {
            Way::Session(session) => session.chain().clone(),
            Way::Contract(known) => known.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Signs: `digest` is that of `message` by the key's hash. The answer is bounded, and for the
    /// right key, algorithm and length; it is not verified.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn sign_bytes(
        &self,
        message: &[u8],
        digest: &[u8],
    ) -> Result<(Vec<u8>, SignerChain), PluginError> {
        self.holder.check_not_denied()?;
        let signed = match &self.way {
            Way::Session(session) => session.sign(&self.holder, digest).await,
            Way::Contract(known) => {
                let signed = self.holder.sign_once(self.key_spec, message, digest).await;
                signed.map(|(signature, chain)| (signature, same(known, chain)))
            }
        };
        signed.inspect_err(|error| self.holder.note_denial(error))
    }

    /// Says that nothing more will be signed; [`Self::close`] waits for the end.
    pub async fn finish(&self) {
        if let Way::Session(session) = &self.way {
            session.finish().await;
        }
    }

    /// Ends the session, if there is one: the plugin logs out and its process is reaped.
    pub async fn close(&self) {
        if let Way::Session(session) = &self.way {
            session.close().await;
        }
    }
}

/// The chain that came with an earlier signature, if it is the same: what was proven of it stands.
fn same(known: &Mutex<SignerChain>, chain: SignerChain) -> SignerChain {
    // What is inside is whole at any time.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if *known != chain {
        *known = chain;
    }
    known.clone()
}

#[async_trait]
impl Signer for RawSigner {
    async fn key_spec(&self) -> Result<KeySpec, SignerError> {
        Ok(self.key_spec)
    }

    async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
        let signed = self.sign_bytes(message.bytes(), message.digest()).await;
        let (signature, certificate_chain) = signed.map_err(|error| self.holder.failed(error))?;
        Ok(Signed {
            signature,
            certificate_chain,
            signing_agent: self.holder.signing_agent(),
        })
    }

    fn max_in_flight(&self) -> usize {
        self.max_in_flight()
    }
}
