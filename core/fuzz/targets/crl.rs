//! Parses a CRL, walks over its entries, and proves it against an issuer.

#![no_main]

use std::sync::LazyLock;

use hardsign_core::revocation::crl::{Bundle, Crl};
use hardsign_core::x509::Certificate;

static ISSUER: LazyLock<Certificate> = LazyLock::new(|| {
    let chain = include_bytes!("../../tests/vectors/code-signing/good-leaf-ca-root.pem");
    Certificate::parse_file(chain).unwrap().remove(1)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(crl) = Crl::parse(bytes.to_vec()) else {
        return;
    };
    assert_eq!(crl.der(), bytes);
    drop(crl.danger_lists(&[0x11, 0x22, 0x33]));
    // The seeds are signed by this issuer.
    drop(Bundle::prove(crl, &ISSUER));
});
