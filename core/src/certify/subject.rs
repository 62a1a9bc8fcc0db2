//! The subject of a certificate, from `C=US,ST=WA,O=Example,CN=release` to DER.
//!
//! The attributes are those that the trusted identities of a policy can name (TP-31); each may stand
//! once. Whatever order they are typed in, they are written from
//! the country down, as certificates usually have them.

use std::fmt;

use der::Any;
use der::asn1::{ObjectIdentifier, PrintableStringRef, SetOfVec, Utf8StringRef};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

/// The longest subject as typed.
const MAX_TEXT: usize = 2_000;

/// The attributes in their usual order: names, object identifier, most characters (RFC 5280 A.1).
const ATTRIBUTES: [(&[&str], ObjectIdentifier, usize); 7] = [
    (&["C"], oid("2.5.4.6"), 2),
    (&["ST", "S"], oid("2.5.4.8"), 128),
    (&["L"], oid("2.5.4.7"), 128),
    (&["STREET"], oid("2.5.4.9"), 128),
    (&["O"], oid("2.5.4.10"), 64),
    (&["OU"], oid("2.5.4.11"), 64),
    (&["CN"], oid("2.5.4.3"), 64),
];

/// What a policy needs to name a signer by more than `*` (TP-31).
const NEEDED: [&str; 3] = ["C", "ST", "O"];

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// A subject, whole and in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    name: Name,
}

/// Why a text is no subject.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// Nothing, or far too much.
    #[error("the subject is empty or longer than {MAX_TEXT} characters")]
    Size,
    /// A part without `=`.
    #[error("the subject has a part without '=': {part:?}")]
    NoValue {
        /// The part.
        part: String,
    },
    /// An attribute without a value.
    #[error("the subject has no value for {name}")]
    Empty {
        /// The attribute.
        name: String,
    },
    /// An attribute that verification can't compare.
    #[error("the subject has {name:?}, which is none of C, ST, L, STREET, O, OU, CN")]
    Unknown {
        /// The attribute.
        name: String,
    },
    /// An attribute twice.
    #[error("the subject has {name} twice, which verification refuses")]
    Twice {
        /// The attribute.
        name: &'static str,
    },
    /// Several attributes in one part.
    #[error("the subject joins attributes with '+', which verification refuses")]
    Joined,
    /// An escape that is none.
    #[error("the subject has a '\\' in {name} that escapes nothing: write \\, or \\2C for a comma")]
    Escape {
        /// The attribute.
        name: String,
    },
    /// A value that is too long.
    #[error("the subject's {name} is longer than {most} characters")]
    TooLong {
        /// The attribute.
        name: &'static str,
        /// The most characters.
        most: usize,
    },
    /// A country that is none.
    #[error("the subject's C is {value:?}; a country is two capital letters, for instance US")]
    Country {
        /// As given.
        value: String,
    },
    /// A control character.
    #[error("the subject has a control character in {name}")]
    Control {
        /// The attribute.
        name: &'static str,
    },
    /// Not to be encoded.
    #[error("the subject can't be encoded")]
    Encoding,
}

impl Subject {
    /// Reads `C=US,ST=WA,O=Example,CN=release`; a comma in a value is written `\,`, any byte `\2C`.
    ///
    /// # Errors
    /// [`SubjectError`].
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        if text.trim().is_empty() || text.len() > MAX_TEXT {
            return Err(SubjectError::Size);
        }
        let mut found: [Option<String>; ATTRIBUTES.len()] = Default::default();
        for part in parts(text) {
            let part = part.trim();
            let (name, value) = part.split_once('=').ok_or_else(|| SubjectError::NoValue {
                part: part.to_owned(),
            })?;
            let name = name.trim();
            let at = ATTRIBUTES
                .iter()
                .position(|(names, ..)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
                .ok_or_else(|| SubjectError::Unknown { name: name.into() })?;
            let value = unescape(name, value.trim())?;
            let slot = found.get_mut(at).ok_or(SubjectError::Encoding)?;
            if slot.replace(value).is_some() {
                let name = ATTRIBUTES.get(at).and_then(|(names, ..)| names.first());
                return Err(SubjectError::Twice {
                    name: name.copied().unwrap_or_default(),
                });
            }
        }
        let mut parts = Vec::new();
        for ((names, oid, most), value) in ATTRIBUTES.iter().zip(found) {
            let Some(value) = value else { continue };
            let name = names.first().copied().unwrap_or_default();
            parts.push(attribute(name, *oid, *most, &value)?);
        }
        Ok(Self {
            name: RdnSequence(parts),
        })
    }

    /// A name in DER, as it stands in a certificate.
    ///
    /// # Errors
    /// It is malformed.
    pub fn from_der(der: &[u8]) -> Result<Self, SubjectError> {
        let name = der::Decode::from_der(der).map_err(|_| SubjectError::Encoding)?;
        Ok(Self { name })
    }

    /// That of a request or certificate, as it stands there.
    pub(super) fn of(name: &Name) -> Self {
        Self { name: name.clone() }
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.name.0.is_empty()
    }

    /// What a trust policy needs to name this signer and the subject lacks; with anything missing
    /// only `*` can trust it.
    pub fn missing(&self) -> Vec<&'static str> {
        let has = |oid: ObjectIdentifier| {
            let mut attributes = self.name.0.iter().flat_map(|part| part.0.iter());
            attributes.any(|attribute| attribute.oid == oid)
        };
        let needed = ATTRIBUTES.iter().filter_map(|(names, oid, _)| {
            let name = names.first().copied()?;
            (NEEDED.contains(&name) && !has(*oid)).then_some(name)
        });
        needed.collect()
    }
}

impl fmt::Display for Subject {
    /// As it is typed, the country first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.name.0.iter().map(ToString::to_string).collect();
        f.write_str(&shown.join(","))
    }
}

/// Cuts at the commas that are not escaped.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, character) in text.char_indices() {
        if character == ',' && !escaped {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at.saturating_add(1);
        }
        escaped = character == '\\' && !escaped;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Undoes the escapes of RFC 4514 §2.4.
fn unescape(name: &str, value: &str) -> Result<String, SubjectError> {
    let wrong = || SubjectError::Escape { name: name.into() };
    let mut bytes = Vec::new();
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next().ok_or_else(wrong)? {
                special if " \"#+,;<=>\\".contains(special) => {
                    bytes.extend(special.to_string().bytes());
                }
                high => {
                    let low = characters.next().ok_or_else(wrong)?;
                    let digits = [high.to_digit(16), low.to_digit(16)];
                    let [Some(high), Some(low)] = digits else {
                        return Err(wrong());
                    };
                    bytes.push(u8::try_from((high << 4) | low).map_err(|_| wrong())?);
                }
            },
            '+' => return Err(SubjectError::Joined),
            other => bytes.extend(other.to_string().bytes()),
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    match text.is_empty() {
        true => Err(SubjectError::Empty { name: name.into() }),
        false => Ok(text),
    }
}

fn attribute(
    name: &'static str,
    oid: ObjectIdentifier,
    most: usize,
    value: &str,
) -> Result<RelativeDistinguishedName, SubjectError> {
    if value.chars().any(char::is_control) {
        return Err(SubjectError::Control { name });
    }
    let country = name == "C";
    if country && !(value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase())) {
        return Err(SubjectError::Country {
            value: value.chars().take(80).collect(),
        });
    }
    if value.chars().count() > most {
        return Err(SubjectError::TooLong { name, most });
    }
    let value = match country {
        true => PrintableStringRef::new(value).and_then(|text| Any::encode_from(&text)),
        false => Utf8StringRef::new(value).and_then(|text| Any::encode_from(&text)),
    };
    let value = value.map_err(|_| SubjectError::Encoding)?;
    let set = SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }]);
    Ok(RelativeDistinguishedName(
        set.map_err(|_| SubjectError::Encoding)?,
    ))
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    fn shown(text: &str) -> String {
        Subject::parse(text).unwrap().to_string()
    }

    #[test]
    fn typed_in_any_order() {
        let usual = "C=US,ST=WA,O=Example,CN=release";
        for text in [
            usual,
            "CN=release, O=Example, ST=WA, C=US",
            "cn=release,o=Example,s=WA,c=US",
        ] {
            assert_eq!(shown(text), usual);
            assert!(Subject::parse(text).unwrap().missing().is_empty());
        }
        let whole = "C=DE,ST=Bayern,L=München,STREET=Weg 1,O=A,OU=B,CN=Größe";
        assert_eq!(shown(whole), whole);
    }

    #[test]
    fn escapes() {
        assert_eq!(
            shown(r"C=US,O=Example\, Inc.,CN=a\2Bb"),
            r"C=US,O=Example\, Inc.,CN=a\+b"
        );
        assert_eq!(shown(r"CN=\C3\BC\\"), r"CN=ü\\");
    }

    /// TP-31: what only `*` can trust is known.
    #[test]
    fn tp_31_what_is_missing() {
        let missing = |text: &str| Subject::parse(text).unwrap().missing();
        assert_eq!(missing("CN=a"), ["C", "ST", "O"]);
        assert_eq!(missing("C=US,O=b,CN=a"), ["ST"]);
    }

    #[test]
    fn what_is_no_subject() {
        let long = format!("CN={}", "a".repeat(65));
        for (text, part) in [
            ("", "empty"),
            (" ", "empty"),
            ("CN", "without '='"),
            ("CN=a,", "without '='"),
            ("CN=", "no value for CN"),
            ("DC=a", "none of C, ST"),
            ("emailAddress=a@b", "none of C, ST"),
            ("O=a,o=b", "O twice"),
            ("CN=a+O=b", "'+'"),
            (r"CN=a\", "escapes nothing"),
            (r"CN=\zz", "escapes nothing"),
            (r"CN=\FF", "escapes nothing"),
            ("C=USA", "two capital letters"),
            ("C=us", "two capital letters"),
            (&long, "longer than 64"),
            ("CN=a\u{7}", "control character"),
        ] {
            let error = Subject::parse(text).unwrap_err().told();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
