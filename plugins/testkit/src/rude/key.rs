//! The throw-away keys: one that signs, and one that shouldn't.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

pub(super) const LEAF_KEY: &[u8] = include_bytes!("../../keys/leaf.pk8");
const OTHER_KEY: &[u8] = include_bytes!("../../keys/other.pk8");
pub(super) const OTHER: &[u8] = include_bytes!("../../keys/other.der");
pub(super) const EXPIRED: &[u8] = include_bytes!("../../keys/expired.der");

/// Length of a digest in bytes.
pub(super) const DIGEST: usize = 32;

/// SHA-256.
pub(super) fn hash(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// Signs a SHA-256 digest: r‖s. Empty when the digest isn't one.
pub(crate) fn sign(digest: &[u8]) -> Vec<u8> {
    static KEY: LazyLock<Option<EcdsaKeyPair>> = LazyLock::new(|| read(LEAF_KEY));
    sign_with(KEY.as_ref(), digest).unwrap_or_default()
}

/// Signs it with the other key.
pub(super) fn sign_with_other(digest: &[u8]) -> Vec<u8> {
    static KEY: LazyLock<Option<EcdsaKeyPair>> = LazyLock::new(|| read(OTHER_KEY));
    sign_with(KEY.as_ref(), digest).unwrap_or_default()
}

fn read(key: &[u8]) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key).ok()
}

fn sign_with(key: Option<&EcdsaKeyPair>, digest: &[u8]) -> Option<Vec<u8>> {
    let digest = Digest::import_less_safe(digest, &SHA256).ok()?;
    Some(key?.sign_digest(&digest).ok()?.as_ref().to_vec())
}
