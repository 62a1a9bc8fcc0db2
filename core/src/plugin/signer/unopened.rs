//! A signer before its key is opened: the time to ask for evidence, since nobody has been asked for a
//! PIN yet, and a device that one key is open on may be held by it.

use std::sync::OnceLock;

use hardsign_plugin::proto::{AttestKeyResponse, Capability, Command};

use super::{EnvelopeGenerator, Holder, PluginSigner, RawSigner, best};
use crate::artifact::Kind;
use crate::event::{Event, Observer as _};
use crate::plugin::{Host, KeyStore, PluginError, PluginErrorKind, PluginKey};

/// A signer whose plugin said who it is, and whose key is not open yet.
#[derive(Debug)]
pub struct UnopenedSigner(Holder);

impl UnopenedSigner {
    /// Asks the plugin who it is and chooses the way ([`PluginSigner::open`]).
    ///
    /// # Errors
    /// If the plugin can't be run, breaks the contract, or can't sign.
    pub async fn connect(host: &Host, key: PluginKey, kind: Kind) -> Result<Self, PluginError> {
        let PluginKey {
            plugin, id, config, ..
        } = key;
        let store = KeyStore::connect(host, plugin, &id, &config, config.clone()).await?;
        let Some(command) = best(&store.metadata.capabilities) else {
            store.close().await;
            return Err(store.plugin.error(PluginErrorKind::CannotSign));
        };
        host.listener.observe(&Event::PluginRoute {
            plugin: store.plugin.file.name.as_str(),
            route: command.name(),
        });
        Ok(Self(Holder {
            store,
            id,
            kind,
            command,
            denied: OnceLock::new(),
        }))
    }

    /// The plugin's name.
    pub fn plugin_name(&self) -> &str {
        self.0.plugin().file.name.as_str()
    }

    /// Whether the plugin gives evidence of its keys.
    pub fn gives_evidence(&self) -> bool {
        self.0.store.has(&Capability::Attest)
    }

    /// Whether the plugin signs with whole envelopes, to which nothing can be added.
    pub fn makes_envelopes(&self) -> bool {
        self.0.command == Command::GenerateEnvelope
    }

    /// The device's evidence of where the key was made and lives, of whatever format; nothing of it
    /// is proven. Asked once, in the session that will sign.
    ///
    /// # Errors
    /// See [`PluginError`]; [`PluginErrorKind::Lacks`] for a plugin that gives none. The session has
    /// ended then.
    pub async fn evidence(&self) -> Result<AttestKeyResponse, PluginError> {
        let Self(holder) = self;
        match holder.store.attest_key(&holder.id).await {
            Ok(evidence) => Ok(evidence),
            Err(error) => {
                holder.store.close().await;
                Err(holder.in_context(error))
            }
        }
    }

    /// Opens the key: with a session this is the login, and its certificates are proven.
    ///
    /// # Errors
    /// As [`PluginSigner::open`].
    pub async fn open(self) -> Result<PluginSigner, PluginError> {
        let signer = self.look().await?;
        if let PluginSigner::Raw(raw) = &signer
            && let Err(error) = raw.prove()
        {
            raw.close().await;
            return Err(error);
        }
        Ok(signer)
    }

    /// Opens the key to look at it: its certificates need not be fit to sign with.
    ///
    /// # Errors
    /// As [`PluginSigner::open`], certificates aside.
    pub async fn look(self) -> Result<PluginSigner, PluginError> {
        match self.makes_envelopes() {
            true => Ok(PluginSigner::Envelopes(
                EnvelopeGenerator::open(self.0).await?,
            )),
            false => Ok(PluginSigner::Raw(RawSigner::open(self.0).await?)),
        }
    }

    /// Ends the session without a key having been opened.
    pub async fn close(self) {
        self.0.store.close().await;
    }
}
