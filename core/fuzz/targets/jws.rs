//! Reads and verifies a JWS envelope.

#![no_main]

use hardsign_core::envelope::{Envelope, Format};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = Envelope::parse(Format::Jws, bytes) else {
        return;
    };
    let unverified = envelope.clone().danger_unverified();
    if let Ok(signature) = envelope.verify_integrity() {
        assert!(unverified.is_ok());
        assert_eq!(signature.bytes(), bytes);
    }
});
