//! What can go wrong between the host and a plugin. Texts that the reference prints are the same
//! here; what a plugin said is escaped before it is shown (SEC-29).

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use hardsign_plugin::algorithm::SignatureAlgorithm;
use hardsign_plugin::proto::{ErrorCode, ErrorResponse, Token, UnknownSetting};

use super::latch::to_token;
use super::pins::PinsError;
use super::session::SessionError;
use super::text::{Lines, escaped};
use super::{PluginName, go};
use crate::config::ConfigError;
use crate::envelope::EnvelopeError;
use crate::json::JsonError;
use crate::sign::BAD_ANSWER;
use crate::text::{WithCauses, io_text};

/// Why a plugin could not be found, run or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// A name that could lead out of the plugin directory (PLG-04).
    #[error("plugin name {name:?} is invalid: it must match [A-Za-z0-9_.-]+ and not be . or ..")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// No executable (PLG-03).
    #[error(
        "plugin executable file is either not found or inaccessible: stat {}",
        .path.display()
    )]
    NotFound {
        /// The plugin.
        plugin: PluginName,
        /// Where it was looked for first.
        path: PathBuf,
        /// The answer of the operating system.
        #[source]
        source: io::Error,
    },
    /// Something else than a regular file (PLG-03).
    #[error("plugin executable file is not a regular file")]
    NotRegular {
        /// The plugin.
        plugin: PluginName,
        /// What is not a regular file.
        path: PathBuf,
    },
    /// A plugin that should have come with hardsign is not there.
    #[error("the plugin {plugin} that comes with hardsign is not installed beside it")]
    NotInTheBox {
        /// The plugin.
        plugin: PluginName,
    },
    /// The plugin directory can't be read (PLI-02).
    #[error(
        "failed to list plugin: {}.\nPlease ensure that the current user has permission to access the plugin directory: {}",
        io_text(.reason), .directory.display()
    )]
    List {
        /// The directory.
        directory: PathBuf,
        /// The answer of the operating system, in the middle of the text.
        reason: io::Error,
    },
    /// The executable is not the one that was installed or trusted.
    #[error(
        "plugin {plugin} was changed since it was pinned: its SHA-256 is {found}, not {pinned}"
    )]
    Changed {
        /// The plugin.
        plugin: PluginName,
        /// Its executable.
        path: PathBuf,
        /// SHA-256 that was pinned.
        pinned: String,
        /// SHA-256 of what is there.
        found: String,
    },
    /// It can't be known whether the executable is the one that was installed.
    #[error(transparent)]
    Pins(Arc<PinsError>),
    /// The key list doesn't say which plugin and key to use.
    #[error(transparent)]
    Key(#[from] ConfigError),
    /// The executable could not be started.
    #[error("failed to start {} for the {command} command", .path.display())]
    Start {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
        /// The executable.
        path: PathBuf,
        /// The answer of the operating system.
        #[source]
        source: io::Error,
    },
    /// A pipe to the plugin failed.
    #[error("lost the connection to plugin {plugin} during {command}")]
    Pipe {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
        /// The answer of the operating system.
        #[source]
        source: io::Error,
    },
    /// The plugin failed without an answer of the contract (PLG-07, PLG-08).
    #[error("{end}")]
    Failed {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
        /// How the process ended and what it said.
        end: ProcessEnd,
    },
    /// The plugin failed with an error answer that is empty (PLG-07).
    #[error("incomplete json")]
    EmptyRefusal {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
    },
    /// The plugin said no (PLG-07, PLG-09).
    #[error("{}", refusal_text(.error))]
    Refused {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
        /// The key, without a PIN, when the request was about one.
        key: Option<String>,
        /// What it said.
        error: Box<ErrorResponse>,
    },
    /// More output than the contract allows (PLG-05).
    #[error("plugin {plugin} wrote more than {limit} bytes to {stream} during {command}")]
    TooMuchOutput {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// No answer in time (PLG-11).
    #[error("plugin {plugin} did not answer {command} within {} seconds", .after.as_secs_f32())]
    Clock {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
        /// How long was waited.
        after: Duration,
    },
    /// The user interrupted the work.
    #[error("interrupted during {command} of plugin {plugin}")]
    Interrupted {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
    },
    /// Access was denied before in this run: one PIN is tried once at a token.
    #[error("not tried: plugin {plugin} was denied access{} before in this run", to_token(.token))]
    NotTried {
        /// The plugin.
        plugin: PluginName,
        /// The token, as far as the plugin named it.
        token: Box<Token>,
        /// What the plugin said then.
        error: Box<ErrorResponse>,
    },
    /// No answer came in time before in this run.
    #[error(
        "not asked again: plugin {plugin} did not answer {command} within {} seconds before in this run",
        .after.as_secs_f32()
    )]
    Silent {
        /// The plugin.
        plugin: PluginName,
        /// The command that it did not answer.
        command: String,
        /// How long was waited then.
        after: Duration,
    },
    /// An answer that is not the JSON of the contract (PLG-06).
    #[error("failed to unmarshal the response of {command} command for plugin {plugin}")]
    Malformed {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: String,
        /// What the parser said.
        #[source]
        source: JsonError,
    },
    /// Metadata that breaks the contract (PLG-18, PLG-19).
    #[error("metadata validation failed for plugin {plugin}: {fault}")]
    Metadata {
        /// The plugin.
        plugin: PluginName,
        /// Which member is missing or wrong.
        fault: MetadataFault,
    },
    /// Metadata of a plugin of another name (PLG-20).
    #[error("plugin executable file name must be \"notation-{}\" instead of \"{file}\"", escaped(.answered, 200, Lines::Escape))]
    WrongName {
        /// The plugin.
        plugin: PluginName,
        /// The name that it gave.
        answered: String,
        /// Its executable.
        file: String,
    },
    /// A plugin that can't sign (PLG-22).
    #[error("plugin does not have signing capabilities")]
    CannotSign {
        /// The plugin.
        plugin: PluginName,
    },
    /// A plugin that lacks a capability.
    #[error("plugin {plugin} can't {what}")]
    Lacks {
        /// The plugin.
        plugin: PluginName,
        /// What it can't do.
        what: &'static str,
    },
    /// A setting that the plugin doesn't know.
    #[error(transparent)]
    Setting(#[from] Box<UnknownSetting>),
    /// An answer with a key that it can't be about.
    #[error("plugin {plugin} answered {command} with a public key that {fault}")]
    WrongPublicKey {
        /// The plugin.
        plugin: PluginName,
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A plugin that can't sign files (BLOB-13).
    #[error(
        "the plugin \"{plugin}\" lacks the signature generator capability required for blob signing"
    )]
    CannotSignBlobs {
        /// The plugin.
        plugin: PluginName,
    },
    /// An answer for another key (PLG-24, PLG-29).
    #[error("keyID in {answer} response {answered:?} does not match request {asked:?}")]
    WrongKey {
        /// The plugin.
        plugin: PluginName,
        /// Which answer, as the reference spells it.
        answer: &'static str,
        /// The key that the answer names.
        answered: String,
        /// The key that was asked for.
        asked: String,
    },
    /// A key that the Notary Project doesn't know (PLG-25).
    #[error("unknown key spec")]
    UnknownKeySpec {
        /// The plugin.
        plugin: PluginName,
        /// The key.
        key: String,
        /// The key spec as answered.
        answered: String,
    },
    /// A signing algorithm that doesn't go with the key (PLG-28, DIF-06).
    #[error(
        "signing algorithm in {answer} response {answered:?} does not match key spec, which requires {expected}"
    )]
    WrongAlgorithm {
        /// The plugin.
        plugin: PluginName,
        /// Which answer.
        answer: &'static str,
        /// The algorithm as answered.
        answered: String,
        /// The one that the key needs.
        expected: SignatureAlgorithm,
    },
    /// A signature whose length doesn't go with the key (ENV-37).
    #[error("plugin {plugin} returned a signature of {length} bytes instead of {expected}")]
    SignatureLength {
        /// The plugin.
        plugin: PluginName,
        /// Bytes returned.
        length: usize,
        /// Bytes that the key gives.
        expected: usize,
    },
    /// More or larger certificates than any chain has.
    #[error(
        "plugin {plugin} returned a certificate chain of {count} certificates and {bytes} bytes, which is more than hardsign reads"
    )]
    ChainTooLarge {
        /// The plugin.
        plugin: PluginName,
        /// Number of certificates.
        count: usize,
        /// Their size.
        bytes: usize,
    },
    /// A certificate chain that breaks a rule, found before the signature could be looked at
    /// (PLG-30).
    #[error("generated signature failed verification")]
    Chain {
        /// The plugin.
        plugin: PluginName,
        /// Which rule.
        source: Box<EnvelopeError>,
    },
    /// A session that was started again answers for another key or chain.
    #[error("plugin {plugin} was started again and answered with another key or certificate chain")]
    KeyChanged {
        /// The plugin.
        plugin: PluginName,
    },
    /// `generate-envelope` failed (PLG-34).
    #[error("plugin failed to sign with following error")]
    Envelope(#[source] Box<PluginError>),
    /// An envelope of another kind than asked for (PLG-34).
    #[error(
        "signatureEnvelopeType in generateEnvelope response {answered:?} does not match request {asked:?}"
    )]
    WrongEnvelopeType {
        /// The plugin.
        plugin: PluginName,
        /// The type as answered.
        answered: String,
        /// The type asked for.
        asked: String,
    },
    /// What went wrong after the plugin had said who it is, when an OCI artifact is signed (PLG-31).
    #[error("failed to sign with the plugin {plugin}")]
    Signing {
        /// The plugin.
        plugin: PluginName,
        /// What went wrong.
        #[source]
        source: Box<PluginError>,
    },
    /// The signer was closed.
    #[error("the session with plugin {plugin} is closed")]
    Closed {
        /// The plugin.
        plugin: PluginName,
    },
    /// A session broke.
    #[error("plugin {plugin}: {}{end}", WithCauses(.broken))]
    Session {
        /// The plugin.
        plugin: PluginName,
        /// How it broke, in the middle of the text.
        broken: Arc<SessionError>,
        /// How the process ended and what it said.
        end: SessionEnd,
    },
}

/// What is wrong with a plugin's metadata, in the reference's words (PLG-18, PLG-19).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataFault {
    /// No name.
    #[error("empty name")]
    Name,
    /// No description.
    #[error("empty description")]
    Description,
    /// No version.
    #[error("empty version")]
    Version,
    /// No URL.
    #[error("empty url")]
    Url,
    /// No capabilities.
    #[error("empty capabilities")]
    Capabilities,
    /// Settings that are too many or whose names can't be names.
    #[error("settings are too many, or have names that can't be names")]
    Settings,
    /// No contract versions.
    #[error("supported contract versions not specified")]
    NoContractVersions,
    /// Not our contract version.
    #[error("contract version \"1.0\" is not in the list of the plugin supported versions [{}]", escaped(&.versions.join(" "), 200, Lines::Escape))]
    ContractVersion {
        /// The versions that the plugin supports.
        versions: Vec<String>,
    },
}

/// How a plugin process ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProcessEnd {
    /// Its exit status; `None` when it could not be learnt.
    pub status: Option<ExitStatus>,
    /// The last lines of its stderr, escaped.
    pub stderr: Vec<String>,
}

impl ProcessEnd {
    /// What to install, if it is a library that the program lacks: the loader ends it with 127 before it
    /// can say anything of the contract.
    fn missing_library(&self) -> Option<String> {
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
    pub(super) fn was_interrupted(&self) -> bool {
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
impl std::fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

impl std::fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.status.is_some_and(|status| !status.success()) {
            write!(f, " ({})", go::exit_text(self.0.status))?;
        }
        if !self.0.stderr.is_empty() {
            write!(f, "; it said:\n{}", self.0.stderr.join("\n"))?;
        }
        Ok(())
    }
}

impl PluginError {
    /// The plugin, when the error is about one.
    pub fn plugin(&self) -> Option<&PluginName> {
        match self {
            Self::InvalidName { .. }
            | Self::List { .. }
            | Self::Key(_)
            | Self::Pins(_)
            | Self::Setting(_) => None,
            Self::Envelope(inner) => inner.plugin(),
            Self::NotFound { plugin, .. }
            | Self::NotRegular { plugin, .. }
            | Self::NotInTheBox { plugin }
            | Self::Changed { plugin, .. }
            | Self::Start { plugin, .. }
            | Self::Pipe { plugin, .. }
            | Self::Failed { plugin, .. }
            | Self::EmptyRefusal { plugin, .. }
            | Self::Refused { plugin, .. }
            | Self::TooMuchOutput { plugin, .. }
            | Self::Clock { plugin, .. }
            | Self::Interrupted { plugin, .. }
            | Self::NotTried { plugin, .. }
            | Self::Silent { plugin, .. }
            | Self::Malformed { plugin, .. }
            | Self::Metadata { plugin, .. }
            | Self::WrongName { plugin, .. }
            | Self::CannotSign { plugin }
            | Self::Lacks { plugin, .. }
            | Self::WrongPublicKey { plugin, .. }
            | Self::CannotSignBlobs { plugin }
            | Self::WrongKey { plugin, .. }
            | Self::UnknownKeySpec { plugin, .. }
            | Self::WrongAlgorithm { plugin, .. }
            | Self::SignatureLength { plugin, .. }
            | Self::ChainTooLarge { plugin, .. }
            | Self::Chain { plugin, .. }
            | Self::KeyChanged { plugin }
            | Self::Closed { plugin }
            | Self::Signing { plugin, .. }
            | Self::WrongEnvelopeType { plugin, .. }
            | Self::Session { plugin, .. } => Some(plugin),
        }
    }

    /// The code of the plugin's own error answer (PLG-09).
    pub fn code(&self) -> Option<&ErrorCode> {
        match self {
            Self::Refused { error, .. } | Self::NotTried { error, .. } => error.error_code.as_ref(),
            Self::Envelope(inner) | Self::Signing { source: inner, .. } => inner.code(),
            _ => None,
        }
    }

    /// What the user has to agree to before the plugin does it, if that is all that is missing: the
    /// same request is then made with `confirmed`.
    pub fn question(&self) -> Option<String> {
        match self {
            Self::Refused { error, .. } => error
                .question()
                .map(|question| escaped(question, HINT, Lines::Escape)),
            Self::Envelope(inner) | Self::Signing { source: inner, .. } => inner.question(),
            _ => None,
        }
    }

    /// The token that refused, if the plugin says which.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Refused { error, .. } => error.token(),
            Self::Envelope(inner) | Self::Signing { source: inner, .. } => inner.token(),
            _ => None,
        }
    }

    /// Whether the user interrupted the work, so that nothing needs to be explained.
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Interrupted { .. } => true,
            Self::Session { broken, .. } => matches!(**broken, SessionError::Interrupted),
            Self::Envelope(inner) | Self::Signing { source: inner, .. } => inner.is_interrupted(),
            _ => false,
        }
    }

    /// What the user can do next, if that is known and no matter of the program that runs the plugin:
    /// the plugin's own hint first.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { error, .. } => match (error.hint(), &error.error_code) {
                (Some(hint), _) => Some(escaped(hint, HINT, Lines::Keep)),
                (None, Some(ErrorCode::AccessDenied)) => {
                    Some("check the PIN or the credentials that the key is used with".into())
                }
                (None, Some(ErrorCode::Throttled | ErrorCode::Timeout)) => {
                    Some("try again later, with fewer signatures at once".into())
                }
                (None, _) => None,
            },
            Self::Envelope(inner) | Self::Signing { source: inner, .. } => inner.hint(),
            Self::NotRegular { path, .. } => Some(format!(
                "put the executable itself at {}; symbolic links are not followed",
                path.display()
            )),
            Self::NotInTheBox { plugin } => Some(format!(
                "reinstall hardsign: notation-{plugin} belongs beside it or in ../libexec/hardsign"
            )),
            Self::Start { .. } => Some(format!(
                "Please ensure that the plugin executable file is compatible with {} and has appropriate permissions.",
                go::platform()
            )),
            Self::Malformed { .. } | Self::Metadata { .. } => Some(format!(
                "Please ensure that the plugin executable file is intact and compatible with {}. Contact the plugin publisher for further assistance.",
                go::platform()
            )),
            Self::NotTried { .. } => Some(
                "put right what was refused first, and run it again: one run makes one try".into(),
            ),
            Self::Silent { .. } => Some(
                "check that the plugin's key store or service can be reached and answers".into(),
            ),
            Self::Clock { .. } => Some(
                "the plugin was stopped; check that its key store can be reached and answers"
                    .into(),
            ),
            Self::Chain { .. } => Some(BAD_ANSWER.into()),
            Self::UnknownKeySpec { .. } => Some(format!(
                "use a key of one of these kinds: {}",
                hardsign_plugin::algorithm::KeySpec::ALL
                    .map(|spec| spec.name())
                    .join(", ")
            )),
            Self::InvalidName { .. } => {
                Some("give the plugin's name, for instance pkcs11, not a path".into())
            }
            Self::Setting(unknown) => Some(unknown.hint()),
            Self::Failed { end, .. }
            | Self::Session {
                end: SessionEnd(end),
                ..
            } => end.missing_library(),
            Self::TooMuchOutput { .. }
            | Self::WrongName { .. }
            | Self::WrongKey { .. }
            | Self::WrongPublicKey { .. }
            | Self::WrongAlgorithm { .. }
            | Self::SignatureLength { .. }
            | Self::ChainTooLarge { .. }
            | Self::KeyChanged { .. }
            | Self::WrongEnvelopeType { .. } => Some(
                "the plugin broke the plugin contract, and nothing of its answer was used; tell its publisher"
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
    escaped(text, MESSAGE, Lines::Keep)
}

/// The number of the interrupt on every Unix.
const SIGINT: i32 = 2;

/// Characters shown of a plugin's error message.
const MESSAGE: usize = 4000;

/// Characters shown of a plugin's hint.
const HINT: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the loader says of a library that is missing, whichever way the plugin was started.
    #[cfg(unix)]
    #[test]
    fn missing_libraries_are_named() {
        use std::os::unix::process::ExitStatusExt as _;

        let end = |code: i32, said: &str| ProcessEnd {
            status: Some(ExitStatus::from_raw(code << 8)),
            stderr: vec![said.to_owned()],
        };
        let loader = "/p/notation-x: error while loading shared libraries: libpcsclite.so.1: cannot open shared object file: No such file or directory";
        let failed = PluginError::Failed {
            plugin: PluginName::new("x").unwrap(),
            command: "get-plugin-metadata".into(),
            end: end(127, loader),
        };
        let session = PluginError::Session {
            plugin: PluginName::new("x").unwrap(),
            broken: Arc::new(SessionError::Interrupted),
            end: SessionEnd(end(127, loader)),
        };
        for error in [failed, session] {
            assert!(error.hint().unwrap().contains("libpcsclite1 on Debian"));
        }
        let other = loader.replace("libpcsclite.so.1", "libfoo.so.2");
        let hint = end(127, &other).missing_library().unwrap();
        assert_eq!(
            hint,
            "install the library libfoo.so.2, which the plugin needs"
        );
        assert_eq!(end(1, loader).missing_library(), None);
        assert_eq!(end(127, "not found").missing_library(), None);
    }
}
