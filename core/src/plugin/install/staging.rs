//! Where a plugin is made ready, and how it takes its place.
//!
//! A directory of its own inside the plugin directory, so that a rename moves its contents; its
//! name is none that a plugin can have. Whoever works in one holds a lock in it, so what an
//! interrupted installation left is known and cleared by the next one. On Linux and macOS two
//! directories are exchanged in one step; elsewhere, and on file systems that can't, the old one
//! is moved aside first, and moved back by whoever comes next if that is where it ended.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::error::InstallError;
use crate::config::{FileError, FileLock, create_private_directory, sync_directory};
use crate::plugin::{Interrupt, PluginName};

/// The plugin directory, as those see it who change it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `plugins`.
    pub(super) plugins: PathBuf,
    /// The file of pins, whose lock is that of the directory too.
    pub(super) pins: PathBuf,
}

/// A directory to work in; gone when dropped.
#[derive(Debug)]
pub(super) struct Staging {
    directory: TempDir,
    _lock: File,
}

impl Place {
    /// Waits for the lock that lets one process at a time change what is installed.
    pub(super) async fn lock(&self, interrupt: &Interrupt) -> Result<FileLock, InstallError> {
        let started = Instant::now();
        loop {
            match FileLock::acquire(&self.pins, Duration::ZERO) {
                Err(FileError::Locked { .. }) if started.elapsed() < PATIENCE => {}
                result => return Ok(result?),
            }
            if interrupt.is_raised() {
                return Err(InstallError::Interrupted);
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
    }

    /// Makes a directory to work in. The lock is held by the caller, so that nobody takes it for
    /// a leftover before its own lock is there.
    pub(super) fn stage(&self, _held: &FileLock) -> Result<Staging, InstallError> {
        self.make()?;
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&self.plugins)
            .map_err(InstallError::io(
                "make a directory in",
                self.plugins.as_path(),
            ))?;
        let path = directory.path().join(LOCK);
        let failed = || InstallError::io("lock", path.as_path());
        let lock = File::create_new(&path).map_err(failed())?;
        lock.lock().map_err(failed())?;
        make_directory(&directory.path().join(NEW))?;
        make_directory(&directory.path().join(OLD))?;
        Ok(Staging {
            directory,
            _lock: lock,
        })
    }

    /// The directory of the user's plugins (PLI-18), made if it is missing.
    fn make(&self) -> Result<(), InstallError> {
        if let Some(parent) = self.plugins.parent() {
            create_private_directory(parent)?;
        }
        match make_directory(&self.plugins) {
            Err(InstallError::Io { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                Ok(())
            }
            result => result,
        }
    }

    pub(super) fn directory_of(&self, name: &PluginName) -> PathBuf {
        self.plugins.join(name.as_str())
    }

    /// Puts the staged plugin in place; what was there is in the staging directory afterwards.
    pub(super) fn put(&self, staging: &Staging, name: &PluginName) -> Result<(), InstallError> {
        let (staged, target) = (staging.new_of(name), self.directory_of(name));
        let failed = || InstallError::io("put in place", target.as_path());
        if exists(&target) {
            match exchange(&staged, &target) {
                Ok(()) => {}
                Err(error) if is_unsupported(&error) => {
                    fs::rename(&target, staging.old_of(name)).map_err(failed())?;
                    if let Err(error) = fs::rename(&staged, &target) {
                        // Back, if that is possible; else the next one does it.
                        let _told_below = fs::rename(staging.old_of(name), &target);
                        return Err(failed()(error));
                    }
                }
                Err(error) => return Err(failed()(error)),
            }
        } else {
            fs::rename(&staged, &target).map_err(failed())?;
        }
        sync_directory(&self.plugins).map_err(failed())
    }

    /// Takes a plugin out of its place, as a whole.
    pub(super) fn take(&self, staging: &Staging, name: &PluginName) -> Result<(), InstallError> {
        let target = self.directory_of(name);
        let failed = || InstallError::io("remove", target.as_path());
        fs::rename(&target, staging.directory.path().join(GONE)).map_err(failed())?;
        sync_directory(&self.plugins).map_err(failed())
    }

    /// Undoes [`Self::take`], as far as it came.
    pub(super) fn put_back(&self, staging: &Staging, name: &PluginName) -> io::Result<()> {
        fs::rename(staging.directory.path().join(GONE), self.directory_of(name))?;
        sync_directory(&self.plugins)
    }

    /// What interrupted installations left: directories that nobody works in.
    pub(super) fn leftovers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.plugins).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .map(|entry| entry.path())
            .filter(|path| is_abandoned(path))
            .collect();
        found.sort();
        found
    }

    /// Clears leftovers; a plugin that was moved aside goes back where it was. One that can't be
    /// removed stays, and stops nobody.
    pub(super) fn clear(&self, _held: &FileLock) -> Result<(), InstallError> {
        for leftover in self.leftovers() {
            let aside = fs::read_dir(leftover.join(OLD)).into_iter().flatten();
            for entry in aside.flatten() {
                let Ok(name) = PluginName::new(&entry.file_name().to_string_lossy()) else {
                    continue;
                };
                let target = self.directory_of(&name);
                if !exists(&target) {
                    fs::rename(entry.path(), &target)
                        .map_err(InstallError::io("move back", target.as_path()))?;
                }
            }
            // What had its place taken doesn't go back later.
            let _settled = fs::rename(leftover.join(OLD), leftover.join(SETTLED));
            let _tried_again_by_the_next = fs::remove_dir_all(&leftover);
        }
        Ok(())
    }
}

impl Staging {
    /// Where a download goes.
    pub(super) fn download(&self) -> PathBuf {
        self.directory.path().join("download")
    }

    /// Where an archive is unpacked, its name not being known yet.
    pub(super) fn unpacked(&self) -> Result<PathBuf, InstallError> {
        let path = self.directory.path().join("unpacked");
        make_directory(&path)?;
        Ok(path)
    }

    /// Gives what was unpacked the name of the plugin; flushed, so that a crash can't leave half
    /// of it under that name.
    pub(super) fn name(&self, name: &PluginName) -> Result<PathBuf, InstallError> {
        let (from, to) = (self.directory.path().join("unpacked"), self.new_of(name));
        sync_directory(&from).map_err(InstallError::io("flush", from.as_path()))?;
        fs::rename(&from, &to).map_err(InstallError::io("rename", from.as_path()))?;
        Ok(to)
    }

    /// As if the process were gone: what is there stays.
    #[cfg(test)]
    pub(super) fn abandon(self) {
        let _kept = self.directory.keep();
    }

    pub(super) fn new_of(&self, name: &PluginName) -> PathBuf {
        self.directory.path().join(NEW).join(name.as_str())
    }

    pub(super) fn old_of(&self, name: &PluginName) -> PathBuf {
        self.directory.path().join(OLD).join(name.as_str())
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether nobody holds the lock in a staging directory.
fn is_abandoned(directory: &Path) -> bool {
    match File::options().write(true).open(directory.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Exchanges two directories in one step.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the kernel or the file system has no exchange.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
    )
}

#[cfg(unix)]
fn make_directory(path: &Path) -> Result<(), InstallError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o755);
    builder
        .create(path)
        .map_err(InstallError::io("create", path))
}

#[cfg(not(unix))]
fn make_directory(path: &Path) -> Result<(), InstallError> {
    fs::create_dir(path).map_err(InstallError::io("create", path))
}

/// How the names of staging directories begin: `~` stands in no plugin's name (PLG-04).
const PREFIX: &str = ".hardsign~";

/// In a staging directory: the lock, what is to be put in place, what was moved aside, what was
/// removed, and what was moved aside and is not to go back.
const LOCK: &str = "lock";
const NEW: &str = "new";
const OLD: &str = "old";
const GONE: &str = "gone";
const SETTLED: &str = "settled";

/// How long another installation is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often its lock is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);
