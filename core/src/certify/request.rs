//! Certificate requests (PKCS#10, RFC 2986).

use der::asn1::SetOfVec;
use der::{Decode as _, Encode as _};
use spki::SubjectPublicKeyInfoOwned;
use x509_cert::request::{CertReq, CertReqInfo, Version};

use super::{CertifyError, SigningKey, Subject, Unsigned};
use crate::algorithm::KeySpec;
use crate::crypto::PublicKey;

/// A request that its own key is to sign.
///
/// # Errors
/// [`CertifyError`].
pub fn request(key: &SigningKey, subject: &Subject) -> Result<Unsigned, CertifyError> {
    let info = CertReqInfo {
        version: Version::V1,
        subject: subject.name().clone(),
        public_key: SubjectPublicKeyInfoOwned::from_der(key.spki())?,
        attributes: SetOfVec::default(),
    };
    key.unsigned(info.to_der()?)
}

/// A request that somebody has made, proven to be signed by the key in it.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    subject: Subject,
    spki: Vec<u8>,
    key_spec: KeySpec,
}

impl CertificateRequest {
    /// Reads a request in DER and checks its signature. What it asks for beside subject and key is
    /// left aside: the CA decides which extensions a certificate has.
    ///
    /// # Errors
    /// It is malformed, signed by another key, or for a key that can't sign here.
    pub fn from_der(der: &[u8]) -> Result<Self, CertifyError> {
        let request = CertReq::from_der(der).map_err(CertifyError::Request)?;
        let malformed = || CertifyError::Request(der::ErrorKind::Failed.into());
        let info = &request.info;
        let spki = info.public_key.to_der().map_err(CertifyError::Request)?;
        let public = PublicKey::from_spki_der(&spki)?;
        let key_spec = public.key_spec().ok_or(CertifyError::KeyKind)?;
        let signed = info.to_der().map_err(CertifyError::Request)?;
        let algorithm = request.algorithm.to_der().map_err(CertifyError::Request)?;
        let signature = request.signature.as_bytes().ok_or_else(malformed)?;
        public
            .verify_signed_data(&algorithm, &signed, signature)
            .map_err(CertifyError::RequestSignature)?;
        Ok(Self {
            subject: Subject::of(&info.subject),
            spki,
            key_spec,
        })
    }

    /// The subject that is asked for.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Type and size of the key.
    pub fn key_spec(&self) -> KeySpec {
        self.key_spec
    }
}
