//! Hardsign's own policy: how many parties must have signed (VER-31, REQ-13).

use std::fs;

use hardsign_core::envelope::Format;
use hardsign_core::policy::hardsign::Tally;
use hardsign_core::verify::VerifyError;
use hardsign_test_support::{Builder, Issued, Key, Pki, Told};

use crate::world::{Shelf, World, artifact, level, sign, strict, verdict, verified};

/// Two of alice, bob and carol, by their names.
fn two_of_three() -> String {
    rules(2, &["alice", "bob", "carol"].map(by_identity))
}

fn by_identity(name: &str) -> String {
    format!(
        r#"{{"name":"{name}","trustedIdentities":["x509.subject: C=US, ST=WA, O=Hardsign Tests, CN={name}"]}}"#
    )
}

fn by_store(name: &str, store: &str) -> String {
    format!(r#"{{"name":"{name}","trustStores":["{store}"]}}"#)
}

fn rules(at_least: usize, parties: &[String]) -> String {
    format!(
        r#"{{"version":"1.0","oci":{{"n":{{"signers":{{"atLeast":{at_least},"of":[{}]}}}}}}}}"#,
        parties.join(",")
    )
}

/// A world in which `ca:t` trusts the PKI, with these rules.
fn world(pki: &Pki, rules: &str) -> World {
    world_of(pki, rules, &strict())
}

fn world_of(pki: &Pki, rules: &str, rest: &str) -> World {
    let world = World::new().trust("ca:t", &pki.root).statement(rest);
    let path = world.dirs.hardsign_policy();
    world.file(&path, rules)
}

/// A certificate for a key, with a serial number of its own.
fn certificate(pki: &Pki, name: &str, key: &Key, serial: u8) -> Issued {
    let leaf = Builder::leaf(name, key.spki).change(|b| b.serial = vec![2, 1, serial]);
    pki.issue(leaf, key)
}

fn signature(pki: &Pki, signer: &Issued) -> Vec<u8> {
    sign(Format::Jws, &artifact(), &pki.chain(signer), &signer.key)
}

async fn tally(world: &World, signatures: &[Vec<u8>]) -> (bool, Vec<String>, Vec<String>) {
    let of = |enough, tally: &Tally| (enough, tally.signed.clone(), tally.missing.clone());
    match world.verify(&Shelf::of(signatures)).await {
        Err(VerifyError::Signers { tally, .. }) => of(false, &tally),
        result => of(true, verified(result).tally().unwrap()),
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&n| n.to_owned()).collect()
}

/// Two of three: by two named parties, in either order, with bad signatures and strangers between.
#[tokio::test]
async fn two_parties_are_enough() {
    let pki = Pki::new();
    let alice = signature(&pki, &certificate(&pki, "alice", &Key::P256, 1));
    let carol = signature(&pki, &certificate(&pki, "carol", &Key::P384, 2));
    let dave = signature(&pki, &certificate(&pki, "dave", &Key::P521, 3));
    let world = world(&pki, &two_of_three());
    for signatures in [
        vec![alice.clone(), carol.clone()],
        vec![
            carol.clone(),
            b"rubbish".to_vec(),
            dave.clone(),
            alice.clone(),
        ],
    ] {
        assert_eq!(
            tally(&world, &signatures).await,
            (true, names(&["alice", "carol"]), names(&["bob"]))
        );
    }
    for (signatures, signed) in [
        (vec![alice.clone()], &["alice"][..]),
        (vec![alice.clone(), dave.clone()], &["alice"]),
        (vec![dave], &[]),
    ] {
        let (enough, got, _) = tally(&world, &signatures).await;
        assert_eq!((enough, got), (false, names(signed)));
    }
    let error = world.verify(&Shelf::of(&[alice])).await.unwrap_err();
    let text = error.told();
    assert!(
        text.ends_with("is not signed by enough of the signers that hardsign's own policy demands for statement \"n\": 1 of at least 2 signers, signed: [\"alice\"], not signed: [\"bob\" \"carol\"]"),
        "{text}"
    );
}

/// VER-31: one signer counts once: the same envelope again, with another manifest, signed anew,
/// with a second certificate of the same identity, or with a second key.
#[tokio::test]
async fn one_signer_counts_once() {
    let pki = Pki::new();
    let world = world(&pki, &two_of_three());
    let first = certificate(&pki, "alice", &Key::P256, 1);
    let second = certificate(&pki, "alice", &Key::P256, 2);
    let other_key = certificate(&pki, "alice", &Key::P384, 3);
    let once = signature(&pki, &first);
    for signatures in [
        vec![once.clone(), once.clone()],
        vec![once.clone(), signature(&pki, &first)],
        vec![once.clone(), signature(&pki, &second)],
        vec![once.clone(), signature(&pki, &other_key)],
    ] {
        let (enough, signed, _) = tally(&world, &signatures).await;
        assert_eq!((enough, signed), (false, names(&["alice"])));
    }
}

/// One key that a CA certified under two names is one signer; so is one name in two stores, and
/// a name in another case.
#[tokio::test]
async fn one_signer_under_two_names_or_stores() {
    let pki = Pki::new();
    let alice = signature(&pki, &certificate(&pki, "alice", &Key::P256, 1));
    let as_bob = signature(&pki, &certificate(&pki, "bob", &Key::P256, 2));
    let world = world(&pki, &two_of_three());
    let (enough, signed, _) = tally(&world, &[alice.clone(), as_bob]).await;
    assert_eq!((enough, signed.len()), (false, 1));

    let other_root = Builder::ca("Other", &Key::P384).self_signed(&Key::P384);
    let other = Pki {
        ca: Builder::ca("Other CA", &Key::P384).issue(&other_root, &Key::P384),
        root: other_root,
    };
    let rest = strict().replace(r#""ca:t""#, r#""ca:t","ca:u""#);
    let stores = rules(2, &[by_store("t", "ca:t"), by_store("u", "ca:u")]);
    let both = world_of(&pki, &stores, &rest).trust("ca:u", &other.root);
    for (name, enough) in [("alice", false), ("ALICE", false), ("bob", true)] {
        let there = signature(&other, &certificate(&other, name, &Key::P521, 3));
        let got = tally(&both, &[alice.clone(), there]).await;
        assert_eq!(got.0, enough, "{name}");
    }
}

/// A signature counts for the first party that includes its signer; a party that includes
/// everybody takes the place of nobody else's.
#[tokio::test]
async fn overlapping_parties() {
    let pki = Pki::new();
    let alice = signature(&pki, &certificate(&pki, "alice", &Key::P256, 1));
    let bob = signature(&pki, &certificate(&pki, "bob", &Key::P384, 2));
    let parties = [by_identity("alice"), by_store("anyone", "ca:t")];
    let world = world(&pki, &rules(2, &parties));
    assert!(!tally(&world, std::slice::from_ref(&alice)).await.0);
    assert_eq!(
        tally(&world, &[alice, bob]).await,
        (true, names(&["alice", "anyone"]), vec![])
    );
}

/// A party with identity and store needs both.
#[tokio::test]
async fn identity_within_a_store() {
    let pki = Pki::new();
    let alice = signature(&pki, &certificate(&pki, "alice", &Key::P256, 1));
    let rest = strict().replace(r#""ca:t""#, r#""ca:t","ca:u""#);
    let party = by_identity("alice").replace('}', r#","trustStores":["ca:u"]}"#);
    let elsewhere = Builder::ca("Other", &Key::P384).self_signed(&Key::P384);
    let world = world_of(&pki, &rules(1, &[party]), &rest).trust("ca:u", &elsewhere);
    assert!(!tally(&world, std::slice::from_ref(&alice)).await.0);
    let world = world.trust("ca:u", &pki.root);
    assert!(tally(&world, &[alice]).await.0);
}

/// A signer whom a lenient level merely lets pass counts for nobody.
#[tokio::test]
async fn logged_authenticity_counts_for_nobody() {
    let pki = Pki::new();
    let alice = signature(&pki, &certificate(&pki, "alice", &Key::P256, 1));
    let audit = level(r#""level":"audit""#);
    let one = rules(1, &[by_identity("alice")]);
    let trusted = world_of(&pki, &one, &audit);
    assert!(tally(&trusted, std::slice::from_ref(&alice)).await.0);
    let stranger = Pki {
        ca: pki.ca.clone(),
        root: Builder::ca("Other", &Key::P384).self_signed(&Key::P384),
    };
    let untrusted = world_of(&stranger, &one, &audit);
    assert!(!tally(&untrusted, &[alice]).await.0);
}

/// Other statements are not concerned.
#[tokio::test]
async fn rules_are_by_statement() {
    let pki = Pki::new();
    let dave = signature(&pki, &certificate(&pki, "dave", &Key::P256, 1));
    let empty = r#"{"version":"1.0"}"#;
    let world = world(&pki, empty);
    let outcome = verified(world.verify(&Shelf::of(&[dave])).await);
    assert!(outcome.tally().is_none());
}

/// A missing, renamed or misspelt rule, and every other fault of the file, fails every
/// verification: there is no policy to verify under.
#[tokio::test]
async fn faults_fail_closed() {
    use hardsign_core::policy::oci::Document;
    use hardsign_core::verify::Policy;
    let pki = Pki::new();
    let alice = signature(&pki, &certificate(&pki, "alice", &Key::P256, 1));
    let good = rules(1, &[by_identity("alice")]);
    let of =
        |signers: &str| format!(r#"{{"version":"1.0","oci":{{"n":{{"signers":{signers}}}}}}}"#);
    let of_rule = "hardsign policy: rules for the oci trust policy statement \"n\": ";
    let at_least = |n: &str, parties| {
        format!(
            "{of_rule}\"signers.atLeast\" must be between 1 and the number of parties in \"signers.of\", {parties}, but is {n}"
        )
    };
    let cases = [
        // The statement was renamed, here or there.
        (
            good.replace(r#""n""#, r#""m""#),
            "hardsign policy: there are rules for the oci trust policy statement \"m\", which does not exist".to_owned(),
        ),
        // Rules that this version does not know, and misspellings.
        (
            good.replace(r#""signers""#, r#""hardware""#),
            "hardsign policy: unknown member oci.n.hardware.atLeast".to_owned(),
        ),
        (
            good.replace(r#""signers""#, r#""signer""#),
            "hardsign policy: unknown member oci.n.signer".to_owned(),
        ),
        (
            good.replace(r#""signers""#, r#""Signers""#),
            "malformed hardsign policy: oci.n.Signers: must be written \"signers\"".to_owned(),
        ),
        (
            good.replace(r#""oci""#, r#""oic""#),
            "hardsign policy: unknown member oic".to_owned(),
        ),
        (
            good.replace("trustedIdentities", "trustedIdentity"),
            "hardsign policy: unknown member oci.n.signers.of[0] (\"alice\").trustedIdentity".to_owned(),
        ),
        (
            good.replace("atLeast", "atleast"),
            "malformed hardsign policy: oci.n.signers.atleast: must be written \"atLeast\"".to_owned(),
        ),
        // Rules that are missing or could never be met.
        (
            r#"{"version":"1.0","oci":{"n":{}}}"#.to_owned(),
            format!("{of_rule}\"signers\", \"attached\" or \"hardware\" is missing"),
        ),
        (
            of("null"),
            "malformed hardsign policy: oci.n.signers: must be an object, but is null".to_owned(),
        ),
        (of("{}"), at_least("missing", 0)),
        (of(r#"{"atLeast":1}"#), at_least("1", 0)),
        (
            good.replace(r#""atLeast":1,"#, ""),
            at_least("missing", 1),
        ),
        (good.replace(":1,", ":0,"), at_least("0", 1)),
        (good.replace(":1,", ":2,"), at_least("2", 1)),
        (
            good.replace(":1,", ":\"1\","),
            "malformed hardsign policy: oci.n.signers.atLeast: must be a whole number, but is a string".to_owned(),
        ),
        (
            rules(1, &[by_identity("alice"), by_store("alice", "ca:t")]),
            format!("{of_rule}several parties in \"signers.of\" are named \"alice\""),
        ),
        (
            rules(1, &[r#"{"name":"a"}"#.to_owned()]),
            format!("{of_rule}party \"a\" has neither trusted identities nor trust stores"),
        ),
        (
            rules(1, &[by_store("", "ca:t")]),
            format!("{of_rule}a party in \"signers.of\" is missing a name"),
        ),
        (
            rules(1, &[r#"{"name":"a","trustedIdentities":["*"]}"#.to_owned()]),
            format!("{of_rule}party \"a\" has trusted identity \"*\": only x509.subject identities are proof of a signer"),
        ),
        (
            rules(1, &[by_store("a", "ca:other")]),
            format!("{of_rule}party \"a\" names the trust store ca:other, which the statement does not name"),
        ),
        (
            rules(1, &[by_store("a", "tsa:t")]),
            format!("{of_rule}party \"a\" names the trust store tsa:t, which is not for signers"),
        ),
        (
            rules(1, &[by_store("a", "ca")]),
            format!("{of_rule}party \"a\" has malformed trust store value \"ca\". The required format is <TrustStoreType>:<TrustStoreName>"),
        ),
        // Not the file at all.
        (
            good.replace("1.0", "1.1"),
            "hardsign policy: version must be \"1.0\", but is \"1.1\"".to_owned(),
        ),
        (
            "[]".to_owned(),
            "malformed hardsign policy: document: must be an object, but is an array".to_owned(),
        ),
    ];
    for (text, expected) in cases {
        assert_ne!(text, good);
        let world = world(&pki, &text);
        let error = Policy::<Document>::load(&world.dirs).unwrap_err();
        assert_eq!(error.told(), expected, "{text}");
    }
    for text in [
        String::new(),
        format!("{good} x"),
        good.replace(r#""oci":{"#, r#""oci":{"n":{},"#),
    ] {
        let world = world(&pki, &text);
        assert!(Policy::<Document>::load(&world.dirs).is_err(), "{text}");
    }
    let world = world(&pki, &good);
    verified(world.verify(&Shelf::of(std::slice::from_ref(&alice))).await);
    // A symbolic link in its place is not followed, nor is it taken for absent.
    #[cfg(unix)]
    {
        let path = world.dirs.hardsign_policy();
        let real = world.dirs.config.join("elsewhere.json");
        fs::rename(&path, &real).unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        assert!(Policy::<Document>::load(&world.dirs).is_err());
        fs::remove_file(&path).unwrap();
        assert_eq!(verdict(world.verify(&Shelf::of(&[alice])).await), "ok");
    }
}

/// Rules for a statement that skips could never be enforced.
#[test]
fn rules_for_a_skipping_statement() {
    use hardsign_core::policy::oci::Document;
    use hardsign_core::verify::Policy;
    let pki = Pki::new();
    let skip = r#""signatureVerification":{"level":"skip"}"#;
    let world = world_of(&pki, &rules(1, &[by_identity("alice")]), skip);
    let error = Policy::<Document>::load(&world.dirs).unwrap_err();
    assert_eq!(
        error.told(),
        "hardsign policy: rules for the oci trust policy statement \"n\": the statement skips signature verification, so the rules could never be enforced"
    );
}
