//! `hardsign logout` (CLI-62).

use hardsign_core::oci::auth::{LogoutError, logout};
use serde_json::json;

use super::{Context, repository};
use crate::args::login::LogoutArgs;
use crate::failure::{Failure, registry};

pub(super) fn run(args: &LogoutArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let erased = context.wait(async {
        let store = repository::credential_store(&dirs, context);
        logout(&store, &args.server).await.map_err(failure)
    })?;
    if let Some(file) = &erased.left_in {
        return Err(Failure::failed(format!(
            "the login for {} that Podman keeps in {} is still used",
            args.server,
            file.display()
        ))
        .hint(format!("`podman logout {}` removes it", args.server)));
    }
    if erased.was_stored {
        context.console.line("Logout Succeeded")?;
    } else {
        context.console.line(format_args!(
            "Not logged in to {}: no credential was stored",
            args.server
        ))?;
    }
    Ok(context.console.document(&json!({
        "server": args.server,
        "removed": erased.was_stored,
    }))?)
}

fn failure(error: LogoutError) -> Failure {
    match error {
        LogoutError::Registry(_) => Failure::error(error)
            .hint("give the host, with its port if it has one, for instance registry.example.com"),
        LogoutError::Store { ref source, .. } => {
            let hint = registry::hint_of_credential(source);
            Failure::error(error).hint(hint)
        }
        other => Failure::error(other),
    }
}
