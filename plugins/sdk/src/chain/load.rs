//! Certificate files on a disk, as plugins read them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{ChainError, MAX_FILE_LEN, parse_file};

/// A certificate file that a plugin can't use, with its path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is not there, or must not be read.
    #[error("certificate file {path:?} can't be read")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A directory, a pipe or a device: one of these might never end.
    #[error("certificate file {path:?} is not a regular file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Longer than [`MAX_FILE_LEN`].
    #[error("certificate file {path:?} is larger than {MAX_FILE_LEN} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// What is in it is no chain.
    #[error("certificate file {path:?} can't be used")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ChainError,
    },
}

/// Reads a certificate file as [`parse_file`] does, in DER and in its order: a
/// regular file of at most [`MAX_FILE_LEN`] bytes.
///
/// # Errors
/// It can't be read, or what is in it is no certificate; the message names the file.
pub fn load(path: &Path) -> Result<Vec<Vec<u8>>, LoadError> {
    let failed = |source| LoadError::Open {
        path: path.into(),
        source,
    };
    // Before opening, which waits on a pipe.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(LoadError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > MAX_FILE_LEN {
        return Err(LoadError::TooLarge { path: path.into() });
    }
    parse_file(&bytes).map_err(|source| LoadError::Content {
        path: path.into(),
        source,
    })
}
