//! Hardsign's verdict on some bytes, beside that of the reference's library.
//!
//! The library answers in a program of its own (`softhsm-tests/peers/verdicts -serve`), whose path is
//! in `HARDSIGN_VERDICTS`. Where the two differ, a row of `docs/compatibility.md` must say so, below
//! "Inputs on which the verdicts differ": it names the kind of input, who refuses, a part of the
//! message of whoever refuses, and the reason.

use std::io::{BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use hardsign_core::envelope::{Envelope, Format};
use hardsign_core::policy;
use hardsign_core::text::WithCauses;

/// What the bytes are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A JWS envelope.
    Jws,
    /// A COSE envelope.
    Cose,
    /// A trust policy for artifacts.
    Policy,
}

/// One side's verdict: why it refuses, if it does.
type Verdict = Result<(), String>;

/// Asks both sides.
///
/// # Panics
/// They differ, and no row says that they may.
pub fn compare(kind: Kind, bytes: &[u8]) {
    let ours = ours(kind, bytes);
    let theirs = PEER.lock().expect("no other thread").ask(kind, bytes);
    let (refuses, text) = match (ours, theirs) {
        (Err(text), Ok(())) => ("hardsign", text),
        (Ok(()), Err(text)) => ("reference", text),
        _ => return,
    };
    let allowed = ROWS.iter().any(|row| {
        row.kind == kind.name() && row.refuses == refuses && text.contains(row.message)
    });
    assert!(allowed, "{} / only {refuses} refuses: {text}", kind.name());
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Jws => "jws",
            Self::Cose => "cose",
            Self::Policy => "policy",
        }
    }

    /// The kind in the protocol of the peer.
    fn code(self) -> u8 {
        match self {
            Self::Jws => b'j',
            Self::Cose => b'c',
            Self::Policy => b'p',
        }
    }
}

fn ours(kind: Kind, bytes: &[u8]) -> Verdict {
    let envelope = |format| {
        let read = Envelope::parse(format, bytes);
        let verified = read.and_then(Envelope::verify_integrity);
        verified.map(drop).map_err(|error| WithCauses(&error).to_string())
    };
    match kind {
        Kind::Jws => envelope(Format::Jws),
        Kind::Cose => envelope(Format::Cose),
        Kind::Policy => {
            let read = policy::oci::Document::parse(bytes);
            read.map(drop).map_err(|error| WithCauses(&error).to_string())
        }
    }
}

/// A difference that is decided.
struct Row {
    kind: &'static str,
    /// `hardsign` or `reference`.
    refuses: &'static str,
    /// A part of the message.
    message: &'static str,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let text = include_str!("../../../docs/compatibility.md");
    let (_, section) = text
        .split_once("## Inputs on which the verdicts differ")
        .expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<Row> = section.lines().filter_map(row).collect();
    assert!(rows.len() > 5, "rows are read");
    rows
});

fn row(line: &'static str) -> Option<Row> {
    let line = line.strip_prefix("| ")?;
    let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let [kind @ ("jws" | "cose" | "policy"), refuses, message, requirement, why] = cells[..] else {
        return None;
    };
    assert!(["hardsign", "reference"].contains(&refuses), "{line}");
    assert!(!requirement.is_empty() && why.len() > 8, "{line}");
    let message = message.trim_matches('`');
    assert!(message.len() > 5, "{line}");
    Some(Row {
        kind,
        refuses,
        message,
    })
}

static PEER: LazyLock<Mutex<Peer>> = LazyLock::new(|| Mutex::new(Peer::start()));

struct Peer {
    /// Ends with its stdin, when this process does.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Self {
        let program = std::env::var_os("HARDSIGN_VERDICTS")
            .expect("HARDSIGN_VERDICTS is the path of the peer verdicts; scripts/fuzz sets it");
        let mut child = Command::new(program)
            .arg("-serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer verdicts starts");
        Self {
            input: child.stdin.take().expect("it is piped"),
            output: BufReader::new(child.stdout.take().expect("it is piped")),
            _child: child,
        }
    }

    fn ask(&mut self, kind: Kind, bytes: &[u8]) -> Verdict {
        let length = u32::try_from(bytes.len()).expect("inputs are short");
        let mut case = vec![kind.code()];
        case.extend(length.to_be_bytes());
        case.extend_from_slice(bytes);
        self.input.write_all(&case).expect("the peer reads");
        let mut head = [0; 5];
        self.output.read_exact(&mut head).expect("the peer answers");
        let [good, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).expect("a length");
        let mut text = vec![0; length];
        self.output.read_exact(&mut text).expect("the peer answers");
        match good {
            1 => Ok(()),
            _ => Err(String::from_utf8_lossy(&text).into_owned()),
        }
    }
}
