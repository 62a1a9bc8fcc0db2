//! `fd:N`: a PIN in a descriptor that the user opened for `hardsign` reaches the process of the
//! session, and no other child of any kind.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::program;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::token::{PIN, Token};
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::{binaries, keys};

/// Logs what each descriptor of its process is (`<argument> <number> <file>`), then runs `then`.
fn watch(bench: &Workbench, name: &str, then: &str) -> PathBuf {
    let script = bench.path().join(name);
    let log = log(bench);
    let text = format!(
        "#!/bin/sh\nfor fd in /proc/$$/fd/*; do\n  \
         echo \"$1 ${{fd##*/}} $(readlink \"$fd\")\" >>{}\ndone\n{then}\n",
        log.display()
    );
    program::write(&script, &text);
    script
}

fn log(bench: &Workbench) -> PathBuf {
    bench.path().join("descriptors")
}

/// What was run since the last look, and which of them had the file `pin` as what descriptor.
fn seen(bench: &Workbench, pin: &Path) -> (BTreeSet<String>, Vec<(String, String)>) {
    let text = fs::read_to_string(log(bench)).unwrap();
    fs::remove_file(log(bench)).unwrap();
    let mut ran = BTreeSet::new();
    let mut had = Vec::new();
    for line in text.lines() {
        let [who, number, file] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        ran.insert(who.to_owned());
        if Path::new(file) == pin {
            had.push((who.to_owned(), number.to_owned()));
        }
    }
    (ran, had)
}

/// `hardsign …  7<pin`, as a shell runs it.
fn with_descriptor(bench: &Workbench, pin: &Path, arguments: &[&str]) -> Ran {
    let mut words = vec!["-c", "exec 7<\"$0\"; exec \"$@\"", pin.to_str().unwrap()];
    let hardsign = binaries().join("hardsign").display().to_string();
    words.push(&hardsign);
    words.extend(arguments);
    bench.run(&mut bench.command(Path::new("sh"), words))
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// A token's session signs with the PIN of descriptor 7, in the URI or as a setting; the process
/// that is asked for metadata and the credential helper never have it.
#[test]
fn a_pin_descriptor_reaches_the_session_alone() {
    let registry = Registry::docker().basic_auth().start();
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let mut bench = Workbench::with_token(&token);
    let pin = bench.path().join("secret");
    fs::write(&pin, format!("{PIN}\nnot the PIN\n")).unwrap();
    let real = binaries().join("notation-pkcs11");
    let plugin = watch(&bench, "plugin", &format!("exec {} \"$@\"", real.display()));
    bench.install_plugin("pkcs11", &plugin);
    let (user, password) = registry.credentials().unwrap();
    let answer = format!(r#"{{"ServerURL":"x","Username":"{user}","Secret":"{password}"}}"#);
    fs::create_dir(bench.path().join("bin")).unwrap();
    watch(
        &bench,
        "bin/docker-credential-test",
        &format!("echo '{answer}'"),
    );
    let path = format!("{}:/usr/bin:/bin", bench.path().join("bin").display());
    bench.set("PATH", path);
    fs::write(
        bench.config().join("config.json"),
        r#"{"credsStore":"test"}"#,
    )
    .unwrap();

    let uri = token.uri("signing");
    let (uri, _) = uri.split_once("&pin-source=").unwrap();
    let in_uri = format!("{uri}&pin-source=fd:7");
    for (round, more) in [
        (0, vec!["--id", &in_uri]),
        (1, vec!["--id", uri, "--plugin-config", "pin-source=fd:7"]),
    ] {
        let reference = registry.push("demo:v1", format!("round {round}").as_bytes());
        let mut sign = vec!["sign", "--plugin", "pkcs11"];
        sign.extend(more);
        sign.push(&reference);
        let ran = with_descriptor(&bench, &pin, &sign);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let (ran, had) = seen(&bench, &pin);
        assert_eq!(ran, names(["get", "get-plugin-metadata", "session"]));
        assert_eq!(had, [("session".to_owned(), "7".to_owned())]);
    }
    // A number that the user opened nothing as.
    let reference = registry.push("demo:v1", b"none");
    let other = in_uri.replace("fd:7", "fd:8");
    let sign = ["sign", "--plugin", "pkcs11", "--id", &other, &reference];
    let ran = with_descriptor(&bench, &pin, &sign);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("can't be read from descriptor 8"),
        "{}",
        ran.stderr
    );
}

/// PLG-02: one-shot commands have no descriptor of the user's, since each is a process of its own
/// and the PIN can be read once. Nor has a plugin that a signature names (SEC-24).
#[test]
fn sec_24_other_plugin_processes_have_no_descriptor() {
    let bench = Workbench::new();
    let pin = bench.path().join("secret");
    fs::write(&pin, "1234\n").unwrap();
    let real = binaries().join("notation-rude");
    let plugin = watch(&bench, "plugin", &format!("exec {} \"$@\"", real.display()));
    bench.install_plugin("rude", &plugin);
    let artifact = |tag: &str| bench.reference(&bench.layout.add(tag, tag));
    let sign = |capabilities: &str, reference: &str| {
        let capabilities = format!("capabilities={capabilities}");
        let mut arguments = vec!["sign", "--plugin", "rude", "--id", "k", "--oci-layout"];
        for setting in [
            "pin-source=fd:7",
            &capabilities,
            "attribute:io.cncf.notary.verificationPlugin=rude",
        ] {
            arguments.extend(["--plugin-config", setting]);
        }
        arguments.push(reference);
        let ran = with_descriptor(&bench, &pin, &arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let (ran, had) = seen(&bench, &pin);
        assert_eq!(had, [], "{capabilities}");
        ran
    };
    assert_eq!(
        sign("SIGNATURE_GENERATOR.RAW", &artifact("v1")),
        names(["get-plugin-metadata", "describe-key", "generate-signature"])
    );
    assert_eq!(
        sign("SIGNATURE_GENERATOR.RAW,HARDSIGN.DIGEST", &artifact("v2")),
        names(["get-plugin-metadata", "describe-key", "sign-digest"])
    );
    let reference = artifact("v3");
    assert_eq!(
        sign("SIGNATURE_GENERATOR.ENVELOPE", &reference),
        names(["get-plugin-metadata", "generate-envelope"])
    );

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/testkit/keys/root.der");
    bench.trust(&root, "strict");
    let verifier = "capabilities=SIGNATURE_VERIFIER.TRUSTED_IDENTITY";
    let verify = ["verify", "--oci-layout", "--scope", "local/test"];
    let verify = [&verify[..], &["--plugin-config", verifier, &reference]].concat();
    let ran = with_descriptor(&bench, &pin, &verify);
    let (ran_plugins, had) = seen(&bench, &pin);
    assert_eq!(
        ran_plugins,
        names(["get-plugin-metadata", "verify-signature"]),
        "{}",
        ran.stderr
    );
    assert_eq!(had, []);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}
