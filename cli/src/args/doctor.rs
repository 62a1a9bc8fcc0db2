//! `hardsign doctor`.

use super::flags::{self, Reader};
use super::{ArgMatches, Command, Output, Usage};

const EXAMPLES: &str = "\
Examples:
  Look at configuration, policies, trust stores, keys and plugins:
    hardsign doctor

  Open each key too, which may ask for PINs; nothing is signed:
    hardsign doctor --open-keys

  Fail in a pipeline when something is wrong:
    hardsign doctor --output json";

/// `hardsign doctor`.
#[derive(Debug)]
pub(crate) struct DoctorArgs {
    /// Log in to the token of each key.
    pub(crate) open_keys: bool,
    pub(crate) output: Output,
}

pub(super) fn definition() -> Command {
    flags::verb("doctor", "Check your setup and suggest fixes", EXAMPLES)
        .arg(flags::switch(
            "open-keys",
            "Open each key too; this may ask for PINs, and a wrong one counts",
        ))
        .arg(flags::output())
        .arg(flags::positional("none", "").hide(true))
}

impl DoctorArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        super::policy::no_arguments(matches)?;
        let reader = Reader(matches);
        Ok(Self {
            open_keys: reader.switch("open-keys")?,
            output: reader.output()?,
        })
    }
}
