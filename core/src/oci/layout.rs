//! Artifacts and signatures in an OCI layout directory (OCI image specification, "OCI Image
//! Layout"): local work without a registry, and the air-gapped way between two.
//!
//! Every file read is bounded and compared with its digest and size. Writing follows
//! [`files`](self): content first, then `index.json`, each in one rename, under a lock that other
//! processes of ours respect. See [`checkpoint`](self) for how a batch shares one rewrite, and
//! [`current`](self) for what is kept between them. Image layers are not opened; a damaged layer is
//! found by whoever reads it.

// Requirements: REQ-06, REQ-07, OCI-34 to OCI-40.

mod checkpoint;
mod content;
mod current;
mod files;
mod graph;
mod index;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::manifest::{
    self, EMPTY_CONTENT, Entry, MAX_MANIFEST, Manifest, ManifestError, SIGNATURE_ARTIFACT_TYPE,
    SignatureForm, WrittenForm,
};
use super::{
    FetchedSignature, Listing, OciError, Pushed, Referrers, SignatureSource, SignatureStore,
    Warning, check_is_signature, envelope_of,
};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::budget::{self, Party, Unsettled};
use crate::desk::Desk;
use crate::envelope::Format;
use crate::text::WithCauses;
use checkpoint::{Writer, Writing};
use current::Current;
use graph::{Graph, plain};
use index::Change;

/// How long to wait for another process that writes to the same layout.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// Largest `oci-layout` file, in bytes.
const MAX_MARKER: u64 = 64 * 1024;

/// An OCI layout directory. Cheap to clone; clones share one writer.
///
/// ```
/// use hardsign_core::artifact::reference::TagOrDigest;
/// use hardsign_core::oci::Repository;
/// use hardsign_core::oci::layout::Layout;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("images");
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let layout = Layout::open_or_create(&path)?;
/// let error = layout.resolve(&TagOrDigest::Tag("v1".to_owned())).await.unwrap_err();
/// println!("nothing here yet: {error}");
/// assert!(Layout::open(&path).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Layout {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: Arc<Writer>,
    current: Arc<Current>,
    desk: Arc<Desk>,
}

/// Why a layout could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The path is no directory.
    // OCI-35
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
    #[error("tag {tag:?} names more than one artifact in index.json; use a digest")]
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
    /// What stopped the work of several, told to each.
    #[error("{0}")]
    Told(String),
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

    /// The same once more, for others that waited for the same work.
    fn again(&self) -> Self {
        match self {
            Self::Io {
                action,
                path,
                source,
            } => {
                let code = source.raw_os_error();
                let source = code.map_or_else(
                    || io::Error::new(source.kind(), source.to_string()),
                    io::Error::from_raw_os_error,
                );
                Self::io(action, path, source)
            }
            Self::NotALayout { path, missing } => Self::NotALayout {
                path: path.clone(),
                missing,
            },
            Self::NotAFile { path } => Self::NotAFile { path: path.clone() },
            Self::Link { path } => Self::Link { path: path.clone() },
            Self::TooLarge { path, limit } => Self::TooLarge {
                path: path.clone(),
                limit: *limit,
            },
            Self::IndexShape { path } => Self::IndexShape { path: path.clone() },
            Self::Locked { path, waited } => Self::Locked {
                path: path.clone(),
                waited: *waited,
            },
            Self::Interrupted { path } => Self::Interrupted { path: path.clone() },
            // Those whose causes have no copies.
            other => Self::Told(WithCauses(other).to_string()),
        }
    }
}

impl Layout {
    /// Opens an existing layout.
    ///
    /// # Errors
    /// [`LayoutError::NotADirectory`], [`LayoutError::NotALayout`],
    /// [`LayoutError::Version`].
    // OCI-35
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
        let current = Arc::new(Current::new(path.clone()));
        Self {
            inner: Arc::new(Inner {
                writer: Writer::new(path.clone(), Arc::clone(&current), LOCK_WAIT),
                current,
                path,
                desk: Arc::default(),
            }),
        }
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Makes a change of the index, together with those of others.
    async fn commit(
        &self,
        writing: Writing,
        change: Change,
        content: Vec<PathBuf>,
    ) -> Result<(), LayoutError> {
        let _waiting = budget::waiting(|| Party::Directory(self.name()));
        writing.commit(change, content).await
    }

    /// Runs file work on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, OciError> + Send + 'static,
    ) -> Result<T, OciError> {
        let inner = Arc::clone(&self.inner);
        let _waiting = budget::waiting(|| Party::Directory(self.name()));
        match self.inner.desk.run(move || work(&inner)).await {
            Some(result) => result,
            None => Err(LayoutError::Interrupted {
                path: self.inner.path.clone(),
            }
            .into()),
        }
    }
}

#[async_trait]
impl SignatureSource for Layout {
    fn name(&self) -> String {
        self.inner.path.display().to_string()
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

    async fn fetch_manifest(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        let wanted = wanted.clone();
        self.run(move |inner| graph::manifest_bytes(&inner.path, &wanted))
            .await
    }
}

#[async_trait]
impl SignatureStore for Layout {
    async fn push_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError> {
        let writing = self.inner.writer.begin();
        let (subject, envelope) = (subject.clone(), envelope.to_vec());
        let stored = self
            .run(move |inner| inner.store_signature(&subject, format, &envelope, annotations))
            .await?;
        let change = Change::Add {
            entry: stored.entry,
            tag: None,
        };
        // Others may write it, though this one no longer waits.
        let digest = stored.manifest.digest.clone();
        budget::begin_unsettled(Unsettled::Storing(digest))?;
        self.commit(writing, change, stored.content).await?;
        budget::settled();
        Ok(Pushed {
            manifest: stored.manifest,
            warnings: Vec::new(),
        })
    }

    fn check_room(&self) -> Result<(), OciError> {
        let under_way = self.inner.writer.under_way();
        Ok(self.inner.current.check_room(under_way)?)
    }
}

/// A signature whose content is stored, and which the index is yet to name.
struct Stored {
    manifest: Descriptor,
    entry: Entry,
    content: Vec<PathBuf>,
}

impl Inner {
    /// The manifest with a digest that the index leads to, as it is described there.
    fn manifest(&self, digest: &Digest) -> Result<Option<Descriptor>, LayoutError> {
        self.current.look(|known| match known.index.find(digest) {
            Some(listed) => Ok(Some(plain(&listed))),
            None => Ok(known.graph(&self.path)?.manifest(digest)),
        })
    }

    /// The manifest with a digest, if the index leads to it and it was read and compared with its digest
    /// when who refers to whom was found out. Nothing is read for this.
    fn read_before(&self, digest: &Digest) -> Result<Option<Descriptor>, LayoutError> {
        self.current
            .look(|known| Ok(known.read_graph().and_then(|graph| graph.manifest(digest))))
    }

    /// The artifact that a tag names (OCI-36).
    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, LayoutError> {
        self.current
            .look(|known| Ok(known.index.tagged(tag)?.as_ref().map(plain)))
    }

    fn resolve(&self, target: &TagOrDigest) -> Result<Descriptor, OciError> {
        let descriptor = match target {
            TagOrDigest::Tag(tag) => match self.tagged(tag)? {
                Some(descriptor) => descriptor,
                None => {
                    return Err(OciError::from(LayoutError::UnknownTag {
                        path: self.path.clone(),
                        tag: tag.clone(),
                        tags: self
                            .current
                            .look(|known| Ok::<_, LayoutError>(known.index.tags()))?,
                    }));
                }
            },
            TagOrDigest::Digest(digest) => {
                if let Some(read) = self.read_before(digest)? {
                    return Ok(read);
                }
                let listed = self.manifest(digest)?;
                let found = match listed {
                    Some(descriptor) => Some(descriptor),
                    None => self.unlisted(digest)?,
                };
                found.ok_or_else(|| OciError::NotFound {
                    reference: format!("{}@{digest}", self.path.display()),
                })?
            }
        };
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
        self.current
            .look(|known| Ok(signatures(known.graph(&self.path)?, subject, limit)))
    }

    fn fetch_signature(&self, descriptor: &Descriptor) -> Result<FetchedSignature, OciError> {
        if descriptor.size > MAX_MANIFEST {
            return Err(OciError::SignatureManifestTooLarge {
                size: descriptor.size,
            });
        }
        // Its manifest was read and compared with its digest when it was listed, as a rule.
        let listed = self.current.look(|known| {
            let graph = known.read_graph();
            Ok::<_, LayoutError>(graph.and_then(|graph| graph.referrer(descriptor)).cloned())
        })?;
        let listed = listed.as_deref();
        let (format, envelope, annotations, subject) =
            match listed.and_then(|referrer| Some((referrer, referrer.envelope.clone()?))) {
                Some((referrer, (format, envelope))) => (
                    format,
                    envelope,
                    referrer.descriptor.annotations.clone(),
                    Some(referrer.subject.clone()),
                ),
                None => {
                    let manifest: Manifest = graph::read_manifest(&self.path, descriptor)?;
                    let (format, envelope) = envelope_of(descriptor, &manifest)?;
                    let subject = manifest.subject.map(|s| s.descriptor);
                    (format, envelope, manifest.annotations, subject)
                }
            };
        Ok(FetchedSignature {
            format,
            envelope: files::read_blob(&self.path, &envelope)?,
            manifest: descriptor.clone(),
            annotations,
            subject,
        })
    }

    /// Stores envelope and manifest of a signature; nothing leads to them yet.
    fn store_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Stored, OciError> {
        let blob = manifest::envelope_descriptor(format, envelope);
        let form = WrittenForm::ConfigType;
        let bytes = manifest::signature_manifest(form, subject, &blob, &annotations)
            .map_err(OciError::Write)?;
        let descriptor = manifest::describe(manifest::OCI_MANIFEST, &bytes);
        // All signatures and other tools share this one.
        files::write_blob(&self.path, &manifest::empty_descriptor(), EMPTY_CONTENT)?;
        let content = vec![
            files::write_new_blob(&self.path, &blob, envelope)?,
            files::write_new_blob(&self.path, &descriptor, &bytes)?,
        ];
        let entry = Entry::new(Descriptor {
            annotations,
            ..descriptor.clone()
        })
        .with_artifact_type(SIGNATURE_ARTIFACT_TYPE);
        Ok(Stored {
            manifest: descriptor,
            entry,
            content,
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
        self.current.look(|known| {
            Ok(referrers(
                known.graph(&self.path)?,
                subject,
                artifact_type,
                limit,
            ))
        })
    }

    fn check_is_signature(&self, subject: &Descriptor, digest: &Digest) -> Result<(), OciError> {
        let descriptor = self.resolve(&TagOrDigest::Digest(digest.clone()))?;
        let manifest = graph::read_manifest(&self.path, &descriptor)?;
        check_is_signature(digest, &manifest, subject)
    }
}

/// The signatures of an artifact, at most `limit` of them.
fn signatures(graph: &Graph, subject: &Descriptor, limit: usize) -> Listing {
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
    listing
}

/// The artifacts attached to another, at most `limit` of them.
fn referrers(
    graph: &Graph,
    subject: &Descriptor,
    artifact_type: Option<&str>,
    limit: usize,
) -> Referrers {
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
    listing
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

#[cfg(test)]
mod tests;
