//! Timestamp tokens: valid ones of every kind, and ones that break any single rule.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../provider/mod.rs"]
mod provider;
mod requests;
mod roots;
mod tokens;

use hardsign_core::x509::Certificate;
use hardsign_test_support::token::Authority;

/// What tokens here are over.
const MESSAGE: &[u8] = b"a primitive signature";

fn roots(authority: &Authority) -> Vec<Certificate> {
    vec![Certificate::from_der(&authority.root.der).unwrap()]
}
