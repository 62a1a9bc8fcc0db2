//! PKCS#11 URIs (RFC 7512), parsed strictly.
//!
//! ```text
//! pkcs11:token=T;object=K;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin
//! ```
//!
//! As §2.4 says, an attribute that is not known makes the path match nothing (here: an error),
//! while one in the query is ignored. `pin-value` is refused, and so is `module-name`.

/// The longest URI.
const MAX_URI: usize = 4096;

/// The scheme with its colon.
pub(crate) const SCHEME: &str = "pkcs11:";

/// What a URI says. Absent attributes match anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Uri {
    pub(crate) token: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) library_manufacturer: Option<String>,
    pub(crate) library_description: Option<String>,
    pub(crate) library_version: Option<String>,
    pub(crate) slot_manufacturer: Option<String>,
    pub(crate) slot_description: Option<String>,
    pub(crate) slot_id: Option<u64>,
    pub(crate) object: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) module_path: Option<String>,
    pub(crate) pin_source: Option<String>,
    /// Our own query attribute: a PEM file with certificates.
    pub(crate) cert_chain: Option<String>,
}

/// What is wrong with a URI. Values are not shown where they could be a PIN.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UriError {
    #[error("PKCS#11 URI is longer than {MAX_URI} characters")]
    TooLong,
    #[error("PKCS#11 URI has a part without '=' after {after:?}")]
    NoValue { after: String },
    #[error("PKCS#11 URI names {name:?} twice")]
    Twice { name: String },
    #[error(
        "PKCS#11 URI has an unknown attribute {name:?} in its path, so that it matches nothing (RFC 7512 §2.4)"
    )]
    Unknown { name: String },
    #[error("PKCS#11 URI: {character:?} in {name:?} must be written %{:02X}", u32::from(*character))]
    MustBeEscaped { name: String, character: char },
    #[error("PKCS#11 URI: '%' in {name:?} is not followed by two hexadecimal digits")]
    Escape { name: String },
    #[error("PKCS#11 URI: {name:?} is not UTF-8")]
    NotUtf8 { name: String },
    #[error("PKCS#11 URI: slot-id is not a decimal number")]
    SlotId,
    #[error("PKCS#11 URI: type={kind} names no private key")]
    Type { kind: String },
    #[error(
        "PKCS#11 URI has a pin-value: a PIN in a key's name ends up in configuration files, process lists and logs"
    )]
    PinValue,
    #[error("PKCS#11 URI has a module-name; which file that means depends on the machine")]
    ModuleName,
    #[error("PKCS#11 URI has {name:?} {} the '?', where it means nothing", if *query { "before" } else { "behind" })]
    Misplaced {
        name: String,
        /// Whether it belongs into the query.
        query: bool,
    },
}

impl UriError {
    /// The user's next step, if there is one beside mending the URI.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PinValue => Some(
                "take pin-value out, change that PIN, and use pin-source=file:/path, \
                 pin-source=env:NAME or pin-source=pinentry",
            ),
            Self::ModuleName => Some("use module-path=/path/to/module.so"),
            Self::Misplaced { query: true, .. } => {
                Some("put it behind the '?', with '&' between it and others there")
            }
            Self::Misplaced { query: false, .. } => {
                Some("put it before the '?', with ';' between it and others there")
            }
            Self::Type { .. } => Some("use type=private, or leave type out"),
            _ => None,
        }
    }
}

/// Where in the URI an attribute stands; the allowed characters differ (RFC 7512 §2.3).
#[derive(Clone, Copy, Eq, PartialEq)]
enum Component {
    Path,
    Query,
}

impl Uri {
    /// Parses a URI; `None` if it is not of this scheme.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, UriError>> {
        let scheme = text.get(..SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        Some(Self::parse_rest(text.get(SCHEME.len()..)?))
    }

    fn parse_rest(rest: &str) -> Result<Self, UriError> {
        if rest.len() > MAX_URI {
            return Err(UriError::TooLong);
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, query),
            None => (rest, ""),
        };
        let mut uri = Self::default();
        for (name, value) in attributes(path, ';')? {
            uri.set_path(name, value)?;
        }
        for (name, value) in attributes(query, '&')? {
            uri.set_query(name, value)?;
        }
        Ok(uri)
    }

    fn set_path(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        // Before the value is looked at: no message may hold a part of a PIN.
        match name {
            _ if is_pin(name) => return Err(UriError::PinValue),
            "module-name" => return Err(UriError::ModuleName),
            "module-path" | "pin-source" | "cert-chain" => {
                return Err(UriError::Misplaced {
                    name: name.into(),
                    query: true,
                });
            }
            _ => {}
        }
        let bytes = decode(name, value, Component::Path)?;
        let slot = match name {
            "token" => &mut self.token,
            "manufacturer" => &mut self.manufacturer,
            "serial" => &mut self.serial,
            "model" => &mut self.model,
            "library-manufacturer" => &mut self.library_manufacturer,
            "library-description" => &mut self.library_description,
            "library-version" => &mut self.library_version,
            "slot-manufacturer" => &mut self.slot_manufacturer,
            "slot-description" => &mut self.slot_description,
            "object" => &mut self.object,
            "id" => return set(&mut self.id, name, bytes),
            "slot-id" => {
                let number = text(name, bytes)?.parse().map_err(|_| UriError::SlotId)?;
                return set(&mut self.slot_id, name, number);
            }
            "type" => {
                let kind = text(name, bytes)?;
                return match kind.as_str() {
                    "private" => Ok(()),
                    _ => Err(UriError::Type { kind }),
                };
            }
            _ => return Err(UriError::Unknown { name: name.into() }),
        };
        set(slot, name, text(name, bytes)?)
    }

    fn set_query(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        let slot = match name {
            "module-path" => &mut self.module_path,
            "pin-source" => &mut self.pin_source,
            "cert-chain" => &mut self.cert_chain,
            "module-name" => return Err(UriError::ModuleName),
            _ if is_pin(name) => return Err(UriError::PinValue),
            _ if PATH_ATTRIBUTES.contains(&name) => {
                return Err(UriError::Misplaced {
                    name: name.into(),
                    query: false,
                });
            }
            _ => return Ok(()),
        };
        set(
            slot,
            name,
            text(name, decode(name, value, Component::Query)?)?,
        )
    }
}

/// The attributes of a path (RFC 7512 §2.3).
const PATH_ATTRIBUTES: [&str; 13] = [
    "token",
    "manufacturer",
    "serial",
    "model",
    "library-manufacturer",
    "library-description",
    "library-version",
    "slot-manufacturer",
    "slot-description",
    "slot-id",
    "object",
    "id",
    "type",
];

/// Whether a name stands for a PIN itself: `pin-value`, and what people write for it.
pub(crate) fn is_pin(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|character| !matches!(character, '-' | '_'))
        .collect();
    ["pin", "pinvalue", "userpin"]
        .iter()
        .any(|pin| plain.eq_ignore_ascii_case(pin))
}

/// Cuts a component into names and values; an empty one has none.
fn attributes(component: &str, separator: char) -> Result<Vec<(&str, &str)>, UriError> {
    if component.is_empty() {
        return Ok(Vec::new());
    }
    let mut attributes: Vec<(&str, &str)> = Vec::new();
    for part in component.split(separator) {
        let Some(attribute) = part.split_once('=') else {
            let after = attributes.last().map_or("", |(name, _)| *name).to_owned();
            return Err(UriError::NoValue { after });
        };
        attributes.push(attribute);
    }
    Ok(attributes)
}

fn set<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), UriError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Twice { name: name.into() }),
    }
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, UriError> {
    String::from_utf8(bytes).map_err(|_| UriError::NotUtf8 { name: name.into() })
}

/// Undoes percent-encoding; characters that must be encoded are refused.
fn decode(name: &str, value: &str, component: Component) -> Result<Vec<u8>, UriError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character == '%' {
            let digits = [characters.next(), characters.next()];
            let [Some(high), Some(low)] = digits.map(|digit| digit.and_then(|d| d.to_digit(16)))
            else {
                return Err(UriError::Escape { name: name.into() });
            };
            bytes.push(u8::try_from((high << 4) | low).unwrap_or_default());
            continue;
        }
        match u8::try_from(character) {
            Ok(byte) if is_plain(byte, component) => bytes.push(byte),
            _ => {
                return Err(UriError::MustBeEscaped {
                    name: name.into(),
                    character,
                });
            }
        }
    }
    Ok(bytes)
}

/// `pk11-pchar` and `pk11-qchar` of RFC 7512 §2.3.
fn is_plain(byte: u8, component: Component) -> bool {
    byte.is_ascii_alphanumeric()
        || b"-._~:[]@!$'()*+,=".contains(&byte)
        || match component {
            Component::Path => byte == b'&',
            Component::Query => b"/?|".contains(&byte),
        }
}

/// Writes a path attribute's value.
pub(crate) fn encode(value: &[u8]) -> String {
    let mut text = String::new();
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Uri, UriError> {
        Uri::parse(text).unwrap()
    }

    #[test]
    fn what_the_readme_shows() {
        let uri = parse(
            "pkcs11:token=My%20Token;object=K%C3%A9y;id=%01%ff;serial=42;manufacturer=A;model=M;\
             slot-id=7;type=private?module-path=/usr/lib/softhsm/libsofthsm2.so&\
             pin-source=file:/run/pin&cert-chain=/etc/chain.pem&x-mine=1&x-mine=2",
        )
        .unwrap();
        let expected = Uri {
            token: Some("My Token".into()),
            object: Some("Kéy".into()),
            id: Some(vec![1, 0xff]),
            serial: Some("42".into()),
            manufacturer: Some("A".into()),
            model: Some("M".into()),
            slot_id: Some(7),
            module_path: Some("/usr/lib/softhsm/libsofthsm2.so".into()),
            pin_source: Some("file:/run/pin".into()),
            cert_chain: Some("/etc/chain.pem".into()),
            ..Uri::default()
        };
        assert_eq!(uri, expected);
    }

    #[test]
    fn other_texts_are_no_uri() {
        for text in ["", "label", "pkcs11", "PKCS#11:x", "id=01", "é"] {
            assert!(Uri::parse(text).is_none(), "{text}");
        }
        assert_eq!(parse("pkcs11:"), Ok(Uri::default()));
        assert_eq!(parse("PKCS11:"), Ok(Uri::default()));
    }

    #[test]
    fn pins_and_module_names_are_refused() {
        let error = parse("pkcs11:token=T?pin-value=1234").unwrap_err();
        assert_eq!(error, UriError::PinValue);
        assert!(!format!("{error}").contains("1234"));
        assert!(error.hint().unwrap().contains("pin-source"));
        assert_eq!(
            parse("pkcs11:?module-name=x").unwrap_err(),
            UriError::ModuleName
        );
    }

    #[test]
    fn faults_are_named() {
        let name = |text: &str| text.to_owned();
        for (text, error) in [
            (
                "token=a;token=b",
                UriError::Twice {
                    name: name("token"),
                },
            ),
            (
                "?pin-source=a&pin-source=b",
                UriError::Twice {
                    name: name("pin-source"),
                },
            ),
            (
                "token=a;",
                UriError::NoValue {
                    after: name("token"),
                },
            ),
            (
                "label=a",
                UriError::Unknown {
                    name: name("label"),
                },
            ),
            (
                "x-vendor=a",
                UriError::Unknown {
                    name: name("x-vendor"),
                },
            ),
            (
                "object=a b",
                UriError::MustBeEscaped {
                    name: name("object"),
                    character: ' ',
                },
            ),
            (
                "object=a/b",
                UriError::MustBeEscaped {
                    name: name("object"),
                    character: '/',
                },
            ),
            (
                "object=é",
                UriError::MustBeEscaped {
                    name: name("object"),
                    character: 'é',
                },
            ),
            ("id=%0", UriError::Escape { name: name("id") }),
            ("id=%0g", UriError::Escape { name: name("id") }),
            ("id=%+1", UriError::Escape { name: name("id") }),
            (
                "object=%ff",
                UriError::NotUtf8 {
                    name: name("object"),
                },
            ),
            (
                "token=a;module-path=/m.so",
                UriError::Misplaced {
                    name: name("module-path"),
                    query: true,
                },
            ),
            (
                "pin-source=env:P",
                UriError::Misplaced {
                    name: name("pin-source"),
                    query: true,
                },
            ),
            (
                "token=a?object=k",
                UriError::Misplaced {
                    name: name("object"),
                    query: false,
                },
            ),
            ("module-name=m", UriError::ModuleName),
            ("slot-id=0x1", UriError::SlotId),
            ("type=cert", UriError::Type { kind: name("cert") }),
        ] {
            assert_eq!(
                parse(&format!("pkcs11:{text}")).unwrap_err(),
                error,
                "{text}"
            );
        }
        let long = format!("pkcs11:object={}", "a".repeat(5000));
        assert_eq!(parse(&long).unwrap_err(), UriError::TooLong);
    }

    #[test]
    fn encoding_comes_back() {
        let label = "A key; with = signs? 100% é";
        let uri = parse(&format!("pkcs11:object={}", encode(label.as_bytes()))).unwrap();
        assert_eq!(uri.object.as_deref(), Some(label));
    }
}
