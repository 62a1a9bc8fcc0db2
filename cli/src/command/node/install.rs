//! `hardsign node install` and `node uninstall`: the directory that containerd takes verifiers from, with this
//! executable in it and nothing else, and the settings.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hardsign_core::config::exceptions::Exception;
use hardsign_core::config::permissions::exposed;
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::auth::provider::CredentialProviders;
use hardsign_plugin::text::io_text;
use serde_json::{Value, json};

use super::containerd::{self, Configuration};
use super::environment::Environment;
use super::needs::{self, Needs, Unknown};
use super::settings::Settings;
use super::verifier::NAME;
use crate::args::Output;
use crate::args::node::{InstallArgs, UninstallArgs};
use crate::command::{Context, Unanswered};
use crate::failure::Failure;

/// `hardsign node install`.
pub(in crate::command) fn install(args: &InstallArgs, context: &Context) -> Result<(), Failure> {
    let dirs = Dirs::of_machine().map_err(Failure::error)?;
    let executable = executable()?;
    let entry = entry(&args.bin_dir)?;
    check_entry(&entry, args.force)?;
    check_providers(args)?;
    let mut settings = Settings::load(&dirs)?;
    context.wait(async {
        let configuration = Configuration::read(&args.places).await.map_err(|why| {
            Failure::failed(format!("failed to read containerd's configuration: {why}")).hint(
                "name containerd and its configuration with --containerd and --containerd-config",
            )
        })?;
        let needs = match args.no_exceptions {
            true => Needs::default(),
            false => needs::find(&args.places, &args.exceptions, &configuration, &settings).await?,
        };
        if !args.allow_missing {
            refuse(&needs.unknown)?;
        }
        fill(&mut settings, args, &configuration);
        let mut added: Vec<Exception> = Vec::new();
        for exception in needs.exceptions {
            if settings.exceptions.add(exception.clone()) {
                added.push(exception);
            }
        }
        settings.save(&dirs)?;
        place(&executable, &entry)?;
        warn(&needs.unknown, context);
        warn_of_environment(&args.places.runtime_endpoint, &dirs, context).await;
        let set = configuration.verifiers();
        let done = Installed {
            entry,
            settings: dirs.node_settings(),
            added,
            unknown: needs.unknown,
            configured: set.bin_dir == args.bin_dir && set.timeout == args.timeout,
            configuration: containerd::snippet(&args.bin_dir, args.timeout),
        };
        match args.output {
            Output::Json => context.console.json(&done.document())?,
            Output::Text => done.tell(&args.bin_dir, context)?,
        }
        Ok(())
    })
}

/// Credential providers that were named are there, and can be read.
fn check_providers(args: &InstallArgs) -> Result<(), Failure> {
    let Some((config, bin_dir)) = &args.providers else {
        return Ok(());
    };
    CredentialProviders::load(config, bin_dir).map_err(Failure::error)?;
    match fs::metadata(bin_dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    }
    .map_err(|error: io::Error| {
        Failure::failed(format!("{}: {}", bin_dir.display(), io_text(&error))).hint(
            "--credential-provider-bin-dir names the kubelet's directory of credential providers",
        )
    })
}

/// Settings that were given, or that the node knows.
fn fill(settings: &mut Settings, args: &InstallArgs, configuration: &Configuration) {
    settings.fit_into(args.timeout);
    let hosts = configuration.registry_hosts();
    if !hosts.is_empty() {
        settings.set_registry_hosts(hosts);
    }
    let kubelet = || Some((kubelet_flag("config")?, kubelet_flag("bin-dir")?));
    let given = args.providers.clone().or_else(kubelet);
    if let Some((config, bin_dir)) = given {
        settings.set_providers(&config, &bin_dir);
    }
}

/// The kubelet's `--image-credential-provider-<name>`, if it runs here.
fn kubelet_flag(name: &str) -> Option<PathBuf> {
    let flag = format!("--image-credential-provider-{name}");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .find_map(|line| {
            let words: Vec<_> = line
                .split(|byte| *byte == 0)
                .map(String::from_utf8_lossy)
                .collect();
            let program = words.first()?;
            if Path::new(&**program).file_name()? != "kubelet" {
                return None;
            }
            words.iter().enumerate().find_map(|(at, word)| {
                let rest = word.strip_prefix(&flag)?;
                let value = match rest.strip_prefix('=') {
                    Some(value) => value.to_owned(),
                    None => words.get(at.checked_add(1)?)?.to_string(),
                };
                let path = PathBuf::from(value);
                path.is_absolute().then_some(path)
            })
        })
}

/// What `node install` did.
struct Installed {
    entry: PathBuf,
    settings: PathBuf,
    added: Vec<Exception>,
    /// Images that are needed and not known by digest, each with what needs it or why it is not known.
    unknown: Vec<Unknown>,
    /// Whether containerd's configuration has the table already.
    configured: bool,
    configuration: String,
}

impl Installed {
    fn tell(&self, bin_dir: &Path, context: &Context) -> Result<(), Failure> {
        let console = &context.console;
        console.line(format_args!(
            "Installed {}. Keep everything else out of {}: containerd runs every file in it.",
            self.entry.display(),
            bin_dir.display()
        ))?;
        let file = self.settings.display();
        if self.added.is_empty() {
            console.line(format_args!("No exceptions were added to {file}."))?;
        } else {
            console.line(format_args!(
                "Exceptions added to {file}, by digest, because this node starts no pod without these images; remove those that you sign yourself:"
            ))?;
            for exception in &self.added {
                console.line(format_args!(
                    "  {}@{}: {}",
                    exception.repository, exception.digest, exception.reason
                ))?;
            }
        }
        console.line(match self.configured {
            true => "containerd's configuration already names this directory:",
            false => "Add this to containerd's configuration, then restart containerd:",
        })?;
        console.line("")?;
        console.bytes(self.configuration.as_bytes())?;
        console.line("")?;
        console.line(
            "Then run `hardsign doctor node`: it checks that containerd asks the verifier, and lists the images on this node that would be refused.",
        )?;
        Ok(())
    }

    fn document(&self) -> Value {
        let exceptions = self.added.iter().map(|exception| {
            json!({
                "reference": format!("{}@{}", exception.repository, exception.digest),
                "when": exception.when,
                "detail": exception.reason,
            })
        });
        let unknown = self
            .unknown
            .iter()
            .map(|unknown| json!({ "reference": unknown.image, "detail": unknown.why }));
        json!({
            "path": self.entry,
            "settingsPath": self.settings,
            "exceptions": exceptions.collect::<Vec<_>>(),
            "unknown": unknown.collect::<Vec<_>>(),
            "configured": self.configured,
            "configuration": self.configuration,
        })
    }
}

/// A node on which an image is needed that would then be refused is left as it is.
fn refuse(unknown: &[Unknown]) -> Result<(), Failure> {
    let messages = unknown.iter().map(|Unknown { image, why, .. }| {
        Failure::failed(format!(
            "nothing was installed: {image} is needed, and its digest is not known ({why})"
        ))
    });
    let Some(failure) = Failure::all(messages.collect()) else {
        return Ok(());
    };
    let mut fixes: Vec<_> = unknown.iter().map(|unknown| unknown.fix).collect();
    fixes.sort_unstable();
    fixes.dedup();
    Err(failure.hint(format!(
        "{}; --allow-missing installs anyway, and the image must then be signed",
        fixes.join("; ")
    )))
}

fn warn(unknown: &[Unknown], context: &Context) {
    for Unknown { image, why, .. } in unknown {
        context.console.warning(format_args!(
            "{image} is needed, and its digest is not known ({why}): unless it is signed, it is refused"
        ));
    }
}

/// The running containerd hands its own environment on to the verifier, which may look for its settings elsewhere.
async fn warn_of_environment(endpoint: &str, dirs: &Dirs, context: &Context) {
    let Some(environment) = Environment::of_process(endpoint).await else {
        return;
    };
    let there = Dirs::of_machine_with(|name| environment.variable(name).map(OsStr::to_owned));
    let there = there.map(|dirs| dirs.config);
    if there.as_ref() == Ok(&dirs.config) {
        return;
    }
    context.console.warning(format_args!(
        "the verifier will not use {}: set NOTATION_CONFIG in containerd's environment, then restart containerd",
        dirs.config.display(),
    ));
}

/// `hardsign node uninstall`.
pub(in crate::command) fn uninstall(
    args: &UninstallArgs,
    context: &Context,
) -> Result<(), Failure> {
    let entry = entry(&args.bin_dir)?;
    match fs::symlink_metadata(&entry) {
        Ok(found) if found.is_symlink() => {}
        Ok(_) => return Err(not_ours(&entry)),
        Err(error) => {
            return Err(
                Failure::failed(format!("{}: {}", entry.display(), io_text(&error)))
                    .hint("--bin-dir names the directory that `hardsign node install` was given"),
            );
        }
    }
    let question = "containerd will then accept every image, signed or not. Continue?";
    let unanswered = Unanswered::new(format!("{} was not removed", entry.display()), "--yes");
    if !context.confirm(question, args.yes, &unanswered)? {
        return Ok(());
    }
    fs::remove_file(&entry).map_err(|error| {
        Failure::failed(format!(
            "failed to remove {}: {}",
            entry.display(),
            io_text(&error)
        ))
    })?;
    let console = &context.console;
    let emptied = fs::remove_dir(&args.bin_dir).is_ok();
    if !emptied {
        console.warning(format_args!(
            "{} was not removed: containerd runs the other files in it",
            args.bin_dir.display()
        ));
    }
    let settings = Dirs::of_machine().map_err(Failure::error)?.node_settings();
    if args.output == Output::Json {
        return Ok(console.json(&json!({
            "path": entry,
            "directoryRemoved": emptied,
            "settingsPath": settings,
        }))?);
    }
    console.line(format_args!("Removed {}", entry.display()))?;
    if emptied {
        console.line(format_args!("Removed {}", args.bin_dir.display()))?;
    }
    console.line(format_args!(
        "The trust policy, trust stores and {} were kept. Remove the verifier's table from containerd's configuration as well.",
        settings.display()
    ))?;
    Ok(())
}

/// This executable, which root alone may change: containerd runs it as root.
fn executable() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()
        .and_then(fs::canonicalize)
        .map_err(|error| {
            Failure::failed(format!(
                "failed to find this executable: {}",
                io_text(&error)
            ))
        })?;
    match exposed(&path) {
        None => Ok(path),
        Some(exposed) => Err(Failure::failed(format!(
            "{exposed}, and containerd would run it as root"
        ))
        .hint(exposed.fix())),
    }
}

fn entry(bin_dir: &Path) -> Result<PathBuf, Failure> {
    if !bin_dir.is_absolute() {
        let shown = bin_dir.display();
        return Err(Failure::usage(format!(
            "--bin-dir {shown} is not an absolute path"
        )));
    }
    Ok(bin_dir.join(NAME))
}

/// The directory holds nothing, or this entry alone.
fn check_entry(entry: &Path, force: bool) -> Result<(), Failure> {
    let Some(bin_dir) = entry.parent() else {
        return Ok(());
    };
    let entries = match fs::read_dir(bin_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Failure::failed(format!(
                "{}: {}",
                bin_dir.display(),
                io_text(&error)
            )));
        }
    };
    let others: Vec<String> = entries
        .flatten()
        .filter(|found| found.file_name() != NAME)
        .map(|found| found.path().display().to_string())
        .collect();
    if !others.is_empty() {
        return Err(Failure::failed(format!(
            "{} contains other files, which containerd would also run as verifiers: {}",
            bin_dir.display(),
            others.join(", ")
        ))
        .hint("move them away, or name another directory with --bin-dir"));
    }
    match fs::symlink_metadata(entry) {
        Ok(found) if !found.is_symlink() && !force => Err(not_ours(entry)),
        _ => Ok(()),
    }
}

fn not_ours(entry: &Path) -> Failure {
    let failure = Failure::failed(format!(
        "{} was not put there by `hardsign node install`: it is not a link",
        entry.display()
    ));
    failure.hint("find out what it is, and move it away")
}

/// Links the entry to the executable, so that an update of the package updates it too. The link is made beside
/// the directory and moved into it: containerd runs whatever it finds there.
fn place(executable: &Path, entry: &Path) -> Result<(), Failure> {
    let failed = |what: &Path, error: io::Error| {
        Failure::failed(format!(
            "failed to make {}: {}",
            what.display(),
            io_text(&error)
        ))
    };
    let Some((bin_dir, above)) = entry.parent().and_then(|dir| Some((dir, dir.parent()?))) else {
        return Err(Failure::usage("--bin-dir names the root directory"));
    };
    fs::create_dir_all(bin_dir).map_err(|error| failed(bin_dir, error))?;
    let staged = tempfile::Builder::new()
        .prefix(".hardsign~")
        .tempdir_in(above)
        .map_err(|error| failed(above, error))?;
    let link = staged.path().join(NAME);
    symlink(executable, &link).map_err(|error| failed(&link, error))?;
    fs::rename(&link, entry).map_err(|error| failed(entry, error))
}

#[cfg(unix)]
fn symlink(executable: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(executable, link)
}

#[cfg(not(unix))]
fn symlink(_executable: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
