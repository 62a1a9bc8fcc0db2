//! Reads pages of a registry's list of referrers, and the link to the next one.

#![no_main]

use hardsign_core::oci::read_referrers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What stands before the first line feed is the link, so that a list alone is an input as well.
    let (link, page) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) if bytes.first() != Some(&b'{') => (&bytes[..at], &bytes[at + 1..]),
        _ => (&b""[..], bytes),
    };
    read_referrers(page, &String::from_utf8_lossy(link));
});
