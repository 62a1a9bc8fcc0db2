//! `hardsign` and the real `notation` 1.3.2 give the same verdict, in the same words, over the
//! reference's own signatures (`core/tests/vectors/reference`): as they are, under policies that
//! fit and that don't, for another artifact, and with single bytes changed.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use softhsm_tests::keys;
use softhsm_tests::pair::{without_hint, without_signers};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::peers::{Oras, succeed};
use softhsm_tests::scene::{Scene, Tool};

/// A signature of the vectors.
struct Vector {
    media_type: String,
    envelope: Vec<u8>,
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/vectors/reference")
}

fn blob(digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().unwrap().replace(':', "/");
    fs::read(vectors().join("layout/blobs").join(digest)).unwrap()
}

/// The twelve signatures, in the order of the layout's index.
fn signatures() -> Vec<Vector> {
    let index = fs::read(vectors().join("layout/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let signatures: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|manifest| manifest["artifactType"] == "application/vnd.cncf.notary.signature")
        .map(|manifest| {
            let manifest: Value = serde_json::from_slice(&blob(&manifest["digest"])).unwrap();
            let layer = &manifest["layers"][0];
            Vector {
                media_type: layer["mediaType"].as_str().unwrap().to_owned(),
                envelope: blob(&layer["digest"]),
            }
        })
        .collect();
    assert_eq!(signatures.len(), 12);
    signatures
}

/// A registry, and both tools with the vectors' root in the store `ca:vectors`.
struct Bench {
    scene: Scene,
    oras: Oras,
}

impl Bench {
    fn new() -> Self {
        let scene = Scene::new(&Registry::ggcr());
        scene
            .bench
            .trust_store("vectors", &vectors().join("certificates/root.crt"));
        scene.bench.trust_store("others", &keys::root());
        let bench = Self {
            scene,
            oras: Oras::new(),
        };
        bench.policy(
            "strict",
            "vectors",
            "x509.subject: C=US, ST=WA, O=Vectors, OU=Release",
        );
        bench
    }

    /// Revocation is skipped: the certificates name no responder, and no answer would be the same
    /// for both tools at all times.
    fn policy(&self, level: &str, store: &str, identity: &str) {
        self.scene.bench.policy(&json!({
            "name": "vectors",
            "registryScopes": ["*"],
            "signatureVerification": {"level": level, "override": {"revocation": "skip"}},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": [identity],
        }));
    }

    /// The vectors' artifact in the repository `name`.
    fn artifact(&self, name: &str) -> String {
        let reference = self.scene.registry.reference(name);
        let mut copy = self.oras.command(["cp", "--from-oci-layout"]);
        copy.arg(format!("{}:v1", vectors().join("layout").display()));
        succeed(copy.arg(format!("{reference}:v1")));
        let digest = self.oras.run(["resolve", &format!("{reference}:v1")]);
        format!("{reference}@{}", digest.trim())
    }

    /// Attaches an envelope to an artifact, as a signature.
    fn attach(&self, reference: &str, media_type: &str, envelope: &[u8]) {
        let directory = self.scene.bench.path();
        fs::write(directory.join("envelope"), envelope).unwrap();
        let mut attach = self.oras.command(["attach", "--artifact-type"]);
        attach.args(["application/vnd.cncf.notary.signature", reference]);
        attach
            .arg(format!("envelope:{media_type}"))
            .current_dir(directory);
        succeed(&mut attach);
    }

    /// Both tools answer the same: outcome, output, and error up to our hint.
    fn verdict(&self, reference: &str, what: &str) -> bool {
        let [ours, theirs] = Tool::BOTH.map(|tool| {
            let ran = self.scene.run(tool, ["verify", reference]);
            assert!(
                matches!(ran.code, Some(0 | 1)),
                "{what}: {tool:?}: {}",
                ran.stderr
            );
            // As notation 2, an empty line after warnings (CLI-37); and identities as they stand in
            // the policy, where the reference prints its own map of them.
            let error = without_hint(&ran.stderr).replace("'hardsign cert", "'notation cert");
            let error = match error.split_once("X.509 trusted identities [") {
                Some((before, _)) => before.to_owned(),
                None => error,
            };
            (
                ran.code == Some(0),
                without_signers(ran.stdout.trim_start()),
                error,
            )
        });
        assert_eq!(ours, theirs, "{what}");
        ours.0
    }
}

/// VER-02, VER-26, CLI-37, CLI-40, CLI-42: each vector under a policy that fits, and under others.
#[test]
fn the_vectors_under_policies() {
    let bench = Bench::new();
    let fitting = "x509.subject: C=US, ST=WA, O=Vectors, OU=Release";
    let other = "x509.subject: C=US, ST=WA, O=Others";
    for (number, vector) in signatures().into_iter().enumerate() {
        let reference = bench.artifact(&format!("vector-{number}"));
        assert!(!bench.verdict(&reference, "unsigned"));
        bench.attach(&reference, &vector.media_type, &vector.envelope);
        for (level, store, identity, good) in [
            ("strict", "vectors", fitting, true),
            ("strict", "vectors", "*", true),
            ("permissive", "vectors", fitting, true),
            ("audit", "vectors", fitting, true),
            ("strict", "vectors", other, false),
            ("permissive", "vectors", other, false),
            ("audit", "vectors", other, true),
            ("strict", "others", fitting, false),
            ("strict", "absent", fitting, false),
            ("audit", "absent", fitting, true),
        ] {
            bench.policy(level, store, identity);
            let what = format!("vector {number} {level} {store} {identity}");
            assert_eq!(bench.verdict(&reference, &what), good, "{what}");
        }
        bench.policy("strict", "vectors", fitting);
    }
}

/// CLI-38: a policy that skips.
#[test]
fn the_vectors_under_a_policy_that_skips() {
    let bench = Bench::new();
    bench.scene.bench.policy(&json!({
        "name": "skip", "registryScopes": ["*"], "signatureVerification": {"level": "skip"},
    }));
    let reference = bench.artifact("skipped");
    let ran = bench.scene.ok(Tool::Hardsign, ["verify", &reference]);
    let theirs = bench.scene.ok(Tool::Notation, ["verify", &reference]);
    assert_eq!(ran.stdout, theirs.stdout);
}

/// SEC-02, VER-22: an envelope under another artifact, or under the other format's name.
#[test]
fn the_vectors_in_the_wrong_place() {
    let bench = Bench::new();
    for (number, vector) in signatures().into_iter().enumerate() {
        let other = bench
            .scene
            .push(&format!("other-{number}:v1"), "another artifact");
        bench.attach(&other, &vector.media_type, &vector.envelope);
        assert!(!bench.verdict(&other, "another artifact"));
        let renamed = bench.artifact(&format!("renamed-{number}"));
        let wrong = match vector.media_type.as_str() {
            "application/cose" => "application/jose+json",
            _ => "application/cose",
        };
        bench.attach(&renamed, wrong, &vector.envelope);
        assert!(!bench.verdict(&renamed, wrong));
    }
}

/// SEC-02, SEC-03: a changed byte at many places of one envelope of each format. (Every byte of
/// many more is changed in the tests of the core.)
#[test]
fn changed_bytes_get_the_same_verdict() {
    let bench = Bench::new();
    let vectors = signatures();
    for media_type in ["application/jose+json", "application/cose"] {
        let vector = vectors.iter().find(|v| v.media_type == media_type).unwrap();
        let step = vector.envelope.len() / 12;
        for number in 0..12 {
            let at = number * step + step / 2;
            let mut changed = vector.envelope.clone();
            // A letter for a letter: what changes is meaning, seldom syntax.
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let name = format!("changed-{}-{number}", media_type.replace(['/', '+'], "-"));
            let reference = bench.artifact(&name);
            bench.attach(&reference, media_type, &changed);
            bench.verdict(&reference, &format!("{media_type} byte {at}"));
        }
    }
}

/// VER-25, VER-28: all of them at one artifact, good ones among bad ones.
#[test]
fn one_good_signature_among_many() {
    let bench = Bench::new();
    let vectors = signatures();
    let reference = bench.artifact("many");
    for vector in &vectors[..3] {
        let mut changed = vector.envelope.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        bench.attach(&reference, &vector.media_type, &changed);
    }
    assert!(!bench.verdict(&reference, "bad ones"));
    bench.attach(&reference, &vectors[3].media_type, &vectors[3].envelope);
    assert!(bench.verdict(&reference, "one good"));
    let [ours, theirs] = Tool::BOTH.map(|tool| bench.scene.ok(tool, ["list", &reference]).stdout);
    assert_eq!(ours, theirs);
}
