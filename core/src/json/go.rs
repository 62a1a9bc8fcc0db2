//! Files of other Go programs, read as Go's `encoding/json` reads them: names of members without
//! regard to case, the last of several members of one name, and nothing after the first value.
//!
//! Durations stand in them as Go writes those: `1h30m`.
//!
//! For files that only their owner writes, such as Docker's `config.json`. Whatever is signed, or
//! decides about trust, is read by the strict reader of the parent module.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use zeroize::Zeroizing;

use super::JsonError;

/// The members of an object, all of them, in their order.
#[derive(Debug, Default)]
pub struct Members(pub Vec<(String, Value)>);

/// Whether Go takes a member named `name` for its field `field`.
pub fn is_named(name: &str, field: &str) -> bool {
    // Go folds beyond ASCII: the long s and the Kelvin sign.
    let fold = |text: &str| text.to_lowercase().replace('\u{17f}', "s");
    fold(name) == fold(field)
}

/// The members of the object that a text begins with. A text without anything has none, and neither
/// has `null`.
///
/// # Errors
/// [`JsonError::Data`] where it begins with something else, without a word of what that is.
pub fn members(bytes: &[u8]) -> Result<Members, JsonError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Members::default());
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Members::deserialize(&mut reader).map_err(|error| unquoted(error.into(), "an object"))
}

/// An error without what stands in the document, which the parser's own text quotes: it may be a secret.
pub(crate) fn unquoted(error: JsonError, expected: &str) -> JsonError {
    let JsonError::Data(error) = error else {
        return error;
    };
    if !error.is_data() {
        return JsonError::Data(error);
    }
    let place = super::place(&error);
    JsonError::Data(Error::custom(format_args!("{expected} is expected{place}")))
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_unit<E: Error>(self) -> Result<Members, E> {
                Ok(Members::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A user name and a secret under the names `Username` and `Secret`, as a credential helper answers.
pub struct Login {
    /// Empty where there is none.
    pub username: String,
    /// Empty where there is none.
    pub secret: Zeroizing<String>,
}

/// Reads the answer of a credential helper.
///
/// # Errors
/// [`JsonError::Data`], which tells nothing of what the answer holds.
pub fn login(bytes: &[u8]) -> Result<Login, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let login = Login::deserialize(&mut reader).map_err(|error| {
        let expected = "an object with the strings Username and Secret";
        unquoted(error.into(), expected)
    })?;
    reader.end()?;
    Ok(login)
}

impl<'de> Deserialize<'de> for Login {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Login;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Login, A::Error> {
                let mut login = Login {
                    username: String::new(),
                    secret: Zeroizing::default(),
                };
                while let Some(name) = map.next_key::<String>()? {
                    if is_named(&name, "Username") {
                        let value: Option<String> = map.next_value()?;
                        login.username = value.unwrap_or_default();
                    } else if is_named(&name, "Secret") {
                        let value: Option<String> = map.next_value()?;
                        login.secret = Zeroizing::new(value.unwrap_or_default());
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(login)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A duration as Go's `time.ParseDuration` reads it, to the millisecond: numbers with a unit each, `h`,
/// `m`, `s` or `ms`, the largest first or not; `0` needs no unit. `None` for anything else, negative
/// ones among it.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    #[test]
    fn names_are_folded_as_go_does() {
        for name in ["auths", "AUTHS", "Auths", "auth\u{17f}"] {
            assert!(is_named(name, "auths"), "{name}");
        }
        assert!(!is_named("auth", "auths"));
    }

    #[test]
    fn members_keep_order_and_duplicates() {
        let names = |text: &str| -> Vec<String> {
            let members = members(text.as_bytes()).unwrap();
            members.0.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(r#"{"b":1,"a":2,"b":3}"#), ["b", "a", "b"]);
        assert_eq!(names(r#"{"a":1} and more"#), ["a"]);
        for nothing in ["", " \n", "null", "{}"] {
            assert!(names(nothing).is_empty(), "{nothing:?}");
        }
        for bad in ["[]", "7", "{", "x"] {
            assert!(members(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// SEC-20: what is wrong with an answer is told without its text.
    #[test]
    fn sec_20_logins() {
        let read = |text: &str| login(text.as_bytes()).map(|l| (l.username, l.secret.to_string()));
        let both = Ok(("u".to_owned(), "s".to_owned()));
        for text in [
            r#"{"ServerURL":"r","Username":"u","Secret":"s"}"#,
            r#"{"username":"u","SECRET":"s"}"#,
            r#"{"Secret":"x","Username":"u","secret":"s"}"#,
        ] {
            assert_eq!(read(text).map_err(|e| e.told()), both, "{text}");
        }
        let empty = Ok((String::new(), String::new()));
        for text in ["{}", r#"{"Username":"","Secret":null}"#] {
            assert_eq!(read(text).map_err(|e| e.told()), empty, "{text}");
        }
        for text in [
            r#"{"Secret":1234}"#,
            r#"{"Secret":["1234"]}"#,
            r#"{"Username":1234}"#,
            r#""1234""#,
            "1234",
        ] {
            let error = read(text).unwrap_err().told();
            assert!(!error.contains("1234"), "{error}");
            assert!(error.contains("is expected at line 1"), "{error}");
            let error = members(text.as_bytes()).err().map(|error| error.told());
            assert!(!error.unwrap_or_default().contains("1234"), "{text}");
        }
        let error = members(br#" "1234""#).unwrap_err().told();
        assert!(
            error.starts_with("an object is expected at line 1"),
            "{error}"
        );
    }

    #[test]
    fn durations_of_go() {
        for (text, millis) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("10s", Some(10_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("250ms", Some(250)),
            ("12h0m0s", Some(43_200_000)),
            ("", None),
            ("10", None),
            ("-1s", None),
            ("1d", None),
            ("s", None),
            ("1s ", None),
            ("1..5s", None),
        ] {
            assert_eq!(
                duration(text),
                millis.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }
}
