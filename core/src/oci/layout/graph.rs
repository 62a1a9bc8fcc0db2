//! Who refers to whom in a layout: every manifest reachable from `index.json`, read once, and the
//! referrers of each (OCI-38).
//!
//! Content that is missing is no fault: a layout may hold one platform of many. Content that is
//! there and wrong is left out with a warning, so that one bad referrer never hides a good one
//! (VER-28). The walk is bounded in manifests and bytes; since content is named by its hash,
//! nothing is visited twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use super::index::Index;
use super::{LayoutError, files};
use crate::artifact::{Descriptor, Digest};
use crate::oci::manifest::{self, MAX_MANIFEST, Manifest, SignatureForm};
use crate::oci::{OciError, Warning};
use crate::text::WithCauses;

/// Most manifests that are read in one layout.
const MAX_MANIFESTS: usize = 100_000;
/// Most bytes of manifests that are read in one layout.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// What is reachable from a layout's index.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Elements of the index that were looked at.
    looked_at: usize,
    seen: HashSet<Digest>,
    bytes: u64,
    referrers: HashMap<Digest, Vec<Referrer>>,
    known: HashMap<Digest, Descriptor>,
    unreadable: Vec<Warning>,
}

/// A manifest with a subject.
#[derive(Clone, Debug)]
pub(super) struct Referrer {
    /// The referrer, with the annotations of its manifest.
    pub(super) descriptor: Descriptor,
    /// Its artifact type as a listing shows it.
    pub(super) artifact_type: Option<String>,
    /// Whether it is a signature.
    pub(super) form: SignatureForm,
    subject: Descriptor,
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
        while let Some(mut descriptor) = queue.pop_front() {
            if !manifest::is_manifest(&descriptor.media_type)
                || !self.seen.insert(descriptor.digest.clone())
            {
                continue;
            }
            descriptor.annotations.clear();
            self.bytes = self.bytes.saturating_add(descriptor.size.min(MAX_MANIFEST));
            if self.seen.len() > MAX_MANIFESTS || self.bytes > MAX_BYTES {
                return Err(LayoutError::TooMuch {
                    path: root.to_owned(),
                    manifests: MAX_MANIFESTS,
                    bytes: MAX_BYTES,
                });
            }
            match read_manifest(root, &descriptor) {
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
        Ok(())
    }

    fn add(&mut self, descriptor: Descriptor, manifest: Manifest) {
        self.known
            .insert(descriptor.digest.clone(), descriptor.clone());
        let form = manifest.signature_form();
        let artifact_type = manifest.listed_artifact_type().map(str::to_owned);
        let Some(subject) = manifest.subject else {
            return;
        };
        self.referrers
            .entry(subject.descriptor.digest.clone())
            .or_default()
            .push(Referrer {
                descriptor: Descriptor {
                    annotations: manifest.annotations,
                    ..descriptor
                },
                artifact_type,
                form,
                subject: subject.descriptor,
            });
    }

    /// The manifests whose subject is exactly `subject`, in the order of the index.
    pub(super) fn referrers(&self, subject: &Descriptor) -> impl Iterator<Item = &Referrer> {
        self.referrers
            .get(&subject.digest)
            .into_iter()
            .flatten()
            .filter(|r| r.subject.same_content(subject))
    }

    /// What could not be read and may have been a referrer.
    pub(super) fn unreadable(&self) -> &[Warning] {
        &self.unreadable
    }

    /// The manifest with a digest, as what leads to it describes it.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<&Descriptor> {
        self.known.get(digest)
    }
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
