//! PINs and passwords: a type that does not leak them, and the places they may come from.
//!
//! A PIN never travels over the protocol, the command line or a log. A key's configuration names
//! a source instead:
//!
//! | source | what is read |
//! |---|---|
//! | `env:NAME` | the environment variable `NAME` |
//! | `file:/path`, `file:///path`, `/path` | the file at an absolute path |
//! | `fd:N` | the inherited descriptor `N`, up to the first newline; sessions only |
//! | `pinentry` | the program `pinentry` asks the user |
//! | `prompt` | the user is asked on the terminal |
//!
//! One trailing newline is stripped. A command (`|command`, as RFC 7512 §2.4 allows) is refused.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::Error;
use crate::error::ErrorCode;
use crate::os;

mod pinentry;
#[cfg_attr(not(unix), path = "secret/no_terminal.rs")]
mod terminal;

pub(crate) use pinentry::ask as ask_pinentry;
pub(crate) use terminal::{
    ask as ask_terminal, is_there as has_terminal, show as show_terminal, tell as tell_terminal,
};

/// Longest PIN in bytes.
pub const MAX_PIN: usize = 1024;

/// Longest secret that is no PIN, for instance a token for a login, in bytes.
pub const MAX_SECRET: usize = 64 << 10;

/// A PIN or password, in memory that is kept out of swap and core dumps where the system allows. Zeroed
/// when dropped; `Debug` says `REDACTED`; there is no `Display`.
pub struct Secret(Place);

/// Where a secret is.
enum Place {
    Locked(os::Locked),
    /// The system gave no memory of its own for it.
    Heap(Zeroizing<Vec<u8>>),
}

impl Secret {
    /// Takes over bytes that are already in memory; they are zeroed.
    pub fn new(bytes: Vec<u8>) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(match os::Locked::new(&bytes) {
            Ok(locked) => Place::Locked(locked),
            Err(_) => Place::Heap(bytes),
        })
    }

    /// The bytes themselves. Don't copy them to where they outlive the secret.
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Place::Locked(locked) => locked.bytes(),
            Place::Heap(bytes) => bytes,
        }
    }

    /// Whether the memory is locked: never written to swap. It is not where the system can't, or where
    /// the user's limit is used up (`ulimit -l`).
    pub fn is_locked(&self) -> bool {
        match &self.0 {
            Place::Locked(locked) => locked.is_locked(),
            Place::Heap(_) => false,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(REDACTED)")
    }
}

/// Where a PIN comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PinSource {
    /// An environment variable.
    Environment(String),
    /// A file at an absolute path.
    File(PathBuf),
    /// An inherited descriptor.
    Descriptor(i32),
    /// The program `pinentry`.
    Pinentry,
    /// The terminal.
    Prompt,
}

/// A source that is no source, or one that gave no PIN. Never holds the PIN.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// `|command`.
    #[error(
        "PIN source starts with '|': a command is not run to get a PIN, since whoever can edit \
         the key's configuration could then run anything"
    )]
    Command,
    /// Nothing that is known.
    #[error("unknown PIN source {text:?}")]
    Unknown {
        /// The source as given, shortened.
        text: String,
    },
    /// A relative path.
    #[error("PIN file {path:?} is not an absolute path")]
    Relative {
        /// The path as given.
        path: PathBuf,
    },
    /// The variable is not set.
    #[error("environment variable {name} for the PIN is not set")]
    Unset {
        /// Its name.
        name: String,
    },
    /// The file can't be read.
    #[error("PIN file {path:?} can't be read")]
    File {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A directory, pipe or device.
    #[error("PIN file {path:?} is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Everyone could put another PIN there, and so lock the token.
    #[error("PIN file {path:?} can be written by every user")]
    WorldWritable {
        /// The path.
        path: PathBuf,
    },
    /// UTF-8's byte order mark stands before the PIN.
    #[error("the PIN begins with a byte order mark (BOM), which is no part of it; it was not sent")]
    ByteOrderMark,
    /// UTF-16, or something else with NUL bytes.
    #[error("the PIN is not plain text but UTF-16, or has NUL bytes; it was not sent")]
    Utf16,
    /// The descriptor can't be read.
    #[error("PIN can't be read from descriptor {number}")]
    Descriptor {
        /// The number.
        number: i32,
        /// What the operating system said.
        source: io::Error,
    },
    /// A descriptor can be read once, and one-shot commands are a process each.
    #[error("PIN source fd:{number} can be used in a session only")]
    DescriptorOutsideSession {
        /// The number.
        number: i32,
    },
    /// No controlling terminal.
    #[error("there is no terminal to ask for the PIN at")]
    NoTerminal {
        /// Why it can't be opened.
        source: io::Error,
    },
    /// The terminal failed.
    #[error("PIN can't be read from the terminal")]
    Terminal {
        /// What the operating system said.
        source: io::Error,
    },
    /// The program can't be started or spoke out of turn.
    #[error("pinentry failed")]
    Pinentry {
        /// What the operating system said.
        source: io::Error,
    },
    /// The user gave none.
    #[error("the PIN was not entered: cancelled")]
    Cancelled,
    /// A new PIN, typed twice, was not the same.
    #[error("the two entries are not the same")]
    Differ,
    /// The user did not come.
    #[error("the PIN was not entered in time")]
    TimedOut,
    /// Zero bytes.
    #[error("the PIN is empty")]
    Empty,
    /// More than [`MAX_PIN`].
    #[error("the PIN is longer than {MAX_PIN} bytes")]
    TooLong,
    /// A newline that is not the last byte.
    #[error("the PIN holds more than one line")]
    ManyLines,
}

impl FromStr for PinSource {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        if text.starts_with('|') {
            return Err(PinError::Command);
        }
        match text.split_once(':') {
            _ if text.starts_with('/') => Ok(Self::File(text.into())),
            Some(("env", name)) if is_variable_name(name) => Ok(Self::Environment(name.into())),
            Some(("file", path)) => parse_file(path),
            Some(("fd", number)) => match number.parse::<i32>() {
                Ok(number) if number > 2 => Ok(Self::Descriptor(number)),
                _ => Err(unknown(text)),
            },
            None if text == "pinentry" => Ok(Self::Pinentry),
            None if text == "prompt" => Ok(Self::Prompt),
            _ => Err(unknown(text)),
        }
    }
}

/// An unknown source may be a PIN that was put in the wrong place: show its start only.
fn unknown(text: &str) -> PinError {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let text = match scheme {
        Some(scheme) if scheme.len() <= 16 => format!("{scheme}:..."),
        _ => "...".to_owned(),
    };
    PinError::Unknown { text }
}

fn parse_file(path: &str) -> Result<PinSource, PinError> {
    // RFC 8089: an authority, if there is one, is empty or localhost.
    let local = path
        .strip_prefix("//localhost/")
        .or_else(|| path.strip_prefix("///"))
        .map(|rest| format!("/{rest}"));
    let path = local.as_deref().unwrap_or(path);
    // RFC 8089, Appendix E.2: a drive letter stands behind the slash of the authority.
    let drive = path.strip_prefix('/').unwrap_or(path);
    if cfg!(windows) && Path::new(drive).is_absolute() {
        return Ok(PinSource::File(drive.into()));
    }
    if path.starts_with("//") || !path.starts_with('/') {
        return Err(PinError::Relative { path: path.into() });
    }
    Ok(PinSource::File(path.into()))
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
            Self::Pinentry => f.write_str("pinentry"),
            Self::Prompt => f.write_str("prompt"),
        }
    }
}

impl PinSource {
    /// Whether a person is asked.
    pub const fn asks_a_person(&self) -> bool {
        matches!(self, Self::Pinentry | Self::Prompt)
    }
}

/// Reads an environment variable with at most `most` bytes.
pub(crate) fn read_environment(name: &str, most: usize) -> Result<Secret, PinError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the PIN source that reads the environment"
    )]
    let value = std::env::var_os(name).ok_or_else(|| PinError::Unset { name: name.into() })?;
    let value = Zeroizing::new(value.into_encoded_bytes());
    read_secret(&mut value.as_slice(), Until::End, most).map_err(|fault| fault.into_error(never))
}

/// What was noticed about a PIN file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exposure {
    /// Only its owner and group can read it.
    Private,
    /// Every user can read it.
    WorldReadable,
}

/// Reads a file with a secret of at most `most` bytes. Links are followed, since secrets are mounted that way.
pub(crate) fn read_file(path: &Path, most: usize) -> Result<(Secret, Exposure), PinError> {
    let failed = |source| PinError::File {
        path: path.into(),
        source,
    };
    let mut file = open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(PinError::NotAFile { path: path.into() });
    }
    let mode = mode(&metadata);
    if mode & 0o002 != 0 {
        return Err(PinError::WorldWritable { path: path.into() });
    }
    let exposure = match mode & 0o004 {
        0 => Exposure::Private,
        _ => Exposure::WorldReadable,
    };
    let secret = read_secret(&mut file, Until::End, most);
    let secret = secret.map_err(|fault| fault.into_error(failed))?;
    Ok((secret, exposure))
}

/// Opens a file without ever waiting for it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.read(true).open(path)
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata)
}

/// Access lists are not looked at.
#[cfg(not(unix))]
fn mode(_: &Metadata) -> u32 {
    0
}

/// Reads at most `most` bytes of an inherited descriptor up to its first newline or its end, and closes it.
pub(crate) fn read_descriptor(number: i32, most: usize) -> Result<Secret, PinError> {
    let failed = |source| PinError::Descriptor { number, source };
    let mut file: File = os::take_inherited(number).map_err(failed)?;
    read_secret(&mut file, Until::Newline, most).map_err(|fault| fault.into_error(failed))
}

/// Where a secret ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
    End,
    Newline,
}

/// Why no secret came out of a stream.
enum Fault {
    Io(io::Error),
    Pin(PinError),
}

impl Fault {
    fn into_error(self, io_error: impl FnOnce(io::Error) -> PinError) -> PinError {
        match self {
            Self::Io(error) => io_error(error),
            Self::Pin(error) => error,
        }
    }
}

/// For a stream that can't fail.
fn never(source: io::Error) -> PinError {
    PinError::Terminal { source }
}

/// Reads a secret of at most `most` bytes into one buffer that is zeroed and never moved.
fn read_secret(reader: &mut impl Read, until: Until, most: usize) -> Result<Secret, Fault> {
    // Room for CR LF and for one byte that shows that there is more.
    let mut buffer = Zeroizing::new(vec![0_u8; most.saturating_add(3)]);
    let mut filled = 0_usize;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            return Err(Fault::Pin(PinError::TooLong));
        }
        match reader.read(room) {
            Ok(0) => break,
            Ok(count) => {
                filled = filled.saturating_add(count);
                let mut so_far = buffer.get(..filled).unwrap_or_default().iter();
                match so_far.position(|byte| *byte == b'\n') {
                    Some(at) if until == Until::Newline => {
                        filled = at.saturating_add(1);
                        break;
                    }
                    _ => {}
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Io(error)),
        }
    }
    finish(buffer.get(..filled).unwrap_or_default(), most).map_err(Fault::Pin)
}

/// Strips one trailing newline and checks what is left.
fn finish(bytes: &[u8], most: usize) -> Result<Secret, PinError> {
    // Sent as a part of the PIN, a byte order mark would cost a try.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(PinError::ByteOrderMark);
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || bytes.contains(&0) {
        return Err(PinError::Utf16);
    }
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.is_empty() {
        return Err(PinError::Empty);
    }
    if bytes.len() > most {
        return Err(PinError::TooLong);
    }
    if bytes.contains(&b'\n') {
        return Err(PinError::ManyLines);
    }
    Ok(Secret::new(bytes.to_vec()))
}

impl From<PinError> for Error {
    fn from(error: PinError) -> Self {
        let (code, hint) = match &error {
            PinError::Cancelled => (ErrorCode::AccessDenied, None),
            PinError::ByteOrderMark | PinError::Utf16 => (
                ErrorCode::ValidationError,
                Some("save it as UTF-8 without a byte order mark".to_owned()),
            ),
            PinError::TimedOut => (ErrorCode::Timeout, None),
            PinError::Differ => (
                ErrorCode::ValidationError,
                Some("run it again; nothing was changed".to_owned()),
            ),
            PinError::Command | PinError::Unknown { .. } => (
                ErrorCode::ValidationError,
                Some("use env:NAME, file:/path, fd:N, pinentry or prompt".to_owned()),
            ),
            PinError::Unset { name } => (
                ErrorCode::ValidationError,
                Some(format!("set {name}, or name another PIN source")),
            ),
            PinError::WorldWritable { path } => (
                ErrorCode::ValidationError,
                Some(format!("chmod 600 {}", path.display())),
            ),
            PinError::NoTerminal { .. } => (
                ErrorCode::ValidationError,
                Some("name a PIN source that asks nobody: env:NAME or file:/path".to_owned()),
            ),
            PinError::Pinentry { .. } => (
                ErrorCode::Error,
                Some("install a pinentry program, or use prompt as PIN source".to_owned()),
            ),
            PinError::DescriptorOutsideSession { .. } => (
                ErrorCode::ValidationError,
                Some("use env:NAME or file:/path".to_owned()),
            ),
            _ => (ErrorCode::ValidationError, None),
        };
        let answer = Self::from_error(code, &error);
        match hint {
            Some(hint) => answer.with_hint(hint),
            None => answer,
        }
    }
}

/// Why a source gave no secret of another kind than a PIN. Never holds the secret.
#[derive(Debug)]
pub(crate) struct SecretError {
    /// What the secret is, for instance `JWT`.
    pub(crate) what: String,
    pub(crate) why: PinError,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match &self.why {
            PinError::Unset { name } => {
                write!(f, "environment variable {name} for the {what} is not set")
            }
            PinError::File { path, .. } => write!(f, "{what} file {path:?} can't be read"),
            PinError::NotAFile { path } => {
                write!(f, "{what} file {path:?} is not a regular file")
            }
            PinError::WorldWritable { path } => {
                write!(f, "{what} file {path:?} can be written by every user")
            }
            PinError::Descriptor { number, .. } => {
                write!(f, "the {what} can't be read from descriptor {number}")
            }
            PinError::DescriptorOutsideSession { number } => {
                write!(
                    f,
                    "fd:{number} can be used for the {what} in a session only"
                )
            }
            PinError::ByteOrderMark => write!(
                f,
                "the {what} begins with a byte order mark (BOM), which is no part of it"
            ),
            PinError::Utf16 => write!(
                f,
                "the {what} is not plain text but UTF-16, or has NUL bytes"
            ),
            PinError::Empty => write!(f, "the {what} is empty"),
            PinError::TooLong => write!(f, "the {what} is longer than {MAX_SECRET} bytes"),
            PinError::ManyLines => write!(f, "the {what} holds more than one line"),
            _ => write!(
                f,
                "the source of the {what} must be env:NAME, file:/path or fd:N"
            ),
        }
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.why)
    }
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        let what = &error.what;
        let hint = match &error.why {
            PinError::Unset { name } => {
                format!("set {name}, or name another source for the {what}")
            }
            PinError::WorldWritable { path } => format!("chmod 600 {}", path.display()),
            PinError::ByteOrderMark | PinError::Utf16 => {
                "save it as UTF-8 without a byte order mark".to_owned()
            }
            PinError::DescriptorOutsideSession { .. } => "use env:NAME or file:/path".to_owned(),
            PinError::File { .. } | PinError::NotAFile { .. } => {
                format!("check the path, and that this user may read the {what} there")
            }
            _ => format!("check what is there: the {what} in one line, and nothing else"),
        };
        Self::from_error(ErrorCode::ValidationError, &error).with_hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parse(text: &str) -> Result<PinSource, String> {
        text.parse::<PinSource>().map_err(|error| error.to_string())
    }

    /// What the kernel says of the memory of a secret: locked ("lo"), in no core dump ("dd").
    #[cfg(target_os = "linux")]
    #[test]
    fn a_secret_is_in_locked_memory() {
        let secret = Secret::new(b"864213".to_vec());
        assert_eq!(secret.expose(), b"864213");
        assert!(secret.is_locked());
        let address = secret.expose().as_ptr().addr();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut flags = None;
        let mut is_here = false;
        for line in maps.lines() {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let ends = range.and_then(|(start, end)| {
                let number = |text| usize::from_str_radix(text, 16).ok();
                Some((number(start)?, number(end)?))
            });
            if let Some((start, end)) = ends {
                is_here = (start..end).contains(&address);
            } else if let (true, Some(found)) = (is_here, line.strip_prefix("VmFlags:")) {
                flags = Some(found.to_owned());
            }
        }
        let flags = flags.unwrap();
        assert!(flags.contains(" lo") && flags.contains(" dd"), "{flags}");
        assert_eq!(Secret::new(Vec::new()).expose(), b"");
    }

    /// Sent as a part of the PIN, a byte order mark or UTF-16 would cost a try.
    #[test]
    fn encodings_that_are_no_pin() {
        for mark in [
            &b"\xef\xbb\xbf1234"[..],
            b"\xef\xbb\xbf",
            b"\xef\xbb\xbf1234\r\n",
        ] {
            assert!(matches!(
                finish(mark, MAX_PIN),
                Err(PinError::ByteOrderMark)
            ));
        }
        for wide in [
            &b"\xff\xfe1\x002\x00"[..],
            b"\xfe\xff\x001\x002",
            b"1\x002\x00",
            b"12\x00",
        ] {
            let error = finish(wide, MAX_PIN).err().unwrap();
            assert!(matches!(error, PinError::Utf16));
            assert!(error.to_string().contains("not sent"), "{error}");
        }
        assert!(finish("Größe€".as_bytes(), MAX_PIN).is_ok());
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pin");
        std::fs::write(&path, b"\xef\xbb\xbf1234\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            read_file(&path, MAX_PIN),
            Err(PinError::ByteOrderMark)
        ));
    }

    #[test]
    fn sources() {
        assert_eq!(
            parse("env:HSM_PIN"),
            Ok(PinSource::Environment("HSM_PIN".into()))
        );
        for file in [
            "file:/run/pin",
            "file:///run/pin",
            "file://localhost/run/pin",
            "/run/pin",
        ] {
            assert_eq!(
                parse(file),
                Ok(PinSource::File("/run/pin".into())),
                "{file}"
            );
        }
        assert_eq!(parse("fd:3"), Ok(PinSource::Descriptor(3)));
        assert_eq!(parse("pinentry"), Ok(PinSource::Pinentry));
        assert_eq!(parse("prompt"), Ok(PinSource::Prompt));
    }

    #[test]
    fn what_is_no_source_is_refused_and_not_shown() {
        assert!(parse("|cat /etc/pin").unwrap_err().contains("not run"));
        assert!(parse("file:pin").unwrap_err().contains("absolute"));
        assert!(parse("file://host/pin").unwrap_err().contains("absolute"));
        for bad in [
            "", "1234", "env:", "env:A B", "env:1A", "fd:0", "fd:2", "fd:-1", "fd:x", "vault:x",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.starts_with("unknown PIN source"), "{bad}: {error}");
            assert!(!error.contains("1234"), "{error}");
        }
    }

    #[test]
    fn debug_is_redacted() {
        let secret = Secret::new(b"1234".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(REDACTED)");
        assert_eq!(secret.expose(), b"1234");
    }

    fn from_file(content: &[u8], mode: u32) -> Result<(Vec<u8>, Exposure), PinError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
        let (secret, exposure) = read_file(file.path(), MAX_PIN)?;
        Ok((secret.expose().to_vec(), exposure))
    }

    #[test]
    fn files_lose_one_newline() {
        for content in ["1234", "1234\n", "1234\r\n"] {
            let read = from_file(content.as_bytes(), 0o600).unwrap();
            assert_eq!(read, (b"1234".to_vec(), Exposure::Private), "{content:?}");
        }
        assert_eq!(
            from_file(&[b'1'; MAX_PIN], 0o644).unwrap(),
            (vec![b'1'; MAX_PIN], Exposure::WorldReadable)
        );
    }

    #[test]
    fn files_that_give_no_pin() {
        let text = |content: &[u8], mode| from_file(content, mode).unwrap_err().to_string();
        assert_eq!(text(b"", 0o600), "the PIN is empty");
        assert_eq!(text(b"\n", 0o600), "the PIN is empty");
        assert_eq!(text(b"12\n34\n", 0o600), "the PIN holds more than one line");
        assert!(text(&[b'1'; MAX_PIN + 1], 0o600).contains("longer than 1024"));
        assert!(text(&[b'1'; 100_000], 0o600).contains("longer than 1024"));
        assert!(text(b"1234", 0o602).contains("written by every user"));
        let directory = tempfile::tempdir().unwrap();
        let error = read_file(directory.path(), MAX_PIN).unwrap_err();
        assert!(matches!(error, PinError::NotAFile { .. }));
        let error = read_file(&directory.path().join("none"), MAX_PIN).unwrap_err();
        assert!(matches!(error, PinError::File { .. }));
    }

    #[test]
    fn a_descriptor_gives_its_first_line() {
        let mut at_once = &b"1234\nrest"[..];
        let secret = read_secret(&mut at_once, Until::Newline, MAX_PIN)
            .ok()
            .unwrap();
        assert_eq!(secret.expose(), b"1234");
        let mut endless = Read::chain(&b"1234\n"[..], io::repeat(b'x'));
        let secret = read_secret(&mut endless, Until::Newline, MAX_PIN)
            .ok()
            .unwrap();
        assert_eq!(secret.expose(), b"1234");
    }

    #[test]
    fn unset_variables_are_named() {
        let error = Error::from(read_environment("HARDSIGN_TEST_NOT_SET", MAX_PIN).unwrap_err());
        assert!(error.to_string().contains("HARDSIGN_TEST_NOT_SET"));
        assert!(error.hint().is_some());
    }

    /// A secret that is no PIN has its own limit and its own name in errors.
    #[test]
    fn other_secrets_are_no_pins() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("jwt");
        let write = |content: &[u8], mode| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let told = |why| {
            let what = "JWT".to_owned();
            Error::from(SecretError { what, why })
        };
        let read = || read_file(&path, MAX_SECRET).map_err(told);
        write(&[b'x'; MAX_SECRET], 0o600);
        assert_eq!(read().unwrap().0.expose().len(), MAX_SECRET);
        for (content, mode, text) in [
            (
                &[b'x'; MAX_SECRET + 1][..],
                0o600,
                "the JWT is longer than 65536 bytes",
            ),
            (b"\n", 0o600, "the JWT is empty"),
            (b"a\nb", 0o600, "the JWT holds more than one line"),
            (
                b"a\0",
                0o600,
                "the JWT is not plain text but UTF-16, or has NUL bytes",
            ),
            (b"x", 0o602, "can be written by every user"),
        ] {
            write(content, mode);
            let error = read().err().unwrap();
            assert!(error.to_string().contains(text), "{error}");
            assert!(!error.to_string().contains("PIN"), "{error}");
            assert!(!error.hint().unwrap().contains("PIN"), "{error:?}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = read().err().unwrap();
        assert_eq!(
            error.to_string().matches("no such file").count(),
            1,
            "{error}"
        );
        let elsewhere = told(PinError::DescriptorOutsideSession { number: 7 });
        assert_eq!(elsewhere.hint(), Some("use env:NAME or file:/path"));
        let unset = read_environment("HARDSIGN_TEST_NOT_SET", MAX_SECRET)
            .err()
            .unwrap();
        let error = told(unset);
        assert_eq!(
            error.to_string(),
            "environment variable HARDSIGN_TEST_NOT_SET for the JWT is not set"
        );
        assert!(error.hint().unwrap().contains("set HARDSIGN_TEST_NOT_SET"));
    }
}
