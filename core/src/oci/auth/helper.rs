//! Docker's credential helpers (CFG-23): `docker-credential-<name> get|store|erase`, the server
//! address or a JSON object on standard input, `{"ServerURL","Username","Secret"}` on standard
//! output.
//!
//! A helper is a program of the user's own choice and runs with the user's rights; its name is
//! checked before a path is made of it, and its answer is bounded in size and time. What goes to
//! it and comes from it is zeroed after use: buffers have their full size from the start, since one
//! that grows leaves its old copy behind, and the answer is read straight into the secret.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use zeroize::Zeroizing;

use super::child::{Child, Ended, ProgramError};
use super::{Credential, Secret};
use crate::artifact::Quoted;
use crate::budget::{self, Party};
use crate::event::{Event, HelperStage, Listener, Observer as _};
use crate::json::go::Login;
use crate::json::{self, JsonError};

/// User name that marks a refresh token (CFG-23).
pub(super) const TOKEN_USER: &str = "<token>";

/// How long a helper may take: it may be waiting for a person.
const MAX_TIME: Duration = Duration::from_secs(300);
/// What every helper says when it has no entry.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A helper that may or may not be installed.
#[derive(Debug)]
pub(super) struct Helper {
    program: Result<Program, HelperError>,
}

/// A helper that is installed, and who is told when it runs.
#[derive(Clone, Debug)]
struct Program {
    path: PathBuf,
    listener: Listener,
    /// It does not get this process's standard error.
    detached: bool,
}

/// Why a helper did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// A name that is no file name.
    #[error("{} is not the name of a credential helper", Quoted(name))]
    Name {
        /// The name.
        name: String,
    },
    /// There is no such program.
    #[error("the program docker-credential-{name} was not found in PATH")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The program did not do its work.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The program's answer is not what it should be.
    #[error("the answer of {} cannot be read", program.display())]
    Answer {
        /// The program.
        program: PathBuf,
        /// Which rule of JSON it breaks, and where.
        #[source]
        source: JsonError,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

impl Helper {
    pub(super) fn new(
        name: &str,
        search_path: &[PathBuf],
        listener: Listener,
        detached: bool,
    ) -> Self {
        let program = |path| Program {
            path,
            listener,
            detached,
        };
        Self {
            program: find(name, search_path).map(program),
        }
    }

    pub(super) fn is_installed(&self) -> bool {
        self.program.is_ok()
    }

    pub(super) async fn get(self, server: &str) -> Result<Option<Credential>, HelperError> {
        let program = self.program?;
        match run(&program, "get", server.as_bytes()).await? {
            Ok(output) => {
                let mut answer = read(&output).map_err(|source| {
                    let program = program.path.clone();
                    HelperError::Answer { program, source }
                })?;
                let secret = Secret::new(std::mem::take(&mut *answer.secret));
                Ok(from_helper(answer.username, secret))
            }
            Err(message) if message.trim() == NOT_FOUND => Ok(None),
            Err(message) => Err(program.failed(message)),
        }
    }

    pub(super) async fn store(
        self,
        server: &str,
        username: &str,
        secret: &Secret,
    ) -> Result<(), HelperError> {
        let program = self.program?;
        let entry = Entry {
            server_url: server,
            username,
            secret: secret.expose(),
        };
        let mut input = Zeroizing::new(Vec::with_capacity(entry.most_bytes()));
        serde_json::to_writer(&mut *input, &entry).map_err(|error| HelperError::Answer {
            program: program.path.clone(),
            source: error.into(),
        })?;
        match run(&program, "store", &input).await? {
            Ok(_) => Ok(()),
            Err(message) => Err(program.failed(message)),
        }
    }

    pub(super) async fn erase(self, server: &str) -> Result<(), HelperError> {
        let program = self.program?;
        match run(&program, "erase", server.as_bytes()).await? {
            Ok(_) => Ok(()),
            Err(message) if message.trim() == NOT_FOUND => Ok(()),
            Err(message) => Err(program.failed(message)),
        }
    }
}

/// The answer of `get`. It is read straight into the secret: values of [`crate::json`] would keep a
/// copy of it.
fn read(output: &[u8]) -> Result<Login, JsonError> {
    json::go::login(output)
}

impl Entry<'_> {
    /// No more bytes than this in JSON: a character becomes six at most, `\u001f`.
    fn most_bytes(&self) -> usize {
        let texts = [self.server_url, self.username, self.secret];
        let escaped = texts.map(|text| text.len().saturating_mul(6));
        escaped.into_iter().fold(64, usize::saturating_add)
    }
}

impl Program {
    fn failed(self, message: String) -> HelperError {
        let program = self.path;
        ProgramError::Failed { program, message }.into()
    }

    /// Name and action alone: what goes in and out is secret (LOG-07).
    fn tell(&self, action: &'static str, stage: HelperStage) {
        let name = self.path.file_name().unwrap_or_default();
        self.listener.observe(&Event::CredentialHelper {
            program: format_args!("{}", name.display()),
            action,
            stage,
        });
    }
}

/// A credential as a helper returns it; an answer with nothing in it is none.
fn from_helper(username: String, secret: Secret) -> Option<Credential> {
    match username.as_str() {
        "" | TOKEN_USER if secret.expose().is_empty() => None,
        TOKEN_USER => Some(Credential::RefreshToken(secret)),
        _ => Some(Credential::Password {
            username,
            password: secret,
        }),
    }
}

fn find(name: &str, search_path: &[PathBuf]) -> Result<PathBuf, HelperError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(HelperError::Name {
            name: name.to_owned(),
        });
    }
    let file = format!("docker-credential-{name}{}", std::env::consts::EXE_SUFFIX);
    search_path
        .iter()
        .map(|directory| directory.join(&file))
        .find(|path| path.is_file())
        .ok_or_else(|| HelperError::NotFound {
            name: name.to_owned(),
        })
}

/// Runs a helper: its output, or, if it failed, the beginning of what it said.
async fn run(
    program: &Program,
    action: &'static str,
    input: &[u8],
) -> Result<Result<Zeroizing<Vec<u8>>, String>, HelperError> {
    program.tell(action, HelperStage::Started);
    let child = Child {
        program: &program.path,
        arguments: &[action.to_owned()],
        environment: &[],
        detached: program.detached,
    };
    let _waiting = budget::waiting(|| {
        let name = program.path.file_name().unwrap_or_default();
        Party::CredentialHelper(name.display().to_string())
    });
    let result = child.run(input, MAX_TIME).await.map(answer);
    match result {
        Ok(Ok(_)) => program.tell(action, HelperStage::Finished),
        _ => program.tell(action, HelperStage::Failed),
    }
    Ok(result?)
}

/// A helper says on standard output what went wrong.
fn answer(ended: Ended) -> Result<Zeroizing<Vec<u8>>, String> {
    match ended.status.success() {
        true => Ok(ended.output),
        false => Err(ended.message(&ended.output)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CFG-23: what comes from a helper and what goes to it stays in buffers that are zeroed: none
    /// of them grows, and escapes are read as JSON says.
    #[test]
    fn cfg_23_no_buffer_grows() {
        let long = "\u{1}\"".repeat(3000);
        let entry = Entry {
            server_url: "registry.example",
            username: "u",
            secret: &long,
        };
        let mut input = Zeroizing::new(Vec::with_capacity(entry.most_bytes()));
        let room = input.capacity();
        serde_json::to_writer(&mut *input, &entry).unwrap();
        assert_eq!(input.capacity(), room);
        let answer = read(&input).unwrap();
        assert_eq!(
            (answer.username.as_str(), answer.secret.as_str()),
            ("u", &*long)
        );
        assert!(read(br#"{"Username":"u","Secret":"s"} x"#).is_err());
    }
}
