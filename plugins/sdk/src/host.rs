//! For hosts: which child process gets a descriptor that the user opened, and which variables none gets.
//!
//! A PIN may come from a descriptor, `fd:N` (see [`secret`](crate::secret)). The user opens it for
//! the host, which hands it down to the session's process and to no other child. It is never read
//! here.

use std::io;
use std::process::Command;

use crate::os;

/// A descriptor that this process inherited, kept from all children but those that it is given to.
#[derive(Debug)]
pub struct Withheld {
    number: i32,
}

impl Withheld {
    /// Keeps the descriptor from every child that is started from now on.
    ///
    /// # Errors
    /// It is not open, it is a standard stream, or it is not inherited but this process's own.
    pub fn new(number: i32) -> io::Result<Self> {
        os::withhold(number)?;
        Ok(Self { number })
    }

    /// Lets the child that `command` starts have the descriptor, under the same number.
    pub fn give(&self, command: &mut Command) {
        os::give(command, self.number);
    }
}

/// Lets the child that `command` starts have no descriptor but the standard streams, whatever the
/// user opened for this process.
pub fn give_nothing(command: &mut Command) {
    os::give_nothing(command);
}

/// Lets the child that `command` starts have none of these environment variables. Nothing else of the
/// environment may be changed for it: then nothing of it is copied in this process, where credentials would
/// stay in freed memory.
pub fn withhold_variables(command: &mut Command, names: &'static [&'static str]) {
    os::withhold_variables(command, names);
}
