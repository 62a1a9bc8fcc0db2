//! Finding and reading the trust policy files (TP-01 to TP-04); what they say is for `policy`.

use std::path::PathBuf;

use super::{FileError, read_regular};
use crate::artifact::Kind;
use crate::dirs::Dirs;

/// A trust policy file as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PolicyFile {
    /// Which file it was.
    pub path: PathBuf,
    /// Its bytes, nothing about them checked.
    pub bytes: Vec<u8>,
}

/// Why a trust policy file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFileError {
    /// There is none.
    // TP-03
    #[error(
        "trust policy is not present. To create a trust policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy"
    )]
    NotPresent,
    /// A directory or symbolic link stands in its place.
    // TP-04
    #[error(
        "trust policy is not a regular file (symlinks are not supported). To create a trust policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy"
    )]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The user may not read it.
    // TP-04
    #[error(
        "unable to read trust policy due to file permissions, please verify the permissions of {}",
        .path.display()
    )]
    Permission {
        /// The path.
        path: PathBuf,
        /// The answer of the operating system.
        #[source]
        source: FileError,
    },
    /// Anything else: too large, a broken disk.
    #[error(transparent)]
    File(FileError),
}

/// Reads the trust policy file of `kind`: `trustpolicy.oci.json`, else `trustpolicy.json`, or
/// `trustpolicy.blob.json`.
///
/// `trustpolicy.json` is looked at only when there is no `trustpolicy.oci.json` at all: one that
/// can't be read is an error, since an older policy must not take its place.
///
/// # Errors
/// See [`PolicyFileError`].
// TP-02
pub fn read_policy(dirs: &Dirs, kind: Kind) -> Result<PolicyFile, PolicyFileError> {
    let candidates = match kind {
        Kind::Oci => vec![dirs.oci_policy(), dirs.old_policy()],
        Kind::Blob => vec![dirs.blob_policy()],
    };
    for path in candidates {
        match read_regular(&path, Kind::MAX_POLICY_LEN as u64) {
            Ok(bytes) => return Ok(PolicyFile { path, bytes }),
            Err(error) if error.is_not_found() => {}
            Err(FileError::NotRegular { path }) => {
                return Err(PolicyFileError::NotRegular { path });
            }
            Err(source) if source.is_permission_denied() => {
                return Err(PolicyFileError::Permission { path, source });
            }
            Err(error) => return Err(PolicyFileError::File(error)),
        }
    }
    Err(PolicyFileError::NotPresent)
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use std::fs;

    use super::*;

    fn dirs() -> (tempfile::TempDir, Dirs) {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::below(root.path());
        fs::create_dir_all(&dirs.config).unwrap();
        (root, dirs)
    }

    /// TP-01: which file is read.
    #[test]
    fn tp_01_files() {
        let (_root, dirs) = dirs();
        fs::write(dirs.old_policy(), "old").unwrap();
        fs::write(dirs.blob_policy(), "blob").unwrap();
        assert_eq!(read_policy(&dirs, Kind::Oci).unwrap().bytes, b"old");
        fs::write(dirs.oci_policy(), "oci").unwrap();
        let file = read_policy(&dirs, Kind::Oci).unwrap();
        assert_eq!(
            (file.path, file.bytes),
            (dirs.oci_policy(), b"oci".to_vec())
        );
        assert_eq!(read_policy(&dirs, Kind::Blob).unwrap().bytes, b"blob");
    }

    /// TP-02, TP-04: a file that is there but can't be read never falls back to the older one.
    #[cfg(unix)]
    #[test]
    fn tp_02_no_fallback_from_a_bad_file() {
        let (_root, dirs) = dirs();
        fs::write(dirs.old_policy(), "old").unwrap();
        fs::create_dir(dirs.oci_policy()).unwrap();
        assert_eq!(
            read_policy(&dirs, Kind::Oci).unwrap_err().told(),
            "trust policy is not a regular file (symlinks are not supported). To create a trust \
             policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy"
        );
        fs::remove_dir(dirs.oci_policy()).unwrap();
        std::os::unix::fs::symlink(dirs.old_policy(), dirs.oci_policy()).unwrap();
        assert!(matches!(
            read_policy(&dirs, Kind::Oci),
            Err(PolicyFileError::NotRegular { path }) if path == dirs.oci_policy()
        ));
    }

    /// TP-03: none at all.
    #[test]
    fn tp_03_not_present() {
        let (_root, dirs) = dirs();
        for kind in [Kind::Oci, Kind::Blob] {
            assert_eq!(
                read_policy(&dirs, kind).unwrap_err().told(),
                "trust policy is not present. To create a trust policy, see: \
                 https://notaryproject.dev/docs/quickstart/#create-a-trust-policy"
            );
        }
    }

    /// TP-04: the text for a file that the user may not read.
    #[test]
    fn tp_04_permissions() {
        let source = FileError::Io {
            action: "open",
            path: "/p".into(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        };
        assert!(source.is_permission_denied());
        let error = PolicyFileError::Permission {
            path: "/p".into(),
            source,
        };
        assert_eq!(
            error.to_string(),
            "unable to read trust policy due to file permissions, please verify the permissions of /p"
        );
    }
}
