//! Certificate files: trust store entries, chains, TSA roots (X509-21 to X509-23).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::{Reader, SliceReader};

use super::{Certificate, CertificateError};

/// Longest certificate file accepted, in bytes.
pub const MAX_FILE_LEN: usize = 4 * 1024 * 1024;

/// Most certificates accepted in one file.
const MAX_CERTIFICATES: usize = 1024;

/// A certificate file that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Longer than [`MAX_FILE_LEN`].
    #[error("certificate file of {length} bytes is larger than {MAX_FILE_LEN} bytes")]
    TooLarge {
        /// Length in bytes.
        length: usize,
    },
    /// More certificates than anyone needs.
    #[error("certificate file holds more than {MAX_CERTIFICATES} certificates")]
    TooMany,
    /// A private key stands among the certificates.
    // X509-22
    #[error(
        "certificate file contains a private key (PEM block {label:?}); remove it and keep the key elsewhere"
    )]
    PrivateKey {
        /// The label of the PEM block.
        label: String,
    },
    /// A PEM block that holds no certificate.
    // X509-22
    #[error("certificate file contains a PEM block {label:?}, only CERTIFICATE is accepted")]
    UnexpectedLabel {
        /// The label of the PEM block.
        label: String,
    },
    /// A PEM block that never ends or does not hold base64.
    #[error("x509: malformed certificate")]
    MalformedPem,
    /// A certificate that does not parse.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Certificate {
    /// Reads a certificate file: PEM, one or more blocks, or DER, one or several concatenated
    /// (X509-21). Text around PEM blocks is ignored; an empty file gives an empty list.
    ///
    /// # Errors
    /// [`FileError`]; the first fault makes the whole file unusable.
    pub fn parse_file(bytes: &[u8]) -> Result<Vec<Self>, FileError> {
        if bytes.len() > MAX_FILE_LEN {
            return Err(FileError::TooLarge {
                length: bytes.len(),
            });
        }
        let blocks = pem_blocks(bytes)?;
        let ders = if blocks.is_empty() {
            concatenated(bytes)?
        } else {
            blocks
        };
        if ders.len() > MAX_CERTIFICATES {
            return Err(FileError::TooMany);
        }
        ders.iter()
            .map(|der| Self::from_der(der).map_err(FileError::from))
            .collect()
    }
}

/// Concatenated DER, cut where each outermost element ends.
fn concatenated(bytes: &[u8]) -> Result<Vec<Vec<u8>>, FileError> {
    let malformed = |source| CertificateError::Malformed { source };
    let mut reader = SliceReader::new(bytes).map_err(malformed)?;
    let mut ders = Vec::new();
    while !reader.is_finished() {
        ders.push(reader.tlv_bytes().map_err(malformed)?.to_vec());
    }
    Ok(ders)
}

/// The contents of all PEM blocks (RFC 7468); none where there is no `-----BEGIN` line.
fn pem_blocks(bytes: &[u8]) -> Result<Vec<Vec<u8>>, FileError> {
    let mut blocks = Vec::new();
    let mut lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let Some(label) = label(line, b"-----BEGIN ") else {
            continue;
        };
        if label.contains("PRIVATE KEY") {
            return Err(FileError::PrivateKey { label });
        }
        if !matches!(label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE") {
            return Err(FileError::UnexpectedLabel { label });
        }
        let mut text = Vec::new();
        loop {
            let line = lines.next().ok_or(FileError::MalformedPem)?;
            if line.starts_with(b"-----") {
                if self::label(line, b"-----END ").as_ref() != Some(&label) {
                    return Err(FileError::MalformedPem);
                }
                break;
            }
            // Headers of the old style end at an empty line; they carry nothing here.
            if !line.contains(&b':') {
                text.extend_from_slice(line);
            }
        }
        blocks.push(STANDARD.decode(text).map_err(|_| FileError::MalformedPem)?);
    }
    Ok(blocks)
}

fn label(line: &[u8], start: &[u8]) -> Option<String> {
    let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    Some(String::from_utf8_lossy(label).into_owned())
}
