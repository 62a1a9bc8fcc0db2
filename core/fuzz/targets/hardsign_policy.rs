//! Parses hardsign's own rules, in a file of their own and inside a trust policy.

#![no_main]

use hardsign_core::policy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(policy::hardsign::Document::parse(bytes));
    if let Ok(Ok((document, _))) = policy::oci::Document::parse_with_rules(bytes) {
        // Rules inside take nothing away from the document around them.
        drop(document);
        assert!(policy::oci::Document::parse(bytes).is_ok());
    }
    drop(policy::blob::Document::parse_with_rules(bytes));
});
