//! `hardsign key`: the list of signing keys (CLI-64 to CLI-68), and what a device says of
//! one. To add a key contacts none; its plugin is asked only which settings it knows.

use hardsign_core::config::{ConfigError, KeyLocation, SigningKeys};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::{PluginError, secret_in_clear, settled, settled_id};
use hardsign_plugin::proto::{Metadata, PluginConfig};
use serde::Serialize;
use serde_json::json;

use super::{Context, signer};
use crate::args::Output;
use crate::args::key::{AddArgs, DeleteArgs, ListArgs, UpdateArgs};
use crate::failure::{Exit, Failure};
use crate::output::one_line;

pub(super) mod attest;
pub(super) mod certify;
pub(super) mod device;
pub(super) mod renew;

/// One key as `key list --output json` shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: &'a str,
    default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin_name: Option<&'a str>,
}

pub(super) fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    if args.id.is_empty() {
        return Err(ConfigError::KeyIdMissing.into());
    }
    if args.plugin.is_empty() {
        return Err(ConfigError::PluginNameEmpty.into());
    }
    let (id, config) = checked(&args, &dirs, context)?;
    SigningKeys::update(&dirs, |keys| {
        keys.add_plugin_key(&args.name, &args.plugin, &id, config)?;
        if args.default {
            keys.set_default(&args.name)?;
        }
        Ok::<_, ConfigError>(())
    })?;
    let marked = if args.default {
        ": marked as default"
    } else {
        ""
    };
    context
        .console
        .line(format_args!("{}{marked}", one_line(&args.name)))?;
    Ok(context.console.document(&json!({
        "name": args.name,
        "default": args.default,
        "keyId": id,
        "pluginName": args.plugin,
    }))?)
}

/// The key id and the settings to store: ones that the plugin knows, with absolute paths and without secrets.
/// The plugin is asked only if there are any settings.
fn checked(
    args: &AddArgs,
    dirs: &Dirs,
    context: &Context,
) -> Result<(String, PluginConfig), Failure> {
    let host = signer::host(dirs, context);
    let plugin = host.plugin(&args.plugin)?;
    let config = args.plugin_config.clone();
    let metadata = match config.is_empty() {
        true => None,
        false => {
            let asked = context.wait(async { Ok(plugin.metadata(&PluginConfig::new()).await) })?;
            Some(asked.map_err(unchecked)?)
        }
    };
    no_secrets(metadata.as_ref(), &args.id, &config)?;
    let config = match &metadata {
        Some(metadata) => settled(metadata, config).map_err(|error| Failure {
            exit: Exit::Usage,
            ..error.into()
        })?,
        None => config,
    };
    Ok((settled_id(plugin.file(), &args.id), config))
}

/// Settings that nobody has looked at may be misspelt, or secrets.
fn unchecked(error: PluginError) -> Failure {
    if error.is_interrupted() {
        return error.into();
    }
    Failure::from(error)
        .about("no key was added, since its settings can't be checked")
        .further("a key can be added without --plugin-config, and its settings given when signing")
}

/// Refuses what would put a secret in clear into the key list.
fn no_secrets(metadata: Option<&Metadata>, id: &str, config: &PluginConfig) -> Result<(), Failure> {
    match secret_in_clear(metadata, id, config) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!(
            "{name} is a secret, and the key list would store it in clear text"
        ))
        .hint(
            "leave it out; pin-source says where a PIN comes from, for instance pin-source=env:NAME, pin-source=file:/path or pin-source=prompt",
        )),
    }
}

pub(super) fn update(args: UpdateArgs, context: &Context) -> Result<(), Failure> {
    let document = json!({"name": args.name, "default": args.default});
    if !args.default {
        return Err(
            Failure::usage("--default flag is not set, command did not take effect").hint(format!(
                "add --default to make {} the default signing key",
                one_line(&args.name)
            )),
        );
    }
    SigningKeys::update(&context.dirs()?, |keys| keys.set_default(&args.name))?;
    context
        .console
        .line(format_args!("{}: marked as default", one_line(&args.name)))?;
    Ok(context.console.document(&document)?)
}

pub(super) fn list(args: ListArgs, context: &Context) -> Result<(), Failure> {
    if let Some(device) = args.device {
        return device::list(device, args.output, context);
    }
    let keys = SigningKeys::load(&context.dirs()?)?;
    let listed: Vec<Listed<'_>> = keys
        .entries()
        .iter()
        .map(|entry| {
            let mut listed = Listed {
                name: &entry.name,
                default: keys.default_name() == Some(entry.name.as_str()),
                key_path: None,
                certificate_path: None,
                key_id: None,
                plugin_name: None,
            };
            match entry.location() {
                Ok(KeyLocation::Files { key, certificate }) => {
                    listed.key_path = Some(key);
                    listed.certificate_path = Some(certificate);
                }
                Ok(KeyLocation::Plugin { plugin, id, .. }) => {
                    listed.key_id = Some(id);
                    listed.plugin_name = Some(plugin);
                }
                Err(_) => {}
            }
            listed
        })
        .collect();
    if args.output == Output::Json {
        return Ok(context.console.json(&json!({ "keys": listed }))?);
    }
    let rows: Vec<_> = listed
        .iter()
        .map(|key| {
            let cell = |value: Option<&str>| value.unwrap_or_default().to_owned();
            let mark = if key.default { "* " } else { "" };
            [
                format!("{mark}{}", key.name),
                cell(key.key_path),
                cell(key.certificate_path),
                cell(key.key_id),
                cell(key.plugin_name),
            ]
        })
        .collect();
    if rows.is_empty() {
        context.console.plain("There are no keys in the list");
    }
    let header = ["NAME", "KEY PATH", "CERTIFICATE PATH", "ID", "PLUGIN NAME"];
    Ok(context.console.table(header, &rows)?)
}

/// Removes all of them or none (CLI-68).
pub(super) fn delete(args: DeleteArgs, context: &Context) -> Result<(), Failure> {
    let removed = SigningKeys::update(&context.dirs()?, |keys| {
        args.names
            .iter()
            .map(|name| Ok((name, keys.remove(name)?)))
            .collect::<Result<Vec<_>, ConfigError>>()
    })?;
    let console = &context.console;
    match removed.as_slice() {
        [(name, was_default)] => {
            let kind = if *was_default { "default key " } else { "" };
            console.line(format_args!(
                "Removed {kind}{} from Notation signing key list. The source key still exists.",
                one_line(name)
            ))?;
        }
        several => {
            console.line(
                "Removed the following keys from Notation signing key list. The source keys still exist.",
            )?;
            for (name, was_default) in several {
                let mark = if *was_default { " (default)" } else { "" };
                console.line(format_args!("{}{mark}", one_line(name)))?;
            }
        }
    }
    let deleted: Vec<_> = removed
        .iter()
        .map(|(name, was_default)| json!({"name": name, "default": was_default}))
        .collect();
    Ok(console.document(&json!({ "deleted": deleted }))?)
}
