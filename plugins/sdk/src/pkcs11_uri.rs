//! PKCS#11 URIs (RFC 7512), parsed strictly.
//!
//! ```text
//! pkcs11:token=T;object=K;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin
//! ```
//!
//! As §2.4 says, an attribute that is not known makes the path match nothing (here: an error),
//! while one in the query is ignored. `pin-value` is refused, and so is `module-name`.
//!
//! Whoever only passes key ids on can't demand that they are right: [`path_value`], [`pin_sources`],
//! [`pin_name`], [`redacted`] and [`without_pin`] look at a text that may have faults, or be no URI at
//! all.

use std::borrow::Cow;

/// The longest URI.
const MAX_URI: usize = 4096;

/// The scheme with its colon; any case is read.
pub const SCHEME: &str = "pkcs11:";

/// What a URI says. Absent attributes match anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Uri {
    /// Label of the token.
    pub token: Option<String>,
    /// Manufacturer of the token.
    pub manufacturer: Option<String>,
    /// Serial number of the token.
    pub serial: Option<String>,
    /// Model of the token.
    pub model: Option<String>,
    /// Manufacturer of the module.
    pub library_manufacturer: Option<String>,
    /// Description of the module.
    pub library_description: Option<String>,
    /// Version of the module, such as `2.6`.
    pub library_version: Option<String>,
    /// Manufacturer of the slot.
    pub slot_manufacturer: Option<String>,
    /// Description of the slot.
    pub slot_description: Option<String>,
    /// Number of the slot.
    pub slot_id: Option<u64>,
    /// Label of the key (`CKA_LABEL`).
    pub object: Option<String>,
    /// Identifier of the key (`CKA_ID`).
    pub id: Option<Vec<u8>>,
    /// File of the module.
    pub module_path: Option<String>,
    /// Where the PIN is read from: what [`PinSource`](crate::secret::PinSource) understands.
    pub pin_source: Option<String>,
    /// Our own query attribute: a PEM file with certificates.
    pub cert_chain: Option<String>,
}

/// What is wrong with a URI. Values are not shown where they could be a PIN.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// More than 4096 characters.
    #[error("PKCS#11 URI is longer than {MAX_URI} characters")]
    TooLong,
    /// A part that is no attribute.
    #[error("PKCS#11 URI has a part without '=' after {after:?}")]
    NoValue {
        /// The attribute before it; empty at the start.
        after: String,
    },
    /// An attribute that stands there twice.
    #[error("PKCS#11 URI names {name:?} twice")]
    Twice {
        /// The attribute.
        name: String,
    },
    /// An attribute of the path that is not known.
    #[error(
        "PKCS#11 URI has an unknown attribute {name:?} in its path, so that it matches nothing (RFC 7512 §2.4)"
    )]
    Unknown {
        /// The attribute.
        name: String,
    },
    /// A character that RFC 7512 §2.3 wants encoded.
    #[error("PKCS#11 URI: {character:?} in {name:?} must be written %{:02X}", u32::from(*character))]
    MustBeEscaped {
        /// The attribute.
        name: String,
        /// The character.
        character: char,
    },
    /// A percent sign that begins no escape.
    #[error("PKCS#11 URI: '%' in {name:?} is not followed by two hexadecimal digits")]
    Escape {
        /// The attribute.
        name: String,
    },
    /// A text that is not UTF-8.
    #[error("PKCS#11 URI: {name:?} is not UTF-8")]
    NotUtf8 {
        /// The attribute.
        name: String,
    },
    /// A slot that is no number.
    #[error("PKCS#11 URI: slot-id is not a decimal number")]
    SlotId,
    /// A `type` other than `private`.
    #[error("PKCS#11 URI: type={kind} names no private key")]
    Type {
        /// The type as written.
        kind: String,
    },
    /// A PIN in the URI itself.
    #[error(
        "PKCS#11 URI has a pin-value: a PIN in a key's name ends up in configuration files, process lists and logs"
    )]
    PinValue,
    /// A module by name.
    #[error("PKCS#11 URI has a module-name; which file that means depends on the machine")]
    ModuleName,
    /// An attribute of the query in the path, or the other way round.
    #[error("PKCS#11 URI has {name:?} {} the '?', where it means nothing", if *query { "before" } else { "behind" })]
    Misplaced {
        /// The attribute.
        name: String,
        /// Whether it belongs into the query.
        query: bool,
    },
}

impl UriError {
    /// The user's next step, if there is one beside mending the URI.
    pub fn hint(&self) -> Option<&'static str> {
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
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> Option<Result<Self, UriError>> {
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
pub fn is_pin(name: &str) -> bool {
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
    let byte = |piece| match piece {
        Piece::Escaped(byte) => Ok(byte),
        Piece::Stray => Err(UriError::Escape { name: name.into() }),
        Piece::Plain(character) => match u8::try_from(character) {
            Ok(byte) if is_plain(byte, component) => Ok(byte),
            _ => Err(UriError::MustBeEscaped {
                name: name.into(),
                character,
            }),
        },
    };
    pieces(value).map(byte).collect()
}

/// Undoes percent-encoding; whatever is no escape stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Escaped(byte) => bytes.push(byte),
            Piece::Stray => bytes.push(b'%'),
            Piece::Plain(character) => {
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// A part of a text with escapes (RFC 3986 §2.1).
enum Piece {
    /// `%20` and the like.
    Escaped(u8),
    /// A percent sign that begins no escape.
    Stray,
    /// Any other character.
    Plain(char),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece> + '_ {
    let mut rest = text.chars();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        if first != '%' {
            return Some(Piece::Plain(first));
        }
        let mut after = rest.clone();
        let digits = [after.next(), after.next()];
        let [Some(high), Some(low)] =
            digits.map(|digit| digit.and_then(|digit| digit.to_digit(16)))
        else {
            return Some(Piece::Stray);
        };
        rest = after;
        let byte = u8::try_from((high << 4) | low).unwrap_or_default();
        Some(Piece::Escaped(byte))
    })
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

/// The attributes of one component of a text that need not be a right URI: names decoded, values as they
/// stand there. What has no value is passed over.
fn loosely(component: &str, separator: char) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    component.split(separator).filter_map(|attribute| {
        let (name, value) = attribute.split_once('=')?;
        Some((decoded(name), value))
    })
}

/// The value of an attribute of the path, decoded, in a text that need not be a right URI, nor of this
/// scheme; `None` where there is none, or more than one.
pub fn path_value(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(':')?;
    let path = rest.split('?').next().unwrap_or_default();
    let mut found = loosely(path, ';').filter(|(found, _)| found == name);
    let (_, only) = found.next()?;
    match found.next() {
        None => Some(decoded(only).into_owned()),
        Some(_) => None,
    }
}

/// The values of `pin-source`, decoded, in the query of a text that need not be a right URI. Escapes
/// that are none stay as they are.
pub fn pin_sources(text: &str) -> impl Iterator<Item = String> + '_ {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    loosely(query, '&')
        .filter(|(name, _)| name == "pin-source")
        .map(|(_, value)| decoded(value).into_owned())
}

/// The name of an attribute that [is a PIN](is_pin), wherever it stands in a text that need not be a right
/// URI. A plain `pin` counts in `pkcs11:` and `yubikey:` alone, since it may mean anything elsewhere.
pub fn pin_name(text: &str) -> Option<String> {
    let names_tokens = [SCHEME, "yubikey:"].iter().any(|scheme| {
        let start = text.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    text.split([':', ';', '?', '&'])
        .filter_map(|part| Some(decoded(part.split_once('=')?.0).trim().to_owned()))
        .find(|name| is_pin(name) && (names_tokens || !name.eq_ignore_ascii_case("pin")))
}

/// The text with the value of each attribute that [is a PIN](is_pin) replaced by `mark`, for logs and
/// errors: users may have put one there although [`Uri::parse`] refuses it. The text need not be a right
/// URI.
pub fn redacted(text: &str, mark: &str) -> String {
    text.split_inclusive([';', '&', '?'])
        .map(|part| {
            let Some((name, value)) = part.split_once('=') else {
                return part.to_owned();
            };
            let plain = decoded(name);
            let last = plain.rsplit(':').next().unwrap_or_default().trim();
            if !is_pin(last) && !plain.to_ascii_lowercase().ends_with("pin-value") {
                return part.to_owned();
            }
            let separator = value.trim_start_matches(|c| !matches!(c, ';' | '&' | '?'));
            format!("{name}={mark}{separator}")
        })
        .collect()
}

/// The text without the attributes of its query that say something of a PIN (RFC 7512 §2.4), so that
/// nobody logs in with it. It need not be a right URI.
pub fn without_pin(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let says_a_pin = |attribute: &&str| {
        let name = attribute.split('=').next().unwrap_or_default();
        decoded(name).starts_with("pin-")
    };
    let kept: Vec<_> = query.split('&').filter(|part| !says_a_pin(part)).collect();
    format!("{path}?{}", kept.join("&"))
}

/// Writes the value of an attribute of the path.
pub fn encode(value: &[u8]) -> String {
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

/// Writes a query attribute's value, legible where that is allowed.
pub fn encode_query(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if is_plain(byte, Component::Query) {
            text.push(char::from(byte));
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
        let source = "file:/run/my pin&100%";
        let uri = parse(&format!("pkcs11:?pin-source={}", encode_query(source))).unwrap();
        assert_eq!(uri.pin_source.as_deref(), Some(source));
    }

    #[test]
    fn what_is_read_of_a_text_with_faults() {
        let sources = |text: &str| pin_sources(text).collect::<Vec<_>>();
        assert_eq!(
            sources("pkcs11:object=a b?module-path=/m.so&pin-source=file:%2Fa%20b%zz%"),
            ["file:/a b%zz%"]
        );
        assert_eq!(
            sources("x?pin-source=fd%3a7&pin-source=%+1"),
            ["fd:7", "%+1"]
        );
        assert_eq!(sources("x?pin%2Dsource=env:P"), ["env:P"]);
        assert!(sources("pin-sources=x;pkcs11:pin-source").is_empty());
        assert!(sources("pkcs11:object=a&pin-source=x").is_empty());

        let shown = |text: &str| redacted(text, "*****");
        assert_eq!(
            shown("pkcs11:token=T;pin-value=1234;x=y?PIN-VALUE=99&module-path=/m"),
            "pkcs11:token=T;pin-value=*****;x=y?PIN-VALUE=*****&module-path=/m"
        );
        assert_eq!(
            shown("pkcs11:pin=12;object=p?User_Pin=3="),
            "pkcs11:pin=*****;object=p?User_Pin=*****"
        );
        assert_eq!(shown("pkcs11:token=T"), "pkcs11:token=T");
        assert_eq!(shown("pin-value="), "pin-value=*****");
        assert_eq!(shown("épin-value=é"), "épin-value=*****");
        assert_eq!(
            shown("pkcs11:object=k?pin%2dvalue=1234&x=1"),
            "pkcs11:object=k?pin%2dvalue=*****&x=1"
        );

        assert_eq!(
            without_pin("pkcs11:token=T?module-path=/m.so&pin-source=file:/pin"),
            "pkcs11:token=T?module-path=/m.so"
        );
        assert_eq!(
            without_pin("pkcs11:token=T?pin-value=1234"),
            "pkcs11:token=T?"
        );
        assert_eq!(
            without_pin("pkcs11:token=T?pin%2Dsource=env:P"),
            "pkcs11:token=T?"
        );
        assert_eq!(without_pin("pkcs11:token=T"), "pkcs11:token=T");
    }

    /// Every spelling that the parser refuses is found in texts that are not parsed, too.
    #[test]
    fn a_pin_is_found_by_any_of_its_names() {
        for name in [
            "pin-value",
            "PIN-VALUE",
            "pin_value",
            "pinvalue",
            "PinValue",
            "user-pin",
            "user_pin",
            "userpin",
            "pin%2Dvalue",
            "%70in-value",
            "user%2dpin",
            "pin%5Fvalue",
        ] {
            for text in [
                format!("pkcs11:token=T?{name}=1234"),
                format!("pkcs11:token=T;{name}=1234;object=k"),
                format!("pkcs11:{name}=1234"),
                format!("other:key?x=y&{name}=1234"),
                format!("{name}=1234"),
            ] {
                let found = pin_name(&text).unwrap();
                assert!(is_pin(&found), "{text}: {found}");
                assert!(!redacted(&text, "").contains("1234"), "{text}");
            }
        }
        for text in ["yubikey:slot=9c;pin=1234", "PKCS11:?P%49N=1234"] {
            assert!(pin_name(text).is_some(), "{text}");
        }
        for text in [
            "pkcs11:token=T?pin-source=env:PIN",
            "pkcs11:object=pin-value",
            "https://vault.example/keys/k?pin=not-one",
            "pin",
            "",
        ] {
            assert_eq!(pin_name(text), None, "{text}");
        }
    }

    #[test]
    fn one_value_of_a_path() {
        let token = |text: &str| path_value(text, "token");
        assert_eq!(
            token("pkcs11:object=k;token=b%61r%20").as_deref(),
            Some("bar ")
        );
        assert_eq!(token("other:token=%zz").as_deref(), Some("%zz"));
        assert_eq!(token("pkcs11:t%6fken=a").as_deref(), Some("a"));
        for none in [
            "pkcs11:object=k?token=a",
            "token=a",
            "pkcs11:token=a;token=b",
            "x:Token=a",
        ] {
            assert_eq!(token(none), None, "{none}");
        }
    }
}
