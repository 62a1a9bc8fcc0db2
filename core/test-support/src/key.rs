//! Private keys of all kinds, read from files that are public (see `keys/README.md`).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature as lc;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair, RsaPssSaltLength};
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};

use crate::asn1::{oid, sequence, tlv};

/// A key pair.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Key spec; none for Ed25519.
    pub spec: Option<KeySpec>,
    /// DER SubjectPublicKeyInfo.
    pub spki: &'static [u8],
    pkcs8: &'static [u8],
}

/// Algorithms for the signature of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum X509Scheme {
    /// RSA PKCS#1 v1.5 with SHA-256, ECDSA with the curve's own hash, Ed25519.
    Usual,
    /// RSA PKCS#1 v1.5.
    Pkcs1(HashAlgorithm),
    /// RSASSA-PSS with a salt as long as the hash.
    Pss(HashAlgorithm),
}

/// Salt lengths of RSASSA-PSS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Salt {
    /// None.
    Empty,
    /// As long as SHA-1.
    Twenty,
    /// As long as the hash, which is the only right one.
    Hash,
    /// As long as the key allows.
    Longest,
}

macro_rules! key {
    ($name:ident, $file:literal, $spec:expr) => {
        #[doc = concat!("The key `", $file, "`.")]
        pub const $name: Self = Self {
            spec: $spec,
            spki: include_bytes!(concat!("../keys/", $file, ".spki")),
            pkcs8: include_bytes!(concat!("../keys/", $file, ".pk8")),
        };
    };
}

impl Key {
    key!(RSA_2048, "rsa2048-a", Some(KeySpec::Rsa2048));
    key!(RSA_2048_B, "rsa2048-b", Some(KeySpec::Rsa2048));
    key!(RSA_3072, "rsa3072-a", Some(KeySpec::Rsa3072));
    key!(RSA_3072_B, "rsa3072-b", Some(KeySpec::Rsa3072));
    key!(RSA_4096, "rsa4096-a", Some(KeySpec::Rsa4096));
    key!(RSA_4096_B, "rsa4096-b", Some(KeySpec::Rsa4096));
    key!(P256, "p256-a", Some(KeySpec::Ec256));
    key!(P256_B, "p256-b", Some(KeySpec::Ec256));
    key!(P384, "p384-a", Some(KeySpec::Ec384));
    key!(P384_B, "p384-b", Some(KeySpec::Ec384));
    key!(P521, "p521-a", Some(KeySpec::Ec521));
    key!(P521_B, "p521-b", Some(KeySpec::Ec521));
    key!(ED25519, "ed25519-a", None);

    /// A key of that spec.
    pub fn of(spec: KeySpec) -> Self {
        match spec {
            KeySpec::Rsa2048 => Self::RSA_2048,
            KeySpec::Rsa3072 => Self::RSA_3072,
            KeySpec::Rsa4096 => Self::RSA_4096,
            KeySpec::Ec256 => Self::P256,
            KeySpec::Ec384 => Self::P384,
            KeySpec::Ec521 => Self::P521,
        }
    }

    /// Another key of that spec.
    pub fn other_of(spec: KeySpec) -> Self {
        match spec {
            KeySpec::Rsa2048 => Self::RSA_2048_B,
            KeySpec::Rsa3072 => Self::RSA_3072_B,
            KeySpec::Rsa4096 => Self::RSA_4096_B,
            KeySpec::Ec256 => Self::P256_B,
            KeySpec::Ec384 => Self::P384_B,
            KeySpec::Ec521 => Self::P521_B,
        }
    }

    /// The PKCS#8 private key in DER.
    pub fn pkcs8(&self) -> &'static [u8] {
        self.pkcs8
    }

    /// The signature of an envelope: RSASSA-PSS, or r‖s.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_with_salt(message, Salt::Hash)
    }

    /// [`Key::sign`], with a salt of another length where the key is RSA.
    pub fn sign_with_salt(&self, message: &[u8], salt: Salt) -> Vec<u8> {
        match self.spec.unwrap() {
            KeySpec::Rsa2048 => self.rsa(pss(HashAlgorithm::Sha256, salt), message),
            KeySpec::Rsa3072 => self.rsa(pss(HashAlgorithm::Sha384, salt), message),
            KeySpec::Rsa4096 => self.rsa(pss(HashAlgorithm::Sha512, salt), message),
            KeySpec::Ec256 => self.ecdsa(&lc::ECDSA_P256_SHA256_FIXED_SIGNING, message),
            KeySpec::Ec384 => self.ecdsa(&lc::ECDSA_P384_SHA384_FIXED_SIGNING, message),
            KeySpec::Ec521 => self.ecdsa(&lc::ECDSA_P521_SHA512_FIXED_SIGNING, message),
        }
    }

    /// ECDSA in DER, which envelopes must not carry (ENV-37).
    pub fn sign_ecdsa_der(&self, message: &[u8]) -> Vec<u8> {
        match self.spec.unwrap() {
            KeySpec::Ec256 => self.ecdsa(&lc::ECDSA_P256_SHA256_ASN1_SIGNING, message),
            KeySpec::Ec384 => self.ecdsa(&lc::ECDSA_P384_SHA384_ASN1_SIGNING, message),
            KeySpec::Ec521 => self.ecdsa(&lc::ECDSA_P521_SHA512_ASN1_SIGNING, message),
            other => panic!("{other} is no elliptic-curve key"),
        }
    }

    /// RSA PKCS#1 v1.5, which envelopes must not carry (JWS-08).
    pub fn sign_pkcs1(&self, message: &[u8]) -> Vec<u8> {
        self.sign_x509(message, X509Scheme::Pkcs1(self.spec.unwrap().hash()))
            .1
    }

    /// The AlgorithmIdentifier and the signature of a certificate.
    pub fn sign_x509(&self, message: &[u8], scheme: X509Scheme) -> (Vec<u8>, Vec<u8>) {
        use HashAlgorithm::{Sha256, Sha384, Sha512};
        match (self.spec, scheme) {
            (None, _) => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(self.pkcs8).unwrap();
                let signature = pair.sign(message).as_ref().to_vec();
                (sequence(&[&oid("1.3.101.112")]), signature)
            }
            (Some(spec), X509Scheme::Usual) if !spec.is_rsa() => {
                let dotted = match spec {
                    KeySpec::Ec256 => "1.2.840.10045.4.3.2",
                    KeySpec::Ec384 => "1.2.840.10045.4.3.3",
                    _ => "1.2.840.10045.4.3.4",
                };
                (sequence(&[&oid(dotted)]), self.sign_ecdsa_der(message))
            }
            (_, X509Scheme::Usual) => self.sign_x509(message, X509Scheme::Pkcs1(Sha256)),
            (_, X509Scheme::Pkcs1(hash)) => {
                let (dotted, encoding): (_, &'static lc::RsaSignatureEncoding) = match hash {
                    Sha256 => ("1.2.840.113549.1.1.11", &lc::RSA_PKCS1_SHA256),
                    Sha384 => ("1.2.840.113549.1.1.12", &lc::RSA_PKCS1_SHA384),
                    Sha512 => ("1.2.840.113549.1.1.13", &lc::RSA_PKCS1_SHA512),
                };
                let algorithm = sequence(&[&oid(dotted), &tlv(5, &[])]);
                (algorithm, self.rsa(encoding, message))
            }
            (_, X509Scheme::Pss(hash)) => (
                pss_algorithm(hash),
                self.rsa(pss(hash, Salt::Hash), message),
            ),
        }
    }

    fn rsa(&self, encoding: &'static lc::RsaSignatureEncoding, message: &[u8]) -> Vec<u8> {
        let pair = RsaKeyPair::from_pkcs8(self.pkcs8).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
            .unwrap();
        signature
    }

    fn ecdsa(&self, algorithm: &'static lc::EcdsaSigningAlgorithm, message: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, self.pkcs8).unwrap();
        let signature = pair.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }
}

/// Public keys that may never sign: name and SubjectPublicKeyInfo.
pub const REFUSED_SPKI: [(&str, &[u8]); 7] = [
    ("rsa1024", include_bytes!("../keys/rsa1024.spki")),
    ("rsa2040", include_bytes!("../keys/rsa2040.spki")),
    ("rsa2047", include_bytes!("../keys/rsa2047.spki")),
    ("rsa8192", include_bytes!("../keys/rsa8192.spki")),
    ("p224", include_bytes!("../keys/p224.spki")),
    ("secp256k1", include_bytes!("../keys/secp256k1.spki")),
    (
        "brainpoolP256r1",
        include_bytes!("../keys/brainpoolp256r1.spki"),
    ),
];

/// RSASSA-PSS-params with MGF1 over the same hash.
pub fn pss_algorithm(hash: HashAlgorithm) -> Vec<u8> {
    pss_algorithm_with(hash, hash, u32::try_from(hash.output_len()).unwrap())
}

/// RSASSA-PSS-params with any hash of MGF1 and any salt length.
pub fn pss_algorithm_with(hash: HashAlgorithm, mask: HashAlgorithm, salt: u32) -> Vec<u8> {
    let hash_of = |hash| {
        let dotted = match hash {
            HashAlgorithm::Sha256 => "2.16.840.1.101.3.4.2.1",
            HashAlgorithm::Sha384 => "2.16.840.1.101.3.4.2.2",
            HashAlgorithm::Sha512 => "2.16.840.1.101.3.4.2.3",
        };
        sequence(&[&oid(dotted), &tlv(5, &[])])
    };
    let mask = sequence(&[&oid("1.2.840.113549.1.1.8"), &hash_of(mask)]);
    let parameters = sequence(&[
        &tlv(0xa0, &hash_of(hash)),
        &tlv(0xa1, &mask),
        &tlv(0xa2, &crate::asn1::integer(salt)),
    ]);
    sequence(&[&oid("1.2.840.113549.1.1.10"), &parameters])
}

fn pss(hash: HashAlgorithm, salt: Salt) -> &'static lc::RsaSignatureEncoding {
    macro_rules! salted {
        ($base:expr) => {
            match salt {
                Salt::Empty => &const { $base.with_pss_salt_length(RsaPssSaltLength::Custom(0)) },
                Salt::Twenty => &const { $base.with_pss_salt_length(RsaPssSaltLength::Custom(20)) },
                Salt::Hash => &const { $base },
                Salt::Longest => &const { $base.with_pss_salt_length(RsaPssSaltLength::Max) },
            }
        };
    }
    match hash {
        HashAlgorithm::Sha256 => salted!(lc::RSA_PSS_SHA256),
        HashAlgorithm::Sha384 => salted!(lc::RSA_PSS_SHA384),
        HashAlgorithm::Sha512 => salted!(lc::RSA_PSS_SHA512),
    }
}
