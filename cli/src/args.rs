//! What was typed: the command tree, and the arguments of each command as plain values.
//!
//! Nothing here acts. Flags follow the conventions that scripts written for `notation` rely on
//! (CLI-05 to CLI-12): any value may start with a hyphen, a repeated flag takes the last value,
//! switches accept `=true` and `=false`, list flags accumulate without splitting at commas.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::output::Level;

#[cfg(target_os = "linux")]
pub(crate) mod admission;
mod arrange;
pub(crate) mod attach;
pub(crate) mod batch;
pub(crate) mod blob;
pub(crate) mod certificate;
pub(crate) mod completion;
pub(crate) mod copy;
mod deadline;
pub(crate) mod delete;
pub(crate) mod doctor;
mod duration;
mod error;
mod flags;
mod help;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod node;
pub(crate) mod plugin;
pub(crate) mod policy;
pub(crate) mod promote;
pub(crate) mod sign;
pub(crate) mod token;
mod typed;
pub(crate) mod verify;
pub(crate) mod version;

pub(crate) use completion::{SHELLS, Shell};
pub(crate) use deadline::Deadline;
pub(crate) use error::{Parsed, parse};
pub(crate) use flags::{Output, Registry, Selection, Usage};
pub(crate) use help::{help, presentable};
pub(crate) use typed::command;

/// Makes the definition of a command.
type Definition = fn() -> Command;

/// The commands, and how each is made.
const COMMANDS: &[(&str, Definition)] = &[
    ("sign", sign::definition),
    ("verify", verify::definition),
    ("attach", attach::definition),
    ("list", list::definition),
    ("inspect", inspect::definition),
    ("copy", copy::definition),
    ("promote", promote::definition),
    ("delete", delete::definition),
    ("login", login::login),
    ("logout", login::logout),
    ("blob", blob::definition),
    ("certificate", certificate::definition),
    ("plugin", plugin::definition),
    ("policy", policy::definition),
    ("key", key::definition),
    ("token", token::definition),
    ("node", node::definition),
    ("doctor", doctor::definition),
    ("completion", completion::definition),
    ("__complete", || completion::candidates("__complete")),
    ("__complete_bash", || {
        completion::candidates("__complete_bash")
    }),
    ("man", completion::man),
    ("version", version::definition),
    #[cfg(target_os = "linux")]
    ("admission", admission::definition),
];

/// Commands that tell about all others.
const NEED_ALL: [&str; 3] = ["__complete", "__complete_bash", "man"];

/// The whole command tree; help, completions and man pages come from it.
pub(crate) fn definition(program: &'static str) -> Command {
    root(program).subcommands(COMMANDS.iter().map(|(_, make)| make()))
}

/// The part of the command tree that a command line needs, by its first word after the program's name: one
/// command's, where that names it. To make the whole takes longer than many a command.
pub(crate) fn definition_for(program: &'static str, first: Option<&OsStr>) -> Command {
    let named = COMMANDS
        .iter()
        .find(|(name, _)| first.is_some_and(|first| first == *name));
    match named {
        Some((name, make)) if !NEED_ALL.contains(name) => root(program).subcommand(make()),
        _ => definition(program),
    }
}

fn root(program: &'static str) -> Command {
    Command::new(program)
        .about("Sign and verify OCI artifacts and files, with keys that never leave hardware or a cloud KMS")
        .disable_version_flag(true)
        .args_override_self(true)
        .infer_long_args(false)
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .help("Print the version, as `version` does")
                .action(ArgAction::SetTrue),
        )
        .arg(flags::debug())
        .arg(flags::verbose())
}

/// Whether one JSON document is to be all that is printed.
pub(crate) fn json(matches: &ArgMatches) -> bool {
    let output = flags::Reader(deepest(matches)).text("output");
    matches!(output.as_deref(), Some("json" | "jsonl"))
}

fn deepest(matches: &ArgMatches) -> &ArgMatches {
    let mut deepest = matches;
    while let Some((_, inner)) = deepest.subcommand() {
        deepest = inner;
    }
    deepest
}

/// How much to tell on standard error: `-d` before `-v`.
///
/// # Errors
/// A switch with a value that is no truth value.
pub(crate) fn level(matches: &ArgMatches) -> Result<Level, Usage> {
    let reader = flags::Reader(deepest(matches));
    Ok(if reader.switch("debug")? {
        Level::Debug
    } else if reader.switch("verbose")? {
        Level::Info
    } else {
        Level::Quiet
    })
}

#[cfg(test)]
mod tests;
