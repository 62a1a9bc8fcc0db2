//! The same for systems without descriptors by number, poll and POSIX signals: Windows.
//!
//! Less than on Unix: a stray print reaches the host, and so spoils an answer; the interrupt ends
//! the plugin together with its host; a wait for a person ends when the person does something;
//! there are no inherited descriptors.

use std::fs::File;
use std::io;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Stray, Streams, Wait};

/// Copies of the standard streams; the originals stay what they are.
pub(crate) fn take_streams(_: Stray) -> io::Result<Streams> {
    Ok(Streams {
        input: copy(&io::stdin())?,
        output: copy(&io::stdout())?,
        errors: copy(&io::stderr())?,
    })
}

#[cfg(windows)]
fn copy(stream: &impl std::os::windows::io::AsHandle) -> io::Result<File> {
    Ok(stream.as_handle().try_clone_to_owned()?.into())
}

#[cfg(not(windows))]
fn copy<T>(_: &T) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There are none that this process could forbid.
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Memory that is locked: there is none here.
#[derive(Debug)]
pub(crate) enum Locked {}

impl Locked {
    pub(crate) fn new(_: &[u8]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match *self {}
    }

    pub(crate) const fn is_locked(&self) -> bool {
        match *self {}
    }
}

/// There are none.
pub(crate) fn take_inherited(_: i32) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There are none.
pub(crate) fn withhold(_: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Never called, since nothing can be withheld.
pub(crate) fn give(_: &mut Command, _: i32) {}

/// Children inherit nothing but their standard streams here.
pub(crate) fn give_nothing(_: &mut Command) {}

/// Takes variables out of the environment of the child of `command`. The rest is copied for it.
pub(crate) fn withhold_variables(command: &mut Command, names: &'static [&'static str]) {
    for name in names {
        command.env_remove(name);
    }
}

/// What can be waited for: everything, since nothing is polled.
pub(crate) trait Source {}

impl<T> Source for T {}

/// Tells everyone who is about to wait for a person that nobody will come.
#[derive(Debug)]
pub(crate) struct Cancellation(AtomicBool);

impl Cancellation {
    /// The cancellation of this process.
    pub(crate) fn of_process() -> io::Result<&'static Self> {
        static ONLY: OnceLock<Cancellation> = OnceLock::new();
        Ok(ONLY.get_or_init(|| Self(AtomicBool::new(false))))
    }

    /// Ends every wait that begins later.
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Every source counts as ready, and the read that follows can't be cancelled.
    pub(crate) fn wait(&self, _: &impl Source) -> io::Result<Wait> {
        Ok(if self.0.load(Ordering::SeqCst) {
            Wait::Cancelled
        } else {
            Wait::Ready
        })
    }
}

/// The system ends every program of the console on an interrupt.
pub(crate) fn hold_back_interrupt() {}
