//! Plugin processes: the only place in this crate that starts them.
//!
//! Implements "Plugin contract" of the plugin specification as far as processes go (PLG-01, PLG-02,
//! PLG-05, PLG-10, PLG-11). No shell, one argument, three pipes of our own, the host's process
//! group (a plugin in a group of its own would be stopped when it reads the terminal). It knows
//! nothing of JSON.
//!
//! What must hold: no process outlives the call that started it by more than the farewell time, no
//! pipe is waited for after its process ended (a grandchild may keep it), and no output is held
//! beyond its limit.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hardsign_plugin::frame::MAX_MESSAGE;
use hardsign_plugin::host::{self, Withheld};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::error::ProcessEnd;
use super::interrupt::Interrupt;
use super::text::Tail;

/// Whose wish it is that a plugin runs. Its environment is the same either way: the host's, less
/// the registry credentials (PLG-10, SEC-20), since key stores and verification services alike find
/// their credentials there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// The user's.
    User,
    /// A signature's, which names the plugin: it gets no descriptor that the user opened.
    Signature,
}

/// Which executable to start, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Launch<'a> {
    pub(super) path: &'a Path,
    pub(super) command: &'a str,
    pub(super) wish: Wish,
    /// What the child inherits beside its standard streams, of that which no other child does.
    pub(super) descriptors: &'a [Withheld],
}

/// How long processes are waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Patience {
    /// From the start to the answer.
    pub(super) answer: Duration,
    /// After stdin was closed, before the process is killed.
    pub(super) farewell: Duration,
    /// For output that is on its way when the process has ended.
    pub(super) drain: Duration,
}

/// What a one-shot process left.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why a one-shot process gave nothing.
#[derive(Debug)]
pub(super) enum RunError {
    Start(io::Error),
    Pipe(io::Error),
    TooMuchOutput { stream: &'static str, limit: usize },
    Clock { after: Duration },
    Interrupted,
}

/// Runs a one-shot command: `request` on its stdin, then its end; everything it writes until it
/// ends.
pub(super) async fn run(
    launch: Launch<'_>,
    request: &[u8],
    patience: Patience,
    interrupt: &Interrupt,
) -> Result<Output, RunError> {
    if interrupt.is_raised() {
        return Err(RunError::Interrupted);
    }
    let (mut child, pipes) = start(launch).map_err(RunError::Start)?;
    let mut stdout = Capture::new("stdout", pipes.stdout);
    let mut stderr = Capture::new("stderr", pipes.stderr);
    let result = tokio::select! {
        status = finish(&mut child, pipes.stdin, request, &mut stdout, &mut stderr, patience.drain) => status,
        () = sleep(patience.answer) => Err(RunError::Clock { after: patience.answer }),
        () = interrupt.raised() => {
            // Its stdin is closed by now; the terminal may have told it as well.
            let _ended = timeout(patience.farewell, child.wait()).await;
            Err(RunError::Interrupted)
        }
    };
    match result {
        Ok(status) => Ok(Output {
            status,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
        }),
        Err(error) => {
            kill(&mut child, patience.farewell).await;
            Err(error)
        }
    }
}

/// Feeds and reads the process until it has ended.
async fn finish(
    child: &mut Child,
    stdin: ChildStdin,
    request: &[u8],
    stdout: &mut Capture<ChildStdout>,
    stderr: &mut Capture<ChildStderr>,
    drain: Duration,
) -> Result<ExitStatus, RunError> {
    let mut reading = pin!(async { tokio::try_join!(stdout.fill(), stderr.fill()).map(drop) });
    let mut feeding = pin!(feed(stdin, request));
    let mut read = false;
    let mut fed = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(RunError::Pipe)?,
            result = &mut reading, if !read => {
                result?;
                read = true;
            }
            () = &mut feeding, if !fed => fed = true,
        }
    };
    if !read && let Ok(result) = timeout(drain, reading).await {
        result?;
    }
    Ok(status)
}

/// Writes the request and closes stdin. A plugin that doesn't read it is free to.
async fn feed(mut stdin: ChildStdin, request: &[u8]) {
    let _unread = stdin.write_all(request).await;
    let _unread = stdin.shutdown().await;
}

/// Bytes read from a pipe, up to the limit of PLG-05.
struct Capture<R> {
    stream: &'static str,
    pipe: R,
    bytes: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Capture<R> {
    const fn new(stream: &'static str, pipe: R) -> Self {
        Self {
            stream,
            pipe,
            bytes: Vec::new(),
        }
    }

    /// Reads to the end of the pipe; what was read before a drop of the future is kept.
    async fn fill(&mut self) -> Result<(), RunError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = self.pipe.read(&mut chunk).await.map_err(RunError::Pipe)?;
            if count == 0 {
                return Ok(());
            }
            if self.bytes.len().saturating_add(count) > MAX_MESSAGE {
                return Err(RunError::TooMuchOutput {
                    stream: self.stream,
                    limit: MAX_MESSAGE,
                });
            }
            self.bytes
                .extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}

/// A process that serves a session. Its stdin and stdout are elsewhere; this is the rest of it.
#[derive(Debug)]
pub(super) struct SessionProcess {
    child: Child,
    said: Arc<Mutex<Tail>>,
    listener: JoinHandle<()>,
}

impl SessionProcess {
    /// Starts a process for a session.
    pub(super) fn start(launch: Launch<'_>) -> io::Result<(Self, ChildStdout, ChildStdin)> {
        let (child, pipes) = start(launch)?;
        let said = Arc::new(Mutex::new(Tail::default()));
        let listener = tokio::spawn(listen(pipes.stderr, Arc::clone(&said)));
        let process = Self {
            child,
            said,
            listener,
        };
        Ok((process, pipes.stdout, pipes.stdin))
    }

    /// Waits for the process, whose stdin must be closed by now; kills it when `patience` is over,
    /// and reaps it.
    pub(super) async fn end(mut self, patience: Duration, drain: Duration) -> ProcessEnd {
        let status = match timeout(patience, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => kill(&mut self.child, FAREWELL_OF_THE_KILLED).await,
        };
        let _unfinished = timeout(drain, &mut self.listener).await;
        self.listener.abort();
        ProcessEnd {
            status,
            stderr: self
                .said
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .lines(),
        }
    }
}

/// Keeps the end of stderr. Reading goes on, so that a talkative plugin doesn't block.
async fn listen(mut stderr: ChildStderr, said: Arc<Mutex<Tail>>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        said.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(chunk.get(..count).unwrap_or_default());
    }
}

/// Kills and reaps. A process that the kernel can't end is left to the runtime to reap.
async fn kill(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let _already_ended = child.start_kill();
    timeout(patience, child.wait()).await.ok()?.ok()
}

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// Starts the executable with the command as its only argument (PLG-01).
fn start(launch: Launch<'_>) -> io::Result<(Child, Pipes)> {
    let mut command = command(launch);
    let mut child = command.spawn()?;
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok((
            child,
            Pipes {
                stdin,
                stdout,
                stderr,
            },
        )),
        _ => Err(io::Error::other("a pipe to the process is missing")),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that starts plugin processes"
)]
fn command(launch: Launch<'_>) -> Command {
    let mut command = Command::new(launch.path);
    command
        .arg(launch.command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    host::withhold_variables(command.as_std_mut(), &CREDENTIALS);
    if launch.wish == Wish::Signature {
        host::give_nothing(command.as_std_mut());
    }
    for descriptor in launch.descriptors {
        descriptor.give(command.as_std_mut());
    }
    command
}

/// Registry credentials, which no child process sees (PLG-10, CFG-27).
const CREDENTIALS: [&str; 2] = ["NOTATION_USERNAME", "NOTATION_PASSWORD"];

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// How long the kernel gets for ending a process that was killed.
const FAREWELL_OF_THE_KILLED: Duration = Duration::from_secs(2);
