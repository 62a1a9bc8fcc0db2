//! `notation-local`: signs with software keys on disk, for development and tests.
//!
//! The key id is the path of the key file; the setting `cert-chain` names the file with its
//! certificate and those above it, leaf first; without it they stand beside the key, in a file of the
//! same name that ends in `.crt`. The core hands over `keyPath` and `certPath` of
//! the key list this way, and never opens the key file itself (CFG-19).
//!
//! Key files are PEM: `PRIVATE KEY` (PKCS#8), `EC PRIVATE KEY`, `RSA PRIVATE KEY` (X509-28), not
//! encrypted. `generate-test-key` makes the keys of `hardsign certificate generate-test`
//! (CLI-79 to CLI-81).

use std::process::ExitCode;
use std::time::SystemTime;

use hardsign_plugin::proto::{
    Capability, CreateKeyRequest, CreateKeyResponse, GenerateTestKeyRequest,
    GenerateTestKeyResponse, ImportCertificatesRequest, ImportCertificatesResponse,
    ListKeysRequest, ListKeysResponse, Metadata, Setting,
};
use hardsign_plugin::{Context, Error, KeyRequest, Plugin};

use crate::key::LocalKey;

mod error;
mod generate;
mod key;
mod life;
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
        .with(Capability::Keys)
        .with_settings([Setting::path(
            key::CERT_CHAIN,
            "PEM file with the key's certificate and those above it, leaf first",
        )])
    }

    fn open(&self, request: &KeyRequest<'_>, _: &Context<'_>) -> Result<LocalKey, Error> {
        Ok(LocalKey::open(request)?)
    }

    fn list_keys(
        &self,
        request: &ListKeysRequest,
        _: &Context<'_>,
    ) -> Result<ListKeysResponse, Error> {
        Ok(life::list_keys(request)?)
    }

    fn create_key(
        &self,
        request: &CreateKeyRequest,
        _: &Context<'_>,
    ) -> Result<CreateKeyResponse, Error> {
        Ok(life::create_key(request)?)
    }

    fn import_certificates(
        &self,
        request: &ImportCertificatesRequest,
        _: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        Ok(life::import_certificates(request)?)
    }

    fn generate_test_key(
        &self,
        request: &GenerateTestKeyRequest,
        _: &Context<'_>,
    ) -> Result<GenerateTestKeyResponse, Error> {
        #[allow(
            clippy::disallowed_methods,
            reason = "an executable reads the clock, here for the validity of a test certificate"
        )]
        let now = SystemTime::now();
        Ok(generate::generate(request, now)?)
    }
}

fn main() -> ExitCode {
    hardsign_plugin::serve(Local)
}
