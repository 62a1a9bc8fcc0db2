//! Where artifacts are, with their signatures.

use std::fmt;

use async_trait::async_trait;

use super::content::{BlobReader, Place, Stored, check_content, parse_as};
use super::{OciError, SignatureSource, SignatureStore, Warning};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};

/// A place that holds artifacts and their signatures: a registry's repository or a layout. What the
/// user wrote decides which, so its objects are chosen at run time.
#[async_trait]
pub trait Repository: SignatureSource + SignatureStore {
    /// Finds the manifest that a tag or digest names. The descriptor has no annotations. A digest
    /// given by the user is compared with the content.
    // OCI-18
    async fn resolve(&self, target: &TagOrDigest) -> Result<Descriptor, OciError>;

    /// Fetches a manifest that an index lists and compares it with what the index says of it:
    /// size, media type, digest, and that it is a manifest. A repository of
    /// `registry::Access::Read` asks for its signatures at the same time.
    // OCI-14
    async fn read_child(&self, wanted: &Descriptor) -> Result<(), OciError> {
        let bytes = self.fetch_manifest(wanted).await?;
        check_content(wanted, &bytes)?;
        parse_as(wanted, &bytes).map(drop)
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

/// Work that may end with a signature, until this is dropped. What is done while
/// others are announced may wait for them, up to a second, so that it is written together.
#[derive(Debug)]
pub struct Announced {
    _until_dropped: Box<dyn fmt::Debug + Send + Sync>,
}

impl Announced {
    /// Something that the repository notices when it is dropped.
    pub fn new(until_dropped: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self {
            _until_dropped: Box::new(until_dropped),
        }
    }
}

/// Many writers will come, one after the other, until this is dropped: what is written may wait for the
/// next of them, up to a second.
#[derive(Debug)]
pub struct Many {
    _until_dropped: Box<dyn fmt::Debug + Send + Sync>,
}

impl Many {
    /// Something that the repository notices when it is dropped.
    pub fn new(until_dropped: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self {
            _until_dropped: Box::new(until_dropped),
        }
    }
}
