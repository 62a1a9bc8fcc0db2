//! The payload against the artifact or file, and against the metadata that the user asks for.
//! No policy can weaken these (VER-19, VER-20, BLOB-09).

use std::collections::BTreeMap;

use crate::algorithm::HashAlgorithm;
use crate::artifact::Descriptor;
use crate::blob::Digests;

/// A signature for something else.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// Media type, digest or size differ from the artifact's.
    // VER-19, VER-34
    #[error("content descriptor mismatch")]
    Artifact,
    /// Digest, size or the media type asked for differ from the file's.
    // BLOB-09
    #[error("integrity check failed. signature does not match the given blob")]
    Blob,
}

/// User metadata that was asked for is not in the payload.
// VER-20
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unable to find specified metadata in the signature")]
pub struct MetadataError;

/// What a signature has to be about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Target<'a> {
    /// An artifact of an OCI repository.
    Artifact(&'a Descriptor),
    /// A file.
    Blob {
        /// Its digests and size.
        digests: &'a Digests,
        /// The media type that the user gave.
        media_type: Option<&'a str>,
    },
}

impl Target<'_> {
    /// Compares with the target of a payload. A payload's annotations play no part (DIF-30). A
    /// file's digest must be by `hash`, the hash of the signature over the payload: the payload
    /// doesn't choose by what the file is known (BLOB-09).
    pub(super) fn check(
        &self,
        target: &Descriptor,
        hash: HashAlgorithm,
    ) -> Result<(), ContentError> {
        match self {
            Self::Artifact(artifact) if artifact.same_content(target) => Ok(()),
            Self::Artifact(_) => Err(ContentError::Artifact),
            Self::Blob {
                digests,
                media_type,
            } => {
                // Only a digest that was computed over the file counts.
                let digest = digests.get(hash);
                let same = digest == Some(&target.digest)
                    && digests.size() == target.size
                    && media_type.is_none_or(|given| given == target.media_type);
                same.then_some(()).ok_or(ContentError::Blob)
            }
        }
    }
}

/// Each required pair is among the payload's annotations, which are signed (VER-20, VER-32).
pub(super) fn user_metadata(
    target: &Descriptor,
    required: &BTreeMap<String, String>,
) -> Result<(), MetadataError> {
    let found = |(key, value): (&String, &String)| target.annotations.get(key) == Some(value);
    if required.iter().all(found) {
        Ok(())
    } else {
        Err(MetadataError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Digest;

    fn target(bytes: &[u8], algorithm: HashAlgorithm) -> Descriptor {
        let hash = crate::crypto::hash(algorithm, bytes);
        Descriptor {
            media_type: "text/plain".to_owned(),
            digest: Digest::from_bytes(algorithm, hash).unwrap(),
            size: u64::try_from(bytes.len()).unwrap(),
            annotations: BTreeMap::from([("build".to_owned(), "17".to_owned())]),
        }
    }

    /// VER-19, VER-34: media type, digest and size, each of them.
    #[test]
    fn artifacts_are_compared_whole() {
        let artifact = target(b"content", HashAlgorithm::Sha256);
        let check = |t: &Descriptor| Target::Artifact(&artifact).check(t, HashAlgorithm::Sha512);
        let plain = Descriptor {
            annotations: BTreeMap::new(),
            ..artifact.clone()
        };
        assert_eq!(check(&plain), Ok(()));
        for other in [
            Descriptor {
                media_type: "text/html".to_owned(),
                ..artifact.clone()
            },
            Descriptor {
                size: 8,
                ..artifact.clone()
            },
            target(b"Content", HashAlgorithm::Sha256),
            target(b"content", HashAlgorithm::Sha384),
        ] {
            assert_eq!(check(&other), Err(ContentError::Artifact));
        }
        assert_eq!(
            ContentError::Artifact.to_string(),
            "content descriptor mismatch"
        );
    }

    /// BLOB-09: digest by the signature's hash, size, and the media type where one was given.
    #[test]
    fn blobs_are_compared_whole() {
        let digests = Digests::of(&b"content"[..], &[HashAlgorithm::Sha384]).unwrap();
        let good = target(b"content", HashAlgorithm::Sha384);
        let check = |t: &Descriptor, media_type| {
            Target::Blob {
                digests: &digests,
                media_type,
            }
            .check(t, HashAlgorithm::Sha384)
        };
        assert_eq!(check(&good, None), Ok(()));
        assert_eq!(check(&good, Some("text/plain")), Ok(()));
        assert_eq!(check(&good, Some("text/html")), Err(ContentError::Blob));
        let size = Descriptor {
            size: 6,
            ..good.clone()
        };
        assert_eq!(check(&size, None), Err(ContentError::Blob));
        for other in [
            target(b"Content", HashAlgorithm::Sha384),
            // By another hash than the signature's.
            target(b"content", HashAlgorithm::Sha256),
            target(b"content", HashAlgorithm::Sha512),
        ] {
            assert_eq!(check(&other, None), Err(ContentError::Blob));
        }
        // A digest that was computed for another signature of the same file helps nobody.
        let all = Digests::of(&b"content"[..], &HashAlgorithm::ALL).unwrap();
        for (of, hash) in HashAlgorithm::ALL
            .into_iter()
            .flat_map(|of| HashAlgorithm::ALL.map(|hash| (of, hash)))
        {
            let expected = Target::Blob {
                digests: &all,
                media_type: None,
            };
            let verdict = expected.check(&target(b"content", of), hash);
            assert_eq!(verdict.is_ok(), of == hash, "{of:?} under {hash:?}");
        }
        assert_eq!(
            ContentError::Blob.to_string(),
            "integrity check failed. signature does not match the given blob"
        );
    }

    /// VER-20.
    #[test]
    fn metadata_must_be_there_and_equal() {
        let target = target(b"content", HashAlgorithm::Sha256);
        let required = |pairs: &[(&str, &str)]| {
            let pair = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            user_metadata(&target, &pairs.iter().map(pair).collect())
        };
        assert_eq!(required(&[]), Ok(()));
        assert_eq!(required(&[("build", "17")]), Ok(()));
        for missing in [
            &[("build", "18")][..],
            &[("Build", "17")],
            &[("build", "17"), ("note", "")],
        ] {
            assert_eq!(required(missing), Err(MetadataError));
        }
        assert_eq!(
            MetadataError.to_string(),
            "unable to find specified metadata in the signature"
        );
    }
}
