//! `hardsign completion` and the hidden commands that completions and packagers use.

use super::flags::{self, Reader};
use super::{Arg, ArgMatches, Command, Usage};

const EXAMPLES: &str = "\
Examples:
  Load completion in this bash, and in later ones:
    source <(hardsign completion bash)
    hardsign completion bash > \\
      ~/.local/share/bash-completion/completions/hardsign

  zsh, in a directory of $fpath:
    hardsign completion zsh > \"${fpath[1]}/_hardsign\"

  fish:
    hardsign completion fish > ~/.config/fish/completions/hardsign.fish

  PowerShell, in the profile:
    hardsign completion powershell | Out-String | Invoke-Expression";

/// A shell that completions can be made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Power,
}

/// The names of the shells.
pub(crate) const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "powershell"];

/// `hardsign completion <shell>` (CLI-19).
pub(super) fn definition() -> Command {
    flags::verb(
        "completion",
        "Print the completion script for a shell",
        EXAMPLES,
    )
    .arg(flags::positional("shell", "bash, zsh, fish or powershell"))
}

/// What the scripts ask: the words typed so far, the one under the cursor last; for bash the line
/// and the part of the last word that bash replaces.
pub(super) fn candidates(name: &'static str) -> Command {
    Command::new(name).hide(true).arg(words())
}

/// Writes the man pages into a directory.
pub(super) fn man() -> Command {
    Command::new("man")
        .hide(true)
        .about("Write the man pages into a directory")
        .arg(flags::positional("directory", "The directory"))
}

fn words() -> Arg {
    flags::positional("words", "")
}

/// # Errors
/// No shell, or one that is not known.
pub(crate) fn shell(matches: &ArgMatches) -> Result<Shell, Usage> {
    let mut shells = Reader(matches).all("positional");
    match (shells.pop().as_deref(), shells.len()) {
        (Some("bash"), 0) => Ok(Shell::Bash),
        (Some("zsh"), 0) => Ok(Shell::Zsh),
        (Some("fish"), 0) => Ok(Shell::Fish),
        (Some("powershell"), 0) => Ok(Shell::Power),
        (Some(other), 0) => {
            let fault = Usage::new(format!(
                "unknown shell {other:?}: the shells are bash, zsh, fish and powershell"
            ));
            Err(fault.meant(other, ["bash", "zsh", "fish", "powershell"]))
        }
        (None, _) => Err(Usage::new(
            "missing shell: give bash, zsh, fish or powershell".to_owned(),
        )),
        (Some(_), more) => Err(Usage::new(format!(
            "accepts 1 arg(s), received {}",
            more + 1
        ))),
    }
}

/// The words of [`candidates`] and the directory of [`man`].
pub(crate) fn all(matches: &ArgMatches) -> Vec<String> {
    Reader(matches).all("positional")
}
