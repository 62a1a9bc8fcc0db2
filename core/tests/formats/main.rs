//! The rules of envelopes, certificates and signatures, each with the number of its requirement.

#![allow(clippy::unwrap_used, reason = "a panic is how a test helper fails")]

mod certificate;
mod choice;
mod constraints;
mod content;
mod cose;
mod crypto;
mod draft;
mod identity;
mod jws;
mod malformed;
mod properties;
#[path = "../provider/mod.rs"]
mod provider;
mod reference;
mod swap;
mod vectors;
mod wycheproof;
mod x509;
