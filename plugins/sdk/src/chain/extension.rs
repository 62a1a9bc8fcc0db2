//! The extensions that are read (RFC 5280 §4.2): basicConstraints, keyUsage, extKeyUsage, the
//! addresses in authorityInfoAccess and cRLDistributionPoints, and the key identifiers.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use super::certificate::Flaw;

/// Most extensions accepted in one certificate.
const MAX_EXTENSIONS: usize = 64;

/// One extension, undecoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extension {
    /// Its type.
    pub oid: ObjectIdentifier,
    /// Whether it is marked critical.
    pub critical: bool,
    /// Its DER value.
    pub value: Vec<u8>,
}

/// `BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BasicConstraints {
    /// Whether the extension is critical.
    pub critical: bool,
    /// Whether the subject is a CA.
    pub ca: bool,
    /// Most CA certificates that may stand between this one and the leaf.
    pub path_len: Option<u32>,
}

/// The bits of `KeyUsage` (RFC 5280 §4.2.1.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyUsage {
    /// Whether the extension is critical.
    pub critical: bool,
    bits: u16,
}

impl KeyUsage {
    /// Bit 0: signatures other than on certificates and CRLs.
    pub const DIGITAL_SIGNATURE: u16 = 1;
    /// Bit 1, also called contentCommitment.
    pub const NON_REPUDIATION: u16 = 1 << 1;
    /// Bit 2.
    pub const KEY_ENCIPHERMENT: u16 = 1 << 2;
    /// Bit 3.
    pub const DATA_ENCIPHERMENT: u16 = 1 << 3;
    /// Bit 4.
    pub const KEY_AGREEMENT: u16 = 1 << 4;
    /// Bit 5: signatures on certificates.
    pub const KEY_CERT_SIGN: u16 = 1 << 5;
    /// Bit 6: signatures on CRLs.
    pub const CRL_SIGN: u16 = 1 << 6;
    /// Bit 7.
    pub const ENCIPHER_ONLY: u16 = 1 << 7;
    /// Bit 8.
    pub const DECIPHER_ONLY: u16 = 1 << 8;

    /// Whether every one of `bits` is set.
    pub fn allows(self, bits: u16) -> bool {
        self.bits & bits == bits
    }
}

/// An extension where it stands.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) oid: ObjectIdentifier,
    pub(super) critical: bool,
    pub(super) value: &'a [u8],
}

impl Part<'_> {
    pub(super) fn to_extension(self) -> Extension {
        Extension {
            oid: self.oid,
            critical: self.critical,
            value: self.value.to_vec(),
        }
    }
}

/// The extension, if it is known, the bytes at the fault, and what is wrong with them.
type Fault<'a> = (Option<ObjectIdentifier>, &'a [u8], Flaw);

/// `Extensions ::= SEQUENCE OF SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue }`
pub(super) fn parts(der: &[u8]) -> Result<Vec<Part<'_>>, Fault<'_>> {
    let list = AnyRef::try_from(der)
        .and_then(|any| any.tag().assert_eq(Tag::Sequence).map(|_| any.value()))
        .map_err(|error| (None, der, error.into()))?;
    let mut reader = SliceReader::new(list).map_err(|error| (None, list, error.into()))?;
    let mut parts: Vec<Part<'_>> = Vec::new();
    while !reader.is_finished() {
        let element = reader
            .tlv_bytes()
            .map_err(|error| (None, list, error.into()))?;
        let part = part(element).map_err(|error| (None, element, error.into()))?;
        if parts.iter().any(|p| p.oid == part.oid) {
            return Err((Some(part.oid), element, Flaw::Twice));
        }
        if parts.len() >= MAX_EXTENSIONS {
            return Err((None, element, Flaw::TooMany(MAX_EXTENSIONS)));
        }
        parts.push(part);
    }
    Ok(parts)
}

fn part(element: &[u8]) -> der::Result<Part<'_>> {
    let mut reader = SliceReader::new(element)?;
    let part = reader.sequence(|reader| {
        let oid = ObjectIdentifier::decode(reader)?;
        let critical = Option::<bool>::decode(reader)?.unwrap_or(false);
        let value = AnyRef::decode(reader)?;
        value.tag().assert_eq(Tag::OctetString)?;
        Ok(Part {
            oid,
            critical,
            value: value.value(),
        })
    })?;
    reader.finish(part)
}

/// The extensions of a certificate, a CRL or an OCSP answer: an `Extensions` in DER.
///
/// # Errors
/// Not DER, an extension twice, or more than 64.
pub fn extensions(der: &[u8]) -> der::Result<Vec<Extension>> {
    match parts(der) {
        Ok(parts) => Ok(parts.iter().map(|part| part.to_extension()).collect()),
        Err((_, _, Flaw::Der(error))) => Err(error),
        Err(_) => Err(malformed(Tag::Sequence)),
    }
}

/// An extension for messages: `extension keyUsage`, `extension 1.2.3`.
pub(super) fn describe(oid: ObjectIdentifier) -> String {
    match NAMES.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => format!("extension {name}"),
        None => format!("extension {oid}"),
    }
}

pub(super) fn basic_constraints(extension: &Part<'_>) -> der::Result<BasicConstraints> {
    let mut reader = SliceReader::new(extension.value)?;
    let (ca, path_len) = reader.sequence(|reader| {
        let ca = Option::<bool>::decode(reader)?.unwrap_or(false);
        Ok((ca, Option::<u32>::decode(reader)?))
    })?;
    reader.finish(BasicConstraints {
        critical: extension.critical,
        ca,
        path_len,
    })
}

pub(super) fn key_usage(extension: &Part<'_>) -> der::Result<KeyUsage> {
    let string = BitStringRef::from_der(extension.value)?;
    let bits = string
        .bits()
        .take(9)
        .enumerate()
        .filter(|(_, set)| *set)
        .fold(0, |bits, (i, _)| bits | 1_u16 << i);
    Ok(KeyUsage {
        critical: extension.critical,
        bits,
    })
}

/// `ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF OBJECT IDENTIFIER`
pub(super) fn extended_key_usage(value: &[u8]) -> der::Result<Vec<ObjectIdentifier>> {
    let mut reader = SliceReader::new(value)?;
    let purposes = reader.sequence(|reader| {
        let mut purposes = Vec::new();
        while !reader.is_finished() {
            purposes.push(ObjectIdentifier::decode(reader)?);
        }
        Ok(purposes)
    })?;
    if purposes.is_empty() {
        return Err(malformed(Tag::Sequence));
    }
    reader.finish(purposes)
}

/// `AuthorityInfoAccessSyntax ::= SEQUENCE OF SEQUENCE { accessMethod OID, accessLocation }`
pub(super) fn ocsp_urls(value: &[u8]) -> der::Result<Vec<String>> {
    let mut urls = Vec::new();
    let mut reader = SliceReader::new(value)?;
    reader.sequence(|reader| {
        while !reader.is_finished() {
            let (method, location) = reader.sequence(|reader| {
                Ok((ObjectIdentifier::decode(reader)?, AnyRef::decode(reader)?))
            })?;
            if method == OCSP {
                urls.extend(uri(location)?);
            }
        }
        Ok(())
    })?;
    reader.finish(urls)
}

/// The `fullName` URIs of `CRLDistributionPoints` (RFC 5280 §4.2.1.13).
///
/// ```text
/// CRLDistributionPoints ::= SEQUENCE OF SEQUENCE {
///     distributionPoint [0] CHOICE { fullName [0] GeneralNames, … } OPTIONAL,
///     reasons [1] OPTIONAL, cRLIssuer [2] OPTIONAL }
/// ```
pub(super) fn crl_urls(value: &[u8]) -> der::Result<Vec<String>> {
    let mut urls = Vec::new();
    let mut reader = SliceReader::new(value)?;
    reader.sequence(|reader| {
        while !reader.is_finished() {
            let name = reader.sequence(|point| {
                let name = optional_context(point, 0, true)?;
                optional_context(point, 1, false)?;
                optional_context(point, 2, true)?;
                Ok(name)
            })?;
            let Some(name) = name else { continue };
            let mut name = SliceReader::new(name)?;
            if let Some(full_name) = optional_context(&mut name, 0, true)? {
                let mut names = SliceReader::new(full_name)?;
                while !names.is_finished() {
                    urls.extend(uri(AnyRef::decode(&mut names)?)?);
                }
            }
        }
        Ok(())
    })?;
    reader.finish(urls)
}

pub(super) fn subject_key_id(value: &[u8]) -> der::Result<Vec<u8>> {
    Ok(OctetStringRef::from_der(value)?.as_bytes().to_vec())
}

/// `AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] OPTIONAL, … }`
pub(super) fn authority_key_id(value: &[u8]) -> der::Result<Option<Vec<u8>>> {
    let list = AnyRef::from_der(value)?;
    list.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(list.value())?;
    Ok(optional_context(&mut reader, 0, false)?.map(<[u8]>::to_vec))
}

/// The URI of a GeneralName (`[6] IA5String`); nothing for its other kinds.
fn uri(general_name: AnyRef<'_>) -> der::Result<Option<String>> {
    let tag = Tag::ContextSpecific {
        constructed: false,
        number: der::TagNumber::N6,
    };
    if general_name.tag() != tag {
        return Ok(None);
    }
    let text = std::str::from_utf8(general_name.value())
        .ok()
        .filter(|t| t.is_ascii())
        .ok_or_else(|| malformed(Tag::Ia5String))?;
    Ok(Some(text.to_owned()))
}

/// The content of an optional context-specific field.
///
/// # Errors
/// The field is malformed.
pub fn optional_context<'a, R: Reader<'a>>(
    reader: &mut R,
    number: u8,
    constructed: bool,
) -> der::Result<Option<&'a [u8]>> {
    let tag = Tag::ContextSpecific {
        constructed,
        number: der::TagNumber::new(number),
    };
    if reader.peek_byte() != Some(tag.octet()) {
        return Ok(None);
    }
    Ok(Some(AnyRef::decode(reader)?.value()))
}

/// The error for a value that is not what its type wants.
pub fn malformed(tag: Tag) -> der::Error {
    tag.value_error()
}

pub(super) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
pub(super) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(super) const EXT_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
pub(super) const AUTHORITY_INFO_ACCESS: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
pub(super) const CRL_DISTRIBUTION_POINTS: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.5.29.31");
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
pub(super) const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
pub(super) const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

/// Names of RFC 5280 for messages.
const NAMES: [(ObjectIdentifier, &str); 13] = [
    (BASIC_CONSTRAINTS, "basicConstraints"),
    (KEY_USAGE, "keyUsage"),
    (EXT_KEY_USAGE, "extKeyUsage"),
    (AUTHORITY_INFO_ACCESS, "authorityInfoAccess"),
    (CRL_DISTRIBUTION_POINTS, "cRLDistributionPoints"),
    (SUBJECT_KEY_ID, "subjectKeyIdentifier"),
    (AUTHORITY_KEY_ID, "authorityKeyIdentifier"),
    (ObjectIdentifier::new_unwrap("2.5.29.17"), "subjectAltName"),
    (ObjectIdentifier::new_unwrap("2.5.29.18"), "issuerAltName"),
    (ObjectIdentifier::new_unwrap("2.5.29.30"), "nameConstraints"),
    (
        ObjectIdentifier::new_unwrap("2.5.29.32"),
        "certificatePolicies",
    ),
    (
        ObjectIdentifier::new_unwrap("2.5.29.36"),
        "policyConstraints",
    ),
    (ObjectIdentifier::new_unwrap("2.5.29.46"), "freshestCRL"),
];
