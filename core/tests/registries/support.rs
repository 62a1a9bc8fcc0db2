//! What these tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use hardsign_core::artifact::Descriptor;
use hardsign_core::artifact::reference::{RepositoryName, TagOrDigest};
use hardsign_core::envelope::Format;
use hardsign_core::oci::manifest::{OCI_MANIFEST, describe};
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions, Registry};
use hardsign_core::oci::{OciError, Pushed, SignatureStore as _};
use hardsign_core::text::WithCauses;
use hardsign_test_support::registry::FakeRegistry;

pub(crate) const ARTIFACT: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;

/// Stores the artifact that the tests sign, under the tag `v1`.
pub(crate) fn artifact(registry: &FakeRegistry) -> Descriptor {
    registry.put_blob("repo", b"{}");
    registry.put_manifest("repo", Some("v1"), OCI_MANIFEST, ARTIFACT);
    describe(OCI_MANIFEST, ARTIFACT)
}

/// Options with limits that a test can wait for.
pub(crate) fn options() -> ConnectorOptions {
    let mut options = ConnectorOptions::default();
    options.settle = Duration::from_millis(50);
    options.client.limits.total = Duration::from_secs(2);
    options.client.limits.idle = Duration::from_secs(2);
    options.client.limits.min_rate = 1024 * 1024;
    options.client.limits.repeat_total = Duration::from_secs(3);
    options
}

pub(crate) fn open(registry: &FakeRegistry, access: Access) -> Registry {
    open_with(registry, access, options())
}

pub(crate) fn open_with(
    registry: &FakeRegistry,
    access: Access,
    options: ConnectorOptions,
) -> Registry {
    let name = RepositoryName::new(&registry.name(), "repo").unwrap();
    let connector = Connector::new(options).unwrap();
    connector.repository(name, access).unwrap()
}

pub(crate) fn by_digest(descriptor: &Descriptor) -> TagOrDigest {
    TagOrDigest::Digest(descriptor.digest.clone())
}

pub(crate) fn by_tag(tag: &str) -> TagOrDigest {
    TagOrDigest::Tag(tag.to_owned())
}

pub(crate) async fn push(
    registry: &Registry,
    subject: &Descriptor,
    envelope: &str,
) -> Result<Pushed, OciError> {
    registry
        .push_signature(subject, Format::Jws, envelope.as_bytes(), BTreeMap::new())
        .await
}

/// An error with its causes, in one line.
pub(crate) fn text(error: &(dyn std::error::Error + 'static)) -> String {
    WithCauses(error).to_string()
}
