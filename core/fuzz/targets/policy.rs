//! Parses policy documents: for artifacts, for files, and hardsign's own.

#![no_main]

use hardsign_core::policy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(policy::oci::Document::parse(bytes));
    drop(policy::blob::Document::parse(bytes));
    drop(policy::hardsign::Document::parse(bytes));
});
