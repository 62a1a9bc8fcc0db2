//! The index as this process last read or wrote it, and who refers to whom in it.
//!
//! It is read again only when `index.json` is another file than before, so that a batch parses it
//! once; what this process writes itself is added to what it knows. The file is held open: its
//! inode number is no other file's until then, so that a replaced file is always told from it.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::graph::{Graph, MAX_MANIFESTS, too_much};
use super::index::{Change, Effect, Index, MAX_INDEX};
use super::{LayoutError, files};
use crate::algorithm::HashAlgorithm;
use crate::crypto::Hasher;

/// What the entry of a signature takes in the index, in bytes, with a chain of three certificates.
const ENTRY: u64 = 512;

/// What is known of a layout's index.
#[derive(Debug)]
pub(super) struct Current {
    root: PathBuf,
    state: Mutex<State>,
    size: AtomicUsize,
    /// Of the index file, when it was last read or written.
    bytes: AtomicU64,
    /// Entries written so far, in all rewrites.
    #[cfg(test)]
    pub(super) written: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    /// A file that has all that is known is about to take the place of the one that was read.
    replacing: bool,
}

/// The index, and who refers to whom as far as anybody asked.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) index: Index,
    graph: Option<Graph>,
    file: Seen,
}

/// A file that was read or written.
#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    hash: Vec<u8>,
    _open: File,
}

/// Tells whether `index.json` is still the same file.
type Stamp = (u64, u64, u64, Option<SystemTime>);

/// A file that is to take the place of the index.
#[derive(Debug)]
pub(super) struct Replacement {
    new: tempfile::NamedTempFile,
    hash: Vec<u8>,
}

impl Known {
    /// Who refers to whom; what was added to the index since the last time is read now.
    pub(super) fn graph(&mut self, root: &Path) -> Result<&Graph, LayoutError> {
        let mut graph = self.graph.take().unwrap_or_default();
        graph.extend(root, &self.index)?;
        Ok(self.graph.insert(graph))
    }

    /// The same as far as it was read before.
    pub(super) fn read_graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    fn parse(root: &Path, bytes: &[u8], file: Seen) -> Result<Self, LayoutError> {
        Ok(Self {
            index: Index::parse(root, bytes)?,
            graph: None,
            file,
        })
    }
}

impl Current {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            state: Mutex::default(),
            size: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            #[cfg(test)]
            written: AtomicUsize::new(0),
        }
    }

    /// Looks at the index as it stands now.
    pub(super) fn look<T, E: From<LayoutError>>(
        &self,
        look: impl FnOnce(&mut Known) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = guard(&self.state);
        let replacing = state.replacing;
        let same = |known: &Known| replacing || stamp_of(&self.root) == Some(known.file.stamp);
        let known = match state.known.take() {
            Some(known) if same(&known) => known,
            _ => {
                let (bytes, file) = read(&self.root)?;
                let known = Known::parse(&self.root, &bytes, file)?;
                self.note_size(&known.index);
                known
            }
        };
        look(state.known.insert(known))
    }

    /// Entries of the index when it was last read or written, or none.
    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Whether an index with so many more signatures could be read again, by its size when it was last read or written.
    pub(super) fn check_room(&self, more: usize) -> Result<(), LayoutError> {
        let entries = ENTRY.saturating_mul(u64::try_from(more).unwrap_or(u64::MAX));
        if self.bytes.load(Ordering::Relaxed).saturating_add(entries) > MAX_INDEX {
            return Err(LayoutError::TooLarge {
                path: Index::path(&self.root),
                limit: MAX_INDEX,
            });
        }
        match self.size().saturating_add(more) > MAX_MANIFESTS {
            true => Err(too_much(&self.root)),
            false => Ok(()),
        }
    }

    fn note_size(&self, index: &Index) {
        self.size.store(index.live(), Ordering::Relaxed);
        self.bytes.store(index.written_size(), Ordering::Relaxed);
    }

    /// Makes the changes in what is known, on top of what another process may have written, and
    /// writes the file that is to replace the index; `None` where nothing changed. The caller has
    /// the layout's lock, and calls [`Self::replace`] or [`Self::forget`] next.
    pub(super) fn change(&self, changes: &[Change]) -> Result<Option<Replacement>, LayoutError> {
        // As a rule it is what is known, and is not held in memory to see that.
        let file = look_through(&self.root)?;
        let mut state = guard(&self.state);
        let mut known = match state.known.take() {
            Some(known) if known.file.hash == file.hash => Known { file, ..known },
            _ => {
                let (bytes, file) = read(&self.root)?;
                Known::parse(&self.root, &bytes, file)?
            }
        };
        let path = Index::path(&self.root);
        let mut changed = false;
        for change in changes {
            match known.index.apply(change) {
                Ok(Effect::Nothing) => continue,
                Ok(Effect::Added) => {}
                Ok(Effect::Rewritten) => known.graph = None,
                Err(source) => return Err(LayoutError::Json { path, source }),
            }
            changed = true;
        }
        if known.index.written_size() > MAX_INDEX && changed {
            // What could not be read again is not written.
            return Err(LayoutError::TooLarge {
                path,
                limit: MAX_INDEX,
            });
        }
        let replacement = match changed {
            true => Some(Replacement::of(&self.root, &known.index)?),
            false => None,
        };
        self.note_size(&known.index);
        state.known = Some(known);
        state.replacing = changed;
        Ok(replacement)
    }

    /// Puts the file in place of the index, for good.
    pub(super) fn replace(&self, replacement: Replacement) -> Result<(), LayoutError> {
        let path = Index::path(&self.root);
        let fail = |source| LayoutError::io("write", &path, source);
        let Replacement { new, hash } = replacement;
        let written = new.as_file().sync_data();
        let metadata = written.and_then(|()| new.as_file().metadata());
        let stamp = metadata.map(|metadata| stamp(&metadata)).map_err(fail)?;
        let open = new.persist(&path).map_err(|error| fail(error.error))?;
        let mut state = guard(&self.state);
        state.replacing = false;
        #[cfg(test)]
        self.written.fetch_add(self.size(), Ordering::Relaxed);
        if let Some(known) = &mut state.known {
            known.file = Seen {
                stamp,
                hash,
                _open: open,
            };
        }
        drop(state);
        files::sync_directory(&self.root)
    }

    /// What is known may be wrong: the next look reads the file.
    pub(super) fn forget(&self) {
        *guard(&self.state) = State::default();
    }
}

impl Replacement {
    fn of(root: &Path, index: &Index) -> Result<Self, LayoutError> {
        let mut hashed = Hashed {
            new: files::new_file(root)?,
            hasher: hasher(),
        };
        let mut out = BufWriter::with_capacity(BUFFER, &mut hashed);
        index
            .write(&mut out)
            .and_then(|()| out.flush())
            .map_err(|source| LayoutError::io("write", &Index::path(root), source))?;
        drop(out);
        Ok(Self {
            new: hashed.new,
            hash: hashed.hasher.finish(),
        })
    }
}

/// A file that is hashed while it is written.
struct Hashed {
    new: tempfile::NamedTempFile,
    hasher: Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.new.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.new.flush()
    }
}

fn read(root: &Path) -> Result<(Vec<u8>, Seen), LayoutError> {
    let (open, metadata) = open(root)?;
    let bytes = files::read_open(&open, metadata.len(), &Index::path(root), MAX_INDEX)?;
    let mut hasher = hasher();
    hasher.update(&bytes);
    Ok((bytes, seen(open, &metadata, hasher)))
}

/// The same, of which nothing but the hash is kept.
fn look_through(root: &Path) -> Result<Seen, LayoutError> {
    let (open, metadata) = open(root)?;
    let path = Index::path(root);
    let mut hasher = hasher();
    let mut buffer = vec![0; BUFFER];
    let mut left = (&open).take(MAX_INDEX.saturating_add(1));
    loop {
        let count = match left.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(LayoutError::io("read", &path, source)),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    if left.limit() == 0 {
        return Err(LayoutError::TooLarge {
            path,
            limit: MAX_INDEX,
        });
    }
    Ok(seen(open, &metadata, hasher))
}

/// Opens the index. The stamp is taken before it is read: a change in between is seen next time.
fn open(root: &Path) -> Result<(File, std::fs::Metadata), LayoutError> {
    let path = Index::path(root);
    let absent = || LayoutError::NotALayout {
        path: root.to_owned(),
        missing: "index.json",
    };
    let (open, _) = files::open(&path)?.ok_or_else(absent)?;
    let metadata = open.metadata();
    let metadata = metadata.map_err(|source| LayoutError::io("read", &path, source))?;
    Ok((open, metadata))
}

fn seen(open: File, metadata: &std::fs::Metadata, hasher: Hasher) -> Seen {
    Seen {
        stamp: stamp(metadata),
        hash: hasher.finish(),
        _open: open,
    }
}

fn hasher() -> Hasher {
    Hasher::new(HashAlgorithm::Sha256)
}

fn stamp_of(root: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(Index::path(root)).ok()?;
    Some(stamp(&metadata))
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    let (device, inode) = place(metadata);
    (device, inode, metadata.len(), metadata.modified().ok())
}

#[cfg(unix)]
fn place(metadata: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn place(_: &std::fs::Metadata) -> (u64, u64) {
    (0, 0)
}

/// A mutex is only ever held over code that leaves its content whole.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes written at once.
const BUFFER: usize = 64 * 1024;
