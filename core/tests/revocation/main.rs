//! Revocation: OCSP responses and CRLs that keep every rule or break one, and the checker that asks
//! a server for them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod crl;
mod mutations;
mod ocsp;
mod online;
#[path = "../provider/mod.rs"]
mod provider;

use hardsign_core::x509::Certificate;
use hardsign_test_support::{Builder, Issued, Key, Pki};

/// A certificate that the test's PKI issued.
fn leaf(pki: &Pki, change: impl FnOnce(Builder) -> Builder) -> Issued {
    let key = &Key::P384;
    pki.issue(change(Builder::leaf("Leaf", key.spki)), key)
}

fn parsed(issued: &Issued) -> Certificate {
    Certificate::from_der(&issued.der).unwrap()
}

/// The serial number of every certificate made by the test support.
const SERIAL: &[u8] = &[2, 3, 0x11, 0x22, 0x33];
