//! Who may change the files that decide what is trusted and what runs: trust policies, trust
//! stores, plugins. A file is safe where the user or root owns it and nobody else may
//! write to it. Nothing is changed or refused here; whoever asks tells the user.

// Requirements: SEC-10.

use std::fmt;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

/// A file or directory that somebody else can change.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Exposed {
    /// The file or directory.
    pub path: PathBuf,
    /// By whom.
    pub by: Exposure,
}

/// Who can change a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exposure {
    /// Its owner, who is neither the user nor root.
    Owner {
        /// The owner's id.
        uid: u32,
    },
    /// Members of its group or everybody, as its mode says.
    Mode {
        /// The permission bits.
        mode: u32,
    },
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.by {
            Exposure::Owner { uid } => {
                write!(
                    f,
                    "{path} belongs to user {uid}, who is neither you nor root"
                )
            }
            Exposure::Mode { mode } => write!(f, "others may write to {path} (mode {mode:04o})"),
        }
    }
}

impl Exposed {
    /// What makes it safe.
    pub fn fix(&self) -> String {
        match self.by {
            Exposure::Owner { .. } => format!("chown \"$(id -u)\" {}", self.path.display()),
            Exposure::Mode { .. } => format!("chmod go-w {}", self.path.display()),
        }
    }
}

/// The file or directory at `path`, if somebody else can change it. A link is looked through; what is
/// not there is safe.
pub fn exposed(path: &Path) -> Option<Exposed> {
    let found = fs::metadata(path).ok()?;
    Some(Exposed {
        path: path.to_owned(),
        by: exposure(&found)?,
    })
}

/// `root` and what is in it, down to `depth` directories below it, as far as somebody else can change
/// it; in the order of the paths. After [`MAX_FILES`] files nothing more is looked at.
pub fn exposed_below(root: &Path, depth: usize) -> Vec<Exposed> {
    let mut found: Vec<_> = exposed(root).into_iter().collect();
    let mut left = MAX_FILES;
    walk(root, depth, &mut left, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(directory: &Path, depth: usize, left: &mut usize, found: &mut Vec<Exposed>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // Read to its end before what is in it, so that one directory is open at a time.
    let paths: Vec<_> = entries.take(*left).map(|entry| entry.path()).collect();
    for path in paths {
        let Some(rest) = left.checked_sub(1) else {
            return;
        };
        *left = rest;
        found.extend(exposed(&path));
        if depth > 0 && path.is_dir() {
            walk(&path, depth.saturating_sub(1), left, found);
        }
    }
}

#[cfg(unix)]
fn exposure(found: &Metadata) -> Option<Exposure> {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid().as_raw();
    judge(found.uid(), found.mode(), user)
}

#[cfg(not(unix))]
fn exposure(_: &Metadata) -> Option<Exposure> {
    None
}

/// Who beside `user` and root can change a file with this owner and mode. Access control lists show
/// in the group's bits of the mode.
#[cfg(unix)]
fn judge(owner: u32, mode: u32, user: u32) -> Option<Exposure> {
    if owner != user && owner != 0 {
        return Some(Exposure::Owner { uid: owner });
    }
    (mode & 0o022 != 0).then_some(Exposure::Mode {
        mode: mode & 0o7777,
    })
}

/// More than anybody keeps there.
pub const MAX_FILES: usize = 10_000;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// SEC-10: the user and root may, nobody else.
    #[test]
    fn sec_10_who_may_write() {
        for (owner, mode, user, expected) in [
            (1000, 0o100_600, 1000, None),
            (1000, 0o100_644, 1000, None),
            (0, 0o100_644, 1000, None),
            (0, 0o100_644, 0, None),
            (1000, 0o100_664, 1000, Some(Exposure::Mode { mode: 0o664 })),
            (1000, 0o100_602, 1000, Some(Exposure::Mode { mode: 0o602 })),
            (0, 0o041_777, 1000, Some(Exposure::Mode { mode: 0o1777 })),
            (1001, 0o100_600, 1000, Some(Exposure::Owner { uid: 1001 })),
            (1000, 0o100_600, 0, Some(Exposure::Owner { uid: 1000 })),
        ] {
            assert_eq!(
                judge(owner, mode, user),
                expected,
                "{owner} {mode:o} {user}"
            );
        }
    }

    /// SEC-10: every file is looked at, not the top directory alone.
    #[test]
    fn sec_10_files_below() {
        let root = tempfile::tempdir().unwrap();
        let set = |name: &str, mode| {
            let path = root.path().join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        for (name, mode) in [("good", 0o644), ("bad", 0o666), ("a/b/bad", 0o620)] {
            fs::write(root.path().join(name), "").unwrap();
            set(name, mode);
        }
        for name in ["", "a", "a/b"] {
            set(name, 0o755);
        }
        let names = |depth| -> Vec<_> {
            let found = exposed_below(root.path(), depth);
            let below = |e: Exposed| e.path.strip_prefix(root.path()).unwrap().to_owned();
            found.into_iter().map(below).collect()
        };
        assert_eq!(names(2), [Path::new("a/b/bad"), Path::new("bad")]);
        assert_eq!(names(0), [Path::new("bad")]);
        set("a", 0o777);
        assert_eq!(names(0), [Path::new("a"), Path::new("bad")]);
        // A link is as safe as what it leads to.
        std::os::unix::fs::symlink("good", root.path().join("link")).unwrap();
        assert_eq!(exposed(&root.path().join("link")), None);
        let text = exposed(&root.path().join("bad")).unwrap().to_string();
        assert!(text.ends_with("bad (mode 0666)"), "{text}");
        assert!(exposed(&root.path().join("none")).is_none());
    }
}
