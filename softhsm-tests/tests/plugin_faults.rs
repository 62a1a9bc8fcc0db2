//! A plugin that goes wrong in the middle of a batch, as the user of `hardsign` meets it: what was
//! signed before stays signed and verifies, the report says of each artifact whether it was
//! signed, the exit code says that not all were, and no process is left behind.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::program;
use serde_json::Value;
use softhsm_tests::token::Token;
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::{binaries, keys, run};

/// Nine artifacts, and the rude plugin under its name.
struct Batch {
    bench: Workbench,
    references: Vec<String>,
}

impl Batch {
    fn new() -> Self {
        let bench = Workbench::new();
        let script = bench.path().join("plugin");
        let rude = binaries().join("notation-rude");
        // A plugin that has something to say before it dies.
        let text = format!(
            "#!/bin/sh\necho 'reader 0: card removed' >&2\nexec {} \"$@\"\n",
            rude.display()
        );
        program::write(&script, &text);
        bench.install_plugin("rude", &script);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/testkit/keys/root.der");
        bench.trust(&root, "strict");
        let references = references(&bench, 9);
        Self { bench, references }
    }

    fn log(&self) -> PathBuf {
        self.bench.path().join("log")
    }

    /// `hardsign sign` of all, with these settings of the plugin. One artifact at a time, so that
    /// which ones are signed is known.
    fn command(&self, settings: &[&str], more: &[&str]) -> Command {
        let log = format!("log={}", self.log().display());
        let mut arguments = vec!["sign", "--plugin", "rude", "--id", "k", "--oci-layout"];
        arguments.extend(["--jobs", "1"]);
        for setting in settings.iter().copied().chain(["in-flight=1", &log]) {
            arguments.extend(["--plugin-config", setting]);
        }
        arguments.extend(more);
        arguments.extend(self.references.iter().map(String::as_str));
        self.bench.command(&binaries().join("hardsign"), arguments)
    }

    /// Signs all; `signed` of them are signed, told and stored, the rest is told of by name.
    fn fails(&self, settings: &[&str], signed: usize) -> Ran {
        let ran = self.bench.run(&mut self.command(settings, &[]));
        self.check(&ran, signed);
        ran
    }

    fn check(&self, ran: &Ran, signed: usize) {
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        let said = signed_and_stored(&self.bench, &self.references, &ran.stdout);
        assert_eq!(said, signed, "{}{}", ran.stdout, ran.stderr);
        let count = format!("Error: {} of 9 artifacts were not signed", 9 - signed);
        assert!(ran.stderr.contains(&count), "{}", ran.stderr);
        for (at, reference) in self.references.iter().enumerate() {
            assert_eq!(
                ran.stderr.contains(reference),
                at >= signed,
                "{at}: {}",
                ran.stderr
            );
        }
        assert!(ran.stderr.contains("\nHint: "), "{}", ran.stderr);
        assert_eq!(self.bench.processes(), Vec::<String>::new());
    }

    fn sessions(&self) -> usize {
        let log = fs::read_to_string(self.log()).unwrap();
        log.lines().filter(|line| *line == "session").count()
    }
}

fn references(bench: &Workbench, count: usize) -> Vec<String> {
    (0..count)
        .map(|i| bench.reference(&bench.layout.add(&format!("v{i}"), &i.to_string())))
        .collect()
}

/// How many of the references a run said it signed; each of them verifies, and no other does.
fn signed_and_stored(bench: &Workbench, references: &[String], stdout: &str) -> usize {
    let mut count = 0;
    for reference in references {
        let said = stdout.contains(&format!("Successfully signed {reference}\n"));
        let verify = ["verify", "--oci-layout", "--scope", "local/test", reference];
        let ran = bench.hardsign(verify);
        assert_eq!(ran.code == Some(0), said, "{reference}: {}", ran.stderr);
        count += usize::from(said);
    }
    count
}

/// A plugin that dies is started again once, since it had signed; when it dies again the batch
/// ends. The error has how it ended and what it said last.
#[test]
fn deaths() {
    for (fault, texts) in [
        ("crash", ["signal: aborted", "reader 0: card removed"]),
        (
            "exit-text",
            ["exit status 3", "library not found: /usr/lib/none.so"],
        ),
        (
            "die",
            [
                "ended its session before every request was answered",
                "reader 0: card removed",
            ],
        ),
        ("half", ["of an unfinished line", "reader 0: card removed"]),
        (
            "close-stdout",
            [
                "ended its session before every request was answered",
                "card removed",
            ],
        ),
    ] {
        let batch = Batch::new();
        let ran = batch.fails(&[&format!("fault={fault}"), "after=2"], 4);
        assert_eq!(ran.code, Some(3), "{fault}: {}", ran.stderr);
        assert_eq!(batch.sessions(), 2, "{fault}");
        for text in texts {
            assert!(ran.stderr.contains(text), "{fault}: {}", ran.stderr);
        }
    }
}

/// A plugin that breaks the protocol is not started again.
#[test]
fn breaches() {
    for (fault, text) in [
        (
            "garbage-line",
            "not a session message: \"loading module...\"",
        ),
        (
            "garbage",
            "not a session message: \"signed, with pleasure\"",
        ),
        ("long-line", "more than 1048576 bytes in one message"),
        ("flood-stdout", "more than 1048576 bytes in one message"),
        (
            "unknown-id",
            "answered request 9999, which is not under way",
        ),
        ("notices", "sent more than 10 notices for one request"),
        (
            "notices-forever",
            "sent more than 10 notices for one request",
        ),
        (
            "events-forever",
            "sent more than 4096 events between two answers",
        ),
        ("short-signature", "it has 63 bytes instead of 64"),
    ] {
        let batch = Batch::new();
        let ran = batch.fails(&[&format!("fault={fault}"), "after=3"], 3);
        assert_eq!(ran.code, Some(3), "{fault}: {}", ran.stderr);
        assert_eq!(batch.sessions(), 1, "{fault}");
        assert!(ran.stderr.contains(text), "{fault}: {}", ran.stderr);
    }
}

/// A signature that does not verify is never stored; each artifact has its own error.
#[test]
fn signatures_that_do_not_verify() {
    for fault in ["other-key", "changed-digest"] {
        let batch = Batch::new();
        let ran = batch.fails(&[&format!("fault={fault}"), "after=3"], 3);
        // PLG-31: the plugin's failure, as all others.
        assert_eq!(ran.code, Some(3), "{fault}: {}", ran.stderr);
        let text = "failed to sign with the plugin rude: generated signature failed verification";
        assert_eq!(ran.stderr.matches(text).count(), 6, "{}", ran.stderr);
    }
    let batch = Batch::new();
    let ran = batch.fails(&["fault=expired-chain", "at=open"], 0);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("was invalid at signing time"),
        "{}",
        ran.stderr
    );
}

/// PLG-31, PLG-35, PLG-36, PLG-38, OCI-08: what is wrong with an envelope is the plugin's failure as
/// well, with the same words in front and the same exit code; for files without the words.
#[test]
fn envelopes_that_do_not_hold() {
    let generated = "generated signature failed verification: ";
    for (fault, text) in [
        ("other-key", generated),
        ("reversed-chain", "self-signed"),
        ("leaf-only", generated),
        ("expired-chain", generated),
        ("garbage-envelope", generated),
        (
            "other-subject",
            "during signing descriptor subject has changed from ",
        ),
        ("unknown-member", "following unknown attributes were added"),
        ("no-expiry", "does not have the requested expiry"),
        (
            "reserved-annotation",
            "whose prefix io.cncf.notary is reserved",
        ),
        ("refuse", "the key store is closed"),
    ] {
        let batch = Batch::new();
        let fault = format!("fault={fault}");
        let settings = ["capabilities=SIGNATURE_GENERATOR.ENVELOPE", &fault];
        let ran = batch
            .bench
            .run(&mut batch.command(&settings, &["--expiry", "1h"]));
        assert_eq!(ran.code, Some(3), "{fault}: {}", ran.stderr);
        let told = "failed to sign with the plugin rude: ";
        assert!(ran.stderr.contains(told), "{fault}: {}", ran.stderr);
        assert!(ran.stderr.contains(text), "{fault}: {}", ran.stderr);
        batch.check(&ran, 0);
    }
    let bench = Workbench::new();
    bench.install_plugin("rude", &binaries().join("notation-rude"));
    fs::write(bench.path().join("file"), "content").unwrap();
    for (fault, text) in [
        ("reversed-chain", "self-signed"),
        (
            "other-subject",
            "during signing descriptor subject has changed from ",
        ),
    ] {
        let fault = format!("fault={fault}");
        let ran = bench.hardsign([
            "blob",
            "sign",
            "--plugin",
            "rude",
            "--id",
            "k",
            "--plugin-config",
            "capabilities=SIGNATURE_GENERATOR.ENVELOPE_FOR_BLOB",
            "--plugin-config",
            &fault,
            "file",
        ]);
        assert_eq!(ran.code, Some(3), "{fault}: {}", ran.stderr);
        assert!(ran.stderr.contains(text), "{fault}: {}", ran.stderr);
        assert!(
            !ran.stderr.contains("failed to sign with"),
            "{}",
            ran.stderr
        );
        assert!(!bench.path().join("file.jws.sig").exists());
    }
}

/// A plugin that stops reading is given two seconds; then it counts as dead.
#[test]
fn stdin_closed_early() {
    let batch = Batch::new();
    let ran = batch.fails(&["fault=close-stdin-late", "after=2"], 6);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert_eq!(batch.sessions(), 2);
    assert!(ran.stderr.contains("closed its stdin"), "{}", ran.stderr);
}

/// A process that the plugin leaves behind with its pipes is not waited for: it lives a minute.
#[test]
fn a_grandchild_keeps_the_pipes() {
    let batch = Batch::new();
    let ran = batch
        .bench
        .run(&mut batch.command(&["fault=grandchild", "after=8"], &[]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        signed_and_stored(&batch.bench, &batch.references, &ran.stdout),
        9
    );
    let left = batch.bench.processes();
    assert!(
        left.iter().any(|line| line.starts_with("sleep 60")),
        "{left:?}"
    );
}

/// JSON names every artifact once, as signed or as failed, whatever happened.
#[test]
fn json_of_a_broken_batch() {
    let batch = Batch::new();
    let settings = ["fault=garbage-line", "after=3"];
    let ran = batch
        .bench
        .run(&mut batch.command(&settings, &["--output", "json"]));
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let names = |member: &str| {
        let list = document[member].as_array().unwrap();
        let names = list
            .iter()
            .map(|one| one["reference"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("signed"), batch.references[..3]);
    assert_eq!(names("failed"), batch.references[3..]);
    let errors = document["failed"].as_array().unwrap();
    assert!(
        errors[0]["error"]
            .as_str()
            .unwrap()
            .contains("not a session message")
    );
    assert_eq!(errors[5]["error"], "not tried: the signer failed earlier");
}

/// The process of the plugin's session below `hardsign`.
fn session_of(host: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{host}/task/{host}/children")).ok()?;
    let mut all: Vec<u32> = Vec::new();
    all.extend(
        children
            .split_whitespace()
            .filter_map(|pid| pid.parse::<u32>().ok()),
    );
    // A process is a child of the thread that started it.
    for task in fs::read_dir(format!("/proc/{host}/task")).ok()?.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    all.into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(b"\0session\0")
    })
}

/// SIGKILL to that process, once there is another one than `before`.
fn kill_session_of(host: u32, before: Option<u32>) -> u32 {
    let start = Instant::now();
    loop {
        // A process that has ended, waited for by nobody yet, has no command line.
        if let Some(plugin) = session_of(host).filter(|plugin| Some(*plugin) != before) {
            run(Command::new("kill").args(["-KILL", &plugin.to_string()]));
            return plugin;
        }
        let waited = start.elapsed();
        assert!(
            waited < Duration::from_secs(30),
            "no session after {waited:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// SIGKILL to the real PKCS#11 plugin in the middle of a batch: it is started again once and the
/// batch is done; killed a second time, the batch ends with what was signed until then.
#[test]
fn a_killed_pkcs11_plugin() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let mut bench = Workbench::with_token(&token);
    let signs = bench.path().join("signs");
    bench.set("SHIM_LATENCY", "150");
    bench.set("SHIM_SIGNS", &signs);
    bench.trust(&keys::root(), "strict");
    let references = references(&bench, 120);
    let uri = token.slow_uri("signing");
    let mut arguments = vec![
        "sign",
        "-v",
        "--plugin",
        "pkcs11",
        "--id",
        &uri,
        "--oci-layout",
        "--jobs",
        "4",
    ];
    arguments.extend(references.iter().map(String::as_str));
    for kills in [1, 2] {
        let mut command = bench.command(&binaries().join("hardsign"), &arguments);
        fs::write(&signs, "").unwrap();
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let host = child.id();
        let ends = std::thread::spawn(|| child.wait_with_output().unwrap());
        let mut killed = None;
        for kill in 1..=kills {
            // A few were signed by this process, most are left.
            while fs::read(&signs).unwrap().len() < kill * 10 {
                std::thread::sleep(Duration::from_millis(5));
            }
            killed = Some(kill_session_of(host, killed));
        }
        let output = ends.join().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code();
        let signed = said.matches("Successfully signed ").count();
        assert!(told.contains("again: its process had died"), "{told}");
        if kills == 1 {
            assert_eq!((code, signed), (Some(0), 120), "{told}");
            continue;
        }
        assert_eq!(code, Some(3), "{told}");
        assert!((10..120).contains(&signed), "{signed}");
        assert!(told.contains("(signal: killed)"), "{told}");
        let count = format!("Error: {} of 120 artifacts were not signed", 120 - signed);
        assert!(told.contains(&count), "{told}");
        assert_eq!(bench.processes(), Vec::<String>::new());
    }
    // All verify: the first run signed every one of them.
    let verify = ["verify", "--oci-layout", "--scope", "local/test"];
    let ran = bench.hardsign(
        verify
            .into_iter()
            .chain(references.iter().map(String::as_str)),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}
