//! Parses a trusted identity, its distinguished name included.

#![no_main]

use hardsign_core::x509::identity::{TrustedIdentities, TrustedIdentity};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let identity = format!("x509.subject:{text}");
    let parsed = identity.parse::<TrustedIdentity>();
    assert_eq!(parsed.is_ok(), TrustedIdentities::parse(&[&identity]).is_ok());
    if parsed.is_ok() {
        // Twice the same overlaps with itself.
        assert!(TrustedIdentities::parse(&[&identity, &identity]).is_err());
    }
    drop(text.parse::<TrustedIdentity>());
});
