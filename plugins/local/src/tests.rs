//! The plugin over its own server; keys are made and signatures judged by openssl.
#![allow(
    clippy::disallowed_methods,
    reason = "openssl makes keys and checks signatures"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command as Process;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::error::ErrorResponse;
use hardsign_plugin::proto::{Base64, GenerateSignatureResponse};
use serde_json::{Value, json};

use super::*;

/// A directory, and openssl in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let mut openssl = Process::new("openssl");
        openssl
            .current_dir(self.0.path())
            .args(arguments.split(' '));
        let output = openssl.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
    }

    /// `k.pem` (PKCS#8) and its self-signed `c.pem`.
    fn key(&self, algorithm: &str) {
        self.openssl(&format!("genpkey {algorithm} -out k.pem"));
        self.openssl("req -x509 -key k.pem -out c.pem -subj /CN=Test -days 1");
    }

    fn call(&self, command: &str, request: &Value) -> Result<Value, ErrorResponse> {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let input = std::io::Cursor::new(request.to_string());
        match hardsign_plugin::serve_on(&Local, command, input, &mut output, &mut errors) {
            0 => Ok(serde_json::from_slice(&output).unwrap()),
            _ => Err(serde_json::from_slice(&errors).unwrap()),
        }
    }

    fn describe(&self, key: &str, certificate: &str) -> Result<Value, ErrorResponse> {
        let request = json!({
            "contractVersion": "1.0", "keyId": self.path(key),
            "pluginConfig": {"cert-chain": self.path(certificate)},
        });
        self.call("describe-key", &request)
    }

    fn sign(&self, key: &str, key_spec: KeySpec) -> GenerateSignatureResponse {
        let request = json!({
            "contractVersion": "1.0", "keyId": self.path(key),
            "keySpec": key_spec, "hashAlgorithm": key_spec.hash(),
            "payload": Base64(b"payload".to_vec()),
            "pluginConfig": {"cert-chain": self.path("c.pem")},
        });
        let answer = self.call("generate-signature", &request).unwrap();
        serde_json::from_value(answer).unwrap()
    }

    /// openssl accepts the signature: PSS with the salt of ENV-35, or ECDSA.
    fn verify(&self, key_spec: KeySpec, signature: &[u8]) {
        fs::write(self.path("payload"), b"payload").unwrap();
        let hash = key_spec.hash().oci_name();
        let options = if key_spec.is_rsa() {
            fs::write(self.path("s"), signature).unwrap();
            let salt = key_spec.hash().output_len();
            format!(" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}")
        } else {
            fs::write(self.path("s"), to_der(signature)).unwrap();
            String::new()
        };
        self.openssl("x509 -in c.pem -pubkey -noout -out p.pem");
        self.openssl(&format!(
            "dgst -{hash} -verify p.pem -signature s{options} payload"
        ));
    }
}

/// r‖s in DER.
fn to_der(signature: &[u8]) -> Vec<u8> {
    use der::Encode as _;
    let (r, s) = signature.split_at(signature.len() / 2);
    let number = |bytes| der::asn1::Uint::new(bytes).unwrap();
    vec![number(r), number(s)].to_der().unwrap()
}

const KINDS: [(&str, KeySpec); 6] = [
    (
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        KeySpec::Rsa2048,
    ),
    (
        "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
        KeySpec::Rsa3072,
    ),
    (
        "-algorithm RSA -pkeyopt rsa_keygen_bits:4096",
        KeySpec::Rsa4096,
    ),
    (
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        KeySpec::Ec256,
    ),
    (
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        KeySpec::Ec384,
    ),
    (
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
        KeySpec::Ec521,
    ),
];

/// X509-28, ENV-32: all six kinds, each in PKCS#8 and in its own format.
#[test]
fn x509_28_six_kinds_sign() {
    for (algorithm, key_spec) in KINDS {
        let place = Place::new();
        place.key(algorithm);
        let kind = if key_spec.is_rsa() { "rsa" } else { "ec" };
        place.openssl(&format!("{kind} -in k.pem -out old.pem"));
        if key_spec.is_rsa() {
            place.openssl("rsa -in k.pem -out old.pem -traditional");
        }
        let old = fs::read_to_string(place.path("old.pem")).unwrap();
        let label = format!("BEGIN {} PRIVATE KEY", kind.to_uppercase());
        assert!(old.contains(&label), "{old}");
        for key in ["k.pem", "old.pem"] {
            let described = place.describe(key, "c.pem").unwrap();
            assert_eq!(described["keySpec"], key_spec.name());
            let signed = place.sign(key, key_spec);
            assert_eq!(signed.certificate_chain.len(), 1);
            place.verify(key_spec, &signed.signature.0);
        }
    }
}

/// `openssl ecparam -genkey` puts a block before the key.
#[test]
fn parameters_before_the_key_are_passed_over() {
    let place = Place::new();
    place.openssl("ecparam -name prime256v1 -genkey -out k.pem");
    let text = fs::read_to_string(place.path("k.pem")).unwrap();
    assert!(text.contains("EC PARAMETERS"));
    place.openssl("req -x509 -key k.pem -out c.pem -subj /CN=Test -days 1");
    place.verify(
        KeySpec::Ec256,
        &place.sign("k.pem", KeySpec::Ec256).signature.0,
    );
}

/// X509-14: a certificate whose key is outside the profile is named before the keys are compared.
#[test]
fn x509_14_certificates_of_other_keys() {
    let place = Place::new();
    for (algorithm, what) in [
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
            "EC with explicit parameters",
        ),
        (
            "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
            "RSASSA-PSS",
        ),
        ("-algorithm ED25519", "Ed25519"),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
            "EC on curve secp256k1",
        ),
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2560",
            "RSA with 2560 bits",
        ),
    ] {
        place.key(algorithm);
        let error = place.describe("k.pem", "c.pem").unwrap_err();
        let text = error.error_message.unwrap();
        assert!(
            text.contains("the certificate can't be used") && text.contains(what),
            "{text}"
        );
    }
}

/// CFG-20, X509-28: the texts of what can be wrong.
#[test]
fn cfg_20_faults() {
    let place = Place::new();
    place.key(KINDS[3].0);
    fs::copy(place.path("k.pem"), place.path("first.pem")).unwrap();
    fs::write(place.path("empty"), "").unwrap();
    fs::write(place.path("garbage"), "garbage").unwrap();
    place.key(KINDS[0].0);
    place.openssl("pkcs8 -topk8 -in k.pem -out enc8.pem -passout pass:x");
    place.openssl("rsa -in k.pem -out enc1.pem -traditional -aes128 -passout pass:x");
    place.openssl("genpkey -algorithm ED25519 -out ed.pem");
    place.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out k1.pem");
    place.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2560 -out odd.pem");
    let text = |key: &str, certificate: &str| {
        let error = place.describe(key, certificate).unwrap_err();
        error.error_message.unwrap()
    };
    let path = |name: &str| place.path(name).display().to_string();
    let missing = |name: &str| format!("open {}: no such file or directory", path(name));
    assert_eq!(text("none", "c.pem"), missing("none"));
    assert_eq!(text("k.pem", "none"), missing("none"));
    let quoted = format!("{:?} does not contain certificate", place.path("empty"));
    assert_eq!(text("k.pem", "empty"), quoted);
    for (key, certificate, part) in [
        (
            "first.pem",
            "c.pem",
            "private key does not match public key",
        ),
        ("k.pem", "garbage", "x509: malformed certificate"),
        ("k.pem", "k.pem", "contains a private key"),
        ("garbage", "c.pem", "no PEM data found"),
        ("empty", "c.pem", "no PEM data found"),
        ("c.pem", "c.pem", "unsupported PEM block type: CERTIFICATE"),
        ("enc8.pem", "c.pem", "is encrypted"),
        ("enc1.pem", "c.pem", "is encrypted"),
        ("ed.pem", "c.pem", "can't be read, or is of a kind"),
        ("k1.pem", "c.pem", "can't be read, or is of a kind"),
        ("odd.pem", "c.pem", "RSA with 2560 bits"),
        (".", "c.pem", "not a regular file"),
    ] {
        let text = text(key, certificate);
        assert!(text.contains(part), "{key} {certificate}: {text}");
        // The directory's name is random letters.
        let told = text.replace(place.path("").to_str().unwrap(), "");
        assert!(!told.contains("MII"), "{text}");
    }
    let cut = fs::read_to_string(place.path("k.pem")).unwrap();
    fs::write(place.path("cut"), &cut[..cut.len() / 2]).unwrap();
    assert!(text("cut", "c.pem").contains("damaged"));
    fs::write(place.path("big"), "a".repeat(100_000)).unwrap();
    assert!(text("big", "c.pem").contains("larger than"));
}

fn test_key(place: &Place, name: &str, bits: u32) -> Result<Value, ErrorResponse> {
    let request = json!({
        "contractVersion": "1.0", "keyPath": place.path("new/t.key"),
        "certPath": place.path("new/t.crt"), "commonName": name, "bits": bits,
    });
    place.call("generate-test-key", &request)
}

/// CLI-80, CFG-21: subject, lifetime, usages; modes of the files; the key signs.
#[test]
fn cli_80_generate_test_key() {
    let place = Place::new();
    let answer = test_key(&place, "wabbit-networks.io", 2048).unwrap();
    let (key, certificate) = (place.path("new/t.key"), place.path("new/t.crt"));
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
    assert_eq!(mode(&place.path("new")), 0o700);
    assert_eq!(fs::read_dir(place.path("new")).unwrap().count(), 2);
    let text = fs::read_to_string(&key).unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(text.ends_with("-----END PRIVATE KEY-----\n"));
    assert!(text.lines().all(|line| line.len() <= 64));

    place.openssl("x509 -in new/t.crt -noout -text -nameopt oneline -out text");
    let text = fs::read_to_string(place.path("text")).unwrap();
    let subject = "C = US, ST = WA, L = Seattle, O = Notary, CN = wabbit-networks.io";
    assert!(text.contains(&format!("Issuer: {subject}")), "{text}");
    assert!(text.contains(&format!("Subject: {subject}")), "{text}");
    assert!(text.contains("Key Usage: critical\n                Digital Signature\n"));
    assert!(text.contains("Extended Key Usage: \n                Code Signing\n"));
    assert!(text.contains("Signature Algorithm: sha256WithRSAEncryption"));
    assert!(!text.contains("Basic Constraints"));
    place.openssl("verify -CAfile new/t.crt -partial_chain new/t.crt");
    // Valid for 24 hours: still so in 23, no more in 25.
    place.openssl("x509 -in new/t.crt -noout -checkend 82800");
    let mut late = Process::new("openssl");
    late.current_dir(place.0.path());
    late.args(["x509", "-in", "new/t.crt", "-noout", "-checkend", "90000"]);
    assert!(!late.output().unwrap().status.success());
    let not_after = answer["notAfter"].as_str().unwrap();
    assert!(
        not_after.len() == 20 && not_after.ends_with('Z'),
        "{not_after}"
    );

    fs::copy(&certificate, place.path("c.pem")).unwrap();
    let signed = place.sign("new/t.key", KeySpec::Rsa2048);
    place.verify(KeySpec::Rsa2048, &signed.signature.0);
    assert_eq!(json!(signed.certificate_chain[0]), answer["certificate"]);
}

/// CLI-80: existing files stay as they are, and none is left half made.
#[test]
fn cli_80_existing_files_are_kept() {
    for (name, label) in [("t.key", "key"), ("t.crt", "certificate")] {
        let place = Place::new();
        fs::create_dir(place.path("new")).unwrap();
        let path = place.path("new").join(name);
        fs::write(&path, "precious").unwrap();
        let error = test_key(&place, "cn", 2048).unwrap_err();
        let expected = format!(
            "failed to write {label} file: open {}: file exists",
            path.display()
        );
        assert_eq!(error.error_message.as_deref(), Some(expected.as_str()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(fs::read_dir(place.path("new")).unwrap().count(), 1);
    }
}

#[test]
fn cli_80_what_is_refused() {
    let place = Place::new();
    for bits in [0, 1024, 2047, 8192] {
        let error = test_key(&place, "cn", bits).unwrap_err();
        assert!(error.error_message.unwrap().contains(&bits.to_string()));
    }
    for name in ["", "a,O=b", "a/b", "é", "a\nb"] {
        let error = test_key(&place, name, 2048).unwrap_err();
        assert!(error.error_message.unwrap().contains("common name"));
    }
    assert!(!place.path("new").exists());
}
