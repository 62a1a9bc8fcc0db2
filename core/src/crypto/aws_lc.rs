//! The primitives by aws-lc: C and assembly, the fastest.

use std::sync::Arc;

use aws_lc_rs::digest::{self, Context, Digest};
use aws_lc_rs::signature::{self as lc, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};

use super::provider::{HashState, KeyKind, NoRandomness, Provider, Refused, Scheme, VerifyingKey};
use crate::algorithm::HashAlgorithm;
use crate::algorithm::HashAlgorithm::{Sha256, Sha384, Sha512};

/// aws-lc, the default.
#[derive(Clone, Copy, Debug)]
pub struct AwsLc;

impl Provider for AwsLc {
    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Vec<u8> {
        digest::digest(lc_hash(algorithm), data).as_ref().to_vec()
    }

    fn hasher(&self, algorithm: HashAlgorithm) -> Box<dyn HashState> {
        Box::new(State(Context::new(lc_hash(algorithm))))
    }

    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        let mut out = [0; 20];
        out.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref());
        out
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
    }

    fn key(&self, kind: KeyKind, bytes: &[u8], usual: Scheme) -> Option<Arc<dyn VerifyingKey>> {
        let parsed = ParsedPublicKey::new(lc_algorithm(usual, kind)?, bytes).ok()?;
        Some(Arc::new(Key {
            kind,
            bytes: bytes.into(),
            usual,
            parsed,
        }))
    }
}

struct State(Context);

impl HashState for State {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }

    fn fork(&self) -> Box<dyn HashState> {
        Box::new(Self(self.0.clone()))
    }
}

struct Key {
    kind: KeyKind,
    bytes: Box<[u8]>,
    /// The scheme that `parsed` is for: aws-lc-rs parses a key for one.
    usual: Scheme,
    parsed: ParsedPublicKey,
}

impl VerifyingKey for Key {
    fn verify_digest(
        &self,
        scheme: Scheme,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Refused> {
        let hash = scheme.hash().ok_or(Refused)?;
        let digest = Digest::import_less_safe(digest, lc_hash(hash)).map_err(|_| Refused)?;
        let verified = if scheme == self.usual {
            self.parsed.verify_digest_sig(&digest, signature)
        } else {
            self.unparsed(scheme)?.verify_digest(&digest, signature)
        };
        verified.map_err(|_| Refused)
    }

    fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let verified = if scheme == self.usual {
            self.parsed.verify_sig(message, signature)
        } else {
            self.unparsed(scheme)?.verify(message, signature)
        };
        verified.map_err(|_| Refused)
    }
}

impl Key {
    fn unparsed(&self, scheme: Scheme) -> Result<UnparsedPublicKey<&[u8]>, Refused> {
        let algorithm = lc_algorithm(scheme, self.kind).ok_or(Refused)?;
        Ok(UnparsedPublicKey::new(algorithm, &self.bytes))
    }
}

fn lc_hash(algorithm: HashAlgorithm) -> &'static digest::Algorithm {
    match algorithm {
        Sha256 => &digest::SHA256,
        Sha384 => &digest::SHA384,
        Sha512 => &digest::SHA512,
    }
}

fn lc_algorithm(scheme: Scheme, key: KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (scheme, key) {
        (Scheme::Pkcs1(Sha256), KeyKind::Rsa) => &lc::RSA_PKCS1_2048_8192_SHA256,
        (Scheme::Pkcs1(Sha384), KeyKind::Rsa) => &lc::RSA_PKCS1_2048_8192_SHA384,
        (Scheme::Pkcs1(Sha512), KeyKind::Rsa) => &lc::RSA_PKCS1_2048_8192_SHA512,
        (Scheme::Pss(Sha256), KeyKind::Rsa) => &lc::RSA_PSS_2048_8192_SHA256,
        (Scheme::Pss(Sha384), KeyKind::Rsa) => &lc::RSA_PSS_2048_8192_SHA384,
        (Scheme::Pss(Sha512), KeyKind::Rsa) => &lc::RSA_PSS_2048_8192_SHA512,
        (Scheme::EcdsaFixed(Sha256), KeyKind::P256) => &lc::ECDSA_P256_SHA256_FIXED,
        (Scheme::EcdsaFixed(Sha384), KeyKind::P384) => &lc::ECDSA_P384_SHA384_FIXED,
        (Scheme::EcdsaFixed(Sha512), KeyKind::P521) => &lc::ECDSA_P521_SHA512_FIXED,
        (Scheme::EcdsaDer(Sha256), KeyKind::P256) => &lc::ECDSA_P256_SHA256_ASN1,
        (Scheme::EcdsaDer(Sha384), KeyKind::P256) => &lc::ECDSA_P256_SHA384_ASN1,
        (Scheme::EcdsaDer(Sha512), KeyKind::P256) => &lc::ECDSA_P256_SHA512_ASN1,
        (Scheme::EcdsaDer(Sha256), KeyKind::P384) => &lc::ECDSA_P384_SHA256_ASN1,
        (Scheme::EcdsaDer(Sha384), KeyKind::P384) => &lc::ECDSA_P384_SHA384_ASN1,
        (Scheme::EcdsaDer(Sha512), KeyKind::P384) => &lc::ECDSA_P384_SHA512_ASN1,
        (Scheme::EcdsaDer(Sha256), KeyKind::P521) => &lc::ECDSA_P521_SHA256_ASN1,
        (Scheme::EcdsaDer(Sha384), KeyKind::P521) => &lc::ECDSA_P521_SHA384_ASN1,
        (Scheme::EcdsaDer(Sha512), KeyKind::P521) => &lc::ECDSA_P521_SHA512_ASN1,
        (Scheme::Ed25519, KeyKind::Ed25519) => &lc::ED25519,
        _ => return None,
    })
}
