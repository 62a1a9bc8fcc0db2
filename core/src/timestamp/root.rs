//! The file that names the TSA's root when signing (TSA-10, TSA-11).

use super::error::RootError;
use crate::x509::{Certificate, NotIssued};

/// Reads the one root certificate of a file, PEM or DER. `path` is for the texts.
///
/// # Errors
/// [`RootError`]: none or several certificates, or one that is not self-signed and self-issued.
pub fn root_from_file(bytes: &[u8], path: &str) -> Result<Certificate, RootError> {
    let path = || path.to_owned();
    let mut certificates = Certificate::parse_file(bytes)?;
    let (Some(root), true) = (certificates.pop(), certificates.is_empty()) else {
        return Err(if certificates.is_empty() {
            RootError::Empty { path: path() }
        } else {
            RootError::Several { path: path() }
        });
    };
    root.check_signed_by(&root)
        .map_err(|source| RootError::NotSelfSigned { source })?;
    match root.check_issued_by(&root) {
        Ok(()) => Ok(root),
        Err(NotIssued::Name { .. }) => Err(RootError::NotSelfIssued { path: path() }),
        Err(source) => Err(RootError::NotSelfSigned { source }),
    }
}
