//! Each flag of each command stands in a transcript (`cli/tests/cmd`), so that there is no flag
//! whose use is shown nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

mod hints;
mod mistakes;
mod pages;

/// A command without the program's name, and a flag.
type Use = (String, String);

#[test]
fn each_flag_of_each_command_has_a_transcript() {
    let definition = definition("hardsign");
    let shown = shown(&definition);
    let mut missing = Vec::new();
    for (command, flag) in all(&definition, "") {
        if !shown.contains(&(command.clone(), flag.clone())) {
            missing.push(format!("{command} --{flag}"));
        }
    }
    assert!(
        missing.is_empty(),
        "in no transcript:\n{}",
        missing.join("\n")
    );
}

/// A command alone has the same flags and the same help as in the whole tree, at each of its levels.
#[test]
fn a_command_alone_is_the_same_as_among_all() {
    let whole = definition("hardsign");
    let names: Vec<_> = whole.get_subcommands().map(Command::get_name).collect();
    let listed: Vec<_> = COMMANDS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed);
    for name in names {
        let part = definition_for("hardsign", Some(OsStr::new(name)));
        let made = part.get_subcommands().count();
        assert_eq!(made == 1, !NEED_ALL.contains(&name), "{name}");
        let command = part.find_subcommand(name).unwrap();
        assert_eq!(
            all(command, ""),
            all(whole.find_subcommand(name).unwrap(), "")
        );
        let mut paths = vec![vec![name.to_owned()]];
        while let Some(path) = paths.pop() {
            assert_eq!(help(&part, &path), help(&whole, &path), "{path:?}");
            let found = path.iter().fold(&part, |command, name| {
                command.find_subcommand(name).unwrap()
            });
            for inner in found.get_subcommands() {
                let inner = inner.get_name().to_owned();
                paths.push([path.clone(), vec![inner]].concat());
            }
        }
    }
    // What is no command, or no name of one, is looked for among all.
    for first in [None, Some("cert"), Some("-d"), Some("nosuch")] {
        let all = definition_for("hardsign", first.map(OsStr::new));
        assert_eq!(all.get_subcommands().count(), COMMANDS.len(), "{first:?}");
    }
}

/// Each flag of each command; those that all commands share stand at the root. `doctor node` passes `--judged-in` to itself.
fn all(command: &Command, path: &str) -> Vec<Use> {
    let mut found: Vec<_> = command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some())
        .filter(|arg| !["help", "judged-in"].contains(&arg.get_id().as_str()))
        .map(|arg| (path.to_owned(), arg.get_id().to_string()))
        .collect();
    for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let path = format!("{path} {}", inner.get_name());
        found.extend(all(inner, path.trim()));
    }
    found
}

/// What the command lines of all transcripts use, as far as they are well formed.
fn shown(definition: &Command) -> BTreeSet<Use> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let mut shown = BTreeSet::new();
    for verb in fs::read_dir(directory).unwrap() {
        for case in fs::read_dir(verb.unwrap().path()).unwrap() {
            let text = fs::read_to_string(case.unwrap().path()).unwrap();
            for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
                for command in commands(line) {
                    shown.extend(uses(definition, command));
                }
            }
        }
    }
    shown
}

fn uses(definition: &Command, words: Vec<String>) -> Vec<Use> {
    let words = words.into_iter().map(Into::into).collect();
    let Parsed::Run(mut matches) = parse(definition, "hardsign", words) else {
        return vec![];
    };
    let mut path = String::new();
    while let Some((name, inner)) = matches.remove_subcommand() {
        path = format!("{path} {name}").trim().to_owned();
        matches = inner;
    }
    let given = |id: &str| matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    let ids = matches.ids().map(clap::Id::as_str).filter(|id| given(id));
    ids.map(|id| match id {
        "debug" | "verbose" => (String::new(), id.to_owned()),
        _ => (path.clone(), id.to_owned()),
    })
    .collect()
}

/// The words of each `hardsign` that a line for the shell starts.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![vec![]];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None) => word.get_or_insert_default().extend(characters.next()),
            (' ' | ';' | '|' | '&' | '<' | '>' | '(' | ')', None) => {
                commands.last_mut().unwrap().extend(word.take());
                if c != ' ' {
                    commands.push(vec![]);
                }
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    commands.last_mut().unwrap().extend(word);
    let program = |word: &String| matches!(word.as_str(), "hardsign" | "notation" | "./notation");
    commands
        .into_iter()
        // Its objects may have our name.
        .filter(|words| words.first().is_none_or(|word| word != "kubectl"))
        .filter_map(|words| Some(words[words.iter().position(program)?..].to_vec()))
        .collect()
}
