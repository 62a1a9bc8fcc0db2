//! `hardsign logout` (CLI-62).

use hardsign_core::oci::auth::logout;
use serde_json::json;

use super::{Context, repository};
use crate::args::login::LogoutArgs;
use crate::failure::Failure;

pub(super) fn run(args: &LogoutArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    context.wait(async {
        let store = repository::credential_store(&dirs, context);
        logout(&store, &args.server)
            .await
            .map_err(|error| Failure::chain(&error).hint(HELPER))
    })?;
    context.console.line("Logout Succeeded")?;
    Ok(context
        .console
        .document(&json!({ "server": args.server }))?)
}

const HELPER: &str = "mend the configuration file or the credential helper that it names; without a helper, what was never stored needs no logout";
