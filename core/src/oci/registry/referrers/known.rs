//! What a run knows of how a repository lists referrers: learnt once, shared by all that work in
//! the repository.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::artifact::Digest;
use crate::budget::Lock;
use crate::crypto;
use crate::oci::registry::guard;

/// What is known of the referrers API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(in crate::oci) enum Api {
    /// It was not asked yet.
    Unknown = 0,
    /// It answers.
    Supported = 1,
    /// It does not; the tag schema is used.
    Unsupported = 2,
}

/// Whether the API lists what is stored. A registry can answer it and list nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Proof {
    /// Nothing was stored yet in this run.
    #[default]
    Open,
    /// What was stored stood in the list.
    Listed,
    /// It did not.
    Unlisted,
    /// The list could not be had.
    Unanswered,
}

/// Whether the configuration that all signatures share is in the repository.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::oci::registry) enum Configuration {
    /// Nobody has looked yet.
    #[default]
    Open,
    /// It is not there, and nobody has stored it yet.
    Missing,
    /// Somebody has seen to it, or tried to: what was found is remembered, and nobody waits for another any more.
    Looked,
}

#[derive(Debug, Default)]
pub(in crate::oci) struct Known {
    api: AtomicU8,
    asked: AtomicBool,
    /// Held while the API is asked for the first time.
    pub(super) asking: Lock<()>,
    /// Held while the first thing that was stored is looked for.
    pub(super) proof: Lock<Proof>,
    /// Held while the first one sees to it that the configuration of signatures is there.
    pub(in crate::oci::registry) configuration: Lock<Configuration>,
    /// Referrers whose manifests were read, each with the subject that it names: [`pair`] of both.
    referrers: Mutex<HashSet<[u8; 32]>>,
}

impl Known {
    pub(in crate::oci) fn api(&self) -> Api {
        match self.api.load(Ordering::Acquire) {
            1 => Api::Supported,
            2 => Api::Unsupported,
            _ => Api::Unknown,
        }
    }

    /// Keeps what was learnt first.
    pub(super) fn learn(&self, supported: bool) {
        if self.api() == Api::Unknown {
            self.api
                .store(if supported { 1 } else { 2 }, Ordering::Release);
        }
    }

    /// Whether this is the first one that wants to store something.
    pub(super) fn first_to_store(&self) -> bool {
        !self.asked.swap(true, Ordering::AcqRel)
    }

    /// Remembers that the manifest of `referrer` names `subject`.
    pub(super) fn names(&self, referrer: &Digest, subject: &Digest) {
        let mut known = guard(&self.referrers);
        if known.len() >= MAX_REFERRERS {
            known.clear();
        }
        known.insert(pair(referrer, subject));
    }

    /// Whether the manifest of `referrer` is known to name `subject`.
    pub(super) fn is_named(&self, referrer: &Digest, subject: &Digest) -> bool {
        guard(&self.referrers).contains(&pair(referrer, subject))
    }
}

/// One digest for a referrer and its subject, which needs less memory than both.
fn pair(referrer: &Digest, subject: &Digest) -> [u8; 32] {
    crypto::sha256(format!("{referrer} {subject}").as_bytes())
}

/// Most referrers that are remembered of one repository.
const MAX_REFERRERS: usize = 10_000;
