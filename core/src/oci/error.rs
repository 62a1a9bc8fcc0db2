//! Why a repository could not do what was asked.

use std::error::Error;

#[cfg(feature = "layout")]
use super::layout::LayoutError;
use super::manifest::ManifestError;
#[cfg(feature = "registry")]
use super::registry::RegistryError;
use crate::artifact::{Digest, Quoted};
use crate::budget::Overspent;

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
    /// The digest that the user gave is not that of the content.
    // OCI-18
    #[error("user input digest {given} does not match the resolved digest {resolved}")]
    UserDigest {
        /// What the user gave.
        given: Digest,
        /// What the repository answered.
        resolved: Digest,
    },
    /// Content that does not have the digest of its descriptor.
    // OCI-14
    #[error("content of {expected} has the digest {found}")]
    DigestMismatch {
        /// The descriptor's digest.
        expected: Digest,
        /// The content's.
        found: Digest,
    },
    /// Content that does not have the size of its descriptor.
    // OCI-14
    #[error("content of {digest} has {found} bytes where its descriptor says {expected}")]
    SizeMismatch {
        /// The descriptor's digest.
        digest: Digest,
        /// The descriptor's size in bytes.
        expected: u64,
        /// The content's size in bytes, as far as it was read.
        found: u64,
    },
    /// A manifest larger than [`MAX_MANIFEST`](super::manifest::MAX_MANIFEST).
    #[error("manifest {digest} too large: {size} bytes")]
    ManifestTooLarge {
        /// The manifest.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A signature's manifest larger than [`MAX_MANIFEST`](super::manifest::MAX_MANIFEST).
    // OCI-13
    #[error("signature manifest too large: {size} bytes")]
    SignatureManifestTooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// An envelope larger than [`MAX_SIGNATURE_BLOB`](super::manifest::MAX_SIGNATURE_BLOB).
    // OCI-13
    #[error("signature blob too large: {size} bytes")]
    SignatureBlobTooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// A signature's manifest with no or several layers (spelt as the reference does).
    // OCI-13
    #[error("signature manifest requries exactly one signature envelope blob, got {count}")]
    LayerCount {
        /// How many it has.
        count: usize,
    },
    /// A layer that is in no envelope format.
    // ENV-02, VER-30
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
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// The layout directory.
    #[cfg(feature = "layout")]
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl OciError {
    /// Whether a registry did not answer or has no answer now: it has said neither yes nor no, and another try may end
    /// otherwise.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Child { source, .. } | Self::NotListed { source, .. } => source.is_outage(),
            #[cfg(feature = "registry")]
            Self::Registry(error) => error.is_outage(),
            _ => false,
        }
    }

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
            #[cfg(feature = "registry")]
            Self::Registry(error) => matches!(
                **error,
                RegistryError::MediaType { .. } | RegistryError::OtherType { .. }
            ),
            #[cfg(feature = "layout")]
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

#[cfg(feature = "registry")]
impl From<RegistryError> for OciError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}
