//! The system's root certificates, read once for all clients: from the one bundle of the system where there is
//! one, and from directories, hundreds of files, only where there is none.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` name others in place of them. What was read is kept until
//! one of the files changes, since services that run for months make new clients.

// Requirements: CFG-30, REG-10.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use reqwest::Certificate;

use crate::dirs::{CertificateVariables, certificate_variables};

/// Root certificates, as the library takes them.
pub(super) type Roots = Arc<Vec<Certificate>>;

/// Where root certificates are looked for.
#[derive(Debug, Eq, PartialEq)]
struct Places {
    /// A file with many.
    bundle: Option<PathBuf>,
    /// Directories with files of one or more.
    directories: Vec<PathBuf>,
}

/// By what a change of a file or directory is seen.
type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// What was read last.
static LAST: Mutex<Option<(Stamp, Roots)>> = Mutex::new(None);

/// The system's root certificates; `None` where there are none in files, or some can't be read.
pub(super) fn system() -> Option<Roots> {
    // Other systems keep them otherwise, which the library knows about.
    if !cfg!(target_os = "linux") {
        return None;
    }
    let places = Places::new(certificate_variables(), &BUNDLES, &DIRECTORIES);
    let stamp = places.stamp();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read, roots)) = &*last
        && *read == stamp
    {
        return Some(Arc::clone(roots));
    }
    let roots = Arc::new(places.read(&mut read_file)?);
    *last = Some((stamp, Arc::clone(&roots)));
    Some(roots)
}

impl Places {
    /// The places that the user names; else the first of the bundles that is there; else the directories.
    fn new(named: CertificateVariables, bundles: &[&str], directories: &[&str]) -> Self {
        if named.file.is_some() || !named.directories.is_empty() {
            return Self {
                bundle: named.file,
                directories: named.directories,
            };
        }
        let mut bundles = bundles.iter().map(PathBuf::from);
        let bundle = bundles.find(|bundle| bundle.is_file());
        let directories = match bundle {
            Some(_) => Vec::new(),
            None => directories.iter().map(PathBuf::from).collect(),
        };
        Self {
            bundle,
            directories,
        }
    }

    fn stamp(&self) -> Stamp {
        let places = self.bundle.iter().chain(&self.directories);
        let stamped = places.map(|place| {
            let found = fs::metadata(place).ok();
            let found = found.and_then(|found| Some((found.modified().ok()?, found.len())));
            (place.clone(), found)
        });
        stamped.collect()
    }

    /// All certificates of all files, each file read once however many links lead to it.
    fn read(
        &self,
        read: &mut dyn FnMut(&Path) -> Option<Vec<Certificate>>,
    ) -> Option<Vec<Certificate>> {
        let entries = self.directories.iter().filter_map(|directory| {
            let entries = fs::read_dir(directory).ok()?;
            Some(entries.take(MAX_FILES).flatten().map(|entry| entry.path()))
        });
        let files: BTreeSet<PathBuf> = self
            .bundle
            .iter()
            .cloned()
            .chain(entries.flatten())
            .filter_map(|file| fs::canonicalize(file).ok())
            .filter(|file| file.is_file())
            .collect();
        let mut roots = Vec::new();
        for file in files {
            roots.extend(read(&file)?);
        }
        (!roots.is_empty()).then_some(roots)
    }
}

fn read_file(path: &Path) -> Option<Vec<Certificate>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Certificate::from_pem_bundle(&bytes).ok()
}

/// Largest file of root certificates that is read whole, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Most files of a directory that are read.
const MAX_FILES: usize = 10_000;

/// Where distributions of Linux have all root certificates in one file: Debian, Fedora, older Fedora, openSUSE,
/// Alpine.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Where they have them one by one.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use hardsign_test_support::Key;
    use hardsign_test_support::certificate::Builder;

    use super::*;

    fn pem(count: usize) -> String {
        let certificates = (0..count).map(|_| {
            let root = Builder::ca("root", &Key::P256).self_signed(&Key::P256).der;
            let label = "CERTIFICATE";
            let pem = der::pem::encode_string(label, der::pem::LineEnding::LF, &root);
            pem.expect("a certificate of a few hundred bytes")
        });
        certificates.collect()
    }

    /// What is read of these places: how many certificates, and which files.
    fn read(places: &Places) -> (usize, Vec<String>) {
        let mut files = Vec::new();
        let roots = places.read(&mut |path| {
            files.extend(
                path.file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
            read_file(path)
        });
        (roots.map_or(0, |roots| roots.len()), files)
    }

    fn nothing_named() -> CertificateVariables {
        CertificateVariables {
            file: None,
            directories: Vec::new(),
        }
    }

    /// CFG-30: the bundle is read, and nothing of the directory that it is in; without a bundle each file once; and
    /// what the variables name in place of both.
    #[test]
    fn one_bundle_is_read_where_there_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("one.pem"), pem(1)).unwrap();
        fs::write(path("two.pem"), pem(2)).unwrap();
        symlink("two.pem", path("1234abcd.0")).unwrap();
        symlink("gone.pem", path("dead.0")).unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let (bundle, missing) = (text(path("all.crt")), text(path("missing.crt")));
        let all = text(directory.path().to_owned());
        let places = |named| Places::new(named, &[&missing, &bundle], &[&all]);
        let each = (3, vec!["one.pem".to_owned(), "two.pem".to_owned()]);
        assert_eq!(read(&places(nothing_named())), each);

        fs::write(path("all.crt"), pem(5)).unwrap();
        let whole = (5, vec!["all.crt".to_owned()]);
        assert_eq!(read(&places(nothing_named())), whole);
        let named = CertificateVariables {
            file: Some(path("one.pem")),
            ..nothing_named()
        };
        assert_eq!(read(&places(named)), (1, vec!["one.pem".to_owned()]));
        let own = path("own");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("four.pem"), pem(4)).unwrap();
        let named = CertificateVariables {
            file: Some(path("one.pem")),
            directories: vec![own],
        };
        assert_eq!(read(&places(named)).0, 5);

        // What is replaced is read anew.
        let places = places(nothing_named());
        let before = places.stamp();
        assert_eq!(places.stamp(), before);
        fs::write(path("all.crt"), pem(6)).unwrap();
        assert_ne!(places.stamp(), before);
    }

    /// What can't be read as a whole is left to the library.
    #[test]
    fn damaged_bundles_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("all.crt");
        let places = Places::new(nothing_named(), &[bundle.to_str().unwrap()], &[]);
        assert_eq!(read(&places), (0, vec![]));
        fs::write(&bundle, "").unwrap();
        let places = Places::new(nothing_named(), &[bundle.to_str().unwrap()], &[]);
        assert_eq!(read(&places), (0, vec!["all.crt".to_owned()]));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        fs::write(&bundle, pem(1) + broken).unwrap();
        assert_eq!(read(&places), (0, vec!["all.crt".to_owned()]));
    }
}
