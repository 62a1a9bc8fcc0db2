//! Trusted identities of a trust policy and their match against the leaf's subject.
//!
//! The grammar is RFC 4514 as the reference reads it. The match is on the parsed X.500
//! name, never on its text, with the reference's outcome: a subject with a repeated or
//! unusual attribute, or without C, ST or O, matches only `*`.

// Requirements: TP-22 to TP-34, TP-25, TP-33, TP-31.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Certificate, Name};
use crate::artifact::Quoted;

/// Prefix of the identities that are matched here.
pub const X509_SUBJECT: &str = "x509.subject";

/// Longest identity accepted, in bytes.
const MAX_IDENTITY_LEN: usize = 64 * 1024;

/// One item of `trustedIdentities`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TrustedIdentity {
    /// `*`: every certificate that the trust stores vouch for.
    Any,
    /// `x509.subject:<distinguished name>`
    Subject {
        /// The item as written.
        text: String,
        /// Its distinguished name.
        name: DistinguishedName,
    },
    /// Another prefix: meant for a verification plugin.
    // TP-23
    Other {
        /// The item as written.
        text: String,
    },
}

/// `trustedIdentities` of one statement: valid on their own and together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustedIdentities {
    items: Vec<TrustedIdentity>,
}

/// Attribute types and values that a subject must have, each type once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DistinguishedName {
    /// Values are bytes, since `\FF` may stand for any byte; a subject only ever has UTF-8.
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A fault in `trustedIdentities`. The texts continue `trust policy statement "<name>" `.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// `*` beside others.
    // TP-22
    #[error(
        "uses a wildcard trusted identity '*', a wildcard identity cannot be used in conjunction with other values"
    )]
    WildcardNotAlone,
    /// An empty item.
    // TP-22
    #[error("has an empty trusted identity")]
    Empty,
    /// No `:`.
    // TP-22
    #[error("has trusted identity {} missing separator", quote(identity))]
    MissingSeparator {
        /// The item.
        identity: String,
    },
    /// Nothing after `x509.subject:`.
    // TP-22
    #[error("has trusted identity {} without an identity value", quote(identity))]
    MissingValue {
        /// The item.
        identity: String,
    },
    /// Not a distinguished name of the required form.
    // TP-22
    #[error(
        "has trusted identity {} with invalid identity value: {fault}",
        quote(identity)
    )]
    InvalidValue {
        /// The item.
        identity: String,
        /// What is wrong with the name.
        fault: NameError,
    },
    /// One item is a subset of another.
    // TP-24
    #[error(
        "has overlapping x509 trustedIdentities, {} overlaps with {}",
        quote(identity),
        quote(other)
    )]
    Overlapping {
        /// The item with fewer attributes.
        identity: String,
        /// The item that contains it.
        other: String,
    },
}

/// A distinguished name that cannot be an identity, or a subject that cannot match one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not the grammar.
    // TP-25
    #[error(
        "parsing distinguished name (DN) {} failed with err: {fault}. A valid DN must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum, and follow RFC 4514 standard",
        quote(name)
    )]
    Syntax {
        /// The name as written.
        name: String,
        /// What is wrong with the syntax (RFC 4514).
        fault: SyntaxFault,
    },
    /// `=#` somewhere.
    // TP-26
    #[error(
        "unsupported distinguished name (DN) {}: notation does not support x509.subject identities containing \"=#\"",
        quote(name)
    )]
    HexValue {
        /// The name as written.
        name: String,
    },
    /// An RDN with several attributes.
    // TP-27
    #[error(
        "distinguished name (DN) {} has multi-valued RDN attributes, remove multi-valued RDN attributes as they are not supported",
        quote(name)
    )]
    MultiValued {
        /// The name as written.
        name: String,
    },
    /// A type occurs twice.
    // TP-27
    #[error(
        "distinguished name (DN) {} has duplicate RDN attribute for {}, DN can only have unique RDN attributes",
        quote(name),
        quote(attribute)
    )]
    Duplicate {
        /// The name as written.
        name: String,
        /// The type.
        attribute: String,
    },
    /// C, ST or O is missing.
    // TP-29
    #[error(
        "distinguished name (DN) {} has no mandatory RDN attribute for {}, it must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum",
        quote(name),
        quote(attribute)
    )]
    MissingAttribute {
        /// The name as written.
        name: String,
        /// The type.
        attribute: &'static str,
    },
    /// A type without a value.
    // TP-32
    #[error(
        "distinguished name (DN) {} has an empty value for RDN attribute {}",
        quote(name),
        quote(attribute)
    )]
    EmptyValue {
        /// The name as written.
        name: String,
        /// The type.
        attribute: String,
    },
    /// Longer than any name that means something.
    #[error("distinguished name (DN) of {length} bytes is too long")]
    TooLong {
        /// Length in bytes.
        length: usize,
    },
}

/// What is wrong with the text of a distinguished name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntaxFault {
    /// A value without `type=` before it.
    #[error("incomplete type, value pair")]
    IncompletePair,
    /// The same at the end.
    #[error("DN ended with incomplete type, value pair")]
    IncompleteEnd,
    /// `\` at the end, or before something that is neither special nor two hex digits.
    #[error("invalid escaped character in {text:?}")]
    Escape {
        /// The type or value it stands in.
        text: String,
    },
}

/// Why no `x509.subject` identity can be a certificate's subject. The texts say what to do.
// TP-31
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectFault {
    /// An attribute of a type that identities have no name for.
    #[error(
        "the subject {subject} has the attribute {attribute}, which x509.subject identities can't name; {ONLY_ANY}"
    )]
    Attribute {
        /// The subject.
        subject: String,
        /// The attribute: its common name and type.
        attribute: String,
    },
    /// A value that reads like one in hexadecimal.
    #[error("the subject {subject} has a value that reads like a hexadecimal one (=#); {ONLY_ANY}")]
    Value {
        /// The subject.
        subject: String,
    },
    /// A value that can't be written so that it is read as itself.
    #[error("the subject {subject} can't be written as an identity; {ONLY_ANY}")]
    Unwritable {
        /// The subject.
        subject: String,
    },
    /// A type that occurs several times.
    #[error(
        "the subject {subject} has several {attribute} attributes, and x509.subject identities name each once; {ONLY_ANY}"
    )]
    Repeated {
        /// The subject.
        subject: String,
        /// The type.
        attribute: &'static str,
    },
    /// C, ST or O is missing.
    // TP-29
    #[error(
        "the subject {subject} has no {attribute} attribute, and x509.subject identities must have C, ST and O; {ONLY_ANY}"
    )]
    Missing {
        /// The subject.
        subject: String,
        /// The type.
        attribute: &'static str,
    },
}

const ONLY_ANY: &str = "only the trustedIdentities entry * accepts this signer, and with it everyone whom the trust stores vouch for";

/// Attributes of subjects that have no short name here, by the names that people know: those of
/// persons, of domains and of extended validation.
const ATTRIBUTE_NAMES: [(&str, &str); 14] = [
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC (domainComponent)"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("2.5.4.4", "SN (surname)"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.42", "GN (givenName)"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.97", "organizationIdentifier"),
    (
        "1.3.6.1.4.1.311.60.2.1.1",
        "jurisdictionL (jurisdictionLocalityName)",
    ),
    (
        "1.3.6.1.4.1.311.60.2.1.2",
        "jurisdictionST (jurisdictionStateOrProvinceName)",
    ),
    (
        "1.3.6.1.4.1.311.60.2.1.3",
        "jurisdictionC (jurisdictionCountryName)",
    ),
];

/// An attribute type for messages: `UID, 0.9.2342.19200300.100.1.1`.
fn attribute_name(oid: &str) -> String {
    match ATTRIBUTE_NAMES.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => format!("{name}, {oid}"),
        None => oid.to_owned(),
    }
}

/// Why a signing certificate is not a trusted identity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityMismatch {
    /// Only identities for plugins are configured.
    // TP-23
    #[error(
        "no x509 trusted identities are configured in the trust policy {}",
        quote(policy)
    )]
    NoneConfigured {
        /// Name of the policy statement.
        policy: String,
    },
    /// The subject can match nothing but `*`.
    // TP-31
    #[error("error while parsing the certificate subject from the digital signature. error : {}", quote(&fault.to_string()))]
    Subject {
        /// What is wrong with the subject.
        fault: SubjectFault,
    },
    /// None of the identities is the subject's.
    // TP-34
    #[error(
        "signing certificate from the digital signature does not match the X.509 trusted identities [{}] defined in the trust policy {}",
        quoted(identities),
        quote(policy)
    )]
    NoMatch {
        /// The `x509.subject` identities, as written.
        identities: Vec<String>,
        /// Name of the policy statement.
        policy: String,
    },
}

impl TrustedIdentities {
    /// Parses the items of one statement and checks them together.
    ///
    /// # Errors
    /// [`IdentityError`]. An empty list is no error here; whether it is one, the policy's level says.
    // TP-22, TP-24
    pub fn parse<S: AsRef<str>>(items: &[S]) -> Result<Self, IdentityError> {
        if items.len() > 1 && items.iter().any(|item| item.as_ref() == "*") {
            return Err(IdentityError::WildcardNotAlone);
        }
        let items: Vec<TrustedIdentity> = items
            .iter()
            .map(|item| item.as_ref().parse())
            .collect::<Result<_, _>>()?;
        let subjects = || {
            items
                .iter()
                .filter_map(TrustedIdentity::subject)
                .enumerate()
        };
        for (i, (text, name)) in subjects() {
            if let Some((_, (other, _))) =
                subjects().find(|(j, (_, other))| i != *j && name.is_subset_of(other))
            {
                return Err(IdentityError::Overlapping {
                    identity: text.to_owned(),
                    other: other.to_owned(),
                });
            }
        }
        Ok(Self { items })
    }

    /// Whoever the trust stores vouch for: `*` alone.
    pub fn any() -> Self {
        Self {
            items: vec![TrustedIdentity::Any],
        }
    }

    /// The items, in the order of the policy.
    pub fn items(&self) -> &[TrustedIdentity] {
        &self.items
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Checks the leaf's subject; `policy` is the statement's name, for the error text.
    ///
    /// # Errors
    /// [`IdentityMismatch`].
    pub fn check(&self, leaf: &Certificate, policy: &str) -> Result<(), IdentityMismatch> {
        if self.items.contains(&TrustedIdentity::Any) {
            return Ok(());
        }
        let mut subjects = self
            .items
            .iter()
            .filter_map(TrustedIdentity::subject)
            .peekable();
        if subjects.peek().is_none() {
            return Err(IdentityMismatch::NoneConfigured {
                policy: policy.to_owned(),
            });
        }
        let subject = DistinguishedName::from_subject(leaf.subject())
            .map_err(|fault| IdentityMismatch::Subject { fault })?;
        let mut identities = Vec::new();
        for (text, name) in subjects {
            if name.is_subset_of(&subject) {
                return Ok(());
            }
            identities.push(text.to_owned());
        }
        Err(IdentityMismatch::NoMatch {
            identities,
            policy: policy.to_owned(),
        })
    }
}

impl TrustedIdentity {
    /// Whether this identity alone accepts the certificate; one that is meant for a plugin never
    /// does.
    pub fn matches(&self, leaf: &Certificate) -> bool {
        match self {
            Self::Any => true,
            Self::Subject { name, .. } => DistinguishedName::from_subject(leaf.subject())
                .is_ok_and(|subject| name.is_subset_of(&subject)),
            Self::Other { .. } => false,
        }
    }

    /// The `x509.subject` identity of a certificate's whole subject: it accepts this certificate, and
    /// others only if they have the same attributes at least.
    ///
    /// # Errors
    /// No such identity can be this subject.
    // TP-31
    pub fn of(leaf: &Certificate) -> Result<Self, SubjectFault> {
        DistinguishedName::from_subject(leaf.subject())?;
        let text = format!("{X509_SUBJECT}: {}", leaf.subject());
        match text.parse() {
            Ok(identity @ Self::Subject { .. }) if identity.matches(leaf) => Ok(identity),
            // Written as people write it, the name would be another one.
            _ => Err(SubjectFault::Unwritable {
                subject: leaf.subject().to_string(),
            }),
        }
    }

    /// The item as written.
    pub fn text(&self) -> &str {
        match self {
            Self::Any => "*",
            Self::Subject { text, .. } | Self::Other { text } => text,
        }
    }

    fn subject(&self) -> Option<(&str, &DistinguishedName)> {
        match self {
            Self::Subject { text, name } => Some((text, name)),
            Self::Any | Self::Other { .. } => None,
        }
    }
}

impl FromStr for TrustedIdentity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let identity = || text.to_owned();
        match text {
            "" => return Err(IdentityError::Empty),
            "*" => return Ok(Self::Any),
            _ => {}
        }
        let (prefix, value) =
            text.split_once(':')
                .ok_or_else(|| IdentityError::MissingSeparator {
                    identity: identity(),
                })?;
        if prefix != X509_SUBJECT {
            return Ok(Self::Other { text: identity() });
        }
        if value.is_empty() {
            return Err(IdentityError::MissingValue {
                identity: identity(),
            });
        }
        match value.parse() {
            Ok(name) => Ok(Self::Subject {
                text: identity(),
                name,
            }),
            Err(fault) => Err(IdentityError::InvalidValue {
                identity: identity(),
                fault,
            }),
        }
    }
}

impl fmt::Display for TrustedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FromStr for DistinguishedName {
    type Err = NameError;

    /// Reads attributes as policies write them.
    // TP-25 to TP-29 and TP-32
    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = || text.to_owned();
        if text.len() > MAX_IDENTITY_LEN {
            return Err(NameError::TooLong { length: text.len() });
        }
        if text.contains("=#") {
            return Err(NameError::HexValue { name: name() });
        }
        let rdns = parse_rdns(text).map_err(|fault| NameError::Syntax {
            name: name(),
            fault,
        })?;
        let mut attributes = BTreeMap::new();
        let mut empty = None;
        for rdn in rdns {
            let [(attribute, value)] =
                <[_; 1]>::try_from(rdn).map_err(|_| NameError::MultiValued { name: name() })?;
            let attribute = if attribute == b"S" {
                b"ST".to_vec()
            } else {
                attribute
            };
            if value.is_empty() {
                empty = Some(attribute.clone());
            }
            if attributes.insert(attribute.clone(), value).is_some() {
                return Err(NameError::Duplicate {
                    name: name(),
                    attribute: String::from_utf8_lossy(&attribute).into_owned(),
                });
            }
        }
        require_mandatory(&attributes, text)?;
        if let Some(attribute) = empty {
            return Err(NameError::EmptyValue {
                name: name(),
                attribute: String::from_utf8_lossy(&attribute).into_owned(),
            });
        }
        Ok(Self { attributes })
    }
}

impl DistinguishedName {
    /// What the reference understands of a subject (TP-31).
    fn from_subject(subject: &Name) -> Result<Self, SubjectFault> {
        let text = subject.to_string();
        let mut attributes = BTreeMap::new();
        for (short_name, values) in subject.shown() {
            match (short_name, values.as_slice()) {
                (Some(short_name), [value]) => {
                    let value = value.value.as_bytes().to_vec();
                    attributes.insert(short_name.as_bytes().to_vec(), value);
                }
                (None, unusual) => {
                    let oid = unusual.first().map(|a| a.oid.to_string());
                    return Err(SubjectFault::Attribute {
                        subject: text,
                        attribute: attribute_name(&oid.unwrap_or_default()),
                    });
                }
                (Some(attribute), _) => {
                    return Err(SubjectFault::Repeated {
                        subject: text,
                        attribute,
                    });
                }
            }
        }
        if text.contains("=#") {
            return Err(SubjectFault::Value { subject: text });
        }
        match missing(&attributes) {
            None => Ok(Self { attributes }),
            Some(attribute) => Err(SubjectFault::Missing {
                subject: text,
                attribute,
            }),
        }
    }

    /// Whether `other` has every attribute of this name with the same value, byte for byte
    /// (TP-30).
    fn is_subset_of(&self, other: &Self) -> bool {
        self.attributes
            .iter()
            .all(|(attribute, value)| other.attributes.get(attribute) == Some(value))
    }
}

fn require_mandatory(attributes: &BTreeMap<Vec<u8>, Vec<u8>>, text: &str) -> Result<(), NameError> {
    match missing(attributes) {
        None => Ok(()),
        Some(attribute) => Err(NameError::MissingAttribute {
            name: text.to_owned(),
            attribute,
        }),
    }
}

/// The first mandatory type that is missing (TP-29).
fn missing(attributes: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<&'static str> {
    ["C", "ST", "O"]
        .into_iter()
        .find(|a| attributes.get(a.as_bytes()).is_none_or(Vec::is_empty))
}

type Pair = (Vec<u8>, Vec<u8>);

/// Splits at unescaped `,`, `;` (next RDN) and `+` (next attribute of the same RDN), and each part
/// at its first unescaped `=`.
fn parse_rdns(text: &str) -> Result<Vec<Vec<Pair>>, SyntaxFault> {
    let mut rdns = Vec::new();
    if text.trim().is_empty() {
        return Ok(rdns);
    }
    let mut rdn = Vec::new();
    let mut attribute: Option<Vec<u8>> = None;
    let mut start = 0;
    let mut escaping = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaping => escaping = false,
            b'\\' => escaping = true,
            b'=' if attribute.is_none() => {
                // An empty type leaves the part without one, so that a later `=` may still end it.
                attribute = Some(unescape(part(text, start, at))?).filter(|a| !a.is_empty());
                start = at.saturating_add(1);
            }
            b',' | b';' | b'+' => {
                let attribute = attribute.take().ok_or(SyntaxFault::IncompletePair)?;
                rdn.push((attribute, unescape(part(text, start, at))?));
                start = at.saturating_add(1);
                if byte != b'+' {
                    rdns.push(std::mem::take(&mut rdn));
                }
            }
            _ => {}
        }
    }
    let attribute = attribute.ok_or(SyntaxFault::IncompleteEnd)?;
    rdn.push((attribute, unescape(part(text, start, text.len()))?));
    rdns.push(rdn);
    Ok(rdns)
}

fn part(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_default()
}

/// Trims unescaped space and undoes `\` before a special character or two hex digits.
fn unescape(text: &str) -> Result<Vec<u8>, SyntaxFault> {
    let fault = || SyntaxFault::Escape {
        text: text.to_owned(),
    };
    let mut trimmed = text.trim_matches(' ').to_owned();
    if trimmed.ends_with('\\') && text.ends_with(' ') {
        trimmed.push(' ');
    }
    let mut out = Vec::with_capacity(trimmed.len());
    let mut rest = trimmed.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        match tail {
            [special, tail @ ..] if b" \"#+,;<=>\\".contains(special) => {
                out.push(*special);
                rest = tail;
            }
            [high, low, tail @ ..] => {
                let mut byte = [0];
                hex::decode_to_slice([*high, *low], &mut byte).map_err(|_| fault())?;
                out.extend(byte);
                rest = tail;
            }
            _ => return Err(fault()),
        }
    }
    Ok(out)
}

/// As Go's `%q`.
fn quote(text: &str) -> Quoted<'_> {
    Quoted(text)
}

fn quoted(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|t| quote(t).to_string()).collect();
    texts.join(" ")
}
