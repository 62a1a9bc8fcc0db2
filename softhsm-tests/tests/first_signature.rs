//! The whole road with a key in a SoftHSM token: sign, list, verify, and what must be refused.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::keys;
use softhsm_tests::pair::without_signers;
use softhsm_tests::peers::Notation;
use softhsm_tests::token::Token;
use softhsm_tests::workbench::{Ran, Workbench};

const SCOPE: [&str; 2] = ["--scope", "local/test"];

/// A bench with a token that holds one key with its chain, trusted under a strict policy.
fn bench(spec: KeySpec) -> (Token, Workbench) {
    let token = Token::new("T").with_key_and_chain(&keys::key(spec), "signing", "01");
    let bench = Workbench::with_token(&token);
    bench.trust(&keys::root(), "strict");
    (token, bench)
}

fn sign(bench: &Workbench, uri: &str, reference: &str, more: &[&str]) -> Ran {
    let arguments = [
        "sign",
        "--plugin",
        "pkcs11",
        "--id",
        uri,
        "--oci-layout",
        reference,
    ];
    bench.hardsign(arguments.iter().chain(more))
}

fn verify(bench: &Workbench, reference: &str) -> Ran {
    bench.hardsign(["verify", "--oci-layout", reference].iter().chain(&SCOPE))
}

/// ENV-32, SEC-01, CLI-31, CLI-37, CLI-44: each key type, held in a token, signs and verifies in
/// each format.
#[test]
fn every_key_type_signs_and_verifies_in_both_formats() {
    for spec in KeySpec::ALL {
        let (token, bench) = bench(spec);
        for format in ["jws", "cose"] {
            let digest = bench.layout.add(format, format);
            let reference = bench.reference(&digest);
            let signed = sign(
                &bench,
                &token.uri("signing"),
                &reference,
                &[
                    "--signature-format",
                    format,
                    "-m",
                    "build=17",
                    "--expiry",
                    "1h",
                ],
            );
            assert_eq!(signed.code, Some(0), "{spec} {format}: {}", signed.stderr);
            let name = bench.layout.path().display();
            let mut lines = signed.stdout.lines();
            assert_eq!(
                lines.next(),
                Some(&*format!("Successfully signed {name}@{digest}"))
            );
            let signature = lines
                .next()
                .and_then(|l| l.strip_prefix(&format!("Pushed the signature to {name}@")))
                .expect("the signature's digest");
            let listed = bench.hardsign_ok(["list", "--oci-layout", &reference]);
            assert_eq!(
                listed.stdout,
                format!(
                    "{name}@{digest}\n└── application/vnd.cncf.notary.signature\n    └── {signature}\n"
                )
            );
            let verified = verify(&bench, &reference);
            assert_eq!(
                verified.code,
                Some(0),
                "{spec} {format}: {}",
                verified.stderr
            );
            assert!(
                verified.stdout.contains("\n  signer     CN="),
                "{}",
                verified.stdout
            );
            assert_eq!(
                without_signers(&verified.stdout),
                format!(
                    "Successfully verified signature for {name}@{digest}\n\nThe artifact was signed with the following user metadata.\n\nKEY     VALUE   \nbuild   17      \n"
                )
            );
        }
    }
}

/// SEC-02: one changed byte in the artifact, the envelope or the signature's manifest is refused.
#[test]
fn a_changed_byte_is_refused() {
    let (token, bench) = bench(KeySpec::Ec384);
    let digest = bench.layout.add("v1", "hello");
    let reference = bench.reference(&digest);
    assert_eq!(
        sign(&bench, &token.uri("signing"), &reference, &[]).code,
        Some(0)
    );
    assert_eq!(verify(&bench, &reference).code, Some(0));
    for (file, content) in bench.layout.snapshot() {
        if !file.starts_with(bench.layout.path().join("blobs")) || content.len() < 200 {
            continue;
        }
        let mut changed = content.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&file, &changed).unwrap();
        let refused = verify(&bench, &reference);
        assert_eq!(
            refused.code,
            Some(1),
            "{}: {}",
            file.display(),
            refused.stdout
        );
        assert!(refused.stderr.starts_with("Error: "), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
        fs::write(&file, &content).unwrap();
    }
    assert_eq!(verify(&bench, &reference).code, Some(0));
}

/// VER-26, TST-13, TP-34: unsigned, untrusted and wrongly named signers are refused.
#[test]
fn without_signature_trust_or_identity_it_is_refused() {
    let (token, bench) = bench(KeySpec::Ec256);
    let digest = bench.layout.add("v1", "hello");
    let reference = bench.reference(&digest);
    let unsigned = verify(&bench, &reference);
    assert_eq!(unsigned.code, Some(1));
    assert!(
        unsigned.stderr.contains("no signature is associated with"),
        "{}",
        unsigned.stderr
    );

    assert_eq!(
        sign(&bench, &token.uri("signing"), &reference, &[]).code,
        Some(0)
    );
    let statement = |store: &str, identity: &str| {
        json!({
            "name": "tests",
            "registryScopes": ["local/test"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": [identity],
        })
    };
    let other = keys::with_extensions(KeySpec::Ec256, "stranger", "");
    bench.trust_store("other", &other.chain);
    bench.policy(&statement(
        "tests",
        "x509.subject: C=US, ST=WA, O=Somebody Else",
    ));
    let wrong_name = verify(&bench, &reference);
    assert_eq!(wrong_name.code, Some(1));
    assert!(
        wrong_name
            .stderr
            .contains("signature verification failed for all the signatures")
    );
    bench.policy(&statement(
        "tests",
        "x509.subject: C=US, ST=WA, O=Hardsign Tests",
    ));
    assert_eq!(verify(&bench, &reference).code, Some(0));
}

/// A responder that can't be reached leaves the status unknown: enforced fails and says why, logged
/// warns (VER-06, VER-07, SEC-08).
#[test]
fn an_unreachable_responder_never_passes_silently() {
    let key = keys::with_extensions(
        KeySpec::Ec256,
        "revocable",
        "authorityInfoAccess=OCSP;URI:http://127.0.0.1:9/ocsp\n",
    );
    let token = Token::new("T").with_key_and_chain(&key, "signing", "01");
    let bench = Workbench::with_token(&token);
    let digest = bench.layout.add("v1", "hello");
    let reference = bench.reference(&digest);
    assert_eq!(
        sign(&bench, &token.uri("signing"), &reference, &[]).code,
        Some(0)
    );
    bench.trust(&keys::root(), "strict");
    let strict = verify(&bench, &reference);
    assert_eq!(strict.code, Some(1));
    assert!(strict.stderr.contains("revocation"), "{}", strict.stderr);
    bench.trust(&keys::root(), "permissive");
    let permissive = verify(&bench, &reference);
    assert_eq!(permissive.code, Some(0), "{}", permissive.stderr);
    assert!(
        permissive
            .stderr
            .starts_with("Warning: revocation was set to \"log\" and failed with error:"),
        "{}",
        permissive.stderr
    );
}

/// CLI-32: a batch signs everything through one session; JSON names every signature.
#[test]
fn a_batch_reports_every_signature_as_json() {
    let (token, bench) = bench(KeySpec::Ec256);
    let references: Vec<_> = (0..5)
        .map(|i| bench.reference(&bench.layout.add(&format!("v{i}"), &i.to_string())))
        .collect();
    let uri = token.uri("signing");
    let mut arguments = vec![
        "sign",
        "--plugin",
        "pkcs11",
        "--id",
        &uri,
        "--output",
        "json",
        "--oci-layout",
    ];
    arguments.extend(references.iter().map(String::as_str));
    let signed = bench.hardsign_ok(arguments);
    let report: Value = serde_json::from_str(&signed.stdout).unwrap();
    let signed: Vec<_> = report["signed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["reference"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(signed, references);
    let mut arguments = vec!["verify", "--scope", "local/test", "--oci-layout"];
    arguments.extend(references.iter().map(String::as_str));
    let verified = bench.hardsign_ok(arguments);
    assert_eq!(verified.stdout.matches("Successfully verified").count(), 5);
}

/// DIF-47, CLI-39: metadata is shown sorted by key, whatever the order on the command line.
#[test]
fn dif_47_metadata_is_sorted() {
    let (token, bench) = bench(KeySpec::Ec256);
    let reference = bench.reference(&bench.layout.add("v1", "hello"));
    let metadata = ["-m", "z=1", "-m", "a=2", "-m", "m=3"];
    assert_eq!(
        sign(&bench, &token.uri("signing"), &reference, &metadata).code,
        Some(0)
    );
    let verified = verify(&bench, &reference);
    let rows: Vec<_> = verified
        .stdout
        .lines()
        .skip_while(|l| !l.starts_with("KEY"))
        .collect();
    assert_eq!(
        rows,
        [
            "KEY   VALUE   ",
            "a     2       ",
            "m     3       ",
            "z     1       "
        ]
    );
}

/// DIF-51, CLI-17, CFG-28: layouts need no experimental switch; it is accepted and changes nothing.
#[test]
fn dif_51_the_experimental_switch_changes_nothing() {
    let (token, mut bench) = bench(KeySpec::Ec256);
    let reference = bench.reference(&bench.layout.add("v1", "hello"));
    assert_eq!(
        sign(&bench, &token.uri("signing"), &reference, &[]).code,
        Some(0)
    );
    let without = verify(&bench, &reference);
    bench.set("NOTATION_EXPERIMENTAL", "1");
    let with = verify(&bench, &reference);
    assert_eq!((with.code, with.stderr.as_str()), (Some(0), ""));
    assert_eq!(with.stdout, without.stdout);
}

/// DIF-46, CLI-57: with JSON, `inspect` keeps standard output to the document; the warning about the
/// limit goes to standard error.
#[test]
fn dif_46_inspect_warns_on_standard_error() {
    let (token, bench) = bench(KeySpec::Ec256);
    let reference = bench.reference(&bench.layout.add("v1", "hello"));
    for _ in 0..2 {
        assert_eq!(
            sign(&bench, &token.uri("signing"), &reference, &[]).code,
            Some(0)
        );
    }
    let inspect = [
        "inspect",
        "--max-signatures",
        "1",
        "--oci-layout",
        &reference,
    ];
    let shown = bench.hardsign_ok(inspect.iter().chain(&["--output", "json"]));
    let document: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(document["signatures"].as_array().unwrap().len(), 1);
    assert_eq!(
        shown.stderr,
        "Warning: exceeded configured limit of max signatures 1 to examine\n"
    );
}

/// OCI-10, OCI-37, OCI-38: the signature that a layout gets is found by versions of the reference
/// before 2 too: `notation` lists and verifies what was signed with the token, in each format and
/// for an index as for an image; and both list the same.
#[test]
fn oci_10_notation_finds_and_verifies_signatures_in_layouts() {
    let (token, bench) = bench(KeySpec::Ec384);
    let notation = Notation::new();
    let notation = |arguments: &[&str]| {
        let mut command = notation.command(arguments);
        command
            .env("NOTATION_CONFIG", bench.config())
            .env("NOTATION_EXPERIMENTAL", "1");
        bench.run(&mut command)
    };
    let image = bench.layout.add("image", "image");
    let index = bench
        .layout
        .add_index("index", &[(&image, Some("linux/amd64"))]);
    for digest in [image, index] {
        let reference = bench.reference(&digest);
        for format in ["jws", "cose"] {
            let more = ["--signature-format", format];
            let signed = sign(&bench, &token.uri("signing"), &reference, &more);
            assert_eq!(signed.code, Some(0), "{}", signed.stderr);
            let (_, signature) = signed.stdout.trim_end().rsplit_once('@').unwrap();
            let manifest: Value = serde_json::from_slice(
                &fs::read(
                    bench
                        .layout
                        .path()
                        .join("blobs")
                        .join(signature.replace(':', "/")),
                )
                .unwrap(),
            )
            .unwrap();
            assert_eq!(manifest["config"]["mediaType"], SIGNATURE_TYPE);
            assert_eq!(manifest["artifactType"], Value::Null);
        }
        let verified = notation(&[
            "verify",
            "--oci-layout",
            "--scope",
            "local/test",
            &reference,
        ]);
        assert_eq!(verified.code, Some(0), "{}", verified.stderr);
        assert_eq!(verify(&bench, &reference).code, Some(0));
        let listed = notation(&["list", "--oci-layout", &reference]);
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
        let ours = bench
            .hardsign_ok(["list", "--oci-layout", &reference])
            .stdout;
        assert_eq!(
            listed.stdout.matches("sha256:").count(),
            3,
            "{}",
            listed.stdout
        );
        let lines = |text: &str| {
            let mut digests: Vec<String> = text
                .split_whitespace()
                .filter(|w| w.starts_with("sha256:"))
                .map(str::to_owned)
                .collect();
            digests.sort();
            digests
        };
        assert_eq!(lines(&listed.stdout), lines(&ours));
    }
}

const SIGNATURE_TYPE: &str = "application/vnd.cncf.notary.signature";
