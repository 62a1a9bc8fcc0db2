//! The order of words: flags of a sub-command may stand before its name (CLI-09). A word that should
//! name a command and doesn't is a mistake, in a group as well. Everything else is left to the parser.

use std::ffi::OsString;

use super::{Arg, Command};

/// What is to be parsed.
pub(super) enum Arranged {
    /// The arguments, the program's name first, commands before their flags.
    Run {
        arguments: Vec<OsString>,
        /// The names of the command and its groups.
        path: Vec<String>,
    },
    /// A word names no command of the program or of a group.
    Unknown {
        word: String,
        /// The names of the groups before it.
        path: Vec<String>,
    },
}

pub(super) fn arrange(definition: &Command, arguments: Vec<OsString>) -> Arranged {
    let mut rest = arguments.into_iter();
    let mut words: Vec<OsString> = rest.by_ref().take(1).collect();
    let mut early = Vec::new();
    let mut command = definition;
    let mut path = Vec::new();
    while command.has_subcommands() {
        let Some(next) = rest.next() else { break };
        let text = next.to_string_lossy();
        if text == "--" {
            early.push(next);
            break;
        }
        if text.starts_with('-') && text.len() > 1 {
            let value = takes_next(definition, command, &text);
            early.push(next);
            early.extend(rest.by_ref().take(usize::from(value)));
        } else if let Some(found) = command.find_subcommand(&*text) {
            command = found;
            path.push(found.get_name().to_owned());
            words.push(next);
        } else if text == "help" {
            words.push(next);
            let names: Vec<_> = rest.by_ref().collect();
            path.extend(names.iter().map(|name| name.to_string_lossy().into_owned()));
            words.extend(names);
            break;
        } else {
            let word = text.into_owned();
            return Arranged::Unknown { word, path };
        }
    }
    words.extend(early);
    words.extend(rest);
    Arranged::Run {
        arguments: words,
        path,
    }
}

/// Whether the word after `token` is the value of a flag in it.
fn takes_next(definition: &Command, command: &Command, token: &str) -> bool {
    let find = |wanted: &dyn Fn(&Arg) -> bool| {
        below(command, wanted).or_else(|| definition.get_arguments().find(|arg| wanted(arg)))
    };
    if let Some(long) = token.strip_prefix("--") {
        return find(&|arg| arg.get_long() == Some(long)).is_some_and(has_value);
    }
    let mut shorts = token.chars().skip(1).peekable();
    while let Some(short) = shorts.next() {
        if find(&|arg| arg.get_short() == Some(short)).is_some_and(has_value) {
            return shorts.peek().is_none();
        }
    }
    false
}

/// A switch takes its value after an equals sign only.
fn has_value(arg: &Arg) -> bool {
    !arg.is_require_equals_set()
}

/// The first argument of a command, or of one below it, that is wanted.
fn below<'a>(command: &'a Command, wanted: &dyn Fn(&Arg) -> bool) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| wanted(arg))
        .or_else(|| command.get_subcommands().find_map(|sub| below(sub, wanted)))
}
