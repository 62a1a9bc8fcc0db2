//! JSON from untrusted sources: a strict reader to a tree, and the few pieces of a writer that
//! envelopes need.
//!
//! Implements RFC 8259 with the choices that close parser differentials:
//! duplicate names, trailing data, unpaired surrogates, invalid UTF-8 and a byte order mark are
//! errors; names compare byte for byte; numbers keep their text, so no value is rounded.
//! Size, nesting and number of values are bounded.
//!
//! It does not read streams, comments or any relaxed dialect.

// Requirements: ENV-16, JWS-25, SEC-26, ENV-10, ENV-42.

#[cfg(feature = "files")]
pub mod go;
mod names;
mod parser;
mod strict;

use std::fmt::Write as _;

use hardsign_plugin::chain::Wrapping;
use serde::de::DeserializeOwned;

/// A JSON value that keeps the order of members and the exact text of numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object: its members in the order in which they were written; no name occurs twice.
    Object(Vec<(String, Value)>),
}

/// Bounds of one document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Longest document in bytes.
    pub bytes: usize,
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
    /// Most values in the document, containers and their members counted.
    pub values: usize,
}

/// Why a text is not acceptable JSON. `offset` counts bytes from the start of the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The document is longer than [`Limits::bytes`].
    #[error("JSON document of {length} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Length of the document.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// Arrays and objects are nested deeper than [`Limits::depth`].
    #[error("JSON is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More values than [`Limits::values`].
    #[error("JSON has more than {limit} values")]
    TooManyValues {
        /// The limit.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("JSON is not valid UTF-8")]
    Utf8,
    /// Not JSON but something else that is known by its first bytes.
    #[error("it is {wrapping}, not JSON; {}", wrapping.advice())]
    Wrapped {
        /// What it is.
        wrapping: Wrapping,
    },
    /// The text ends inside a value.
    #[error("unexpected end of JSON input")]
    UnexpectedEnd,
    /// A byte that the grammar does not allow there.
    #[error("unexpected character at offset {offset} in JSON")]
    Unexpected {
        /// Byte offset from the start of the text, from 0.
        offset: usize,
    },
    /// A string with a bad escape, an unpaired surrogate or a bare control character.
    #[error("invalid string at offset {offset} in JSON")]
    String {
        /// Byte offset from the start of the text, from 0.
        offset: usize,
    },
    /// A number that the grammar does not allow.
    #[error("invalid number at offset {offset} in JSON")]
    Number {
        /// Byte offset from the start of the text, from 0.
        offset: usize,
    },
    /// A name occurs twice in one object.
    // ENV-16
    #[error("duplicate name {name:?} in JSON object")]
    DuplicateName {
        /// The name, or its beginning.
        name: String,
    },
    /// Something follows the document.
    #[error("trailing data at offset {offset} after JSON value")]
    TrailingData {
        /// Byte offset from the start of the text, from 0.
        offset: usize,
    },
    /// Well-formed, but not what was expected.
    #[error(transparent)]
    Data(#[from] serde_json::Error),
}

/// Parses one strict JSON document; white space may stand around it.
///
/// # Errors
/// [`JsonError`], see its arms. Nothing is allocated beyond a small multiple of the input.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    parser::document(text(bytes, limits)?, limits, None)
}

/// Where [`parse`] stops at a fault, in bytes from the start of the text; none where there is none, or where it is in no
/// one place.
pub(crate) fn fault(bytes: &[u8], limits: Limits) -> Option<usize> {
    match text(bytes, limits) {
        Ok(text) => parser::fault(text, limits),
        Err(JsonError::Utf8) => Some(std::str::from_utf8(bytes).err()?.valid_up_to()),
        Err(_) => None,
    }
}

/// [`parse`] of an object with a long list: the elements of the list `name` are handed over one by one as they are read, so that
/// there is never a tree of all of them. In the value it is empty. What follows an element may still be wrong.
///
/// # Errors
/// [`JsonError`].
#[cfg(feature = "layout")]
pub(crate) fn parse_list(
    bytes: &[u8],
    limits: Limits,
    name: &str,
    mut each: impl FnMut(Value),
) -> Result<Value, JsonError> {
    parser::document(text(bytes, limits)?, limits, Some((name, &mut each)))
}

fn text(bytes: &[u8], limits: Limits) -> Result<&str, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(too_large(bytes, limits));
    }
    if let Some(wrapping @ (Wrapping::ByteOrderMark | Wrapping::Utf16 | Wrapping::Html)) =
        Wrapping::of(bytes)
    {
        return Err(JsonError::Wrapped { wrapping });
    }
    std::str::from_utf8(bytes).map_err(|_| JsonError::Utf8)
}

/// Reads a `T` from one strict JSON document within [`Limits::default`]. The text is read once:
/// duplicates, depth and the number of values are looked at on the way, in parts that `T` has no
/// use for too. `T` must not keep parts as text (`RawValue`), which nobody would look into.
///
/// # Errors
/// [`JsonError`]; [`JsonError::Data`] where the document is not a `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    from_slice_within(bytes, Limits::default())
}

/// [`from_slice`] within other limits.
///
/// # Errors
/// [`JsonError`].
pub(crate) fn from_slice_within<T: DeserializeOwned>(
    bytes: &[u8],
    limits: Limits,
) -> Result<T, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(too_large(bytes, limits));
    }
    strict::read(bytes, limits).map_err(|error| {
        // What is refused is refused; the tree reader knows where and why.
        match parse(bytes, limits) {
            Err(fault) => fault,
            Ok(_) => JsonError::Data(shortened(error)),
        }
    })
}

/// An error that repeats no more of the document than can be shown: a text that stands where a number
/// belongs may be as long as the document.
pub(crate) fn shortened(error: serde_json::Error) -> serde_json::Error {
    let text = error.to_string();
    match text.char_indices().nth(MAX_ERROR) {
        None => error,
        Some((end, _)) => {
            let start = text.get(..end).unwrap_or_default();
            serde::de::Error::custom(format_args!("{start}…{}", place(&error)))
        }
    }
}

/// Where an error is, in words after which serde_json still knows it; nothing for one that has no place.
fn place(error: &serde_json::Error) -> String {
    match (error.line(), error.column()) {
        (0, _) => String::new(),
        (line, column) => format!(" at line {line} column {column}"),
    }
}

/// Characters of an error.
const MAX_ERROR: usize = 400;

fn too_large(bytes: &[u8], limits: Limits) -> JsonError {
    JsonError::TooLarge {
        length: bytes.len(),
        limit: limits.bytes,
    }
}

impl Default for Limits {
    /// 32 MiB, 32 levels, 250,000 values: the index of a large layout has as many, and a fraction of a
    /// second to read.
    fn default() -> Self {
        Self {
            bytes: 32 * 1024 * 1024,
            depth: 32,
            values: 250_000,
        }
    }
}

impl Value {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object, in their order.
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a number that is written as a plain non-negative integer and fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The member of an object with exactly this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }

    /// Compact JSON text in the style of `write_string`; numbers and order as they were read.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => write_string(out, text),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(out, name);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends `text` as a JSON string, escaped as Go's encoder does it: besides what JSON
/// requires, `<`, `>`, `&`, U+2028 and U+2029 become `\u` escapes.
// ENV-09
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // What stands for itself is taken as it is: all bytes but these, of which the last begins U+2028 and U+2029.
    while let Some(plain) = rest
        .bytes()
        .position(|b| matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&' | 0..=0x1f | 0xe2))
    {
        let (before, from) = rest.split_at(plain);
        out.push_str(before);
        let mut chars = from.chars();
        let Some(c) = chars.next() else { break };
        rest = chars.as_str();
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push_str(rest);
    out.push('"');
}

/// Whether a reader that ignores case, as Go's `encoding/json` does, would take `name` for one of
/// `known` although it is spelt differently (JWS-25).
pub(crate) fn is_case_variant(name: &str, known: &[&str]) -> bool {
    !known.contains(&name)
        && known
            .iter()
            .any(|k| k.chars().map(fold).eq(name.chars().map(fold)))
}

/// Simple case folding onto ASCII, with the two letters outside ASCII that fold into it.
fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    fn read(text: &str) -> Result<Value, JsonError> {
        parse(text.as_bytes(), Limits::default())
    }

    #[test]
    fn order_and_numbers_are_kept() {
        let text =
            r#"{"b":[1,-0,1.50,1e400,9007199254740993],"a":{"x":null,"y":true},"":"é\u0041"}"#;
        let value = read(text).unwrap();
        assert_eq!(value.to_json(), text.replace("\\u0041", "A"));
        assert_eq!(value.get("").unwrap().as_str(), Some("éA"));
    }

    /// ENV-10: integers above 2^53 stay exact.
    #[test]
    fn env_10_integers_are_exact() {
        let value = read("9007199254740993").unwrap();
        assert_eq!(value.as_u64(), Some(9_007_199_254_740_993));
        assert_eq!(read("1.0").unwrap().as_u64(), None);
        assert_eq!(read("18446744073709551616").unwrap().as_u64(), None);
    }

    /// ENV-16, JWS-25, SEC-26: no name twice, at any depth, however it is escaped.
    #[test]
    fn env_16_duplicate_names_are_refused() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"[{"x":{"a":1,"b":2,"a":3}}]"#,
            r#"{"a":1,"\u0061":1}"#,
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, JsonError::DuplicateName { .. }), "{text}");
        }
        assert!(read(r#"{"a":1,"A":1}"#).is_ok());
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "[1 2]",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "NaN",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\\ud800\"",
            "\"a\nb\"",
            "\u{feff}1",
            "1 2",
            "{} x",
            "'a'",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert_eq!(read("\"\\ud83d\\ude00\"").unwrap().as_str(), Some("😀"));
        assert!(matches!(
            parse(b"\"\xff\"", Limits::default()),
            Err(JsonError::Utf8)
        ));
        assert!(matches!(
            read("{}{}"),
            Err(JsonError::TrailingData { offset: 2 })
        ));
        assert!(read(" {} \n").is_ok());
    }

    /// What is not JSON in UTF-8 is called by its name.
    #[test]
    fn other_encodings_are_named() {
        for (bytes, what) in [
            (&b"\xef\xbb\xbf{}"[..], "byte order mark (BOM)"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b"\xfe\xff\0{\0}", "UTF-16"),
            (b"<html></html>", "web page (HTML)"),
        ] {
            let error = parse(bytes, Limits::default()).unwrap_err();
            assert!(matches!(error, JsonError::Wrapped { .. }), "{error}");
            assert!(error.told().contains(what), "{error}");
            assert!(from_slice::<Vec<u8>>(bytes).is_err());
        }
    }

    /// ENV-42: size, nesting and number of values are bounded.
    #[test]
    fn env_42_limits_hold() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&nested(32)).is_ok());
        assert!(matches!(
            read(&nested(33)),
            Err(JsonError::TooDeep { limit: 32 })
        ));
        assert!(matches!(
            read(&"[".repeat(1 << 20)),
            Err(JsonError::TooDeep { .. })
        ));
        let small = Limits {
            bytes: 4,
            depth: 1,
            values: 3,
        };
        assert!(matches!(
            parse(b"[1,2]", small),
            Err(JsonError::TooLarge { .. })
        ));
        let few = Limits { bytes: 64, ..small };
        assert!(parse(b"[1,2]", few).is_ok());
        assert!(matches!(
            parse(b"[1,2,3]", few),
            Err(JsonError::TooManyValues { .. })
        ));
    }

    /// ENV-09: Go's escapes.
    #[test]
    fn env_09_strings_are_escaped_as_go_does() {
        let mut out = String::new();
        write_string(
            &mut out,
            "a<b>&\"\\\u{2028}\u{2029}\n\t\r\u{8}\u{c}\u{1}\u{7f}é/",
        );
        assert_eq!(
            out,
            "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\u2028\\u2029\\n\\t\\r\\b\\f\\u0001\u{7f}é/\""
        );
    }

    #[test]
    fn case_variants_are_recognised() {
        let known = ["cty", "io.cncf.notary.signingScheme", "kid"];
        assert!(is_case_variant("CTY", &known));
        assert!(is_case_variant("IO.cncf.notary.signingScheme", &known));
        assert!(is_case_variant("io.cncf.notary.ſigningScheme", &known));
        assert!(is_case_variant("\u{212a}id", &known));
        assert!(!is_case_variant("cty", &known));
        assert!(!is_case_variant("ctyx", &known));
    }

    #[test]
    fn from_slice_is_strict() {
        #[derive(serde::Deserialize)]
        struct Doc {
            name: String,
        }
        assert_eq!(from_slice::<Doc>(b"{\"name\":\"x\"}").unwrap().name, "x");
        assert!(from_slice::<Doc>(b"{\"name\":\"x\",\"name\":\"y\"}").is_err());
        assert!(from_slice::<Doc>(b"{\"Name\":\"x\"}").is_err());
        assert!(from_slice::<Doc>(b"{\"name\":\"x\"} 1").is_err());
        // What stands where something else belongs is not told at any length.
        let long = format!("{{\"name\":\"{}\"}}", "é".repeat(1 << 20));
        let error = from_slice::<std::collections::BTreeMap<String, u8>>(long.as_bytes());
        let told = error.unwrap_err().to_string();
        assert!(told.starts_with("invalid type: string \"é"), "{told}");
        let (shown, place) = told.split_once('…').unwrap();
        assert_eq!(shown.chars().count(), MAX_ERROR);
        assert_eq!(place, format!(" at line 1 column {}", long.len() - 1));
    }

    /// ENV-16, ENV-42, SEC-26: the rules and limits hold whatever is read, in what a type passes over
    /// too, and what breaks them is told as by [`parse`].
    #[test]
    fn env_16_all_types_are_read_strictly() {
        use std::collections::BTreeMap;

        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Choice {
            Plain,
            Of(BTreeMap<String, u8>),
            Named { x: Option<u8> },
        }
        #[derive(Debug, serde::Deserialize)]
        struct Flat {
            a: u8,
            #[serde(flatten)]
            more: BTreeMap<String, serde_json::Value>,
        }
        fn all(text: &str) -> [Result<(), JsonError>; 5] {
            let text = text.as_bytes();
            [
                from_slice::<serde_json::Value>(text).map(drop),
                from_slice::<serde::de::IgnoredAny>(text).map(drop),
                from_slice::<Vec<Choice>>(text).map(drop),
                from_slice::<Flat>(text).map(drop),
                from_slice::<Option<Box<Flat>>>(text).map(drop),
            ]
        }
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1,"b":{"c":[{"d":1,"e":2,"d":3}]}}"#,
            r#"[{"of":{"x":1,"x":2}}]"#,
            r#"[{"named":{"x":1,"x":1}}]"#,
            r#"["plain",{"named":{"y":{"z":1,"z":1}}}]"#,
            r#"{"a":"of another type","a":1}"#,
        ] {
            for read in all(twice) {
                let error = read.unwrap_err();
                assert!(
                    matches!(error, JsonError::DuplicateName { .. }),
                    "{twice}: {error}"
                );
            }
        }
        for depth in [31, 32, 5000] {
            let deep = format!(
                "{{\"a\":1,\"b\":{}1{}}}",
                "[".repeat(depth),
                "]".repeat(depth)
            );
            let [tree, ignored, _, flat, optional] = all(&deep);
            for read in [tree, ignored, flat, optional] {
                match depth {
                    31 => read.unwrap(),
                    _ => assert!(matches!(
                        read.unwrap_err(),
                        JsonError::TooDeep { limit: 32 }
                    )),
                }
            }
        }
        // The object, "a" and the list are three values.
        for (count, fits) in [(249_997, true), (249_998, false)] {
            let many = format!("{{\"a\":1,\"b\":[{}0]}}", "0,".repeat(count - 1));
            let [tree, ignored, _, flat, optional] = all(&many);
            for read in [tree, ignored, flat, optional] {
                match fits {
                    true => read.unwrap(),
                    false => assert!(matches!(
                        read.unwrap_err(),
                        JsonError::TooManyValues { limit: 250_000 }
                    )),
                }
            }
        }
        let large = vec![b' '; (32 << 20) + 1];
        let error = from_slice::<serde_json::Value>(&large).unwrap_err();
        assert!(matches!(error, JsonError::TooLarge { .. }));
        let good = r#"["plain",{"of":{"x":1,"y":2}},{"named":{"x":null}},{"named":{}}]"#;
        let read: Vec<Choice> = from_slice(good.as_bytes()).unwrap();
        assert!(matches!(
            &read[..],
            [Choice::Plain, Choice::Of(of), Choice::Named { x: None }, Choice::Named { .. }] if of["y"] == 2
        ));
        let flat: Flat = from_slice(br#"{"a":1,"b":{"c":[2.5,-1,"d"]}}"#).unwrap();
        assert_eq!(
            (flat.a, flat.more["b"].to_string().as_str()),
            (1, r#"{"c":[2.5,-1,"d"]}"#)
        );
    }
}
