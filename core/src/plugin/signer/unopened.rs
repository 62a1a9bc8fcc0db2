//! A signer before its key is opened: the time to ask for evidence, since nobody has been asked for a
//! PIN yet, and a device that one key is open on may be held by it.

use hardsign_plugin::proto::{
    AttestKeyRequest, AttestKeyResponse, CONTRACT_VERSION, Capability, Command, OpenRequest,
    Purpose,
};

use super::PluginSigner;
use crate::plugin::latch::About;
use crate::plugin::live::Live;
use crate::plugin::{Host, PluginError, PluginKey};

/// A signer whose plugin said who it is, and whose key is not open yet.
#[derive(Debug)]
pub struct UnopenedSigner {
    pub(super) signer: PluginSigner,
    pub(super) live: Option<Live>,
}

impl UnopenedSigner {
    /// Asks the plugin who it is and chooses the way. It is to sign files.
    ///
    /// # Errors
    /// If the plugin can't be run, breaks the contract, or can't sign.
    pub async fn connect(host: &Host, key: PluginKey) -> Result<Self, PluginError> {
        PluginSigner::connect(host, key, false).await
    }

    /// The same for signing OCI artifacts ([`PluginSigner::open_for_artifacts`]).
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_for_artifacts(host: &Host, key: PluginKey) -> Result<Self, PluginError> {
        let artifacts = !key.plugin.is_local_of_the_box();
        PluginSigner::connect(host, key, artifacts).await
    }

    /// The plugin's name.
    pub fn plugin_name(&self) -> &str {
        self.signer.plugin_name()
    }

    /// Whether the plugin gives evidence of its keys.
    pub fn gives_evidence(&self) -> bool {
        let capabilities = &self.signer.metadata.capabilities;
        capabilities.contains(&Capability::Attest)
    }

    /// Whether the plugin signs with whole envelopes, to which nothing can be added.
    pub fn makes_envelopes(&self) -> bool {
        self.signer.route == super::Route::GenerateEnvelope
    }

    /// The device's evidence of where the key was made and lives, of whatever format; nothing of it
    /// is checked. Asked once, in the session that will sign.
    ///
    /// # Errors
    /// See [`PluginError`]; [`PluginError::Lacks`] for a plugin that gives none. The session has
    /// ended then.
    pub async fn evidence(&mut self) -> Result<AttestKeyResponse, PluginError> {
        let asked = self.ask_for_evidence().await;
        match asked {
            Ok(evidence) => Ok(evidence),
            Err(error) => {
                self.end().await;
                Err(self.signer.in_context(error))
            }
        }
    }

    /// Opens the key: with a session this is the login.
    ///
    /// # Errors
    /// As [`PluginSigner::open`].
    pub async fn open(self) -> Result<PluginSigner, PluginError> {
        let Self { mut signer, live } = self;
        match signer.look_up_key(live).await {
            Ok(()) => Ok(signer),
            Err(error) => Err(signer.in_context(error)),
        }
    }

    /// Ends the session without a key having been opened.
    pub async fn close(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        if let Some(live) = self.live.take() {
            live.end().await;
        }
    }

    async fn ask_for_evidence(&mut self) -> Result<AttestKeyResponse, PluginError> {
        let signer = &self.signer;
        if !self.gives_evidence() {
            return Err(PluginError::Lacks {
                plugin: signer.plugin.file.name.clone(),
                what: "attest keys",
            });
        }
        let request = AttestKeyRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: signer.id.clone(),
            plugin_config: signer.config.clone(),
        };
        let key = Some(signer.id.as_str());
        if signer.route != super::Route::Session {
            let clock = signer.plugin.host.one_shot_clock();
            let command = Command::AttestKey;
            return signer.plugin.ask(&command, &request, clock, key).await;
        }
        let live = match &self.live {
            Some(live) => live,
            None => self.live.insert(Live::start(&signer.plugin).await?),
        };
        // A session of the key store may open one key later.
        let store = OpenRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: None,
            plugin_config: signer.config.clone(),
            purpose: Purpose::Sign,
        };
        live.open(&signer.plugin, &store).await?;
        let name = "attest-key";
        let about = About::key(name, &signer.id, &signer.config);
        live.ask(&signer.plugin, name, &request, &about, key).await
    }
}
