//! ECDSA signatures: from the DER that many key stores give to the r‖s of the contract.

use crate::algorithm::KeySpec;

/// Converts a signature from DER to r‖s, each left-padded to the length of the field.
///
/// ```asn1
/// Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }   -- RFC 3279 §2.2.3
/// ```
///
/// `None` if the key spec is not elliptic-curve, if `der` is not exactly such a sequence in DER,
/// or if a number is negative, zero, or too long for the curve.
// ENV-37
pub fn from_der(key_spec: KeySpec, der: &[u8]) -> Option<Vec<u8>> {
    if key_spec.is_rsa() {
        return None;
    }
    let (content, rest) = element(0x30, der)?;
    let (r, after) = element(0x02, content)?;
    let (s, end) = element(0x02, after)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let length = key_spec.signature_len() / 2;
    let mut signature = padded(r, length)?;
    signature.extend(padded(s, length)?);
    Some(signature)
}

/// The content of the DER element at the front, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [found, length @ 0..=0x7f, rest @ ..] if *found == tag => (*length, rest),
        [found, 0x81, length @ 0x80..=0xff, rest @ ..] if *found == tag => (*length, rest),
        _ => return None,
    };
    rest.split_at_checked(usize::from(length))
}

/// A positive INTEGER in its shortest form, as `length` bytes.
fn padded(integer: &[u8], length: usize) -> Option<Vec<u8>> {
    let number = match integer {
        [0, top @ 0x80..=0xff, ..] | [top @ 1..=0x7f, ..] => {
            let zeros = usize::from(*top >= 0x80);
            integer.get(zeros..)?
        }
        _ => return None,
    };
    let zeros = length.checked_sub(number.len())?;
    let mut padded = vec![0; zeros];
    padded.extend_from_slice(number);
    Some(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sequence of two integers, given with their leading zeros.
    fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| match content.len() {
            length @ ..0x80 => [&[tag, length as u8], content].concat(),
            length => [&[tag, 0x81, length as u8], content].concat(),
        };
        wrap(0x30, &[wrap(2, r), wrap(2, s)].concat())
    }

    #[test]
    fn env_37_r_and_s_are_padded() {
        let raw = from_der(KeySpec::Ec256, &der(&[1], &[0, 0x80])).unwrap();
        assert_eq!(raw.len(), 64);
        assert_eq!((raw[31], raw[63]), (1, 0x80));
        assert_eq!(raw.iter().filter(|byte| **byte != 0).count(), 2);
        let long = [&[1][..], &[0xff; 65]].concat();
        let raw = from_der(KeySpec::Ec521, &der(&long, &long)).unwrap();
        assert_eq!(raw, [long.clone(), long].concat());
        let full = [&[0][..], &[0xff; 32]].concat();
        let raw = from_der(KeySpec::Ec256, &der(&full, &full)).unwrap();
        assert_eq!(raw, [0xff; 64]);
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let refused = |der: &[u8]| from_der(KeySpec::Ec256, der).is_none();
        let good = der(&[1], &[1]);
        assert!(!refused(&good));
        assert!(from_der(KeySpec::Rsa2048, &good).is_none());
        assert!(refused(&[]) && refused(&good[..7]) && refused(&[&good[..], &[0]].concat()));
        assert!(refused(&der(&[0], &[1])), "zero");
        assert!(refused(&der(&[], &[1])), "empty");
        assert!(refused(&der(&[0x80], &[1])), "negative");
        assert!(refused(&der(&[0, 1], &[1])), "longer than needed");
        assert!(refused(&der(&[1; 33], &[1])), "too long for the curve");
        assert!(refused(&[0x30, 0x81, 6, 2, 1, 1, 2, 1, 1]), "long form");
        assert!(refused(&[0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0]), "indefinite");
    }
}
