//! `notation-local`: signs with software keys on disk, for development and tests.
//!
//! The key id is the path of the key file; the setting `cert-path` names the file with its
//! certificate and those above it, leaf first. The core hands over `keyPath` and `certPath` of
//! the key list this way, and never opens the key file itself (CFG-19).
//!
//! Key files are PEM: `PRIVATE KEY` (PKCS#8), `EC PRIVATE KEY`, `RSA PRIVATE KEY` (X509-28), not
//! encrypted. `generate-test-key` makes the keys of `hardsign certificate generate-test`
//! (CLI-79 to CLI-81).

use std::process::ExitCode;
use std::time::SystemTime;

use hardsign_plugin::error::ErrorCode;
use hardsign_plugin::proto::{Capability, Command, GenerateTestKeyRequest, Metadata};
use hardsign_plugin::{Context, Error, KeyRequest, Plugin};
use serde_json::Value;

use crate::key::LocalKey;

mod error;
mod generate;
mod key;
#[cfg(test)]
mod tests;

/// The plugin; it has no state.
struct Local;

impl Plugin for Local {
    type Key = LocalKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "local",
            env!("CARGO_PKG_DESCRIPTION"),
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_REPOSITORY"),
        )
        .with(Capability::TestKeys)
    }

    fn open(&self, request: &KeyRequest<'_>, _: &Context<'_>) -> Result<LocalKey, Error> {
        Ok(LocalKey::open(request)?)
    }

    fn other_command(
        &self,
        command: &Command,
        request: Value,
        _: &Context<'_>,
    ) -> Result<Value, Error> {
        if *command != Command::GenerateTestKey {
            return Err(Error::validation(format!("{command} is not supported")));
        }
        let request: GenerateTestKeyRequest = serde_json::from_value(request)
            .map_err(|error| Error::from_error(ErrorCode::ValidationError, &error))?;
        #[allow(
            clippy::disallowed_methods,
            reason = "an executable reads the clock, here for the validity of a test certificate"
        )]
        let now = SystemTime::now();
        serde_json::to_value(generate::generate(&request, now)?)
            .map_err(|error| Error::from_error(ErrorCode::Error, &error))
    }
}

fn main() -> ExitCode {
    hardsign_plugin::serve(Local)
}
