//! Where there is no `/dev/tty`: nobody can be asked or told on a terminal.

use std::io;

use super::{PinError, Secret};
use crate::os::Cancellation;

/// Fails: name another PIN source.
pub(crate) fn ask(_question: &str, _: &Cancellation) -> Result<Secret, PinError> {
    Err(PinError::NoTerminal {
        source: io::ErrorKind::Unsupported.into(),
    })
}

/// There is none.
pub(crate) fn is_there() -> bool {
    false
}

/// Fails: there is nowhere to show anything.
pub(crate) fn show(_text: &str, _: &Secret, _: &Cancellation) -> Result<(), PinError> {
    Err(PinError::NoTerminal {
        source: io::ErrorKind::Unsupported.into(),
    })
}

/// Does nothing.
pub(crate) fn tell(_line: &str) {}
