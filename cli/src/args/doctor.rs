//! `hardsign doctor`.

use super::flags::{self, Reader};
use super::{ArgMatches, Command, Output, Usage};

const EXAMPLES: &str = "\
Examples:
  Check configuration, policies, trust stores, keys and plugins:
    hardsign doctor

  Also open each key, which may ask for PINs; nothing is signed:
    hardsign doctor --open-keys

  Check that containerd on this node refuses unsigned images:
    hardsign doctor node

  Fail a pipeline if something is wrong or soon will be:
    hardsign doctor --strict --output json";

/// `hardsign doctor`.
#[derive(Debug)]
pub(crate) struct DoctorArgs {
    /// Log in to the token of each key.
    pub(crate) open_keys: bool,
    /// Warnings fail, too.
    pub(crate) strict: bool,
    pub(crate) output: Output,
}

pub(super) fn definition() -> Command {
    flags::verb("doctor", "Check your setup and suggest fixes", EXAMPLES)
        .arg(flags::switch(
            "open-keys",
            "Also open each key; this may ask for PINs, and a wrong PIN counts",
        ))
        .arg(flags::switch("strict", "Fail on warnings as well"))
        .arg(flags::output())
        .arg(flags::positional("none", "").hide(true))
        .subcommand(super::node::doctor())
}

impl DoctorArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        super::policy::no_arguments(matches)?;
        let reader = Reader(matches);
        Ok(Self {
            open_keys: reader.switch("open-keys")?,
            strict: reader.switch("strict")?,
            output: reader.output()?,
        })
    }
}
