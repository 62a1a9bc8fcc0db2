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
use hardsign_core::oci::copy::{CopyOptions, copy};
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::registry::{self, Access, Connector, ConnectorOptions};
use hardsign_core::oci::{OciError, Repository, SignatureSource as _, SignatureStore as _};
use softhsm_tests::peers::registry::{Builder, Registry};
use softhsm_tests::peers::{Oras, succeed};

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
        .delete_signature(&artifact, &pushed[0].0.digest)
        .await
        .unwrap();
    let listing = repository.list_signatures(&artifact, 100).await.unwrap();
    assert_eq!(listing.signatures.len(), 2);
    assert!(matches!(
        repository
            .delete_signature(&artifact, &artifact.digest)
            .await,
        Err(OciError::NotASignature { .. })
    ));
    assert_eq!(repository.resolve(target).await.unwrap(), artifact);
}

async fn against(registry: &Builder) {
    let registry = registry.start();
    let reference = registry.push("demo:v1", b"content");
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

fn open(registry: &Registry, reference: &str) -> registry::Registry {
    let reference: Reference = reference.parse().unwrap();
    let repository = connector(registry).repository(reference.repository, Access::Write);
    repository.unwrap()
}

fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(text.to_owned())
}

/// The signatures that `oras` finds.
fn discovered(oras: &Oras, registry: &Registry, reference: &str) -> usize {
    let mut command = oras.command(["discover", "--format", "json", "--artifact-type"]);
    command.arg("application/vnd.cncf.notary.signature");
    command.args(registry.oras_flags()).arg(reference);
    let report = succeed(&mut command);
    report.matches("\"digest\"").count()
}

#[tokio::test]
async fn a_layout() {
    // OCI-36 to OCI-38, REQ-07
    let source = Registry::olareg().start();
    source.push("demo:v1", b"content");
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(directory.path().join("layout")).unwrap();
    let from = open(&source, &source.reference("demo:v1"));
    let options = CopyOptions::default();
    copy(&from, &tag("v1"), &layout, Some("v1"), &options)
        .await
        .unwrap();
    suite(&layout, &tag("v1")).await;
}

#[tokio::test]
async fn copies_with_all_signatures() {
    // REQ-04 to REQ-06: registry, layout, second registry, and `oras` finds what we wrote.
    let (source, target, oras) = (
        Registry::olareg().start(),
        Registry::docker().tls().basic_auth().start(),
        Oras::new(),
    );
    let pushed = source.push("demo:v1", &vec![7; 6 * 1024 * 1024]);
    let from = open(&source, &pushed);
    let artifact = from.resolve(&tag("v1")).await.unwrap();
    for envelope in ["vendor", "organisation", "ci cache"] {
        from.push_signature(&artifact, Format::Jws, envelope.as_bytes(), BTreeMap::new())
            .await
            .unwrap();
    }
    assert_eq!(discovered(&oras, &source, &source.reference("demo:v1")), 3);
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(directory.path().join("layout")).unwrap();
    let to = open(&target, &target.reference("other/name:v2"));
    let options = CopyOptions::default();
    let copied = copy(&from, &tag("v1"), &layout, Some("v1"), &options)
        .await
        .unwrap();
    assert_eq!((copied.manifests, copied.referrers.len()), (4, 3));
    let copied = copy(&layout, &tag("v1"), &to, Some("v2"), &options)
        .await
        .unwrap();
    assert_eq!((copied.manifests, copied.referrers.len()), (4, 3));
    assert!(copied.warnings.is_empty(), "{:?}", copied.warnings);
    assert_eq!(to.resolve(&tag("v2")).await.unwrap(), artifact);
    assert_eq!(
        discovered(&oras, &target, &target.reference("other/name:v2")),
        3
    );
    let listing = to.list_signatures(&artifact, 9).await.unwrap();
    assert_eq!(listing.signatures.len(), 3);
    // Once more: nothing is sent.
    let copied = copy(&layout, &tag("v1"), &to, Some("v2"), &options)
        .await
        .unwrap();
    assert_eq!((copied.manifests, copied.blobs), (0, 0));
}

#[tokio::test]
async fn an_artifact_copied_by_oras_keeps_its_signatures() {
    // REQ-05
    let (source, target, oras) = (
        Registry::olareg().start(),
        Registry::docker().start(),
        Oras::new(),
    );
    let pushed = source.push("demo:v1", b"content");
    let from = open(&source, &pushed);
    let artifact = from.resolve(&tag("v1")).await.unwrap();
    from.push_signature(&artifact, Format::Cose, b"signature", BTreeMap::new())
        .await
        .unwrap();
    oras.run([
        "cp",
        "-r",
        &source.reference("demo:v1"),
        &target.reference("demo:v1"),
    ]);
    let to = open(&target, &target.reference("demo:v1"));
    let listing = to.list_signatures(&artifact, 9).await.unwrap();
    let fetched = to.fetch_signature(&listing.signatures[0]).await.unwrap();
    assert_eq!(fetched.envelope, b"signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_writers_of_one_index_lose_nothing() {
    // OCI-28: as many processes would be, each with connections and tokens of its own.
    let registry = Registry::docker().start();
    let reference = registry.push("demo:v1", b"content");
    let artifact = open(&registry, &reference)
        .resolve(&tag("v1"))
        .await
        .unwrap();
    let mut tasks = Vec::new();
    for n in 0..20 {
        let (to, artifact) = (open(&registry, &reference), artifact.clone());
        tasks.push(tokio::spawn(async move {
            let envelope = format!("signature {n}");
            to.push_signature(&artifact, Format::Jws, envelope.as_bytes(), BTreeMap::new())
                .await
                .unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let listing = open(&registry, &reference)
        .list_signatures(&artifact, 100)
        .await
        .unwrap();
    assert_eq!(listing.signatures.len(), 20);
}
