//! Content on its way in or out of a repository, and what a manifest is there.

use std::collections::BTreeMap;

pub use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;

use super::manifest::{Manifest, SignatureForm};
use super::{OciError, SignatureSource, manifest};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::crypto::Hasher;
use crate::envelope::Format;
#[cfg(feature = "registry")]
use crate::net::Streaming;

/// Bytes read from a file at a time.
const CHUNK: usize = 128 * 1024;

/// One of many manifests, whose content is stored.
pub enum Stored {
    /// It has its place.
    Placed(Vec<super::Warning>),
    /// It has its place once this is done, which must be polled for that, together with the others.
    Waiting(BoxFuture<'static, Result<(), OciError>>),
}

/// What a stored manifest is in its repository.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Place<'a> {
    /// An artifact of its own, under a tag or not.
    Artifact(Option<&'a str>),
    /// A part of an index that is stored after it.
    Child,
    /// Attached to another artifact.
    Referrer {
        /// The artifact.
        subject: &'a Digest,
        /// Its type as lists show it.
        artifact_type: Option<&'a str>,
        /// Its manifest's annotations.
        annotations: &'a BTreeMap<String, String>,
    },
}

/// Content that is compared with its descriptor while it is read: whoever reads to the
/// end without an error has read what the descriptor describes.
// OCI-14
#[derive(Debug)]
pub struct BlobReader {
    wanted: Descriptor,
    source: ContentSource,
    hasher: Option<Hasher>,
    read: u64,
}

#[derive(Debug)]
enum ContentSource {
    File(tokio::fs::File),
    #[cfg(feature = "registry")]
    Http(Box<Streaming>),
    Memory(Option<Bytes>),
}

impl BlobReader {
    fn new(wanted: &Descriptor, source: ContentSource) -> Self {
        Self {
            hasher: Some(Hasher::new(wanted.digest.algorithm())),
            wanted: wanted.clone(),
            source,
            read: 0,
        }
    }

    /// The content of an open file, from where it stands.
    pub fn file(wanted: &Descriptor, file: std::fs::File) -> Self {
        Self::new(wanted, ContentSource::File(tokio::fs::File::from_std(file)))
    }

    #[cfg(feature = "registry")]
    pub(super) fn http(wanted: &Descriptor, streaming: Streaming) -> Self {
        Self::new(wanted, ContentSource::Http(Box::new(streaming)))
    }

    pub(super) fn memory(wanted: &Descriptor, bytes: Vec<u8>) -> Self {
        Self::new(wanted, ContentSource::Memory(Some(bytes.into())))
    }

    /// The next piece; `None` after the last one, once everything was compared.
    ///
    /// # Errors
    /// [`OciError::SizeMismatch`], [`OciError::DigestMismatch`], or the source's errors.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OciError> {
        let chunk = match &mut self.source {
            ContentSource::Memory(bytes) => bytes.take().filter(|b| !b.is_empty()),
            #[cfg(feature = "registry")]
            ContentSource::Http(streaming) => streaming
                .chunk()
                .await
                .map_err(super::registry::RegistryError::Net)?,
            ContentSource::File(file) => {
                let mut buffer = vec![0; CHUNK];
                let count = file
                    .read(&mut buffer)
                    .await
                    .map_err(|source| OciError::Read {
                        digest: self.wanted.digest.clone(),
                        source,
                    })?;
                buffer.truncate(count);
                (count > 0).then(|| buffer.into())
            }
        };
        let Some(chunk) = chunk else {
            self.finish()?;
            return Ok(None);
        };
        let size = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.read = self.read.saturating_add(size);
        if self.read > self.wanted.size {
            return Err(self.wrong_size());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        Ok(Some(chunk))
    }

    /// Reads everything. The caller has bounded the size.
    pub(super) async fn read(mut self) -> Result<Vec<u8>, OciError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn finish(&mut self) -> Result<(), OciError> {
        let Some(hasher) = self.hasher.take() else {
            return Ok(());
        };
        if self.read != self.wanted.size {
            return Err(self.wrong_size());
        }
        let found = Digest::new(self.wanted.digest.algorithm(), hasher.finish());
        if found == self.wanted.digest {
            Ok(())
        } else {
            Err(OciError::DigestMismatch {
                expected: self.wanted.digest.clone(),
                found,
            })
        }
    }

    fn wrong_size(&self) -> OciError {
        OciError::SizeMismatch {
            digest: self.wanted.digest.clone(),
            expected: self.wanted.size,
            found: self.read,
        }
    }
}

/// Fetches and parses a manifest.
///
/// # Errors
/// Those of [`SignatureSource::fetch_manifest`], and [`OciError::Manifest`].
pub async fn parsed_manifest(
    repository: &dyn SignatureSource,
    wanted: &Descriptor,
) -> Result<(Manifest, Vec<u8>), OciError> {
    let bytes = repository.fetch_manifest(wanted).await?;
    Ok((parse_as(wanted, &bytes)?, bytes))
}

/// Parses the bytes of a manifest as what its descriptor says.
pub(super) fn parse_as(wanted: &Descriptor, bytes: &[u8]) -> Result<Manifest, OciError> {
    Manifest::parse(&wanted.media_type, bytes).map_err(|source| OciError::Manifest {
        digest: wanted.digest.clone(),
        source,
    })
}

/// The reference by digest of a descriptor.
pub(super) fn by_digest(descriptor: &Descriptor) -> TagOrDigest {
    TagOrDigest::Digest(descriptor.digest.clone())
}

/// Checks a signature's manifest and says where its envelope is (OCI-10 to OCI-13, VER-30).
pub(super) fn envelope_of(
    manifest: &Descriptor,
    parsed: &Manifest,
) -> Result<(Format, Descriptor), OciError> {
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
pub(super) fn check_is_signature(
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
pub(super) fn check_content(descriptor: &Descriptor, content: &[u8]) -> Result<(), OciError> {
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
