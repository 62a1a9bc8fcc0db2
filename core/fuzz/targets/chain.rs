//! Parses a certificate file and proves the chain in it.

#![no_main]

use hardsign_core::x509::{Certificate, Chain, CodeSigning, Timestamping};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(certificates) = Certificate::parse_file(bytes) else {
        return;
    };
    for certificate in &certificates {
        // What was parsed parses again, to the same.
        assert_eq!(Certificate::from_der(certificate.der()).as_ref(), Ok(certificate));
        drop(certificate.subject().to_string());
        drop(certificate.thumbprint_hex());
    }
    let signing = Chain::<CodeSigning>::prove(certificates.clone());
    let timestamping = Chain::<Timestamping>::prove(certificates);
    assert!(signing.is_err() || timestamping.is_err());
});
