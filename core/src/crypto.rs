//! Hashes and signature checks: the only file that names the cryptographic library.

use aws_lc_rs::digest;

use crate::algorithm::HashAlgorithm;

/// The hash of `bytes`.
pub fn hash(algorithm: HashAlgorithm, bytes: &[u8]) -> Vec<u8> {
    digest::digest(implementation(algorithm), bytes)
        .as_ref()
        .to_vec()
}

/// A hash over content that arrives in pieces.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Hasher {
    /// Begins a hash.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self(digest::Context::new(implementation(algorithm)))
    }

    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all pieces.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

fn implementation(algorithm: HashAlgorithm) -> &'static digest::Algorithm {
    match algorithm {
        HashAlgorithm::Sha256 => &digest::SHA256,
        HashAlgorithm::Sha384 => &digest::SHA384,
        HashAlgorithm::Sha512 => &digest::SHA512,
    }
}
