//! Which file of a package is the plugin: exactly one executable named `notation-<name>` (PLI-11,
//! PLI-12).

use super::archive::{USER_EXECUTABLE, Unpacked};
use super::error::InstallError;
use crate::plugin::PluginName;

/// The plugin in a package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Candidate {
    pub(super) name: PluginName,
    /// The executable bit was missing.
    pub(super) needs_bit: bool,
    pub(super) mode: u32,
}

/// The plugin among the files of an archive (PLI-11).
pub(super) fn of_archive(files: &[Unpacked]) -> Result<Candidate, InstallError> {
    let named: Vec<_> = files
        .iter()
        .filter_map(|file| Some((plugin_name(&file.name)?, file)))
        .collect();
    let executable = |file: &Unpacked| cfg!(windows) || file.mode & USER_EXECUTABLE != 0;
    let mut ready = named.iter().filter(|(_, file)| executable(file));
    match (ready.next(), ready.next(), named.as_slice()) {
        (Some((name, file)), None, _) => Ok(Candidate {
            name: name.clone(),
            needs_bit: false,
            mode: file.mode,
        }),
        (Some(_), Some(_), _) => Err(InstallError::SeveralExecutables),
        (None, _, [(name, file)]) => Ok(Candidate {
            name: name.clone(),
            needs_bit: true,
            mode: file.mode | USER_EXECUTABLE,
        }),
        (None, ..) => Err(InstallError::NoExecutable),
    }
}

/// The plugin that a single file is (PLI-12). One that was downloaded has no permissions yet.
pub(super) fn of_file(file: &str, mode: Option<u32>) -> Result<Candidate, InstallError> {
    let name = plugin_name(file).ok_or_else(|| InstallError::FileName { file: file.into() })?;
    match mode {
        Some(mode) if mode & USER_EXECUTABLE == 0 => {
            Err(InstallError::NotExecutable { file: file.into() })
        }
        Some(mode) => Ok(Candidate {
            name,
            needs_bit: false,
            mode,
        }),
        None => Ok(Candidate {
            name,
            needs_bit: true,
            mode: DOWNLOADED,
        }),
    }
}

/// The name in `notation-<name>`, with `.exe` on Windows.
fn plugin_name(file: &str) -> Option<PluginName> {
    let name = file
        .strip_prefix("notation-")?
        .strip_suffix(std::env::consts::EXE_SUFFIX)?;
    PluginName::new(name).ok()
}

/// The permissions of an executable that was downloaded as such.
const DOWNLOADED: u32 = 0o755;

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    fn files(files: &[(&str, u32)]) -> Vec<Unpacked> {
        let unpacked = |(name, mode): &(&str, u32)| Unpacked {
            name: (*name).to_owned(),
            mode: *mode,
        };
        files.iter().map(unpacked).collect()
    }

    /// PLI-11: exactly one; without any, the only one that fits by name gets the bit.
    #[cfg(unix)]
    #[test]
    fn pli_11_one_executable() {
        let found = |list: &[(&str, u32)]| match of_archive(&files(list)) {
            Ok(found) => format!("{} {:o} {}", found.name, found.mode, found.needs_bit),
            Err(error) => error.told(),
        };
        let several = "failed to read plugin from input directory: found more than one plugin executable files";
        let none =
            "failed to read plugin from input directory: no plugin executable file was found";
        for (list, expected) in [
            (
                &[("notation-a", 0o755), ("LICENSE", 0o644)][..],
                "a 755 false",
            ),
            (
                &[("notation-a", 0o700), ("notation-b", 0o644)],
                "a 700 false",
            ),
            (&[("notation-a", 0o755), ("notation-b", 0o755)], several),
            (&[("notation-a", 0o644), ("x", 0o755)], "a 744 true"),
            (&[("notation-a", 0o644), ("notation-b", 0o644)], none),
            (&[("notation-a", 0o011)], "a 111 true"),
            (&[("notation-", 0o755), ("plugin", 0o755)], none),
            (&[("notation-a b", 0o755)], none),
            (&[], none),
        ] {
            assert_eq!(found(list), expected, "{list:?}");
        }
    }

    /// PLI-12: the name and the bit of a single file.
    #[cfg(unix)]
    #[test]
    fn pli_12_single_file() {
        let text = |file: &str, mode| of_file(file, mode).map_err(|e| e.told());
        assert_eq!(text("notation-a", Some(0o755)).unwrap().name.as_str(), "a");
        assert_eq!(
            text("plugin", Some(0o755)).unwrap_err(),
            "failed to read plugin name from input file plugin: invalid plugin executable file name. Plugin file name requires format notation-{plugin-name}, but got plugin"
        );
        assert_eq!(
            text("notation-a", Some(0o655)).unwrap_err(),
            "input file notation-a is not executable"
        );
        assert!(text("notation-a", None).unwrap().needs_bit);
    }
}
