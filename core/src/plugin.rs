//! The host side of plugins: finding them, running them, believing as little of them as possible.
//!
//! Implements the plugin contract 1.0 of the Notary Project plugin specification, and sessions and
//! digest signing, which are documented in `docs/`. Plugins hold the keys; this module sees digests go out and signatures come back. It is the only part of the crate that
//! starts plugin processes, and the only one that `sign` and `verify` don't know: it implements
//! their traits.
//!
//! What must hold: names are checked before a path is made of them; every process, line, answer and
//! wait is bounded; an answer that is not for the request, the key and its algorithm is an error;
//! after `ACCESS_DENIED` nothing is asked again. Whether a signature and its chain are good is
//! proved where the envelope is assembled.

// Requirements: PLG-01 to PLG-51.

use std::sync::Arc;
use std::time::Duration;

use spawn::Wish;
use terminal::Terminal;

mod command;
mod descriptor;
mod error;
pub mod extension;
mod find;
mod go;
mod install;
mod interrupt;
mod key;
mod latch;
mod live;
mod messages;
mod pins;
mod session;
mod signer;
mod spawn;
mod store;
mod terminal;
mod text;

use crate::event::Listener;
pub use command::Plugin;
pub use hardsign_plugin::proto::{self, Metadata, PluginConfig};

pub use error::{AnswerFault, MetadataFault, PluginError, PluginErrorKind, ProcessEnd, SessionEnd};
pub use find::{Finder, Listed, Origin, PluginFile, PluginName};
pub use go::platform;
pub use install::{
    Candidacy, InstallError, InstallOrder, Installed, Installer, PackageSource, download_limits,
    is_semantic,
};
pub use interrupt::Interrupt;
pub use key::{KeyChoice, PluginKey, of_any_key, secret_in_clear, settled, settled_id};
pub use pins::{Pin, PinState, Pins, PinsError, look as sha256_of};
pub use session::{Session, SessionAnswer, SessionClocks, SessionError, SessionListener};
pub use signer::{EnvelopeGenerator, PluginSigner, RawSigner, UnopenedSigner};
pub use store::{KeyStore, NewKey, OpenKey};

/// How long plugins may take.
// PLG-11
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clocks {
    /// For `get-plugin-metadata`.
    pub metadata: Duration,
    /// For any other request.
    pub request: Duration,
    /// For a person, wherever one is waited for; also for one-shot commands on a terminal, since
    /// those can't say that they ask.
    pub person: Duration,
    /// Between closing a plugin's stdin and killing it.
    pub farewell: Duration,
    /// For output that is on its way when a process has ended.
    pub drain: Duration,
    /// Before a throttled request to a foreign plugin is repeated; doubled each time.
    pub backoff: Duration,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            metadata: Duration::from_secs(10),
            request: Duration::from_secs(60),
            person: Duration::from_secs(300),
            farewell: Duration::from_secs(2),
            drain: Duration::from_millis(250),
            backoff: Duration::from_secs(1),
        }
    }
}

/// Runs plugins: where they are, how long they may take, and who hears of it.
///
/// One for each run: a host and its clones remember what was denied or left unanswered, and don't
/// ask for it again.
#[derive(Clone, Debug)]
pub struct Host {
    finder: Arc<Finder>,
    pins: Arc<pins::Guard>,
    clocks: Clocks,
    on_terminal: bool,
    listener: Listener,
    interrupt: Interrupt,
    latches: latch::Latches,
}

impl Host {
    /// A host with the usual clocks, off a terminal, that tells nobody.
    pub fn new(finder: Finder) -> Self {
        Self {
            pins: Arc::new(pins::Guard::new(finder.pins_file().to_owned())),
            finder: Arc::new(finder),
            clocks: Clocks::default(),
            on_terminal: false,
            listener: Listener::NOBODY,
            interrupt: Interrupt::new(),
            latches: latch::Latches::default(),
        }
    }

    /// Other clocks.
    #[must_use]
    pub fn with_clocks(self, clocks: Clocks) -> Self {
        Self { clocks, ..self }
    }

    /// Whether a person sits at a terminal, so that a plugin may ask for a PIN.
    #[must_use]
    pub fn on_terminal(self, on_terminal: bool) -> Self {
        Self {
            on_terminal,
            ..self
        }
    }

    /// Who hears of notices, prompts and debug lines.
    #[must_use]
    pub fn with_listener(self, listener: Listener) -> Self {
        Self { listener, ..self }
    }

    /// What stops all plugins when the user wants to.
    #[must_use]
    pub fn with_interrupt(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// Where plugins are looked for.
    pub fn finder(&self) -> &Finder {
        &self.finder
    }

    /// The plugin `name`, to be run as the user's choice.
    ///
    /// # Errors
    /// If there is none.
    pub fn plugin(&self, name: &str) -> Result<Plugin, PluginError> {
        Ok(self.run(self.finder.find(name)?))
    }

    /// The plugin at `file`, to be run as the user's choice.
    pub fn run(&self, file: PluginFile) -> Plugin {
        Plugin {
            host: self.clone(),
            file,
            wish: Wish::User,
            descriptors: Arc::new([]),
            pinned: true,
        }
    }

    /// The plugin at `file`, whatever its pin says: one that is being installed or trusted.
    fn run_unpinned(&self, file: PluginFile) -> Plugin {
        Plugin {
            pinned: false,
            ..self.run(file)
        }
    }

    /// The plugin at `file`, to be run because a signature names it: none of the descriptors that
    /// the user opened reach it. The caller has checked that the signature's chain is trusted.
    // SEC-24
    pub fn run_for_signature(&self, file: PluginFile) -> Plugin {
        Plugin {
            wish: Wish::Signature,
            ..self.run(file)
        }
    }

    /// The clock of one-shot commands that may ask a person.
    fn one_shot_clock(&self) -> Duration {
        if self.on_terminal {
            self.clocks.person
        } else {
            self.clocks.request
        }
    }

    /// The terminal's settings, if a plugin may change them.
    fn terminal(&self) -> Terminal {
        if self.on_terminal {
            Terminal::save()
        } else {
            Terminal::none()
        }
    }
}
