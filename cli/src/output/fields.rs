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
