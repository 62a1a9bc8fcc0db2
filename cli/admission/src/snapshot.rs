//! The policy as it was at one moment: trust policies, rules, settings and trust stores, read together and kept in
//! memory.
//!
//! A mounted ConfigMap is a directory whose link `..data` moves to a new directory when the ConfigMap changes. The
//! link is followed once for each load, so that all files are of one version; below it, and where there is no
//! such link, symbolic links count as little as they do elsewhere. A policy that can't be used takes the place of none:
//! the one before stays in force, and log and metrics say so.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hardsign_core::config::{FileError, read_regular};
use hardsign_core::crypto;
use hardsign_core::dirs::Dirs;
use hardsign_core::policy::{Policy, Verification, oci};
use hardsign_core::text::WithCauses;
use hardsign_core::trust::{LoadedStores, Loader, StoreRef, StoreType, TrustError};

use crate::settings::{self, Settings};

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The directory can't be read.
    #[error("failed to read the policy directory {}", path.display())]
    Directory {
        /// The directory, or what is in it.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// There is more in it than is read.
    #[error("the policy directory {} has more than {MAX_FILES} files", .0.display())]
    TooMany(PathBuf),
    /// Something in it changed whenever it was read.
    #[error("the policy directory {} changes while it is read", .0.display())]
    Unsteady(PathBuf),
    /// A file can't be read.
    #[error("failed to read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        #[source]
        source: FileError,
    },
    /// The settings can't be used.
    #[error("{}: {fault}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        fault: String,
    },
    /// A trust policy can't be used.
    #[error("{}: {fault}", path.display())]
    Policy {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it, with all causes.
        fault: String,
    },
    /// A trust store that a policy names can't be used.
    #[error("{}: statement {statement:?}", path.display())]
    Store {
        /// The policy's directory.
        path: PathBuf,
        /// The statement.
        statement: String,
        /// What is wrong with the store.
        #[source]
        source: Arc<TrustError>,
    },
}

/// Everything that verdicts depend on, but for what registries and authorities say.
#[derive(Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The first 16 hexadecimal digits of the SHA-256 of all files and their names.
    pub version: String,
    /// The settings.
    pub settings: Settings,
    /// The trust stores.
    pub stores: Arc<LoadedStores>,
    /// By their directory below `policies`; that of all others has no name.
    policies: BTreeMap<Option<String>, Policy<oci::Document>>,
}

/// What tells one state of the directory from another.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Stamp {
    /// Where `..data` leads; what is there never changes.
    Mounted(PathBuf),
    /// Each file.
    Files(Vec<(PathBuf, [i64; 5])>),
}

impl Snapshot {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn load(directory: &Path) -> Result<Self, SnapshotError> {
        for _ in 0..ATTEMPTS {
            let before = Stamp::of(directory)?;
            let read = Self::read(&before.base(directory));
            // A fault that comes of a change in between is none.
            if Stamp::of(directory)? == before {
                return read;
            }
        }
        Err(SnapshotError::Unsteady(directory.to_owned()))
    }

    fn read(base: &Path) -> Result<Self, SnapshotError> {
        let mut hashed = Vec::new();
        for path in files(base)? {
            hash_file(base, &path, &mut hashed)?;
        }
        let settings = read_settings(base)?;
        let stores = read_stores(base)?;
        let mut policies = BTreeMap::new();
        let named = settings.namespaces.iter().map(|found| found.policy.clone());
        for name in [None].into_iter().chain(named.filter(Option::is_some)) {
            let directory = match &name {
                None => base.to_owned(),
                Some(name) => base.join(POLICIES).join(name),
            };
            let policy = read_policy(&directory, &stores)?;
            for path in policy.root_files() {
                hash_file(base, path, &mut hashed)?;
            }
            policies.insert(name, policy);
        }
        let version = hex::encode(crypto::sha256(&hashed));
        Ok(Self {
            version: version.chars().take(16).collect(),
            settings,
            stores: Arc::new(stores),
            policies,
        })
    }

    /// The policy of a namespace.
    pub fn policy(&self, name: Option<&str>) -> Option<&Policy<oci::Document>> {
        self.policies.get(&name.map(str::to_owned))
    }
}

/// Hears of each load.
type Told = dyn Fn(Result<&Snapshot, &SnapshotError>) + Send + Sync;

/// The policy in force. It looks for changes whenever it is asked for.
pub(crate) struct Current {
    directory: PathBuf,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Of the last load, a failed one included.
    stamp: Mutex<Option<Stamp>>,
    told: Box<Told>,
}

impl Current {
    /// Reads the policy; `told` hears of each further load.
    pub(crate) fn new(
        directory: &Path,
        told: impl Fn(Result<&Snapshot, &SnapshotError>) + Send + Sync + 'static,
    ) -> Result<Self, SnapshotError> {
        let stamp = Stamp::of(directory).ok();
        let snapshot = Snapshot::load(directory)?;
        told(Ok(&snapshot));
        Ok(Self {
            directory: directory.to_owned(),
            snapshot: RwLock::new(Arc::new(snapshot)),
            stamp: Mutex::new(stamp),
            told: Box::new(told),
        })
    }

    /// The policy as it is now, or was when it could be read last.
    pub(crate) fn get(&self) -> Arc<Snapshot> {
        let stamp = Stamp::of(&self.directory).ok();
        let mut last = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_none() || *last != stamp {
            let loaded = Snapshot::load(&self.directory);
            // A directory that can't be looked at is looked at again, but told of once.
            let again = stamp.is_none() && last.is_none();
            if !again {
                (self.told)(loaded.as_ref());
            }
            *last = stamp;
            if let Ok(loaded) = loaded {
                let mut current = self
                    .snapshot
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(loaded);
            }
        }
        drop(last);
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read_settings(base: &Path) -> Result<Settings, SnapshotError> {
    let path = base.join(settings::FILE);
    match read_regular(&path, settings::MAX_FILE) {
        Ok(bytes) => {
            Settings::parse(&bytes).map_err(|fault| SnapshotError::Settings { path, fault })
        }
        Err(error) if error.is_not_found() => Ok(Settings::default()),
        Err(source) => Err(SnapshotError::File { path, source }),
    }
}

/// A trust policy with hardsign's own rules. Stores that it names must be there.
fn read_policy(
    directory: &Path,
    stores: &LoadedStores,
) -> Result<Policy<oci::Document>, SnapshotError> {
    let dirs = Dirs {
        config: directory.to_owned(),
        libexec: directory.to_owned(),
        cache: None,
    };
    let path = || directory.to_owned();
    let policy: Policy<oci::Document> =
        Policy::load(&dirs).map_err(|error| SnapshotError::Policy {
            path: path(),
            fault: WithCauses(&error).to_string(),
        })?;
    for statement in policy.document().statements() {
        let Verification::Verify(rules) = statement.verification() else {
            continue;
        };
        for store in rules.stores() {
            stores.get(store).map_err(|source| SnapshotError::Store {
                path: path(),
                statement: statement.name().to_owned(),
                source,
            })?;
        }
    }
    Ok(policy)
}

/// All trust stores that there are, each with the reason where it can't be used.
fn read_stores(base: &Path) -> Result<LoadedStores, SnapshotError> {
    let root = base.join(TRUST_STORES).join("x509");
    let loader = Loader::new(root.clone());
    let mut stores = LoadedStores::default();
    for store_type in StoreType::ALL {
        let directory = root.join(store_type.name());
        for name in names(&directory)? {
            // A name that no policy can have is passed over.
            if let Ok(store) = StoreRef::parse(&format!("{}:{name}", store_type.name())) {
                let loaded = loader.load(&store);
                stores.insert(store, loaded);
            }
        }
    }
    Ok(stores)
}

/// The names of what is in a directory; none where there is none.
fn names(directory: &Path) -> Result<Vec<String>, SnapshotError> {
    let failed = |source| SnapshotError::Directory {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        if names.len() == MAX_FILES {
            return Err(SnapshotError::TooMany(directory.to_owned()));
        }
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// What the policy is made of: the files of the directory, and all below `truststore` and `policies`. Whatever else
/// a configuration directory has (keys, plugins) is none of it.
fn files(base: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let mut found = Vec::new();
    let mut queue = vec![base.to_owned()];
    while let Some(directory) = queue.pop() {
        for name in names(&directory)? {
            let path = directory.join(&name);
            let failed = |source| SnapshotError::Directory {
                path: path.clone(),
                source,
            };
            let kind = fs::symlink_metadata(&path).map_err(failed)?;
            let below = directory != base || [TRUST_STORES, POLICIES].contains(&name.as_str());
            if kind.is_dir() && below {
                queue.push(path);
            } else if !kind.is_dir() && !name.starts_with("..") {
                found.push(path);
            }
            if found.len() + queue.len() > MAX_FILES {
                return Err(SnapshotError::TooMany(base.to_owned()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Adds a file to what is hashed: its name and its digest.
fn hash_file(base: &Path, path: &Path, hashed: &mut Vec<u8>) -> Result<(), SnapshotError> {
    let digest = match read_regular(path, MAX_LEN) {
        Ok(bytes) => crypto::sha256(&bytes),
        // Whoever needs such a file refuses it.
        Err(FileError::NotRegular { .. }) => [0; 32],
        Err(source) => {
            return Err(SnapshotError::File {
                path: path.to_owned(),
                source,
            });
        }
    };
    let name = path
        .strip_prefix(base)
        .unwrap_or(path)
        .as_os_str()
        .as_encoded_bytes();
    hashed.extend_from_slice(&name.len().to_be_bytes());
    hashed.extend_from_slice(name);
    hashed.extend_from_slice(&digest);
    Ok(())
}

impl Stamp {
    fn of(directory: &Path) -> Result<Self, SnapshotError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| SnapshotError::Directory { path, source }
        };
        let data = directory.join(DATA);
        match fs::canonicalize(&data) {
            Ok(target) => return Ok(Self::Mounted(target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&data)(error)),
        }
        let base = fs::canonicalize(directory).map_err(failed(directory))?;
        let mut stamps = Vec::new();
        for path in files(&base)? {
            let metadata = fs::symlink_metadata(&path).map_err(failed(&path))?;
            stamps.push((path, identity(&metadata)));
        }
        Ok(Self::Files(stamps))
    }

    fn base(&self, directory: &Path) -> PathBuf {
        match self {
            Self::Mounted(target) => target.clone(),
            Self::Files(_) => fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned()),
        }
    }
}

fn identity(metadata: &Metadata) -> [i64; 5] {
    let signed = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
    [
        signed(metadata.ino()),
        signed(metadata.len()),
        metadata.mtime(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ]
}

/// The link that the kubelet moves.
const DATA: &str = "..data";
const TRUST_STORES: &str = "truststore";
const POLICIES: &str = "policies";
const ATTEMPTS: usize = 3;
const MAX_FILES: usize = 2000;
/// Longest file, in bytes.
const MAX_LEN: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::settings::Mode;

    const ROOT: &[u8] =
        include_bytes!("../../../core/tests/vectors/reference/certificates/root.crt");

    fn policy(scope: &str) -> String {
        format!(
            r#"{{"version":"1.0","trustPolicies":[{{"name":"all","registryScopes":["{scope}"],"signatureVerification":{{"level":"strict"}},"trustStores":["ca:acme"],"trustedIdentities":["*"]}}]}}"#
        )
    }

    fn fill(directory: &Path, settings: &str) {
        let store = directory.join("truststore/x509/ca/acme");
        fs::create_dir_all(&store).unwrap();
        fs::write(store.join("root.crt"), ROOT).unwrap();
        fs::write(directory.join("trustpolicy.json"), policy("*")).unwrap();
        fs::write(directory.join(settings::FILE), settings).unwrap();
    }

    const WARN: &str = r#"{"version":"1.0","mode":"warn"}"#;
    const AUDIT: &str = r#"{"version":"1.0","mode":"audit"}"#;

    fn current(directory: &Path) -> (Current, Arc<AtomicUsize>) {
        let failures = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&failures);
        let told = move |loaded: Result<&Snapshot, &SnapshotError>| {
            count.fetch_add(usize::from(loaded.is_err()), Ordering::SeqCst);
        };
        (Current::new(directory, told).unwrap(), failures)
    }

    #[test]
    fn a_moved_link_is_a_new_policy() {
        let mount = tempfile::tempdir().unwrap();
        for (name, text) in [("..1", WARN), ("..2", AUDIT), ("..3", "{}")] {
            fs::create_dir(mount.path().join(name)).unwrap();
            fill(&mount.path().join(name), text);
        }
        let lead = |to: &str| {
            symlink(to, mount.path().join("..new")).unwrap();
            fs::rename(mount.path().join("..new"), mount.path().join("..data")).unwrap();
        };
        lead("..1");
        let (current, failures) = current(mount.path());
        let first = current.get();
        assert_eq!(first.settings.mode, Mode::Warn);
        assert!(Arc::ptr_eq(&first, &current.get()));
        lead("..2");
        // The kubelet deletes what the link led to: what is in use is in memory.
        fs::remove_dir_all(mount.path().join("..1")).unwrap();
        let second = current.get();
        assert_eq!(second.settings.mode, Mode::Audit);
        assert_ne!(first.version, second.version);
        assert!(
            first
                .stores
                .get(&StoreRef::parse("ca:acme").unwrap())
                .is_ok()
        );
        // One that can't be used takes the place of none, and is told once.
        lead("..3");
        assert_eq!(current.get().version, second.version);
        assert_eq!(current.get().version, second.version);
        assert_eq!(failures.load(Ordering::SeqCst), 1);
        lead("..2");
        assert_eq!(current.get().version, second.version);
    }

    #[test]
    fn a_directory_is_looked_at_each_time() {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), WARN);
        let (current, failures) = current(directory.path());
        let first = current.get();
        fs::write(directory.path().join(settings::FILE), AUDIT).unwrap();
        let second = current.get();
        assert_eq!(second.settings.mode, Mode::Audit);
        // A root more, and a root less.
        let store = directory.path().join("truststore/x509/ca/acme");
        fs::write(store.join("again.crt"), ROOT).unwrap();
        let third = current.get();
        assert!(![&first.version, &second.version].contains(&&third.version));
        fs::remove_dir_all(&store).unwrap();
        assert_eq!(current.get().version, third.version);
        assert_eq!(failures.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_a_policy_needs_must_be_there() {
        let error = |change: &dyn Fn(&Path)| {
            let directory = tempfile::tempdir().unwrap();
            fill(directory.path(), WARN);
            change(directory.path());
            let error = Snapshot::load(directory.path()).unwrap_err();
            WithCauses(&error).to_string()
        };
        let told = error(&|path| fs::remove_file(path.join("trustpolicy.json")).unwrap());
        assert!(told.contains("trust policy is not present"), "{told}");
        let told = error(&|path| fs::write(path.join("policy.hardsign.json"), "{").unwrap());
        assert!(
            told.contains("policy.hardsign.json") || told.contains("JSON"),
            "{told}"
        );
        let told = error(&|path| fs::remove_dir_all(path.join("truststore")).unwrap());
        assert!(
            told.contains("trust store \"acme\" of type \"ca\" does not exist"),
            "{told}"
        );
        let named = r#"{"version":"1.0","namespaces":[{"matchLabels":{"a":"b"},"policy":"lab"}]}"#;
        let told = error(&|path| fs::write(path.join(settings::FILE), named).unwrap());
        assert!(told.contains("policies/lab"), "{told}");
        // A link in place of a file is none, as everywhere.
        let told = error(&|path| {
            fs::rename(path.join("trustpolicy.json"), path.join("elsewhere")).unwrap();
            symlink("elsewhere", path.join("trustpolicy.json")).unwrap();
        });
        assert!(
            told.contains("symlink") || told.contains("regular"),
            "{told}"
        );
        let missing = Snapshot::load(Path::new("/no/such/directory")).unwrap_err();
        assert!(
            matches!(missing, SnapshotError::Directory { .. }),
            "{missing}"
        );
    }

    #[test]
    fn namespaces_have_policies_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let named = r#"{"version":"1.0","namespaces":[{"matchLabels":{"a":"b"},"policy":"lab"}]}"#;
        fill(directory.path(), named);
        let lab = directory.path().join("policies/lab");
        fs::create_dir_all(&lab).unwrap();
        fs::write(lab.join("trustpolicy.json"), policy("a.example/lab")).unwrap();
        let snapshot = Snapshot::load(directory.path()).unwrap();
        let all = snapshot.policy(None).unwrap();
        assert!(
            all.document()
                .statement_for_repository("b.example/x", String::new)
                .is_ok()
        );
        let lab = snapshot.policy(Some("lab")).unwrap();
        assert!(
            lab.document()
                .statement_for_repository("b.example/x", String::new)
                .is_err()
        );
        assert!(snapshot.policy(Some("other")).is_none());
    }
}
