//! Asking on the controlling terminal, with echo off and always put back.
//!
//! Works although the host has taken all three standard streams: `/dev/tty` is opened itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios};
use zeroize::Zeroizing;

use super::{MAX_PIN, PinError, Secret, finish};
use crate::os::{Cancellation, SignalsEndWait, Wait};
use crate::text::escaped;

/// Puts the terminal's settings back.
struct Restore<'a> {
    terminal: &'a File,
    settings: Termios,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let (terminal, settings) = (self.terminal, &self.settings);
        // Nothing is left to try when the terminal has gone.
        rustix::termios::tcsetattr(terminal, OptionalActions::Flush, settings).unwrap_or(());
    }
}

fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

/// Whether there is a terminal to ask and to show something at.
pub(crate) fn is_there() -> bool {
    open().is_ok()
}

/// Shows a secret on the terminal, and waits until the user has pressed Enter.
pub(crate) fn show(
    text: &str,
    secret: &Secret,
    cancellation: &Cancellation,
) -> Result<(), PinError> {
    let mut terminal = open().map_err(|source| PinError::NoTerminal { source })?;
    let failed = |source| PinError::Terminal { source };
    let _signals = SignalsEndWait::new();
    let mut shown = Zeroizing::new(Vec::with_capacity(MAX_PIN));
    shown.extend_from_slice(escaped(text).as_bytes());
    shown.extend_from_slice(b": ");
    shown.extend_from_slice(secret.expose());
    shown.extend_from_slice(b"\nPress Enter when you have it: ");
    terminal
        .write_all(&shown)
        .and_then(|()| terminal.flush())
        .map_err(failed)?;
    match read_line(&mut terminal, cancellation) {
        Ok(_) | Err(PinError::Empty) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Asks for a PIN; `question` comes without colon.
pub(crate) fn ask(question: &str, cancellation: &Cancellation) -> Result<Secret, PinError> {
    let mut terminal = open().map_err(|source| PinError::NoTerminal { source })?;
    let failed = |source| PinError::Terminal { source };
    // Dropped last: a signal that came is raised again with the terminal in order.
    let _signals = SignalsEndWait::new();
    let settings = rustix::termios::tcgetattr(&terminal).map_err(|errno| failed(errno.into()))?;
    let mut silent = settings.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent
        .local_modes
        .insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
    let handle = terminal.try_clone().map_err(failed)?;
    let _restore = Restore {
        terminal: &handle,
        settings,
    };
    rustix::termios::tcsetattr(&terminal, OptionalActions::Flush, &silent)
        .map_err(|errno| failed(errno.into()))?;
    // In one piece, since the log of the host may be written to the same terminal.
    terminal
        .write_all(format!("{}: ", escaped(question)).as_bytes())
        .and_then(|()| terminal.flush())
        .map_err(failed)?;
    let answer = read_line(&mut terminal, cancellation);
    if answer.is_err() {
        // The newline that the user did not type; a terminal that has gone needs none.
        drop(terminal.write_all(b"\n"));
    }
    answer
}

fn read_line(terminal: &mut File, cancellation: &Cancellation) -> Result<Secret, PinError> {
    let mut buffer = Zeroizing::new([0_u8; MAX_PIN + 2]);
    let mut filled = 0_usize;
    loop {
        match cancellation.wait(terminal) {
            Ok(Wait::Ready) => {}
            Ok(Wait::Cancelled) => return Err(PinError::Cancelled),
            Ok(Wait::TimedOut) => return Err(PinError::TimedOut),
            Err(source) => return Err(PinError::Terminal { source }),
        }
        let room = buffer.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            return Err(PinError::TooLong);
        }
        match terminal.read(room) {
            Ok(0) => return Err(PinError::Cancelled),
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(PinError::Terminal { source }),
        }
        let line = buffer.get(..filled).unwrap_or_default();
        if line.ends_with(b"\n") {
            return finish(line, MAX_PIN);
        }
    }
}

/// Writes one line to the terminal, if there is one: for notices of one-shot commands, which
/// have no other way to the user.
pub(crate) fn tell(line: &str) {
    if let Ok(mut terminal) = open() {
        // A notice that can't be shown is not worth failing for.
        drop(terminal.write_all(format!("{}\n", escaped(line)).as_bytes()));
    }
}
