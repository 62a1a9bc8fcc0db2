//! What can go wrong without knowing what was asked.

use std::process::{Child, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use super::{complain, refuse, say};

/// Every fault, with what it does.
pub const FAULTS: &[(&str, &str)] = &[
    // Processes.
    ("crash", "aborts"),
    ("exit", "exits with code 4 and says nothing"),
    (
        "exit-text",
        "exits with code 3 and several lines on stderr, with an escape sequence",
    ),
    (
        "exit-empty-json",
        "exits with code 1 and an error answer without members",
    ),
    ("refuse", "refuses with ERROR and a hint"),
    ("denied", "refuses with ACCESS_DENIED"),
    ("throttled", "refuses with THROTTLED"),
    ("timeout", "refuses with TIMEOUT"),
    ("late-timeout", "waits, and refuses with TIMEOUT"),
    ("hang", "does nothing, forever"),
    ("close-stdout", "closes stdout and does nothing, forever"),
    ("flood-stdout", "writes 100 MiB to stdout"),
    ("flood-stderr", "writes 100 MiB to stderr, then hangs"),
    ("noise", "writes to stderr and goes on"),
    ("slow", "takes its time and goes on"),
    ("grandchild", "leaves a process behind that keeps its pipes"),
    // Answers that are not JSON.
    ("empty", "answers with nothing"),
    ("garbage", "answers with something else than JSON"),
    ("half", "answers with half of an answer"),
    ("array", "answers with an array"),
    ("trailing", "says more after its answer"),
    ("duplicate", "names a member twice"),
    ("deep", "nests too deep"),
    // Metadata.
    ("wrong-name", "gives another name"),
    ("empty-name", "gives no name"),
    ("empty-description", "gives no description"),
    ("empty-version", "gives no version"),
    ("empty-url", "gives no URL"),
    ("no-capabilities", "gives no capabilities"),
    ("no-signing", "gives unknown capabilities only"),
    ("no-contract", "gives no contract versions"),
    ("wrong-contract", "gives other contract versions"),
    // Keys and signatures.
    ("wrong-key-id", "answers for another key"),
    ("wrong-key-spec", "describes another kind of key"),
    ("unknown-key-spec", "describes an unknown kind of key"),
    ("wrong-algorithm", "gives another algorithm"),
    ("unknown-algorithm", "gives an unknown algorithm"),
    ("other-key", "signs with another key"),
    ("changed-digest", "signs something else"),
    ("short-signature", "leaves a byte of the signature out"),
    ("no-signature", "answers without a signature"),
    ("bad-base64", "answers with a signature that is no base64"),
    ("no-chain", "answers without certificates"),
    ("other-chain", "answers with the certificate of another key"),
    ("leaf-only", "answers without the root certificate"),
    ("reversed-chain", "answers with the root first"),
    (
        "root-described",
        "answers with the root first, and takes it for the key's certificate when it describes the key",
    ),
    (
        "root-claimed",
        "the same, and names the algorithm that would go with that",
    ),
    ("other-public-key", "opens with the public key of another"),
    ("garbage-public-key", "opens with a public key that is none"),
    ("expired-chain", "answers with an expired certificate"),
    ("garbage-chain", "answers with certificates that are none"),
    ("long-chain", "answers with a thousand certificates"),
    // Sessions.
    (
        "any-line-opens",
        "takes the first line for open, whatever its command",
    ),
    (
        "any-line-signs",
        "takes every line after open for sign-digest",
    ),
    ("forgets-failures", "opens a key after an open that failed"),
    ("none-in-flight", "allows no request under way"),
    ("die", "ends without a word"),
    ("close-stdin", "closes stdin and keeps stdout"),
    (
        "close-stdin-late",
        "closes stdin, answers once more and keeps stdout",
    ),
    ("unknown-id", "answers a request that was not made"),
    ("answer-twice", "answers twice"),
    ("no-id", "answers without an id"),
    (
        "garbage-line",
        "writes a line that is no message before its answer",
    ),
    ("blank-line", "writes an empty line before its answer"),
    ("long-line", "writes a line of 100 MiB"),
    ("wrong-shape", "answers with another command's answer"),
    ("notices", "sends eleven notices"),
    ("notices-forever", "sends notices and never answers"),
    (
        "notice-unknown",
        "sends a notice about a request that was not made",
    ),
    (
        "events-forever",
        "sends events that nobody knows and never answers",
    ),
    (
        "prompting-forever",
        "says that it asks, and never that it has",
    ),
    ("prompting-twice", "says twice that it asks"),
    ("prompted-alone", "says that it has asked, and hasn't"),
    ("touch", "asks for a touch first, as it may"),
    ("deaf", "ignores the end of stdin"),
    // What only some plugins offer.
    (
        "takes-any-setting",
        "takes settings that it does not declare",
    ),
    ("attests-another", "gives evidence of another key"),
    ("attests-nothing", "gives evidence of no format"),
    ("open-test-key", "writes a test key that everyone can read"),
    (
        "other-test-key",
        "answers with another certificate than it wrote",
    ),
    ("overwrites-test-key", "writes over a test key"),
    // Envelopes.
    (
        "wrong-envelope-type",
        "answers with another type of envelope",
    ),
    ("garbage-envelope", "answers with an envelope that is none"),
    ("other-subject", "signs another artifact"),
    ("drop-annotation", "leaves the requested annotations out"),
    ("change-annotation", "changes the requested annotations"),
    ("extra-annotation", "adds an annotation, as it may"),
    ("unknown-member", "adds a member to the payload"),
    ("no-expiry", "leaves the requested expiry out"),
    ("wrong-expiry", "gives another expiry"),
    (
        "reserved-annotation",
        "answers with a manifest annotation under the reserved prefix",
    ),
    // Verification.
    ("identity-fails", "does not trust the signer"),
    ("revocation-fails", "says that the certificate is revoked"),
    ("missing-result", "leaves a result out"),
    ("surplus-result", "adds a result"),
    ("unprocessed", "processes no attribute"),
];

/// A fault that is committed at every stage but the metadata.
pub(super) const EVERYWHERE: &str = "everywhere";

/// Faults that come with the metadata unless said otherwise.
const OF_METADATA: &[&str] = &[
    "wrong-name",
    "empty-name",
    "empty-description",
    "empty-version",
    "empty-url",
    "no-capabilities",
    "no-signing",
    "no-contract",
    "wrong-contract",
];

pub(super) fn usual_stage(fault: &str) -> &'static str {
    match fault {
        "none-in-flight" | "other-public-key" | "garbage-public-key" => "open",
        "root-described" | "root-claimed" => EVERYWHERE,
        "wrong-key-spec" | "unknown-key-spec" => "describe-key",
        "identity-fails" | "revocation-fails" | "missing-result" | "surplus-result"
        | "unprocessed" => "verify-signature",
        "wrong-envelope-type"
        | "garbage-envelope"
        | "other-subject"
        | "drop-annotation"
        | "change-annotation"
        | "extra-annotation"
        | "unknown-member"
        | "no-expiry"
        | "wrong-expiry"
        | "reserved-annotation" => "generate-envelope",
        "attests-another" | "attests-nothing" => "attest-key",
        "open-test-key" | "other-test-key" | "overwrites-test-key" => "generate-test-key",
        fault if OF_METADATA.contains(&fault) => "get-plugin-metadata",
        _ => "sign",
    }
}

/// Commits the faults that need no answer; `None` means: go on.
pub(super) fn commit(fault: &str) -> Option<ExitCode> {
    match fault {
        "crash" => std::process::abort(),
        "exit" => return Some(ExitCode::from(4)),
        "exit-text" => {
            complain(b"first line\n\n\x1b[31mlibrary not found: /usr/lib/none.so\n");
            return Some(ExitCode::from(3));
        }
        "exit-empty-json" => {
            complain(b"{}");
            return Some(ExitCode::FAILURE);
        }
        "refuse" => return Some(refuse("ERROR", "the key store is closed")),
        "denied" => return Some(refuse("ACCESS_DENIED", "wrong PIN")),
        "throttled" => return Some(refuse("THROTTLED", "too many requests")),
        "timeout" => return Some(refuse("TIMEOUT", "no answer from the key store")),
        "late-timeout" => {
            thread::sleep(Duration::from_millis(400));
            return Some(refuse("TIMEOUT", "no answer from the key store"));
        }
        "hang" => hang(),
        "close-stdout" => {
            close_stdout();
            hang();
        }
        "flood-stdout" => flood(say),
        "flood-stderr" => {
            flood(complain);
            hang();
        }
        "noise" => complain(b"debug: all is well\n"),
        "slow" => thread::sleep(Duration::from_millis(50)),
        "grandchild" => leave_a_child(),
        "die" => return Some(ExitCode::SUCCESS),
        _ => {}
    }
    None
}

/// An answer's text with the fault put in.
pub(super) fn mangle(fault: &str, answer: &str) -> String {
    let cut = |at: usize| answer.get(..at).unwrap_or_default();
    match fault {
        "empty" => String::new(),
        "garbage" => "signed, with pleasure".into(),
        "half" => cut(answer.len() / 2).into(),
        "array" => format!("[{answer}]"),
        "trailing" => format!("{answer}{answer}"),
        "duplicate" => match answer.split_once(':') {
            Some((first, _)) => answer.replacen('{', &format!("{first}:null,"), 1),
            None => answer.into(),
        },
        "deep" => format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        _ => answer.into(),
    }
}

pub(super) fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn flood(write: fn(&[u8])) {
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        write(&chunk);
    }
}

/// Closes the pipe by putting another file in its place.
#[cfg(unix)]
fn close_stdout() {
    replace(&rustix::stdio::dup2_stdout);
}

/// Likewise, for reading.
#[cfg(unix)]
pub(super) fn close_stdin() {
    replace(&rustix::stdio::dup2_stdin);
}

#[cfg(unix)]
fn replace(put: &dyn Fn(std::fs::File) -> rustix::io::Result<()>) {
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null");
    let put = null.is_ok_and(|null| put(null).is_ok());
    assert!(put, "a pipe can't be closed");
}

#[cfg(not(unix))]
fn close_stdout() {}

#[cfg(not(unix))]
pub(super) fn close_stdin() {}

/// A process that keeps stdout and stderr for a minute.
#[expect(
    clippy::disallowed_methods,
    reason = "a grandchild of the host is what this fault is about"
)]
fn leave_a_child() {
    let child: std::io::Result<Child> = std::process::Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .spawn();
    assert!(child.is_ok(), "no child to leave behind");
}
