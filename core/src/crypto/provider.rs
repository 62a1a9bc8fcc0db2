//! What does the arithmetic: the primitives that this crate needs, as a trait, and which implementation a process uses.
//!
//! Everything that decides which keys, algorithms and parameters are good stands above the trait, in [`crate::crypto`], so that
//! it is the same for all providers. A provider is told which algorithm to use and says no more than whether the signature is right.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::algorithm::HashAlgorithm;

#[cfg(not(any(feature = "aws-lc-rs", feature = "rustcrypto")))]
compile_error!(
    "hardsign-core needs a cryptographic provider: enable the feature aws-lc-rs (the default) or rustcrypto"
);

/// An implementation of hashes and signature checks.
///
/// It checks signatures with public keys; nothing here can load, make or use a private key.
pub trait Provider: fmt::Debug + Send + Sync {
    /// The hash of `data`.
    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Vec<u8>;

    /// Starts a hash that is computed in pieces.
    fn hasher(&self, algorithm: HashAlgorithm) -> Box<dyn HashState>;

    /// SHA-1, by which OCSP names certificates (RFC 6960 §4.1.1). Signatures over it are refused before a provider sees them.
    fn sha1(&self, data: &[u8]) -> [u8; 20];

    /// Fills `bytes` with bytes that nobody can guess.
    ///
    /// # Errors
    /// [`NoRandomness`], where the system has none to give.
    fn random(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;

    /// Reads a public key; none for one that is malformed: a point off its curve, say.
    ///
    /// `bytes` are, for [`KeyKind::Rsa`], the DER `RSAPublicKey` of an odd modulus of 2048 to 8192 bits and an odd exponent from 3 to
    /// 2³³ − 1; for a curve the uncompressed point, of the right length; for [`KeyKind::Ed25519`] 32 bytes. `usual` is the scheme that
    /// the key will most be used with.
    fn key(&self, kind: KeyKind, bytes: &[u8], usual: Scheme) -> Option<Arc<dyn VerifyingKey>>;
}

/// A hash that is computed in pieces.
pub trait HashState: Send + Sync {
    /// Adds data.
    fn update(&mut self, data: &[u8]);

    /// The hash of everything added.
    fn finish(self: Box<Self>) -> Vec<u8>;

    /// Another hash that begins with all that was added to this one.
    fn fork(&self) -> Box<dyn HashState>;
}

/// A public key as a provider holds it. A scheme of another kind of key is [`Refused`].
pub trait VerifyingKey: Send + Sync {
    /// Checks a signature over a digest, whose length is that of the scheme's hash. Never asked for [`Scheme::Ed25519`], which has no
    /// digest.
    ///
    /// # Errors
    /// [`Refused`].
    fn verify_digest(&self, scheme: Scheme, digest: &[u8], signature: &[u8])
    -> Result<(), Refused>;

    /// Checks a signature over a message.
    ///
    /// # Errors
    /// [`Refused`].
    fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<(), Refused>;
}

/// Kinds of public keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// Elliptic curve P-256 (secp256r1).
    P256,
    /// Elliptic curve P-384 (secp384r1).
    P384,
    /// Elliptic curve P-521 (secp521r1).
    P521,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
    Pkcs1(HashAlgorithm),
    /// RSASSA-PSS with MGF1 over the same hash and a salt as long as the hash (RFC 8017 §8.1).
    Pss(HashAlgorithm),
    /// ECDSA, the signature as r‖s, each as long as the order of the curve.
    EcdsaFixed(HashAlgorithm),
    /// ECDSA, the signature as the DER of `SEQUENCE { r INTEGER, s INTEGER }` (RFC 3279 §2.2.3).
    EcdsaDer(HashAlgorithm),
    /// Ed25519 (RFC 8032 §5.1.7).
    Ed25519,
}

/// The signature is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the signature is wrong")]
pub struct Refused;

/// The system gives no random bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// The provider of this process was chosen before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the cryptographic provider of this process was chosen before")]
pub struct AlreadyChosen;

static CHOSEN: OnceLock<&'static dyn Provider> = OnceLock::new();

/// Chooses the provider of this process, once, before anything is hashed or verified.
///
/// # Errors
/// [`AlreadyChosen`], also where the default came into use first.
pub fn set_provider(provider: &'static dyn Provider) -> Result<(), AlreadyChosen> {
    CHOSEN.set(provider).map_err(|_| AlreadyChosen)
}

/// The provider of this process: the one that [`set_provider`] chose, or else the default, aws-lc where it is compiled in.
pub fn provider() -> &'static dyn Provider {
    *CHOSEN.get_or_init(default_provider)
}

#[cfg(feature = "aws-lc-rs")]
fn default_provider() -> &'static dyn Provider {
    &super::aws_lc::AwsLc
}

#[cfg(not(feature = "aws-lc-rs"))]
fn default_provider() -> &'static dyn Provider {
    &super::rustcrypto::RustCrypto
}
