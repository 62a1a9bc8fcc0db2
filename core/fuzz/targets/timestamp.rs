//! Reads a timestamp token and an answer of a timestamping authority, and judges both.

#![no_main]

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::timestamp::{Request, Token, root_from_file};

/// What the tokens of the seeds are over.
const MESSAGE: &[u8] = b"hello\n";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(root_from_file(bytes, "root.crt"));
    if let Ok(request) = Request::new(HashAlgorithm::Sha256, MESSAGE) {
        // Nobody is trusted, so nothing is accepted.
        assert!(request.accept(bytes, MESSAGE, &[]).is_err());
    }
    let Ok(token) = Token::parse(bytes) else {
        return;
    };
    drop(token.danger_range(MESSAGE).map(|range| range.to_string()));
    drop(token.check_intact(MESSAGE));
    assert!(token.verify(MESSAGE, &[]).is_err());
    if let Ok(verified) = token.verify(MESSAGE, token.danger_certificates()) {
        // Whatever the root, the range is the one that is shown.
        assert_eq!(Ok(verified.range()), token.danger_range(MESSAGE));
    }
});
