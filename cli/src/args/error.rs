//! Parsing the command line, with faults told in the words that scripts know (CLI-04, CLI-05).

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::arrange::{Arranged, arrange};
use super::flags::{Reader, switches};
use super::{ArgMatches, Command, Usage, help};
use hardsign_plugin::text::nearest;

/// What came of the command line.
pub(crate) enum Parsed {
    /// A command to run.
    Run(ArgMatches),
    /// Text for standard output (help), exit code 0.
    Print(String),
    /// A fault, exit code 2, and what was probably meant.
    Fault(Usage, Option<String>),
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
    let (arguments, path) = match arrange(definition, arguments) {
        Arranged::Run { arguments, path } => (arguments, path),
        Arranged::Unknown { word, path } => {
            let group = [&[program.to_owned()], path.as_slice()].concat().join(" ");
            let commands = find(definition, &path).get_subcommands();
            let commands = commands.filter(|command| !command.is_hide_set());
            let names: Vec<_> = commands
                .flat_map(Command::get_name_and_visible_aliases)
                .collect();
            let meant =
                nearest(&word, &names).map(|name| format!("did you mean `{group} {name}`?"));
            return Parsed::Fault(unknown(&word, &group), meant);
        }
    };
    match definition.clone().try_get_matches_from(arguments) {
        Ok(matches) => match values(definition, &matches) {
            Ok(()) => Parsed::Run(matches),
            Err(fault) => Parsed::Fault(fault, None),
        },
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Parsed::Print(help(definition, &path))
            }
            _ => Parsed::Fault(
                fault(&error, program, &typed),
                meant_flag(&error, definition, &path),
            ),
        },
    }
}

/// The command at a path, or the innermost group that there is.
fn find<'c>(definition: &'c Command, path: &[String]) -> &'c Command {
    path.iter().fold(definition, |command, name| {
        command.find_subcommand(name).unwrap_or(command)
    })
}

/// The flag that was probably meant by one that there is not.
fn meant_flag(error: &clap::Error, definition: &Command, path: &[String]) -> Option<String> {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) if error.kind() == ErrorKind::UnknownArgument => text,
        _ => return None,
    };
    let name = argument.strip_prefix("--")?.split(['=', ' ']).next()?;
    let arguments = definition
        .get_arguments()
        .chain(find(definition, path).get_arguments());
    let flags: Vec<_> = arguments
        .filter_map(clap::Arg::get_long)
        .chain(["help"])
        .collect();
    let meant = match nearest(name, &flags)? {
        // Kept for scripts; the other name says what it does.
        "plain-http" => "insecure-registry",
        flag => flag,
    };
    Some(format!("did you mean --{meant}?"))
}

/// Values that can't be read are told before anything else is looked at (CLI-06).
fn values(definition: &Command, matches: &ArgMatches) -> Result<(), Usage> {
    let mut deepest = matches;
    while let Some((_, inner)) = deepest.subcommand() {
        deepest = inner;
    }
    Reader(deepest).check_values(&switches(definition))
}

fn fault(error: &clap::Error, program: &str, typed: &[String]) -> Usage {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let argument = text(ContextKind::InvalidArg);
    Usage::new(match error.kind() {
        ErrorKind::InvalidSubcommand => {
            return unknown(&text(ContextKind::InvalidSubcommand), program);
        }
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            let name = argument.split(['=', ' ']).next().unwrap_or(&argument);
            format!("unknown flag: {name}")
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') && argument.len() > 1 => {
            let short = argument.chars().nth(1).unwrap_or('-');
            let group = typed.iter().find_map(|token| from(token, short));
            format!(
                "unknown shorthand flag: '{short}' in {}",
                group.unwrap_or_else(|| argument.clone())
            )
        }
        ErrorKind::UnknownArgument => format!("unexpected argument {argument:?}"),
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            let short = typed.last().filter(|last| !last.starts_with("--"));
            match short.and_then(|group| group.chars().last()) {
                Some(short) => format!("flag needs an argument: '{short}' in -{short}"),
                None => format!(
                    "flag needs an argument: {}",
                    argument.split(' ').next().unwrap_or_default()
                ),
            }
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

/// `group` is the program, or one of its groups of commands.
fn unknown(command: &str, group: &str) -> Usage {
    Usage::new(format!(
        "unknown command {command:?} for {group:?}\nRun '{group} --help' for usage."
    ))
}

/// What is left of a group of shorthand flags from `short` on, as messages show it.
fn from(token: &str, short: char) -> Option<String> {
    let group = token.strip_prefix('-').filter(|g| !g.starts_with('-'))?;
    let (_, rest) = group.split_once(short)?;
    Some(format!("-{short}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> String {
        match run(line) {
            Parsed::Fault(fault, _) => fault.to_string(),
            Parsed::Print(text) => panic!("{line}: {text}"),
            Parsed::Run(_) => panic!("{line}: no fault"),
        }
    }

    fn run(line: &str) -> Parsed {
        let arguments = line.split(' ').map(Into::into).collect();
        parse(&crate::args::definition("notation"), "notation", arguments)
    }

    #[test]
    fn cli_04_unknown_command() {
        assert_eq!(
            fault("notation sing x"),
            "unknown command \"sing\" for \"notation\"\nRun 'notation --help' for usage."
        );
    }

    #[test]
    fn cli_05_unknown_flags_and_missing_values() {
        for (line, text) in [
            ("notation sign --nosuch x", "unknown flag: --nosuch"),
            ("notation sign --nosuch=1 x", "unknown flag: --nosuch"),
            ("notation --nosuch sign x", "unknown flag: --nosuch"),
            ("notation sign -x y", "unknown shorthand flag: 'x' in -x"),
            ("notation sign -dx y", "unknown shorthand flag: 'x' in -x"),
            ("notation sign -xd y", "unknown shorthand flag: 'x' in -xd"),
            ("notation sign x --key", "flag needs an argument: --key"),
            ("notation sign x -k", "flag needs an argument: 'k' in -k"),
            ("notation sign x -dk", "flag needs an argument: 'k' in -k"),
        ] {
            assert_eq!(fault(line), text, "{line}");
        }
    }

    #[test]
    fn cli_06_values_are_read_before_arguments_are_looked_at() {
        for (line, text) in [
            (
                "notation verify --oci-layout=maybe",
                "invalid argument \"maybe\" for \"--oci-layout\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "notation verify --max-signatures x",
                "invalid argument \"x\" for \"--max-signatures\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "notation sign --expiry 1d",
                "invalid argument \"1d\" for \"-e, --expiry\" flag: time: unknown unit \"d\" in duration \"1d\"",
            ),
        ] {
            assert_eq!(fault(line), text, "{line}");
        }
    }

    /// The words of the innermost command, and one value of it.
    fn read(line: &str, flag: &str) -> (Vec<String>, Vec<String>) {
        let Parsed::Run(matches) = run(line) else {
            panic!("{line}: refused");
        };
        let mut names = Vec::new();
        let mut matches = &matches;
        while let Some((name, inner)) = matches.subcommand() {
            names.push(name.to_owned());
            matches = inner;
        }
        let values = match matches.try_get_many::<String>(flag) {
            Ok(Some(values)) => values.cloned().collect(),
            _ => vec![],
        };
        (names, values)
    }

    #[test]
    fn cli_09_flags_stand_before_the_sub_command() {
        for line in [
            "notation blob --signature-format cose sign f",
            "notation --signature-format cose blob sign f",
            "notation --signature-format=cose blob sign f",
            "notation blob --force --signature-format cose sign f",
            "notation -d blob --signature-format cose sign f",
            "notation -dk name blob --signature-format cose sign f",
        ] {
            let (names, values) = read(line, "signature-format");
            assert_eq!(names, ["blob", "sign"], "{line}");
            assert_eq!(values, ["cose"], "{line}");
            assert_eq!(read(line, "positional").1, ["f"], "{line}");
        }
    }

    #[test]
    fn cli_04_groups_are_asked_for_help_and_not_by_mistake() {
        assert_eq!(read("notation key", "positional").0, ["key"]);
        for (line, group) in [
            ("notation key nosuch", "notation key"),
            ("notation cert nosuch x", "notation certificate"),
            ("notation blob policy -d nosuch", "notation blob policy"),
        ] {
            assert_eq!(
                fault(line),
                format!(
                    "unknown command \"nosuch\" for {group:?}\nRun '{group} --help' for usage."
                )
            );
        }
    }

    /// A typing mistake leads to the command or flag that was meant, and only there.
    #[test]
    fn mistakes_lead_to_what_was_meant() {
        for (line, meant) in [
            ("hardsign verfy x", Some("did you mean `hardsign verify`?")),
            (
                "hardsign key ad x",
                Some("did you mean `hardsign key add`?"),
            ),
            (
                "hardsign key lst",
                Some("did you mean `hardsign key list`?"),
            ),
            (
                "hardsign blob polcy",
                Some("did you mean `hardsign blob policy`?"),
            ),
            ("hardsign frobnicate", None),
            ("hardsign __complet", None),
            (
                "hardsign sign --plian-http x",
                Some("did you mean --insecure-registry?"),
            ),
            (
                "hardsign sign --expriy=1h x",
                Some("did you mean --expiry?"),
            ),
            ("hardsign sign --debg x", Some("did you mean --debug?")),
            ("hardsign key list --hepl", Some("did you mean --help?")),
            ("hardsign sign --frobnicate x", None),
            ("hardsign sign -z x", None),
        ] {
            let arguments = line.split(' ').map(Into::into).collect();
            let definition = crate::args::definition("hardsign");
            let Parsed::Fault(_, found) = parse(&definition, "hardsign", arguments) else {
                panic!("{line}: no fault");
            };
            assert_eq!(found.as_deref(), meant, "{line}");
        }
    }

    #[test]
    fn cli_10_forms_of_flags() {
        for (line, flag, expected) in [
            ("notation sign --key a x", "key", vec!["a"]),
            ("notation sign --key=a x", "key", vec!["a"]),
            ("notation sign -k a x", "key", vec!["a"]),
            ("notation sign -ka x", "key", vec!["a"]),
            ("notation sign -k=a x", "key", vec!["a"]),
            ("notation sign -dvk a x", "key", vec!["a"]),
            ("notation sign -dvka x", "key", vec!["a"]),
            ("notation sign --key a --key b x", "key", vec!["b"]),
            ("notation sign --key --id x", "key", vec!["--id"]),
            ("notation sign x -d", "debug", vec!["true"]),
            ("notation sign x -d=false", "debug", vec!["false"]),
            ("notation sign x --debug --debug=0", "debug", vec!["0"]),
            (
                "notation sign -m a=1,b=2 -m c=3 x",
                "user-metadata",
                vec!["a=1,b=2", "c=3"],
            ),
            ("notation sign -- --key", "positional", vec!["--key"]),
            ("notation sign x --key a y", "positional", vec!["x", "y"]),
        ] {
            assert_eq!(read(line, flag).1, expected, "{line}");
        }
    }
}
