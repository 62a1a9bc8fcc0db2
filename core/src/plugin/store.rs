//! The key store behind a plugin: its keys listed, made, certified and attested, through one process.
//!
//! A plugin that has sessions is asked through one, so that a run costs one login; any other is started
//! for each command. What a key signs here are certificate requests and certificates; Notary Project
//! signatures are [`PluginSigner`](super::PluginSigner)'s.
//!
//! What must hold: an answer is for the key that was asked for, and a public key is one that can be read
//! and of the kind that was asked for.

use std::collections::BTreeSet;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    AttestKeyRequest, AttestKeyResponse, Base64, CONTRACT_VERSION, Capability, Command,
    CreateKeyRequest, CreateKeyResponse, DescribeKeyRequest, DescribeKeyResponse,
    GenerateTestKeyRequest, GenerateTestKeyResponse, ImportCertificatesRequest,
    ImportCertificatesResponse, Interaction, ListKeysRequest, ListKeysResponse, Metadata,
    OpenRequest, PinPolicy, PluginConfig, Purpose, SIGN_DIGEST, SetUpTokenRequest,
    SetUpTokenResponse, SignatureScheme, Token, TouchPolicy,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::command::Plugin;
use super::latch::About;
use super::live::Live;
use super::{
    AnswerFault, Host, PluginError, PluginErrorKind, PluginFile, PluginKey, descriptor, of_any_key,
    settled,
};
use crate::crypto::PublicKey;
use crate::envelope::EnvelopeError;

/// A plugin at work on its key store.
#[derive(Debug)]
pub struct KeyStore {
    pub(super) plugin: Plugin,
    pub(super) config: PluginConfig,
    pub(super) metadata: Metadata,
    /// The descriptors that the plugin's process is given.
    descriptors: BTreeSet<i32>,
    /// The session, once there is one.
    live: OnceCell<Live>,
    /// Whether the session was opened.
    opened: OnceCell<()>,
}

/// A key that is to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewKey {
    /// Where it goes and what it is called, in the plugin's own terms.
    pub key_id: String,
    /// Type and size.
    pub key_spec: KeySpec,
    /// Whether a key that is there already may be replaced.
    pub overwrite: bool,
    /// Whether `key_id` names a key that is there, beside which the new one is made under a name that the
    /// plugin chooses.
    pub beside: bool,
    /// Whether the user agreed already to what the plugin would ask
    /// ([`PluginError::question`]).
    pub confirmed: bool,
    /// When the key asks for its PIN; `None` for the device's default.
    pub pin_policy: Option<PinPolicy>,
    /// When the key asks for a touch; `None` for the device's default.
    pub touch_policy: Option<TouchPolicy>,
}

/// A key that is open, to be looked at or to certify with.
#[derive(Debug)]
pub struct OpenKey<'s> {
    store: &'s KeyStore,
    live: Live,
    /// Type and size.
    pub key_spec: KeySpec,
    /// The public key: a `SubjectPublicKeyInfo` in DER that was read, of a key of this spec. `None`
    /// where the key store doesn't tell it, which it has to for [`Purpose::Certify`].
    pub public_key: Option<Vec<u8>>,
    /// Certificates in DER as the key store has them, not checked; maybe none.
    pub certificate_chain: Vec<Vec<u8>>,
    /// What the key can sign with beside the scheme that goes with its key spec.
    pub schemes: Vec<SignatureScheme>,
    /// What a person has to do for each signature.
    pub interaction: Interaction,
    /// Where the key lives.
    pub token: Option<Token>,
    /// Whether another chain that is stored takes the place of this one.
    pub one_chain: bool,
}

impl KeyStore {
    /// Asks the plugin who it is and checks that it knows the settings. The key store itself is not
    /// touched. `key_id` is what it will be asked about, if that is known: it may name a descriptor
    /// that a PIN comes from.
    ///
    /// # Errors
    /// If the plugin can't be run, breaks the contract, or doesn't know a setting.
    pub async fn open(
        host: &Host,
        plugin: PluginFile,
        key_id: &str,
        config: PluginConfig,
    ) -> Result<Self, PluginError> {
        Self::connect(host, plugin, key_id, &PluginConfig::new(), config).await
    }

    /// The same with the settings that the plugin is told when it is asked who it is.
    pub(super) async fn connect(
        host: &Host,
        plugin: PluginFile,
        key_id: &str,
        told: &PluginConfig,
        config: PluginConfig,
    ) -> Result<Self, PluginError> {
        let descriptors = descriptor::named(key_id, &config);
        let plugin = Plugin {
            // Before any process is started: none but the session's may have them.
            descriptors: descriptor::withhold(key_id, &config),
            ..host.run(plugin)
        };
        let (metadata, live) = plugin.connect(told).await?;
        match settled(&metadata, config) {
            Ok(config) => Ok(Self {
                plugin,
                config,
                metadata,
                descriptors,
                live: OnceCell::new_with(live),
                opened: OnceCell::new(),
            }),
            Err(error) => {
                if let Some(live) = live {
                    live.end().await;
                }
                Err(error)
            }
        }
    }

    /// The plugin's executable.
    pub fn plugin(&self) -> &PluginFile {
        &self.plugin.file
    }

    /// What the plugin says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The settings that the key store was opened with: known to the plugin, and with absolute paths.
    pub fn config(&self) -> &PluginConfig {
        &self.config
    }

    /// Whether this process can be asked about another key as well: the key's plugin is the same, and so are the settings that
    /// are not of one key alone.
    pub fn serves(&self, key: &PluginKey) -> bool {
        let same = |config| of_any_key(config) == of_any_key(self.config.clone());
        key.plugin == self.plugin.file
            && descriptor::named(&key.id, &key.config).is_subset(&self.descriptors)
            && settled(&self.metadata, key.config.clone()).is_ok_and(same)
    }

    /// Whether the plugin has a capability.
    pub fn has(&self, capability: &Capability) -> bool {
        self.metadata.capabilities.contains(capability)
    }

    /// The keys; `key_id` narrows the list, and may be empty.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn list_keys(&self, key_id: &str) -> Result<ListKeysResponse, PluginError> {
        self.needs(&Capability::Keys, "list keys")?;
        let request = ListKeysRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: key_id.into(),
            plugin_config: self.config.clone(),
        };
        self.ask(Command::ListKeys, "list-keys", &request, None)
            .await
    }

    /// Makes a key.
    ///
    /// # Errors
    /// See [`PluginError`]; where [`PluginError::question`] says so, the user has to agree first.
    pub async fn create_key(&self, key: &NewKey) -> Result<CreateKeyResponse, PluginError> {
        self.needs(&Capability::Keys, "create keys")?;
        let request = CreateKeyRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: key.key_id.clone(),
            key_spec: key.key_spec,
            plugin_config: self.config.clone(),
            overwrite: key.overwrite,
            beside: key.beside,
            confirmed: key.confirmed,
            pin_policy: key.pin_policy.clone(),
            touch_policy: key.touch_policy.clone(),
        };
        let command = "create-key";
        let key_id = Some(key.key_id.as_str());
        let made: CreateKeyResponse = self
            .ask(Command::CreateKey, command, &request, key_id)
            .await?;
        self.check_public_key(command, &made.public_key, Some(key.key_spec))?;
        Ok(made)
    }

    /// Stores certificates beside a key, DER, leaf first; the answer says how many were.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn import_certificates(
        &self,
        key_id: &str,
        chain: &[Vec<u8>],
        overwrite: bool,
    ) -> Result<ImportCertificatesResponse, PluginError> {
        self.needs(&Capability::Keys, "store certificates")?;
        let request = ImportCertificatesRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: key_id.into(),
            certificate_chain: chain.iter().cloned().map(Base64).collect(),
            plugin_config: self.config.clone(),
            overwrite,
        };
        let (command, name) = (Command::ImportCertificates, "import-certificates");
        self.ask(command, name, &request, Some(key_id)).await
    }

    /// Evidence of where a key was made and lives, in the device's own format; not verified here.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn attest_key(&self, key_id: &str) -> Result<AttestKeyResponse, PluginError> {
        self.needs(&Capability::Attest, "attest keys")?;
        let request = AttestKeyRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: key_id.into(),
            plugin_config: self.config.clone(),
        };
        let name = "attest-key";
        let evidence: AttestKeyResponse = self
            .ask(Command::AttestKey, name, &request, Some(key_id))
            .await?;
        self.check_public_key(name, &evidence.public_key, None)?;
        self.plugin.check_chain(evidence.certificates.clone())?;
        Ok(evidence)
    }

    /// Gives a new token secrets of its own; `key_id` names the token, and may be empty.
    ///
    /// # Errors
    /// See [`PluginError`]; where [`PluginError::question`] says so, the user has to agree first
    /// (`confirmed`).
    pub async fn set_up_token(
        &self,
        key_id: &str,
        confirmed: bool,
    ) -> Result<SetUpTokenResponse, PluginError> {
        self.needs(&Capability::Setup, "set up tokens")?;
        let request = SetUpTokenRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: key_id.into(),
            plugin_config: self.config.clone(),
            confirmed,
        };
        let (command, name) = (Command::SetUpToken, "set-up-token");
        self.ask(command, name, &request, None).await
    }

    /// What the key store says of a key.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn describe_key(&self, key_id: &str) -> Result<DescribeKeyResponse, PluginError> {
        self.describe_key_with(key_id, self.config.clone()).await
    }

    /// The same of a key that has other settings than the key store was opened with.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn describe_key_with(
        &self,
        key_id: &str,
        config: PluginConfig,
    ) -> Result<DescribeKeyResponse, PluginError> {
        self.needs(&Capability::RawSignature, "describe keys")?;
        let request = DescribeKeyRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: key_id.into(),
            plugin_config: settled(&self.metadata, config)?,
        };
        let name = "describe-key";
        let about = About::key(name, key_id, &request.plugin_config);
        let described: DescribeKeyResponse = self
            .ask_about(Command::DescribeKey, name, &request, Some(key_id), &about)
            .await?;
        self.plugin
            .check_key("describeKey", &described.key_id, key_id)?;
        if let Some(public_key) = &described.public_key {
            self.check_public_key(name, public_key, Some(described.key_spec))?;
        }
        self.plugin
            .check_chain(described.certificate_chain.clone())?;
        Ok(described)
    }

    /// Makes a software key for tests.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn generate_test_key(
        &self,
        request: &GenerateTestKeyRequest,
    ) -> Result<GenerateTestKeyResponse, PluginError> {
        self.needs(&Capability::TestKeys, "make test keys")?;
        let (command, name) = (Command::GenerateTestKey, "generate-test-key");
        self.ask(command, name, request, None).await
    }

    /// Opens a key in the same process, with its own settings: to be looked at, or to certify with. A process opens one key.
    ///
    /// # Errors
    /// See [`PluginError`]; [`PluginErrorKind::Lacks`] for a plugin without sessions.
    pub async fn open_key(
        &self,
        key_id: &str,
        config: PluginConfig,
        purpose: Purpose,
    ) -> Result<OpenKey<'_>, PluginError> {
        self.needs(
            &Capability::Session,
            "open a key for that: it has no sessions",
        )?;
        let live = self.session().await?.clone();
        let request = OpenRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: Some(key_id.into()),
            plugin_config: settled(&self.metadata, config)?,
            purpose,
        };
        let opened = live.open(&self.plugin, &request).await?;
        // From now on the session needs no opening for the key store.
        self.opened.set(()).unwrap_or(());
        let unknown = || self.plugin.unknown_key_spec(key_id, "");
        let key_spec = opened.key_spec.ok_or_else(unknown)?;
        let public_key = match opened.public_key {
            Some(der) => {
                self.check_public_key("session open", &der, Some(key_spec))?;
                Some(der.0)
            }
            None if purpose == Purpose::Certify => {
                return Err(self.wrong_public_key("session open", "is missing"));
            }
            None => None,
        };
        Ok(OpenKey {
            store: self,
            live,
            key_spec,
            public_key,
            certificate_chain: self.plugin.check_chain(opened.certificate_chain)?,
            schemes: opened.signature_schemes,
            interaction: opened.interaction,
            token: opened.token,
            one_chain: opened.one_chain,
        })
    }

    /// The session, if there is one, to be opened for a key and used without the key store.
    pub(super) fn take_session(&mut self) -> Option<Live> {
        self.live.take()
    }

    /// Ends the plugin's process: it logs out.
    pub async fn close(&self) {
        if let Some(live) = self.live.get() {
            live.end().await;
        }
    }

    async fn session(&self) -> Result<&Live, PluginError> {
        self.live
            .get_or_try_init(|| Live::start(&self.plugin))
            .await
    }

    /// Asks with the settings of the key store.
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        command: Command,
        name: &'static str,
        request: &Q,
        key: Option<&str>,
    ) -> Result<A, PluginError> {
        let about = About::key(name, key.unwrap_or_default(), &self.config);
        self.ask_about(command, name, request, key, &about).await
    }

    /// The session, opened for the key store, or a process for the command alone.
    async fn ask_about<Q: Serialize, A: DeserializeOwned>(
        &self,
        command: Command,
        name: &'static str,
        request: &Q,
        key: Option<&str>,
        about: &About,
    ) -> Result<A, PluginError> {
        if !self.has(&Capability::Session) {
            let clock = self.plugin.host.one_shot_clock();
            return self.plugin.ask(&command, request, clock, key).await;
        }
        let live = self.open_session().await?;
        live.ask(&self.plugin, name, request, about, key).await
    }

    /// The session, open for the key store.
    async fn open_session(&self) -> Result<&Live, PluginError> {
        let live = self.session().await?;
        let opening = async || {
            let request = OpenRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: None,
                plugin_config: self.config.clone(),
                purpose: Purpose::Sign,
            };
            live.open(&self.plugin, &request).await.map(drop)
        };
        self.opened.get_or_try_init(opening).await?;
        Ok(live)
    }

    fn needs(&self, capability: &Capability, what: &'static str) -> Result<(), PluginError> {
        if self.has(capability) {
            return Ok(());
        }
        Err(self.plugin.error(PluginErrorKind::Lacks(what)))
    }

    fn check_public_key(
        &self,
        command: &'static str,
        der: &Base64,
        expected: Option<KeySpec>,
    ) -> Result<(), PluginError> {
        let key = self.public_key(command, &der.0)?;
        match expected {
            Some(expected) if key.key_spec() != Some(expected) => {
                Err(self.wrong_public_key(command, "is of another type or size"))
            }
            _ => Ok(()),
        }
    }

    /// The public key in an answer, from a `SubjectPublicKeyInfo` in DER.
    pub(super) fn public_key(
        &self,
        command: &'static str,
        der: &[u8],
    ) -> Result<PublicKey, PluginError> {
        PublicKey::from_spki_der(der).map_err(|_| self.wrong_public_key(command, "can't be read"))
    }

    pub(super) fn wrong_public_key(
        &self,
        command: &'static str,
        fault: &'static str,
    ) -> PluginError {
        self.plugin
            .error_at(command, AnswerFault::WrongPublicKey(fault))
    }
}

impl OpenKey<'_> {
    /// Signs a digest made with the key's hash, by the scheme that goes with the key spec if none is
    /// named. Such a signature is verified with the public key, where there is one; of another scheme
    /// it is only known to be as long as it should be.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn sign_digest(
        &self,
        digest: &[u8],
        scheme: Option<SignatureScheme>,
    ) -> Result<Vec<u8>, PluginError> {
        let store = self.store;
        let session = self.live.session();
        let answer = session.sign_digest(digest, self.key_spec.hash(), scheme.clone());
        let signature = self
            .live
            .granted(&store.plugin, SIGN_DIGEST, None, answer.await)
            .await?;
        let Base64(signature) = signature;
        if signature.len() != self.key_spec.signature_len() {
            return Err(store.plugin.error(AnswerFault::SignatureLength {
                length: signature.len(),
                key: self.key_spec,
            }));
        }
        if let (None, Some(der)) = (scheme, &self.public_key) {
            let key = store.public_key("session open", der)?;
            key.verify_digest(digest, &signature).map_err(|source| {
                let source = Box::new(EnvelopeError::Signature { source });
                store.plugin.error(AnswerFault::Chain(source))
            })?;
        }
        Ok(signature)
    }
}
