//! Gzipped tar: read once from front to back; members are written under their base names, as the
//! reference does, so two of one base name are refused (PLI-10).

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::{InstallError, MAX_BYTES, MAX_HEADERS, Target};

pub(super) fn unpack(file: File, target: &mut Target<'_>) -> Result<(), InstallError> {
    let left = Rc::new(Cell::new(MAX_HEADERS));
    let mut archive = Archive::new(Metered {
        stream: MultiGzDecoder::new(BufReader::new(file)),
        left: Rc::clone(&left),
    });
    let mut entries = archive.entries().map_err(InstallError::Tar)?;
    loop {
        // Long names and extended headers are held in memory.
        left.set(MAX_HEADERS);
        let Some(entry) = entries.next() else { break };
        let entry = entry.map_err(InstallError::Tar)?;
        target.count()?;
        let raw = entry.path_bytes().into_owned();
        let Ok(name) = String::from_utf8(raw) else {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(target.refused(&name, "its name is not a valid file name"));
        };
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory => {
                target.check_name(&name)?;
                continue;
            }
            EntryType::XGlobalHeader => continue,
            _ => {
                target.check_name(&name)?;
                return Err(target.refused(&name, "it is not a regular file"));
            }
        }
        target.check_name(&name)?;
        let size = entry.size();
        target.check_size(size)?;
        let mode = entry.header().mode().map_err(InstallError::Tar)?;
        let base = name.rsplit('/').next().unwrap_or_default();
        left.set(MAX_BYTES);
        let before = target.total;
        target.write(base, mode, entry, InstallError::Tar)?;
        if target.total.saturating_sub(before) != size {
            return Err(InstallError::Tar(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    // To the end, where the checksum stands; what is there is padding.
    left.set(MAX_HEADERS);
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(InstallError::Tar)?;
    Ok(())
}

/// A decompressed stream of which a bounded number of bytes is read, until the bound is set anew.
struct Metered<R> {
    stream: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let left = self
            .left
            .get()
            .checked_sub(u64::try_from(count).unwrap_or(u64::MAX))
            .ok_or_else(|| io::Error::other("there is too much between its members"))?;
        self.left.set(left);
        Ok(count)
    }
}
