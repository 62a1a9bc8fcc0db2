//! Where artifacts and their signatures are: registries (OCI distribution specification) and OCI
//! layout directories (OCI image specification, "OCI Image Layout").
//!
//! Everything read is bounded and compared with the digest and size of its descriptor
//! (OCI-13, OCI-14). Nothing here decides whether a signature is good: a repository hands out
//! candidates in its own order, and one that cannot be read never hides the others (VER-28).

pub mod attach;
pub mod auth;
pub mod content;
pub mod copy;
pub mod hosts;
pub mod layout;
pub mod manifest;
pub mod registry;
pub mod walk;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use async_trait::async_trait;

use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest, Quoted};
use crate::budget::Overspent;
use crate::envelope::Format;
use content::{BlobReader, Place, Stored};
use layout::{Announced, LayoutError, Many};
use manifest::{Entry, Manifest, ManifestError, SignatureForm};
use registry::RegistryError;
#[cfg(fuzzing)]
pub use registry::read_referrers;

/// Where signatures are looked for: all that a verification needs. With the two methods that are not
/// provided here it verifies what is attached as well.
#[async_trait]
pub trait SignatureSource: Send + Sync {
    /// The name shown to the user: `<registry>/<repository>`, or the layout's path.
    fn name(&self) -> String;

    /// Lists the manifests of at most `limit` signatures of `subject`, in the repository's own
    /// order (OCI-32).
    async fn list_signatures(
        &self,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Listing, OciError>;

    /// Fetches the envelope of a listed signature.
    async fn fetch_signature(&self, manifest: &Descriptor) -> Result<FetchedSignature, OciError>;

    /// Lists at most `limit` artifacts attached to `subject`, of one artifact type or of any. A source that
    /// holds signatures alone can't tell, so that what demands attached artifacts fails.
    async fn list_referrers(
        &self,
        subject: &Descriptor,
        _artifact_type: Option<&str>,
        _limit: usize,
    ) -> Result<Referrers, OciError> {
        Err(OciError::NoReferrers {
            digest: subject.digest.clone(),
        })
    }

    /// Fetches a manifest of at most [`manifest::MAX_MANIFEST`] bytes, compared with its descriptor
    /// (OCI-14). A source that holds signatures alone has none.
    async fn fetch_manifest(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        Err(OciError::NotFound {
            reference: wanted.digest.to_string(),
        })
    }
}

/// Where signatures are stored.
#[async_trait]
pub trait SignatureStore: Send + Sync {
    /// Stores a signature of `subject`: envelope, configuration, and last the manifest that makes
    /// it visible (OCI-21).
    async fn push_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError>;
}

/// A place that holds artifacts and their signatures: a registry's repository or a layout. What the
/// user wrote decides which, so its objects are chosen at run time.
#[async_trait]
pub trait Repository: SignatureSource + SignatureStore {
    /// Finds the manifest that a tag or digest names. The descriptor has no annotations. A digest
    /// given by the user is compared with the content (OCI-18).
    async fn resolve(&self, target: &TagOrDigest) -> Result<Descriptor, OciError>;

    /// Fetches a manifest that an index lists and compares it with what the index says of it:
    /// size, media type, digest, and that it is a manifest (OCI-14). A repository of
    /// [`registry::Access::Read`] asks for its signatures at the same time.
    async fn read_child(&self, wanted: &Descriptor) -> Result<(), OciError> {
        let bytes = self.fetch_manifest(wanted).await?;
        check_content(wanted, &bytes)?;
        content::parse_as(wanted, &bytes).map(drop)
    }

    /// Deletes the signature of `subject` whose manifest has that digest; nothing but a signature
    /// of that artifact is deleted. The envelope stays, as garbage, since another manifest may
    /// hold it too.
    async fn delete_signature(
        &self,
        subject: &Descriptor,
        manifest: &Digest,
    ) -> Result<Vec<Warning>, OciError>;

    /// Opens content that is no manifest, of any size.
    async fn open_blob(&self, wanted: &Descriptor) -> Result<BlobReader, OciError>;

    /// Whether the repository holds a manifest.
    async fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool, OciError>;

    /// Whether the repository holds content.
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, OciError>;

    /// Stores content while it is read.
    async fn store_blob(
        &self,
        descriptor: &Descriptor,
        content: BlobReader,
    ) -> Result<(), OciError>;

    /// Stores a manifest whose content is stored already.
    async fn store_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Vec<Warning>, OciError>;

    /// Gives a manifest that the repository holds already its place: a tag, or an entry in a list.
    async fn place_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Vec<Warning>, OciError>;

    /// Says that work has begun which may end with a signature; each piece of work of a batch says it
    /// for itself. A repository that writes the signatures of several at once waits for those that
    /// were announced, and where nobody announces, writes a signature at once. `None`: it writes
    /// each for itself.
    fn announce(&self) -> Option<Announced> {
        None
    }

    /// [`Self::store_manifest`], or [`Self::place_manifest`] where the manifest is `present`, for one of
    /// many: where a list is rewritten as a whole, their places are given together.
    async fn store_one_of_many(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
        present: bool,
    ) -> Result<Stored, OciError> {
        let stored = match present {
            true => self.place_manifest(descriptor, bytes, place).await,
            false => self.store_manifest(descriptor, bytes, place).await,
        };
        stored.map(Stored::Placed)
    }

    /// Says that there will be one of many more, as long as this is kept. `None`: nobody waits for it.
    fn announce_many(&self) -> Option<Many> {
        None
    }
}

/// Signatures that a repository lists for an artifact.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The signatures' manifests, with the annotations that the listing shows (unsigned).
    pub signatures: Vec<Descriptor>,
    /// Whether there are more than the limit let through.
    pub truncated: bool,
    /// What was left out, and why.
    pub warnings: Vec<Warning>,
}

impl Listing {
    /// All the signatures that there are.
    pub fn new(signatures: Vec<Descriptor>) -> Self {
        Self {
            signatures,
            ..Self::default()
        }
    }
}

/// Artifacts attached to another.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Referrers {
    /// Their manifests, with artifact type and annotations as the listing shows them (unsigned).
    pub entries: Vec<Entry>,
    /// Whether there are more than the limit let through.
    pub truncated: bool,
    /// What was left out, and why.
    pub warnings: Vec<Warning>,
}

/// The envelope of a signature; nothing in it is verified.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchedSignature {
    /// Format by the layer's media type.
    pub format: Format,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// The signature's manifest.
    pub manifest: Descriptor,
    /// The manifest's annotations (unsigned).
    pub annotations: BTreeMap<String, String>,
    /// The artifact that the manifest says is signed (unsigned).
    pub subject: Option<Descriptor>,
}

impl FetchedSignature {
    /// An envelope and the manifest that it was listed under, for repositories of other kinds.
    pub fn new(format: Format, envelope: Vec<u8>, manifest: Descriptor) -> Self {
        Self {
            format,
            envelope,
            manifest,
            annotations: BTreeMap::new(),
            subject: None,
        }
    }
}

/// A signature that was stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pushed {
    /// The signature's manifest.
    pub manifest: Descriptor,
    /// What the user should know though the signature is stored.
    pub warnings: Vec<Warning>,
}

impl Pushed {
    /// A signature that was stored under this manifest.
    pub fn new(manifest: Descriptor) -> Self {
        Self {
            manifest,
            warnings: Vec::new(),
        }
    }
}

/// Something that did not stop the work.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// A referrer whose artifact type and configuration disagree (OCI-12).
    NotASignature {
        /// The referrer's manifest.
        digest: Digest,
        /// `artifactType`.
        artifact_type: String,
        /// `config.mediaType`.
        config_media_type: String,
    },
    /// A referrer that could not be read; it may be a signature.
    Unreadable {
        /// The referrer, as far as it has a digest.
        referrer: String,
        /// The causes, on one line.
        reason: String,
    },
    /// The index that listed an artifact's referrers before could not be deleted (OCI-25).
    OutdatedIndex,
    /// An index that listed an artifact's referrers before, or seemed to, and was not deleted,
    /// since it is not known to be a list and nothing else.
    KeptIndex {
        /// The index.
        digest: Digest,
        /// The causes, on one line.
        reason: String,
    },
    /// Something that is no list stands under the referrers tag.
    NotAList {
        /// The tag.
        tag: String,
        /// What stands there.
        found: String,
    },
    /// Something was stored, and the registry's list could not be read to see whether it stands
    /// there.
    ListUnread {
        /// What was stored.
        digest: Digest,
        /// The causes, on one line.
        reason: String,
    },
    /// The registry lists referrers by the media type of their configuration in place of their
    /// artifact type, so that what is asked for by type can't be found in its list.
    MistypedReferrers {
        /// The registry.
        registry: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASignature {
                digest: _,
                artifact_type,
                config_media_type,
            } => write!(
                f,
                "not a valid Notary Project signature with artifactType {}, but config.mediaType is {}",
                Quoted(artifact_type),
                Quoted(config_media_type)
            ),
            Self::Unreadable { referrer, reason } => {
                write!(f, "skipped referrer {referrer}: {reason}")
            }
            Self::MistypedReferrers { registry } => write!(
                f,
                "{registry} answers the referrers API, but without artifact types: what it lists can't be told apart, and only what the referrers tag names was looked at"
            ),
            Self::KeptIndex { digest, reason } => write!(
                f,
                "the outdated referrers index {digest} was not deleted: {reason}"
            ),
            Self::NotAList { tag, found } => write!(
                f,
                "the referrers tag {tag} leads to {}, not to a list of signatures; it was left out",
                Quoted(found)
            ),
            Self::ListUnread { digest, reason } => write!(
                f,
                "{digest} is stored, and the registry was to list it, but its list can't be read: {reason}"
            ),
            Self::OutdatedIndex => f.write_str(
                "Removal of outdated referrers index from remote registry failed. Garbage collection may be required.",
            ),
        }
    }
}

/// Why a repository could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// The repository has no such artifact.
    #[error("{reference}: not found")]
    NotFound {
        /// What was looked for.
        reference: String,
    },
    /// The digest that the user gave is not that of the content (OCI-18).
    #[error("user input digest {given} does not match the resolved digest {resolved}")]
    UserDigest {
        /// What the user gave.
        given: Digest,
        /// What the repository answered.
        resolved: Digest,
    },
    /// Content that does not have the digest of its descriptor (OCI-14).
    #[error("content of {expected} has the digest {found}")]
    DigestMismatch {
        /// The descriptor's digest.
        expected: Digest,
        /// The content's.
        found: Digest,
    },
    /// Content that does not have the size of its descriptor (OCI-14).
    #[error("content of {digest} has {found} bytes where its descriptor says {expected}")]
    SizeMismatch {
        /// The descriptor's digest.
        digest: Digest,
        /// The descriptor's size in bytes.
        expected: u64,
        /// The content's size in bytes, as far as it was read.
        found: u64,
    },
    /// A manifest larger than [`manifest::MAX_MANIFEST`].
    #[error("manifest {digest} too large: {size} bytes")]
    ManifestTooLarge {
        /// The manifest.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A signature's manifest larger than [`manifest::MAX_MANIFEST`] (OCI-13).
    #[error("signature manifest too large: {size} bytes")]
    SignatureManifestTooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// An envelope larger than [`manifest::MAX_SIGNATURE_BLOB`] (OCI-13).
    #[error("signature blob too large: {size} bytes")]
    SignatureBlobTooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// A signature's manifest with no or several layers (OCI-13; spelt as the reference does).
    #[error("signature manifest requries exactly one signature envelope blob, got {count}")]
    LayerCount {
        /// How many it has.
        count: usize,
    },
    /// A layer that is in no envelope format (ENV-02, VER-30).
    #[error("signature envelope format with media type {} is not supported", Quoted(.media_type))]
    EnvelopeFormat {
        /// The layer's media type.
        media_type: String,
    },
    /// A manifest that is not the manifest of a signature.
    #[error("{digest} is not a signature")]
    NotASignature {
        /// The manifest.
        digest: Digest,
    },
    /// A manifest that cannot be read.
    #[error("manifest {digest}")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// What is wrong with the manifest.
        #[source]
        source: ManifestError,
    },
    /// Content that could not be read to its end.
    #[error("failed to read {digest}")]
    Read {
        /// The content.
        digest: Digest,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A manifest that an index lists, and that is not there or not what the index says.
    #[error("the index {index} lists {child}, which can't be used")]
    Child {
        /// The index.
        index: Digest,
        /// What it lists.
        child: Digest,
        /// What failed with the registry.
        #[source]
        source: Box<OciError>,
    },
    /// Something that was stored, and that nobody finds.
    #[error("{digest} is stored, but is not listed as attached to {subject}")]
    NotListed {
        /// What was stored.
        digest: Digest,
        /// The artifact.
        subject: Digest,
        /// What failed with the registry.
        #[source]
        source: Box<OciError>,
    },
    /// An artifact that a list names as attached, and that says otherwise.
    #[error("{digest} is listed as attached to {subject} and is not")]
    NotAReferrer {
        /// The attached artifact.
        digest: Digest,
        /// What it was said to be attached to.
        subject: Digest,
    },
    /// More artifacts attached to one than are handled.
    #[error("{digest} has more than {limit} attached artifacts")]
    TooManyReferrers {
        /// The artifact.
        digest: Digest,
        /// The limit.
        limit: usize,
    },
    /// More manifests than are handled.
    #[error("the artifact has more than {limit} manifests")]
    TooManyManifests {
        /// The limit.
        limit: usize,
    },
    /// A platform was asked for of an artifact that has none to choose from.
    #[error("{digest} is not an index, so that no platform can be chosen")]
    NotAnIndex {
        /// The artifact.
        digest: Digest,
    },
    /// No artifact of an index is for the platform.
    #[error("no artifact for platform {wanted}; there are {}", list(available))]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// The platforms that there are.
        available: Vec<String>,
    },
    /// Several artifacts of an index are for the platform.
    #[error(
        "several artifacts for platform {wanted}: {}; name the variant",
        list(available)
    )]
    AmbiguousPlatform {
        /// What was asked for.
        wanted: String,
        /// The platforms that fit.
        available: Vec<String>,
    },
    /// A manifest that cannot be written.
    #[error("signature manifest")]
    Write(#[source] ManifestError),
    /// A source of another kind failed; the cause is its own.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
    /// A source that holds signatures alone.
    #[error("what is attached to {digest} is not known here: signatures are all that there is")]
    NoReferrers {
        /// The artifact.
        digest: Digest,
    },
    /// The manifest of an attached file that cannot be written.
    #[error("manifest of the file")]
    WriteAttachment(#[source] ManifestError),
    /// What the caller may spend is used up, or nearly so; nothing was begun that can't be taken back.
    #[error(transparent)]
    Budget(#[from] Overspent),
    /// The registry.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// The layout directory.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl OciError {
    /// Whether the fault lies in content or in its absence, and not in the way there: another
    /// try would end the same, and another artifact may do better.
    pub fn is_about_content(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::ManifestTooLarge { .. }
            | Self::SignatureManifestTooLarge { .. }
            | Self::SignatureBlobTooLarge { .. }
            | Self::LayerCount { .. }
            | Self::EnvelopeFormat { .. }
            | Self::NotASignature { .. }
            | Self::NotAReferrer { .. }
            | Self::Manifest { .. } => true,
            Self::Child { source, .. } => source.is_about_content(),
            Self::Registry(error) => matches!(
                **error,
                RegistryError::MediaType { .. } | RegistryError::OtherType { .. }
            ),
            Self::Layout(error) => matches!(
                error,
                LayoutError::NotAFile { .. }
                    | LayoutError::AbsentBlob { .. }
                    | LayoutError::UnknownTag { .. }
            ),
            _ => false,
        }
    }
}

/// A list for a message, each item escaped.
fn list(items: &[String]) -> String {
    let shown: Vec<String> = items
        .iter()
        .take(50)
        .map(|i| Quoted(i).to_string())
        .collect();
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    }
}

impl From<RegistryError> for OciError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

/// Checks a signature's manifest and says where its envelope is (OCI-10 to OCI-13, VER-30).
fn envelope_of(manifest: &Descriptor, parsed: &Manifest) -> Result<(Format, Descriptor), OciError> {
    if parsed.signature_form() != SignatureForm::Signature {
        return Err(OciError::NotASignature {
            digest: manifest.digest.clone(),
        });
    }
    let [layer] = parsed.layers.as_slice() else {
        return Err(OciError::LayerCount {
            count: parsed.layers.len(),
        });
    };
    let envelope = layer.descriptor.clone();
    let format =
        Format::from_media_type(&envelope.media_type).ok_or_else(|| OciError::EnvelopeFormat {
            media_type: envelope.media_type.clone(),
        })?;
    if envelope.size > manifest::MAX_SIGNATURE_BLOB {
        return Err(OciError::SignatureBlobTooLarge {
            size: envelope.size,
        });
    }
    Ok((format, envelope))
}

/// Makes sure that a manifest is that of a signature of `subject`.
fn check_is_signature(
    digest: &Digest,
    parsed: &Manifest,
    subject: &Descriptor,
) -> Result<(), OciError> {
    if parsed.signature_form() != SignatureForm::Signature {
        return Err(OciError::NotASignature {
            digest: digest.clone(),
        });
    }
    match &parsed.subject {
        Some(named) if named.descriptor.digest == subject.digest => Ok(()),
        _ => Err(OciError::NotAReferrer {
            digest: digest.clone(),
            subject: subject.digest.clone(),
        }),
    }
}

/// Compares content with its descriptor (OCI-14).
fn check_content(descriptor: &Descriptor, content: &[u8]) -> Result<(), OciError> {
    let found = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if found != descriptor.size {
        return Err(OciError::SizeMismatch {
            digest: descriptor.digest.clone(),
            expected: descriptor.size,
            found,
        });
    }
    let found = manifest::digest(descriptor.digest.algorithm(), content);
    if found == descriptor.digest {
        Ok(())
    } else {
        Err(OciError::DigestMismatch {
            expected: descriptor.digest.clone(),
            found,
        })
    }
}
