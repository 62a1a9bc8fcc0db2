//! Private keys of the virtual card.

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384};
use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use num_bigint::BigUint;

use crate::der::{all, bitstring, oid, seq, take, tlv, uint};

/// Algorithm identifiers of PIV (NIST SP 800-78, table 6-2) and Yubico's additions.
pub const RSA1024: u8 = 0x06;
pub const RSA2048: u8 = 0x07;
pub const RSA3072: u8 = 0x05;
pub const RSA4096: u8 = 0x16;
pub const P256: u8 = 0x11;
pub const P384: u8 = 0x14;
pub const ED25519: u8 = 0xe0;

/// Bits of an RSA algorithm.
fn rsa_bits(alg: u8) -> Option<u64> {
    Some(match alg {
        RSA1024 => 1024,
        RSA2048 => 2048,
        RSA3072 => 3072,
        RSA4096 => 4096,
        _ => return None,
    })
}

/// A private key.
pub enum Private {
    Rsa(Rsa),
    Ec(EcdsaKeyPair),
    /// Can be made and looked at, not used.
    Ed25519(Ed25519KeyPair),
}

/// An RSA key with the numbers of the Chinese remainder theorem.
pub struct Rsa {
    n: BigUint,
    p: BigUint,
    q: BigUint,
    dp: BigUint,
    dq: BigUint,
    qinv: BigUint,
}

impl Rsa {
    fn from_primes(p: BigUint, q: BigUint) -> Option<Self> {
        let (one, e) = (BigUint::from(1_u8), BigUint::from(65537_u32));
        Some(Self {
            n: &p * &q,
            dp: e.modinv(&(&p - &one))?,
            dq: e.modinv(&(&q - &one))?,
            qinv: q.modinv(&p)?,
            p,
            q,
        })
    }

    fn generate(bits: u64) -> Option<Self> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return None,
        };
        let pkcs8 = RsaKeyPair::generate(size).ok()?.as_der().ok()?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let (_, info, _) = take(der)?;
        let (_, octets) = *all(info)?.get(2)?;
        let (_, key, _) = take(octets)?;
        let numbers = all(key)?;
        let prime = |at: usize| Some(BigUint::from_bytes_be(numbers.get(at)?.1));
        Self::from_primes(prime(4)?, prime(5)?)
    }

    fn len(&self) -> usize {
        self.n.bits().div_ceil(8) as usize
    }

    /// The raw private operation (RFC 8017 §5.1.2).
    fn raw(&self, block: &[u8]) -> Option<Vec<u8>> {
        let c = BigUint::from_bytes_be(block);
        if block.len() != self.len() || c >= self.n {
            return None;
        }
        let m1 = (&c % &self.p).modpow(&self.dp, &self.p);
        let m2 = (&c % &self.q).modpow(&self.dq, &self.q);
        let h = ((&m1 + &self.p - (&m2 % &self.p)) * &self.qinv) % &self.p;
        let m = (m2 + h * &self.q).to_bytes_be();
        Some([vec![0; self.len() - m.len()], m].concat())
    }
}

impl Private {
    pub fn generate(alg: u8) -> Option<Self> {
        Some(match alg {
            P256 | P384 => Self::Ec(EcdsaKeyPair::generate(ecdsa(alg)).ok()?),
            ED25519 => Self::Ed25519(Ed25519KeyPair::generate().ok()?),
            _ => Self::Rsa(Rsa::generate(rsa_bits(alg)?)?),
        })
    }

    /// Reads a key in PKCS#8: RSA, P-256 or P-384.
    pub fn from_pkcs8(alg: u8, der: &[u8]) -> Option<Self> {
        Some(match alg {
            P256 | P384 => Self::Ec(EcdsaKeyPair::from_private_key_der(ecdsa(alg), der).ok()?),
            _ => Self::Rsa(Rsa::from_pkcs8(der)?),
        })
    }

    /// IMPORT ASYMMETRIC KEY data elements: tags 01 and 02 for RSA, 06 for EC.
    pub fn import(alg: u8, tlvs: &[(u32, &[u8])]) -> Option<Self> {
        let get = |t| tlvs.iter().find(|(tag, _)| *tag == t).map(|(_, v)| *v);
        match alg {
            P256 | P384 => {
                let curve = if alg == P256 { &ECDH_P256 } else { &ECDH_P384 };
                let key = agreement::PrivateKey::from_private_key(curve, get(6)?).ok()?;
                let scalar: EcPrivateKeyBin<'_> = key.as_be_bytes().ok()?;
                let public = key.compute_public_key().ok()?;
                let (scalar, public) = (scalar.as_ref(), public.as_ref());
                EcdsaKeyPair::from_private_key_and_public_key(ecdsa(alg), scalar, public)
                    .ok()
                    .map(Self::Ec)
            }
            _ => {
                let prime = |tag| Some(BigUint::from_bytes_be(get(tag)?));
                let key = Rsa::from_primes(prime(1)?, prime(2)?)?;
                (key.n.bits() == rsa_bits(alg)?).then_some(Self::Rsa(key))
            }
        }
    }

    /// The PIV algorithm.
    pub fn alg(&self) -> u8 {
        match self {
            Self::Rsa(key) => match key.n.bits() {
                1024 => RSA1024,
                2048 => RSA2048,
                3072 => RSA3072,
                _ => RSA4096,
            },
            Self::Ec(key) if key.algorithm() == &ECDSA_P384_SHA384_ASN1_SIGNING => P384,
            Self::Ec(_) => P256,
            Self::Ed25519(_) => ED25519,
        }
    }

    /// Content of the 7F49 template (also metadata tag 04).
    pub fn public_template(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => [tlv(0x81, &key.n.to_bytes_be()), tlv(0x82, &[1, 0, 1])].concat(),
            Self::Ec(key) => tlv(0x86, key.public_key().as_ref()),
            Self::Ed25519(key) => tlv(0x86, key.public_key().as_ref()),
        }
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => {
                let alg = seq(&[&oid(&[1, 2, 840, 113549, 1, 1, 1]), &tlv(5, &[])]);
                let public = seq(&[&uint(&key.n.to_bytes_be()), &uint(&[1, 0, 1])]);
                seq(&[&alg, &bitstring(&public)])
            }
            Self::Ec(key) => {
                let curve = match self.alg() {
                    P384 => oid(&[1, 3, 132, 0, 34]),
                    _ => oid(&[1, 2, 840, 10045, 3, 1, 7]),
                };
                let alg = seq(&[&oid(&[1, 2, 840, 10045, 2, 1]), &curve]);
                seq(&[&alg, &bitstring(key.public_key().as_ref())])
            }
            Self::Ed25519(key) => seq(&[
                &seq(&[&oid(&[1, 3, 101, 112])]),
                &bitstring(key.public_key().as_ref()),
            ]),
        }
    }

    /// GENERAL AUTHENTICATE with tag 81: raw RSA, or ECDSA over a digest that is left-padded if it
    /// is shorter than the field.
    pub fn challenge(&self, data: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Rsa(key) => key.raw(data),
            Self::Ec(key) => {
                let hash = if self.alg() == P384 {
                    &digest::SHA384
                } else {
                    &digest::SHA256
                };
                let missing = hash.output_len().checked_sub(data.len())?;
                let padded = [&vec![0; missing][..], data].concat();
                let digest = Digest::import_less_safe(&padded, hash).ok()?;
                Some(key.sign_digest(&digest).ok()?.as_ref().to_vec())
            }
            Self::Ed25519(_) => None,
        }
    }

    /// Signs a certificate's content; gives the algorithm identifier and the signature.
    pub fn sign_certificate(&self, content: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let hashed = digest::digest(&digest::SHA256, content);
        match self {
            Self::Ec(_) => {
                let alg = seq(&[&oid(&[1, 2, 840, 10045, 4, 3, 2])]);
                Some((alg, self.challenge(hashed.as_ref())?))
            }
            Self::Rsa(key) => {
                let alg = seq(&[&oid(&[1, 2, 840, 113549, 1, 1, 11]), &tlv(5, &[])]);
                let sha256 = seq(&[&oid(&[2, 16, 840, 1, 101, 3, 4, 2, 1]), &tlv(5, &[])]);
                let info = seq(&[&sha256, &tlv(4, hashed.as_ref())]);
                let filler = vec![0xff; key.len() - info.len() - 3];
                let block = [&[0, 1][..], &filler, &[0], &info].concat();
                Some((alg, key.raw(&block)?))
            }
            Self::Ed25519(_) => None,
        }
    }
}

fn ecdsa(alg: u8) -> &'static EcdsaSigningAlgorithm {
    match alg {
        P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        _ => &ECDSA_P256_SHA256_ASN1_SIGNING,
    }
}
