//! Where signatures are found and stored, and what is said of them.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use super::OciError;
use super::manifest::Entry;
use crate::artifact::{Descriptor, Digest, Quoted};
use crate::envelope::Format;

/// Where signatures are looked for: all that a verification needs. With the two methods that are not
/// provided here it verifies what is attached as well.
#[async_trait]
pub trait SignatureSource: Send + Sync {
    /// The name shown to the user: `<registry>/<repository>`, or the layout's path.
    fn name(&self) -> String;

    /// Lists the manifests of at most `limit` signatures of `subject`, in the repository's own
    /// order.
    // OCI-32
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

    /// Fetches a manifest of at most [`MAX_MANIFEST`](super::manifest::MAX_MANIFEST) bytes,
    /// compared with its descriptor. A source that holds signatures alone has none.
    // OCI-14
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
    /// it visible.
    // OCI-21
    async fn push_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError>;

    /// Whether there is room for one more, as far as that is known: asked before it is made. By itself there is.
    ///
    /// # Errors
    /// There is none.
    fn check_room(&self) -> Result<(), OciError> {
        Ok(())
    }

    /// Begins to ask, while a signature of `subject` is still to be made, what storing it will need to know, and returns at
    /// once. Nothing is changed, and what fails is told by [`Self::push_signature`] alone. By itself there is nothing to ask.
    fn prepare(&self, _subject: &Descriptor) {}
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
    /// A referrer whose artifact type and configuration disagree.
    // OCI-12
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
    /// The index that listed an artifact's referrers before could not be deleted.
    // OCI-25
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
