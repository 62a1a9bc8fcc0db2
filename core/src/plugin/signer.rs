//! Signing through a plugin, by the best way that both sides have.
//!
//! Session over one-shot, `sign-digest` over `generate-signature` over `generate-envelope`
//! (PLG-22). One session for all signatures of a signer, from the metadata on where the plugin is one
//! of the box; key and chain are looked up once.
//!
//! What must hold: nothing is started again or repeated before a session's first signature, nor ever
//! after `ACCESS_DENIED`, so that a wrong PIN costs one login attempt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    CONTRACT_VERSION, Capability, Command, ErrorCode, ErrorResponse, GenerateEnvelopeRequest,
    GenerateEnvelopeResponse, Metadata, OPEN, OpenRequest, OpenResponse, PluginConfig, Purpose,
    SIGN_DIGEST,
};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::command::{Key, Plugin, RawSignature};
use super::descriptor;
use super::latch::About;
use super::live::Live;
use super::observe::Event;
use super::text::{Lines, escaped, without_pin};
use super::{Host, PluginError, PluginKey, SessionEnd, settled};
use crate::envelope::SignerChain;

pub use unopened::UnopenedSigner;

mod port;
mod unopened;

/// The way in which a plugin is asked for signatures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// One process for all; digests travel.
    Session,
    /// A process each; digests travel.
    SignDigest,
    /// A process each; the bytes to be signed travel (contract 1.0).
    GenerateSignature,
    /// A process each; the plugin makes whole envelopes (contract 1.0).
    GenerateEnvelope,
}

impl Route {
    /// The name, as `-v` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::SignDigest => "sign-digest",
            Self::GenerateSignature => "generate-signature",
            Self::GenerateEnvelope => "generate-envelope",
        }
    }

    /// The best way that the plugin offers.
    fn best(capabilities: &[Capability]) -> Option<Self> {
        let has = |capability: &Capability| capabilities.contains(capability);
        if has(&Capability::Session) {
            Some(Self::Session)
        } else if has(&Capability::Digest) {
            Some(Self::SignDigest)
        } else if has(&Capability::RawSignature) {
            Some(Self::GenerateSignature)
        } else if has(&Capability::Envelope) || has(&Capability::EnvelopeForBlob) {
            Some(Self::GenerateEnvelope)
        } else {
            None
        }
    }
}

/// The session in use.
#[derive(Debug, Default)]
struct Slot {
    live: Option<Live>,
    started_again: bool,
}

/// A key behind a plugin.
#[derive(Debug)]
pub struct PluginSigner {
    plugin: Plugin,
    id: String,
    config: PluginConfig,
    metadata: Metadata,
    route: Route,
    /// `None` for plugins that make envelopes only.
    key_spec: Option<KeySpec>,
    /// What the session said when it was opened, or a plugin without sessions with its last signature:
    /// proven once.
    chain: std::sync::Mutex<SignerChain>,
    session: Mutex<Slot>,
    max_in_flight: usize,
    signed: AtomicBool,
    denied: OnceLock<ErrorResponse>,
    /// Whether OCI artifacts are signed; the reference's error texts differ (PLG-31).
    artifacts: bool,
}

impl PluginSigner {
    /// Asks the plugin who it is, chooses the way, and looks the key up: with a session this is
    /// where the login happens.
    ///
    /// # Errors
    /// If the plugin can't be run, breaks the contract, refuses, or can't sign.
    pub async fn open(host: &Host, key: PluginKey) -> Result<Self, PluginError> {
        Self::open_for(host, key, false).await
    }

    /// [`Self::open`] for signing OCI artifacts: whatever goes wrong once the plugin has said who it
    /// is, here and later, is told as [`PluginError::Signing`] (PLG-31). Not so for the `local`
    /// plugin of the box: the reference has no plugin there, and its texts name files (CFG-20).
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_for_artifacts(host: &Host, key: PluginKey) -> Result<Self, PluginError> {
        let artifacts = !key.plugin.is_local_of_the_box();
        Self::open_for(host, key, artifacts).await
    }

    async fn open_for(host: &Host, key: PluginKey, artifacts: bool) -> Result<Self, PluginError> {
        Self::connect(host, key, artifacts).await?.open().await
    }

    async fn connect(
        host: &Host,
        key: PluginKey,
        artifacts: bool,
    ) -> Result<UnopenedSigner, PluginError> {
        let plugin = Plugin {
            // Before any process is started: none but the session's may have them.
            descriptors: descriptor::withhold(&key.id, &key.config),
            ..host.run(key.plugin)
        };
        let (metadata, live) = plugin.connect(&key.config).await?;
        let route = Route::best(&metadata.capabilities).ok_or_else(|| PluginError::CannotSign {
            plugin: plugin.file.name.clone(),
        })?;
        let config = settled(&metadata, key.config)?;
        host.told.tell(Event::Route {
            plugin: plugin.file.name.as_str(),
            route: route.name(),
        });
        let signer = Self {
            plugin,
            id: key.id,
            config,
            metadata,
            route,
            key_spec: None,
            chain: std::sync::Mutex::new(Vec::new().into()),
            session: Mutex::default(),
            max_in_flight: 1,
            signed: AtomicBool::new(false),
            denied: OnceLock::new(),
            artifacts,
        };
        Ok(UnopenedSigner { signer, live })
    }

    async fn look_up_key(&mut self, live: Option<Live>) -> Result<(), PluginError> {
        match self.route {
            Route::Session => {
                let live = match live {
                    Some(live) => live,
                    None => {
                        // No process is started for what won't be tried.
                        let latch = self.plugin.host.latches.of(&self.plugin.file);
                        let about = About::key(OPEN, &self.id, &self.config);
                        latch.check(&self.plugin.file.name, &about)?;
                        Live::start(&self.plugin).await?
                    }
                };
                let (key_spec, chain, max_in_flight) = self.open_session(&live).await?;
                self.key_spec = Some(key_spec);
                *lock(&self.chain) = chain.into();
                self.max_in_flight = max_in_flight;
                self.session.get_mut().live = Some(live);
            }
            // Files are hashed by what the key needs (BLOB-14); payloads for artifacts are not.
            Route::GenerateEnvelope if self.artifacts || !self.makes_envelopes_for_blobs() => {}
            Route::SignDigest | Route::GenerateSignature | Route::GenerateEnvelope => {
                let described = self
                    .patiently(|| self.plugin.describe_key(self.key()))
                    .await?;
                self.key_spec = Some(described);
            }
        }
        Ok(())
    }

    fn makes_envelopes_for_blobs(&self) -> bool {
        let capabilities = &self.metadata.capabilities;
        capabilities.contains(&Capability::EnvelopeForBlob)
    }

    /// The plugin's name.
    pub fn plugin_name(&self) -> &str {
        self.plugin.file.name.as_str()
    }

    /// The plugin's metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How signatures are asked for.
    pub fn route(&self) -> Route {
        self.route
    }

    /// How many signatures may be asked for at once.
    pub fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    /// The signing agent for envelopes: `hardsign/<version> <plugin>/<version>` (ENV-31).
    pub fn signing_agent(&self) -> String {
        let version = escaped(&self.metadata.version, MAX_VERSION, Lines::Escape);
        format!(
            "hardsign/{} {}/{version}",
            env!("CARGO_PKG_VERSION"),
            self.plugin_name()
        )
    }

    /// The key's type and size.
    ///
    /// # Errors
    /// [`PluginError::CannotSign`] for a plugin that makes envelopes for artifacts only: it tells
    /// nothing of its key.
    pub fn key_spec(&self) -> Result<KeySpec, PluginError> {
        self.key_spec.ok_or_else(|| self.cannot_sign())
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
        self.check_not_denied()?;
        let key_spec = self.key_spec()?;
        let signature = match self.route {
            Route::Session => self.sign_in_session(digest).await,
            Route::SignDigest => {
                self.patiently(|| self.plugin.sign_digest(self.key(), key_spec, digest))
                    .await
            }
            Route::GenerateSignature => {
                self.patiently(|| {
                    self.plugin
                        .generate_signature(self.key(), key_spec, message)
                })
                .await
            }
            Route::GenerateEnvelope => Err(PluginError::CannotSign {
                plugin: self.plugin.file.name.clone(),
            }),
        }
        .inspect_err(|error| self.note_denial(error))?;
        self.signed.store(true, Ordering::Relaxed);
        Ok((
            signature.signature,
            self.known_chain(signature.certificate_chain),
        ))
    }

    /// The chain that came with an earlier signature, if it is the same: what was proven of it stands.
    fn known_chain(&self, chain: SignerChain) -> SignerChain {
        let mut known = lock(&self.chain);
        if *known != chain {
            *known = chain;
        }
        known.clone()
    }

    /// Has the plugin make an envelope; its contents are not looked at (PLG-32 to PLG-34).
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn generate_envelope(
        &self,
        payload: &[u8],
        payload_type: &str,
        envelope_type: &str,
        expiry: Option<Duration>,
    ) -> Result<GenerateEnvelopeResponse, PluginError> {
        self.check_not_denied()?;
        let request = GenerateEnvelopeRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: self.id.clone(),
            payload_type: payload_type.into(),
            signature_envelope_type: envelope_type.into(),
            payload: payload.to_vec().into(),
            expiry_duration_in_seconds: expiry.map_or(0, |expiry| expiry.as_secs()),
            plugin_config: self.config.clone(),
        };
        self.patiently(|| self.plugin.generate_envelope(&request))
            .await
            .inspect_err(|error| self.note_denial(error))
    }

    /// Ends the session: the plugin logs out and its process is reaped. Without a session there is
    /// nothing to do.
    pub async fn close(&self) {
        if let Some(live) = self.session.lock().await.live.take() {
            live.end().await;
        }
    }

    /// An error as it is told to the user (PLG-31).
    fn in_context(&self, error: PluginError) -> PluginError {
        if self.artifacts {
            PluginError::Signing {
                plugin: self.plugin.file.name.clone(),
                source: Box::new(error),
            }
        } else {
            error
        }
    }

    /// What stands before a failure to sign, where something does (PLG-31): for what is found wrong
    /// with the plugin's answers elsewhere.
    pub fn failure_prefix(&self) -> Option<String> {
        let plugin = &self.plugin.file.name;
        let prefixed = self.artifacts;
        prefixed.then(|| format!("failed to sign with the plugin {plugin}: "))
    }

    fn cannot_sign(&self) -> PluginError {
        let plugin = self.plugin.file.name.clone();
        if self.artifacts {
            PluginError::CannotSign { plugin }
        } else {
            PluginError::CannotSignBlobs { plugin }
        }
    }

    fn key(&self) -> Key<'_> {
        Key {
            id: &self.id,
            config: &self.config,
        }
    }

    async fn sign_in_session(&self, digest: &[u8]) -> Result<RawSignature, PluginError> {
        let key_spec = self.key_spec()?;
        let mut live = self.live(None).await?;
        loop {
            let answer = live.session().sign_digest(digest, key_spec.hash(), None);
            match answer.await {
                Ok(Ok(signature)) => {
                    let certificate_chain = lock(&self.chain).clone();
                    let plugin = &self.plugin;
                    return Ok(RawSignature {
                        signature: plugin.check_signature(
                            signature,
                            key_spec,
                            &certificate_chain,
                        )?,
                        certificate_chain,
                    });
                }
                Ok(Err(refusal)) => return Err(self.refused(refusal)),
                Err(source) => {
                    let end = live.end().await;
                    let may_start_again = source.is_death() && !end.was_interrupted();
                    let broken = PluginError::Session {
                        plugin: self.plugin.file.name.clone(),
                        broken: Arc::clone(&source),
                        end: SessionEnd(end),
                    };
                    if !may_start_again {
                        return Err(broken);
                    }
                    live = self.live(Some((&live, broken))).await?;
                }
            }
        }
    }

    /// The session to use: the one that is there; or, for a request that saw its session die, a new
    /// one.
    ///
    /// A session is started again once, and only if it had signed and nothing was denied. (Nor is
    /// one that the user's interrupt ended.)
    async fn live(&self, dead: Option<(&Live, PluginError)>) -> Result<Live, PluginError> {
        let mut slot = self.session.lock().await;
        let Some(live) = slot.live.clone() else {
            return Err(PluginError::Closed {
                plugin: self.plugin.file.name.clone(),
            });
        };
        let Some((_, error)) = dead.filter(|(dead, _)| live.is_same(dead)) else {
            return Ok(live);
        };
        let had_signed = self.signed.load(Ordering::Relaxed);
        if slot.started_again || !had_signed || self.denied.get().is_some() {
            return Err(error);
        }
        slot.started_again = true;
        self.plugin.host.told.tell(Event::Again {
            plugin: self.plugin_name(),
            reason: "its process had died",
        });
        let again = Live::start(&self.plugin).await?;
        let (key_spec, chain, _) = self
            .open_session(&again)
            .await
            .inspect_err(|error| self.note_denial(error))?;
        if Some(key_spec) != self.key_spec || chain != lock(&self.chain).ders() {
            again.end().await;
            return Err(PluginError::KeyChanged {
                plugin: self.plugin.file.name.clone(),
            });
        }
        slot.live = Some(again.clone());
        Ok(again)
    }

    /// Opens the key: its type and size, its chain, and how many signatures may be under way.
    async fn open_session(
        &self,
        live: &Live,
    ) -> Result<(KeySpec, Vec<Vec<u8>>, usize), PluginError> {
        let request = OpenRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: Some(self.id.clone()),
            plugin_config: self.config.clone(),
            purpose: Purpose::Sign,
        };
        let opened = live.open(&self.plugin, &request).await;
        match opened.and_then(|opened| self.checked(opened)) {
            Ok(opened) => Ok(opened),
            Err(error) => {
                live.end().await;
                Err(error)
            }
        }
    }

    fn checked(&self, opened: OpenResponse) -> Result<(KeySpec, Vec<Vec<u8>>, usize), PluginError> {
        let key_spec = opened.key_spec.ok_or_else(|| PluginError::UnknownKeySpec {
            plugin: self.plugin.file.name.clone(),
            key: without_pin(&self.id),
            answered: String::new(),
        })?;
        let chain = self.plugin.check_chain(opened.certificate_chain)?;
        let max_in_flight = usize::try_from(opened.max_in_flight).unwrap_or(usize::MAX);
        Ok((key_spec, chain, max_in_flight.clamp(1, MAX_IN_FLIGHT)))
    }

    fn refused(&self, refusal: ErrorResponse) -> PluginError {
        PluginError::Refused {
            plugin: self.plugin.file.name.clone(),
            command: Command::SignDigest.name().into(),
            key: Some(without_pin(&self.id)),
            error: Box::new(refusal),
        }
    }

    /// After `ACCESS_DENIED` nothing is asked again: the next attempt could lock the token.
    fn note_denial(&self, error: &PluginError) {
        let refusal = match error {
            PluginError::Envelope(inner) => inner,
            other => other,
        };
        if let PluginError::Refused { error, .. } = refusal
            && error.error_code == Some(ErrorCode::AccessDenied)
        {
            self.denied.get_or_init(|| (**error).clone());
            let latch = self.plugin.host.latches.of(&self.plugin.file);
            let about = About::key(SIGN_DIGEST, &self.id, &self.config);
            latch.note_refusal(&about, error);
        }
    }

    fn check_not_denied(&self) -> Result<(), PluginError> {
        match self.denied.get() {
            Some(refusal) => Err(self.refused(refusal.clone())),
            None => Ok(()),
        }
    }

    /// Repeats what a foreign plugin says was throttled or took too long (PLG-09). Our own plugins
    /// do that themselves, within the request's time.
    async fn patiently<T, F: Future<Output = Result<T, PluginError>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, PluginError> {
        let foreign = !self
            .metadata
            .capabilities
            .iter()
            .any(|capability| capability.name().starts_with("HARDSIGN."));
        let mut pause = self.plugin.host.clocks.backoff;
        for _ in 1..ATTEMPTS {
            match ask().await {
                Err(error)
                    if foreign
                        && matches!(
                            error.code(),
                            Some(ErrorCode::Throttled | ErrorCode::Timeout)
                        ) =>
                {
                    self.plugin.host.told.tell(Event::Again {
                        plugin: self.plugin_name(),
                        reason: "it was throttled",
                    });
                }
                result => return result,
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.plugin.host.interrupt.raised() => break,
            }
            pause = pause.saturating_mul(2);
        }
        ask().await
    }
}

/// Locks; what is inside is whole at any time.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Signatures under way at most, whatever the plugin allows.
const MAX_IN_FLIGHT: usize = 256;

/// How often a throttled request to a foreign plugin is made.
const ATTEMPTS: u32 = 3;

/// Characters of a plugin's version in the signing agent.
const MAX_VERSION: usize = 100;
