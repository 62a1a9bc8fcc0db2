//! The grammar of media types, as the reference's library reads it (BLOB-03): RFC 2045 with
//! parameters, but the subtype may be missing.

use std::collections::BTreeMap;

use crate::artifact::Quoted;

/// The media type of a file where none is given.
// BLOB-03
pub const DEFAULT_MEDIA_TYPE: &str = "application/octet-stream";

/// A text that is no media type.
// BLOB-03
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid content media-type {}", Quoted(media_type))]
#[non_exhaustive]
pub struct InvalidMediaType {
    /// The text as given.
    pub media_type: String,
    /// What is wrong with it.
    #[source]
    pub fault: MediaTypeFault,
}

/// What is wrong with a media type.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaTypeFault {
    /// Nothing before the first separator.
    #[error("mime: no media type")]
    NoType,
    /// Something else than a slash after the type.
    #[error("mime: expected slash after first token")]
    NoSlash,
    /// Nothing after the slash.
    #[error("mime: expected token after slash")]
    NoSubtype,
    /// Something after the subtype that is no parameter.
    #[error("mime: unexpected content after media subtype")]
    AfterSubtype,
    /// A parameter that is not `; name=value`.
    #[error("mime: invalid media parameter")]
    Parameter,
    /// One parameter with two values.
    #[error("mime: duplicate parameter name")]
    DuplicateParameter,
}

/// Checks the syntax of a media type.
///
/// # Errors
/// [`InvalidMediaType`].
pub fn check_media_type(text: &str) -> Result<(), InvalidMediaType> {
    check(text).map_err(|fault| InvalidMediaType {
        media_type: text.to_owned(),
        fault,
    })
}

fn check(text: &str) -> Result<(), MediaTypeFault> {
    let (base, parameters) = match text.find(';') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    check_base(base.trim())?;
    check_parameters(parameters)
}

fn check_base(text: &str) -> Result<(), MediaTypeFault> {
    let (kind, rest) = token(text);
    if kind.is_empty() {
        return Err(MediaTypeFault::NoType);
    }
    if rest.is_empty() {
        return Ok(());
    }
    let rest = rest.strip_prefix('/').ok_or(MediaTypeFault::NoSlash)?;
    match token(rest) {
        ("", _) => Err(MediaTypeFault::NoSubtype),
        (_, "") => Ok(()),
        _ => Err(MediaTypeFault::AfterSubtype),
    }
}

fn check_parameters(mut rest: &str) -> Result<(), MediaTypeFault> {
    let mut seen = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if matches!(rest.trim(), "" | ";") {
            return Ok(());
        }
        let (name, value, after) = parameter(rest).ok_or(MediaTypeFault::Parameter)?;
        rest = after;
        let previous = seen.insert(name.to_lowercase(), value.clone());
        if previous.is_some_and(|previous| previous != value) {
            return Err(MediaTypeFault::DuplicateParameter);
        }
    }
}

/// `; name=value`, and what follows it.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let rest = text.strip_prefix(';')?.trim_start();
    let (name, rest) = token(rest);
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    match rest.strip_prefix('"') {
        Some(quoted) => {
            let (value, rest) = quoted_value(quoted)?;
            Some((name, value, rest))
        }
        None => match token(rest) {
            ("", _) => None,
            (value, rest) => Some((name, value.to_owned(), rest)),
        },
    }
}

/// The rest of a quoted string, after its opening quote.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at.saturating_add(1)..)?)),
            '\r' | '\n' => return None,
            '\\' => match chars.peek() {
                Some((_, next)) if is_special(*next) => {
                    value.push(*next);
                    chars.next();
                }
                _ => value.push(c),
            },
            c => value.push(c),
        }
    }
    None
}

/// The longest token at the start, and what follows it.
fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_graphic() || is_special(c));
    text.split_at(end.unwrap_or(text.len()))
}

fn is_special(c: char) -> bool {
    "()<>@,;:\\\"/[]?=".contains(c)
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    /// BLOB-03.
    #[test]
    fn media_types() {
        for good in [
            DEFAULT_MEDIA_TYPE,
            "other-media-type",
            "text/plain; charset=utf-8",
            "text/plain;",
            " text/plain ; a=1; A=1;b = \"x;\\\"y\"",
            "application/vnd.oci.image.manifest.v1+json",
        ] {
            assert_eq!(check_media_type(good), Ok(()), "{good}");
        }
        for (bad, fault) in [
            ("", MediaTypeFault::NoType),
            ("/plain", MediaTypeFault::NoType),
            ("a b", MediaTypeFault::NoSlash),
            ("a/", MediaTypeFault::NoSubtype),
            ("a/b/c", MediaTypeFault::AfterSubtype),
            ("a/b;c", MediaTypeFault::Parameter),
            ("a/b;c=", MediaTypeFault::Parameter),
            ("a/b;c=\"d", MediaTypeFault::Parameter),
            ("a/b;c=\"d\n\"", MediaTypeFault::Parameter),
            ("a/b;c=1;c=2", MediaTypeFault::DuplicateParameter),
            ("é/b", MediaTypeFault::NoType),
        ] {
            assert_eq!(check(bad), Err(fault), "{bad}");
        }
        assert_eq!(
            check_media_type("a b").unwrap_err().told(),
            "invalid content media-type \"a b\": mime: expected slash after first token"
        );
    }
}
