//! Reads a trust policy with hardsign and with the reference's library: one verdict, or a row in
//! `docs/compatibility.md`.

#![no_main]

use hardsign_fuzz::{Kind, compare};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compare(Kind::Policy, bytes));
