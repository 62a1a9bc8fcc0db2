//! Pins: the SHA-256 of each executable that `hardsign plugin install` put in place, in
//! `plugins.hardsign.json` beside the plugin directory.
//!
//! A pinned plugin is looked at before it is started, once a process: while device, inode, size and
//! change time are those that were noted, its contents are taken to be too; otherwise it is hashed,
//! and refused if it is another file than was installed. Plugins that came another way have no pin
//! and run as under the reference. A file of pins that can't be read stops all of the user's
//! plugins, since it can't be known which are pinned.
//!
//! The file stands outside the plugin directory, since the reference takes all that is in there for
//! plugins, and beside it, since plugins that several users share share their pins too. It is no
//! defence against a program of the same user, which can write it.
//!
//! ```json
//! {
//!   "version": "1.0",
//!   "plugins": {
//!     "wabbit": {
//!       "pinned": {
//!         "sha256": "113062a4…",
//!         "version": "1.0.0",
//!         "file": { "device": 64769, "inode": 5242885, "size": 10240, "changed": 1767225600, "nanos": 5 }
//!       }
//!     }
//!   }
//! }
//! ```
//!
//! While a plugin is being replaced, `installing` stands beside `pinned` and is accepted as well: a
//! crash between the exchange of the files and the note about it leaves a plugin that works.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hardsign_plugin::algorithm::HashAlgorithm;
use serde::{Deserialize, Serialize};

use super::{Origin, PluginError, PluginErrorKind, PluginFile, PluginName};
use crate::blob::Digests;
use crate::config::{FileError, open_regular, read_regular, write_atomic};
use crate::json::{self, JsonError};

/// What is wrong with the file of pins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinsError {
    /// It can't be read or written.
    #[error("the pins of plugins")]
    File(#[from] FileError),
    /// It is not the JSON that it should be.
    #[error("malformed {}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: JsonError,
    },
    /// It is of a version that is not known here.
    #[error("{} has version {version:?}, and \"1.0\" alone is known", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// An entry names no plugin, or a digest is none.
    #[error("malformed {}: the entry {entry:?} is none of a plugin", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: String,
    },
    /// It can't be put into JSON.
    #[error("failed to write the pins of plugins")]
    Serialize(#[source] serde_json::Error),
}

/// What is known of an executable.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// SHA-256 of the executable, in hexadecimal.
    pub sha256: String,
    /// The version that the plugin gave when it was pinned.
    pub version: String,
    /// Which file it was; absent where the platform can't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<FileIdentity>,
}

/// What tells one file from another without reading it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds of the change time, which no program can set.
    changed: i64,
    nanos: i64,
}

impl FileIdentity {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: metadata.ctime(),
            nanos: metadata.ctime_nsec(),
        })
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Self> {
        None
    }
}

/// SHA-256 of the executable at `path` as it is now, in hexadecimal.
///
/// # Errors
/// If it is not a regular file or can't be read.
pub fn look(path: &Path) -> Result<String, FileError> {
    let file = open_regular(path)?;
    sha256_of(&file).map_err(|source| FileError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// SHA-256 of an open file from its beginning, in hexadecimal.
fn sha256_of(file: &File) -> io::Result<String> {
    let digests = Digests::of(file, &[HashAlgorithm::Sha256])?;
    let digest = digests.get(HashAlgorithm::Sha256);
    Ok(digest.ok_or_else(|| io::Error::other("no digest"))?.hex())
}

impl Pin {
    /// A pin of the executable at `path` as it is now.
    pub(super) fn take(path: &Path, version: &str) -> Result<Self, FileError> {
        let file = open_regular(path)?;
        let io = |action| {
            move |source| FileError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        // Before it is read, so that a change in between is noticed by the next look.
        let identity = FileIdentity::of(&file.metadata().map_err(io("stat"))?);
        Ok(Self {
            sha256: sha256_of(&file).map_err(io("read"))?,
            version: version.to_owned(),
            file: identity,
        })
    }
}

/// One plugin's entry.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pinned: Option<Pin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installing: Option<Pin>,
}

/// The file's contents.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    version: String,
    plugins: BTreeMap<String, Entry>,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            version: VERSION.to_owned(),
            plugins: BTreeMap::new(),
        }
    }
}

/// How an executable stands to its pin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PinState {
    /// It has none.
    None,
    /// It is the file that was pinned.
    Same(Pin),
    /// It is another one.
    Changed {
        /// What was pinned.
        pinned: Pin,
        /// SHA-256 of what is there now.
        found: String,
    },
}

impl Pins {
    /// Reads the pins at `path`; a missing file holds none.
    ///
    /// # Errors
    /// [`PinsError`]: nothing is taken from a file that is wrong anywhere.
    pub fn load(path: &Path) -> Result<Self, PinsError> {
        let bytes = match read_regular(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let pins: Self = json::from_slice(&bytes).map_err(|source| PinsError::Malformed {
            path: path.to_owned(),
            source,
        })?;
        if pins.version != VERSION {
            return Err(PinsError::Version {
                path: path.to_owned(),
                version: pins.version,
            });
        }
        let is_sha256 = |pin: &Pin| {
            pin.sha256.len() == 64
                && pin
                    .sha256
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        for (name, entry) in &pins.plugins {
            let mut all = entry.pinned.iter().chain(&entry.installing);
            if PluginName::new(name).is_err() || !all.all(is_sha256) {
                return Err(PinsError::Entry {
                    path: path.to_owned(),
                    entry: name.clone(),
                });
            }
        }
        Ok(pins)
    }

    /// Changes the pins at `path` and writes them as a whole. The caller
    /// holds the lock of the plugin directory.
    pub(super) fn update(path: &Path, change: impl FnOnce(&mut Self)) -> Result<(), PinsError> {
        let before = Self::load(path)?;
        let mut pins = before.clone();
        change(&mut pins);
        if pins == before {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec_pretty(&pins).map_err(PinsError::Serialize)?;
        bytes.push(b'\n');
        Ok(write_atomic(path, &bytes, MODE)?)
    }

    /// The names that have a pin.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let pinned = |(_, entry): &(&String, &Entry)| entry.pinned.is_some();
        self.plugins
            .iter()
            .filter(pinned)
            .map(|(name, _)| name.as_str())
    }

    /// Whether an installation is under way, or stopped before its pin was final.
    pub(super) fn is_installing(&self) -> bool {
        self.plugins
            .values()
            .any(|entry| entry.installing.is_some())
    }

    /// The pin of a plugin.
    pub fn get(&self, name: &PluginName) -> Option<&Pin> {
        self.plugins.get(name.as_str())?.pinned.as_ref()
    }

    pub(super) fn set(&mut self, name: &PluginName, pin: Pin) {
        let entry = Entry {
            pinned: Some(pin),
            installing: None,
        };
        self.plugins.insert(name.as_str().to_owned(), entry);
    }

    pub(super) fn set_installing(&mut self, name: &PluginName, pin: Pin) {
        let entry = self.plugins.entry(name.as_str().to_owned());
        entry.or_default().installing = Some(pin);
    }

    pub(super) fn remove(&mut self, name: &PluginName) {
        self.plugins.remove(name.as_str());
    }

    /// Settles what an interrupted installation left: the entry follows the file that is in place,
    /// and goes where no plugin is any more.
    pub(super) fn settle(&mut self, executable: impl Fn(&PluginName) -> Option<PathBuf>) {
        self.plugins.retain(|name, entry| {
            let Ok(name) = PluginName::new(name) else {
                return true;
            };
            let Some(path) = executable(&name) else {
                return false;
            };
            if let Some(installing) = entry.installing.take()
                && look(&path).is_ok_and(|found| found == installing.sha256)
            {
                entry.pinned = Some(installing);
            }
            entry.pinned.is_some()
        });
    }

    /// How the executable at `path` stands to the pin of its plugin; read only where its identity
    /// leaves that open.
    ///
    /// # Errors
    /// If it can't be read although it is pinned.
    pub fn state(&self, name: &PluginName, path: &Path) -> Result<PinState, FileError> {
        let Some(entry) = self.plugins.get(name.as_str()) else {
            return Ok(PinState::None);
        };
        let Some(pinned) = &entry.pinned else {
            return Ok(PinState::None);
        };
        let file = open_regular(path)?;
        let identity = file.metadata().ok().and_then(|m| FileIdentity::of(&m));
        if identity.is_some() && identity == pinned.file {
            return Ok(PinState::Same(pinned.clone()));
        }
        let found = sha256_of(&file).map_err(|source| FileError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let known = [Some(pinned), entry.installing.as_ref()];
        Ok(
            match known.into_iter().flatten().find(|pin| pin.sha256 == found) {
                Some(pin) => PinState::Same(pin.clone()),
                None => PinState::Changed {
                    pinned: pinned.clone(),
                    found,
                },
            },
        )
    }
}

/// Looks at pinned plugins before they run, at each one once.
#[derive(Debug)]
pub(super) struct Guard {
    path: PathBuf,
    pins: OnceLock<Result<Pins, Arc<PinsError>>>,
    seen: Mutex<BTreeSet<PathBuf>>,
}

impl Guard {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            pins: OnceLock::new(),
            seen: Mutex::default(),
        }
    }

    /// Whether the file may run: it has no pin, or is the one that was pinned.
    pub(super) async fn check(self: &Arc<Self>, file: &PluginFile) -> Result<(), PluginError> {
        if file.origin == Origin::Box || self.seen().contains(&file.path) {
            return Ok(());
        }
        let (guard, file) = (Arc::clone(self), file.clone());
        let checked = tokio::task::spawn_blocking(move || guard.look(&file));
        checked.await.unwrap_or_else(|stopped| {
            Err(PluginErrorKind::Pins(Arc::new(stopped_early(&stopped))).into())
        })
    }

    fn look(&self, file: &PluginFile) -> Result<(), PluginError> {
        let pins = self
            .pins
            .get_or_init(|| Pins::load(&self.path).map_err(Arc::new))
            .as_ref()
            .map_err(|error| PluginErrorKind::Pins(Arc::clone(error)))?;
        let state = pins.state(&file.name, &file.path);
        match state.map_err(|error| PluginErrorKind::Pins(Arc::new(error.into())))? {
            PinState::None | PinState::Same(_) => {
                self.seen().insert(file.path.clone());
                Ok(())
            }
            PinState::Changed { pinned, found } => Err(PluginErrorKind::Changed {
                path: file.path.clone(),
                pinned: pinned.sha256,
                found,
            }
            .of(&file.name)),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped_early(error: &tokio::task::JoinError) -> PinsError {
    PinsError::File(FileError::Io {
        action: "look at",
        path: PathBuf::from("the plugin"),
        source: io::Error::other(error.to_string()),
    })
}

const VERSION: &str = "1.0";

/// Others who run plugins of this directory read it; it holds no secret.
const MODE: u32 = 0o644;

/// Longest file of pins.
const MAX_FILE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Scene {
        root: tempfile::TempDir,
        name: PluginName,
    }

    impl Scene {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("notation-good"), "one").unwrap();
            Self {
                root,
                name: PluginName::new("good").unwrap(),
            }
        }

        fn executable(&self) -> PathBuf {
            self.root.path().join("notation-good")
        }

        fn file(&self) -> PathBuf {
            self.root.path().join("plugins.hardsign.json")
        }

        fn pin(&self) {
            let pin = Pin::take(&self.executable(), "1.0.0").unwrap();
            Pins::update(&self.file(), |pins| pins.set(&self.name, pin)).unwrap();
        }

        fn state(&self) -> PinState {
            let pins = Pins::load(&self.file()).unwrap();
            pins.state(&self.name, &self.executable()).unwrap()
        }

        /// Writes it anew, as a file of its own.
        fn replace(&self, content: &str) {
            fs::remove_file(self.executable()).unwrap();
            fs::write(self.executable(), content).unwrap();
        }
    }

    #[test]
    fn states() {
        let scene = Scene::new();
        assert_eq!(scene.state(), PinState::None);
        scene.pin();
        assert!(matches!(scene.state(), PinState::Same(_)));
        scene.replace("one");
        assert!(matches!(scene.state(), PinState::Same(_)));
        scene.replace("two");
        assert!(matches!(scene.state(), PinState::Changed { .. }));
        fs::remove_file(scene.executable()).unwrap();
        let pins = Pins::load(&scene.file()).unwrap();
        assert!(pins.state(&scene.name, &scene.executable()).is_err());
    }

    /// The contents are not read while the file is the one that was noted: here the note lies.
    #[cfg(unix)]
    #[test]
    fn an_unchanged_identity_is_believed() {
        let scene = Scene::new();
        let mut pin = Pin::take(&scene.executable(), "1.0.0").unwrap();
        pin.sha256 = "0".repeat(64);
        Pins::update(&scene.file(), |pins| pins.set(&scene.name, pin)).unwrap();
        assert!(matches!(scene.state(), PinState::Same(_)));
        scene.replace("one");
        assert!(matches!(scene.state(), PinState::Changed { .. }));
    }

    /// The form that is documented, and its mode.
    #[test]
    fn the_file() {
        let scene = Scene::new();
        let pin = Pin {
            sha256: "ab".repeat(32),
            version: "1.0.0".into(),
            file: None,
        };
        Pins::update(&scene.file(), |pins| pins.set(&scene.name, pin)).unwrap();
        let text = fs::read_to_string(scene.file()).unwrap();
        let compact: String = text.split_whitespace().collect();
        assert_eq!(
            compact,
            format!(
                r#"{{"version":"1.0","plugins":{{"good":{{"pinned":{{"sha256":"{}","version":"1.0.0"}}}}}}}}"#,
                "ab".repeat(32)
            )
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(scene.file()).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o644);
        }
    }

    /// While a plugin is being replaced, both files are accepted; afterwards the one in place is.
    #[test]
    fn settled_by_what_is_in_place() {
        for (in_place, expected) in [("one", "1.0.0"), ("two", "2.0.0")] {
            let scene = Scene::new();
            scene.pin();
            scene.replace("two");
            let new = Pin::take(&scene.executable(), "2.0.0").unwrap();
            Pins::update(&scene.file(), |pins| pins.set_installing(&scene.name, new)).unwrap();
            scene.replace(in_place);
            assert!(matches!(scene.state(), PinState::Same(pin) if pin.version == expected));
            let path = scene.executable();
            Pins::update(&scene.file(), |pins| pins.settle(|_| Some(path.clone()))).unwrap();
            let pins = Pins::load(&scene.file()).unwrap();
            assert_eq!(pins.get(&scene.name).unwrap().version, expected);
            assert!(
                !fs::read_to_string(scene.file())
                    .unwrap()
                    .contains("installing")
            );
            Pins::update(&scene.file(), |pins| pins.settle(|_| None)).unwrap();
            assert_eq!(scene.state(), PinState::None);
        }
    }

    /// One look a process: what happens afterwards is for the next one.
    #[tokio::test]
    async fn looked_at_once() {
        let scene = Scene::new();
        scene.pin();
        let file = PluginFile {
            name: scene.name.clone(),
            path: scene.executable(),
            origin: Origin::User,
        };
        let guard = Arc::new(Guard::new(scene.file()));
        guard.check(&file).await.unwrap();
        scene.replace("two");
        guard.check(&file).await.unwrap();
        let next = Arc::new(Guard::new(scene.file()));
        assert!(matches!(
            next.check(&file).await,
            Err(PluginError {
                kind: PluginErrorKind::Changed { .. },
                ..
            })
        ));
        fs::write(scene.file(), "{").unwrap();
        let next = Arc::new(Guard::new(scene.file()));
        for _ in 0..2 {
            assert!(matches!(
                next.check(&file).await,
                Err(PluginError {
                    kind: PluginErrorKind::Pins(_),
                    ..
                })
            ));
        }
        let of_the_box = PluginFile {
            origin: Origin::Box,
            ..file
        };
        next.check(&of_the_box).await.unwrap();
    }
}
