//! Reading and writing the files of a layout.
//!
//! Read files may stand behind symbolic links (build systems make such layouts), but must be
//! regular files: no device or pipe is ever read. What is written never goes through a link: a
//! new file is made beside its place and renamed into it (OCI-37), its content flushed first, so
//! that neither a crash nor a power cut leaves half a file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::LayoutError;
use crate::algorithm::HashAlgorithm;
use crate::artifact::{Descriptor, Digest};
use crate::oci::{OciError, check_content};

/// Name of the directory in which new files are made.
const INGEST: &str = "ingest";
/// Files flushed at a time.
const FLUSHING: usize = 8;
/// So many files are flushed one after the other.
const FEW: usize = 32;

/// Reads a regular file of at most `limit` bytes; `None` where there is no such file.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, LayoutError> {
    match open(path)? {
        Some((file, size)) => read_open(&file, size, path, limit).map(Some),
        None => Ok(None),
    }
}

/// Reads an open file of at most `limit` bytes, which had `size` when it was opened.
pub(super) fn read_open(
    file: &File,
    size: u64,
    path: &Path,
    limit: u64,
) -> Result<Vec<u8>, LayoutError> {
    let too_large = || LayoutError::TooLarge {
        path: path.to_owned(),
        limit,
    };
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| LayoutError::io("read", path, source))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Opens a regular file for reading, without ever waiting for it, and tells its size.
pub(super) fn open(path: &Path) -> Result<Option<(File, u64)>, LayoutError> {
    let fail = |source| LayoutError::io("open", path, source);
    let file = match open_at_once(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(LayoutError::NotAFile {
            path: path.to_owned(),
        });
    }
    Ok(Some((file, metadata.len())))
}

#[cfg(unix)]
fn open_at_once(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open_at_once(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Where the content with a digest is. A digest is an algorithm of a closed list and lower-case
/// hex, so that the path cannot leave the layout.
pub(super) fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs")
        .join(digest.algorithm().oci_name())
        .join(digest.hex())
}

/// Reads content and compares it with its descriptor (OCI-14).
///
/// # Errors
/// [`LayoutError::AbsentBlob`] where the layout does not hold it. The caller has bounded the size.
pub(super) fn read_blob(root: &Path, descriptor: &Descriptor) -> Result<Vec<u8>, OciError> {
    let path = blob_path(root, &descriptor.digest);
    let (file, size) = open(&path)?.ok_or_else(|| absent(root, &descriptor.digest))?;
    if size != descriptor.size {
        return Err(OciError::SizeMismatch {
            digest: descriptor.digest.clone(),
            expected: descriptor.size,
            found: size,
        });
    }
    let content = read_open(&file, size, &path, descriptor.size)?;
    check_content(descriptor, &content)?;
    Ok(content)
}

/// The error of content that a layout does not hold.
pub(super) fn absent(root: &Path, digest: &Digest) -> LayoutError {
    LayoutError::AbsentBlob {
        path: root.to_owned(),
        digest: digest.clone(),
    }
}

/// Stores content under its digest, flushed; content that is there already, and right, is left
/// alone.
pub(super) fn write_blob(
    root: &Path,
    descriptor: &Descriptor,
    content: &[u8],
) -> Result<(), LayoutError> {
    // A file that was damaged is replaced, as is a link that leads nowhere.
    if read_blob(root, descriptor).is_ok() {
        return Ok(());
    }
    blob_directory(root, &descriptor.digest)?;
    replace(root, &blob_path(root, &descriptor.digest), content)
}

/// Stores content that no other tool can have a use for, as it is that of one new signature. It is
/// not flushed: [`flush`] has to be called with the path that is returned before anything names it.
/// What a power cut leaves in its place is found damaged, and replaced, by whoever writes it next.
pub(super) fn write_new_blob(
    root: &Path,
    descriptor: &Descriptor,
    content: &[u8],
) -> Result<PathBuf, LayoutError> {
    let path = blob_path(root, &descriptor.digest);
    if read_blob(root, descriptor).is_ok() {
        return Ok(path);
    }
    blob_directory(root, &descriptor.digest)?;
    put(root, &path, content, cfg!(not(unix)))?;
    Ok(path)
}

/// Flushes files, several at a time where there are many: file systems flush those together.
pub(super) fn flush(paths: &[PathBuf]) -> Result<(), LayoutError> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let share = paths.len().div_ceil(FLUSHING).max(FEW);
    std::thread::scope(|scope| {
        let mut shares = paths.chunks(share);
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> = shares
            .map(|paths| scope.spawn(|| flush_each(paths)))
            .collect();
        let mut result = flush_each(own);
        for other in others {
            let panicked = || {
                Err(LayoutError::Interrupted {
                    path: PathBuf::new(),
                })
            };
            result = result.and(other.join().unwrap_or_else(|_| panicked()));
        }
        result
    })
}

fn flush_each(paths: &[PathBuf]) -> Result<(), LayoutError> {
    for path in paths {
        File::open(path)
            .and_then(|file| file.sync_data())
            .map_err(|source| LayoutError::io("flush", path, source))?;
    }
    Ok(())
}

/// A new file that becomes the content with that digest, and the path that it gets.
pub(super) fn new_blob(
    root: &Path,
    digest: &Digest,
) -> Result<(tempfile::NamedTempFile, PathBuf), LayoutError> {
    blob_directory(root, digest)?;
    Ok((new_file(root)?, blob_path(root, digest)))
}

fn blob_directory(root: &Path, digest: &Digest) -> Result<(), LayoutError> {
    let blobs = root.join("blobs");
    real_directory(&blobs)?;
    real_directory(&blobs.join(digest.algorithm().oci_name()))
}

/// Removes content that nothing refers to any more.
pub(super) fn remove_blob(root: &Path, digest: &Digest) -> Result<(), LayoutError> {
    let path = blob_path(root, digest);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LayoutError::io("remove", &path, error))
        }
        _ => Ok(()),
    }
}

/// Puts a file with that content in place of `path`, at once or not at all.
pub(super) fn replace(root: &Path, path: &Path, content: &[u8]) -> Result<(), LayoutError> {
    put(root, path, content, true)
}

fn put(root: &Path, path: &Path, content: &[u8], flush: bool) -> Result<(), LayoutError> {
    let mut new = new_file(root)?;
    let flushed = |new: &tempfile::NamedTempFile| match flush {
        true => new.as_file().sync_data(),
        false => Ok(()),
    };
    new.write_all(content)
        .and_then(|()| flushed(&new))
        .map_err(|source| LayoutError::io("write", path, source))?;
    new.persist(path)
        .map_err(|error| LayoutError::io("write", path, error.error))?;
    Ok(())
}

/// A new file in the layout's `ingest` directory, readable as the user's umask has it.
pub(super) fn new_file(root: &Path) -> Result<tempfile::NamedTempFile, LayoutError> {
    let ingest = root.join(INGEST);
    real_directory(&ingest)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
        .prefix("new-")
        .tempfile_in(&ingest)
        .map_err(|source| LayoutError::io("create a file in", &ingest, source))
}

/// Makes the names of files just renamed into a directory last, where directories can be flushed.
pub(super) fn sync_directory(path: &Path) -> Result<(), LayoutError> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| LayoutError::io("flush", path, source))
}

/// Makes the names of all content last.
pub(super) fn sync_blobs(root: &Path) -> Result<(), LayoutError> {
    for algorithm in HashAlgorithm::ALL {
        let directory = root.join("blobs").join(algorithm.oci_name());
        if directory.is_dir() {
            sync_directory(&directory)?;
        }
    }
    Ok(())
}

/// Makes sure that `path` is a directory and no link to one: nothing is written elsewhere.
fn real_directory(path: &Path) -> Result<(), LayoutError> {
    match fs::symlink_metadata(path) {
        // As a rule it is there: looking takes no lock, as making does even where it fails.
        Ok(metadata) => return no_link(path, &metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(LayoutError::io("look at", path, source)),
    }
    match fs::create_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path);
            no_link(
                path,
                &metadata.map_err(|source| LayoutError::io("look at", path, source))?,
            )
        }
        Err(source) => Err(LayoutError::io("create", path, source)),
    }
}

fn no_link(path: &Path, metadata: &fs::Metadata) -> Result<(), LayoutError> {
    if metadata.is_dir() {
        Ok(())
    } else {
        Err(LayoutError::Link {
            path: path.to_owned(),
        })
    }
}
