//! `hardsign token`: flags and their rules.

use super::flags::{self, Reader};
use super::key::life;
use super::{ArgMatches, Command, Usage};

const SETUP: &str = "\
Examples:
  Give a new YubiKey its own PIN, PUK and management key:
    hardsign token setup

  Set up one of several, with the secrets in files:
    hardsign token setup --plugin yubikey --id yubikey:serial=12345678 \\
      --plugin-config pin-source=file:/run/pin \\
      --plugin-config puk-source=file:/run/puk";

/// The plugin that sets up tokens and comes with hardsign.
const YUBIKEY: &str = "yubikey";

/// `hardsign token setup`.
#[derive(Debug)]
pub(crate) struct SetupArgs {
    pub(crate) device: life::Device,
    pub(crate) yes: bool,
}

pub(super) fn definition() -> Command {
    flags::verb("token", "Set up tokens", SETUP).subcommand(
        flags::verb(
            "setup",
            "Replace a new token's default PIN and other default secrets",
            SETUP,
        )
        .args(life::device(
            "Plugin of the token [default: yubikey]",
            "Token id, as the plugin writes it; required if there are several",
        ))
        .arg(flags::yes())
        .arg(flags::output()),
    )
}

impl SetupArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        reader.output()?;
        let mut device = life::Device::read(&reader)?;
        if device.plugin.is_empty() {
            YUBIKEY.clone_into(&mut device.plugin);
        }
        Ok(Self {
            device,
            yes: reader.switch("yes")?,
        })
    }
}
