//! Public keys as tokens and certificates give them, in one comparable form.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode as _, Encode as _, Sequence};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::ChainError;
use crate::algorithm::KeySpec;

/// A public key.
///
/// Two are equal if they are the same key, however they were encoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey(Form);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Form {
    /// Big-endian, without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// Curve by name; the point as SEC 1 §2.3.3 encodes it.
    Ec {
        curve: ObjectIdentifier,
        point: Vec<u8>,
    },
    /// Anything else, as it stands in the certificate.
    Other {
        spki: Vec<u8>,
        algorithm: ObjectIdentifier,
    },
}

/// ```asn1
/// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }   -- RFC 8017 A.1.1
/// ```
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

impl PublicKey {
    /// An RSA key; both numbers big-endian.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self(Form::Rsa {
            modulus: strip(modulus).to_vec(),
            exponent: strip(exponent).to_vec(),
        })
    }

    /// An elliptic-curve key: `EcpkParameters` in DER, of which only a named curve is known
    /// (RFC 3279 §2.3.5), and the uncompressed point.
    ///
    /// # Errors
    /// The parameters name no curve.
    pub fn ec(parameters: &[u8], point: &[u8]) -> Result<Self, ChainError> {
        let curve = ObjectIdentifier::from_der(parameters).map_err(ChainError::PublicKey)?;
        Ok(Self(Form::Ec {
            curve,
            point: point.to_vec(),
        }))
    }

    /// Reads a `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1).
    ///
    /// # Errors
    /// It is malformed. A key of an unknown kind is no error.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, ChainError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(ChainError::PublicKey)?;
        let bits = spki.subject_public_key.raw_bytes();
        let other = |algorithm| Form::Other {
            spki: der.to_vec(),
            algorithm,
        };
        let form = match spki.algorithm.oid {
            RSA_ENCRYPTION => {
                let key = RsaPublicKey::from_der(bits).map_err(ChainError::PublicKey)?;
                return Ok(Self::rsa(key.modulus.as_bytes(), key.exponent.as_bytes()));
            }
            EC_PUBLIC_KEY => match spki.algorithm.parameters_oid() {
                Ok(curve) => Form::Ec {
                    curve,
                    point: bits.to_vec(),
                },
                Err(_) => other(EC_PUBLIC_KEY),
            },
            algorithm => other(algorithm),
        };
        Ok(Self(form))
    }

    /// Writes a `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// The key is longer than DER can say.
    pub fn to_spki_der(&self) -> Result<Vec<u8>, ChainError> {
        let encoded = match &self.0 {
            Form::Other { spki, .. } => return Ok(spki.clone()),
            Form::Rsa { modulus, exponent } => rsa_spki(modulus, exponent),
            Form::Ec { curve, point } => spki(EC_PUBLIC_KEY, AnyRef::from(curve), point),
        };
        encoded.map_err(ChainError::PublicKey)
    }

    /// The key spec, if it is one of the Notary Project's: RSA by the exact number of
    /// bits, EC by curve with an uncompressed point of the right length.
    // ENV-32, ENV-34
    pub fn key_spec(&self) -> Option<KeySpec> {
        match &self.0 {
            Form::Rsa { modulus, .. } => match bits(modulus) {
                2048 => Some(KeySpec::Rsa2048),
                3072 => Some(KeySpec::Rsa3072),
                4096 => Some(KeySpec::Rsa4096),
                _ => None,
            },
            Form::Ec { curve, point } => {
                let (spec, length) = match *curve {
                    P256 => (KeySpec::Ec256, 65),
                    P384 => (KeySpec::Ec384, 97),
                    P521 => (KeySpec::Ec521, 133),
                    _ => return None,
                };
                (point.len() == length && point.first() == Some(&4)).then_some(spec)
            }
            Form::Other { .. } => None,
        }
    }

    /// Whether it is an elliptic-curve key on a curve of the Notary Project, its point
    /// readable or not.
    // ENV-32
    pub fn is_on_known_curve(&self) -> bool {
        matches!(&self.0, Form::Ec { curve, .. } if [P256, P384, P521].contains(curve))
    }

    /// Modulus and public exponent of an RSA key, big-endian, without leading zeros.
    pub fn rsa_numbers(&self) -> Option<(&[u8], &[u8])> {
        match &self.0 {
            Form::Rsa { modulus, exponent } => Some((modulus, exponent)),
            _ => None,
        }
    }

    /// What kind of key it is, for messages: `RSA with 1024 bits`, `EC on curve secp256k1`.
    pub fn describe(&self) -> String {
        match &self.0 {
            Form::Rsa { modulus, .. } => format!("RSA with {} bits", bits(modulus)),
            Form::Ec { curve, point } => {
                let form = match point.first() {
                    Some(2 | 3) => ", its point compressed",
                    _ => "",
                };
                format!("EC on curve {}{form}", known(&CURVES, *curve))
            }
            Form::Other { algorithm, .. } if *algorithm == EC_PUBLIC_KEY => {
                "EC with explicit parameters in place of a named curve".to_owned()
            }
            Form::Other { algorithm, .. } => known(&ALGORITHMS, *algorithm),
        }
    }
}

fn known(names: &[(ObjectIdentifier, &str)], oid: ObjectIdentifier) -> String {
    match names.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => (*name).to_owned(),
        None => oid.to_string(),
    }
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> der::Result<Vec<u8>> {
    let key = RsaPublicKey {
        modulus: UintRef::new(modulus)?,
        exponent: UintRef::new(exponent)?,
    };
    spki(RSA_ENCRYPTION, AnyRef::NULL, &key.to_der()?)
}

fn spki(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> der::Result<Vec<u8>> {
    SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid,
            parameters: Some(parameters),
        },
        subject_public_key: BitStringRef::from_bytes(key)?,
    }
    .to_der()
}

fn strip(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Bits of a big-endian number without leading zeros.
fn bits(number: &[u8]) -> usize {
    let Some((first, rest)) = number.split_first() else {
        return 0;
    };
    let top = match first.checked_ilog2() {
        Some(log) => usize::try_from(log).unwrap_or_default().saturating_add(1),
        None => 0,
    };
    rest.len().saturating_mul(8).saturating_add(top)
}

const fn named(oid: &str, name: &'static str) -> (ObjectIdentifier, &'static str) {
    (ObjectIdentifier::new_unwrap(oid), name)
}

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Curves by the names that people know.
const CURVES: [(ObjectIdentifier, &str); 9] = [
    named("1.2.840.10045.3.1.7", "P-256"),
    named("1.3.132.0.34", "P-384"),
    named("1.3.132.0.35", "P-521"),
    named("1.3.132.0.10", "secp256k1"),
    named("1.3.132.0.33", "P-224"),
    named("1.2.840.10045.3.1.1", "P-192"),
    named("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    named("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    named("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
];

/// Kinds of keys that sign no envelope.
const ALGORITHMS: [(ObjectIdentifier, &str); 10] = [
    named(
        "1.2.840.113549.1.1.10",
        "RSA bound to RSASSA-PSS (the certificate must name the key's algorithm rsaEncryption)",
    ),
    named(
        "1.2.840.113549.1.1.7",
        "RSA bound to RSAES-OAEP (the certificate must name the key's algorithm rsaEncryption)",
    ),
    named("1.2.840.10040.4.1", "DSA"),
    named("1.3.101.110", "X25519"),
    named("1.3.101.112", "Ed25519"),
    named("1.3.101.113", "Ed448"),
    named("1.3.132.1.12", "EC bound to key agreement (id-ecDH)"),
    named("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    named("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    named("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];
