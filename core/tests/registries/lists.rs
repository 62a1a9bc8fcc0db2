//! That what was just stored is found: lists under other names, lists that are empty, and how
//! often a registry is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hardsign_core::artifact::Descriptor;
use hardsign_core::artifact::reference::RepositoryName;
use hardsign_core::oci::manifest::{OCI_INDEX, OCI_MANIFEST, describe};
use hardsign_core::oci::registry::{Access, Connector};
use hardsign_core::oci::{Repository as _, SignatureSource as _, Warning};
use hardsign_test_support::registry::{Behaviour, FakeRegistry, Request, Response};

use crate::support::*;

fn asked_api(fake: &FakeRegistry) -> usize {
    let requests = fake.requests();
    requests
        .iter()
        .filter(|r| r.contains("/referrers/"))
        .count()
}

fn tags_written(fake: &FakeRegistry) -> usize {
    let requests = fake.requests();
    let written = |r: &&String| r.starts_with("PUT /v2/repo/manifests/sha256-");
    requests.iter().filter(written).count()
}

fn api(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> FakeRegistry {
    FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(move |request| {
            request
                .path
                .contains("/referrers/")
                .then(|| answer(request))
        })),
        ..Behaviour::default()
    })
}

/// Several artifacts.
fn artifacts(fake: &FakeRegistry) -> Vec<Descriptor> {
    fake.put_blob("repo", b"{}");
    let several = (0..12).map(|n| {
        let text = String::from_utf8_lossy(ARTIFACT).replace(
            r#""layers":[]"#,
            &format!(r#""layers":[],"annotations":{{"n":"{n}"}}"#),
        );
        fake.put_manifest("repo", None, OCI_MANIFEST, text.as_bytes());
        describe(OCI_MANIFEST, text.as_bytes())
    });
    several.collect()
}

/// The list that a registry gives, for a registry that is asked behind a proxy.
fn list_of(signature: &Descriptor) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{}","digest":"{}","size":{},"artifactType":"application/vnd.cncf.notary.signature"}}]}}"#,
        signature.media_type, signature.digest, signature.size
    )
}

#[tokio::test]
async fn a_list_is_one_under_the_name_of_plain_json_too() {
    // OCI-31
    let signature = describe(OCI_MANIFEST, b"signature");
    let whole = list_of(&signature);
    let unnamed = whole.replace(&format!(r#""mediaType":"{OCI_INDEX}","#), "");
    for (kind, body, found) in [
        ("application/json", whole.clone(), true),
        ("application/json; charset=utf-8", whole.clone(), true),
        ("Application/JSON", unnamed.clone(), true),
        ("text/plain; charset=utf-8", whole.clone(), true),
        ("application/octet-stream", whole.clone(), true),
        (&format!("{OCI_INDEX}; charset=utf-8"), whole.clone(), true),
        ("text/html", whole.clone(), false),
        (
            "application/json",
            r#"{"errors":[{"code":"UNSUPPORTED"}]}"#.to_owned(),
            false,
        ),
        (
            "application/json",
            r#"{"manifests":[],"errors":[]}"#.to_owned(),
            false,
        ),
        ("application/json", "{}".to_owned(), false),
        ("application/json", "[]".to_owned(), false),
        (
            "application/json",
            whole.replace(OCI_INDEX, OCI_MANIFEST),
            false,
        ),
        ("application/json", r#"{"manifests":7}"#.to_owned(), false),
    ] {
        let kind = kind.to_owned();
        let (body, shown) = (body.clone(), format!("{kind}: {body}"));
        let fake = api(move |_| {
            Response::bytes(200, body.clone().into_bytes()).header("content-type", &kind)
        });
        let subject = artifact(&fake);
        let listing = open(&fake, Access::Read)
            .list_signatures(&subject, 9)
            .await
            .unwrap();
        assert_eq!(listing.signatures.len(), usize::from(found), "{shown}");
    }
}

#[tokio::test]
async fn the_tag_is_read_where_the_api_lists_nothing() {
    // OCI-29: signed by one who writes the tag alone, as notation 1 does by default.
    let fake = api(|_| {
        Response::bytes(
            200,
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":null}}"#)
                .into_bytes(),
        )
        .header("content-type", OCI_INDEX)
    });
    let subject = artifact(&fake);
    let mut forced = options();
    forced.force_referrers_tag = true;
    let pushed = push(&open_with(&fake, Access::Write, forced), &subject, "one")
        .await
        .unwrap();
    let reader = open(&fake, Access::Read);
    reader.resolve(&by_digest(&subject)).await.unwrap();
    let listing = reader.list_signatures(&subject, 9).await.unwrap();
    assert_eq!(listing.signatures.len(), 1);
    assert_eq!(listing.signatures[0].digest, pushed.manifest.digest);
    let any = reader.list_referrers(&subject, None, 9).await.unwrap();
    assert_eq!(any.entries.len(), 1);
    // Where the API lists something, the tag is not asked for.
    let fake = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&fake);
    push(&open(&fake, Access::Write), &subject, "one")
        .await
        .unwrap();
    fake.clear_log();
    open(&fake, Access::Read)
        .list_signatures(&subject, 9)
        .await
        .unwrap();
    assert!(
        fake.requests()
            .iter()
            .all(|r| !r.contains("/manifests/sha256-"))
    );
}

#[tokio::test]
async fn a_registry_that_refuses_such_tags_beside_its_api_has_none() {
    for (status, fails) in [
        (400, false),
        (404, false),
        (405, false),
        (403, true),
        (500, true),
    ] {
        let fake = FakeRegistry::start(Behaviour {
            intercept: Some(Box::new(move |request| {
                let tag = request.path.contains("/manifests/sha256-");
                tag.then(|| Response::status(status))
            })),
            ..Behaviour::default()
        });
        let subject = artifact(&fake);
        let listing = open(&fake, Access::Read).list_signatures(&subject, 9).await;
        assert_eq!(listing.is_err(), fails, "{status}");
        if !fails {
            let writer = open(&fake, Access::Write);
            let pushed = push(&writer, &subject, "one").await.unwrap();
            let signature = &pushed.manifest.digest;
            let deleted = writer.delete_signature(&subject, signature).await;
            assert!(deleted.unwrap().is_empty(), "{status}");
        }
    }
}

#[tokio::test]
async fn what_was_promised_and_is_not_listed_is_listed_by_tag() {
    // OCI-23: `OCI-Subject` was sent, and the list stays empty. It is looked once in a run.
    let fake = api(|_| {
        Response::bytes(200, br#"{"manifests":[]}"#.to_vec()).header("content-type", OCI_INDEX)
    });
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    for envelope in ["one", "two", "three"] {
        push(&registry, &subject, envelope).await.unwrap();
    }
    // Before the first is stored, and twice after it.
    assert_eq!(asked_api(&fake), 3);
    assert_eq!(tags_written(&fake), 3);
    let listing = open(&fake, Access::Read)
        .list_signatures(&subject, 9)
        .await
        .unwrap();
    assert_eq!(listing.signatures.len(), 3);
}

#[tokio::test]
async fn a_registry_that_lists_late_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let fake = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(move |request| {
            let early =
                request.path.contains("/referrers/") && asked.fetch_add(1, Ordering::Relaxed) < 2;
            early.then(|| {
                Response::bytes(200, br#"{"manifests":[]}"#.to_vec())
                    .header("content-type", OCI_INDEX)
            })
        })),
        ..Behaviour::default()
    });
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    for envelope in ["one", "two"] {
        let pushed = push(&registry, &subject, envelope).await.unwrap();
        assert!(pushed.warnings.is_empty());
    }
    assert_eq!((asked_api(&fake), tags_written(&fake)), (3, 0));
}

#[tokio::test]
async fn a_signature_on_a_later_page_is_found() {
    let fake = FakeRegistry::start(Behaviour {
        page_size: 1,
        ..Behaviour::default()
    });
    let subject = artifact(&fake);
    for envelope in ["one", "two", "three"] {
        // Each time as another run, which looks for itself.
        let pushed = push(&open(&fake, Access::Write), &subject, envelope)
            .await
            .unwrap();
        assert!(pushed.warnings.is_empty());
    }
    assert_eq!(tags_written(&fake), 0);
}

#[tokio::test]
async fn a_list_that_fails_after_the_push_is_a_warning() {
    for status in [403, 500] {
        let fake = api(move |_| Response::status(status));
        let subject = artifact(&fake);
        let registry = open(&fake, Access::Write);
        let one = push(&registry, &subject, "one").await.unwrap();
        let [Warning::ListUnread { digest, reason }] = &one.warnings[..] else {
            panic!("{:?}", one.warnings);
        };
        assert_eq!(*digest, one.manifest.digest);
        assert!(reason.contains(&status.to_string()), "{reason}");
        // Once is enough.
        let two = push(&registry, &subject, "two").await.unwrap();
        assert!(two.warnings.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_asked_once_whether_it_has_the_api() {
    // OCI-29: in a batch whose artifacts are all under way at once, and of repositories apart.
    let fake = FakeRegistry::start(Behaviour {
        referrers_api: false,
        ..Behaviour::default()
    });
    let subjects = artifacts(&fake);
    let name = RepositoryName::new(&fake.name(), "repo").unwrap();
    for access in [Access::Read, Access::Write] {
        fake.clear_log();
        let connector = Arc::new(Connector::new(options()).unwrap());
        let mut tasks = Vec::new();
        for subject in subjects.clone() {
            let (connector, name) = (Arc::clone(&connector), name.clone());
            tasks.push(tokio::spawn(async move {
                let registry = connector.repository(name, access).unwrap();
                registry.resolve(&by_digest(&subject)).await.unwrap();
                match access {
                    Access::Read => {
                        let listing = registry.list_signatures(&subject, 9).await.unwrap();
                        assert!(listing.signatures.is_empty());
                    }
                    Access::Write => {
                        push(&registry, &subject, "one").await.unwrap();
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(asked_api(&fake), 1, "{access:?}");
        // Another repository on the same registry may be older or newer.
        let other = RepositoryName::new(&fake.name(), "other").unwrap();
        fake.put_manifest("other", Some("v1"), OCI_MANIFEST, ARTIFACT);
        let other = connector.repository(other, access).unwrap();
        let subject = describe(OCI_MANIFEST, ARTIFACT);
        other.list_signatures(&subject, 9).await.unwrap();
        assert_eq!(asked_api(&fake), 2, "{access:?}");
    }
}

#[tokio::test]
async fn without_the_api_verifying_takes_no_more_in_a_row_once_that_is_known() {
    // OCI-29: the first artifact costs the question; for later ones the tag is read at once.
    let fake = FakeRegistry::start(Behaviour {
        referrers_api: false,
        rounds: Some(Duration::from_millis(600)),
        ..Behaviour::default()
    });
    let subjects = artifacts(&fake);
    let writer = open(&fake, Access::Write);
    for subject in &subjects[..2] {
        push(&writer, subject, "one").await.unwrap();
    }
    let registry = open(&fake, Access::Read);
    for (subject, rounds) in subjects.iter().zip([4, 3]) {
        fake.clear_log();
        let resolved = registry.resolve(&by_digest(subject)).await.unwrap();
        let listing = registry.list_signatures(&resolved, 9).await.unwrap();
        registry
            .fetch_signature(&listing.signatures[0])
            .await
            .unwrap();
        assert_eq!(fake.rounds(), rounds, "{:?}", fake.requests());
    }
}
