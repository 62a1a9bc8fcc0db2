//! The CMS SignedData around a TSTInfo (RFC 5652 §5, RFC 3161 §2.4.2), and its signature.
//!
//! ```text
//! ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, content [0] EXPLICIT ANY }
//! SignedData ::= SEQUENCE {
//!     version          INTEGER (3),
//!     digestAlgorithms SET OF AlgorithmIdentifier,
//!     encapContentInfo SEQUENCE { eContentType OBJECT IDENTIFIER, eContent [0] EXPLICIT OCTET STRING },
//!     certificates     [0] IMPLICIT SET OF Certificate OPTIONAL,
//!     crls             [1] IMPLICIT RevocationInfoChoices OPTIONAL,
//!     signerInfos      SET OF SignerInfo }
//! SignerInfo ::= SEQUENCE {
//!     version            INTEGER (1),
//!     sid                SEQUENCE { issuer Name, serialNumber INTEGER },
//!     digestAlgorithm    AlgorithmIdentifier,
//!     signedAttrs        [0] IMPLICIT SET OF Attribute,
//!     signatureAlgorithm AlgorithmIdentifier,
//!     signature          OCTET STRING,
//!     unsignedAttrs      [1] IMPLICIT SET OF Attribute OPTIONAL }
//! ```
//!
//! CRLs and unsigned attributes are not looked at.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use super::context;
use super::error::{TST_INFO, TokenError};
use crate::algorithm::HashAlgorithm;
use crate::crypto;
use crate::x509::Certificate;

/// Most certificates accepted in a token.
const MAX_CERTIFICATES: usize = 32;

/// Most signed attributes accepted.
const MAX_ATTRIBUTES: usize = 32;

/// A SignedData with one signer, nothing of it verified.
#[derive(Clone, Debug)]
pub(super) struct SignedData {
    /// What is signed: a TSTInfo.
    pub(super) content: Vec<u8>,
    /// The certificates that the token carries, in its order.
    pub(super) certificates: Vec<Certificate>,
    signer: SignerInfo,
}

#[derive(Clone, Debug)]
struct SignerInfo {
    issuer: Vec<u8>,
    serial: Vec<u8>,
    digest_algorithm: Vec<u8>,
    attributes: Vec<Attribute>,
    signature_algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// A signed attribute.
#[derive(Clone, Debug)]
struct Attribute {
    oid: ObjectIdentifier,
    /// The content of its set of values.
    values: Vec<u8>,
    /// The whole attribute.
    der: Vec<u8>,
}

/// `ESSCertIDv2 ::= SEQUENCE { hashAlgorithm AlgorithmIdentifier DEFAULT sha256, certHash OCTET
/// STRING, issuerSerial SEQUENCE { GeneralNames, INTEGER } OPTIONAL }` (RFC 5035 §4)
struct CertificateId<'a> {
    hash: Option<HashAlgorithm>,
    digest: &'a [u8],
    issuer_serial: Option<(&'a [u8], &'a [u8])>,
}

impl SignedData {
    /// Reads the DER of a ContentInfo.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, TokenError> {
        let malformed = |part| move |source| TokenError::Malformed { part, source };
        let (oid, content) = content_info(der).map_err(malformed("content info"))?;
        if oid != SIGNED_DATA {
            return Err(TokenError::NotSignedData);
        }
        let raw = signed_data(content).map_err(malformed("signed data"))?;
        if raw.version != [3] {
            let part = "signed data";
            return Err(TokenError::Version { part });
        }
        if raw.content_type != TST_INFO {
            let found = raw.content_type;
            return Err(TokenError::ContentType { found });
        }
        let content = raw.content.ok_or(TokenError::NoContent)?;
        let certificates = certificates(raw.certificates.unwrap_or_default())?;
        let mut signers = elements(raw.signer_infos, 2).map_err(malformed("signer infos"))?;
        let (Some(signer), true) = (signers.pop(), signers.is_empty()) else {
            return Err(TokenError::Signers);
        };
        let (version, signer) = signer_info(signer).map_err(malformed("signer info"))?;
        if version != [1] {
            let part = "signer info";
            return Err(TokenError::Version { part });
        }
        if signer.attributes.len() > MAX_ATTRIBUTES {
            return Err(TokenError::TooMany {
                what: "signed attributes",
                limit: MAX_ATTRIBUTES,
            });
        }
        Ok(Self {
            content: content.to_vec(),
            certificates,
            signer,
        })
    }

    /// Verifies the signature over attributes and content with the certificate that the signer
    /// names and that the signed attribute binds (TSA-16, TSA-18, TSA-19). The certificate itself
    /// is not judged.
    pub(super) fn verify_signature(&self) -> Result<&Certificate, TokenError> {
        let signer = &self.signer;
        let certificate = self.signing_certificate()?;
        let digest_algorithm = crypto::hash_algorithm(&signer.digest_algorithm)
            .ok_or(TokenError::HashAlgorithm { of: "the signer" })?;
        let content_type: ObjectIdentifier = signer.decoded(CONTENT_TYPE, "contentType")?;
        if content_type != TST_INFO {
            return Err(TokenError::ContentTypeMismatch);
        }
        let digest: OctetStringRef<'_> = signer.decoded(MESSAGE_DIGEST, "messageDigest")?;
        if digest.as_bytes() != crypto::hash(digest_algorithm, &self.content) {
            return Err(TokenError::DigestMismatch);
        }
        certificate
            .public_key()
            .map_err(|source| TokenError::Key { source })?
            .verify_cms(
                digest_algorithm,
                &signer.signature_algorithm,
                &signer.signed_bytes(),
                &signer.signature,
            )
            .map_err(|source| TokenError::Signature { source })?;
        Ok(certificate)
    }

    /// The content of the signingTime attribute, if there is one: tag and text of a time.
    pub(super) fn signing_time(&self) -> Result<Option<(Tag, &[u8])>, TokenError> {
        let Some(value) = self.signer.value(SIGNING_TIME)? else {
            return Ok(None);
        };
        let time = AnyRef::from_der(value).map_err(|_| TokenError::SigningTime)?;
        Ok(Some((time.tag(), time.value())))
    }

    /// The certificate that both the signer's identifier and signing-certificate-v2 name (TSA-18).
    fn signing_certificate(&self) -> Result<&Certificate, TokenError> {
        let name = "signingCertificateV2";
        let value = self.signer.value(SIGNING_CERTIFICATE_V2)?;
        let value = value.ok_or(TokenError::AttributeMissing { attribute: name })?;
        let id =
            certificate_id(value).map_err(|source| TokenError::Malformed { part: name, source })?;
        let signer = &self.signer;
        let certificate = self
            .certificates
            .iter()
            .find(|c| c.issuer().der() == signer.issuer && c.serial() == signer.serial)
            .ok_or(TokenError::NoSigningCertificate)?;
        let hash = id.hash.ok_or(TokenError::HashAlgorithm {
            of: "signing-certificate-v2",
        })?;
        let same_name = id
            .issuer_serial
            .is_none_or(|(issuer, serial)| issuer == signer.issuer && serial == signer.serial);
        if !same_name || crypto::hash(hash, certificate.der()) != id.digest {
            return Err(TokenError::CertificateMismatch);
        }
        Ok(certificate)
    }
}

impl SignerInfo {
    /// What the signature covers: the attributes as a SET OF in DER, sorted (RFC 5652 §5.4).
    fn signed_bytes(&self) -> Vec<u8> {
        let mut attributes: Vec<_> = self.attributes.iter().map(|a| a.der.as_slice()).collect();
        attributes.sort_unstable();
        let content = attributes.concat();
        let mut der = Vec::with_capacity(content.len().saturating_add(6));
        super::ber::write(&[Tag::Set.octet()], &content, &mut der);
        der
    }

    /// The only value of an attribute, as DER.
    fn value(&self, oid: ObjectIdentifier) -> Result<Option<&[u8]>, TokenError> {
        let mut found = self.attributes.iter().filter(|a| a.oid == oid);
        let Some(attribute) = found.next() else {
            return Ok(None);
        };
        let values = elements(&attribute.values, 2).unwrap_or_default();
        match (values.as_slice(), found.next()) {
            ([value], None) => Ok(Some(value)),
            _ => Err(TokenError::AttributeRepeated { attribute: oid }),
        }
    }

    fn decoded<'a, T: Decode<'a>>(
        &'a self,
        oid: ObjectIdentifier,
        attribute: &'static str,
    ) -> Result<T, TokenError> {
        let value = self.value(oid)?;
        let value = value.ok_or(TokenError::AttributeMissing { attribute })?;
        T::from_der(value).map_err(|source| TokenError::Malformed {
            part: attribute,
            source,
        })
    }
}

fn content_info(der: &[u8]) -> der::Result<(ObjectIdentifier, &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|reader| {
        let oid = ObjectIdentifier::decode(reader)?;
        Ok((oid, of_tag(reader, context(0, true))?))
    })?;
    reader.finish(parts)
}

struct RawSignedData<'a> {
    version: &'a [u8],
    content_type: ObjectIdentifier,
    content: Option<&'a [u8]>,
    certificates: Option<&'a [u8]>,
    signer_infos: &'a [u8],
}

fn signed_data(der: &[u8]) -> der::Result<RawSignedData<'_>> {
    let mut reader = SliceReader::new(der)?;
    let raw = reader.sequence(|reader| {
        let version = of_tag(reader, Tag::Integer)?;
        of_tag(reader, Tag::Set)?;
        let (content_type, content) = reader.sequence(|content| {
            let oid = ObjectIdentifier::decode(content)?;
            let wrapped = optional(content, context(0, true))?;
            let string = wrapped.map(OctetStringRef::from_der).transpose()?;
            Ok((oid, string.map(|s| s.as_bytes())))
        })?;
        let certificates = optional(reader, context(0, true))?;
        optional(reader, context(1, true))?;
        Ok(RawSignedData {
            version,
            content_type,
            content,
            certificates,
            signer_infos: of_tag(reader, Tag::Set)?,
        })
    })?;
    reader.finish(raw)
}

fn signer_info(der: &[u8]) -> der::Result<(&[u8], SignerInfo)> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|reader| {
        let version = of_tag(reader, Tag::Integer)?;
        // Another identifier than issuer and serial number belongs to version 3.
        let (issuer, serial) = reader.sequence(|sid| {
            Ok((
                sid.tlv_bytes()?.to_vec(),
                of_tag(sid, Tag::Integer)?.to_vec(),
            ))
        })?;
        let digest_algorithm = reader.tlv_bytes()?.to_vec();
        let attributes = optional(reader, context(0, true))?.unwrap_or_default();
        let attributes = elements(attributes, MAX_ATTRIBUTES.saturating_add(1))?;
        let signature_algorithm = reader.tlv_bytes()?.to_vec();
        let signature = of_tag(reader, Tag::OctetString)?.to_vec();
        optional(reader, context(1, true))?;
        let signer = SignerInfo {
            issuer,
            serial,
            digest_algorithm,
            attributes: attributes
                .into_iter()
                .map(attribute)
                .collect::<Result<_, _>>()?,
            signature_algorithm,
            signature,
        };
        Ok((version, signer))
    })?;
    reader.finish(parts)
}

/// `Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF ANY }`
fn attribute(der: &[u8]) -> der::Result<Attribute> {
    let mut reader = SliceReader::new(der)?;
    let attribute = reader.sequence(|reader| {
        Ok(Attribute {
            oid: ObjectIdentifier::decode(reader)?,
            values: of_tag(reader, Tag::Set)?.to_vec(),
            der: der.to_vec(),
        })
    })?;
    reader.finish(attribute)
}

fn certificates(set: &[u8]) -> Result<Vec<Certificate>, TokenError> {
    let ders = elements(set, MAX_CERTIFICATES.saturating_add(1)).map_err(|source| {
        TokenError::Malformed {
            part: "certificates",
            source,
        }
    })?;
    if ders.len() > MAX_CERTIFICATES {
        return Err(TokenError::TooMany {
            what: "certificates",
            limit: MAX_CERTIFICATES,
        });
    }
    let parse = |der| Certificate::from_der(der);
    ders.into_iter()
        .map(|der| parse(der).map_err(|source| TokenError::Certificate { source }))
        .collect()
}

/// The first ESSCertIDv2 of `SigningCertificateV2 ::= SEQUENCE { certs SEQUENCE OF ESSCertIDv2,
/// policies SEQUENCE OF PolicyInformation OPTIONAL }` (RFC 5035 §3): the signer's own.
fn certificate_id(der: &[u8]) -> der::Result<CertificateId<'_>> {
    let mut reader = SliceReader::new(der)?;
    let certs = reader.sequence(|reader| {
        let certs = of_tag(reader, Tag::Sequence)?;
        optional(reader, Tag::Sequence)?;
        Ok(certs)
    })?;
    reader.finish(())?;
    let mut reader = SliceReader::new(certs)?;
    reader.sequence(|id| {
        let hash = if id.peek_byte() == Some(Tag::Sequence.octet()) {
            crypto::hash_algorithm(id.tlv_bytes()?)
        } else {
            Some(HashAlgorithm::Sha256)
        };
        let digest = of_tag(id, Tag::OctetString)?;
        let issuer_serial = if id.is_finished() {
            None
        } else {
            Some(id.sequence(|pair| {
                let names = of_tag(pair, Tag::Sequence)?;
                let mut names = SliceReader::new(names)?;
                // `directoryName [4] EXPLICIT Name`, the one name of an issuer.
                let issuer = of_tag(&mut names, context(4, true))?;
                names.finish(())?;
                Ok((issuer, of_tag(pair, Tag::Integer)?))
            })?)
        };
        Ok(CertificateId {
            hash,
            digest,
            issuer_serial,
        })
    })
}

/// The elements of the content of a SET OF or SEQUENCE OF, at most `limit`: what is behind is not
/// looked at, and one more than may be shows that there are too many.
fn elements(content: &[u8], limit: usize) -> der::Result<Vec<&[u8]>> {
    let mut reader = SliceReader::new(content)?;
    let mut elements = Vec::new();
    while !reader.is_finished() && elements.len() < limit {
        elements.push(reader.tlv_bytes()?);
    }
    Ok(elements)
}

/// The content of the next element, which has that tag.
pub(super) fn of_tag<'a, R: Reader<'a>>(reader: &mut R, tag: Tag) -> der::Result<&'a [u8]> {
    let any = AnyRef::decode(reader)?;
    any.tag().assert_eq(tag)?;
    Ok(any.value())
}

/// The content of the next element, if it has that tag.
pub(super) fn optional<'a, R: Reader<'a>>(
    reader: &mut R,
    tag: Tag,
) -> der::Result<Option<&'a [u8]>> {
    if reader.peek_byte() == Some(tag.octet()) {
        of_tag(reader, tag).map(Some)
    } else {
        Ok(None)
    }
}

const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = oid("1.2.840.113549.1.9.5");
/// id-aa-signingCertificateV2
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.47");

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}
