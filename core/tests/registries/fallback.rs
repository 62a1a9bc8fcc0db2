//! Registries without the referrers API: the tag schema, written by many at once.

use hardsign_test_support::Told;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hardsign_core::oci::registry::Access;
use hardsign_core::oci::{Repository as _, SignatureSource as _, Warning};
use hardsign_test_support::registry::{Behaviour, FakeRegistry, Response};

use crate::support::*;

fn old() -> Behaviour {
    Behaviour {
        referrers_api: false,
        ..Behaviour::default()
    }
}

fn index(fake: &FakeRegistry, subject: &hardsign_core::artifact::Descriptor) -> serde_json::Value {
    let tag = format!("sha256-{}", subject.digest.hex());
    serde_json::from_slice(&fake.manifest("repo", &tag).unwrap()).unwrap()
}

#[tokio::test]
async fn signatures_are_listed_by_tag() {
    // OCI-23, OCI-24, OCI-29: merged, with artifact type and annotations, the old index deleted.
    let fake = FakeRegistry::start(old());
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    for n in 0..3 {
        let pushed = push(&registry, &subject, &n.to_string()).await.unwrap();
        assert!(pushed.warnings.is_empty());
    }
    let index = index(&fake, &subject);
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    for entry in index["manifests"].as_array().unwrap() {
        assert_eq!(
            entry["artifactType"],
            "application/vnd.cncf.notary.signature"
        );
    }
    // The artifact, three signatures, one index.
    assert_eq!(fake.manifest_count("repo"), 5);
    let registry = open(&fake, Access::Read);
    registry.resolve(&by_digest(&subject)).await.unwrap();
    let listing = registry.list_signatures(&subject, 9).await.unwrap();
    assert_eq!(listing.signatures.len(), 3);
    registry
        .fetch_signature(&listing.signatures[2])
        .await
        .unwrap();
    let few = registry.list_signatures(&subject, 2).await.unwrap();
    assert_eq!((few.signatures.len(), few.truncated), (2, true));
}

#[tokio::test]
async fn an_old_index_that_stays_is_only_a_warning() {
    // OCI-25, REQ-01: whoever signs needs the right to push and no other.
    let fake = FakeRegistry::start(Behaviour {
        delete: false,
        ..old()
    });
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    assert!(
        push(&registry, &subject, "one")
            .await
            .unwrap()
            .warnings
            .is_empty()
    );
    let pushed = push(&registry, &subject, "two").await.unwrap();
    assert_eq!(pushed.warnings, [Warning::OutdatedIndex]);
    assert_eq!(
        pushed.warnings[0].to_string(),
        "Removal of outdated referrers index from remote registry failed. Garbage collection may be required."
    );
}

#[tokio::test]
async fn the_tag_schema_can_be_forced() {
    // OCI-27
    let fake = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&fake);
    let mut options = options();
    options.force_referrers_tag = true;
    let registry = open_with(&fake, Access::Write, options);
    push(&registry, &subject, "one").await.unwrap();
    assert_eq!(
        index(&fake, &subject)["manifests"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(fake.requests().iter().all(|r| !r.contains("/referrers/")));
}

#[tokio::test]
async fn deleting_keeps_the_index_right() {
    let fake = FakeRegistry::start(old());
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    let one = push(&registry, &subject, "one").await.unwrap();
    let two = push(&registry, &subject, "two").await.unwrap();
    registry
        .delete_signature(&subject, &one.manifest.digest)
        .await
        .unwrap();
    let left = index(&fake, &subject);
    assert_eq!(left["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(
        left["manifests"][0]["digest"],
        two.manifest.digest.to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_writers_in_one_process_lose_nothing() {
    // OCI-28
    let fake = FakeRegistry::start(Behaviour {
        write_delay: Duration::from_millis(20),
        ..old()
    });
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    let mut tasks = Vec::new();
    for n in 0..20 {
        let (registry, subject) = (registry.clone(), subject.clone());
        tasks.push(tokio::spawn(async move {
            push(&registry, &subject, &n.to_string()).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let listing = registry.list_signatures(&subject, 100).await.unwrap();
    assert_eq!(listing.signatures.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_writers_that_know_nothing_of_each_other_lose_nothing() {
    // OCI-28: as twenty processes would be, against a registry that takes its time to write.
    let fake = FakeRegistry::start(Behaviour {
        write_delay: Duration::from_millis(30),
        ..old()
    });
    let subject = artifact(&fake);
    let mut tasks = Vec::new();
    for n in 0..20 {
        let mut options = options();
        options.settle = Duration::from_millis(600);
        let (registry, subject) = (open_with(&fake, Access::Write, options), subject.clone());
        tasks.push(tokio::spawn(async move {
            push(&registry, &subject, &n.to_string()).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let listing = open(&fake, Access::Read)
        .list_signatures(&subject, 100)
        .await
        .unwrap();
    assert_eq!(listing.signatures.len(), 20);
    let left = index(&fake, &subject);
    assert_eq!(left["manifests"].as_array().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_with_a_lock_meet_no_other() {
    // OCI-28: the first write of an index takes effect long after anybody waits for others. Each writer, with a
    // connector of its own, is as a process; one of them removes an entry.
    let slow = AtomicBool::new(true);
    let fake = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(move |request| {
            let is_index = request.method == "PUT" && request.path.contains("/manifests/sha256-");
            if is_index && slow.swap(false, Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1200));
            }
            None
        })),
        ..old()
    });
    let subject = artifact(&fake);
    let directory = tempfile::tempdir().unwrap();
    let locks = directory.path().join("a/b");
    let of = |locks: PathBuf| {
        let mut options = options();
        options.settle = Duration::from_millis(1);
        options.client.limits.total = Duration::from_secs(20);
        options.client.limits.idle = Duration::from_secs(20);
        options.locks = Some(locks);
        open_with(&fake, Access::Write, options)
    };
    let write = |name: &'static str| {
        let (registry, subject) = (of(locks.clone()), subject.clone());
        tokio::spawn(async move { push(&registry, &subject, name).await.unwrap() })
    };
    let first = write("slow");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let others = ["a", "b", "c", "d", "e", "f"].map(write);
    for task in others {
        task.await.unwrap();
    }
    let removed = first.await.unwrap().manifest.digest;
    let entries = || {
        index(&fake, &subject)["manifests"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(entries(), 7);

    // One is removed while others are added.
    let (registry, from) = (of(locks.clone()), subject.clone());
    let removal = tokio::spawn(async move {
        registry.delete_signature(&from, &removed).await.unwrap();
    });
    for task in ["g", "h", "i", "j"].map(write) {
        task.await.unwrap();
    }
    removal.await.unwrap();
    assert_eq!(entries(), 10);

    // One empty file stays; where there can be none, signatures are listed all the same.
    let kept: Vec<_> = fs::read_dir(&locks).unwrap().flatten().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].metadata().unwrap().len(), 0);
    let nowhere = of(kept[0].path());
    push(&nowhere, &subject, "without a lock").await.unwrap();
    assert_eq!(entries(), 11);
}

#[tokio::test]
async fn wrong_answers_of_the_api_are_told_apart() {
    // OCI-31
    for (status, kind, supported) in [
        (404, "text/plain", true),
        (405, "text/plain", true),
        (400, "text/plain", true),
        (200, "text/html", true),
        (403, "application/json", false),
    ] {
        let fake = FakeRegistry::start(Behaviour {
            intercept: Some(Box::new(move |request| {
                let api = request.path.contains("/referrers/");
                api.then(|| Response::status(status).header("content-type", kind))
            })),
            ..old()
        });
        let subject = artifact(&fake);
        let registry = open(&fake, Access::Write);
        push(&registry, &subject, "one").await.unwrap();
        let listing = registry.list_signatures(&subject, 9).await;
        assert_eq!(listing.is_ok(), supported, "{status}");
        if let Ok(listing) = listing {
            assert_eq!(listing.signatures.len(), 1, "{status}");
        }
    }
    let fake = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(|request| {
            let api = request.path.contains("/referrers/");
            api.then(|| Response::json(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#))
        })),
        ..old()
    });
    let subject = artifact(&fake);
    let error = open(&fake, Access::Read).list_signatures(&subject, 9).await;
    assert!(error.unwrap_err().told().ends_with("/repo: not found"));
}
