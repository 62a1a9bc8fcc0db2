//! `hardsign version` (CLI-102).

use serde_json::json;

use super::Context;
use crate::failure::Failure;

/// Prints version and platform, under the labels that scripts parse.
pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let console = &context.console;
    console.line("Hardsign - a tool to sign and verify artifacts with keys in hardware.")?;
    console.line("")?;
    console.line(format_args!("Version:     {}", env!("CARGO_PKG_VERSION")))?;
    console.line(format_args!("OS/Arch:     {}/{}", os(), arch()))?;
    let commit = option_env!("HARDSIGN_GIT_COMMIT");
    if let Some(commit) = commit {
        console.line(format_args!("Git commit:  {commit}"))?;
    }
    Ok(console.document(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "os": os(),
        "arch": arch(),
        "gitCommit": commit,
    }))?)
}

/// The operating system in Go's spelling.
pub(crate) fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// The architecture in Go's spelling.
pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
