//! How the process of a plugin ended, and what it said.

use std::fmt;
use std::process::ExitStatus;

use crate::plugin::go;

/// How a plugin process ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProcessEnd {
    /// Its exit status; `None` when it could not be learnt.
    pub status: Option<ExitStatus>,
    /// The last lines of its stderr, escaped.
    pub stderr: Vec<String>,
}

impl ProcessEnd {
    /// What to install, if it is a library that the program lacks: the loader ends it with 127 before it
    /// can say anything of the contract.
    pub(super) fn missing_library(&self) -> Option<String> {
        self.status.filter(|status| status.code() == Some(127))?;
        let line = self
            .stderr
            .iter()
            .find_map(|line| line.split_once("error while loading shared libraries: "));
        let named = line?.1.split(':').next()?.trim();
        let library = named.rsplit('/').next().unwrap_or(named);
        Some(match library {
            "libpcsclite.so.1" => "install the library for smart cards that the plugin needs: libpcsclite1 on Debian and Ubuntu, pcsc-lite-libs on Fedora".to_owned(),
            other => format!("install the library {other}, which the plugin needs"),
        })
    }

    /// Whether it was the user's interrupt that ended the process, which hears it as the host does.
    pub(in crate::plugin) fn was_interrupted(&self) -> bool {
        #[cfg(unix)]
        let by_signal = self
            .status
            .and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
        #[cfg(not(unix))]
        let by_signal = None;
        // A shell says 128 and the signal's number.
        by_signal == Some(SIGINT)
            || self.status.and_then(|status| status.code()) == Some(128 + SIGINT)
    }
}

/// What it said on stderr, else its exit status as Go spells it.
impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stderr.is_empty() {
            f.write_str(&go::exit_text(self.status))
        } else {
            f.write_str(&self.stderr.join("\n"))
        }
    }
}

/// The end of a session's process, as it is appended to how the session broke.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SessionEnd(pub ProcessEnd);

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.status.is_some_and(|status| !status.success()) {
            write!(f, " ({})", go::exit_text(self.0.status))?;
        }
        if !self.0.stderr.is_empty() {
            write!(f, "; it said:\n{}", self.0.stderr.join("\n"))?;
        }
        Ok(())
    }
}

/// The number of the interrupt on every Unix.
const SIGINT: i32 = 2;
