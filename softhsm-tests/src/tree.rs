//! What is on a disk, and what a program changed there.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Mode and content of each file, and the mode of each directory, below a directory.
pub type Tree = BTreeMap<PathBuf, Entry>;

/// A file or a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    pub mode: u32,
    /// `None` for a directory.
    pub content: Option<Vec<u8>>,
}

/// All that is below `directory`; nothing where it does not exist. Links are not followed.
pub fn walk(directory: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(next) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                open.push(path.clone());
            }
            found.push((path, metadata));
        }
    }
    found
}

/// Modes and contents of all that is below `directory`.
pub fn tree(directory: &Path) -> Tree {
    let found = walk(directory).into_iter();
    let entries = found.map(|(path, metadata)| {
        let entry = Entry {
            mode: metadata.permissions().mode() & 0o7777,
            content: metadata.is_file().then(|| fs::read(&path).unwrap()),
        };
        (path.strip_prefix(directory).unwrap().to_owned(), entry)
    });
    entries.collect()
}

/// What is new or different in `after`, and, as `None`, what is gone.
pub fn changes(before: &Tree, after: &Tree) -> BTreeMap<PathBuf, Option<Entry>> {
    let changed = after
        .iter()
        .filter(|(path, entry)| before.get(*path) != Some(*entry))
        .map(|(path, entry)| (path.clone(), Some(entry.clone())));
    let gone = before
        .keys()
        .filter(|path| !after.contains_key(*path))
        .map(|path| (path.clone(), None));
    changed.chain(gone).collect()
}
