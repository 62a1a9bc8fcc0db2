//! Plugin processes of the suite: blocking, bounded, and with everything they said kept.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use hardsign_plugin::frame::{LineReader, MAX_LINE, MAX_MESSAGE};
use hardsign_plugin::text::is_dangerous;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Subject;

/// A request, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    command: String,
    request: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    end: End,
    /// The pipes stayed open after the process had ended.
    lingering: bool,
}

/// How a process ended.
#[derive(Debug, Default)]
enum End {
    #[default]
    NotStarted,
    Failed(String),
    Exited(ExitStatus),
    TimedOut(Duration),
}

impl Exchange {
    /// Runs a one-shot command.
    pub(super) fn run(subject: &Subject, command: &str, request: &Value) -> Self {
        Self::run_text(subject, command, &request.to_string())
    }

    /// Runs a one-shot command with a request that may be no JSON.
    pub(super) fn run_text(subject: &Subject, command: &str, request: &str) -> Self {
        let mut exchange = Self {
            command: command.into(),
            request: request.into(),
            ..Self::default()
        };
        let mut child = match start(subject, command) {
            Ok(child) => child,
            Err(error) => {
                exchange.end = End::Failed(error.to_string());
                return exchange;
            }
        };
        if let Some(mut stdin) = child.stdin.take() {
            let request = request.to_owned();
            // A plugin that doesn't read its request is free to; the thread ends with the pipe.
            drop(thread::spawn(move || stdin.write_all(request.as_bytes())));
        }
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        exchange.end = wait(&mut child, subject.patience);
        for (collector, bytes) in [
            (stdout, &mut exchange.stdout),
            (stderr, &mut exchange.stderr),
        ] {
            match collector.map(|collector| collector.recv_timeout(DRAIN)) {
                Some(Ok(collected)) => *bytes = collected,
                _ => exchange.lingering = true,
            }
        }
        exchange
    }

    /// An exchange within a session.
    pub(super) fn of_session(request: &str, answer: &str) -> Self {
        Self {
            command: "session".into(),
            request: request.into(),
            stdout: answer.into(),
            ..Self::default()
        }
    }

    /// The answer of a command that went well: exit code 0 and one JSON object.
    pub(super) fn answer<T: DeserializeOwned>(&self) -> Result<T, String> {
        self.ended()?;
        match &self.end {
            End::Exited(status) if status.success() => {}
            End::Exited(status) => return Err(format!("it failed: {status}")),
            _ => return Err("it gave no answer".into()),
        }
        parse(&self.stdout)
    }

    /// The error answer of a command that failed: not exit code 0, and one JSON object on stderr.
    pub(super) fn refusal(&self) -> Result<Value, String> {
        self.ended()?;
        match &self.end {
            End::Exited(status) if !status.success() => {}
            End::Exited(_) => return Err("it did not fail".into()),
            _ => return Err("it gave no answer".into()),
        }
        let refusal: Value = parse(&self.stderr)?;
        match refusal["errorCode"].as_str() {
            Some(code) if ERROR_CODES.contains(&code) => Ok(refusal),
            Some(code) => Err(format!("errorCode {code:?} is none of the contract's")),
            None => Err("there is no errorCode on stderr".into()),
        }
    }

    /// Whether the request was refused with an error answer that says so: `VALIDATION_ERROR`.
    pub(super) fn is_validation_error(&self) -> bool {
        let refusal = self.refusal();
        refusal.is_ok_and(|refusal| refusal["errorCode"] == "VALIDATION_ERROR")
    }

    /// Whether the process ended by itself, with its pipes.
    pub(super) fn ended(&self) -> Result<(), String> {
        match &self.end {
            End::Exited(status) if status.code().is_none() => Err(format!("it crashed: {status}")),
            End::Exited(_) if self.lingering => {
                Err("a process that it started keeps its pipes open".into())
            }
            End::Exited(_) => Ok(()),
            End::NotStarted => Err("it was not started".into()),
            End::Failed(why) => Err(format!("it can't be started: {why}")),
            End::TimedOut(after) => Err(format!("it did not end within {} s", after.as_secs_f32())),
        }
    }

    /// Whether it exited with a code other than 0.
    pub(super) fn failed(&self) -> bool {
        matches!(&self.end, End::Exited(status) if !status.success())
    }

    pub(super) fn shown_request(&self) -> String {
        format!("{} {}", self.command, shown(self.request.as_bytes()))
    }

    pub(super) fn shown_answer(&self) -> String {
        let mut text = String::new();
        if let End::Exited(status) = &self.end {
            let _infallible = writeln!(text, "{status}");
        }
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !bytes.is_empty() {
                let _infallible = writeln!(text, "{name}: {}", shown(bytes));
            }
        }
        if text.is_empty() { "none".into() } else { text }
    }
}

/// A session with a plugin.
pub(super) struct Session {
    child: Child,
    lines: Receiver<Result<String, String>>,
    patience: Duration,
}

impl Session {
    pub(super) fn start(subject: &Subject) -> Result<Self, String> {
        let mut child = start(subject, "session").map_err(|error| error.to_string())?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut reader = LineReader::new(stdout, MAX_LINE);
                loop {
                    let line = match reader.next_line() {
                        Ok(Some(line)) => Ok(String::from_utf8_lossy(&line).into_owned()),
                        Ok(None) => return,
                        Err(error) => Err(error.to_string()),
                    };
                    let is_last = line.is_err();
                    if sender.send(line).is_err() || is_last {
                        return;
                    }
                }
            });
        }
        if let Some(stderr) = child.stderr.take() {
            drop(collect(stderr));
        }
        Ok(Self {
            child,
            lines,
            patience: subject.patience,
        })
    }

    /// Sends lines at once.
    pub(super) fn send(&mut self, lines: &str) -> Result<(), String> {
        let stdin = self.child.stdin.as_mut().ok_or("stdin is closed")?;
        stdin
            .write_all(lines.as_bytes())
            .and_then(|()| stdin.flush())
            .map_err(|_| "it closed its stdin".to_owned())
    }

    /// The next line.
    pub(super) fn line(&self) -> Result<String, String> {
        match self.lines.recv_timeout(self.patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => Err("it ended its output".into()),
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "it said nothing for {} s",
                self.patience.as_secs_f32()
            )),
        }
    }

    /// Closes stdin; the process must end with exit code 0 and say nothing more.
    pub(super) fn end(mut self) -> Result<(), String> {
        drop(self.child.stdin.take());
        let end = wait(&mut self.child, self.patience.min(FAREWELL));
        match end {
            End::Exited(status) if status.success() => {}
            End::Exited(status) => return Err(format!("it ended with {status}")),
            _ => return Err("it did not end when its stdin did".into()),
        }
        match self.lines.recv_timeout(DRAIN) {
            Ok(Ok(line)) => Err(format!("it said more: {line}")),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                Err("a process that it started keeps its pipes open".into())
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// One JSON value and nothing else but white space.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("it is not one JSON text: {error}"))?;
    if !value.is_object() {
        return Err("it is no JSON object".into());
    }
    // From the bytes, so that a member that stands twice is found.
    serde_json::from_slice(bytes)
        .map_err(|error| format!("it is not as the contract asks: {error}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "starting plugins is what the suite does"
)]
fn start(subject: &Subject, command: &str) -> std::io::Result<Child> {
    Process::new(&subject.path)
        .arg(command)
        .env_remove("NOTATION_USERNAME")
        .env_remove("NOTATION_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Reads a pipe to its end, up to the contract's limit.
fn collect(pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_MESSAGE).unwrap_or(u64::MAX);
        let _broken = pipe.take(limit).read_to_end(&mut bytes);
        sender.send(bytes)
    });
    receiver
}

fn wait(child: &mut Child, patience: Duration) -> End {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return End::Exited(status),
            Err(error) => return End::Failed(error.to_string()),
            Ok(None) if begun.elapsed() > patience => {
                let _ended = child.kill();
                let _reaped = child.wait();
                return End::TimedOut(patience);
            }
            Ok(None) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Bytes for people: escaped, and cut in the middle.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    for (count, c) in text.trim_end().chars().enumerate() {
        if count == SHOWN {
            let _infallible = write!(out, "… ({} bytes in all)", bytes.len());
            break;
        }
        if is_dangerous(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

const ERROR_CODES: [&str; 6] = [
    "VALIDATION_ERROR",
    "UNSUPPORTED_CONTRACT_VERSION",
    "ACCESS_DENIED",
    "TIMEOUT",
    "THROTTLED",
    "ERROR",
];

/// For output that is on its way when a process has ended.
const DRAIN: Duration = Duration::from_millis(1000);

/// For ending after stdin did.
const FAREWELL: Duration = Duration::from_secs(10);

/// Characters shown of a request or answer.
const SHOWN: usize = 2000;
