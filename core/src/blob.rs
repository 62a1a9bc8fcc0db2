//! Files: their digests, the media type that a signature gives them, and the names of their
//! signature files.
//!
//! Implements "Blob Signatures" of the signature specification. A file is read in one pass and
//! constant memory, whatever its size. Signing is for [`crate::sign`], verification for
//! [`crate::verify`]; neither opens the file.

// Requirements: BLOB-01, BLOB-03, BLOB-06, BLOB-07, BLOB-10, BLOB-16.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::algorithm::HashAlgorithm;
use crate::artifact::{Descriptor, Digest, Quoted};
use crate::crypto::Hasher;
use crate::envelope::Format;

#[cfg(feature = "runtime")]
mod apart;
mod media_type;

#[cfg(feature = "runtime")]
pub use apart::read_apart;
pub use media_type::{DEFAULT_MEDIA_TYPE, InvalidMediaType, MediaTypeFault, check_media_type};

/// Digests of one file by several hashes, computed in one pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Digests {
    digests: Vec<Digest>,
    size: u64,
}

/// A file name that does not say which format a signature has.
// BLOB-07
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureNameError {
    /// The last part is not `.sig`.
    #[error("invalid signature filename {}. The file extension must be .sig", name.escape_debug())]
    Extension {
        /// The file name.
        name: String,
    },
    /// Fewer than three parts.
    #[error(
        "invalid signature filename {}. A valid signature file name must contain signature format and .sig file extension", name.escape_debug()
    )]
    NoFormat {
        /// The file name.
        name: String,
    },
    /// The part before `.sig` names no format.
    #[error(
        "signature format {} not supported\nSupported signature envelope formats are \"jws\" and \"cose\"",
        Quoted(format)
    )]
    Format {
        /// The part, in lower case.
        format: String,
    },
}

impl Digests {
    /// Reads a file to its end and computes its digests.
    ///
    /// # Errors
    /// Any error of the reader.
    pub fn of(mut reader: impl Read, algorithms: &[HashAlgorithm]) -> io::Result<Self> {
        let mut hashers: Vec<_> = algorithms
            .iter()
            .map(|algorithm| (*algorithm, Hasher::new(*algorithm)))
            .collect();
        let mut buffer = vec![0; BUFFER];
        let mut size: u64 = 0;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = buffer.get(..count).unwrap_or_default();
            for (_, hasher) in &mut hashers {
                hasher.update(piece);
            }
            size = u64::try_from(count)
                .ok()
                .and_then(|count| size.checked_add(count))
                .ok_or_else(|| io::Error::other("file is too large"))?;
        }
        let digests = hashers
            .into_iter()
            .map(|(algorithm, hasher)| {
                Digest::from_bytes(algorithm, hasher.finish()).map_err(io::Error::other)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { digests, size })
    }

    /// The digest by one hash, if it was computed.
    pub fn get(&self, algorithm: HashAlgorithm) -> Option<&Digest> {
        self.digests.iter().find(|d| d.algorithm() == algorithm)
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// The descriptor of a file, by the hash of the key that signs it.
///
/// # Errors
/// Any error of the reader.
// ENV-12
pub fn describe(
    reader: impl Read,
    algorithm: HashAlgorithm,
    media_type: &str,
) -> io::Result<Descriptor> {
    let digests = Digests::of(reader, &[algorithm])?;
    let digest = digests.get(algorithm).cloned();
    Ok(Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.ok_or_else(|| io::Error::other("no digest"))?,
        size: digests.size,
        annotations: std::collections::BTreeMap::new(),
    })
}

/// Where the signature of a file goes: `<file name>.<format>.sig`, beside the file or in
/// `directory`. Nothing for a path without a file name.
// BLOB-01, DIF-25
pub fn signature_path(blob: &Path, format: Format, directory: Option<&Path>) -> Option<PathBuf> {
    let mut name = blob.file_name()?.to_owned();
    name.push(format!(".{}.sig", format.name()));
    Some(match directory {
        Some(directory) => directory.join(name),
        None => blob.with_file_name(name),
    })
}

/// The format that the name of a signature file promises.
///
/// # Errors
/// [`SignatureNameError`]; nothing is guessed from the contents.
// BLOB-06, BLOB-08, DIF-11
pub fn signature_format(path: &Path) -> Result<Format, SignatureNameError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut parts = name.rsplit('.');
    let extension = parts.next().unwrap_or_default();
    if !name.contains('.') || !extension.eq_ignore_ascii_case("sig") {
        return Err(SignatureNameError::Extension {
            name: name.into_owned(),
        });
    }
    let (Some(format), Some(_)) = (parts.next(), parts.next()) else {
        return Err(SignatureNameError::NoFormat {
            name: name.into_owned(),
        });
    };
    let format = format.to_lowercase();
    format
        .parse()
        .map_err(|_| SignatureNameError::Format { format })
}

/// Bytes read at once.
const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    /// A reader of zeros that never has more than one buffer at hand and counts what was asked.
    struct Zeros {
        left: u64,
        largest: usize,
    }

    impl Read for &mut Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.largest = self.largest.max(buffer.len());
            let count = buffer.len().min(usize::try_from(self.left).unwrap());
            buffer[..count].fill(0);
            self.left -= u64::try_from(count).unwrap();
            Ok(count)
        }
    }

    /// BLOB-10, BLOB-16: one pass for all hashes, a fixed buffer.
    #[test]
    fn files_are_streamed() {
        let mut zeros = Zeros {
            left: 3_000_001,
            largest: 0,
        };
        let digests = Digests::of(&mut zeros, &HashAlgorithm::ALL).unwrap();
        assert_eq!((digests.size(), zeros.left), (3_000_001, 0));
        assert!(zeros.largest <= BUFFER);
        let whole = vec![0; 3_000_001];
        for algorithm in HashAlgorithm::ALL {
            let hash = crate::crypto::hash(algorithm, &whole);
            assert_eq!(digests.get(algorithm).unwrap().as_bytes(), hash);
        }
    }

    /// ENV-12, BLOB-10: the descriptor has the key's hash, and no other is computed.
    #[test]
    fn descriptor_has_the_hash_of_the_key() {
        for algorithm in HashAlgorithm::ALL {
            let descriptor = describe(&b"abc"[..], algorithm, DEFAULT_MEDIA_TYPE).unwrap();
            assert_eq!(descriptor.digest.algorithm(), algorithm);
            assert_eq!(descriptor.size, 3);
            assert_eq!(descriptor.media_type, "application/octet-stream");
        }
        let one = Digests::of(&b"abc"[..], &[HashAlgorithm::Sha384]).unwrap();
        assert_eq!(one.get(HashAlgorithm::Sha256), None);
    }

    /// A broken disk is an error, not a short file.
    #[test]
    fn read_errors_are_kept() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let reader = b"abc".chain(Broken);
        let error = Digests::of(reader, &HashAlgorithm::ALL).unwrap_err();
        assert_eq!(error.told(), "broken");
    }

    /// BLOB-01, DIF-25.
    #[test]
    fn signature_paths() {
        let path = |blob: &str, format, directory: Option<&str>| {
            signature_path(Path::new(blob), format, directory.map(Path::new))
                .map(|p| p.to_str().unwrap().to_owned())
        };
        assert_eq!(
            path("a/b.tar.gz", Format::Jws, None).as_deref(),
            Some("a/b.tar.gz.jws.sig")
        );
        assert_eq!(
            path("a/b", Format::Cose, Some("/c")).as_deref(),
            Some("/c/b.cose.sig")
        );
        assert_eq!(path("/", Format::Cose, None), None);
    }

    /// BLOB-06, BLOB-07.
    #[test]
    fn formats_by_name() {
        let format = |name: &str| signature_format(Path::new(name)).map_err(|e| e.told());
        for (name, expected) in [
            ("a.jws.sig", Format::Jws),
            ("x/y.z/a.b.COSE.Sig", Format::Cose),
            (".jws.sig", Format::Jws),
        ] {
            assert_eq!(format(name), Ok(expected));
        }
        for (name, text) in [
            (
                "x/a.jws",
                "invalid signature filename a.jws. The file extension must be .sig",
            ),
            (
                "sig",
                "invalid signature filename sig. The file extension must be .sig",
            ),
            (
                "blobFile.sig",
                "invalid signature filename blobFile.sig. A valid signature file name must contain signature format and .sig file extension",
            ),
            (
                "a.PGP.sig",
                "signature format \"pgp\" not supported\nSupported signature envelope formats are \"jws\" and \"cose\"",
            ),
        ] {
            assert_eq!(format(name), Err(text.to_owned()));
        }
    }
}
