//! What a plugin author implements: a [`Plugin`] that opens keys, and a [`Key`] that signs.
//!
//! The traits know nothing of commands, JSON or sessions; [`serve`](crate::serve()) does.

use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;

use crate::Error;
use crate::algorithm::KeySpec;
use crate::context::Context;
use crate::proto::{
    CONTRACT_VERSION, Capability, Command, Interaction, ListKeysRequest, ListKeysResponse,
    Metadata, PluginConfig,
};

/// A kind of key store.
pub trait Plugin: Send + Sync + 'static {
    /// A key that was opened. Dropping it logs out.
    type Key: Key;

    /// Who the plugin is; see [`Metadata::new`]. Must neither touch a device nor a network
    /// (PLG-50).
    fn metadata(&self) -> Metadata;

    /// Opens a key: finds it, and logs in if that is needed for `request.purpose`.
    ///
    /// Called at most once in a process. A failure is final for the process: the SDK gives the
    /// same error to all later requests, so that a wrong PIN is tried once.
    ///
    /// # Errors
    /// Whatever keeps the key from being used, with the user's next step as a hint.
    fn open(&self, request: &KeyRequest<'_>, context: &Context<'_>) -> Result<Self::Key, Error>;

    /// Lists keys. Called only if [`metadata`](Self::metadata) has [`Capability::Keys`].
    ///
    /// # Errors
    /// Whatever keeps the key store from being read.
    fn list_keys(
        &self,
        request: &ListKeysRequest,
        context: &Context<'_>,
    ) -> Result<ListKeysResponse, Error> {
        let (_, _) = (request, context);
        Err(Error::validation("this plugin can't list keys"))
    }

    /// Answers a command of a capability that the SDK does not serve itself, for instance
    /// `generate-envelope`. Called only if [`metadata`](Self::metadata) has its capability.
    ///
    /// # Errors
    /// Whatever keeps the command from being done.
    fn other_command(
        &self,
        command: &Command,
        request: Value,
        context: &Context<'_>,
    ) -> Result<Value, Error> {
        let (_, _) = (request, context);
        Err(Error::validation(format!("{command} is not supported")))
    }
}

/// A key that can sign.
///
/// `sign_digest` is called from several threads at once if [`max_in_flight`](Self::max_in_flight)
/// says so.
pub trait Key: Send + Sync {
    /// Type and size of the key.
    fn key_spec(&self) -> KeySpec;

    /// Certificates in DER, leaf to root.
    ///
    /// # Errors
    /// No certificate for the key, or no complete chain.
    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error>;

    /// Signs a digest made with the hash that goes with the key spec; its length was checked.
    ///
    /// The signature is RSASSA-PSS with a salt as long as the digest, or r‖s of ECDSA.
    ///
    /// # Errors
    /// Whatever keeps the key from signing.
    fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error>;

    /// How many signatures may be under way at once.
    fn max_in_flight(&self) -> u32 {
        1
    }

    /// What a person has to do for each signature.
    fn interaction(&self) -> Interaction {
        Interaction::None
    }
}

/// Which key to open, and what for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KeyRequest<'a> {
    /// Names the key, in the plugin's own terms.
    pub key_id: &'a str,
    /// Settings of the key.
    pub config: &'a PluginConfig,
    /// What the key will be used for.
    pub purpose: Purpose,
}

impl<'a> KeyRequest<'a> {
    /// A request, as a test of a plugin would make it.
    pub const fn new(key_id: &'a str, config: &'a PluginConfig, purpose: Purpose) -> Self {
        Self {
            key_id,
            config,
            purpose,
        }
    }

    /// A setting by name; an empty one counts as absent.
    pub fn setting(&self, name: &str) -> Option<&'a str> {
        let value = self.config.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }
}

/// What a key is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Only [`Key::key_spec`] will be asked: don't log in if the key can be seen without.
    Describe,
    /// Signatures will follow.
    Sign,
}

impl Metadata {
    /// Metadata of a plugin that signs: contract 1.0, raw signatures, digests and sessions, all
    /// of which the SDK serves. Further capabilities may be pushed.
    pub fn new(name: &str, description: &str, version: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            version: version.to_owned(),
            url: url.to_owned(),
            supported_contract_versions: vec![CONTRACT_VERSION.to_owned()],
            capabilities: vec![
                Capability::RawSignature,
                Capability::Digest,
                Capability::Session,
            ],
        }
    }

    /// The same with one more capability.
    #[must_use]
    pub fn with(mut self, capability: Capability) -> Self {
        self.capabilities.push(capability);
        self
    }
}

/// Something that is tried once: the first caller does it, the others wait and share the outcome.
///
/// This is how a hundred signatures with a wrong PIN become one login attempt.
///
/// ```
/// use hardsign_plugin::{Error, Once};
///
/// let login = Once::new();
/// let mut attempts = 0;
/// for _ in 0..100 {
///     let result = login.get(|| -> Result<(), Error> {
///         attempts += 1;
///         Err(Error::access_denied("wrong PIN"))
///     });
///     assert_eq!(result.unwrap_err().to_string(), "wrong PIN");
/// }
/// assert_eq!(attempts, 1);
/// ```
#[derive(Debug)]
pub struct Once<T> {
    outcome: OnceLock<Result<T, Error>>,
    turn: Mutex<()>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Once<T> {
    /// Nothing was tried yet.
    pub const fn new() -> Self {
        Self {
            outcome: OnceLock::new(),
            turn: Mutex::new(()),
        }
    }

    /// Tries, or gives the outcome of the first try.
    ///
    /// # Errors
    /// The error of the first try, to every caller.
    pub fn get(&self, attempt: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
        if self.outcome.get().is_none() {
            // The lock guards no data, so a poisoned one is as good.
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if self.outcome.get().is_none() {
                // An attempt that panics is an attempt: the error is latched before it is made.
                let mut guard = Latch {
                    outcome: &self.outcome,
                    result: Some(Err(Error::other("an earlier attempt did not come back"))),
                };
                guard.result = Some(attempt());
            }
        }
        match self.outcome.get() {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::other("nothing was tried")),
        }
    }

    /// The outcome, if there is one.
    pub fn peek(&self) -> Option<&Result<T, Error>> {
        self.outcome.get()
    }
}

/// Stores the result when dropped, also by a panic.
struct Latch<'a, T> {
    outcome: &'a OnceLock<Result<T, Error>>,
    result: Option<Result<T, Error>>,
}

impl<T> Drop for Latch<'_, T> {
    fn drop(&mut self) {
        if let Some(result) = self.result.take() {
            // Whoever holds the turn is the only one who stores.
            drop(self.outcome.set(result));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn eight_threads_try_once() {
        let once = Once::<()>::new();
        let attempts = AtomicU32::new(0);
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let result = once.get(|| {
                        attempts.fetch_add(1, Ordering::SeqCst);
                        Err(Error::access_denied("no"))
                    });
                    assert_eq!(result.unwrap_err(), Error::access_denied("no"));
                });
            }
        });
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_counts_as_the_attempt() {
        let once = Once::<()>::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            once.get(|| panic!("in the middle of a login"))
                .copied()
                .ok()
        }));
        assert!(panicked.is_err());
        let later = once.get(|| Ok(())).unwrap_err();
        assert!(later.to_string().contains("did not come back"));
    }
}
