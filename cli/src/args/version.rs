//! `hardsign version`.

use super::flags::{self, Reader};
use super::{ArgMatches, Command, Usage};

const EXAMPLES: &str = "\
Examples:
  Show the version:
    hardsign version

  Print it as JSON, for a script:
    hardsign version --output json";

pub(super) fn definition() -> Command {
    flags::verb("version", "Show the version", EXAMPLES)
        .arg(flags::output())
        .arg(flags::positional("none", "").hide(true))
}

/// # Errors
/// A format that there is not.
pub(crate) fn check(matches: &ArgMatches) -> Result<(), Usage> {
    super::policy::no_arguments(matches)?;
    Reader(matches).output().map(drop)
}
