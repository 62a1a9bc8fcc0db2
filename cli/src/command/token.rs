//! `hardsign token setup`: a new token's PIN, and whatever else it came with, replaced.

use hardsign_core::plugin::{KeyStore, PluginError};
use hardsign_plugin::proto::{Capability, SetUpTokenResponse};
use serde_json::json;

use super::{Context, Unanswered, signer};
use crate::args::token::SetupArgs;
use crate::failure::Failure;
use crate::output::{json, one_line};

pub(super) fn setup(args: &SetupArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let host = signer::host(&dirs, context);
    let device = &args.device;
    let file = host.finder().find(&device.plugin)?;
    let answer = context.wait(async {
        let store = KeyStore::open(&host, file, &device.id, device.config.clone()).await?;
        let answer = match store.has(&Capability::Setup) {
            true => set_up(&store, args, context).await,
            false => Err(cannot(&device.plugin)),
        };
        store.close().await;
        answer
    })?;
    let console = &context.console;
    let token = answer.token.as_ref();
    let name = token.and_then(|token| {
        let model = token.model.as_deref().or(token.label.as_deref())?;
        Some(format!(
            "{model} {}",
            token.serial.as_deref().unwrap_or_default()
        ))
    });
    let name = name.unwrap_or_else(|| "the token".to_owned());
    console.line(format_args!(
        "Set up {}: new {}",
        one_line(name.trim()),
        one_line(&answer.changed.join(", "))
    ))?;
    if !answer.unchanged.is_empty() {
        console.line(format_args!(
            "Unchanged: {}",
            one_line(&answer.unchanged.join(", "))
        ))?;
    }
    console.line(format_args!(
        "Next: `hardsign key create <name> --plugin {} --id <key-id> --type <type>` makes a key on it",
        one_line(&device.plugin)
    ))?;
    Ok(console.document(&json!({
        "pluginName": device.plugin,
        "token": answer.token.as_ref().map(json::token),
        "changed": answer.changed,
        "unchanged": answer.unchanged,
    }))?)
}

/// Asks the user first where the plugin wants that.
async fn set_up(
    store: &KeyStore,
    args: &SetupArgs,
    context: &Context,
) -> Result<SetUpTokenResponse, Failure> {
    let id = &args.device.id;
    let answer = store.set_up_token(id, false).await;
    let Some(question) = answer.as_ref().err().and_then(PluginError::question) else {
        return Ok(answer?);
    };
    let unanswered = Unanswered::new("nothing was set up", "--yes");
    match context.confirm(&question, args.yes, &unanswered)? {
        true => Ok(store.set_up_token(id, true).await?),
        false => Err(
            Failure::failed("nothing was set up: the answer was not yes")
                .hint("add --yes to skip the question"),
        ),
    }
}

fn cannot(plugin: &str) -> Failure {
    Failure::failed(format!("plugin {} does not set up tokens", one_line(plugin))).hint(
        "the plugin yubikey sets up YubiKeys; other tokens have tools of their own, for instance softhsm2-util --init-token",
    )
}
