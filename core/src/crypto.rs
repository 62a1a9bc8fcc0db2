//! Hashes and signature checks: the only module that names a cryptographic library.
//!
//! Implements "Algorithm Selection" of the Notary Project signature specification and,
//! for certificates, the signature algorithms of RFC 4055, RFC 5758 and RFC 8410. The primitives
//! are a [`Provider`]'s: aws-lc's, or those of RustCrypto. Nothing here can load, make or use a private key.
//!
//! Envelope signatures are checked over a digest with the one algorithm that the key decides:
//! RSASSA-PSS with a salt as long as the hash, ECDSA as r‖s of fixed length.
//! SHA-1 and MD5 are never accepted.

// Requirements: ENV-32, ENV-35, ENV-36, ENV-37, ENV-38, X509-15.

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
mod provider;
#[cfg(feature = "rustcrypto")]
mod rustcrypto;

use std::fmt;
use std::sync::Arc;

use der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use spki::SubjectPublicKeyInfoRef;

#[cfg(feature = "aws-lc-rs")]
pub use aws_lc::AwsLc;
pub use provider::{
    AlreadyChosen, HashState, KeyKind, NoRandomness, Provider, Refused, Scheme, VerifyingKey,
    provider, set_provider,
};
#[cfg(feature = "rustcrypto")]
pub use rustcrypto::RustCrypto;

use crate::algorithm::{HashAlgorithm, KeySpec};

/// Lengths of an RSA modulus, in bits, with which signatures are verified (X509-16). Others are
/// keys, but verify nothing.
const RSA_MIN_BITS: usize = 2048;
const RSA_MAX_BITS: usize = 8192;

/// A public key out of a certificate: RSA, an elliptic-curve key on P-256, P-384 or P-521 with its
/// point on the curve, or Ed25519.
#[derive(Clone)]
pub struct PublicKey {
    kind: Kind,
    /// RSA: `RSAPublicKey` DER; elliptic curve: uncompressed point; Ed25519: the 32 bytes.
    bytes: Arc<[u8]>,
    /// The same as the provider holds it; none for an RSA key of a length that verifies nothing.
    key: Option<Arc<dyn VerifyingKey>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// With the exact length of the modulus in bits (ENV-34).
    Rsa(usize),
    P256,
    P384,
    P521,
    Ed25519,
}

/// A SubjectPublicKeyInfo that holds no usable key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a well-formed key of its kind: bad DER, a point off its curve, an even modulus.
    #[error("malformed public key")]
    Malformed,
    /// A kind of key that signs nothing here.
    #[error("public key algorithm {algorithm} is not supported")]
    UnsupportedAlgorithm {
        /// The algorithm of the SubjectPublicKeyInfo.
        algorithm: ObjectIdentifier,
    },
    /// An elliptic curve other than P-256, P-384 and P-521.
    #[error("elliptic curve of the public key is not supported")]
    UnsupportedCurve,
}

/// The signature does not belong to this key and these bytes. The texts are those that users of
/// the reference know.
// JWS-27
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureInvalid {
    /// By an RSA key.
    #[error("crypto/rsa: verification error")]
    Rsa,
    /// By an elliptic-curve key.
    #[error("crypto/ecdsa: verification error")]
    Ecdsa,
    /// By an Ed25519 key.
    #[error("crypto/ed25519: verification error")]
    Ed25519,
    /// The key is none of the six kinds that sign envelopes.
    #[error("signing key is not supported")]
    UnsupportedKey,
}

impl SignatureInvalid {
    /// That of a key of this kind.
    pub const fn of(key: KeySpec) -> Self {
        match key {
            KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 => Self::Rsa,
            KeySpec::Ec256 | KeySpec::Ec384 | KeySpec::Ec521 => Self::Ecdsa,
        }
    }
}

/// Why a signed X.509 structure does not verify.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedDataError {
    /// SHA-1 or MD5.
    // X509-15
    #[error("insecure signature algorithm {algorithm}")]
    InsecureAlgorithm {
        /// The algorithm.
        algorithm: ObjectIdentifier,
    },
    /// An algorithm, or parameters of RSASSA-PSS, outside the list.
    #[error("signature algorithm {algorithm} is not supported")]
    UnsupportedAlgorithm {
        /// The algorithm.
        algorithm: ObjectIdentifier,
    },
    /// The AlgorithmIdentifier is not well-formed.
    #[error("malformed signature algorithm")]
    Malformed,
    /// An RSA key of fewer than 2048 bits.
    // X509-16
    #[error("RSA key of {bits} bits is too weak")]
    WeakKey {
        /// Length of its modulus.
        bits: usize,
    },
    /// The key is of another kind than the algorithm.
    #[error("the issuer's key does not fit the signature algorithm {algorithm}")]
    WrongKey {
        /// The algorithm.
        algorithm: ObjectIdentifier,
    },
    /// The signature is wrong.
    #[error(transparent)]
    Invalid(#[from] SignatureInvalid),
}

/// The hash of `data`.
pub fn hash(algorithm: HashAlgorithm, data: &[u8]) -> Vec<u8> {
    provider().hash(algorithm, data)
}

/// SHA-256, as thumbprints use it.
// X509-24
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(&hash(HashAlgorithm::Sha256, data));
    out
}

/// Bytes that nobody can guess, from the system's generator.
///
/// # Errors
/// [`NoRandomness`].
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    provider().random(&mut bytes)?;
    Ok(bytes)
}

/// Reads the DER AlgorithmIdentifier of a hash. Parameters that are absent and parameters NULL
/// are the same (RFC 5754 §2).
// TSA-15
pub fn hash_algorithm(der: &[u8]) -> Option<HashAlgorithm> {
    hash_of(spki::AlgorithmIdentifierRef::from_der(der).ok()?)
}

/// The DER AlgorithmIdentifier of a hash, parameters NULL.
// TSA-03
pub fn hash_identifier(algorithm: HashAlgorithm) -> Vec<u8> {
    let oid = match algorithm {
        HashAlgorithm::Sha256 => SHA256,
        HashAlgorithm::Sha384 => SHA384,
        HashAlgorithm::Sha512 => SHA512,
    };
    // SEQUENCE of 13 bytes: an OBJECT IDENTIFIER of 9 bytes and NULL.
    let mut der = vec![0x30, 13, 6, 9];
    der.extend_from_slice(oid.as_bytes());
    der.extend_from_slice(&[5, 0]);
    der
}

/// SHA-1, as OCSP names certificates with it (REV-15, RFC 6960 §4.1.1). It never protects anything
/// here: signatures over it are refused.
pub(crate) fn sha1_name(data: &[u8]) -> Vec<u8> {
    provider().sha1(data).to_vec()
}

/// A hash computed in pieces.
pub struct Hasher {
    state: Box<dyn HashState>,
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self {
            state: provider().hasher(algorithm),
        }
    }

    /// Adds data.
    pub fn update(&mut self, data: &[u8]) -> &mut Self {
        self.state.update(data);
        self
    }

    /// The hash of everything added.
    pub fn finish(self) -> Vec<u8> {
        self.state.finish()
    }
}

impl Clone for Hasher {
    fn clone(&self) -> Self {
        Self {
            state: self.state.fork(),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
thread_local! {
    /// Signatures over digests that this thread of a test verified.
    pub(crate) static VERIFIED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo. Points must be uncompressed and lie on the curve;
    /// RSA parameters must be NULL, modulus and exponent odd.
    ///
    /// # Errors
    /// [`KeyError`].
    // ENV-38
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki_der_by(provider(), der)
    }

    /// The same with a provider of the caller's choice, which also checks this key's signatures.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_spki_der_by(provider: &dyn Provider, der: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let bytes = spki
            .subject_public_key
            .as_bytes()
            .ok_or(KeyError::Malformed)?;
        let kind = match spki.algorithm.oid {
            RSA_ENCRYPTION => {
                if !spki.algorithm.parameters.is_some_and(AnyRef::is_null) {
                    return Err(KeyError::Malformed);
                }
                Kind::Rsa(rsa_modulus_bits(bytes)?)
            }
            EC_PUBLIC_KEY => {
                let curve = spki.algorithm.parameters.ok_or(KeyError::Malformed)?;
                let curve = curve
                    .decode_as::<ObjectIdentifier>()
                    .map_err(|_| KeyError::UnsupportedCurve)?;
                ec_kind(curve, bytes)?
            }
            ED25519 => {
                if spki.algorithm.parameters.is_some() || !is_ed25519(bytes) {
                    return Err(KeyError::Malformed);
                }
                Kind::Ed25519
            }
            algorithm => return Err(KeyError::UnsupportedAlgorithm { algorithm }),
        };
        let key = match kind {
            Kind::Rsa(bits) if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) => None,
            _ => Some(
                provider
                    .key(kind.of_provider(), bytes, kind.usual_scheme())
                    .ok_or(KeyError::Malformed)?,
            ),
        };
        Ok(Self {
            kind,
            bytes: bytes.into(),
            key,
        })
    }

    /// Type and size as the algorithm table knows them; none for a key that may not sign
    /// envelopes (RSA by the exact length of the modulus).
    pub fn key_spec(&self) -> Option<KeySpec> {
        self.kind.key_spec()
    }

    /// Whether this is the same key.
    #[cfg(feature = "plugin-host")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.bytes == other.bytes
    }

    /// Checks an envelope's signature over the digest of the signed bytes, with the algorithm
    /// that the key decides. `signature` is the RSASSA-PSS signature, or r‖s.
    ///
    /// # Errors
    /// [`SignatureInvalid`]; also where digest or signature has another length than the key
    /// decides, or the key is none of the six kinds.
    pub fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Result<(), SignatureInvalid> {
        #[cfg(test)]
        VERIFIED.with(|count| count.set(count.get() + 1));
        let (Some(spec), Some(key)) = (self.key_spec(), &self.key) else {
            return Err(SignatureInvalid::UnsupportedKey);
        };
        let invalid = self.kind.invalid();
        if signature.len() != spec.signature_len() || digest.len() != spec.hash().output_len() {
            return Err(invalid);
        }
        key.verify_digest(self.kind.usual_scheme(), digest, signature)
            .map_err(|Refused| invalid)
    }

    /// Checks the signature of a certificate or another signed X.509 structure.
    ///
    /// `algorithm` is the DER AlgorithmIdentifier, `message` the signed bytes, `signature` the
    /// content of the BIT STRING. RSA PKCS#1 v1.5, RSASSA-PSS (salt as long as the hash), ECDSA
    /// (DER), each with SHA-256, SHA-384 or SHA-512, and Ed25519. RSA keys have 2048 bits or more.
    ///
    /// # Errors
    /// [`SignedDataError`].
    pub fn verify_signed_data(
        &self,
        algorithm: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignedDataError> {
        let (oid, scheme) = Scheme::from_der(algorithm)?;
        self.verify_scheme(oid, scheme, message, signature)
    }

    /// The same for a CMS SignerInfo, which may call RSASSA-PKCS1-v1_5 by the name of the key
    /// (`rsaEncryption`, RFC 3370 §3.2); then `digest` is the hash.
    ///
    /// # Errors
    /// [`SignedDataError`].
    pub fn verify_cms(
        &self,
        digest: HashAlgorithm,
        algorithm: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignedDataError> {
        let identifier = spki::AlgorithmIdentifierRef::from_der(algorithm);
        match identifier {
            Ok(identifier) if identifier.oid == RSA_ENCRYPTION => {
                let scheme = Scheme::Pkcs1(digest);
                self.verify_scheme(RSA_ENCRYPTION, scheme, message, signature)
            }
            _ => self.verify_signed_data(algorithm, message, signature),
        }
    }

    fn verify_scheme(
        &self,
        oid: ObjectIdentifier,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignedDataError> {
        if let Kind::Rsa(bits @ ..RSA_MIN_BITS) = self.kind {
            return Err(SignedDataError::WeakKey { bits });
        }
        if !scheme.is_of(self.kind.of_provider()) {
            return Err(SignedDataError::WrongKey { algorithm: oid });
        }
        let verified = match &self.key {
            Some(key) => key.verify(scheme, message, signature),
            None => Err(Refused),
        };
        verified.map_err(|Refused| self.kind.invalid().into())
    }
}

impl PublicKey {
    /// The content of the subjectPublicKey BIT STRING: what key identifiers are hashes of.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("kind", &self.kind)
            .field("bytes", &hex::encode(&self.bytes))
            .finish_non_exhaustive()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.bytes == other.bytes
    }
}

impl Eq for PublicKey {}

impl Kind {
    fn key_spec(self) -> Option<KeySpec> {
        Some(match self {
            Self::Rsa(2048) => KeySpec::Rsa2048,
            Self::Rsa(3072) => KeySpec::Rsa3072,
            Self::Rsa(4096) => KeySpec::Rsa4096,
            Self::P256 => KeySpec::Ec256,
            Self::P384 => KeySpec::Ec384,
            Self::P521 => KeySpec::Ec521,
            Self::Rsa(_) | Self::Ed25519 => return None,
        })
    }

    /// The scheme of the key's envelope signatures (ENV-32), or where it makes none, of its certificates.
    fn usual_scheme(self) -> Scheme {
        match self {
            Self::Rsa(3072) => Scheme::Pss(HashAlgorithm::Sha384),
            Self::Rsa(4096) => Scheme::Pss(HashAlgorithm::Sha512),
            Self::Rsa(_) => Scheme::Pss(HashAlgorithm::Sha256),
            Self::P256 => Scheme::EcdsaFixed(HashAlgorithm::Sha256),
            Self::P384 => Scheme::EcdsaFixed(HashAlgorithm::Sha384),
            Self::P521 => Scheme::EcdsaFixed(HashAlgorithm::Sha512),
            Self::Ed25519 => Scheme::Ed25519,
        }
    }

    fn of_provider(self) -> KeyKind {
        match self {
            Self::Rsa(_) => KeyKind::Rsa,
            Self::P256 => KeyKind::P256,
            Self::P384 => KeyKind::P384,
            Self::P521 => KeyKind::P521,
            Self::Ed25519 => KeyKind::Ed25519,
        }
    }

    fn invalid(self) -> SignatureInvalid {
        match self {
            Self::Rsa(_) => SignatureInvalid::Rsa,
            Self::P256 | Self::P384 | Self::P521 => SignatureInvalid::Ecdsa,
            Self::Ed25519 => SignatureInvalid::Ed25519,
        }
    }
}

impl Scheme {
    /// The hash of what is signed; none for Ed25519, which hashes by itself.
    pub fn hash(self) -> Option<HashAlgorithm> {
        match self {
            Self::Pkcs1(hash) | Self::Pss(hash) | Self::EcdsaFixed(hash) | Self::EcdsaDer(hash) => {
                Some(hash)
            }
            Self::Ed25519 => None,
        }
    }

    /// Whether a key of that kind signs like this.
    fn is_of(self, key: KeyKind) -> bool {
        match self {
            Self::Pkcs1(_) | Self::Pss(_) => key == KeyKind::Rsa,
            Self::EcdsaFixed(_) | Self::EcdsaDer(_) => {
                matches!(key, KeyKind::P256 | KeyKind::P384 | KeyKind::P521)
            }
            Self::Ed25519 => key == KeyKind::Ed25519,
        }
    }

    /// The scheme of a signed X.509 structure.
    fn from_der(der: &[u8]) -> Result<(ObjectIdentifier, Self), SignedDataError> {
        let identifier =
            spki::AlgorithmIdentifierRef::from_der(der).map_err(|_| SignedDataError::Malformed)?;
        let algorithm = identifier.oid;
        let scheme = match algorithm {
            SHA256_WITH_RSA => Self::Pkcs1(HashAlgorithm::Sha256),
            SHA384_WITH_RSA => Self::Pkcs1(HashAlgorithm::Sha384),
            SHA512_WITH_RSA => Self::Pkcs1(HashAlgorithm::Sha512),
            ECDSA_WITH_SHA256 => Self::EcdsaDer(HashAlgorithm::Sha256),
            ECDSA_WITH_SHA384 => Self::EcdsaDer(HashAlgorithm::Sha384),
            ECDSA_WITH_SHA512 => Self::EcdsaDer(HashAlgorithm::Sha512),
            ED25519 if identifier.parameters.is_none() => Self::Ed25519,
            RSASSA_PSS => identifier
                .parameters
                .and_then(pss_hash)
                .map(Self::Pss)
                .ok_or(SignedDataError::UnsupportedAlgorithm { algorithm })?,
            MD2_WITH_RSA | MD5_WITH_RSA | SHA1_WITH_RSA | SHA1_WITH_RSA_OIW | ECDSA_WITH_SHA1
            | DSA_WITH_SHA1 => return Err(SignedDataError::InsecureAlgorithm { algorithm }),
            _ => return Err(SignedDataError::UnsupportedAlgorithm { algorithm }),
        };
        Ok((algorithm, scheme))
    }
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017 A.1.1). The modulus is odd, and the
/// exponent odd, at least 3 and less than 2³³: no library signs with others, and some would verify with them.
fn rsa_modulus_bits(der: &[u8]) -> Result<usize, KeyError> {
    let parse = || -> der::Result<Option<usize>> {
        let mut reader = SliceReader::new(der)?;
        let bits = reader.sequence(|reader| {
            let modulus = UintRef::decode(reader)?;
            let exponent = UintRef::decode(reader)?;
            let odd = |n: UintRef<'_>| n.as_bytes().last().is_some_and(|last| last % 2 == 1);
            let is_good = odd(modulus)
                && odd(exponent)
                && exponent.as_bytes() != [1]
                && bit_length(exponent) <= 33
                && bit_length(modulus) > bit_length(exponent);
            Ok(is_good.then(|| bit_length(modulus)))
        })?;
        reader.finish(bits)
    };
    parse().ok().flatten().ok_or(KeyError::Malformed)
}

fn bit_length(number: UintRef<'_>) -> usize {
    let bytes = number.as_bytes();
    let leading = bytes.first().map_or(0, |b| b.leading_zeros());
    let leading = usize::try_from(leading).unwrap_or_default();
    bytes.len().saturating_mul(8).saturating_sub(leading)
}

/// Whether the bytes may be an Ed25519 key: y, little-endian under the sign of x, less than 2²⁵⁵ −
/// 19 (RFC 8032 §5.1.3), and x not 0. Libraries differ on the others, and there is no private key
/// for x = 0 (y is 1 or −1).
fn is_ed25519(bytes: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(bytes) else {
        return false;
    };
    y.reverse();
    y[0] &= 0x7f;
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0x7f;
    minus_one[31] = 0xec;
    let mut one = [0; 32];
    one[31] = 1;
    y < minus_one && y != one
}

fn ec_kind(curve: ObjectIdentifier, point: &[u8]) -> Result<Kind, KeyError> {
    let (kind, length) = match curve {
        SECP256R1 => (Kind::P256, 65),
        SECP384R1 => (Kind::P384, 97),
        SECP521R1 => (Kind::P521, 133),
        _ => return Err(KeyError::UnsupportedCurve),
    };
    if point.len() == length && point.first() == Some(&4) {
        Ok(kind)
    } else {
        Err(KeyError::Malformed)
    }
}

/// The hash of RSASSA-PSS parameters, where MGF1 uses the same hash and the salt is as long.
///
/// ```text
/// RSASSA-PSS-params ::= SEQUENCE {
///     hashAlgorithm    [0] HashAlgorithm DEFAULT sha1,
///     maskGenAlgorithm [1] MaskGenAlgorithm DEFAULT mgf1SHA1,
///     saltLength       [2] INTEGER DEFAULT 20,
///     trailerField     [3] INTEGER DEFAULT 1 }
/// ```
fn pss_hash(parameters: AnyRef<'_>) -> Option<HashAlgorithm> {
    let read = || -> der::Result<Option<HashAlgorithm>> {
        parameters.sequence(|reader| {
            let mut field = |number: u8| -> der::Result<Option<AnyRef<'_>>> {
                let tag = Tag::ContextSpecific {
                    constructed: true,
                    number: der::TagNumber::new(number),
                };
                if reader.peek_byte() != Some(tag.octet()) {
                    return Ok(None);
                }
                Ok(Some(AnyRef::decode(reader)?))
            };
            let (hash, mask, salt, trailer) = (field(0)?, field(1)?, field(2)?, field(3)?);
            let (Some(hash), Some(mask), Some(salt)) = (hash, mask, salt) else {
                return Ok(None);
            };
            let hash = hash_of(spki::AlgorithmIdentifierRef::from_der(hash.value())?);
            let mask = spki::AlgorithmIdentifierRef::from_der(mask.value())?;
            let mask_hash = match mask.parameters {
                Some(inner) if mask.oid == MGF1 => hash_of(inner.decode_as()?),
                _ => None,
            };
            let salt = u16::from_der(salt.value())?;
            let trailer = trailer.map_or(Ok(1), |t| u8::from_der(t.value()))?;
            Ok(hash.filter(|h| {
                mask_hash == Some(*h) && usize::from(salt) == h.output_len() && trailer == 1
            }))
        })
    };
    if parameters.tag() != Tag::Sequence {
        return None;
    }
    read().ok().flatten()
}

fn hash_of(identifier: spki::AlgorithmIdentifierRef<'_>) -> Option<HashAlgorithm> {
    if !identifier.parameters.is_none_or(AnyRef::is_null) {
        return None;
    }
    Some(match identifier.oid {
        SHA256 => HashAlgorithm::Sha256,
        SHA384 => HashAlgorithm::Sha384,
        SHA512 => HashAlgorithm::Sha512,
        _ => return None,
    })
}

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const RSA_ENCRYPTION: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = oid("1.3.101.112");
const SECP256R1: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = oid("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = oid("1.3.132.0.35");
const SHA256_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
const RSASSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = oid("1.2.840.113549.1.1.8");
const ECDSA_WITH_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = oid("1.2.840.10045.4.3.4");
const MD2_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.2");
const MD5_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.4");
const SHA1_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.5");
const SHA1_WITH_RSA_OIW: ObjectIdentifier = oid("1.3.14.3.2.29");
const ECDSA_WITH_SHA1: ObjectIdentifier = oid("1.2.840.10045.4.1");
const DSA_WITH_SHA1: ObjectIdentifier = oid("1.2.840.10040.4.3");
const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
