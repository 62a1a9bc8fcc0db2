//! Certificates: parsed once, strictly, and the rules that a chain of them must meet.
//!
//! Implements "Certificate Requirements" of the Notary Project signature specification over the
//! structures of RFC 5280. [`Certificate`] is one parsed certificate, [`Name`] its subject or
//! issuer, [`Chain`] the proof that a list of certificates meets every rule of a [`Profile`],
//! [`identity`] what a trust policy says about the leaf's subject.
//!
//! Certificates are read, and the rules for single ones written down, in
//! [`hardsign_plugin::chain`], which the plugins use as well: what can sign can be verified.
//!
//! It trusts nobody: whether a chain ends in a trusted certificate is `trust`'s and `verify`'s
//! question. In chains that sign artifacts only basicConstraints, keyUsage and extKeyUsage are
//! honoured; in those of timestamping authorities what a CA may issue is, too, and no
//! critical extension is passed over. Names compare byte for byte, with no folding.
//! There is no path building: the order is given.

// Requirements: X509-17, X509-29.

mod certificate;
mod chain;
mod constraints;
pub mod identity;
mod name;
mod profile;

pub use der::Error as DerError;
pub use der::asn1::ObjectIdentifier;

pub use certificate::{Certificate, NotIssued};
pub(crate) use certificate::{rfc1123, time, utc};
#[cfg(test)]
pub(crate) use chain::PROVEN;
pub use chain::{Chain, ChainError, NotValidAt};
pub use constraints::ConstraintError;
pub(crate) use hardsign_plugin::chain::asn1::{extensions, malformed, optional_context};
pub use hardsign_plugin::chain::{
    Attribute, BasicConstraints, CertificateError, Extension, FileError, Flaw, KeyUsage,
    MAX_CERTIFICATE_LEN, MAX_CHAIN as MAX_CHAIN_LEN, MAX_FILE_LEN, RuleError,
};
pub use name::Name;
pub use profile::{CodeSigning, Profile, Timestamping};
