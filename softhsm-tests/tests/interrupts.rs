//! Ctrl-C on a real terminal (CLI-16): at a PIN prompt, in the middle of a batch, and while a
//! plugin that does not listen is at work.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::program;
use hardsign_test_support::terminal::Terminal;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use softhsm_tests::token::{PIN, Token};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys};

/// Longer than anything here takes, on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

const CTRL_C: &str = "\u{3}";

/// A prompt on the screen.
const PROMPT: &str = "PIN of token \"T\": ";

/// What there is to a terminal's settings.
fn settings(terminal: &File) -> String {
    let settings = tcgetattr(terminal).unwrap();
    format!(
        "{:?} {:?} {:?} {:?}",
        settings.input_modes, settings.output_modes, settings.control_modes, settings.local_modes
    )
}

fn echoes(terminal: &File) -> bool {
    tcgetattr(terminal)
        .unwrap()
        .local_modes
        .contains(LocalModes::ECHO)
}

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
    let mut command = bench.command(&binaries().join("hardsign"), arguments);
    command.env("NO_COLOR", "1");
    command
}

/// Else the terminal itself throws away what was told and not read yet when Ctrl-C is typed.
fn keep_what_is_told(tty: &File) {
    let mut settings = tcgetattr(tty).unwrap();
    settings.local_modes |= LocalModes::NOFLSH;
    tcsetattr(tty, OptionalActions::Now, &settings).unwrap();
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
    let flags = ["--plugin", "pkcs11", "--id", &uri];
    for typed in [CTRL_C, &format!("{PIN}{CTRL_C}")] {
        let terminal = Terminal::new(200);
        // Held open, since the last one to close a terminal takes its settings away.
        let tty = terminal.open();
        let usual = settings(&tty);
        let mut child = terminal.run(&sign(&bench, &flags, &references));
        terminal.wait_for("a prompt", |shown| shown.ends_with(PROMPT));
        assert!(!echoes(&tty));
        terminal.types(typed);
        let status = child.wait().unwrap();
        assert!(echoes(&tty));
        assert_eq!(settings(&tty), usual);
        drop(tty);
        let shown = terminal.all();
        assert_eq!(status.code(), Some(1), "{shown}");
        assert!(shown.contains("Error: "), "{shown}");
        assert!(
            !shown.contains("Successfully") && !shown.contains(PIN),
            "{shown}"
        );
        assert_eq!(bench.processes(), Vec::<String>::new());
    }
    assert!(bench.layout.snapshot() == before, "something was stored");
    // And without Ctrl-C the same prompt signs.
    let terminal = Terminal::new(200);
    let mut child = terminal.run(&sign(&bench, &flags, &references));
    terminal.wait_for("a prompt", |shown| shown.ends_with(PROMPT));
    terminal.types(&format!("{PIN}\n"));
    let status = child.wait().unwrap();
    let shown = terminal.all();
    assert_eq!(status.code(), Some(0), "{shown}");
    bench.trust(&keys::root(), "strict");
    assert_eq!(signed_and_stored(&bench, &references, &shown), 3);
}

/// In the middle of a batch, with a plugin that hangs, whether or not it hears the interrupt and
/// the end of its stdin.
#[test]
fn cli_16_in_the_middle_of_a_batch() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/testkit/keys/root.der");
    for trap in ["", "trap '' INT; "] {
        let bench = Workbench::new();
        let rude = binaries().join("notation-rude");
        let script = bench.path().join("plugin");
        program::write(
            &script,
            &format!("#!/bin/sh\n{trap}exec {} \"$@\"\n", rude.display()),
        );
        bench.install_plugin("rude", &script);
        bench.trust(&root, "strict");
        let references = artifacts(&bench, 9);
        let log = bench.path().join("log");
        let mut flags = vec!["--plugin", "rude", "--id", "k"];
        let setting = format!("log={}", log.display());
        for setting in ["fault=hang", "after=4", "in-flight=2", &setting] {
            flags.extend(["--plugin-config", setting]);
        }
        let logged = |what: &str| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            log.lines().filter(|line| *line == what).count()
        };
        let terminal = Terminal::new(200);
        let tty = terminal.open();
        keep_what_is_told(&tty);
        let usual = settings(&tty);
        // With progress, which not every terminal can show.
        let mut command = sign(&bench, &flags, &references);
        let mut child = terminal.run(command.env("TERM", "xterm"));
        // Results are told in the order of the input, so that the one that hangs may hold up the
        // telling of all; those that are stored are counted.
        terminal.wait_for("four stored", |shown| shown.contains("] 4/9 "));
        let start = Instant::now();
        while logged("sign") <= 4 {
            assert!(start.elapsed() < PATIENCE, "{}", logged("sign"));
            std::thread::sleep(Duration::from_millis(5));
        }
        terminal.types(CTRL_C);
        let status = child.wait().unwrap();
        assert_eq!(settings(&tty), usual);
        drop(tty);
        let shown = terminal.all();
        assert_eq!(status.code(), Some(1), "{shown}");
        assert_eq!(signed_and_stored(&bench, &references, &shown), 4);
        assert!(
            shown.contains("Error: 5 of 9 artifacts were not signed"),
            "{shown}"
        );
        assert!(!shown.contains("Hint: "), "{shown}");
        assert_eq!(bench.processes(), Vec::<String>::new());
        assert_eq!(logged("session"), 1);
    }
}

/// A real token in the middle of a batch: what was signed is stored, and the next run finds the
/// token as usual.
#[test]
fn cli_16_with_a_token() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let mut bench = Workbench::with_token(&token);
    // Slow enough that most are not signed yet when the first are told.
    bench.set("SHIM_LATENCY", "250");
    bench.trust(&keys::root(), "strict");
    let references = artifacts(&bench, 400);
    let uri = token.slow_uri("signing");
    let flags = ["--plugin", "pkcs11", "--id", &uri];
    let terminal = Terminal::new(200);
    let tty = terminal.open();
    keep_what_is_told(&tty);
    let mut child = terminal.run(&sign(&bench, &flags, &references));
    terminal.wait_for("a signature", |shown| {
        shown.contains("Successfully signed ")
    });
    terminal.types(CTRL_C);
    let status = child.wait().unwrap();
    drop(tty);
    let shown = terminal.all();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert_eq!(bench.processes(), Vec::<String>::new());
    let signed = shown.matches("Successfully signed ").count();
    assert!((1..399).contains(&signed), "{signed}");
    let left = format!("Error: {} of 400 artifacts were not signed", 400 - signed);
    assert!(shown.contains(&left), "{shown}");
    // All that was begun, in whatever order it was done.
    let begun = &references[..200];
    assert_eq!(signed_and_stored(&bench, begun, &shown), signed);
    let ran = bench.run(&mut sign(&bench, &flags, &references[399..]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}
