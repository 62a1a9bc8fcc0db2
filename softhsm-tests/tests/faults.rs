//! What can go wrong between `hardsign` and a key: each fault is one clear error with a hint, a
//! code other than zero, and nothing stored.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::program;
use softhsm_tests::token::{self, Token};
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::{binaries, keys};

fn bench(spec: KeySpec) -> (Token, Workbench) {
    let token = Token::new("T").with_key_and_chain(&keys::key(spec), "signing", "01");
    let bench = Workbench::with_token(&token);
    (token, bench)
}

/// Signs three artifacts and demands that it fails as it should.
fn refused(bench: &Workbench, plugin: &str, id: &str, more: &[&str]) -> Ran {
    let references: Vec<_> = (0..3)
        .map(|i| bench.reference(&bench.layout.add(&format!("v{i}"), &format!("artifact {i}"))))
        .collect();
    let before = bench.layout.snapshot();
    let mut arguments = vec!["sign", "--plugin", plugin, "--id", id, "--oci-layout"];
    arguments.extend(more);
    arguments.extend(references.iter().map(String::as_str));
    let ran = bench.hardsign(arguments);
    assert!(
        matches!(ran.code, Some(1..=3)),
        "{:?}: {}",
        ran.code,
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("Error: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("\nHint: "), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(
        bench.layout.snapshot() == before,
        "something was stored: {}",
        ran.stderr
    );
    ran
}

fn contains(ran: &Ran, parts: &[&str]) {
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
}

#[test]
fn wrong_pin_is_told_and_tried_once() {
    let (token, bench) = bench(KeySpec::Ec256);
    let pin = token.path().join("wrong");
    fs::write(&pin, "9999").unwrap();
    let ran = refused(
        &bench,
        "pkcs11",
        &token.uri_with_pin_file("signing", &pin),
        &[],
    );
    contains(&ran, &["PIN"]);
    assert_eq!(
        ran.stderr.matches("CKR_PIN_INCORRECT").count(),
        1,
        "{}",
        ran.stderr
    );
    assert!(
        !ran.stderr.contains("9999"),
        "the PIN is in the error: {}",
        ran.stderr
    );
    assert_eq!(ran.code, Some(3));
}

#[test]
fn unknown_token_lists_the_tokens_seen() {
    let (token, bench) = bench(KeySpec::Ec256);
    let uri = token.uri("signing").replace("token=T", "token=elsewhere");
    let ran = refused(&bench, "pkcs11", &uri, &[]);
    contains(&ran, &["elsewhere", "T"]);
}

#[test]
fn unknown_key_lists_the_keys_seen() {
    let (token, bench) = bench(KeySpec::Ec256);
    let ran = refused(&bench, "pkcs11", &token.uri("missing"), &[]);
    contains(&ran, &["missing", "signing"]);
}

#[test]
fn missing_module_is_named() {
    let (token, bench) = bench(KeySpec::Ec256);
    let module = token::module().display().to_string();
    let uri = token
        .uri("signing")
        .replace(&module, "/nowhere/libpkcs11.so");
    let ran = refused(&bench, "pkcs11", &uri, &[]);
    contains(&ran, &["/nowhere/libpkcs11.so"]);
}

#[test]
fn certificate_of_another_key_is_refused() {
    let other = keys::named(KeySpec::Ec256, "another key");
    let token = Token::new("T").with_key(&keys::key(KeySpec::Ec256), "signing", "01");
    let bench = Workbench::with_token(&token);
    let chain = format!("cert-chain={}", other.chain.display());
    let ran = refused(
        &bench,
        "pkcs11",
        &token.uri("signing"),
        &["--plugin-config", &chain],
    );
    contains(&ran, &["certificate"]);
}

#[test]
fn pin_value_in_a_uri_is_refused_with_the_reason() {
    let (token, bench) = bench(KeySpec::Ec256);
    let uri = format!("{}&pin-value=1234", token.uri("signing"));
    let ran = refused(&bench, "pkcs11", &uri, &[]);
    contains(&ran, &["pin-value"]);
}

#[test]
fn missing_plugin_is_named() {
    let bench = Workbench::new();
    contains(&refused(&bench, "absent", "k", &[]), &["absent"]);
}

/// PLG-04: a plugin name is no path.
#[test]
fn plg_04_plugin_name_is_no_path() {
    let bench = Workbench::new();
    refused(&bench, "a/../../b", "k", &[]);
}

/// A plugin that logs how it is called and then is the real one.
fn counting_plugin(bench: &Workbench) -> PathBuf {
    let log = bench.path().join("calls");
    let script = bench.path().join("wrapper");
    let real = binaries().join("notation-pkcs11");
    program::write(
        &script,
        &format!(
            "#!/bin/sh\necho \"$1\" >> {}\nexec {} \"$@\"\n",
            log.display(),
            real.display()
        ),
    );
    bench.install_plugin("pkcs11", &script);
    log
}

/// A URI that goes through OpenSC's spy module, which logs every PKCS#11 call to `log`.
fn spied(bench: &mut Workbench, uri: &str) -> (String, PathBuf) {
    let spy = token::spy().display().to_string();
    let log = bench.path().join("spy");
    let module = token::module();
    bench.set("PKCS11SPY", &module);
    bench.set("PKCS11SPY_OUTPUT", &log);
    (uri.replace(&module.display().to_string(), &spy), log)
}

fn calls(log: &Path, function: &str) -> usize {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    text.lines()
        .filter(|line| line.trim_end().ends_with(&format!(": {function}")))
        .count()
}

fn sign_hundred(bench: &Workbench, uri: &str) -> Ran {
    let references: Vec<_> = (0..100)
        .map(|i| bench.reference(&bench.layout.add(&format!("v{i}"), &i.to_string())))
        .collect();
    let mut arguments = vec!["sign", "--plugin", "pkcs11", "--id", uri, "--oci-layout"];
    arguments.extend(references.iter().map(String::as_str));
    bench.hardsign(arguments)
}

/// A key and the CA that certifies it, both on one token, cost one process and one login.
#[test]
fn a_key_and_its_ca_on_one_token_cost_one_login() {
    let token = Token::new("T").with_key(&keys::key(KeySpec::Ec384), "root", "01");
    let token = token.with_key(&keys::key(KeySpec::Ec256), "release", "02");
    let mut bench = Workbench::with_token(&token);
    let log = counting_plugin(&bench);
    let (root, spy) = spied(&mut bench, &token.uri("root"));
    let (release, _) = spied(&mut bench, &token.uri("release"));
    for (name, id) in [("root", &root), ("release", &release)] {
        bench.hardsign_ok(["key", "add", "--plugin", "pkcs11", "--id", id, name]);
    }
    let subject = "C=US,ST=WA,O=Example,CN=Example";
    let certify = ["key", "certify", "--subject", subject, "--days", "9"];
    bench.hardsign_ok([&certify[..], &["--ca", "root"]].concat());
    for log in [&log, &spy] {
        fs::remove_file(log).unwrap();
    }
    bench.hardsign_ok([&certify[..], &["--issuer", "root", "release"]].concat());
    let started = fs::read_to_string(log).unwrap();
    assert_eq!(started, "get-plugin-metadata\nsession\n");
    assert_eq!(calls(&spy, "C_Login"), 1);
}

/// A hundred artifacts cost one metadata process, one session, one login and one key look-up.
#[test]
fn a_hundred_signatures_cost_one_session_and_one_login() {
    let (token, mut bench) = bench(KeySpec::Ec256);
    let log = counting_plugin(&bench);
    let (uri, spy) = spied(&mut bench, &token.uri("signing"));
    let ran = sign_hundred(&bench, &uri);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches("Successfully signed").count(), 100);
    assert_eq!(
        fs::read_to_string(log).unwrap(),
        "get-plugin-metadata\nsession\n"
    );
    assert_eq!(calls(&spy, "C_Initialize"), 1);
    assert_eq!(calls(&spy, "C_Login"), 1);
    assert_eq!(calls(&spy, "C_Logout"), 1);
    assert_eq!(calls(&spy, "C_SignInit"), 100);
}

/// With a wrong PIN and a hundred artifacts, the token sees one login attempt.
#[test]
fn a_wrong_pin_is_sent_once_for_a_hundred_artifacts() {
    let (token, mut bench) = bench(KeySpec::Ec256);
    let log = counting_plugin(&bench);
    let pin = token.path().join("wrong");
    fs::write(&pin, "9999").unwrap();
    let (uri, spy) = spied(&mut bench, &token.uri_with_pin_file("signing", &pin));
    let ran = sign_hundred(&bench, &uri);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    assert_eq!(
        fs::read_to_string(log).unwrap(),
        "get-plugin-metadata\nsession\n"
    );
    assert_eq!(calls(&spy, "C_Login"), 1);
    assert_eq!(calls(&spy, "C_SignInit"), 0);
}

/// One PIN try per run and token, whatever the command: `doctor --open-keys` with four keys of one
/// token and a wrong PIN logs in once, and says of the others why they were not opened.
#[test]
fn doctor_makes_one_try_for_all_keys_of_a_token() {
    let (token, mut bench) = bench(KeySpec::Ec256);
    let pin = token.path().join("wrong");
    fs::write(&pin, "9999").unwrap();
    let (uri, spy) = spied(&mut bench, &token.uri_with_pin_file("signing", &pin));
    for (name, object) in [
        ("a", "signing"),
        ("b", "other"),
        ("c", "signing"),
        ("d", "more"),
    ] {
        let id = uri.replace("object=signing", &format!("object={object}"));
        bench.hardsign_ok(["key", "add", "--plugin", "pkcs11", "--id", &id, name]);
    }
    let ran = bench.hardsign(["doctor", "--open-keys"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert_eq!(calls(&spy, "C_Login"), 1, "{}", ran.stdout);
    let not_tried = "not tried: plugin pkcs11 was denied access to token \"T\" (serial ";
    assert_eq!(ran.stdout.matches(not_tried).count(), 3, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("FAIL  signing key a: "),
        "{}",
        ran.stdout
    );
    for name in ["b", "c", "d"] {
        let warned = format!("warn  signing key {name}: not tried");
        assert!(ran.stdout.contains(&warned), "{}", ran.stdout);
    }
}

/// A plugin that crashes, hangs, floods, talks nonsense or signs with another key: one clear error
/// each, and nothing stored. (How the host tells each of them apart is tested in `core`.)
#[test]
fn a_rude_plugin_is_survived() {
    let faults = [
        ("crash@get-plugin-metadata", "plugin rude"),
        (
            "hang@get-plugin-metadata",
            "did not answer get-plugin-metadata within 10 seconds",
        ),
        (
            "garbage@get-plugin-metadata",
            "failed to unmarshal the response",
        ),
        ("crash@open", "rude"),
        ("garbage-line@open", "rude"),
        ("crash", "rude"),
        ("die", "rude"),
        ("long-line", "rude"),
        ("half", "rude"),
        ("garbage-line", "rude"),
        ("unknown-id", "rude"),
        ("other-key", "generated signature failed verification"),
        ("changed-digest", "generated signature failed verification"),
        (
            "expired-chain@open",
            "generated signature failed verification",
        ),
        (
            "other-chain@open",
            "generated signature failed verification",
        ),
        ("denied", ": no\n"),
    ];
    std::thread::scope(|scope| {
        for (fault, message) in faults {
            scope.spawn(move || rude(fault, &[], message));
        }
        for fault in [
            "flood-stdout@get-plugin-metadata",
            "flood-stdout@generate-signature",
        ] {
            let one_shot = "capabilities=SIGNATURE_GENERATOR.RAW";
            scope.spawn(move || rude(fault, &["--plugin-config", one_shot], "wrote more than"));
        }
    });
}

/// Signs with the rude plugin, which misbehaves as `<fault>[@<stage>]` says.
fn rude(fault: &str, more: &[&str], message: &str) {
    let bench = Workbench::new();
    bench.install_plugin("rude", &binaries().join("notation-rude"));
    let (fault, stage) = fault.split_once('@').unwrap_or((fault, "sign"));
    let fault = format!("fault={fault}");
    let at = format!("at={stage}");
    let mut flags = vec!["--plugin-config", &fault, "--plugin-config", &at];
    flags.extend(more);
    contains(&refused(&bench, "rude", "rude", &flags), &[message]);
}
