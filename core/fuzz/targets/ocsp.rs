//! Reads an OCSP response to its end, and judges it.

#![no_main]

use std::sync::LazyLock;

use hardsign_core::revocation::ocsp;
use hardsign_core::x509::Certificate;

static CHAIN: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
    let chain = include_bytes!("../../tests/vectors/code-signing/good-leaf-ca-root.pem");
    Certificate::parse_file(chain).unwrap()
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let judged = ocsp::judge(bytes, &CHAIN[0], &CHAIN[1], None, now);
    // What can be judged can be read.
    assert!(judged.is_err() || ocsp::danger_parse(bytes).is_ok());
});
