//! What a registry of the specification is asked, and in how many requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hardsign_core::oci::manifest::{Manifest, OCI_MANIFEST};
use hardsign_core::oci::registry::Access;
use hardsign_core::oci::{OciError, Repository as _, SignatureSource as _, SignatureStore as _};
use hardsign_test_support::Told;
use hardsign_test_support::registry::{Behaviour, FakeRegistry, Response};

use crate::support::*;

fn counting() -> FakeRegistry {
    FakeRegistry::start(Behaviour {
        rounds: Some(Duration::from_millis(600)),
        ..Behaviour::default()
    })
}

#[tokio::test]
async fn verifying_by_digest_takes_three_requests_in_a_row() {
    // OCI-17, OCI-29, OCI-30
    let fake = counting();
    let subject = artifact(&fake);
    push(&open(&fake, Access::Write), &subject, "one")
        .await
        .unwrap();
    fake.clear_log();
    let registry = open(&fake, Access::Read);
    let resolved = registry.resolve(&by_digest(&subject)).await.unwrap();
    let listing = registry.list_signatures(&resolved, 100).await.unwrap();
    let fetched = registry
        .fetch_signature(&listing.signatures[0])
        .await
        .unwrap();
    assert_eq!(fetched.envelope, b"one");
    assert_eq!(resolved, subject);
    assert_eq!(fake.requests().len(), 4, "{:?}", fake.requests());
    assert_eq!(fake.rounds(), 3);
}

#[tokio::test]
async fn signing_takes_six_requests_in_a_row_and_then_four() {
    // OCI-21 to OCI-23: the manifest last; the configuration is not sent again. The first time it is
    // looked whether the registry lists what it took, which is one more.
    let fake = FakeRegistry::start(Behaviour {
        rounds: Some(Duration::from_millis(600)),
        ..Behaviour::default()
    });
    let subject = {
        fake.put_manifest("repo", Some("v1"), OCI_MANIFEST, ARTIFACT);
        hardsign_core::oci::manifest::describe(OCI_MANIFEST, ARTIFACT)
    };
    let registry = open(&fake, Access::Write);
    for (envelope, rounds) in [("one", 6), ("two", 4)] {
        fake.clear_log();
        registry.resolve(&by_digest(&subject)).await.unwrap();
        push(&registry, &subject, envelope).await.unwrap();
        assert_eq!(fake.rounds(), rounds, "{:?}", fake.requests());
        let requests = fake.requests();
        let mut writes = requests.iter().filter(|r| !r.starts_with("GET"));
        let last = writes.next_back().unwrap();
        assert!(last.starts_with("PUT /v2/repo/manifests/sha256:"), "{last}");
        let asked = requests.iter().filter(|r| r.contains("/referrers/"));
        assert_eq!(asked.count(), if rounds == 6 { 2 } else { 0 });
    }
    assert_eq!(fake.log().len(), 4);
}

/// What storing needs to know is asked while the signature is made, so that its requests in a row are fewer; none is sent
/// twice, whether the configuration of signatures is there or not.
#[tokio::test]
async fn what_storing_needs_to_know_is_asked_ahead() {
    for there in [true, false] {
        let fake = FakeRegistry::start(Behaviour::default());
        fake.put_manifest("repo", Some("v1"), OCI_MANIFEST, ARTIFACT);
        let subject = hardsign_core::oci::manifest::describe(OCI_MANIFEST, ARTIFACT);
        if there {
            fake.put_blob("repo", b"{}");
        }
        let registry = open(&fake, Access::Write);
        registry.prepare(&subject);
        let ahead = || {
            let asked = |r: &String| r.starts_with("HEAD") || r.contains("/referrers/");
            fake.requests().iter().filter(|r| asked(r)).count()
        };
        while ahead() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Whoever stores waits for the answers.
        push(&registry, &subject, "one").await.unwrap();
        // The list once more, to see what was stored.
        assert_eq!(ahead(), 3, "{:?}", fake.requests());
        // Two for each upload, and the manifest.
        let writes = if there { 3 } else { 5 };
        assert_eq!(fake.requests().len(), 3 + writes, "{:?}", fake.requests());
    }
}

/// What is asked ahead and refused fails nothing by itself: storing asks again, and tells.
#[tokio::test]
async fn what_fails_ahead_is_told_when_it_is_stored() {
    let refusing = Arc::new(AtomicBool::new(true));
    let refuses = Arc::clone(&refusing);
    let fake = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(move |request| {
            let refused = request.method == "HEAD" && refuses.load(Ordering::SeqCst);
            refused.then(|| Response::status(403))
        })),
        ..Behaviour::default()
    });
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    registry.prepare(&subject);
    let told = push(&registry, &subject, "one").await.unwrap_err().told();
    assert!(told.contains("403"), "{told}");
    refusing.store(false, Ordering::SeqCst);
    push(&registry, &subject, "one").await.unwrap();
}

/// The configuration that all signatures share is looked for and sent once, however many are stored at once; where it
/// can't be had, each tells of it, and none waits for the others.
#[tokio::test]
async fn the_configuration_is_stored_once_for_many_at_once() {
    for refused in [false, true] {
        let fake = FakeRegistry::start(Behaviour {
            intercept: Some(Box::new(move |request| {
                (refused && request.method == "HEAD").then(|| Response::status(403))
            })),
            ..Behaviour::default()
        });
        // Without the configuration.
        fake.put_manifest("repo", Some("v1"), OCI_MANIFEST, ARTIFACT);
        let subject = hardsign_core::oci::manifest::describe(OCI_MANIFEST, ARTIFACT);
        let registry = open(&fake, Access::Write);
        let many = (0..20).map(|n| {
            let (registry, subject) = (registry.clone(), subject.clone());
            async move { push(&registry, &subject, &n.to_string()).await.is_ok() }
        });
        let stored = futures_util::future::join_all(many).await;
        assert_eq!(stored, [!refused; 20]);
        let begun = |verb: &str| {
            let requests = fake.requests();
            requests.iter().filter(|r| r.starts_with(verb)).count()
        };
        // One envelope each, and one configuration.
        let uploads = if refused { 20 } else { 21 };
        assert_eq!(begun("HEAD"), if refused { 20 } else { 1 });
        assert_eq!(begun("POST"), uploads);
    }
}

#[tokio::test]
async fn every_request_says_who_asks() {
    // REG-09
    let fake = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&fake);
    push(&open(&fake, Access::Write), &subject, "one")
        .await
        .unwrap();
    for request in fake.log() {
        let agent = request.user_agent.unwrap();
        assert!(
            agent.starts_with("notation/") && agent.contains(" hardsign/"),
            "{agent}"
        );
    }
}

#[tokio::test]
async fn the_artifact_stays_as_it_is() {
    // REQ-03, REQ-04, REQ-05: nothing stored names the repository.
    let fake = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    let one = push(&registry, &subject, "one").await.unwrap();
    let two = push(&registry, &subject, "two").await.unwrap();
    assert_eq!(fake.manifest("repo", "v1").unwrap(), ARTIFACT);
    let stored = fake
        .manifest("repo", &one.manifest.digest.to_string())
        .unwrap();
    assert!(!String::from_utf8_lossy(&stored).contains("repo"));
    let manifest = Manifest::parse(OCI_MANIFEST, &stored).unwrap();
    assert!(manifest.subject.unwrap().descriptor.same_content(&subject));
    let listing = registry.list_signatures(&subject, 9).await.unwrap();
    let digests: Vec<_> = listing.signatures.iter().map(|s| &s.digest).collect();
    assert_eq!(digests, [&one.manifest.digest, &two.manifest.digest]);
}

#[tokio::test]
async fn pages_are_followed_and_cut_by_the_limit() {
    // OCI-31, OCI-32, SEC-15
    let fake = FakeRegistry::start(Behaviour {
        page_size: 2,
        ..Behaviour::default()
    });
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    for n in 0..5 {
        push(&registry, &subject, &n.to_string()).await.unwrap();
    }
    fake.clear_log();
    for (limit, found, truncated, pages) in [(9, 5, false, 3), (5, 5, false, 3), (3, 3, true, 2)] {
        fake.clear_log();
        let listing = registry.list_signatures(&subject, limit).await.unwrap();
        assert_eq!(
            (listing.signatures.len(), listing.truncated),
            (found, truncated)
        );
        assert_eq!(fake.log().len(), pages);
    }
}

#[tokio::test]
async fn other_artifacts_are_listed_by_their_type() {
    let fake = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&fake);
    push(&open(&fake, Access::Write), &subject, "one")
        .await
        .unwrap();
    let sbom = format!(
        r#"{{"schemaVersion":2,"artifactType":"application/sbom","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"layers":[],"subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":{}}}}}"#,
        subject.digest, subject.size
    );
    let digest = fake.put_manifest("repo", None, OCI_MANIFEST, sbom.as_bytes());
    let registry = open(&fake, Access::Read);
    let found = registry
        .list_referrers(&subject, Some("application/sbom"), 9)
        .await
        .unwrap();
    assert_eq!(found.entries.len(), 1);
    assert_eq!(found.entries[0].descriptor.digest.to_string(), digest);
    assert_eq!(
        registry
            .list_referrers(&subject, None, 9)
            .await
            .unwrap()
            .entries
            .len(),
        2
    );
}

#[tokio::test]
async fn resolving_without_helpful_headers() {
    // OCI-17: without `Docker-Content-Digest` the manifest is fetched and hashed.
    let fake = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(|request| match request.method.as_str() {
            "HEAD" => Some(Response::bytes(200, vec![0; 9]).header("content-type", OCI_MANIFEST)),
            "GET" if request.path.ends_with("/v1") => {
                Some(Response::bytes(200, ARTIFACT.to_vec()).header(
                    "content-type",
                    "application/vnd.oci.image.manifest.v1+json; charset=x",
                ))
            }
            _ => None,
        })),
        ..Behaviour::default()
    });
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Read);
    assert_eq!(registry.resolve(&by_tag("v1")).await.unwrap(), subject);
}

#[tokio::test]
async fn what_is_not_there() {
    let fake = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&fake);
    for access in [Access::Read, Access::Write] {
        let registry = open(&fake, access);
        let error = registry.resolve(&by_tag("v2")).await.unwrap_err();
        assert_eq!(error.told(), format!("{}/repo:v2: not found", fake.name()));
        let error = registry.resolve(&by_tag("../../x?y")).await.unwrap_err();
        assert!(matches!(error, OciError::NotFound { .. }));
    }
    assert!(fake.requests().iter().all(|r| !r.contains("..")));
    let registry = open(&fake, Access::Read);
    let listing = registry.list_signatures(&subject, 9).await.unwrap();
    assert!(listing.signatures.is_empty() && !listing.truncated);
}

#[tokio::test]
async fn deleting_a_signature_and_nothing_else() {
    let fake = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    let one = push(&registry, &subject, "one").await.unwrap();
    assert!(
        registry
            .delete_signature(&subject, &one.manifest.digest)
            .await
            .unwrap()
            .is_empty()
    );
    let listing = registry.list_signatures(&subject, 9).await.unwrap();
    assert!(listing.signatures.is_empty());
    assert!(matches!(
        registry.delete_signature(&subject, &subject.digest).await,
        Err(OciError::NotASignature { .. })
    ));
    registry.resolve(&by_tag("v1")).await.unwrap();
}
