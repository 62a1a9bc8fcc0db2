//! Certificates: read in one place, for host and plugins alike, and chosen for a key whose public
//! half is known.
//!
//! [`Certificate`] is one parsed certificate, with the rules that it must meet; [`load`] reads a file
//! of them from disk, [`read_file`] its bytes. Tokens hold certificates in no order, among others
//! that have nothing to do with the key: [`choose`] finds the leaf that can sign and orders its
//! chain by names and key identifiers (RFC 5280 §4.1.2.4, §4.2.1.1). It proves nothing: the host
//! checks the chain rules and every signature. Needs the feature `chain`.

pub use certificate::{Certificate, CertificateError, Flaw, MAX_CERTIFICATE_LEN};
pub use choice::{Choice, PassedOver, WhyNot, choose};
pub use extension::{BasicConstraints, Extension, KeyUsage};
pub use file::{FileError, MAX_FILE_LEN, read_file};
#[cfg(feature = "serve")]
pub use load::{LoadError, load};
pub use name::{Attribute, Name, Shown};
pub use public_key::PublicKey;
pub use rules::{Profile, RuleError};
pub use time::Time;
pub use wrapping::{UTF8_MARK, Wrapping};

#[cfg(feature = "serve")]
mod answer;
mod certificate;
mod choice;
mod extension;
mod file;
#[cfg(feature = "serve")]
mod load;
mod name;
mod public_key;
mod rules;
mod time;
mod wrapping;

/// Pieces of DER that the host needs too, for CRLs, OCSP answers and timestamps.
#[doc(hidden)]
pub mod asn1 {
    pub use super::extension::{extensions, malformed, optional_context};
    pub use super::rules::{ANY_PURPOSE, TIME_STAMPING};
}

/// The most certificates in a chain.
pub const MAX_CHAIN: usize = 16;

/// The most certificates in a file that a plugin reads.
pub const MAX_CERTIFICATES: usize = 200;

/// Certificates that can't be read or don't make a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A certificate that can't be read.
    #[error(transparent)]
    Malformed(#[from] CertificateError),
    /// A file that can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file without certificates.
    #[error("there is no certificate in it")]
    Empty,
    /// No certificate at all to look at.
    #[error("there is no certificate for the key")]
    NoCertificate,
    /// No certificate is the key's.
    #[error(
        "no certificate matches the public key of the key ({at_hand} at hand: {}{})",
        subjects.join("; "),
        unreadable.as_ref().map(|error| format!("; one can't be read: {error}")).unwrap_or_default()
    )]
    NoMatch {
        /// Subjects of the certificates that were looked at, the first few.
        subjects: Vec<String>,
        /// How many were looked at.
        at_hand: usize,
        /// The first certificate that could not be read.
        unreadable: Option<CertificateError>,
    },
    /// The key has several certificates, and none can sign now.
    #[error(
        "none of the {} certificates of the key can sign: {}",
        certificates.len(),
        certificates.iter().map(|c| format!("{}: {}", c.certificate, c.why)).collect::<Vec<_>>().join("; ")
    )]
    NoneFits {
        /// Each with the reason.
        certificates: Vec<PassedOver>,
    },
    /// The chain ends before a root.
    #[error(
        "certificate chain is incomplete: {subject:?} was issued by {issuer:?}, whose certificate is not at hand{}",
        near.as_ref().map(|near| format!(": {near}")).unwrap_or_default()
    )]
    NoIssuer {
        /// The last certificate that was found.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// A certificate at hand that seems to be the issuer's, and why it is not.
        near: Option<String>,
    },
    /// A public key that is not encoded as it should be.
    #[error("public key is malformed")]
    PublicKey(#[source] der::Error),
}

/// Reads a certificate file: PEM blocks, or certificates in DER one after the other.
///
/// Gives DER in the order of the file. PEM labels other than `CERTIFICATE` and `X509
/// CERTIFICATE` are refused, a private key with a message that says so.
///
/// # Errors
/// What is wrong with the file; its name is the caller's to add.
// X509-21, X509-22
pub fn parse_file(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ChainError> {
    let certificates = read_file(bytes, MAX_CERTIFICATES)?;
    if certificates.is_empty() {
        return Err(ChainError::Empty);
    }
    Ok(certificates.iter().map(|c| c.der().to_vec()).collect())
}

/// Whether a certificate in DER carries this public key; `false` also if it does not parse.
pub fn matches(key: &PublicKey, der: &[u8]) -> bool {
    public_key(der).is_ok_and(|found| found == *key)
}

/// Whether a certificate in DER is a CA's; `false` also if it does not parse.
pub fn is_ca(der: &[u8]) -> bool {
    Certificate::from_der(der).is_ok_and(|certificate| certificate.is_ca())
}

/// The public key of a certificate in DER.
///
/// # Errors
/// The certificate does not parse.
pub fn public_key(der: &[u8]) -> Result<PublicKey, ChainError> {
    Certificate::from_der(der)?.public_key()
}

/// The subject of a certificate in DER, for messages.
pub fn subject(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(certificate.subject().to_string())
}

#[cfg(test)]
mod tests;
