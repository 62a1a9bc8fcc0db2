//! `notation-yubikey`: signs with keys in the PIV application of a YubiKey.
//!
//! The key id names card and slot, or the slot alone if there is one card:
//!
//! ```text
//! yubikey:serial=12345678;slot=9c
//! ```
//!
//! Plugin config, for what the key id leaves open:
//!
//! | setting | meaning |
//! |---|---|
//! | `serial` | the card, by the number printed on it |
//! | `slot` | 9a, 9c, 9d, 9e, 82 to 95 |
//! | `pin-source` | `env:NAME`, `file:/path`, `fd:N`, `pinentry`, `prompt` (used when nothing is said) |
//! | `cert-chain` | a PEM file with the signer's certificate and those above it, or only the latter |
//! | `management-key` | `env:NAME` or `file:/path`, to make keys and store certificates; not needed where the card keeps it under the PIN, as `set-up-token` and ykman store it |
//! | `puk-source` | where `set-up-token` gets the new PUK from; a random one is shown on the terminal when nothing is said |
//!
//! The card speaks over PC/SC (`pcscd`). From the first command on, one transaction holds it, so that
//! no other program comes between PIN and signatures. The PIN is tried once.

use std::process::ExitCode;

use hardsign_plugin::proto::{
    AttestKeyRequest, AttestKeyResponse, Capability, CreateKeyRequest, CreateKeyResponse,
    ImportCertificatesRequest, ImportCertificatesResponse, ListKeysRequest, ListKeysResponse,
    Metadata, SetUpTokenRequest, SetUpTokenResponse,
};
use hardsign_plugin::{Context, Error, KeyRequest, Plugin};

use crate::key::CardKey;
use crate::shared::Shared;

mod attestation;
mod certificates;
mod config;
mod error;
mod key;
mod list;
mod login;
mod manage;
mod piv;
mod reader;
mod setup;
mod shared;
mod slot;
mod tlv;

/// The plugin, with what its requests share.
#[derive(Default)]
struct YubiKeyPlugin {
    shared: Shared,
}

impl Plugin for YubiKeyPlugin {
    type Key = CardKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "yubikey",
            env!("CARGO_PKG_DESCRIPTION"),
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_REPOSITORY"),
        )
        .with(Capability::Keys)
        .with(Capability::Attest)
        .with(Capability::Setup)
        .with_settings(config::settings())
    }

    fn open(&self, request: &KeyRequest<'_>, context: &Context<'_>) -> Result<CardKey, Error> {
        CardKey::open(request, &self.shared, context)
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
        manage::create_key(request, &self.shared, context)
    }

    fn import_certificates(
        &self,
        request: &ImportCertificatesRequest,
        context: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        manage::import_certificates(request, &self.shared, context)
    }

    fn attest_key(
        &self,
        request: &AttestKeyRequest,
        context: &Context<'_>,
    ) -> Result<AttestKeyResponse, Error> {
        attestation::attest_key(request, &self.shared, context)
    }

    fn set_up_token(
        &self,
        request: &SetUpTokenRequest,
        context: &Context<'_>,
    ) -> Result<SetUpTokenResponse, Error> {
        setup::set_up_token(request, &self.shared, context)
    }
}

fn main() -> ExitCode {
    hardsign_plugin::serve(YubiKeyPlugin::default())
}
