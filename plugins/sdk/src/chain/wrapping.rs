//! What a file is that should hold certificates, a CRL or JSON and does not: other wrappings of
//! the same content, and what is served in its place. Only for messages; nothing is decoded.

use std::fmt;

use base64::Engine as _;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged};

/// The byte order mark of UTF-8.
pub const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// A wrapping that is known by its first bytes.
///
/// `Display` says what it is (`PEM text`), [`Wrapping::advice`] how to get certificates out of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Wrapping {
    /// Nothing at all, or blanks.
    Empty,
    /// Begins with UTF-8's byte order mark.
    ByteOrderMark,
    /// Text in UTF-16, as PowerShell writes it.
    Utf16,
    /// PEM (RFC 7468).
    Pem,
    /// PKCS #7 (RFC 5652) in PEM.
    Pkcs7Pem,
    /// PKCS #7 (RFC 5652) in DER.
    Pkcs7Der,
    /// PKCS #12 (RFC 7292).
    Pkcs12,
    /// A private key in DER, or a PEM block of one.
    PrivateKey,
    /// A certificate request (RFC 2986).
    Request,
    /// A certificate revocation list in DER.
    Crl,
    /// DER in base64 without the lines of PEM.
    Base64,
    /// A web page, or other mark-up.
    Html,
    /// JSON.
    Json,
}

impl Wrapping {
    /// Recognises what is not the DER of a certificate; `None` for that, and for what is unknown.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(UTF8_MARK) {
            return Some(Self::ByteOrderMark);
        }
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Some(Self::Utf16);
        }
        match bytes.trim_ascii_start() {
            [] => Some(Self::Empty),
            [b'<', ..] => Some(Self::Html),
            [b'{', ..] => Some(Self::Json),
            [0x30, ..] if bytes.first() == Some(&0x30) => der(bytes).or_else(|| text(bytes)),
            _ => text(bytes),
        }
    }

    /// How to get certificates out of it, as a sentence part that names the command.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Empty => "put the certificates into it",
            Self::ByteOrderMark => "save it without: sed -i '1s/^\\xEF\\xBB\\xBF//' FILE",
            Self::Utf16 => "save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW",
            Self::Pem => "convert it to DER: openssl x509 -in FILE -outform DER -out NEW",
            Self::Pkcs7Pem => {
                "convert it: openssl pkcs7 -print_certs -in FILE -out chain.pem, leaf first"
            }
            Self::Pkcs7Der => {
                "convert it: openssl pkcs7 -inform DER -print_certs -in FILE -out chain.pem, leaf first"
            }
            Self::Pkcs12 => {
                "take the certificates out: openssl pkcs12 -nokeys -in FILE -out chain.pem"
            }
            Self::PrivateKey => "name the file of the certificate, and keep the key elsewhere",
            Self::Request => "name the certificate that the CA made from it",
            Self::Crl => "name the certificate of the CA, not its list",
            Self::Base64 => "decode it: openssl base64 -d -A -in FILE -out NEW",
            Self::Html => "get the file again: a proxy or a login page may have answered",
            Self::Json => "name a file of certificates in PEM or DER",
        }
    }
}

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::ByteOrderMark => "text that begins with a byte order mark (BOM)",
            Self::Utf16 => "text in UTF-16 (it begins with a byte order mark)",
            Self::Pem => "PEM text",
            Self::Pkcs7Pem => "a PKCS #7 bundle in PEM",
            Self::Pkcs7Der => "a PKCS #7 bundle in DER",
            Self::Pkcs12 => "a PKCS #12 file",
            Self::PrivateKey => "a private key",
            Self::Request => "a certificate request (CSR)",
            Self::Crl => "a certificate revocation list (CRL)",
            Self::Base64 => "base64 without the BEGIN and END lines of PEM",
            Self::Html => "a web page (HTML)",
            Self::Json => "JSON",
        })
    }
}

/// Text that holds DER in another form.
fn text(bytes: &[u8]) -> Option<Wrapping> {
    let mut labels = bytes
        .split(|b| *b == b'\n')
        .filter_map(|line| super::file::label(line.trim_ascii(), super::file::BEGIN));
    if let Some(label) = labels.next() {
        return Some(match label.as_str() {
            "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => Wrapping::Pkcs7Pem,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Wrapping::Request,
            label if label.contains("PRIVATE KEY") => Wrapping::PrivateKey,
            _ => Wrapping::Pem,
        });
    }
    // DER of more than 127 bytes begins with 30 8x, in base64 MI.
    let start: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .take(64)
        .collect();
    let decodes = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(start.get(..start.len() / 4 * 4)?)
        .is_ok();
    (start.starts_with(b"MI") && start.len() == 64 && decodes).then_some(Wrapping::Base64)
}

/// What a SEQUENCE is, by the first of its elements.
fn der(bytes: &[u8]) -> Option<Wrapping> {
    let whole = first_elements(bytes)?;
    match whole.as_slice() {
        [oid, ..] if oid.tag() == Tag::ObjectIdentifier => {
            let oid = oid.decode_as::<ObjectIdentifier>().ok()?;
            (oid == SIGNED_DATA).then_some(Wrapping::Pkcs7Der)
        }
        [version, second, rest @ ..] if version.tag() == Tag::Integer => {
            match (version.value(), second.tag(), rest) {
                ([3], Tag::Sequence, _) => Some(Wrapping::Pkcs12),
                ([0], Tag::Sequence, [key, ..]) if key.tag() == Tag::OctetString => {
                    Some(Wrapping::PrivateKey)
                }
                ([0], Tag::Integer, _) | ([1], Tag::OctetString, _) => Some(Wrapping::PrivateKey),
                _ => None,
            }
        }
        [first, ..] if first.tag() == Tag::Sequence => {
            let inner = elements(first.value());
            let tags: Vec<Tag> = inner.iter().map(Tagged::tag).collect();
            match tags.as_slice() {
                [Tag::Integer, Tag::Sequence, Tag::Sequence, attributes, ..]
                    if attributes.octet() == 0xa0 =>
                {
                    Some(Wrapping::Request)
                }
                [Tag::Integer, Tag::Sequence, Tag::Sequence, time, ..]
                | [Tag::Sequence, Tag::Sequence, time, ..]
                    if matches!(time, Tag::UtcTime | Tag::GeneralizedTime) =>
                {
                    Some(Wrapping::Crl)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The first elements of the SEQUENCE that `bytes` begin with, which may be cut off.
fn first_elements(bytes: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let element = reader.tlv_bytes().ok()?;
    let outer = AnyRef::try_from(element).ok()?;
    Some(elements(outer.value()))
}

fn elements(bytes: &[u8]) -> Vec<AnyRef<'_>> {
    let mut elements = Vec::new();
    if let Ok(mut reader) = SliceReader::new(bytes) {
        while elements.len() < 4 && !reader.is_finished() {
            let Ok(element) = AnyRef::decode(&mut reader) else {
                break;
            };
            elements.push(element);
        }
    }
    elements
}

/// id-signedData (RFC 5652 §5.1).
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
