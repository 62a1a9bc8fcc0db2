//! The CRL cache on disk (REV-46 to REV-51).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_core::event::Event;
use hardsign_core::revocation::Inquiry;
use hardsign_test_support::asn1::integer;
use hardsign_test_support::registry::Response;
use hardsign_test_support::revocation::{
    CRL_NUMBER, Crl, FRESHEST_CRL, ago, distribution_points, issuing_distribution_point,
};
use hardsign_test_support::{Builder, Key, certificate};

use super::Scene;
use crate::SERIAL;

fn entry(base: &[u8], delta: Option<&[u8]>) -> String {
    let base = STANDARD.encode(base);
    match delta {
        None => format!(r#"{{"baseCRL":"{base}"}}"#),
        Some(delta) => {
            let delta = STANDARD.encode(delta);
            format!(r#"{{"baseCRL":"{base}","deltaCRL":"{delta}"}}"#)
        }
    }
}

fn says(told: &[String], text: &str) -> bool {
    told.iter().any(|line| line.contains(text))
}

/// REV-47, REV-49: directory, name, mode and content; the texts of the log.
#[tokio::test]
async fn what_is_fetched_is_stored_and_used() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    let crl = scene.crl().sign(&scene.pki.ca);
    scene.server.serve("/crl", &crl);
    let first = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(first[0].status.name(), "good");
    let told = scene.told();
    for text in [
        "Debug: Retrieving crl bundle from file cache with key \"S/crl\" ...",
        "Debug: CRL file cache miss. Key \"S/crl\" does not exist",
        "Debug: Storing crl bundle to file cache with key \"S/crl\" ...",
    ] {
        assert!(told.contains(&text.to_owned()), "{told:?}");
    }
    let file = scene.cached("/crl");
    assert_eq!(fs::read_to_string(&file).unwrap(), entry(&crl, None));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    assert_eq!(scene.asked(), ["GET /crl"]);

    let second = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(second[0].status.name(), "good");
    assert_eq!(scene.asked(), [""; 0]);
    let told = scene.told();
    assert!(says(&told, "Retrieving") && !says(&told, "miss") && !says(&told, "Storing"));
}

/// REV-47: with its delta.
#[tokio::test]
async fn deltas_are_stored_too() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    let url = scene.server.url("/delta");
    let freshest = distribution_points(&[(&[url.as_str()], None)]);
    let base = scene.crl().with(FRESHEST_CRL, false, freshest);
    let delta = Crl::delta_of(&scene.pki.ca).lists(SERIAL, Some(1));
    scene.serve_crl("/crl", &base);
    scene.serve_crl("/delta", &delta);
    for asked in [&["GET /crl", "GET /delta"][..], &[]] {
        let checked = scene.check(&scene.with_cache(), &leaf).await;
        assert_eq!(checked[0].status.name(), "revoked");
        assert_eq!(scene.asked(), asked);
    }
    let (base, delta) = (base.sign(&scene.pki.ca), delta.sign(&scene.pki.ca));
    let stored = fs::read_to_string(scene.cached("/crl")).unwrap();
    // Signatures differ from one signing to the next.
    assert_eq!(
        stored.len().abs_diff(entry(&base, Some(&delta)).len()) / 8,
        0
    );
    // Without the delta that the base names, an entry is none.
    scene.told();
    fs::write(scene.cached("/crl"), entry(&base, None)).unwrap();
    let checked = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(checked[0].status.name(), "revoked");
    assert_eq!(scene.asked(), ["GET /crl", "GET /delta"]);
    assert!(says(
        &scene.told(),
        "is not used: the base CRL has a delta CRL, which is missing"
    ));
}

/// REV-49, REV-51: expired is a miss, told before anybody looks at the signature.
#[tokio::test]
async fn expired_entries() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    scene.serve_crl("/crl", &scene.crl());
    let stranger = Builder::ca("Another CA", &Key::P521).self_signed(&Key::P521);
    let old = Crl::of(&stranger).change(|crl| crl.next_update = Some(ago(1)));
    let file = scene.cached("/crl");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, entry(&old.sign(&stranger), None)).unwrap();
    let checked = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(checked[0].status.name(), "good");
    assert_eq!(scene.asked(), ["GET /crl"]);
    let told = scene.told();
    assert!(
        told.contains(
            &"Debug: CRL bundle retrieved from file cache has expired at 2026-01-02 03:04:04 +0000 UTC"
                .to_owned()
        ),
        "{told:?}"
    );
    assert!(says(&told, "Storing"));
    // An expired one is not stored.
    fs::remove_file(&file).unwrap();
    scene.serve_crl(
        "/crl",
        &scene.crl().change(|crl| crl.next_update = Some(ago(1))),
    );
    let checked = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(checked[0].status.name(), "unknown");
    assert!(!file.exists());
}

/// REV-51, DIF-49, SEC-03: what is not the issuer's is neither stored nor used, however it came.
#[tokio::test]
async fn forged_crls_are_not_kept() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    let stranger = Builder::ca("Issuing CA", &Key::P521).self_signed(&Key::P521);
    let forged = scene.crl().sign(&stranger);
    scene.server.serve("/crl", &forged);
    let checked = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(checked[0].status.name(), "unknown");
    let file = scene.cached("/crl");
    assert!(!file.exists());
    assert!(!says(&scene.told(), "Storing"));

    fs::write(&file, entry(&forged, None)).unwrap();
    scene.serve_crl("/crl", &scene.crl().lists(SERIAL, Some(1)));
    scene.asked();
    let checked = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(checked[0].status.name(), "revoked");
    assert_eq!(scene.asked(), ["GET /crl"]);
    assert!(says(&scene.told(), "is not used: CRL is not signed by CA"));
    assert_ne!(fs::read_to_string(&file).unwrap(), entry(&forged, None));
}

/// REV-46: when the issuer meant to publish another, that is fetched; the cached one still counts
/// where it can't be had.
#[tokio::test]
async fn next_publish() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    let next = hardsign_test_support::asn1::time(ago(5));
    let old = scene.crl().with("1.3.6.1.4.1.311.21.4", false, next);
    let file = scene.cached("/crl");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, entry(&old.sign(&scene.pki.ca), None)).unwrap();
    scene.server.answer("/crl", || Response::status(500));
    let checked = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(checked[0].status.name(), "good");
    assert_eq!(scene.asked(), ["GET /crl"]);
    // What is older, or has expired, or is another certificate's does not take its place.
    let (scope, critical, value) = issuing_distribution_point(&[&[0x82, 1, 0xff]]);
    for worse in [
        scene.crl().with(CRL_NUMBER, false, integer(4)),
        scene.crl().without(CRL_NUMBER),
        scene.crl().change(|crl| crl.next_update = Some(ago(1))),
        scene.crl().with(scope, critical, value),
    ] {
        scene.serve_crl("/crl", &worse);
        scene.asked();
        let checked = scene.check(&scene.with_cache(), &leaf).await;
        assert_eq!(checked[0].status.name(), "good");
        assert_eq!(scene.asked(), ["GET /crl"]);
    }
    scene.serve_crl("/crl", &scene.crl().lists(SERIAL, None));
    let checked = scene.check(&scene.with_cache(), &leaf).await;
    assert_eq!(checked[0].status.name(), "revoked");
}

/// REV-38, REV-49: an issuer's own CRL that says nothing about the certificate is neither stored
/// nor does it stand in the way of the right one.
#[tokio::test]
async fn crls_of_another_scope() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    let (oid, critical, value) = issuing_distribution_point(&[&[0x82, 1, 0xff]]);
    let wrong = [
        scene.crl().with(oid, critical, value),
        scene.crl().change(|crl| crl.entries = vec![vec![5, 0]]),
    ];
    let file = scene.cached("/crl");
    for wrong in wrong {
        scene.serve_crl("/crl", &wrong);
        let checked = scene.check(&scene.with_cache(), &leaf).await;
        assert_eq!(checked[0].status.name(), "unknown");
        assert!(!file.exists());
        fs::write(&file, entry(&wrong.sign(&scene.pki.ca), None)).unwrap();
        scene.serve_crl("/crl", &scene.crl());
        scene.asked();
        let checked = scene.check(&scene.with_cache(), &leaf).await;
        assert_eq!(checked[0].status.name(), "good");
        assert_eq!(scene.asked(), ["GET /crl"]);
        assert!(says(&scene.told(), "is not used"));
        fs::remove_file(&file).unwrap();
    }
}

/// REV-50, SEC-18: no fault of the cache fails a check; one warning for all of them. The cache is
/// replaced whole, in its own directory, wherever temporary files are.
#[tokio::test]
async fn faults_are_told_once() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    scene.serve_crl("/crl", &scene.crl());
    let file = scene.cached("/crl");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let crl = scene.crl().sign(&scene.pki.ca);
    let endless = scene.crl().change(|crl| crl.next_update = None);
    for (content, why) in [
        (
            "{".to_owned(),
            "failed to decode file retrieved from file cache: ",
        ),
        ("{}".to_owned(), "baseCRL is not base64"),
        (r#"{"baseCRL":"?"}"#.to_owned(), "baseCRL is not base64"),
        (r#"{"baseCRL":7}"#.to_owned(), "baseCRL is not base64"),
        (
            r#"{"baseCRL":"MAA="}"#.to_owned(),
            "failed to parse baseCRL of file retrieved from file cache: x509: malformed crl",
        ),
        (
            entry(&crl, Some(b"x")),
            "failed to parse deltaCRL of file retrieved from file cache: x509: malformed crl",
        ),
        (
            entry(&endless.sign(&scene.pki.ca), None),
            "crl bundle retrieved from file cache does not contain valid NextUpdate",
        ),
    ] {
        fs::write(&file, content).unwrap();
        let checked = scene.check(&scene.with_cache(), &leaf).await;
        assert_eq!(checked[0].status.name(), "good", "{why}");
        assert!(says(&scene.told(), why), "{why}");
        assert_eq!(scene.asked(), ["GET /crl"]);
    }
    // Something that is no file, so that reading and storing fail.
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("in the way")).unwrap();
    let online = scene.with_cache();
    let warnings = std::sync::Mutex::new(Vec::new());
    let observer = |event: &Event<'_>| {
        warnings.lock().unwrap().extend(event.warning());
        scene.tell(event);
    };
    use hardsign_core::revocation::Checker as _;
    let chain = scene.chain(&leaf);
    let now = certificate::now();
    let checked = online
        .check(Inquiry::about(&chain, None, now, &observer))
        .await;
    assert_eq!(checked[0].status.name(), "good");
    assert_eq!(
        *warnings.lock().unwrap(),
        ["CRL cache error discarded. Enable debug log through '-d' for error details."]
    );
    let told = scene.told();
    assert!(says(
        &told,
        "failed to get crl bundle from file cache with key \"S/crl\": "
    ));
    assert!(says(&told, "failed to store crl bundle in file cache: "));
    assert!(!fs::read_dir(file.parent().unwrap()).unwrap().any(|e| {
        e.unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("notation-")
    }));
}

/// REV-50: a directory that can't be made.
#[tokio::test]
async fn no_directory() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    scene.serve_crl("/crl", &scene.crl());
    fs::write(scene.cache.path().join("crl"), "a file").unwrap();
    let warnings = std::sync::Mutex::new(Vec::new());
    let observer = |event: &Event<'_>| warnings.lock().unwrap().extend(event.warning());
    use hardsign_core::revocation::Checker as _;
    let chain = scene.chain(&leaf);
    let now = certificate::now();
    let checked = scene
        .with_cache()
        .check(Inquiry::about(&chain, None, now, &observer))
        .await;
    assert_eq!(checked[0].status.name(), "good");
    let warnings = warnings.into_inner().unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("failed to create crl file cache: create "),
        "{warnings:?}"
    );
}
