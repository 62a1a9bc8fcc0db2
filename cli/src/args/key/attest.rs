//! `hardsign key attest`: flags and their rules.

use super::super::flags::{self, Reader};
use super::super::{ArgMatches, BTreeMap, Command, Output, Usage};

const EXAMPLES: &str = "\
Examples:
  Have a YubiKey prove that it made a key, and that the key can't leave it:
    hardsign key attest release

  The same, and that a certificate is of that key:
    hardsign key attest release --certificate release.crt

  For a device whose maker's root did not come with hardsign:
    hardsign key attest release --root maker.pem";

/// `hardsign key attest`.
#[derive(Debug)]
pub(crate) struct AttestArgs {
    /// Name in the key list; `None` for the default key.
    pub(crate) name: Option<String>,
    pub(crate) plugin_config: BTreeMap<String, String>,
    /// File with the maker's roots, instead of the built-in ones.
    pub(crate) root: Option<String>,
    /// File whose first certificate must be of the key.
    pub(crate) certificate: Option<String>,
    pub(crate) output: Output,
}

pub(super) fn definition() -> Command {
    flags::verb(
        "attest",
        "Show a device's evidence of where a key was made, and check it",
        EXAMPLES,
    )
    .arg(flags::plugin_config(
        "Setting to pass to the plugin (repeatable)",
    ))
    .arg(flags::value(
        "root",
        "FILE",
        "Roots of the device's maker, PEM or DER, instead of the built-in ones",
    ))
    .arg(flags::value(
        "certificate",
        "FILE",
        "Certificate that must be of this key, PEM or DER",
    ))
    .arg(flags::output())
    .arg(flags::positional("key_name", "Name of a key in the list"))
}

impl AttestArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut names = reader.all("positional");
        if names.len() > 1 {
            return Err(Usage::new(format!(
                "accepts 1 arg(s), received {}",
                names.len()
            )));
        }
        Ok(Self {
            output: reader.output()?,
            name: names.pop(),
            plugin_config: reader.pairs("plugin-config")?,
            root: reader.text("root"),
            certificate: reader.text("certificate"),
        })
    }
}
