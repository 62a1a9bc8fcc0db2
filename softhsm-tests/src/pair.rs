//! The same command line under `hardsign` and under the real `notation`, on two machines that are
//! alike.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::binaries;
use crate::peers::{self, framework};
use crate::workbench::{Ran, Workbench};

/// Two machines that are alike, one for each tool.
pub struct Pair {
    pub hardsign: Workbench,
    pub notation: Workbench,
}

impl Pair {
    /// Both with the test plugin `framework`.
    #[allow(clippy::new_without_default, reason = "it makes directories")]
    pub fn new() -> Self {
        let pair = Self {
            hardsign: Workbench::new(),
            notation: Workbench::new(),
        };
        let plugin = framework::executable();
        for bench in [&pair.hardsign, &pair.notation] {
            bench.install_plugin("framework", &plugin);
        }
        pair
    }

    /// Writes a file on both machines.
    pub fn file(&self, name: &str, content: &[u8]) {
        for bench in [&self.hardsign, &self.notation] {
            fs::write(bench.path().join(name), content).unwrap();
        }
    }

    /// Runs the words of `line`, `''` being an empty one, on both machines; hints are left out, and that a list is empty, which
    /// the reference does not say (CLI-72).
    pub fn both(&self, line: &str, input: &str) -> [Ran; 2] {
        let words = line.split(' ').map(|word| word.trim_matches('\''));
        let mut ours = with_input(
            &self.hardsign,
            &binaries().join("hardsign"),
            words.clone(),
            input,
        );
        let theirs = with_input(&self.notation, &peers::program("notation"), words, input);
        ours.stderr = without_hint(&ours.stderr);
        if ours.code == Some(0) && ours.stderr.starts_with("There are no ") {
            ours.stderr.clear();
        }
        [ours, theirs]
    }

    /// Demands that both tools answer alike, up to the exit code of a failure.
    ///
    /// # Panics
    /// They do not.
    pub fn alike(&self, line: &str, input: &str, adapt: impl Fn(&str) -> String) {
        let [ours, theirs] = self.both(line, input);
        if input.is_empty() && theirs.stdout.ends_with(QUESTION) {
            return is_unanswered(&ours, &adapt(&theirs.stdout), "");
        }
        assert_eq!(
            (
                ours.code == Some(0),
                adapt(&ours.stdout),
                adapt(&ours.stderr)
            ),
            (
                theirs.code == Some(0),
                adapt(&theirs.stdout),
                adapt(&theirs.stderr)
            ),
            "{line}"
        );
    }

    /// [`Pair::alike`] for each line; what stands behind `<<<` is standard input.
    pub fn all_alike(&self, lines: &str) {
        self.all_alike_but(lines, str::to_owned);
    }

    /// [`Pair::all_alike`], where `adapt` takes out of both what may differ.
    pub fn all_alike_but(&self, lines: &str, adapt: impl Fn(&str) -> String) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (line, input) = line.split_once(" <<< ").unwrap_or((line, ""));
            self.alike(line, &input.replace("\\n", "\n"), &adapt);
        }
    }
}

/// How a question ends.
const QUESTION: &str = "[y/N] ";

/// CLI-13: a question that nobody answers is a failure which says what was not done. (The reference says
/// nothing and succeeds.)
///
/// # Panics
/// It is none.
pub fn is_unanswered(ran: &Ran, question: &str, not_done: &str) {
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(1), format!("{question}\n").as_str())
    );
    let ended = format!("{not_done}: standard input ended before the question was answered");
    assert!(ran.stderr.contains(&ended), "{}", ran.stderr);
}

/// Runs a program with `input` on standard input; its own directory is shown as `<here>`.
pub fn with_input<'a>(
    bench: &Workbench,
    program: &Path,
    words: impl IntoIterator<Item = &'a str>,
    input: &str,
) -> Ran {
    let mut command = bench.command(program, words);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads nothing may be gone already.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let here = bench.path().display().to_string();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&here, "<here>");
    Ran {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// An error without what only `hardsign` says: its hints, and below the message, indented, why.
pub fn without_hint(stderr: &str) -> String {
    let error = match stderr.split_once("\nHint: ") {
        Some((error, _)) => format!("{error}\n"),
        None => stderr.to_owned(),
    };
    without_indented(&error)
}

/// What is verified, without who signed, which stands indented below it and which only `hardsign` says.
pub fn without_signers(stdout: &str) -> String {
    without_indented(stdout)
}

fn without_indented(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("  ")).collect()
}

/// Demands a failure with exactly this error, up to hints, and no output.
///
/// # Panics
/// It is another one, or none.
pub fn failed(ran: &Ran, stderr: &str) {
    assert_ne!(ran.code, Some(0), "{}", ran.stdout);
    assert_eq!(
        (ran.stdout.as_str(), without_hint(&ran.stderr).as_str()),
        ("", stderr)
    );
}
