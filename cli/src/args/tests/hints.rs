//! Every command that a text names in backquotes is one that there is, with flags that it has.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Parsed, definition, parse};

/// Where texts for users are.
const SOURCES: [&str; 3] = ["cli/src", "core/src", "plugins"];

#[test]
fn every_command_that_a_text_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for source in SOURCES {
        rust_files(&root.join(source), &mut files);
    }
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        // Tests name commands that there are not; comments are for developers.
        let text = text.split("#[cfg(test)]").next().unwrap();
        let shown: String = text
            .split_inclusive('\n')
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for command in named(&shown) {
            seen += 1;
            if let Err(fault) = parses(&command) {
                wrong.push(format!("{}: `{command}`: {fault}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "only {seen} commands were found");
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(&*name, "tests" | "target" | "testkit") {
            rust_files(&path, files);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}

/// The commands between backquotes, as they stand in the source: those of hardsign by its name or a
/// placeholder for it, and those that begin with one of its commands.
fn named(source: &str) -> Vec<String> {
    let definition = definition("hardsign");
    let is_command = |word: &str| {
        let commands = definition.get_subcommands();
        commands
            .flat_map(|c| c.get_name_and_visible_aliases())
            .any(|name| name == word)
    };
    let joined = source.replace("\\\n", " ").replace("\\\"", "'");
    let mut commands = Vec::new();
    // What has the end of a literal in it stands between two texts, and not between backquotes.
    for span in joined.split('`').filter(|span| !span.contains('"')) {
        let words: Vec<_> = span.split_whitespace().collect();
        // A placeholder is whatever the program was called by.
        let words = match words.as_slice() {
            ["hardsign" | "{}" | "{program}", rest @ ..] => rest,
            all => all,
        };
        let quoted = joined.contains(&format!("`{span}`"));
        if quoted && words.first().is_some_and(|word| is_command(word)) {
            commands.push(words.join(" "));
        }
    }
    commands
}

/// Whether the command line has a command and flags that there are; placeholders are values.
fn parses(command: &str) -> Result<(), String> {
    let words = command.split_whitespace().map(|word| match word {
        word if word == "..." || word.contains(['{', '<']) => "1",
        word => word.trim_matches('\''),
    });
    let line = std::iter::once("hardsign").chain(words);
    let arguments: Vec<std::ffi::OsString> = line.map(Into::into).collect();
    match parse(&definition("hardsign"), "hardsign", arguments) {
        Parsed::Run(_) | Parsed::Print(_) => Ok(()),
        Parsed::Fault(fault, _) => Err(fault.message),
    }
}

#[test]
fn what_does_not_exist_is_found() {
    let source = "a(\"`hardsign key frob {name}` or `policy show --nosuch`, `{} plugin list --all`, `other thing`\")";
    let commands = named(source);
    assert_eq!(
        commands,
        [
            "key frob {name}",
            "policy show --nosuch",
            "plugin list --all"
        ]
    );
    assert!(parses(&commands[0]).is_err());
    assert!(parses(&commands[1]).is_err());
    assert!(parses(&commands[2]).is_ok());
}
