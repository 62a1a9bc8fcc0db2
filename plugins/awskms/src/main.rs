//! `notation-awskms`: signs with keys in AWS Key Management Service.
//!
//! The key id is what AWS itself takes, or a URI as other signing tools write it:
//!
//! ```text
//! alias/release
//! 1234abcd-12ab-34cd-56ef-1234567890ab
//! arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
//! awskms:///alias/release
//! awskms://kms.eu-west-1.amazonaws.com/alias/release
//! awskms:key-id=alias/release;region=eu-west-1
//! ```
//!
//! What the id leads to when the key is opened signs to the end of the session, even if an alias is
//! given to another key meanwhile: the certificate is that key's. Credentials are looked for as AWS's own
//! tools do: environment, profile (keys, SSO, roles, a command), web identity, container, instance.
//!
//! A signature is one request. AWS KMS keeps no certificates; the chain is in the file that `cert-chain`
//! names, or the host keeps it.

use std::process::ExitCode;

use hardsign_plugin::proto::{
    Capability, CreateKeyRequest, CreateKeyResponse, ImportCertificatesRequest,
    ImportCertificatesResponse, ListKeysRequest, ListKeysResponse, Metadata, Setting,
};
use hardsign_plugin::{AsyncPlugin, Context, Error, KeyRequest};

use crate::key::KmsKey;

mod client;
mod credentials;
mod error;
mod id;
mod key;
mod manage;

/// The service, as messages name it.
const SERVICE: &str = "AWS KMS";

/// The plugin; all state belongs to the open key.
struct AwsKms;

/// The settings that the plugin knows.
fn settings() -> Vec<Setting> {
    hardsign_plugin_kms::settings(&[
        (
            "region",
            "the region; that of the key's ARN, AWS_REGION, the profile or the instance if it is not set",
        ),
        (
            "profile",
            "the profile of ~/.aws/config whose credentials are used, and no others",
        ),
        (
            "endpoint",
            "the service's address; AWS_ENDPOINT_URL_KMS, or AWS's own if it is not set",
        ),
    ])
}

impl AsyncPlugin for AwsKms {
    type Key = KmsKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "awskms",
            env!("CARGO_PKG_DESCRIPTION"),
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_REPOSITORY"),
        )
        .with(Capability::Keys)
        .with(Capability::Versions)
        .with_settings(settings())
    }

    async fn open(&self, request: &KeyRequest<'_>, context: &Context<'_>) -> Result<KmsKey, Error> {
        KmsKey::open(request, context).await
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

    /// The service keeps no certificates, so the host keeps them.
    async fn import_certificates(
        &self,
        _: &ImportCertificatesRequest,
        _: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        Ok(ImportCertificatesResponse::default())
    }
}

fn main() -> ExitCode {
    hardsign_plugin::serve_async(AwsKms)
}
