//! The example plugin as a process of its own: what `serve` promises beyond the answers.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start the example and openssl"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on should stop where it is"
)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::error::{ErrorCode, ErrorResponse};
use hardsign_plugin::proto::{Base64, GenerateSignatureResponse, SessionLine};
use serde_json::{Value, json};

/// A directory with a key and its certificate.
struct Place(tempfile::TempDir);

impl Place {
    fn new(algorithm: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.openssl(&format!("genpkey {algorithm} -out k.pem"));
        place.openssl("req -x509 -key k.pem -out c.pem -subj /CN=Test -days 1");
        place.openssl("x509 -in c.pem -pubkey -noout -out p.pem");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        openssl
            .current_dir(self.0.path())
            .args(arguments.split(' '));
        let output = openssl.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
    }

    fn key(&self) -> Value {
        json!({
            "contractVersion": "1.0", "keyId": self.path("k.pem"),
            "pluginConfig": {"cert-chain": self.path("c.pem")},
        })
    }
}

/// Runs the example with these arguments and this input.
fn echo(arguments: &[&str], input: &str) -> Output {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().unwrap().parent().unwrap();
    let mut child = Command::new(target.join("examples/notation-echo"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that needs no input may have ended before.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// r‖s of a curve of up to 384 bits in DER.
fn to_der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let sign = usize::from(number[zeros] >= 0x80);
        let length = u8::try_from(number.len() - zeros + sign).unwrap();
        [&[2, length], &[0][..sign], &number[zeros..]].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let content = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A stray print is in no answer; RSA and ECDSA signatures are right.
#[test]
fn answers_are_clean_and_right() {
    for (algorithm, key_spec, options) in [
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            KeySpec::Rsa2048,
            " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32",
        ),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            KeySpec::Ec384,
            "",
        ),
    ] {
        let place = Place::new(algorithm);
        let mut request = place.key();
        request["keySpec"] = json!(key_spec);
        request["hashAlgorithm"] = json!(key_spec.hash());
        request["payload"] = json!(Base64(b"payload".to_vec()));
        let output = echo(&["generate-signature"], &request.to_string());
        assert_eq!(text(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
        let answer: GenerateSignatureResponse = serde_json::from_slice(&output.stdout).unwrap();
        let signature = match key_spec.is_rsa() {
            true => answer.signature.0.clone(),
            false => to_der(&answer.signature.0),
        };
        fs::write(place.path("s"), signature).unwrap();
        fs::write(place.path("payload"), b"payload").unwrap();
        let hash = key_spec.hash().oci_name();
        place.openssl(&format!(
            "dgst -{hash} -verify p.pem -signature s{options} payload"
        ));
        assert_eq!(answer.signature.0.len(), key_spec.signature_len());
    }
}

#[test]
fn a_session_keeps_prints_out_of_its_lines() {
    let place = Place::new("-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    let mut lines = json!({"id": 1, "command": "open", "request": place.key()}).to_string();
    for id in 2..12 {
        let request = json!({"digest": Base64(vec![id; 32]), "hashAlgorithm": "SHA-256"});
        let line = json!({"id": id, "command": "sign-digest", "request": request});
        lines.push_str(&format!("\n{line}"));
    }
    lines.push('\n');
    let output = echo(&["session"], &lines);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "a stray print\n");
    let (mut answers, mut events) = (Vec::new(), 0);
    for line in text(&output.stdout).lines() {
        match serde_json::from_str(line).unwrap() {
            SessionLine::Response { id, .. } => answers.push(id),
            SessionLine::Event(_) => events += 1,
            SessionLine::Error { error, .. } => panic!("{error:?}"),
        }
    }
    answers.sort_unstable();
    assert_eq!(answers, (1..12).collect::<Vec<_>>());
    assert_eq!(events, 1);
}

/// PLG-07: an error is JSON on stderr alone, with exit code 1 and nothing on stdout.
#[test]
fn plg_07_errors() {
    let place = Place::new("-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    let mut request = place.key();
    request["pluginConfig"] = json!({});
    let output = echo(&["describe-key"], &request.to_string());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let error: ErrorResponse = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error.error_code, Some(ErrorCode::ValidationError));
    assert!(error.hint().unwrap().contains("cert-chain"));
}

/// PLG-49: `version` for people; anything else lists the commands.
#[test]
fn plg_49_version_and_unknown_commands() {
    let output = echo(&["version"], "");
    assert_eq!(
        text(&output.stdout),
        "echo - Signs with the openssl program\nVersion: 1.0.0\n"
    );
    for arguments in [&["dance"][..], &[], &["version", "now"], &["list-keys"]] {
        let output = echo(arguments, "{}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stdout), "");
        let error: ErrorResponse = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(
            error.error_message.as_deref(),
            Some(
                "Invalid command, valid commands are: get-plugin-metadata, describe-key, \
                 generate-signature, sign-digest, session, version"
            )
        );
    }
}
