//! Who refers to whom in a layout: every manifest reachable from `index.json`, read once, and the
//! referrers of each (OCI-38).
//!
//! Content that is missing is no fault: a layout may hold one platform of many. Content that is
//! there and wrong is left out with a warning, so that one bad referrer never hides a good one
//! (VER-28). The walk is bounded in manifests and bytes; since content is named by its hash,
//! nothing is visited twice.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::index::Index;
use super::{LayoutError, files};
use crate::artifact::{Descriptor, Digest};
use crate::envelope::Format;
use crate::oci::manifest::{self, MAX_MANIFEST, Manifest, SignatureForm};
use crate::oci::{OciError, Warning, envelope_of};
use crate::text::WithCauses;

/// Most manifests that are read in one layout.
pub(super) const MAX_MANIFESTS: usize = 100_000;
/// Most bytes of manifests that are read in one layout.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// Manifests that are read together.
const TOGETHER: usize = 1024;
/// Manifests for which another thread is worth its while.
const SHARE: usize = 64;
/// Threads that read manifests at a time.
const MOST: usize = 8;

/// What is reachable from a layout's index.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Elements of the index that were looked at.
    looked_at: usize,
    seen: HashSet<Digest>,
    bytes: u64,
    referrers: HashMap<Digest, Vec<Arc<Referrer>>>,
    known: HashMap<Digest, Known>,
    unreadable: Vec<Warning>,
}

/// A manifest that was read.
#[derive(Debug)]
enum Known {
    Referrer(Arc<Referrer>),
    Other(Descriptor),
}

/// A manifest with a subject.
#[derive(Debug)]
pub(super) struct Referrer {
    /// The referrer, with the annotations of its manifest.
    pub(super) descriptor: Descriptor,
    /// Its artifact type as a listing shows it.
    pub(super) artifact_type: Option<String>,
    /// Whether it is a signature.
    pub(super) form: SignatureForm,
    /// Format and descriptor of the envelope, of a signature without fault.
    pub(super) envelope: Option<(Format, Descriptor)>,
    pub(super) subject: Descriptor,
}

/// A layout that can't be read as a whole.
pub(super) fn too_much(root: &Path) -> LayoutError {
    LayoutError::TooMuch {
        path: root.to_owned(),
        manifests: MAX_MANIFESTS,
        bytes: MAX_BYTES,
    }
}

impl Graph {
    /// Reads what the index leads to, beyond what was read before. Of an index in which elements
    /// were removed or changed another graph must be made.
    ///
    /// # Errors
    /// [`LayoutError::TooMuch`]; the graph is of no use then.
    pub(super) fn extend(&mut self, root: &Path, index: &Index) -> Result<(), LayoutError> {
        let mut queue = VecDeque::new();
        for number in self.looked_at..index.elements() {
            match index.entry(number) {
                Some(Ok(entry)) => queue.push_back(entry.descriptor),
                Some(Err(error)) => self.unreadable.push(Warning::Unreadable {
                    referrer: "in index.json".to_owned(),
                    reason: WithCauses(&error).to_string(),
                }),
                None => {}
            }
        }
        self.looked_at = index.elements();
        self.walk(root, queue)
    }

    fn walk(&mut self, root: &Path, mut queue: VecDeque<Descriptor>) -> Result<(), LayoutError> {
        while !queue.is_empty() {
            let mut wanted = Vec::new();
            while let Some(mut descriptor) = queue.pop_front() {
                if !manifest::is_manifest(&descriptor.media_type)
                    || !self.seen.insert(descriptor.digest.clone())
                {
                    continue;
                }
                descriptor.annotations.clear();
                self.bytes = self.bytes.saturating_add(descriptor.size.min(MAX_MANIFEST));
                if self.seen.len() > MAX_MANIFESTS || self.bytes > MAX_BYTES {
                    return Err(too_much(root));
                }
                wanted.push(descriptor);
                if wanted.len() == TOGETHER {
                    break;
                }
            }
            for (descriptor, read) in read_manifests(root, wanted) {
                match read {
                    Ok(manifest) => {
                        queue.extend(manifest.manifests.iter().map(|e| e.descriptor.clone()));
                        queue.extend(manifest.subject.iter().map(|e| e.descriptor.clone()));
                        self.add(descriptor, manifest);
                    }
                    Err(OciError::Layout(LayoutError::AbsentBlob { .. })) => {}
                    Err(error) => self.unreadable.push(Warning::Unreadable {
                        referrer: descriptor.digest.to_string(),
                        reason: WithCauses(&error).to_string(),
                    }),
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, descriptor: Descriptor, manifest: Manifest) {
        let digest = descriptor.digest.clone();
        let form = manifest.signature_form();
        let artifact_type = manifest.listed_artifact_type().map(str::to_owned);
        let envelope = envelope_of(&descriptor, &manifest).ok();
        let Some(subject) = manifest.subject else {
            self.known.insert(digest, Known::Other(descriptor));
            return;
        };
        let referrer = Arc::new(Referrer {
            descriptor: Descriptor {
                annotations: manifest.annotations,
                ..descriptor
            },
            artifact_type,
            form,
            envelope,
            subject: subject.descriptor,
        });
        self.referrers
            .entry(referrer.subject.digest.clone())
            .or_default()
            .push(Arc::clone(&referrer));
        self.known.insert(digest, Known::Referrer(referrer));
    }

    /// The manifests whose subject is exactly `subject`, in the order of the index.
    pub(super) fn referrers(&self, subject: &Descriptor) -> impl Iterator<Item = &Referrer> {
        self.referrers
            .get(&subject.digest)
            .into_iter()
            .flatten()
            .map(Arc::as_ref)
            .filter(|r| r.subject.same_content(subject))
    }

    /// What could not be read and may have been a referrer.
    pub(super) fn unreadable(&self) -> &[Warning] {
        &self.unreadable
    }

    /// The manifest with a digest, as what leads to it describes it.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<Descriptor> {
        Some(match self.known.get(digest)? {
            Known::Other(descriptor) => descriptor.clone(),
            Known::Referrer(referrer) => plain(&referrer.descriptor),
        })
    }

    /// The manifest with exactly this descriptor, if it has a subject.
    pub(super) fn referrer(&self, descriptor: &Descriptor) -> Option<&Arc<Referrer>> {
        match self.known.get(&descriptor.digest)? {
            Known::Referrer(referrer) if referrer.descriptor.same_content(descriptor) => {
                Some(referrer)
            }
            _ => None,
        }
    }
}

/// A descriptor without annotations.
pub(super) fn plain(descriptor: &Descriptor) -> Descriptor {
    Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        annotations: BTreeMap::new(),
    }
}

type Read = (Descriptor, Result<Manifest, OciError>);

/// Reads manifests, in their order, on several threads where there are many.
fn read_manifests(root: &Path, wanted: Vec<Descriptor>) -> Vec<Read> {
    let read = |wanted: Vec<Descriptor>| -> Vec<Read> {
        let read_one = |descriptor: Descriptor| {
            let read = read_manifest(root, &descriptor);
            (descriptor, read)
        };
        wanted.into_iter().map(read_one).collect()
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = wanted.len().div_ceil(threads.min(MOST)).max(SHARE);
    let mut own = wanted;
    let mut shares = Vec::new();
    while own.len() > share {
        shares.push(own.split_off(own.len() - share));
    }
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .into_iter()
            .rev()
            .map(|share| scope.spawn(|| read(share)))
            .collect();
        let mut manifests = read(own);
        for other in others {
            match other.join() {
                Ok(more) => manifests.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        manifests
    })
}

/// Reads a manifest and compares it with its descriptor.
pub(super) fn manifest_bytes(root: &Path, descriptor: &Descriptor) -> Result<Vec<u8>, OciError> {
    if descriptor.size > MAX_MANIFEST {
        return Err(OciError::ManifestTooLarge {
            digest: descriptor.digest.clone(),
            size: descriptor.size,
        });
    }
    files::read_blob(root, descriptor)
}

/// Reads, compares and parses a manifest.
pub(super) fn read_manifest(root: &Path, descriptor: &Descriptor) -> Result<Manifest, OciError> {
    let content = manifest_bytes(root, descriptor)?;
    Manifest::parse(&descriptor.media_type, &content).map_err(|source| OciError::Manifest {
        digest: descriptor.digest.clone(),
        source,
    })
}
