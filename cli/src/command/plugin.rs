//! `hardsign plugin`: which plugins the user has (PLI-01 to PLI-22, CLI-91 to CLI-93).

use hardsign_core::http::{Client, ClientOptions};
use hardsign_core::plugin::{
    Candidacy, InstallError, InstallOrder, Installer, PackageSource, PinState, PluginError,
    PluginErrorKind, download_limits,
};
use hardsign_core::text::WithCauses;
use serde_json::json;
use std::path::Path;

use super::{Context, Unanswered, signer};
use crate::args::Output;
use crate::args::plugin::{InstallArgs, Source, TrustArgs, UninstallArgs};
use crate::failure::{Exit, Failure};
use crate::output::one_line;

mod inspect;
mod list;

pub(super) use inspect::inspect;
pub(super) use list::list;

fn installer(context: &Context) -> Result<Installer, Failure> {
    Ok(Installer::new(signer::host(&context.dirs()?, context)))
}

/// Installs a plugin (PLI-04 to PLI-19).
pub(super) fn install(args: &InstallArgs, context: &Context) -> Result<(), Failure> {
    let installer = installer(context)?;
    let console = &context.console;
    let text = args.output == Output::Text;
    let client = match &args.source {
        Source::Url(_) => Some(client(context)?),
        Source::File(_) => None,
    };
    let order = InstallOrder {
        source: match (&args.source, &client) {
            (Source::Url(url), Some(client)) => PackageSource::Url { url, client },
            (Source::Url(path) | Source::File(path), _) => PackageSource::File(Path::new(path)),
        },
        sha256: Some(&args.sha256),
        force: args.force,
    };
    let spinner = console.spinner("installing");
    let installed = context.wait(async {
        installer
            .install(order)
            .await
            .map_err(|error| refused(&error))
    })?;
    drop(spinner);
    let (name, version) = (&installed.name, one_line(&installed.version));
    if !text {
        return Ok(console.json(&json!({
            "name": name.as_str(),
            "version": installed.version,
            "replaced": installed.replaced,
            "path": installed.path,
            "sha256": installed.sha256,
        }))?);
    }
    Ok(match &installed.replaced {
        Some(old) => console.line(format_args!(
            "Successfully updated plugin {name} from version {} to {version}",
            one_line(old)
        )),
        None => console.line(format_args!(
            "Successfully installed plugin {name}, version {version}"
        )),
    }?)
}

/// A client for one download.
fn client(context: &Context) -> Result<Client, Failure> {
    let mut options = ClientOptions::default();
    options.limits = download_limits();
    options.listener = context.listener();
    Client::new(&options).map_err(Failure::error)
}

/// CLI-02: the reference's texts stand alone, without a hint.
fn refused(error: &InstallError) -> Failure {
    let message = if error.is_about_download() {
        WithCauses(error).to_string()
    } else {
        format!("plugin installation failed: {}", WithCauses(error))
    };
    let exit = match error {
        InstallError::ChecksumMissing | InstallError::Scheme { .. } | InstallError::Url { .. } => {
            Exit::Usage
        }
        InstallError::Download { .. } | InstallError::Status { .. } => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, message);
    match error {
        InstallError::ExistingMetadata(_) | InstallError::Existing(_) => {
            failure.hint("--force replaces a broken plugin")
        }
        InstallError::Version { .. } => failure.hint("--force installs it without comparing"),
        InstallError::Pins(_) => failure.hint(FIX_PINS),
        _ => failure,
    }
}

/// Removes a plugin (PLI-20, PLI-21).
pub(super) fn uninstall(args: &UninstallArgs, context: &Context) -> Result<(), Failure> {
    let installer = installer(context)?;
    let name = context.wait(async {
        let installed = installer.installed(&args.name).await;
        installed.map_err(|error| not_removed(error, context))
    })?;
    let question = format!("Are you sure you want to uninstall plugin \"{name}\"?");
    let unanswered = Unanswered::new(format!("plugin {name} was not uninstalled"), "--yes");
    if !context.confirm(&question, args.yes, &unanswered)? {
        return Ok(());
    }
    context.wait(async {
        let done = installer.uninstall(name.as_str()).await;
        done.map_err(|error| {
            let causes = WithCauses(&error);
            Failure::failed(format!("failed to uninstall plugin {name}: {causes}"))
        })
    })?;
    context
        .console
        .line(format_args!("Successfully uninstalled plugin {name}"))?;
    Ok(context
        .console
        .document(&json!({ "name": name.as_str() }))?)
}

fn not_removed(error: InstallError, context: &Context) -> Failure {
    match error {
        InstallError::NotInstalled { .. } => Failure::failed(format!(
            "{error}.\nTo view a list of installed plugins, use `{} plugin list`",
            context.program
        )),
        InstallError::Plugin(error) => error.into(),
        InstallError::Pins(error) => Failure::error(error).hint(FIX_PINS),
        InstallError::Existing(PluginError {
            kind: PluginErrorKind::NotRegular(ref path),
            ..
        }) => {
            let directory = path.parent().unwrap_or(path).display().to_string();
            Failure::error(error).hint(format!("remove it yourself: {directory}"))
        }
        other => Failure::error(other),
    }
}

/// Pins a plugin as it is now.
pub(super) fn trust(args: &TrustArgs, context: &Context) -> Result<(), Failure> {
    let installer = installer(context)?;
    let found = installer.look(&args.name).map_err(untrusted)?;
    let console = &context.console;
    let name = &found.file.name;
    if args.output == Output::Text {
        describe(&found, context)?;
    }
    if !matches!(found.state, PinState::Same(_)) {
        let question = format!("Do you trust plugin \"{name}\" as it is now?");
        let unanswered = Unanswered::new(format!("plugin {name} is not trusted"), "--yes");
        if !context.confirm(&question, args.yes, &unanswered)? {
            return Ok(());
        }
    }
    let pin = context.wait(async { installer.trust(&found).await.map_err(untrusted) })?;
    if args.output == Output::Json {
        let before = match &found.state {
            PinState::None => None,
            PinState::Same(pin) | PinState::Changed { pinned: pin, .. } => Some(pin),
        };
        return Ok(console.json(&json!({
            "name": name.as_str(),
            "path": found.file.path,
            "version": pin.version,
            "sha256": pin.sha256,
            "before": before.map(|pin| json!({"version": pin.version, "sha256": pin.sha256})),
        }))?);
    }
    Ok(console.line(format_args!(
        "Successfully pinned plugin {name}, version {}",
        one_line(&pin.version)
    ))?)
}

/// Old and new. The new version is not known yet: what may be a stranger's program is not started
/// to ask it.
fn describe(found: &Candidacy, context: &Context) -> Result<(), Failure> {
    let console = &context.console;
    let path = found.file.path.display().to_string();
    console.line(format_args!("Executable: {}", one_line(&path)))?;
    match &found.state {
        PinState::None => console.line("Pinned:     nothing yet")?,
        PinState::Same(pin) | PinState::Changed { pinned: pin, .. } => {
            console.line(format_args!(
                "Pinned:     {}, version {}",
                pin.sha256,
                one_line(&pin.version)
            ))?;
        }
    }
    Ok(match &found.state {
        PinState::Same(_) => console.line("Now:        the same"),
        _ => console.line(format_args!("Now:        {}", found.sha256)),
    }?)
}

fn untrusted(error: InstallError) -> Failure {
    match error {
        InstallError::Plugin(error) if error.is_not_found() => {
            Failure::error(error).hint("`hardsign plugin list` shows the installed plugins")
        }
        InstallError::Plugin(error) => error.into(),
        InstallError::Pins(error) => Failure::error(error).hint(FIX_PINS),
        other => Failure::error(other),
    }
}

/// What to do about a file of pins that can't be read.
const FIX_PINS: &str = "fix or remove the file; without it, plugins are not checked until `hardsign plugin trust <name>` pins them again";
