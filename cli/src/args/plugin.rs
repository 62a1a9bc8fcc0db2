//! `hardsign plugin`: flags and their rules (CLI-91 to CLI-93).

use super::flags::{self, Reader};
use super::{ArgMatches, BTreeMap, Command, Output, Usage, policy};

const GROUP_EXAMPLES: &str = "\
Examples:
  Install a plugin from a file, and see what it is:
    hardsign plugin install --file notation-wabbit_1.0.0_linux_amd64.tar.gz
    hardsign plugin inspect wabbit

  List the plugins that you installed, and those that came with hardsign too:
    hardsign plugin list --all

  Remove it again:
    hardsign plugin uninstall wabbit";

const INSTALL_EXAMPLES: &str = "\
Examples:
  Install a plugin from an archive (zip or tar.gz), whose checksum its publisher gives:
    hardsign plugin install --file wabbit_1.0.0.zip --sha256sum <digest>

  From a single executable:
    hardsign plugin install --file ./notation-wabbit

  From an address; the checksum is then required:
    hardsign plugin install --url https://example.com/wabbit_1.0.0.tar.gz --sha256sum <digest>

  Whatever version is installed already, an older one or a broken one:
    hardsign plugin install --file wabbit_0.9.0.zip --force";

const UNINSTALL_EXAMPLES: &str = "\
Examples:
  Remove a plugin:
    hardsign plugin uninstall wabbit

  The same without a question:
    hardsign plugin uninstall --yes wabbit";

const LIST_EXAMPLES: &str = "\
Examples:
  List the plugins that you installed:
    hardsign plugin list

  List those that came with hardsign too:
    hardsign plugin list --all

  With file, checksum and pin of each one, for a script:
    hardsign plugin list --output json";

const INSPECT_EXAMPLES: &str = "\
Examples:
  Show what a plugin is, what it can do, and whether it is well:
    hardsign plugin inspect wabbit

  With the keys that a plugin in the box sees, which may need settings:
    hardsign plugin inspect pkcs11 --plugin-config module-path=/usr/lib/softhsm/libsofthsm2.so";

const TRUST_EXAMPLES: &str = "\
Examples:
  Accept a plugin that was changed since it was installed, after looking at its checksum:
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
        flags::verb(
            "list",
            "List plugins with what each one can do",
            LIST_EXAMPLES,
        )
        .visible_alias("ls")
        .arg(flags::switch("all", "Those that came with hardsign too"))
        .arg(flags::output())
        .arg(flags::positional("none", "").hide(true)),
    )
    .subcommand(
        flags::verb(
            "inspect",
            "Show what a plugin is, what it can do and whether it is well",
            INSPECT_EXAMPLES,
        )
        .arg(flags::plugin_config(
            "Setting that is passed to the plugin when it is asked for its keys (repeatable)",
        ))
        .arg(flags::output())
        .arg(flags::positional("plugin_name", "Name of the plugin")),
    )
    .subcommand(
        flags::verb(
            "trust",
            "Pin a plugin's executable as it is now",
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
    flags::verb(
        "install",
        "Install a plugin, or replace it by a newer version",
        INSTALL_EXAMPLES,
    )
    .visible_alias("add")
    .arg(flags::switch("file", "The source is a file"))
    .arg(flags::switch(
        "url",
        "The source is an https address; a download may take ten minutes",
    ))
    .arg(flags::value(
        "sha256sum",
        "DIGEST",
        "SHA-256 that the source must have; required with --url",
    ))
    .arg(flags::force(
        "Install whatever version is installed already",
    ))
    .arg(flags::output())
    .arg(flags::positional(
        "plugin_source",
        "File or address of a zip, a tar.gz or a single executable",
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
                return Err(Usage(match (file, url) {
                    (true, _) => "missing plugin file path".to_owned(),
                    (false, true) => "missing plugin URL".to_owned(),
                    (false, false) => "missing plugin source location".to_owned(),
                }));
            }
            1 => sources.remove(0),
            _ => {
                return Err(Usage(format!(
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
                    return Err(Usage(
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
            return Err(Usage(
                "--output json leaves no room for a question, so it needs --yes".to_owned(),
            ));
        }
        Ok(Self { name, yes, output })
    }
}

/// The only argument, a plugin's name (CLI-92).
fn one_name(reader: &Reader<'_>, several: &str) -> Result<String, Usage> {
    let mut names = reader.all("positional");
    match names.len() {
        0 => Err(Usage("plugin name is required".to_owned())),
        1 => Ok(names.remove(0)),
        _ => Err(Usage(several.to_owned())),
    }
}
