//! Files signed with a key in a token: detached signatures, their names and modes, and the order in
//! which faults are told.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::pair::is_unanswered;
use softhsm_tests::token::Token;
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::{binaries, keys};

fn bench(spec: KeySpec) -> (Token, Workbench) {
    let token = Token::new("T").with_key_and_chain(&keys::key(spec), "signing", "01");
    let bench = Workbench::with_token(&token);
    bench.trust_store("tests", &keys::root());
    let policy = json!({"version": "1.0", "trustPolicies": [{
        "name": "all", "globalPolicy": true,
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:tests"], "trustedIdentities": ["*"],
    }]});
    fs::write(
        bench.config().join("trustpolicy.blob.json"),
        policy.to_string(),
    )
    .unwrap();
    fs::write(bench.path().join("file.txt"), "hello").unwrap();
    (token, bench)
}

fn sign(bench: &Workbench, uri: &str, more: &[&str]) -> Ran {
    bench.hardsign(
        ["blob", "sign", "--plugin", "pkcs11", "--id", uri]
            .iter()
            .chain(more),
    )
}

fn verify(bench: &Workbench, signature: &str, more: &[&str]) -> Ran {
    bench.hardsign(
        ["blob", "verify", "--signature", signature]
            .iter()
            .chain(more),
    )
}

/// BLOB-01, BLOB-02, BLOB-14, ENV-12, CLI-95, CLI-97: every key type signs a file in both formats;
/// the signature lies beside it, mode 0600, and binds the file by the key's hash.
#[test]
fn blob_02_every_key_type_signs_a_file() {
    for spec in KeySpec::ALL {
        let (token, bench) = bench(spec);
        for format in ["jws", "cose"] {
            let signed = sign(
                &bench,
                &token.uri("signing"),
                &["--signature-format", format, "-m", "build=17", "file.txt"],
            );
            assert_eq!(signed.code, Some(0), "{spec} {format}: {}", signed.stderr);
            let name = format!("file.txt.{format}.sig");
            assert_eq!(
                signed.stdout,
                format!("Successfully signed file.txt\n Signature file written to {name}\n")
            );
            let path = bench.path().join(&name);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            let shown = bench.hardsign_ok(["blob", "inspect", "--output", "json", &name]);
            let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
            let hash = spec.hash().oci_name();
            assert!(
                shown["signedArtifact"]["digest"]
                    .as_str()
                    .unwrap()
                    .starts_with(hash)
            );
            assert_eq!(shown["signedArtifact"]["size"], 5);
            let verified = verify(&bench, &name, &["file.txt"]);
            assert_eq!(
                verified.code,
                Some(0),
                "{spec} {format}: {}",
                verified.stderr
            );
            assert!(
                verified
                    .stdout
                    .starts_with("Successfully verified signature for file.txt\n")
            );
        }
    }
}

/// BLOB-09, SEC-22: another file, media type or metadata is refused, and no error tells the user to
/// weaken the policy.
#[test]
fn sec_22_refusals_never_suggest_a_weaker_policy() {
    let (token, bench) = bench(KeySpec::Ec256);
    assert_eq!(
        sign(&bench, &token.uri("signing"), &["file.txt"]).code,
        Some(0)
    );
    fs::write(bench.path().join("other.txt"), "hallo").unwrap();
    let signature = "file.txt.jws.sig";
    fs::write(bench.path().join("broken.jws.sig"), "{}").unwrap();
    for (signature, more, why) in [
        (
            signature,
            &["other.txt"][..],
            "signature does not match the given blob",
        ),
        (
            signature,
            &["--media-type", "text/plain", "file.txt"],
            "does not match the given blob",
        ),
        (
            signature,
            &["-m", "build=18", "file.txt"],
            "unable to find specified metadata",
        ),
        (
            "broken.jws.sig",
            &["file.txt"],
            "unable to parse the digital signature",
        ),
        (
            signature,
            &["--policy-name", "none", "file.txt"],
            "no applicable blob trust policy",
        ),
    ] {
        let refused = verify(&bench, signature, more);
        assert_eq!(refused.code, Some(1), "{more:?}: {}", refused.stderr);
        assert_eq!(refused.stdout, "");
        assert!(refused.stderr.contains(why), "{more:?}: {}", refused.stderr);
        for weaker in ["permissive", "audit", "skip", "\"log\""] {
            assert!(!refused.stderr.contains(weaker), "{}", refused.stderr);
        }
    }
}

/// BLOB-04, BLOB-05: an existing signature file is asked about before anything is signed; with no
/// answer, or with no, it stays; `--force` replaces it and warns.
#[test]
fn blob_04_an_existing_signature_is_asked_about_first() {
    let (token, bench) = bench(KeySpec::Ec256);
    let path = bench.path().join("file.txt.jws.sig");
    fs::write(&path, "mine").unwrap();
    let uri = token.uri("signing");
    let question = "The signature file already exists, do you want to overwrite it? [y/N] ";
    let unanswered = sign(&bench, &uri, &["file.txt"]);
    is_unanswered(
        &unanswered,
        question,
        "Error: file.txt.jws.sig was not replaced",
    );
    let no = answer(&bench, &uri, "n\n");
    assert_eq!(no.stdout, format!("{question}Operation cancelled.\n"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let yes = answer(&bench, &uri, "yes\n");
    assert!(
        yes.stdout.contains("Successfully signed file.txt"),
        "{}",
        yes.stdout
    );
    assert_ne!(fs::read_to_string(&path).unwrap(), "mine");
    let forced = sign(&bench, &uri, &["--force", "file.txt"]);
    assert_eq!(forced.code, Some(0));
    assert_eq!(
        forced.stderr,
        "Warning: existing signature file will be overwritten\n"
    );
}

/// `blob sign` with an answer on standard input.
fn answer(bench: &Workbench, uri: &str, answer: &str) -> Ran {
    let mut command = bench.command(
        &binaries().join("hardsign"),
        [
            "blob", "sign", "--plugin", "pkcs11", "--id", uri, "file.txt",
        ],
    );
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(answer.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// BLOB-11: missing file, missing signature, missing policy, then the signature's name.
#[test]
fn blob_11_order_of_faults() {
    let (_token, bench) = bench(KeySpec::Ec256);
    let fault = |signature: &str, blob: &str| {
        let ran = verify(&bench, signature, &[blob]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
        ran.stderr
    };
    assert!(fault("absent.sig", "absent").contains("absent"));
    assert!(fault("absent.sig", "file.txt").contains("absent.sig"));
    fs::write(bench.path().join("odd.sig"), "{}").unwrap();
    assert!(fault("odd.sig", "file.txt").contains("invalid signature filename odd.sig"));
    fs::remove_file(bench.config().join("trustpolicy.blob.json")).unwrap();
    assert!(fault("odd.sig", "file.txt").contains("trust policy is not present"));
}

/// Standard input is signed and verified, and a batch of files costs one command.
#[test]
fn standard_input_and_batches() {
    let (token, bench) = bench(KeySpec::Ec256);
    fs::write(bench.path().join("two.txt"), "two").unwrap();
    let uri = token.uri("signing");
    let both = sign(
        &bench,
        &uri,
        &["--signature-directory", "sigs", "file.txt", "two.txt"],
    );
    assert_eq!(both.code, Some(0), "{}", both.stderr);
    for name in ["file.txt", "two.txt"] {
        let signature = format!("sigs/{name}.jws.sig");
        assert_eq!(verify(&bench, &signature, &[name]).code, Some(0), "{name}");
    }
    let unnamed = sign(&bench, &uri, &["-"]);
    assert_eq!(unnamed.code, Some(2));
    assert!(
        unnamed.stderr.contains("standard input has no file name"),
        "{}",
        unnamed.stderr
    );
    let empty = sign(&bench, &uri, &["--signature", "in.jws.sig", "-"]);
    assert_eq!(empty.code, Some(0), "{}", empty.stderr);
    assert_eq!(verify(&bench, "in.jws.sig", &["-"]).code, Some(0));
    assert_eq!(verify(&bench, "in.jws.sig", &["file.txt"]).code, Some(1));
}
