//! One suite for every place that holds signatures: registries with the referrers API and
//! without, with TLS and authentication, and a layout.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::collections::BTreeMap;
use std::fs;

use hardsign_core::artifact::reference::{Reference, TagOrDigest};
use hardsign_core::envelope::Format;
use hardsign_core::oci::auth::{Credential, Credentials};
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions};
use hardsign_core::oci::{OciError, Repository};
use softhsm_tests::peers::registry::{Builder, Registry};

fn connector(registry: &Registry) -> Connector {
    let mut options = ConnectorOptions::default();
    if let Some(file) = registry.ca_file() {
        options.client.extra_roots.push(fs::read(file).unwrap());
    }
    if let Some((username, password)) = registry.credentials() {
        let credential = Credential::from_user(username, password).unwrap();
        options.credentials = Credentials::Given(credential);
    }
    Connector::new(options).unwrap()
}

/// Three parties sign; each signature is found and fetched; one is deleted.
async fn suite(repository: &impl Repository, target: &TagOrDigest) {
    let artifact = repository.resolve(target).await.unwrap();
    let by_digest = TagOrDigest::Digest(artifact.digest.clone());
    assert_eq!(repository.resolve(&by_digest).await.unwrap(), artifact);
    let mut pushed = Vec::new();
    for (format, envelope) in [
        (Format::Jws, b"vendor".as_slice()),
        (Format::Cose, b"organisation"),
        (Format::Jws, b"ci cache"),
    ] {
        let annotations = BTreeMap::from([("who".to_owned(), format!("{envelope:?}"))]);
        let done = repository
            .push_signature(&artifact, format, envelope, annotations)
            .await
            .unwrap();
        pushed.push((done.manifest, format, envelope));
    }
    let listing = repository.list_signatures(&artifact, 100).await.unwrap();
    assert_eq!((listing.signatures.len(), listing.truncated), (3, false));
    assert!(listing.warnings.is_empty(), "{:?}", listing.warnings);
    for (manifest, format, envelope) in &pushed {
        let listed = listing
            .signatures
            .iter()
            .find(|s| s.digest == manifest.digest);
        let fetched = repository.fetch_signature(listed.unwrap()).await.unwrap();
        assert_eq!(
            (fetched.format, fetched.envelope.as_slice()),
            (*format, *envelope)
        );
        assert!(fetched.subject.unwrap().same_content(&artifact));
    }
    let few = repository.list_signatures(&artifact, 2).await.unwrap();
    assert_eq!((few.signatures.len(), few.truncated), (2, true));
    repository
        .delete_signature(&pushed[0].0.digest)
        .await
        .unwrap();
    let listing = repository.list_signatures(&artifact, 100).await.unwrap();
    assert_eq!(listing.signatures.len(), 2);
    assert!(matches!(
        repository.delete_signature(&artifact.digest).await,
        Err(OciError::NotASignature { .. })
    ));
    assert_eq!(repository.resolve(target).await.unwrap(), artifact);
}

async fn against(registry: &Builder) {
    let Some(registry) = registry.start() else {
        return;
    };
    let Some(reference) = registry.push("demo:v1", b"content") else {
        return;
    };
    let reference: Reference = reference.parse().unwrap();
    let connector = connector(&registry);
    for access in [Access::Write, Access::Read] {
        let repository = connector.repository(reference.repository.clone(), access);
        repository
            .unwrap()
            .resolve(&reference.target)
            .await
            .unwrap();
    }
    let repository = connector.repository(reference.repository, Access::Write);
    suite(&repository.unwrap(), &TagOrDigest::Tag("v1".to_owned())).await;
}

#[tokio::test]
async fn olareg() {
    against(&Registry::olareg()).await;
    against(&Registry::olareg().tls()).await;
}

#[tokio::test]
async fn crane() {
    against(&Registry::crane()).await;
}

#[tokio::test]
async fn docker_registry() {
    // OCI-24
    against(&Registry::docker()).await;
    against(&Registry::docker().tls().basic_auth()).await;
}
