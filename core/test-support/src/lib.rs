//! Keys, certificates, envelopes and servers for hardsign's own tests: valid ones, and ones that
//! break any single rule.
//!
//! Everything here writes its bytes by itself, with none of the code under test, so that a fault
//! on both sides cannot cancel out. Never a dependency of anything but tests.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is how a test helper says that the test itself is wrong"
)]

use std::error::Error;

use hardsign_plugin::text::WithCauses;

pub mod asn1;
pub mod certificate;
pub mod cose;
pub mod device;
pub mod jws;
pub mod key;
#[cfg(unix)]
pub mod program;
pub mod registry;
pub mod revocation;
pub mod schemas;
#[cfg(unix)]
pub mod terminal;
pub mod token;
pub mod vectors;

pub use certificate::{Builder, Issued, Pki};
pub use key::Key;

/// What errors say, for tests.
pub trait Told: Error + Sized + 'static {
    /// What the error and its causes say.
    ///
    /// # Panics
    /// One says what its cause says as well.
    fn told(&self) -> String {
        let mut error: &dyn Error = self;
        while let Some(cause) = error.source() {
            let (text, again) = (error.to_string(), cause.to_string());
            let repeats = !again.is_empty() && text.contains(&again);
            assert!(!repeats, "{text:?} repeats its cause {again:?}");
            error = cause;
        }
        WithCauses(self).to_string()
    }
}

impl<E: Error + 'static> Told for E {}
