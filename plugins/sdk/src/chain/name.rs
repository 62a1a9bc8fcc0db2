//! Distinguished names: parsed attributes, the exact DER, and the text that Go's `pkix.Name`
//! shows (X509-25 to X509-27).

use std::fmt;
use std::sync::Arc;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};

use super::certificate::Flaw;

/// An X.500 name as it stands in a certificate. Equal means byte for byte equal DER.
///
/// `Display` is the text that the reference shows: `SERIALNUMBER, CN, OU, O, POSTALCODE, STREET,
/// L, ST, C`, whatever the order in the certificate; repeated values joined with `+`; of several
/// CN or SERIALNUMBER the last; other types at the end as `<oid>=#<hex DER>`.
// X509-29
#[derive(Clone)]
pub struct Name {
    inner: Arc<Inner>,
}

struct Inner {
    der: Box<[u8]>,
    attributes: Vec<Attribute>,
}

/// One attribute of a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribute {
    /// The attribute type.
    pub oid: ObjectIdentifier,
    /// The value, decoded to text from whatever string type it has.
    pub value: String,
}

/// The attributes that are shown together: a short name, or none, and the values.
pub type Shown<'a> = (Option<&'static str>, Vec<&'a Attribute>);

/// The attribute at fault, if it is known, the bytes at the fault, and what is wrong with them.
type Fault<'a> = (Option<ObjectIdentifier>, &'a [u8], Flaw);

/// A type that the text calls by a short name, in the order of the text; `joined` where repeated
/// values all appear, otherwise only the last does.
struct ShortName {
    oid: ObjectIdentifier,
    name: &'static str,
    joined: bool,
}

impl Name {
    /// Reads the DER of a `Name`.
    ///
    /// # Errors
    /// Any deviation from DER, and a value that is none of the string types: TeletexString (read
    /// as Latin-1), PrintableString, UTF8String, BMPString, IA5String, NumericString.
    pub fn from_der(der: &[u8]) -> Result<Self, Flaw> {
        Self::read(der).map_err(|(_, _, flaw)| flaw)
    }

    /// As [`Name::from_der`], with the place of a fault.
    pub(super) fn read(der: &[u8]) -> Result<Self, Fault<'_>> {
        let mut attributes = Vec::new();
        for set in elements(der, Tag::Sequence)? {
            for pair in elements(set, Tag::Set)? {
                attributes.push(attribute(pair)?);
            }
        }
        Ok(Self {
            inner: Arc::new(Inner {
                der: der.into(),
                attributes,
            }),
        })
    }

    /// The DER as it stands in the certificate.
    pub fn der(&self) -> &[u8] {
        &self.inner.der
    }

    /// Every attribute, in the order of the certificate, multi-valued RDNs flattened.
    pub fn attributes(&self) -> &[Attribute] {
        &self.inner.attributes
    }

    /// The last common name, if there is one.
    pub fn common_name(&self) -> Option<&str> {
        self.values(COMMON_NAME).next_back()
    }

    /// How the encodings of two names differ that read alike: names are compared byte for byte,
    /// so an issuer in another string type is another issuer. `None` where the texts
    /// differ, or nothing does.
    // X509-29
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self == other || self.to_string() != other.to_string() {
            return None;
        }
        let types = |name: &Self| -> Option<Vec<(ObjectIdentifier, u8)>> {
            let mut types = Vec::new();
            for set in elements(name.der(), Tag::Sequence).ok()? {
                for pair in elements(set, Tag::Set).ok()? {
                    let mut reader = SliceReader::new(pair).ok()?;
                    let found = reader.sequence(|pair| {
                        let oid = ObjectIdentifier::decode(pair)?;
                        Ok((oid, pair.tlv_bytes()?.first().copied().unwrap_or_default()))
                    });
                    types.push(found.ok()?);
                }
            }
            Some(types)
        };
        let (ours, theirs) = (types(self)?, types(other)?);
        let oids = |types: &[(ObjectIdentifier, u8)]| -> Vec<ObjectIdentifier> {
            types.iter().map(|(oid, _)| *oid).collect()
        };
        if oids(&ours) != oids(&theirs) {
            return Some("the order of the attributes differs".to_owned());
        }
        let other_type = ours.iter().zip(&theirs).find(|(a, b)| a.1 != b.1);
        Some(match other_type {
            Some(((oid, ours), (_, theirs))) => format!(
                "their encodings differ: {} is a {} in the one and a {} in the other",
                name_of(*oid),
                string_type(*ours),
                string_type(*theirs)
            ),
            None => "their encodings differ byte for byte".to_owned(),
        })
    }

    fn values(&self, oid: ObjectIdentifier) -> impl DoubleEndedIterator<Item = &str> {
        let same_type = self.inner.attributes.iter().filter(move |a| a.oid == oid);
        same_type.map(|a| a.value.as_str())
    }

    /// The attributes as the text shows them: short name (or dotted OID) and the values it joins;
    /// `None` for the short name of a type that has none.
    pub fn shown(&self) -> Vec<Shown<'_>> {
        let mut parts = Vec::new();
        for short in SHORT_NAMES {
            let mut found: Vec<&Attribute> = self
                .inner
                .attributes
                .iter()
                .filter(|a| a.oid == short.oid)
                .collect();
            if !short.joined {
                // Only the last appears, and an empty one does not.
                found = found.split_off(found.len().saturating_sub(1));
                found.retain(|a| !a.value.is_empty());
            }
            if !found.is_empty() {
                parts.push((Some(short.name), found));
            }
        }
        // The reference puts unknown types first and writes the list backwards.
        for attribute in self.inner.attributes.iter().rev() {
            if !SHORT_NAMES.iter().any(|s| s.oid == attribute.oid) {
                parts.push((None, vec![attribute]));
            }
        }
        parts
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, attributes)) in self.shown().into_iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            for (j, attribute) in attributes.into_iter().enumerate() {
                if j > 0 {
                    f.write_str("+")?;
                }
                match name {
                    Some(name) => write!(f, "{name}={}", escaped(&attribute.value))?,
                    None => {
                        let der = string_der(&attribute.value);
                        write!(f, "{}=#{}", attribute.oid, hex::encode(der))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({:?})", self.to_string())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.inner.der == other.inner.der
    }
}

impl Eq for Name {}

/// X509-27: a backslash before `, + " \ < > ;`, a leading `#`, a leading or trailing space.
fn escaped(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        let special = match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at == last,
            '#' => at == 0,
            _ => false,
        };
        if c.is_ascii_control() {
            // RFC 4514 §2.4: so that a name stays on its line.
            out.push_str(&format!("\\{:02X}", u32::from(c)));
            continue;
        }
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The elements of a list with this tag that is all of `der`.
fn elements(der: &[u8], tag: Tag) -> Result<Vec<&[u8]>, Fault<'_>> {
    let here = |error: der::Error| (None, der, error.into());
    let list = AnyRef::try_from(der).map_err(here)?;
    list.tag().assert_eq(tag).map_err(here)?;
    let at_value = |error: der::Error| (None, list.value(), error.into());
    let mut reader = SliceReader::new(list.value()).map_err(at_value)?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(reader.tlv_bytes().map_err(at_value)?);
    }
    Ok(elements)
}

/// `AttributeTypeAndValue ::= SEQUENCE { type OBJECT IDENTIFIER, value ANY }`
fn attribute(pair: &[u8]) -> Result<Attribute, Fault<'_>> {
    let here = |error: der::Error| (None, pair, error.into());
    let pair = AnyRef::try_from(pair)
        .and_then(|any| any.tag().assert_eq(Tag::Sequence).map(|_| any.value()))
        .map_err(here)?;
    let here = |error: der::Error| (None, pair, error.into());
    let mut reader = SliceReader::new(pair).map_err(here)?;
    let oid = ObjectIdentifier::decode(&mut reader).map_err(here)?;
    let read = usize::try_from(reader.position()).unwrap_or(usize::MAX);
    let value = pair.get(read..).unwrap_or_default();
    match text(value) {
        Ok(text) => Ok(Attribute { oid, value: text }),
        Err(flaw) => Err((Some(oid), value, flaw)),
    }
}

/// An attribute type for messages: its short name, or its OID.
pub(super) fn name_of(oid: ObjectIdentifier) -> String {
    match SHORT_NAMES.iter().find(|short| short.oid == oid) {
        Some(short) => short.name.to_owned(),
        None => oid.to_string(),
    }
}

/// The string type of a value's first byte, for messages. UniversalString and others that `der`
/// has no tag for are known here.
fn string_type(byte: u8) -> String {
    match byte {
        0x1c => "UniversalString".to_owned(),
        0x1b => "GeneralString".to_owned(),
        0x19 => "GraphicString".to_owned(),
        byte => match Tag::try_from(byte) {
            Ok(tag) => tag.to_string(),
            Err(_) => format!("with tag {byte:#04x}"),
        },
    }
}

/// The text of a string value.
fn text(element: &[u8]) -> Result<String, Flaw> {
    let other_type = |byte: u8| Flaw::StringType {
        kind: string_type(byte),
    };
    let value = AnyRef::try_from(element).map_err(|error| match (error.kind(), element) {
        (der::ErrorKind::TagUnknown { .. }, [byte, ..]) => other_type(*byte),
        _ => error.into(),
    })?;
    let bytes = value.value();
    match value.tag() {
        Tag::TeletexString => Ok(bytes.iter().copied().map(char::from).collect()),
        Tag::PrintableString => ascii(bytes, "PrintableString", is_printable),
        Tag::Ia5String => ascii(bytes, "IA5String", |b| b.is_ascii()),
        Tag::NumericString => ascii(bytes, "NumericString", |b| b.is_ascii_digit() || b == b' '),
        Tag::Utf8String => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Flaw::Bytes { kind: "UTF8String" }),
        },
        Tag::BmpString => bmp(bytes).ok_or(Flaw::Bytes { kind: "BMPString" }),
        tag => Err(other_type(tag.octet())),
    }
}

fn ascii(bytes: &[u8], kind: &'static str, allowed: impl Fn(u8) -> bool) -> Result<String, Flaw> {
    let Some(bad) = bytes.iter().position(|b| !allowed(*b)) else {
        return Ok(bytes.iter().copied().map(char::from).collect());
    };
    // Most strings with a wrong character are UTF-8; then the character is shown, not its bytes.
    let rest = String::from_utf8_lossy(bytes.get(bad..).unwrap_or_default());
    Err(Flaw::Character {
        kind,
        character: rest.chars().next().unwrap_or_default(),
    })
}

/// PrintableString, with the `*` and `&` that many issuers write.
fn is_printable(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&b)
}

/// UCS-2 without surrogates and noncharacters; a final NUL is dropped.
fn bmp(bytes: &[u8]) -> Option<String> {
    if bytes.len() % 2 != 0 {
        return None;
    }
    let bytes = bytes.strip_suffix(&[0, 0]).unwrap_or(bytes);
    bytes
        .chunks_exact(2)
        .map(|pair| {
            let unit = pair.iter().fold(0, |n: u32, b| (n << 8) | u32::from(*b));
            let reserved = matches!(unit, 0xfdd0..=0xfdef | 0xfffe | 0xffff);
            char::from_u32(unit).filter(|_| !reserved)
        })
        .collect()
}

/// The DER that the reference shows for a value of an unknown type: it encodes the text anew, as
/// PrintableString where that can hold it, else as UTF8String.
fn string_der(value: &str) -> Vec<u8> {
    let tag = if value.bytes().all(is_printable) {
        Tag::PrintableString
    } else {
        Tag::Utf8String
    };
    AnyRef::new(tag, value.as_bytes())
        .and_then(|any| any.to_der())
        .unwrap_or_default()
}

const fn short(last_arc: &str, name: &'static str, joined: bool) -> ShortName {
    ShortName {
        oid: ObjectIdentifier::new_unwrap(last_arc),
        name,
        joined,
    }
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

const SHORT_NAMES: [ShortName; 9] = [
    short("2.5.4.5", "SERIALNUMBER", false),
    short("2.5.4.3", "CN", false),
    short("2.5.4.11", "OU", true),
    short("2.5.4.10", "O", true),
    short("2.5.4.17", "POSTALCODE", true),
    short("2.5.4.9", "STREET", true),
    short("2.5.4.7", "L", true),
    short("2.5.4.8", "ST", true),
    short("2.5.4.6", "C", true),
];
