//! Attaching a file to an artifact: an SBOM, a scan result, whatever is about the artifact and is to
//! be found beside it.
//!
//! What is stored is an artifact of its own that names the other as its `subject` (OCI image
//! specification 1.1, "Guidelines for Artifact Usage"; distribution specification, "Listing
//! Referrers"): the file is its one layer. Its manifest says nothing of when it was made, so that the
//! same file is the same artifact however often it is attached.
//!
//! [`Attachment::new`] stores nothing: its manifest can be signed first, so that a key that fails
//! leaves nothing behind. Content comes before the manifest that makes it visible.

use std::collections::BTreeMap;

use super::content::{BlobReader, Place};
use super::manifest::{self, EMPTY_CONTENT, EMPTY_MEDIA_TYPE, MAX_MANIFEST, OCI_MANIFEST};
use super::{OciError, Repository, Warning};
use crate::artifact::{Descriptor, Digest, Quoted};

/// Name that a file gets where it is pulled (OCI image specification, "Pre-Defined Annotation Keys").
pub const TITLE: &str = "org.opencontainers.image.title";

/// A type that nothing can be attached under.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// Not `type/subtype` (RFC 6838, section 4.2).
    #[error("{} is not a media type such as application/spdx+json", Quoted(.0))]
    Malformed(String),
    /// That of signatures, or of what is no artifact.
    #[error("{} is not for files", Quoted(.0))]
    Reserved(String),
}

/// A file that is to be attached to an artifact.
#[derive(Clone, Debug)]
pub struct Attachment {
    subject: Digest,
    artifact_type: String,
    content: Descriptor,
    annotations: BTreeMap<String, String>,
    manifest: Descriptor,
    bytes: Vec<u8>,
}

impl Attachment {
    /// Describes `content` as attached to `subject`. The annotations of `content` stand at the file,
    /// those of `annotations` at the whole, where lists show them.
    ///
    /// # Errors
    /// [`OciError::ManifestTooLarge`], where the annotations make the manifest so.
    pub fn new(
        subject: &Descriptor,
        artifact_type: &str,
        content: Descriptor,
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, OciError> {
        let bytes = manifest::attachment_manifest(artifact_type, subject, &content, &annotations);
        let bytes = bytes.map_err(OciError::WriteAttachment)?;
        let manifest = manifest::describe(OCI_MANIFEST, &bytes);
        if manifest.size > MAX_MANIFEST {
            return Err(OciError::ManifestTooLarge {
                digest: manifest.digest,
                size: manifest.size,
            });
        }
        Ok(Self {
            subject: subject.digest.clone(),
            artifact_type: artifact_type.to_owned(),
            content,
            annotations,
            manifest,
            bytes,
        })
    }

    /// The manifest, which is what a signature is about.
    pub fn manifest(&self) -> &Descriptor {
        &self.manifest
    }

    /// The type by which lists show it.
    pub fn artifact_type(&self) -> &str {
        &self.artifact_type
    }

    /// The file.
    pub fn content(&self) -> &Descriptor {
        &self.content
    }

    /// Stores the file, unless it is there already. Nothing refers to it yet.
    ///
    /// # Errors
    /// [`OciError`], among others [`OciError::DigestMismatch`] and [`OciError::SizeMismatch`] where
    /// the file is no longer what it was.
    pub async fn store_content(
        &self,
        repository: &dyn Repository,
        content: BlobReader,
    ) -> Result<(), OciError> {
        let empty = manifest::empty_descriptor();
        let config = BlobReader::memory(&empty, EMPTY_CONTENT.to_vec());
        for (descriptor, content) in [(&empty, config), (&self.content, content)] {
            if !repository.has_blob(descriptor).await? {
                repository.store_blob(descriptor, content).await?;
            }
        }
        Ok(())
    }

    /// Stores the manifest, whose content is stored: from here on the file is attached.
    ///
    /// # Errors
    /// [`OciError`]; with [`OciError::NotListed`] the manifest is stored, and nobody finds it.
    pub async fn store(&self, repository: &dyn Repository) -> Result<Vec<Warning>, OciError> {
        let place = Place::Referrer {
            subject: &self.subject,
            artifact_type: Some(&self.artifact_type),
            annotations: &self.annotations,
        };
        let bytes = self.bytes.clone();
        match repository.has_manifest(&self.manifest).await? {
            true => {
                repository
                    .place_manifest(&self.manifest, bytes, place)
                    .await
            }
            false => {
                repository
                    .store_manifest(&self.manifest, bytes, place)
                    .await
            }
        }
    }
}

/// Checks the type of something to be attached, or of its file.
///
/// # Errors
/// [`TypeError`].
pub fn check_type(text: &str) -> Result<(), TypeError> {
    let name = |name: &str| {
        let mut characters = name.chars();
        name.len() <= MAX_NAME
            && characters
                .next()
                .is_some_and(|first| first.is_ascii_alphanumeric())
            && characters.all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    match text.split_once('/') {
        Some((kind, subtype)) if name(kind) && name(subtype) => {}
        _ => return Err(TypeError::Malformed(text.to_owned())),
    }
    let reserved = [manifest::SIGNATURE_ARTIFACT_TYPE, EMPTY_MEDIA_TYPE];
    match reserved.contains(&text) || manifest::is_manifest(text) {
        true => Err(TypeError::Reserved(text.to_owned())),
        false => Ok(()),
    }
}

/// Longest name before or after the slash of a media type (RFC 6838, section 4.2).
const MAX_NAME: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::manifest::{Manifest, describe};

    #[test]
    fn types() {
        for good in [
            "application/spdx+json",
            "application/vnd.cyclonedx+json",
            "x/y",
            "application/sarif+json",
        ] {
            assert_eq!(check_type(good), Ok(()), "{good}");
        }
        let long = format!("a/{}", "b".repeat(128));
        for bad in [
            "", "sbom", "/x", "x/", "a/b/c", "a b/c", "a/b;c=d", "a/b\n", "é/b", "text/!", &long,
        ] {
            let expected = TypeError::Malformed(bad.to_owned());
            assert_eq!(check_type(bad), Err(expected), "{bad}");
        }
        for reserved in [
            manifest::SIGNATURE_ARTIFACT_TYPE,
            EMPTY_MEDIA_TYPE,
            OCI_MANIFEST,
            manifest::OCI_INDEX,
        ] {
            let expected = TypeError::Reserved(reserved.to_owned());
            assert_eq!(check_type(reserved), Err(expected), "{reserved}");
        }
    }

    /// What is written is read back as what was meant, and is the same each time.
    #[test]
    fn the_manifest_is_that_of_a_referrer() {
        let subject = describe(OCI_MANIFEST, b"subject");
        let mut content = describe("text/plain", b"<content>");
        content
            .annotations
            .insert(TITLE.to_owned(), "a <b>.txt".to_owned());
        let annotations = BTreeMap::from([("org.example.build".to_owned(), "17".to_owned())]);
        let attach = || {
            let (content, annotations) = (content.clone(), annotations.clone());
            Attachment::new(&subject, "application/spdx+json", content, annotations).unwrap()
        };
        let attachment = attach();
        assert_eq!(attachment.manifest(), attach().manifest());
        let parsed = Manifest::parse(OCI_MANIFEST, &attachment.bytes).unwrap();
        assert_eq!(
            parsed.artifact_type.as_deref(),
            Some("application/spdx+json")
        );
        assert_eq!(
            parsed.config.unwrap().descriptor.media_type,
            EMPTY_MEDIA_TYPE
        );
        assert_eq!(parsed.subject.unwrap().descriptor, subject);
        let layers: Vec<_> = parsed.layers.into_iter().map(|l| l.descriptor).collect();
        assert_eq!(layers, [content.clone()]);
        assert_eq!(parsed.annotations, annotations);
        let huge = BTreeMap::from([("a".to_owned(), "x".repeat(5 << 20))]);
        let refused = Attachment::new(&subject, "a/b", content, huge);
        assert!(matches!(refused, Err(OciError::ManifestTooLarge { .. })));
    }
}
