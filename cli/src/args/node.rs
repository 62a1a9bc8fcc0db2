//! `hardsign node` and `hardsign doctor node`: flags and their rules.

use std::path::PathBuf;

use super::flags::{self, Reader};
use super::{Arg, ArgMatches, Command, Duration, Output, Usage, duration};

const GROUP_EXAMPLES: &str = "\
Examples:
  Refuse unsigned images on this node, after looking at what that would refuse:
    hardsign doctor node
    hardsign node install

  Take the check away again:
    hardsign node uninstall";

const INSTALL_EXAMPLES: &str = "\
Examples:
  Put the verifier in place and print the configuration for containerd:
    hardsign node install

  With the kubelet's credential providers, for images in private registries:
    hardsign node install \\
      --credential-provider-config /etc/kubernetes/credential-provider.yaml \\
      --credential-provider-bin-dir /usr/libexec/kubernetes/credential-provider

  Except one image more, whatever its signatures:
    hardsign node install --exception registry.example.com/agent@sha256:<digest>

  Nothing is excepted, since all images of the node are signed:
    hardsign node install --no-exceptions";

const UNINSTALL_EXAMPLES: &str = "\
Examples:
  Take the check away; the policy stays:
    hardsign node uninstall

  Without a question:
    hardsign node uninstall --yes";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  Look whether containerd really asks, and what would be refused:
    hardsign doctor node

  For monitoring:
    hardsign doctor node --output json";

/// Where containerd and the kubelet are on this node.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) containerd: Option<PathBuf>,
    pub(crate) containerd_config: PathBuf,
    pub(crate) crictl: Option<PathBuf>,
    pub(crate) runtime_endpoint: String,
    /// Directories of static pods; empty for the usual ones.
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
    pub(crate) output: Output,
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
            "Put the verifier in place and print containerd's configuration",
            INSTALL_EXAMPLES,
        )
        .arg(bin_dir())
        .args(places())
        .arg(manifests())
        .arg(flags::value(
            "timeout",
            "DURATION",
            "containerd's time for a verdict [default: 10s]",
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
            "Let in this image too: by digest, or on the node (repeatable)",
        ))
        .arg(flags::switch(
            "no-exceptions",
            "Except nothing: sandbox, static pods and network are signed",
        ))
        .arg(flags::force("Replace an entry that is no link"))
        .arg(flags::output())
        .arg(none()),
    )
    .subcommand(
        flags::verb(
            "uninstall",
            "Take the verifier away: every image is let in again",
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
        "The directory of verifiers [default: /opt/containerd/image-verifier/bin]",
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
        flags::value("containerd", "PATH", "The executable [default: in PATH]"),
        flags::value(
            "containerd-config",
            "PATH",
            "Its configuration [default: /etc/containerd/config.toml]",
        ),
        flags::value("crictl", "PATH", "The executable crictl [default: in PATH]"),
        flags::value(
            "runtime-endpoint",
            "URL",
            "Its endpoint [default: unix:///run/containerd/containerd.sock]",
        ),
    ]
}

impl Places {
    fn read(reader: &Reader<'_>, manifests: bool) -> Self {
        let path = |flag: &str| reader.text(flag).map(PathBuf::from);
        let endpoint = reader.text("runtime-endpoint");
        Self {
            containerd: path("containerd"),
            containerd_config: path("containerd-config").unwrap_or_else(|| CONFIG.into()),
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
        Ok(Self {
            places: Places::read(&reader, false),
            output: reader.output()?,
        })
    }
}

/// containerd's own directory of verifiers.
const BIN_DIR: &str = "/opt/containerd/image-verifier/bin";
const CONFIG: &str = "/etc/containerd/config.toml";
const ENDPOINT: &str = "unix:///run/containerd/containerd.sock";
/// containerd's own time for a verdict.
const TIMEOUT: Duration = Duration::from_secs(10);
