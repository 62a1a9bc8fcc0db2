//! Changing and showing trust stores: adding, listing and deleting certificate files below
//! `truststore/x509/<type>/<name>`.
//!
//! Nothing here decides about trust; reading stores for a verification is [`crate::trust`] itself.

// Requirements: CLI-69 to CLI-78.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{StoreName, StoreRef, StoreType};
use crate::config::{FileError, create_private_directory, read_named, read_regular, write_atomic};
use crate::dirs::Dirs;
use crate::x509::{Certificate, FileError as CertificateFileError};

/// One certificate file in a store.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct StoredFile {
    /// The type of its store.
    pub store_type: StoreType,
    /// The name of its store.
    pub store: String,
    /// The file's name.
    pub file: String,
}

/// What came of a deletion besides the deletion itself.
// CLI-77
#[derive(Debug)]
pub enum Emptied {
    /// Other files are left in the store.
    No,
    /// The store had nothing else and was removed.
    Removed,
    /// The store could not be looked at.
    CheckFailed {
        /// The store's directory.
        store: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The store is empty and could not be removed.
    RemoveFailed {
        /// The store's directory.
        store: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

/// Why a store was not changed or shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A certificate file's argument that is a path.
    // CLI-78
    #[error("certificate file name {name:?} must be a plain file name, not a path")]
    NotAFileName {
        /// The name as given.
        name: String,
    },
    /// The store has a file of that name already.
    #[error("certificate already exists in the Trust Store")]
    Exists,
    /// The file holds no certificate.
    #[error("no valid certificate found in the file")]
    NoCertificate,
    /// The file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no certificate file.
    #[error(transparent)]
    Certificate(#[from] CertificateFileError),
    /// A file or directory can't be listed or removed.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done, for instance `stat`.
        action: &'static str,
        /// What was touched.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
}

impl EditError {
    /// Whether the file or store is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::File(error) => error.is_not_found(),
            Self::Io { error, .. } => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// The directory of a store.
pub fn directory(dirs: &Dirs, store: &StoreRef) -> PathBuf {
    type_directory(dirs, store.store_type).join(store.name.as_str())
}

/// Copies the certificate file at `path` into `store` under its own base name, mode 0600, and
/// returns its certificates.
///
/// # Errors
/// [`EditError`]; the store is as it was.
pub fn add(dirs: &Dirs, store: &StoreRef, path: &Path) -> Result<Vec<Certificate>, EditError> {
    // Errors name the whole path, as the reference's do.
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let bytes = read_named(&whole, MAX_FILE)?;
    let certificates = Certificate::parse_file(&bytes)?;
    if certificates.is_empty() {
        return Err(EditError::NoCertificate);
    }
    let name = path.file_name().ok_or_else(|| EditError::NotAFileName {
        name: path.display().to_string(),
    })?;
    put(dirs, store, name.as_ref(), &bytes)?;
    Ok(certificates)
}

/// Writes a certificate file into a store; one that is there with the same content is as good.
///
/// # Errors
/// There is another file of this name, or it can't be written.
pub fn put_new(dirs: &Dirs, store: &StoreRef, file: &str, bytes: &[u8]) -> Result<(), EditError> {
    let there = directory(dirs, store).join(file);
    if read_named(&there, MAX_FILE).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    put(dirs, store, file.as_ref(), bytes)
}

fn put(dirs: &Dirs, store: &StoreRef, file: &Path, bytes: &[u8]) -> Result<(), EditError> {
    let directory = directory(dirs, store);
    let target = directory.join(file);
    if fs::symlink_metadata(&target).is_ok() {
        return Err(EditError::Exists);
    }
    create_private_directory(&directory)?;
    write_atomic(&target, bytes, 0o600)?;
    Ok(())
}

/// The certificate files of all stores, or of those of one type, one name, or both, by type, name
/// and file. A store that does not exist has none.
///
/// # Errors
/// A directory can't be read, or a file is no certificate file.
pub fn list(
    dirs: &Dirs,
    store_type: Option<StoreType>,
    name: Option<&StoreName>,
) -> Result<Vec<StoredFile>, EditError> {
    let mut files = Vec::new();
    for of_type in StoreType::ALL {
        if store_type.is_some_and(|wanted| wanted != of_type) {
            continue;
        }
        let stores = match name {
            Some(name) => vec![name.as_str().to_owned()],
            None => entries(&type_directory(dirs, of_type), fs::FileType::is_dir)?,
        };
        for store in stores {
            let directory = type_directory(dirs, of_type).join(&store);
            for file in entries(&directory, fs::FileType::is_file)? {
                let bytes = read_regular(&directory.join(&file), MAX_FILE)?;
                if !Certificate::parse_file(&bytes)?.is_empty() {
                    files.push(StoredFile {
                        store_type: of_type,
                        store: store.clone(),
                        file,
                    });
                }
            }
        }
    }
    Ok(files)
}

/// The certificates of one file of a store.
///
/// # Errors
/// [`EditError`].
pub fn read(dirs: &Dirs, store: &StoreRef, file: &str) -> Result<Vec<Certificate>, EditError> {
    let bytes = read_regular(&file_in(dirs, store, file)?, MAX_FILE)?;
    let certificates = Certificate::parse_file(&bytes)?;
    if certificates.is_empty() {
        Err(EditError::NoCertificate)
    } else {
        Ok(certificates)
    }
}

/// Deletes one file of a store, and the store with its last file.
///
/// # Errors
/// [`EditError`]; nothing was deleted.
// CLI-75
pub fn delete(dirs: &Dirs, store: &StoreRef, file: &str) -> Result<Emptied, EditError> {
    let path = file_in(dirs, store, file)?;
    let removed = fs::symlink_metadata(&path)
        .map_err(|error| ("stat", error))
        .and_then(|_| fs::remove_file(&path).map_err(|error| ("remove", error)));
    removed.map_err(|(action, error)| EditError::Io {
        action,
        path,
        error,
    })?;
    let directory = directory(dirs, store);
    Ok(
        match fs::read_dir(&directory).map(|mut entries| entries.next().is_none()) {
            Err(error) => Emptied::CheckFailed {
                store: directory,
                error,
            },
            Ok(false) => Emptied::No,
            Ok(true) => match fs::remove_dir(&directory) {
                Ok(()) => Emptied::Removed,
                Err(error) => Emptied::RemoveFailed {
                    store: directory,
                    error,
                },
            },
        },
    )
}

/// Deletes a store with all that is in it, and returns its directory.
///
/// # Errors
/// [`EditError::Io`].
pub fn delete_store(dirs: &Dirs, store: &StoreRef) -> Result<PathBuf, EditError> {
    let directory = directory(dirs, store);
    let removed = fs::symlink_metadata(&directory)
        .map_err(|error| ("stat", error))
        .and_then(|_| fs::remove_dir_all(&directory).map_err(|error| ("remove", error)));
    match removed {
        Ok(()) => Ok(directory),
        Err((action, error)) => Err(EditError::Io {
            action,
            path: directory,
            error,
        }),
    }
}

fn type_directory(dirs: &Dirs, store_type: StoreType) -> PathBuf {
    dirs.trust_stores().join(store_type.name())
}

fn file_in(dirs: &Dirs, store: &StoreRef, file: &str) -> Result<PathBuf, EditError> {
    let plain = !matches!(file, "" | "." | "..") && !file.contains(['/', '\\', '\0']);
    if plain {
        Ok(directory(dirs, store).join(file))
    } else {
        Err(EditError::NotAFileName {
            name: file.to_owned(),
        })
    }
}

/// The names of a directory's entries of one kind, sorted; none where there is no directory.
fn entries(directory: &Path, kind: fn(&fs::FileType) -> bool) -> Result<Vec<String>, EditError> {
    let at = |error| EditError::Io {
        action: "open",
        path: directory.to_owned(),
        error,
    };
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(error)),
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(at)?;
        if kind(&entry.file_type().map_err(at)?) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Largest certificate file, in bytes.
const MAX_FILE: u64 = 4 << 20;
