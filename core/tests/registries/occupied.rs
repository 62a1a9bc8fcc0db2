//! Referrers tags that lead to something else than a list, and what may be deleted.

use hardsign_test_support::Told;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hardsign_core::artifact::Descriptor;
use hardsign_core::oci::copy::{Copied, CopyOptions, copy};
use hardsign_core::oci::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, EMPTY_MEDIA_TYPE, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST,
    SIGNATURE_ARTIFACT_TYPE, describe,
};
use hardsign_core::oci::registry::{Access, Registry, RegistryError};
use hardsign_core::oci::{OciError, Repository as _, SignatureSource as _, Warning};
use hardsign_test_support::registry::{Behaviour, DigestTags, FakeRegistry, Response};

use crate::support::*;

fn entry(descriptor: &Descriptor, more: &str) -> String {
    format!(
        r#"{{"mediaType":"{}","digest":"{}","size":{}{more}}}"#,
        descriptor.media_type, descriptor.digest, descriptor.size
    )
}

fn index(members: &str) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}",{members}}}"#)
}

/// The manifest of a signature of `subject`.
fn signature(subject: &Descriptor, annotation: &str) -> String {
    let empty = describe(EMPTY_MEDIA_TYPE, b"{}");
    let layer = describe("application/jose+json", b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","artifactType":"{SIGNATURE_ARTIFACT_TYPE}","config":{},"layers":[{}],"subject":{},"annotations":{{"a":"{annotation}"}}}}"#,
        entry(&empty, ""),
        entry(&layer, ""),
        entry(subject, "")
    )
}

fn typed() -> String {
    format!(r#","artifactType":"{SIGNATURE_ARTIFACT_TYPE}""#)
}

/// The tag under which the referrers of `subject` are listed.
fn tag_of(subject: &Descriptor) -> String {
    format!("sha256-{}", subject.digest.hex())
}

fn deletions(fake: &FakeRegistry) -> Vec<String> {
    let requests = fake.requests().into_iter();
    requests.filter(|r| r.starts_with("DELETE")).collect()
}

fn stored_signatures(fake: &FakeRegistry) -> usize {
    let requests = fake.requests();
    let stored = |r: &&String| r.starts_with("PUT /v2/repo/manifests/sha256:");
    requests.iter().filter(stored).count()
}

/// The artifacts that are signed: an image, an index, and an index of Docker's type.
fn subjects(fake: &FakeRegistry) -> Vec<Descriptor> {
    let image = artifact(fake);
    let platform = r#","platform":{"architecture":"amd64","os":"linux"}"#;
    let members = format!(r#""manifests":[{}]"#, entry(&image, platform));
    let docker = format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}",{members}}}"#);
    let mut subjects = vec![image];
    for (kind, text) in [(OCI_INDEX, index(&members)), (DOCKER_LIST, docker)] {
        fake.put_manifest("repo", None, kind, text.as_bytes());
        subjects.push(describe(kind, text.as_bytes()));
    }
    subjects
}

#[tokio::test]
async fn a_tag_that_is_read_as_the_digest_is_no_list_yet() {
    // OCI-24, OCI-29: nothing signed, nothing listed; signed, everything is still there.
    let fake = FakeRegistry::start(Behaviour {
        referrers_api: false,
        digest_tags: DigestTags::DigestsUntilWritten,
        ..Behaviour::default()
    });
    for subject in subjects(&fake) {
        let reader = open(&fake, Access::Read);
        let listing = reader.list_signatures(&subject, 9).await.unwrap();
        assert!(listing.signatures.is_empty() && listing.warnings.is_empty());
        let writer = open(&fake, Access::Write);
        for envelope in ["one", "two"] {
            let pushed = push(&writer, &subject, envelope).await.unwrap();
            assert!(pushed.warnings.is_empty(), "{:?}", pushed.warnings);
        }
        let listing = open(&fake, Access::Read)
            .list_signatures(&subject, 9)
            .await
            .unwrap();
        assert_eq!(listing.signatures.len(), 2);
        let kept = fake.manifest("repo", &subject.digest.to_string());
        assert!(kept.is_some(), "{} was deleted", subject.media_type);
        let one = &listing.signatures[0].digest;
        writer.delete_signature(&subject, one).await.unwrap();
        assert!(fake.manifest("repo", &subject.digest.to_string()).is_some());
    }
}

#[tokio::test]
async fn a_tag_that_stays_the_digest_is_refused_before_anything_is_stored() {
    let fake = FakeRegistry::start(Behaviour {
        referrers_api: false,
        digest_tags: DigestTags::Digests,
        ..Behaviour::default()
    });
    for subject in subjects(&fake) {
        let writer = open(&fake, Access::Write);
        let error = push(&writer, &subject, "one").await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("answers with what was there before"),
            "{error}"
        );
        assert!(fake.manifest("repo", &subject.digest.to_string()).is_some());
    }
    assert_eq!(stored_signatures(&fake), 0);
    assert!(deletions(&fake).is_empty());
}

/// What a tag leads to in place of a list of `subject`'s referrers, with the media type that it is
/// sent with; the store holds it, and what it lists where that is said to be there.
fn others(fake: &FakeRegistry, subject: &Descriptor) -> Vec<(&'static str, String, String)> {
    let image = String::from_utf8_lossy(ARTIFACT);
    let image = image.replace(r#""layers":[]"#, r#""layers":[],"annotations":{"n":"1"}"#);
    fake.put_blob("repo", b"{}");
    fake.put_manifest("repo", None, OCI_MANIFEST, image.as_bytes());
    let image_descriptor = describe(OCI_MANIFEST, image.as_bytes());
    let platform = r#","platform":{"architecture":"amd64","os":"linux"}"#;
    let elsewhere = signature(&image_descriptor, "of the other image");
    fake.put_manifest("repo", None, OCI_MANIFEST, elsewhere.as_bytes());
    let elsewhere = describe(OCI_MANIFEST, elsewhere.as_bytes());
    let absent = describe(OCI_MANIFEST, b"absent");
    let docker = image.replace(OCI_MANIFEST, DOCKER_MANIFEST);
    let list = |entries: &[String]| index(&format!(r#""manifests":[{}]"#, entries.join(",")));
    let multi = list(&[entry(&image_descriptor, platform)]);
    let all = vec![
        ("an image", OCI_MANIFEST.to_owned(), image),
        (
            "an image of Docker's type",
            DOCKER_MANIFEST.to_owned(),
            docker,
        ),
        (
            "an artifact manifest",
            OCI_ARTIFACT.to_owned(),
            format!(r#"{{"mediaType":"{OCI_ARTIFACT}","blobs":[]}}"#),
        ),
        (
            "an index for platforms",
            OCI_INDEX.to_owned(),
            multi.clone(),
        ),
        (
            "the same as plain JSON",
            "application/json".to_owned(),
            list(&[entry(&image_descriptor, platform), entry(&absent, platform)]),
        ),
        (
            "an index of Docker's type",
            DOCKER_LIST.to_owned(),
            multi.replace(OCI_INDEX, DOCKER_LIST),
        ),
        (
            "an index of what is absent",
            OCI_INDEX.to_owned(),
            list(&[entry(&absent, platform)]),
        ),
        (
            "an index without platforms",
            OCI_INDEX.to_owned(),
            list(&[entry(&image_descriptor, "")]),
        ),
        (
            "an index of its own subject",
            OCI_INDEX.to_owned(),
            list(&[entry(subject, platform)]),
        ),
        (
            "the list of another artifact",
            OCI_INDEX.to_owned(),
            list(&[entry(&elsewhere, &typed())]),
        ),
        (
            "an index with a subject",
            OCI_INDEX.to_owned(),
            index(&format!(
                r#""manifests":[],"subject":{}"#,
                entry(subject, "")
            )),
        ),
    ];
    for (_, kind, text) in &all {
        fake.put_manifest("repo", None, kind, text.as_bytes());
    }
    all
}

async fn copy_all(
    source: &FakeRegistry,
    destination: &Registry,
    subject: &Descriptor,
) -> Result<Copied, OciError> {
    let source = open(source, Access::Read);
    let target = by_digest(subject);
    copy(&source, &target, destination, None, &CopyOptions::default()).await
}

#[tokio::test]
async fn whatever_every_tag_leads_to_is_neither_overwritten_nor_deleted() {
    // OCI-24, OCI-25, SEC-02: with and without the API and where the tag is forced; signing,
    // deleting and copying.
    let source = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&source);
    push(&open(&source, Access::Write), &subject, "source")
        .await
        .unwrap();
    let count = others(&FakeRegistry::start(Behaviour::default()), &subject).len();
    for (api, force) in [(false, false), (false, true), (true, true), (true, false)] {
        for n in 0..count {
            let answer = Arc::new(std::sync::Mutex::new(None::<(String, String)>));
            let given = Arc::clone(&answer);
            let fake = FakeRegistry::start(Behaviour {
                referrers_api: api,
                intercept: Some(Box::new(move |request| {
                    let (_, reference) = request.path.rsplit_once("/manifests/")?;
                    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
                    let (kind, text) = given.lock().unwrap().clone()?;
                    (reads && !reference.contains(':')).then(|| {
                        Response::bytes(200, text.into_bytes()).header("content-type", &kind)
                    })
                })),
                ..Behaviour::default()
            });
            let subject = artifact(&fake);
            let all = others(&fake, &subject);
            let before = fake.manifest_count("repo");
            let (name, kind, text) = all[n].clone();
            // A signature from before, so that there is one to delete.
            let old = signature(&subject, "old");
            fake.put_manifest("repo", None, OCI_MANIFEST, old.as_bytes());
            let old = describe(OCI_MANIFEST, old.as_bytes());
            *answer.lock().unwrap() = Some((kind, text));
            let options = || {
                let mut options = options();
                options.force_referrers_tag = force;
                options
            };
            let writer = open_with(&fake, Access::Write, options());
            let pushed = push(&writer, &subject, "one").await;
            let used = !api || force;
            let place = format!("{name}, API {api}, forced {force}");
            assert_eq!(pushed.is_err(), used, "{place}: {pushed:?}");
            if let Err(error) = pushed {
                let text = error.told();
                assert!(
                    text.contains("leads to") && text.contains(&tag_of(&subject)),
                    "{text}"
                );
                assert_eq!(stored_signatures(&fake), 0, "{place}");
            }
            // Reading finds nothing there; a list of signatures of something else gives candidates
            // that verification refuses.
            let listing = open_with(&fake, Access::Read, options())
                .list_signatures(&subject, 9)
                .await
                .unwrap();
            let candidates = api || name == "the list of another artifact";
            assert_eq!(listing.signatures.is_empty(), !candidates, "{place}");
            let writer = open_with(&fake, Access::Write, options());
            let copied = copy_all(&source, &writer, &subject).await;
            assert_eq!(copied.is_err(), used, "{place}");
            assert!(
                deletions(&fake).is_empty(),
                "{place}: {:?}",
                deletions(&fake)
            );
            // Only the signature itself is ever deleted.
            writer
                .delete_signature(&subject, &old.digest)
                .await
                .unwrap();
            assert_eq!(
                deletions(&fake),
                [format!("DELETE /v2/repo/manifests/{}", old.digest)],
                "{place}"
            );
            let tags_written = fake
                .requests()
                .into_iter()
                .filter(|r| r.contains("PUT /v2/repo/manifests/sha256-"));
            assert_eq!(tags_written.count(), 0, "{place}");
            for (other, _, text) in others(&fake, &subject) {
                let digest = describe(OCI_INDEX, text.as_bytes()).digest.to_string();
                assert!(fake.manifest("repo", &digest).is_some(), "{place}: {other}");
            }
            assert!(fake.manifest_count("repo") >= before, "{place}");
        }
    }
}

#[tokio::test]
async fn a_list_that_is_not_proven_is_left_and_told_of() {
    // OCI-25: dangling entries, entries that name another subject, and no entries at all.
    for case in ["dangling", "mixed", "empty", "unreadable"] {
        let fake = FakeRegistry::start(Behaviour {
            referrers_api: false,
            ..Behaviour::default()
        });
        let subject = artifact(&fake);
        let other = describe(OCI_MANIFEST, b"another");
        fake.put_blob("repo", b"{}");
        let put = |text: &str| {
            fake.put_manifest("repo", None, OCI_MANIFEST, text.as_bytes());
            entry(&describe(OCI_MANIFEST, text.as_bytes()), &typed())
        };
        let own = put(&signature(&subject, "own"));
        let entries = match case {
            "dangling" => vec![own, entry(&other, &typed())],
            "mixed" => vec![own, put(&signature(&other, "other"))],
            "unreadable" => vec![own, r#"{"mediaType":"x"}"#.to_owned()],
            _ => Vec::new(),
        };
        // What stands there may be what somebody signed: its digest is that of a list at most.
        fake.put_manifest("repo", None, OCI_MANIFEST, b"another");
        let list = index(&format!(r#""manifests":[{}]"#, entries.join(",")));
        fake.put_manifest("repo", Some(&tag_of(&subject)), OCI_INDEX, list.as_bytes());
        let list = describe(OCI_INDEX, list.as_bytes()).digest;
        let pushed = push(&open(&fake, Access::Write), &subject, "new")
            .await
            .unwrap();
        assert!(
            matches!(&pushed.warnings[..], [Warning::KeptIndex { digest, .. }] if *digest == list),
            "{case}: {:?}",
            pushed.warnings
        );
        assert!(deletions(&fake).is_empty(), "{case}");
        let listing = open(&fake, Access::Read)
            .list_signatures(&subject, 9)
            .await
            .unwrap();
        assert!(
            listing.signatures.contains(&pushed.manifest)
                || listing
                    .signatures
                    .iter()
                    .any(|s| s.digest == pushed.manifest.digest)
        );
    }
}

#[tokio::test]
async fn a_registry_that_does_not_follow_the_tag_is_no_crowd() {
    // A cache in front of the registry goes on answering with the old list. The signature is
    // stored then, and the error says so.
    let stale = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&stale);
    let fake = FakeRegistry::start(Behaviour {
        referrers_api: false,
        intercept: Some(Box::new(move |request| {
            let old = request.method == "GET" && request.path.contains("/manifests/sha256-");
            (old && now.load(Ordering::Relaxed)).then(|| Response::status(404))
        })),
        ..Behaviour::default()
    });
    let subject = artifact(&fake);
    stale.store(true, Ordering::Relaxed);
    let error = push(&open(&fake, Access::Write), &subject, "one")
        .await
        .unwrap_err();
    let OciError::NotListed { digest, source, .. } = &error else {
        panic!("{error}");
    };
    assert!(fake.manifest("repo", &digest.to_string()).is_some());
    assert!(
        matches!(source.as_ref(), OciError::Registry(e) if matches!(**e, RegistryError::TagUnchanged { .. })),
        "{source}"
    );
    assert!(fake.log().len() < 30, "{}", fake.log().len());
    assert!(deletions(&fake).is_empty());
}

#[tokio::test]
async fn a_signature_of_another_artifact_is_not_deleted() {
    // The list is the registry's word; whose signature it is, the manifest says.
    for referrers_api in [true, false] {
        let fake = FakeRegistry::start(Behaviour {
            referrers_api,
            ..Behaviour::default()
        });
        let [image, index, _] = &subjects(&fake)[..] else {
            panic!("three artifacts");
        };
        let writer = open(&fake, Access::Write);
        let pushed = push(&writer, image, "one").await.unwrap();
        let error = writer
            .delete_signature(index, &pushed.manifest.digest)
            .await
            .unwrap_err();
        assert!(matches!(error, OciError::NotAReferrer { .. }), "{error}");
        let error = writer
            .delete_signature(image, &index.digest)
            .await
            .unwrap_err();
        assert!(matches!(error, OciError::NotASignature { .. }), "{error}");
        assert!(deletions(&fake).is_empty());
        writer
            .delete_signature(image, &pushed.manifest.digest)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_tag_that_can_t_be_changed_leaves_a_signature_that_is_told_of() {
    // OCI-24: immutable tags, and registries that refuse the list in other words.
    for (status, code) in [
        (400, "TAG_INVALID"),
        (405, "UNSUPPORTED"),
        (403, "DENIED"),
        (500, "UNKNOWN"),
    ] {
        let fake = FakeRegistry::start(Behaviour {
            referrers_api: false,
            intercept: Some(Box::new(move |request| {
                let list = request.method == "PUT" && request.path.contains("/manifests/sha256-");
                let body = format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#);
                list.then(|| Response::json(status, &body))
            })),
            ..Behaviour::default()
        });
        let subject = artifact(&fake);
        let error = push(&open(&fake, Access::Write), &subject, "one")
            .await
            .unwrap_err();
        let OciError::NotListed { digest, .. } = &error else {
            panic!("{error}");
        };
        assert!(fake.manifest("repo", &digest.to_string()).is_some());
        let text = text(&error);
        assert!(text.contains(&digest.to_string()) && text.contains(&subject.digest.to_string()));
        assert!(
            text.contains(&code.to_lowercase().replace('_', " ")),
            "{text}"
        );
    }
}
