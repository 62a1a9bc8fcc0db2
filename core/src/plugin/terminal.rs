//! The terminal's settings, kept over the life of a plugin that may ask for a PIN on it: one that
//! is killed at its prompt would leave the echo off.

use std::fmt;

/// Settings of the controlling terminal as they were, if there is one to look after.
pub(super) struct Terminal {
    #[cfg(unix)]
    saved: Option<(std::fs::File, rustix::termios::Termios)>,
}

impl Terminal {
    /// Nothing to look after.
    pub(super) const fn none() -> Self {
        Self {
            #[cfg(unix)]
            saved: None,
        }
    }

    /// Remembers the settings of the controlling terminal.
    #[cfg(unix)]
    pub(super) fn save() -> Self {
        let saved = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()
            .and_then(|tty| {
                let settings = rustix::termios::tcgetattr(&tty).ok()?;
                Some((tty, settings))
            });
        Self { saved }
    }

    /// Windows consoles have no such settings.
    #[cfg(not(unix))]
    pub(super) fn save() -> Self {
        Self::none()
    }

    /// Puts the settings back.
    pub(super) fn restore(&self) {
        #[cfg(unix)]
        if let Some((tty, settings)) = &self.saved {
            let _gone =
                rustix::termios::tcsetattr(tty, rustix::termios::OptionalActions::Now, settings);
        }
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terminal")
    }
}
