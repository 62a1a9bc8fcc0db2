//! A registry's repository or a layout, where what the user wrote decides which.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::layout::{Announced, Layout};
use super::registry::Registry;
use super::storage::{BlobReader, Place, Storage};
use super::{
    FetchedSignature, Listing, OciError, Pushed, Referrers, Repository, SignatureSource,
    SignatureStore, Warning,
};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::envelope::Format;

/// A place that holds artifacts, of either kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyRepository {
    /// In a registry.
    Registry(Registry),
    /// In a directory.
    Layout(Layout),
}

impl AnyRepository {
    /// Says that work has begun which may end with a signature; see [`Layout::announce`].
    pub fn announce(&self) -> Option<Announced> {
        match self {
            Self::Registry(_) => None,
            Self::Layout(layout) => Some(layout.announce()),
        }
    }
}

impl From<Registry> for AnyRepository {
    fn from(registry: Registry) -> Self {
        Self::Registry(registry)
    }
}

impl From<Layout> for AnyRepository {
    fn from(layout: Layout) -> Self {
        Self::Layout(layout)
    }
}

#[async_trait]
impl SignatureSource for AnyRepository {
    fn name(&self) -> String {
        match self {
            Self::Registry(r) => r.name(),
            Self::Layout(l) => l.name(),
        }
    }

    async fn list_signatures(
        &self,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Listing, OciError> {
        match self {
            Self::Registry(r) => r.list_signatures(subject, limit).await,
            Self::Layout(l) => l.list_signatures(subject, limit).await,
        }
    }

    async fn fetch_signature(&self, manifest: &Descriptor) -> Result<FetchedSignature, OciError> {
        match self {
            Self::Registry(r) => r.fetch_signature(manifest).await,
            Self::Layout(l) => l.fetch_signature(manifest).await,
        }
    }

    async fn list_referrers(
        &self,
        subject: &Descriptor,
        artifact_type: Option<&str>,
        limit: usize,
    ) -> Result<Referrers, OciError> {
        match self {
            Self::Registry(r) => r.list_referrers(subject, artifact_type, limit).await,
            Self::Layout(l) => l.list_referrers(subject, artifact_type, limit).await,
        }
    }

    async fn fetch_manifest(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        match self {
            Self::Registry(r) => r.fetch_manifest(wanted).await,
            Self::Layout(l) => l.fetch_manifest(wanted).await,
        }
    }
}

#[async_trait]
impl SignatureStore for AnyRepository {
    async fn push_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError> {
        match self {
            Self::Registry(r) => {
                r.push_signature(subject, format, envelope, annotations)
                    .await
            }
            Self::Layout(l) => {
                l.push_signature(subject, format, envelope, annotations)
                    .await
            }
        }
    }
}

#[async_trait]
impl Repository for AnyRepository {
    async fn resolve(&self, target: &TagOrDigest) -> Result<Descriptor, OciError> {
        match self {
            Self::Registry(r) => r.resolve(target).await,
            Self::Layout(l) => l.resolve(target).await,
        }
    }

    async fn read_child(&self, wanted: &Descriptor) -> Result<(), OciError> {
        match self {
            Self::Registry(r) => r.read_child(wanted).await,
            Self::Layout(l) => l.read_child(wanted).await,
        }
    }

    async fn delete_signature(
        &self,
        subject: &Descriptor,
        manifest: &Digest,
    ) -> Result<Vec<Warning>, OciError> {
        match self {
            Self::Registry(r) => r.delete_signature(subject, manifest).await,
            Self::Layout(l) => l.delete_signature(subject, manifest).await,
        }
    }
}

impl Storage for AnyRepository {
    async fn manifest(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        match self {
            Self::Registry(r) => r.manifest(wanted).await,
            Self::Layout(l) => l.manifest(wanted).await,
        }
    }

    async fn open_blob(&self, wanted: &Descriptor) -> Result<BlobReader, OciError> {
        match self {
            Self::Registry(r) => r.open_blob(wanted).await,
            Self::Layout(l) => l.open_blob(wanted).await,
        }
    }

    async fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool, OciError> {
        match self {
            Self::Registry(r) => r.has_manifest(descriptor).await,
            Self::Layout(l) => l.has_manifest(descriptor).await,
        }
    }

    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, OciError> {
        match self {
            Self::Registry(r) => r.has_blob(descriptor).await,
            Self::Layout(l) => l.has_blob(descriptor).await,
        }
    }

    async fn store_blob(
        &self,
        descriptor: &Descriptor,
        content: BlobReader,
    ) -> Result<(), OciError> {
        match self {
            Self::Registry(r) => r.store_blob(descriptor, content).await,
            Self::Layout(l) => l.store_blob(descriptor, content).await,
        }
    }

    async fn store_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Vec<Warning>, OciError> {
        match self {
            Self::Registry(r) => r.store_manifest(descriptor, bytes, place).await,
            Self::Layout(l) => l.store_manifest(descriptor, bytes, place).await,
        }
    }

    async fn place_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Vec<Warning>, OciError> {
        match self {
            Self::Registry(r) => r.place_manifest(descriptor, bytes, place).await,
            Self::Layout(l) => l.place_manifest(descriptor, bytes, place).await,
        }
    }
}
