//! `notation-gcpkms`: signs with keys in Google Cloud KMS.
//!
//! The key id is the key's resource name, or as other signing tools write it:
//!
//! ```text
//! projects/acme/locations/europe-west3/keyRings/ci/cryptoKeys/release
//! gcpkms://projects/…/cryptoKeys/release/cryptoKeyVersions/2
//! gcpkms://projects/…/cryptoKeys/release/versions/2
//! cloudkms:projects/…/cryptoKeys/release
//! release
//! ```
//!
//! The last form takes project, location and key ring from plugin config: see [`settings`]. Without a
//! version the newest enabled one is taken when the key is opened, and signs to the end of the session.
//! Credentials are Google's Application Default Credentials.
//!
//! A signature is one request.

use std::process::ExitCode;

use hardsign_plugin::proto::{
    Capability, CreateKeyRequest, CreateKeyResponse, ImportCertificatesRequest,
    ImportCertificatesResponse, ListKeysRequest, ListKeysResponse, Metadata, Setting,
};
use hardsign_plugin::{AsyncPlugin, Context, Error, KeyRequest};

use crate::key::CloudKey;

mod credentials;
mod error;
mod id;
mod key;
mod manage;
mod service;

/// The service, as messages name it.
const SERVICE: &str = "Google Cloud KMS";

/// The plugin; all state belongs to the open key.
struct GcpKms;

/// The settings that the plugin knows.
fn settings() -> Vec<Setting> {
    hardsign_plugin_kms::settings(&[
        (
            "project",
            "the project; GOOGLE_CLOUD_PROJECT if it is not set",
        ),
        ("location", "where the key ring is, for instance global"),
        ("key-ring", "the key ring"),
        (
            "version",
            "the version of the key; the newest enabled one if it is not set",
        ),
        (
            "endpoint",
            "the service's address, for private endpoints and emulators; CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS if it is not set",
        ),
        (
            "protection",
            "where a new key is made: software (the default) or hsm",
        ),
    ])
}

impl AsyncPlugin for GcpKms {
    type Key = CloudKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "gcpkms",
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
    ) -> Result<CloudKey, Error> {
        CloudKey::open(request, context).await
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

    /// The service keeps no certificates, so the host does.
    async fn import_certificates(
        &self,
        _: &ImportCertificatesRequest,
        _: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        Ok(ImportCertificatesResponse::default())
    }
}

fn main() -> ExitCode {
    hardsign_plugin::serve_async(GcpKms)
}
