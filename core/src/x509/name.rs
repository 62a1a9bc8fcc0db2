//! Distinguished names: parsed attributes, the exact DER, and the text that Go's `pkix.Name`
//! shows (X509-25 to X509-27).

use std::fmt;
use std::sync::Arc;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};

use crate::artifact::Quoted;

/// An X.500 name as it stands in a certificate. Equal means byte for byte equal DER (X509-29).
///
/// `Display` is the text that the reference shows: `SERIALNUMBER, CN, OU, O, POSTALCODE, STREET,
/// L, ST, C`, whatever the order in the certificate; repeated values joined with `+`; of several
/// CN or SERIALNUMBER the last; other types at the end as `<oid>=#<hex DER>`.
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

/// Characters of a name that a message shows: whoever made it may be a stranger.
const MAX_QUOTED: usize = 1024;

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
    pub(crate) fn from_der(der: &[u8]) -> der::Result<Self> {
        let mut attributes = Vec::new();
        let mut reader = SliceReader::new(der)?;
        reader.sequence(|rdns| {
            while !rdns.is_finished() {
                let set = AnyRef::decode(rdns)?;
                set.tag().assert_eq(Tag::Set)?;
                let mut set = SliceReader::new(set.value())?;
                while !set.is_finished() {
                    attributes.push(set.sequence(|pair| {
                        let oid = ObjectIdentifier::decode(pair)?;
                        let value = AnyRef::decode(pair)?;
                        let value = text(value).ok_or_else(|| value.tag().value_error())?;
                        Ok(Attribute { oid, value })
                    })?);
                }
            }
            Ok(())
        })?;
        reader.finish(())?;
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

    /// The text in double quotes, with quotes and characters that do not print escaped; cut off
    /// behind 1024 characters.
    pub fn quoted(&self) -> String {
        let mut text = self.to_string();
        if let Some((end, _)) = text.char_indices().nth(MAX_QUOTED) {
            text.truncate(end);
            text.push_str("...");
        }
        Quoted(&text).to_string()
    }

    fn values(&self, oid: ObjectIdentifier) -> impl DoubleEndedIterator<Item = &str> {
        let same_type = self.inner.attributes.iter().filter(move |a| a.oid == oid);
        same_type.map(|a| a.value.as_str())
    }

    /// The attributes as the text shows them: short name (or dotted OID) and the values it joins;
    /// `None` for the short name of a type that has none.
    pub(super) fn shown(&self) -> Vec<(Option<&'static str>, Vec<&Attribute>)> {
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

/// The text of a string value, or nothing for another type or a malformed string.
fn text(value: AnyRef<'_>) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::PrintableString => ascii(bytes, is_printable),
        Tag::Ia5String => ascii(bytes, |b| b.is_ascii()),
        Tag::NumericString => ascii(bytes, |b| b.is_ascii_digit() || b == b' '),
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Tag::BmpString => bmp(bytes),
        _ => None,
    }
}

fn ascii(bytes: &[u8], allowed: impl Fn(u8) -> bool) -> Option<String> {
    let all = bytes.iter().all(|b| allowed(*b));
    all.then(|| bytes.iter().copied().map(char::from).collect())
}

/// PrintableString, with the `*` and `&` that many issuers write.
fn is_printable(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&b)
}

/// UCS-2 without surrogates and noncharacters; a final NUL is dropped.
fn bmp(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
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
