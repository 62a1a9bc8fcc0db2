//! What a service or its client says, as part of an error of ours.

use std::error::Error;
use std::io;

/// The most characters of it that are shown.
const MAX_SAID: usize = 500;

/// The error itself or a cause of it, if it is of this type.
pub fn caused_by<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = below(cause);
    }
    None
}

/// The cause of all causes, which says most; those above it say what a user knows already.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = below(last) {
        last = cause;
    }
    brief(&last.to_string())
}

/// The cause of an error. An `io::Error` around another error gives that one's cause as its source.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// One line of at most 500 characters.
pub fn brief(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_cause_in_one_line() {
        let inner = io::Error::other("refused\n\tby the   peer");
        let outer = io::Error::other(inner);
        assert_eq!(innermost(&outer), "refused by the peer");
        assert_eq!(brief(&"x ".repeat(1000)).chars().count(), 500);
    }

    #[test]
    fn a_cause_of_a_type() {
        let inner = "x".parse::<u8>().unwrap_err();
        let outer = io::Error::other(io::Error::other(inner.clone()));
        assert_eq!(caused_by(&outer), Some(&inner));
        assert_eq!(caused_by(&inner), Some(&inner));
        assert_eq!(caused_by::<std::fmt::Error>(&outer), None);
    }
}
