//! `notation-pkcs11`: signs with keys in PKCS#11 tokens: HSMs, smart cards, SoftHSM.
//!
//! The key id is a PKCS#11 URI (RFC 7512), `id=` and hexadecimal digits, or a label:
//!
//! ```text
//! pkcs11:token=T;object=K;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin
//! ```
//!
//! Plugin config, for what the URI leaves open:
//!
//! | setting | meaning |
//! |---|---|
//! | `module-path` | the PKCS#11 module, an absolute path |
//! | `token-label` | the token |
//! | `pin-source` | `env:NAME`, `file:/path`, `fd:N`, `pinentry`, `prompt` (used when nothing is said) |
//! | `cert-chain` | a PEM file with the signer's certificate and those above it, or only the latter |
//!
//! The module is loaded once, one login is made and the key looked up once per process;
//! signatures run in parallel sessions where the token allows. A private key's value is never
//! read, whatever its attributes allow.

use std::process::ExitCode;

use hardsign_plugin::proto::{
    AttestKeyRequest, AttestKeyResponse, Capability, CreateKeyRequest, CreateKeyResponse,
    ImportCertificatesRequest, ImportCertificatesResponse, ListKeysRequest, ListKeysResponse,
    Metadata,
};
use hardsign_plugin::{Context, Error, KeyRequest, Plugin};

use crate::key::TokenKey;
use crate::shared::Shared;

mod attest;
mod certificates;
mod config;
mod connection;
mod create;
mod error;
mod import;
mod key;
mod list;
mod login;
mod module;
mod objects;
mod pss;
mod raw;
mod shared;
mod sign;

/// The plugin, with what its requests share.
#[derive(Default)]
struct Pkcs11Plugin {
    shared: Shared,
}

impl Plugin for Pkcs11Plugin {
    type Key = TokenKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "pkcs11",
            env!("CARGO_PKG_DESCRIPTION"),
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_REPOSITORY"),
        )
        .with(Capability::Keys)
        .with(Capability::Attest)
        .with_settings(config::settings())
    }

    fn open(&self, request: &KeyRequest<'_>, context: &Context<'_>) -> Result<TokenKey, Error> {
        TokenKey::open(request, &self.shared, context)
    }

    fn list_keys(
        &self,
        request: &ListKeysRequest,
        context: &Context<'_>,
    ) -> Result<ListKeysResponse, Error> {
        list::list_keys(request, &self.shared, context)
    }

    fn create_key(
        &self,
        request: &CreateKeyRequest,
        context: &Context<'_>,
    ) -> Result<CreateKeyResponse, Error> {
        create::create_key(request, &self.shared, context)
    }

    fn import_certificates(
        &self,
        request: &ImportCertificatesRequest,
        context: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        import::import_certificates(request, &self.shared, context)
    }

    fn attest_key(
        &self,
        request: &AttestKeyRequest,
        context: &Context<'_>,
    ) -> Result<AttestKeyResponse, Error> {
        attest::attest_key(request, &self.shared, context)
    }
}

fn main() -> ExitCode {
    hardsign_plugin::serve(Pkcs11Plugin::default())
}
