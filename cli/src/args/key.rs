//! `hardsign key`: flags and their rules (CLI-64 to CLI-68).

use super::flags::{self, Reader};
use super::{ArgMatches, BTreeMap, Command, Output, Usage};

pub(crate) mod attest;
pub(crate) mod life;

const EXAMPLES: &str = "\
Examples:
  Create a key on a device, certify it, and trust it:
    hardsign key create release --plugin pkcs11 --type EC-384 --default \\
      --id 'pkcs11:token=release;object=signing' \\
      --plugin-config module-path=/usr/lib/softhsm/libsofthsm2.so
    hardsign key certify release --subject 'C=US,ST=WA,O=Example,CN=release' \\
      --days 365 --trust example

  List the keys that hardsign knows:
    hardsign key list";

const ADD: &str = "\
Examples:
  Add a key of a token, and make it the default:
    hardsign key add release --plugin pkcs11 \\
      --id 'pkcs11:token=release;object=signing' --default

  Add a key of a cloud KMS:
    hardsign key add release --plugin awskms --id alias/release";

const UPDATE: &str = "\
Examples:
  Make another key the default:
    hardsign key update staging --default";

const LIST: &str = "\
Examples:
  List the keys that hardsign knows:
    hardsign key list

  List the keys on a device, whether hardsign knows them or not:
    hardsign key list --plugin pkcs11 \\
      --id 'pkcs11:token=release?module-path=/usr/lib/softhsm/libsofthsm2.so'";

const DELETE: &str = "\
Examples:
  Remove keys from the list; the keys themselves are not deleted:
    hardsign key delete staging old";

/// `hardsign key add`.
#[derive(Debug)]
pub(crate) struct AddArgs {
    pub(crate) name: String,
    pub(crate) plugin: String,
    pub(crate) id: String,
    pub(crate) plugin_config: BTreeMap<String, String>,
    pub(crate) default: bool,
}

/// `hardsign key update`.
#[derive(Debug)]
pub(crate) struct UpdateArgs {
    pub(crate) name: String,
    pub(crate) default: bool,
}

/// `hardsign key list`.
#[derive(Debug)]
pub(crate) struct ListArgs {
    pub(crate) output: Output,
    /// The keys of a device in place of those of the list.
    pub(crate) device: Option<life::Device>,
}

/// `hardsign key delete`.
#[derive(Debug)]
pub(crate) struct DeleteArgs {
    pub(crate) names: Vec<String>,
}

pub(super) fn definition() -> Command {
    let default = || flags::switch("default", "Make it the default signing key");
    flags::verb("key", "Manage the list of signing keys", EXAMPLES)
        .subcommand(
            flags::verb("add", "Add a key to the list", ADD)
                .arg(flags::value("plugin", "NAME", "Signing plugin (required)"))
                .arg(flags::value(
                    "id",
                    "KEY-ID",
                    "Key id, as the plugin writes it (required)",
                ))
                .arg(flags::plugin_config(
                    "Setting to pass to the plugin (repeatable)",
                ))
                .arg(default())
                .arg(flags::output())
                .arg(flags::positional("key_name", "Name of the key in the list")),
        )
        .subcommand(
            flags::verb("update", "Choose the default key", UPDATE)
                .visible_alias("set")
                .arg(default())
                .arg(flags::output())
                .arg(flags::positional("key_name", "Name of a key in the list")),
        )
        .subcommand(
            flags::verb("list", "List the keys", LIST)
                .visible_alias("ls")
                .args(life::device(
                    "List the keys on this plugin's device instead of the key list",
                    "Where to look, as the plugin writes it: a token or a directory",
                ))
                .arg(flags::output()),
        )
        .subcommand(attest::definition())
        .subcommands(life::definitions())
        .subcommand(
            flags::verb("delete", "Remove keys from the list", DELETE)
                .arg(flags::output())
                .arg(flags::positional(
                    "key_name...",
                    "Names of keys in the list",
                )),
        )
}

impl AddArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut names = reader.all("positional");
        if names.len() != 1 {
            return Err(Usage::new(
                "either missing key name or unnecessary parameters passed".to_owned(),
            ));
        }
        reader.required(&["plugin"])?;
        reader.output()?;
        Ok(Self {
            name: names.remove(0),
            plugin: reader.text("plugin").unwrap_or_default(),
            id: reader.text("id").unwrap_or_default(),
            plugin_config: reader.pairs("plugin-config")?,
            default: reader.switch("default")?,
        })
    }
}

impl UpdateArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut names = reader.all("positional");
        reader.output()?;
        match names.len() {
            0 => Err(Usage::new("missing key name".to_owned())),
            1 => Ok(Self {
                name: names.remove(0),
                default: reader.switch("default")?,
            }),
            more => Err(Usage::new(format!("accepts 1 arg(s), received {more}"))),
        }
    }
}

impl ListArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        for flag in ["id", "plugin-config"] {
            if reader.given(flag) && !reader.given("plugin") {
                return Err(Usage::new(format!("--{flag} needs --plugin")));
            }
        }
        Ok(Self {
            output: reader.output()?,
            device: match reader.given("plugin") {
                true => Some(life::Device::read(&reader)?),
                false => None,
            },
        })
    }
}

impl DeleteArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let names = reader.all("positional");
        if names.is_empty() {
            return Err(Usage::new("missing key names".to_owned()));
        }
        reader.output()?;
        Ok(Self { names })
    }
}
