//! Lets the tests of an executable run with the other provider: `HARDSIGN_TEST_PROVIDER=rustcrypto`, as scripts/test does.

#![allow(
    clippy::disallowed_methods,
    unsafe_code,
    reason = "code before main that reads a variable, in tests alone"
)]

use hardsign_core::crypto::{RustCrypto, set_provider};

/// Before any test, since a process chooses once.
#[ctor::ctor(unsafe)]
fn choose() {
    if let Ok(name) = std::env::var("HARDSIGN_TEST_PROVIDER") {
        assert_eq!(name, "rustcrypto", "HARDSIGN_TEST_PROVIDER");
        set_provider(&RustCrypto).expect("nothing was hashed before main");
    }
}
