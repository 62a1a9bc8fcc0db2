//! Installing, removing and trusting plugins of the user's (PLI-04 to PLI-21, SEC-21).
//!
//! A package is copied, checked and unpacked in a directory of its own; the new plugin is asked
//! who it is there; only then does it take its place, by a rename, with a pin of its executable
//! (`pins`). Until then, and whatever fails, what was installed before is untouched. Memory does
//! not grow with the size of a package.
//!
//! It asks nobody and prints nothing. Plugins are programs that the user chooses to run: nothing
//! here judges what they do.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hardsign_plugin::proto::{Metadata, PluginConfig};
use semver::Version;

use super::pins::{Pin, PinState, Pins, look};
use super::{Host, Origin, PluginError, PluginErrorKind, PluginFile, PluginName};
use crate::config::FileLock;
use crate::event::{Event, Observer as _};
use crate::net::Client;
use archive::Kind;
use candidate::Candidate;
use staging::{Place, Staging};

mod archive;
mod candidate;
mod error;
mod source;
mod staging;

pub use error::InstallError;
pub use source::download_limits;

/// Where a package is.
#[derive(Clone, Copy, Debug)]
pub enum PackageSource<'a> {
    /// A file: an executable, a zip or a gzipped tar.
    File(&'a Path),
    /// An `https` URL of one.
    Url {
        /// The URL.
        url: &'a str,
        /// Fetches it, within [`download_limits`].
        client: &'a Client,
    },
}

/// What is to be installed.
#[derive(Clone, Copy, Debug)]
pub struct InstallOrder<'a> {
    /// Where the package is.
    pub source: PackageSource<'a>,
    /// Its SHA-256 in hexadecimal; a URL needs one.
    pub sha256: Option<&'a str>,
    /// Whatever version is in place, and even if that is broken.
    pub force: bool,
}

/// A plugin that was installed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Installed {
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: String,
    /// The version that it replaced, where there was a working plugin.
    pub replaced: Option<String>,
    /// Its executable.
    pub path: PathBuf,
    /// The executable's SHA-256, which is pinned.
    pub sha256: String,
}

/// A plugin whose executable is to be trusted as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Candidacy {
    /// The plugin.
    pub file: PluginFile,
    /// How it stands to its pin.
    pub state: PinState,
    /// The executable's SHA-256 now.
    pub sha256: String,
}

/// Changes which plugins the user has.
#[derive(Clone, Debug)]
pub struct Installer {
    host: Host,
    place: Place,
}

impl Installer {
    /// For the plugin directory of `host`.
    pub fn new(host: Host) -> Self {
        let place = Place {
            plugins: host.finder().user_directory().to_owned(),
            pins: host.finder().pins_file().to_owned(),
        };
        Self { host, place }
    }

    /// Installs a plugin, or replaces it by a newer version.
    ///
    /// # Errors
    /// [`InstallError`]; what was there before is untouched.
    pub async fn install(&self, order: InstallOrder<'_>) -> Result<Installed, InstallError> {
        let checksum = order.sha256.filter(|text| !text.is_empty());
        if let PackageSource::Url { url, .. } = order.source {
            // In this order (PLI-05).
            checksum.ok_or(InstallError::ChecksumMissing)?;
            source::parse(url)?;
        }
        let staging = self.stage().await?;
        let interrupt = &self.host.interrupt;
        let package = staging.download();
        let brought = source::bring(
            order.source,
            checksum,
            &package,
            interrupt,
            &self.host.listener,
        )
        .await?;
        let candidate = self.unpack(&staging, &brought).await?;
        let directory = staging.name(&candidate.name)?;
        let new = directory.join(candidate.name.file_name());
        let metadata = self.new_metadata(&candidate, &new, order.source).await?;
        let pin = Pin::take(&new, &metadata.version)?;

        let _held = self.place.lock(interrupt).await?;
        // Gone before the lock is: nobody takes what is being removed for a leftover.
        let staging = staging;
        let replaced = self
            .version_rule(&candidate.name, &metadata, order.force)
            .await?;
        if interrupt.is_raised() {
            return Err(InstallError::Interrupted);
        }
        self.commit(&staging, &candidate.name, &pin)?;
        Ok(Installed {
            path: self.executable(&candidate.name),
            name: candidate.name,
            version: metadata.version,
            replaced,
            sha256: pin.sha256,
        })
    }

    /// Takes the lock, clears what others left, and makes a directory to work in.
    async fn stage(&self) -> Result<Staging, InstallError> {
        let held = self.place.lock(&self.host.interrupt).await?;
        self.recover_holding(&held)?;
        self.place.stage(&held)
    }

    async fn unpack(
        &self,
        staging: &Staging,
        brought: &source::Brought,
    ) -> Result<Candidate, InstallError> {
        let package = staging.download();
        let into = staging.unpacked()?;
        let open = || InstallError::io("open", package.as_path());
        let mut file = File::open(&package).map_err(open())?;
        let candidate = match Kind::of(&mut file).map_err(open())? {
            Some(kind) => {
                let (into, interrupt) = (into.clone(), self.host.interrupt.clone());
                let files =
                    blocking(move || archive::unpack(kind, file, &into, &interrupt)).await?;
                fs::remove_file(&package).map_err(InstallError::io("remove", &*package))?;
                candidate::of_archive(&files)?
            }
            None => {
                let candidate = candidate::of_file(&brought.name, brought.mode)?;
                fs::rename(&package, into.join(candidate.name.file_name()))
                    .map_err(InstallError::io("rename", &*package))?;
                candidate
            }
        };
        let file = candidate.name.file_name();
        archive::set_permissions(&into.join(&file), candidate.mode)?;
        if candidate.needs_bit {
            self.host
                .listener
                .observe(&Event::MadeExecutable { file: &file });
        }
        Ok(candidate)
    }

    /// Asks the new plugin who it is, where it was unpacked (PLI-13).
    async fn new_metadata(
        &self,
        candidate: &Candidate,
        path: &Path,
        source: PackageSource<'_>,
    ) -> Result<Metadata, InstallError> {
        let plugin = self.host.run_unpinned(PluginFile {
            name: candidate.name.clone(),
            path: path.to_owned(),
            origin: Origin::User,
        });
        let metadata = plugin.metadata(&PluginConfig::new()).await;
        metadata.map_err(|error| match (error.is_interrupted(), source) {
            (true, _) => InstallError::Interrupted,
            (false, PackageSource::File(path))
                if path.file_name() == Some(candidate.name.file_name().as_ref()) =>
            {
                InstallError::NewMetadata {
                    error: Box::new(error),
                    shown: path.to_owned(),
                }
            }
            (false, _) => InstallError::NewMetadata {
                error: Box::new(error),
                shown: candidate.name.file_name().into(),
            },
        })
    }

    /// Whether the new version may replace what is in place, and which version that is (PLI-14,
    /// PLI-15).
    async fn version_rule(
        &self,
        name: &PluginName,
        new: &Metadata,
        force: bool,
    ) -> Result<Option<String>, InstallError> {
        let existing = match self.host.finder().find_installed(name) {
            Ok(existing) => existing,
            Err(PluginError {
                kind: PluginErrorKind::NotFound { source, .. },
                ..
            }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(_) if force => return Ok(None),
            Err(error) => return Err(InstallError::Existing(error)),
        };
        let old = match self.host.run(existing).metadata(&PluginConfig::new()).await {
            Ok(metadata) => metadata.version,
            Err(error) if error.is_interrupted() => return Err(InstallError::Interrupted),
            Err(_) if force => return Ok(None),
            Err(error) => return Err(InstallError::ExistingMetadata(error)),
        };
        if force {
            return Ok(Some(old));
        }
        let parse = |text: &str| {
            Version::parse(text).map_err(|_| InstallError::Version {
                version: text.to_owned(),
            })
        };
        match parse(&new.version)?.cmp_precedence(&parse(&old)?) {
            Ordering::Greater => Ok(Some(old)),
            Ordering::Equal => Err(InstallError::Same {
                plugin: name.clone(),
                version: old,
            }),
            Ordering::Less => Err(InstallError::Older {
                plugin: name.clone(),
                new: new.version.clone(),
                old,
            }),
        }
    }

    /// Puts the staged plugin in place, with its pin. Either file is accepted while the two are
    /// exchanged.
    fn commit(&self, staging: &Staging, name: &PluginName, pin: &Pin) -> Result<(), InstallError> {
        let pins = &self.place.pins;
        Pins::update(pins, |pins| pins.set_installing(name, pin.clone()))?;
        self.place.put(staging, name).inspect_err(|_| {
            // As before; where that fails too, the next one settles it.
            let _left = Pins::update(pins, |pins| pins.settle(|name| self.in_place(name)));
        })?;
        // Taken anew: the rename changed the change time. What was staged is what is trusted: if it
        // is another file by now, the next look hashes it, and refuses it.
        let found = Pin::take(&self.executable(name), &pin.version)?;
        let settled = Pin {
            file: found.file.filter(|_| found.sha256 == pin.sha256),
            ..pin.clone()
        };
        Ok(Pins::update(pins, |pins| pins.set(name, settled))?)
    }

    /// Removes a plugin that the user installed, and its pin. The caller has asked.
    ///
    /// # Errors
    /// [`InstallError::NotInstalled`], or what the operating system says; the plugin is then still
    /// there as a whole, unless it can't be moved back either.
    // PLI-20, PLI-21
    pub async fn uninstall(&self, name: &str) -> Result<(), InstallError> {
        let name = PluginName::new(name)?;
        let held = self.place.lock(&self.host.interrupt).await?;
        self.recover_holding(&held)?;
        self.check_installed(&name)?;
        self.remove(&held, &name)
    }

    fn remove(&self, held: &FileLock, name: &PluginName) -> Result<(), InstallError> {
        let staging = self.place.stage(held)?;
        let removed = self
            .place
            .take(&staging, name)
            .and_then(|()| Ok(Pins::update(&self.place.pins, |pins| pins.remove(name))?));
        removed.inspect_err(|_| {
            let _told_already = self.place.put_back(&staging, name);
        })
    }

    /// The name of a plugin that is installed. Where it seems not to be, what an
    /// interrupted installation left is cleared first, and the pin of a plugin that is gone.
    ///
    /// # Errors
    /// [`InstallError::NotInstalled`], or what is wrong with the name or the file.
    // PLI-20
    pub async fn installed(&self, name: &str) -> Result<PluginName, InstallError> {
        let name = PluginName::new(name)?;
        let mut checked = self.check_installed(&name);
        let is_pinned = || Pins::load(&self.place.pins).is_ok_and(|pins| pins.get(&name).is_some());
        if matches!(checked, Err(InstallError::NotInstalled { .. }))
            && (self.is_unsettled() || is_pinned())
        {
            // Who may not write here is told what there is.
            let _recovered = self.recover_all().await;
            checked = self.check_installed(&name);
        }
        checked.map(|()| name)
    }

    /// A link to an executable is none that runs (PLG-03), but one that may be removed, as under
    /// the reference.
    fn check_installed(&self, name: &PluginName) -> Result<(), InstallError> {
        match self.host.finder().find_installed(name) {
            Ok(_) => Ok(()),
            Err(PluginError {
                kind: PluginErrorKind::NotRegular(path),
                ..
            }) if fs::metadata(&path).is_ok_and(|found| found.is_file()) => Ok(()),
            Err(PluginError {
                kind: PluginErrorKind::NotFound { source, .. },
                ..
            }) if source.kind() == std::io::ErrorKind::NotFound => {
                Err(InstallError::NotInstalled {
                    plugin: name.clone(),
                })
            }
            Err(error) => Err(InstallError::Existing(error)),
        }
    }

    /// What there is to trust about a plugin of the user's. Nothing is started: it may have been
    /// changed by somebody else.
    ///
    /// # Errors
    /// If there is none, it can't be read, or the pins can't.
    pub fn look(&self, name: &str) -> Result<Candidacy, InstallError> {
        let name = PluginName::new(name)?;
        let file = match self.host.finder().find_installed(&name) {
            Ok(file) => file,
            Err(error)
                if error.is_not_found() && self.host.finder().find(name.as_str()).is_ok() =>
            {
                return Err(InstallError::InTheBox { plugin: name });
            }
            Err(error) => return Err(error.into()),
        };
        let state = Pins::load(&self.place.pins)?.state(&name, &file.path)?;
        let sha256 = look(&file.path)?;
        Ok(Candidacy {
            file,
            state,
            sha256,
        })
    }

    /// Pins a plugin as [`Self::look`] found it, and as the user agreed to; it is asked for its
    /// version.
    ///
    /// # Errors
    /// If it changed since, or doesn't say who it is; nothing is then pinned.
    pub async fn trust(&self, candidacy: &Candidacy) -> Result<Pin, InstallError> {
        let held = self.place.lock(&self.host.interrupt).await?;
        self.recover_holding(&held)?;
        let file = &candidacy.file;
        let unchanged = |found: &str| {
            if found == candidacy.sha256 {
                Ok(())
            } else {
                Err(InstallError::ChangedAgain {
                    plugin: file.name.clone(),
                })
            }
        };
        unchanged(&look(&file.path)?)?;
        let plugin = self.host.run_unpinned(file.clone());
        let metadata = plugin.metadata(&PluginConfig::new()).await?;
        let pin = Pin::take(&file.path, &metadata.version)?;
        unchanged(&pin.sha256)?;
        Pins::update(&self.place.pins, |pins| pins.set(&file.name, pin.clone()))?;
        Ok(pin)
    }

    /// Clears what interrupted installations left, if there is something and nobody else is at it.
    ///
    /// # Errors
    /// If that can't be done.
    pub async fn recover(&self) -> Result<(), InstallError> {
        if !self.is_unsettled() {
            return Ok(());
        }
        self.recover_all().await
    }

    /// Whether an installation left something: its directory, or a pin that was not made final.
    fn is_unsettled(&self) -> bool {
        !self.leftovers().is_empty()
            || Pins::load(&self.place.pins).is_ok_and(|pins| pins.is_installing())
    }

    async fn recover_all(&self) -> Result<(), InstallError> {
        let held = self.place.lock(&self.host.interrupt).await?;
        self.recover_holding(&held)
    }

    fn recover_holding(&self, held: &FileLock) -> Result<(), InstallError> {
        self.place.clear(held)?;
        let settle = |pins: &mut Pins| pins.settle(|name| self.in_place(name));
        Ok(Pins::update(&self.place.pins, settle)?)
    }

    /// Directories that interrupted installations left in the plugin directory.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        self.place.leftovers()
    }

    fn executable(&self, name: &PluginName) -> PathBuf {
        self.place.directory_of(name).join(name.file_name())
    }

    /// The executable of a plugin whose directory is there.
    fn in_place(&self, name: &PluginName) -> Option<PathBuf> {
        let directory = self.place.directory_of(name);
        let missing = fs::symlink_metadata(directory)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        (!missing).then(|| self.executable(name))
    }
}

/// Whether a version can be compared with another one.
// PLI-14
pub fn is_semantic(version: &str) -> bool {
    Version::parse(version).is_ok()
}

/// Work that reads and writes much, off the threads that wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InstallError> + Send + 'static,
) -> Result<T, InstallError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(InstallError::Interrupted))
}

#[cfg(test)]
mod tests;
