//! What can go wrong when a plugin is installed, removed or trusted. Texts that the reference
//! prints are the same here (PLI-05 to PLI-17).

use std::io;
use std::path::PathBuf;

use crate::config::FileError;
use crate::net::{NetError, StatusCode};
use crate::plugin::pins::PinsError;
use crate::plugin::{PluginError, PluginErrorKind, PluginName, platform};
use crate::text::{WithCauses, io_text};

/// Why a plugin was not installed, removed or trusted. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A URL without a checksum.
    // PLI-05
    #[error("installing from URL requires non-empty SHA256 checksum of the plugin source")]
    ChecksumMissing,
    /// A URL of another scheme.
    // PLI-05
    #[error(
        "failed to download plugin from URL: only the HTTPS scheme is supported, but got {scheme}"
    )]
    Scheme {
        /// Its scheme, which may be empty.
        scheme: String,
    },
    /// Not a URL.
    #[error("failed to parse plugin download URL {url} with error")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        #[source]
        source: <crate::net::Url as std::str::FromStr>::Err,
    },
    /// The download failed on the way.
    // PLI-05
    #[error("failed to download plugin from URL {url} with error")]
    Download {
        /// The URL as given.
        url: String,
        /// How the exchange with the server failed.
        #[source]
        source: NetError,
    },
    /// The server answers with another status than 200.
    // PLI-06
    #[error(
        "failed to download plugin from URL {url} with error: GET {url:?}: https response bad status: {status}"
    )]
    Status {
        /// The URL as given.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// The server sends too much.
    // PLI-06
    #[error(
        "failed to download plugin from URL {url} with error: GET {url:?}: https response reached the 256 MiB size limit"
    )]
    DownloadTooLarge {
        /// The URL as given.
        url: String,
    },
    /// The file is not there.
    #[error("stat {}", .path.display())]
    NotFound {
        /// The path as given.
        path: PathBuf,
        /// The answer of the operating system.
        #[source]
        source: io::Error,
    },
    /// A directory, a device or a pipe.
    #[error("{} is not a valid file", .path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The contents are not those that were asked for.
    // PLI-05, PLI-06
    #[error("plugin SHA-256 checksum does not match user input. Expecting {expected}")]
    Checksum {
        /// The checksum as given.
        expected: String,
    },
    /// A single file, or an archive as it comes, that is too large.
    // PLI-08
    #[error("file size reached the 256 MiB size limit")]
    FileTooLarge,
    /// The files in an archive are too large together.
    // PLI-08
    #[error("total file size reached the 256 MiB size limit")]
    TotalTooLarge,
    /// A member whose name could lead elsewhere.
    // PLI-09
    #[error("file name in {kind} cannot contain '..', but found {name:?}")]
    Traversal {
        /// `zip` or `tar.gz`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A member that no plugin has.
    // PLI-10
    #[error("{kind} has a member {name:?}, which is refused: {reason}")]
    Member {
        /// `zip` or `tar.gz`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What of it could do harm.
        reason: &'static str,
    },
    /// More members than any plugin has.
    #[error("{kind} has more than {limit} members")]
    TooManyMembers {
        /// `zip` or `tar.gz`.
        kind: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A zip that is broken, or made to mean different things to different readers.
    #[error("failed to read the zip: {0}")]
    // Its cause is in its text already, so it is told here and is no source.
    Zip(zip::result::ZipError),
    /// A tar.gz that is broken.
    #[error("failed to read the tar.gz")]
    Tar(#[source] io::Error),
    /// The name of the only file says of no plugin.
    // PLI-12
    #[error(
        "failed to read plugin name from input file {file}: invalid plugin executable file name. Plugin file name requires format notation-{{plugin-name}}{suffix}, but got {file}",
        suffix = std::env::consts::EXE_SUFFIX
    )]
    FileName {
        /// Its name.
        file: String,
    },
    /// The only file is not executable.
    // PLI-12
    #[error("input file {file} is not executable")]
    NotExecutable {
        /// Its name.
        file: String,
    },
    /// Two plugins in one archive.
    // PLI-11
    #[error(
        "failed to read plugin from input directory: found more than one plugin executable files"
    )]
    SeveralExecutables,
    /// No plugin in the archive.
    // PLI-11
    #[error("failed to read plugin from input directory: no plugin executable file was found")]
    NoExecutable,
    /// The new plugin doesn't say who it is.
    // PLI-13, PLI-17
    #[error("{}", unanswered("new", .error, Some(.shown)))]
    NewMetadata {
        /// What went wrong, in the middle of the text.
        error: Box<PluginError>,
        /// The executable, as the user knows it.
        shown: PathBuf,
    },
    /// What is in place can't be looked at.
    #[error("failed to check plugin existence")]
    Existing(#[source] PluginError),
    /// The plugin in place doesn't say which version it is.
    // PLI-14
    #[error("{}", unanswered("existing", .0, None))]
    ExistingMetadata(PluginError),
    /// A version that can't be compared.
    // PLI-14
    #[error("failed to compare plugin versions: {version} is not a valid semantic version")]
    Version {
        /// The version.
        version: String,
    },
    /// The new version is older.
    // PLI-15
    #[error(
        "failed to install plugin {plugin}. The installing plugin version {new} is lower than the existing plugin version {old}.\nIt is not recommended to install an older version. To force the installation, use the \"--force\" option"
    )]
    Older {
        /// The plugin.
        plugin: PluginName,
        /// The version that was to be installed.
        new: String,
        /// The version in place.
        old: String,
    },
    /// The new version is in place already.
    // PLI-15
    #[error("plugin {plugin} with version {version} already exists")]
    Same {
        /// The plugin.
        plugin: PluginName,
        /// The version.
        version: String,
    },
    /// No such plugin is installed.
    // PLI-20
    #[error("unable to find plugin {plugin}")]
    NotInstalled {
        /// The plugin.
        plugin: PluginName,
    },
    /// It came with hardsign, and such are not pinned.
    #[error("plugin {plugin} came with hardsign; only plugins in the plugin directory are pinned")]
    InTheBox {
        /// The plugin.
        plugin: PluginName,
    },
    /// The executable became another one while the user was asked.
    #[error("plugin {plugin} changed while you were asked; nothing was pinned")]
    ChangedAgain {
        /// The plugin.
        plugin: PluginName,
    },
    /// The name or the plugin itself is wrong.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The pins can't be read or written.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operating system refused.
    #[error("failed to {action} {}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The answer of the operating system.
        #[source]
        source: io::Error,
    },
    /// The user interrupted the work.
    #[error("interrupted")]
    Interrupted,
}

impl InstallError {
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Whether the error is about how the source was named or fetched: it is then told without the
    /// words "plugin installation failed" in front.
    // PLI-05
    pub fn is_about_download(&self) -> bool {
        matches!(
            self,
            Self::ChecksumMissing
                | Self::Scheme { .. }
                | Self::Url { .. }
                | Self::Download { .. }
                | Self::Status { .. }
                | Self::DownloadTooLarge { .. }
        )
    }
}

/// PLI-17: what the publisher or the user can see to. `shown` is the executable as the user knows
/// it, where that is another one than was started.
fn unanswered(which: &str, error: &PluginError, shown: Option<&PathBuf>) -> String {
    let what = format!("failed to get metadata of {which} plugin");
    match &error.kind {
        PluginErrorKind::Start { path, source } => format!(
            "{what}: fork/exec {}: {}.\nPlease ensure that the plugin executable file is compatible with {} and has appropriate permissions.",
            shown.unwrap_or(path).display(),
            io_text(source),
            platform()
        ),
        PluginErrorKind::Failed(end) if end.stderr.is_empty() => format!(
            "{what}: {error}.\nPlease ensure that the plugin executable file is compatible with {} and has appropriate permissions.",
            platform()
        ),
        PluginErrorKind::Malformed(_)
        | PluginErrorKind::Metadata(_)
        | PluginErrorKind::Failed(_) => {
            format!(
                "{error}.\nPlease ensure that the plugin executable file is intact and compatible with {}. Contact the plugin publisher for further assistance.",
                platform()
            )
        }
        _ => format!("{what}: {}", WithCauses(error)),
    }
}
