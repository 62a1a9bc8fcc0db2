//! Copying an artifact with everything that belongs to it: its content, what an index lists, and
//! all that is attached to any of it (signatures, SBOMs, scan results, and what is attached to
//! those), between registries and layouts.
//!
//! Nothing is changed on the way: digests stay, so that signatures stay valid. What the
//! destination holds is not sent again. Content is streamed and compared with its digest on the
//! way. A manifest is stored after all that it refers to, so that a copy broken off leaves no
//! artifact with parts missing, and can be taken up again.
//!
//! Signatures are copied, not verified: verify at the destination.

// Requirements: REQ-05, REQ-06.

use std::collections::HashSet;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::content::{Place, Stored, parsed_manifest};
use super::manifest::{Entry, Manifest};
use super::{OciError, Repository, Warning};
use crate::artifact::Descriptor;
use crate::artifact::reference::TagOrDigest;
use crate::text::WithCauses;

/// What to copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Whether what is attached goes along: signatures above all.
    pub referrers: bool,
    /// Most manifests in one copy.
    pub max_manifests: usize,
    /// Most referrers of one artifact.
    pub max_referrers: usize,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            referrers: true,
            max_manifests: 10_000,
            max_referrers: 10_000,
        }
    }
}

/// What was copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Copied {
    /// The artifact.
    pub artifact: Descriptor,
    /// Manifests sent.
    pub manifests: usize,
    /// Pieces of content sent.
    pub blobs: usize,
    /// Bytes of content sent.
    pub bytes: u64,
    /// Manifests and pieces of content that the destination held already.
    pub present: usize,
    /// Attached artifacts at the destination, sent or present, signatures among them.
    pub referrers: Vec<Entry>,
    /// What was left out, and why.
    pub warnings: Vec<Warning>,
}

/// Copies the artifact that `target` names; `tag` is its tag at the destination.
///
/// # Errors
/// Whatever keeps the artifact itself from being whole at the destination. An attached artifact
/// that cannot be read is left out with a warning.
pub async fn copy(
    source: &dyn Repository,
    target: &TagOrDigest,
    destination: &dyn Repository,
    tag: Option<&str>,
    options: &CopyOptions,
) -> Result<Copied, OciError> {
    let artifact = source.resolve(target).await?;
    let mut copier = Copier {
        source,
        destination,
        options,
        seen: HashSet::new(),
        waiting: FuturesUnordered::new(),
        done: Copied {
            artifact: artifact.clone(),
            manifests: 0,
            blobs: 0,
            bytes: 0,
            present: 0,
            referrers: Vec::new(),
            warnings: Vec::new(),
        },
    };
    let copied = copier.artifact(&artifact, tag).await;
    // What was stored is listed, whatever became of the rest.
    let listed = copier.listed().await;
    copied?;
    listed?;
    Ok(copier.done)
}

/// Gives an artifact that is at the destination a tag: for those who copied it without one, to do
/// something about it before anybody finds it by its tag.
///
/// # Errors
/// [`OciError`].
pub async fn tag(
    artifact: &Descriptor,
    destination: &dyn Repository,
    name: &str,
) -> Result<Vec<Warning>, OciError> {
    let bytes = destination.fetch_manifest(artifact).await?;
    let place = Place::Artifact(Some(name));
    destination.place_manifest(artifact, bytes, place).await
}

struct Copier<'a> {
    source: &'a dyn Repository,
    destination: &'a dyn Repository,
    options: &'a CopyOptions,
    seen: HashSet<crate::artifact::Digest>,
    /// Manifests that wait to be listed together.
    waiting: FuturesUnordered<BoxFuture<'static, Result<(), OciError>>>,
    done: Copied,
}

/// What is left to do; the last comes first.
enum Step {
    /// Copy what a manifest refers to, then the manifest.
    Visit(Descriptor),
    /// Store a manifest whose parts are there.
    Store(Descriptor, Box<Manifest>, Vec<u8>),
}

impl Copier<'_> {
    async fn artifact(&mut self, root: &Descriptor, tag: Option<&str>) -> Result<(), OciError> {
        let mut copied = self.tree(root, Place::Artifact(tag)).await?;
        if !self.options.referrers {
            return Ok(());
        }
        let _many = self.destination.announce_many();
        // Attached to any manifest copied so far, attached ones included. Content is named by its
        // hash and visited once, so that this ends even where a registry lists in circles.
        while let Some(subject) = copied.pop() {
            let listed = self
                .source
                .list_referrers(&subject, None, self.options.max_referrers)
                .await?;
            if listed.truncated {
                return Err(OciError::TooManyReferrers {
                    digest: subject.digest,
                    limit: self.options.max_referrers,
                });
            }
            self.done.warnings.extend(listed.warnings);
            for entry in listed.entries {
                if self.seen.contains(&entry.descriptor.digest) {
                    continue;
                }
                match self.referrer(&subject, &entry).await {
                    Ok(more) => copied.extend(more),
                    Err(error) if error.is_about_content() => {
                        self.done.warnings.push(Warning::Unreadable {
                            referrer: entry.descriptor.digest.to_string(),
                            reason: WithCauses(&error).to_string(),
                        });
                    }
                    Err(error) => return Err(error),
                }
                // Those that wait see to it themselves that their list is written in time.
                while let Some(Some(placed)) = self.waiting.next().now_or_never() {
                    placed?;
                }
            }
        }
        Ok(())
    }

    /// Copies one attached artifact, if it is what the list says.
    async fn referrer(
        &mut self,
        subject: &Descriptor,
        entry: &Entry,
    ) -> Result<Vec<Descriptor>, OciError> {
        let (parsed, _) = parsed_manifest(self.source, &entry.descriptor).await?;
        let refers = parsed.subject.as_ref();
        if refers.is_none_or(|s| s.descriptor.digest != subject.digest) {
            return Err(OciError::NotAReferrer {
                digest: entry.descriptor.digest.clone(),
                subject: subject.digest.clone(),
            });
        }
        let place = Place::Referrer {
            subject: &subject.digest,
            artifact_type: parsed.listed_artifact_type(),
            annotations: &parsed.annotations,
        };
        let copied = self.tree(&entry.descriptor, place).await?;
        self.done.referrers.push(entry.clone());
        Ok(copied)
    }

    /// Copies a manifest with all that it refers to; the manifests copied.
    async fn tree(
        &mut self,
        root: &Descriptor,
        place: Place<'_>,
    ) -> Result<Vec<Descriptor>, OciError> {
        let mut copied = Vec::new();
        let mut steps = vec![Step::Visit(plain(root))];
        while let Some(step) = steps.pop() {
            match step {
                Step::Visit(descriptor) => {
                    if !self.seen.insert(descriptor.digest.clone()) {
                        continue;
                    }
                    if self.seen.len() > self.options.max_manifests {
                        return Err(OciError::TooManyManifests {
                            limit: self.options.max_manifests,
                        });
                    }
                    let (parsed, bytes) = parsed_manifest(self.source, &descriptor).await?;
                    let children: Vec<Descriptor> = parsed
                        .manifests
                        .iter()
                        .map(|e| plain(&e.descriptor))
                        .collect();
                    steps.push(Step::Store(descriptor, Box::new(parsed), bytes));
                    steps.extend(children.into_iter().rev().map(Step::Visit));
                }
                Step::Store(descriptor, parsed, bytes) => {
                    let here = if descriptor.digest == root.digest {
                        place
                    } else {
                        Place::Child
                    };
                    self.store(&descriptor, &parsed, bytes, here).await?;
                    copied.push(descriptor);
                }
            }
        }
        Ok(copied)
    }

    async fn store(
        &mut self,
        descriptor: &Descriptor,
        parsed: &Manifest,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<(), OciError> {
        let present = self.destination.has_manifest(descriptor).await?;
        if present {
            // A tag or an entry in a list may be missing though the manifest is there.
            self.done.present = self.done.present.saturating_add(1);
        } else {
            for entry in parsed.config.iter().chain(&parsed.layers) {
                self.blob(&entry.descriptor).await?;
            }
            self.done.manifests = self.done.manifests.saturating_add(1);
        }
        let destination = self.destination;
        let stored = destination.store_one_of_many(descriptor, bytes, place, present);
        match stored.await? {
            Stored::Placed(warnings) => self.done.warnings.extend(warnings),
            Stored::Waiting(placed) => self.waiting.push(placed),
        }
        Ok(())
    }

    /// Waits until all that was stored is listed.
    async fn listed(&mut self) -> Result<(), OciError> {
        let mut all = Ok(());
        while let Some(placed) = self.waiting.next().await {
            all = all.and(placed);
        }
        all
    }

    async fn blob(&mut self, descriptor: &Descriptor) -> Result<(), OciError> {
        if is_elsewhere(&descriptor.media_type) {
            return Ok(());
        }
        if self.destination.has_blob(descriptor).await? {
            self.done.present = self.done.present.saturating_add(1);
            return Ok(());
        }
        let content = self.source.open_blob(descriptor).await?;
        self.destination.store_blob(descriptor, content).await?;
        self.done.blobs = self.done.blobs.saturating_add(1);
        self.done.bytes = self.done.bytes.saturating_add(descriptor.size);
        Ok(())
    }
}

/// Layers that by their licence are fetched from elsewhere and are in no registry.
fn is_elsewhere(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
}

fn plain(descriptor: &Descriptor) -> Descriptor {
    Descriptor {
        annotations: Default::default(),
        ..descriptor.clone()
    }
}
