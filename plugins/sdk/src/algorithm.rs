//! The one table of algorithms: key specs, hashes and signature algorithms, with every name that
//! the plugin contract, JWS, COSE and OCI give them.
//!
//! Implements the "Algorithm Selection" section of the Notary Project signature specification:
//! the key decides the algorithm, nothing else does.

// Requirements: ENV-32.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Type and size of a signing key; it decides hash and signature algorithm.
// ENV-32, PLG-25
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum KeySpec {
    /// RSA with a modulus of exactly 2048 bits.
    Rsa2048,
    /// RSA with a modulus of exactly 3072 bits.
    Rsa3072,
    /// RSA with a modulus of exactly 4096 bits.
    Rsa4096,
    /// ECDSA on NIST P-256.
    Ec256,
    /// ECDSA on NIST P-384.
    Ec384,
    /// ECDSA on NIST P-521.
    Ec521,
}

/// Hash functions of the Notary Project (SHA-2 only).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HashAlgorithm {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

/// Signature algorithms of the Notary Project, under the names of the plugin contract.
///
/// RSASSA-PSS always has MGF1 with the same hash and a salt as long as the hash;
/// ECDSA signatures are r‖s, each padded to the length of the field.
// PLG-28, ENV-35, ENV-37
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SignatureAlgorithm {
    /// `RSASSA-PSS-SHA-256`, JWS `PS256`, COSE -37.
    RsassaPssSha256,
    /// `RSASSA-PSS-SHA-384`, JWS `PS384`, COSE -38.
    RsassaPssSha384,
    /// `RSASSA-PSS-SHA-512`, JWS `PS512`, COSE -39.
    RsassaPssSha512,
    /// `ECDSA-SHA-256`, JWS `ES256`, COSE -7.
    EcdsaSha256,
    /// `ECDSA-SHA-384`, JWS `ES384`, COSE -35.
    EcdsaSha384,
    /// `ECDSA-SHA-512`, JWS `ES512`, COSE -36.
    EcdsaSha512,
}

/// A name that is not in the table.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown {kind} {name:?}")]
pub struct UnknownName {
    /// What was looked up, for instance `key spec`.
    pub kind: &'static str,
    /// The name as given.
    pub name: String,
}

impl KeySpec {
    /// Every key spec, in the order of the specification.
    pub const ALL: [Self; 6] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ec256,
        Self::Ec384,
        Self::Ec521,
    ];

    /// The name in the plugin contract, for instance `EC-384`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::Ec256 => "EC-256",
            Self::Ec384 => "EC-384",
            Self::Ec521 => "EC-521",
        }
    }

    /// The one signature algorithm for keys of this spec.
    pub const fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::Rsa2048 => SignatureAlgorithm::RsassaPssSha256,
            Self::Rsa3072 => SignatureAlgorithm::RsassaPssSha384,
            Self::Rsa4096 => SignatureAlgorithm::RsassaPssSha512,
            Self::Ec256 => SignatureAlgorithm::EcdsaSha256,
            Self::Ec384 => SignatureAlgorithm::EcdsaSha384,
            Self::Ec521 => SignatureAlgorithm::EcdsaSha512,
        }
    }

    /// The one hash for keys of this spec.
    pub const fn hash(self) -> HashAlgorithm {
        self.signature_algorithm().hash()
    }

    /// Length of a signature in bytes: the modulus for RSA, r‖s for ECDSA.
    pub const fn signature_len(self) -> usize {
        match self {
            Self::Rsa2048 => 256,
            Self::Rsa3072 => 384,
            Self::Rsa4096 => 512,
            Self::Ec256 => 64,
            Self::Ec384 => 96,
            Self::Ec521 => 132,
        }
    }

    /// Whether this is an RSA key (else it is an elliptic-curve key).
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

impl HashAlgorithm {
    /// Every hash, shortest first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name in the plugin contract, for instance `SHA-256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The prefix of an OCI digest, for instance `sha256`.
    pub const fn oci_name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hash in bytes; also the length of the salt of RSASSA-PSS.
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl SignatureAlgorithm {
    /// Every signature algorithm.
    pub const ALL: [Self; 6] = [
        Self::RsassaPssSha256,
        Self::RsassaPssSha384,
        Self::RsassaPssSha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
    ];

    /// The name in the plugin contract, for instance `RSASSA-PSS-SHA-256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsassaPssSha256 => "RSASSA-PSS-SHA-256",
            Self::RsassaPssSha384 => "RSASSA-PSS-SHA-384",
            Self::RsassaPssSha512 => "RSASSA-PSS-SHA-512",
            Self::EcdsaSha256 => "ECDSA-SHA-256",
            Self::EcdsaSha384 => "ECDSA-SHA-384",
            Self::EcdsaSha512 => "ECDSA-SHA-512",
        }
    }

    /// The `alg` of a JWS protected header, for instance `PS256` (RFC 7518 §3.1).
    pub const fn jws_name(self) -> &'static str {
        match self {
            Self::RsassaPssSha256 => "PS256",
            Self::RsassaPssSha384 => "PS384",
            Self::RsassaPssSha512 => "PS512",
            Self::EcdsaSha256 => "ES256",
            Self::EcdsaSha384 => "ES384",
            Self::EcdsaSha512 => "ES512",
        }
    }

    /// The COSE algorithm identifier, for instance -37 (RFC 9053 §2.1, RFC 8230 §2).
    pub const fn cose_id(self) -> i64 {
        match self {
            Self::RsassaPssSha256 => -37,
            Self::RsassaPssSha384 => -38,
            Self::RsassaPssSha512 => -39,
            Self::EcdsaSha256 => -7,
            Self::EcdsaSha384 => -35,
            Self::EcdsaSha512 => -36,
        }
    }

    /// The hash that the algorithm signs.
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::RsassaPssSha256 | Self::EcdsaSha256 => HashAlgorithm::Sha256,
            Self::RsassaPssSha384 | Self::EcdsaSha384 => HashAlgorithm::Sha384,
            Self::RsassaPssSha512 | Self::EcdsaSha512 => HashAlgorithm::Sha512,
        }
    }

    /// The algorithm with this JWS `alg`, if it is one of ours, in exact case.
    pub fn from_jws_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.jws_name() == name)
    }

    /// The algorithm with this COSE identifier, if it is one of ours.
    // COSE-04
    pub fn from_cose_id(id: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.cose_id() == id)
    }
}

/// `Display`, `FromStr` and serde by the name of the plugin contract.
macro_rules! contract_name {
    ($type:ty, $kind:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                Self::ALL
                    .into_iter()
                    .find(|known| known.name() == name)
                    .ok_or_else(|| UnknownName {
                        kind: $kind,
                        name: name.to_owned(),
                    })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                name.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

contract_name!(KeySpec, "key spec");
contract_name!(HashAlgorithm, "hash algorithm");
contract_name!(SignatureAlgorithm, "signing algorithm");

#[cfg(test)]
mod tests {
    use super::*;

    /// ENV-32: the table of the specification, spelt out.
    #[test]
    fn env_32_key_decides_algorithm() {
        let table: Vec<_> = KeySpec::ALL
            .into_iter()
            .map(|k| {
                let a = k.signature_algorithm();
                (
                    k.name(),
                    a.name(),
                    a.jws_name(),
                    a.cose_id(),
                    k.hash().name(),
                    k.signature_len(),
                )
            })
            .collect();
        assert_eq!(
            table,
            [
                (
                    "RSA-2048",
                    "RSASSA-PSS-SHA-256",
                    "PS256",
                    -37,
                    "SHA-256",
                    256
                ),
                (
                    "RSA-3072",
                    "RSASSA-PSS-SHA-384",
                    "PS384",
                    -38,
                    "SHA-384",
                    384
                ),
                (
                    "RSA-4096",
                    "RSASSA-PSS-SHA-512",
                    "PS512",
                    -39,
                    "SHA-512",
                    512
                ),
                ("EC-256", "ECDSA-SHA-256", "ES256", -7, "SHA-256", 64),
                ("EC-384", "ECDSA-SHA-384", "ES384", -35, "SHA-384", 96),
                ("EC-521", "ECDSA-SHA-512", "ES512", -36, "SHA-512", 132),
            ]
        );
    }

    /// PLG-25, PLG-28, JWS-08, COSE-04: names outside the table are refused, case included.
    #[test]
    fn unknown_names_are_refused() {
        assert!("RSA-1024".parse::<KeySpec>().is_err());
        assert!("rsa-2048".parse::<KeySpec>().is_err());
        assert!("SHA-1".parse::<HashAlgorithm>().is_err());
        assert!(
            "RSASSA-PKCS1-v1_5-SHA-256"
                .parse::<SignatureAlgorithm>()
                .is_err()
        );
        assert_eq!(SignatureAlgorithm::from_jws_name("none"), None);
        assert_eq!(SignatureAlgorithm::from_jws_name("RS256"), None);
        assert_eq!(SignatureAlgorithm::from_jws_name("ps256"), None);
        assert_eq!(SignatureAlgorithm::from_cose_id(-8), None);
    }

    #[test]
    fn names_round_trip() {
        for spec in KeySpec::ALL {
            assert_eq!(spec.name().parse(), Ok(spec));
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<KeySpec>(&json).unwrap(), spec);
        }
        for alg in SignatureAlgorithm::ALL {
            assert_eq!(SignatureAlgorithm::from_jws_name(alg.jws_name()), Some(alg));
            assert_eq!(SignatureAlgorithm::from_cose_id(alg.cose_id()), Some(alg));
        }
    }
}
