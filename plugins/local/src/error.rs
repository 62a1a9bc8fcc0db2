//! What can go wrong with key and certificate files; the texts are those of CFG-20.

use std::io;
use std::path::PathBuf;

use hardsign_plugin::Error;
use hardsign_plugin::chain::{ChainError, LoadError};
use hardsign_plugin::error::ErrorCode;

/// A file operation that failed, in the words that users of the reference know.
#[derive(Debug, thiserror::Error)]
#[error("open {}", path.display())]
pub(crate) struct FileError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Why a local key can't be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LocalError {
    #[error(transparent)]
    Open(FileError),
    #[error("{path:?} is not a regular file")]
    NotAFile { path: PathBuf },
    #[error("{path:?} is larger than {limit} bytes")]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("certificate path not specified")]
    NoCertificatePath,
    #[error("{path:?} does not contain certificate")]
    NoCertificate { path: PathBuf },
    #[error("{path:?}")]
    Certificates { path: PathBuf, source: ChainError },
    #[error(transparent)]
    CertificateFile(LoadError),
    #[error("{path:?}: no PEM data found")]
    NoPem { path: PathBuf },
    #[error("{path:?}: unsupported PEM block type: {label}")]
    PemLabel { path: PathBuf, label: String },
    #[error("{path:?}: PEM data is damaged")]
    PemDamaged { path: PathBuf },
    #[error("{path:?}: the private key is encrypted")]
    Encrypted { path: PathBuf },
    #[error("{path:?}: the private key can't be read, or is of a kind that can't sign here")]
    Key { path: PathBuf },
    #[error("{path:?}: the private key can't be used: it is {what}")]
    KeyKind { path: PathBuf, what: String },
    #[error("{path:?}: the certificate can't be used: its key is {what}")]
    CertificateKey { path: PathBuf, what: String },
    #[error("private key does not match public key: {key:?} and {certificate:?}")]
    Mismatch { key: PathBuf, certificate: PathBuf },
    #[error("signing with {path:?} failed")]
    Sign { path: PathBuf },
    #[error("RSA keys have 2048, 3072 or 4096 bits, not {bits}")]
    Bits { bits: u32 },
    #[error(
        "common name {name:?} is not made of 1 to 200 of the characters a-z, A-Z, 0-9, '_', '.', '-'"
    )]
    CommonName { name: String },
    #[error("there is a file {path:?} already")]
    KeyExists { path: PathBuf },
    #[error("there are certificates in {path:?} already")]
    CertificatesExist { path: PathBuf },
    #[error("a key file has neither a PIN policy nor a touch policy")]
    Policy,
    #[error("no directory was named to look for keys in")]
    NoDirectory,
    #[error("key can't be made")]
    Generate,
    #[error("test certificate can't be made")]
    Certificate(#[source] der::Error),
    #[error("failed to write key file")]
    WriteKey(#[source] FileError),
    #[error("failed to write certificate file")]
    WriteCertificate(#[source] FileError),
}

impl From<LoadError> for LocalError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Open { path, source } => Self::Open(FileError { path, source }),
            LoadError::NotAFile { path } => Self::NotAFile { path },
            LoadError::Content {
                path,
                source: ChainError::Empty,
            } => Self::NoCertificate { path },
            LoadError::Content { path, source } => Self::Certificates { path, source },
            error => Self::CertificateFile(error),
        }
    }
}

impl From<LocalError> for Error {
    fn from(error: LocalError) -> Self {
        let hint = match &error {
            LocalError::Encrypted { .. } => {
                "decrypt it, for instance with openssl pkey; better, keep the key in a token or a \
                 KMS and use the plugin for that"
            }
            LocalError::KeyKind { .. }
            | LocalError::CertificateKey { .. }
            | LocalError::Key { .. } => {
                "Notary Project signatures need RSA with 2048, 3072 or 4096 bits, or EC on P-256, \
                 P-384 or P-521"
            }
            LocalError::NoCertificatePath => "set cert-chain to the certificate file of the key",
            LocalError::KeyExists { .. } => {
                "choose another file; --force replaces the key, which deletes the old one for good: \
                 nothing can be signed with it any more"
            }
            LocalError::CertificatesExist { .. } => {
                "--force replaces them; what was signed with them stays as it is"
            }
            LocalError::NoDirectory => "name it with --id",
            LocalError::Mismatch { .. } => {
                "the first certificate of the file must be the one issued for this key"
            }
            _ => "",
        };
        let answer = Self::from_error(ErrorCode::ValidationError, &error);
        match hint {
            "" => answer,
            hint => answer.with_hint(hint),
        }
    }
}
