//! Reading a trust store from its directory, `<config>/truststore/x509/<type>/<name>` (TST-01).
//!
//! A store is read whole or not at all: one unreadable file fails it (TST-12), unless it is empty or
//! its name begins with a dot; those are passed over with a warning. Files are read only
//! when regular, never through a symbolic link, and their number and size are bounded. Nothing
//! about trust is kept on disk (TST-15); a [`Loader`] keeps parsed stores in memory and looks
//! before each use whether a file was changed (TST-16).

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::{
    Ignored, LoadedStore, StoreRef, StoreType, TrustError, TrustStore, Warning, check_suitable,
};
use crate::config;
use crate::text::nearest;
use crate::x509::Certificate;

/// Most entries in the directory of one store.
pub const MAX_ENTRIES: usize = 1024;

/// Longest certificate file in a store, in bytes.
pub const MAX_FILE_LEN: u64 = 4 << 20;

/// Reads trust stores below one directory, each once until one of its files changes.
/// Clones share what was read.
#[derive(Clone, Debug)]
pub struct Loader {
    root: PathBuf,
    cache: Arc<Mutex<BTreeMap<StoreRef, Cached>>>,
}

#[derive(Debug)]
struct Cached {
    stamp: Stamp,
    result: Result<Arc<TrustStore>, Arc<TrustError>>,
}

/// What tells one state of a directory from another, without reading its files.
#[derive(Debug, Eq, PartialEq)]
struct Stamp {
    directory: EntryStamp,
    entries: Vec<(PathBuf, EntryStamp)>,
}

#[derive(Debug, Eq, PartialEq)]
struct EntryStamp {
    length: u64,
    modified: Option<SystemTime>,
    inode: (u64, u64),
    changed: (i64, i64),
}

impl Loader {
    /// A loader of the stores below `root`, `<config>/truststore/x509`.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            cache: Arc::default(),
        }
    }

    /// The directory of a store.
    pub fn directory(&self, store: &StoreRef) -> PathBuf {
        self.root
            .join(store.store_type.name())
            .join(store.name.as_str())
    }

    /// The store, read anew if its directory or one of its files changed since it was last read.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn load(&self, store: &StoreRef) -> Result<Arc<TrustStore>, Arc<TrustError>> {
        self.read(store).store
    }

    /// The same, with the store's warnings where it was read now and not at hand.
    pub(super) fn read(&self, store: &StoreRef) -> LoadedStore {
        let directory = self.directory(store);
        // Taken before reading: a change in between is then seen the next time.
        let stamp = Stamp::of(&directory);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(stamp), Some(cached)) = (&stamp, cache.get(store))
            && cached.stamp == *stamp
        {
            return LoadedStore::new(cached.result.clone());
        }
        let result = read_directory(store, &directory)
            .map_err(|error| self.with_nearest(error))
            .and_then(|files| TrustStore::from_files(store.clone(), files))
            .map(Arc::new)
            .map_err(Arc::new);
        match stamp {
            Ok(stamp) => {
                let result = result.clone();
                cache.insert(store.clone(), Cached { stamp, result });
            }
            Err(_) => {
                cache.remove(store);
            }
        }
        let warnings = result.iter().flat_map(|s| s.warnings()).cloned().collect();
        LoadedStore {
            store: result,
            warnings,
        }
    }
}

impl Loader {
    /// The error with the store that was probably meant: one of the same type, or else one of that
    /// name of another type.
    fn with_nearest(&self, error: TrustError) -> TrustError {
        let TrustError::NotFound { store, .. } = error else {
            return error;
        };
        let wanted = store.name.as_str();
        let names = directories(&self.root.join(store.store_type.name()));
        let known: Vec<_> = names.iter().map(String::as_str).collect();
        let near = nearest(wanted, &known).map(|name| (store.store_type, name.to_owned()));
        let elsewhere = || {
            let types = StoreType::ALL.into_iter();
            let mut holding =
                types.filter(|other| self.root.join(other.name()).join(wanted).is_dir());
            holding.next().map(|other| (other, wanted.to_owned()))
        };
        let near = near.or_else(elsewhere);
        TrustError::NotFound {
            nearest: near.map(|(store_type, name)| format!("{store_type}:{name}")),
            store,
        }
    }
}

/// The names of the directories in one that can be read.
fn directories(parent: &Path) -> Vec<String> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .take(MAX_NAMES)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Stores of a type that are looked at for one with a name like that of a missing one.
const MAX_NAMES: usize = 1000;

/// The contents of a store's directory.
#[derive(Debug, Default)]
struct Files {
    /// Name and bytes of each file, sorted by name.
    files: Vec<(String, Vec<u8>)>,
    warnings: Vec<Warning>,
}

impl TrustStore {
    /// Makes a store from the files of its directory.
    fn from_files(store: StoreRef, files: Files) -> Result<Self, TrustError> {
        let mut certificates = Vec::new();
        for (file, bytes) in files.files {
            let parsed =
                Certificate::parse_file(&bytes).map_err(|source| TrustError::ParseFile {
                    store: store.clone(),
                    file: file.clone(),
                    source,
                })?;
            if parsed.is_empty() {
                let file = Some(file);
                return Err(TrustError::Empty { store, file });
            }
            for certificate in &parsed {
                check_suitable(certificate, &store, &file)?;
            }
            certificates.extend(parsed);
        }
        if certificates.is_empty() {
            return Err(TrustError::Empty { store, file: None });
        }
        Ok(Self {
            store,
            certificates,
            warnings: files.warnings,
        })
    }
}

fn read_directory(store: &StoreRef, directory: &Path) -> Result<Files, TrustError> {
    let access = |source| TrustError::Access {
        store: store.clone(),
        source,
    };
    let metadata = fs::symlink_metadata(directory).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            TrustError::NotFound {
                store: store.clone(),
                nearest: None,
            }
        } else {
            access(source)
        }
    })?;
    if !metadata.is_dir() {
        return Err(TrustError::NotDirectory {
            store: store.clone(),
            path: directory.to_owned(),
        });
    }
    let mut found = Files::default();
    for path in entries(directory).map_err(access)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.into_owned();
        if fs::symlink_metadata(&path).map_err(access)?.is_dir() {
            found.warnings.push(Warning::Directory {
                store: store.clone(),
                directory: name,
            });
            continue;
        }
        // File managers and editors leave such files. To pass them over trusts less, never more.
        let why = if name.starts_with('.') {
            Ignored::Hidden
        } else {
            let bytes = read_file(store, &path, &name)?;
            if !bytes.trim_ascii().is_empty() {
                found.files.push((name, bytes));
                continue;
            }
            Ignored::Empty
        };
        found.warnings.push(Warning::File {
            store: store.clone(),
            file: name,
            why,
        });
    }
    Ok(found)
}

fn read_file(store: &StoreRef, path: &Path, name: &str) -> Result<Vec<u8>, TrustError> {
    config::read_regular(path, MAX_FILE_LEN).map_err(|source| match source {
        config::FileError::NotRegular { .. } => TrustError::NotRegularFile {
            store: store.clone(),
            file: name.to_owned(),
        },
        source => TrustError::ReadFile {
            store: store.clone(),
            file: name.to_owned(),
            source,
        },
    })
}

/// The entries of a directory, sorted.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        if paths.len() == MAX_ENTRIES {
            return Err(io::Error::other(format!(
                "the directory has more than {MAX_ENTRIES} entries"
            )));
        }
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

impl Stamp {
    fn of(directory: &Path) -> io::Result<Self> {
        let stamp = |path: PathBuf| {
            let metadata = fs::symlink_metadata(&path)?;
            Ok((path, EntryStamp::of(&metadata)))
        };
        Ok(Self {
            directory: EntryStamp::of(&fs::symlink_metadata(directory)?),
            entries: entries(directory)?
                .into_iter()
                .map(stamp)
                .collect::<io::Result<_>>()?,
        })
    }
}

impl EntryStamp {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            inode: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            inode: (0, 0),
            changed: (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;
    use crate::trust::{StoreType, Untrusted, decide};

    const ROOT: &[u8] = include_bytes!("../../tests/vectors/reference/certificates/root.crt");
    const INTERMEDIATE: &[u8] =
        include_bytes!("../../tests/vectors/reference/certificates/int.crt");
    const CHAIN: &[u8] =
        include_bytes!("../../tests/vectors/reference/certificates/p256.chain.pem");

    fn store(text: &str) -> StoreRef {
        StoreRef::parse(text).unwrap()
    }

    /// A directory with one store of the given files, and its loader.
    fn stored(name: &str, files: &[(&str, &[u8])]) -> (tempfile::TempDir, Loader, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let loader = Loader::new(root.path().to_owned());
        let directory = loader.directory(&store(name));
        fs::create_dir_all(&directory).unwrap();
        for (file, bytes) in files {
            fs::write(directory.join(file), bytes).unwrap();
        }
        (root, loader, directory)
    }

    fn fault(name: &str, files: &[(&str, &[u8])]) -> Arc<TrustError> {
        let (_root, loader, _) = stored(name, files);
        loader.load(&store(name)).unwrap_err()
    }

    fn chain() -> Vec<Certificate> {
        Certificate::parse_file(CHAIN).unwrap()
    }

    /// TST-01, TST-09: the path, and that the extension of a file means nothing.
    #[test]
    fn reads_every_regular_file() {
        let (root, loader, directory) = stored("ca:acme", &[("b.pem", ROOT), ("a", INTERMEDIATE)]);
        assert_eq!(directory, root.path().join("ca").join("acme"));
        let loaded = loader.load(&store("ca:acme")).unwrap();
        let subjects: Vec<_> = loaded
            .certificates()
            .iter()
            .map(|c| c.subject().common_name().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(subjects, ["Vectors Issuing CA", "Vectors Root"]);
    }

    /// TST-06: the store itself.
    #[cfg(unix)]
    #[test]
    fn store_is_a_real_directory() {
        let root = tempfile::tempdir().unwrap();
        let loader = Loader::new(root.path().to_owned());
        let name = store("ca:acme");
        let error = loader.load(&name).unwrap_err();
        assert_eq!(
            error.told(),
            "the trust store \"acme\" of type \"ca\" does not exist"
        );
        assert!(error.is_not_found());
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("root"), ROOT).unwrap();
        fs::create_dir(root.path().join("ca")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), loader.directory(&name)).unwrap();
        let error = loader.load(&name).unwrap_err();
        assert_eq!(
            error.told(),
            format!(
                "the trust store acme of type ca with path {} is not a regular directory (symlinks are not supported)",
                loader.directory(&name).display()
            )
        );
        assert!(!error.is_not_found());
    }

    /// TST-07: a symbolic link among the files fails the store, even beside a good file.
    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_refused() {
        let (_root, loader, directory) = stored("ca:acme", &[("a", ROOT)]);
        std::os::unix::fs::symlink(directory.join("a"), directory.join("link")).unwrap();
        assert_eq!(
            loader.load(&store("ca:acme")).unwrap_err().told(),
            "trusted certificate link in trust store acme of type ca is not a regular file (directories or symlinks are not supported)"
        );
    }

    /// TST-08, DIF-09: a sub-directory is ignored and shown.
    #[test]
    fn directories_are_ignored_with_a_warning() {
        let (_root, loader, directory) = stored("ca:acme", &[("a", ROOT)]);
        fs::create_dir(directory.join("old")).unwrap();
        let loaded = loader.load(&store("ca:acme")).unwrap();
        assert_eq!(
            loaded
                .warnings()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [
                "directory \"old\" in trust store acme of type ca is ignored: certificates are read from regular files only"
            ]
        );
        assert_eq!(loaded.certificates().len(), 1);
        // Told once: the store is at hand now.
        let again = loader.read(&store("ca:acme"));
        assert!(again.store.is_ok());
        assert_eq!(again.warnings, []);
    }

    /// TST-10: a leaf has no place in any store.
    #[test]
    fn certificates_are_ca_or_self_signed() {
        let error = fault("ca:acme", &[("a", ROOT), ("leaf", CHAIN)]);
        assert_eq!(
            error.to_string(),
            "failed to validate the trusted certificate leaf in trust store acme of type ca"
        );
        let subject = chain()[0].subject().to_string();
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            format!(
                "certificate with subject \"{subject}\" is not a CA certificate or self-signed signing certificate"
            )
        );
    }

    /// TST-11: an intermediate is no root.
    #[test]
    fn tsa_stores_hold_roots() {
        let (_root, loader, _) = stored("tsa:acme", &[("root", ROOT)]);
        let loaded = loader.load(&store("tsa:acme"));
        assert!(loaded.is_ok(), "{loaded:?}");
        let error = fault("tsa:acme", &[("int", INTERMEDIATE)]).told();
        let subject = chain()[1].subject().to_string();
        assert!(
            error.starts_with(&format!(
                "trusted certificate int in trust store acme of type tsa is invalid: certificate with subject \"{subject}\" is not a root CA certificate: "
            )),
            "{error}"
        );
    }

    /// TST-12: files that programs leave behind are passed over, with a warning each; they trust
    /// nobody, whatever they hold.
    #[test]
    fn tst_12_hidden_and_empty_files_are_passed_over() {
        let (_root, loader, directory) = stored(
            "ca:acme",
            &[
                ("a", ROOT),
                (".DS_Store", b"Bud1"),
                (".b.pem.swp", INTERMEDIATE),
                ("empty", b""),
                ("blank.pem", b"\r\n \n"),
            ],
        );
        #[cfg(unix)]
        std::os::unix::fs::symlink("/nowhere", directory.join(".#lock")).unwrap();
        #[cfg(not(unix))]
        fs::write(directory.join(".#lock"), b"").unwrap();
        let loaded = loader.load(&store("ca:acme")).unwrap();
        assert_eq!(loaded.certificates().len(), 1);
        let warnings: Vec<_> = loaded.warnings().iter().map(ToString::to_string).collect();
        let hidden = |name: &str| {
            format!(
                "file \"{name}\" in trust store acme of type ca is ignored: its name begins with a dot"
            )
        };
        let empty = |name: &str| {
            format!("file \"{name}\" in trust store acme of type ca is ignored: it is empty")
        };
        let expected = [
            hidden(".#lock"),
            hidden(".DS_Store"),
            hidden(".b.pem.swp"),
            empty("blank.pem"),
            empty("empty"),
        ];
        assert_eq!(warnings, expected);
    }

    /// TST-12: fail closed on a store without certificates, and on an unreadable file.
    #[test]
    fn one_bad_file_fails_the_store() {
        let none = "no x509 certificates were found in trust store \"acme\" of type \"ca\"";
        let lists: [&[(&str, &[u8])]; 4] = [
            &[],
            &[("b", b"")],
            &[(".a", ROOT)],
            &[("a", ROOT), ("b", b"\xef\xbb\xbf")],
        ];
        for files in lists {
            let error = fault("ca:acme", files);
            assert_eq!(error.told(), none);
            assert!(error.is_not_found());
        }
        let error = fault("ca:acme", &[("a", ROOT), ("b", b"rubbish")]);
        assert_eq!(
            error.to_string(),
            "failed to read the trusted certificate b in trust store acme of type ca"
        );
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "x509: malformed certificate: neither PEM nor DER");
        assert!(!error.is_not_found());
    }

    /// SEC-14: neither endless files nor endless directories.
    #[test]
    fn sizes_are_bounded() {
        let big = vec![b' '; usize::try_from(MAX_FILE_LEN).unwrap() + 1];
        let error = fault("ca:acme", &[("a", &big)]);
        assert!(matches!(*error, TrustError::ReadFile { .. }), "{error}");
        let names: Vec<_> = (0..=MAX_ENTRIES).map(|i| i.to_string()).collect();
        let files: Vec<_> = names.iter().map(|n| (n.as_str(), ROOT)).collect();
        let error = fault("ca:acme", &files);
        assert!(matches!(*error, TrustError::Access { .. }), "{error}");
    }

    /// TST-13, TST-14: any certificate of the chain, byte for byte.
    #[test]
    fn trust_decision() {
        let load = |bytes| {
            let (_root, loader, _) = stored("ca:acme", &[("a", bytes)]);
            loader.load(&store("ca:acme")).unwrap()
        };
        let (root, intermediate) = (load(ROOT), load(INTERMEDIATE));
        for (trusted, position) in [(&root, 2), (&intermediate, 1)] {
            let anchors = decide(&chain(), [&**trusted].into_iter()).unwrap();
            let [anchor] = &anchors[..] else {
                panic!("{anchors:?}");
            };
            assert_eq!(anchor.certificate.der(), chain()[position].der());
            assert_eq!(anchor.store, store("ca:acme"));
        }
        let cut = &chain()[..2];
        let error = decide(cut, [&*root].into_iter()).unwrap_err();
        assert_eq!(
            error.told(),
            "the signature's certificate chain does not contain any trusted certificate"
        );
        assert_eq!(
            decide(&chain(), std::iter::empty()).unwrap_err(),
            Untrusted::NoCertificates
        );
        assert_eq!(
            Untrusted::NoCertificates.to_string(),
            "no trusted certificates are found to verify authenticity"
        );
    }

    /// TST-15, TST-16: a change between two uses is noticed, an unchanged store is not read again.
    #[test]
    fn changes_are_noticed() {
        let (_root, loader, directory) = stored("ca:acme", &[("a", ROOT)]);
        let name = store("ca:acme");
        let first = loader.load(&name).unwrap();
        assert!(Arc::ptr_eq(&first, &loader.load(&name).unwrap()));
        fs::write(directory.join("b"), INTERMEDIATE).unwrap();
        assert_eq!(loader.load(&name).unwrap().certificates().len(), 2);
        fs::write(directory.join("a"), b"rubbish").unwrap();
        assert!(loader.load(&name).is_err());
        fs::remove_dir_all(&directory).unwrap();
        assert!(loader.load(&name).unwrap_err().is_not_found());
        assert_eq!(name.store_type, StoreType::Ca);
    }
}
