//! What a CA remembers between its commands: what it issued, what it revoked, the number of its
//! last list.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CertifyError, CrlEntry, Reason, Serial};
use crate::config::{FileError, FileLock, read_regular, write_atomic};
use crate::json::{self, JsonError, Limits};

/// The largest ledger: tens of thousands of certificates.
const MAX_LEDGER: u64 = 16 << 20;
/// What is in such a ledger.
const LIMITS: Limits = Limits {
    bytes: 16 << 20,
    depth: 8,
    values: 1_000_000,
};

/// How long a change waits for others.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ledger of one CA.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Number of the last revocation list; 0 if there is none yet.
    #[serde(default)]
    pub crl_number: u64,
    /// What was issued, in the order of issuing.
    #[serde(default)]
    pub issued: Vec<LedgerEntry>,
    /// What was revoked.
    #[serde(default)]
    revoked: Vec<Revoked>,
}

/// A certificate that was issued.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Its subject.
    pub subject: String,
    /// When it expires, RFC 3339.
    pub not_after: String,
    /// Where it says that the revocation list is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_url: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Revoked {
    serial: String,
    /// RFC 3339.
    at: String,
    #[serde(default)]
    reason: Reason,
}

/// Why a ledger can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not the JSON that it should be.
    #[error("the CA's ledger {file:?} is malformed")]
    Malformed {
        /// Its path.
        file: std::path::PathBuf,
        /// What the parser said.
        source: JsonError,
    },
}

impl Ledger {
    /// Reads the ledger at `path`; an empty one where there is none.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn load(path: &Path) -> Result<Self, LedgerError> {
        let bytes = match read_regular(path, MAX_LEDGER) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        json::from_slice_within(&bytes, LIMITS).map_err(|source| LedgerError::Malformed {
            file: path.into(),
            source,
        })
    }

    /// Changes the ledger at `path`, under a lock; it is written whole or not at all.
    ///
    /// # Errors
    /// [`LedgerError`], or the error of `change`; nothing is written then.
    pub fn update<T, E: From<LedgerError>>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let lock = FileLock::acquire(path, PATIENCE).map_err(LedgerError::from)?;
        let mut ledger = Self::load(path)?;
        let outcome = change(&mut ledger)?;
        let bytes =
            serde_json::to_vec_pretty(&ledger).map_err(|source| LedgerError::Malformed {
                file: path.into(),
                source: JsonError::Data(source),
            })?;
        write_atomic(path, &bytes, 0o600).map_err(LedgerError::from)?;
        drop(lock);
        Ok(outcome)
    }

    /// What was issued under this serial number.
    pub fn entry(&self, serial: &Serial) -> Option<&LedgerEntry> {
        let text = serial.to_string();
        self.issued.iter().find(|entry| entry.serial == text)
    }

    /// Whether it is revoked already.
    pub fn is_revoked(&self, serial: &Serial) -> bool {
        let text = serial.to_string();
        self.revoked.iter().any(|entry| entry.serial == text)
    }

    /// Adds a revocation.
    pub fn revoke(&mut self, serial: &Serial, at: Timestamp, reason: Reason) {
        self.revoked.push(Revoked {
            serial: serial.to_string(),
            at: at.to_string(),
            reason,
        });
    }

    /// The entries of the next revocation list.
    ///
    /// # Errors
    /// A serial number that somebody has spoilt.
    pub fn crl_entries(&self) -> Result<Vec<CrlEntry>, CertifyError> {
        let entry = |revoked: &Revoked| {
            Ok(CrlEntry {
                serial: Serial::parse(&revoked.serial)?,
                at: revoked.at.parse().map_err(|_| CertifyError::Time {
                    text: revoked.at.clone(),
                })?,
                reason: revoked.reason,
            })
        };
        self.revoked.iter().map(entry).collect()
    }

    /// The addresses that issued certificates name for the list, each once.
    pub fn crl_urls(&self) -> Vec<&str> {
        let mut urls: Vec<&str> = self
            .issued
            .iter()
            .filter_map(|entry| entry.crl_url.as_deref())
            .collect();
        urls.sort_unstable();
        urls.dedup();
        urls
    }
}
