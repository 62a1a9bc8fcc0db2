//! Certificates and signatures, as far as the suite looks at them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::UintRef;
use der::oid::ObjectIdentifier;
use der::{Decode, Reader, SliceReader};
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::proto::Base64;
use x509_cert::Certificate;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// The certificates of a chain, read.
pub(super) struct Chain(Vec<Certificate>);

impl Chain {
    /// Reads a chain: leaf first, each the issuer of the one before, the last one its own.
    pub(super) fn read(chain: &[Base64]) -> Result<Self, String> {
        if chain.is_empty() {
            return Err("certificateChain is empty".into());
        }
        let chain: Vec<Certificate> = chain
            .iter()
            .enumerate()
            .map(|(at, Base64(der))| {
                Certificate::from_der(der)
                    .map_err(|error| format!("certificate {at} can't be read: {error}"))
            })
            .collect::<Result<_, _>>()?;
        if chain.len() > 1
            && let Some(leaf) = chain.first()
            && leaf.tbs_certificate.issuer == leaf.tbs_certificate.subject
        {
            return Err("the first certificate is a root: leaf to root is asked for".into());
        }
        for (at, certificate) in chain.iter().enumerate() {
            let issuer = chain.get(at.saturating_add(1)).unwrap_or(certificate);
            if certificate.tbs_certificate.issuer != issuer.tbs_certificate.subject {
                return Err(match chain.len().checked_sub(1) {
                    Some(last) if last == at => {
                        "the last certificate is no root: leaf to root is asked for".into()
                    }
                    _ => format!("certificate {at} was not issued by the next one"),
                });
            }
        }
        Ok(Self(chain))
    }

    /// Whether every certificate is valid at `now`.
    pub(super) fn check_validity(&self, now: u64) -> Result<(), String> {
        for (at, certificate) in self.0.iter().enumerate() {
            let validity = &certificate.tbs_certificate.validity;
            if validity.not_before.to_unix_duration().as_secs() > now
                || validity.not_after.to_unix_duration().as_secs() < now
            {
                return Err(format!("certificate {at} is not valid now"));
            }
        }
        Ok(())
    }

    /// The kind of the leaf's key.
    pub(super) fn key_spec(&self) -> Result<KeySpec, String> {
        let leaf = self.0.first().ok_or("no leaf")?;
        let info = &leaf.tbs_certificate.subject_public_key_info;
        let parameters = info.algorithm.parameters.as_ref();
        let curve = || parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let unknown = || "the leaf's key is of no kind that the contract knows".to_owned();
        match info.algorithm.oid {
            RSA => match modulus_bits(info.subject_public_key.raw_bytes()) {
                Some(2048) => Ok(KeySpec::Rsa2048),
                Some(3072) => Ok(KeySpec::Rsa3072),
                Some(4096) => Ok(KeySpec::Rsa4096),
                _ => Err(unknown()),
            },
            EC => match curve() {
                Some(P256) => Ok(KeySpec::Ec256),
                Some(P384) => Ok(KeySpec::Ec384),
                Some(P521) => Ok(KeySpec::Ec521),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }

    /// Whether the leaf's key made the signature over the message.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), String> {
        let key_spec = self.key_spec()?;
        if signature.len() != key_spec.signature_len() {
            return Err(format!(
                "the signature has {} bytes instead of {}",
                signature.len(),
                key_spec.signature_len()
            ));
        }
        let algorithm: &'static dyn VerificationAlgorithm = match key_spec {
            KeySpec::Rsa2048 => &RSA_PSS_2048_8192_SHA256,
            KeySpec::Rsa3072 => &RSA_PSS_2048_8192_SHA384,
            KeySpec::Rsa4096 => &RSA_PSS_2048_8192_SHA512,
            KeySpec::Ec256 => &ECDSA_P256_SHA256_FIXED,
            KeySpec::Ec384 => &ECDSA_P384_SHA384_FIXED,
            KeySpec::Ec521 => &ECDSA_P521_SHA512_FIXED,
        };
        let leaf = self.0.first().ok_or("no leaf")?;
        let key = leaf
            .tbs_certificate
            .subject_public_key_info
            .subject_public_key
            .raw_bytes();
        UnparsedPublicKey::new(algorithm, key)
            .verify(message, signature)
            .map_err(|_| {
                "the signature does not verify with the leaf's key (RSASSA-PSS with a salt as long \
                 as the hash, or r‖s)"
                    .to_owned()
            })
    }
}

/// The digest of a message.
pub(super) fn digest(hash: HashAlgorithm, message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
    let algorithm = match hash {
        HashAlgorithm::Sha256 => &SHA256,
        HashAlgorithm::Sha384 => &SHA384,
        HashAlgorithm::Sha512 => &SHA512,
    };
    digest(algorithm, message).as_ref().to_vec()
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`
fn modulus_bits(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let modulus = reader
        .sequence(|reader| {
            let modulus = UintRef::decode(reader)?;
            UintRef::decode(reader)?;
            Ok(modulus)
        })
        .ok()?;
    let bytes = modulus.as_bytes();
    let zeros = usize::try_from(bytes.first()?.leading_zeros()).ok()?;
    bytes.len().checked_mul(8)?.checked_sub(zeros)
}
