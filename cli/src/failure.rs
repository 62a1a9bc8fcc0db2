//! How a command fails: messages, one hint, and an exit code that a script can tell apart.

use std::error::Error;
use std::process::ExitCode;

use hardsign_core::config::ConfigError;
use hardsign_core::envelope::EnvelopeError;
use hardsign_core::oci::OciError;
use hardsign_core::plugin::{PluginError, PluginErrorKind};
use hardsign_core::sign::{SignError, TimestampError, advice_on_refused};
use hardsign_core::text::WithCauses;
use hardsign_core::timestamp::{AuthorityRevocation, ResponseError, TokenError};
use hardsign_plugin::text::meant;

use crate::args::Usage;
use crate::output::{one_line, own_lines};

mod budget;
pub(crate) mod plugin;
pub(crate) mod registry;
pub(crate) mod verification;

/// The exit codes (CLI-01, CLI-03); `docs/exit-codes.md` explains them to users.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Done; for a verification: verified.
    Success = 0,
    /// Not done; for a verification: not verified.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A registry, a plugin or a token could not be reached or used.
    Unreachable = 3,
    /// Nobody reads standard output any more: what a shell shows for a program that SIGPIPE ended.
    ClosedPipe = 141,
}

/// A failed command. Line ends in its texts are ours: those of what it was made of are escaped.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Each is printed after `Error: `.
    pub(crate) messages: Vec<String>,
    /// Printed after `Hint: `.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            messages: vec![own_lines(&message.into())],
            hint: None,
        }
    }

    /// A failure of the ordinary kind, exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// What an error and its causes say, with an exit code.
    pub(crate) fn of(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, WithCauses(error).to_string())
    }

    /// A failure of the ordinary kind: what an error and its causes say.
    pub(crate) fn error(error: impl Error + 'static) -> Self {
        Self::of(Exit::Failed, &error)
    }

    /// A fault in how the command was called.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(own_lines(&hint.into()));
        self
    }

    /// Several lines of hints, each of which is ours to begin and stays one line.
    pub(crate) fn hints<L: AsRef<str>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        let lines: Vec<_> = lines.into_iter().map(|l| one_line(l.as_ref())).collect();
        self.hint = Some(lines.join("\n"));
        self
    }

    /// A hint with a list below it, an item a line.
    pub(crate) fn choices<L: AsRef<str>>(
        self,
        hint: &str,
        items: impl IntoIterator<Item = L>,
    ) -> Self {
        let items = items.into_iter();
        let items = items.map(|item| format!("  {}", item.as_ref()));
        self.hints(std::iter::once(hint.to_owned()).chain(items))
    }

    /// The same with one hint more.
    pub(crate) fn further(self, hint: &str) -> Self {
        let hint = own_lines(hint);
        let hint = match &self.hint {
            Some(first) => format!("{hint}\n{first}"),
            None => hint,
        };
        Self {
            hint: Some(hint),
            ..self
        }
    }

    /// The same when the user interrupted: there is nothing to put right.
    pub(crate) fn interrupted(self) -> Self {
        Self {
            exit: Exit::Failed,
            hint: None,
            ..self
        }
    }

    /// Says what failed in front of each message, for one item of a batch.
    pub(crate) fn about(mut self, item: &str) -> Self {
        let item = &*one_line(item);
        let unnamed = |message: &&mut String| !message.starts_with(item);
        for message in self.messages.iter_mut().filter(unnamed) {
            *message = format!("{item}: {message}");
        }
        self
    }

    /// One failure for a batch: all messages, the first hint, the exit code that all share, else 1.
    pub(crate) fn all(failures: Vec<Self>) -> Option<Self> {
        failures.into_iter().reduce(|mut all, next| {
            if all.exit != next.exit {
                all.exit = Exit::Failed;
            }
            all.messages.extend(next.messages);
            all.hint = all.hint.or(next.hint);
            all
        })
    }
}

impl From<Usage> for Failure {
    fn from(usage: Usage) -> Self {
        Self {
            hint: usage.hint.as_deref().map(own_lines),
            ..Self::new(Exit::Usage, usage.message)
        }
    }
}

impl From<std::io::Error> for Failure {
    /// Standard output can't be written to. Who closed a pipe has read enough, and is told nothing.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self {
                exit: Exit::ClosedPipe,
                messages: vec![],
                hint: None,
            };
        }
        Self::failed(format!(
            "failed to write to standard output: {}",
            WithCauses(&error)
        ))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::from(0),
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::Unreachable => Self::from(3),
            Exit::ClosedPipe => Self::from(141),
        }
    }
}

/// The name that was probably meant, and what to do if it was not.
pub(crate) fn meant_or(nearest: Option<&str>, else_do: &str) -> String {
    match nearest {
        Some(nearest) => format!("{} {else_do}", meant(nearest)),
        None => else_do.to_owned(),
    }
}

/// A signature that has no timestamp and was not stored (TSA-09).
fn timestamp(error: &TimestampError) -> Failure {
    let message = format!("timestamp: {}", WithCauses(error));
    let hint = match error {
        TimestampError::Client(_) => {
            return Failure::new(Exit::Unreachable, message).hint(
                "nothing was stored; check --timestamp-url, or use another timestamping authority",
            );
        }
        TimestampError::Response(ResponseError::Token(TokenError::Untrusted { .. })) => {
            "nothing was stored; give the root certificate of this authority with --timestamp-root-cert"
        }
        TimestampError::Revocation(AuthorityRevocation::Revoked { .. }) => {
            "nothing was stored; use another timestamping authority"
        }
        TimestampError::Revocation(AuthorityRevocation::Unknown { .. }) => {
            "nothing was stored; the URLs above must be reachable over http"
        }
        TimestampError::Outside(_) => {
            "nothing was stored, since no verifier would accept it; compare the authority's time with the validity of the signing certificate"
        }
        _ => "nothing was stored; report it to the timestamping authority, or use another",
    };
    Failure::failed(message).hint(hint)
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::KeyNotFound { nearest, .. } => Some(meant_or(
                nearest.as_deref(),
                "`hardsign key list` lists the keys",
            )),
            ConfigError::NoDefaultKey => Some(
                "give --key, or --plugin and --id, or choose a default key with `hardsign key update --default <name>`".to_owned(),
            ),
            _ => None,
        };
        Self {
            hint,
            ..Self::error(error)
        }
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let exit = match error.kind {
            PluginErrorKind::Key(error) => return error.into(),
            // The command or the key list is wrong, and no plugin was at work.
            PluginErrorKind::Setting(_) | PluginErrorKind::Lacks(_) => Exit::Failed,
            // CLI-16.
            _ if error.is_interrupted() => return Self::error(error),
            _ => Exit::Unreachable,
        };
        Self {
            hint: plugin::hint(&error).as_deref().map(own_lines),
            ..Self::of(exit, &error)
        }
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Signer(error) => match error.downcast::<PluginError>() {
                Ok(error) => error.into(),
                Err(error) => Self::error(error),
            },
            SignError::Envelope(EnvelopeError::GeneratedInvalid { ref source }) => {
                Self::of(Exit::Unreachable, &error).hint(advice_on_refused(source))
            }
            error if error.is_of_the_answer() => Self::of(Exit::Unreachable, &error)
                .hint("nothing was stored; the plugin did not sign what it was asked to: report it to its publisher"),
            SignError::EvidenceOfOtherKey { .. } => Self::error(error).hint(
                "nothing was stored; the key id must name the key that the certificate is for",
            ),
            SignError::EvidenceUnsupported => Self::error(error).hint("sign without --attest"),
            SignError::TimestampUnsupported => Self::error(error).hint(
                "let the plugin make timestamps, as its documentation says, or leave --timestamp-url and --timestamp-root-cert out",
            ),
            SignError::Timestamp(error) => timestamp(&error),
            SignError::Budget(overspent) => overspent.into(),
            SignError::Lookup(error) => {
                let (exit, hint) = registry::classify(&error);
                let message = format!(
                    "failed to look for a signature that is there already: {}",
                    WithCauses(&error)
                );
                Self {
                    hint: hint.as_deref().map(own_lines),
                    ..Self::new(exit, message)
                }
            }
            SignError::Unseen(_) => Self::error(error)
                .hint("without --skip-signed it is signed whatever is there"),
            SignError::Push(error) => {
                let (exit, hint) = registry::classify(&error);
                let message = match &error {
                    // It was pushed: what follows it failed.
                    OciError::NotListed { .. } => format!("signature {}", WithCauses(&error)),
                    _ => format!(
                        "failed to push signature to registry with error: {}",
                        WithCauses(&error)
                    ),
                };
                Self {
                    hint: hint.as_deref().map(own_lines),
                    ..Self::new(exit, message)
                }
            }
            other => Self::error(other),
        }
    }
}
