//! What can go wrong between the host and a plugin. Texts that the reference prints are the same
//! here; what a plugin said is escaped before it is shown (SEC-29).

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{ErrorCode, ErrorResponse, Token, UnknownSetting};

use super::pins::PinsError;
use super::session::SessionError;
use super::text::{Lines, escaped, without_pin};
use super::{PluginName, go};
use crate::config::ConfigError;
use crate::json::JsonError;
use crate::sign::advice_on_refused;
use crate::text::{WithCauses, io_text};

pub use answer::{AnswerFault, MetadataFault};
pub use process::{ProcessEnd, SessionEnd};

mod answer;
mod process;
/// ` to token "T" (serial 7)`, as far as the token is named.
pub(super) fn to_token(token: &Token) -> String {
    let shown = |text: &str| escaped(plain(text), TOKEN_SHOWN, Lines::Escape);
    match (&token.label, &token.serial) {
        (Some(label), Some(serial)) => {
            format!(" to token \"{}\" (serial {})", shown(label), shown(serial))
        }
        (Some(label), None) => format!(" to token \"{}\"", shown(label)),
        (None, Some(serial)) => format!(" to the token with serial {}", shown(serial)),
        (None, None) => String::new(),
    }
}

/// A text without the blanks and zeros that fill a field of fixed length.
pub(super) fn plain(text: &str) -> &str {
    text.trim_matches([' ', '\0'])
}

/// Characters shown of a token's label or serial number.
const TOKEN_SHOWN: usize = 100;

#[cfg(test)]
mod tests;

/// Why a plugin could not be found, run or believed.
#[derive(Debug)]
pub struct PluginError {
    /// The plugin, when the error is about one.
    pub plugin: Option<PluginName>,
    /// The command that it was asked, when it was at one.
    pub command: Option<Box<str>>,
    /// What went wrong.
    pub kind: PluginErrorKind,
}

/// What went wrong with a plugin.
#[derive(Debug)]
#[non_exhaustive]
pub enum PluginErrorKind {
    /// A name that could lead out of the plugin directory.
    // PLG-04
    InvalidName(String),
    /// No executable.
    // PLG-03
    NotFound {
        /// Where it was looked for first.
        path: PathBuf,
        /// The answer of the operating system.
        source: io::Error,
        /// The plugin that was probably meant.
        nearest: Option<String>,
    },
    /// Something else than a regular file, at this path.
    // PLG-03
    NotRegular(PathBuf),
    /// A plugin that should have come with hardsign is not there.
    NotInTheBox,
    /// The plugin directory can't be read.
    // PLI-02
    List {
        /// The directory.
        directory: PathBuf,
        /// The answer of the operating system, in the middle of the text.
        reason: io::Error,
    },
    /// The executable is not the one that was installed or trusted.
    Changed {
        /// Its executable.
        path: PathBuf,
        /// SHA-256 that was pinned.
        pinned: String,
        /// SHA-256 of what is there.
        found: String,
    },
    /// It can't be known whether the executable is the one that was installed.
    Pins(Arc<PinsError>),
    /// The key list doesn't say which plugin and key to use.
    Key(ConfigError),
    /// The executable could not be started.
    Start {
        /// The executable.
        path: PathBuf,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// A pipe to the plugin failed.
    Pipe(io::Error),
    /// The plugin failed without an answer of the contract.
    // PLG-07, PLG-08
    Failed(ProcessEnd),
    /// The plugin failed with an error answer that is empty.
    // PLG-07
    EmptyRefusal,
    /// The plugin said no.
    // PLG-07, PLG-09
    Refused {
        /// The key, without a PIN, when the request was about one.
        key: Option<String>,
        /// What it said.
        error: Box<ErrorResponse>,
    },
    /// More output than the contract allows.
    // PLG-05
    TooMuchOutput {
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// No answer in this time.
    // PLG-11
    Clock(Duration),
    /// The user interrupted the work.
    Interrupted,
    /// Access was denied before in this run: one PIN is tried once at a token.
    NotTried {
        /// The token, as far as the plugin named it.
        token: Box<Token>,
        /// What the plugin said then.
        error: Box<ErrorResponse>,
    },
    /// No answer came in this time before in this run.
    Silent(Duration),
    /// An answer that is not the JSON of the contract.
    // PLG-06
    Malformed(JsonError),
    /// Metadata that breaks the contract.
    // PLG-18, PLG-19
    Metadata(MetadataFault),
    /// A plugin that can't sign.
    // PLG-22
    CannotSign,
    /// A plugin that can't sign files.
    // BLOB-13
    CannotSignBlobs,
    /// A plugin that lacks a capability: what it can't do.
    Lacks(&'static str),
    /// A setting that the plugin doesn't know.
    Setting(Box<UnknownSetting>),
    /// An answer that can't be used.
    Answer(AnswerFault),
    /// `generate-envelope` failed.
    // PLG-34
    Envelope(Box<PluginError>),
    /// What went wrong after the plugin had said who it is, when an OCI artifact is signed.
    // PLG-31
    Signing(Box<PluginError>),
    /// The signer was closed.
    Closed,
    /// A session broke.
    Session {
        /// How it broke, in the middle of the text.
        broken: Arc<SessionError>,
        /// How the process ended and what it said.
        end: SessionEnd,
    },
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use PluginErrorKind as Kind;
        let plugin = self.name();
        let command = self.command.as_deref().unwrap_or_default();
        match &self.kind {
            Kind::InvalidName(name) => write!(
                f,
                "plugin name {name:?} is invalid: it must match [A-Za-z0-9_.-]+ and not be . or .."
            ),
            Kind::NotFound { path, .. } => write!(
                f,
                "plugin executable file is either not found or inaccessible: stat {}",
                path.display()
            ),
            Kind::NotRegular(_) => f.write_str("plugin executable file is not a regular file"),
            Kind::NotInTheBox => write!(
                f,
                "the plugin {plugin} that comes with hardsign is not installed beside it"
            ),
            Kind::List { directory, reason } => write!(
                f,
                "failed to list plugin: {}.\nPlease ensure that the current user has permission to access the plugin directory: {}",
                io_text(reason),
                directory.display()
            ),
            Kind::Changed { pinned, found, .. } => write!(
                f,
                "plugin {plugin} was changed since it was pinned: its SHA-256 is {found}, not {pinned}"
            ),
            Kind::Pins(error) => error.fmt(f),
            Kind::Key(error) => error.fmt(f),
            Kind::Setting(error) => error.fmt(f),
            Kind::Start { path, .. } => write!(
                f,
                "failed to start {} for the {command} command",
                path.display()
            ),
            Kind::Pipe(_) => write!(f, "lost the connection to plugin {plugin} during {command}"),
            Kind::Failed(end) => end.fmt(f),
            Kind::EmptyRefusal => f.write_str("incomplete json"),
            Kind::Refused { error, .. } => f.write_str(&refusal_text(error)),
            Kind::TooMuchOutput { stream, limit } => write!(
                f,
                "plugin {plugin} wrote more than {limit} bytes to {stream} during {command}"
            ),
            Kind::Clock(after) => write!(
                f,
                "plugin {plugin} did not answer {command} within {} seconds",
                after.as_secs_f32()
            ),
            Kind::Interrupted => write!(f, "interrupted during {command} of plugin {plugin}"),
            Kind::NotTried { token, .. } => write!(
                f,
                "not tried: plugin {plugin} was denied access{} before in this run",
                to_token(token)
            ),
            Kind::Silent(after) => write!(
                f,
                "not asked again: plugin {plugin} did not answer {command} within {} seconds before in this run",
                after.as_secs_f32()
            ),
            Kind::Malformed(_) => write!(
                f,
                "failed to unmarshal the response of {command} command for plugin {plugin}"
            ),
            Kind::Metadata(fault) => {
                write!(f, "metadata validation failed for plugin {plugin}: {fault}")
            }
            Kind::CannotSign => f.write_str("plugin does not have signing capabilities"),
            Kind::CannotSignBlobs => write!(
                f,
                "the plugin \"{plugin}\" lacks the signature generator capability required for blob signing"
            ),
            Kind::Lacks(what) => write!(f, "plugin {plugin} can't {what}"),
            Kind::Answer(fault) => fault.tell(plugin, command, f),
            Kind::Envelope(_) => f.write_str("plugin failed to sign with following error"),
            Kind::Signing(_) => write!(f, "failed to sign with the plugin {plugin}"),
            Kind::Closed => write!(f, "the session with plugin {plugin} is closed"),
            Kind::Session { broken, end } => {
                write!(f, "plugin {plugin}: {}{end}", WithCauses(broken))
            }
        }
    }
}

impl Error for PluginError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        use PluginErrorKind as Kind;
        match &self.kind {
            Kind::NotFound { source, .. } | Kind::Start { source, .. } | Kind::Pipe(source) => {
                Some(source)
            }
            // These tell the layer of what they hold.
            Kind::Pins(error) => error.source(),
            Kind::Key(error) => error.source(),
            Kind::Setting(error) => error.source(),
            Kind::Malformed(source) => Some(source),
            Kind::Answer(fault) => fault.source(),
            Kind::Envelope(source) | Kind::Signing(source) => Some(source),
            _ => None,
        }
    }
}

impl PluginErrorKind {
    /// The error of a plugin.
    pub(super) fn of(self, plugin: &PluginName) -> PluginError {
        PluginError {
            plugin: Some(plugin.clone()),
            ..self.into()
        }
    }

    /// The error of a plugin at a command.
    pub(super) fn at(self, plugin: &PluginName, command: &str) -> PluginError {
        PluginError {
            command: Some(command.into()),
            ..self.of(plugin)
        }
    }
}

/// An error that is about no plugin, or names it itself.
impl From<PluginErrorKind> for PluginError {
    fn from(kind: PluginErrorKind) -> Self {
        Self {
            plugin: None,
            command: None,
            kind,
        }
    }
}

impl From<ConfigError> for PluginError {
    fn from(error: ConfigError) -> Self {
        PluginErrorKind::Key(error).into()
    }
}

impl From<AnswerFault> for PluginErrorKind {
    fn from(fault: AnswerFault) -> Self {
        Self::Answer(fault)
    }
}

impl PluginError {
    /// What the plugin or its host met, without what was being done.
    // PLG-31, PLG-34
    pub fn innermost(&self) -> &Self {
        match &self.kind {
            PluginErrorKind::Envelope(inner) | PluginErrorKind::Signing(inner) => inner.innermost(),
            _ => self,
        }
    }

    /// The plugin's name, for texts about it.
    pub fn name(&self) -> &str {
        self.plugin.as_ref().map_or("", PluginName::as_str)
    }

    /// Whether there is no such plugin.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, PluginErrorKind::NotFound { .. })
    }

    fn refusal(&self) -> Option<&ErrorResponse> {
        match &self.innermost().kind {
            PluginErrorKind::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The code of the plugin's own error answer.
    // PLG-09
    pub fn code(&self) -> Option<&ErrorCode> {
        match &self.innermost().kind {
            PluginErrorKind::Refused { error, .. } | PluginErrorKind::NotTried { error, .. } => {
                error.error_code.as_ref()
            }
            _ => None,
        }
    }

    /// What the user has to agree to before the plugin does it, if that is all that is missing: the
    /// same request is then made with `confirmed`.
    pub fn question(&self) -> Option<String> {
        let question = self.refusal()?.question()?;
        Some(escaped(question, HINT, Lines::Escape))
    }

    /// The token that refused, if the plugin says which.
    pub fn token(&self) -> Option<Token> {
        self.refusal()?.token()
    }

    /// Whether the user interrupted the work, so that nothing needs to be explained.
    pub fn is_interrupted(&self) -> bool {
        match &self.innermost().kind {
            PluginErrorKind::Interrupted => true,
            PluginErrorKind::Session { broken, .. } => {
                matches!(**broken, SessionError::Interrupted)
            }
            _ => false,
        }
    }

    /// What the user can do next, if that is known and no matter of the program that runs the plugin:
    /// the plugin's own hint first.
    pub fn hint(&self) -> Option<String> {
        use PluginErrorKind as Kind;
        let error = self.innermost();
        match &error.kind {
            Kind::Refused { error, .. } => match (error.hint(), &error.error_code) {
                (Some(hint), _) => Some(escaped(hint, HINT, Lines::Keep)),
                (None, Some(ErrorCode::AccessDenied)) => {
                    Some("check the PIN or the credentials that the key is used with".into())
                }
                (None, Some(ErrorCode::Throttled | ErrorCode::Timeout)) => {
                    Some("try again later, with fewer signatures at once".into())
                }
                (None, _) => None,
            },
            Kind::NotRegular(path) => Some(format!(
                "put the executable itself at {}; symbolic links are not followed",
                path.display()
            )),
            Kind::Start { .. } => Some(format!(
                "Please ensure that the plugin executable file is compatible with {} and has appropriate permissions.",
                go::platform()
            )),
            Kind::Malformed(_) | Kind::Metadata(_) => Some(format!(
                "Please ensure that the plugin executable file is intact and compatible with {}. Contact the plugin publisher for further assistance.",
                go::platform()
            )),
            Kind::NotTried { .. } => Some(
                "fix what was refused first, then run the command again: each run tries only once".into(),
            ),
            Kind::Silent(_) => Some(
                "check that the plugin's key store or service can be reached and answers".into(),
            ),
            Kind::Clock(_) => Some(
                "the plugin was stopped; check that its key store can be reached and answers"
                    .into(),
            ),
            Kind::Answer(AnswerFault::Chain(cause) | AnswerFault::Certificates(cause)) => {
                Some(advice_on_refused(cause).into())
            }
            Kind::Answer(AnswerFault::UnknownKeySpec { .. }) => Some(format!(
                "use a key of one of these kinds: {}",
                KeySpec::ALL
                    .map(|spec| spec.name())
                    .join(", ")
            )),
            Kind::InvalidName(_) => {
                Some("give the plugin's name, for instance pkcs11, not a path".into())
            }
            Kind::Setting(unknown) => Some(unknown.hint()),
            Kind::Failed(end)
            | Kind::Session {
                end: SessionEnd(end),
                ..
            } => end.missing_library(),
            Kind::TooMuchOutput { .. } | Kind::Answer(_) => Some(
                "the plugin broke the plugin contract, so its answer was not used: report it to its publisher"
                    .into(),
            ),
            _ => None,
        }
    }
}

fn refusal_text(error: &ErrorResponse) -> String {
    let text = match (&error.error_message, &error.error_code) {
        (Some(message), _) if !message.trim().is_empty() => message,
        (_, Some(code)) => code.name(),
        _ => "the plugin gave no reason",
    };
    // A key's name that it repeats may have a PIN in it.
    escaped(&without_pin(text), MESSAGE, Lines::Keep)
}

/// Characters shown of a plugin's error message.
const MESSAGE: usize = 4000;

/// Characters shown of a plugin's hint.
const HINT: usize = 1000;
