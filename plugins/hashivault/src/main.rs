//! `notation-hashivault`: signs with keys in the transit engine of HashiCorp Vault and OpenBao.
//!
//! The key id is the key's name, or as other signing tools write it:
//!
//! ```text
//! release
//! hashivault://release
//! openbao://release
//! ```
//!
//! Without a version the newest one is taken when the key is opened, and signs to the end of the
//! session. Plugin config: see [`settings`]. Address, namespace, token and CA come from `VAULT_ADDR`,
//! `VAULT_NAMESPACE`, `VAULT_TOKEN` and `VAULT_CACERT` where plugin config does not say them, or from
//! the same variables with `BAO_`, which come first for `openbao://`.
//!
//! A signature is one request. The certificate chain lives beside the key (`set-certificate`), or in
//! the file that `cert-chain` names.

use std::process::ExitCode;

use hardsign_plugin::proto::{
    Capability, CreateKeyRequest, CreateKeyResponse, ImportCertificatesRequest,
    ImportCertificatesResponse, ListKeysRequest, ListKeysResponse, Metadata, Setting,
};
use hardsign_plugin::{AsyncPlugin, Context, Error, KeyRequest};

use crate::key::TransitKey;

mod client;
mod config;
mod error;
mod key;
mod login;
mod manage;
mod transit;

/// The service, as messages name it.
const SERVICE: &str = "Vault";

/// The plugin; all state belongs to the open key.
struct HashiVault;

/// The settings that the plugin knows.
fn settings() -> Vec<Setting> {
    let mut all = hardsign_plugin_kms::settings(&[
        (
            "address",
            "the server's address; VAULT_ADDR if it is not set",
        ),
        (
            "namespace",
            "the namespace; VAULT_NAMESPACE if it is not set",
        ),
        (
            "mount",
            "where the transit engine is mounted; transit if it is not set",
        ),
        (
            "version",
            "the version of the key; the newest one if it is not set",
        ),
        ("login", "token (the default), approle, jwt or kubernetes"),
        (
            "login-mount",
            "where the login method is mounted; its name if it is not set",
        ),
        ("role", "the role to log in with, for jwt and kubernetes"),
        ("role-id", "the role id, for approle"),
        (
            "secret-id",
            "where the secret id is: env:NAME or file:/path, for approle",
        ),
        (
            "jwt",
            "where the JWT is: env:NAME or file:/path, for jwt and kubernetes",
        ),
    ]);
    all.push(Setting::path(
        "ca-cert",
        "a PEM file with the CA of the server; VAULT_CACERT if it is not set",
    ));
    all
}

impl AsyncPlugin for HashiVault {
    type Key = TransitKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "hashivault",
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
    ) -> Result<TransitKey, Error> {
        TransitKey::open(request, context).await
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

    async fn import_certificates(
        &self,
        request: &ImportCertificatesRequest,
        context: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        manage::import_certificates(request, context).await
    }
}

fn main() -> ExitCode {
    hardsign_plugin::serve_async(HashiVault)
}
