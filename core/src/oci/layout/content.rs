//! Whole artifacts in a layout: content streamed in and out, manifests under a tag.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;

use super::index::Change;
use super::{Layout, LayoutError, files, graph};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::oci::content::{BlobReader, Place, Stored};
use crate::oci::manifest::{self, Entry};
use crate::oci::{Announced, Many, OciError, Repository, Warning};

#[async_trait]
impl Repository for Layout {
    async fn resolve(&self, target: &TagOrDigest) -> Result<Descriptor, OciError> {
        let target = target.clone();
        self.run(move |inner| inner.resolve(&target)).await
    }

    async fn delete_signature(
        &self,
        subject: &Descriptor,
        manifest: &Digest,
    ) -> Result<Vec<Warning>, OciError> {
        let (subject, digest) = (subject.clone(), manifest.clone());
        self.run(move |inner| inner.check_is_signature(&subject, &digest))
            .await?;
        let change = Change::Remove(manifest.clone());
        let writing = self.inner.writer.begin();
        self.commit(writing, change, Vec::new()).await?;
        let digest = manifest.clone();
        self.run(move |inner| Ok(files::remove_blob(&inner.path, &digest)?))
            .await?;
        Ok(Vec::new())
    }

    fn announce(&self) -> Option<Announced> {
        Some(Announced::new(self.inner.writer.announce()))
    }

    async fn open_blob(&self, wanted: &Descriptor) -> Result<BlobReader, OciError> {
        let opened = wanted.clone();
        let file = self
            .run(move |inner| {
                let path = files::blob_path(&inner.path, &opened.digest);
                let absent = || files::absent(&inner.path, &opened.digest);
                let (file, _) = files::open(&path)?.ok_or_else(absent)?;
                Ok(file)
            })
            .await?;
        Ok(BlobReader::file(wanted, file))
    }

    async fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool, OciError> {
        // A layout may hold an index and not all that it lists: look at each part.
        let descriptor = descriptor.clone();
        self.run(move |inner| {
            let Ok(parsed) = graph::read_manifest(&inner.path, &descriptor) else {
                return Ok(false);
            };
            let parts = parsed.config.iter().chain(&parsed.layers);
            let mut parts = parts.map(|e| has(&inner.path, &e.descriptor));
            Ok(parts.all(|held| held))
        })
        .await
    }

    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, OciError> {
        let descriptor = descriptor.clone();
        self.run(move |inner| Ok(has(&inner.path, &descriptor)))
            .await
    }

    async fn store_blob(
        &self,
        descriptor: &Descriptor,
        mut content: BlobReader,
    ) -> Result<(), OciError> {
        let digest = descriptor.digest.clone();
        let (new, path) = self
            .run(move |inner| Ok(files::new_blob(&inner.path, &digest)?))
            .await?;
        let fail = |source| LayoutError::io("write", &path, source);
        let file = new.as_file().try_clone().map_err(fail)?;
        let mut file = tokio::fs::File::from_std(file);
        while let Some(chunk) = content.chunk().await? {
            file.write_all(&chunk).await.map_err(fail)?;
        }
        file.flush().await.map_err(fail)?;
        file.sync_data().await.map_err(fail)?;
        // Everything was compared with the digest: only now it gets its name.
        let target = path.clone();
        self.run(move |_| {
            new.persist(&target)
                .map_err(|error| LayoutError::io("write", &target, error.error))?;
            Ok(())
        })
        .await
    }

    async fn store_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Vec<Warning>, OciError> {
        match self.write(descriptor, bytes, place).await? {
            Stored::Placed(warnings) => return Ok(warnings),
            Stored::Waiting(placed) => placed.await?,
        }
        Ok(Vec::new())
    }

    async fn place_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Vec<Warning>, OciError> {
        // Content that is there is left alone, and so is an entry.
        self.store_manifest(descriptor, bytes, place).await
    }

    async fn store_one_of_many(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
        _present: bool,
    ) -> Result<Stored, OciError> {
        self.write(descriptor, bytes, place).await
    }

    fn announce_many(&self) -> Option<Many> {
        // The next of them.
        Some(Many::new(self.inner.writer.begin()))
    }
}

impl Layout {
    /// Writes a manifest; the index names it later.
    async fn write(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Stored, OciError> {
        let mut entry = Entry::new(descriptor.clone());
        let tag = match place {
            Place::Child => None,
            Place::Artifact(tag) => Some(tag.map(str::to_owned)),
            Place::Referrer {
                artifact_type,
                annotations,
                ..
            } => {
                entry.descriptor.annotations = annotations.clone();
                entry.artifact_type = artifact_type.map(str::to_owned);
                Some(None)
            }
        };
        let writing = self.inner.writer.begin();
        let descriptor = descriptor.clone();
        self.run(move |inner| Ok(files::write_blob(&inner.path, &descriptor, &bytes)?))
            .await?;
        let Some(tag) = tag else {
            return Ok(Stored::Placed(Vec::new()));
        };
        let layout = self.clone();
        Ok(Stored::Waiting(Box::pin(async move {
            let change = Change::Add { entry, tag };
            Ok(layout.commit(writing, change, Vec::new()).await?)
        })))
    }
}

/// Whether a file with that name and size is there. Its content was compared when it was written,
/// and is again by whoever reads it.
fn has(root: &Path, descriptor: &Descriptor) -> bool {
    let opened = files::open(&files::blob_path(root, &descriptor.digest));
    matches!(opened, Ok(Some((_, size))) if size == descriptor.size)
}

/// Makes an empty layout in a directory that does not exist or is empty.
pub(super) fn create(path: &Path) -> Result<(), LayoutError> {
    let fail = |action, source| LayoutError::io(action, path, source);
    std::fs::create_dir_all(path).map_err(|source| fail("create", source))?;
    let mut entries = std::fs::read_dir(path).map_err(|source| fail("read", source))?;
    if entries.next().is_some() {
        return Err(LayoutError::NotEmpty {
            path: path.to_owned(),
        });
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
        manifest::OCI_INDEX
    );
    let new: [(PathBuf, &[u8]); 2] = [
        (path.join("index.json"), index.as_bytes()),
        (
            path.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        ),
    ];
    for (file, content) in new {
        files::replace(path, &file, content)?;
    }
    files::sync_directory(path)
}
