//! What a service or its client says, as part of an error of ours.

/// The most characters of it that are shown.
const MAX_SAID: usize = 500;

/// The cause of all causes, which says most; those above it say what a user knows already.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    brief(&last.to_string())
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
        let inner = std::io::Error::other("refused\n\tby the   peer");
        let outer = std::io::Error::other(inner);
        assert_eq!(innermost(&outer), "refused by the peer");
        assert_eq!(brief(&"x ".repeat(1000)).chars().count(), 500);
    }
}
