//! Text in double quotes as Go's `%q` writes it: the form in which the reference tool's error
//! texts show what the user typed.

use std::fmt;

use crate::text::is_dangerous;

/// Displays a text between double quotes, with quotes, backslashes and characters that do not
/// print escaped.
// SEC-29
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c if unprintable(c) && u32::from(c) > 0xffff => {
                    write!(f, "\\U{:08x}", u32::from(c))?;
                }
                c if unprintable(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// What Go does not print: beside what is dangerous to a terminal, odd spaces and private use.
fn unprintable(c: char) -> bool {
    is_dangerous(c)
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{e1000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_go_does() {
        // SEC-29: nothing that moves the cursor reaches a terminal.
        for (text, quoted) in [
            ("plain é", "\"plain é\""),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\u{1b}[2J\n\t", r#""\x1b[2J\n\t""#),
            ("a\u{202e}b\u{9b}", r#""a\u202eb\u009b""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(Quoted(text).to_string(), quoted);
        }
    }
}
