//! What a plugin says, made fit for a terminal: escaped and cut (SEC-29).

use std::collections::VecDeque;

use hardsign_plugin::pkcs11_uri;
use hardsign_plugin::text::is_dangerous;

/// `text` with what a terminal might obey written as Rust escapes; cut after `limit` characters.
///
/// Tabs and, where `lines` says so, line feeds stay.
pub(super) fn escaped(text: &str, limit: usize, lines: Lines) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        match c {
            '\t' => out.push(c),
            '\n' if lines == Lines::Keep => out.push(c),
            c if is_dangerous(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// A name or the like that a plugin answered, cut where it is longer than any such thing.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether line feeds are kept or escaped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lines {
    /// Text of several lines.
    Keep,
    /// One line.
    Escape,
}

/// The end of a stream: its last bytes, however much there was.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    /// Adds bytes and forgets the oldest beyond [`TAIL`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let skip = bytes.len().saturating_sub(TAIL);
        self.bytes.extend(bytes.iter().skip(skip));
        let excess = self.bytes.len().saturating_sub(TAIL);
        self.bytes.drain(..excess);
    }

    /// The last lines that say something, for an error message.
    pub(super) fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        last_lines(&bytes)
    }
}

/// The last lines of `bytes` that are not empty, at most ten, each escaped and cut, without PINs.
pub(super) fn last_lines(bytes: &[u8]) -> Vec<String> {
    let skip = bytes.len().saturating_sub(TAIL);
    let text = String::from_utf8_lossy(bytes.get(skip..).unwrap_or_default()).into_owned();
    let mut lines: Vec<String> = text
        .lines()
        .rev()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .take(LINES)
        .map(|line| escaped(&without_pin(line), LINE, Lines::Escape))
        .collect();
    lines.reverse();
    lines
}

/// `text` with the value of a `pin-value` attribute of a PKCS#11 URI taken out (RFC 7512): users
/// may put one there although our plugins refuse it.
pub(super) fn without_pin(text: &str) -> String {
    pkcs11_uri::redacted(text, REDACTED)
}

/// What stands in place of a value that is kept out of logs.
pub(super) const REDACTED: &str = "*****";

/// Characters shown of a name that a plugin answered.
const NAME: usize = 200;

/// Bytes of a stream that are kept for error messages.
const TAIL: usize = 16 << 10;

/// Lines shown of them.
const LINES: usize = 10;

/// Characters shown of each line.
const LINE: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-29: no escape sequence and no direction override reaches the terminal.
    #[test]
    fn sec_29_escaped() {
        assert_eq!(
            escaped("a\x1b[31m\u{9b}\u{202e}ü\n\tb", 99, Lines::Escape),
            "a\\u{1b}[31m\\u{9b}\\u{202e}ü\\n\tb"
        );
        assert_eq!(escaped("a\nb", 99, Lines::Keep), "a\nb");
        assert_eq!(escaped("abcdef", 3, Lines::Escape), "abc…");
        assert_eq!(escaped("abc", 3, Lines::Escape), "abc");
    }

    #[test]
    fn names_are_cut() {
        assert_eq!(cut("EC-256"), "EC-256");
        assert_eq!(cut(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(cut(&"é".repeat(201)), "é".repeat(200) + "…");
    }

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::default();
        for i in 0..100_000 {
            tail.push(format!("line {i}\r\n\n").as_bytes());
            assert!(tail.bytes.len() <= TAIL);
        }
        tail.push(b"no newline \xff");
        let lines = tail.lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[8], "line 99999");
        assert_eq!(lines[9], "no newline \u{fffd}");
        tail.push(&vec![b'x'; 3 * TAIL]);
        assert_eq!(tail.bytes.len(), TAIL);
    }

    #[test]
    fn pins_in_uris_are_taken_out() {
        assert_eq!(
            without_pin("pkcs11:token=T;pin-value=1234;x=y?pin-value=99&module-path=/m"),
            "pkcs11:token=T;pin-value=*****;x=y?pin-value=*****&module-path=/m"
        );
        assert_eq!(without_pin("pkcs11:token=T"), "pkcs11:token=T");
        assert_eq!(without_pin("pin-value="), "pin-value=*****");
        assert_eq!(
            last_lines(b"can't open pkcs11:token=T?pin-value=1234\nbye\n"),
            ["can't open pkcs11:token=T?pin-value=*****", "bye"]
        );
    }
}
