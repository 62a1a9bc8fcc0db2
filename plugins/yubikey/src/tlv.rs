//! BER-TLV as PIV uses it (NIST SP 800-73-4, part 2): tags of one or two bytes, definite lengths.

/// Appends one element.
pub(crate) fn push(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    let [high, low] = tag.to_be_bytes();
    if high != 0 {
        out.push(high);
    }
    out.push(low);
    let [.., high, low] = value.len().to_be_bytes();
    match value.len() {
        0..=0x7f => out.push(low),
        0x80..=0xff => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(value);
}

/// One element.
pub(crate) fn tlv(tag: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len().saturating_add(6));
    push(&mut out, tag, value);
    out
}

/// The first element: tag, value, and what follows. `None` if there is no whole one.
pub(crate) fn take(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut tag = u16::from(first);
    if first & 0x1f == 0x1f {
        let (&second, after) = rest.split_first()?;
        tag = u16::from_be_bytes([first, second]);
        rest = after;
    }
    let (length, rest) = match rest {
        [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// The value of the first element with that tag, among elements that stand side by side.
pub(crate) fn find(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((tag, value, rest)) = take(bytes) {
        if tag == wanted {
            return Some(value);
        }
        bytes = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1234] {
            for tag in [0x53, 0x7f49, 0x5c] {
                let value = vec![7; length];
                let written = [tlv(tag, &value), vec![9]].concat();
                assert_eq!(take(&written), Some((tag, &value[..], &[9][..])));
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        let whole = tlv(0x7f49, &[1; 300]);
        for end in 0..whole.len() {
            assert_eq!(take(&whole[..end]), None, "{end}");
        }
        assert_eq!(take(&[0x53, 0x80]), None, "indefinite length");
        assert_eq!(take(&[0x53, 0x84, 0, 0, 0, 0]), None);
    }

    #[test]
    fn elements_are_found_side_by_side() {
        let bytes = [tlv(1, &[0x11]), tlv(2, &[3, 1]), tlv(4, &[])].concat();
        assert_eq!(find(&bytes, 2), Some(&[3, 1][..]));
        assert_eq!(find(&bytes, 4), Some(&[][..]));
        assert_eq!(find(&bytes, 3), None);
    }
}
