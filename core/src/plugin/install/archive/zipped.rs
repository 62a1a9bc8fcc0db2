//! Zip: its directory at the end is what counts, as for the reference; an archive whose local
//! headers say something else, or whose members share bytes, is refused.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{InstallError, MAX_HEADERS, Target};

pub(super) fn unpack(file: File, target: &mut Target<'_>) -> Result<(), InstallError> {
    // The directory is held in memory, so its size is bounded while it is read.
    let mut reader = Bounded {
        file,
        left: MAX_HEADERS,
    };
    let listed = ZipArchive::new(&mut reader).map_err(InstallError::Zip)?;
    let members = listed.metadata();
    if listed.has_duplicate_names() {
        // Only one of them is in the list.
        let repeated = ZipError::InvalidArchive("two members have the same name".into());
        return Err(InstallError::Zip(repeated));
    }
    drop(listed);
    for index in 0..members.len() {
        target.count()?;
        let member = members.entry(index).map_err(InstallError::Zip)?;
        target.check_name(&name_of(&member)?)?;
    }
    let mut claimed: u64 = 0;
    for index in 0..members.len() {
        let member = members.entry(index).map_err(InstallError::Zip)?;
        let name = name_of(&member)?;
        if !member.is_dir() && is_special(member.unix_mode()) {
            return Err(target.refused(&name, "it is not a regular file"));
        }
        if is_wanted(&name) {
            claimed = claimed.saturating_add(member.size());
            target.check_size(claimed)?;
        }
    }
    let mut archive = ZipArchive::new(reader.unbounded()).map_err(InstallError::Zip)?;
    archive
        .validate_header_consistency()
        .map_err(InstallError::Zip)?;
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(InstallError::Zip)?;
        let name = member.name().map_err(InstallError::Zip)?.into_owned();
        if !is_wanted(&name) {
            continue;
        }
        let mode = member.unix_mode().unwrap_or(WITHOUT_MODE);
        target.write(&name, mode, member, |error| {
            InstallError::Zip(ZipError::Io(error))
        })?;
    }
    Ok(())
}

/// Names that are not in UTF-8 are refused: two readers would see two names.
fn name_of(member: &zip::read::ZipFileEntry<'_>) -> Result<String, InstallError> {
    let raw = member.name_raw();
    String::from_utf8(raw.to_vec()).map_err(|_| InstallError::Member {
        kind: "zip",
        name: String::from_utf8_lossy(raw).into_owned(),
        reason: "its name is not a valid file name",
    })
}

/// Regular files at the top level alone (PLI-09).
fn is_wanted(name: &str) -> bool {
    !name.contains('/')
}

/// Whether a mode says that this is a link, a device or the like.
fn is_special(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| !matches!(mode & KIND, 0 | REGULAR))
}

/// A reader of which a bounded number of bytes is read.
struct Bounded {
    file: File,
    left: u64,
}

impl Bounded {
    fn unbounded(self) -> File {
        self.file
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.left = self
            .left
            .checked_sub(u64::try_from(count).unwrap_or(u64::MAX))
            .ok_or_else(|| io::Error::other("its directory is too large"))?;
        Ok(count)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// The bits of a Unix mode that say what a file is, and their value for a regular one.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// The mode of a member that has none.
const WITHOUT_MODE: u32 = 0o644;
