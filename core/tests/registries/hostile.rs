//! Registries that lie, flood, drip and redirect (SEC-02, SEC-14 to SEC-16).

use hardsign_test_support::Told;
use std::time::Duration;

use hardsign_core::artifact::Descriptor;
use hardsign_core::oci::manifest::{OCI_INDEX, OCI_MANIFEST, SIGNATURE_ARTIFACT_TYPE, describe};
use hardsign_core::oci::registry::Access;
use hardsign_core::oci::{OciError, Repository as _, SignatureSource as _};
use hardsign_test_support::registry::{Behaviour, Body, FakeRegistry, Request, Response};

use crate::support::*;

fn hostile(
    intercept: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
) -> FakeRegistry {
    FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(intercept)),
        ..Behaviour::default()
    })
}

/// A registry with one signature, which answers requests for its manifest or envelope so.
async fn with_signature(
    part: &'static str,
    answer: impl Fn() -> Response + Send + Sync + 'static,
) -> (FakeRegistry, Descriptor) {
    let fake = hostile(move |request| {
        let asked = request.method == "GET" && request.path.contains(part);
        asked.then(&answer)
    });
    let subject = artifact(&fake);
    let pushed = push(&open(&fake, Access::Write), &subject, "envelope")
        .await
        .unwrap();
    (fake, pushed.manifest)
}

#[tokio::test]
async fn gigabytes_are_not_read() {
    // SEC-14, CVE-2023-33957
    for announced in [None, Some(10_u64.pow(10))] {
        for part in ["/manifests/", "/blobs/"] {
            let (fake, signature) = with_signature(part, move || {
                Response::status(200)
                    .header("content-type", OCI_MANIFEST)
                    .body(Body::Endless { announced })
            })
            .await;
            let error = open(&fake, Access::Read).fetch_signature(&signature).await;
            let error = text(&error.unwrap_err());
            assert!(error.contains("bytes"), "{error}");
        }
        let fake = hostile(move |request| {
            request.path.contains("/referrers/").then(|| {
                Response::status(200)
                    .header("content-type", OCI_INDEX)
                    .body(Body::Endless { announced })
            })
        });
        let subject = artifact(&fake);
        let listing = open(&fake, Access::Read).list_signatures(&subject, 9).await;
        assert!(text(&listing.unwrap_err()).contains("more than 4194304 bytes"));
    }
}

#[tokio::test]
async fn announced_sizes_are_judged_before_asking() {
    // OCI-13
    let fake = FakeRegistry::start(Behaviour::default());
    let manifest = Descriptor {
        size: 4 * 1024 * 1024 + 1,
        ..describe(OCI_MANIFEST, b"")
    };
    let error = open(&fake, Access::Read).fetch_signature(&manifest).await;
    assert_eq!(
        error.unwrap_err().told(),
        "signature manifest too large: 4194305 bytes"
    );
    assert!(fake.log().is_empty());
}

#[tokio::test]
async fn lists_without_end_end() {
    // SEC-14, CVE-2023-33958: pages with nothing in them, and pages with more and more.
    let entry = |n: usize| {
        let digest = describe(OCI_MANIFEST, n.to_string().as_bytes()).digest;
        format!(
            r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":9,"artifactType":"{SIGNATURE_ARTIFACT_TYPE}"}}"#
        )
    };
    for full in [false, true] {
        let fake = hostile(move |request| {
            if !request.path.contains("/referrers/") {
                return None;
            }
            let page: usize = request.query.rsplit('=').next()?.parse().unwrap_or(0);
            let entries: Vec<String> = (0..10).map(|n| entry(page * 10 + n)).collect();
            let entries = if full {
                entries.join(",")
            } else {
                String::new()
            };
            let next = format!("<{}?page={}>; rel=\"next\"", request.path, page + 1);
            Some(
                Response::bytes(200, format!(r#"{{"manifests":[{entries}]}}"#).into_bytes())
                    .header("content-type", OCI_INDEX)
                    .header("link", &next),
            )
        });
        let subject = artifact(&fake);
        let registry = open(&fake, Access::Read);
        let listing = registry.list_signatures(&subject, 50).await.unwrap();
        assert!(listing.truncated);
        assert_eq!(listing.signatures.len(), if full { 50 } else { 0 });
        assert!(fake.log().len() <= 100, "{}", fake.log().len());
    }
}

#[tokio::test]
async fn lists_do_not_continue_elsewhere() {
    // REG-05: a link's target gets no request at all.
    let elsewhere = FakeRegistry::start(Behaviour::default());
    for target in [
        elsewhere.url(),
        "//evil.example".to_owned(),
        "https://localhost".to_owned(),
        "/v2/other/referrers/x".to_owned(),
    ] {
        let fake = hostile(move |request| {
            request.path.contains("/referrers/").then(|| {
                Response::bytes(200, br#"{"manifests":[]}"#.to_vec())
                    .header("content-type", OCI_INDEX)
                    .header("link", &format!("<{target}>; rel=\"next\""))
            })
        });
        let subject = artifact(&fake);
        let listing = open(&fake, Access::Read).list_signatures(&subject, 9).await;
        let error = text(&listing.unwrap_err());
        assert!(error.contains("refusing to follow"), "{error}");
    }
    assert!(elsewhere.log().is_empty());
}

#[tokio::test]
async fn another_digest_than_the_user_s_is_refused() {
    // OCI-18, SEC-02, SEC-16, CVE-2023-33959
    let subject = describe(OCI_MANIFEST, ARTIFACT);
    for access in [Access::Read, Access::Write] {
        let fake = hostile(|request| {
            let other = r#"{"schemaVersion":2,"layers":[]}"#;
            let wrong = describe(OCI_MANIFEST, other.as_bytes()).digest.to_string();
            request.path.contains("/manifests/").then(|| {
                Response::bytes(200, other.as_bytes().to_vec())
                    .header("content-type", OCI_MANIFEST)
                    .header("docker-content-digest", &wrong)
            })
        });
        let error = open(&fake, access).resolve(&by_digest(&subject)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, OciError::UserDigest { .. }), "{error}");
        assert!(error.told().starts_with(&format!(
            "user input digest {} does not match the resolved digest sha256:",
            subject.digest
        )));
    }
}

#[tokio::test]
async fn whoever_signs_sees_what_is_signed() {
    // SEC-02: headers that lie about digest, size or type do not end up under a signature.
    for (body, kind, digest) in [
        (ARTIFACT.to_vec(), OCI_INDEX, None),
        (ARTIFACT.to_vec(), "text/html", None),
        (ARTIFACT.to_vec(), OCI_MANIFEST, Some("other")),
        (b"{".to_vec(), OCI_MANIFEST, None),
    ] {
        let fake = hostile(move |request| {
            request.path.contains("/manifests/").then(|| {
                let answer = Response::bytes(200, body.clone()).header("content-type", kind);
                match digest {
                    Some(other) => {
                        let digest = describe(OCI_MANIFEST, other.as_bytes()).digest;
                        answer.header("docker-content-digest", &digest.to_string())
                    }
                    None => answer,
                }
            })
        });
        let registry = open(&fake, Access::Write);
        assert!(registry.resolve(&by_tag("v1")).await.is_err(), "{kind}");
    }
}

#[tokio::test]
async fn wrong_content_is_refused() {
    // OCI-14
    for (part, body, kind) in [
        ("/blobs/", "enveloqe", "application/octet-stream"),
        ("/blobs/", "envelop", "application/octet-stream"),
        ("/blobs/", "envelopes", "application/octet-stream"),
        ("/manifests/", "{}", OCI_MANIFEST),
    ] {
        let (fake, signature) = with_signature(part, move || {
            Response::bytes(200, body.as_bytes().to_vec()).header("content-type", kind)
        })
        .await;
        let error = open(&fake, Access::Read).fetch_signature(&signature).await;
        assert!(
            matches!(
                error,
                Err(OciError::DigestMismatch { .. } | OciError::SizeMismatch { .. })
            ),
            "{error:?}"
        );
    }
    // The right bytes under another media type.
    let fake = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&fake);
    let pushed = push(&open(&fake, Access::Write), &subject, "x")
        .await
        .unwrap();
    let as_index = Descriptor {
        media_type: OCI_INDEX.to_owned(),
        ..pushed.manifest
    };
    let error = open(&fake, Access::Read).fetch_signature(&as_index).await;
    assert!(text(&error.unwrap_err()).contains("unexpected Content-Type"));
}

#[tokio::test]
async fn redirects_end() {
    let fake = hostile(|request| {
        Some(Response::status(302).header("location", &format!("{}x", request.path)))
    });
    let error = open(&fake, Access::Read).resolve(&by_tag("v1")).await;
    assert!(text(&error.unwrap_err()).contains("more than 5 redirects"));
    assert!(fake.log().len() <= 6);
    // Content is not sent where a redirect says.
    let fake = hostile(|request| {
        (request.method == "PUT")
            .then(|| Response::status(307).header("location", "http://127.0.0.1:1/x"))
    });
    let subject = artifact(&fake);
    let error = push(&open(&fake, Access::Write), &subject, "one").await;
    assert!(text(&error.unwrap_err()).contains("refusing the redirect"));
}

#[tokio::test]
async fn drips_and_silence_are_bounded() {
    // SEC-14
    for body in [
        || Body::Drip(vec![b' '; 10_000], Duration::from_millis(20)),
        || Body::Hang(Duration::from_secs(20)),
    ] {
        let (fake, signature) = with_signature("/manifests/", move || {
            Response::status(200)
                .header("content-type", OCI_MANIFEST)
                .body(body())
        })
        .await;
        let mut options = options();
        options.client.limits.total = Duration::from_millis(300);
        let registry = open_with(&fake, Access::Read, options);
        let error = text(&registry.fetch_signature(&signature).await.unwrap_err());
        assert!(error.contains("no complete answer within"), "{error}");
    }
}

#[tokio::test]
async fn truncated_bodies_are_errors() {
    let (fake, signature) = with_signature("/blobs/", || {
        Response::status(200).body(Body::Truncated {
            bytes: b"envelo".to_vec(),
            announced: 8,
        })
    })
    .await;
    assert!(
        open(&fake, Access::Read)
            .fetch_signature(&signature)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    // REG-11
    for status in [429, 503] {
        let turned_away = std::sync::atomic::AtomicUsize::new(0);
        let fake = hostile(move |_| {
            let n = turned_away.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            n.is_multiple_of(2)
                .then(|| Response::status(status).header("retry-after", "0"))
        });
        let subject = artifact(&fake);
        let registry = open(&fake, Access::Write);
        registry.resolve(&by_tag("v1")).await.unwrap();
        push(&registry, &subject, "one").await.unwrap();
    }
    let fake = hostile(|_| Some(Response::status(429).header("retry-after", "3600")));
    let error = open(&fake, Access::Read).resolve(&by_tag("v1")).await;
    assert!(text(&error.unwrap_err()).contains("the server asks to wait 3600 seconds"));
    assert_eq!(fake.log().iter().filter(|r| r.method == "HEAD").count(), 1);
}

/// A registry that takes twenty requests in a tenth of a second turns many of a batch away, again and
/// again: the batch takes longer, and each of it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn reg_11_throttling_makes_a_batch_slower_and_fails_nothing() {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    let turned_away = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&turned_away);
    let window = Mutex::new((Instant::now(), 0));
    let fake = hostile(move |_| {
        let mut window = window.lock().unwrap();
        if window.0.elapsed() > Duration::from_millis(100) {
            *window = (Instant::now(), 0);
        }
        window.1 += 1;
        (window.1 > 20).then(|| {
            counted.fetch_add(1, Ordering::Relaxed);
            Response::status(429)
        })
    });
    let subject = artifact(&fake);
    let registry = open(&fake, Access::Write);
    registry.resolve(&by_tag("v1")).await.unwrap();
    let texts: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let pushes = texts.iter().map(|text| push(&registry, &subject, text));
    for pushed in futures_util::future::join_all(pushes).await {
        pushed.unwrap();
    }
    assert!(turned_away.load(Ordering::Relaxed) > 10);
    let reader = open(&fake, Access::Read);
    let listing = reader.list_signatures(&subject, 100).await.unwrap();
    assert_eq!(listing.signatures.len(), 60);
}

#[tokio::test]
async fn one_bad_referrer_does_not_hide_a_good_one() {
    // VER-28, DIF-43
    let fake = hostile(|request| {
        if !request.path.contains("/referrers/") {
            return None;
        }
        let good = describe(OCI_MANIFEST, b"good").digest;
        let entries = [
            r#"{"mediaType":"x"}"#.to_owned(),
            "7".to_owned(),
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"sha256:zz","size":1,"artifactType":"{SIGNATURE_ARTIFACT_TYPE}"}}"#
            ),
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{good}","size":-1,"artifactType":"{SIGNATURE_ARTIFACT_TYPE}"}}"#
            ),
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{good}","size":4,"artifactType":"application/other"}}"#
            ),
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{good}","size":4,"artifactType":"{SIGNATURE_ARTIFACT_TYPE}"}}"#
            ),
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{good}","size":4,"artifactType":"{SIGNATURE_ARTIFACT_TYPE}"}}"#
            ),
        ];
        let body = format!(r#"{{"manifests":[{}]}}"#, entries.join(","));
        Some(Response::bytes(200, body.into_bytes()).header("content-type", OCI_INDEX))
    });
    let subject = artifact(&fake);
    let listing = open(&fake, Access::Read)
        .list_signatures(&subject, 9)
        .await
        .unwrap();
    assert_eq!(listing.signatures, [describe(OCI_MANIFEST, b"good")]);
    assert!(!listing.warnings.is_empty());
}
