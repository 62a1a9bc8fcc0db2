//! Certificate files: trust store entries, chains, TSA roots (X509-21 to X509-23).
//!
//! PEM (RFC 7468) is read leniently: text around blocks and any line length are fine, as
//! certificate files in the wild have both.

use base64::Engine as _;
use der::{Reader as _, SliceReader};

use super::wrapping::UTF8_MARK;
use super::{Certificate, CertificateError, Wrapping};

/// Longest certificate file accepted, in bytes.
pub const MAX_FILE_LEN: usize = 4 * 1024 * 1024;

/// A certificate file that cannot be used; its name is the caller's to add.
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
    #[error("certificate file holds more than {limit} certificates")]
    TooMany {
        /// The most that are read.
        limit: usize,
    },
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
    #[error(
        "certificate file contains a PEM block {label:?}, which is not a certificate; only CERTIFICATE is accepted"
    )]
    UnexpectedLabel {
        /// The label of the PEM block.
        label: String,
    },
    /// A PEM block that never ends or does not hold base64.
    #[error("x509: malformed certificate: PEM block {block} is damaged: {why}")]
    Pem {
        /// Number of the block, from 1.
        block: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A certificate that does not parse.
    #[error("{fault}{}", place(*number))]
    Certificate {
        /// Its number in the file, from 1; 0 if it is the only one.
        number: usize,
        /// What is wrong with it.
        fault: CertificateError,
    },
    /// Certificates in another wrapping, or something else.
    #[error("x509: malformed certificate: it is {wrapping}, not certificates in PEM or DER; {}", wrapping.advice())]
    Wrapped {
        /// What its first bytes say that it is.
        wrapping: Wrapping,
    },
    /// Nothing that is known.
    #[error("x509: malformed certificate: neither PEM nor DER")]
    Unknown,
}

fn place(number: usize) -> String {
    match number {
        0 => String::new(),
        number => format!(" (certificate {number} of the file)"),
    }
}

/// Reads the certificates of a file, at most `limit`, in its order: PEM, one or more blocks, or
/// DER, one or several concatenated. A byte order mark and text around PEM blocks are
/// passed over; an empty file gives an empty list.
///
/// # Errors
/// The first fault makes the whole file unusable.
// X509-21
pub fn read_file(bytes: &[u8], limit: usize) -> Result<Vec<Certificate>, FileError> {
    if bytes.len() > MAX_FILE_LEN {
        return Err(FileError::TooLarge {
            length: bytes.len(),
        });
    }
    let bytes = bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let blocks = pem_blocks(bytes, limit)?;
    let ders = if blocks.is_empty() {
        concatenated(bytes, limit)?
    } else {
        blocks
    };
    let alone = ders.len() == 1;
    let numbered = (1..).zip(&ders);
    numbered
        .map(|(number, der)| {
            Certificate::from_der(der).map_err(|fault| FileError::Certificate {
                number: if alone { 0 } else { number },
                fault,
            })
        })
        .collect()
}

/// Concatenated DER, cut where each outermost element ends.
fn concatenated(bytes: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, FileError> {
    match Wrapping::of(bytes) {
        Some(Wrapping::PrivateKey) => {
            return Err(FileError::PrivateKey {
                label: "DER".to_owned(),
            });
        }
        Some(wrapping) => return Err(FileError::Wrapped { wrapping }),
        None if bytes.first() != Some(&0x30) => return Err(FileError::Unknown),
        None => {}
    }
    let mut rest = bytes;
    let mut ders = Vec::new();
    while !rest.is_empty() {
        if ders.len() == limit {
            return Err(FileError::TooMany { limit });
        }
        let element = SliceReader::new(rest).and_then(|mut reader| reader.tlv_bytes());
        // What is cut off is read as a certificate, whose error then says where.
        let element = element.unwrap_or(rest);
        rest = rest.get(element.len()..).unwrap_or_default();
        ders.push(element.to_vec());
    }
    Ok(ders)
}

/// The contents of all PEM blocks; none where there is no `-----BEGIN` line.
fn pem_blocks(bytes: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, FileError> {
    let mut blocks = Vec::new();
    let mut lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let Some(label) = label(line, BEGIN) else {
            continue;
        };
        check_label(&label)?;
        if blocks.len() == limit {
            return Err(FileError::TooMany { limit });
        }
        let block = blocks.len().saturating_add(1);
        let damaged = |why| FileError::Pem { block, why };
        let mut text = Vec::new();
        loop {
            let line = lines.next().ok_or(damaged("it has no END line"))?;
            if line.starts_with(b"-----") {
                if self::label(line, END).as_ref() != Some(&label) {
                    return Err(damaged("its END line does not fit its BEGIN line"));
                }
                break;
            }
            // Headers of the old style end at an empty line; they carry nothing here.
            if !line.contains(&b':') {
                text.extend_from_slice(line);
            }
        }
        let der = base64::engine::general_purpose::STANDARD.decode(text);
        blocks.push(der.map_err(|_| damaged("it is not base64"))?);
    }
    Ok(blocks)
}

fn check_label(label: &str) -> Result<(), FileError> {
    match label {
        "CERTIFICATE" | "X509 CERTIFICATE" => Ok(()),
        "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => Err(FileError::Wrapped {
            wrapping: Wrapping::Pkcs7Pem,
        }),
        label if label.contains("PRIVATE KEY") => Err(FileError::PrivateKey {
            label: label.to_owned(),
        }),
        label => Err(FileError::UnexpectedLabel {
            label: label.to_owned(),
        }),
    }
}

/// The label of a line of dashes.
pub(super) fn label(line: &[u8], start: &[u8]) -> Option<String> {
    let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    Some(String::from_utf8_lossy(label).into_owned())
}

pub(super) const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
