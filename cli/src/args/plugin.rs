//! `hardsign plugin`: flags and their rules (CLI-91, CLI-93).

use super::flags::{self, Reader};
use super::{ArgMatches, Command, Output, Usage, policy};

const EXAMPLES: &str = "\
Examples:
  List the plugins that you installed:
    hardsign plugin list

  List those that came with hardsign too:
    hardsign plugin list --all";

/// `hardsign plugin list`.
#[derive(Debug)]
pub(crate) struct ListArgs {
    /// Those in the box too.
    pub(crate) all: bool,
    pub(crate) output: Output,
}

pub(super) fn definition() -> Command {
    flags::verb("plugin", "Show signing and verification plugins", EXAMPLES).subcommand(
        flags::verb("list", "List plugins with what each one can do", EXAMPLES)
            .visible_alias("ls")
            .arg(flags::switch("all", "Those that came with hardsign too"))
            .arg(flags::output())
            .arg(flags::positional("none", "").hide(true)),
    )
}

impl ListArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        policy::no_arguments(matches)?;
        let reader = Reader(matches);
        Ok(Self {
            all: reader.switch("all")?,
            output: reader.output()?,
        })
    }
}
