//! One session for all signatures of a key: the login, the look-up of key and chain, and what happens
//! when its process dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{CONTRACT_VERSION, OPEN, OpenRequest, OpenResponse, Purpose};
use tokio::sync::Mutex;

use super::Holder;
use crate::envelope::{EnvelopeError, SignerChain};
use crate::event::{Event, Observer as _};
use crate::plugin::latch::About;
use crate::plugin::live::Live;
use crate::plugin::store::KeyStore;
use crate::plugin::{AnswerFault, PluginError, PluginErrorKind, SessionEnd};

/// A session that signs with one key.
#[derive(Debug)]
pub(super) struct SigningSession {
    slot: Mutex<Slot>,
    key_spec: KeySpec,
    /// What the session said when it was opened; the first who proves it proves it for all.
    chain: SignerChain,
    /// The public key, where the session said that too.
    public_key: Option<Vec<u8>>,
    max_in_flight: usize,
    signed: AtomicBool,
}

/// The session in use.
#[derive(Debug)]
struct Slot {
    /// `None` once it was closed.
    live: Option<Live>,
    started_again: bool,
}

/// What a session said of its key.
struct Opened {
    key_spec: KeySpec,
    public_key: Option<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    max_in_flight: usize,
}

impl SigningSession {
    /// Opens the key in the process that said who it is, or in a new one.
    pub(super) async fn open(holder: &mut Holder) -> Result<(KeySpec, Self), PluginError> {
        let live = match holder.store.take_session() {
            Some(live) => live,
            None => {
                // No process is started for what won't be tried.
                let plugin = holder.plugin();
                let about = About::key(OPEN, &holder.id, &holder.store.config);
                let latch = plugin.host.latches.of(&plugin.file);
                latch.check(&plugin.file.name, &about)?;
                Live::start(plugin).await?
            }
        };
        let opened = open_key(holder, &live).await?;
        let session = Self {
            slot: Mutex::new(Slot {
                live: Some(live),
                started_again: false,
            }),
            key_spec: opened.key_spec,
            chain: opened.chain.into(),
            public_key: opened.public_key,
            max_in_flight: opened.max_in_flight,
            signed: AtomicBool::new(false),
        };
        Ok((session.key_spec, session))
    }

    pub(super) fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    pub(super) fn chain(&self) -> &SignerChain {
        &self.chain
    }

    /// Proves what the session said of its certificates: that they are a chain, and of this key. A person may
    /// have to touch the device for a signature, which is not to be for nothing.
    pub(super) fn prove(&self, store: &KeyStore) -> Result<(), PluginError> {
        let unfit = |source| {
            store
                .plugin
                .error(AnswerFault::Certificates(Box::new(source)))
        };
        let leaf = self.chain.prove().map_err(unfit)?.leaf();
        let derived = leaf.key_spec();
        let derived = derived.ok_or_else(|| unfit(EnvelopeError::UnsupportedKey))?;
        if derived != self.key_spec {
            return Err(unfit(EnvelopeError::AlgorithmMismatch {
                derived: derived.signature_algorithm(),
                specified: self.key_spec.signature_algorithm(),
            }));
        }
        let Some(der) = &self.public_key else {
            return Ok(());
        };
        let key = store.public_key("session open", der)?;
        match leaf.public_key() {
            Ok(certified) if certified.is_same(&key) => Ok(()),
            _ => Err(store.wrong_public_key("session open", "is not that of its certificate")),
        }
    }

    /// Closes the plugin's stdin: it may end while nobody waits for it.
    pub(super) async fn finish(&self) {
        if let Some(live) = &self.slot.lock().await.live {
            live.session().close();
        }
    }

    pub(super) async fn close(&self) {
        if let Some(live) = self.slot.lock().await.live.take() {
            live.end().await;
        }
    }

    /// Signs a digest. The answer is as long as it should be, and not verified.
    pub(super) async fn sign(
        &self,
        holder: &Holder,
        digest: &[u8],
    ) -> Result<(Vec<u8>, SignerChain), PluginError> {
        let (plugin, hash) = (holder.plugin(), self.key_spec.hash());
        let mut live = self.live(holder, None).await?;
        loop {
            let waiting = live.waiting();
            let answer = live.session().sign_digest(digest, hash, None).await;
            drop(waiting);
            match answer {
                Ok(Ok(signature)) => {
                    let signature =
                        plugin.check_signature(signature, self.key_spec, &self.chain)?;
                    self.signed.store(true, Ordering::Relaxed);
                    return Ok((signature, self.chain.clone()));
                }
                Ok(Err(refusal)) => return Err(holder.refused(refusal)),
                Err(source) => {
                    let end = live.end().await;
                    let may_start_again = source.is_death() && !end.was_interrupted();
                    let broken = plugin.error(PluginErrorKind::Session {
                        broken: Arc::clone(&source),
                        end: SessionEnd(end),
                    });
                    if !may_start_again {
                        return Err(broken);
                    }
                    live = self.live(holder, Some((&live, broken))).await?;
                }
            }
        }
    }

    /// The session to use: the one that is there; or, for a request that saw its session die, a new
    /// one.
    ///
    /// A session is started again once, and only if it had signed and nothing was denied. (Nor is
    /// one that the user's interrupt ended.)
    async fn live(
        &self,
        holder: &Holder,
        dead: Option<(&Live, PluginError)>,
    ) -> Result<Live, PluginError> {
        let plugin = holder.plugin();
        let mut slot = self.slot.lock().await;
        let Some(live) = slot.live.clone() else {
            return Err(plugin.error(PluginErrorKind::Closed));
        };
        let Some((_, error)) = dead.filter(|(dead, _)| live.is_same(dead)) else {
            return Ok(live);
        };
        let had_signed = self.signed.load(Ordering::Relaxed);
        if slot.started_again || !had_signed || holder.denied.get().is_some() {
            return Err(error);
        }
        slot.started_again = true;
        plugin.host.listener.observe(&Event::PluginAgain {
            plugin: plugin.file.name.as_str(),
            reason: "its process had died",
        });
        let again = Live::start(plugin).await?;
        let opened = open_key(holder, &again)
            .await
            .inspect_err(|error| holder.note_denial(error))?;
        if opened.key_spec != self.key_spec || opened.chain != self.chain.ders() {
            again.end().await;
            return Err(plugin.error(AnswerFault::KeyChanged));
        }
        slot.live = Some(again.clone());
        Ok(again)
    }
}

/// Opens the key; a session in which that fails is ended.
async fn open_key(holder: &Holder, live: &Live) -> Result<Opened, PluginError> {
    let request = OpenRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: Some(holder.id.clone()),
        plugin_config: holder.store.config.clone(),
        purpose: Purpose::Sign,
    };
    let opened = live.open(holder.plugin(), &request).await;
    match opened.and_then(|opened| checked(holder, opened)) {
        Ok(opened) => Ok(opened),
        Err(error) => {
            live.end().await;
            Err(error)
        }
    }
}

fn checked(holder: &Holder, opened: OpenResponse) -> Result<Opened, PluginError> {
    let plugin = holder.plugin();
    let unknown = || plugin.unknown_key_spec(&holder.id, "");
    let max_in_flight = usize::try_from(opened.max_in_flight).unwrap_or(usize::MAX);
    Ok(Opened {
        key_spec: opened.key_spec.ok_or_else(unknown)?,
        public_key: opened.public_key.map(|der| der.0),
        chain: plugin.check_chain(opened.certificate_chain)?,
        max_in_flight: max_in_flight.clamp(1, MAX_IN_FLIGHT),
    })
}

/// Signatures under way at most, whatever the plugin allows.
const MAX_IN_FLIGHT: usize = 256;
