//! `hardsign plugin list` (CLI-93, PLI-02, PLI-03, PLI-22).

use std::ops::ControlFlow;

use hardsign_core::batch;
use hardsign_core::plugin::{Host, Listed, Origin, PluginError};
use hardsign_plugin::proto::{Metadata, PluginConfig};
use serde_json::json;

use super::{Context, signer};
use crate::args::Output;
use crate::args::plugin::ListArgs;
use crate::failure::Failure;
use crate::output::table::table;

/// A plugin and what it says of itself.
struct Row {
    name: String,
    origin: Option<Origin>,
    metadata: Result<Metadata, PluginError>,
}

/// Asks every plugin for its metadata; one that fails fills the ERROR column and nothing more
/// (PLI-22).
pub(super) fn list(args: ListArgs, context: &Context) -> Result<(), Failure> {
    let host = signer::host(&context.dirs()?, context);
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
        let plugins: Vec<_> = rows.iter().map(describe).collect();
        return Ok(context.console.json(&json!({ "plugins": plugins }))?);
    }
    let cells: Vec<_> = rows.into_iter().map(cells).collect();
    let header = ["NAME", "DESCRIPTION", "VERSION", "CAPABILITIES", "ERROR"];
    Ok(context.console.bytes(table(header, &cells).as_bytes())?)
}

async fn ask(host: &Host, one: Listed) -> Row {
    let name = one.name.as_str().to_owned();
    match one.found {
        Err(error) => Row {
            name,
            origin: None,
            metadata: Err(error),
        },
        Ok(file) => Row {
            name,
            origin: Some(file.origin),
            metadata: host.run(file).metadata(&PluginConfig::new()).await,
        },
    }
}

fn cells(row: Row) -> [String; 5] {
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
            let file = format!("notation-{}", row.name);
            let error = match error {
                PluginError::NotFound { .. } => format!(
                    "plugin executable file `{file}` not found. Put it into the plugin's directory"
                ),
                PluginError::Start { .. } => format!(
                    "plugin file `{file}` is not executable. Please ensure that the plugin executable file is compatible with {}",
                    hardsign_core::plugin::platform()
                ),
                other => other.to_string(),
            };
            [
                row.name,
                String::new(),
                String::new(),
                "[]".to_owned(),
                error,
            ]
        }
    }
}

fn describe(row: &Row) -> serde_json::Value {
    let origin = row.origin.map(|origin| match origin {
        Origin::User => "user",
        Origin::Box => "box",
    });
    match &row.metadata {
        Ok(metadata) => json!({
            "name": row.name,
            "origin": origin,
            "description": metadata.description,
            "version": metadata.version,
            "url": metadata.url,
            "capabilities": metadata.capabilities,
        }),
        Err(error) => json!({"name": row.name, "origin": origin, "error": error.to_string()}),
    }
}

/// Plugins that are asked at a time.
const IN_FLIGHT: usize = 4;
