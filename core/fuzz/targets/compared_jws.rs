//! Verifies a JWS envelope with hardsign and with the reference's library: one verdict, or a row in
//! `docs/compatibility.md`.

#![no_main]

use hardsign_fuzz::{Kind, compare};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compare(Kind::Jws, bytes));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    hardsign_fuzz::jws(data, size, max_size, seed)
});
