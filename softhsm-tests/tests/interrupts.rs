//! Ctrl-C on a real terminal (CLI-16): at a PIN prompt, in the middle of a batch, and while a
//! plugin that does not listen is at work.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use softhsm_tests::terminal::{CTRL_C, Terminal, processes, told};
use softhsm_tests::token::{PIN, Token};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys};

fn artifacts(bench: &Workbench, count: usize) -> Vec<String> {
    (0..count)
        .map(|i| bench.reference(&bench.layout.add(&format!("v{i}"), &i.to_string())))
        .collect()
}

/// `hardsign sign` of these references, with these flags, on a terminal.
fn sign(bench: &Workbench, flags: &[&str], references: &[String]) -> std::process::Command {
    let mut arguments = vec!["sign", "--oci-layout"];
    arguments.extend(flags);
    arguments.extend(references.iter().map(String::as_str));
    bench.command(&binaries().join("hardsign"), arguments)
}

/// The references that a run said it signed; each verifies, and no other does.
fn signed_and_stored(bench: &Workbench, references: &[String], shown: &str) -> usize {
    let mut count = 0;
    for reference in references {
        let said = shown.contains(&format!("Successfully signed {reference}"));
        let verify = ["verify", "--oci-layout", "--scope", "local/test", reference];
        let ran = bench.hardsign(verify);
        assert_eq!(
            ran.code == Some(0),
            said,
            "{reference}: {}\n{shown}",
            ran.stderr
        );
        count += usize::from(said);
    }
    count
}

/// At the PIN prompt: exit code 1, no login, nothing stored, the echo back on, no process left.
#[test]
fn cli_16_at_a_pin_prompt() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let bench = Workbench::with_token(&token);
    let references = artifacts(&bench, 3);
    let before = bench.layout.snapshot();
    let uri = token.uri("signing");
    let (uri, _) = uri.split_once("&pin-source=").unwrap();
    let uri = format!("{uri}&pin-source=prompt");
    for typed in [CTRL_C, &format!("{PIN}{CTRL_C}")] {
        let mut terminal = Terminal::new();
        let settings = told(&terminal.settings());
        let child = terminal.run(&sign(
            &bench,
            &["--plugin", "pkcs11", "--id", &uri],
            &references,
        ));
        terminal.wait_for("PIN of token \"T\": ");
        assert!(!terminal.echoes());
        terminal.type_in(typed);
        let after = terminal.settings_when_echoing();
        let (status, shown) = terminal.finish(child);
        assert_eq!(status.code(), Some(1), "{shown}");
        assert_eq!(told(&after), settings);
        assert!(shown.contains("Error: "), "{shown}");
        assert!(
            !shown.contains("Successfully") && !shown.contains(PIN),
            "{shown}"
        );
        assert_eq!(processes(bench.path()), Vec::<String>::new());
    }
    assert!(bench.layout.snapshot() == before, "something was stored");
    // And without Ctrl-C the same prompt signs.
    let mut terminal = Terminal::new();
    let child = terminal.run(&sign(
        &bench,
        &["--plugin", "pkcs11", "--id", &uri],
        &references,
    ));
    terminal.wait_for("PIN of token \"T\": ");
    terminal.type_in(&format!("{PIN}\n"));
    let (status, shown) = terminal.finish(child);
    assert_eq!(status.code(), Some(0), "{shown}");
    bench.trust(&keys::root(), "strict");
    assert_eq!(signed_and_stored(&bench, &references, &shown), 3);
}

/// In the middle of a batch, with a plugin that hangs, whether or not it hears the interrupt and
/// the end of its stdin.
#[test]
fn cli_16_in_the_middle_of_a_batch() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/testkit/keys/root.der");
    for ignores in [false, true] {
        let bench = Workbench::new();
        let rude = binaries().join("notation-rude");
        let script = bench.path().join("plugin");
        let trap = if ignores { "trap '' INT; " } else { "" };
        fs::write(
            &script,
            format!("#!/bin/sh\n{trap}exec {} \"$@\"\n", rude.display()),
        )
        .unwrap();
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        bench.install_plugin("rude", &script);
        bench.trust(&root, "strict");
        let references = artifacts(&bench, 9);
        let log = bench.path().join("log");
        let mut flags = vec!["--plugin", "rude", "--id", "k"];
        let setting = format!("log={}", log.display());
        for setting in ["fault=hang", "after=4", "in-flight=2", &setting] {
            flags.extend(["--plugin-config", setting]);
        }
        let mut terminal = Terminal::new();
        let settings = told(&terminal.settings());
        let child = terminal.run(&sign(&bench, &flags, &references));
        let hangs = || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            log.lines().filter(|line| *line == "sign").count() > 4
        };
        while !hangs() {
            std::thread::sleep(Duration::from_millis(5));
        }
        terminal.type_in(CTRL_C);
        let after = terminal.settings();
        let (status, shown) = terminal.finish(child);
        assert_eq!(status.code(), Some(1), "{shown}");
        assert_eq!(told(&after), settings);
        assert_eq!(signed_and_stored(&bench, &references, &shown), 4);
        assert!(
            shown.contains("Error: 5 of 9 artifacts were not signed"),
            "{shown}"
        );
        assert!(!shown.contains("Hint: "), "{shown}");
        assert_eq!(processes(bench.path()), Vec::<String>::new());
        let sessions = fs::read_to_string(&log).unwrap();
        assert_eq!(
            sessions.lines().filter(|line| *line == "session").count(),
            1,
            "{sessions}"
        );
    }
}

/// A real token in the middle of a batch: it is logged out, what was signed is stored, and the next
/// run finds the token as usual.
#[test]
fn cli_16_with_a_token() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Rsa4096), "signing", "01");
    let bench = Workbench::with_token(&token);
    bench.trust(&keys::root(), "strict");
    let references = artifacts(&bench, 400);
    let uri = token.uri("signing");
    let flags = ["--plugin", "pkcs11", "--id", &uri];
    let mut terminal = Terminal::new();
    let child = terminal.run(&sign(&bench, &flags, &references));
    terminal.wait_for("Successfully signed ");
    terminal.type_in(CTRL_C);
    let (status, shown) = terminal.finish(child);
    assert_eq!(status.code(), Some(1), "{shown}");
    assert_eq!(processes(bench.path()), Vec::<String>::new());
    let signed = shown.matches("Successfully signed ").count();
    assert!((1..400).contains(&signed), "{signed}");
    let left = format!("Error: {} of 400 artifacts were not signed", 400 - signed);
    assert!(shown.contains(&left), "{shown}");
    let few = &references[signed.saturating_sub(2)..signed + 2];
    assert_eq!(signed_and_stored(&bench, few, &shown), signed.min(2));
    let rest: Vec<_> = references[399..].to_vec();
    let ran = bench.run(&mut sign(&bench, &flags, &rest));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}
