//! `hardsign login` and `logout`: flags and their rules (CLI-59 to CLI-63).

use super::deadline::READING;
use super::flags::{self, Reader};
use super::{ArgMatches, Command, Deadline, Registry, Usage};

const LOGIN_EXAMPLES: &str = "\
Examples:
  Log in with a prompt for user name and password:
    hardsign login registry.example.com

  Log in with a password read from standard input:
    hardsign login -u ci --password-stdin registry.example.com < password.txt

Without a credential store, for instance in CI, no login is needed: set
NOTATION_USERNAME and NOTATION_PASSWORD, or use what `docker login` or
`podman login` stored.";

const LOGOUT_EXAMPLES: &str = "\
Examples:
  Delete the stored credentials for a registry:
    hardsign logout registry.example.com";

/// `hardsign login`.
#[derive(Debug)]
pub(crate) struct LoginArgs {
    pub(crate) server: String,
    /// The password is all of standard input.
    pub(crate) password_stdin: bool,
    pub(crate) registry: Registry,
    pub(crate) deadline: Deadline,
}

/// `hardsign logout`.
#[derive(Debug)]
pub(crate) struct LogoutArgs {
    pub(crate) server: String,
}

pub(super) fn login() -> Command {
    flags::verb("login", "Log in to a registry", LOGIN_EXAMPLES)
        .args(flags::registry())
        .arg(flags::switch(
            "password-stdin",
            "Read the password (or, without a user name, the token) from standard input",
        ))
        .arg(flags::deadline())
        .arg(flags::output())
        .arg(flags::positional(
            "server",
            "The registry: <host> or <host>:<port>",
        ))
}

pub(super) fn logout() -> Command {
    flags::verb("logout", "Log out of a registry", LOGOUT_EXAMPLES)
        .arg(flags::output())
        .arg(flags::positional(
            "server",
            "The registry: <host> or <host>:<port>",
        ))
}

impl LoginArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let server = server(&reader, "login")?;
        reader.exclusive(&["password", "password-stdin"])?;
        reader.output()?;
        Ok(Self {
            server,
            password_stdin: reader.switch("password-stdin")?,
            registry: Registry::read(&reader)?,
            deadline: reader.deadline(READING)?,
        })
    }
}

impl LogoutArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let server = server(&reader, "logout")?;
        reader.output()?;
        Ok(Self { server })
    }
}

fn server(reader: &Reader<'_>, command: &str) -> Result<String, Usage> {
    let mut servers = reader.all("positional");
    match servers.len() {
        0 => Err(Usage::new("no hostname specified".to_owned())),
        1 => Ok(servers.remove(0)),
        more => Err(Usage::new(format!(
            "{command} takes one registry, but got {more}"
        ))),
    }
}
