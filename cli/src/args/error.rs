//! Parsing the command line, with faults told in the words that scripts know (CLI-04, CLI-05).

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{ArgMatches, Command, Usage};

/// What came of the command line.
pub(crate) enum Parsed {
    /// A command to run.
    Run(ArgMatches),
    /// Text for standard output (help), exit code 0.
    Print(String),
    /// A fault, exit code 2.
    Fault(Usage),
}

/// Parses `arguments`, the program's name first.
pub(crate) fn parse(
    definition: &Command,
    program: &str,
    arguments: Vec<std::ffi::OsString>,
) -> Parsed {
    let typed: Vec<String> = arguments
        .iter()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    match definition.clone().try_get_matches_from(arguments) {
        Ok(matches) => Parsed::Run(matches),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Parsed::Print(error.render().to_string())
            }
            _ => Parsed::Fault(fault(&error, program, &typed)),
        },
    }
}

fn fault(error: &clap::Error, program: &str, typed: &[String]) -> Usage {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let argument = text(ContextKind::InvalidArg);
    Usage(match error.kind() {
        ErrorKind::InvalidSubcommand => format!(
            "unknown command {:?} for {program:?}\nRun '{program} --help' for usage.",
            text(ContextKind::InvalidSubcommand)
        ),
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            let name = argument.split(['=', ' ']).next().unwrap_or(&argument);
            format!("unknown flag: {name}")
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') && argument.len() > 1 => {
            let short = argument.chars().nth(1).unwrap_or('-');
            let token = typed
                .iter()
                .find(|t| is_group_with(t, short))
                .unwrap_or(&argument);
            format!("unknown shorthand flag: '{short}' in {token}")
        }
        ErrorKind::UnknownArgument => format!("unexpected argument {argument:?}"),
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!(
                "flag needs an argument: {}",
                argument.split(' ').next().unwrap_or_default()
            )
        }
        _ => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned(),
    })
}

/// Whether `token` is a group of shorthand flags that holds `short`.
fn is_group_with(token: &str, short: char) -> bool {
    token.starts_with('-') && !token.starts_with("--") && token.contains(short)
}
