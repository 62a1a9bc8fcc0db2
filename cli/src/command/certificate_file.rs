//! Files of certificates that a command is given.

use std::path::Path;

use hardsign_core::config::read_named;
use hardsign_core::text::WithCauses;
use hardsign_core::x509::{Certificate, MAX_FILE_LEN};

use crate::failure::Failure;
use crate::output::one_line;

/// What such a file has to be.
const FORMS: &str = "give certificates in PEM (-----BEGIN CERTIFICATE-----) or DER";

/// The certificates of a file, in its order; at least one.
///
/// # Errors
/// It can't be read, or has something else in it.
pub(super) fn read(path: &str) -> Result<Vec<Certificate>, Failure> {
    let bytes = read_named(Path::new(path), MAX_FILE_LEN as u64).map_err(Failure::error)?;
    let name = one_line(path);
    let read = Certificate::parse_file(&bytes)
        .map_err(|error| Failure::failed(format!("{name}: {}", WithCauses(&error))).hint(FORMS))?;
    if read.is_empty() {
        return Err(Failure::failed(format!("{name}: no certificate in it")).hint(FORMS));
    }
    Ok(read)
}
