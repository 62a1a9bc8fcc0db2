//! What is in a plugin's package, put into a directory: a single executable, a zip or a gzipped tar,
//! told apart by content (PLI-04).
//!
//! Everything about an archive is hostile: names, kinds, sizes in headers, how much comes out of
//! it (PLI-08 to PLI-10, SEC-21). Only regular files are written, each under its own name into one
//! flat directory, as they come and counted as they come. What is refused is told by the names that
//! the archive gives. Nothing is executed here.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::Path;

use super::error::InstallError;
use crate::plugin::Interrupt;

mod tarball;
mod zipped;

/// What kind of archive a package is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Zip,
    TarGz,
}

impl Kind {
    /// By the first bytes; `None` for what is no archive.
    pub(super) fn of(file: &mut File) -> io::Result<Option<Self>> {
        let mut magic = Vec::new();
        Read::take(&mut *file, 4).read_to_end(&mut magic)?;
        file.rewind()?;
        Ok(match magic.as_slice() {
            b"PK\x03\x04" => Some(Self::Zip),
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            _ => None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::TarGz => "tar.gz",
        }
    }
}

/// A file that was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unpacked {
    pub(super) name: String,
    /// Unix permissions, already on the file.
    pub(super) mode: u32,
}

/// Unpacks an archive into the empty directory `into`.
pub(super) fn unpack(
    kind: Kind,
    file: File,
    into: &Path,
    interrupt: &Interrupt,
) -> Result<Vec<Unpacked>, InstallError> {
    let mut target = Target::new(kind, into, interrupt);
    match kind {
        Kind::Zip => zipped::unpack(file, &mut target)?,
        Kind::TarGz => tarball::unpack(file, &mut target)?,
    }
    Ok(target.files)
}

/// The directory that members are written to, with all that is counted.
struct Target<'a> {
    kind: Kind,
    directory: &'a Path,
    interrupt: &'a Interrupt,
    files: Vec<Unpacked>,
    /// Names in one case.
    names: BTreeSet<String>,
    members: usize,
    /// Bytes written.
    total: u64,
}

impl<'a> Target<'a> {
    fn new(kind: Kind, directory: &'a Path, interrupt: &'a Interrupt) -> Self {
        Self {
            kind,
            directory,
            interrupt,
            files: Vec::new(),
            names: BTreeSet::new(),
            members: 0,
            total: 0,
        }
    }

    /// Counts a member of whatever kind.
    fn count(&mut self) -> Result<(), InstallError> {
        self.members = self.members.saturating_add(1);
        if self.members > MAX_MEMBERS {
            return Err(InstallError::TooManyMembers {
                kind: self.kind.name(),
                limit: MAX_MEMBERS,
            });
        }
        Ok(())
    }

    fn refused(&self, name: &str, reason: &'static str) -> InstallError {
        InstallError::Member {
            kind: self.kind.name(),
            name: name.to_owned(),
            reason,
        }
    }

    /// Whether a name may stand in an archive at all (PLI-09, PLI-10).
    fn check_name(&self, name: &str) -> Result<(), InstallError> {
        if name.contains("..") {
            return Err(InstallError::Traversal {
                kind: self.kind.name(),
                name: name.to_owned(),
            });
        }
        let bytes = name.as_bytes();
        if name.starts_with('/') || matches!(bytes, [_, b':', ..]) {
            return Err(self.refused(name, "its name is absolute"));
        }
        if name.is_empty() || name.contains(|c: char| c == '\\' || c.is_control()) {
            return Err(self.refused(name, "its name is not a valid file name"));
        }
        Ok(())
    }

    /// Whether the sizes that headers claim fit; what comes out is counted all the same.
    fn check_size(&self, claimed: u64) -> Result<(), InstallError> {
        match self.total.checked_add(claimed) {
            Some(total) if total < MAX_BYTES => Ok(()),
            _ => Err(InstallError::TotalTooLarge),
        }
    }

    /// Writes one regular file (PLI-18: its mode is kept as far as 0755 goes).
    fn write(
        &mut self,
        name: &str,
        mode: u32,
        mut reader: impl Read,
        failed: impl Fn(io::Error) -> InstallError,
    ) -> Result<(), InstallError> {
        if name.is_empty() || name.len() > MAX_NAME || name.contains('/') || name == "." {
            return Err(self.refused(name, "its name is not a valid file name"));
        }
        if !self.names.insert(name.to_lowercase()) {
            return Err(self.refused(name, "another one has the same name"));
        }
        let path = self.directory.join(name);
        let written = || InstallError::io("write", &path);
        let mut file = File::create_new(&path).map_err(written())?;
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.interrupt.is_raised() {
                return Err(InstallError::Interrupted);
            }
            let count = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            let piece = chunk.get(..count).unwrap_or_default();
            self.total = self
                .total
                .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            if self.total >= MAX_BYTES {
                return Err(InstallError::TotalTooLarge);
            }
            file.write_all(piece).map_err(written())?;
        }
        set_mode(&file, mode & MODE).map_err(written())?;
        file.sync_all().map_err(written())?;
        self.files.push(Unpacked {
            name: name.to_owned(),
            mode: mode & MODE,
        });
        Ok(())
    }
}

/// Gives a file that was unpacked its permissions, as far as 0755 goes (PLI-18), and flushes it.
pub(super) fn set_permissions(path: &Path, mode: u32) -> Result<(), InstallError> {
    let failed = || InstallError::io("set the mode of", path);
    let file = File::open(path).map_err(failed())?;
    set_mode(&file, mode & MODE).map_err(failed())?;
    file.sync_all().map_err(failed())
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

/// What a package must be smaller than, before and after unpacking (PLI-08).
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// Members of an archive, directories included.
pub(super) const MAX_MEMBERS: usize = 4096;

/// Bytes read of what surrounds the members: a zip's directory, the headers of one tar member.
const MAX_HEADERS: u64 = 4 << 20;

/// The permissions that files keep (PLI-18).
const MODE: u32 = 0o755;

/// The bit that makes a file a candidate.
pub(super) const USER_EXECUTABLE: u32 = 0o100;

/// Longest file name on the usual file systems.
const MAX_NAME: usize = 255;

/// Bytes moved at once.
const CHUNK: usize = 64 << 10;
