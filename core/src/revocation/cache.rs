//! The reference's cache of CRLs on disk (REV-47 to REV-49): what `notation` stored is used here,
//! and the reverse.
//!
//! One file for each address, named by the SHA-256 of the address:
//!
//! ```json
//! {"baseCRL":"<base64 DER>","deltaCRL":"<base64 DER>"}
//! ```
//!
//! What is read is not believed: the caller proves it anew. A fault is told and never more than
//! that (REV-50). Files are replaced whole, through a temporary file beside them (SEC-18).

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::crl::{Crl, CrlError, MAX_CRL_LEN};
use crate::artifact::Quoted;
use crate::config::{FileError, create_private_directory, read_regular};
use crate::crypto;
use crate::json::{self, JsonError, Value};

/// Longest file: two CRLs in base64, and some more.
const MAX_FILE: usize = 2 * MAX_CRL_LEN / 3 * 4 + 4096;

/// The directory of the cache.
#[derive(Clone, Debug)]
pub(super) struct FileCache {
    directory: PathBuf,
}

/// What is in the cache under an address.
#[derive(Debug)]
pub(super) enum Cached {
    /// These CRLs, neither of which has expired.
    Bundle(Box<Crl>, Option<Box<Crl>>),
    /// Nothing.
    Missing,
    /// Something that has expired.
    Expired(Timestamp),
}

/// A fault of the cache. The texts are the reference's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The directory can't be made.
    #[error("failed to create crl file cache")]
    Create {
        /// What is wrong with the file.
        #[source]
        source: FileError,
    },
    /// A file can't be read.
    #[error("failed to get crl bundle from file cache with key {}", Quoted(url))]
    Read {
        /// The address.
        url: String,
        /// What is wrong with the file.
        #[source]
        source: FileError,
    },
    /// A file is not what the cache holds.
    #[error("failed to decode file retrieved from file cache")]
    Json {
        /// What is wrong with the JSON, and where.
        #[source]
        source: JsonError,
    },
    /// A file lacks a CRL, or it is not in base64.
    #[error("failed to decode file retrieved from file cache: {member} is not base64")]
    Member {
        /// The member.
        member: &'static str,
    },
    /// A CRL of a file can't be parsed.
    #[error("failed to parse {member} of file retrieved from file cache")]
    Crl {
        /// The member.
        member: &'static str,
        /// What is wrong with the CRL.
        #[source]
        source: CrlError,
    },
    /// A CRL of a file never expires.
    #[error("crl bundle retrieved from file cache does not contain valid NextUpdate")]
    NoNextUpdate,
    /// A file can't be written.
    #[error(
        "failed to store crl bundle in file cache: {action} {}", path.display()
    )]
    Write {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl FileCache {
    /// The cache in this directory, which is made with mode 0700 where it is missing.
    pub(super) fn open(directory: &Path) -> Result<Self, CacheError> {
        create_private_directory(directory).map_err(|source| CacheError::Create { source })?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Reads what is there. Expiry is looked at first, before anybody looks at signatures (REV-51).
    pub(super) fn get(&self, url: &str, now: Timestamp) -> Result<Cached, CacheError> {
        let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
        let bytes = match read_regular(&self.path(url), limit) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Cached::Missing),
            Err(source) => {
                return Err(CacheError::Read {
                    url: url.to_owned(),
                    source,
                });
            }
        };
        let document = json::parse(&bytes, LIMITS).map_err(|source| CacheError::Json { source })?;
        drop(bytes);
        let base = crl(&document, "baseCRL")?.ok_or(CacheError::Member { member: "baseCRL" })?;
        let delta = crl(&document, "deltaCRL")?;
        drop(document);
        for crl in [Some(&base), delta.as_ref()].into_iter().flatten() {
            let next_update = crl.next_update().ok_or(CacheError::NoNextUpdate)?;
            if now > next_update {
                return Ok(Cached::Expired(next_update));
            }
        }
        Ok(Cached::Bundle(Box::new(base), delta.map(Box::new)))
    }

    /// Stores CRLs that are proven.
    pub(super) fn put(&self, url: &str, base: &Crl, delta: Option<&Crl>) -> Result<(), CacheError> {
        let mut text = format!(r#"{{"baseCRL":"{}""#, STANDARD.encode(base.der()));
        if let Some(delta) = delta {
            text.push_str(r#","deltaCRL":""#);
            STANDARD.encode_string(delta.der(), &mut text);
            text.push('"');
        }
        text.push('}');
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| CacheError::Write {
                action,
                path,
                source,
            }
        };
        let path = self.path(url);
        let mut file = tempfile::Builder::new()
            .prefix("notation-")
            .tempfile_in(&self.directory)
            .map_err(failed(
                "failed to create temp file: open",
                &self.directory.join("notation-*"),
            ))?;
        file.write_all(text.as_bytes())
            .map_err(failed("failed to write content to temp file:", file.path()))?;
        file.persist(&path)
            .map_err(|error| failed("rename to", &path)(error.error))?;
        Ok(())
    }

    fn path(&self, url: &str) -> PathBuf {
        self.directory
            .join(hex::encode(crypto::sha256(url.as_bytes())))
    }
}

/// The CRL in a member of the document, where there is one.
fn crl(document: &Value, member: &'static str) -> Result<Option<Crl>, CacheError> {
    let text = match document.get(member) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_str().ok_or(CacheError::Member { member })?,
    };
    let der = STANDARD
        .decode(text)
        .map_err(|_| CacheError::Member { member })?;
    let parsed = Crl::parse(der).map_err(|source| CacheError::Crl { member, source })?;
    Ok(Some(parsed))
}

const LIMITS: json::Limits = json::Limits {
    bytes: MAX_FILE,
    depth: 2,
    values: 16,
};
