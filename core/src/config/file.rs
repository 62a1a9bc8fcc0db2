//! Reading and writing the user's files: regular files only, bounded, replaced whole.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Why a file of the user's could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A directory, a symbolic link or something else stands where a file should.
    // CFG-11
    #[error("{:?} is not a regular file (symlinks are not supported)", .path.display().to_string())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The file is larger than anything that belongs there.
    #[error("{} is larger than {limit} bytes", .path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Another process holds the lock of the file.
    #[error("another process keeps {} locked", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} {}", .path.display())]
    Io {
        /// What was being done, for instance `open`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The answer of the operating system.
        #[source]
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Whether the operating system said that the file isn't there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the operating system said that the user may not.
    pub fn is_permission_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// The bytes of the regular file at `path`, at most `limit` of them.
///
/// A symbolic link is not followed and nothing but a regular file is opened for reading, so that
/// a pipe can't block and a device can't answer.
///
/// # Errors
/// See [`FileError`]; a missing file is [`FileError::is_not_found`].
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let (file, length) = open_with_length(path)?;
    // All in one piece where the file is as long as it was, and its end is seen at once.
    let length = usize::try_from(length.min(limit)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(length.saturating_add(1));
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(FileError::io("read", path))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(FileError::TooLarge {
            path: path.to_owned(),
            limit,
        })
    }
}

/// The bytes of the file that the user named for this run, at most `limit` of them.
///
/// As [`read_regular`], but symbolic links are followed: mounted secrets and the system's
/// certificates are links. What they lead to must be a regular file.
///
/// # Errors
/// See [`FileError`]; they name `path` as it was given.
pub fn read_named(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let real = fs::canonicalize(path).map_err(FileError::io("open", path))?;
    read_regular(&real, limit).map_err(|error| match error {
        FileError::Io { action, source, .. } => FileError::io(action, path)(source),
        FileError::NotRegular { .. } if real.is_dir() => {
            FileError::io("read", path)(io::ErrorKind::IsADirectory.into())
        }
        FileError::NotRegular { .. } => FileError::NotRegular {
            path: path.to_owned(),
        },
        FileError::TooLarge { limit, .. } => FileError::TooLarge {
            path: path.to_owned(),
            limit,
        },
        other => other,
    })
}

/// Opens the regular file at `path` for reading, without following a symbolic link.
///
/// # Errors
/// See [`FileError`].
pub fn open_regular(path: &Path) -> Result<File, FileError> {
    Ok(open_with_length(path)?.0)
}

/// [`open_regular`], and how many bytes the file has.
fn open_with_length(path: &Path) -> Result<(File, u64), FileError> {
    let not_regular = || FileError::NotRegular {
        path: path.to_owned(),
    };
    // Looked at before it is opened, so that opening can't disturb a device; and again after, since
    // it may have been exchanged in between.
    let before = fs::symlink_metadata(path).map_err(FileError::io("open", path))?;
    if !before.is_file() {
        return Err(not_regular());
    }
    let file = open_nofollow(path).map_err(FileError::io("open", path))?;
    let after = file.metadata().map_err(FileError::io("stat", path))?;
    if after.is_file() {
        Ok((file, after.len()))
    } else {
        Err(not_regular())
    }
}

#[cfg(unix)]
fn open_nofollow(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open_nofollow(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Puts `bytes` at `path` as a whole: a temporary file beside it is written, flushed to the disk
/// and renamed over it, so that a reader sees the old contents or the new and a crash loses
/// neither.
///
/// `mode` is the file's Unix mode, whatever the umask; directories that are missing are made with
/// mode 0700.
///
/// # Errors
/// If the operating system refuses; `path` is then untouched.
// CFG-16, SEC-18, CFG-31
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let directory = parent(path);
    create_private_directory(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(directory)
        .map_err(FileError::io("create a temporary file in", directory))?;
    set_mode(file.as_file(), mode).map_err(FileError::io("set the mode of", file.path()))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(FileError::io("write", file.path()))?;
    file.persist(path)
        .map_err(|error| FileError::io("replace", path)(error.error))?;
    sync_directory(directory).map_err(FileError::io("flush", directory))
}

/// Makes `path` and the directories above it that are missing, each with mode 0700.
///
/// # Errors
/// If the operating system refuses.
// CFG-31
pub fn create_private_directory(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(FileError::io("create", path))
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Flushes a directory, so that what was renamed in it outlives a power cut.
///
/// # Errors
/// What the operating system says.
#[cfg(unix)]
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The lock that lets one process at a time change the file at a path; released when dropped.
///
/// It is a file of its own (`<path>.lock`, mode 0600), since the file itself is replaced. Readers
/// need no lock: they see the old contents or the new.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits for the lock of the file at `path`, for at most `patience`.
    ///
    /// # Errors
    /// [`FileError::Locked`] when another process kept it, else what the operating system said.
    pub fn acquire(path: &Path, patience: Duration) -> Result<Self, FileError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        create_private_directory(parent(&path))?;
        let file = open_lock(&path).map_err(FileError::io("open", &path))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if waited < patience => {
                    thread::sleep(LOCK_INTERVAL);
                    waited = waited.saturating_add(LOCK_INTERVAL);
                }
                Err(TryLockError::WouldBlock) => return Err(FileError::Locked { path }),
                Err(TryLockError::Error(source)) => {
                    return Err(FileError::io("lock", &path)(source));
                }
            }
        }
    }
}

#[cfg(unix)]
fn open_lock(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into())
}

#[cfg(not(unix))]
fn open_lock(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

const LOCK_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// CFG-15, CFG-31: modes do not depend on the umask.
    #[cfg(unix)]
    #[test]
    fn cfg_31_modes() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/file");
        write_atomic(&path, b"one", 0o600).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&root.path().join("a")), 0o700);
        assert_eq!(mode(&root.path().join("a/b")), 0o700);
        write_atomic(&path, b"two", 0o644).unwrap();
        assert_eq!(mode(&path), 0o644);
        assert_eq!(read_regular(&path, 3).unwrap(), b"two");
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(root.path().join("a/b")).unwrap().count(), 1);
    }

    /// CFG-11: directories, links, pipes and devices are not read.
    #[cfg(unix)]
    #[test]
    fn cfg_11_regular_files_only() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        let link = root.path().join("link");
        let pipe = root.path().join("pipe");
        write_atomic(&file, b"x", 0o600).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for path in [&link, &pipe, root.path(), Path::new("/dev/zero")] {
            let error = read_regular(path, 10).unwrap_err();
            assert_eq!(
                error.told(),
                format!(
                    "\"{}\" is not a regular file (symlinks are not supported)",
                    path.display()
                )
            );
        }
        assert!(
            read_regular(&root.path().join("none"), 10)
                .unwrap_err()
                .is_not_found()
        );
    }

    #[test]
    fn reading_is_bounded() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        write_atomic(&path, &[0; 11], 0o600).unwrap();
        assert_eq!(read_regular(&path, 11).unwrap().len(), 11);
        assert!(matches!(
            read_regular(&path, 10),
            Err(FileError::TooLarge { limit: 10, .. })
        ));
    }

    #[test]
    fn a_lock_that_is_held_is_an_error_after_a_while() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let held = FileLock::acquire(&path, Duration::ZERO).unwrap();
        assert!(matches!(
            FileLock::acquire(&path, Duration::ZERO),
            Err(FileError::Locked { .. })
        ));
        drop(held);
        // A child that another test is starting may have it for a moment longer.
        FileLock::acquire(&path, Duration::from_secs(10)).unwrap();
    }
}
