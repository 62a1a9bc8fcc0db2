//! Verifies a COSE envelope with hardsign and with the reference's library: one verdict, or a row in
//! `docs/compatibility.md`.

#![no_main]

use hardsign_fuzz::{Kind, compare};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compare(Kind::Cose, bytes));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    hardsign_fuzz::cose(data, size, max_size, seed)
});
