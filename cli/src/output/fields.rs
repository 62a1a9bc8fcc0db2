//! Names and values below a line of result or an error, a pair a line. Where the width is known, a value that
//! does not fit goes on below itself.

use super::one_line;

/// The lines of `fields`, each `indent` columns to the right. What is foreign in them is made harmless.
pub(crate) fn fields(
    fields: &[(&str, String)],
    indent: usize,
    width: Option<usize>,
) -> Vec<String> {
    let widest = fields.iter().map(|(name, _)| name.chars().count()).max();
    let column = indent + widest.unwrap_or(0) + 2;
    let mut lines = Vec::new();
    for (name, value) in fields {
        let room = width.map(|width| width.saturating_sub(column).max(MIN_ROOM));
        for (number, part) in parts(&one_line(value), room).into_iter().enumerate() {
            let name = if number == 0 { *name } else { "" };
            let start = format!("{:indent$}{name}", "");
            lines.push(format!("{start:column$}{part}"));
        }
    }
    lines
}

/// A value in parts of at most `room` characters, parted behind blanks and commas where that is possible.
fn parts(value: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else {
        return vec![value.to_owned()];
    };
    let mut parts = vec![String::new()];
    let mut length = 0;
    for word in value.split_inclusive([' ', ',']) {
        let word_length = word.trim_end().chars().count();
        if length > 0
            && length + word_length > room
            && let Some(last) = parts.last_mut()
        {
            last.truncate(last.trim_end().len());
            parts.push(String::new());
            length = 0;
        }
        if let Some(last) = parts.last_mut() {
            last.push_str(word);
            length += word.chars().count();
        }
    }
    parts
}

/// A text of one or more lines, `taken` columns of whose first one are taken already, for a terminal of that width: a
/// line that is longer goes on below itself, as far to the right as it begins. It is parted at blanks alone, and not
/// within a command in backquotes, so that what is copied stays whole.
pub(crate) fn wrapped(text: &str, taken: usize, width: usize) -> String {
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.chars().take_while(|c| *c == ' ').count();
        let start = if number == 0 { taken } else { indent };
        if number > 0 {
            out.push('\n');
        }
        out.push_str(line.get(..indent).unwrap_or_default());
        let mut column = start;
        for (word_number, word) in words(line.get(indent..).unwrap_or_default()).enumerate() {
            let length = word.chars().count();
            if word_number > 0 && column + 1 + length > width {
                out.push_str(&format!("\n{:start$}", ""));
                column = start;
            } else if word_number > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
    }
    out
}

/// The words of a line; what stands in backquotes is one, with what is written on to it.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '`';
        c == ' ' && !quoted
    })
}

/// Room that a value has in any case: a fingerprint stays whole at 80 columns.
const MIN_ROOM: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_below_each_other() {
        let pairs = [
            ("signer", "CN=a".to_owned()),
            ("SHA-256", "b\nc".to_owned()),
        ];
        assert_eq!(
            fields(&pairs, 2, None),
            ["  signer   CN=a", "  SHA-256  b\\nc"]
        );
    }

    #[test]
    fn long_lines_are_wrapped_where_nobody_copies() {
        let digest = "a".repeat(64);
        assert_eq!(wrapped("short", 6, 80), "short");
        assert_eq!(
            wrapped("one two three\n  four five six", 6, 14),
            "one two\n      three\n  four five\n  six"
        );
        let text = format!("do this: `hardsign sign x@sha256:{digest}` signs it");
        assert_eq!(
            wrapped(&text, 6, 40),
            format!("do this:\n      `hardsign sign x@sha256:{digest}`\n      signs it")
        );
        for width in 1..100 {
            let copied: Vec<_> = wrapped(&text, 6, width)
                .lines()
                .map(|line| line.trim().to_owned())
                .collect();
            assert_eq!(copied.join(" "), text, "{width}");
        }
    }

    #[test]
    fn a_long_value_goes_on_below_itself() {
        let value = "CN=release signer,OU=Release,O=Example Corporation,C=US".to_owned();
        assert_eq!(
            fields(&[("signer", value.clone())], 2, Some(40)),
            [
                "  signer  CN=release signer,OU=Release,",
                "          O=Example Corporation,C=US"
            ]
        );
        assert_eq!(fields(&[("signer", value)], 2, Some(200)).len(), 1);
        let digest = "a".repeat(64);
        assert_eq!(
            fields(&[("SHA-256", digest.clone())], 2, Some(60)),
            [format!("  SHA-256  {digest}")]
        );
    }
}
