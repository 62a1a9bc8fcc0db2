//! The primitives by the crates of RustCrypto: Rust alone, for targets that no C compiler builds for.
//!
//! Verdicts are those of aws-lc, which tests compare. Where the crates differ from it, the difference is made up for here.

use std::sync::Arc;

use ed25519_dalek::Verifier as _;
use p256::ecdsa::signature::Error;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey, pkcs1v15, pss};
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::provider::{HashState, KeyKind, NoRandomness, Provider, Refused, Scheme, VerifyingKey};
use crate::algorithm::HashAlgorithm;

/// The crates of RustCrypto.
#[derive(Clone, Copy, Debug)]
pub struct RustCrypto;

impl Provider for RustCrypto {
    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Vec<u8> {
        match algorithm {
            HashAlgorithm::Sha256 => Sha256::digest(data).to_vec(),
            HashAlgorithm::Sha384 => Sha384::digest(data).to_vec(),
            HashAlgorithm::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hasher(&self, algorithm: HashAlgorithm) -> Box<dyn HashState> {
        Box::new(State(match algorithm {
            HashAlgorithm::Sha256 => Box::new(Sha256::new()),
            HashAlgorithm::Sha384 => Box::new(Sha384::new()),
            HashAlgorithm::Sha512 => Box::new(Sha512::new()),
        }))
    }

    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        Sha1::digest(data).into()
    }

    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    fn random(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::fill(bytes).map_err(|_| NoRandomness)
    }

    /// There is no system to ask.
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    fn random(&self, _: &mut [u8]) -> Result<(), NoRandomness> {
        Err(NoRandomness)
    }

    fn key(&self, kind: KeyKind, bytes: &[u8], _: Scheme) -> Option<Arc<dyn VerifyingKey>> {
        Some(match kind {
            KeyKind::Rsa => Arc::new(rsa_key(bytes)?),
            KeyKind::P256 => Arc::new(P256(
                p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok()?,
            )),
            KeyKind::P384 => Arc::new(P384(
                p384::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok()?,
            )),
            KeyKind::P521 => Arc::new(P521(
                p521::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok()?,
            )),
            KeyKind::Ed25519 => Arc::new(Ed25519(bytes.try_into().ok()?)),
        })
    }
}

struct State(Box<dyn Forking>);

/// A hash as an object that can be copied.
trait Forking: DynDigest + Send + Sync {
    fn fork(&self) -> Box<dyn Forking>;
}

impl<D: DynDigest + Clone + Send + Sync + 'static> Forking for D {
    fn fork(&self) -> Box<dyn Forking> {
        Box::new(self.clone())
    }
}

impl HashState for State {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finish(mut self: Box<Self>) -> Vec<u8> {
        self.0.finalize_reset().into_vec()
    }

    fn fork(&self) -> Box<dyn HashState> {
        // The object's own copy, not one of the box around it.
        Box::new(Self((*self.0).fork()))
    }
}

/// The same as `RsaPublicKey::from_pkcs1_der`, which takes no key of more than 4096 bits.
fn rsa_key(der: &[u8]) -> Option<RsaPublicKey> {
    let key = rsa::pkcs1::RsaPublicKey::try_from(der).ok()?;
    let modulus = BigUint::from_bytes_be(key.modulus.as_bytes());
    let exponent = BigUint::from_bytes_be(key.public_exponent.as_bytes());
    RsaPublicKey::new_with_max_size(modulus, exponent, super::RSA_MAX_BITS).ok()
}

impl VerifyingKey for RsaPublicKey {
    fn verify_digest(
        &self,
        scheme: Scheme,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Refused> {
        // Longer or shorter signatures, and such that are not less than the modulus, are refused by both.
        if signature.len() != self.size() {
            return Err(Refused);
        }
        let key = self.clone();
        match scheme {
            Scheme::Pkcs1(hash) => {
                let signature = pkcs1v15::Signature::try_from(signature);
                match hash {
                    HashAlgorithm::Sha256 => check(
                        &pkcs1v15::VerifyingKey::<Sha256>::new(key),
                        digest,
                        signature,
                    ),
                    HashAlgorithm::Sha384 => check(
                        &pkcs1v15::VerifyingKey::<Sha384>::new(key),
                        digest,
                        signature,
                    ),
                    HashAlgorithm::Sha512 => check(
                        &pkcs1v15::VerifyingKey::<Sha512>::new(key),
                        digest,
                        signature,
                    ),
                }
            }
            Scheme::Pss(hash) => {
                let signature = pss::Signature::try_from(signature);
                match hash {
                    HashAlgorithm::Sha256 => {
                        check(&pss::VerifyingKey::<Sha256>::new(key), digest, signature)
                    }
                    HashAlgorithm::Sha384 => {
                        check(&pss::VerifyingKey::<Sha384>::new(key), digest, signature)
                    }
                    HashAlgorithm::Sha512 => {
                        check(&pss::VerifyingKey::<Sha512>::new(key), digest, signature)
                    }
                }
            }
            _ => Err(Refused),
        }
    }

    fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        verify_hashed(self, scheme, message, signature)
    }
}

macro_rules! curve {
    ($name:ident, $curve:ident, $length:literal) => {
        struct $name($curve::ecdsa::VerifyingKey);

        impl VerifyingKey for $name {
            fn verify_digest(
                &self,
                scheme: Scheme,
                digest: &[u8],
                signature: &[u8],
            ) -> Result<(), Refused> {
                let signature = match scheme {
                    Scheme::EcdsaFixed(_) => $curve::ecdsa::Signature::from_slice(signature),
                    Scheme::EcdsaDer(_) => $curve::ecdsa::Signature::from_der(signature),
                    _ => return Err(Refused),
                };
                // The crates refuse a digest of less than half the field's length, which SHA-256 is on P-521 (66 bytes). As a
                // number it is the same with zeros before it.
                let mut padded = [0; $length];
                let digest = match padded.len().checked_sub(digest.len()) {
                    Some(zeros) => {
                        padded[zeros..].copy_from_slice(digest);
                        &padded[..]
                    }
                    None => digest,
                };
                check(&self.0, digest, signature)
            }

            fn verify(
                &self,
                scheme: Scheme,
                message: &[u8],
                signature: &[u8],
            ) -> Result<(), Refused> {
                verify_hashed(self, scheme, message, signature)
            }
        }
    };
}

curve!(P256, p256, 32);
curve!(P384, p384, 48);
curve!(P521, p521, 66);

/// The 32 bytes: they are a point or not when a signature is checked, as with aws-lc.
struct Ed25519([u8; 32]);

impl VerifyingKey for Ed25519 {
    fn verify_digest(&self, _: Scheme, _: &[u8], _: &[u8]) -> Result<(), Refused> {
        Err(Refused)
    }

    fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        if scheme != Scheme::Ed25519 {
            return Err(Refused);
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| Refused)?;
        let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| Refused)?;
        key.verify(message, &signature).map_err(|_| Refused)
    }
}

fn verify_hashed(
    key: &impl VerifyingKey,
    scheme: Scheme,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Refused> {
    let digest = RustCrypto.hash(scheme.hash().ok_or(Refused)?, message);
    key.verify_digest(scheme, &digest, signature)
}

fn check<S>(
    key: &impl PrehashVerifier<S>,
    digest: &[u8],
    signature: Result<S, Error>,
) -> Result<(), Refused> {
    key.verify_prehash(digest, &signature.map_err(|_| Refused)?)
        .map_err(|_| Refused)
}
