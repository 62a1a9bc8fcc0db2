//! Several signatures of one artifact: which are tried, and what hides what.

use std::error::Error as _;
use std::fs;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use hardsign_core::envelope::Format;
use hardsign_core::event::Event;
use hardsign_core::oci::Warning;
use hardsign_core::trust::{LoadedStore, Loader, StoreRef, TrustStores};
use hardsign_core::verify::{
    AttemptFailure, Attempts, SignatureName, Verified, Verifier, VerifyError,
};
use hardsign_test_support::{Builder, Key, Pki, Told};
use tokio::time::timeout;

use crate::world::{
    REPOSITORY, Shelf, World, artifact, descriptor, level, payload, sign, sign_with, signer,
    strict, verified,
};

fn reference() -> String {
    format!("{REPOSITORY}@{}", artifact().digest)
}

fn trusting(pki: &Pki) -> World {
    World::new().trust("ca:t", &pki.root).statement(&strict())
}

/// A chain that nobody trusts, with the same names.
fn stranger() -> (Vec<Vec<u8>>, &'static Key) {
    let root = Builder::ca("Root", &Key::P384).self_signed(&Key::P384);
    let leaf = Builder::leaf("signer", Key::P256_B.spki).issue(&root, &Key::P256_B);
    (vec![leaf.der, root.der], &Key::P256_B)
}

fn bad() -> Vec<u8> {
    let (chain, key) = stranger();
    sign(Format::Jws, &artifact(), &chain, key)
}

fn good(pki: &Pki) -> Vec<u8> {
    let chain = pki.chain(&signer(pki, "signer", &Key::P256));
    sign(Format::Jws, &artifact(), &chain, &Key::P256)
}

/// VER-24, VER-28, VER-30, DIF-43: one good is enough; none of the bad or unreadable ones before
/// it hides it, and every one of them is kept with its reason.
#[tokio::test]
async fn bad_signatures_hide_nothing() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let mut shelf = Shelf::default();
    shelf.add_broken();
    shelf.add(Format::Jws, b"rubbish", None);
    shelf.add(Format::Cose, &good(&pki), None);
    shelf.add(Format::Jws, &bad(), None);
    shelf.add(Format::Jws, &good(&pki), None);
    shelf.warnings.push(Warning::Unreadable {
        referrer: "sha256:00".to_owned(),
        reason: "no manifest".to_owned(),
    });
    let outcome = verified(world.verify(&shelf).await);
    assert_eq!(
        outcome.signatures()[0].manifest,
        Some(shelf.digest(4)),
        "the good one"
    );
    let tried: Vec<_> = outcome.attempts().iter().map(|a| &a.signature).collect();
    let expected: Vec<_> = (0..4)
        .map(|n| SignatureName::Manifest(shelf.digest(n)))
        .collect();
    assert_eq!(tried, expected.iter().collect::<Vec<_>>());
    assert!(matches!(
        outcome.attempts()[0].failure,
        AttemptFailure::Unreadable(_)
    ));
    let events = world.events();
    let said = |text: &str| events.iter().any(|e| e.contains(text));
    assert!(said("skipped referrer sha256:00: no manifest"));
    assert!(said(&format!(
        "unable to retrieve digital signature with digest \"{}\"",
        shelf.digest(0)
    )));
    assert!(said(&format!(
        "Signature {} failed verification with error: the signature's certificate chain does not contain any trusted certificate",
        shelf.digest(3)
    )));
}

/// VER-08, VER-30, ENV-02: what is in no format of signatures fails the check of integrity, in the reference's
/// words, and names its media type.
#[tokio::test]
async fn ver_30_a_foreign_format_has_no_integrity() {
    let world = trusting(&Pki::new());
    let mut shelf = Shelf::default();
    shelf.add_foreign("application/x.junk");
    let error = world.verify(&shelf).await.unwrap_err();
    let failure = &error.attempts()[0].failure;
    assert!(matches!(failure, AttemptFailure::Foreign(_)), "{failure:?}");
    assert_eq!(
        failure.told(),
        "integrity validation failed: signature envelope format with media type \"application/x.junk\" is not supported"
    );
}

/// JWS-16, COSE-16: an envelope without a chain is told of as that, in both formats.
#[tokio::test]
async fn cose_16_an_envelope_without_a_chain() {
    let world = trusting(&Pki::new());
    for format in [Format::Jws, Format::Cose] {
        let mut shelf = Shelf::default();
        shelf.add(format, &sign(format, &artifact(), &[], &Key::P256), None);
        let error = world.verify(&shelf).await.unwrap_err();
        let said = error.attempts()[0].failure.told();
        assert!(
            said.ends_with("certificate chain is not present"),
            "{format:?}: {said}"
        );
    }
}

/// VER-24: after the first good one nothing more is asked for than is under way already; fetches
/// overlap, a few at a time.
#[tokio::test]
async fn first_good_is_enough() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let shelf = Shelf::of(&vec![good(&pki); 20]);
    let outcome = verified(world.verify(&shelf).await);
    assert_eq!(outcome.signatures().len(), 1);
    assert_eq!(outcome.signatures()[0].manifest, Some(shelf.digest(0)));
    assert_eq!(shelf.order().len(), 4);

    let shelf = Shelf::of(&vec![bad(); 20]);
    assert!(world.verify(&shelf).await.is_err());
    assert_eq!(shelf.order(), (0..20).collect::<Vec<_>>());
    assert_eq!(shelf.most_in_flight.load(Ordering::SeqCst), 4);
}

/// VER-29, DIF-14, DIF-31: a thumbprint of a trusted certificate moves a signature forward, in
/// either case of hex, and does nothing else: a false one can't make a signature good, a missing
/// one can't hide it.
#[tokio::test]
async fn thumbprints_decide_the_order_only() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let chain = pki.chain(&signer(&pki, "signer", &Key::P256));
    let mut shelf = Shelf::default();
    for _ in 0..8 {
        shelf.add(Format::Jws, &bad(), Some(&stranger().0));
    }
    shelf.add(Format::Jws, &bad(), Some(&chain));
    shelf.add(Format::Jws, &good(&pki), Some(&chain));
    let outcome = verified(world.verify(&shelf).await);
    assert_eq!(shelf.order()[..2], [8, 9]);
    assert_eq!(outcome.attempts().len(), 1);

    let mut shelf = Shelf::default();
    shelf.add(Format::Jws, &bad(), Some(&chain));
    shelf.add(Format::Jws, &good(&pki), None);
    verified(world.verify(&shelf).await);
}

/// VER-25, VER-27, DIF-44, DIF-52: the limit is an error of its own only where more signatures
/// exist than were tried.
#[tokio::test]
async fn limits() {
    let pki = Pki::new();
    let mut world = trusting(&pki);
    world.limit = 3;
    for (count, limited) in [(1, false), (2, false), (3, false), (4, true), (9, true)] {
        let mut signatures = vec![bad(); count];
        let error = world.verify(&Shelf::of(&signatures)).await.unwrap_err();
        assert_eq!(error.attempts().len(), count.min(3), "{count}");
        if limited {
            assert_eq!(
                error.to_string(),
                "signature evaluation stopped. The configured limit of 3 signatures to verify per artifact exceeded"
            );
        } else {
            assert_eq!(
                error.to_string(),
                format!(
                    "signature verification failed for all the signatures associated with {}",
                    reference()
                )
            );
        }
        // What is promised: a good one among the first three is found.
        let place = count.min(3) - 1;
        signatures[place] = good(&pki);
        verified(world.verify(&Shelf::of(&signatures)).await);
    }
}

/// VER-26, SEC-13: no signature is a failure, whatever the level.
#[tokio::test]
async fn no_signature() {
    let pki = Pki::new();
    for level in ["strict", "permissive", "audit"] {
        let world = World::new()
            .trust("ca:t", &pki.root)
            .statement(&crate::world::level(&format!(r#""level":"{level}""#)));
        let error = world.verify(&Shelf::default()).await.unwrap_err();
        assert_eq!(
            error.told(),
            format!(
                "no signature is associated with \"{}\", make sure the artifact was signed successfully",
                reference()
            )
        );
    }
}

/// VER-10, TP-41: no statement for the repository.
#[tokio::test]
async fn no_statement() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let other = "registry.test/other";
    let observer = |_: &Event<'_>| ();
    let error = world
        .verifier()
        .verify_artifact(
            &world.policy(),
            &Shelf::default(),
            other,
            &artifact(),
            world.options(&observer),
        )
        .await
        .unwrap_err();
    assert!(
        error.told().starts_with(&format!(
            "artifact \"{other}@{}\" has no applicable oci trust policy statement.",
            artifact().digest
        )),
        "{error}"
    );
}

/// TST-06, TST-12, CLI-41: a store that can't be used is found again in the error.
#[tokio::test]
async fn trust_store_faults_are_kept() {
    let pki = Pki::new();
    let world = World::new().statement(&strict());
    let error = world.verify(&Shelf::of(&[good(&pki)])).await.unwrap_err();
    let fault = error.trust_store_fault().unwrap();
    assert!(fault.is_not_found());
    assert_eq!(
        fault.told(),
        "the trust store \"t\" of type \"ca\" does not exist"
    );
    let untrusted = trusting(&pki).verify(&Shelf::of(&[bad()])).await;
    assert!(untrusted.unwrap_err().trust_store_fault().is_none());
}

/// TST-03, SEC-06, REQ-09: trust is given by repository. A store that lies there unnamed confers
/// none, and having verified once elsewhere confers none either.
#[tokio::test]
async fn trust_is_by_statement() {
    let pki = Pki::new();
    let statement = |name: &str, repository: &str, store: &str| {
        format!(
            r#"{{"name":"{name}","registryScopes":["{repository}"],"signatureVerification":{{"level":"strict"}},"trustStores":["{store}"],"trustedIdentities":["*"]}}"#
        )
    };
    let text = format!(
        r#"{{"version":"1.0","trustPolicies":[{},{}]}}"#,
        statement("here", REPOSITORY, "ca:t"),
        statement("there", "registry.test/there", "ca:other")
    );
    let other = Builder::ca("Other", &Key::P384).self_signed(&Key::P384);
    let world = World::new()
        .trust("ca:t", &pki.root)
        .trust("ca:unnamed", &pki.root)
        .trust("ca:other", &other);
    assert!(
        world.dirs.trust_stores().ends_with("truststore/x509"),
        "DIF-26"
    );
    let path = world.dirs.oci_policy();
    let world = world.file(&path, &text);
    let verifier = world.verifier();
    let policy = world.policy();
    let shelf = Shelf::of(&[good(&pki)]);
    let observer = |_: &Event<'_>| ();
    for _ in 0..2 {
        for (repository, trusted) in [(REPOSITORY, true), ("registry.test/there", false)] {
            let options = world.options(&observer);
            let result = verifier
                .verify_artifact(&policy, &shelf, repository, &artifact(), options)
                .await;
            assert_eq!(result.is_ok(), trusted, "{repository}: {result:?}");
        }
    }
}

/// VER-20, VER-32, VER-33: metadata is looked for in the signed payload.
#[tokio::test]
async fn user_metadata_is_signed() {
    let pki = Pki::new();
    let mut world = trusting(&pki);
    let chain = pki.chain(&signer(&pki, "signer", &Key::P256));
    let mut target = artifact();
    target
        .annotations
        .insert("build".to_owned(), "17".to_owned());
    let envelope = sign(Format::Jws, &target, &chain, &Key::P256);
    world.metadata.insert("build".to_owned(), "17".to_owned());
    let outcome = verified(
        world
            .verify(&Shelf::of(std::slice::from_ref(&envelope)))
            .await,
    );
    assert_eq!(outcome.target().annotations, world.metadata);
    assert_eq!(outcome.target().digest, artifact().digest, "SEC-31");
    world.metadata.insert("build".to_owned(), "18".to_owned());
    let error = crate::world::rejected(world.verify(&Shelf::of(&[envelope])).await);
    assert_eq!(
        error.told(),
        "unable to find specified metadata in the signature"
    );
}

/// VER-22: a signature for another artifact is refused before its chain is looked at.
#[tokio::test]
async fn other_artifacts_stop_early() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let chain = pki.chain(&signer(&pki, "signer", &Key::P256));
    let envelope = sign(Format::Jws, &descriptor(b"other"), &chain, &Key::P256);
    let error = crate::world::rejected(world.verify(&Shelf::of(&[envelope])).await);
    assert_eq!(error.told(), "content descriptor mismatch");
    assert!(!world.events().contains(&"Validating cert chain".to_owned()));
}

/// CVE-2026-39395: payloads that are signed properly and mean nothing never succeed.
#[tokio::test]
async fn malformed_payloads_never_succeed() {
    let pki = Pki::new();
    let chain = pki.chain(&signer(&pki, "signer", &Key::P256));
    let audit = level(r#""level":"audit""#);
    let world = World::new().trust("ca:t", &pki.root).statement(&audit);
    let whole = payload(&artifact());
    let digest = artifact().digest.to_string();
    let mut cases = vec![
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "{\"targetArtifact\":null}".to_owned(),
        "{\"targetArtifact\":{}}".to_owned(),
        "{\"targetArtifact\":[]}".to_owned(),
        format!("{whole}{whole}"),
        format!("{whole} x"),
        whole.replace("targetArtifact", "TargetArtifact"),
        whole.replace("\"digest\"", "\"Digest\""),
        whole.replace("\"size\":12", "\"size\":\"12\""),
        whole.replace("\"size\":12", "\"size\":-12"),
        whole.replace("\"size\":12", "\"size\":12.0"),
        whole.replace("\"size\":12", "\"size\":12,\"size\":12"),
        whole.replace("\"size\":12", "\"size\":99999999999999999999"),
        whole.replace(&digest, ""),
        whole.replace(&digest, &digest.to_uppercase()),
        whole.replace("sha256:", "sha256"),
        whole.replace("sha256:", "md5:"),
        whole.replace("}}", "},\"targetArtifact\":{}}"),
    ];
    for cut in 0..whole.len() {
        cases.push(whole[..cut].to_owned());
    }
    for case in &cases {
        assert_ne!(*case, whole);
        let envelope = sign_with(case, &chain, &Key::P256, |p| p);
        let result = world.verify(&Shelf::of(&[envelope])).await;
        assert!(result.is_err(), "{case}");
    }
    let envelope = sign_with(&whole, &chain, &Key::P256, |p| p);
    verified(world.verify(&Shelf::of(&[envelope])).await);
}

/// TST-15, TST-16, SEC-32: one verifier for a batch reads a store once, and notices that it
/// changed between two artifacts.
#[tokio::test]
async fn stores_are_looked_at_between_artifacts() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let verifier = Verifier::new(Loader::new(world.dirs.trust_stores()));
    let shelf = Shelf::of(&[good(&pki)]);
    verified(world.verify_by(&verifier, &shelf).await);
    let file = world.dirs.trust_stores().join("ca/t/0");
    fs::remove_file(&file).unwrap();
    assert!(matches!(
        world.verify_by(&verifier, &shelf).await,
        Err(VerifyError::AllFailed { .. })
    ));
    fs::write(&file, &pki.root.der).unwrap();
    verified(world.verify_by(&verifier, &shelf).await);
}

/// Every signature is tried and reported where that is asked for, and the verdict is the same: VER-24, VER-25.
#[tokio::test]
async fn all_signatures_are_reported_where_asked_for() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let other = {
        let chain = pki.chain(&signer(&pki, "other", &Key::P384));
        sign(Format::Cose, &artifact(), &chain, &Key::P384)
    };
    let good = good(&pki);
    let mut shelf = Shelf::of(&[good.clone(), bad(), good]);
    shelf.add(Format::Cose, &other, None);
    shelf.add(Format::Jws, b"rubbish", None);
    let one = verified(world.verify(&shelf).await);
    assert_eq!((one.signatures().len(), one.attempts().len()), (1, 0));

    let observer = |event: &Event<'_>| world.note(event);
    let verifier = world.verifier();
    let policy = world.policy();
    let options = world.options(&observer).all_signatures();
    let artifact = artifact();
    let all = verifier.verify_artifact(&policy, &shelf, REPOSITORY, &artifact, options);
    let all = verified(all.await);
    assert!(!all.is_truncated());
    let options = options.max_signatures(NonZeroUsize::new(4).unwrap());
    let some = verifier.verify_artifact(&policy, &shelf, REPOSITORY, &artifact, options);
    let some = verified(some.await);
    assert!(some.is_truncated());
    assert_eq!((some.signatures().len(), some.attempts().len()), (3, 1));
    let accepted: Vec<_> = all
        .signatures()
        .iter()
        .map(|a| a.manifest.clone().unwrap())
        .collect();
    assert_eq!(accepted, [0, 2, 3].map(|n| shelf.digest(n)));
    let failed: Vec<_> = all.attempts().iter().map(|a| a.signature.clone()).collect();
    assert_eq!(
        failed,
        [1, 4].map(|n| SignatureName::Manifest(shelf.digest(n)))
    );
    // Who signed, each once.
    let names = |v: &Verified| {
        v.signers()
            .map(|c| c.subject().to_string())
            .collect::<Vec<_>>()
    };
    let [first, second] = &names(&all)[..] else {
        panic!("{:?}", names(&all));
    };
    assert!(
        first.contains("CN=signer") && second.contains("CN=other"),
        "{first}, {second}"
    );
    assert_eq!(names(&one), std::slice::from_ref(first));
}

/// DIF-45: the error tells the reason of each signature, in its chain of sources.
#[tokio::test]
async fn all_failed_has_its_reasons_as_source() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let mut shelf = Shelf::of(&[bad()]);
    shelf.add(Format::Jws, b"rubbish", None);
    let error = world.verify(&shelf).await.unwrap_err();
    let source = error.source().unwrap();
    let attempts = source.downcast_ref::<Attempts>().unwrap();
    assert_eq!(attempts.len(), 2);
    let told = source.to_string();
    for (number, reason) in [
        (0, "does not contain any trusted certificate"),
        (1, "malformed"),
    ] {
        assert!(
            told.contains(&format!("signature {}: ", shelf.digest(number))),
            "{told}"
        );
        assert!(told.contains(reason), "{told}");
    }
    assert!(error.told().ends_with(&told), "{}", error.told());
    assert!(source.source().is_none(), "told already");

    // One alone is a chain down to its cause.
    let error = world.verify(&Shelf::of(&[bad()])).await.unwrap_err();
    let told = error.source().unwrap().to_string();
    assert_eq!(told, format!("signature {}", shelf.digest(0)));
    let failure = error.source().unwrap().source().unwrap();
    assert!(
        failure
            .to_string()
            .contains("does not contain any trusted certificate"),
        "{failure}"
    );
    assert!(
        error
            .told()
            .contains("does not contain any trusted certificate")
    );
    assert_eq!(error.told().matches("trusted certificate").count(), 1);
}

/// A signature that a lenient statement lets pass though nobody vouches for it is nobody's (VER-31).
#[tokio::test]
async fn signers_are_those_whom_somebody_vouches_for() {
    let pki = Pki::new();
    let world = World::new()
        .trust("ca:t", &pki.root)
        .statement(&level(r#""level":"audit""#));
    let outcome = verified(world.verify(&Shelf::of(&[bad()])).await);
    assert_eq!(outcome.signatures().len(), 1);
    assert_eq!(outcome.signers().count(), 0);
}

/// Stores that can be read once the signature is there.
struct Late<'a> {
    stores: Loader,
    shelf: &'a Shelf,
}

#[async_trait]
impl TrustStores for Late<'_> {
    async fn load(&self, store: &StoreRef) -> LoadedStore {
        while self.shelf.order().is_empty() {
            tokio::task::yield_now().await;
        }
        LoadedStore::new(self.stores.load(store))
    }
}

/// The only signature is fetched, once, while the trust stores are read: neither waits for the other.
#[tokio::test]
async fn the_only_signature_is_fetched_while_stores_are_read() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let mut shelf = Shelf::default();
    shelf.add(Format::Jws, &good(&pki), None);
    let late = Late {
        stores: Loader::new(world.dirs.trust_stores()),
        shelf: &shelf,
    };
    let verifier = Verifier::new(late);
    let verify = world.verify_by(&verifier, &shelf);
    let outcome = timeout(Duration::from_secs(60), verify).await.unwrap();
    assert_eq!(verified(outcome).signatures().len(), 1);
    assert_eq!(shelf.order(), [0]);
}

/// DIF-14: where a signature names a trusted certificate the others are fetched only if it is not good; a name says
/// nothing else.
#[tokio::test]
async fn others_are_fetched_where_the_promising_one_is_not_good() {
    let pki = Pki::new();
    let world = trusting(&pki);
    let chain = pki.chain(&signer(&pki, "signer", &Key::P256));
    let mut shelf = Shelf::default();
    shelf.add(Format::Jws, &bad(), None);
    shelf.add(Format::Jws, &good(&pki), Some(&chain));
    shelf.add(Format::Jws, &good(&pki), None);
    let outcome = verified(world.verify(&shelf).await);
    assert_eq!(outcome.signatures()[0].manifest, Some(shelf.digest(1)));
    assert_eq!(shelf.order(), [1]);

    let mut shelf = Shelf::default();
    shelf.add(Format::Jws, &bad(), Some(&chain));
    for _ in 0..4 {
        shelf.add(Format::Jws, &good(&pki), None);
    }
    let outcome = verified(world.verify(&shelf).await);
    assert_eq!(outcome.signatures()[0].manifest, Some(shelf.digest(1)));
    assert_eq!(shelf.order(), [0, 1, 2, 3, 4]);
    assert_eq!(shelf.most_in_flight.load(Ordering::SeqCst), 4);

    // Nobody is promising.
    let mut shelf = Shelf::default();
    for _ in 0..5 {
        shelf.add(Format::Jws, &good(&pki), None);
    }
    verified(world.verify(&shelf).await);
    assert_eq!(shelf.order(), [0, 1, 2, 3]);
}
