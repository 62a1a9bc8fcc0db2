//! Trust stores: named sets of trusted certificates, and the decision whether a chain is trusted.
//!
//! Implements "Trust Store" of the trust policy specification. A store confers
//! trust only where a policy statement names it; nothing falls back to the system's roots.
//! The decision is pure. Where stores are is the business of a [`TrustStores`]: [`Loader`] reads the
//! directory, and [`LoadedStores`] holds certificates that are at hand.

// Requirements: TST-01 to TST-14, SEC-06.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::artifact::Quoted;
#[cfg(feature = "files")]
use crate::config;
use crate::text::did_you_mean;
use crate::x509::{self, Certificate};

#[cfg(all(feature = "files", feature = "runtime"))]
mod apart;
#[cfg(feature = "files")]
pub mod edit;
#[cfg(feature = "files")]
mod load;
mod loaded;

#[cfg(feature = "files")]
pub use load::{Loader, MAX_ENTRIES, MAX_FILE_LEN};
pub use loaded::{LoadedStore, LoadedStores, TrustStores};

/// What a store is for, and the directory it stands in.
// TST-01
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum StoreType {
    /// `ca`: signers under the scheme `notary.x509`.
    Ca,
    /// `signingAuthority`: signers under the scheme `notary.x509.signingAuthority`.
    SigningAuthority,
    /// `tsa`: timestamping authorities.
    Tsa,
}

/// The name of a store: letters, digits, `_`, `.` and `-`, but neither `.` nor `..`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StoreName(String);

/// A store as policies name it, `<type>:<name>`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StoreRef {
    /// What the store is for.
    pub store_type: StoreType,
    /// Its name.
    pub name: StoreName,
}

/// A text that is not a store name.
// TST-04, TST-05
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("trust store name needs to follow [a-zA-Z0-9_.-]+ format, {} is invalid", name.escape_debug())]
#[non_exhaustive]
pub struct InvalidStoreName {
    /// The text as given.
    pub name: String,
}

/// A text that does not name a store. The texts follow `trust policy statement "<n>" `.
// TP-21
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreRefFault {
    /// No colon.
    #[error(
        "has malformed trust store value {}. The required format is <TrustStoreType>:<TrustStoreName>",
        Quoted(value)
    )]
    Malformed {
        /// The value as written.
        value: String,
    },
    /// A type that does not exist.
    #[error(
        "uses an unsupported trust store type {} in trust store value {}",
        Quoted(store_type),
        Quoted(value)
    )]
    Type {
        /// The type as written.
        store_type: String,
        /// The whole value.
        value: String,
    },
    /// A name that is no file name.
    #[error(
        "uses an unsupported trust store name {} in trust store value {}. Named store name needs to follow [a-zA-Z0-9_.-]+ format",
        Quoted(name),
        Quoted(value)
    )]
    Name {
        /// The name as written.
        name: String,
        /// The whole value.
        value: String,
    },
}

impl StoreRefFault {
    /// The question whether a known name was meant.
    pub fn did_you_mean(&self) -> Option<String> {
        match self {
            Self::Type { store_type, .. } => {
                did_you_mean(store_type, StoreType::ALL.map(StoreType::name))
            }
            _ => None,
        }
    }
}

/// The certificates of one store; never empty.
#[derive(Clone, Debug)]
pub struct TrustStore {
    store: StoreRef,
    certificates: Vec<Certificate>,
    warnings: Vec<Warning>,
}

/// Why a store can't be used. Any of these fails the check that needs the store.
// TST-12
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// No such directory.
    // TST-06
    #[error("the trust store {} of type {} does not exist", Quoted(store.name.as_str()), Quoted(store.store_type.name()))]
    NotFound {
        /// The store.
        store: StoreRef,
        /// The store that was probably meant, as `type:name`.
        nearest: Option<String>,
    },
    /// A file or symbolic link in its place.
    // TST-06
    #[error(
        "the trust store {} of type {} with path {} is not a regular directory (symlinks are not supported)",
        store.name,
        store.store_type,
        path.display()
    )]
    NotDirectory {
        /// The store.
        store: StoreRef,
        /// Its path.
        path: PathBuf,
    },
    /// The directory can't be read.
    #[error("failed to access the trust store {} of type {}", Quoted(store.name.as_str()), Quoted(store.store_type.name()))]
    Access {
        /// The store.
        store: StoreRef,
        /// The answer of the operating system.
        #[source]
        source: io::Error,
    },
    /// A symbolic link, device or pipe among the files.
    // TST-07
    #[error(
        "trusted certificate {} in trust store {} of type {} is not a regular file (directories or symlinks are not supported)",
        file.escape_debug(),
        store.name,
        store.store_type
    )]
    NotRegularFile {
        /// The store.
        store: StoreRef,
        /// The file's name.
        file: String,
    },
    /// A file can't be read.
    #[cfg(feature = "files")]
    #[error("failed to read the trusted certificate {} in trust store {} of type {}", file.escape_debug(), store.name, store.store_type)]
    ReadFile {
        /// The store.
        store: StoreRef,
        /// The file's name.
        file: String,
        /// What happened.
        #[source]
        source: config::FileError,
    },
    /// A file holds something else than certificates.
    #[error("failed to read the trusted certificate {} in trust store {} of type {}", file.escape_debug(), store.name, store.store_type)]
    ParseFile {
        /// The store.
        store: StoreRef,
        /// The file's name.
        file: String,
        /// What is wrong with it.
        #[source]
        source: x509::FileError,
    },
    /// A certificate that no store may hold.
    // TST-10
    #[error("failed to validate the trusted certificate {} in trust store {} of type {}", file.escape_debug(), store.name, store.store_type)]
    Unsuitable {
        /// The store.
        store: StoreRef,
        /// The file's name.
        file: String,
        /// What is wrong with it.
        #[source]
        source: Box<Unsuitable>,
    },
    /// A certificate that no `tsa` store may hold.
    // TST-11
    #[error("trusted certificate {} in trust store {} of type {} is invalid", file.escape_debug(), store.name, store.store_type)]
    UnsuitableForTsa {
        /// The store.
        store: StoreRef,
        /// The file's name.
        file: String,
        /// What is wrong with it.
        #[source]
        source: Box<Unsuitable>,
    },
    /// No certificate at all, or a file without one.
    // TST-12
    #[error("no x509 certificates were found in trust store {} of type {}", Quoted(store.name.as_str()), Quoted(store.store_type.name()))]
    Empty {
        /// The store.
        store: StoreRef,
        /// The file without a certificate; none where the store has no file.
        file: Option<String>,
    },
}

/// Why a certificate may not stand in a store.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsuitable {
    /// Neither CA nor self-signed.
    // TST-10
    #[error(
        "certificate with subject {} is not a CA certificate or self-signed signing certificate",
        Quoted(subject)
    )]
    NeitherCaNorSelfSigned {
        /// The subject.
        subject: String,
    },
    /// Not a root: its own key does not verify it, or names differ.
    // TST-11
    #[error(
        "certificate with subject {} is not a root CA certificate",
        Quoted(subject)
    )]
    NotSelfSigned {
        /// The subject.
        subject: String,
        /// Which of both.
        #[source]
        source: x509::NotIssued,
    },
    /// Self-signed but no CA.
    // TST-11
    #[error(
        "certificate with subject {} is not a root CA certificate: it is not a CA",
        Quoted(subject)
    )]
    NotCa {
        /// The subject.
        subject: String,
    },
}

/// Something about a store that is accepted but should be known.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// A directory among the files, not looked into.
    // TST-08, DIF-09
    Directory {
        /// The store.
        store: StoreRef,
        /// The directory's name.
        directory: String,
    },
    /// A file that is passed over.
    // TST-12
    File {
        /// The store.
        store: StoreRef,
        /// The file's name.
        file: String,
        /// What makes it no certificate of the store.
        why: Ignored,
    },
}

/// Why a file of a store is passed over: file managers and editors leave such files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ignored {
    /// Its name begins with a dot.
    Hidden,
    /// Nothing but blanks is in it.
    Empty,
}

/// A chain that no consulted store trusts.
// TST-13, TST-14
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// The stores of the needed type hold no certificate, or there are none.
    // TST-14
    #[error("no trusted certificates are found to verify authenticity")]
    NoCertificates,
    /// No certificate of the chain stands in a store.
    // TST-13
    #[error("the signature's certificate chain does not contain any trusted certificate")]
    NotFound,
}

/// The certificate by which a chain is trusted, and the store that holds it.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// The store.
    pub store: StoreRef,
    /// The certificate, one of the chain.
    pub certificate: Certificate,
}

/// Decides whether a chain is trusted: it is when one of its certificates, whichever, is
/// identical to one of a store. `stores` are those of the scheme's type only.
/// Returns an anchor for each store that trusts the chain, in the order of `stores`; never empty.
///
/// # Errors
/// [`Untrusted`].
// TST-13, TST-02
pub fn decide<'a>(
    chain: &[Certificate],
    stores: impl Iterator<Item = &'a TrustStore>,
) -> Result<Vec<Anchor>, Untrusted> {
    let mut consulted = false;
    let mut anchors = Vec::new();
    for store in stores {
        consulted = true;
        anchors.extend(store.find(chain).map(|certificate| Anchor {
            store: store.store.clone(),
            certificate: certificate.clone(),
        }));
    }
    match (anchors.is_empty(), consulted) {
        (false, _) => Ok(anchors),
        (true, true) => Err(Untrusted::NotFound),
        (true, false) => Err(Untrusted::NoCertificates),
    }
}

impl TrustError {
    /// Whether there is no store, or nothing in it: the user can add certificates.
    // CLI-41
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Empty { .. })
    }
}

impl TrustStore {
    /// A store of these certificates.
    ///
    /// # Errors
    /// [`TrustError::Empty`], and [`TrustError::Unsuitable`] or [`TrustError::UnsuitableForTsa`] for a
    /// certificate that no such store may hold, named by its position.
    pub fn new(store: StoreRef, certificates: Vec<Certificate>) -> Result<Self, TrustError> {
        for (position, certificate) in certificates.iter().enumerate() {
            let name = format!("number {}", position.saturating_add(1));
            check_suitable(certificate, &store, &name)?;
        }
        if certificates.is_empty() {
            return Err(TrustError::Empty { store, file: None });
        }
        Ok(Self {
            store,
            certificates,
            warnings: Vec::new(),
        })
    }

    /// Which store it is.
    pub fn store(&self) -> &StoreRef {
        &self.store
    }

    /// The certificates, in the order of the files' names; never empty.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// What was seen while reading that should be known.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The first certificate of `chain` that stands in this store.
    pub fn find<'c>(&self, chain: &'c [Certificate]) -> Option<&'c Certificate> {
        chain
            .iter()
            .find(|link| self.certificates.iter().any(|own| own.der() == link.der()))
    }
}

fn check_suitable(
    certificate: &Certificate,
    store: &StoreRef,
    file: &str,
) -> Result<(), TrustError> {
    let subject = || certificate.subject().to_string();
    if !certificate.is_ca() && !certificate.is_self_signed() {
        return Err(TrustError::Unsuitable {
            store: store.clone(),
            file: file.to_owned(),
            source: Box::new(Unsuitable::NeitherCaNorSelfSigned { subject: subject() }),
        });
    }
    if store.store_type != StoreType::Tsa {
        return Ok(());
    }
    let source = match certificate.check_issued_by(certificate) {
        Err(source) => Unsuitable::NotSelfSigned {
            subject: subject(),
            source,
        },
        Ok(()) if !certificate.is_ca() => Unsuitable::NotCa { subject: subject() },
        Ok(()) => return Ok(()),
    };
    Err(TrustError::UnsuitableForTsa {
        store: store.clone(),
        file: file.to_owned(),
        source: Box::new(source),
    })
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { store, directory } => write!(
                f,
                "directory {} in trust store {} of type {} is ignored: certificates are read from regular files only",
                Quoted(directory),
                store.name,
                store.store_type
            ),
            Self::File { store, file, why } => write!(
                f,
                "file {} in trust store {} of type {} is ignored: {}",
                Quoted(file),
                store.name,
                store.store_type,
                match why {
                    Ignored::Hidden => "its name begins with a dot",
                    Ignored::Empty => "it is empty",
                }
            ),
        }
    }
}

impl StoreType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Ca, Self::SigningAuthority, Self::Tsa];

    /// The name in policies and in paths; the case matters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::SigningAuthority => "signingAuthority",
            Self::Tsa => "tsa",
        }
    }
}

impl StoreName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`InvalidStoreName`] for a name with any other character, and for `.` and `..`, which the
    /// reference accepts although they lead out of the store's directory.
    // TST-05, SEC-27
    pub fn parse(text: &str) -> Result<Self, InvalidStoreName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if text.is_empty() || matches!(text, "." | "..") || !text.bytes().all(allowed) {
            return Err(InvalidStoreName {
                name: text.to_owned(),
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StoreRef {
    /// Reads `<type>:<name>`.
    ///
    /// # Errors
    /// The first fault, with the text that policies have for it.
    // TP-20, TP-21
    pub fn parse(text: &str) -> Result<Self, StoreRefFault> {
        let value = || text.to_owned();
        let (store_type, name) = text
            .split_once(':')
            .ok_or_else(|| StoreRefFault::Malformed { value: value() })?;
        Ok(Self {
            store_type: StoreType::ALL
                .into_iter()
                .find(|t| t.name() == store_type)
                .ok_or_else(|| StoreRefFault::Type {
                    store_type: store_type.to_owned(),
                    value: value(),
                })?,
            name: StoreName::parse(name).map_err(|InvalidStoreName { name }| {
                StoreRefFault::Name {
                    name,
                    value: value(),
                }
            })?,
        })
    }
}

impl fmt::Display for StoreType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for StoreRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.store_type, self.name)
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    /// TST-04, TST-05, SEC-27: the grammar, and the two names that would leave the directory.
    #[test]
    fn store_names() {
        for good in ["a", "acme-rockets", "A.b_c-0", "..."] {
            assert_eq!(
                StoreName::parse(good).map(|n| n.to_string()),
                Ok(good.into())
            );
        }
        for bad in ["", ".", "..", "a/b", "a b", "a\\b", "é", "a\0", "a\n"] {
            assert!(StoreName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            StoreName::parse("a/b").unwrap_err().told(),
            "trust store name needs to follow [a-zA-Z0-9_.-]+ format, a/b is invalid"
        );
    }

    /// TP-20, TST-01: the three types, case-sensitive.
    #[test]
    fn store_references() {
        for t in ["ca:a", "signingAuthority:b.c", "tsa:d-e"] {
            assert_eq!(StoreRef::parse(t).map(|r| r.to_string()), Ok(t.into()));
        }
        for (text, fault) in [
            (
                "ca",
                "has malformed trust store value \"ca\". The required format is <TrustStoreType>:<TrustStoreName>",
            ),
            (
                "CA:x",
                "uses an unsupported trust store type \"CA\" in trust store value \"CA:x\"",
            ),
            (
                "ca:..",
                "uses an unsupported trust store name \"..\" in trust store value \"ca:..\". Named store name needs to follow [a-zA-Z0-9_.-]+ format",
            ),
            (
                "ca:a:b",
                "uses an unsupported trust store name \"a:b\" in trust store value \"ca:a:b\". Named store name needs to follow [a-zA-Z0-9_.-]+ format",
            ),
        ] {
            assert_eq!(StoreRef::parse(text).unwrap_err().told(), fault, "TP-21");
        }
    }
}
