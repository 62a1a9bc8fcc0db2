//! Typing mistakes as a terminal shows them, of every command, and questions that nobody answers: nothing is
//! done, and what to do is named. Every mistake of every flag is tried in `cli/src/args/tests/mistakes.rs`.

#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a failure of the harness is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hardsign_test_support::terminal::{Terminal, screen};

mod support;

use support::Machine;

/// The widths that people have, and one that few have.
const WIDTHS: [u16; 2] = [80, 200];

/// What a terminal shows of a command, and the exit code.
fn shown(machine: &Machine, columns: u16, words: &[&str]) -> (Vec<String>, i32) {
    let mut command = machine.command("hardsign");
    command
        .args(words)
        .env("TERM", "xterm")
        .env("NO_COLOR", "1");
    command.env_remove("COLUMNS");
    let terminal = Terminal::new(columns);
    let mut child = terminal.run(&command);
    let text = terminal.all();
    let code = child.wait().unwrap().code().unwrap();
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    (lines.collect(), code)
}

/// The commands below a group, as its help lists them, and the long flags of the command.
fn listed(machine: &Machine, path: &[String]) -> (Vec<String>, Vec<String>) {
    let mut command = machine.command("hardsign");
    let output = command.args(path).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (mut commands, mut flags, mut heading) = (Vec::new(), Vec::new(), String::new());
    for line in text.lines() {
        if !line.starts_with(' ') {
            line.clone_into(&mut heading);
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or_default();
        let flag = line
            .split_whitespace()
            .take(2)
            .find(|word| word.starts_with("--"));
        let of_commands = match path.is_empty() {
            true => !matches!(&*heading, "Options:" | "Examples:"),
            false => heading == "Commands:",
        };
        match heading.as_str() {
            "Options:" if line.starts_with("  -") || line.starts_with("      --") => {
                flags.extend(flag.map(str::to_owned));
            }
            _ if of_commands && line.starts_with("  ") && !line.starts_with("   ") => {
                commands.push(word.to_owned());
            }
            _ => {}
        }
    }
    commands.retain(|command| command != "help");
    (commands, flags)
}

/// Each command with its last letter but one left out, and one of its flags in the same way.
#[test]
fn mistakes_fit_the_terminal_and_do_nothing() {
    let machine = Machine::new();
    let before = contents(machine.path());
    let (mut open, mut tried) = (vec![vec![]], 0);
    while let Some(path) = open.pop() {
        let (commands, flags) = listed(&machine, &path);
        let group = [&["hardsign".to_owned()], &path[..]].concat().join(" ");
        let mistyped = |word: &str| {
            let mut word = word.to_owned();
            word.remove(word.len() - 2);
            word
        };
        let mut mistakes: Vec<_> = commands
            .iter()
            .filter(|command| command.len() > 3)
            .map(|command| {
                (
                    mistyped(command),
                    format!("did you mean `{group} {command}`?"),
                )
            })
            .collect();
        // The first of a command, and the last of its own: those after it are shared.
        let own = flags
            .iter()
            .filter(|flag| !["--debug", "--verbose", "--help"].contains(&&***flag));
        let own: Vec<_> = own
            .filter(|flag| flag.len() > 7 && *flag != "--plain-http")
            .collect();
        for flag in own.first().into_iter().chain(own.last()) {
            mistakes.push((mistyped(flag), format!("did you mean {flag}?")));
        }
        for (typed, hint) in mistakes {
            let words: Vec<_> = path.iter().map(String::as_str).chain([&*typed]).collect();
            for columns in WIDTHS {
                tried += 1;
                let (lines, code) = shown(&machine, columns, &words);
                assert_eq!(code, 2, "{words:?}: {lines:?}");
                assert!(lines[0].starts_with("Error: "), "{words:?}: {lines:?}");
                assert!(
                    lines.contains(&format!("Hint: {hint}")),
                    "{words:?}: {lines:?}"
                );
                let fits = lines
                    .iter()
                    .all(|line| line.chars().count() <= columns.into());
                assert!(fits, "{columns}: {lines:?}");
            }
        }
        open.extend(
            commands
                .iter()
                .map(|command| [&path[..], std::slice::from_ref(command)].concat()),
        );
    }
    assert!(tried > 300, "only {tried} mistakes were tried");
    assert_eq!(contents(machine.path()), before, "something was done");
}

/// Each file below a directory, and what it holds.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        // Of programs, which are large, the names are enough.
        if path.is_symlink() || directory.ends_with("bin") {
            found.insert(name, vec![]);
        } else if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

/// A question that meets the end of input: what is done first, the command, what was not done, and the flag
/// that agrees.
const QUESTIONS: &[(&str, &str, &str, &str)] = &[
    (
        "true",
        "hardsign delete --oci-layout $APP $SIGNATURE",
        "no signature was deleted",
        "--yes",
    ),
    (
        "true",
        "hardsign cert delete --type ca --store vectors --all",
        "trust store vectors of type ca was not deleted",
        "--yes",
    ),
    (
        "true",
        "hardsign cert delete --type ca --store vectors root.crt",
        "was not deleted",
        "--yes",
    ),
    (
        "hardsign cert generate-test demo",
        "hardsign cert cleanup-test demo",
        "test key demo was not cleaned up",
        "--yes",
    ),
    (
        "hardsign cert generate-test demo",
        "hardsign policy add-signer demo --cert config/localkeys/demo.crt --scope a.example/b",
        "signer demo was not added",
        "--yes",
    ),
    (
        "hardsign cert generate-test demo",
        "hardsign blob policy add-signer demo --cert config/localkeys/demo.crt --statement vectors",
        "signer demo was not added",
        "--yes",
    ),
    (
        "hardsign cert generate-test demo; hardsign policy add-signer demo --cert config/localkeys/demo.crt --scope a.example/b --yes",
        "hardsign policy remove-signer demo",
        "signer demo was not removed",
        "--yes",
    ),
    (
        "true",
        "hardsign policy import policy.json",
        "trustpolicy.oci.json was not replaced",
        "--force",
    ),
    (
        "true",
        "hardsign policy init --name a --scope a.example/b --trust-store ca:vectors --trusted-identity '*'",
        "trustpolicy.oci.json was not replaced",
        "--force",
    ),
    (
        "true",
        "hardsign blob policy import config/trustpolicy.blob.json",
        "trustpolicy.blob.json was not replaced",
        "--force",
    ),
    (
        "true",
        "hardsign blob policy init --name a --trust-store ca:vectors --trusted-identity '*'",
        "trustpolicy.blob.json was not replaced",
        "--force",
    ),
    (
        "echo '{\"version\": \"1.0\", \"oci\": {}}' > rules.json; hardsign policy import rules.json",
        "hardsign policy import rules.json",
        "policy.hardsign.json was not replaced",
        "--force",
    ),
    (
        "hardsign cert generate-test --default demo",
        "hardsign blob sign artifact.bin",
        "artifact.bin.jws.sig was not replaced",
        "--force",
    ),
    (
        "hardsign plugin install --file wabbit/notation-wabbit",
        "hardsign plugin uninstall wabbit",
        "plugin wabbit was not uninstalled",
        "--yes",
    ),
    (
        "hardsign plugin install --file wabbit/notation-wabbit; echo '# x' >> config/plugins/wabbit/notation-wabbit",
        "hardsign plugin trust wabbit",
        "plugin wabbit is not trusted",
        "--yes",
    ),
    (
        "hardsign key create a --plugin local --id a.key --type EC-256",
        "hardsign key create b --plugin local --id a.key --type EC-256 --force",
        "no key was made",
        "--yes",
    ),
    (
        "printf '#!/bin/sh\\n' > containerd; chmod 755 containerd; hardsign node install --bin-dir $PWD/verifiers --no-exceptions --containerd $PWD/containerd",
        "hardsign node uninstall --bin-dir $PWD/verifiers",
        "image-verifier was not removed",
        "--yes",
    ),
];

/// The places that ask, of which each has a row above, but for `key renew --new-key` and `token setup`: they
/// ask what a device wants to know (`softhsm-tests/tests/yubikey_life.rs`).
const PLACES: usize = 14;

const NAMES: &str = "\
APP=layout@sha256:87e72933805e382b4b445fb6ad3427ee306510d9476ed27c9736450e36709058
SIGNATURE=sha256:55959d0008d916a063b563a2ccc20537c686ef2709d065ad2f3bfad285cd0ccb
";

#[test]
fn a_question_that_nobody_answers_does_nothing() {
    for (prepare, line, not_done, flag) in QUESTIONS {
        let machine = Machine::new();
        machine.shell("cp config/trustpolicy.oci.json policy.json");
        machine.shell(prepare);
        let before = contents(machine.path());
        let ran = machine.shell(&format!("{NAMES}{line}"));
        let text = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{line}: {text}");
        let told = format!("{not_done}: standard input ended before the question was answered");
        let error = text.lines().find(|line| line.starts_with("Error: "));
        assert!(
            error.is_some_and(|error| error.ends_with(&told)),
            "{line}: {text}"
        );
        let hint = format!("Hint: {flag} agrees without a question\n");
        assert!(text.ends_with(&hint), "{line}: {text}");
        let after = contents(machine.path());
        let changed: Vec<_> = before
            .iter()
            .filter(|(name, held)| after.get(*name) != Some(held))
            .map(|(name, _)| name)
            .collect();
        assert!(changed.is_empty(), "{line}: {changed:?}");
        // And with the flag it is done.
        let ran = machine.shell(&format!("{NAMES}{line} {flag}"));
        let text = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(ran.status.code(), Some(0), "{line}: {text}");
    }
}

#[test]
fn every_question_has_a_row() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command");
    let places: usize = contents(&sources)
        .values()
        .map(|source| {
            String::from_utf8_lossy(source)
                .matches("Unanswered::new(")
                .count()
        })
        .sum();
    assert_eq!(places, PLACES, "a question without a row in QUESTIONS");
}

/// What `login` asks for is asked on a line of its own, at a terminal that hangs up as well.
#[test]
fn login_says_what_answers_its_questions() {
    let machine = Machine::with_registries();
    let terminal = Terminal::new(80);
    let registry = machine
        .registries()
        .find(|(name, _)| *name == "PRIVATE")
        .unwrap()
        .1;
    let mut child = terminal.run(
        machine
            .command("hardsign")
            .args(["login", "-u", "alice", &registry]),
    );
    terminal.wait_for("the question", |text| text.contains("Password: "));
    terminal.types("\x04");
    let lines = screen(&terminal.all());
    assert_eq!(child.wait().unwrap().code(), Some(1), "{lines:?}");
    assert_eq!(
        lines,
        [
            "Password:",
            "Error: password required",
            "Hint: --password-stdin reads it from standard input",
            ""
        ]
    );
}
