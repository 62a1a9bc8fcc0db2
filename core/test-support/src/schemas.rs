//! Messages between hosts and plugins, held against `docs/schemas/plugin.json` as they go by, and policies against
//! theirs.
//!
//! `scripts/schemas --serve` judges them: it is started once in a process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Value, json};

/// What a message is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The request of a command, on its own or in a session.
    Request,
    /// The answer to it.
    Answer,
    /// An error answer.
    Error,
    /// A whole line of a session, in either direction; its inside is not looked at.
    Line,
}

/// What is wrong with a message that goes with `command`; nothing, if it is as the schema wants it.
///
/// # Panics
/// There is no Python, or no module `jsonschema` for it.
pub fn faults(kind: Kind, command: &str, message: &Value) -> Vec<String> {
    let kind = match kind {
        Kind::Request => "request",
        Kind::Answer => "answer",
        Kind::Error => "error",
        Kind::Line => "line",
    };
    judged(&json!([kind, command, message]))
}

/// What is wrong with a policy, by the schema that `hardsign policy schema <kind>` prints: `oci`, `blob` or
/// `hardsign`.
///
/// # Panics
/// There is no Python, or no module `jsonschema` for it.
pub fn policy_faults(kind: &str, document: &Value) -> Vec<String> {
    judged(&json!(["policy", kind, document]))
}

fn judged(line: &Value) -> Vec<String> {
    let mut judge = JUDGE.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(judge.input, "{line}").unwrap();
    let mut answer = String::new();
    judge.output.read_line(&mut answer).unwrap();
    serde_json::from_str(&answer)
        .expect("scripts/schemas --serve answers; it needs Debian's python3-jsonschema")
}

/// Requires that a message is as the schema wants it.
///
/// # Panics
/// It is not.
pub fn check(kind: Kind, command: &str, message: &Value) {
    let faults = faults(kind, command, message);
    assert!(
        faults.is_empty(),
        "{command} {kind:?} {message}: {faults:?}"
    );
}

static JUDGE: LazyLock<Mutex<Judge>> = LazyLock::new(|| Mutex::new(Judge::start()));

struct Judge {
    /// Ends with its stdin, when this process does.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Judge {
    #[allow(clippy::disallowed_methods, reason = "tests start programs")]
    fn start() -> Self {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/schemas");
        let mut child = Command::new(program)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            _child: child,
        }
    }
}
