//! One writer at a time among the processes of a user on one machine: reading an index and writing it anew
//! are done under an advisory lock on a file of the user's.
//!
//! Several indexes share a file, so that there are never more than 256, which are empty and stay. Where there
//! is no place for them, or a lock is not to be had in time, the index is written without: writers on other
//! machines have no such lock either, and all look again whether what they wrote is still there.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::artifact::Digest;
use crate::budget::{self, Party};
use crate::crypto;
use crate::net::jitter;
use crate::oci::registry::Registry;

/// The longest wait for others: about as many writers as that come one after the other.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried.
const INTERVAL: Duration = Duration::from_millis(10);

/// Held while an index is read and written; it ends with the process at the latest.
#[derive(Debug)]
pub(super) struct IndexLock {
    _file: File,
}

impl IndexLock {
    /// Waits for the lock; `None` if there is none to be had.
    pub(super) async fn acquire(registry: &Registry, subject: &Digest) -> Option<Self> {
        let directory = registry.options().locks.as_deref()?;
        let path = directory.join(name(registry, subject));
        let mut file = spawn_blocking(move || open(&path)).await.ok()?.ok()?;
        let start = Instant::now();
        let _waiting = budget::waiting(|| Party::Directory(directory.display().to_string()));
        loop {
            // A file system may be far away, and slow to answer.
            let tried = spawn_blocking(move || (file.try_lock(), file)).await.ok()?;
            file = match tried {
                (Ok(()), file) => return Some(Self { _file: file }),
                (Err(TryLockError::WouldBlock), file) if start.elapsed() < PATIENCE => file,
                _ => return None,
            };
            sleep(INTERVAL.saturating_add(jitter(INTERVAL))).await;
        }
    }
}

/// One of 256 names.
fn name(registry: &Registry, subject: &Digest) -> PathBuf {
    let index = format!("{}@{subject}", registry.repository_name());
    let hash = crypto::sha256(index.as_bytes());
    PathBuf::from(format!("{:02x}", hash.first().copied().unwrap_or_default()))
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        create_private(directory)?;
    }
    // Nothing is ever written to it.
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// For the user alone: whoever else could open the files could keep the user waiting.
fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
