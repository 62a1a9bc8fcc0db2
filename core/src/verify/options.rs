//! What is asked of one verification.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;

#[cfg(feature = "runtime")]
use crate::budget::{Budget, UNLIMITED};
use crate::event::{Listener, Observer};
use crate::policy::hardsign::HardwareRule;

/// What the user asks of one verification.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Options<'a> {
    /// Most signatures that are tried.
    // VER-25
    pub max_signatures: NonZeroUsize,
    /// Whether every signature is tried, up to the limit, and not only as many as are needed: each of them is then
    /// among those of the outcome that count or among its attempts.
    pub all_signatures: bool,
    /// Pairs that the payload's annotations must contain.
    // VER-20
    pub user_metadata: &'a BTreeMap<String, String>,
    /// Settings for a verification plugin.
    // PLG-16
    pub plugin_config: &'a BTreeMap<String, String>,
    /// In what kind of hardware the key of each signature must live, where the policy has no rule of
    /// its own on that: what is demanded for this run.
    pub hardware: Option<&'a Arc<HardwareRule>>,
    /// The time of verification.
    pub now: Timestamp,
    /// Hears what happens.
    pub observer: &'a dyn Observer,
    /// What it may spend, attached artifacts included.
    #[cfg(feature = "runtime")]
    pub budget: &'a Budget,
}

/// Most signatures that are tried where nothing else is said (VER-25).
const MAX_SIGNATURES: NonZeroUsize = NonZeroUsize::new(100).unwrap();

impl<'a> Options<'a> {
    /// What the policy demands and nothing else, told to nobody and without limits.
    pub fn new(now: Timestamp) -> Self {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        Self {
            max_signatures: MAX_SIGNATURES,
            all_signatures: false,
            user_metadata: &NONE,
            plugin_config: &NONE,
            hardware: None,
            now,
            observer: &Listener::NOBODY,
            #[cfg(feature = "runtime")]
            budget: &UNLIMITED,
        }
    }

    /// The same with another limit of signatures that are tried.
    // VER-25
    #[must_use]
    pub fn max_signatures(self, max_signatures: NonZeroUsize) -> Self {
        Self {
            max_signatures,
            ..self
        }
    }

    /// The same, where every signature is tried, up to the limit, and reported: it counts, or it does not and why. The
    /// verdict is the same.
    #[must_use]
    pub fn all_signatures(self) -> Self {
        Self {
            all_signatures: true,
            ..self
        }
    }

    /// The same with user metadata that must be signed.
    // VER-20
    #[must_use]
    pub fn user_metadata(self, user_metadata: &'a BTreeMap<String, String>) -> Self {
        Self {
            user_metadata,
            ..self
        }
    }

    /// The same with settings for a verification plugin.
    // PLG-16
    #[must_use]
    pub fn plugin_config(self, plugin_config: &'a BTreeMap<String, String>) -> Self {
        Self {
            plugin_config,
            ..self
        }
    }

    /// The same with a demand on the hardware of the keys, or none.
    #[must_use]
    pub fn hardware(self, hardware: Option<&'a Arc<HardwareRule>>) -> Self {
        Self { hardware, ..self }
    }

    /// The same at another time.
    #[must_use]
    pub fn now(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// The same, told to somebody.
    #[must_use]
    pub fn observer(self, observer: &'a dyn Observer) -> Self {
        Self { observer, ..self }
    }

    /// The same with what it may spend.
    #[cfg(feature = "runtime")]
    #[must_use]
    pub fn budget(self, budget: &'a Budget) -> Self {
        Self { budget, ..self }
    }
}
