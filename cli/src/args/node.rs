//! `hardsign node` and `hardsign doctor node`: flags and their rules.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::flags::{self, Reader};
use super::{Arg, ArgMatches, Command, Duration, Output, Usage, duration};

const GROUP_EXAMPLES: &str = "\
Examples:
  See what would be refused, then refuse unsigned images on this node:
    hardsign doctor node
    hardsign node install

  Stop verifying images:
    hardsign node uninstall";

const INSTALL_EXAMPLES: &str = "\
Examples:
  Install the verifier and print the configuration for containerd:
    hardsign node install

  With the kubelet's credential providers, for images in private registries:
    hardsign node install \\
      --credential-provider-config /etc/kubernetes/credential-provider.yaml \\
      --credential-provider-bin-dir /usr/libexec/kubernetes/credential-provider

  Accept one more image without verifying it:
    hardsign node install --exception registry.example.com/agent@sha256:<digest>

  Keep the exceptions in node.hardsign.json, and add none:
    hardsign node install --no-exceptions";

const UNINSTALL_EXAMPLES: &str = "\
Examples:
  Stop verifying images, and keep the policy:
    hardsign node uninstall

  Without confirmation:
    hardsign node uninstall --yes";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  Check that containerd asks the verifier, and see what would be refused:
    hardsign doctor node

  For monitoring:
    hardsign doctor node --output json";

/// Where containerd and the kubelet are on this node.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) containerd: Option<PathBuf>,
    /// One that is named must be there; else containerd's usual one is read, which may be missing.
    pub(crate) containerd_config: Option<PathBuf>,
    pub(crate) crictl: Option<PathBuf>,
    pub(crate) runtime_endpoint: String,
    /// Directories of static pods, which must be there; empty for the usual ones, which may be missing.
    pub(crate) manifests: Vec<PathBuf>,
}

/// `hardsign node install`.
#[derive(Debug)]
pub(crate) struct InstallArgs {
    pub(crate) places: Places,
    pub(crate) bin_dir: PathBuf,
    pub(crate) timeout: Duration,
    /// List and directory of the kubelet's credential providers.
    pub(crate) providers: Option<(PathBuf, PathBuf)>,
    pub(crate) exceptions: Vec<String>,
    pub(crate) no_exceptions: bool,
    /// Go on although an image is needed whose digest is not known.
    pub(crate) allow_missing: bool,
    pub(crate) force: bool,
    pub(crate) output: Output,
}

/// `hardsign node uninstall`.
#[derive(Debug)]
pub(crate) struct UninstallArgs {
    pub(crate) bin_dir: PathBuf,
    pub(crate) yes: bool,
    pub(crate) output: Output,
}

/// `hardsign doctor node`.
#[derive(Debug)]
pub(crate) struct DoctorArgs {
    pub(crate) places: Places,
    /// The variables that containerd has; empty to find them.
    pub(crate) environment: Vec<(String, String)>,
    /// Given by `doctor node` itself, when it goes on in that environment.
    pub(crate) judged_in: Option<JudgedIn>,
    pub(crate) output: Output,
}

/// The environment that `doctor node` runs in, as one argument.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct JudgedIn {
    /// Where it is from, as the end of a sentence.
    pub(crate) source: String,
    /// Whether it is containerd's, and not only assumed.
    pub(crate) is_known: bool,
    /// How it differs from the one in which `doctor node` was started, where that matters.
    pub(crate) differences: Vec<String>,
    /// Variables of a login that containerd does not have.
    pub(crate) dropped: Vec<String>,
}

pub(super) fn definition() -> Command {
    flags::verb(
        "node",
        "Refuse unsigned images on a node, with containerd",
        GROUP_EXAMPLES,
    )
    .subcommand(
        flags::verb(
            "install",
            "Install the verifier and print the configuration for containerd",
            INSTALL_EXAMPLES,
        )
        .arg(bin_dir())
        .args(places())
        .arg(manifests())
        .arg(flags::value(
            "timeout",
            "DURATION",
            "How long containerd waits for a verdict [default: 10s]",
        ))
        .arg(flags::value(
            "credential-provider-config",
            "PATH",
            "The kubelet's list of credential providers [default: the running kubelet's]",
        ))
        .arg(flags::value(
            "credential-provider-bin-dir",
            "DIR",
            "The kubelet's directory of credential providers",
        ))
        .arg(flags::list(
            "exception",
            "IMAGE",
            "Accept this image unverified: by digest, or one on the node (repeatable)",
        ))
        .arg(flags::switch(
            "no-exceptions",
            "Add no exceptions, and do not look for images that the node needs",
        ))
        .arg(flags::switch(
            "allow-missing",
            "Install even if an image that the node needs is not on it",
        ))
        .arg(flags::force("Replace an entry that is not a link"))
        .arg(flags::output())
        .arg(none()),
    )
    .subcommand(
        flags::verb(
            "uninstall",
            "Remove the verifier: every image is accepted again",
            UNINSTALL_EXAMPLES,
        )
        .arg(bin_dir())
        .arg(flags::yes())
        .arg(flags::output())
        .arg(none()),
    )
}

/// `hardsign doctor node`.
pub(super) fn doctor() -> Command {
    flags::verb(
        "node",
        "Check that containerd refuses unsigned images on this node",
        DOCTOR_EXAMPLES,
    )
    .args(places())
    .arg(flags::list(
        "env",
        "NAME=VALUE",
        "Environment variable of containerd (repeatable) [default: those of its process, or of its unit]",
    ))
    .arg(flags::value(JUDGED_IN, "JSON", "The environment that this runs in").hide(true))
    .arg(flags::output())
    .arg(none())
}

fn none() -> Arg {
    flags::positional("none", "").hide(true)
}

fn bin_dir() -> Arg {
    flags::value(
        "bin-dir",
        "DIR",
        "Directory of verifiers [default: /opt/containerd/image-verifier/bin]",
    )
}

fn manifests() -> Arg {
    flags::list(
        "manifests",
        "DIR",
        "Directory of static pods (repeatable) [default: the kubelet's]",
    )
}

fn places() -> [Arg; 4] {
    [
        flags::value(
            "containerd",
            "PATH",
            "Executable of containerd [default: in PATH]",
        ),
        flags::value(
            "containerd-config",
            "PATH",
            "Configuration of containerd [default: /etc/containerd/config.toml]",
        ),
        flags::value("crictl", "PATH", "Executable of crictl [default: in PATH]"),
        flags::value(
            "runtime-endpoint",
            "URL",
            "Socket of containerd [default: unix:///run/containerd/containerd.sock]",
        ),
    ]
}

impl Places {
    fn read(reader: &Reader<'_>, manifests: bool) -> Self {
        let path = |flag: &str| reader.text(flag).map(PathBuf::from);
        let endpoint = reader.text("runtime-endpoint");
        Self {
            containerd: path("containerd"),
            containerd_config: path("containerd-config"),
            crictl: path("crictl"),
            runtime_endpoint: endpoint.unwrap_or_else(|| ENDPOINT.to_owned()),
            manifests: match manifests {
                true => reader
                    .all("manifests")
                    .into_iter()
                    .map(PathBuf::from)
                    .collect(),
                false => vec![],
            },
        }
    }
}

impl InstallArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        super::policy::no_arguments(matches)?;
        let reader = Reader(matches);
        reader.together(&["credential-provider-config", "credential-provider-bin-dir"])?;
        reader.exclusive(&["exception", "no-exceptions"])?;
        reader.exclusive(&["allow-missing", "no-exceptions"])?;
        let path = |flag: &str| reader.text(flag).map(PathBuf::from);
        let providers = path("credential-provider-config").zip(path("credential-provider-bin-dir"));
        if let Some(relative) = providers
            .iter()
            .flat_map(|(config, bin_dir)| [config, bin_dir])
            .find(|path| !path.is_absolute())
        {
            return Err(Usage::new(format!(
                "{} is not an absolute path",
                relative.display()
            )));
        }
        Ok(Self {
            places: Places::read(&reader, true),
            bin_dir: path("bin-dir").unwrap_or_else(|| BIN_DIR.into()),
            timeout: match reader.text("timeout") {
                None => TIMEOUT,
                Some(text) => duration::timeout(&text)?,
            },
            providers,
            exceptions: reader.all("exception"),
            no_exceptions: reader.switch("no-exceptions")?,
            allow_missing: reader.switch("allow-missing")?,
            force: reader.switch("force")?,
            output: reader.output()?,
        })
    }
}

impl UninstallArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        super::policy::no_arguments(matches)?;
        let reader = Reader(matches);
        Ok(Self {
            bin_dir: reader
                .text("bin-dir")
                .map_or_else(|| BIN_DIR.into(), PathBuf::from),
            yes: reader.switch("yes")?,
            output: reader.output()?,
        })
    }
}

impl DoctorArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        super::policy::no_arguments(matches)?;
        let reader = Reader(matches);
        let environment = reader.all("env").into_iter().map(|text| {
            let variable = text.split_once('=').filter(|(name, _)| !name.is_empty());
            let variable = variable.map(|(name, value)| (name.to_owned(), value.to_owned()));
            variable.ok_or_else(|| {
                Usage::new(format!(
                    "invalid argument {text:?} for \"--env\" flag: it must be NAME=VALUE"
                ))
            })
        });
        let judged_in = reader.text(JUDGED_IN).map(|text| {
            serde_json::from_str(&text).map_err(|error| {
                Usage::new(format!(
                    "invalid argument for \"--{JUDGED_IN}\" flag: {error}"
                ))
            })
        });
        Ok(Self {
            places: Places::read(&reader, false),
            environment: environment.collect::<Result<_, _>>()?,
            judged_in: judged_in.transpose()?,
            output: reader.output()?,
        })
    }
}

/// The flag by which `doctor node` tells itself of the environment that it goes on in.
pub(crate) const JUDGED_IN: &str = "judged-in";
/// containerd's own directory of verifiers.
const BIN_DIR: &str = "/opt/containerd/image-verifier/bin";
const ENDPOINT: &str = "unix:///run/containerd/containerd.sock";
/// containerd's own time for a verdict.
const TIMEOUT: Duration = Duration::from_secs(10);
