//! Transcripts: what a user types and sees. Each `tests/cmd/<verb>/<case>.md` is run on a machine
//! of its own (`support`), its lines one after the other, and must say what is printed.
//!
//! A block that opens with three backquotes and `console` holds the commands, after `$ `; below
//! each stand its standard output and standard error, and `? <code>` where it fails. What
//! differs from run to run is replaced: `[DIR]`, `[DIGEST]`, `[TIME]`, `[REGISTRY]`. A transcript
//! that says `$REGISTRY` or `$PRIVATE` has registries of its own,
//! one that says `multi:v1` an index of images for two platforms.
//! `SNAPSHOTS=overwrite cargo test -p hardsign --test transcripts` writes the files anew: read the
//! difference before it is committed.

#![allow(
    clippy::unwrap_used,
    reason = "a failure of the harness is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use snapbox::{Data, IntoData as _};

mod support;

use support::Machine;

#[test]
fn transcripts() {
    let mut failed = Vec::new();
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd"));
    assert!(files.len() > 20, "only {} transcripts found", files.len());
    let next = AtomicUsize::new(0);
    let work = || -> Vec<String> {
        let files = std::iter::from_fn(|| files.get(next.fetch_add(1, Ordering::Relaxed)));
        files.filter_map(|file| difference(file)).collect()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        failed.extend(threads.into_iter().flat_map(|t| t.join().unwrap()));
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What the operating system said is told in plain words: nobody needs its number.
#[test]
fn no_numbers_of_the_operating_system() {
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("(os error"), "{}", file.display());
    }
}

/// How a transcript differs from what really goes on.
fn difference(file: &Path) -> Option<String> {
    let wanted = Data::read_from(file, None).raw();
    let actual = play(&fs::read_to_string(file).unwrap());
    let assert = snapbox::Assert::new().action_env("SNAPSHOTS");
    let verdict = assert.try_eq(Some(&file.display()), actual.into_data().raw(), wanted);
    verdict.err().map(|difference| difference.to_string())
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for verb in fs::read_dir(directory).unwrap() {
        for case in fs::read_dir(verb.unwrap().path()).unwrap() {
            files.push(case.unwrap().path());
        }
    }
    files.sort();
    files
}

/// Every command has a transcript of its help, in a directory named after it.
#[test]
fn help_of_every_command() {
    let machine = Machine::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let mut groups = vec![String::new()];
    let mut count = 0;
    while let Some(group) = groups.pop() {
        let ran = machine.shell(&format!("hardsign __complete -- {group} ''"));
        let text = String::from_utf8(ran.stdout).unwrap();
        for line in text.lines().filter(|line| line.contains('\t')) {
            let name = line.split('\t').next().unwrap();
            if name == "help" || name.starts_with('-') {
                continue;
            }
            let verb = format!("{group} {name}").trim().to_owned();
            let file = directory.join(verb.replace(' ', "-")).join("help.md");
            assert!(file.is_file(), "{} is missing", file.display());
            count += 1;
            if [
                "blob",
                "certificate",
                "key",
                "plugin",
                "policy",
                "blob policy",
                "token",
                "admission",
            ]
            .contains(&&*verb)
            {
                groups.push(verb);
            }
        }
    }
    assert!(count > 25, "{count}");
}

/// The transcript as it really goes.
fn play(transcript: &str) -> String {
    let machine = if transcript.contains("$REGISTRY") || transcript.contains("$PRIVATE") {
        Machine::with_registries()
    } else if transcript.contains("multi:v1") {
        Machine::new().with_platforms()
    } else {
        Machine::new()
    };
    let mut out = String::new();
    let mut in_block = false;
    for line in transcript.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        }
        let command = line.strip_prefix("$ ").filter(|_| in_block);
        if !in_block || line.starts_with("```") || command.is_some() {
            out.push_str(line);
            out.push('\n');
        }
        if let Some(command) = command {
            let ran = machine.shell(command);
            let code = ran.status.code().unwrap_or(-1);
            let text = redacted(&String::from_utf8_lossy(&ran.stdout), &machine);
            if code != 0 {
                out.push_str(&format!("? {code}\n"));
            }
            out.push_str(&text);
            if !text.is_empty() && !text.ends_with('\n') {
                out.push('\n');
            }
        }
    }
    out
}

/// Directories, registries, fresh digests and times replaced. What the vectors hold is kept.
fn redacted(text: &str, machine: &Machine) -> String {
    let directory = machine.path();
    let real = fs::canonicalize(directory).unwrap();
    let mut text = text.to_owned();
    for (variable, name) in machine.registries() {
        text = text.replace(&name, &format!("[{variable}]"));
    }
    let text = text
        .replace(&directory.display().to_string(), "[DIR]")
        .replace(&real.display().to_string(), "[DIR]")
        .replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let words =
            line.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.');
        for word in words {
            out.push_str(&token(word));
        }
    }
    times(&out)
}

/// A word with what stands behind it; a digest that no vector has is replaced.
fn token(word: &str) -> String {
    let digest: String = word.chars().take_while(char::is_ascii_hexdigit).collect();
    let rest = &word[digest.len()..];
    if digest.len() >= 64 && !known(&digest) {
        format!("[DIGEST]{rest}")
    } else {
        word.to_owned()
    }
}

fn known(digest: &str) -> bool {
    const KNOWN: &str = include_str!("known-digests.txt");
    KNOWN.lines().any(|line| line == digest)
}

/// The times of log records and RFC 3339 times replaced, but for those in the vectors.
fn times(text: &str) -> String {
    let records: String = text
        .split_inclusive('\n')
        .map(|line| {
            match line
                .strip_prefix("time=")
                .and_then(|l| l.split_once("Z level="))
            {
                Some((_, rest)) => format!("time=[TIME] level={rest}"),
                None => line.to_owned(),
            }
        })
        .collect();
    let text = records.as_str();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("T") {
        let start = at.saturating_sub(10);
        let date = rest.get(start..at).unwrap_or_default();
        let is_date = date.len() == 10
            && date.bytes().enumerate().all(|(i, b)| match i {
                4 | 7 => b == b'-',
                _ => b.is_ascii_digit(),
            });
        let end = rest[at..].find('Z').map(|z| at + z + 1);
        match end.filter(|end| is_date && end - at < 32 && !VECTOR_DAYS.contains(&date)) {
            Some(end) => {
                out.push_str(&rest[..start]);
                out.push_str("[TIME]");
                rest = &rest[end..];
            }
            None => {
                out.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// How many transcripts are played at a time.
const THREADS: usize = 4;

/// The days on which the vectors were signed, begin and expire.
const VECTOR_DAYS: [&str; 3] = ["2026-11-22", "2050-12-26", "2051-07-14"];
