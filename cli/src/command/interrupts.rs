//! Ctrl-C, wherever a command stands (CLI-16): waiting for processes, at a question, reading from
//! a pipe on which nothing comes, or in between.
//!
//! Once the signal is listened to it interrupts no system call any more, so that everything which
//! may block for long is done on a thread of its own, and what waits for it looks for the
//! interrupt too.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hardsign_core::plugin::Interrupt;
use tokio::runtime::{Builder, Runtime};

use crate::failure::Exit;
use crate::output::Console;

/// Who hears Ctrl-C.
#[derive(Default)]
pub(crate) struct Interrupts {
    interrupt: Interrupt,
    listening: OnceLock<()>,
    /// How many waits look for the interrupt. While none does, Ctrl-C ends the program.
    attended: Arc<AtomicUsize>,
}

/// Something that looks for the interrupt, until this is dropped.
pub(super) struct Attended(Arc<AtomicUsize>);

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Interrupts {
    /// What Ctrl-C raises.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// From now on the caller looks for the interrupt.
    pub(super) fn attend(&self, console: &Arc<Console>) -> Attended {
        self.attended.fetch_add(1, Ordering::SeqCst);
        self.listening.get_or_init(|| {
            // Where it can't be listened to, Ctrl-C ends the program as it always does.
            let Ok(listener) = Listener::new() else {
                return;
            };
            let (interrupt, attended) = (self.interrupt.clone(), Arc::clone(&self.attended));
            let console = Arc::clone(console);
            thread::spawn(move || {
                listener.listen(|| {
                    interrupt.raise();
                    if attended.load(Ordering::SeqCst) == 0 {
                        end(&console);
                    }
                });
            });
        });
        Attended(Arc::clone(&self.attended))
    }

    /// Does what may block for long, until it is done, the user interrupts, or the time is over, if
    /// there is a limit.
    ///
    /// # Errors
    /// [`interrupted`], [`io::ErrorKind::TimedOut`]; the work goes on then, and nobody gets its
    /// result.
    pub(super) fn heeding<T: Send + 'static>(
        &self,
        console: &Arc<Console>,
        time: Option<Duration>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let _attended = self.attend(console);
        let (sender, receiver) = channel();
        thread::Builder::new().spawn(move || {
            let _unheard = sender.send(work());
        })?;
        next(&receiver, &self.interrupt, time)
    }
}

/// Listens to Ctrl-C: none goes unheard once there is one, whenever its thread begins.
struct Listener {
    runtime: Runtime,
    #[cfg(unix)]
    signals: tokio::signal::unix::Signal,
    #[cfg(windows)]
    signals: tokio::signal::windows::CtrlC,
}

impl Listener {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        #[cfg(unix)]
        let signals = {
            use tokio::signal::unix::{SignalKind, signal};
            signal(SignalKind::interrupt())?
        };
        #[cfg(windows)]
        let signals = tokio::signal::windows::ctrl_c()?;
        drop(entered);
        Ok(Self { runtime, signals })
    }

    /// Calls `heard` for each.
    fn listen(mut self, heard: impl Fn()) {
        self.runtime.block_on(async {
            while self.signals.recv().await.is_some() {
                heard();
            }
        });
    }
}

/// Ends the program, as [`interrupted`] ends a command.
fn end(console: &Console) -> ! {
    console.end_progress();
    console.error(&interrupted().to_string());
    // The main thread may be blocked, and nothing of it is worth waiting for.
    std::process::exit(Exit::Failed as i32)
}

/// What is left to say of an interruption.
pub(super) fn interrupted() -> io::Error {
    io::Error::other("interrupted")
}

/// The next thing that comes, unless the user interrupts or the time is over first.
fn next<T>(receiver: &Receiver<T>, interrupt: &Interrupt, time: Option<Duration>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        if interrupt.is_raised() {
            return Err(interrupted());
        }
        if time.is_some_and(|time| began.elapsed() >= time) {
            let text = "nothing came of it before the deadline";
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        match receiver.recv_timeout(GLANCE) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    }
}

/// A stream whose reading ends when the user interrupts it.
pub(super) struct Heeding {
    source: Source,
    interrupt: Interrupt,
    /// What has come and was not yet read.
    piece: io::Cursor<Vec<u8>>,
}

enum Source {
    /// Never blocks for long.
    Quick(Box<dyn Read + Send>),
    /// Not begun: who reads nothing takes nothing.
    Slow(Box<dyn Read + Send>),
    /// Read on a thread of its own; an empty piece is the end.
    Begun(Receiver<io::Result<Vec<u8>>>),
    Ended,
}

impl Heeding {
    /// `quick` is a source that never blocks for long.
    pub(super) fn new(source: Box<dyn Read + Send>, quick: bool, interrupt: &Interrupt) -> Self {
        Self {
            source: if quick {
                Source::Quick(source)
            } else {
                Source::Slow(source)
            },
            interrupt: interrupt.clone(),
            piece: io::Cursor::default(),
        }
    }
}

impl Read for Heeding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupt.is_raised() {
            return Err(interrupted());
        }
        let count = self.piece.read(buffer)?;
        if count > 0 {
            return Ok(count);
        }
        self.source = match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Slow(source) => Source::Begun(begin(source)?),
            other => other,
        };
        match &mut self.source {
            Source::Quick(source) => source.read(buffer),
            Source::Begun(pieces) => {
                self.piece = io::Cursor::new(next(pieces, &self.interrupt, None)??);
                if self.piece.get_ref().is_empty() {
                    self.source = Source::Ended;
                }
                self.piece.read(buffer)
            }
            Source::Slow(_) | Source::Ended => Ok(0),
        }
    }
}

/// Reads on a thread of its own, not far ahead of who takes the pieces.
fn begin(mut source: Box<dyn Read + Send>) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new().spawn(move || {
        let mut ended = false;
        while !ended {
            let mut piece = vec![0; PIECE];
            let read = match source.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            ended = !matches!(read, Ok(1..));
            let piece = read.map(|count| {
                piece.truncate(count);
                piece
            });
            if sender.send(piece).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// How often a wait looks for the interrupt.
const GLANCE: Duration = Duration::from_millis(50);

/// Bytes read at once.
const PIECE: usize = 64 * 1024;
