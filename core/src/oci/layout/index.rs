//! `index.json`: read at once, rewritten at once, never by two writers at a time.
//!
//! **Group commit.** Each signature stored must be in the index before it is reported, and the
//! index must be rewritten whole. Writers therefore hand their entries to a queue; whoever gets
//! the commit lock first writes all that stand in the queue with one rewrite, and the others find
//! their entries written. A batch that signs with eight requests in flight rewrites the index
//! about once for eight signatures, and parses it only when another process changed it. What was
//! reported as signed survives a crash and a power cut: content and index are flushed before.
//!
//! **Lock.** An advisory `flock` on the layout directory itself: it leaves no file behind and
//! survives the index being renamed over. Tools that take no lock (the reference is one) can
//! still overwrite our entries if they write in the same instant.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::{LayoutError, files};
use crate::artifact::Digest;
use crate::oci::manifest::{self, Entry, ManifestError};

/// Largest `index.json`, in bytes: about seventy thousand signatures.
const MAX_INDEX: u64 = 32 * 1024 * 1024;
/// Annotation that holds a tag (OCI-36).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The parsed file. Members that are not understood are kept.
#[derive(Clone, Debug)]
pub(super) struct Index {
    members: Map<String, Value>,
}

/// The only writer of a layout's index in this process.
#[derive(Debug)]
pub(super) struct IndexWriter {
    root: PathBuf,
    lock_wait: Duration,
    queue: Mutex<Vec<Request>>,
    last: Mutex<Option<Written>>,
}

#[derive(Clone, Debug)]
struct Request {
    change: Change,
    done: Arc<AtomicBool>,
}

/// What to do to the index.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Add an entry, unless the digest already stands there; with a tag, the tag is moved to it.
    Add {
        /// The entry, without a tag annotation.
        entry: Entry,
        /// The tag.
        tag: Option<String>,
    },
    /// Remove every entry with that digest.
    Remove(Digest),
}

/// The index as this process last wrote it, so that it need not be parsed again.
#[derive(Debug)]
struct Written {
    bytes: Vec<u8>,
    index: Index,
    digests: HashSet<String>,
}

impl Index {
    /// Path of the file in a layout.
    pub(super) fn path(root: &Path) -> PathBuf {
        root.join("index.json")
    }

    /// Reads the file's bytes.
    pub(super) fn read(root: &Path) -> Result<Vec<u8>, LayoutError> {
        let path = Self::path(root);
        files::read(&path, MAX_INDEX)?.ok_or(LayoutError::NotALayout {
            path: root.to_owned(),
            missing: "index.json",
        })
    }

    /// Parses the file.
    pub(super) fn parse(root: &Path, bytes: &[u8]) -> Result<Self, LayoutError> {
        let fail = |source| LayoutError::Json {
            path: Self::path(root),
            source,
        };
        let mut members: Map<String, Value> = manifest::parse_json(bytes).map_err(fail)?;
        match members.get_mut("manifests") {
            Some(Value::Array(_)) => {}
            // Go writes an empty list as null.
            Some(list @ Value::Null) => *list = Value::Array(Vec::new()),
            None => {
                members.insert("manifests".to_owned(), Value::Array(Vec::new()));
            }
            Some(_) => {
                return Err(LayoutError::IndexShape {
                    path: Self::path(root),
                });
            }
        }
        Ok(Self { members })
    }

    /// The elements of `manifests` in order, each readable or not.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<Entry, ManifestError>> {
        self.list().iter().map(Entry::from_value)
    }

    fn list(&self) -> &[Value] {
        match self.members.get("manifests") {
            Some(Value::Array(list)) => list,
            _ => &[],
        }
    }

    fn list_mut(&mut self) -> Option<&mut Vec<Value>> {
        self.members.get_mut("manifests")?.as_array_mut()
    }

    fn digests(&self) -> HashSet<String> {
        self.list().iter().filter_map(digest_of).collect()
    }
}

impl Written {
    fn load(root: &Path, bytes: Vec<u8>) -> Result<Self, LayoutError> {
        let index = Index::parse(root, &bytes)?;
        let digests = index.digests();
        Ok(Self {
            bytes,
            index,
            digests,
        })
    }

    /// Makes the change; whether there was anything to do.
    fn apply(&mut self, change: &Change) -> Result<bool, ManifestError> {
        match change {
            Change::Add { entry, tag: None } => {
                if !self.digests.insert(entry.descriptor.digest.to_string()) {
                    return Ok(false);
                }
                let value = entry.to_value()?;
                if let Some(list) = self.index.list_mut() {
                    list.push(value);
                }
                Ok(true)
            }
            Change::Add {
                entry,
                tag: Some(tag),
            } => {
                self.digests.insert(entry.descriptor.digest.to_string());
                self.apply_tag(entry, tag)?;
                Ok(true)
            }
            Change::Remove(digest) => {
                let digest = digest.to_string();
                if !self.digests.remove(&digest) {
                    return Ok(false);
                }
                if let Some(list) = self.index.list_mut() {
                    list.retain(|e| digest_of(e).as_ref() != Some(&digest));
                }
                Ok(true)
            }
        }
    }

    fn apply_tag(&mut self, entry: &Entry, tag: &str) -> Result<(), ManifestError> {
        let digest = entry.descriptor.digest.to_string();
        let mut tagged = entry.clone();
        tagged
            .descriptor
            .annotations
            .insert(REF_NAME.to_owned(), tag.to_owned());
        let value = tagged.to_value()?;
        let Some(list) = self.index.list_mut() else {
            return Ok(());
        };
        for old in list.iter_mut() {
            if tag_of(old) == Some(tag) {
                // What the tag named before stays, without it.
                if let Some(annotations) = old.get_mut("annotations").and_then(Value::as_object_mut)
                {
                    annotations.remove(REF_NAME);
                }
            }
        }
        list.retain(|e| digest_of(e).as_ref() != Some(&digest) || tag_of(e).is_some());
        list.push(value);
        Ok(())
    }
}

impl IndexWriter {
    pub(super) fn new(root: PathBuf, lock_wait: Duration) -> Self {
        Self {
            root,
            lock_wait,
            queue: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// Makes the change, and returns once it is on the disk.
    pub(super) fn commit(&self, change: Change) -> Result<(), LayoutError> {
        let done = Arc::new(AtomicBool::new(false));
        guard(&self.queue).push(Request {
            change,
            done: Arc::clone(&done),
        });
        let mut last = guard(&self.last);
        if done.load(Ordering::Acquire) {
            return Ok(());
        }
        let requests = std::mem::take(&mut *guard(&self.queue));
        match self.write(&mut last, &requests) {
            Ok(()) => {
                for request in requests {
                    request.done.store(true, Ordering::Release);
                }
                Ok(())
            }
            Err(error) => {
                // The others try for themselves, and get an error of their own.
                *last = None;
                guard(&self.queue).extend(
                    requests
                        .into_iter()
                        .filter(|r| !Arc::ptr_eq(&r.done, &done)),
                );
                Err(error)
            }
        }
    }

    fn write(&self, last: &mut Option<Written>, requests: &[Request]) -> Result<(), LayoutError> {
        let path = Index::path(&self.root);
        let _lock = lock(&self.root, self.lock_wait)?;
        refuse_link(&path)?;
        let bytes = Index::read(&self.root)?;
        let mut state = match last.take() {
            Some(written) if written.bytes == bytes => written,
            _ => Written::load(&self.root, bytes)?,
        };
        let fail = |source| LayoutError::Json {
            path: path.clone(),
            source,
        };
        let mut changed = false;
        for request in requests {
            changed |= state.apply(&request.change).map_err(fail)?;
        }
        // The content that the entries point to has its names flushed before the index has.
        files::sync_blobs(&self.root)?;
        if changed {
            state.bytes = manifest::to_json(&state.index.members).map_err(fail)?;
            files::replace(&self.root, &path, &state.bytes)?;
            files::sync_directory(&self.root)?;
        }
        *last = Some(state);
        Ok(())
    }
}

/// Waits for the layout's lock; it is released when the file is dropped.
pub(super) fn lock(root: &Path, wait: Duration) -> Result<File, LayoutError> {
    let fail = |source| LayoutError::io("lock", root, source);
    let directory = File::open(root).map_err(fail)?;
    let start = Instant::now();
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) if start.elapsed() < wait => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(LayoutError::Locked {
                    path: root.to_owned(),
                    waited: wait,
                });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
    }
}

/// An index behind a link would be cut off from it by the first rewrite.
fn refuse_link(path: &Path) -> Result<(), LayoutError> {
    let metadata =
        fs::symlink_metadata(path).map_err(|source| LayoutError::io("look at", path, source))?;
    if metadata.is_symlink() {
        return Err(LayoutError::Link {
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn digest_of(entry: &Value) -> Option<String> {
    Some(entry.get("digest")?.as_str()?.to_owned())
}

fn tag_of(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REF_NAME)?.as_str()
}

/// A mutex is only ever held over code that leaves its content whole.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
