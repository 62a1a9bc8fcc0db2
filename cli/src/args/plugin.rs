//! `hardsign plugin`: flags and their rules (CLI-91 to CLI-93).

use super::flags::{self, Reader};
use super::{ArgMatches, BTreeMap, Command, Output, Usage, policy};

const GROUP_EXAMPLES: &str = "\
Examples:
  Install a plugin from a file, and inspect it:
    hardsign plugin install --file notation-wabbit_1.0.0_linux_amd64.tar.gz
    hardsign plugin inspect wabbit

  List all plugins, including those that come with hardsign:
    hardsign plugin list --all

  Remove it again:
    hardsign plugin uninstall wabbit";

const INSTALL_EXAMPLES: &str = "\
Examples:
  Install a plugin from an archive (zip or tar.gz) with its published checksum:
    hardsign plugin install --file wabbit_1.0.0.zip --sha256sum <digest>

  Install a single executable:
    hardsign plugin install --file ./notation-wabbit

  Install from a URL, which requires the checksum:
    hardsign plugin install --url https://example.com/wabbit_1.0.0.tar.gz \\
      --sha256sum <digest>

  Replace whatever version is installed, even with an older one:
    hardsign plugin install --file wabbit_0.9.0.zip --force";

const UNINSTALL_EXAMPLES: &str = "\
Examples:
  Remove a plugin:
    hardsign plugin uninstall wabbit

  Remove it without being asked:
    hardsign plugin uninstall --yes wabbit";

const LIST_EXAMPLES: &str = "\
Examples:
  List the plugins that you installed:
    hardsign plugin list

  Include the plugins that come with hardsign:
    hardsign plugin list --all

  Print JSON with the file, checksum and pin of each, for a script:
    hardsign plugin list --output json";

const INSPECT_EXAMPLES: &str = "\
Examples:
  Show a plugin's capabilities and whether it works:
    hardsign plugin inspect wabbit

  Include the keys that a plugin can see, which may require settings:
    hardsign plugin inspect pkcs11 \\
      --plugin-config module-path=/usr/lib/softhsm/libsofthsm2.so";

const TRUST_EXAMPLES: &str = "\
Examples:
  Accept a plugin that changed since it was installed, if its checksum is right:
    hardsign plugin trust wabbit

  Pin a plugin that was copied into the plugin directory by hand:
    hardsign plugin trust --yes wabbit";

/// `hardsign plugin install`.
#[derive(Debug)]
pub(crate) struct InstallArgs {
    pub(crate) source: Source,
    /// Empty where none was given.
    pub(crate) sha256: String,
    pub(crate) force: bool,
    pub(crate) output: Output,
}

/// Where a package is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Source {
    File(String),
    Url(String),
}

/// `hardsign plugin uninstall`.
#[derive(Debug)]
pub(crate) struct UninstallArgs {
    pub(crate) name: String,
    pub(crate) yes: bool,
}

/// `hardsign plugin list`.
#[derive(Debug)]
pub(crate) struct ListArgs {
    /// Those in the box too.
    pub(crate) all: bool,
    pub(crate) output: Output,
}

/// `hardsign plugin inspect`.
#[derive(Debug)]
pub(crate) struct InspectArgs {
    pub(crate) name: String,
    pub(crate) plugin_config: BTreeMap<String, String>,
    pub(crate) output: Output,
}

/// `hardsign plugin trust`.
#[derive(Debug)]
pub(crate) struct TrustArgs {
    pub(crate) name: String,
    pub(crate) yes: bool,
    pub(crate) output: Output,
}

pub(super) fn definition() -> Command {
    flags::verb(
        "plugin",
        "Manage signing and verification plugins",
        GROUP_EXAMPLES,
    )
    .subcommand(install())
    .subcommand(
        flags::verb("list", "List plugins and their capabilities", LIST_EXAMPLES)
            .visible_alias("ls")
            .arg(flags::switch(
                "all",
                "Include the plugins that come with hardsign",
            ))
            .arg(flags::output())
            .arg(flags::positional("none", "").hide(true)),
    )
    .subcommand(
        flags::verb(
            "inspect",
            "Show a plugin's capabilities and whether it works",
            INSPECT_EXAMPLES,
        )
        .arg(flags::plugin_config(
            "Setting to pass to the plugin when listing its keys (repeatable)",
        ))
        .arg(flags::output())
        .arg(flags::positional("plugin_name", "Name of the plugin")),
    )
    .subcommand(
        flags::verb(
            "trust",
            "Trust a plugin's executable as it is now",
            TRUST_EXAMPLES,
        )
        .arg(flags::yes())
        .arg(flags::output())
        .arg(flags::positional("plugin_name", "Name of the plugin")),
    )
    .subcommand(
        flags::verb("uninstall", "Remove a plugin", UNINSTALL_EXAMPLES)
            .visible_aliases(["remove", "rm"])
            .arg(flags::yes())
            .arg(flags::output())
            .arg(flags::positional("plugin_name", "Name of the plugin")),
    )
}

fn install() -> Command {
    flags::verb("install", "Install or update a plugin", INSTALL_EXAMPLES)
        .visible_alias("add")
        .arg(flags::switch("file", "The source is a file"))
        .arg(flags::switch(
            "url",
            "The source is an https URL; the download may take up to ten minutes",
        ))
        .arg(flags::value(
            "sha256sum",
            "DIGEST",
            "Expected SHA-256 of the source; required with --url",
        ))
        .arg(flags::force("Replace any installed version"))
        .arg(flags::output())
        .arg(flags::positional(
            "plugin_source",
            "File or URL of a zip, a tar.gz or a single executable",
        ))
}

impl InstallArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut sources = reader.all("positional");
        let (file, url) = (reader.switch("file")?, reader.switch("url")?);
        let source = match sources.len() {
            0 => {
                return Err(Usage::new(match (file, url) {
                    (true, _) => "missing plugin file path".to_owned(),
                    (false, true) => "missing plugin URL".to_owned(),
                    (false, false) => "missing plugin source location".to_owned(),
                }));
            }
            1 => sources.remove(0),
            _ => {
                return Err(Usage::new(format!(
                    "can only install one plugin at a time, but got [{}]",
                    sources.join(" ")
                )));
            }
        };
        reader.one_of(&["file", "url"])?;
        reader.exclusive(&["file", "url"])?;
        Ok(Self {
            source: match (file, url) {
                (true, _) => Source::File(source),
                (false, true) => Source::Url(source),
                (false, false) => {
                    return Err(Usage::new(
                        "plugin installation failed: unknown plugin source type".to_owned(),
                    ));
                }
            },
            sha256: reader.text("sha256sum").unwrap_or_default(),
            force: reader.switch("force")?,
            output: reader.output()?,
        })
    }
}

impl UninstallArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let name = one_name(&reader, "only one plugin can be removed at a time")?;
        reader.output()?;
        Ok(Self {
            name,
            yes: reader.switch("yes")?,
        })
    }
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

impl InspectArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        Ok(Self {
            name: one_name(&reader, "only one plugin can be inspected at a time")?,
            plugin_config: reader.pairs("plugin-config")?,
            output: reader.output()?,
        })
    }
}

impl TrustArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let name = one_name(&reader, "only one plugin can be trusted at a time")?;
        let (yes, output) = (reader.switch("yes")?, reader.output()?);
        if output == Output::Json && !yes {
            return Err(Usage::new(
                "--output json cannot ask for confirmation: add --yes".to_owned(),
            ));
        }
        Ok(Self { name, yes, output })
    }
}

/// The only argument, a plugin's name (CLI-92).
fn one_name(reader: &Reader<'_>, several: &str) -> Result<String, Usage> {
    let mut names = reader.all("positional");
    match names.len() {
        0 => Err(Usage::new("plugin name is required".to_owned())),
        1 => Ok(names.remove(0)),
        _ => Err(Usage::new(several.to_owned())),
    }
}
