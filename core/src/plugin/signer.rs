//! Signing through a plugin, by the best way that it offers: raw signatures, through a session or by
//! contract 1.0, or whole envelopes (PLG-22).
//!
//! One session for all signatures of a signer, from the metadata on where the plugin is one of the
//! box; key and chain are looked up once.
//!
//! What must hold: nothing is started again or repeated before a session's first signature, nor ever
//! after `ACCESS_DENIED`, so that a wrong PIN costs one login attempt.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use async_trait::async_trait;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{Capability, Command, ErrorCode, ErrorResponse, SIGN_DIGEST};

use super::command::Plugin;
use super::latch::About;
use super::text::{Lines, escaped};
use super::{Host, KeyStore, PluginError, PluginErrorKind, PluginKey};
use crate::artifact::{Descriptor, Kind};
use crate::envelope::Signature;
use crate::sign::{MakeSignature, SignError, SignOptions, SignerError, WholeEnvelopes};

pub use envelopes::EnvelopeGenerator;
pub use raw::RawSigner;
pub use unopened::UnopenedSigner;

mod contract;
mod envelopes;
mod raw;
mod session;
#[cfg(test)]
mod tests;
mod unopened;

/// A key behind a plugin, or a plugin that makes whole envelopes.
#[derive(Debug)]
pub enum PluginSigner {
    /// It gives signatures (`SIGNATURE_GENERATOR.RAW`, and hardsign's ways to the same).
    Raw(RawSigner),
    /// It gives whole envelopes and nothing else (`SIGNATURE_GENERATOR.ENVELOPE`).
    Envelopes(EnvelopeGenerator),
}

/// A key and the plugin that holds it: what both kinds of signers need.
#[derive(Debug)]
struct Holder {
    store: KeyStore,
    id: String,
    /// What is signed.
    kind: Kind,
    /// How the plugin gives signatures: `session`, or a command.
    command: Command,
    denied: OnceLock<ErrorResponse>,
}

impl PluginSigner {
    /// Asks the plugin who it is, chooses the way, and looks the key up: with a session this is
    /// where the login happens.
    ///
    /// The kind is that of what will be signed. For OCI artifacts, whatever goes wrong once the plugin
    /// has said who it is, here and later, is told as [`PluginErrorKind::Signing`]. Not so for
    /// the `local` plugin of the box: the reference has no plugin there, and its texts name files.
    ///
    /// # Errors
    /// If the plugin can't be run, breaks the contract, refuses, or can't sign, or if what a session says of
    /// the key's certificates can't be used.
    // PLG-31, CFG-20
    pub async fn open(host: &Host, key: PluginKey, kind: Kind) -> Result<Self, PluginError> {
        UnopenedSigner::connect(host, key, kind).await?.open().await
    }

    /// The signer, where it has to be one that gives signatures.
    ///
    /// # Errors
    /// [`PluginErrorKind::CannotSign`] for a plugin that makes whole envelopes only.
    pub fn raw(self) -> Result<RawSigner, PluginError> {
        match self {
            Self::Raw(signer) => Ok(signer),
            Self::Envelopes(other) => {
                let plugin = other.holder().plugin();
                Err(plugin.error(PluginErrorKind::CannotSign))
            }
        }
    }

    fn holder(&self) -> &Holder {
        match self {
            Self::Raw(signer) => signer.holder(),
            Self::Envelopes(generator) => generator.holder(),
        }
    }

    /// How signatures are asked for, as `-v` shows it: `session`, or a command.
    pub fn route(&self) -> &str {
        self.holder().command.name()
    }

    /// How many signatures may be asked for at once.
    pub fn max_in_flight(&self) -> usize {
        match self {
            Self::Raw(signer) => signer.max_in_flight(),
            Self::Envelopes(_) => 1,
        }
    }

    /// The key's type and size.
    ///
    /// # Errors
    /// [`PluginErrorKind::CannotSignBlobs`] for a plugin that makes envelopes for artifacts only: it
    /// tells nothing of its key.
    pub fn key_spec(&self) -> Result<KeySpec, PluginError> {
        match self {
            Self::Raw(signer) => Ok(signer.key_spec()),
            Self::Envelopes(generator) => generator.key_spec(),
        }
    }

    /// SHA-256 of the signing certificate, where it is known before anything is signed.
    pub fn leaf_thumbprint(&self) -> Option<[u8; 32]> {
        match self {
            Self::Raw(signer) => signer.leaf_thumbprint(),
            Self::Envelopes(_) => None,
        }
    }

    /// What stands before a failure to sign, where something does: for what is found wrong
    /// with the plugin's answers elsewhere.
    // PLG-31
    pub fn failure_prefix(&self) -> Option<String> {
        let holder = self.holder();
        let plugin = &holder.plugin().file.name;
        let prefixed = holder.names_itself();
        prefixed.then(|| format!("failed to sign with the plugin {plugin}: "))
    }

    /// Says that nothing more will be signed: a session's plugin may log out and end, while the caller
    /// goes on. [`Self::close`] waits for that.
    pub async fn finish(&self) {
        if let Self::Raw(signer) = self {
            signer.finish().await;
        }
    }

    /// Ends the session: the plugin logs out and its process is reaped. Without a session there is
    /// nothing to do.
    pub async fn close(&self) {
        if let Self::Raw(signer) = self {
            signer.close().await;
        }
    }
}

#[async_trait]
impl MakeSignature for PluginSigner {
    async fn make(
        &self,
        target: &Descriptor,
        options: &SignOptions,
        kind: Kind,
    ) -> Result<(Signature, BTreeMap<String, String>), SignError> {
        match self {
            Self::Raw(signer) => signer.make(target, options, kind).await,
            Self::Envelopes(generator) => {
                WholeEnvelopes(generator).make(target, options, kind).await
            }
        }
    }
}

impl Holder {
    fn plugin(&self) -> &Plugin {
        &self.store.plugin
    }

    /// The signing agent for envelopes: `hardsign/<version> <plugin>/<version>` (ENV-31).
    fn signing_agent(&self) -> String {
        let version = escaped(&self.store.metadata.version, MAX_VERSION, Lines::Escape);
        format!(
            "hardsign/{} {}/{version}",
            env!("CARGO_PKG_VERSION"),
            self.plugin().file.name
        )
    }

    /// Whether failures to sign are told with the plugin's name before them (PLG-31).
    fn names_itself(&self) -> bool {
        self.kind == Kind::Oci && !self.plugin().file.is_local_of_the_box()
    }

    /// An error as it is told to the user (PLG-31).
    fn in_context(&self, error: PluginError) -> PluginError {
        match self.names_itself() {
            true => self
                .plugin()
                .error(PluginErrorKind::Signing(Box::new(error))),
            false => error,
        }
    }

    fn failed(&self, error: PluginError) -> SignerError {
        SignerError::new(self.in_context(error))
    }

    fn refused(&self, refusal: ErrorResponse) -> PluginError {
        let plugin = self.plugin();
        plugin.refused(SIGN_DIGEST, Some(&self.id), refusal)
    }

    /// After `ACCESS_DENIED` nothing is asked again: the next attempt could lock the token.
    fn note_denial(&self, error: &PluginError) {
        if let PluginErrorKind::Refused { error, .. } = &error.innermost().kind
            && error.error_code == Some(ErrorCode::AccessDenied)
        {
            self.denied.get_or_init(|| (**error).clone());
            let plugin = self.plugin();
            let about = About::key(SIGN_DIGEST, &self.id, &self.store.config);
            plugin
                .host
                .latches
                .of(&plugin.file)
                .note_refusal(&about, error);
        }
    }

    fn check_not_denied(&self) -> Result<(), PluginError> {
        match self.denied.get() {
            Some(refusal) => Err(self.refused(refusal.clone())),
            None => Ok(()),
        }
    }
}

/// The best way to signatures that a plugin offers: through a session, by a command that gives one, or
/// by one that makes a whole envelope (PLG-22).
fn best(capabilities: &[Capability]) -> Option<Command> {
    [
        (Capability::Session, Command::Session),
        (Capability::Digest, Command::SignDigest),
        (Capability::RawSignature, Command::GenerateSignature),
        (Capability::Envelope, Command::GenerateEnvelope),
        (Capability::EnvelopeForBlob, Command::GenerateEnvelope),
    ]
    .into_iter()
    .find_map(|(capability, command)| capabilities.contains(&capability).then_some(command))
}

/// Characters of a plugin's version in the signing agent.
const MAX_VERSION: usize = 100;
