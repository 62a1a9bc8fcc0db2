//! Artifacts and signatures in an OCI layout directory (OCI image specification, "OCI Image
//! Layout"; OCI-34 to OCI-40): local work without a registry, and the air-gapped way between two
//! (REQ-06, REQ-07).
//!
//! Every file read is bounded and compared with its digest and size. Writing follows
//! [`files`](self): content first, then `index.json`, each in one rename, under a lock that other
//! processes of ours respect. See [`index`](self) for how a batch shares one rewrite. Image layers
//! are not opened; a damaged layer is found by whoever reads it.

mod content;
mod files;
mod graph;
mod index;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::manifest::{
    self, EMPTY_CONTENT, Entry, MAX_MANIFEST, Manifest, ManifestError, SIGNATURE_ARTIFACT_TYPE,
    SignatureForm, WrittenForm,
};
use super::{
    FetchedSignature, Listing, OciError, Pushed, Referrers, Repository, Warning,
    check_is_signature, envelope_of,
};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::budget::{self, Party};
use crate::envelope::Format;
use graph::Graph;
use index::{Change, Index, IndexWriter};

/// How long to wait for another process that writes to the same layout.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// Largest `oci-layout` file, in bytes.
const MAX_MARKER: u64 = 64 * 1024;

/// An OCI layout directory. Cheap to clone; clones share one writer.
#[derive(Clone, Debug)]
pub struct Layout {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: IndexWriter,
    graph: Mutex<Option<(Stamp, Arc<Graph>)>>,
}

/// Tells whether `index.json` is still the file that was read.
type Stamp = (u64, u64, u64, Option<SystemTime>);

/// Why a layout could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The path is no directory (OCI-35).
    #[error("failed to resolve user input reference: input path is not a dir")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory is no OCI layout.
    #[error("{} is not an OCI layout: it has no {missing} file", path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// The file that makes it one.
        missing: &'static str,
    },
    /// A directory with other files, where a layout was to be made.
    #[error("{} is not an OCI layout, and not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A version of the layout that is not understood.
    #[error("{} is an OCI layout of the unsupported version {version:?}", path.display())]
    Version {
        /// The directory.
        path: PathBuf,
        /// `imageLayoutVersion`.
        version: String,
    },
    /// A file operation failed.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A tag that the index does not have.
    #[error("{}:{tag}: not found", path.display())]
    UnknownTag {
        /// The directory.
        path: PathBuf,
        /// The tag.
        tag: String,
        /// The tags that there are.
        tags: Vec<String>,
    },
    /// Content that the layout names and does not hold, as after a copy of some platforms.
    #[error("{} names {digest}, but has no blob {}", path.display(), files::blob_path(path, digest).display())]
    AbsentBlob {
        /// The directory.
        path: PathBuf,
        /// The content.
        digest: Digest,
    },
    /// A directory, device or pipe in place of a file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A symbolic link, or something else that is no directory, where files are to be written.
    #[error("refusing to write through {}: it is a symbolic link or not a directory", path.display())]
    Link {
        /// The path.
        path: PathBuf,
    },
    /// A file larger than is read.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// More content than is scanned.
    #[error("{} has more than {manifests} manifests, or more than {bytes} bytes of them", path.display())]
    TooMuch {
        /// The directory.
        path: PathBuf,
        /// The limit.
        manifests: usize,
        /// The limit in bytes.
        bytes: u64,
    },
    /// A file that is not the JSON it should be.
    #[error("{} cannot be read", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with its JSON.
        #[source]
        source: ManifestError,
    },
    /// An index whose `manifests` is no list.
    #[error("{}: \"manifests\" is not a list", path.display())]
    IndexShape {
        /// The file.
        path: PathBuf,
    },
    /// A tag that stands at two artifacts.
    #[error("tag {tag:?} stands at more than one artifact in index.json; use a digest")]
    AmbiguousTag {
        /// The tag.
        tag: String,
    },
    /// Another process holds the lock.
    #[error("{} is being written by another process; waited {} seconds", path.display(), waited.as_secs())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The thread that did the work ended early.
    #[error("reading or writing {} was interrupted", path.display())]
    Interrupted {
        /// The directory.
        path: PathBuf,
    },
}

impl LayoutError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

impl Layout {
    /// Opens an existing layout.
    ///
    /// # Errors
    /// [`LayoutError::NotADirectory`] (OCI-35), [`LayoutError::NotALayout`],
    /// [`LayoutError::Version`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let path = path.into();
        if !path.is_dir() {
            return Err(LayoutError::NotADirectory { path });
        }
        let marker = path.join("oci-layout");
        let bytes = files::read(&marker, MAX_MARKER)?.ok_or_else(|| LayoutError::NotALayout {
            path: path.clone(),
            missing: "oci-layout",
        })?;
        let version = layout_version(&marker, &bytes)?;
        if version != "1.0.0" {
            return Err(LayoutError::Version { path, version });
        }
        Ok(Self::at(path))
    }

    /// Opens the layout in a directory, or makes one in a directory that does not exist or is
    /// empty.
    ///
    /// # Errors
    /// Those of [`Self::open`], and [`LayoutError::NotEmpty`].
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let path = path.into();
        if !path.join("oci-layout").exists() {
            content::create(&path)?;
        }
        Self::open(path)
    }

    fn at(path: PathBuf) -> Self {
        Self {
            inner: Arc::new(Inner {
                writer: IndexWriter::new(path.clone(), LOCK_WAIT),
                path,
                graph: Mutex::default(),
            }),
        }
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Runs file work on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, OciError> + Send + 'static,
    ) -> Result<T, OciError> {
        let inner = Arc::clone(&self.inner);
        let _waiting = budget::waiting(|| Party::Directory(self.name()));
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(_) => Err(LayoutError::Interrupted {
                path: self.inner.path.clone(),
            }
            .into()),
        }
    }
}

impl Repository for Layout {
    fn name(&self) -> String {
        self.inner.path.display().to_string()
    }

    async fn fetch_manifest(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        super::storage::Storage::manifest(self, wanted).await
    }

    async fn resolve(&self, target: &TagOrDigest) -> Result<Descriptor, OciError> {
        let target = target.clone();
        self.run(move |inner| inner.resolve(&target)).await
    }

    async fn list_signatures(
        &self,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Listing, OciError> {
        let subject = subject.clone();
        self.run(move |inner| inner.list_signatures(&subject, limit))
            .await
    }

    async fn fetch_signature(&self, manifest: &Descriptor) -> Result<FetchedSignature, OciError> {
        let manifest = manifest.clone();
        self.run(move |inner| inner.fetch_signature(&manifest))
            .await
    }

    async fn push_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError> {
        let (subject, envelope) = (subject.clone(), envelope.to_vec());
        self.run(move |inner| inner.push_signature(&subject, format, &envelope, annotations))
            .await
    }

    async fn list_referrers(
        &self,
        subject: &Descriptor,
        artifact_type: Option<&str>,
        limit: usize,
    ) -> Result<Referrers, OciError> {
        let (subject, artifact_type) = (subject.clone(), artifact_type.map(str::to_owned));
        self.run(move |inner| inner.list_referrers(&subject, artifact_type.as_deref(), limit))
            .await
    }

    async fn delete_signature(
        &self,
        subject: &Descriptor,
        manifest: &Digest,
    ) -> Result<Vec<Warning>, OciError> {
        let (subject, manifest) = (subject.clone(), manifest.clone());
        self.run(move |inner| inner.delete_signature(&subject, &manifest))
            .await
    }
}

impl Inner {
    /// The layout's content, read again only when `index.json` is another file than before.
    fn graph(&self) -> Result<Arc<Graph>, LayoutError> {
        let mut cached = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        // The stamp is taken before the file is read: a change in between is seen next time.
        let stamp = stamp(&Index::path(&self.path));
        if let (Some(now), Some((then, graph))) = (stamp, cached.as_ref())
            && now == *then
        {
            return Ok(Arc::clone(graph));
        }
        let index = Index::parse(&self.path, &Index::read(&self.path)?)?;
        let graph = Arc::new(Graph::build(&self.path, &index)?);
        *cached = stamp.map(|stamp| (stamp, Arc::clone(&graph)));
        Ok(graph)
    }

    fn resolve(&self, target: &TagOrDigest) -> Result<Descriptor, OciError> {
        let graph = self.graph()?;
        let not_found = || match target {
            TagOrDigest::Tag(tag) => OciError::from(LayoutError::UnknownTag {
                path: self.path.clone(),
                tag: tag.clone(),
                tags: graph.tags(),
            }),
            TagOrDigest::Digest(digest) => OciError::NotFound {
                reference: format!("{}@{digest}", self.path.display()),
            },
        };
        let descriptor = match target {
            TagOrDigest::Tag(tag) => graph.tagged(tag)?,
            TagOrDigest::Digest(digest) => match graph.manifest(digest) {
                Some(descriptor) => Some(descriptor),
                None => self.unlisted(digest)?,
            },
        };
        let descriptor = descriptor.ok_or_else(not_found)?;
        graph::read_manifest(&self.path, &descriptor)?;
        Ok(descriptor)
    }

    /// A manifest that the layout holds though its index does not lead there.
    fn unlisted(&self, digest: &Digest) -> Result<Option<Descriptor>, OciError> {
        let path = files::blob_path(&self.path, digest);
        let Some(content) = files::read(&path, MAX_MANIFEST)? else {
            return Ok(None);
        };
        let media_type =
            manifest::sniff_media_type(&content).map_err(|source| OciError::Manifest {
                digest: digest.clone(),
                source,
            })?;
        Ok(Some(Descriptor {
            media_type,
            digest: digest.clone(),
            size: u64::try_from(content.len()).unwrap_or(u64::MAX),
            annotations: BTreeMap::new(),
        }))
    }

    fn list_signatures(&self, subject: &Descriptor, limit: usize) -> Result<Listing, OciError> {
        let graph = self.graph()?;
        let mut listing = Listing {
            warnings: graph.unreadable().to_vec(),
            ..Listing::default()
        };
        for referrer in graph.referrers(subject) {
            match &referrer.form {
                SignatureForm::Other => {}
                SignatureForm::Contradictory {
                    artifact_type,
                    config_media_type,
                } => listing.warnings.push(Warning::NotASignature {
                    digest: referrer.descriptor.digest.clone(),
                    artifact_type: artifact_type.clone(),
                    config_media_type: config_media_type.clone(),
                }),
                SignatureForm::Signature if listing.signatures.len() == limit => {
                    listing.truncated = true;
                    break;
                }
                SignatureForm::Signature => listing.signatures.push(referrer.descriptor.clone()),
            }
        }
        Ok(listing)
    }

    fn fetch_signature(&self, descriptor: &Descriptor) -> Result<FetchedSignature, OciError> {
        if descriptor.size > MAX_MANIFEST {
            return Err(OciError::SignatureManifestTooLarge {
                size: descriptor.size,
            });
        }
        let manifest: Manifest = graph::read_manifest(&self.path, descriptor)?;
        let (format, envelope) = envelope_of(descriptor, &manifest)?;
        Ok(FetchedSignature {
            format,
            envelope: files::read_blob(&self.path, &envelope)?,
            manifest: descriptor.clone(),
            annotations: manifest.annotations,
            subject: manifest.subject.map(|s| s.descriptor),
        })
    }

    fn push_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError> {
        let blob = manifest::envelope_descriptor(format, envelope);
        let form = WrittenForm::ConfigType;
        let bytes = manifest::signature_manifest(form, subject, &blob, &annotations)
            .map_err(OciError::Write)?;
        let descriptor = manifest::describe(manifest::OCI_MANIFEST, &bytes);
        files::write_blob(&self.path, &blob, envelope)?;
        files::write_blob(&self.path, &manifest::empty_descriptor(), EMPTY_CONTENT)?;
        files::write_blob(&self.path, &descriptor, &bytes)?;
        let entry = Entry::new(Descriptor {
            annotations,
            ..descriptor.clone()
        })
        .with_artifact_type(SIGNATURE_ARTIFACT_TYPE);
        self.writer.commit(Change::Add { entry, tag: None })?;
        Ok(Pushed {
            manifest: descriptor,
            warnings: Vec::new(),
        })
    }
}

impl Inner {
    fn list_referrers(
        &self,
        subject: &Descriptor,
        artifact_type: Option<&str>,
        limit: usize,
    ) -> Result<Referrers, OciError> {
        let graph = self.graph()?;
        let mut listing = Referrers {
            warnings: graph.unreadable().to_vec(),
            ..Referrers::default()
        };
        for referrer in graph.referrers(subject) {
            let found = referrer.artifact_type.as_deref();
            if artifact_type.is_some() && artifact_type != found {
                continue;
            }
            if listing.entries.len() == limit {
                listing.truncated = true;
                break;
            }
            let mut entry = Entry::new(referrer.descriptor.clone());
            entry.artifact_type = referrer.artifact_type.clone();
            listing.entries.push(entry);
        }
        Ok(listing)
    }

    fn delete_signature(
        &self,
        subject: &Descriptor,
        digest: &Digest,
    ) -> Result<Vec<Warning>, OciError> {
        let descriptor = self.resolve(&TagOrDigest::Digest(digest.clone()))?;
        let manifest = graph::read_manifest(&self.path, &descriptor)?;
        check_is_signature(digest, &manifest, subject)?;
        self.writer.commit(Change::Remove(digest.clone()))?;
        files::remove_blob(&self.path, digest)?;
        Ok(Vec::new())
    }
}

fn layout_version(path: &Path, bytes: &[u8]) -> Result<String, LayoutError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    manifest::parse_json::<Marker>(bytes)
        .map(|marker| marker.image_layout_version)
        .map_err(|source| LayoutError::Json {
            path: path.to_owned(),
            source,
        })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let (device, inode) = place(&metadata);
    Some((device, inode, metadata.len(), metadata.modified().ok()))
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

#[cfg(test)]
mod tests;
