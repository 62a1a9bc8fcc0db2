//! The contract suite (`hardsign-plugin-test`) against the plugins that are built here, and against
//! plugins on the Go plugin framework.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::path::Path;
use std::process::Command;

use hardsign_plugin::algorithm::KeySpec;
use softhsm_tests::peers::framework;
use softhsm_tests::token::Token;
use softhsm_tests::workbench::Workbench;
use softhsm_tests::yubikey::policy::{NEVER, PIN_ONCE};
use softhsm_tests::yubikey::{YubiKeys, card_with_key};
use softhsm_tests::{binaries, keys, run};

/// The report of a plugin that breaks no rule.
fn passes(command: &mut Command) -> String {
    let report = String::from_utf8(run(command).stdout).unwrap();
    assert!(report.contains(" met, 0 broken, "), "{report}");
    report
}

fn suite(plugin: &Path, key_id: &str) -> Command {
    let mut command = Command::new(binaries().join("hardsign-plugin-test"));
    command.arg(plugin).args(["--id", key_id]);
    command
}

/// PLG-01 to PLG-30, PLG-49, PLG-51: every rule, SHOULDs included.
#[test]
fn notation_pkcs11_conforms() {
    for spec in KeySpec::ALL {
        let token = Token::new("T").with_key_and_chain(&keys::key(spec), "signing", "01");
        let bench = Workbench::with_token(&token);
        let plugin = binaries().join("notation-pkcs11");
        let mut suite = suite(&plugin, &token.uri("signing"));
        suite.arg("--create").arg(token.uri("made"));
        let mut command = bench.command(Path::new(suite.get_program()), suite.get_args());
        let report = passes(&mut command);
        assert!(
            report.contains(" 0 to be considered, 0 skipped"),
            "{report}"
        );
    }
}

/// The same for software keys.
#[test]
fn notation_local_conforms() {
    let key = keys::key(KeySpec::Rsa3072);
    let plugin = binaries().join("notation-local");
    let mut command = suite(&plugin, key.key.to_str().unwrap());
    command.arg("--config");
    command.arg(format!("cert-chain={}", key.chain.display()));
    let report = passes(&mut command);
    assert!(
        report.contains(" 0 to be considered, 0 skipped"),
        "{report}"
    );
    // A new key has a certificate file of its own.
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made.key");
    let mut command = Command::new(binaries().join("hardsign-plugin-test"));
    command.arg(plugin).arg("--create").arg(&made);
    let report = passes(&mut command);
    let rule = "a certificate that was stored is the key's from then on";
    assert!(report.contains(rule), "{report}");
}

/// And for keys of a YubiKey, here a virtual one.
#[test]
fn notation_yubikey_conforms() {
    for spec in [KeySpec::Ec256, KeySpec::Rsa2048] {
        let mut card = card_with_key(spec, PIN_ONCE, NEVER);
        card.set_management_key(0x0a, &[0xa7; 24]);
        card.store_management_key();
        let yubikeys = YubiKeys::with(card);
        let bench = yubikeys.bench();
        let plugin = binaries().join("notation-yubikey");
        let mut suite = suite(&plugin, &yubikeys.id("slot=9c"));
        suite.arg("--create").arg(yubikeys.id("slot=84"));
        let mut command = bench.command(Path::new(suite.get_program()), suite.get_args());
        let report = passes(&mut command);
        assert!(
            report.contains(" 0 to be considered, 0 skipped"),
            "{report}"
        );
    }
}

/// Plugins that are not on our SDK: raw signatures, envelopes, verification.
#[test]
fn framework_plugins_conform() {
    let framework = framework::executable();
    let directory = tempfile::tempdir().unwrap();
    for name in ["framework", "framework-envelope-identity-revocation"] {
        let plugin = directory.path().join(format!("notation-{name}"));
        // By another process: a file that this one had open for writing can't always be run.
        run(Command::new("cp").arg(&framework).arg(&plugin));
        let mut command = suite(&plugin, "EC-384");
        command.arg("--config");
        command.arg(format!("dir={}", directory.path().display()));
        let report = passes(&mut command);
        assert!(report.contains(" 0 skipped"), "{report}");
    }
}
