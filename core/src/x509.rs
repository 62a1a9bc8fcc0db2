//! Certificates: parsed once, strictly, and the rules that a chain of them must meet.
//!
//! Implements "Certificate Requirements" of the Notary Project signature specification over the
//! structures of RFC 5280. [`Certificate`] is one parsed certificate, [`Name`] its subject or
//! issuer, [`Chain`] the proof that a list of certificates meets every rule of a [`Profile`],
//! [`identity`] what a trust policy says about the leaf's subject.
//!
//! It trusts nobody: whether a chain ends in a trusted certificate is `trust`'s and `verify`'s
//! question. Of the extensions only basicConstraints, keyUsage and extKeyUsage are honoured
//! (X509-17); the addresses of OCSP and CRL are kept for `revocation`. Names compare byte for
//! byte, with no folding (X509-29). There is no path building: the order is given.

mod certificate;
mod chain;
mod extension;
mod file;
pub mod identity;
mod name;
mod profile;

pub(crate) use certificate::time;
pub use certificate::{Certificate, CertificateError, MAX_CERTIFICATE_LEN, NotIssued};
pub use chain::{Chain, ChainError, MAX_CHAIN_LEN, NotValidAt};
pub use extension::{BasicConstraints, Extension, KeyUsage};
pub(crate) use extension::{extensions, malformed, optional_context};
pub use file::{FileError, MAX_FILE_LEN};
pub use name::{Attribute, Name};
pub use profile::{CodeSigning, Profile, Timestamping};
