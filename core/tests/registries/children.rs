//! What an index says of what it lists, against what that is.

use std::time::Duration;

use hardsign_core::artifact::Descriptor;
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, describe,
};
use hardsign_core::oci::registry::Access;
use hardsign_core::oci::walk::{select_platform, walk};
use hardsign_core::oci::{OciError, Repository, SignatureSource as _};
use hardsign_test_support::registry::{Behaviour, FakeRegistry, Response};

use crate::support::*;

/// An index whose one entry says `media_type`, `digest` and `size`, for linux/s390x.
fn index_of(kind: &str, child: &Descriptor) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"s390x"}}}}]}}"#,
        child.media_type, child.digest, child.size
    )
}

/// What an index may say of the artifact that is there, none of it true; and a word of the error.
fn lies() -> Vec<(&'static str, Descriptor, &'static str)> {
    let truth = describe(OCI_MANIFEST, ARTIFACT);
    let of_type = |media_type: &str| Descriptor {
        media_type: media_type.to_owned(),
        ..truth.clone()
    };
    let of_size = |size: u64| Descriptor {
        size,
        ..truth.clone()
    };
    vec![
        ("larger", of_size(999), "999"),
        ("smaller", of_size(truth.size - 1), "bytes"),
        ("empty", of_size(0), "bytes"),
        ("too large for any manifest", of_size(u64::MAX), "too large"),
        ("Docker's type", of_type(DOCKER_MANIFEST), DOCKER_MANIFEST),
        ("an index's type", of_type(OCI_INDEX), ""),
        ("Docker's list", of_type(DOCKER_LIST), ""),
        (
            "no manifest's type",
            of_type("application/x"),
            "application/x",
        ),
        ("absent", describe(OCI_MANIFEST, b"absent"), "sha256:"),
    ]
}

/// All that walks and reads, for one index that lies about its child.
async fn check(
    storage: &dyn Repository,
    root: &Descriptor,
    child: &Descriptor,
    what: &str,
    word: &str,
) {
    let mut results = vec![select_platform(storage, root, &"linux/s390x".parse().unwrap()).await];
    let mut walked = walk(storage, root).await.unwrap().into_iter();
    assert_eq!(walked.next().unwrap().read(storage).await.unwrap(), *root);
    results.push(walked.next().unwrap().read(storage).await);
    assert!(walked.next().is_none());
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(error, OciError::Child { .. }), "{what}: {error}");
        assert!(error.is_about_content(), "{what}: {error}");
        let text = text(&error);
        // It names the index and the child.
        for part in [&root.digest.to_string(), &child.digest.to_string(), word] {
            assert!(text.contains(part), "{what}: {text} lacks {part}");
        }
    }
}

#[tokio::test]
async fn a_child_is_what_its_index_says_or_refused() {
    // OCI-14, OCI-20
    for kind in [OCI_INDEX, DOCKER_LIST] {
        for (what, child, word) in lies() {
            let fake = FakeRegistry::start(Behaviour::default());
            artifact(&fake);
            let text = index_of(kind, &child);
            fake.put_manifest("repo", Some("lie"), kind, text.as_bytes());
            let root = describe(kind, text.as_bytes());
            for access in [Access::Read, Access::Write] {
                let registry = open(&fake, access);
                check(&registry, &root, &child, what, word).await;
            }
            let directory = tempfile::tempdir().unwrap();
            let layout = Layout::open_or_create(directory.path()).unwrap();
            let blobs = directory.path().join("blobs/sha256");
            std::fs::create_dir_all(&blobs).unwrap();
            for content in [ARTIFACT, text.as_bytes()] {
                let name = describe(kind, content).digest.hex();
                std::fs::write(blobs.join(name), content).unwrap();
            }
            check(&layout, &root, &child, what, word).await;
        }
    }
}

#[tokio::test]
async fn a_child_is_hashed() {
    // OCI-14: the registry answers with other bytes of the same size and type.
    let fake = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(|request| {
            let digest = describe(OCI_MANIFEST, ARTIFACT).digest.to_string();
            let child = request.path.ends_with(&digest);
            child.then(|| {
                let other =
                    String::from_utf8_lossy(ARTIFACT).replace("application/x", "application/y");
                Response::bytes(200, other.into_bytes())
                    .header("content-type", OCI_MANIFEST)
                    .header("docker-content-digest", &digest)
            })
        })),
        ..Behaviour::default()
    });
    let child = artifact(&fake);
    let text = index_of(OCI_INDEX, &child);
    fake.put_manifest("repo", Some("v2"), OCI_INDEX, text.as_bytes());
    let root = describe(OCI_INDEX, text.as_bytes());
    for access in [Access::Read, Access::Write] {
        check(
            &open(&fake, access),
            &root,
            &child,
            "other bytes",
            "has the digest",
        )
        .await;
    }
}

#[tokio::test]
async fn a_nested_index_that_is_wrong_keeps_nothing_else_back() {
    let fake = FakeRegistry::start(Behaviour::default());
    let image = artifact(&fake);
    let absent = describe(OCI_INDEX, b"absent");
    let list = |d: &Descriptor| {
        format!(
            r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
            d.media_type, d.digest, d.size
        )
    };
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{},{}]}}"#,
        list(&absent),
        list(&image)
    );
    fake.put_manifest("repo", None, OCI_INDEX, text.as_bytes());
    let root = describe(OCI_INDEX, text.as_bytes());
    let registry = open(&fake, Access::Write);
    let mut results = Vec::new();
    for walked in walk(&registry, &root).await.unwrap() {
        results.push(walked.read(&registry).await);
    }
    let [Ok(first), Err(OciError::Child { child, .. }), Ok(last)] = &results[..] else {
        panic!("{results:?}");
    };
    assert_eq!((first, child, last), (&root, &absent.digest, &image));
}

#[tokio::test]
async fn a_child_is_verified_in_three_requests_in_a_row() {
    // OCI-17: the child and the list of its signatures at once, then signature and envelope.
    let fake = FakeRegistry::start(Behaviour {
        rounds: Some(Duration::from_millis(600)),
        ..Behaviour::default()
    });
    let child = artifact(&fake);
    let text = index_of(OCI_INDEX, &child);
    fake.put_manifest("repo", None, OCI_INDEX, text.as_bytes());
    push(&open(&fake, Access::Write), &child, "one")
        .await
        .unwrap();
    let registry = open(&fake, Access::Read);
    let mut walked = walk(&registry, &describe(OCI_INDEX, text.as_bytes()))
        .await
        .unwrap();
    fake.clear_log();
    let read = walked.pop().unwrap().read(&registry).await.unwrap();
    let listing = registry.list_signatures(&read, 9).await.unwrap();
    registry
        .fetch_signature(&listing.signatures[0])
        .await
        .unwrap();
    assert_eq!(read, child);
    assert_eq!(fake.rounds(), 3, "{:?}", fake.requests());
}
