//! `hardsign`: signs and verifies OCI artifacts and files with keys that never leave hardware or a
//! cloud KMS.
//!
//! `args` says what was typed, `command` does it, `output` prints it; decisions are in
//! `hardsign-core`. This file is the table of exit codes.

use std::process::ExitCode;
use std::sync::Arc;

mod args;
mod command;
mod failure;
mod output;

use args::Parsed;
use command::{Context, Interrupts};
use failure::{Exit, Failure};
use output::{Abilities, Console, Level};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if command::node::verifier::is_called(arguments.first()) {
        return command::node::verifier::main(arguments);
    }
    let program = program_name(arguments.first());
    let first = arguments.get(1).map(std::ffi::OsString::as_os_str);
    let definition = args::definition_for(program, first);
    let quiet = Console::new(Level::Quiet, abilities());
    let matches = match args::parse(&definition, program, arguments) {
        Parsed::Run(matches) => matches,
        Parsed::Print(text) => return print(&quiet, &text),
        Parsed::Fault(fault, meant) => {
            let failure = Failure {
                hint: meant,
                ..fault.into()
            };
            return report(&quiet, failure);
        }
    };
    let level = match args::level(&matches) {
        Ok(level) => level,
        Err(fault) => return report(&quiet, fault.into()),
    };
    let context = Context {
        console: Arc::new(Console::new(level, abilities()).printing_json(args::json(&matches))),
        program,
        interrupts: Arc::new(Interrupts::default()),
    };
    match command::run(&matches, &definition, &context) {
        Ok(()) => Exit::Success.into(),
        Err(failure) => report(&context.console, failure),
    }
}

/// What `TERM`, `NO_COLOR` and `COLUMNS` say of the terminal. Without `TERM` (Windows) nothing is known.
#[expect(
    clippy::disallowed_methods,
    reason = "they concern nothing but this terminal"
)]
fn abilities() -> Abilities {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cursor = set("TERM").is_some_and(|term| term != "dumb");
    Abilities {
        cursor,
        colours: cursor && set("NO_COLOR").is_none(),
        columns: set("COLUMNS")
            .and_then(|columns| columns.to_str()?.parse().ok())
            .filter(|columns| *columns > 0),
    }
}

/// The name to speak of ourselves by: `notation` where we were started under that name, so that
/// texts which scripts compare stay the same (CLI-04).
fn program_name(argv0: Option<&std::ffi::OsString>) -> &'static str {
    let stem = argv0.and_then(|path| std::path::Path::new(path).file_stem());
    if stem.is_some_and(|stem| stem == "notation") {
        "notation"
    } else {
        "hardsign"
    }
}

fn print(console: &Console, text: &str) -> ExitCode {
    match console.help(text) {
        Ok(()) => Exit::Success.into(),
        Err(error) => report(console, error.into()),
    }
}

fn report(console: &Console, failure: Failure) -> ExitCode {
    console.end_progress();
    for message in &failure.messages {
        console.error(message);
    }
    if let Some(hint) = &failure.hint {
        console.hint(hint);
    }
    failure.exit.into()
}
