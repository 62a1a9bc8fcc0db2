//! `hardsign plugin list` (CLI-93, PLI-02, PLI-03, PLI-22).

use std::ops::ControlFlow;

use hardsign_core::batch;
use hardsign_core::plugin::{
    Host, Installer, Listed, Origin, PinState, Pins, PluginError, PluginErrorKind, PluginFile,
    sha256_of,
};
use hardsign_core::text::WithCauses;
use hardsign_plugin::proto::{Metadata, PluginConfig};
use serde_json::{Value, json};

use super::super::{Context, signer};
use crate::args::Output;
use crate::args::plugin::ListArgs;
use crate::failure::Failure;

/// A plugin and what it says of itself.
struct Row {
    name: String,
    file: Option<PluginFile>,
    metadata: Result<Metadata, PluginError>,
}

/// Asks every plugin for its metadata; one that fails fills the ERROR column and nothing more
/// (PLI-22).
pub(crate) fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let host = signer::host(&context.dirs()?, context);
    context.wait(async {
        // A plugin that an interrupted installation moved aside goes back. Who may not write here
        // sees what there is.
        let _cleared = Installer::new(host.clone()).recover().await;
        Ok(())
    })?;
    let mut listed = host.finder().list()?;
    if args.all {
        listed.extend(host.finder().list_box().into_iter().map(|file| Listed {
            name: file.name.clone(),
            found: Ok(file),
        }));
    }
    let mut rows = Vec::new();
    context.wait(async {
        batch::in_order(
            listed,
            IN_FLIGHT,
            |one| ask(&host, one),
            |row| {
                rows.push(row);
                ControlFlow::Continue(())
            },
        )
        .await;
        Ok(())
    })?;
    if args.output == Output::Json {
        let pins = Pins::load(host.finder().pins_file());
        let plugins: Vec<_> = rows
            .iter()
            .map(|row| describe(row, pins.as_ref().ok()))
            .collect();
        return Ok(context.console.json(&json!({ "plugins": plugins }))?);
    }
    let cells: Vec<_> = rows
        .into_iter()
        .map(|row| cells(row, context.program))
        .collect();
    if cells.is_empty() {
        context.console.plain(match args.all {
            true => "There are no plugins",
            false => "There are no installed plugins; --all includes those that come with hardsign",
        });
    }
    let header = ["NAME", "DESCRIPTION", "VERSION", "CAPABILITIES", "ERROR"];
    Ok(context.console.table(header, &cells)?)
}

async fn ask(host: &Host, one: Listed) -> Row {
    let name = one.name.as_str().to_owned();
    match one.found {
        Err(error) => Row {
            name,
            file: None,
            metadata: Err(error),
        },
        Ok(file) => Row {
            name,
            file: Some(file.clone()),
            metadata: host.run(file).metadata(&PluginConfig::new()).await,
        },
    }
}

fn cells(row: Row, program: &str) -> [String; 5] {
    match row.metadata {
        Ok(metadata) => {
            let capabilities: Vec<_> = metadata.capabilities.iter().map(|c| c.name()).collect();
            let capabilities = format!("[{}]", capabilities.join(" "));
            let Metadata {
                description,
                version,
                ..
            } = metadata;
            [
                row.name,
                description,
                version,
                capabilities,
                "<nil>".to_owned(),
            ]
        }
        Err(error) => {
            let error = of_listed(&row.name, &error, program);
            let empty = String::new;
            [row.name, empty(), empty(), "[]".to_owned(), error]
        }
    }
}

/// What the ERROR column says, in the reference's words where it has some (CLI-93).
fn of_listed(name: &str, error: &PluginError, program: &str) -> String {
    let file = format!("notation-{name}{}", std::env::consts::EXE_SUFFIX);
    let install = format!("Use `{program} plugin install` command to install the plugin");
    match &error.kind {
        PluginErrorKind::NotFound { source, .. }
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            format!("plugin executable file `{file}` not found. {install}")
        }
        PluginErrorKind::Start { source, .. } if source.raw_os_error() == Some(NO_PROGRAM) => {
            format!(
                "plugin file `{file}` is not executable. {install}. Please ensure that the plugin executable file is compatible with {}",
                hardsign_core::plugin::platform()
            )
        }
        PluginErrorKind::Start { path, source } => format!(
            "fork/exec {}: {}",
            path.display(),
            hardsign_plugin::text::io_text(source)
        ),
        _ => WithCauses(error).to_string(),
    }
}

fn describe(row: &Row, pins: Option<&Pins>) -> Value {
    let origin = row.file.as_ref().map(|file| match file.origin {
        Origin::User => "user",
        Origin::Box => "box",
    });
    let path = row.file.as_ref().map(|file| &file.path);
    let sha256 = path.and_then(|path| sha256_of(path).ok());
    let pin = pin_of(row.file.as_ref(), pins);
    match &row.metadata {
        Ok(metadata) => json!({
            "name": row.name,
            "origin": origin,
            "path": path,
            "sha256": sha256,
            "pin": pin,
            "description": metadata.description,
            "version": metadata.version,
            "url": metadata.url,
            "capabilities": metadata.capabilities,
        }),
        Err(error) => json!({
            "name": row.name,
            "origin": origin,
            "path": path,
            "sha256": sha256,
            "pin": pin,
            "error": WithCauses(error).to_string(),
        }),
    }
}

/// How a plugin stands to its pin: `same`, `changed`, `none`; `unknown` where the pins can't be read.
pub(super) fn pin_of(file: Option<&PluginFile>, pins: Option<&Pins>) -> &'static str {
    let Some(file) = file.filter(|file| file.origin == Origin::User) else {
        return "none";
    };
    let state = pins.map(|pins| pins.state(&file.name, &file.path));
    match state {
        Some(Ok(PinState::None)) => "none",
        Some(Ok(PinState::Same(_))) => "same",
        Some(Ok(PinState::Changed { .. })) => "changed",
        Some(Err(_)) | None => "unknown",
    }
}

/// Plugins that are asked at a time.
const IN_FLIGHT: usize = 4;

/// `ENOEXEC`: the operating system knows no program in the file.
const NO_PROGRAM: i32 = 8;
