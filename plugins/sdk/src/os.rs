//! What a plugin needs from the operating system: its standard streams out of harm's way, the
//! interrupt held back while the host lives, inherited descriptors. And what a host needs to hand
//! such a descriptor to one child alone. It decides nothing about requests or PINs.
//!
//! `unix` is what is tested. `other` compiles for Windows and does less; each thing that it leaves
//! out is said there.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::*;
#[cfg(unix)]
pub(crate) use unix::*;

use std::fs::File;

/// The standard streams as the host gave them.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Requests.
    pub(crate) input: File,
    /// Answers.
    pub(crate) output: File,
    /// The error answer of a one-shot command.
    pub(crate) errors: File,
}

/// Where a stray print goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stray {
    /// To stderr, of which the host keeps the last lines (sessions).
    ToStderr,
    /// Nowhere, since stderr is for the error answer alone (one-shot commands).
    Dropped,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// There is something to read.
    Ready,
    /// The wait was cancelled.
    Cancelled,
    /// Nobody came in time.
    #[cfg_attr(not(unix), expect(dead_code, reason = "waits have no end here"))]
    TimedOut,
}
