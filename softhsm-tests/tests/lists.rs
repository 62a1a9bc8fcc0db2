//! Many artifacts that a list names: a run that is killed is finished by the same line again, an
//! interrupted one says what is signed, and parts of a list are the whole.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hardsign_plugin::algorithm::KeySpec;
use serde_json::Value;
use softhsm_tests::token::Token;
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys, run};

/// A list of so many artifacts, each in the layout; returns the references.
fn list(bench: &Workbench, count: usize) -> Vec<String> {
    let add = |n: usize| bench.reference(&bench.layout.add(&format!("v{n}"), &n.to_string()));
    let references: Vec<String> = (0..count).map(add).collect();
    fs::write(bench.path().join("refs.txt"), references.join("\n")).unwrap();
    references
}

/// How many signatures each artifact of the layout has, by digest. What the index names is there and
/// whole, or this fails.
fn signatures(bench: &Workbench) -> BTreeMap<String, usize> {
    let layout = bench.layout.path();
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |digest: &str| layout.join("blobs").join(digest.replacen(':', "/", 1));
    let mut found = BTreeMap::new();
    for entry in read(&layout.join("index.json"))["manifests"]
        .as_array()
        .unwrap()
    {
        let manifest = read(&blob(entry["digest"].as_str().unwrap()));
        if let Some(subject) = manifest["subject"]["digest"].as_str() {
            let envelope = manifest["layers"][0]["digest"].as_str().unwrap();
            read(&blob(envelope));
            *found.entry(subject.to_owned()).or_default() += 1;
        }
    }
    found
}

fn signal(child: &Child, signal: &str) {
    run(Command::new("kill").args([format!("-{signal}"), child.id().to_string()]));
}

/// Killed after so many lines of output, and several times after none, the layout is readable; the
/// same line completes it, and no artifact has two signatures.
#[test]
fn a_run_that_is_killed_is_finished_by_the_same_line() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let bench = Workbench::with_token(&token);
    let references = list(&bench, 300);
    let uri = token.uri("signing");
    let sign = [
        "sign",
        "--oci-layout",
        "--plugin",
        "pkcs11",
        "--id",
        &uri,
        "--from-file",
        "refs.txt",
        "--skip-signed",
        "--output",
        "jsonl",
    ];
    let mut before = 0;
    for lines in [0, 1, 40] {
        let mut command = bench.command(&binaries().join("hardsign"), sign);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut told = 0;
        let mut line = String::new();
        while told < lines && output.read_line(&mut line).unwrap() > 0 {
            told += usize::from(line.contains(r#""outcome":"signed""#));
            line.clear();
        }
        if lines == 0 {
            std::thread::sleep(Duration::from_millis(60));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let found = signatures(&bench);
        assert!(found.values().all(|count| *count == 1), "{found:?}");
        // What was told is stored.
        assert!(
            found.len() >= before + told,
            "{} {before} {told}",
            found.len()
        );
        before = found.len();
    }
    let ran = bench.hardsign_ok(sign);
    let count = |outcome: &str| {
        ran.stdout
            .matches(&format!(r#""outcome":"{outcome}""#))
            .count()
    };
    assert_eq!((count("skipped"), count("signed")), (before, 300 - before));
    let found = signatures(&bench);
    assert_eq!(found.len(), references.len());
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    assert_eq!(bench.processes(), Vec::<String>::new());
    // Another certificate's signature is another signature.
    bench.hardsign_ok(["certificate", "generate-test", "--default", "other"]);
    bench.hardsign_ok(["sign", "--oci-layout", "--skip-signed", &references[0]]);
    assert_eq!(signatures(&bench).values().sum::<usize>(), 301);
}

/// A list that names an artifact twice signs it once, and another signs it with other metadata.
#[test]
fn what_stands_twice_in_a_list_is_signed_once() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let bench = Workbench::with_token(&token);
    let references = list(&bench, 3);
    let doubled: Vec<_> = references
        .iter()
        .cycle()
        .take(60)
        .map(String::as_str)
        .collect();
    fs::write(bench.path().join("doubled.txt"), doubled.join("\n")).unwrap();
    let uri = token.uri("signing");
    let sign = |more: &[&str]| {
        let flags = ["sign", "--oci-layout", "--plugin", "pkcs11", "--id", &uri];
        let flags = [
            &flags[..],
            &["--skip-signed", "--from-file", "doubled.txt"],
            more,
        ]
        .concat();
        bench.hardsign_ok(flags)
    };
    sign(&[]);
    assert!(signatures(&bench).values().all(|count| *count == 1));
    sign(&["-m", "build=17"]);
    assert!(signatures(&bench).values().all(|count| *count == 2));
    // Each part of the list is done once, and all parts are the whole.
    let parts: usize = (0..3)
        .map(|n| {
            let shard = format!("{n}/3");
            let ran = sign(&["-m", "build=17", "--shard", &shard, "--output", "jsonl"]);
            ran.stdout.lines().count()
        })
        .sum();
    assert_eq!(parts, 60);
    assert!(signatures(&bench).values().all(|count| *count == 2));
}

/// CLI-16: after Ctrl-C the document has what was signed, each of the batch is in it, and standard
/// error says what was waited for.
#[test]
fn cli_16_an_interrupted_batch_says_what_is_signed() {
    let bench = Workbench::new();
    bench.install_plugin("rude", &binaries().join("notation-rude"));
    list(&bench, 9);
    let log = bench.path().join("log");
    let setting = format!("log={}", log.display());
    let mut flags = vec![
        "sign",
        "--oci-layout",
        "--from-file",
        "refs.txt",
        "--output",
        "json",
    ];
    flags.extend(["--plugin", "rude", "--id", "k"]);
    for setting in ["fault=hang", "after=4", "in-flight=2", &setting] {
        flags.extend(["--plugin-config", setting]);
    }
    let mut command = bench.command(&binaries().join("hardsign"), flags);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let signs = || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.lines().filter(|line| *line == "sign").count()
    };
    // Stored, and not only made: the index is replaced whole by one that names them.
    let start = Instant::now();
    while signs() <= 4 || signatures(&bench).len() < 4 {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", signs());
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "INT");
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{stderr}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    let count = |member: &str| document[member].as_array().unwrap().len();
    assert_eq!((count("signed"), count("failed")), (4, 5), "{stdout}");
    assert_eq!(signatures(&bench).len(), 4);
    assert!(stderr.contains("Interrupted: waiting up to "), "{stderr}");
    assert!(
        stderr.contains("5 of 9 artifacts were not signed"),
        "{stderr}"
    );
}
