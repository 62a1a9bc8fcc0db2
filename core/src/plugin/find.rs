//! Where plugins are: the user's plugin directory, then, for the names in the box alone, beside
//! the hardsign executable.
//!
//! Implements "Plugin installation path" of the plugin specification (PLG-01, PLG-03, PLI-01) with
//! the name rule of PLG-04 checked before any path is made. `PATH` is never searched. It starts
//! nothing.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{PluginError, PluginErrorKind};
use crate::dirs::{self, Dirs};
use crate::text::nearest;

/// The name of a plugin: `[A-Za-z0-9_.-]+`, and neither `.` nor `..`.
// PLG-04
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PluginName(String);

impl PluginName {
    /// Checks a name, wherever it comes from.
    ///
    /// # Errors
    /// [`PluginErrorKind::InvalidName`].
    pub fn new(name: &str) -> Result<Self, PluginError> {
        let fits = name.len() <= MAX_NAME
            && !matches!(name, "" | "." | "..")
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if fits {
            Ok(Self(name.to_owned()))
        } else {
            Err(PluginErrorKind::InvalidName(name.into()).into())
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the executable, for instance `notation-pkcs11`.
    pub fn file_name(&self) -> String {
        format!("notation-{}{}", self.0, std::env::consts::EXE_SUFFIX)
    }

    /// Whether hardsign comes with a plugin of this name.
    pub fn is_in_the_box(&self) -> bool {
        BOX.contains(&self.as_str())
    }
}

impl std::fmt::Display for PluginName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a plugin was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// In the user's plugin directory.
    User,
    /// It came with hardsign.
    Box,
}

/// An executable that was found; nothing about it is known but its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PluginFile {
    /// The plugin's name, which its metadata must repeat.
    pub name: PluginName,
    /// The executable.
    pub path: PathBuf,
    /// Where it was found.
    pub origin: Origin,
}

impl PluginFile {
    /// Whether this is what [`Finder::local`] finds.
    pub(super) fn is_local_of_the_box(&self) -> bool {
        self.origin == Origin::Box && self.name.as_str() == LOCAL
    }
}

/// A candidate in the user's plugin directory.
#[derive(Debug)]
pub struct Listed {
    /// The name of its directory.
    pub name: PluginName,
    /// Its executable, or what is wrong with it.
    pub found: Result<PluginFile, PluginError>,
}

/// The places where plugins may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finder {
    user: PathBuf,
    pins: PathBuf,
    boxes: Vec<PathBuf>,
}

impl Finder {
    /// The user's plugin directory and the box that the running executable came with.
    pub fn new(dirs: &Dirs) -> Self {
        Self::with_box(dirs, dirs::box_directories())
    }

    /// The user's plugin directory and a box in other places.
    pub fn with_box(dirs: &Dirs, boxes: Vec<PathBuf>) -> Self {
        Self {
            user: dirs.plugins(),
            pins: dirs.plugin_pins(),
            boxes,
        }
    }

    /// The plugin `name`.
    ///
    /// # Errors
    /// If the name breaks the rule, nothing is there, or what is there is no regular file.
    pub fn find(&self, name: &str) -> Result<PluginFile, PluginError> {
        let name = PluginName::new(name)?;
        match self.find_installed(&name) {
            Ok(found) => Ok(found),
            Err(missing) if missing.is_not_found() => match self.find_in_the_box(&name) {
                Ok(Some(found)) => Ok(found),
                Ok(None) => Err(self.with_nearest(missing)),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The user's own plugin `name`, and none of the box.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_installed(&self, name: &PluginName) -> Result<PluginFile, PluginError> {
        let path = self.user.join(name.as_str()).join(name.file_name());
        regular(name, &path)?;
        if !is_spelled(&self.user, name) {
            // No missing file: an installation would replace the other plugin.
            return Err(PluginErrorKind::NotFound {
                path,
                source: io::Error::other("its directory is written in other letters"),
                nearest: None,
            }
            .of(name));
        }
        Ok(PluginFile {
            name: name.clone(),
            path,
            origin: Origin::User,
        })
    }

    /// The error with the name of the plugin that was probably meant: one of those that are there.
    pub fn with_nearest(&self, mut missing: PluginError) -> PluginError {
        let wanted = missing.name().to_owned();
        if let PluginErrorKind::NotFound { nearest, .. } = &mut missing.kind {
            *nearest = self.nearest(&wanted);
        }
        missing
    }

    /// Of the plugins that are there the one whose name is near to this one.
    pub fn nearest(&self, name: &str) -> Option<String> {
        let installed = self.list().unwrap_or_default().into_iter();
        let installed = installed.filter(|listed| listed.found.is_ok());
        let names: Vec<_> = installed
            .map(|listed| listed.name)
            .chain(self.list_box().into_iter().map(|file| file.name))
            .collect();
        let known: Vec<_> = names.iter().map(PluginName::as_str).collect();
        nearest(name, &known).map(str::to_owned)
    }

    /// The directory of the user's plugins.
    pub fn user_directory(&self) -> &Path {
        &self.user
    }

    /// The file that has the pins of the user's plugins.
    pub fn pins_file(&self) -> &Path {
        &self.pins
    }

    /// The `local` plugin of the box, and of the box only: it is handed the paths of private keys,
    /// so nothing that was installed under its name may take its place.
    ///
    /// # Errors
    /// If the box has none.
    // CFG-19
    pub fn local(&self) -> Result<PluginFile, PluginError> {
        let name = PluginName(LOCAL.to_owned());
        self.find_in_the_box(&name)?
            .ok_or_else(|| PluginErrorKind::NotInTheBox.of(&name))
    }

    fn find_in_the_box(&self, name: &PluginName) -> Result<Option<PluginFile>, PluginError> {
        if !name.is_in_the_box() {
            return Ok(None);
        }
        for directory in &self.boxes {
            let path = directory.join(name.file_name());
            match regular(name, &path) {
                Ok(()) => {
                    return Ok(Some(PluginFile {
                        name: name.clone(),
                        path,
                        origin: Origin::Box,
                    }));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The user's plugins by name, each with its executable or what is wrong with it.
    ///
    /// Sub-directories of the plugin directory are candidates; files, symbolic links and names
    /// that break the rule are passed over. A missing directory holds none.
    ///
    /// # Errors
    /// [`PluginErrorKind::List`] if the directory can't be read.
    // PLI-01, PLI-02
    pub fn list(&self) -> Result<Vec<Listed>, PluginError> {
        let unreadable = |reason| {
            let directory = self.user.clone();
            PluginError::from(PluginErrorKind::List { directory, reason })
        };
        let entries = match fs::read_dir(&self.user) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            // `file_type` does not follow links.
            if !entry.file_type().map_err(unreadable)?.is_dir() {
                continue;
            }
            if let Some(name) = entry.file_name().to_str()
                && let Ok(name) = PluginName::new(name)
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names
            .into_iter()
            .map(|name| {
                let found = self.find_installed(&name);
                Listed { name, found }
            })
            .collect())
    }

    /// The plugins of the box that are there, for `plugin list --all`.
    // PLI-03
    pub fn list_box(&self) -> Vec<PluginFile> {
        BOX.iter()
            .filter_map(|name| self.find_in_the_box(&PluginName((*name).to_owned())).ok()?)
            .collect()
    }
}

/// Whether `directory` has an entry of exactly this name. Where the file system takes capital and
/// small letters for the same, a plugin would else run under a name that has no pin (SEC-21), and a
/// signature may name it so. What can't be listed is taken to have it.
fn is_spelled(directory: &Path, name: &PluginName) -> bool {
    fs::read_dir(directory).map_or(true, |mut entries| {
        entries.any(|entry| entry.map_or(true, |entry| entry.file_name() == name.as_str()))
    })
}

/// Whether `path` is a regular file and no symbolic link (PLG-03).
fn regular(name: &PluginName, path: &Path) -> Result<(), PluginError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(PluginErrorKind::NotRegular(path.to_owned()).of(name)),
        Err(source) => Err(PluginErrorKind::NotFound {
            path: path.to_owned(),
            source,
            nearest: None,
        }
        .of(name)),
    }
}

/// The names in the box: these alone are looked for beside the executable.
const BOX: &[&str] = &[
    "pkcs11",
    LOCAL,
    "yubikey",
    "awskms",
    "azurekms",
    "gcpkms",
    "hashivault",
];

/// The plugin that reads software keys.
const LOCAL: &str = "local";

/// Longest name: what is left of a file name beside `notation-` and `.exe`.
const MAX_NAME: usize = 240;

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    struct Place {
        _root: tempfile::TempDir,
        dirs: Dirs,
        boxes: Vec<PathBuf>,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            Self {
                dirs: Dirs::below(root.path()),
                boxes: vec![
                    root.path().join("bin"),
                    root.path().join("libexec/hardsign"),
                ],
                _root: root,
            }
        }

        fn finder(&self) -> Finder {
            Finder::with_box(&self.dirs, self.boxes.clone())
        }

        fn user(&self, name: &str) -> PathBuf {
            self.dirs
                .plugins()
                .join(name)
                .join(format!("notation-{name}"))
        }
    }

    fn put(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    /// PLG-04, SEC-24, DIF-42: no name leads out of the plugin directory.
    #[test]
    fn plg_04_names() {
        for name in ["a", "com.example.plugin", "A_b-9", "...", "-"] {
            assert!(PluginName::new(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a/../../x",
            "../x",
            "a\\b",
            "a b",
            "ä",
            "a\0",
            "a\n",
            "C:x",
        ] {
            assert!(
                matches!(
                    PluginName::new(name),
                    Err(PluginError {
                        kind: PluginErrorKind::InvalidName(_),
                        ..
                    })
                ),
                "{name:?}"
            );
        }
        assert!(PluginName::new(&"a".repeat(241)).is_err());
        let place = Place::new();
        put(&place.dirs.libexec.join("notation-x"));
        assert!(matches!(
            place.finder().find(".."),
            Err(PluginError {
                kind: PluginErrorKind::InvalidName(_),
                ..
            })
        ));
    }

    /// PLG-01, PLI-03: the user's directory first, then the box for the names in the box alone.
    #[test]
    fn plg_01_user_first_then_box() {
        let place = Place::new();
        put(&place.boxes[1].join("notation-pkcs11"));
        put(&place.boxes[0].join("notation-local"));
        put(&place.boxes[0].join("notation-mine"));
        let found = place.finder().find("pkcs11").unwrap();
        assert_eq!(found.origin, Origin::Box);
        assert_eq!(found.path, place.boxes[1].join("notation-pkcs11"));
        put(&place.boxes[0].join("notation-pkcs11"));
        assert_eq!(
            place.finder().find("pkcs11").unwrap().path,
            place.boxes[0].join("notation-pkcs11")
        );
        put(&place.user("pkcs11"));
        let found = place.finder().find("pkcs11").unwrap();
        assert_eq!(
            (found.path, found.origin),
            (place.user("pkcs11"), Origin::User)
        );
        // Not a name in the box.
        assert!(matches!(
            place.finder().find("mine"),
            Err(PluginError {
                kind: PluginErrorKind::NotFound { .. },
                ..
            })
        ));
        assert_eq!(place.finder().list_box().len(), 2);
    }

    /// CFG-19: keys in files go to the `local` of the box and to no other.
    #[test]
    fn cfg_19_local_of_the_box_only() {
        let place = Place::new();
        put(&place.user("local"));
        assert!(matches!(
            place.finder().local(),
            Err(PluginError {
                kind: PluginErrorKind::NotInTheBox,
                ..
            })
        ));
        put(&place.boxes[0].join("notation-local"));
        assert_eq!(
            place.finder().local().unwrap().path,
            place.boxes[0].join("notation-local")
        );
    }

    /// PLG-03: the two texts, and links are refused rather than followed or passed over.
    #[cfg(unix)]
    #[test]
    fn plg_03_regular_files_only() {
        let place = Place::new();
        let finder = place.finder();
        let path = place.user("foo");
        assert_eq!(
            finder.find("foo").unwrap_err().told(),
            format!(
                "plugin executable file is either not found or inaccessible: stat {}: no such file or directory",
                path.display()
            )
        );
        fs::create_dir_all(&path).unwrap();
        assert_eq!(
            finder.find("foo").unwrap_err().told(),
            "plugin executable file is not a regular file"
        );
        let target = place.user("bar");
        put(&target);
        let link = place.user("pkcs11");
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        // Also when the box has one of that name.
        put(&place.boxes[0].join("notation-pkcs11"));
        assert!(matches!(
            finder.find("pkcs11"),
            Err(PluginError {
                kind: PluginErrorKind::NotRegular(_),
                ..
            })
        ));
    }

    /// PLI-01: sub-directories only, by name; one without an executable is listed with its fault.
    #[cfg(unix)]
    #[test]
    fn pli_01_list() {
        let place = Place::new();
        assert!(place.finder().list().unwrap().is_empty());
        put(&place.user("b"));
        put(&place.user("a"));
        fs::create_dir_all(place.dirs.plugins().join("empty")).unwrap();
        fs::create_dir_all(place.dirs.plugins().join("bad name")).unwrap();
        put(&place.dirs.plugins().join("file"));
        std::os::unix::fs::symlink(
            place.dirs.plugins().join("a"),
            place.dirs.plugins().join("link"),
        )
        .unwrap();
        let listed = place.finder().list().unwrap();
        let names: Vec<_> = listed
            .iter()
            .map(|listed| (listed.name.as_str(), listed.found.is_ok()))
            .collect();
        assert_eq!(names, [("a", true), ("b", true), ("empty", false)]);
    }

    /// SEC-21: pins go by name, so the name is the one of the directory, whatever the file system
    /// takes for the same.
    #[test]
    fn sec_21_names_as_they_are_written() {
        let place = Place::new();
        put(&place.user("good"));
        let is_spelled = |name| is_spelled(&place.dirs.plugins(), &PluginName::new(name).unwrap());
        assert!(is_spelled("good"));
        assert!(!is_spelled("Good"));
        assert!(place.finder().find("good").is_ok());
        assert!(place.finder().find("Good").is_err());
    }

    /// PLI-02: a plugin directory that can't be read is an error with its text.
    #[test]
    fn pli_02_unreadable_directory() {
        let place = Place::new();
        put(&place.dirs.plugins());
        let error = place.finder().list().unwrap_err();
        let text = error.told();
        assert!(text.starts_with("failed to list plugin: "), "{text}");
        assert!(
            text.ends_with(&format!(
                ".\nPlease ensure that the current user has permission to access the plugin directory: {}",
                place.dirs.plugins().display()
            )),
            "{text}"
        );
    }
}
