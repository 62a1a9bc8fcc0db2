//! `notation-azurekms`: signs with keys in Azure Key Vault and Managed HSM.
//!
//! The key id is the key's own address, or as other signing tools write it:
//!
//! ```text
//! https://contoso.vault.azure.net/keys/release/0123456789abcdef0123456789abcdef
//! azurekms://contoso.vault.azure.net/release
//! azurekms:name=release;vault=contoso?version=0123456789abcdef0123456789abcdef
//! release
//! ```
//!
//! The last form takes the vault from plugin config: see [`settings`]. Without a version the newest one
//! is taken when the key is opened, and signs to the end of the session. Who asks is found out by
//! [`credential`].
//!
//! A signature is one request. The leaf of a key that Key Vault keeps for a certificate is read from the
//! certificate, and never through the secret of the same name, which for an exportable key is the
//! private key.

use std::process::ExitCode;

use hardsign_plugin::proto::{
    Capability, CreateKeyRequest, CreateKeyResponse, ImportCertificatesRequest,
    ImportCertificatesResponse, ListKeysRequest, ListKeysResponse, Metadata, Setting,
};
use hardsign_plugin::{AsyncPlugin, Context, Error, KeyRequest};

use crate::key::VaultKey;

mod credential;
mod error;
mod id;
mod key;
mod manage;
mod public;
mod vault;

/// The service, as messages name it.
const SERVICE: &str = "Azure Key Vault";

/// The plugin; all state belongs to the open key.
struct AzureKms;

/// The settings that the plugin knows.
fn settings() -> Vec<Setting> {
    hardsign_plugin_kms::settings(&[
        ("vault", "the vault: its name, its host or its address"),
        (
            "version",
            "the version of the key; the newest one if it is not set",
        ),
        (
            "credential",
            "the one credential to use: client-secret, workload-identity, managed-identity, az or azd; all in this order if it is not set",
        ),
        (
            "protection",
            "where a new key is made: software (the default) or hsm",
        ),
    ])
}

impl AsyncPlugin for AzureKms {
    type Key = VaultKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "azurekms",
            env!("CARGO_PKG_DESCRIPTION"),
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_REPOSITORY"),
        )
        .with(Capability::Keys)
        .with(Capability::Versions)
        .with_settings(settings())
    }

    async fn open(
        &self,
        request: &KeyRequest<'_>,
        context: &Context<'_>,
    ) -> Result<VaultKey, Error> {
        VaultKey::open(request, context).await
    }

    async fn list_keys(
        &self,
        request: &ListKeysRequest,
        context: &Context<'_>,
    ) -> Result<ListKeysResponse, Error> {
        manage::list_keys(request, context).await
    }

    async fn create_key(
        &self,
        request: &CreateKeyRequest,
        context: &Context<'_>,
    ) -> Result<CreateKeyResponse, Error> {
        manage::create_key(request, context).await
    }

    /// A key that is no certificate's has no place for one, so the host keeps it.
    async fn import_certificates(
        &self,
        _: &ImportCertificatesRequest,
        _: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        Ok(ImportCertificatesResponse::default())
    }
}

fn main() -> ExitCode {
    hardsign_plugin::serve_async(AzureKms)
}
