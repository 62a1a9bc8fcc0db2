//! Expiry of the signature (VER-15, SEC-09).

use jiff::Timestamp;

/// A signature that has expired.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("digital signature has expired on \"{}\"", crate::x509::rfc1123(crate::x509::utc(*expiry)))]
#[non_exhaustive]
pub struct ExpiryError {
    /// When it expired.
    pub expiry: Timestamp,
}

/// Expired at the expiry and after (DIF-24). A signature without an expiry never expires.
pub(super) fn expiry(expiry: Option<Timestamp>, now: Timestamp) -> Result<(), ExpiryError> {
    match expiry {
        Some(expiry) if now >= expiry => Err(ExpiryError { expiry }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    /// VER-15, DIF-24: the boundary belongs to the expired side.
    #[test]
    fn boundary() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let end = at("2026-11-23T01:02:03Z");
        assert_eq!(expiry(None, end), Ok(()));
        assert_eq!(
            expiry(Some(end), at("2026-11-23T01:02:02.999999999Z")),
            Ok(())
        );
        for now in [end, at("2026-11-23T01:02:04Z")] {
            assert_eq!(
                expiry(Some(end), now).unwrap_err().told(),
                "digital signature has expired on \"Mon, 23 Nov 2026 01:02:03 +0000\""
            );
        }
    }
}
