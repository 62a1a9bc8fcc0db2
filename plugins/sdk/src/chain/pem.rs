//! PEM blocks (RFC 7468), read leniently: text around blocks and any line length are fine, as
//! certificate files in the wild have both.

use base64::Engine as _;

use super::{ChainError, MAX_CERTIFICATES};

/// One block.
pub(super) struct Block {
    pub(super) label: String,
    pub(super) bytes: Vec<u8>,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The blocks of a file; `None` if it is no PEM at all. Text after the last block is ignored.
pub(super) fn blocks(bytes: &[u8]) -> Result<Option<Vec<Block>>, ChainError> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(None);
    };
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(BEGIN) else {
            continue;
        };
        if blocks.len() == MAX_CERTIFICATES {
            return Err(ChainError::TooMany);
        }
        let damaged = || ChainError::Pem {
            block: blocks.len().saturating_add(1),
        };
        let label = label.strip_suffix(DASHES).ok_or_else(damaged)?;
        let mut content = String::new();
        loop {
            let line = lines.next().ok_or_else(damaged)?;
            if let Some(end) = line.strip_prefix(END) {
                if end.strip_suffix(DASHES) != Some(label) {
                    return Err(damaged());
                }
                break;
            }
            // Key files have headers; certificates have none, and a header is no base64.
            if !line.contains(':') {
                content.push_str(line);
            }
        }
        // What is not a certificate is refused by its label, decoded or not.
        let bytes = match base64::engine::general_purpose::STANDARD.decode(content) {
            Ok(bytes) => bytes,
            Err(_) if !label.contains("CERTIFICATE") => Vec::new(),
            Err(_) => return Err(damaged()),
        };
        blocks.push(Block {
            label: label.to_owned(),
            bytes,
        });
    }
    Ok((!blocks.is_empty()).then_some(blocks))
}
