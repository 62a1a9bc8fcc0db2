//! Copying artifacts with all that is attached to them, and walking indexes.

use hardsign_core::artifact::Descriptor;
use hardsign_core::oci::copy::{Copied, CopyOptions, copy};
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::manifest::{EMPTY_MEDIA_TYPE, OCI_INDEX, OCI_MANIFEST, describe};
use hardsign_core::oci::registry::{Access, Registry};
use hardsign_core::oci::walk::{PlatformSelector, select_platform, walk};
use hardsign_core::oci::{OciError, Repository, Warning};
use hardsign_test_support::Told;
use hardsign_test_support::registry::{Behaviour, FakeRegistry, Response};

use crate::support::*;

fn json(descriptor: &Descriptor, more: &str) -> String {
    format!(
        r#"{{"mediaType":"{}","digest":"{}","size":{}{more}}}"#,
        descriptor.media_type, descriptor.digest, descriptor.size
    )
}

fn put(fake: &FakeRegistry, tag: Option<&str>, kind: &str, text: &str) -> Descriptor {
    fake.put_manifest("repo", tag, kind, text.as_bytes());
    describe(kind, text.as_bytes())
}

fn blob(fake: &FakeRegistry, content: &[u8]) -> Descriptor {
    fake.put_blob("repo", content);
    describe("application/octet-stream", content)
}

fn image(fake: &FakeRegistry, content: &[u8]) -> Descriptor {
    let (config, layer) = (blob(fake, b"{}"), blob(fake, content));
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{},"layers":[{}]}}"#,
        json(&config, ""),
        json(&layer, "")
    );
    put(fake, None, OCI_MANIFEST, &text)
}

fn attached(fake: &FakeRegistry, subject: &Descriptor, kind: &str) -> Descriptor {
    let empty = describe(EMPTY_MEDIA_TYPE, b"{}");
    fake.put_blob("repo", b"{}");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","artifactType":"{kind}","config":{},"layers":[{}],"subject":{}}}"#,
        json(&empty, ""),
        json(&blob(fake, kind.as_bytes()), ""),
        json(subject, "")
    );
    put(fake, None, OCI_MANIFEST, &text)
}

struct Tree {
    index: Descriptor,
    nested: Descriptor,
    amd64: Descriptor,
    arm64: Descriptor,
    sbom: Descriptor,
}

/// An index with an image and a nested index with another; an SBOM on the first image; signatures
/// on the index, on that image and on the SBOM.
async fn tree(fake: &FakeRegistry) -> Tree {
    let amd64 = image(fake, b"amd64");
    let arm64 = image(fake, &vec![7; 5 * 1024 * 1024]);
    let platform = |architecture: &str, variant: &str| {
        format!(r#","platform":{{"architecture":"{architecture}","os":"linux"{variant}}}"#)
    };
    let index = |entries: &[String]| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#,
            entries.join(",")
        )
    };
    let text = index(&[json(&arm64, &platform("arm64", r#","variant":"v8""#))]);
    let nested = put(fake, None, OCI_INDEX, &text);
    let text = index(&[json(&amd64, &platform("amd64", "")), json(&nested, "")]);
    let index = put(fake, Some("v1"), OCI_INDEX, &text);
    let sbom = attached(fake, &amd64, "application/sbom");
    let registry = open(fake, Access::Write);
    for (subject, envelope) in [(&index, "index"), (&amd64, "image"), (&sbom, "sbom")] {
        push(&registry, subject, envelope).await.unwrap();
    }
    Tree {
        index,
        nested,
        amd64,
        arm64,
        sbom,
    }
}

/// What the tree has, wherever it is. The nested index and its image are listed by a signed index
/// and not signed themselves (OCI-20).
async fn check(repository: &dyn Repository, tree: &Tree) {
    assert_eq!(repository.resolve(&by_tag("v1")).await.unwrap(), tree.index);
    let mut walked = Vec::new();
    for found in walk(repository, &tree.index).await.unwrap() {
        walked.push(found.read(repository).await.unwrap());
    }
    let expected = [&tree.index, &tree.amd64, &tree.nested, &tree.arm64].map(Clone::clone);
    assert_eq!(walked, expected);
    for (subject, envelope) in [
        (&tree.index, "index"),
        (&tree.amd64, "image"),
        (&tree.sbom, "sbom"),
    ] {
        let listing = repository.list_signatures(subject, 9).await.unwrap();
        assert_eq!(listing.signatures.len(), 1, "{envelope}");
        let fetched = repository
            .fetch_signature(&listing.signatures[0])
            .await
            .unwrap();
        assert_eq!(fetched.envelope, envelope.as_bytes());
    }
    for unsigned in [&tree.nested, &tree.arm64] {
        let listing = repository.list_signatures(unsigned, 9).await.unwrap();
        assert!(listing.signatures.is_empty());
    }
    let sboms = repository
        .list_referrers(&tree.amd64, Some("application/sbom"), 9)
        .await
        .unwrap();
    assert_eq!(sboms.entries.len(), 1);
    let layer = describe("application/octet-stream", &vec![7; 5 * 1024 * 1024]);
    let mut content = repository.open_blob(&layer).await.unwrap();
    let mut size = 0;
    while let Some(chunk) = content.chunk().await.unwrap() {
        size += chunk.len();
    }
    assert_eq!(size, 5 * 1024 * 1024);
}

async fn copy_all(
    source: &dyn Repository,
    destination: &dyn Repository,
) -> Result<Copied, OciError> {
    let options = CopyOptions::default();
    copy(source, &by_tag("v1"), destination, Some("v1"), &options).await
}

#[tokio::test]
async fn registry_to_layout_to_registries() {
    // REQ-04, REQ-05, REQ-06, SEC-11, OCI-20
    let source = FakeRegistry::start(Behaviour::default());
    let tree = tree(&source).await;
    let from = open(&source, Access::Read);
    check(&from, &tree).await;

    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(directory.path().join("new")).unwrap();
    let copied = copy_all(&from, &layout).await.unwrap();
    assert_eq!(copied.manifests, 8);
    assert_eq!(copied.referrers.len(), 4);
    check(&layout, &tree).await;

    for referrers_api in [true, false] {
        let target = FakeRegistry::start(Behaviour {
            referrers_api,
            page_size: 1,
            ..Behaviour::default()
        });
        let to = open(&target, Access::Write);
        let copied = copy_all(&layout, &to).await.unwrap();
        assert_eq!(copied.manifests, 8);
        assert!(copied.warnings.is_empty(), "{:?}", copied.warnings);
        check(&to, &tree).await;
        // Once more, and nothing is sent.
        target.clear_log();
        let again = open(&target, Access::Write);
        let copied = copy_all(&layout, &again).await.unwrap();
        assert_eq!((copied.manifests, copied.blobs, copied.bytes), (0, 0, 0));
        assert_eq!(copied.present, 8);
        let sent = target.log().into_iter().filter(|l| l.size > 0).count();
        assert_eq!(sent, 0, "{:?}", target.requests());
    }
}

#[tokio::test]
async fn parts_come_before_the_whole() {
    // OCI-21: the registry refuses a manifest whose parts are missing, so that a copy broken off
    // anywhere leaves no artifact that is not whole.
    let source = FakeRegistry::start(Behaviour::default());
    tree(&source).await;
    let target = FakeRegistry::start(Behaviour::default());
    let to = open(&target, Access::Write);
    copy_all(&open(&source, Access::Read), &to).await.unwrap();
    let manifests: Vec<String> = target
        .requests()
        .into_iter()
        .filter(|r| r.starts_with("PUT /v2/repo/manifests/"))
        .collect();
    assert_eq!(manifests.len(), 8);
    assert_eq!(manifests.iter().position(|m| m.ends_with("/v1")), Some(3));
}

#[tokio::test]
async fn wrong_content_does_not_arrive() {
    // OCI-14: the layer is larger than what is read at once, and wrong in its last byte.
    let mut wrong = vec![7; 5 * 1024 * 1024];
    wrong[5 * 1024 * 1024 - 1] = 8;
    let layer = describe("application/octet-stream", &vec![7; 5 * 1024 * 1024]);
    let path = format!("/v2/repo/blobs/{}", layer.digest);
    let source = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(move |request| {
            let asked = request.method == "GET" && request.path == path;
            asked.then(|| Response::bytes(200, wrong.clone()))
        })),
        ..Behaviour::default()
    });
    tree(&source).await;
    let from = open(&source, Access::Read);
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(directory.path()).unwrap();
    let error = copy_all(&from, &layout).await.unwrap_err();
    assert!(matches!(error, OciError::DigestMismatch { .. }), "{error}");
    assert!(!layout.has_blob(&layer).await.unwrap());
    assert!(layout.resolve(&by_tag("v1")).await.is_err());

    let target = FakeRegistry::start(Behaviour::default());
    let to = open(&target, Access::Write);
    let error = copy_all(&from, &to).await.unwrap_err();
    assert!(matches!(error, OciError::DigestMismatch { .. }), "{error}");
    assert!(!to.has_blob(&layer).await.unwrap());
}

#[tokio::test]
async fn circles_and_bad_referrers() {
    // VER-28: what a registry lists wrongly is left out with a warning, and does not go round.
    let source = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(|request| {
            if !request.path.contains("/referrers/") {
                return None;
            }
            // Everything is listed as attached to everything.
            let artifact = describe(OCI_MANIFEST, ARTIFACT);
            let absent = describe(OCI_MANIFEST, b"absent");
            let entries = [json(&artifact, ""), json(&absent, "")].join(",");
            let body = format!(r#"{{"manifests":[{entries}]}}"#);
            Some(Response::bytes(200, body.into_bytes()).header("content-type", OCI_INDEX))
        })),
        ..Behaviour::default()
    });
    artifact(&source);
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(directory.path()).unwrap();
    let copied = copy_all(&open(&source, Access::Read), &layout)
        .await
        .unwrap();
    assert_eq!((copied.manifests, copied.referrers.len()), (1, 0));
    assert!(matches!(copied.warnings[..], [Warning::Unreadable { .. }]));
}

#[tokio::test]
async fn platforms_are_chosen() {
    let source = FakeRegistry::start(Behaviour::default());
    let tree = tree(&source).await;
    let from: Registry = open(&source, Access::Read);
    let choose = |text: &str| {
        let (from, index) = (from.clone(), tree.index.clone());
        let selector: PlatformSelector = text.parse().unwrap();
        async move { select_platform(&from, &index, &selector).await }
    };
    assert_eq!(choose("linux/amd64").await.unwrap(), tree.amd64);
    assert_eq!(choose("linux/arm64").await.unwrap(), tree.arm64);
    assert_eq!(choose("linux/arm64/v8").await.unwrap(), tree.arm64);
    assert_eq!(
        choose("windows/amd64").await.unwrap_err().told(),
        "no artifact for platform windows/amd64; there are \"linux/amd64\", \"linux/arm64/v8\""
    );
    let selector: PlatformSelector = "linux/amd64".parse().unwrap();
    let error = select_platform(&from, &tree.amd64, &selector).await;
    assert!(matches!(error, Err(OciError::NotAnIndex { .. })));
}
