//! Batches: what one item or the list itself waits for stops nothing else, and what is signed already is not signed again.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use hardsign_test_support::program;
use hardsign_test_support::registry::{Behaviour, FakeRegistry, Response};
use hardsign_test_support::terminal::Terminal;
use serde_json::Value;

mod support;

use support::Machine;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lines that a command prints, as they come.
fn lines(child: &mut Child) -> Receiver<Value> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in output.lines() {
            let line = serde_json::from_str(&line.unwrap()).unwrap();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Named pipes that nobody opens, more than there are processors or files read at a time: all other files are done while the
/// pipes are waited for.
#[test]
fn pipes_that_nobody_opens_hold_up_nothing_else() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let processors = thread::available_parallelism().unwrap().get();
    let pipes: Vec<String> = (0..processors * 2 + 2)
        .map(|n| format!("pipe{n}"))
        .collect();
    machine.shell(&format!("mkfifo {}", pipes.join(" ")));
    for pipe in &pipes {
        fs::copy(
            machine.path().join("artifact.bin.jws.sig"),
            machine.path().join(format!("{pipe}.jws.sig")),
        )
        .unwrap();
    }
    let files: Vec<String> = (0..10).map(|n| format!("file{n}")).collect();
    for file in &files {
        let path = |suffix: &str| machine.path().join(format!("{file}{suffix}"));
        fs::copy(machine.path().join("artifact.bin"), path("")).unwrap();
        let signature = machine.path().join("artifact.bin.jws.sig");
        fs::copy(signature, path(".jws.sig")).unwrap();
    }
    let list = [&pipes[..], &files].concat().join("\n");
    fs::write(machine.path().join("list"), list).unwrap();
    for verb in ["verify", "sign"] {
        let mut command = machine.command("hardsign");
        command.args(["blob", verb, "--from-file", "list", "-o", "jsonl"]);
        if verb == "sign" {
            command.arg("--force");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let told = lines(&mut child);
        for _ in &files {
            let line = told.recv_timeout(PATIENCE).unwrap();
            let name = line["blob"].as_str().unwrap();
            assert!(name.starts_with("file"), "{line}");
            assert!(
                ["verified", "signed"].contains(&line["outcome"].as_str().unwrap()),
                "{line}"
            );
        }
        for pipe in &pipes {
            // Returns when it is open at the other end too.
            drop(
                File::options()
                    .write(true)
                    .open(machine.path().join(pipe))
                    .unwrap(),
            );
        }
        let rest: Vec<Value> = told.iter().collect();
        let names = rest.iter().filter(|line| {
            line["blob"]
                .as_str()
                .is_some_and(|name| name.starts_with("pipe"))
        });
        assert_eq!(names.count(), pipes.len(), "{rest:?}");
        // An empty file is not what the signatures are of, and can be signed.
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(i32::from(verb == "verify")));
    }
}

/// On a terminal, where progress is shown, a list that is a pipe is opened once.
#[test]
fn a_list_from_a_named_pipe_is_read_once() {
    let machine = Machine::new();
    machine.shell("mkfifo list");
    let terminal = Terminal::new(100);
    let mut command = machine.command("sh");
    command
        .args([
            "-c",
            "umask 077; exec hardsign blob verify --from-file list",
        ])
        .env("TERM", "xterm");
    let mut child = terminal.run(&command);
    let mut list = File::options()
        .write(true)
        .open(machine.path().join("list"))
        .unwrap();
    list.write_all(b"artifact.bin\n").unwrap();
    drop(list);
    let text = terminal.all();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert!(text.contains("artifact.bin"), "{text}");
}

/// A plugin without sessions, and how often it was asked for a signature.
fn counted(machine: &Machine) -> Vec<String> {
    let keys = fs::read(machine.path().join("config/signingkeys.json")).unwrap();
    let keys: Value = serde_json::from_slice(&keys).unwrap();
    let key = keys["keys"][0]["keyPath"].as_str().unwrap();
    let plugin = machine
        .path()
        .join("config/plugins/counted/notation-counted");
    fs::create_dir_all(plugin.parent().unwrap()).unwrap();
    program::write(&plugin, COUNTED);
    ["--plugin", "counted", "--id", key]
        .map(str::to_owned)
        .to_vec()
}

const COUNTED: &str = r#"#!/bin/sh
case $1 in
get-plugin-metadata)
    notation-local "$@" | sed -e 's/"name": *"local"/"name":"counted"/' -e 's/"HARDSIGN\.[A-Z_]*",\{0,1\}//g' -e 's/, *\]/]/' ;;
generate-signature) echo made >> "$HOME/made"; exec notation-local "$@" ;;
*) exec notation-local "$@" ;;
esac
"#;

/// Signatures that the plugin made so far.
fn made(machine: &Machine) -> usize {
    let made = fs::read_to_string(machine.path().join("made")).unwrap_or_default();
    made.lines().count()
}

/// A plugin that tells its certificate with its signatures alone makes one for what is skipped, not one for each.
#[test]
fn what_is_skipped_costs_no_signatures() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let flags = counted(&machine);
    let registry = FakeRegistry::start(Behaviour::default());
    let references: Vec<String> = (0..12)
        .map(|n| {
            let manifest = MANIFEST.replace("NUMBER", &n.to_string());
            let digest = registry.put_manifest("app", None, IMAGE, manifest.as_bytes());
            format!("{}/app@{digest}", registry.name())
        })
        .collect();
    let files: Vec<String> = (0..12).map(|n| format!("file{n}")).collect();
    for file in &files {
        fs::write(machine.path().join(file), file).unwrap();
    }
    for (verb, items) in [(&["sign"][..], &references), (&["blob", "sign"], &files)] {
        fs::write(machine.path().join("list"), items[..11].join("\n")).unwrap();
        let sign = || {
            let mut command = machine.command("hardsign");
            command.args(verb).args(&flags);
            command.args(["--skip-signed", "--from-file", "list", "-o", "json"]);
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let told: Value = serde_json::from_slice(&output.stdout).unwrap();
            let count = |member: &str| told[member].as_array().unwrap().len();
            (count("signed"), count("skipped"))
        };
        let before = made(&machine);
        assert_eq!(sign(), (11, 0));
        assert_eq!(made(&machine) - before, 11);
        assert_eq!(sign(), (0, 11));
        assert_eq!(made(&machine) - before, 12);
        // One more is signed, and one signature at most is made in vain.
        fs::write(machine.path().join("list"), items.join("\n")).unwrap();
        assert_eq!(sign(), (1, 11));
        let more = made(&machine) - before - 12;
        assert!((1..=2).contains(&more), "{more}");
    }
}

/// Where the list of an artifact's signatures can't be seen as a whole, it is not signed for that, and the flag is named.
#[test]
fn what_may_be_signed_is_not_signed_again() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let registry = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(|request| {
            let list = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":7}]}"#;
            let asked = request.method == "GET" && request.path.contains("/referrers/");
            asked.then(|| {
                Response::bytes(200, list.as_bytes().to_vec())
                    .header("content-type", "application/vnd.oci.image.index.v1+json")
            })
        })),
        ..Behaviour::default()
    });
    registry.put_manifest("app", Some("v1"), IMAGE, MANIFEST.as_bytes());
    let before = registry.manifest_count("app");
    let line = format!("hardsign sign --skip-signed {}/app:v1", registry.name());
    let output = machine.shell(&line);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let told = "the list of the artifact's signatures can't be read as a whole";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("\nHint: without --skip-signed"), "{text}");
    assert_eq!(registry.manifest_count("app"), before);
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"annotations":{"n":"NUMBER"}}"#;
